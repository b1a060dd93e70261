//! What is known of origins, pools and listeners at this moment: health, requests in flight,
//! ejections. It outlives snapshots, so that a reload changes nothing of an unchanged object.

use crate::metrics::{
    ListenerNumbers, OriginNumbers, OriginStats, ProcessStats, Sharded, WorkerStats,
};
use arc_swap::ArcSwap;
use core_model::config::{Name, Origin, OriginAddress, Pool};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Instant;

/// Milliseconds since the process started; the time of every `_ms` field.
#[must_use]
pub fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// What a monitor says of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Not decided yet; counts as unhealthy while the pool has a monitor.
    Unknown = 0,
    /// Probes succeed.
    Healthy = 1,
    /// Probes fail.
    Unhealthy = 2,
}

/// The live state of one origin, shared by all workers and the prober.
#[derive(Debug)]
pub struct OriginLive {
    /// Pool and origin name.
    pub pool: Name,
    /// Name within the pool.
    pub origin: Name,
    health: AtomicU8,
    /// Why the last probe or request failed; for people.
    reason: Mutex<String>,
    /// Round-trip time of the last successful probe, microseconds; 0 before it.
    pub probe_rtt_us: AtomicU64,
    /// When health changed last.
    pub changed_ms: AtomicU64,
    /// When it became healthy, for slow start; 0 for an origin that started healthy.
    pub healthy_since_ms: AtomicU64,
    /// Requests sent whose reply has not ended.
    pub in_flight: AtomicU32,
    /// Open connections, idle ones included.
    pub connections: AtomicU32,
    /// Connections being made.
    pub pending: AtomicU32,
    /// Idle connections kept.
    pub idle: AtomicI32,
    /// Failures in a row (passive health).
    pub consecutive_failures: AtomicU32,
    /// End of the ejection in force; 0 for none.
    pub ejected_until_ms: AtomicU64,
    /// Ejections so far without a long good time between.
    pub ejections: AtomicU32,
    /// Addresses in use: one for a literal, those of the last lookup for a name.
    pub addresses: ArcSwap<Vec<SocketAddr>>,
    /// Turns over the addresses.
    pub turn: AtomicU32,
    /// Numbers.
    pub stats: OriginNumbers,
}

impl OriginLive {
    fn new(pool: Name, origin: Name, addresses: Vec<SocketAddr>, workers: usize) -> Self {
        Self {
            pool,
            origin,
            health: AtomicU8::new(0),
            reason: Mutex::new(String::new()),
            probe_rtt_us: AtomicU64::new(0),
            changed_ms: AtomicU64::new(0),
            healthy_since_ms: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            idle: AtomicI32::new(0),
            consecutive_failures: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            addresses: ArcSwap::from_pointee(addresses),
            turn: AtomicU32::new(0),
            stats: Arc::new(Sharded::<OriginStats>::new(workers)),
        }
    }

    /// What the monitor says.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Relaxed) {
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            _ => Health::Unknown,
        }
    }

    /// Sets what the monitor says; `slow_start` is false for the first decision after a start.
    pub fn set_health(&self, health: Health, reason: &str, now_ms: u64, slow_start: bool) {
        self.health.store(health as u8, Relaxed);
        self.changed_ms.store(now_ms, Relaxed);
        if health == Health::Healthy {
            self.healthy_since_ms.store(if slow_start { now_ms } else { 0 }, Relaxed);
        }
        self.set_reason(reason);
    }

    /// Notes why the last probe or request failed.
    pub fn set_reason(&self, reason: &str) {
        let mut text = lock(&self.reason);
        text.clear();
        text.push_str(reason);
    }

    /// Why the last probe or request failed; empty where none did.
    #[must_use]
    pub fn reason(&self) -> String {
        lock(&self.reason).clone()
    }

    /// Whether passive health keeps requests away at `now_ms`.
    #[must_use]
    #[inline]
    pub fn ejected(&self, now_ms: u64) -> bool {
        let until = self.ejected_until_ms.load(Relaxed);
        until != 0 && now_ms < until
    }
}

/// The live state of a pool.
#[derive(Debug, Default)]
pub struct PoolLive {
    /// Requests in flight.
    pub active: AtomicU32,
    /// Retries in flight.
    pub retrying: AtomicU32,
    /// Retries refused by the budget.
    pub budget_refusals: AtomicU64,
}

/// Every live object of the process by name. Locked at reload and by readers, never by a request.
#[derive(Debug)]
pub struct LiveTable {
    workers: usize,
    inner: Mutex<Inner>,
    /// Numbers of the process.
    pub process: ProcessStats,
    /// Numbers of the workers.
    pub worker_stats: Sharded<WorkerStats>,
}

#[derive(Debug, Default)]
struct Inner {
    listeners: BTreeMap<Name, ListenerNumbers>,
    pools: HashMap<Name, Held>,
    /// Pools of which something may be unused. What is in here is looked at when unused objects
    /// are forgotten, and nothing else is.
    leaving: BTreeSet<Name>,
}

/// What is held of one pool.
#[derive(Debug, Default)]
struct Held {
    live: Arc<PoolLive>,
    origins: Vec<HeldOrigin>,
    /// Origins that it was last seen with; 0 for a pool that is gone.
    wanted: usize,
}

/// An origin with its identity: one that moved to another address or port is another one.
#[derive(Debug)]
struct HeldOrigin {
    address: OriginAddress,
    port: u16,
    live: Arc<OriginLive>,
}

impl HeldOrigin {
    fn is(&self, origin: &Origin) -> bool {
        self.port == origin.port
            && self.address == origin.address
            && *self.live.origin == *origin.name
    }
}

impl Held {
    /// The state of an origin, made where it is new. `at` is where it stands in the pool, and so
    /// mostly here.
    fn origin(
        &mut self,
        pool: &Pool,
        at: usize,
        origin: &Origin,
        workers: usize,
    ) -> Arc<OriginLive> {
        let near = self.origins.get(at).filter(|held| held.is(origin));
        if let Some(held) = near.or_else(|| self.origins.iter().find(|held| held.is(origin))) {
            return held.live.clone();
        }
        let addresses = match &origin.address {
            OriginAddress::Ip(ip) => vec![SocketAddr::new(*ip, origin.port)],
            OriginAddress::Dns(_) => Vec::new(),
        };
        let names = (pool.name.clone(), origin.name.clone());
        let live = Arc::new(OriginLive::new(names.0, names.1, addresses, workers));
        let (address, port) = (origin.address.clone(), origin.port);
        self.origins.push(HeldOrigin { address, port, live: live.clone() });
        live
    }
}

/// The live state of a pool and of its origins, in their order.
#[derive(Clone, Debug)]
pub struct PoolState {
    /// Of the pool.
    pub live: Arc<PoolLive>,
    /// Of each origin.
    pub origins: Vec<Arc<OriginLive>>,
}

/// The live state of `origin` in `pool`, made where it is new. An origin that moved to another
/// address or port starts afresh. A DNS name has no addresses until it was looked up.
pub fn origin_of(table: &LiveTable, pool: &Pool, origin: &Origin) -> Arc<OriginLive> {
    let mut inner = lock(&table.inner);
    let held = inner.pools.entry(pool.name.clone()).or_default();
    let at = pool.origins.iter().position(|other| other.name == origin.name);
    held.origin(pool, at.unwrap_or(usize::MAX), origin, table.workers)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl LiveTable {
    /// A table for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            inner: Mutex::default(),
            process: ProcessStats::default(),
            worker_stats: Sharded::new(workers),
        }
    }

    /// Number of shards of each object.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The numbers of a listener, made where it is new.
    pub fn listener(&self, name: &Name) -> ListenerNumbers {
        let mut inner = lock(&self.inner);
        let workers = self.workers;
        inner
            .listeners
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Sharded::new(workers)))
            .clone()
    }

    /// The live state of a pool and of its origins, made where they are new; see [`origin_of`].
    pub fn state_of(&self, pool: &Pool) -> PoolState {
        let mut inner = lock(&self.inner);
        let held = match inner.pools.get_mut(&pool.name) {
            Some(held) => held,
            None => inner.pools.entry(pool.name.clone()).or_default(),
        };
        held.wanted = pool.origins.len();
        held.origins.reserve_exact(held.wanted.saturating_sub(held.origins.len()));
        let all = pool.origins.iter().enumerate();
        let origins = all.map(|(at, origin)| held.origin(pool, at, origin, self.workers));
        let state = PoolState { origins: origins.collect(), live: held.live.clone() };
        if held.origins.len() > held.wanted {
            inner.leaving.insert(pool.name.clone());
        }
        state
    }

    /// A pool that is in no configuration any more, as far as the caller knows.
    pub fn leave(&self, pool: &Name) {
        let mut inner = lock(&self.inner);
        if let Some(held) = inner.pools.get_mut(pool) {
            held.wanted = 0;
            inner.leaving.insert(pool.clone());
        }
    }

    /// Forgets objects of listeners, and of pools that lost something, that nothing but this table
    /// holds any more. What is still held stays to be looked at the next time. Called after a
    /// reload once the former snapshot is gone.
    pub fn forget_unused(&self) {
        let mut inner = lock(&self.inner);
        inner.listeners.retain(|_, numbers| Arc::strong_count(numbers) > 1);
        let Inner { pools, leaving, .. } = &mut *inner;
        leaving.retain(|name| {
            let Some(held) = pools.get_mut(name) else { return false };
            held.origins.retain(|origin| Arc::strong_count(&origin.live) > 1);
            if held.origins.is_empty() && Arc::strong_count(&held.live) == 1 {
                pools.remove(name);
                return false;
            }
            held.wanted == 0 || held.origins.len() > held.wanted
        });
    }

    /// All pools by name.
    #[must_use]
    pub fn pools(&self) -> Vec<(Name, Arc<PoolLive>)> {
        lock(&self.inner).pools.iter().map(|(name, p)| (name.clone(), p.live.clone())).collect()
    }

    /// All listeners by name.
    #[must_use]
    pub fn listeners(&self) -> Vec<(Name, ListenerNumbers)> {
        lock(&self.inner).listeners.iter().map(|(name, n)| (name.clone(), n.clone())).collect()
    }
}
