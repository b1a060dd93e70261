//! The hosts of a listener in hash tables, each with its routes and rules.

use crate::tls::TlsPolicy;
use core_model::config::{
    Action, Config, HostPattern, HttpsRedirect, List, ListenerId, LoadBalancer, PathMatch, Route,
    RouteRules, Zone,
};
use core_model::effective;
use hashbrown::HashMap;
use std::sync::Arc;

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
    /// The zone whose rules it has inherited.
    zone: Option<Arc<Zone>>,
}

type Table = HashMap<Arc<[u8]>, Arc<HostPlan>, foldhash::fast::RandomState>;

/// The hosts that a listener serves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    exact: Table,
    wildcard: Table,
    any: Option<Arc<HostPlan>>,
    /// Hosts that have a policy of their own.
    strict: usize,
}

impl Hosts {
    /// The hosts of a listener that has `rules`.
    pub(super) fn new(config: &Config, listener: ListenerId, rules: &RouteRules) -> Self {
        let mut hosts = Self::default();
        hosts.exact.reserve(config.load_balancers.len());
        for balancer in config.load_balancers.iter() {
            hosts.add(config, balancer, listener, rules);
        }
        hosts
    }

    /// These hosts made those of `config`, from what `former` balancers were. Rules of account and
    /// listener are the same, and those of zones where the second says so.
    pub(super) fn changed(
        &self,
        config: &Config,
        listener: ListenerId,
        rules: &RouteRules,
        (former, same_zones): (&List<LoadBalancer>, bool),
    ) -> Self {
        let now = &config.load_balancers;
        let same = |at: usize| match (former.get(at), now.get(at)) {
            (Some(old), Some(new)) => {
                Arc::ptr_eq(old, new) && (same_zones || self.zone_stays(config, old))
            }
            _ => false,
        };
        let others: Vec<usize> = (0..former.len().max(now.len())).filter(|at| !same(*at)).collect();
        if others.len() > now.len() / 2 {
            return Self::new(config, listener, rules);
        }
        let mut hosts = self.clone();
        // A host may go from one object to another, so that all leave before any comes.
        for old in others.iter().filter_map(|at| former.get(*at)) {
            hosts.remove(old, listener);
        }
        for new in others.iter().filter_map(|at| now.get(*at)) {
            hosts.add(config, new, listener, rules);
        }
        hosts
    }

    fn zone_stays(&self, config: &Config, balancer: &LoadBalancer) -> bool {
        let had = self.of(&balancer.host).map(|plan| plan.zone.as_ref().map(Arc::as_ptr));
        let has = effective::zone_of(config, &balancer.host).map(Arc::as_ptr);
        had.is_none_or(|had| had == has)
    }

    fn of(&self, host: &HostPattern) -> Option<&Arc<HostPlan>> {
        match host {
            HostPattern::Exact(host) => self.exact.get(host.as_bytes()),
            HostPattern::Wildcard(parent) => self.wildcard.get(parent.as_bytes()),
            HostPattern::Any => self.any.as_ref(),
        }
    }

    fn add(
        &mut self,
        config: &Config,
        balancer: &LoadBalancer,
        listener: ListenerId,
        rules: &RouteRules,
    ) {
        if !is_here(balancer, listener) {
            return;
        }
        let plan = Arc::new(host_plan(config, balancer, rules));
        self.strict += usize::from(plan.policy != TlsPolicy::Any);
        match &balancer.host {
            HostPattern::Exact(host) => drop(self.exact.insert(host.as_bytes().into(), plan)),
            HostPattern::Wildcard(parent) => {
                drop(self.wildcard.insert(parent.as_bytes().into(), plan));
            }
            HostPattern::Any => self.any = Some(plan),
        }
    }

    fn remove(&mut self, balancer: &LoadBalancer, listener: ListenerId) {
        if !is_here(balancer, listener) {
            return;
        }
        let gone = match &balancer.host {
            HostPattern::Exact(host) => self.exact.remove(host.as_bytes()),
            HostPattern::Wildcard(parent) => self.wildcard.remove(parent.as_bytes()),
            HostPattern::Any => self.any.take(),
        };
        self.strict -= usize::from(gone.is_some_and(|plan| plan.policy != TlsPolicy::Any));
    }

    /// Whether the policies of these hosts differ, so that the name of a handshake matters.
    pub(crate) fn policies(&self) -> bool {
        self.strict > 0
    }

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

/// Whether a listener serves it.
fn is_here(balancer: &LoadBalancer, listener: ListenerId) -> bool {
    let here = balancer.listeners.is_empty() || balancer.listeners.contains(&listener);
    balancer.enabled && here
}

fn host_plan(config: &Config, balancer: &LoadBalancer, listener: &RouteRules) -> HostPlan {
    let zone = effective::zone_of(config, &balancer.host);
    let own = effective::host_rules(config, balancer);
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
        zone: zone.cloned(),
        rules: own,
    }
}

impl HostPlan {
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
