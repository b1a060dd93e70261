//! What rows about HTTP/2 share: the verdicts that Weir may pass, and an origin that works on and
//! on. What an attack costs is counted in `support/siege.rs`.

use crate::framing::rig::{BARRIER, Rig, by_request};
use crate::support::client::{Client, Cut};
use crate::support::h2::client::{H2, Outcome};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::process::Weir;
use crate::support::reader::{self, Message};
use crate::support::upstream::{Log, Upstream};
use crate::support::wait::{self, SOON};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Until a connection that was refused is closed (I4).
pub(super) const CLOSED: Duration = Duration::from_secs(1);
/// Longer than any attack is held.
const LONG: Duration = Duration::from_secs(120);
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
