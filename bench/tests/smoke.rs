//! The load against the origin itself, over loopback: every traffic kind counts what it should.

use std::time::{Duration, Instant};

use bench::attack::{self, Siege};
use bench::load::{self, Edge, Outcome, Plan, Traffic};
use bench::origin::{MESSAGE, Origin};
use bench::row::{Client, Requests, Transport, Upstream};

const BOUND: Duration = Duration::from_secs(30);
const GET: Requests = Requests {
    path: "/1k",
    upload: 0,
    client: Client::H1,
    origin: Upstream::H1,
    connections: 8,
    traffic: Traffic::KeepAlive,
    transport: Transport::Plain,
};

fn run(origin: &Origin, path: &'static str, upload: usize, traffic: Traffic) -> Outcome {
    ask(origin, Requests { path, upload, traffic, ..GET })
}

fn ask(origin: &Origin, requests: Requests) -> Outcome {
    let traffic = requests.traffic;
    let window = match traffic {
        Traffic::Rate(_) => Duration::from_millis(400),
        _ => BOUND,
    };
    let plan = Plan {
        target: origin.address,
        tls: Vec::new(),
        talk: requests.talk("origin.test"),
        connections: requests.connections,
        traffic,
        warmup: Duration::ZERO,
        window,
    };
    let mut edges = Vec::new();
    let outcome = load::run(&plan, &mut |edge| {
        edges.push(edge);
        Ok(())
    });
    assert_eq!(edges, [Edge::Begin, Edge::End]);
    outcome.expect("the origin answers")
}

#[test]
fn two_hundred_requests_are_answered_and_counted() {
    let origin = Origin::start().unwrap();
    let outcome = run(&origin, "/1k", 0, Traffic::Count(200));
    assert_eq!(outcome.completed, 200);
    assert_eq!((outcome.failed, outcome.first_failure), (0, None));
    assert_eq!(outcome.bytes, outcome.completed * 1024);
    assert_eq!(outcome.latency.total(), outcome.completed);
    assert_eq!(origin.answered(), 200);
}

#[test]
fn bodies_of_both_directions_are_read_whole() {
    let origin = Origin::start().unwrap();
    for (path, upload, size) in [("/1k", 1024, 1024), ("/10m", 0, 10 << 20)] {
        let outcome = run(&origin, path, upload, Traffic::Count(16));
        assert_eq!((outcome.completed, outcome.first_failure), (16, None));
        assert_eq!(outcome.bytes, 16 * size);
    }
}

#[test]
fn messages_over_http2_are_answered_with_trailers_and_counted() {
    let origin = Origin::start().unwrap();
    let call = Requests {
        path: "/bench.Bench/Call",
        upload: MESSAGE,
        client: Client::H2(16),
        origin: Upstream::H2,
        traffic: Traffic::Count(5000),
        ..GET
    };
    let outcome = ask(&origin, call);
    assert_eq!((outcome.completed, outcome.first_failure), (5000, None));
    assert_eq!(outcome.bytes, 5000 * MESSAGE as u64);
    assert_eq!((outcome.latency.total(), origin.answered()), (5000, 5000));
}

#[test]
fn held_connections_stay_open() {
    let origin = Origin::start().unwrap();
    let outcome = run(&origin, "/1k", 0, Traffic::Hold(50));
    assert_eq!((outcome.held.len(), outcome.failed), (50, 0));
    assert!(outcome.held.iter().all(bench::load::Connection::idle));
    drop(origin);
    assert!(!outcome.held.iter().any(bench::load::Connection::idle));
}

#[test]
fn a_rate_is_offered_whatever_the_replies_do() {
    let origin = Origin::start().unwrap();
    let outcome = run(&origin, "/1k", 0, Traffic::Rate(1000));
    assert_eq!(outcome.failed, 0, "{:?}", outcome.first_failure);
    // A busy machine may answer late, but never more than was offered.
    assert!((100..=401).contains(&outcome.completed), "{}", outcome.completed);
}

#[test]
fn a_wrong_answer_is_a_failure_that_is_named() {
    let origin = Origin::start().unwrap();
    let requests = Requests { path: "/absent", connections: 1, ..GET };
    let plan = Plan {
        target: origin.address,
        tls: Vec::new(),
        talk: requests.talk("origin.test"),
        connections: 1,
        traffic: Traffic::KeepAlive,
        warmup: Duration::ZERO,
        window: BOUND,
    };
    let error = load::run(&plan, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
}

#[test]
fn an_attack_arrives_until_it_is_ended() {
    let origin = Origin::start().unwrap();
    let siege = Siege::begin(attack::find("made-you-reset").unwrap(), origin.address).unwrap();
    let begun = Instant::now();
    // This origin forgives everything, so that each of the requests reaches it.
    while origin.answered() < 1000 {
        assert!(begun.elapsed() < BOUND, "{} requests came", origin.answered());
        std::thread::yield_now();
    }
    let spent = siege.end();
    // Frames are counted when a batch of them has left, which may be after it was answered.
    assert!(spent.frames > 0 && spent.bytes > spent.frames, "{spent:?}");
    assert_eq!(spent.closed, 0);
}
