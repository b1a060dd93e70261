//! A snapshot made ready for the request path: hosts in hash tables, live state at hand.
//!
//! Built once per generation off the request path. Nothing in it changes after that.

use crate::sources::Sources;
use crate::tls::{self, ServerTls, Tickets, TlsError, TlsPolicy};
use core_balance::steer;
use core_model::Generation;
use core_model::config::{
    Action, Config, HostPattern, HttpsRedirect, Listener, ListenerId, LoadBalancer, Origin,
    PathMatch, Pool, PoolId, ProxyProtocolOut, Route, RouteRules, UpstreamProtocols, UpstreamTls,
};
use core_model::effective;
use core_model::snapshot::Snapshot;
use hashbrown::HashMap;
use process_runtime::handover::TicketKeys;
use process_runtime::live::{LiveTable, OriginLive, PoolLive, origin_of};
use process_runtime::metrics::ListenerNumbers;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Everything that changes who an origin's connection speaks for or what was proved on it.
/// Two connections may stand for each other only when this is equal.
#[derive(Debug)]
pub(crate) struct Transport {
    tls: Option<UpstreamTls>,
    pub(crate) protocols: UpstreamProtocols,
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) proxy: Option<ProxyProtocolOut>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) client: Option<Arc<ClientConfig>>,
    /// As `client`, for connections on which HTTP/1.1 must be spoken.
    pub(crate) client_http1: Option<Arc<ClientConfig>>,
}

/// One origin.
#[derive(Debug)]
pub(crate) struct OriginPlan {
    pub(crate) config: Origin,
    pub(crate) live: Arc<OriginLive>,
    pub(crate) transport: Arc<Transport>,
    /// Stable identity for hash steering.
    pub(crate) key: u64,
}

/// One pool.
#[derive(Debug)]
pub(crate) struct PoolPlan {
    pub(crate) config: Pool,
    pub(crate) live: Arc<PoolLive>,
    pub(crate) origins: Vec<OriginPlan>,
}

/// What is done with a request, with the rules that apply to it, the widest first.
#[derive(Debug)]
pub(crate) struct RoutePlan {
    pub(crate) path: PathMatch,
    pub(crate) action: Action,
    pub(crate) rules: RouteRules,
    pub(crate) effect: Effect,
}

/// Which kinds of rules apply to a route, those of its host and listener included; most routes
/// have none, and their requests do not look for any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effect {
    pub(crate) redirect_https: bool,
    pub(crate) request_headers: bool,
    /// Reply fields are set or removed, or HSTS is added.
    pub(crate) reply_headers: bool,
    pub(crate) path: bool,
}

impl Effect {
    fn of(rules: [&RouteRules; 3]) -> Self {
        let any = |test: fn(&RouteRules) -> bool| rules.iter().any(|rule| test(rule));
        Self {
            redirect_https: any(|r| matches!(r.redirect_https, Some(HttpsRedirect::To(_)))),
            request_headers: any(|r| !r.request_headers.is_empty()),
            reply_headers: any(|r| !r.response_headers.is_empty() || r.hsts.is_some()),
            path: any(|r| r.strip_prefix.is_some() || r.add_prefix.is_some()),
        }
    }
}

/// One host of one listener.
#[derive(Debug)]
pub(crate) struct HostPlan {
    pub(crate) name: core_model::config::Name,
    pub(crate) policy: TlsPolicy,
    pub(crate) rules: RouteRules,
    pub(crate) routes: Vec<RoutePlan>,
    pub(crate) default: RoutePlan,
    pub(crate) pools: Arc<Vec<Arc<PoolPlan>>>,
}

/// The hosts that a listener serves.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: HashMap<Vec<u8>, Arc<HostPlan>, foldhash::fast::RandomState>,
    wildcard: HashMap<Vec<u8>, Arc<HostPlan>, foldhash::fast::RandomState>,
    any: Option<Arc<HostPlan>>,
    /// Whether the policies of these hosts differ, so that the name of a handshake matters.
    pub(crate) policies: bool,
}

impl Hosts {
    /// The policy of a connection whose handshake named `sni` (empty where it named nobody).
    pub(crate) fn policy(&self, sni: &str) -> TlsPolicy {
        let name = sni.to_ascii_lowercase();
        self.find(name.as_bytes()).map_or(TlsPolicy::Any, |host| host.policy)
    }

    /// The load balancer of `host` (lower case, without port): the exact one, then the longest
    /// wildcard, then `*`.
    #[inline]
    pub(crate) fn find(&self, host: &[u8]) -> Option<&Arc<HostPlan>> {
        if !self.exact.is_empty()
            && let Some(found) = self.exact.get(host)
        {
            return Some(found);
        }
        if !self.wildcard.is_empty() {
            let mut rest = host;
            while let Some(dot) = memchr::memchr(b'.', rest) {
                rest = rest.get(dot + 1..).unwrap_or_default();
                if let Some(found) = self.wildcard.get(rest) {
                    return Some(found);
                }
            }
        }
        self.any.as_ref()
    }
}

/// One listener.
#[derive(Debug)]
pub(crate) struct ListenerPlan {
    pub(crate) config: Listener,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) stats: ListenerNumbers,
    pub(crate) sources: Arc<Sources>,
    pub(crate) hosts: Hosts,
    /// Whether any origin is told the address that a client connected to.
    pub(crate) tells_local: bool,
}

/// Whether two listeners of two snapshots have the same sockets, whatever they are called. Port 0
/// is another port each time.
pub(crate) fn same_sockets(one: &Listener, other: &Listener) -> bool {
    one.address == other.address && (one.address.port() != 0 || one.name == other.name)
}

/// A whole snapshot.
#[derive(Debug)]
pub struct Plan {
    /// Its number.
    pub generation: Generation,
    /// How long connections may finish once their listener is gone.
    pub(crate) drain_timeout: Duration,
    pub(crate) listeners: Vec<Arc<ListenerPlan>>,
}

/// Ticket keys with the listener and the settings they were made for.
type KeptTickets = (Arc<str>, core_model::config::Tls, Arc<Tickets>);

/// What survives from plan to plan beside the live table.
#[derive(Debug, Default)]
pub struct Kept {
    transports: Mutex<Vec<Arc<Transport>>>,
    tickets: Mutex<Vec<KeptTickets>>,
    /// Keys of the process before this one, for listeners that make their own.
    inherited: Vec<TicketKeys>,
    sources: Mutex<Vec<(Arc<str>, Arc<Sources>)>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    /// With the ticket keys of the process before this one.
    pub(crate) fn inheriting(tickets: Vec<TicketKeys>) -> Self {
        Self { inherited: tickets, ..Self::default() }
    }

    /// After the first plan: keys that nobody took would stay valid without ever being changed.
    pub(crate) fn forget_inherited(&mut self) {
        self.inherited = Vec::new();
    }

    /// The ticket keys that listeners in force made for themselves.
    pub(crate) fn ticket_keys(&self) -> Vec<TicketKeys> {
        let kept = locked(&self.tickets);
        kept.iter().filter_map(|(listener, _, tickets)| tickets.export(listener)).collect()
    }

    fn transport(&self, pool: &Pool, origin: &Origin) -> Result<Arc<Transport>, TlsError> {
        let wanted = pool.tls_at(origin.port);
        let protocols = pool.protocols_at(origin.port);
        let server_name = match wanted {
            None => None,
            Some(tls) => Some(server_name(pool, tls, origin)?),
        };
        let mut transports = locked(&self.transports);
        // What no plan and no connection uses is forgotten here.
        transports.retain(|t| Arc::strong_count(t) > 1);
        let same = |t: &&Arc<Transport>| {
            t.tls.as_ref() == wanted
                && t.protocols == protocols
                && t.server_name == server_name
                && t.proxy == pool.proxy_protocol
                && t.source == pool.source_address
        };
        if let Some(found) = transports.iter().find(same) {
            return Ok(found.clone());
        }
        let client = match wanted {
            Some(tls) => Some(tls::client::client_config(pool, tls)?),
            None => None,
        };
        let made = Arc::new(Transport {
            tls: wanted.cloned(),
            protocols,
            server_name,
            proxy: pool.proxy_protocol,
            source: pool.source_address,
            client_http1: client.as_ref().map(tls::client::http1_only),
            client,
        });
        transports.push(made.clone());
        Ok(made)
    }

    fn tickets(&self, listener: &Listener) -> Option<Arc<Tickets>> {
        let tls = listener.tls.as_ref()?;
        let mut kept = locked(&self.tickets);
        let same = |(name, old, _): &&KeptTickets| {
            *name == listener.name
                && old.ticket_keys == tls.ticket_keys
                && old.ticket_rotation == tls.ticket_rotation
                && old.client_auth == tls.client_auth
                && old.crls == tls.crls
        };
        if let Some((_, _, tickets)) = kept.iter().find(same) {
            return Some(tickets.clone());
        }
        let (auth, crls, keys) = (&tls.client_auth, &tls.crls, &tls.ticket_keys);
        let made = Tickets::new(&listener.name, auth, crls, keys, tls.ticket_rotation)?;
        let before = self.inherited.iter().find(|keys| *keys.listener == *listener.name);
        before.into_iter().for_each(|keys| made.inherit(keys));
        let made = Arc::new(made);
        kept.retain(|(name, _, _)| *name != listener.name);
        kept.push((listener.name.clone(), tls.clone(), made.clone()));
        Some(made)
    }

    fn sources(&self, listener: &Listener) -> Arc<Sources> {
        let mut kept = locked(&self.sources);
        if let Some((_, sources)) = kept.iter().find(|(name, _)| *name == listener.name) {
            return sources.clone();
        }
        let made = Arc::new(Sources::default());
        kept.retain(|(_, sources)| Arc::strong_count(sources) > 1);
        kept.push((listener.name.clone(), made.clone()));
        made
    }
}

fn server_name(
    pool: &Pool,
    tls: &UpstreamTls,
    origin: &Origin,
) -> Result<ServerName<'static>, TlsError> {
    let host = origin.host_header.as_deref().map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    });
    let address = origin.address.to_string();
    let name = tls.server_name.as_deref().or(host).unwrap_or(&address);
    let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(bare).map_err(|error| TlsError::Settings {
        owner: format!("pool {}, origin {}", pool.name, origin.name),
        cause: format!("`{name}` cannot be verified in a certificate: {error}"),
    })
}

impl Plan {
    /// Makes `snapshot` ready.
    ///
    /// # Errors
    /// Every TLS setting that cannot be used; nothing is changed then.
    pub fn build(
        snapshot: &Snapshot,
        live: &LiveTable,
        kept: &Kept,
    ) -> Result<Self, Vec<TlsError>> {
        let config = &snapshot.config;
        let mut faults = Vec::new();
        let mut pools = Vec::with_capacity(config.pools.len());
        for pool in &config.pools {
            pools.push(Arc::new(pool_plan(pool, live, kept, &mut faults)));
        }
        let pools = Arc::new(pools);
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for (index, listener) in config.listeners.iter().enumerate() {
            let tls = match (&listener.tls, kept.tickets(listener)) {
                (Some(tls), Some(tickets)) => {
                    tls::server_config(listener, tls, tickets).map_err(|e| faults.push(e)).ok()
                }
                (Some(_), None) => {
                    faults.push(TlsError::Settings {
                        owner: format!("listener {}", listener.name),
                        cause: "the system gave no randomness for ticket keys".into(),
                    });
                    None
                }
                (None, _) => None,
            };
            listeners.push(Arc::new(ListenerPlan {
                tls,
                stats: live.listener(&listener.name),
                sources: kept.sources(listener),
                hosts: hosts(config, ListenerId(index), &pools),
                tells_local: config.pools.iter().any(|pool| pool.proxy_protocol.is_some()),
                config: listener.clone(),
            }));
        }
        if faults.is_empty() {
            let drain_timeout = config.runtime.drain_timeout;
            Ok(Self { generation: snapshot.generation, drain_timeout, listeners })
        } else {
            Err(faults)
        }
    }
}

fn pool_plan(pool: &Pool, live: &LiveTable, kept: &Kept, faults: &mut Vec<TlsError>) -> PoolPlan {
    let mut origins = Vec::with_capacity(pool.origins.len());
    for origin in &pool.origins {
        match kept.transport(pool, origin) {
            Ok(transport) => origins.push(OriginPlan {
                key: steer::key(&format!("{}:{}", origin.address, origin.port)),
                config: origin.clone(),
                live: origin_of(live, pool, origin),
                transport,
            }),
            Err(fault) => faults.push(fault),
        }
    }
    PoolPlan { config: pool.clone(), live: live.pool(&pool.name), origins }
}

fn hosts(config: &Config, listener: ListenerId, pools: &Arc<Vec<Arc<PoolPlan>>>) -> Hosts {
    let mut hosts = Hosts::default();
    let none = RouteRules::default();
    let rules = config.listeners.get(listener.0).map_or(&none, |listener| &listener.rules);
    for balancer in &config.load_balancers {
        let here = balancer.listeners.is_empty() || balancer.listeners.contains(&listener);
        if !balancer.enabled || !here {
            continue;
        }
        let own = effective::host_rules(config, balancer);
        let plan = Arc::new(host_plan(balancer, own, rules, pools));
        hosts.policies |= plan.policy != TlsPolicy::Any;
        match &balancer.host {
            HostPattern::Exact(host) => {
                hosts.exact.insert(host.clone().into_bytes(), plan);
            }
            HostPattern::Wildcard(parent) => {
                hosts.wildcard.insert(parent.clone().into_bytes(), plan);
            }
            HostPattern::Any => hosts.any = Some(plan),
        }
    }
    hosts
}

fn host_plan(
    balancer: &LoadBalancer,
    own: RouteRules,
    listener: &RouteRules,
    pools: &Arc<Vec<Arc<PoolPlan>>>,
) -> HostPlan {
    let route = |route: &Route| RoutePlan {
        path: route.path.clone(),
        action: route.action.clone(),
        rules: route.rules.clone(),
        effect: Effect::of([listener, &own, &route.rules]),
    };
    HostPlan {
        name: balancer.name.clone(),
        policy: match balancer.require_client_certificate {
            true => TlsPolicy::ClientCertificate,
            false => TlsPolicy::Any,
        },
        routes: balancer.routes.iter().map(route).collect(),
        default: RoutePlan {
            path: PathMatch::Prefix("/".into()),
            action: balancer.default.clone(),
            rules: RouteRules::default(),
            effect: Effect::of([listener, &own, &RouteRules::default()]),
        },
        pools: pools.clone(),
        rules: own,
    }
}

impl HostPlan {
    /// The pool at `id`.
    pub(crate) fn pool(&self, id: PoolId) -> Option<&Arc<PoolPlan>> {
        self.pools.get(id.0)
    }

    /// The route of a path: exact paths first, then the longest prefix, then the default.
    pub(crate) fn route(&self, path: &str) -> &RoutePlan {
        self.routes.iter().find(|route| matches(&route.path, path)).unwrap_or(&self.default)
    }
}

fn matches(pattern: &PathMatch, path: &str) -> bool {
    match pattern {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => path
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        for (prefix, path, expect) in [
            ("/api", "/api", true),
            ("/api", "/api/x", true),
            ("/api", "/apis", false),
            ("/api/", "/api/x", true),
            ("/api/", "/api", false),
            ("/", "/anything", true),
        ] {
            assert_eq!(matches(&PathMatch::Prefix(prefix.into()), path), expect, "{prefix} {path}");
        }
    }
}
