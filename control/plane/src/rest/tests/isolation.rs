//! No call with a token of one account reads or changes another: every built operation, with ids
//! of both in every place.

use super::support::{AMPLE, Api, Client, wish};
use crate::rest::operator::Wish;
use control_api::OPERATIONS;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rand_of::Draw;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What every name of the other account has in it, and no name of the own one.
const MARK: &str = "bravo";
/// Calls drawn at random in an everyday run; `WEIR_SOAK` makes them a hundred times as many.
const CALLS: usize = 1_500;

/// Ids of one account by the name of the parameter that takes them.
type Ids = BTreeMap<&'static str, String>;

/// Makes one of every object in an account of this name.
async fn furnish(client: &Client<'_>, name: &str) -> Ids {
    let account = client.post("/accounts", &json!({ "name": name })).await.id();
    let zone = json!({ "name": format!("{name}.example"), "account": { "id": account } });
    let zone = client.post("/zones", &zone).await.id();
    let balancing = format!("/accounts/{account}/load_balancers");
    let monitor = json!({ "type": "http", "description": name });
    let monitor = client.post(&format!("{balancing}/monitors"), &monitor).await.id();
    let member = json!({
        "monitor_id": monitor, "enabled": true, "monitoring_only": false, "must_be_healthy": true,
    });
    let group = json!({ "description": name, "members": [member] });
    let group = client.post(&format!("{balancing}/monitor_groups"), &group).await.id();
    let origin = json!({ "name": name, "address": "192.0.2.1" });
    let pool = json!({ "name": name, "origins": [origin], "monitor": monitor });
    let pool = client.post(&format!("{balancing}/pools"), &pool).await.id();
    let preview =
        client.post(&format!("{balancing}/pools/{pool}/preview"), &json!({ "type": "http" })).await;
    let balancer = json!({
        "name": format!("www.{name}.example"), "default_pools": [pool], "fallback_pool": pool,
    });
    let folder = format!("/zones/{zone}/load_balancers");
    let balancer = client.post(&folder, &balancer).await.id();
    let check = json!({ "name": name, "address": "www.example.com" });
    let check = client.post(&format!("/zones/{zone}/healthchecks"), &check).await.id();
    let alerting = format!("/accounts/{account}/alerting/v3");
    let hook = json!({ "name": name, "url": format!("https://{name}.example/hook") });
    let hook = client.post(&format!("{alerting}/destinations/webhooks"), &hook).await.id();
    let policy = json!({
        "name": name, "alert_type": "load_balancing_health_alert", "enabled": true,
        "mechanisms": { "webhooks": [{ "id": hook }] },
    });
    let policy = client.post(&format!("{alerting}/policies"), &policy).await.id();
    BTreeMap::from([
        ("account_id", account),
        ("zone_id", zone),
        ("monitor_id", monitor),
        ("monitor_group_id", group),
        ("pool_id", pool),
        ("preview_id", preview.result()["preview_id"].as_str().expect("an id").to_owned()),
        ("load_balancer_id", balancer),
        ("healthcheck_id", check),
        ("webhook_id", hook),
        ("policy_id", policy),
    ])
}

/// Bodies that refer to the objects of `ids`, right for one operation or another.
fn bodies(ids: &Ids) -> Vec<String> {
    let id = |name: &str| ids.get(name).cloned().unwrap_or_default();
    let origins = json!([{ "name": "o", "address": "192.0.2.2" }]);
    let member = json!({
        "monitor_id": id("monitor_id"), "enabled": true, "monitoring_only": false,
        "must_be_healthy": true,
    });
    let balancer = json!({
        "name": "x.alpha.example", "default_pools": [id("pool_id")],
        "fallback_pool": id("pool_id"),
    });
    let hook = json!({ "webhooks": [{ "id": id("webhook_id") }] });
    let all = [
        json!({}),
        json!({ "name": "n", "type": "standard", "id": id("account_id") }),
        json!({ "name": "z.example", "account": { "id": id("account_id") } }),
        json!({ "paused": true }),
        json!({ "type": "tcp", "port": 80, "description": "d" }),
        json!({ "description": "d", "members": [member] }),
        json!({ "name": "p", "origins": origins, "monitor": id("monitor_id") }),
        json!({ "name": "q", "origins": origins, "monitor_group": id("monitor_group_id") }),
        json!({ "notification_email": "" }),
        balancer,
        json!({ "name": "h", "address": "www.example.com" }),
        json!({ "name": "w", "url": "https://example.com/", "secret": "s" }),
        json!({
            "name": "p", "alert_type": "load_balancing_health_alert", "enabled": true,
            "mechanisms": hook,
        }),
    ];
    all.iter().map(Value::to_string).collect()
}

/// Everything of an account that the store has.
fn held(api: &Api, ids: &Ids) -> Vec<String> {
    let (account, zone) = (&ids["account_id"], &ids["zone_id"]);
    let state = api.keeper.state();
    let own = |key: &str| key.contains(account.as_str()) || key.contains(zone.as_str());
    let all = state.objects.iter().filter(|(key, _)| own(key.as_str()));
    let mut held: Vec<String> = all.map(|(key, stored)| format!("{key} {stored:?}")).collect();
    let zones = state.objects.iter().filter(|(key, stored)| {
        key.as_str().starts_with("zones/")
            && stored.value.pointer("/account/id").and_then(Value::as_str) == Some(account)
    });
    held.extend(zones.map(|(key, stored)| format!("{key} {stored:?}")));
    held
}

mod rand_of {
    //! Draws that a seed repeats.

    use proptest::prelude::Rng;
    use proptest::test_runner::TestRng;

    pub(super) trait Draw {
        /// One of these.
        fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T;
    }

    impl Draw for TestRng {
        fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
            let place = self.next_u64() % (of.len() as u64);
            &of[usize::try_from(place).expect("a place in a list")]
        }
    }
}

/// A path of a template, with ids of either account in its places.
fn path(rng: &mut TestRng, template: &str, either: [&Ids; 2]) -> String {
    let part = |word: &str| {
        let Some(name) = word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            return word.to_owned();
        };
        let ids = *rng.one(&either);
        match name {
            "accounts_or_zones" => (*rng.one(&["accounts", "zones"])).to_owned(),
            "account_or_zone_id" => {
                let name = *rng.one(&["account_id", "zone_id"]);
                ids[name].clone()
            }
            "region_id" => "WEU".to_owned(),
            // An id of another kind now and then.
            _ if *rng.one(&[true, false, false, false]) => {
                let all: Vec<&String> = ids.values().collect();
                (*rng.one(&all)).clone()
            }
            _ => ids.get(name).cloned().unwrap_or_default(),
        }
    };
    template.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn no_call_reads_or_changes_another_account() {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 =
        seed.unwrap_or_else(|| u64::from_be_bytes(super::super::token::random().expect("random")));
    println!("again: WEIR_SEED={seed} cargo test -p control-plane no_call_reads");
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&seed.to_be_bytes());
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &octets);
    let calls = if std::env::var_os("WEIR_SOAK").is_some() { CALLS * 100 } else { CALLS };

    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let own = furnish(&admin, "alpha").await;
    let other = furnish(&admin, MARK).await;
    let before = held(&api, &other);
    assert!(before.len() >= 10, "{before:?}");
    let account = own["account_id"].as_str();
    let zone = Wish { zones: vec![own["zone_id"].clone()], ..wish(&[account]) };
    let mut clients = Vec::new();
    for wish in [wish(&[account]), zone, Wish { read_only: true, ..wish(&[account]) }] {
        clients.push(api.client(&api.token(&wish).await.text));
    }
    let built: Vec<_> = OPERATIONS.iter().filter(|one| one.resource.is_some()).collect();
    let bodies: Vec<String> = [bodies(&own), bodies(&other)].concat();
    let queries = [
        String::new(),
        format!("?account.id={}&per_page=50", other["account_id"]),
        format!("?query={MARK}&references=*"),
        format!("?monitor={}", other["monitor_id"]),
        format!("?name={MARK}"),
    ];
    let mut done = 0;
    for n in 0..calls {
        // Each operation in turn, so that a short run misses none.
        let operation = built[n % built.len()];
        let client = rng.one(&clients);
        let path = path(&mut rng, operation.path, [&own, &other]);
        let url = format!("{path}{}", rng.one(&queries));
        let body = if operation.method.as_str() == "GET" { "" } else { rng.one(&bodies) };
        let answer = client.call(operation.method.as_str(), &url, body).await;
        let asked = format!("{} {url} {body}", operation.method.as_str());
        assert!(answer.status < 500, "{asked}: {}", answer.body);
        assert!(!answer.result().to_string().contains(MARK), "{asked}: read: {}", answer.body);
        done += usize::from(answer.status < 300);
        if answer.status < 300 && operation.method.as_str() != "GET" {
            assert_eq!(held(&api, &other), before, "{asked}: changed");
        }
    }
    assert_eq!(held(&api, &other), before);
    assert!(done > calls / 50, "{done} of {calls} calls did something");
    let seen = admin.get(&format!("/accounts/{}", other["account_id"])).await;
    assert!(seen.body.to_string().contains(MARK), "the mark is not what is looked for");
}
