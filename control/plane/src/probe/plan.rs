//! What is probed and how: the configuration, one plan for each origin of a monitored pool.

use super::place::{Place, Scheme};
use core_model::config::{
    Monitor, MonitorKind, Name, Origin, OriginAddress, Pool, ProxyProtocolOut, UpstreamProtocols,
    UpstreamTls,
};
use core_model::net::IpNet;
use process_runtime::live::{LiveTable, OriginLive};
use std::net::IpAddr;
use std::sync::Arc;

/// Which origin: pool, origin, address and port. The live state has the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) pool: Name,
    pub(crate) origin: Name,
    address: OriginAddress,
    port: u16,
}

impl Key {
    pub(crate) fn new(pool: &Pool, origin: &Origin) -> Self {
        Self {
            pool: pool.name.clone(),
            origin: origin.name.clone(),
            address: origin.address.clone(),
            port: origin.port,
        }
    }

    /// Address and port.
    pub(crate) fn identity(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }
}

/// Everything that decides how an origin is probed. A target whose plan did not change goes on
/// through a reload as if nothing happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) pool: Name,
    pub(crate) address: OriginAddress,
    pub(crate) port: u16,
    pub(crate) host_header: Option<String>,
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) tls: Option<Arc<UpstreamTls>>,
    /// What is spoken with the origin itself; see [`Plan::protocols`].
    pub(crate) protocols: UpstreamProtocols,
    pub(crate) proxy_protocol: Option<ProxyProtocolOut>,
    pub(crate) source_address: Option<IpAddr>,
    pub(crate) deny_addresses: Vec<IpNet>,
}

impl Plan {
    fn new(pool: &Pool, origin: &Origin, monitor: &Arc<Monitor>) -> Self {
        // A port of the monitor's own is a health service beside the origin's, which the load
        // balancer's connections do not reach, so that nothing says it reads a PROXY header or
        // speaks HTTP/2.
        let own_port = monitor.port.is_none_or(|port| port == origin.port);
        Self {
            pool: pool.name.clone(),
            address: origin.address.clone(),
            port: monitor.port.unwrap_or(origin.port),
            host_header: origin.host_header.clone(),
            monitor: monitor.clone(),
            tls: pool.tls.clone(),
            protocols: if own_port {
                pool.protocols_at(origin.port)
            } else {
                UpstreamProtocols::HTTP1
            },
            proxy_protocol: pool.proxy_protocol.filter(|_| own_port),
            source_address: pool.source_address,
            deny_addresses: pool.deny_addresses.clone(),
        }
    }

    /// The Host that was configured: the origin's, else the monitor's.
    fn configured_host(&self) -> Option<&str> {
        let of_monitor = || {
            let host = self.monitor.header.iter().find(|(n, _)| n.eq_ignore_ascii_case("host"));
            host.and_then(|(_, values)| values.first()).map(String::as_str)
        };
        self.host_header.as_deref().or_else(of_monitor)
    }

    /// Where the first request goes.
    pub(crate) fn start(&self) -> Place {
        let scheme = match self.monitor.kind {
            MonitorKind::Https => Scheme::Https,
            MonitorKind::Http | MonitorKind::Tcp => Scheme::Http,
        };
        let authority = match self.configured_host() {
            Some(host) => host.to_owned(),
            None if self.port == scheme.default_port() => self.address.to_string(),
            None => format!("{}:{}", self.address, self.port),
        };
        let target = if self.monitor.path.is_empty() { "/" } else { &self.monitor.path };
        Place { scheme, authority, port: self.port, target: target.to_owned(), own: true }
    }

    /// What is spoken at `place`: the pool's protocols, which say nothing of other hosts.
    pub(crate) fn protocols(&self, place: &Place) -> UpstreamProtocols {
        if place.own { self.protocols } else { UpstreamProtocols::HTTP1 }
    }

    /// The name that TLS asks for and verifies at `place`: the pool's where it has one, else the
    /// host of the request.
    pub(crate) fn server_name<'a>(&'a self, place: &'a Place) -> &'a str {
        let configured = self.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        configured.filter(|_| place.own).unwrap_or_else(|| place.host())
    }
}

/// A plan and the live state that its results go to.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) live: Arc<OriginLive>,
}

/// What a configuration asks for of one pool, in the order of its origins.
#[derive(Default)]
pub(crate) struct Wanted {
    /// Its enabled origins, where it is enabled and has a monitor.
    pub(crate) probed: Vec<(Key, Planned)>,
    /// Its enabled origins, where it is enabled and has none; they serve whatever their health.
    pub(crate) unmonitored: Vec<Key>,
}

/// Reads the plans out of a pool.
pub(crate) fn wanted(pool: &Pool, monitor: Option<&Arc<Monitor>>, table: &LiveTable) -> Wanted {
    let mut wanted = Wanted::default();
    if !pool.enabled {
        return wanted;
    }
    let enabled = |origin: &&Origin| origin.enabled;
    let Some(monitor) = monitor else {
        let origins = pool.origins.iter().filter(enabled);
        wanted.unmonitored = origins.map(|origin| Key::new(pool, origin)).collect();
        return wanted;
    };
    let all = pool.origins.iter().zip(table.state_of(pool).origins);
    for (origin, live) in all.filter(|(origin, _)| origin.enabled) {
        let plan = Plan::new(pool, origin, monitor);
        wanted.probed.push((Key::new(pool, origin), Planned { plan, live }));
    }
    wanted
}
