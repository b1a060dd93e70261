//! The request plane as a whole: workers with their sockets, and the plan they follow.

use crate::knock::{self, KnockError};
use crate::listen::{self, Left, Queue};
use crate::plan::{Kept, ListenerPlan, Plan, same_sockets};
use crate::timer::TICK;
use crate::tls::TlsError;
use crate::worker::{Phase, Shared, Worker};
use core_model::Generation;
use core_model::config::{Listener, Name};
use core_model::snapshot::Snapshot;
use process_runtime::access_log::WorkerLog;
use process_runtime::handover::TicketKeys;
use process_runtime::live::LiveTable;
use process_runtime::sockets::{self, BindError};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};

/// How often a worker that drains looks whether it is done.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Why a snapshot was not put in force; the one before it goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Certificates, keys or authorities cannot be used: the operator's fault.
    #[error("{}", join(.0))]
    Tls(Vec<TlsError>),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread or its reactor cannot be had.
    #[error("a worker cannot start: {0}")]
    Worker(#[source] io::Error),
    /// The snapshot is not newer than the one in force.
    #[error("generation {0} is not newer than the one in force")]
    Stale(Generation),
}

fn join(errors: &[TlsError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

enum Command {
    Listen { sockets: u64, listener: Arc<ListenerPlan>, socket: TcpListener },
    Retire { sockets: u64 },
    Leave { sockets: u64 },
}

/// The sockets of a listener. They stay where their address does, whatever it is called.
struct Held {
    /// Their number.
    sockets: u64,
    listener: Arc<ListenerPlan>,
    /// A second descriptor of each, for the process that takes over. Closed first where they are
    /// retired, since a socket lives as long as any of its descriptors.
    copies: Vec<TcpListener>,
}

struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    handle: JoinHandle<()>,
    /// Whether it has no connection left, while the process is leaving.
    quiet: Arc<AtomicBool>,
}

/// The request plane.
pub struct Edge {
    shared: Arc<Shared>,
    kept: Kept,
    threads: Vec<Thread>,
    held: Vec<Held>,
    /// Plans that workers may still have parts of.
    former: Vec<Arc<Plan>>,
    /// Number of the next sockets.
    next: u64,
}

/// Sockets of one listener, one per worker or more: every one of them is served.
pub type Bound = (Name, Vec<TcpListener>);

/// What the process before this one left behind; nothing where there was none.
#[derive(Debug, Default)]
pub struct Legacy {
    /// The keys of session tickets.
    pub tickets: Vec<TicketKeys>,
}

impl Edge {
    /// Starts the workers on `bound` sockets, with what the process before this one left.
    ///
    /// # Errors
    /// When the snapshot cannot be made ready or a thread cannot start.
    pub fn start(
        snapshot: &Snapshot,
        live: Arc<LiveTable>,
        bound: Vec<Bound>,
        legacy: Legacy,
        seed: u64,
        mut log: impl FnMut() -> Option<WorkerLog>,
    ) -> Result<Self, ApplyError> {
        let mut kept = Kept::inheriting(legacy.tickets);
        let plan = Plan::build(snapshot, &live, &kept, None).map_err(ApplyError::Tls)?;
        kept.forget_inherited();
        let workers = live.workers();
        let shared = Arc::new(Shared::new(plan, live));
        let mut threads = Vec::with_capacity(workers);
        for index in 0..workers {
            let (commands, inbox) = mpsc::unbounded_channel();
            let (shared, quiet) = (shared.clone(), Arc::new(AtomicBool::new(false)));
            let (log, told) = (log(), quiet.clone());
            let seed = seed.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let handle = std::thread::Builder::new()
                .name(format!("weir-worker-{index}"))
                .spawn(move || work(index, shared, seed, log, inbox, told))
                .map_err(ApplyError::Worker)?;
            threads.push(Thread { commands, handle, quiet });
        }
        let listeners = shared.plan.load().listeners.clone();
        let mut edge =
            Self { shared, kept, threads, held: Vec::new(), former: Vec::new(), next: 0 };
        for (name, sockets) in bound {
            if let Some(listener) = listeners.iter().find(|l| l.config.name == name) {
                let copies = sockets::duplicates(listener.config.address, &sockets)?;
                edge.listen(listener.clone(), sockets, copies);
            }
        }
        Ok(edge)
    }

    /// What the workers share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn listen(
        &mut self,
        listener: Arc<ListenerPlan>,
        sockets: Vec<TcpListener>,
        copies: Vec<TcpListener>,
    ) {
        let held = Held { sockets: self.next, listener, copies };
        self.next += 1;
        self.accept(&held, sockets);
        self.held.push(held);
    }

    /// Gives the sockets to the workers in turn. There may be more of them, where a process with
    /// more workers had them before; one that nobody served would keep its clients waiting.
    fn accept(&self, held: &Held, sockets: Vec<TcpListener>) {
        for (thread, socket) in self.threads.iter().cycle().zip(sockets) {
            let (sockets, listener) = (held.sockets, held.listener.clone());
            // A worker that has ended takes no commands; its end is seen when it is joined.
            let _ = thread.commands.send(Command::Listen { sockets, listener, socket });
        }
    }

    /// Ends the accept loops of `held` and gives its sockets up.
    fn retire(&self, held: Held) {
        // The workers' are the last descriptors then, and close the sockets.
        drop(held.copies);
        for thread in &self.threads {
            let _ = thread.commands.send(Command::Retire { sockets: held.sockets });
        }
    }

    /// Puts `snapshot` in force as a whole: new addresses are bound first, so that a failure
    /// changes nothing; then requests follow the new plan; then removed listeners are retired.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn apply(&mut self, snapshot: &Snapshot) -> Result<(), ApplyError> {
        if snapshot.generation <= self.shared.plan.load().generation {
            return Err(ApplyError::Stale(snapshot.generation));
        }
        let before = self.shared.plan.load_full();
        let plan = Plan::build(snapshot, &self.shared.live, &self.kept, Some(&before))
            .map_err(ApplyError::Tls)?;
        let mut fresh = Vec::new();
        let listeners = plan.listeners.clone();
        for listener in &listeners {
            let config = &listener.config;
            if !self.held.iter().any(|held| same_sockets(&held.listener.config, config)) {
                let workers = self.threads.len();
                let sockets =
                    sockets::bind_when_retired(config.address, workers, config.backlog).await?;
                let copies = sockets::duplicates(config.address, &sockets)?;
                fresh.push((listener.clone(), sockets, copies));
            }
        }
        let gone: Vec<Name> = before.pools_gone(&plan).cloned().collect();
        self.shared.publish(plan);
        gone.iter().for_each(|pool| self.shared.live.leave(pool));
        self.give_up(before);
        for mut held in std::mem::take(&mut self.held) {
            match listeners.iter().find(|l| same_sockets(&held.listener.config, &l.config)) {
                Some(listener) => {
                    held.listener = listener.clone();
                    self.held.push(held);
                }
                None => self.retire(held),
            }
        }
        for (listener, sockets, copies) in fresh {
            self.listen(listener, sockets, copies);
        }
        Ok(())
    }

    /// Keeps a former plan until no worker has any of it, so that it is never a worker that frees
    /// what belonged to ten thousand hosts.
    fn give_up(&mut self, plan: Arc<Plan>) {
        self.former.retain(|plan| plan.listeners.iter().any(|l| Arc::strong_count(l) > 1));
        self.former.push(plan);
    }

    /// Checks that `snapshot` could be put in force, without doing so.
    ///
    /// # Errors
    /// Every TLS setting that cannot be used.
    pub fn check(snapshot: &Snapshot) -> Result<(), Vec<TlsError>> {
        Plan::check(snapshot)
    }

    /// Lets requests in flight finish within `limit`, then ends the workers. Says whether all
    /// connections had ended by then. `hurry` ends the wait early.
    pub async fn drain(mut self, limit: Duration, hurry: impl Future<Output = ()>) -> bool {
        self.shared.enter(Phase::Draining);
        for held in std::mem::take(&mut self.held) {
            self.retire(held);
        }
        let end = Instant::now() + limit;
        let idle = async {
            while self.threads.iter().any(|t| !t.handle.is_finished()) && Instant::now() < end {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        tokio::select! {
            () = idle => {}
            () = hurry => {}
        }
        let whole = self.threads.iter().all(|thread| thread.handle.is_finished());
        self.stop();
        whole
    }

    /// Ends the workers at once.
    pub fn stop(self) {
        self.shared.enter(Phase::Stopping);
        for thread in self.threads {
            drop(thread.commands);
            let _ = thread.handle.join();
        }
    }
}

/// For another process to take over, and back.
impl Edge {
    /// Every listener with a descriptor of each of its sockets.
    pub fn sockets(&self) -> impl Iterator<Item = (&Listener, &[TcpListener])> {
        self.held.iter().map(|held| (&held.listener.config, held.copies.as_slice()))
    }

    /// The ticket keys that listeners made for themselves.
    #[must_use]
    pub fn ticket_keys(&self) -> Vec<TicketKeys> {
        self.kept.ticket_keys()
    }

    /// Connects to a listener until a worker of this process answers, and sees that all run.
    ///
    /// # Errors
    /// None did, or one does not.
    pub async fn knock(&self, within: Duration) -> Result<(), KnockError> {
        let local = |held: &Held| held.copies.first()?.local_addr().ok();
        let addresses: Vec<_> = self.held.iter().filter_map(local).collect();
        knock::knock(&self.shared, &addresses, within).await
    }

    /// Stops accepting: listeners that `taken` names are left to the process that took them, the
    /// others retired. Connections finish as in a drain, and workers stay. Says whether any was
    /// retired.
    pub fn leave(&mut self, taken: impl Fn(&Listener) -> bool) -> bool {
        for thread in &self.threads {
            thread.quiet.store(false, Ordering::Relaxed);
        }
        self.shared.enter(Phase::Leaving);
        let held = std::mem::take(&mut self.held);
        let (left, retired) = held.into_iter().partition(|h| taken(&h.listener.config));
        self.held = left;
        for held in &self.held {
            for thread in &self.threads {
                let _ = thread.commands.send(Command::Leave { sockets: held.sockets });
            }
        }
        let some = !Vec::is_empty(&retired);
        retired.into_iter().for_each(|held| self.retire(held));
        some
    }

    /// After [`leave`](Self::leave), whether no connection is left.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.threads.iter().all(|t| t.quiet.load(Ordering::Relaxed) || t.handle.is_finished())
    }

    /// After [`leave`](Self::leave), closes the sockets for good.
    pub fn let_go(&mut self) {
        self.held.clear();
    }

    /// After [`leave`](Self::leave), accepts again from the sockets that were left.
    ///
    /// # Errors
    /// No descriptors are left; those that could be had are served.
    pub fn stay(&mut self) -> Result<(), BindError> {
        self.shared.stay();
        let mut outcome = Ok(());
        for held in &self.held {
            match sockets::duplicates(held.listener.config.address, &held.copies) {
                Ok(sockets) => self.accept(held, sockets),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }
}

/// A worker's thread.
fn work(
    index: usize,
    shared: Arc<Shared>,
    seed: u64,
    log: Option<WorkerLog>,
    inbox: mpsc::UnboundedReceiver<Command>,
    quiet: Arc<AtomicBool>,
) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(obey(index, shared, seed, log, inbox, quiet)),
        Err(error) => process_runtime::operator_log::error(
            "worker_failed",
            "a worker has no reactor; the process serves with fewer",
            &[("worker", &index), ("error", &error)],
        ),
    }
}

async fn obey(
    index: usize,
    shared: Arc<Shared>,
    seed: u64,
    log: Option<WorkerLog>,
    mut inbox: mpsc::UnboundedReceiver<Command>,
    quiet: Arc<AtomicBool>,
) {
    let worker = Rc::new(Worker::new(index, shared, seed, log));
    let clock = tokio::task::spawn_local(worker.clone().clock());
    let mut accepting: Vec<(u64, oneshot::Sender<Left>)> = Vec::new();
    let mut retiring: Vec<tokio::task::JoinHandle<()>> = Vec::new();
    loop {
        let draining = worker.shared.phase() != Phase::Serving;
        tokio::select! {
            command = inbox.recv() => match command {
                None => break,
                Some(Command::Listen { sockets, listener, socket }) => {
                    let Ok(socket) = Queue::watch(socket) else { continue };
                    let (stop, stopped) = oneshot::channel();
                    let local = worker.local(&listener);
                    let task = listen::accept(worker.clone(), local, socket, stopped);
                    retiring.push(tokio::task::spawn_local(task));
                    accepting.push((sockets, stop));
                }
                Some(Command::Retire { sockets }) => {
                    // Dropping the sender ends the accept loop.
                    accepting.retain(|(listening, _)| *listening != sockets);
                }
                Some(Command::Leave { sockets }) => {
                    for (_, stop) in accepting.extract_if(.., |(of, _)| *of == sockets) {
                        // A loop that has ended accepts no more.
                        let _ = stop.send(Left);
                    }
                }
            },
            () = tokio::time::sleep(if draining { DRAIN_LOOK } else { TICK }) => {}
        }
        retiring.retain(|task| !task.is_finished());
        match worker.shared.phase() {
            Phase::Serving => {}
            Phase::Leaving => {
                let left = worker.open.get() > 0 || !retiring.is_empty();
                quiet.store(!left, Ordering::Relaxed);
            }
            Phase::Draining if worker.open.get() > 0 || !retiring.is_empty() => {}
            Phase::Draining | Phase::Stopping => break,
        }
    }
    clock.abort();
}
