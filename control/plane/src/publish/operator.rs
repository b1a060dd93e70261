//! What an operator asks of the fleet: join tokens and edges. A request is done on a keeper,
//! whether it was typed beside a store or came to a control plane that runs.

use super::EdgeStatus;
use super::ca::{Authority, AuthorityError};
use super::identity::{EdgeRecord, TOKENS, edge_key, edges, token_key};
use super::join::{Invitation, NAME_MAX, TokenRecord, invite, is_name};
pub use super::trial::Halted;
use crate::rest::token::NoRandomness;
use crate::store::{ChangeError, Keeper, Key, KeyError, State, Vault, Who};
use control_api::publish::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Join tokens of one store that have not ended.
const TOKENS_MAX: usize = 1_000;
/// How long a token that has ended is still listed, in milliseconds: an operator looks why an edge
/// did not come.
const REMEMBERED_MS: u64 = 86_400_000;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeRequest {
    /// Make a join token.
    CreateToken(Invitation),
    /// List the join tokens.
    Tokens,
    /// Take a join token back.
    RevokeToken {
        /// Its id.
        id: String,
    },
    /// List the edges.
    Edges,
    /// Shut an edge out.
    Revoke {
        /// Its id or name.
        edge: String,
    },
}

/// What is answered.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeAnswer {
    /// A join token was made. Only whoever asked sees its text.
    Created {
        /// The text.
        text: String,
        /// The token.
        token: TokenShown,
    },
    /// The join tokens, the oldest first.
    Tokens(Vec<TokenShown>),
    /// A join token is taken back.
    TokenRevoked {
        /// Its id.
        id: String,
    },
    /// The edges, and how changes for them stand.
    Edges {
        /// The oldest first.
        edges: Vec<EdgeShown>,
        /// The change that they may not have; none once another one was approved.
        halted: Option<Halted>,
    },
    /// An edge is shut out.
    Revoked {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Debug for EdgeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Its text is for nobody's log.
            Self::Created { token, .. } => f.debug_tuple("Created").field(token).finish(),
            Self::Tokens(tokens) => f.debug_tuple("Tokens").field(tokens).finish(),
            Self::TokenRevoked { id } => f.debug_tuple("TokenRevoked").field(id).finish(),
            Self::Edges { edges, halted } => {
                f.debug_struct("Edges").field("edges", edges).field("halted", halted).finish()
            }
            Self::Revoked { id, .. } => f.debug_tuple("Revoked").field(id).finish(),
        }
    }
}

/// A join token without what would let anybody use it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenShown {
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
}

/// An edge as the store and one control plane know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeShown {
    /// What the store has.
    #[serde(flatten)]
    pub record: EdgeRecord,
    /// Its stream, where it is attached to the control plane that answers.
    pub status: Option<EdgeStatus>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is no such edge.
    #[error("there is no edge {0}; `weir edge list` shows those that are")]
    NoEdge(String),
    /// Several edges have the name.
    #[error("{name} is the name of several edges; say which one by its id: {}", .ids.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The ids.
        ids: Vec<String>,
    },
    /// There is no such token.
    #[error("there is no join token {0}; `weir edge token list` shows those that are")]
    NoToken(String),
    /// There are too many.
    #[error("there are {TOKENS_MAX} join tokens; revoke some with `weir edge token revoke`")]
    ManyTokens,
    /// It can never be used.
    #[error("a join token has a role, lasts, and may be used at least once")]
    Useless,
    /// It cannot be called so.
    #[error("a name is 1 to {NAME_MAX} letters, digits, `-`, `_` or `.`")]
    Name,
    /// The authority that it is to name.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The system has no randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// A name cannot be part of a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error("{0}")]
    Store(String),
}

impl From<ChangeError<Self>> for FleetError {
    fn from(error: ChangeError<Self>) -> Self {
        match error {
            ChangeError::Edit(own) => own,
            other => Self::Store(other.to_string()),
        }
    }
}

/// Does what is asked. `attached` is what a control plane that runs knows of its edges; `now_ms` is
/// in milliseconds since 1970.
///
/// # Errors
/// See [`FleetError`].
pub async fn answer(
    keeper: &Keeper,
    vault: &Vault,
    attached: &[EdgeStatus],
    who: &Who,
    request: EdgeRequest,
    now_ms: u64,
) -> Result<EdgeAnswer, FleetError> {
    match request {
        EdgeRequest::CreateToken(wanted) => create(keeper, vault, who, wanted, now_ms).await,
        EdgeRequest::Tokens => Ok(EdgeAnswer::Tokens(tokens(&keeper.state()))),
        EdgeRequest::RevokeToken { id } => revoke_token(keeper, who, id, now_ms).await,
        EdgeRequest::Edges => {
            let state = keeper.state();
            let edges = shown(&state, attached);
            Ok(EdgeAnswer::Edges { edges, halted: Halted::read(&state) })
        }
        EdgeRequest::Revoke { edge } => revoke(keeper, who, &edge, now_ms).await,
    }
}

async fn create(
    keeper: &Keeper,
    vault: &Vault,
    who: &Who,
    wanted: Invitation,
    now_ms: u64,
) -> Result<EdgeAnswer, FleetError> {
    if !is_name(&wanted.name) {
        return Err(FleetError::Name);
    }
    if wanted.roles.is_empty() || wanted.lasts_ms == 0 || wanted.uses == Some(0) {
        return Err(FleetError::Useless);
    }
    let authority = Authority::open(keeper, vault, who, now_ms / 1_000).await?;
    let what = format!("edge token create {}", wanted.name);
    let (token, record) = invite(wanted, authority.hash(), now_ms)?;
    let value = serde_json::to_value(&record).map_err(|e| FleetError::Store(e.to_string()))?;
    let change = keeper.change(who, &what, now_ms, |draft| {
        let mut there = 0;
        for token in tokens(draft) {
            match token.ends_ms.saturating_add(REMEMBERED_MS) < now_ms {
                true => drop(draft.remove(&token_key(&token.id)?)),
                false => there += 1,
            }
        }
        if there >= TOKENS_MAX {
            return Err(FleetError::ManyTokens);
        }
        draft.put(token_key(&record.id)?, value.clone());
        Ok(())
    });
    change.await?;
    Ok(EdgeAnswer::Created { text: token.to_string(), token: token_shown(record) })
}

fn token_shown(record: TokenRecord) -> TokenShown {
    let TokenRecord { id, name, roles, created_ms, ends_ms, uses, .. } = record;
    TokenShown { id, name, roles, created_ms, ends_ms, uses }
}

fn tokens(state: &State) -> Vec<TokenShown> {
    let Ok(folder) = Key::new(TOKENS) else { return Vec::new() };
    let all = state.children(&folder).into_iter();
    let all = all.filter_map(|(_, stored)| TokenRecord::from_json(&stored.value));
    all.map(token_shown).collect()
}

async fn revoke_token(
    keeper: &Keeper,
    who: &Who,
    id: String,
    now_ms: u64,
) -> Result<EdgeAnswer, FleetError> {
    let none = || FleetError::NoToken(id.clone());
    let key = token_key(&id).map_err(|_| none())?;
    let what = format!("edge token revoke {id}");
    let change = keeper
        .change(who, &what, now_ms, |draft| if draft.remove(&key) { Ok(()) } else { Err(none()) });
    change.await?;
    Ok(EdgeAnswer::TokenRevoked { id })
}

fn shown(state: &State, attached: &[EdgeStatus]) -> Vec<EdgeShown> {
    let by_id = attached.iter().map(|status| (status.identity.id.as_str(), status));
    let by_id: BTreeMap<_, _> = by_id.collect();
    let status = |id: &str| by_id.get(id).map(|status| (*status).clone());
    let all = edges(state).into_iter();
    all.map(|record| EdgeShown { status: status(&record.id), record }).collect()
}

async fn revoke(
    keeper: &Keeper,
    who: &Who,
    asked: &str,
    now_ms: u64,
) -> Result<EdgeAnswer, FleetError> {
    let what = format!("edge revoke {asked}");
    let change = keeper.change(who, &what, now_ms, |draft| {
        let mut record = find(draft, asked)?;
        record.revoked_ms.get_or_insert(now_ms);
        let value = serde_json::to_value(&record).map_err(|e| FleetError::Store(e.to_string()))?;
        draft.put(edge_key(&record.id)?, value);
        Ok(EdgeAnswer::Revoked { id: record.id, name: record.name })
    });
    Ok(change.await?.0)
}

/// The edge of an id, or the one of a name that is not revoked.
fn find(state: &State, asked: &str) -> Result<EdgeRecord, FleetError> {
    let mut named = Vec::new();
    for record in edges(state) {
        if record.id == asked {
            return Ok(record);
        }
        if record.name == asked && record.revoked_ms.is_none() {
            named.push(record);
        }
    }
    if named.len() > 1 {
        let ids = named.into_iter().map(|record| record.id).collect();
        return Err(FleetError::Ambiguous { name: asked.to_owned(), ids });
    }
    named.pop().ok_or_else(|| FleetError::NoEdge(asked.to_owned()))
}
