//! The operator's configuration once it is known to be right.
//!
//! References between objects are positions in the lists of [`Config`]; the names stay for people.

mod layer;
mod listener;
mod origin;
pub mod packet;
mod process;
mod route;

pub use layer::{Account, Zone};
pub use listener::{
    Certificate, ClientAuth, HeaderNamePolicy, KeyKind, Limits, Listener, PinnedBytes, Protocol,
    ProxyProtocolIn, RevocationLists, Timeouts, Tls, TlsVersion,
};
pub use origin::{
    Breakers, CodeRange, Keepalive, Monitor, MonitorKind, Origin, OriginAddress, OriginSteering,
    OutlierEjection, Pool, ProxyProtocolOut, Retries, UpstreamProtocols, UpstreamTimeouts,
    UpstreamTls,
};
pub use process::{AccessLog, Admin, Control, LogFormat, LogLevel, LogTarget, Logging, Runtime};
pub use route::{
    Action, HeaderRules, HostPattern, Hsts, HttpsRedirect, LoadBalancer, PathMatch, PoolSteering,
    Redirect, Route, RouteRules,
};

use std::sync::Arc;

/// Position of a monitor in [`Config::monitors`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct MonitorId(pub usize);
/// Position of a pool in [`Config::pools`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct PoolId(pub usize);
/// Position of a listener in [`Config::listeners`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub usize);

/// A name that an operator gave an object; it stands in logs, metrics and references.
pub type Name = Arc<str>;

/// Objects of one kind. Clones share the list, and lists the objects: what two configurations have
/// in common is found by comparing pointers, and an edge with ten thousand hosts pays for the one
/// that changes.
pub type List<T> = Arc<Vec<Arc<T>>>;

/// Everything an operator configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Threads, user, drain.
    pub runtime: Runtime,
    /// The admin listener.
    pub admin: Admin,
    /// Operator log and access log.
    pub logging: Logging,
    /// The control planes that this edge follows; none where the file is all there is.
    pub control: Option<Control>,
    /// Where clients connect; names are unique.
    pub listeners: Vec<Listener>,
    /// How origins are probed; names are unique.
    pub monitors: List<Monitor>,
    /// Groups of origins; names are unique.
    pub pools: List<Pool>,
    /// What every host inherits.
    pub account: Account,
    /// What hosts of a domain inherit; names are unique, and in their order.
    pub zones: List<Zone>,
    /// Hosts and where their requests go; host patterns are unique.
    pub load_balancers: List<LoadBalancer>,
    /// The packet path; none where only connections are served.
    pub packet: Option<packet::PacketConfig>,
    /// The name of the packet path; given as well while none is in force because a control plane
    /// has not published its hash key and servers.
    pub packet_name: Option<Name>,
}

impl Config {
    /// The name of a listener.
    #[must_use]
    pub fn listener_name(&self, id: ListenerId) -> Option<&Name> {
        self.listeners.get(id.0).map(|listener| &listener.name)
    }
}
