//! Plans and what applying them makes: rows of files, one after the other, on one store.

use super::{Action, Declaration, DeclareError, Plan, declare};
use crate::rest::{operator, validate};
use crate::store::{Backend, Embedded, Keeper, Key, Vault, Who};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A store with one account, and the keys of secrets.
struct Place {
    folder: PathBuf,
    keeper: Keeper,
    vault: Vault,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Place {
    async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-declare-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = Embedded::open(&folder.join("store")).await.expect("the store");
        let keeper = Keeper::open(Backend::Embedded(store), validate).await.expect("a keeper");
        operator::first_account(&keeper, &Who::operator(0)).await.expect("an account");
        let vault = Vault::open(&folder.join("keys")).expect("keys");
        Self { folder, keeper, vault }
    }

    async fn declare(&self, declaration: &Declaration) -> Result<Plan, DeclareError> {
        let who = Who::operator(0);
        declare(&self.keeper, &self.vault, &who, 1_000_000, declaration, |_| true).await
    }

    /// Plans, applies what was planned, and plans again: `ACTION KIND NAME [FIELDS]` of the plan.
    async fn apply(&self, tables: &Value, prune: bool) -> Vec<String> {
        let tables = tables.as_object().expect("tables").clone();
        let mut wanted =
            Declaration { account: None, tables, prune, dry_run: true, fingerprint: None };
        let revision = self.keeper.state().revision;
        let plan = self.declare(&wanted).await.expect("a plan");
        assert_eq!(self.keeper.state().revision, revision, "a plan changes nothing");
        assert!(!plan.applied);
        (wanted.dry_run, wanted.fingerprint) = (false, Some(plan.fingerprint.clone()));
        let done = self.declare(&wanted).await.expect("applied");
        assert_eq!((&done.changes, done.applied), (&plan.changes, true));
        (wanted.dry_run, wanted.fingerprint) = (true, None);
        let again = self.declare(&wanted).await.expect("a plan");
        assert_eq!(again.changes, [], "what was applied is planned again");
        assert_eq!(again.staying, plan.staying);
        lines(&plan)
    }

    async fn faults(&self, tables: Value) -> String {
        let tables = tables.as_object().expect("tables").clone();
        let wanted =
            Declaration { account: None, tables, prune: false, dry_run: false, fingerprint: None };
        let revision = self.keeper.state().revision;
        let told = self.declare(&wanted).await.expect_err("refused").to_string();
        assert_eq!(self.keeper.state().revision, revision, "{told}");
        told
    }

    fn objects(&self, folder: &str) -> Vec<Value> {
        let state = self.keeper.state();
        let all = state.under(&Key::new(folder).expect("a key"));
        all.into_iter().map(|(_, stored)| stored.value.as_ref().clone()).collect()
    }

    fn account(&self) -> String {
        self.objects("accounts")[0]["id"].as_str().expect("an id").to_owned()
    }

    /// As somebody who uses the API.
    async fn put(&self, key: &str, value: Value) {
        let key = Key::new(key).expect("a key");
        let put = |draft: &mut crate::store::Draft<'_>| {
            draft.put(key.clone(), value.clone());
            Ok::<_, std::convert::Infallible>(())
        };
        self.keeper.change(&Who::operator(1), "PUT", 0, put).await.expect("put");
    }
}

fn lines(plan: &Plan) -> Vec<String> {
    let line = |change: &super::Planned| {
        let action = match change.action {
            Action::Create => "+",
            Action::Update => "~",
            Action::Adopt => "=",
            Action::Delete => "-",
        };
        let fields: Vec<&str> = change.fields.iter().map(|field| field.field.as_str()).collect();
        let fields = match change.action {
            Action::Update | Action::Adopt => format!(" {}", fields.join(",")),
            _ => String::new(),
        };
        format!("{action} {} {}{fields}", change.kind, change.name)
    };
    plan.changes.iter().map(line).collect()
}

fn file() -> Value {
    json!({
        "monitor": [{ "name": "up", "type": "http", "path": "/health", "interval": 60 }],
        "pool": [
            { "name": "web", "monitor": "up", "origins": [
                { "name": "a", "address": "192.0.2.1", "weight": 0.5 },
                { "name": "b", "address": "192.0.2.2" },
            ] },
            { "name": "api", "keepalive": { "connections": 9 }, "origins": [
                { "name": "a", "address": "192.0.2.3", "port": 8080 },
            ] },
        ],
        "zone": [{ "name": "example.com" }],
        "load_balancer": [
            { "name": "www.example.com", "default_pools": ["web", "api"],
              "steering_policy": "random",
              "random_steering": { "default_weight": 0.2, "pool_weights": { "api": 0.7 } } },
        ],
    })
}

#[tokio::test]
async fn a_file_makes_changes_and_removes_its_objects() {
    let place = Place::new().await;
    let made = ["+ monitor up", "+ pool web", "+ pool api", "+ zone example.com"];
    let made = [&made[..], &["+ load_balancer www.example.com"]].concat();
    assert_eq!(place.apply(&file(), false).await, made);
    let account = place.account();
    let pools = place.objects(&format!("accounts/{account}/pools"));
    let id = |name: &str| pools.iter().find(|pool| pool["name"] == name).expect("it")["id"].clone();
    let monitors = place.objects(&format!("accounts/{account}/monitors"));
    assert_eq!(
        pools.iter().find(|p| p["name"] == "web").expect("it")["monitor"],
        monitors[0]["id"]
    );
    let balancers: Vec<Value> = place
        .objects("zones")
        .into_iter()
        .filter(|o| o["ttl"].is_null() && o.get("default_pools").is_some())
        .collect();
    assert_eq!(balancers[0]["default_pools"], json!([id("web"), id("api")]));
    assert_eq!(balancers[0]["fallback_pool"], id("api"));
    let weights = &balancers[0]["random_steering"]["pool_weights"];
    assert_eq!(weights[id("api").as_str().expect("an id")], 0.7);

    let mut next = file();
    next["pool"][1]["origins"][0]["port"] = json!(9090);
    next["monitor"][0]["path"] = json!("/ready");
    assert_eq!(place.apply(&next, false).await, ["~ monitor up path", "~ pool api origins"]);
    let after = place.objects(&format!("accounts/{account}/pools"));
    assert_eq!(
        after.iter().map(|p| &p["id"]).collect::<Vec<_>>(),
        pools.iter().map(|p| &p["id"]).collect::<Vec<_>>(),
        "ids are kept"
    );
    assert_eq!(after[1]["created_on"], pools[1]["created_on"]);

    next["load_balancer"][0]["default_pools"] = json!(["web"]);
    next["load_balancer"][0].as_object_mut().expect("it").remove("random_steering");
    next["pool"].as_array_mut().expect("it").remove(1);
    let gone = ["~ load_balancer www.example.com default_pools,fallback_pool,random_steering"];
    assert_eq!(place.apply(&next, false).await, [&gone[..], &["- pool api"]].concat());
    let gone = ["- load_balancer www.example.com", "- pool web", "- monitor up"];
    let none = [&gone[..], &["- zone example.com"]].concat();
    assert_eq!(place.apply(&json!({}), false).await, none);
    assert_eq!(place.objects("declared"), [] as [Value; 0]);
}

#[tokio::test]
async fn objects_made_elsewhere_are_left_alone_until_they_are_named_or_pruned() {
    let place = Place::new().await;
    let account = place.account();
    let id = |n: u8| format!("{n:032x}");
    let origins = json!([{ "name": "o", "address": "192.0.2.9" }]);
    for (n, name) in [(1, "WEB"), (2, "other")] {
        let pool = json!({ "id": id(n), "name": name, "origins": origins,
            "notification_email": "a@b.test", "created_on": "then" });
        place.put(&format!("accounts/{account}/pools/{}", id(n)), pool).await;
    }
    let pool = json!({ "pool": [{ "name": "web", "origins": origins }] });
    assert_eq!(place.apply(&pool, false).await, ["= pool web name"]);
    let pools = place.objects(&format!("accounts/{account}/pools"));
    assert_eq!(pools.len(), 2);
    // What no file can say stays.
    let adopted = pools.iter().find(|pool| pool["name"] == "web").expect("it");
    let kept = (&adopted["id"], &adopted["notification_email"], &adopted["created_on"]);
    assert_eq!(kept, (&json!(id(1)), &json!("a@b.test"), &json!("then")));
    // Somebody changes it elsewhere: the file says what holds.
    let mut changed = adopted.clone();
    changed["enabled"] = json!(false);
    place.put(&format!("accounts/{account}/pools/{}", id(1)), changed).await;
    assert_eq!(place.apply(&pool, false).await, ["~ pool web enabled"]);
    assert_eq!(place.apply(&pool, true).await, ["- pool other"]);
}

#[tokio::test]
async fn what_the_api_cannot_hold_stays_and_takes_along_what_refers_to_it() {
    let place = Place::new().await;
    let origins = json!([{ "name": "o", "address": "192.0.2.9" }]);
    let tables = json!({
        "monitor": [{ "name": "fast", "interval": 3, "timeout": 1, "retries": 1 }],
        "pool": [
            { "name": "a", "monitor": "fast", "origins": origins },
            { "name": "b", "tls": {}, "origins": origins },
        ],
        "zone": [{ "name": "example.com", "redirect_https": true }],
        "load_balancer": [
            { "name": "a.example.com", "default_pools": ["a"] },
            { "name": "b.example.com", "default_pools": ["b"] },
            { "name": "r.example.com", "default_pools": ["b"], "routes": [] },
            { "name": "*", "default_pools": ["b"] },
        ],
    });
    let made = ["+ pool b", "+ zone example.com", "+ load_balancer b.example.com"];
    assert_eq!(place.apply(&tables, false).await, made);
    let tables = tables.as_object().expect("tables").clone();
    let wanted =
        Declaration { account: None, tables, prune: false, dry_run: true, fingerprint: None };
    let plan = place.declare(&wanted).await.expect("a plan");
    let mut staying: Vec<String> = plan
        .staying
        .iter()
        .map(|stays| format!("{} {} {}", stays.kind, stays.name, stays.keys.join(",")))
        .collect();
    staying.sort();
    assert_eq!(
        staying,
        [
            "load_balancer * ",
            "load_balancer a.example.com ",
            "load_balancer r.example.com ",
            "monitor fast ",
            "pool a ",
            "pool b tls",
            "zone example.com redirect_https",
        ]
    );
    // What the API holds is not taken away because a key is added that it does not have.
    let told = place
        .faults(json!({
            "pool": [{ "name": "b", "origins": origins }],
            "zone": [{ "name": "example.com" }],
            "load_balancer": [{ "name": "b.example.com", "default_pools": ["b"], "routes": [] }],
        }))
        .await;
    assert!(told.contains("load_balancer b.example.com: is in the API and cannot stay"), "{told}");
}

#[tokio::test]
async fn the_packet_path_is_applied_with_its_key_sealed() {
    let place = Place::new().await;
    let key = "00112233445566778899aabbccddeeff";
    let mut tables = json!({
        "packet": { "hash_key": key, "port": 6000 },
        "server": [{ "id": 1, "address": "192.0.2.1" }, { "id": 2, "address": "192.0.2.2" }],
        "trafficset": [{ "name": "web", "prefixes": ["203.0.113.0/24"], "servers": [1, 2] }],
        "shield_rule": [{ "name": "a", "action": "drop" }, { "name": "b", "action": "pass" }],
    });
    let made = ["+ server 1", "+ server 2", "+ shield_rule a", "+ shield_rule b"];
    assert_eq!(
        place.apply(&tables, false).await,
        [&made[..], &["+ trafficset web", "+ packet packet"]].concat()
    );
    let disk = std::fs::read(place.folder.join("store")).expect("the store");
    assert!(!String::from_utf8_lossy(&disk).contains(key), "the key lies on the disk");
    tables["packet"]["hash_key"] = json!("ffeeddccbbaa99887766554433221100");
    tables["trafficset"][0]["servers"] = json!([1]);
    tables["server"].as_array_mut().expect("it").remove(1);
    assert_eq!(
        place.apply(&tables, false).await,
        ["~ trafficset web servers", "- server 2", "~ packet packet hash_key"]
    );
    for (change, told) in [
        (
            json!({ "trafficset": [{ "name": "web", "prefixes": ["203.0.113.0/24"],
            "servers": [9] }] }),
            "packet/trafficsets/web/servers",
        ),
        (
            json!({ "shield_rule": [{ "name": "b", "action": "drop" },
            { "name": "a", "action": "drop" }] }),
            "in the order of their names",
        ),
        (json!({ "shield_rule": [{ "name": "A.b", "action": "drop" }] }), "a-z, 0-9"),
        (json!({ "packet": { "interfaces": ["eth0"] } }), "no key of the whole fleet"),
        (json!({ "packet": { "hash_key": "00" } }), "packet/settings/hash_key"),
    ] {
        let mut wrong = tables.clone();
        for (section, table) in change.as_object().expect("tables") {
            wrong[section] = table.clone();
        }
        let faults = place.faults(wrong).await;
        assert!(faults.contains(told) && !faults.contains("\"00\""), "{change}: {faults}");
    }
}

#[tokio::test]
async fn a_plan_that_others_overtook_is_not_applied() {
    let place = Place::new().await;
    place.apply(&file(), false).await;
    let mut tables = file();
    tables["pool"][0]["enabled"] = json!(false);
    let tables = tables.as_object().expect("tables").clone();
    let mut wanted =
        Declaration { account: None, tables, prune: false, dry_run: true, fingerprint: None };
    let plan = place.declare(&wanted).await.expect("a plan");
    (wanted.dry_run, wanted.fingerprint) = (false, Some(plan.fingerprint));
    let account = place.account();
    // Another object: none of its business.
    let other = json!({ "id": "b", "description": "m" });
    place.put(&format!("accounts/{account}/monitors/b"), other).await;
    let pools = place.objects(&format!("accounts/{account}/pools"));
    let mut pool = pools.into_iter().find(|pool| pool["name"] == "web").expect("it");
    pool["description"] = json!("meanwhile");
    place
        .put(&format!("accounts/{account}/pools/{}", pool["id"].as_str().expect("an id")), pool)
        .await;
    let told = place.declare(&wanted).await;
    assert!(matches!(told, Err(DeclareError::Moved)), "{told:?}");
}

#[tokio::test]
async fn what_is_wrong_is_told_and_nothing_is_changed() {
    let place = Place::new().await;
    let origins = json!([{ "name": "o", "address": "192.0.2.9" }]);
    for (tables, told) in [
        (json!({ "listener": [{ "name": "x" }] }), "listener: is no section that can be declared"),
        (json!({ "pool": {} }), "pool: must be a list of tables"),
        (json!({ "pool": [{ "origins": origins }] }), "pool: has no name"),
        (
            json!({ "pool": [{ "name": "a", "monitor": "m", "origins": origins }] }),
            "pool a: there is no monitor m",
        ),
        (
            json!({ "pool": [
                { "name": "a", "origins": origins }, { "name": "A", "origins": origins },
            ] }),
            "stands there twice",
        ),
    ] {
        let found = place.faults(tables.clone()).await;
        assert!(found.contains(told), "{tables}: {found}");
    }
}
