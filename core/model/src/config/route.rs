//! `[[load_balancer]]`: which pools serve which host and path.

use super::{ListenerId, Name, PoolId};
use std::time::Duration;

/// A host a load balancer serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Exactly this host, in lower case, without port.
    Exact(String),
    /// Any one or more labels before this suffix: `*.example.com` is stored as `example.com`.
    Wildcard(String),
    /// Every host (`*`).
    Any,
}

/// How a pool of a load balancer is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolSteering {
    /// The first healthy pool in order (failover).
    Off,
    /// Random by weight, in tenths (Cloudflare's 0..1 in steps of 0.1), one for each pool in order.
    Random(Vec<u8>),
}

/// One `[[load_balancer]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadBalancer {
    /// The host as written; the object's unique name.
    pub name: Name,
    /// What it matches.
    pub host: HostPattern,
    /// Disabled ones match nothing.
    pub enabled: bool,
    /// Free text.
    pub description: String,
    /// Listeners it serves; every one where empty.
    pub listeners: Vec<ListenerId>,
    /// Whether requests need a connection on which a client certificate was shown and verified.
    pub require_client_certificate: bool,
    /// What to do where no route matches.
    pub default: Action,
    /// Routes, the most specific first: exact paths, then prefixes from long to short.
    pub routes: Vec<Route>,
    /// Redirects, HSTS and headers of every request of this host, without what it inherits.
    pub rules: RouteRules,
}

/// What a request path must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// The whole path.
    Exact(String),
    /// The path or a path below it: `/api` matches `/api` and `/api/x` but not `/apis`.
    Prefix(String),
}

/// A path within a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Name for logs: the path as written.
    pub name: Name,
    /// Which paths.
    pub path: PathMatch,
    /// What is done.
    pub action: Action,
    /// Redirects, HSTS and headers of this route, applied after those of host and listener.
    pub rules: RouteRules,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Sent to an origin of one of these pools.
    Proxy {
        /// Pools in order of preference; never empty.
        pools: Vec<PoolId>,
        /// Used when every other is disabled or unhealthy; its own health is ignored.
        fallback: PoolId,
        /// How a pool is chosen.
        steering: PoolSteering,
    },
    /// Answered with a redirect.
    Redirect(Redirect),
}

/// A redirect to a fixed place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Absolute URL or path. The request's path and query are appended when it ends with `*`
    /// (which is not part of it).
    pub location: String,
    /// Whether path and query of the request are appended.
    pub append_path: bool,
}

/// Whether plain requests are answered with 308 to the https URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpsRedirect {
    /// They are not.
    Off,
    /// They are, at this port.
    To(u16),
}

/// Strict-Transport-Security (RFC 6797).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long clients remember.
    pub max_age: Duration,
    /// Whether subdomains are included.
    pub include_subdomains: bool,
    /// Whether preloading is agreed to.
    pub preload: bool,
}

/// Header changes of one direction. Names and values are valid fields (RFC 9110 §5).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderRules {
    /// Fields that replace any of the same name.
    pub set: Vec<(String, String)>,
    /// Names in lower case that are removed.
    pub remove: Vec<String>,
}

impl HeaderRules {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}

/// What a listener, host or route does to requests beside proxying them.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RouteRules {
    /// Whether plain requests are sent to https; `None` leaves that to the wider layer.
    pub redirect_https: Option<HttpsRedirect>,
    /// Added to replies over TLS.
    pub hsts: Option<Hsts>,
    /// Changes of the request before it is forwarded.
    pub request_headers: HeaderRules,
    /// Changes of the reply before it is sent.
    pub response_headers: HeaderRules,
    /// This prefix of the path is replaced (routes only).
    pub strip_prefix: Option<String>,
    /// By this one.
    pub add_prefix: Option<String>,
}
