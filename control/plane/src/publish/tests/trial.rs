//! Changes that go to some edges first.

use super::edge::{Does, Edge, LONG, Store, until};
use crate::publish::stream::Patience;
use crate::publish::{PublishSettings, Publisher};
use serde_json::Value;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const TRIED: PublishSettings = PublishSettings {
    canary_percent: 25,
    canary_hold: Duration::from_millis(1_500),
    report: Duration::from_millis(100),
};
const QUICK: Patience = Patience { beat: Duration::from_millis(20), ..Patience::USUAL };

/// Four edges that have the first content of a store.
async fn four(store: &Store, publisher: &Arc<Publisher>) -> Vec<Edge> {
    let generation = store.keeper.state().revision;
    let mut edges = Vec::new();
    for n in 0..4 {
        let mut edge = Edge::new(&format!("e{n}"));
        edge.attach(publisher).await;
        edge.reaches(generation).await;
        edge.tells(1_000, 1).await;
        edges.push(edge);
    }
    edges
}

/// Which of the edges tries.
async fn canary(publisher: &Publisher, edges: &[Edge]) -> usize {
    let chosen = || publisher.edges().into_iter().find(|edge| edge.canary);
    until("one is chosen", || chosen().is_some()).await;
    let id = chosen().unwrap().identity.id;
    edges.iter().position(|edge| edge.identity.id == id).unwrap()
}

/// Lets edges go on until each of them has the address in its pools.
async fn all_have(edges: &mut [Edge], address: &str) {
    let mut all: Vec<_> = edges.iter_mut().map(|edge| Box::pin(comes(edge, address))).collect();
    let whole = poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    });
    timeout(LONG, whole).await.unwrap_or_else(|_| panic!("not all have {address}"));
}

async fn comes(edge: &mut Edge, address: &str) {
    while !has(edge, address) {
        edge.next(Does::Apply).await.expect("the stream goes on");
    }
}

fn has(edge: &Edge, address: &str) -> bool {
    edge.items.iter().any(|item| item.body.get().contains(&format!("\"{address}\"")))
}

fn stored(store: &Store, key: &str) -> Option<Arc<Value>> {
    let key = crate::store::Key::new(key).unwrap();
    store.keeper.state().get(&key).map(|stored| stored.value.clone())
}

#[tokio::test]
async fn a_change_goes_to_one_edge_in_four_and_then_to_all() {
    let store = Store::new().await;
    store.pool("p", "192.0.2.1").await;
    let publisher = store.patient(&TRIED, QUICK).await;
    let mut edges = four(&store, &publisher).await;
    store.pool("p", "192.0.2.2").await;
    let first = canary(&publisher, &edges).await;
    all_have(&mut edges[first..=first], "192.0.2.2").await;
    assert!(publisher.metrics().contains("weir_publish_trial 1\n"));
    // Beats of the others tell that nothing is meant for them.
    let other = (first + 1) % 4;
    while edges[other].next(Does::Apply).await != Some(false) {}
    assert!(has(&edges[other], "192.0.2.1"));
    // A later change waits for the verdict on this one.
    store.pool("q", "192.0.2.3").await;
    all_have(&mut edges, "192.0.2.2").await;
    all_have(&mut edges, "192.0.2.3").await;
    until("both were approved", || publisher.metrics().contains("weir_publish_trial 0\n")).await;
    assert_eq!(stored(&store, "publish/halted"), None);
}

#[tokio::test]
async fn a_change_that_fails_requests_is_halted_and_goes_back() {
    let store = Store::new().await;
    store.pool("p", "192.0.2.1").await;
    let publisher = store.patient(&TRIED, QUICK).await;
    // Another control plane without edges goes by what the store says.
    let beside = store.patient(&TRIED, QUICK).await;
    let mut edges = four(&store, &publisher).await;
    store.pool("p", "192.0.2.2").await;
    let first = canary(&publisher, &edges).await;
    all_have(&mut edges[first..=first], "192.0.2.2").await;
    edges[first].tells(1_200, 150).await;
    all_have(&mut edges[first..=first], "192.0.2.1").await;
    for edge in edges.iter().filter(|edge| edge.identity.name != format!("e{first}")) {
        assert!(!has(edge, "192.0.2.2"), "{}", edge.identity.name);
    }
    let halted = stored(&store, "publish/halted").expect("it is written down");
    let why = halted.get("why").and_then(Value::as_str).unwrap_or_default();
    assert!(why.contains("of requests fail"), "{why}");
    assert!(publisher.metrics().contains("weir_publish_halted_total 1\n"));
    until("the other one agrees", || beside.metrics().contains("weir_publish_trial 0\n")).await;
    let mut guest = Edge::new("guest");
    guest.attach(&beside).await;
    all_have(std::slice::from_mut(&mut guest), "192.0.2.1").await;
    // The next content is tried anew. What was counted with the halted one is not usual: as much
    // again is a rise.
    store.pool("p", "192.0.2.3").await;
    all_have(&mut edges[first..=first], "192.0.2.3").await;
    edges[first].tells(1_400, 300).await;
    all_have(&mut edges[first..=first], "192.0.2.1").await;
    store.pool("p", "192.0.2.4").await;
    all_have(&mut edges, "192.0.2.4").await;
}

#[tokio::test]
async fn a_change_that_an_edge_refuses_or_falls_over_is_halted() {
    for crash in [false, true] {
        let store = Store::new().await;
        store.pool("p", "192.0.2.1").await;
        let publisher = store.patient(&TRIED, QUICK).await;
        let mut edges = four(&store, &publisher).await;
        store.pool("p", "192.0.2.2").await;
        let first = canary(&publisher, &edges).await;
        let edge = &mut edges[first];
        match crash {
            false => while edge.next(Does::Refuse).await == Some(false) {},
            true => {
                edge.reaches(store.keeper.state().revision).await;
                edge.detach();
                edge.starts += 1;
                edge.attach(&publisher).await;
            }
        }
        until("it is halted", || stored(&store, "publish/halted").is_some()).await;
        all_have(&mut edges, "192.0.2.1").await;
    }
}

#[tokio::test]
async fn an_edge_that_is_lost_with_a_change_says_nothing_for_it() {
    let store = Store::new().await;
    store.pool("p", "192.0.2.1").await;
    let publisher = store.patient(&TRIED, QUICK).await;
    let mut edges = four(&store, &publisher).await;
    store.pool("p", "192.0.2.2").await;
    let first = canary(&publisher, &edges).await;
    all_have(&mut edges[first..=first], "192.0.2.2").await;
    edges[first].detach();
    let held = Instant::now() + 2 * TRIED.canary_hold;
    let other = (first + 1) % 4;
    while Instant::now() < held {
        edges[other].next(Does::Apply).await;
    }
    assert!(has(&edges[other], "192.0.2.1"));
    // It is approved once the edge is back and well.
    edges[first].attach(&publisher).await;
    edges[first].tells(1_100, 1).await;
    all_have(&mut edges, "192.0.2.2").await;
}

#[tokio::test]
async fn a_control_plane_that_starts_amid_a_trial_knows_what_was_approved() {
    let store = Store::new().await;
    store.pool("p", "192.0.2.1").await;
    let long = PublishSettings { canary_hold: Duration::from_secs(600), ..TRIED };
    let publisher = store.patient(&long, QUICK).await;
    let mut edges = four(&store, &publisher).await;
    store.pool("p", "192.0.2.2").await;
    let first = canary(&publisher, &edges).await;
    all_have(&mut edges[first..=first], "192.0.2.2").await;
    let next = store.patient(&long, QUICK).await;
    // All of them come over: one is chosen, the same by its hash, and the others stay.
    for edge in &mut edges {
        edge.attach(&next).await;
    }
    drop(publisher);
    let again = canary(&next, &edges).await;
    let other = (again + 1) % 4;
    while edges[other].next(Does::Apply).await != Some(false) {}
    assert!(has(&edges[other], "192.0.2.1"));
    all_have(&mut edges[again..=again], "192.0.2.2").await;
}
