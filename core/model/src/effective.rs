//! What holds for a host and a path in the end, and which layer says so.
//!
//! Five layers, from the widest to the nearest: listener, account, zone, host, route. Of a value
//! that is one thing the nearest layer that gives it wins; of headers the nearest layer that sets
//! or removes a field decides about that field. Everything here is a function of the configuration
//! alone.

use crate::config::{
    Action, Config, HeaderRules, HostPattern, Hsts, HttpsRedirect, Listener, LoadBalancer,
    PathMatch, Route, RouteRules, Zone,
};
use std::sync::Arc;

/// Where a value was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Nowhere: what holds without.
    Default,
    /// At the listener that the request came in by.
    Listener,
    /// In `[account]`.
    Account,
    /// In the `[[zone]]` of the host.
    Zone,
    /// In the `[[load_balancer]]`.
    Host,
    /// In its route.
    Route,
}

impl Layer {
    /// Its name in the configuration's words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Listener => "listener",
            Self::Account => "account",
            Self::Zone => "zone",
            Self::Host => "host",
            Self::Route => "route",
        }
    }
}

/// A value and where it was given.
#[derive(Clone, Debug, PartialEq)]
pub struct Given<T> {
    /// The value.
    pub value: T,
    /// The layer that gave it.
    pub layer: Layer,
}

/// What becomes of one header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChange {
    /// The field, as the deciding layer writes it.
    pub name: String,
    /// The value that replaces any other; `None` where the field is removed.
    pub value: Option<String>,
    /// The layer that decided.
    pub layer: Layer,
}

/// All that holds for a host and a path.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective<'a> {
    /// The host's object.
    pub host: &'a LoadBalancer,
    /// The zone that the host is in.
    pub zone: Option<&'a Zone>,
    /// The route that the path takes; `None` where the host's own action is taken.
    pub route: Option<&'a Route>,
    /// Where requests go.
    pub action: Given<&'a Action>,
    /// Whether plain requests are sent to https.
    pub redirect_https: Given<HttpsRedirect>,
    /// Strict-Transport-Security.
    pub hsts: Given<Option<Hsts>>,
    /// Changes of the request, by name.
    pub request_headers: Vec<HeaderChange>,
    /// Changes of the reply, by name.
    pub response_headers: Vec<HeaderChange>,
}

/// What holds for `host` (lower case, without port) and `path` (in its normal form) on a listener;
/// without one, what the layers below it say. `None` where no load balancer serves the host.
#[must_use]
pub fn effective<'a>(
    config: &'a Config,
    listener: Option<&'a Listener>,
    host: &str,
    path: &str,
) -> Option<Effective<'a>> {
    let balancer = find(config, listener, host)?;
    let route = balancer.routes.iter().find(|route| matches(&route.path, path));
    let zone = zone_of(config, &balancer.host).map(|zone| &**zone);
    let layers = [
        listener.map(|listener| (Layer::Listener, &listener.rules)),
        Some((Layer::Account, &config.account.rules)),
        zone.map(|zone| (Layer::Zone, &zone.rules)),
        Some((Layer::Host, &balancer.rules)),
        route.map(|route| (Layer::Route, &route.rules)),
    ];
    let layers: Vec<(Layer, &RouteRules)> = layers.into_iter().flatten().collect();
    let action = match route {
        Some(route) => Given { value: &route.action, layer: Layer::Route },
        None => Given { value: &balancer.default, layer: Layer::Host },
    };
    let hsts = nearest(&layers, |rules| rules.hsts.clone());
    Some(Effective {
        host: balancer,
        zone,
        route,
        action,
        redirect_https: nearest(&layers, |rules| rules.redirect_https)
            .unwrap_or(Given { value: HttpsRedirect::Off, layer: Layer::Default }),
        hsts: match hsts {
            Some(Given { value, layer }) => Given { value: Some(value), layer },
            None => Given { value: None, layer: Layer::Default },
        },
        request_headers: changes(&layers, |rules| &rules.request_headers),
        response_headers: changes(&layers, |rules| &rules.response_headers),
    })
}

/// The rules of a host with those that it inherits from account and zone: what planes work by.
#[must_use]
pub fn host_rules(config: &Config, balancer: &LoadBalancer) -> RouteRules {
    let zone = zone_of(config, &balancer.host).map(|zone| &zone.rules);
    let inherited = zone.into_iter().chain([&balancer.rules]);
    inherited.fold(config.account.rules.clone(), |wide, near| RouteRules {
        redirect_https: near.redirect_https.or(wide.redirect_https),
        hsts: near.hsts.clone().or(wide.hsts),
        request_headers: over(wide.request_headers, &near.request_headers),
        response_headers: over(wide.response_headers, &near.response_headers),
        strip_prefix: None,
        add_prefix: None,
    })
}

/// The zone of a host: the longest domain that it is in.
#[must_use]
pub fn zone_of<'a>(config: &'a Config, host: &HostPattern) -> Option<&'a Arc<Zone>> {
    let name = match host {
        HostPattern::Exact(name) | HostPattern::Wildcard(name) => name,
        HostPattern::Any => return None,
    };
    let dots = name.match_indices('.').filter_map(|(at, _)| name.get(at + 1..));
    let mut domains = std::iter::once(name.as_str()).chain(dots);
    domains.find_map(|domain| {
        let at = config.zones.binary_search_by(|zone| (*zone.name).cmp(domain)).ok()?;
        config.zones.get(at)
    })
}

/// The load balancer of a host: the exact one, then the longest wildcard, then `*`.
fn find<'a>(
    config: &'a Config,
    listener: Option<&Listener>,
    host: &str,
) -> Option<&'a LoadBalancer> {
    let serves = |balancer: &&LoadBalancer| {
        let named = |name| balancer.listeners.iter().any(|id| config.listener_name(*id) == name);
        let here = listener.is_none_or(|listener| named(Some(&listener.name)));
        balancer.enabled && (balancer.listeners.is_empty() || here)
    };
    let rank = |balancer: &LoadBalancer| match &balancer.host {
        HostPattern::Exact(name) => (name == host).then_some(usize::MAX),
        HostPattern::Wildcard(parent) => {
            let labels = host.strip_suffix(parent.as_str())?.strip_suffix('.')?;
            (!labels.is_empty()).then_some(parent.len())
        }
        HostPattern::Any => Some(0),
    };
    let all = config.load_balancers.iter().map(|balancer| &**balancer).filter(serves);
    let ranked = all.filter_map(|balancer| Some((rank(balancer)?, balancer)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, balancer)| balancer)
}

fn matches(pattern: &PathMatch, path: &str) -> bool {
    match pattern {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) if prefix == "/" => true,
        PathMatch::Prefix(prefix) => path
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    }
}

fn nearest<T>(
    layers: &[(Layer, &RouteRules)],
    value: impl Fn(&RouteRules) -> Option<T>,
) -> Option<Given<T>> {
    let mut near = layers.iter().rev();
    near.find_map(|(layer, rules)| Some(Given { value: value(rules)?, layer: *layer }))
}

/// Header changes of all layers, each field by the nearest that names it, in order of names.
fn changes<'a>(
    layers: &[(Layer, &'a RouteRules)],
    headers: impl Fn(&'a RouteRules) -> &'a HeaderRules,
) -> Vec<HeaderChange> {
    let mut decided: Vec<HeaderChange> = Vec::new();
    for (layer, rules) in layers {
        let rules = headers(rules);
        let set = rules.set.iter().map(|(name, value)| (name, Some(value.clone())));
        let removed = rules.remove.iter().map(|name| (name, None));
        for (name, value) in set.chain(removed) {
            decided.retain(|change| !change.name.eq_ignore_ascii_case(name));
            decided.push(HeaderChange { name: name.clone(), value, layer: *layer });
        }
    }
    decided.sort_by_key(|change| change.name.to_ascii_lowercase());
    decided
}

/// Header rules of a wide layer under those of a nearer one.
fn over(mut wide: HeaderRules, near: &HeaderRules) -> HeaderRules {
    let named = |name: &str| {
        let set = near.set.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        set || near.remove.iter().any(|other| other.eq_ignore_ascii_case(name))
    };
    wide.set.retain(|(name, _)| !named(name));
    wide.remove.retain(|name| !named(name));
    wide.set.extend(near.set.iter().cloned());
    wide.remove.extend(near.remove.iter().cloned());
    wide
}
