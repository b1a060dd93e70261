//! Who an edge is: what its certificate says, and what the store knows of it.

use super::Identity;
use crate::store::{Key, KeyError, State};
use control_api::id;
use control_api::publish::{Refusal, Role};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Where the store has the edges, each by its id.
const EDGES: &str = "edges";
/// Where the store has join tokens, each by its id.
pub(super) const TOKENS: &str = "edges/tokens";
/// What the name of an edge in its certificate begins with; its id follows.
pub(super) const URI: &str = "weir-edge:";

/// Why an edge is refused. The text is for its operator; nothing in it is secret.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// Its join token is unknown.
    #[error(
        "the join token is not one of this control plane, or was revoked: \
         make another one with `weir edge token create`"
    )]
    Token,
    /// Its join token has ended.
    #[error("the join token has ended: make another one with `weir edge token create`")]
    TokenEnded,
    /// Its join token is used up.
    #[error("the join token was used as often as it may be: make one with a greater `--uses`")]
    TokenUsed,
    /// Its request cannot be used.
    #[error("{0}")]
    Request(String),
    /// It shows no certificate.
    #[error("this takes a certificate of an edge: join first, with `--join TOKEN`")]
    NoCertificate,
    /// The store does not know it.
    #[error(
        "edge {0} is not known to this control plane: remove what it keeps on disk and join again"
    )]
    Unknown(String),
    /// It was revoked.
    #[error(
        "edge {0} was revoked: if it is to come back, remove what it keeps on disk and join again"
    )]
    Revoked(String),
    /// Its certificate has ended while it was connected.
    #[error("the certificate has ended: connect with the renewed one, or join again")]
    Ended,
    /// There are too many.
    #[error("there are {EDGES_MAX} edges: revoke those that are gone with `weir edge revoke`")]
    Full,
    /// It tries too often.
    #[error("too many tries: wait {} s", .0.as_secs().max(1))]
    Limited(Duration),
    /// The control plane cannot do it.
    #[error("the control plane cannot do this: {0}")]
    Unavailable(String),
}

/// Edges of one store that are not revoked: the last control plane of several has to take all.
pub const EDGES_MAX: usize = 10_000;

impl Denied {
    /// The same for programs.
    #[must_use]
    pub fn reason(&self) -> Refusal {
        match self {
            Self::Token => Refusal::Token,
            Self::TokenEnded => Refusal::TokenEnded,
            Self::TokenUsed => Refusal::TokenUsed,
            Self::Request(_) => Refusal::Request,
            Self::NoCertificate | Self::Ended => Refusal::NoCertificate,
            Self::Unknown(_) => Refusal::Unknown,
            Self::Revoked(_) => Refusal::Revoked,
            Self::Full => Refusal::Full,
            Self::Limited(_) => Refusal::Limited,
            Self::Unavailable(_) => Refusal::Unavailable,
        }
    }
}

/// What the store has of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeRecord {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What it called itself when it joined.
    pub name: String,
    /// What its token made it.
    pub roles: Vec<Role>,
    /// When it joined, in milliseconds since 1970.
    pub joined_ms: u64,
    /// Where it joined from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// The id of the token that it joined with.
    pub token: String,
    /// When it was revoked, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_ms: Option<u64>,
}

impl EdgeRecord {
    /// From the store; none where it is another thing.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { id: self.id.clone(), name: self.name.clone(), roles: self.roles.clone() }
    }
}

/// Where the store has an edge.
pub(super) fn edge_key(id: &str) -> Result<Key, KeyError> {
    Key::of(&[EDGES, id])
}

/// Where the store has a join token.
pub(super) fn token_key(id: &str) -> Result<Key, KeyError> {
    Key::new(&format!("{TOKENS}/{id}"))
}

/// Every edge of a store, the oldest first; also those that were revoked.
#[must_use]
pub fn edges(state: &State) -> Vec<EdgeRecord> {
    let Ok(folder) = Key::new(EDGES) else { return Vec::new() };
    let all = state.children(&folder).into_iter();
    all.filter_map(|(_, stored)| EdgeRecord::from_json(&stored.value)).collect()
}

/// The ids of all edges, and when each was revoked. Records are not read whole: there are many.
pub(super) fn ids(state: &State) -> Vec<(String, Option<u64>)> {
    let Ok(folder) = Key::new(EDGES) else { return Vec::new() };
    let revoked = |value: &Value| value.get("revoked_ms").and_then(Value::as_u64);
    let all = state.children(&folder).into_iter();
    all.map(|(key, stored)| (key.id().to_owned(), revoked(&stored.value))).collect()
}

/// The edge of an id, where it may come.
///
/// # Errors
/// [`Denied::Unknown`] and [`Denied::Revoked`].
pub fn known(state: &State, id: &str) -> Result<Identity, Denied> {
    let unknown = || Denied::Unknown(id.to_owned());
    let key = edge_key(id).map_err(|_| unknown())?;
    let stored = state.get(&key).ok_or_else(unknown)?;
    let record = EdgeRecord::from_json(&stored.value).ok_or_else(unknown)?;
    match record.revoked_ms {
        None => Ok(record.identity()),
        Some(_) => Err(Denied::Revoked(id.to_owned())),
    }
}

/// What the certificate of an edge says, whose signature was found to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The edge's id.
    pub(super) id: String,
    /// The last second of the certificate, since 1970 (RFC 5280 §4.1.2.5: it is valid then).
    pub(super) ends: u64,
}

/// Reads a certificate (DER); none where it is not that of an edge.
pub(super) fn claim(der: &[u8]) -> Option<Claim> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    let id = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(URI).filter(|id| id::is_id(id)),
        _ => None,
    })?;
    let ends = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(Claim { id: id.to_owned(), ends })
}
