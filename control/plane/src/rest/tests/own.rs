//! Weir's own operations: objects of the packet path, and configurations that are applied whole.

use super::support::{AMPLE, Api, wish};
use crate::rest::operator::Wish;
use serde_json::{Value, json};

const BASE: &str = "/weir/v1/packet";
const KEY: &str = "00112233445566778899aabbccddeeff";

#[tokio::test]
async fn objects_of_the_packet_path_are_tables_of_the_file() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let put = |path: &'static str, body: Value| {
        let admin = admin.clone();
        async move { admin.call("PUT", &format!("{BASE}{path}"), &body.to_string()).await }
    };
    let made = put("/servers/1", json!({ "address": "192.0.2.1" })).await;
    assert_eq!(made.result(), &json!({ "id": 1, "address": "192.0.2.1" }), "{}", made.body);
    let set = json!({ "name": "web", "prefixes": ["203.0.113.0/24"], "servers": [1] });
    assert_eq!(put("/trafficsets/web", set.clone()).await.result(), &set);
    let read = admin.get(&format!("{BASE}/trafficsets/web")).await;
    assert_eq!((read.result(), read.status), (&set, 200));
    assert_eq!(admin.get(&format!("{BASE}/trafficsets")).await.result(), &json!([set]));
    for (path, body, told) in [
        ("/servers/2", json!({ "id": 3, "address": "192.0.2.2" }), "/id"),
        ("/servers/x", json!({ "address": "192.0.2.2" }), "/id"),
        ("/servers/2", json!({ "address": "192.0.2.1" }), "/address"),
        ("/servers/2", json!({ "address": "192.0.2.2", "adress": 1 }), "/adress"),
        ("/trafficsets/b", json!({ "prefixes": ["203.0.113.0/24"] }), ""),
        (
            "/trafficsets/b",
            json!({ "prefixes": ["198.51.100.0/24"], "servers": [7] }),
            "/servers/0",
        ),
        ("/shield_rules/r", json!({ "action": null }), ""),
        ("/shield_rules/r", json!([]), ""),
        ("", json!({ "interfaces": ["eth0"] }), "/interfaces"),
        ("", json!({ "hash_key": "0011" }), "/hash_key"),
        ("", json!({ "port": 6635, "fou_port": 6635 }), "/fou_port"),
    ] {
        let answer = put(path, body.clone()).await;
        let pointers: Vec<&str> = answer.body["errors"]
            .as_array()
            .expect("errors")
            .iter()
            .filter_map(|error| error.pointer("/source/pointer")?.as_str())
            .collect();
        let right = told.is_empty() || pointers.contains(&told);
        assert!(answer.status == 400 && right, "{path} {body}: {}", answer.body);
        assert!(!answer.body.to_string().contains("0011\""), "{}", answer.body);
    }
    // What others need cannot be taken away.
    let answer = admin.call("DELETE", &format!("{BASE}/servers/1"), "").await;
    assert_eq!((answer.status, answer.code()), (412, Some(1005)), "{}", answer.body);
    assert!(answer.body.to_string().contains("packet/trafficsets/web"), "{}", answer.body);
    for path in ["/trafficsets/web", "/servers/1"] {
        assert_eq!(admin.call("DELETE", &format!("{BASE}{path}"), "").await.status, 200);
        assert_eq!(admin.get(&format!("{BASE}{path}")).await.status, 404);
    }
    for (method, path, status) in [
        ("PUT", "/servers/A", 400),
        ("GET", "/owls", 404),
        ("GET", "/servers/1/x", 404),
        ("POST", "/servers/1", 405),
        ("DELETE", "", 404),
    ] {
        let answer = admin.call(method, &format!("{BASE}{path}"), "{}").await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    }
}

#[tokio::test]
async fn the_hash_key_is_kept_and_never_told() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let put = |body: Value| {
        let admin = admin.clone();
        async move { admin.call("PUT", BASE, &body.to_string()).await }
    };
    let made = put(json!({ "hash_key": KEY, "port": 6000 })).await;
    assert_eq!(made.result(), &json!({ "port": 6000, "hash_key_is_set": true }), "{}", made.body);
    let tag = made.field("etag").expect("an etag").to_owned();
    // What was read can be sent back, and the key stays.
    let again = put(admin.get(BASE).await.result().clone()).await;
    assert_eq!(again.field("etag"), Some(tag.as_str()), "nothing changed: {}", again.body);
    let same = put(json!({ "hash_key": KEY, "port": 6000 })).await;
    assert_eq!(same.field("etag"), Some(tag.as_str()), "the same key is sealed anew");
    let late = admin.and("If-Match: \"1\"").call("PUT", BASE, "{}").await;
    assert_eq!((late.status, late.code()), (412, Some(19001)));
    assert!(!api.disk().contains(KEY), "the key lies on the disk");
    let history = api.keeper.history(0..=u64::MAX).await.expect("history");
    assert!(!format!("{history:?}").contains(KEY), "history has the key");
    assert_eq!(admin.call("DELETE", BASE, "").await.status, 200);
    assert_eq!(put(json!({})).await.result(), &json!({ "hash_key_is_set": false }));
}

#[tokio::test]
async fn who_does_not_reach_all_does_not_reach_the_fleet() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let list = admin.get("/accounts").await;
    let account = list.body["result"][0]["id"].as_str().expect("an account").to_owned();
    let one = api.token(&wish(&[&account])).await;
    let reader = api.token(&Wish { read_only: true, ..wish(&[]) }).await;
    let (one, reader) = (api.client(&one.text), api.client(&reader.text));
    let server = json!({ "address": "192.0.2.1" }).to_string();
    for (client, method, status) in
        [(&one, "GET", 403), (&one, "PUT", 403), (&reader, "PUT", 403), (&reader, "GET", 404)]
    {
        let answer = client.call(method, &format!("{BASE}/servers/1"), &server).await;
        assert_eq!(answer.status, status, "{method}: {}", answer.body);
    }
    // Nor by a configuration.
    let apply = |tables: Value| json!({ "account": account, "tables": tables });
    let pools = json!([{ "name": "a", "origins": [{ "name": "o", "address": "192.0.2.1" }] }]);
    let done = one.post("/weir/v1/apply", &apply(json!({ "pool": pools }))).await;
    assert_eq!((done.status, &done.result()["applied"]), (200, &json!(true)), "{}", done.body);
    let servers = json!({ "server": [{ "id": 1, "address": "192.0.2.1" }], "pool": pools });
    let denied = one.post("/weir/v1/apply", &apply(servers.clone())).await;
    assert_eq!((denied.status, denied.code()), (403, Some(10000)), "{}", denied.body);
    let done = admin.post("/weir/v1/apply", &apply(servers)).await;
    assert_eq!(done.status, 200, "{}", done.body);
    for (body, status) in [
        (json!({ "tables": {} }), 200),
        (json!({ "tables": {}, "account": "nobody" }), 400),
        (json!({ "tables": { "listener": [] } }), 200),
        (json!({ "tables": { "listener": [{ "name": "a" }] } }), 400),
        (json!({ "tabels": {} }), 400),
        (json!({ "tables": {}, "fingerprint": "0" }), 412),
    ] {
        let answer = admin.post("/weir/v1/apply", &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
    }
}
