//! The prober: asks every origin of a monitored pool whether it is well, and writes the answer into
//! the origin's live state, which the workers read.
//!
//! A plan (`plan`) says how one origin is probed; `pools` compares what is probed with what a
//! configuration asks for. The task of an origin waits for a tick of its own phase
//! (`schedule`), makes a probe of one or more tries (`attempt`, `http`, `http2`, `tls`, `place`),
//! and hands the result to the tracker of `core_balance::health`. See `docs/algorithms/health.md`.

mod attempt;
mod http;
mod http2;
mod place;
mod plan;
mod pools;
mod reason;
mod schedule;
mod tls;

use core_balance::health::{Outcome, Tracker, Transition};
use core_balance::rng;
use core_model::config::{MonitorKind, Name};
use plan::{Key, Plan};
use pools::{Applied, Probed, Session};
use process_runtime::live::{self, Health, LiveTable, OriginLive};
use process_runtime::operator_log::{self, Level};
use reason::Failure;
pub use reason::Reason;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Probes at one time that are quick so far: far below the usual limit of 1,024 descriptors, and
/// enough for 5,000 origins of 50 ms each every second.
pub const PROBES_AT_ONCE: usize = 256;

/// Probes at one time that are slow, or whose origin failed the time before. They have places of
/// their own, so that hung origins, which keep a place until their time-out, wait for each other
/// only.
pub const SUSPECTS_AT_ONCE: usize = 256;

/// A probe that takes longer moves to the slow ones: more than a round trip around the earth.
const QUICK: Duration = Duration::from_millis(250);

/// How soon an origin without addresses is probed once its name has some.
const ADDRESS_CHECK: Duration = Duration::from_secs(1);

/// What is known of one probed origin, for status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeState {
    /// Its pool.
    pub pool: Name,
    /// Its name within the pool.
    pub origin: Name,
    /// The monitor.
    pub monitor: Name,
    /// What is probed.
    pub kind: MonitorKind,
    /// The health that follows from the results.
    pub health: Health,
    /// Why the last probe failed; `None` where it succeeded or none has ended.
    pub reason: Option<Reason>,
    /// What exactly was seen; empty where nothing is to be said.
    pub detail: String,
    /// Duration of the last successful probe, microseconds; 0 before it.
    pub rtt_us: u64,
    /// When the last probe ended ([`live::now_ms`]); 0 before the first.
    pub last_ms: u64,
    /// When health changed last ([`live::now_ms`]); 0 before the first decision.
    pub changed_ms: u64,
    /// Probes ended.
    pub probes: u64,
    /// Of these, failed ones.
    pub failures: u64,
}

/// Probes the origins of a configuration until it is dropped. Lives on a tokio runtime.
#[derive(Debug)]
pub struct Prober {
    table: Arc<LiveTable>,
    shared: Arc<Shared>,
    /// What `pools` was made of.
    applied: Applied,
    pools: HashMap<Name, Probed>,
    states: ProbeStates,
    /// Targets whose first probe somebody may wait for.
    fresh: Mutex<Vec<Arc<Target>>>,
}

/// What the tasks of all targets have in common.
#[derive(Debug)]
struct Shared {
    epoch: Instant,
    usual: Semaphore,
    suspects: Semaphore,
    /// Told at the end of each probe.
    ended: Notify,
}

#[derive(Debug)]
struct Target {
    key: Key,
    plan: Plan,
    /// TLS settings, or why there can be none.
    session: Session,
    live: Arc<OriginLive>,
    progress: Mutex<Progress>,
    task: Mutex<Task>,
}

/// The task of a target.
#[derive(Debug)]
enum Task {
    /// It is about to be started.
    Waits,
    Runs(AbortHandle),
    /// The target is not to be probed any more.
    Stopped,
}

#[derive(Debug, Default)]
struct Progress {
    tracker: Tracker,
    last: Option<Failure>,
    last_ms: u64,
    probes: u64,
    failures: u64,
}

impl Prober {
    /// A prober that probes nothing until [`Prober::apply`]. Call it within a tokio runtime.
    #[must_use]
    pub fn new(table: Arc<LiveTable>) -> Self {
        let shared = Shared {
            epoch: Instant::now(),
            usual: Semaphore::new(PROBES_AT_ONCE),
            suspects: Semaphore::new(SUSPECTS_AT_ONCE),
            ended: Notify::new(),
        };
        Self {
            table,
            shared: Arc::new(shared),
            applied: Applied::default(),
            pools: HashMap::new(),
            states: ProbeStates::default(),
            fresh: Mutex::default(),
        }
    }

    /// Waits until a probe of every target that the last changes began with has ended, at most for
    /// `bound`; whether all have. A reload that waits for it before it hands the snapshot to the
    /// workers never finds a new pool without a healthy origin only because nobody asked yet.
    pub async fn settled(&self, bound: Duration) -> bool {
        let deadline = Instant::now() + bound;
        loop {
            let ended = self.shared.ended.notified();
            if self.all_asked() {
                return true;
            }
            if timeout_at(deadline, ended).await.is_err() {
                // Who did not wait for them now will not do so later.
                lock(&self.fresh).clear();
                return false;
            }
        }
    }

    fn all_asked(&self) -> bool {
        let mut fresh = lock(&self.fresh);
        // From the end, so that each is looked at once after its probe.
        while fresh.pop_if(|target| target.is_asked()).is_some() {}
        fresh.is_empty()
    }

    /// The state of every target in order of pool and origin.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ProbeState> {
        self.states.snapshot()
    }

    /// A handle for status pages, which outlives borrowings of the prober and may go to any thread.
    #[must_use]
    pub fn states(&self) -> ProbeStates {
        self.states.clone()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.pools.values().flat_map(|pool| &pool.targets).for_each(|target| target.stop());
    }
}

/// Reads the state of all targets.
#[derive(Clone, Debug, Default)]
pub struct ProbeStates(Arc<Mutex<BTreeMap<Name, Vec<Arc<Target>>>>>);

impl ProbeStates {
    /// The state of every target in order of pool and origin.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ProbeState> {
        lock(&self.0).values().flatten().map(|target| target.state()).collect()
    }

    /// The targets of a pool, in the order of their names.
    fn set(&self, pool: &Name, targets: &[Arc<Target>]) {
        let mut targets = targets.to_vec();
        targets.sort_by(|one, other| one.key.origin.cmp(&other.key.origin));
        let mut states = lock(&self.0);
        match targets.is_empty() {
            true => drop(states.remove(pool)),
            false => drop(states.insert(pool.clone(), targets)),
        }
    }
}

impl Shared {
    /// Probes once there is a place. The probe itself is in a box, as the task of every origin has
    /// room for its largest state all the time, and few of them have a place.
    async fn probe(&self, target: &Target) -> Result<Duration, Failure> {
        // The semaphores are never closed, so that there always is a place in the end.
        if target.is_suspect() {
            let _place = self.suspects.acquire().await;
            return Box::pin(attempt::probe(&target.plan, &target.session, &target.live)).await;
        }
        let mut _place = self.usual.acquire().await;
        let mut probing = Box::pin(attempt::probe(&target.plan, &target.session, &target.live));
        if let Ok(result) = timeout(QUICK, &mut probing).await {
            return result;
        }
        if let Ok(slow) = self.suspects.try_acquire() {
            _place = Ok(slow);
        }
        probing.await
    }
}

/// The life of one target: the first probe at once, later ones at the ticks of its phase.
async fn watch(target: Arc<Target>, shared: Arc<Shared>) {
    let interval = target.plan.monitor.interval;
    let key = &target.key;
    let identity = format!("{} {} {}", key.pool, key.origin, key.identity());
    let phase = schedule::phase(rng::stable_hash(identity.as_bytes()), interval);
    // Half an interval lies at least between the first probe and the second.
    let mut elapsed = shared.epoch.elapsed().saturating_add(interval / 2);
    loop {
        target.record(shared.probe(&target).await);
        shared.ended.notify_waiters();
        elapsed = elapsed.max(shared.epoch.elapsed());
        let tick = schedule::next_tick(elapsed, phase, interval);
        rest(&target, shared.epoch + tick).await;
        elapsed = tick;
    }
}

/// Sleeps until `tick`, or until the name of an origin without addresses has some.
async fn rest(target: &Target, tick: Instant) {
    while target.live.addresses.load().is_empty() {
        let check = Instant::now() + ADDRESS_CHECK;
        if check >= tick {
            break;
        }
        sleep_until(check).await;
        if !target.live.addresses.load().is_empty() {
            return;
        }
    }
    sleep_until(tick).await;
}

impl Target {
    /// Starts its task, unless it was stopped before.
    fn start(self: &Arc<Self>, shared: &Arc<Shared>) {
        let mut task = lock(&self.task);
        if matches!(*task, Task::Waits) {
            *task = Task::Runs(tokio::spawn(watch(self.clone(), shared.clone())).abort_handle());
        }
    }

    /// Ends its task for good.
    fn stop(&self) {
        if let Task::Runs(task) = std::mem::replace(&mut *lock(&self.task), Task::Stopped) {
            task.abort();
        }
    }

    /// Whether a probe of it has ended, or none will.
    fn is_asked(&self) -> bool {
        matches!(*lock(&self.task), Task::Stopped) || lock(&self.progress).probes > 0
    }

    fn is_suspect(&self) -> bool {
        lock(&self.progress).last.is_some()
    }

    /// Notes the end of a probe, and a change of health where it is one.
    fn record(&self, result: Result<Duration, Failure>) {
        let now = live::now_ms();
        let mut progress = lock(&self.progress);
        let first = progress.tracker.healthy().is_none();
        let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Failure };
        let (up, down) = (self.plan.monitor.consecutive_up, self.plan.monitor.consecutive_down);
        let change = progress.tracker.observe(outcome, up, down);
        progress.last_ms = now;
        progress.probes += 1;
        match &result {
            Ok(rtt) => {
                let rtt = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).max(1);
                self.live.probe_rtt_us.store(rtt, std::sync::atomic::Ordering::Relaxed);
            }
            Err(failure) => {
                progress.failures += 1;
                self.live.set_reason(failure.reason.text());
            }
        }
        progress.last = result.err();
        let reason = progress.last.as_ref().map_or("", |failure| failure.reason.text());
        match change {
            Some(Transition::Up) => self.live.set_health(Health::Healthy, "", now, !first),
            Some(Transition::Down) => self.live.set_health(Health::Unhealthy, reason, now, false),
            None => return,
        }
        self.tell(change == Some(Transition::Up), first, progress.last.as_ref());
    }

    fn tell(&self, up: bool, first: bool, failure: Option<&Failure>) {
        let (level, message) = match (up, first) {
            (true, true) => (Level::Debug, "the origin is healthy"),
            (true, false) => (Level::Info, "the origin is healthy again"),
            (false, _) => (Level::Warn, "the origin is unhealthy and gets no requests"),
        };
        let reason = failure.map_or("", |failure| failure.reason.text());
        let detail = failure.map_or("", |failure| failure.detail.as_str());
        let identity = self.key.identity();
        let mut fields: Vec<operator_log::Field<'_>> = vec![
            ("pool", &self.key.pool),
            ("origin", &self.key.origin),
            ("address", &identity),
            ("monitor", &self.plan.monitor.name),
        ];
        if failure.is_some() {
            fields.push(("reason", &reason));
            fields.push(("detail", &detail));
        }
        operator_log::event(level, "origin_health", message, &fields);
    }

    fn state(&self) -> ProbeState {
        use std::sync::atomic::Ordering::Relaxed;
        let progress = lock(&self.progress);
        ProbeState {
            pool: self.key.pool.clone(),
            origin: self.key.origin.clone(),
            monitor: self.plan.monitor.name.clone(),
            kind: self.plan.monitor.kind,
            health: self.live.health(),
            reason: progress.last.as_ref().map(|failure| failure.reason),
            detail: progress.last.as_ref().map(|f| f.detail.clone()).unwrap_or_default(),
            rtt_us: self.live.probe_rtt_us.load(Relaxed),
            last_ms: progress.last_ms,
            changed_ms: self.live.changed_ms.load(Relaxed),
            probes: progress.probes,
            failures: progress.failures,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
