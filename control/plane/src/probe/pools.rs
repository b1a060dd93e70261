//! What is probed compared with what a configuration asks for, pool by pool: a pool that is the
//! same object with the same monitor is not looked at.

use super::plan::{self, Key, Planned};
use super::{Health, Prober, Progress, Shared, Target, Task, Tracker, lock, tls};
use core_model::config::{Config, List, Monitor, MonitorKind, Name, Pool, UpstreamProtocols};
use process_runtime::live::{self, OriginLive};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Tasks that are started at once: some hundred microseconds of the thread that serves signals as
/// well.
const STARTED_AT_ONCE: usize = 500;

/// TLS settings of a target, or why there can be none.
pub(super) type Session = Arc<Result<tls::Session, String>>;

/// What the prober's pools were made of.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pools: List<Pool>,
    monitors: List<Monitor>,
}

impl Applied {
    fn monitor(&self, pool: &Pool) -> Option<&Arc<Monitor>> {
        pool.monitor.and_then(|id| self.monitors.get(id.0))
    }

    /// The pool at a place of both, where nothing about its probes is another.
    fn same(&self, other: &Self, at: usize) -> bool {
        let (Some(one), Some(two)) = (self.pools.get(at), other.pools.get(at)) else {
            return false;
        };
        let monitors = (self.monitor(one), other.monitor(two));
        Arc::ptr_eq(one, two)
            && match monitors {
                (Some(one), Some(two)) => Arc::ptr_eq(one, two),
                (one, two) => one.is_none() && two.is_none(),
            }
    }
}

/// What is probed of one pool.
#[derive(Debug, Default)]
pub(super) struct Probed {
    pub(super) targets: Vec<Arc<Target>>,
    unmonitored: Vec<Key>,
}

/// What decides a session: settings of TLS (by address, as they are alive), what the monitor asks
/// for, and protocols.
type SessionKey = (usize, MonitorKind, bool, bool, UpstreamProtocols);

/// Sessions made in one go; as authorities are read for each.
#[derive(Default)]
struct Sessions(Vec<(SessionKey, Session)>, HashMap<usize, usize>);

impl Sessions {
    fn of(&mut self, plan: &plan::Plan) -> Session {
        let tls = plan.tls.as_ref().map_or(0, |tls| Arc::as_ptr(tls) as usize);
        let monitor = &plan.monitor;
        let (follows, insecure) = (monitor.follow_redirects, monitor.allow_insecure);
        let key = (tls, monitor.kind, follows, insecure, plan.protocols);
        let last = self.1.get(&tls).and_then(|at| self.0.get(*at));
        if let Some((_, session)) = last.filter(|(other, _)| *other == key) {
            return session.clone();
        }
        let made = Arc::new(tls::session(plan));
        self.1.insert(tls, self.0.len());
        self.0.push((key, made.clone()));
        made
    }
}

impl Prober {
    /// Probes what `config` asks for from here on: at the start, and at each reload before the
    /// snapshot is handed to the workers. Call it within a tokio runtime.
    ///
    /// A target whose settings did not change goes on undisturbed. One whose settings did keeps its
    /// health until probes change it. An origin that served without a monitor counts as healthy
    /// until its first probe ends. Any other new one is unknown until then, see
    /// [`Prober::settled`].
    pub fn apply(&mut self, config: &Config) {
        let next = Applied { pools: config.pools.clone(), monitors: config.monitors.clone() };
        let before = std::mem::replace(&mut self.applied, next);
        let lists = [&before.pools, &self.applied.pools];
        if Arc::ptr_eq(lists[0], lists[1]) && Arc::ptr_eq(&before.monitors, &self.applied.monitors)
        {
            return;
        }
        let most = lists[0].len().max(lists[1].len());
        let others: Vec<usize> = (0..most).filter(|at| !before.same(&self.applied, *at)).collect();
        let pools = self.applied.pools.clone();
        let changed: Vec<&Arc<Pool>> = others.iter().filter_map(|at| pools.get(*at)).collect();
        let names: HashSet<&Name> = changed.iter().map(|pool| &pool.name).collect();
        let gone = others.iter().filter_map(|at| before.pools.get(*at));
        for gone in gone.filter(|pool| !names.contains(&pool.name)) {
            if let Some(probed) = self.pools.remove(&gone.name) {
                probed.targets.iter().for_each(|target| target.stop());
                self.states.set(&gone.name, &[]);
            }
        }
        let (mut fresh, mut sessions) = (Vec::new(), Sessions::default());
        for pool in changed {
            self.probe(pool, &mut fresh, &mut sessions);
        }
        let mut waited_for = lock(&self.fresh);
        waited_for.retain(|target| !target.is_asked());
        waited_for.extend(fresh.iter().cloned());
        start(fresh, &self.shared);
    }

    /// Probes what one pool asks for.
    fn probe(&mut self, pool: &Arc<Pool>, fresh: &mut Vec<Arc<Target>>, sessions: &mut Sessions) {
        let wanted = plan::wanted(pool, self.applied.monitor(pool), &self.table);
        let before = self.pools.remove(&pool.name).unwrap_or_default();
        let mut old: HashMap<&str, &Arc<Target>> =
            before.targets.iter().map(|target| (&*target.key.origin, target)).collect();
        let mut targets = Vec::with_capacity(wanted.probed.len());
        for (key, planned) in wanted.probed {
            let former = old.get(&*key.origin).copied().filter(|former| former.key == key);
            let same = |t: &Target| t.plan == planned.plan && Arc::ptr_eq(&t.live, &planned.live);
            if let Some(former) = former.filter(|former| same(former)) {
                old.remove(&*key.origin);
                targets.push(former.clone());
                continue;
            }
            let tracker = match former {
                Some(_) => Tracker::resume(decided(planned.live.health())),
                None => admit(&before.unmonitored, &key, &planned.live),
            };
            let target = target(key, planned, tracker, sessions);
            fresh.push(target.clone());
            targets.push(target);
        }
        old.values().for_each(|former| former.stop());
        if targets.is_empty() && wanted.unmonitored.is_empty() {
            self.states.set(&pool.name, &[]);
            return;
        }
        if !(targets.is_empty() && before.targets.is_empty()) {
            self.states.set(&pool.name, &targets);
        }
        let probed = Probed { targets, unmonitored: wanted.unmonitored };
        self.pools.insert(pool.name.clone(), probed);
    }
}

/// Starts tasks, a few at a time where there are many.
fn start(fresh: Vec<Arc<Target>>, shared: &Arc<Shared>) {
    if fresh.len() <= STARTED_AT_ONCE {
        fresh.iter().for_each(|target| target.start(shared));
        return;
    }
    let shared = shared.clone();
    tokio::spawn(async move {
        for some in fresh.chunks(STARTED_AT_ONCE) {
            some.iter().for_each(|target| target.start(&shared));
            tokio::task::yield_now().await;
        }
    });
}

fn target(key: Key, planned: Planned, tracker: Tracker, sessions: &mut Sessions) -> Arc<Target> {
    Arc::new(Target {
        key,
        session: sessions.of(&planned.plan),
        plan: planned.plan,
        live: planned.live,
        progress: Mutex::new(Progress { tracker, ..Progress::default() }),
        task: Mutex::new(Task::Waits),
    })
}

/// The tracker of an origin that was not probed before.
fn admit(unmonitored: &[Key], key: &Key, live: &OriginLive) -> Tracker {
    let now = live::now_ms();
    if unmonitored.contains(key) {
        live.set_health(Health::Healthy, "", now, false);
    } else if live.health() != Health::Unknown {
        // It was disabled in between: what was known then says nothing.
        live.set_health(Health::Unknown, "", now, false);
    }
    Tracker::default()
}

fn decided(health: Health) -> Option<bool> {
    match health {
        Health::Unknown => None,
        Health::Healthy => Some(true),
        Health::Unhealthy => Some(false),
    }
}
