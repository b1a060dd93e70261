//! Stage: which host, route, pool and origin a request gets. Decides; nothing is sent here.

use crate::exchange::{Exchange, Stage, Target};
use crate::lifecycle::Refusal;
use crate::plan::PoolPlan;
use crate::reason::Reason;
use crate::stage::gate;
use crate::timer;
use core_balance::steer::{self, Candidate};
use core_balance::{rng, slow_start};
use core_model::config::{Action, HttpsRedirect, OriginSteering, PoolId, RouteRules};
use core_wire::path;
use process_runtime::live::Health;
use process_runtime::metrics::Limit;
use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;

/// What is done with a request.
pub(crate) enum Decision<'a> {
    /// It goes to an origin.
    Proxy(Target<'a>),
    /// It is answered with a redirect to a place.
    Redirect(RedirectTo),
}

/// A redirect that is ready to be sent.
pub(crate) struct RedirectTo {
    pub(crate) status: u16,
    pub(crate) location: String,
}

/// Finds host and route.
pub(crate) fn choose<'a>(stage: Stage<'a>, exchange: &Exchange) -> Result<Decision<'a>, Refusal> {
    let listener = stage.listener;
    let host = listener.hosts.find(exchange.host_bytes()).ok_or(Reason::NoHost)?;
    let route = if host.routes.is_empty() {
        &host.default
    } else {
        let mut scratch = Vec::new();
        let normal = path::normalize(exchange.path().as_bytes(), &mut scratch)
            .map_err(|fault| refused(Reason::AmbiguousPath, &fault))?;
        host.route(std::str::from_utf8(normal).map_err(|_| Reason::AmbiguousPath)?)
    };
    let target = Target { host, route };
    if route.effect.redirect_https
        && !exchange.peer.https
        && let Some(HttpsRedirect::To(port)) =
            rules(stage, target).into_iter().rev().find_map(|r| r.redirect_https)
    {
        return Ok(Decision::Redirect(to_https(exchange, port)));
    }
    gate::may_speak_for(exchange, host)?;
    if let Action::Redirect(redirect) = &route.action {
        let mut location = redirect.location.clone();
        if redirect.append_path {
            let path = exchange.path();
            let path = if location.ends_with('/') { path.trim_start_matches('/') } else { path };
            location.push_str(path);
            location.push_str(exchange.query());
        }
        return Ok(Decision::Redirect(RedirectTo { status: redirect.status, location }));
    }
    Ok(Decision::Proxy(target))
}

fn refused(reason: Reason, detail: &dyn std::fmt::Display) -> Refusal {
    Refusal { reason, detail: Some(detail.to_string()) }
}

/// The rules of a request, the widest first: listener, host, route.
pub(crate) fn rules<'a>(stage: Stage<'a>, target: Target<'a>) -> [&'a RouteRules; 3] {
    [&stage.listener.config.rules, &target.host.rules, &target.route.rules]
}

fn to_https(exchange: &Exchange, port: u16) -> RedirectTo {
    let host = exchange.host();
    let (path, query) = (exchange.path(), exchange.query());
    let location = match port {
        443 => format!("https://{host}{path}{query}"),
        port => format!("https://{host}:{port}{path}{query}"),
    };
    RedirectTo { status: 308, location }
}

/// The path and query that an origin is asked for, where they are not those of the client.
pub(crate) fn rewritten(exchange: &Exchange, rules: &RouteRules) -> Option<Vec<u8>> {
    if rules.strip_prefix.is_none() && rules.add_prefix.is_none() {
        return None;
    }
    // The route was found by the normal form, so that is what has the prefix. What is sent may have
    // it, too, and leave it by a dot segment behind it.
    let mut scratch = Vec::new();
    let normal = path::normalize(exchange.path().as_bytes(), &mut scratch).ok()?;
    let prefix = rules.strip_prefix.as_deref().unwrap_or_default();
    let path = normal.strip_prefix(prefix.as_bytes()).unwrap_or(normal);
    let mut out = Vec::with_capacity(path.len() + exchange.query().len() + 32);
    let prefix = rules.add_prefix.as_deref().unwrap_or_default();
    out.extend_from_slice(prefix.trim_end_matches('/').as_bytes());
    if !path.starts_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(path);
    out.extend_from_slice(exchange.query().as_bytes());
    Some(out)
}

/// Whether an origin of `pool` may be used as far as its monitor says.
fn healthy(pool: &PoolPlan, index: usize) -> bool {
    let monitored = pool.config.monitor.is_some();
    pool.origins.get(index).is_some_and(|origin| {
        let decided = match origin.live.health() {
            Health::Unknown => None,
            Health::Healthy => Some(true),
            Health::Unhealthy => Some(false),
        };
        origin.config.enabled && steer::origin_healthy(monitored, decided)
    })
}

/// Whether a pool has as many healthy origins as it must.
pub(crate) fn pool_usable(pool: &PoolPlan) -> bool {
    if !pool.config.enabled {
        return false;
    }
    let count = (0..pool.origins.len()).filter(|index| healthy(pool, *index)).count();
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    steer::pool_usable(count, pool.config.minimum_origins, true)
}

/// Chooses pool and origin; `tried` are those that failed this request already.
pub(crate) fn pick(
    stage: Stage<'_>,
    exchange: &Exchange,
    target: Target<'_>,
    tried: &[(PoolId, usize)],
) -> Result<(PoolId, usize), Reason> {
    let Action::Proxy { pools, fallback, steering } = &target.route.action else {
        return Err(Reason::NoPool);
    };
    let usable = |at: usize| {
        pools.get(at).and_then(|id| stage.listener.pool(*id)).is_some_and(|pool| pool_usable(pool))
    };
    let (id, forced) = match tried.first() {
        // A further try stays in its pool.
        Some((id, _)) => (*id, false),
        None => match steer::pools(steering, pools.len(), usable, stage.worker.random()) {
            Some(at) => (*pools.get(at).ok_or(Reason::NoPool)?, false),
            None => (*fallback, true),
        },
    };
    let pool = stage.listener.pool(id).ok_or(Reason::NoPool)?;
    if !pool.config.enabled {
        return Err(Reason::NoPool);
    }
    // A pool that became unusable between two tries is asked once more all the same.
    let forced = forced || (!tried.is_empty() && !pool_usable(pool));
    let hash = match pool.config.origin_steering {
        OriginSteering::Hash => rng::stable_hash(&octets(exchange.client)),
        _ => 0,
    };
    let now_ms = u64::from(timer::now()) * 100;
    let mut limited = false;
    let index = steer::origin(
        pool.config.origin_steering,
        pool.origins.len(),
        |at| candidate(pool, at, now_ms, forced, (id, tried)),
        stage.worker.random(),
        hash,
    );
    if let Some(index) = index {
        return Ok((id, index));
    }
    for origin in &pool.origins {
        limited |= origin.live.in_flight.load(Relaxed) >= pool.config.circuit_breakers.requests;
    }
    if limited {
        stage.listener.stats.shard(stage.worker.index).hit(Limit::OriginRequests);
        return Err(Reason::RequestLimit);
    }
    Err(Reason::NoPool)
}

fn candidate(
    pool: &PoolPlan,
    at: usize,
    now_ms: u64,
    forced: bool,
    (id, tried): (PoolId, &[(PoolId, usize)]),
) -> Option<Candidate> {
    let origin = pool.origins.get(at)?;
    let live = &origin.live;
    let usable = origin.config.enabled
        && (forced || healthy(pool, at))
        && !live.ejected(now_ms)
        && !tried.contains(&(id, at));
    let in_flight = live.in_flight.load(Relaxed);
    if !usable || in_flight >= pool.config.circuit_breakers.requests {
        return None;
    }
    let since = live.healthy_since_ms.load(Relaxed);
    let factor = if since == 0 || pool.config.slow_start.is_zero() {
        slow_start::WHOLE
    } else {
        let window = u64::try_from(pool.config.slow_start.as_millis()).unwrap_or(u64::MAX);
        slow_start::factor(since, now_ms, window)
    };
    Some(Candidate {
        weight: steer::weight(origin.config.weight, factor),
        in_flight,
        connections: live.connections.load(Relaxed),
        key: origin.key,
    })
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}
