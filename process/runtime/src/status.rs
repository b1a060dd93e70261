//! What the process does at this moment, for people and programs: the answer to `/status`.
//!
//! Totals come from the live table, rates and percentiles from a [`sample`](StatusSource::sample)
//! each second. Nothing here is on the path of a request.

#[cfg(test)]
pub(crate) mod fixture;
mod history;
mod packets;

use crate::fleet::{FleetState, FleetStatus};
use crate::live::{Health, LiveTable, OriginLive, now_ms};
use crate::metrics::{ListenerStats, Sharded};
use crate::packets::{PacketSource, PacketStatus};
use arc_swap::ArcSwap;
use core_model::Snapshot;
use core_model::config::{Action, Config, Origin, OriginSteering, PathMatch, Pool, PoolSteering};
use history::{EventLog, History};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use history::{Event, Series};

/// With more origins than this the per-second history is left out of `/status`, which a page asks
/// for each second: 200 origins are about 150 KiB.
pub const HISTORY_ORIGINS_MAX: usize = 200;

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Phase {
    /// Not all listeners are open.
    Starting = 0,
    /// Requests are served.
    Serving = 1,
    /// Open connections finish; no new ones are taken.
    Draining = 2,
}

/// The answer to `/status`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Where the process is in its life.
    pub phase: Phase,
    /// Generation that is served.
    pub generation: u64,
    /// Generation it replaced.
    pub parent: u64,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Time of this answer, milliseconds since 1970.
    pub time_unix_ms: u64,
    /// Worker threads.
    pub workers: usize,
    /// Reloads applied.
    pub reloads_applied: u64,
    /// Reloads refused.
    pub reloads_refused: u64,
    /// Tasks that panicked.
    pub panics: u64,
    /// Access log lines dropped.
    pub access_log_dropped: u64,
    /// Listeners in the order of the file.
    pub listeners: Vec<ListenerStatus>,
    /// Pools in the order of the file.
    pub pools: Vec<PoolStatus>,
    /// Load balancers in the order of the file.
    pub load_balancers: Vec<LoadBalancerStatus>,
    /// The control planes, where this is an edge of a fleet.
    #[serde(default)]
    pub control: Option<FleetStatus>,
    /// The packet path, where there is one whose numbers can be read.
    #[serde(default)]
    pub packet: Option<PacketStatus>,
    /// What happened last, newest first.
    pub events: Vec<Event>,
}

/// One listener.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Name.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// Whether clients speak TLS.
    pub tls: bool,
    /// Open connections.
    pub open: u64,
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Requests since the start.
    pub requests: u64,
    /// Replies by class, 1xx first.
    pub replies: [u64; 5],
    /// Requests per second, over the last seconds.
    pub requests_per_s: f64,
    /// 5xx replies per second, over the last seconds.
    pub errors_per_s: f64,
    /// Median duration over the last seconds, milliseconds; estimated within a bucket.
    pub p50_ms: Option<f64>,
    /// 99th percentile of it.
    pub p99_ms: Option<f64>,
    /// Bytes received since the start.
    pub bytes_in: u64,
    /// Bytes sent since the start.
    pub bytes_out: u64,
    /// Limits that were hit since the start, by name.
    pub limit_hits: BTreeMap<String, u64>,
    /// The last minute, oldest second first.
    pub history: Option<Series>,
}

/// One pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Name.
    pub name: String,
    /// Whether it gets requests at all.
    pub enabled: bool,
    /// Whether enough origins can take requests.
    pub healthy: bool,
    /// Name of its monitor.
    pub monitor: Option<String>,
    /// How an origin is chosen.
    pub steering: String,
    /// Origins that can take requests.
    pub healthy_origins: usize,
    /// Fewer make the pool unhealthy.
    pub minimum_origins: u32,
    /// Requests in flight.
    pub in_flight: u32,
    /// Requests per second over all origins.
    pub requests_per_s: f64,
    /// Origins in the order of the file.
    pub origins: Vec<OriginStatus>,
}

/// Whether an origin can take requests, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OriginState {
    /// Probes succeed.
    Healthy,
    /// Probes fail.
    Unhealthy,
    /// No probe has decided yet.
    Unknown,
    /// The pool has no monitor; requests are sent.
    Unmonitored,
    /// Failures of requests keep it out for a while.
    Ejected,
    /// Switched off in the configuration.
    Disabled,
}

impl OriginState {
    /// The state of `origin` of `pool` at `now_ms`.
    #[must_use]
    pub fn of(pool: &Pool, origin: &Origin, live: &OriginLive, now_ms: u64) -> Self {
        if !(pool.enabled && origin.enabled) {
            return Self::Disabled;
        }
        match (pool.monitor, live.health()) {
            (Some(_), Health::Unhealthy) => Self::Unhealthy,
            _ if live.ejected(now_ms) => Self::Ejected,
            (None, _) => Self::Unmonitored,
            (Some(_), Health::Unknown) => Self::Unknown,
            (Some(_), Health::Healthy) => Self::Healthy,
        }
    }

    /// Whether requests are sent.
    #[must_use]
    pub fn takes_requests(self) -> bool {
        matches!(self, Self::Healthy | Self::Unmonitored)
    }

    /// The word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unknown => "unknown",
            Self::Unmonitored => "unmonitored",
            Self::Ejected => "ejected",
            Self::Disabled => "disabled",
        }
    }
}

/// One origin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OriginStatus {
    /// Name.
    pub name: String,
    /// Address and port as configured.
    pub address: String,
    /// Addresses in use.
    pub addresses: Vec<String>,
    /// Weight, 0 to 1.
    pub weight: f64,
    /// Whether it can take requests.
    pub state: OriginState,
    /// Why the last probe or request failed; empty where none did.
    pub reason: String,
    /// Seconds since health changed last.
    pub changed_s_ago: Option<u64>,
    /// Seconds until an ejection ends.
    pub ejected_for_s: Option<u64>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Open connections.
    pub connections: u32,
    /// Idle ones of them.
    pub idle: u32,
    /// Connections being made.
    pub pending: u32,
    /// Requests sent since the start.
    pub requests: u64,
    /// Requests whose reply did not come or was cut.
    pub failures: u64,
    /// Requests per second, over the last seconds.
    pub requests_per_s: f64,
    /// Share of the pool's requests over the last seconds, 0 to 1.
    pub share: f64,
    /// Median time to a reply's head over the last seconds, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile of it.
    pub p99_ms: Option<f64>,
    /// Round trip of the last successful probe, milliseconds.
    pub probe_rtt_ms: Option<f64>,
    /// The last minute, oldest second first.
    pub history: Option<Series>,
}

/// One load balancer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoadBalancerStatus {
    /// Host as written.
    pub name: String,
    /// Disabled ones match nothing.
    pub enabled: bool,
    /// What is done where no route matches.
    pub default: String,
    /// Routes, the most specific first.
    pub routes: Vec<RouteStatus>,
}

/// One route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteStatus {
    /// The path; a prefix ends with `*`.
    pub path: String,
    /// What is done.
    pub action: String,
}

/// Gathers [`Status`]; shared by the admin server and whoever has something to tell.
#[derive(Debug)]
pub struct StatusSource {
    live: Arc<LiveTable>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    version: &'static str,
    phase: AtomicU8,
    history: Mutex<History>,
    events: Mutex<EventLog>,
    packets: Mutex<Option<Arc<dyn PacketSource>>>,
    fleet: Mutex<Option<Arc<FleetState>>>,
}

impl StatusSource {
    /// A source over the live table and the snapshot in force.
    #[must_use]
    pub fn new(
        live: Arc<LiveTable>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        version: &'static str,
    ) -> Arc<Self> {
        Arc::new(Self {
            live,
            snapshot,
            version,
            phase: AtomicU8::new(Phase::Starting as u8),
            history: Mutex::default(),
            events: Mutex::default(),
            packets: Mutex::default(),
            fleet: Mutex::default(),
        })
    }

    /// Says where the numbers of the packet path come from, or that there is none.
    pub fn set_packets(&self, source: Option<Arc<dyn PacketSource>>) {
        *lock(&self.packets) = source;
    }

    /// The numbers of the packet path, where there is one.
    #[must_use]
    pub fn packets(&self) -> Option<Result<PacketStatus, String>> {
        let source = lock(&self.packets).clone();
        source.map(|source| source.read())
    }

    /// Says that this is an edge of a fleet, and what is known of that.
    pub fn set_fleet(&self, fleet: Arc<FleetState>) {
        *lock(&self.fleet) = Some(fleet);
    }

    /// How this edge stands to its control planes, where it is one of a fleet.
    #[must_use]
    pub fn fleet(&self) -> Option<FleetStatus> {
        lock(&self.fleet).as_ref().map(|fleet| fleet.status())
    }

    /// What the shield in force is made of, where there is a packet path.
    #[must_use]
    pub fn shield(&self) -> Option<Result<serde_json::Value, String>> {
        let source = lock(&self.packets).clone();
        source.map(|source| source.shield())
    }

    /// Where the process is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// Sets where the process is in its life; `/ready` follows it.
    pub fn set_phase(&self, phase: Phase) {
        if self.phase.swap(phase as u8, Relaxed) == phase as u8 {
            return;
        }
        match phase {
            Phase::Starting => {}
            Phase::Serving => self.note("serving", "serving requests"),
            Phase::Draining => self.note("draining", "draining: open connections finish"),
        }
    }

    /// Adds a line to the events that the status page shows. `kind` is a stable word.
    pub fn note(&self, kind: &str, text: impl Into<String>) {
        lock(&self.events).push(Event { unix_ms: unix_ms(), kind: kind.into(), text: text.into() });
    }

    /// The live table.
    #[must_use]
    pub fn live(&self) -> &LiveTable {
        &self.live
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Version of the program.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// Takes the sample of a second: rates, percentiles, and events for what changed. The admin
    /// server calls it each second.
    pub fn sample(&self) {
        let snapshot = self.snapshot();
        let source = lock(&self.packets).clone();
        let reasons = source.and_then(|source| source.reasons().ok());
        let mut history = lock(&self.history);
        history.packets.sample(reasons);
        let changes = history.sample(&self.live, &snapshot, now_ms());
        drop(history);
        for (kind, text) in changes {
            self.note(kind, text);
        }
    }

    /// The status at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        let snapshot = self.snapshot();
        let config = &snapshot.config;
        let now = now_ms();
        let history = lock(&self.history);
        let origins: usize = config.pools.iter().map(|p| p.origins.len()).sum();
        let view = View { live: &self.live, history: &history, config, now, origins };
        let process = &self.live.process;
        Status {
            version: self.version.to_owned(),
            pid: std::process::id(),
            phase: self.phase(),
            generation: snapshot.generation.0,
            parent: snapshot.parent.0,
            uptime_s: now / 1000,
            time_unix_ms: unix_ms(),
            workers: self.live.workers(),
            reloads_applied: process.reloads_applied.get(),
            reloads_refused: process.reloads_refused.get(),
            panics: crate::panics::total(),
            access_log_dropped: process.access_log_dropped.get(),
            listeners: config.listeners.iter().map(|l| view.listener(l)).collect(),
            pools: config.pools.iter().map(|p| view.pool(p)).collect(),
            load_balancers: load_balancers(config),
            control: self.fleet(),
            packet: self.packets().and_then(Result::ok).map(|read| history.packets.tell(read)),
            events: lock(&self.events).newest_first(),
        }
    }
}

/// What the parts of one answer are made from.
struct View<'a> {
    live: &'a LiveTable,
    history: &'a History,
    config: &'a Config,
    now: u64,
    /// How many there are.
    origins: usize,
}

impl View<'_> {
    fn series(&self, track: Option<&history::Track>) -> Option<Series> {
        track.filter(|_| self.origins <= HISTORY_ORIGINS_MAX).map(history::Track::series)
    }

    fn listener(&self, listener: &core_model::config::Listener) -> ListenerStatus {
        let numbers = self.live.listener(&listener.name);
        let track = self.history.listener(&listener.name);
        let accepted = numbers.sum(|s| s.accepted.get());
        ListenerStatus {
            name: listener.name.to_string(),
            address: listener.address.to_string(),
            tls: listener.tls.is_some(),
            open: accepted.saturating_sub(numbers.sum(|s| s.closed.get())),
            accepted,
            requests: numbers.sum(|s| s.requests.get()),
            replies: std::array::from_fn(|class| reply_class(&numbers, class)),
            requests_per_s: track.map_or(0.0, history::Track::rate),
            errors_per_s: track.map_or(0.0, history::Track::error_rate),
            p50_ms: track.and_then(|t| t.percentile_ms(0.5)),
            p99_ms: track.and_then(|t| t.percentile_ms(0.99)),
            bytes_in: numbers.sum(|s| s.bytes_in.get()),
            bytes_out: numbers.sum(|s| s.bytes_out.get()),
            limit_hits: limit_hits(&numbers),
            history: self.series(track),
        }
    }

    fn pool(&self, pool: &Pool) -> PoolStatus {
        let state = self.live.state_of(pool);
        let states = pool.origins.iter().zip(&state.origins);
        let mut origins: Vec<_> = states.map(|(o, live)| self.origin(pool, o, live)).collect();
        let rate: f64 = origins.iter().map(|o| o.requests_per_s).sum();
        for origin in &mut origins {
            origin.share = if rate > 0.0 { origin.requests_per_s / rate } else { 0.0 };
        }
        let healthy_origins = origins.iter().filter(|o| o.state.takes_requests()).count();
        let least = usize::try_from(pool.minimum_origins).unwrap_or(usize::MAX).max(1);
        let monitor = pool.monitor.and_then(|id| self.config.monitors.get(id.0));
        PoolStatus {
            name: pool.name.to_string(),
            enabled: pool.enabled,
            healthy: pool.enabled && healthy_origins >= least,
            monitor: monitor.map(|m| m.name.to_string()),
            steering: origin_steering(pool.origin_steering).to_owned(),
            healthy_origins,
            minimum_origins: pool.minimum_origins,
            in_flight: state.live.active.load(Relaxed),
            requests_per_s: rate,
            origins,
        }
    }

    fn origin(&self, pool: &Pool, origin: &Origin, live: &OriginLive) -> OriginStatus {
        let track = self.history.origin(&pool.name, &origin.name);
        let changed = live.changed_ms.load(Relaxed);
        let ejected_until = live.ejected_until_ms.load(Relaxed);
        let rtt = live.probe_rtt_us.load(Relaxed);
        OriginStatus {
            name: origin.name.to_string(),
            address: format!("{}:{}", origin.address, origin.port),
            addresses: live.addresses.load().iter().map(ToString::to_string).collect(),
            weight: f64::from(origin.weight) / 100.0,
            state: OriginState::of(pool, origin, live, self.now),
            reason: live.reason(),
            changed_s_ago: (changed != 0).then(|| self.now.saturating_sub(changed) / 1000),
            ejected_for_s: live
                .ejected(self.now)
                .then(|| ejected_until.saturating_sub(self.now).div_ceil(1000)),
            in_flight: live.in_flight.load(Relaxed),
            connections: live.connections.load(Relaxed),
            idle: u32::try_from(live.idle.load(Relaxed)).unwrap_or(0),
            pending: live.pending.load(Relaxed),
            requests: live.stats.sum(|s| s.requests.get()),
            failures: live.stats.sum(|s| s.failures.get()),
            requests_per_s: track.map_or(0.0, history::Track::rate),
            share: 0.0,
            p50_ms: track.and_then(|t| t.percentile_ms(0.5)),
            p99_ms: track.and_then(|t| t.percentile_ms(0.99)),
            probe_rtt_ms: (rtt != 0).then_some(rtt as f64 / 1000.0),
            history: self.series(track),
        }
    }
}

fn reply_class(numbers: &Sharded<ListenerStats>, class: usize) -> u64 {
    numbers.sum(|s| s.replies.get(class).map_or(0, crate::metrics::Counter::get))
}

fn limit_hits(numbers: &Sharded<ListenerStats>) -> BTreeMap<String, u64> {
    let all = crate::metrics::Limit::ALL.iter().enumerate();
    all.map(|(i, limit)| {
        let hits = numbers.sum(|s| s.limits.get(i).map_or(0, crate::metrics::Counter::get));
        (limit.name().to_owned(), hits)
    })
    .filter(|(_, hits)| *hits > 0)
    .collect()
}

fn load_balancers(config: &Config) -> Vec<LoadBalancerStatus> {
    let one = |lb: &Arc<core_model::config::LoadBalancer>| LoadBalancerStatus {
        name: lb.name.to_string(),
        enabled: lb.enabled,
        default: action(config, &lb.default),
        routes: lb
            .routes
            .iter()
            .map(|route| RouteStatus {
                path: match &route.path {
                    PathMatch::Exact(path) => path.clone(),
                    PathMatch::Prefix(path) => format!("{}/*", path.trim_end_matches('/')),
                },
                action: action(config, &route.action),
            })
            .collect(),
    };
    config.load_balancers.iter().map(one).collect()
}

fn action(config: &Config, action: &Action) -> String {
    let name = |id: core_model::config::PoolId| {
        config.pools.get(id.0).map_or_else(String::new, |p| p.name.to_string())
    };
    match action {
        Action::Redirect(to) => format!("{} to {}", to.status, to.location),
        Action::Proxy { pools, fallback, steering } => {
            let names: Vec<_> = pools.iter().map(|p| name(*p)).collect();
            let how = match steering {
                PoolSteering::Off => "in order",
                PoolSteering::Random(_) => "by weight",
            };
            match names.as_slice() {
                [only] if *only == name(*fallback) => format!("pool {only}"),
                [only] => format!("pool {only}, else {}", name(*fallback)),
                _ => format!("pools {} {how}, else {}", names.join(", "), name(*fallback)),
            }
        }
    }
}

fn origin_steering(steering: OriginSteering) -> &'static str {
    match steering {
        OriginSteering::Random => "random",
        OriginSteering::LeastOutstandingRequests => "least_outstanding_requests",
        OriginSteering::LeastConnections => "least_connections",
        OriginSteering::Hash => "hash",
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
