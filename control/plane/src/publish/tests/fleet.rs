//! Fifty edges that come, go, dawdle and lose track while objects change.

use super::edge::{AT_ONCE, Does, Edge, LONG, Store};
use crate::publish::compile::Compiler;
use crate::publish::lower::tests::Random;
use crate::publish::ring::{Hashes, Roles};
use crate::publish::stream::Patience;
use crate::publish::{EdgeState, Publisher};
use crate::store::Key;
use control_api::publish::{Role, SnapshotId};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const EDGES: usize = 50;
const CHANGES: u64 = 120;

/// What an edge does until it has the last generation.
async fn live(
    mut edge: Edge,
    seed: u64,
    planes: Vec<Arc<Publisher>>,
    last: watch::Receiver<u64>,
) -> Edge {
    let mut random = Random(seed);
    edge.attach(&planes[random.below(planes.len())]).await;
    loop {
        let end = *last.borrow();
        if end > 0 && edge.has.as_ref().is_some_and(|has| has.generation >= end) {
            return edge;
        }
        let (does, pause) = match (end, random.below(20)) {
            (0, 0) => {
                // It goes, and comes back to any control plane with what it has, or without.
                edge.detach();
                if random.below(4) == 0 {
                    (edge.has, edge.items) = (None, Default::default());
                }
                sleep(Duration::from_millis(random.below(10) as u64)).await;
                edge.attach(&planes[random.below(planes.len())]).await;
                continue;
            }
            (0, 1) => (Does::Resync, 0),
            (0, 2) => (Does::Refuse, 0),
            (0, 3..6) => (Does::Apply, random.below(30)),
            _ => (Does::Apply, 0),
        };
        sleep(Duration::from_millis(pause as u64)).await;
        if edge.next(does).await.is_none() {
            edge.attach(&planes[random.below(planes.len())]).await;
        }
    }
}

#[tokio::test]
async fn fifty_edges_end_with_the_newest_items_whatever_happens_between() {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("WEIR_SEED={seed} cargo test -p control-plane --lib fifty_edges");
    let store = Store::new().await;
    let patience = Patience { beat: Duration::from_millis(50), ..Patience::USUAL };
    let planes =
        vec![store.patient(&AT_ONCE, patience).await, store.patient(&AT_ONCE, patience).await];
    let (end, last) = watch::channel(0);
    let edges: Vec<_> = (0..EDGES)
        .map(|n| {
            let mut edge = Edge::new(&format!("{n}"));
            edge.identity.roles = match n % 5 {
                0 => vec![Role::Packet],
                1 => vec![Role::Packet, Role::Proxy],
                _ => vec![Role::Proxy],
            };
            tokio::spawn(live(edge, seed + n as u64, planes.clone(), last.clone()))
        })
        .collect();
    let mut random = Random(seed);
    for n in 0..CHANGES {
        let (id, address) = (random.below(30), format!("192.0.2.{}", 1 + random.below(200)));
        match random.below(8) {
            0 => {
                let key = Key::new(&format!("accounts/a/pools/{id:_<32}")).unwrap();
                store
                    .change(|draft| assert!(draft.remove(&key) || draft.get(&key).is_none()))
                    .await;
            }
            1 => {
                let server = json!({"id": id + 1, "address": address});
                store.put(&format!("packet/servers/{}", id + 1), server).await;
            }
            2 => drop(store.put("tokens/t", json!({ "n": n })).await),
            _ => drop(store.pool(&id.to_string(), &address).await),
        }
    }
    let newest = store.pool("last", "192.0.2.1").await;
    end.send_replace(newest);
    let items = Compiler::whole(&store.keeper.state(), &|_, _| None).items().clone();
    let hashes = Hashes::of(&items);
    let mut ended = Vec::new();
    for task in edges {
        let edge = timeout(LONG, task).await.expect("it ends").unwrap();
        let roles = Roles::of(&edge.identity.roles);
        let has: &SnapshotId = edge.has.as_ref().unwrap();
        assert_eq!((has.generation, has.hash), (newest, hashes.seen_by(roles)));
        assert_eq!(edge.items.hash(), has.hash);
        ended.push(edge);
    }
    let mut current = 0;
    for plane in &planes {
        super::edge::until("all are current", || {
            plane.edges().iter().all(|edge| edge.state == EdgeState::Current)
        })
        .await;
        current += plane.edges().len();
    }
    assert!(current >= EDGES, "{current} edges are attached");
    // Most of what they were sent was what differed.
    let all: usize = ended.iter().flat_map(|edge| &edge.came).count();
    let whole = ended.iter().flat_map(|edge| &edge.came).filter(|items| **items > 20).count();
    assert!(whole * 2 < all, "{whole} of {all} were everything");
}
