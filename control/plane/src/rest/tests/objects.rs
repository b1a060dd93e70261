//! What becomes of objects: lists, references, revisions, and changes by several at once.

use super::support::{AMPLE, Answer, Api, Client};
use serde_json::{Value, json};

async fn account(client: &Client<'_>) -> String {
    let list = client.get("/accounts").await;
    list.body["result"][0]["id"].as_str().expect("an account").to_owned()
}

fn ids(answer: &Answer) -> Vec<String> {
    let rows = answer.result().as_array().expect("a list").iter();
    rows.map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn a_change_holds_to_the_revision_that_it_was_made_on() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let folder = format!("/accounts/{}/load_balancers/monitors", account(&admin).await);
    let made = admin.post(&folder, &json!({ "type": "http", "description": "one" })).await;
    let path = format!("{folder}/{}", made.id());
    let tag = made.field("etag").expect("an etag").to_owned();
    assert_eq!(admin.get(&path).await.field("etag"), Some(tag.as_str()));
    let with = |tag: &str| admin.and(&format!("If-Match: {tag}"));
    let patch = |text: &str| json!({ "description": text }).to_string();
    let same = admin.call("PATCH", &path, &patch("one")).await;
    assert_eq!(same.field("etag"), Some(tag.as_str()), "nothing changed");
    let other = with(&tag).call("PATCH", &path, &patch("two")).await;
    assert_eq!(other.status, 200, "{}", other.body);
    let late = with(&tag).call("PATCH", &path, &patch("three")).await;
    assert_eq!((late.status, late.code()), (412, Some(19001)), "{}", late.body);
    let late = with(&tag).call("DELETE", &path, "").await;
    assert_eq!(late.status, 412);
    assert_eq!(with("*").call("DELETE", &path, "").await.status, 200);
    assert_eq!(admin.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_list_that_is_not_paged_can_be() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let folder = format!("/accounts/{}/load_balancers/monitors", account(&admin).await);
    let mut made = Vec::new();
    for n in 0..30 {
        made.push(admin.post(&folder, &json!({ "description": format!("m{n}") })).await.id());
    }
    assert_eq!(ids(&admin.get(&folder).await), made, "in the order of their making");
    for (query, expect) in [
        ("?page=1", &made[..25]),
        ("?page=2", &made[25..]),
        ("?page=3", &made[30..]),
        ("?limit=5&offset=28", &made[28..]),
    ] {
        assert_eq!(ids(&admin.get(&format!("{folder}{query}")).await), expect, "{query}");
    }
}

#[tokio::test]
async fn many_at_once_lose_nothing() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let account = account(&admin).await;
    let pools = format!("/accounts/{account}/load_balancers/pools");
    let origins = json!([{ "name": "o", "address": "192.0.2.1" }]);
    let calls = (0..20).map(|n| {
        let (admin, pools) = (admin.clone(), pools.clone());
        let body = json!({ "name": format!("pool-{}", n % 10), "origins": origins });
        async move { admin.post(&pools, &body).await }
    });
    let mut statuses: Vec<(u16, Option<u64>)> = Vec::new();
    for answer in join_all(calls).await {
        statuses.push((answer.status, answer.code()));
    }
    statuses.sort_unstable();
    let mut expect = vec![(200, None); 10];
    expect.extend(vec![(400, Some(1003)); 10]);
    assert_eq!(statuses, expect, "each name once");
    assert_eq!(ids(&admin.get(&pools).await).len(), 10);
}

/// Runs them at the same time.
async fn join_all<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(move |context| {
        for (one, done) in all.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = one.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        match all.iter().all(|(_, done)| done.is_some()) {
            true => {
                let done = all.iter_mut().filter_map(|(_, done)| done.take());
                std::task::Poll::Ready(done.collect())
            }
            false => std::task::Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn what_is_stored_and_not_in_effect_is_told() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let account = account(&admin).await;
    let folder = format!("/accounts/{account}/load_balancers/monitor_groups");
    let monitors = format!("/accounts/{account}/load_balancers/monitors");
    let monitor = admin.post(&monitors, &json!({ "type": "http" })).await;
    assert_eq!(monitor.body["messages"], json!([]), "monitors of http are in effect");
    let member = json!({
        "monitor_id": monitor.id(), "enabled": true, "monitoring_only": false,
        "must_be_healthy": true,
    });
    let group = json!({ "description": "g", "members": [member] });
    let made = admin.post(&folder, &group).await;
    assert_eq!(made.body["messages"][0]["code"], json!(19000), "{}", made.body);
    assert_eq!(made.result()["members"], group["members"]);
}

#[tokio::test]
async fn every_reference_keeps_its_object() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let account = account(&admin).await;
    let zone = json!({ "name": "example.com", "account": { "id": account } });
    let zone = admin.post("/zones", &zone).await.id();
    let pools = format!("/accounts/{account}/load_balancers/pools");
    let mut made = Vec::new();
    for name in ["default", "fallback", "region", "rule", "free"] {
        let origins = json!([{ "name": "o", "address": "192.0.2.1" }]);
        made.push(admin.post(&pools, &json!({ "name": name, "origins": origins })).await.id());
    }
    let balancer = json!({
        "name": "www.example.com", "default_pools": [made[0]], "fallback_pool": made[1],
        "region_pools": { "WEU": [made[2]] },
        "rules": [{
            "name": "r", "condition": "true", "overrides": { "default_pools": [made[3]] },
        }],
    });
    let folder = format!("/zones/{zone}/load_balancers");
    let balancer = admin.post(&folder, &balancer).await;
    assert_eq!(balancer.status, 200, "{}", balancer.body);
    for (place, expect) in [(0, 412), (1, 412), (2, 412), (3, 412), (4, 200)] {
        let path = format!("{pools}/{}", made[place]);
        let references = admin.get(&format!("{path}/references")).await;
        let referrers: Vec<&Value> = references
            .result()
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| &row["resource_id"])
            .collect();
        assert_eq!(referrers.is_empty(), expect == 200, "{place}");
        assert_eq!(admin.call("DELETE", &path, "").await.status, expect, "{place}");
    }
    assert_eq!(admin.call("DELETE", &format!("/zones/{zone}"), "").await.status, 200);
    assert_eq!(admin.get(&format!("{folder}/{}", balancer.id())).await.status, 404);
    let path = format!("{pools}/{}", made[0]);
    assert_eq!(admin.call("DELETE", &path, "").await.status, 200, "the zone took its own along");
}
