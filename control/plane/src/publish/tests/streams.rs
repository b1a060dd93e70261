//! What one edge is sent, and what becomes of its stream.

use super::edge::{AT_ONCE, Does, Edge, Store, until};
use crate::publish::metrics::Ended;
use crate::publish::stream::Patience;
use crate::publish::{EdgeState, Publisher};
use control_api::publish::{EdgeMessage, ItemKind, Report, Role};
use serde_json::json;
use std::time::Duration;

fn status(publisher: &Publisher, name: &str) -> Option<crate::publish::EdgeStatus> {
    publisher.edges().into_iter().find(|edge| edge.identity.name == name)
}

#[tokio::test]
async fn an_edge_gets_everything_and_then_what_differs() {
    let store = Store::new().await;
    store.pool("one", "192.0.2.1").await;
    let publisher = store.publisher(&AT_ONCE).await;
    let mut edge = Edge::new("e");
    edge.attach(&publisher).await;
    let generation = store.pool("two", "192.0.2.2").await;
    edge.reaches(generation).await;
    let generation = store.pool("two", "192.0.2.3").await;
    edge.reaches(generation).await;
    assert_eq!(edge.came.last(), Some(&1), "one pool was changed");
    // A change of nothing that edges have is a generation all the same.
    let generation = store.put("tokens/t", json!({})).await;
    edge.reaches(generation).await;
    assert_eq!((edge.came.last(), edge.items.len()), (Some(&0), 2));
    // One that was away gets what it missed, and one that lost everything gets everything.
    edge.detach();
    let generation = store.pool("three", "192.0.2.4").await;
    edge.attach(&publisher).await;
    edge.reaches(generation).await;
    assert_eq!(edge.came.last(), Some(&1));
    edge.detach();
    edge.has = None;
    edge.attach(&publisher).await;
    edge.reaches(generation).await;
    assert_eq!((edge.came.last(), edge.items.len()), (Some(&3), 3));
    until("it is current", || {
        status(&publisher, "e").is_some_and(|e| e.state == EdgeState::Current && e.lag_ms == 0)
    })
    .await;
    // Another control plane of the same store knows what it has by its hash.
    let other = store.publisher(&AT_ONCE).await;
    edge.detach();
    edge.attach(&other).await;
    let generation = store.pool("three", "192.0.2.5").await;
    edge.reaches(generation).await;
    assert_eq!(edge.came.last(), Some(&1));
}

#[tokio::test]
async fn a_slow_edge_skips_generations_and_holds_nobody_back() {
    let store = Store::new().await;
    let publisher = store.publisher(&AT_ONCE).await;
    let (mut slow, mut quick) = (Edge::new("slow"), Edge::new("quick"));
    let mut generation = store.pool("p", "192.0.2.1").await;
    slow.attach(&publisher).await;
    quick.attach(&publisher).await;
    quick.reaches(generation).await;
    until("the slow one was sent something", || {
        status(&publisher, "slow").is_some_and(|edge| edge.meant == generation)
    })
    .await;
    for n in 2..40 {
        generation = store.pool("p", &format!("192.0.2.{n}")).await;
        quick.reaches(generation).await;
    }
    let behind = status(&publisher, "slow").unwrap();
    assert_eq!((behind.state, behind.has), (EdgeState::Behind, None));
    slow.reaches(generation).await;
    assert!(slow.came.len() <= 3, "{:?}: it skips what it missed", slow.came);
    assert_eq!(slow.items.hash(), quick.items.hash());
}

#[tokio::test]
async fn an_edge_that_refuses_is_told_and_offered_the_next_one() {
    let store = Store::new().await;
    let patience = Patience { beat: Duration::from_millis(50), ..Patience::USUAL };
    let publisher = store.patient(&AT_ONCE, patience).await;
    let mut edge = Edge::new("e");
    let generation = store.pool("p", "192.0.2.1").await;
    edge.attach(&publisher).await;
    edge.reaches(generation).await;
    let refused = store.pool("p", "192.0.2.2").await;
    while edge.next(Does::Refuse).await == Some(false) {}
    until("it refuses", || {
        status(&publisher, "e")
            .is_some_and(|e| e.state == EdgeState::Refusing && e.faults == ["no"])
    })
    .await;
    // The beat names what is meant for it, not what it has.
    assert_eq!(edge.next(Does::Apply).await, Some(false), "the same is not offered at once");
    assert_eq!((edge.beat, edge.has.as_ref().unwrap().generation), (refused, generation));
    let generation = store.pool("p", "192.0.2.3").await;
    edge.reaches(generation).await;
    assert_eq!(status(&publisher, "e").map(|edge| edge.faults), Some(Vec::new()));
    let metrics = publisher.metrics();
    assert!(metrics.contains("weir_publish_outcomes_total{outcome=\"refused\"} 1"), "{metrics}");
    let own =
        format!("weir_edge_generation{{edge=\"e\",id=\"{}\"}} {generation}", edge.identity.id);
    until("its generation is told", || publisher.metrics().contains(&own)).await;
}

#[tokio::test]
async fn a_refused_snapshot_is_offered_again_later() {
    let store = Store::new().await;
    let patience = Patience { refused: Duration::from_millis(20), ..Patience::USUAL };
    let publisher = store.patient(&AT_ONCE, patience).await;
    let mut edge = Edge::new("e");
    let generation = store.pool("p", "192.0.2.1").await;
    edge.attach(&publisher).await;
    while edge.next(Does::Refuse).await == Some(false) {}
    edge.reaches(generation).await;
}

#[tokio::test]
async fn an_edge_that_lost_track_gets_everything_but_not_for_ever() {
    let store = Store::new().await;
    let publisher = store.publisher(&AT_ONCE).await;
    let mut edge = Edge::new("e");
    let generation = store.pool("p", "192.0.2.1").await;
    edge.attach(&publisher).await;
    edge.reaches(generation).await;
    let generation = store.pool("q", "192.0.2.2").await;
    assert_eq!(edge.next(Does::Resync).await, Some(true));
    edge.reaches(generation).await;
    assert_eq!(edge.came, [1, 1, 2]);
    store.pool("p", "192.0.2.3").await;
    while edge.next(Does::Resync).await.is_some() {}
    assert_eq!(edge.came, [1, 1, 2, 1, 2, 2, 2], "it is given up at last");
    until("the stream is gone", || publisher.edges().is_empty()).await;
}

#[tokio::test]
async fn streams_end_when_they_must() {
    let store = Store::new().await;
    store.pool("p", "192.0.2.1").await;
    let short = Duration::from_millis(100);
    let patience = Patience { beat: short, stall: short * 3, ..Patience::USUAL };
    let publisher = store.patient(&AT_ONCE, patience).await;
    let ended = |publisher: &Publisher, why: Ended, count: u64| {
        let line = format!("weir_publish_streams_ended_total{{why=\"{}\"}} {count}\n", why.word());
        publisher.metrics().contains(&line)
    };
    // Revoked.
    let mut edge = Edge::new("revoked");
    edge.attach(&publisher).await;
    assert_eq!(edge.next(Does::Apply).await, Some(true));
    publisher.detach(&edge.identity.id);
    while edge.next(Does::Apply).await.is_some() {}
    until("it was stopped", || ended(&publisher, Ended::Stopped, 1)).await;
    // Replaced by a newer one, which stays.
    let (mut old, mut new) = (Edge::new("twice"), Edge::new("twice"));
    old.attach(&publisher).await;
    assert_eq!(old.next(Does::Apply).await, Some(true));
    new.attach(&publisher).await;
    while old.next(Does::Apply).await.is_some() {}
    assert_eq!(new.next(Does::Apply).await, Some(true));
    until("it was replaced", || ended(&publisher, Ended::Stopped, 2)).await;
    assert_eq!(publisher.edges().len(), 1);
    new.detach();
    until("it went", || ended(&publisher, Ended::Gone, 1) && publisher.edges().is_empty()).await;
    // One that takes nothing: beats are there for it, and it does not.
    let mut slow = Edge::new("slow");
    slow.attach(&publisher).await;
    until("it was too slow", || ended(&publisher, Ended::Slow, 1)).await;
    // One that talks out of turn.
    let mut wrong = Edge::new("wrong");
    wrong.attach(&publisher).await;
    let (version, has, starts) = ("x".to_owned(), None, 1);
    wrong.say(&EdgeMessage::Hello { version, has, starts }).await;
    while wrong.next(Does::Apply).await.is_some() {}
    until("it was not understood", || ended(&publisher, Ended::Broken, 1)).await;
}

#[tokio::test]
async fn an_edge_that_says_nothing_is_given_up() {
    let store = Store::new().await;
    store.pool("p", "192.0.2.1").await;
    let short = Duration::from_millis(50);
    let patience = Patience { acknowledge: short * 3, beat: short, ..Patience::USUAL };
    let publisher = store.patient(&AT_ONCE, patience).await;
    let mut edge = Edge::new("e");
    edge.attach(&publisher).await;
    // It takes everything, beats included.
    while edge.next(Does::Nothing).await.is_some() {}
    let line = "weir_publish_streams_ended_total{why=\"silent\"} 1\n";
    until("it was given up", || publisher.metrics().contains(line)).await;
}

#[tokio::test]
async fn edges_get_what_their_roles_need() {
    let store = Store::new().await;
    store.pool("p", "192.0.2.1").await;
    let key = crate::store::Key::new("packet/settings").unwrap();
    let secret = "00112233445566778899aabbccddeeff";
    let sealed = store.vault.seal(&key, secret).unwrap();
    let generation = store.put("packet/settings", json!({"hash_key": sealed})).await;
    let publisher = store.publisher(&AT_ONCE).await;
    for (roles, expect, told) in [
        (vec![Role::Proxy], vec![ItemKind::Pool], false),
        (vec![Role::Packet], vec![ItemKind::Packet], true),
        (vec![Role::Proxy, Role::Packet], vec![ItemKind::Pool, ItemKind::Packet], true),
        (vec![], vec![], false),
    ] {
        let mut edge = Edge::new("e");
        edge.identity.roles = roles.clone();
        edge.attach(&publisher).await;
        edge.reaches(generation).await;
        let kinds: Vec<_> = edge.items.iter().map(|item| item.key.kind).collect();
        assert_eq!(kinds, expect, "{roles:?}");
        let secrets = edge.items.iter().filter(|item| item.body.get().contains(secret)).count();
        assert_eq!(secrets > 0, told, "{roles:?}");
    }
}

#[tokio::test]
async fn health_is_what_attached_edges_say() {
    let store = Store::new().await;
    let generation = store.pool("p", "192.0.2.1").await;
    let publisher = store.publisher(&AT_ONCE).await;
    let pool = format!("{:_<32}", "p");
    let told = |healthy, address: &str| {
        let origin = control_api::publish::OriginReport {
            pool: pool.clone(),
            origin: "x".into(),
            address: address.into(),
            healthy: Some(healthy),
            reason: "TCP Timeout".into(),
            rtt_us: Some(1_500),
        };
        EdgeMessage::Report(Report { origins: vec![origin], ..Report::default() })
    };
    let healthy =
        |address: &str| publisher.origin_health(&pool, address).and_then(|health| health.healthy());
    let mut edge = Edge::new("e");
    edge.attach(&publisher).await;
    edge.reaches(generation).await;
    edge.say(&told(false, "192.0.2.1")).await;
    until("it is ill", || healthy("192.0.2.1") == Some(false)).await;
    edge.say(&told(true, "192.0.2.9")).await;
    edge.say(&told(true, "192.0.2.1")).await;
    until("it is well", || healthy("192.0.2.1") == Some(true)).await;
    assert_eq!(healthy("192.0.2.9"), None, "no origin of the pool");
    let generation = store.pool("p", "192.0.2.9").await;
    edge.reaches(generation).await;
    assert_eq!(healthy("192.0.2.1"), None, "an origin no longer");
    edge.say(&told(true, "192.0.2.9")).await;
    until("the new one is well", || healthy("192.0.2.9") == Some(true)).await;
    edge.detach();
    until("nobody says so", || healthy("192.0.2.9").is_none()).await;
}
