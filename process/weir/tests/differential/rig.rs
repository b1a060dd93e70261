//! Runs the corpus: Weir, the recorder and an origin, and a client at an address of its own for
//! each case, so that whatever reaches the origin can be traced without trusting its bytes.

use super::case::{Case, Step};
use super::compare::{self, Line, Views};
use super::origin::{Kind, Origin};
use super::recorder::Recorder;
use crate::support::client::{Client, Cut, End};
use crate::support::edge::{Edge, origin};
use crate::support::process::Weir;
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
    /// Everything that Weir sent.
    pub(super) replies: Vec<u8>,
    /// Whether the connection ended.
    pub(super) ended: bool,
}

/// Weir between the client and the recorder. Paths below `/admin` of the host `routed` go to a
/// pool of their own, which has the same origin behind it.
fn edge(recorder: &Recorder) -> Edge {
    let edge = Edge::new().listener("web", "");
    let log = edge.dir.path().join("access.log");
    let log = format!("[logging.access]\npath = {log:?}\nformat = \"json\"");
    let pool = "outlier_ejection = { consecutive_failures = 0 }";
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

/// Runs every case whole and cut in two, and compares what was seen.
#[track_caller]
pub(super) fn run(kind: Kind, corpus: &[Case]) {
    let start = Instant::now();
    let only = std::env::var("WEIR_CASE").ok();
    let wanted = |case: &&Case| only.as_ref().is_none_or(|part| case.name.contains(part));
    let cases: Vec<&Case> = corpus.iter().filter(wanted).collect();
    assert!(!cases.is_empty(), "no case is named {only:?}");
    let origin = Origin::start(kind);
    let recorder = Recorder::start(origin.port);
    let mut weir = Weir::start(edge(&recorder));
    let runs = send(&weir, &cases);
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
    println!("{kind:?}: {summary} ({:.1} s)", start.elapsed().as_secs_f64());
    for (name, difference) in &summary.differences {
        eprintln!("{kind:?}: {name}: {difference}");
    }
    assert!(summary.differences.is_empty(), "{kind:?} and Weir saw different requests");
}

/// Sends every case twice: whole, and cut at a place that the name decides.
fn send<'a>(weir: &Weir, cases: &[&'a Case]) -> Vec<Run<'a>> {
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(n % cases.len()).filter(|_| n < 2 * cases.len())
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
    let mut client = Client::connect_from(source, weir.web()).expect("Weir accepts");
    let first = case.steps.iter().find_map(|step| match step {
        Step::Send(bytes) => Some(bytes.len()),
        Step::Await => None,
    });
    let len = first.unwrap_or_default();
    // A stride that is prime to most lengths reaches all kinds of places over the cases.
    let cut = if cut && len > 1 { Cut::At(1 + (n * 7_919) % (len - 1)) } else { Cut::Whole };
    let mut first = true;
    for step in &case.steps {
        match step {
            Step::Send(bytes) => {
                client.send_cut(bytes, if first { cut } else { Cut::Whole });
                first = false;
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
    Run { case, client: source, cut, replies, ended }
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
