//! A worker: one thread, one reactor, its own connections; what its tasks share lives here.

use crate::buffers;
use crate::codec::h2_desk::{self, Desk};
use crate::codec::h2_held;
use crate::knock::Knocks;
use crate::plan::{ListenerPlan, Plan, same_sockets};
use crate::splice;
use crate::timer::{self, NEVER, TICK};
use crate::upstream::{IdlePool, SharedPool, StreamPool};
use arc_swap::ArcSwap;
use core_balance::rng::SplitMix64;
use core_wire::h1::head::RequestParser;
use process_runtime::access_log::WorkerLog;
use process_runtime::allocations;
use process_runtime::live::{LiveTable, now_ms};
use process_runtime::metrics::WorkerStats;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Parsers kept for reuse; as many as there are requests at once on a busy worker.
const PARSERS_MAX: usize = 512;
/// Ticks between two looks at what can be given back.
const HOUSEKEEPING_TICKS: u32 = 10;
/// Free buffers that are never given back (about 1 MiB).
const BUFFERS_KEPT: usize = 64;

/// How much of the process is still at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Connections are accepted.
    Serving = 0,
    /// As draining, and workers stay: another process accepts, and this one may have to again.
    Leaving = 1,
    /// Requests in flight finish, idle connections close.
    Draining = 2,
    /// Everything ends at once.
    Stopping = 3,
}

/// What all workers share: the plan in force and the second level of idle connections.
pub struct Shared {
    /// The plan in force.
    pub(crate) plan: ArcSwap<Plan>,
    /// Its generation, so that a worker sees a change by one load.
    generation: AtomicU64,
    phase: AtomicU8,
    pub(crate) idle: SharedPool,
    /// Connections that this process makes to itself, to see that it accepts.
    pub(crate) knocks: Knocks,
    /// Live state of the process.
    pub live: Arc<LiveTable>,
}

impl Shared {
    /// Starts with `plan`.
    #[must_use]
    pub fn new(plan: Plan, live: Arc<LiveTable>) -> Self {
        Self {
            generation: AtomicU64::new(plan.generation.0),
            plan: ArcSwap::from_pointee(plan),
            phase: AtomicU8::new(Phase::Serving as u8),
            idle: SharedPool::default(),
            knocks: Knocks::default(),
            live,
        }
    }

    /// Puts `plan` in force; workers see it with their next request.
    pub fn publish(&self, plan: Plan) {
        let generation = plan.generation.0;
        self.plan.store(Arc::new(plan));
        self.generation.store(generation, Ordering::Release);
    }

    /// How much of the process is still at work.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Serving,
            1 => Phase::Leaving,
            2 => Phase::Draining,
            _ => Phase::Stopping,
        }
    }

    /// Goes to a later phase.
    pub fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::Relaxed);
    }

    /// From leaving back to serving.
    pub(crate) fn stay(&self) {
        let (leaving, serving) = (Phase::Leaving as u8, Phase::Serving as u8);
        // Any other phase stays what it is.
        let _ = self.phase.compare_exchange(leaving, serving, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// What the tasks of one worker share. It never leaves its thread.
#[expect(clippy::vec_box, reason = "a parser is lent out in its box, which is large")]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    generation: Cell<u64>,
    listeners: RefCell<Vec<Rc<Local>>>,
    pub(crate) idle: RefCell<IdlePool>,
    /// Tasks that wait for a request of a stream.
    pub(crate) desks: RefCell<Vec<Rc<Desk>>>,
    /// Connections to origins that requests share.
    pub(crate) streams: RefCell<StreamPool>,
    random: RefCell<SplitMix64>,
    requests: RefCell<Vec<Box<RequestParser>>>,
    date: Cell<(u64, [u8; 29])>,
    pub(crate) log: RefCell<Option<WorkerLog>>,
    /// Open client connections.
    pub(crate) open: Cell<u64>,
}

/// A listener as one worker holds it: counted without atomics.
pub(crate) struct Local {
    pub(crate) plan: Arc<ListenerPlan>,
    pub(crate) generation: u64,
    /// Tick at which its last connections are closed, once a reload has removed it. One for all
    /// generations of the listener, which it identifies.
    end: Rc<Cell<u32>>,
}

impl Local {
    /// Tick at which its connections are closed; never while it is in the plan in force.
    pub(crate) fn end(&self) -> u32 {
        self.end.get()
    }

    /// Whether both let the same clients in, as far as certificates decide it.
    pub(crate) fn lets_in_the_same(&self, other: &Self) -> bool {
        match (&self.plan.tls, &other.plan.tls) {
            (Some(tls), Some(other)) => tls.lets_in_the_same(other),
            _ => true,
        }
    }
}

impl Worker {
    pub(crate) fn new(
        index: usize,
        shared: Arc<Shared>,
        seed: u64,
        log: Option<WorkerLog>,
    ) -> Self {
        let worker = Self {
            index,
            shared,
            generation: Cell::new(0),
            listeners: RefCell::default(),
            idle: RefCell::default(),
            streams: RefCell::default(),
            desks: RefCell::default(),
            random: RefCell::new(SplitMix64::new(seed)),
            requests: RefCell::default(),
            date: Cell::new((0, [b' '; 29])),
            log: RefCell::new(log),
            open: Cell::new(0),
        };
        worker.tick();
        worker.refresh();
        worker
    }

    /// This worker's numbers.
    pub(crate) fn stats(&self) -> &WorkerStats {
        self.shared.live.worker_stats.shard(self.index)
    }

    /// The generation in force; takes a new plan over where there is one.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        if self.shared.generation.load(Ordering::Acquire) != self.generation.get() {
            self.refresh();
        }
        self.generation.get()
    }

    #[cold]
    fn refresh(&self) {
        let plan = self.shared.plan.load();
        let generation = plan.generation.0;
        self.generation.set(generation);
        let mut listeners = self.listeners.borrow_mut();
        let taken_over = |plan: &Arc<ListenerPlan>| {
            let same = |old: &&Rc<Local>| same_sockets(&old.plan.config, &plan.config);
            let end = listeners.iter().find(same).map(|old| old.end.clone());
            let end = end.unwrap_or_else(|| Rc::new(Cell::new(NEVER)));
            Rc::new(Local { plan: plan.clone(), generation, end })
        };
        let fresh: Vec<_> = plan.listeners.iter().map(taken_over).collect();
        let end = timer::tick_after(plan.drain_timeout);
        for old in listeners.iter() {
            if !fresh.iter().any(|local| Rc::ptr_eq(&local.end, &old.end)) {
                old.end.set(end);
            }
        }
        *listeners = fresh;
    }

    /// The listener whose sockets `plan` asked for.
    pub(crate) fn local(&self, plan: &Arc<ListenerPlan>) -> Rc<Local> {
        let generation = self.generation();
        let listeners = self.listeners.borrow();
        let found = listeners.iter().find(|local| same_sockets(&local.plan.config, &plan.config));
        found.cloned().unwrap_or_else(|| {
            // A further reload has removed it before its sockets came here.
            let end = timer::tick_after(self.shared.plan.load().drain_timeout);
            Rc::new(Local { plan: plan.clone(), generation, end: Rc::new(Cell::new(end)) })
        })
    }

    /// `local` as the plan in force has it; itself where that has removed it.
    #[inline]
    pub(crate) fn current(&self, local: &Rc<Local>) -> Rc<Local> {
        if self.generation() == local.generation {
            return local.clone();
        }
        let listeners = self.listeners.borrow();
        listeners.iter().find(|l| Rc::ptr_eq(&l.end, &local.end)).unwrap_or(local).clone()
    }

    /// A random number.
    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().next()
    }

    /// Whether connections are to be closed after their request.
    #[inline]
    pub(crate) fn draining(&self) -> bool {
        self.shared.phase() != Phase::Serving
    }

    pub(crate) fn request_parser(&self) -> Box<RequestParser> {
        self.requests.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn keep_request_parser(&self, mut parser: Box<RequestParser>) {
        let mut kept = self.requests.borrow_mut();
        if kept.len() < PARSERS_MAX {
            parser.reset();
            kept.push(parser);
        }
    }

    /// The present time as an HTTP date.
    pub(crate) fn date(&self) -> [u8; 29] {
        self.date.get().1
    }

    /// What is done ten times a second.
    fn tick(&self) {
        self.stats().beats.inc();
        self.stats().spliced_bytes.add(splice::take_moved());
        self.stats().buffers_lent.store(buffers::lent(), Ordering::Relaxed);
        h2_held::publish(self.stats());
        let asked = allocations::take();
        self.stats().allocations.add(asked.blocks);
        self.stats().allocated_bytes.add(asked.bytes);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if self.date.get().0 != unix {
            self.date.set((unix, core_wire::date::imf_fixdate(unix)));
        }
        let tick = u32::try_from(u128::from(now_ms()) / TICK.as_millis()).unwrap_or(0);
        timer::advance(tick);
        let housekeeping = tick.is_multiple_of(HOUSEKEEPING_TICKS);
        let several = self.shared.live.workers() > 1;
        self.idle.borrow_mut().tick(several.then_some(&self.shared.idle), housekeeping);
        if housekeeping {
            self.streams.borrow_mut().tidy();
            h2_desk::trim(&mut self.desks.borrow_mut());
            buffers::trim(BUFFERS_KEPT);
            self.requests.borrow_mut().truncate(PARSERS_MAX / 4);
            if self.index == 0 && several {
                self.shared.idle.reap();
            }
        }
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.tick();
        }
    }

    /// Keeps the clock of this worker until the process stops.
    pub(crate) async fn clock(self: Rc<Self>) {
        let mut phase = Phase::Serving;
        // A request may have taken the new plan over before this task sees it.
        let mut seen = self.generation.get();
        loop {
            tokio::time::sleep(TICK).await;
            self.tick();
            // Idle connections look at the plan and the phase when they are woken.
            if self.generation() != seen || self.shared.phase() != phase {
                seen = self.generation();
                phase = self.shared.phase();
                timer::wake_all();
                if phase != Phase::Serving {
                    self.idle.borrow_mut().clear();
                }
            }
        }
    }
}

/// How long `work` may be postponed when descriptors or memory are short.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
