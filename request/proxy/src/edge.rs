//! The request plane as a whole: workers with their sockets, and the plan they follow.

use crate::listen;
use crate::plan::{Kept, ListenerPlan, Plan, same_sockets};
use crate::timer::TICK;
use crate::tls::TlsError;
use crate::worker::{Phase, Shared, Worker};
use core_model::Generation;
use core_model::config::Name;
use core_model::snapshot::Snapshot;
use process_runtime::access_log::WorkerLog;
use process_runtime::live::LiveTable;
use process_runtime::sockets::{self, BindError};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
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
}

/// The sockets of a listener. They stay where their address does, whatever it is called.
struct Held {
    /// Their number.
    sockets: u64,
    listener: Arc<ListenerPlan>,
}

struct Thread {
    commands: mpsc::UnboundedSender<Command>,
    handle: JoinHandle<()>,
}

/// The request plane.
pub struct Edge {
    shared: Arc<Shared>,
    kept: Kept,
    threads: Vec<Thread>,
    held: Vec<Held>,
    /// Number of the next sockets.
    next: u64,
}

/// Sockets of one listener, one per worker.
pub type Bound = (Name, Vec<TcpListener>);

impl Edge {
    /// Starts the workers on `bound` sockets.
    ///
    /// # Errors
    /// When the snapshot cannot be made ready or a thread cannot start.
    pub fn start(
        snapshot: &Snapshot,
        live: Arc<LiveTable>,
        bound: Vec<Bound>,
        seed: u64,
        mut log: impl FnMut() -> Option<WorkerLog>,
    ) -> Result<Self, ApplyError> {
        let kept = Kept::default();
        let plan = Plan::build(snapshot, &live, &kept).map_err(ApplyError::Tls)?;
        let workers = live.workers();
        let shared = Arc::new(Shared::new(plan, live));
        let mut threads = Vec::with_capacity(workers);
        for index in 0..workers {
            let (commands, inbox) = mpsc::unbounded_channel();
            let shared = shared.clone();
            let log = log();
            let seed = seed.wrapping_add((index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let handle = std::thread::Builder::new()
                .name(format!("weir-worker-{index}"))
                .spawn(move || work(index, shared, seed, log, inbox))
                .map_err(ApplyError::Worker)?;
            threads.push(Thread { commands, handle });
        }
        let listeners = shared.plan.load().listeners.clone();
        let mut edge = Self { shared, kept, threads, held: Vec::new(), next: 0 };
        for (name, sockets) in bound {
            if let Some(listener) = listeners.iter().find(|l| l.config.name == name) {
                edge.listen(listener.clone(), sockets);
            }
        }
        Ok(edge)
    }

    /// What the workers share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn listen(&mut self, listener: Arc<ListenerPlan>, sockets: Vec<TcpListener>) {
        let number = self.next;
        self.next += 1;
        for (thread, socket) in self.threads.iter().zip(sockets) {
            let listener = listener.clone();
            // A worker that has ended takes no commands; its end is seen when it is joined.
            let _ = thread.commands.send(Command::Listen { sockets: number, listener, socket });
        }
        self.held.push(Held { sockets: number, listener });
    }

    /// Ends the accept loops of `held`.
    fn retire(&self, held: &Held) {
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
        let plan = Plan::build(snapshot, &self.shared.live, &self.kept).map_err(ApplyError::Tls)?;
        let mut fresh = Vec::new();
        let listeners = plan.listeners.clone();
        for listener in &listeners {
            let config = &listener.config;
            if !self.held.iter().any(|held| same_sockets(&held.listener.config, config)) {
                let workers = self.threads.len();
                let sockets =
                    sockets::bind_when_retired(config.address, workers, config.backlog).await?;
                fresh.push((listener.clone(), sockets));
            }
        }
        self.shared.publish(plan);
        for mut held in std::mem::take(&mut self.held) {
            match listeners.iter().find(|l| same_sockets(&held.listener.config, &l.config)) {
                Some(listener) => {
                    held.listener = listener.clone();
                    self.held.push(held);
                }
                None => self.retire(&held),
            }
        }
        for (listener, sockets) in fresh {
            self.listen(listener, sockets);
        }
        Ok(())
    }

    /// Checks that `snapshot` could be put in force, without doing so.
    ///
    /// # Errors
    /// Every TLS setting that cannot be used.
    pub fn check(snapshot: &Snapshot) -> Result<(), Vec<TlsError>> {
        Plan::build(snapshot, &LiveTable::new(1), &Kept::default()).map(|_| ())
    }

    /// Lets requests in flight finish within `limit`, then ends the workers. Says whether all
    /// connections had ended by then. `hurry` ends the wait early.
    pub async fn drain(self, limit: Duration, hurry: impl Future<Output = ()>) -> bool {
        self.shared.enter(Phase::Draining);
        self.held.iter().for_each(|held| self.retire(held));
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

/// A worker's thread.
fn work(
    index: usize,
    shared: Arc<Shared>,
    seed: u64,
    log: Option<WorkerLog>,
    inbox: mpsc::UnboundedReceiver<Command>,
) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(obey(index, shared, seed, log, inbox)),
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
) {
    let worker = Rc::new(Worker::new(index, shared, seed, log));
    let clock = tokio::task::spawn_local(worker.clone().clock());
    let mut accepting: Vec<(u64, oneshot::Sender<()>)> = Vec::new();
    let mut retiring: Vec<tokio::task::JoinHandle<()>> = Vec::new();
    loop {
        let draining = worker.shared.phase() != Phase::Serving;
        tokio::select! {
            command = inbox.recv() => match command {
                None => break,
                Some(Command::Listen { sockets, listener, socket }) => {
                    let Ok(socket) = tokio::net::TcpListener::from_std(socket) else { continue };
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
            },
            () = tokio::time::sleep(if draining { DRAIN_LOOK } else { TICK }) => {}
        }
        retiring.retain(|task| !task.is_finished());
        match worker.shared.phase() {
            Phase::Serving => {}
            Phase::Draining if worker.open.get() > 0 || !retiring.is_empty() => {}
            Phase::Draining | Phase::Stopping => break,
        }
    }
    clock.abort();
}
