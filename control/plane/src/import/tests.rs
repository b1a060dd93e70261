//! Objects of Cloudflare's, as its API tells them, brought into a store.

use super::{Bringing, Brought, Gathered, bring};
use crate::rest::validate;
use crate::store::{Backend, Embedded, Keeper, Key, Who};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

struct Place {
    folder: PathBuf,
    keeper: Keeper,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn id(n: u32) -> String {
    format!("{n:032x}")
}

/// An account with a monitor, two pools and a load balancer, with what Cloudflare tells besides.
fn gathered() -> Gathered {
    let (up, one, two, zone, balancer) = (id(1), id(2), id(3), id(4), id(5));
    let objects = json!({
        "monitors": [{
            "id": up, "type": "http", "path": "/", "interval": 60, "created_on": "then",
            "modified_on": "later", "probe_zone": null, "invented": 1,
        }],
        "pools": [
            { "id": one, "name": "one", "monitor": up, "healthy": true, "load_shedding": null,
              "origins": [{ "name": "o", "address": "192.0.2.1", "enabled": true, "weight": 1,
                "invented": { "a": 1 }, "failure_reason": "x" }] },
            { "id": two, "name": "two",
              "origins": [{ "name": "o", "address": "192.0.2.2", "header": null }] },
        ],
        "zones": [{ "id": zone, "name": "Example.com", "status": "active", "paused": false,
            "account": { "id": id(9), "name": "theirs" }, "plan": { "id": "x" } }],
        format!("zones/{zone}/load_balancers"): [{
            "id": balancer, "name": "www.example.com", "default_pools": [one, two],
            "fallback_pool": two, "steering_policy": "random", "proxied": true,
            "random_steering": { "default_weight": 0.5, "pool_weights": { one.clone(): 0.3 } },
            "rules": [{ "name": "r", "condition": "true", "overrides": { "fallback_pool": one } }],
        }],
        "webhooks": [{ "id": id(6), "name": "w", "url": "https://hooks.test/", "type": "generic",
            "secret": "in the clear" }],
    });
    let objects: BTreeMap<String, Vec<Value>> = serde_json::from_value(objects).expect("lists");
    Gathered { account: json!({ "id": id(9), "name": "theirs" }), objects, unread: Vec::new() }
}

impl Place {
    async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-bring-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = Embedded::open(&folder.join("store")).await.expect("the store");
        let keeper = Keeper::open(Backend::Embedded(store), validate).await.expect("a keeper");
        Self { folder, keeper }
    }

    async fn bring(&self, gathered: Gathered, into: Option<&str>) -> Result<Brought, String> {
        let into = into.map(str::to_owned);
        let mut bringing = Bringing { gathered, into, dry_run: true };
        let who = Who::operator(0);
        let revision = self.keeper.state().revision;
        let told = bring(&self.keeper, &who, 1, &bringing).await.map_err(|e| e.to_string())?;
        assert_eq!(self.keeper.state().revision, revision, "a dry run changes nothing");
        bringing.dry_run = false;
        let done = bring(&self.keeper, &who, 1, &bringing).await.map_err(|e| e.to_string())?;
        assert_eq!((&done.changes, &done.left_out), (&told.changes, &told.left_out));
        Ok(done)
    }

    fn get(&self, key: &str) -> Value {
        let state = self.keeper.state();
        let stored = state.get(&Key::new(key).expect("a key"));
        stored.unwrap_or_else(|| panic!("{key} is not there")).value.as_ref().clone()
    }
}

#[tokio::test]
async fn an_account_comes_with_its_ids_and_again_without_a_change() {
    let place = Place::new().await;
    let done = place.bring(gathered(), None).await.expect("brought");
    assert_eq!((done.read, done.revision, done.renamed.len()), (6, 1, 0));
    let account = id(9);
    let mut left_out = done.left_out;
    left_out.sort();
    let expect = [
        format!("accounts/{account}/monitors/{}#/invented", id(1)),
        format!("accounts/{account}/pools/{}#/healthy", id(2)),
        format!("accounts/{account}/pools/{}#/origins/0/failure_reason", id(2)),
        format!("accounts/{account}/pools/{}#/origins/0/invented", id(2)),
        format!("accounts/{account}/webhooks/{}#/secret", id(6)),
    ];
    assert_eq!(left_out, expect);
    let monitor = place.get(&format!("accounts/{account}/monitors/{}", id(1)));
    assert_eq!(
        (&monitor["created_on"], &monitor["modified_on"]),
        (&json!("then"), &json!("later"))
    );
    let balancer = place.get(&format!("zones/{}/load_balancers/{}", id(4), id(5)));
    assert_eq!(balancer["default_pools"], json!([id(2), id(3)]));
    let zone = place.get(&format!("zones/{}", id(4)));
    assert_eq!((&zone["name"], &zone["account"]["id"]), (&json!("example.com"), &json!(account)));
    let again = place.bring(gathered(), None).await.expect("brought");
    assert_eq!((again.changes.len(), again.revision), (0, 1), "{:?}", again.changes);
    let mut other = gathered();
    other.objects.get_mut("pools").expect("pools")[1]["enabled"] = json!(false);
    let changed = place.bring(other, None).await.expect("brought");
    let places: Vec<&str> = changed.changes.iter().map(|change| change.place.as_str()).collect();
    assert_eq!(places, [format!("accounts/{account}/pools/{}#/enabled", id(3))]);
}

#[tokio::test]
async fn ids_that_are_not_free_are_others_here_and_references_follow() {
    let place = Place::new().await;
    place.bring(gathered(), None).await.expect("brought");
    let mut copy = gathered();
    copy.account["id"] = json!(id(10));
    copy.objects.remove("zones");
    copy.objects.retain(|key, _| !key.starts_with("zones"));
    let done = place.bring(copy, None).await.expect("brought");
    assert_eq!(done.renamed.len(), 4, "{:?}", done.renamed);
    let here = |there: u32| {
        let found = done.renamed.iter().find(|(old, _)| *old == id(there));
        found.expect("renamed").1.clone()
    };
    let pool = place.get(&format!("accounts/{}/pools/{}", id(10), here(2)));
    assert_eq!(pool["monitor"], json!(here(1)));
    assert_eq!(pool["id"], json!(here(2)));
    assert_eq!(place.get(&format!("accounts/{}/pools/{}", id(9), id(2)))["monitor"], json!(id(1)));
    // The weights of a load balancer have ids as names.
    let mut zoned = gathered();
    zoned.account["id"] = json!(id(10));
    zoned.objects.get_mut("zones").expect("zones")[0]["name"] = json!("example.org");
    let balancers = zoned.objects.get_mut(&format!("zones/{}/load_balancers", id(4)));
    balancers.expect("it")[0]["name"] = json!("www.example.org");
    let done = place.bring(zoned, None).await.expect("brought");
    let new = |there: u32| {
        let found = done.renamed.iter().find(|(old, _)| *old == id(there));
        found.expect("renamed").1.clone()
    };
    let balancer = place.get(&format!("zones/{}/load_balancers/{}", new(4), new(5)));
    assert_eq!(balancer["random_steering"]["pool_weights"], json!({ here(2): 0.3 }));
    assert_eq!(balancer["rules"][0]["overrides"]["fallback_pool"], json!(here(2)));
}

#[tokio::test]
async fn what_cannot_be_held_is_told_and_nothing_is_brought() {
    let place = Place::new().await;
    place.bring(gathered(), None).await.expect("brought");
    let revision = place.keeper.state().revision;
    let with = |change: &dyn Fn(&mut Gathered)| {
        let mut all = gathered();
        change(&mut all);
        all
    };
    let pool = |all: &mut Gathered, name: &str, value: Value| {
        all.objects.get_mut("pools").expect("pools")[0][name] = value;
    };
    for (wrong, into, told) in [
        (with(&|all| pool(all, "monitor", json!(id(77)))), None, "/monitor: there is no"),
        (with(&|all| pool(all, "minimum_origins", json!(0))), None, "#/minimum_origins: "),
        (with(&|all| pool(all, "name", json!("two"))), None, "rename one of them"),
        (gathered(), Some("nobody"), "there is no account nobody here; there are: theirs"),
        (with(&|all| all.account = Value::Null), None, "by --into"),
        (
            with(&|all| drop(all.objects.remove("zones"))),
            None,
            "load_balancers: the zone was not read",
        ),
        (with(&|all| all.account["id"] = json!(id(11))), None, "another account here has it"),
    ] {
        let found = place.bring(wrong, into).await.expect_err(told);
        assert!(found.contains(told), "{told}: {found}");
        assert_eq!(place.keeper.state().revision, revision);
    }
}
