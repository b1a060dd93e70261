//! Traffic: real clients in the clients' namespaces, one thread for each, one task for each flow.
//! What becomes of every flow goes into the ledger.

mod datagram;
pub mod quic;
mod stream;
pub mod tls;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::watch;
use tokio::task::LocalSet;

use crate::content;
use crate::ledger::{Entry, Kind, Ledger, STALL_LIMIT};
use crate::network::{Family, Network};

/// Between two rounds of a flow that lasts: two dozen flows make some hundred rounds a second,
/// which two cores carry beside everything else.
const ROUND: Duration = Duration::from_millis(40);
/// Between two short connections, and between two questions, of one client.
const ARRIVAL: Duration = Duration::from_millis(25);
/// Between a flow's end and the next in its place.
const AGAIN: Duration = Duration::from_millis(10);
/// Between two looks at whether the server of a flow that waits was killed.
const LOST_LOOK: Duration = Duration::from_millis(250);
/// Between two looks at whether something is so.
const LOOK: Duration = Duration::from_millis(10);
/// How long the rounds that a scenario waits for may take: several stalls that end well.
const ROUNDS_LIMIT: Duration = Duration::from_secs(60);
/// How long flows may take to end after they were told to.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Patience where a datagram that is sent again is a fault: longer than anything that is delayed on
/// purpose, or by a machine with more to do than it has processors for.
pub const PATIENT: Duration = Duration::from_secs(3);
/// Patience where packets are lost on purpose: as long as TCP has by its second attempt, and longer
/// than anything that is delayed on purpose.
pub const IMPATIENT: Duration = Duration::from_millis(400);

/// Flows of each family that are open at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Long TCP connections.
    pub streams: usize,
    /// Whether short connections and questions come all the time.
    pub arrivals: bool,
    /// UDP flows.
    pub flows: usize,
    /// Flows with connection ids; these need the programs.
    pub quic: usize,
    /// HTTP over TLS; these need Weir.
    pub tls: usize,
    /// Rounds after which a flow that lasts ends and another begins; without, it lasts.
    pub lifetime: Option<u64>,
    /// Without a reply for as long a datagram is sent again.
    pub patience: Duration,
}

/// What the clients are told while they run.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    /// Everything ends.
    stop: bool,
    /// Flows of this server end, and others begin.
    leave: Option<u16>,
    /// Flows with smaller numbers end, and others begin.
    renew: u64,
}

/// Running clients.
#[derive(Debug)]
pub struct Traffic {
    /// What became of the flows.
    pub ledger: Ledger,
    orders: watch::Sender<Orders>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// What a flow's task knows of its run.
#[derive(Clone, Debug)]
struct Client {
    family: Family,
    ledger: Ledger,
    orders: watch::Receiver<Orders>,
    lifetime: Option<u64>,
    patience: Duration,
    trust: Option<Arc<rustls::ClientConfig>>,
}

impl Client {
    fn stopped(&self) -> bool {
        self.orders.borrow().stop
    }

    /// Whether a flow is to end after a round.
    fn ends(&self, entry: &Entry, round: u64) -> bool {
        let Orders { stop, leave, renew } = *self.orders.borrow();
        let old = self.lifetime.is_some_and(|rounds| {
            // Half of it at least, so that flows do not end together.
            round > rounds / 2 + content::mix(entry.number()) % rounds.max(1)
        });
        let old = old || entry.number() < renew;
        stop || old || leave.is_some_and(|server| entry.owner() == Some(server))
    }

    /// Waits between rounds; ends at once when the traffic is to end.
    async fn pause(&mut self, time: Duration) {
        if !self.stopped() {
            let _ = tokio::time::timeout(time, self.orders.changed()).await;
        }
    }
}

impl Traffic {
    /// Starts the clients. `trust` is what TLS clients believe.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        network: &Network,
        load: Load,
        trust: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<Self> {
        let ledger = Ledger::default();
        let (orders, told) = watch::channel(Orders::default());
        let mut threads = Vec::new();
        for family in Family::ALL {
            let space = network.client(family).clone();
            let (ledger, orders, trust) = (ledger.clone(), told.clone(), trust.clone());
            let Load { lifetime, patience, .. } = load;
            let client = Client { family, ledger, orders, lifetime, patience, trust };
            let name = format!("client {}", family.word());
            threads.push(thread::Builder::new().name(name).spawn(move || {
                space.move_in()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(LocalSet::new().run_until(all(client, load)))
            })?);
        }
        let lasting = load.streams + load.flows + load.quic + load.tls;
        wait(ROUNDS_LIMIT, || ledger.len() >= lasting * Family::ALL.len())
            .context("clients do not begin")?;
        Ok(Self { ledger, orders, threads })
    }

    /// Ends the flows of a server, as clients do that are done before it is taken away; others
    /// begin in their places.
    ///
    /// # Errors
    /// When some do not end in time.
    pub fn leave(&self, server: u16) -> Result<()> {
        self.orders.send_modify(|orders| orders.leave = Some(server));
        wait(END_LIMIT, || self.ledger.open_on(server) == 0)
            .with_context(|| format!("flows of server {server} do not end"))?;
        self.orders.send_modify(|orders| orders.leave = None);
        Ok(())
    }

    /// Ends every flow that lasts; others begin in their places.
    ///
    /// # Errors
    /// When some do not end in time.
    pub fn renew(&self) -> Result<()> {
        let before: Vec<usize> = self.ledger.progress().into_iter().map(|(at, _)| at).collect();
        let renew = self.ledger.len() as u64;
        self.orders.send_modify(|orders| orders.renew = renew);
        wait(END_LIMIT, || before.iter().all(|at| self.ledger.past(*at, u64::MAX)))
            .context("flows do not end")
    }

    /// Waits until every flow that is open has made as many more rounds.
    ///
    /// # Errors
    /// When one has not in time; one that broke meanwhile is told by the ledger.
    pub fn rounds(&self, more: u64) -> Result<()> {
        let before = self.ledger.progress();
        wait(ROUNDS_LIMIT, || {
            before.iter().all(|(at, rounds)| self.ledger.past(*at, rounds + more))
        })
        .context("flows do not go on")
    }

    /// Ends the flows and waits until each has told how it ended.
    ///
    /// # Errors
    /// When one does not end in time.
    pub fn finish(self) -> Result<Ledger> {
        self.orders.send_modify(|orders| orders.stop = true);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a client's thread panicked"))??;
        }
        Ok(self.ledger)
    }
}

/// All flows of one client, to their ends.
async fn all(client: Client, load: Load) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..load.streams {
        tasks.spawn_local(slot(client.clone(), Kind::Stream, stream::long));
    }
    for _ in 0..load.flows {
        tasks.spawn_local(slot(client.clone(), Kind::Flow, datagram::flow));
    }
    for _ in 0..load.quic {
        tasks.spawn_local(slot(client.clone(), Kind::Quic, quic::flow));
    }
    for _ in 0..load.tls {
        tasks.spawn_local(slot(client.clone(), Kind::Tls, tls::flow));
    }
    if load.arrivals {
        tasks.spawn_local(stream::arrivals(client.clone()));
        tasks.spawn_local(datagram::arrivals(client.clone()));
    }
    let mut orders = client.orders.clone();
    let _ = orders.wait_for(|orders| orders.stop).await;
    let ended = async { while tasks.join_next().await.is_some() {} };
    let ended = tokio::time::timeout(END_LIMIT, ended).await;
    ended.map_err(|_| anyhow!("flows do not end within {END_LIMIT:?}"))
}

/// Flows, one after the other: where one ends before the traffic does, the next begins.
async fn slot<F>(mut client: Client, kind: Kind, work: impl Fn(Client, Entry) -> F)
where
    F: Future<Output = Result<(), String>>,
{
    while !client.stopped() {
        recorded(&client, kind, |entry| work(client.clone(), entry)).await;
        client.pause(AGAIN).await;
    }
}

/// Waits until something is so.
fn wait(at_most: Duration, so: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !so() {
        if start.elapsed() > at_most {
            bail!("not within {at_most:?}");
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Runs a step of a flow within the bound on stalls; says what stalled. Where the server is killed
/// meanwhile there is nothing to wait for.
async fn bounded<T, E: std::fmt::Display>(
    entry: &Entry,
    what: &str,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    let start = Instant::now();
    tokio::pin!(step);
    while start.elapsed() < STALL_LIMIT {
        match tokio::time::timeout(LOST_LOOK, &mut step).await {
            Ok(done) => return done.map_err(|error| format!("{what}: {error}")),
            Err(_) if entry.is_lost() => return Err("its server was killed".to_owned()),
            Err(_) => {}
        }
    }
    Err(format!("{what}: stalled for {STALL_LIMIT:?}"))
}

/// Begins a connection, and once more where that fails, as clients do: no server has answered yet.
/// A SYN that comes twice, or again, while its bucket changes hands may begin two halves of it on
/// two servers. Where no packet is lost or doubled on purpose, a second attempt is a fault all the
/// same.
async fn again<T, F>(entry: &Entry, begin: impl Fn() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    match begin().await {
        Err(_) if !entry.is_lost() => {
            entry.resent();
            begin().await
        }
        done => done,
    }
}

/// Records an answer; another server than before is a broken flow.
fn own(entry: &Entry, server: u16) -> Result<(), String> {
    match entry.answered(server) {
        true => Ok(()),
        false => Err(format!("server {server} answered for it")),
    }
}

/// Enters a flow, runs it and records its end.
async fn recorded<W, F>(client: &Client, kind: Kind, work: W)
where
    W: FnOnce(Entry) -> F,
    F: Future<Output = Result<(), String>>,
{
    let entry = client.ledger.open(kind, client.family);
    let outcome = work(entry.clone()).await;
    entry.end(outcome);
}
