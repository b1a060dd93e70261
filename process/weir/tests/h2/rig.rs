//! What rows about HTTP/2 share: the verdicts that Weir may pass, clients who want nothing but
//! service meanwhile, and an account of what an attack costs.

use crate::framing::rig::{BARRIER, Rig, by_request};
use crate::support::client::{Client, Cut};
use crate::support::h2::client::{H2, Outcome};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::meter;
use crate::support::process::Weir;
use crate::support::reader::{self, Message};
use crate::support::upstream::{Log, Upstream};
use crate::support::wait::{self, SOON};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Until a connection that was refused is closed (I4).
pub(super) const CLOSED: Duration = Duration::from_secs(1);
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
pub(super) const ALLOCATOR_KIB: u64 = 4 * 1024;
/// What a request of a good client may take on a busy machine while others attack.
const SERVED: Duration = Duration::from_secs(5);
/// Longer than any attack is held.
const LONG: Duration = Duration::from_secs(120);
/// Between two requests of a good client: enough to notice a stall, too little to be load.
const PACE: Duration = Duration::from_millis(10);
/// Offsets at which frames are cut in two, at most.
const CUTS: usize = 12;

/// What may become of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict<'a> {
    /// RST_STREAM with one of these codes; the connection goes on.
    Stream(&'a [u32]),
    /// A reply with one of these statuses; the connection goes on.
    Status(&'a [u16]),
    /// GOAWAY with one of these codes, then the end of the connection.
    Connection(&'a [u32]),
}

/// A malformed message (RFC 9113 §8.1.1).
pub(super) const MALFORMED: [Verdict<'_>; 1] = [Verdict::Stream(&[frame::PROTOCOL_ERROR])];

/// Whole, byte by byte, and in two at some offsets.
fn cuts(len: usize) -> Vec<Cut> {
    let mut cuts = vec![Cut::Whole];
    if len <= 4096 {
        cuts.push(Cut::Bytes);
    }
    cuts.extend((1..len).step_by(len.div_ceil(CUTS).max(1)).map(Cut::At));
    cuts
}

/// Sends the frames on a stream in many segmentations, expects one of the verdicts, and that the
/// origin got nothing of it.
#[track_caller]
pub(super) fn refused(
    rig: &mut Rig,
    what: &str,
    frames: impl Fn(u32) -> Vec<u8>,
    allowed: &[Verdict<'_>],
) {
    judged(rig, what, frames, allowed, false);
}

/// As [`refused`], for a fault in a body whose sound beginning may have gone upstream: the origin
/// must not get a whole request.
#[track_caller]
pub(super) fn refused_in_body(
    rig: &mut Rig,
    what: &str,
    frames: impl Fn(u32) -> Vec<u8>,
    allowed: &[Verdict<'_>],
) {
    judged(rig, what, frames, allowed, true);
}

/// A request whose field block is malformed.
#[track_caller]
pub(super) fn malformed(rig: &mut Rig, what: &str, block: &Block) {
    refused(rig, what, |id| frame::headers(id, &block.0, true), &MALFORMED);
}

#[track_caller]
fn judged(
    rig: &mut Rig,
    what: &str,
    frames: impl Fn(u32) -> Vec<u8>,
    allowed: &[Verdict<'_>],
    begun: bool,
) {
    for cut in cuts(frames(1).len()) {
        let what = format!("{what}, {cut:?}");
        let mut client = H2::connect(rig.weir.web());
        let id = client.next_id();
        client.wire.send_cut(&frames(id), cut);
        let outcome = client.outcome(id, SOON);
        let found = allowed.iter().any(|verdict| verdict.is(&outcome, &client));
        assert!(found, "{what}: {outcome:?} {:?}, not {allowed:?}", client.go_aways);
        if outcome == Outcome::Gone {
            client.closed(&what, CLOSED);
        } else {
            let next = client.get("/after").unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(next.text(), "GET /after 0", "I2: {what}");
        }
        if begun {
            halves_closed(rig, &what);
        }
        let mut taken = rig.taken(&what);
        taken.requests.retain(|request| request.target != "/after");
        assert!(taken.requests.is_empty(), "I4: {what}: reached the origin: {taken:?}");
        assert!(begun || taken.partial.is_empty(), "I4: {what}: reached the origin: {taken:?}");
        rig.count();
    }
}

/// No connection to the origin on which half a request stands is kept, and none is on its way.
#[track_caller]
pub(super) fn halves_closed(rig: &Rig, what: &str) {
    let barrier = Client::connect(rig.upstream.address).get(BARRIER);
    barrier.unwrap_or_else(|e| panic!("{what}: the origin: {e}"));
    let whole = |log: &Arc<Log>| {
        let bytes = log.bytes();
        let whole = reader::requests(&bytes).is_ok_and(|(_, rest)| rest.is_empty());
        log.closed() || whole && !bytes.is_empty()
    };
    wait::until(&format!("{what}: half a request is cut off"), SOON, || {
        rig.upstream.logs().iter().all(whole)
    });
}

impl Verdict<'_> {
    fn is(&self, outcome: &Outcome, client: &H2) -> bool {
        match (self, outcome) {
            (Self::Stream(codes), Outcome::Reset(code)) => codes.contains(code),
            (Self::Status(statuses), Outcome::Reply(reply)) => statuses.contains(&reply.status),
            (Self::Connection(codes), Outcome::Gone) => {
                client.gone().is_some_and(|code| codes.contains(&code))
            }
            _ => false,
        }
    }
}

/// Sends the frames on a stream in many segmentations, expects the tagged reply of the origin, and
/// shows `check` what the origin got.
#[track_caller]
pub(super) fn passes(
    rig: &mut Rig,
    what: &str,
    frames: impl Fn(u32) -> Vec<u8>,
    check: impl Fn(&Message, &str),
) {
    for cut in cuts(frames(1).len()) {
        let what = format!("{what}, {cut:?}");
        let mut client = H2::connect(rig.weir.web());
        let id = client.next_id();
        client.wire.send_cut(&frames(id), cut);
        let reply = client.reply(id).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(reply.status, 200, "{what}: {reply:?}");
        let taken = rig.taken(&what);
        let [request] = &taken.requests[..] else { panic!("I1: {what}: the origin got {taken:?}") };
        assert!(taken.partial.is_empty(), "I1: {what}: {taken:?}");
        check(request, &what);
        rig.count();
    }
}

/// One client of HTTP/1.1 and one of HTTP/2 that ask in turn, and want an answer each time.
pub(super) struct Bystanders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<usize, String>>>,
}

impl Bystanders {
    pub(super) fn start(address: SocketAddr) -> Self {
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
    #[track_caller]
    pub(super) fn finish(mut self, what: &str) {
        self.stop.store(true, Ordering::Release);
        for (thread, name) in self.threads.drain(..).zip(["HTTP/1.1", "HTTP/2"]) {
            let count = thread.join().expect("a good client does not panic");
            let count = count.unwrap_or_else(|e| panic!("{what}: a client of {name}: {e}"));
            assert!(count > 0, "{what}: the client of {name} asked nothing");
        }
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

/// What an attack costs, and what others notice of it.
pub(super) struct Siege<'a> {
    weir: &'a Weir,
    what: &'static str,
    rss: u64,
    cpu: Duration,
    frames: f64,
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
    pub(super) fn begin(weir: &'a Weir, what: &'static str) -> Self {
        for n in 0..20 {
            let mut client = H2::connect(weir.web());
            for turn in 0..5 {
                let path = format!("/fence-warm{n}-{turn}");
                client.get(&path).unwrap_or_else(|e| panic!("{what}: before: {e}"));
            }
            weir.get("/fence-warm").unwrap_or_else(|e| panic!("{what}: before: {e}"));
        }
        let good = Bystanders::start(weir.web());
        let pid = weir.pid();
        let frames = frames_of(weir);
        Self { weir, what, rss: meter::rss_kib(pid), cpu: meter::cpu(pid), frames, good }
    }

    /// I3: memory while the attack is held by so many connections, by the kernel's account and by
    /// the ledgers.
    #[track_caller]
    pub(super) fn memory(&self, connections: u64) {
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

    /// I3: that one connection of the attack has held at least so much, so that what bounds it was
    /// put to the test.
    #[track_caller]
    pub(super) fn held_at_least(&self, bytes: u64) {
        let what = format!("{}: a ledger has held {bytes} bytes", self.what);
        wait::until(&what, SOON, || ledger(self.weir).1 >= bytes as f64);
    }

    /// I3: frames that were dealt with on connections that have ended: the attacker's.
    #[track_caller]
    pub(super) fn frames(&self, most: u32) {
        let frames = frames_of(self.weir) - self.frames;
        println!("{}: {frames} frames", self.what);
        assert!(frames <= f64::from(most), "I3: {}: {frames} frames of {most}", self.what);
    }

    /// Ends the account: memory, processor time and the others.
    #[track_caller]
    pub(super) fn finish(self, connections: u64, cpu: Duration) {
        self.memory(connections);
        let used = meter::cpu(self.weir.pid()).saturating_sub(self.cpu);
        println!("{}: {used:?} of processor time", self.what);
        assert!(used < cpu, "I3: {}: {used:?} of processor time, {cpu:?} allowed", self.what);
        self.good.finish(self.what);
        // The attackers may have stayed; what is held for them is bounded all the same.
        let held = ledger(self.weir).0;
        let allowed = connections as f64 * LEDGER_MAX + LEDGER_REST;
        assert!(held < allowed, "I3: {}: ledgers hold {held} bytes at the end", self.what);
        assert_eq!(self.weir.metric("weir_panics_total", &[]), 0.0, "{}", self.what);
    }
}

fn frames_of(weir: &Weir) -> f64 {
    weir.metric("weir_http2_frames_received_total", &[("listener", "web")])
}

/// Requests that an origin works on.
#[derive(Clone, Default)]
pub(super) struct Work {
    live: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

impl Work {
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// The most at once.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Acquire)
    }

    /// All of them.
    pub(super) fn begun(&self) -> usize {
        self.begun.load(Ordering::Acquire)
    }
}

/// Weir before an origin that works on each request until its connection closes, and never
/// answers; `/fence…` is answered.
pub(super) fn held() -> (Weir, Upstream, Work) {
    held_until(Arc::new(AtomicBool::new(true)))
}

/// As [`held`], but the origin reads nothing of a body before `reads` is true.
pub(super) fn held_until(reads: Arc<AtomicBool>) -> (Weir, Upstream, Work) {
    let work = Work::default();
    let count = work.clone();
    let upstream = Upstream::start(by_request(move |conn, _| {
        count.begun.fetch_add(1, Ordering::AcqRel);
        let live = count.live.fetch_add(1, Ordering::AcqRel) + 1;
        count.most.fetch_max(live, Ordering::AcqRel);
        wait::until("the origin may read", LONG, || reads.load(Ordering::Acquire));
        conn.drain();
        count.live.fetch_sub(1, Ordering::AcqRel);
        false
    }));
    let weir = Weir::start(crate::support::edge::Edge::simple(upstream.port()));
    (weir, upstream, work)
}
