//! Runs the corpus: Weir, the recorder and an origin, and a client at an address of its own for
//! each case, so that whatever reaches the origin can be traced without trusting its bytes.

use super::case::frames::Part;
use super::case::{Case, Does, Step};
use super::compare::{self, Line, Views};
use super::origin::{Kind, Origin};
use super::recorder::Recorder;
use crate::support::client::{Client, Cut, End};
use crate::support::edge::{Edge, origin};
use crate::support::h2::client::H2;
use crate::support::h2::frame;
use crate::support::process::Weir;
use crate::support::reader::Message;
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Clients at once: enough that connections to the origin serve several cases each.
const CLIENTS: usize = 24;

/// What one client sent and got.
pub(super) struct Run<'a> {
    pub(super) case: &'a Case,
    pub(super) client: Ipv4Addr,
    pub(super) cut: Cut,
    pub(super) got: Got,
    /// Whether the connection ended.
    pub(super) ended: bool,
}

/// What Weir sent to a client.
pub(super) enum Got {
    /// Everything, for the comparison to read.
    Bytes(Vec<u8>),
    /// The reply on each stream that has one.
    Replies(Vec<Message>),
}

/// Weir between the client and the recorder. Paths below `/admin` of the host `routed` go to a
/// pool of their own, which has the same origin behind it.
fn edge(recorder: &Recorder, http2: bool) -> Edge {
    let edge = Edge::new().listener("web", "");
    let log = edge.dir.path().join("access.log");
    let log = format!("[logging.access]\npath = {log:?}\nformat = \"json\"");
    let protocol = if http2 { "h2" } else { "http/1.1" };
    let pool = "outlier_ejection = { consecutive_failures = 0 }";
    let pool = &format!("protocols = [\"{protocol}\"]\n{pool}");
    let origins = [origin("o1", recorder.address.port())];
    edge.runtime(&log)
        .pool("p", pool, &origins)
        .pool("admin", pool, &origins)
        .balance("*", "p", "")
        .balance(
            "routed",
            "p",
            "[[load_balancer.routes]]\npath_prefix = \"/admin\"\ndefault_pools = [\"admin\"]",
        )
}

/// Runs every case, over HTTP/1 also cut in two, and compares what was seen. The cut is a matter of
/// what Weir reads, and it reads the same whatever its origin speaks.
#[track_caller]
pub(super) fn run(kind: Kind, http2: bool, corpus: &[Case]) {
    let start = Instant::now();
    let only = std::env::var("WEIR_CASE").ok();
    let wanted = |case: &&Case| {
        let named = only.as_ref().is_none_or(|part| case.name.contains(part));
        named && !(http2 && kind.cannot(&case.name))
    };
    let cases: Vec<&Case> = corpus.iter().filter(wanted).collect();
    if cases.is_empty() {
        // Those that are asked for are in another part of the corpus.
        assert!(only.is_some(), "the corpus is empty");
        return;
    }
    let origin = Origin::start(kind, http2);
    let recorder = Recorder::start(origin.port);
    let mut weir = Weir::start(edge(&recorder, http2));
    let runs = send(&weir, &cases, if http2 { 1 } else { 2 });
    weir.guard.signal(Signal::TERM);
    assert!(weir.guard.exit(SOON).success(), "Weir ended badly");
    wait::until("the recorder's connections end", SOON, || recorder.open() == 0);
    let views = Views {
        kind,
        runs,
        weir: access_log(&weir),
        recorded: recorder.connections(),
        seen: origin.finish(),
    };
    let summary = compare::all(&views);
    let of = |frames| if frames { "HTTP/2" } else { "HTTP/1" };
    let from = of(cases.iter().all(|case| matches!(case.does, Does::Frames(_))));
    let way = format!("{from} to {kind:?} over {}", of(http2));
    println!("{way}: {} cases, {summary} ({:.1} s)", cases.len(), start.elapsed().as_secs_f64());
    for (name, difference) in &summary.differences {
        eprintln!("{way}: {name}: {difference}");
    }
    assert!(summary.differences.is_empty(), "{kind:?} and Weir saw different requests");
}

/// Sends every case so many times: whole, then cut at a place that its number decides.
fn send<'a>(weir: &Weir, cases: &[&'a Case], times: usize) -> Vec<Run<'a>> {
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(n % cases.len()).filter(|_| n < times * cases.len())
                    else {
                        return;
                    };
                    let run = one(weir, case, n, n >= cases.len());
                    runs.lock().expect("no client panics").push(run);
                }
            });
        }
    });
    runs.into_inner().expect("no client panics")
}

/// The address of the client of case `n`, which no other has.
fn address(n: usize) -> Ipv4Addr {
    let octet = |n: usize| u8::try_from(n).expect("below 250");
    Ipv4Addr::new(127, octet(16 + n / 62_500), octet(n / 250 % 250), octet(1 + n % 250))
}

fn one<'a>(weir: &Weir, case: &'a Case, n: usize, cut: bool) -> Run<'a> {
    let source = address(n);
    let client = Client::connect_from(source, weir.web()).expect("Weir accepts");
    // A stride that is prime to most lengths reaches all kinds of places over the cases.
    let place = |len: usize| match cut && len > 1 {
        true => Cut::At(1 + (n * 7_919) % (len - 1)),
        false => Cut::Whole,
    };
    let (cut, got, ended) = match &case.does {
        Does::Bytes(steps) => bytes(client, steps, place),
        Does::Frames(parts) => frames(client, parts, place),
    };
    Run { case, client: source, cut, got, ended }
}

/// Sends bytes; gives where the first were cut, what came, and whether the connection ended.
fn bytes(mut client: Client, steps: &[Step], place: impl Fn(usize) -> Cut) -> (Cut, Got, bool) {
    let mut cut = None;
    for step in steps {
        match step {
            Step::Send(bytes) => {
                let first = cut.is_none();
                let place = *cut.get_or_insert_with(|| place(bytes.len()));
                client.send_cut(bytes, if first { place } else { Cut::Whole });
            }
            Step::Await => client.some(SOON),
        }
    }
    // Nothing more comes: a request that is not whole stays so, and the connection must end.
    client.finish();
    let (replies, ended) = match client.end(SOON) {
        End::Closed(rest) | End::Reset(rest) => (rest, true),
        End::Open(rest) => (rest, false),
    };
    (cut.unwrap_or(Cut::Whole), Got::Bytes(replies), ended)
}

/// As [`bytes`], in frames.
fn frames(client: Client, parts: &[Part], place: impl Fn(usize) -> Cut) -> (Cut, Got, bool) {
    let mut client = H2::over(client, &[]);
    let (mut cut, mut asked) = (None, Vec::new());
    for run in parts.split_inclusive(|part| *part == Part::Await) {
        for part in run {
            if let Part::Head { stream, .. } = part {
                client.expect_stream(*stream);
            }
            match part {
                Part::Head { stream, ends: true, .. } | Part::Data { stream, ends: true, .. } => {
                    asked.push(*stream);
                }
                _ => {}
            }
        }
        let bytes = run.iter().map(Part::bytes).collect::<Vec<_>>().concat();
        let first = cut.is_none();
        let place = *cut.get_or_insert_with(|| place(bytes.len()));
        client.wire.send_cut(&bytes, if first { place } else { Cut::Whole });
        settle(&mut client, &asked);
    }
    client.send(frame::go_away(0, frame::NO_ERROR));
    client.wire.finish();
    client.closed("the connection", SOON);
    let replies = client.streams.into_values().filter_map(|stream| {
        let mut message = stream.head?;
        // A reply that has no end is one to nobody.
        message.status = if stream.ended { message.status } else { 0 };
        Some(message)
    });
    (cut.unwrap_or(Cut::Whole), Got::Replies(replies.collect()), true)
}

/// Waits for the end of all streams that were asked for.
fn settle(client: &mut H2, asked: &[u32]) {
    client.until_within(SOON, |client| {
        let broken = client.wire.ended().is_some() || client.gone().is_some_and(|code| code != 0);
        let done = |id: &u32| client.streams.get(id).is_none_or(|s| s.ended || s.reset.is_some());
        broken || asked.iter().all(done)
    });
}

/// The lines of Weir's log for each client, in their order.
fn access_log(weir: &Weir) -> BTreeMap<String, Vec<Line>> {
    let path = weir.edge.dir.path().join("access.log");
    let text = std::fs::read_to_string(path).expect("Weir writes its log");
    let mut lines: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    for line in text.lines() {
        let (client, line) = Line::parse(line);
        lines.entry(client).or_default().push(line);
    }
    lines
}
