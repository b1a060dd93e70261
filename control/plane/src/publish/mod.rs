//! Publishing: edges join the fleet, and what the store has is put in force on all of them.
//!
//! `ca` is the authority that edges and control planes know each other by, `join` makes an edge out
//! of a token, `listen` takes their connections. What goes over a stream is another's business:
//! [`Streams`] is all that the listener knows of it. The words of both sides are in
//! `control_api::publish`.
//!
//! `compile` makes items of the objects, each by `lower`; `book` says what is meant for edges and
//! what takes them there, `stream` is one edge's task, `trial` is about changes that go to some
//! edges first, and `publisher` holds it together.

mod book;
pub mod ca;
mod compile;
mod count;
mod fleet;
mod gate;
pub mod identity;
pub mod join;
pub mod listen;
mod lower;
mod metrics;
pub mod operator;
mod publisher;
mod ring;
mod rollout;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod told;
mod trial;

pub use compile::LeftOut;
pub use fleet::health::OriginHealth;
pub use publisher::{PublishError, Publisher};
pub(crate) use told::told;

use bytes::Bytes;
use control_api::publish::{Role, SnapshotId};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
pub use process_runtime::config_file::{EdgesSettings, PublishSettings};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// An edge that has joined, as its certificate and the store say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What it is called, mostly its host name; two edges may share a name.
    pub name: String,
    /// What it does.
    pub roles: Vec<Role>,
}

impl Identity {
    /// Whether it has a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// How an edge is doing, as far as one control plane knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeState {
    /// It has no stream to this control plane.
    Away,
    /// It has the newest snapshot that is meant for it.
    Current,
    /// A newer snapshot is on its way to it.
    Behind,
    /// It cannot put the newest snapshot in force.
    Refusing,
}

/// An attached edge, as the control plane that it is attached to sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeStatus {
    /// Which edge.
    pub identity: Identity,
    /// Its version of Weir.
    pub version: String,
    /// Where its connection comes from.
    pub source: Option<SocketAddr>,
    /// When its stream began, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it has in force; none until it said so.
    pub has: Option<SnapshotId>,
    /// The newest generation that is meant for it.
    pub meant: u64,
    /// How long a newer generation has been meant for it than it has, in milliseconds.
    pub lag_ms: u64,
    /// How it is doing.
    pub state: EdgeState,
    /// Whether it is among those that get a change first.
    pub canary: bool,
    /// Why it refuses what is meant for it; empty where it does not.
    pub faults: Vec<String>,
}

/// What a control plane says on a stream.
pub type StreamBody = UnsyncBoxBody<Bytes, Infallible>;

/// What takes the streams of edges whose certificate was found to be right.
pub trait Streams: Send + Sync {
    /// A new stream of an edge. It ends the edge's older one, and itself when `incoming` ends.
    fn attach(
        self: Arc<Self>,
        edge: Identity,
        source: SocketAddr,
        incoming: Incoming,
    ) -> StreamBody;

    /// Ends the stream of an edge that may have none any longer.
    fn detach(&self, edge: &str);

    /// The attached edges.
    fn edges(&self) -> Vec<EdgeStatus>;
}

/// The streams of the control plane that runs, for those who tell how edges are doing; none where
/// none runs.
#[derive(Clone, Default)]
pub struct Attached(Option<Arc<dyn Streams>>);

impl Attached {
    /// These streams.
    #[must_use]
    pub fn to(streams: Arc<dyn Streams>) -> Self {
        Self(Some(streams))
    }

    /// The attached edges.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeStatus> {
        self.0.as_ref().map_or_else(Vec::new, |streams| streams.edges())
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attached").field(&self.0.is_some()).finish()
    }
}
