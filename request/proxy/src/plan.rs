//! A snapshot made ready for the request path: hosts in hash tables, live state at hand.
//!
//! Built once per generation off the request path. Nothing in it changes after that. What is the
//! same object in two snapshots is the same object in their plans, so that a change costs what it
//! changes.

mod hosts;
mod kept;
#[cfg(test)]
mod tests;

pub(crate) use hosts::{HostPlan, Hosts, RoutePlan};
pub use kept::Kept;
pub(crate) use kept::Transport;

use crate::sources::Sources;
use crate::tls::{self, ServerTls, TlsError};
use core_balance::steer;
use core_model::Generation;
use core_model::config::{
    Config, List, Listener, ListenerId, LoadBalancer, Name, Origin, Pool, PoolId, RouteRules, Zone,
};
use core_model::snapshot::Snapshot;
use hashbrown::HashMap;
use process_runtime::live::{LiveTable, OriginLive, PoolLive};
use process_runtime::metrics::ListenerNumbers;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

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
    pub(crate) config: Arc<Pool>,
    pub(crate) live: Arc<PoolLive>,
    pub(crate) origins: Vec<OriginPlan>,
    /// Whether its origins are told the address that a client connected to.
    tells: bool,
}

/// All pools; a [`PoolId`] is the position in them.
type Pools = Arc<Vec<Arc<PoolPlan>>>;

/// One listener.
#[derive(Debug)]
pub(crate) struct ListenerPlan {
    pub(crate) config: Listener,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) stats: ListenerNumbers,
    pub(crate) sources: Arc<Sources>,
    pub(crate) hosts: Arc<Hosts>,
    pools: Pools,
    /// Whether any origin is told the address that a client connected to.
    pub(crate) tells_local: bool,
}

impl ListenerPlan {
    /// The pool at `id`.
    #[inline]
    pub(crate) fn pool(&self, id: PoolId) -> Option<&Arc<PoolPlan>> {
        self.pools.get(id.0)
    }
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
    pools: Pools,
    /// Whether any origin is told the address that a client connected to.
    told: bool,
    /// What the plan was made of, to be compared with the next one.
    made_of: MadeOf,
}

/// The parts of a configuration that a plan is made of.
#[derive(Debug)]
struct MadeOf {
    pools: List<Pool>,
    load_balancers: List<LoadBalancer>,
    zones: List<Zone>,
    account: RouteRules,
}

impl Plan {
    /// Makes `snapshot` ready; `before` is the plan in force, whose parts are used again where
    /// they are of the same objects.
    ///
    /// # Errors
    /// Every TLS setting that cannot be used; nothing is changed then.
    pub fn build(
        snapshot: &Snapshot,
        live: &LiveTable,
        kept: &Kept,
        before: Option<&Self>,
    ) -> Result<Self, Vec<TlsError>> {
        let config = &snapshot.config;
        let mut faults = Vec::new();
        let (pools, told) = pools(config, live, kept, before, &mut faults);
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for (index, listener) in config.listeners.iter().enumerate() {
            let old = before.and_then(|plan| plan.listeners.get(index));
            let old = old.filter(|old| old.config.name == listener.name);
            listeners.push(Arc::new(ListenerPlan {
                tls: server_tls(listener, kept, old, &mut faults),
                stats: live.listener(&listener.name),
                sources: kept.sources(listener),
                hosts: hosts(config, ListenerId(index), listener, before.zip(old)),
                pools: pools.clone(),
                tells_local: told,
                config: listener.clone(),
            }));
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let made_of = MadeOf {
            pools: config.pools.clone(),
            load_balancers: config.load_balancers.clone(),
            zones: config.zones.clone(),
            account: config.account.rules.clone(),
        };
        let drain_timeout = config.runtime.drain_timeout;
        let generation = snapshot.generation;
        Ok(Self { generation, drain_timeout, listeners, pools, told, made_of })
    }

    /// Checks that `snapshot` could be made ready.
    ///
    /// # Errors
    /// Every TLS setting that cannot be used.
    pub fn check(snapshot: &Snapshot) -> Result<(), Vec<TlsError>> {
        let (config, kept) = (&snapshot.config, Kept::default());
        let mut faults = Vec::new();
        for pool in config.pools.iter() {
            let transports = pool.origins.iter().map(|origin| kept.transport(pool, origin));
            faults.extend(transports.filter_map(Result::err));
        }
        for listener in &config.listeners {
            server_tls(listener, &kept, None, &mut faults);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Names of pools that this plan has and `next` has not.
    pub(crate) fn pools_gone<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = &'a Name> {
        let same = Arc::ptr_eq(&self.made_of.pools, &next.made_of.pools);
        let mine = if same { &[][..] } else { &self.made_of.pools[..] };
        let others = &next.made_of.pools;
        let stays = |at: usize, pool: &Pool| others.get(at).is_some_and(|o| o.name == pool.name);
        let moved: Vec<&Name> = mine
            .iter()
            .enumerate()
            .filter(|(at, pool)| !stays(*at, pool))
            .map(|(_, pool)| &pool.name)
            .collect();
        let names: hashbrown::HashSet<&Name> = match moved.is_empty() {
            true => hashbrown::HashSet::new(),
            false => others.iter().map(|pool| &pool.name).collect(),
        };
        moved.into_iter().filter(move |name| !names.contains(name))
    }
}

/// The TLS settings of a listener; those that it had, where they are of the same file.
fn server_tls(
    listener: &Listener,
    kept: &Kept,
    old: Option<&Arc<ListenerPlan>>,
    faults: &mut Vec<TlsError>,
) -> Option<ServerTls> {
    let tls = listener.tls.as_ref()?;
    if let Some(old) = old.filter(|old| old.config == *listener) {
        return old.tls.clone();
    }
    let Some(tickets) = kept.tickets(listener) else {
        faults.push(TlsError::Settings {
            owner: format!("listener {}", listener.name),
            cause: "the system gave no randomness for ticket keys".into(),
        });
        return None;
    };
    tls::server_config(listener, tls, tickets).map_err(|error| faults.push(error)).ok()
}

/// All pools, and whether any of them tells its origins where a client connected to.
fn pools(
    config: &Config,
    live: &LiveTable,
    kept: &Kept,
    before: Option<&Plan>,
    faults: &mut Vec<TlsError>,
) -> (Pools, bool) {
    let told = |pools: &[Arc<PoolPlan>]| pools.iter().any(|pool| pool.tells);
    let Some(before) = before else {
        let all = config.pools.iter().map(|pool| Arc::new(pool_plan(pool, live, kept, faults)));
        let all: Vec<_> = all.collect();
        let told = told(&all);
        return (Arc::new(all), told);
    };
    if Arc::ptr_eq(&config.pools, &before.made_of.pools) {
        return (before.pools.clone(), before.told);
    }
    let mut all = Vec::with_capacity(config.pools.len());
    let mut known: Option<HashMap<*const Pool, &Arc<PoolPlan>>> = None;
    for (at, pool) in config.pools.iter().enumerate() {
        let same = before.made_of.pools.get(at).is_some_and(|old| Arc::ptr_eq(old, pool));
        if let Some(old) = before.pools.get(at).filter(|_| same) {
            all.push(old.clone());
            continue;
        }
        let by_object = || before.pools.iter().map(|pool| (Arc::as_ptr(&pool.config), pool));
        let known = known.get_or_insert_with(|| by_object().collect());
        all.push(match known.get(&Arc::as_ptr(pool)) {
            Some(old) => (*old).clone(),
            None => Arc::new(pool_plan(pool, live, kept, faults)),
        });
    }
    let told = told(&all);
    (Arc::new(all), told)
}

fn pool_plan(
    pool: &Arc<Pool>,
    live: &LiveTable,
    kept: &Kept,
    faults: &mut Vec<TlsError>,
) -> PoolPlan {
    let state = live.state_of(pool);
    let mut origins = Vec::with_capacity(pool.origins.len());
    let mut identity = String::new();
    for (origin, live) in pool.origins.iter().zip(state.origins) {
        match kept.transport(pool, origin) {
            Ok(transport) => {
                identity.clear();
                // A text takes what is written to it.
                let _ = write!(identity, "{}:{}", origin.address, origin.port);
                let (config, key) = (origin.clone(), steer::key(&identity));
                origins.push(OriginPlan { config, live, transport, key });
            }
            Err(fault) => faults.push(fault),
        }
    }
    let tells = pool.proxy_protocol.is_some();
    PoolPlan { config: pool.clone(), live: state.live, origins, tells }
}

/// The hosts of a listener; those that it had, where nothing in them is another object.
fn hosts(
    config: &Config,
    id: ListenerId,
    listener: &Listener,
    before: Option<(&Plan, &Arc<ListenerPlan>)>,
) -> Arc<Hosts> {
    let inherits_the_same = |plan: &Plan, old: &ListenerPlan| {
        old.config.rules == listener.rules && plan.made_of.account == config.account.rules
    };
    let Some((plan, old)) = before.filter(|(plan, old)| inherits_the_same(plan, old)) else {
        return Arc::new(Hosts::new(config, id, &listener.rules));
    };
    let same_zones = Arc::ptr_eq(&plan.made_of.zones, &config.zones);
    if same_zones && Arc::ptr_eq(&plan.made_of.load_balancers, &config.load_balancers) {
        return old.hosts.clone();
    }
    let former = (&plan.made_of.load_balancers, same_zones);
    Arc::new(old.hosts.changed(config, id, &listener.rules, former))
}
