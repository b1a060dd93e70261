//! What an attack costs: an account of memory and work, and clients who want nothing but service
//! meanwhile.

use super::client::Client;
use super::h2::client::H2;
use super::meter;
use super::process::Weir;
use super::wait::{self, SOON};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What memory may grow by for each connection of an attacker (I3): the hard limit of the ledger.
const GROWTH_KIB: u64 = 2 * 1024;
/// Bytes that the ledger of one connection may hold: its hard limit, and beyond it the head that
/// made it pass the limit.
const LEDGER_MAX: f64 = (2 * MIB + 256 * KIB) as f64;
/// Bytes that the connections of good clients may hold, whatever becomes of others.
const LEDGER_REST: f64 = (512 * KIB) as f64;
const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// And by what the allocator takes from the kernel at a time, whoever needs it.
pub(crate) const ALLOCATOR_KIB: u64 = 4 * 1024;
/// What a request of a good client may take on a busy machine while others attack.
const SERVED: Duration = Duration::from_secs(5);
/// Blocks that the allocator may be asked for by a connection, from its preface to its end, with a
/// request and any number of frames that are none: ten times what was measured.
pub(crate) const CONNECTION_BLOCKS: usize = 300;
/// And by a connection of HTTP/1.1, with a request or the beginning of one.
pub(crate) const H1_CONNECTION_BLOCKS: usize = 130;
/// And by a request with a small head that gets to the origin, over a connection of its own there:
/// ten times what was measured.
pub(crate) const AT_ORIGIN_BLOCKS: usize = 40;
/// And by a request that is taken back or refused before that.
pub(crate) const TAKEN_BACK_BLOCKS: usize = 8;
/// And by a request of a good client over a connection that is there.
const GOOD_BLOCKS: usize = 1;
/// Buffers that the requests of good clients under way may hold: one for each side of each.
const GOOD_BUFFERS: usize = 4;
/// Frames of a good client for each of its requests.
const GOOD_FRAMES: usize = 2;
/// And when its connection begins and ends.
const GREETING_FRAMES: usize = 16;
/// Between two requests of a good client: enough to notice a stall, too little to be load.
const PACE: Duration = Duration::from_millis(10);

/// One client of HTTP/1.1 and one of HTTP/2 that ask in turn, and want an answer each time.
pub(crate) struct Bystanders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<usize, String>>>,
}

impl Bystanders {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (first, second) = (stop.clone(), stop.clone());
        let threads = vec![
            std::thread::spawn(move || {
                let mut client = Client::connect(address);
                ask(&first, |target| client.get(target).map(|reply| reply.text()))
            }),
            std::thread::spawn(move || {
                let mut client = H2::connect(address);
                ask(&second, |target| client.get(target).map(|reply| reply.text()))
            }),
        ];
        Self { stop, threads }
    }

    /// Ends them; each must have been served every time.
    /// Tells how many requests that were.
    #[track_caller]
    pub(crate) fn finish(mut self, what: &str) -> usize {
        self.stop.store(true, Ordering::Release);
        let mut served = 0;
        for (thread, name) in self.threads.drain(..).zip(["HTTP/1.1", "HTTP/2"]) {
            let count = thread.join().expect("a good client does not panic");
            let count = count.unwrap_or_else(|e| panic!("{what}: a client of {name}: {e}"));
            assert!(count > 0, "{what}: the client of {name} asked nothing");
            served += count;
        }
        served
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

fn ask(
    stop: &AtomicBool,
    mut get: impl FnMut(&str) -> Result<String, String>,
) -> Result<usize, String> {
    let mut count = 0;
    while !stop.load(Ordering::Acquire) || count == 0 {
        let (target, start) = (format!("/fence-good{count}"), Instant::now());
        let text = get(&target)?;
        if text != format!("GET {target} 0") {
            return Err(format!("I2: {target}: {text:?}"));
        }
        if start.elapsed() > SERVED {
            return Err(format!("{target} took {:?}", start.elapsed()));
        }
        count += 1;
        std::thread::sleep(PACE);
    }
    Ok(count)
}

/// What an attack may cost.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections whose ledgers may be full.
    pub(crate) connections: u64,
    /// Processor time, that of good clients' requests included.
    pub(crate) cpu: Duration,
    /// Frames that are dealt with on connections that have ended.
    pub(crate) frames: usize,
    /// Requests that are sent to the origin.
    pub(crate) requests: usize,
    /// Blocks that the allocator is asked for.
    pub(crate) blocks: usize,
}

/// What an attack costs, and what others notice of it.
pub(crate) struct Siege<'a> {
    weir: &'a Weir,
    what: &'static str,
    rss: u64,
    cpu: Duration,
    frames: f64,
    requests: f64,
    blocks: u64,
    good: Bystanders,
}

/// What HTTP/2 connections of clients hold by their ledgers, in bytes: all of them at this moment,
/// and the most that one has held.
fn ledger(weir: &Weir) -> (f64, f64) {
    let side = [("side", "clients")];
    let held = weir.metric("weir_http2_ledger_bytes", &side);
    (held, weir.metric("weir_http2_ledger_max_bytes", &side))
}

impl<'a> Siege<'a> {
    /// Begins to count, after what Weir needs for any traffic is there.
    #[track_caller]
    pub(crate) fn begin(weir: &'a Weir, what: &'static str) -> Self {
        for n in 0..20 {
            let mut client = H2::connect(weir.web());
            for turn in 0..5 {
                let path = format!("/fence-warm{n}-{turn}");
                client.get(&path).unwrap_or_else(|e| panic!("{what}: before: {e}"));
            }
            weir.get("/fence-warm").unwrap_or_else(|e| panic!("{what}: before: {e}"));
        }
        let blocks = weir.allocations();
        let (frames, requests, pid) = (frames_of(weir), requests_of(weir), weir.pid());
        let good = Bystanders::start(weir.web());
        let (rss, cpu) = (meter::rss_kib(pid), meter::cpu(pid));
        Self { weir, what, rss, cpu, frames, requests, blocks, good }
    }

    /// I3: memory while the attack is held by so many connections, by the kernel's account and by
    /// the ledgers.
    #[track_caller]
    pub(crate) fn memory(&self, connections: u64) {
        let rss = meter::rss_kib(self.weir.pid());
        let (grown, most) =
            (rss.saturating_sub(self.rss), connections * GROWTH_KIB + ALLOCATOR_KIB);
        println!("{}: {grown} KiB for {connections} connections", self.what);
        assert!(grown < most, "I3: {}: memory grew by {grown} KiB, {most} allowed", self.what);
        let (held, max) = ledger(self.weir);
        println!("{}: ledgers: {held} bytes, {max} at most in one", self.what);
        let allowed = connections as f64 * LEDGER_MAX + LEDGER_REST;
        assert!(held < allowed, "I3: {}: ledgers hold {held} bytes of {allowed}", self.what);
        assert!(max < LEDGER_MAX, "I3: {}: a ledger held {max} bytes", self.what);
    }

    /// I3: what connections hold beside the ledgers, and all that those of HTTP/1.1 hold: buffers
    /// with bytes that have come or wait to go.
    #[track_caller]
    pub(crate) fn buffers(&self, most: usize) {
        let lent = self.weir.metric("weir_buffers_lent", &[]);
        let most = most + GOOD_BUFFERS;
        assert!(lent <= most as f64, "I3: {}: {lent} buffers are held of {most}", self.what);
    }

    /// I3: that one connection of the attack has held at least so much, so that what bounds it was
    /// put to the test.
    #[track_caller]
    pub(crate) fn held_at_least(&self, bytes: u64) {
        let what = format!("{}: a ledger has held {bytes} bytes", self.what);
        wait::until(&what, SOON, || ledger(self.weir).1 >= bytes as f64);
    }

    /// Ends the account: memory, processor time, work and the others.
    #[track_caller]
    pub(crate) fn finish(self, most: Bounds) {
        let (weir, what) = (self.weir, self.what);
        self.memory(most.connections);
        let cpu = meter::cpu(weir.pid()).saturating_sub(self.cpu);
        let good = self.good.finish(what);
        // What workers count is told by their clocks; and their last look at a connection comes
        // after its end.
        let blocks = weir.allocations() - self.blocks;
        let frames = frames_of(weir) - self.frames;
        let requests = requests_of(weir) - self.requests - good as f64;
        let good_blocks = 2 * CONNECTION_BLOCKS + good * GOOD_BLOCKS;
        let work = [
            ("ms of processor time", cpu.as_millis() as f64, most.cpu.as_millis() as f64),
            ("frames", frames, (most.frames + GREETING_FRAMES + good * GOOD_FRAMES) as f64),
            ("requests to the origin", requests, most.requests as f64),
            ("blocks of memory", blocks as f64, (most.blocks + good_blocks) as f64),
        ];
        println!("{what}: {work:?} beside {good} good requests");
        let over: Vec<_> = work.iter().filter(|(_, used, most)| used > most).collect();
        assert!(over.is_empty(), "I3: {what}: what was used, and what was allowed: {over:?}");
        // The attackers may have stayed; what is held for them is bounded all the same.
        let held = ledger(weir).0;
        let allowed = most.connections as f64 * LEDGER_MAX + LEDGER_REST;
        assert!(held < allowed, "I3: {what}: ledgers hold {held} bytes at the end");
        assert_eq!(weir.metric("weir_panics_total", &[]), 0.0, "{what}");
    }
}

fn frames_of(weir: &Weir) -> f64 {
    weir.metric("weir_http2_frames_received_total", &[("listener", "web")])
}

fn requests_of(weir: &Weir) -> f64 {
    weir.metric("weir_origin_requests_total", &[])
}
