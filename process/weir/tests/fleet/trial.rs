//! Changes that some edges get first, with real edges under live requests.

use super::rig::{Fleet, answers, get, get_at, origin, origin_that, until};
use crate::support::files::TempDir;
use crate::support::load::Load;
use crate::support::process::Weir;
use crate::support::wait::{self, SOON};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One of three edges, for long enough to look at all of them.
const PUBLISH: &str = "[publish]\ncanary_percent = 1\ncanary_hold = \"4s\"\nreport = \"1s\"\n";
/// The hold, some reports, and a busy machine.
const DECIDED: Duration = Duration::from_secs(30);
/// Between two requests of one client: hundreds in a hold, and little load.
const PACE: Duration = Duration::from_millis(5);

/// A fleet of three edges that answer `one`, and the pool behind it.
fn three(one: &crate::support::upstream::Upstream) -> (Fleet, Vec<Weir>, String) {
    let fleet = Fleet::start_with(Arc::new(TempDir::new()), PUBLISH);
    let pool = fleet.pool("shop", one);
    fleet.host("a", &pool);
    let start = |n| Weir::start(fleet.edge_file(&format!("edge-{n}")));
    let edges: Vec<_> = (1..4).map(start).collect();
    // Until then the edges that came first try what was there before the last one.
    for edge in &edges {
        wait::until("the first content is everywhere", DECIDED, || get(edge, "a") == "one");
        until(edge, "it follows", |control| control["connected"] == true);
    }
    settled(&fleet);
    (fleet, edges, pool)
}

/// Waits until nothing is tried.
fn settled(fleet: &Fleet) {
    wait::until("nothing is tried", DECIDED, || fleet.metric("weir_publish_trial") == Some(0.0));
}

/// The edge that has `new` while the others have `old`.
fn canary(edges: &[Weir], old: &str, new: &str) -> usize {
    wait::value("one has it", SOON, || {
        let at = edges.iter().position(|edge| get(edge, "a") == new)?;
        for (other, edge) in edges.iter().enumerate().filter(|(other, _)| *other != at) {
            assert_eq!(get(edge, "a"), old, "edge {other} beside {at}");
        }
        Some(at)
    })
}

/// Requests to an edge; what is no answer of `good` is noted.
fn ask(edge: &Weir, good: &'static [&'static str]) -> (Load, std::thread::JoinHandle<usize>) {
    let (load, address) = (Load::default(), edge.web());
    let asking = load.run(move |_| {
        let answer = get_at(address, "a");
        std::thread::sleep(PACE);
        if good.contains(&answer.as_str()) { Ok(()) } else { Err(answer) }
    });
    (load, asking)
}

#[test]
fn a_good_change_goes_to_one_edge_and_then_to_all() {
    let (one, two) = (origin("one"), origin("two"));
    let (fleet, edges, pool) = three(&one);
    fleet.turn(&pool, &two);
    let first = canary(&edges, "one", "two");
    let list = fleet.edge(&["list"]);
    let marked: Vec<_> = list.lines().filter(|line| line.contains(", canary")).collect();
    assert!(
        matches!(marked[..], [line] if line.contains(&format!("edge-{} ", first + 1))),
        "{list}"
    );
    for edge in &edges {
        wait::until("all have it", DECIDED, || get(edge, "a") == "two");
    }
    settled(&fleet);
    let list = fleet.edge(&["list"]);
    assert!(!list.contains("canary") && !list.contains("halted"), "{list}");
    assert_eq!(fleet.metric("weir_publish_halted_total"), Some(0.0));
}

#[test]
fn a_change_that_fails_requests_is_halted_and_the_next_one_goes_through() {
    let (one, two) = (origin("one"), origin("two"));
    let bad = origin_that("500 Internal Server Error", "bad");
    let (fleet, edges, pool) = three(&one);
    let asked: Vec<_> = edges.iter().map(|edge| ask(edge, &["one", "two"])).collect();
    fleet.turn(&pool, &bad);
    let first = canary(&edges, "one", "500");
    wait::until("it is halted", DECIDED, || fleet.metric("weir_publish_halted_total") == Some(1.0));
    answers(&edges[first], "a", "one");
    let list = fleet.edge(&["list"]);
    assert!(list.contains("was halted") && list.contains("of requests fail"), "{list}");
    assert!(!list.contains("canary"), "{list}");
    let log = fleet.plane.stderr.text();
    assert!(log.contains("trial_halted"), "{log}");
    // What the edge counted meanwhile is not held against the next one.
    fleet.turn(&pool, &two);
    for edge in &edges {
        wait::until("all have the next one", DECIDED, || get(edge, "a") == "two");
    }
    settled(&fleet);
    assert_eq!(fleet.metric("weir_publish_halted_total"), Some(1.0));
    assert!(!fleet.edge(&["list"]).contains("halted"));
    for (at, (load, asking)) in asked.into_iter().enumerate() {
        load.stop.store(true, Ordering::Release);
        assert!(asking.join().expect("it ends") > 0);
        let failures = load.failures();
        assert_eq!(failures.is_empty(), at != first, "edge {at}: {failures:?}");
        assert!(failures.iter().all(|failure| failure == "500"), "edge {at}: {failures:?}");
    }
}
