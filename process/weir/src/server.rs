//! The life of the process: validate, bind, drop rights, serve, reload, drain. How it takes over
//! from another process and hands over to one is in `upgrade`.

mod change;
mod fleet;
mod packets;
mod upgrade;

pub(crate) use fleet::FleetOptions;

use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use crate::packet::PacketPath;
use anyhow::Context;
use arc_swap::ArcSwap;
use control_plane::probe::Prober;
use core_model::Snapshot;
use core_model::config::Config;
use fleet::{Following, Source, Start};
use packets::Part;
use process_runtime::access_log::AccessLog;
use process_runtime::accounts::ServiceUser;
use process_runtime::admin::{Admin, ReloadOutcome, Wish};
use process_runtime::fleet::Member;
use process_runtime::handover::{Inherited, Predecessor, Program, Takeover};
use process_runtime::live::LiveTable;
use process_runtime::service::{Activated, Notifier, watchdog_interval};
use process_runtime::signals::{Order, Signals};
use process_runtime::status::{Phase, StatusSource};
use process_runtime::{operator_log, panics, privileges, sockets};
use request_proxy::{Bound, Edge, Legacy, Resolver};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};
use upgrade::{Handed, Upgrading};

/// How long first probes and lookups may keep a start or a reload waiting.
const SETTLE: Duration = Duration::from_secs(1);
/// Reloads that may wait for one that runs.
const RELOADS_WAITING: usize = 16;
/// How long the access log may write on after the last request.
const LOG_FLUSH: Duration = Duration::from_secs(2);

/// A request to the control loop.
pub(crate) struct Ask {
    pub(crate) wish: Wish,
    pub(crate) answer: oneshot::Sender<ReloadOutcome>,
}

/// Serves what `file` says.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn run_file(file: &Path, fleet: FleetOptions) -> anyhow::Result<ExitCode> {
    run(file, Part::Whole, fleet)
}

/// Looks after the packet path of `file`, without its listeners.
///
/// # Errors
/// What kept it from starting.
pub(crate) fn run_packets(file: &Path) -> anyhow::Result<ExitCode> {
    run(file, Part::Packets, FleetOptions::default())
}

fn run(file: &Path, part: Part, options: FleetOptions) -> anyhow::Result<ExitCode> {
    // Sockets handed in are taken before anything else opens a descriptor.
    let activated = Activated::from_env().context("sockets of the service manager")?;
    let program = Program::of_this_process().context("the path of this program")?;
    let takeover = Takeover::from_env(env!("CARGO_PKG_VERSION"))?;
    let refusal = takeover.as_ref().map(Takeover::refusal).transpose()?;
    let refuse = |why: Vec<String>| refusal.iter().for_each(|refusal| refusal.tell(why.clone()));
    let started = fleet::load(file, part, options, takeover.is_some());
    let started = started.map_err(anyhow::Error::from);
    let Start { loaded, source, member } =
        match started.inspect_err(|error| refuse(vec![format!("{error:#}")]))? {
            Ok(start) => start,
            Err(faults) => {
                refuse(faults.iter().map(ToString::to_string).collect());
                print_faults(&faults);
                return Ok(ExitCode::from(EXIT_REFUSED));
            }
        };
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let served = bind(loaded.config, activated, takeover).and_then(|bound| {
        let origin = Origin { source, member, program };
        bound.serve(Some(origin), std::future::pending(), std::future::ready(()))
    });
    // Once it serves nobody waits for this word any more.
    served.inspect_err(|error| refuse(vec![format!("{error:#}")]))
}

/// What a process was started from, for a reload and for an upgrade.
pub(crate) struct Origin {
    source: Source,
    /// Who this process is in a fleet, until it follows.
    member: Option<Member>,
    program: Program,
}

/// Everything that needs root: sockets, then the drop of rights.
pub(crate) struct Ready {
    snapshot: Snapshot,
    listeners: Vec<Bound>,
    admin: Option<Admin>,
    packets: Option<Arc<PacketPath>>,
    inherited: Option<Inherited>,
}

/// Binds every address, or takes it over where another process gives it, and becomes the service
/// user.
pub(crate) fn bind(
    config: Config,
    mut activated: Activated,
    takeover: Option<Takeover>,
) -> anyhow::Result<Ready> {
    operator_log::configure(config.logging.level.into(), config.logging.format.into());
    // A page of 2 MiB is held as a whole by the last connection on it, and the memory of idle ones
    // was half as much again with them. A kernel that has no such pages need not be told.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let snapshot = Snapshot::first(config);
    let config = &snapshot.config;
    let _ = privileges::raise_open_files();
    if let Err(faults) = Edge::check(&snapshot) {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::bail!("{}", faults.join("\n"));
    }
    let mut inherited = takeover.map(Takeover::take).transpose()?;
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let (address, workers) = (listener.address, config.runtime.workers);
        let before = inherited.as_mut().map(|from| from.listener(&listener.name, address));
        let sockets = match before {
            Some(before) if !before.is_empty() => {
                sockets::spread(address, before, workers, listener.backlog)
            }
            _ => sockets::bind_or_take(address, workers, listener.backlog, &mut activated),
        };
        let sockets = sockets.with_context(|| format!("listener {}", listener.name))?;
        listeners.push((listener.name.clone(), sockets));
    }
    let admin = match &config.admin.address {
        None => None,
        Some(address) => Some(match inherited.as_mut().and_then(|from| from.admin(address)) {
            Some(socket) => Admin::adopt(address, socket).context("the admin's socket")?,
            None => Admin::bind(address)?,
        }),
    };
    for (name, address) in activated.left() {
        operator_log::warn(
            "socket_unused",
            "the service manager handed in a socket that no listener has the address of",
            &[("name", &name), ("address", &address)],
        );
    }
    let packets = packets::start(config)?;
    if let Some(user) = &config.runtime.user {
        let user = ServiceUser::find(user, config.runtime.group.as_deref())?;
        packets::give_pins(config, &user)?;
        privileges::drop_to(&user, packets::rights(config))?;
    }
    privileges::harden().context("switching core dumps off")?;
    panics::install_hook();
    Ok(Ready { snapshot, listeners, admin, packets, inherited })
}

impl Ready {
    /// Serves until a signal or `stop`, which begins once it serves, ends it. Between that and the
    /// end of the connections `last` is waited for.
    pub(crate) fn serve(
        self,
        origin: Option<Origin>,
        stop: impl Future<Output = ()>,
        last: impl Future<Output = ()>,
    ) -> anyhow::Result<ExitCode> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve_on(origin, stop, last))
    }

    async fn serve_on(
        self,
        mut origin: Option<Origin>,
        stop: impl Future<Output = ()>,
        last: impl Future<Output = ()>,
    ) -> anyhow::Result<ExitCode> {
        let config = &self.snapshot.config;
        let live = Arc::new(LiveTable::new(config.runtime.workers));
        let log = AccessLog::start(config.logging.access.as_ref(), live.clone())?;
        let mut signals = Signals::new().context("signals")?;
        let mut prober = Prober::new(live.clone());
        let mut resolver = Resolver::new(live.clone());
        resolver.apply(config);
        prober.apply(config);
        settle(&resolver, &prober).await;
        let mut inherited = self.inherited;
        let tickets = inherited.as_mut().map(|from| std::mem::take(&mut from.tickets));
        let legacy = Legacy { tickets: tickets.unwrap_or_default() };
        let worker_log = || Some(log.worker());
        let edge =
            Edge::start(&self.snapshot, live.clone(), self.listeners, legacy, seed(), worker_log)?;
        let notifier = Notifier::from_env()?;
        let predecessor = match inherited {
            Some(inherited) => Some(upgrade::take_over(&edge, inherited, &notifier, &live).await?),
            None => None,
        };
        let current = Arc::new(ArcSwap::from_pointee(self.snapshot));
        let status = StatusSource::new(live.clone(), current.clone(), env!("CARGO_PKG_VERSION"));
        let _sweeper = packets::look_after(self.packets.as_ref(), &current.load().config, &status);
        let (ask, mut asked) = mpsc::channel(RELOADS_WAITING);
        let admin = self.admin.map(|admin| AdminTask::start(admin, status.clone(), ask));
        let admin = admin.transpose().context("the admin's socket")?;
        let following = follow(origin.as_mut(), &live, &current, &status).await;
        let mut control = Control {
            origin,
            following,
            current,
            edge,
            prober,
            resolver,
            log,
            status,
            live,
            notifier,
            admin,
            packets: self.packets,
            predecessor,
        };
        control.ready();
        let mut stop = std::pin::pin!(stop);
        loop {
            match control.obey(&mut signals, &mut asked, stop.as_mut()).await {
                End::Handed(handed) => match control.leave(*handed, &mut signals, &mut asked).await
                {
                    Some(end) => return Ok(control.left(end)),
                    // The successor is gone, and this process serves again.
                    None => continue,
                },
                End::Drain => {
                    last.await;
                    return Ok(control.drain(&mut signals).await);
                }
                End::Stop => {
                    last.await;
                    return Ok(control.stop().await);
                }
            }
        }
    }
}

/// Begins to follow control planes, where this is an edge of a fleet.
async fn follow(
    origin: Option<&mut Origin>,
    live: &Arc<LiveTable>,
    current: &Arc<ArcSwap<Snapshot>>,
    status: &StatusSource,
) -> Option<Following> {
    let origin = origin?;
    let member = origin.member.take()?;
    let (live, current) = (live.clone(), current.clone());
    Some(Following::start(member, &origin.source, live, current, status).await)
}

/// A seed that differs from process to process.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

async fn settle(resolver: &Resolver, prober: &Prober) {
    let unknown = resolver.settled(SETTLE).await;
    for name in unknown {
        operator_log::warn(
            "dns_unknown",
            "the name of an origin has no address yet; requests for it get 502 until it has",
            &[("name", &name)],
        );
    }
    prober.settled(SETTLE).await;
}

/// The admin server at work.
struct AdminTask {
    task: tokio::task::JoinHandle<()>,
    /// Whether connections are accepted.
    open: watch::Sender<bool>,
    /// A second descriptor of its socket, for the process that takes over.
    socket: OwnedFd,
}

impl AdminTask {
    fn start(
        admin: Admin,
        status: Arc<StatusSource>,
        ask: mpsc::Sender<Ask>,
    ) -> std::io::Result<Self> {
        let socket = admin.socket()?;
        let (open, opened) = watch::channel(true);
        let task = tokio::spawn(serve_admin(admin, status, ask, opened));
        Ok(Self { task, open, socket })
    }
}

impl Drop for AdminTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve_admin(
    admin: Admin,
    status: Arc<StatusSource>,
    ask: mpsc::Sender<Ask>,
    open: watch::Receiver<bool>,
) {
    let wishes: process_runtime::admin::Reload = Arc::new(move |wish| {
        let ask = ask.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let gone = || refusal("this process is ending: ask again where another one serves");
            if ask.send(Ask { wish, answer }).await.is_err() {
                return gone();
            }
            answered.await.unwrap_or_else(|_| gone())
        })
    });
    if let Err(error) = admin.serve(status, wishes, open, std::future::pending()).await {
        operator_log::error("admin_failed", "the admin server ended", &[("error", &error)]);
    }
}

fn refusal(why: &str) -> ReloadOutcome {
    ReloadOutcome { applied: false, generation: 0, faults: vec![why.to_owned()], notes: Vec::new() }
}

/// Why the control loop ended.
enum End {
    Drain,
    Stop,
    /// A new process is ready to serve.
    Handed(Box<Handed>),
}

/// What the control loop holds.
struct Control {
    /// None for a process that has its configuration from elsewhere.
    origin: Option<Origin>,
    /// None where no control plane is followed.
    following: Option<Following>,
    current: Arc<ArcSwap<Snapshot>>,
    edge: Edge,
    prober: Prober,
    resolver: Resolver,
    log: AccessLog,
    status: Arc<StatusSource>,
    live: Arc<LiveTable>,
    notifier: Notifier,
    admin: Option<AdminTask>,
    packets: Option<Arc<PacketPath>>,
    /// The process that served before, while it finishes its connections.
    predecessor: Option<Predecessor>,
}

impl Control {
    fn ready(&self) {
        self.status.set_phase(Phase::Serving);
        let snapshot = self.current.load();
        let config = &snapshot.config;
        let addresses: Vec<_> =
            config.listeners.iter().map(|l| format!("{} {}", l.name, l.address)).collect();
        let admin = config.admin.address.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        operator_log::info(
            "ready",
            "serving",
            &[
                ("generation", &snapshot.generation),
                ("listeners", &addresses.join(", ")),
                ("admin", &admin),
                ("workers", &config.runtime.workers),
                ("version", &env!("CARGO_PKG_VERSION")),
            ],
        );
        let _ = self.notifier.ready(&format!("serving generation {}", snapshot.generation));
    }

    /// Obeys signals and the admin server until the process is to end, or another one serves.
    async fn obey(
        &mut self,
        signals: &mut Signals,
        asked: &mut mpsc::Receiver<Ask>,
        mut stop: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> End {
        let every = watchdog_interval().unwrap_or(Duration::from_secs(3600));
        let mut beats = vec![0; self.live.workers()];
        let mut watchdog = tokio::time::interval(every);
        // While one is under way nothing else is changed: it was offered what is held now.
        let mut upgrading: Option<Upgrading> = None;
        loop {
            tokio::select! {
                order = signals.next() => match (order, &mut upgrading) {
                    (Order::Drain, _) => return End::Drain,
                    (Order::Stop, _) => return End::Stop,
                    (Order::Reload, Some(upgrading)) => upgrading.reload = true,
                    (Order::Reload, None) => drop(self.reload().await),
                    (Order::Upgrade, Some(_)) => {}
                    (Order::Upgrade, None) => upgrading = self.upgrade(None),
                },
                Some(ask) = asked.recv(), if upgrading.is_none() => match ask.wish {
                    Wish::Upgrade => upgrading = self.upgrade(Some(ask.answer)),
                    // Who asked may have gone.
                    Wish::Reload => drop(ask.answer.send(self.reload().await)),
                    Wish::Differences => drop(ask.answer.send(self.differences().await)),
                },
                incoming = fleet::next(&mut self.following), if upgrading.is_none() => {
                    self.publish(incoming).await;
                }
                outcome = upgrade::outcome(&mut upgrading) => {
                    if let Some(handed) = self.upgraded(outcome, upgrading.take()).await {
                        return End::Handed(Box::new(handed));
                    }
                }
                () = stop.as_mut() => return End::Drain,
                () = upgrade::ended(&mut self.predecessor) => self.predecessor = None,
                _ = watchdog.tick() => if self.workers_turn(&mut beats) {
                    let _ = self.notifier.watchdog();
                },
            }
        }
    }

    /// Whether every worker's clock has moved since the last look.
    fn workers_turn(&self, beats: &mut [u64]) -> bool {
        let mut all = true;
        for (worker, beat) in self.live.worker_stats.iter().zip(beats) {
            let now = worker.beats.get();
            all &= now != *beat;
            *beat = now;
        }
        all
    }

    /// Lets connections finish, and ends.
    async fn drain(mut self, signals: &mut Signals) -> ExitCode {
        let limit = self.current.load().config.runtime.drain_timeout;
        let _ = self.notifier.stopping(limit);
        self.status.set_phase(Phase::Draining);
        operator_log::info(
            "draining",
            "open connections finish; a further TERM or INT ends them",
            &[("limit_s", &limit.as_secs())],
        );
        let begun = Instant::now();
        if let Some(predecessor) = &mut self.predecessor {
            predecessor.ending(false).await;
        }
        let (hurry, hurried) = watch::channel(false);
        let mut waiting = hurried.clone();
        let orders = async {
            while !signals.next().await.ends() {}
            hurry.send_replace(true);
            std::future::pending::<()>().await;
        };
        let hurried = async { drop(waiting.wait_for(|hurried| *hurried).await) };
        let following = self.following.take();
        let predecessor = &mut self.predecessor;
        let whole = tokio::select! {
            () = orders => false,
            whole = async {
                self.edge.drain(limit, hurried).await && {
                    // Its connections are the service's too, and would be cut with its end.
                    let left = limit.saturating_sub(begun.elapsed());
                    tokio::time::timeout(left, upgrade::gone(predecessor)).await.is_ok()
                }
            } => whole,
        };
        if !whole {
            drain_cut(limit);
        }
        fleet::ended(following.as_ref());
        stopped(&self.log)
    }

    /// Ends at once.
    async fn stop(mut self) -> ExitCode {
        let limit = self.current.load().config.runtime.drain_timeout;
        let _ = self.notifier.stopping(limit);
        self.status.set_phase(Phase::Draining);
        operator_log::info("stopping", "ending at once", &[]);
        if let Some(predecessor) = &mut self.predecessor {
            predecessor.ending(true).await;
        }
        let following = self.following.take();
        self.edge.stop();
        fleet::ended(following.as_ref());
        stopped(&self.log)
    }
}

fn drain_cut(limit: Duration) {
    operator_log::warn(
        "drain_cut",
        "connections were still open at the end of runtime.drain_timeout",
        &[("limit_s", &limit.as_secs())],
    );
}

fn stopped(log: &AccessLog) -> ExitCode {
    log.flush(LOG_FLUSH);
    operator_log::info("stopped", "done", &[]);
    ExitCode::SUCCESS
}
