//! How an edge joins: a token, made by an operator, becomes an edge of the store and a certificate.
//!
//! The store has of a token's secret a SHA-256: of 256 random bits nothing can be guessed, so that
//! a slow hash would protect nothing.

use super::ca::{Authority, RequestError};
use super::identity::{Denied, EDGES_MAX, EdgeRecord, edge_key, ids, token_key};
use crate::rest::token::{NoRandomness, hex, random};
use crate::store::{ChangeError, Draft, Keeper, Key, KeyError, State, Who};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use control_api::id;
use control_api::publish::{Certified, Enrol, Hash, JoinToken, Renew, Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;

/// Characters of an edge's name: a label of DNS and one more.
pub const NAME_MAX: usize = 64;

/// What the store has of a join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What the operator calls it.
    pub name: String,
    /// What edges become that join with it.
    pub roles: Vec<Role>,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// When it ends, in milliseconds since 1970.
    pub ends_ms: u64,
    /// How often it may be used yet; any number of times where there is none.
    pub uses: Option<u32>,
    /// Of its secret.
    hash: Hash,
}

impl TokenRecord {
    /// From the store; none where it is another thing.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn ended(&self, now_ms: u64) -> bool {
        self.ends_ms <= now_ms
    }
}

/// What a new join token is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// What the operator calls it.
    pub name: String,
    /// What edges become that join with it.
    pub roles: Vec<Role>,
    /// How long it lasts, in milliseconds.
    pub lasts_ms: u64,
    /// How often it may be used; any number of times where there is none.
    pub uses: Option<u32>,
}

/// A new join token for edges of `authority`, and what the store is to keep of it.
///
/// # Errors
/// The system has no randomness.
pub fn invite(
    invitation: Invitation,
    authority: Hash,
    now_ms: u64,
) -> Result<(JoinToken, TokenRecord), NoRandomness> {
    let secret = hex(&random::<32>()?);
    let id = id::id(random::<16>()?);
    let record = TokenRecord {
        id: id.clone(),
        name: invitation.name,
        roles: invitation.roles,
        created_ms: now_ms,
        ends_ms: now_ms.saturating_add(invitation.lasts_ms),
        uses: invitation.uses,
        hash: Hash::of(secret.as_bytes()),
    };
    Ok((JoinToken { id, secret, authority }, record))
}

/// What certificates are made with.
#[derive(Clone, Copy, Debug)]
pub struct Issue<'a> {
    /// Who signs.
    pub authority: &'a Authority,
    /// How long they are valid.
    pub life: Duration,
    /// When it is, in milliseconds since 1970.
    pub now_ms: u64,
}

impl Issue<'_> {
    fn certify(&self, edge: &str, request: &str) -> Result<Certified, Denied> {
        let done = self.authority.certify(edge, request, self.life, self.now_ms / 1_000);
        done.map_err(|error| match error {
            RequestError::Sign(why) => Denied::Unavailable(why),
            theirs => Denied::Request(theirs.to_string()),
        })
    }
}

/// Makes an edge of whoever has a right token, and a certificate for it.
///
/// # Errors
/// See [`Denied`]; the token is as it was then.
pub async fn join(
    keeper: &Keeper,
    issue: Issue<'_>,
    enrol: &Enrol,
    source: IpAddr,
) -> Result<Certified, Denied> {
    let token: JoinToken = enrol.token.parse().map_err(|_| Denied::Token)?;
    right(&keeper.state(), &token, issue.now_ms)?;
    if !is_name(&enrol.name) {
        let what = format!("the name of an edge is 1 to {NAME_MAX} letters, digits, `-`, `_`, `.`");
        return Err(Denied::Request(what));
    }
    let unavailable = |error: String| Denied::Unavailable(error);
    let edge = id::id(random::<16>().map_err(|error| unavailable(error.to_string()))?);
    let certified = issue.certify(&edge, &enrol.request)?;
    let record = EdgeRecord {
        id: edge.clone(),
        name: enrol.name.clone(),
        roles: Vec::new(),
        joined_ms: issue.now_ms,
        address: Some(source),
        token: token.id.clone(),
        revoked_ms: None,
    };
    let who = Who { actor: format!("edge:{edge}"), address: Some(source) };
    let what = format!("edge join {}", enrol.name);
    let change = keeper.change(&who, &what, issue.now_ms, |draft| {
        // Another edge may have used the token up meanwhile.
        let right = right(draft, &token, issue.now_ms)?;
        make_room(draft, issue)?;
        let roles = right.roles.clone();
        use_up(draft, right)?;
        put(draft, edge_key(&edge), &EdgeRecord { roles, ..record.clone() })
    });
    change.await.map_err(|error| match error {
        ChangeError::Edit(denied) => denied,
        other => unavailable(other.to_string()),
    })?;
    Ok(certified)
}

/// A certificate that lasts longer, for an edge that is known.
///
/// # Errors
/// See [`Denied`].
pub fn renew(issue: Issue<'_>, edge: &str, renew: &Renew) -> Result<Certified, Denied> {
    issue.certify(edge, &renew.request)
}

/// Whether an edge, or a token, may be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(good)
}

/// The record of a token that is right. Whoever has another secret learns nothing of the record.
fn right(state: &State, token: &JoinToken, now_ms: u64) -> Result<TokenRecord, Denied> {
    let key = token_key(&token.id).map_err(|_| Denied::Token)?;
    let stored = state.get(&key).ok_or(Denied::Token)?;
    let record = TokenRecord::from_json(&stored.value).ok_or(Denied::Token)?;
    let shown = Hash::of(token.secret.as_bytes());
    verify_slices_are_equal(shown.octets(), record.hash.octets()).map_err(|_| Denied::Token)?;
    match record {
        ended if ended.ended(now_ms) => Err(Denied::TokenEnded),
        used if used.uses == Some(0) => Err(Denied::TokenUsed),
        right => Ok(right),
    }
}

fn use_up(draft: &mut Draft<'_>, token: TokenRecord) -> Result<(), Denied> {
    let Some(uses) = token.uses else { return Ok(()) };
    let id = token.id.clone();
    let left = Some(uses.saturating_sub(1));
    put(draft, token_key(&id), &TokenRecord { uses: left, ..token })
}

/// Whether there is room for another edge. Those that were revoked so long ago that their
/// certificates have ended are forgotten.
fn make_room(draft: &mut Draft<'_>, issue: Issue<'_>) -> Result<(), Denied> {
    let life = u64::try_from(issue.life.as_millis()).unwrap_or(u64::MAX);
    let (mut old, mut there) = (Vec::new(), 0);
    for (id, revoked) in ids(draft) {
        match revoked {
            None => there += 1,
            Some(revoked) if revoked.saturating_add(life) < issue.now_ms => old.push(id),
            Some(_) => {}
        }
    }
    for id in old {
        draft.remove(&edge_key(&id).map_err(unnamed)?);
    }
    if there < EDGES_MAX { Ok(()) } else { Err(Denied::Full) }
}

fn put(
    draft: &mut Draft<'_>,
    at: Result<Key, KeyError>,
    record: &impl Serialize,
) -> Result<(), Denied> {
    let value = serde_json::to_value(record);
    let value = value.map_err(|error| Denied::Unavailable(error.to_string()))?;
    draft.put(at.map_err(unnamed)?, value);
    Ok(())
}

fn unnamed(error: KeyError) -> Denied {
    Denied::Unavailable(error.to_string())
}
