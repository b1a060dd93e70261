//! The messages of joining and of the stream.

use super::{Hash, Item, ItemKey, SnapshotId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where an edge joins, over TLS without a certificate of its own: `POST` of [`Enrol`] gives
/// [`Certified`].
pub const JOIN_PATH: &str = "/edge/v1/join";
/// Where an edge renews its certificate, with the old one: `POST` of [`Renew`] gives
/// [`Certified`].
pub const RENEW_PATH: &str = "/edge/v1/renew";
/// Where an edge follows: a `POST` of HTTP/2 whose request is a stream of [`EdgeMessage`], and
/// whose reply is one of [`PlaneMessage`].
pub const STREAM_PATH: &str = "/edge/v1/stream";

/// What an edge does, and so what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Serves requests.
    Proxy,
    /// Forwards packets: it is given the key that flows are hashed with.
    Packet,
}

/// What an edge joins with: a secret, and the hash of the authority that it is to trust.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The id under which the store has the hash of the secret: 32 hexadecimal digits.
    pub id: String,
    /// 32 random octets as 64 hexadecimal digits.
    pub secret: String,
    /// SHA-256 of the authority's certificate (DER).
    pub authority: Hash,
}

/// Why a text is not a join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a join token: it is what `weir edge token create` printed, `weir-join.` first")]
pub struct TokenError;

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.trim().split('.');
        let mut next = || parts.next().ok_or(TokenError);
        if next()? != "weir-join" {
            return Err(TokenError);
        }
        let (id, secret, authority) = (next()?, next()?, next()?);
        let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if parts.next().is_some() || id.len() != 32 || secret.len() != 64 {
            return Err(TokenError);
        }
        if !hex(id) || !hex(secret) {
            return Err(TokenError);
        }
        let authority = Hash::try_from(authority.to_owned()).map_err(|_| TokenError)?;
        Ok(Self { id: id.to_owned(), secret: secret.to_owned(), authority })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weir-join.{}.{}.{}", self.id, self.secret, self.authority)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The secret is for nobody's log.
        write!(f, "weir-join.{}.(secret)", self.id)
    }
}

/// An edge asks to join.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrol {
    /// A join token.
    pub token: String,
    /// What the edge is called, mostly its host name: 1 to 64 letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// A PKCS#10 request (PEM, RFC 2986) for the edge's key; its names are not looked at.
    pub request: String,
}

/// An edge asks for a certificate that lasts longer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    /// As [`Enrol::request`]; the key may be a new one.
    pub request: String,
}

/// An edge's certificate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Certified {
    /// The edge's id: 32 hexadecimal digits.
    pub edge: String,
    /// Its certificate (PEM).
    pub certificate: String,
    /// The authorities that control planes are known by (PEM), one or more.
    pub authorities: String,
    /// When the certificate ends, in seconds since 1970.
    pub ends: u64,
    /// When the edge should renew it, in seconds since 1970.
    pub renew: u64,
}

/// What became of a snapshot on an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in force.
    Applied {
        /// Microseconds from its last octet to then.
        took_us: u64,
    },
    /// It cannot be put in force here; the one before it is.
    Refused {
        /// Why, at most ten lines.
        faults: Vec<String>,
    },
    /// What came does not have the hash that was promised, or does not follow what is here: all
    /// of it is needed.
    Resync,
}

/// What an edge says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeMessage {
    /// First of all.
    Hello {
        /// Its version of Weir.
        version: String,
        /// What it has in force, or on disk.
        has: Option<SnapshotId>,
        /// How often the edge was started without an order: for the first time, and after a crash.
        /// Upgrades and orderly restarts do not count.
        starts: u64,
    },
    /// What became of a snapshot.
    Ack {
        /// Which one.
        snapshot: SnapshotId,
        /// What became of it.
        outcome: Outcome,
    },
    /// How it is doing.
    Report(Report),
}

/// Counts since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Requests answered.
    pub requests: u64,
    /// Requests that were answered with 5xx, by whomever.
    pub errors: u64,
    /// Tasks that panicked.
    pub panics: u64,
    /// Requests under way.
    pub active: u64,
}

/// How an edge is doing, every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Counts.
    pub numbers: Numbers,
    /// Origins whose health was found to be another since the last report; all of them in the first
    /// one of a stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<OriginReport>,
}

/// What an edge's own monitor says of an origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginReport {
    /// The id of the pool's item.
    pub pool: String,
    /// The origin's name in the pool.
    pub origin: String,
    /// Its address.
    pub address: String,
    /// Whether it is well; none while nobody knows.
    pub healthy: Option<bool>,
    /// Why it is not, in the words of the prober; empty where it is.
    pub reason: String,
    /// Microseconds that the last probe took, where one did.
    pub rtt_us: Option<u64>,
}

/// What a control plane says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaneMessage {
    /// The answer to a hello.
    Welcome {
        /// What the edge is called there.
        name: String,
        /// Its roles there.
        roles: Vec<Role>,
        /// How often a report is wanted, in milliseconds.
        report_ms: u64,
        /// How often the plane says something at least, in milliseconds: an edge that hears nothing
        /// for three times as long looks for another plane.
        beat_ms: u64,
    },
    /// A snapshot follows.
    Begin {
        /// What it will be.
        snapshot: SnapshotId,
        /// What it changes; all of it comes where there is none.
        base: Option<SnapshotId>,
        /// Items that follow in [`PlaneMessage::Items`], put and removed.
        items: usize,
        /// When its last change was committed, in milliseconds since 1970.
        committed_ms: u64,
    },
    /// A part of it.
    Items {
        /// Items that are new or others.
        put: Vec<Item>,
        /// Items that are gone.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remove: Vec<ItemKey>,
    },
    /// It is whole.
    End {
        /// As it was announced.
        snapshot: SnapshotId,
    },
    /// The plane is there, whatever is under way. The edge has what is meant for it where this is
    /// the generation that it has; one that refuses a snapshot is told of it all the same.
    Beat {
        /// The newest generation that is meant for it. It may be an older one than it has, where a
        /// change is taken back that some edges got first.
        generation: u64,
    },
}

/// Why a control plane refuses an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The join token is unknown: wrong, or revoked.
    Token,
    /// The join token has ended.
    TokenEnded,
    /// The join token was used as often as it may be.
    TokenUsed,
    /// The request cannot be understood, or its key cannot be used.
    Request,
    /// No certificate was shown where there must be one.
    NoCertificate,
    /// The edge of the certificate is not known here.
    Unknown,
    /// The edge was revoked.
    Revoked,
    /// There are as many edges as there may be.
    Full,
    /// Too many tries; later is fine.
    Limited,
    /// The store cannot be asked; later is fine, or another control plane.
    Unavailable,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

impl Refusal {
    /// Whether the same may be tried again.
    #[must_use]
    pub fn passes(self) -> bool {
        matches!(self, Self::Limited | Self::Unavailable | Self::Other)
    }
}

/// The body of a reply that is no 200.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Why, for programs.
    pub reason: Refusal,
    /// Why, and what to do, for people.
    pub message: String,
}
