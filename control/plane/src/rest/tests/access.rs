//! Who may call: tokens, their bounds, back-off, and what is told to whom.

use super::support::{AMPLE, Api, wish};
use crate::rest::operator::{Wish, revoke_token};
use crate::rest::tests::support::who;
use process_runtime::config_file::ControlLimits;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_call_needs_a_token_that_is_right() {
    let api = Api::start(AMPLE).await;
    let fresh = api.token(&wish(&[])).await;
    let token = &fresh.text;
    let other = "x".repeat(40);
    let bearer = format!("Authorization: Bearer {token}");
    let key = format!("X-Auth-Key: {token}");
    for (fields, status, code) in [
        (vec![bearer.as_str()], 200, None),
        (vec![&format!("authorization: bearer {token}")], 200, None),
        (vec![&format!("Authorization: Bearer {other}")], 403, Some(10000)),
        (vec![&format!("Authorization: Bearer {token}x")], 403, Some(10000)),
        (vec!["Authorization: Bearer "], 400, Some(6003)),
        (vec!["Authorization: Basic eDp5"], 400, Some(6003)),
        (vec![], 400, Some(6003)),
        (vec!["X-Auth-Email: WHO@weir.invalid", &key], 200, None),
        (vec!["X-Auth-Email: other@weir.invalid", &key], 403, Some(10000)),
        (vec![&key], 400, Some(6003)),
        (vec!["X-Auth-Email: who@weir.invalid"], 400, Some(6003)),
    ] {
        let answer = api.with(&fields).get("/user/tokens/verify").await;
        assert_eq!((answer.status, answer.code()), (status, code), "{fields:?}: {}", answer.body);
    }
    assert_eq!(api.with(&[]).get("/ips").await.status, 200, "addresses are public");
    revoke_token(&api.keeper, &who(), &fresh.token.id).await.expect("revoked");
    assert_eq!(api.with(&[&bearer]).get("/user/tokens/verify").await.status, 403);
}

#[tokio::test]
async fn a_token_has_bounds() {
    let api = Api::start(AMPLE).await;
    let ended = Wish { lasts: Some(Duration::ZERO), ..wish(&[]) };
    let elsewhere = Wish { sources: vec!["192.0.2.0/24".parse().expect("a net")], ..wish(&[]) };
    let here = Wish { sources: vec!["127.0.0.0/8".parse().expect("a net")], ..wish(&[]) };
    let reads = Wish { read_only: true, ..wish(&[]) };
    for (wish, get, post) in
        [(ended, 403, 403), (elsewhere, 403, 403), (here, 200, 200), (reads, 200, 403)]
    {
        let fresh = api.token(&wish).await;
        let client = api.client(&fresh.text);
        assert_eq!(client.get("/accounts").await.status, get, "{wish:?}");
        let made = client.post("/accounts", &json!({ "name": "n" })).await;
        assert_eq!(made.status, post, "{wish:?}: {}", made.body);
    }
}

#[tokio::test]
async fn an_address_with_wrong_tokens_waits() {
    let api = Api::start(ControlLimits { denials_per_address: 3, ..AMPLE }).await;
    let admin = api.admin().await;
    let wrong = api.client(&"x".repeat(40));
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(wrong.get("/accounts").await.status);
    }
    assert_eq!(statuses, [403, 403, 403, 403, 429]);
    let answer = admin.get("/accounts").await;
    assert_eq!((answer.status, answer.code()), (429, Some(10429)), "{}", answer.body);
    assert_eq!(answer.field("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_token_has_so_many_calls_in_a_window() {
    let api = Api::start(ControlLimits { calls_per_token: 2, ..AMPLE }).await;
    let admin = api.admin().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let answer = admin.get("/accounts").await;
        let left = answer.field("x-ratelimit-remaining").map(str::to_owned);
        assert_eq!(answer.field("x-ratelimit-limit"), Some("2"));
        assert!(answer.field("x-ratelimit-reset").is_some_and(|date| date.ends_with(" GMT")));
        seen.push((answer.status, left.unwrap_or_default()));
    }
    let seen: Vec<_> = seen.iter().map(|(status, left)| (*status, left.as_str())).collect();
    assert_eq!(seen, [(200, "1"), (200, "0"), (429, "0")]);
    assert_eq!(api.admin().await.get("/accounts").await.status, 200, "another token has its own");
}

#[tokio::test]
async fn what_is_no_call_is_told_so() {
    let api = Api::start(AMPLE).await;
    let admin = api.admin().await;
    let large = format!("\"{}\"", "x".repeat(crate::rest::BODY_BYTES_MAX));
    for (method, path, body, status, code) in [
        ("GET", "/nothing", "", 404, 7003),
        ("GET", "/accounts/short", "", 404, 7003),
        ("GET", "/accounts/00000000000000000000000000000000", "", 404, 1001),
        ("GET", "/zones/00000000000000000000000000000000", "", 404, 1001),
        ("GET", "/zones/00000000000000000000000000000000/waiting_rooms", "", 405, 7001),
        ("GET", "/zones/00000000000000000000000000000000/dns_records", "", 404, 7003),
        ("PATCH", "/accounts", "", 405, 7001),
        ("TRACE", "/accounts", "", 405, 7001),
        ("POST", "/accounts", "{", 400, 6007),
        ("POST", "/accounts", "", 400, 1002),
        ("POST", "/accounts", "[]", 400, 1002),
        ("POST", "/accounts", "{\"name\":1}", 400, 1002),
        ("POST", "/accounts", &large, 413, 19002),
    ] {
        let answer = admin.call(method, path, body).await;
        let found = (answer.status, answer.code());
        assert_eq!(found, (status, Some(code)), "{method} {path}: {}", answer.body);
        assert_eq!(answer.body.get("success"), Some(&json!(false)));
    }
}

#[tokio::test]
async fn no_token_and_no_secret_lies_on_the_disk_or_is_told_again() {
    let api = Api::start(AMPLE).await;
    let fresh = api.token(&wish(&[])).await;
    let admin = api.client(&fresh.text);
    let account = admin.get("/accounts").await.body["result"][0]["id"].clone();
    let folder =
        format!("/accounts/{}/alerting/v3/destinations/webhooks", account.as_str().expect("an id"));
    let secret = "correct-horse-battery-staple";
    let hook = json!({ "name": "n", "url": "https://example.com/hook", "secret": secret });
    let made = admin.post(&folder, &hook).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let changed = json!({ "name": "m", "url": "https://example.com/hook" });
    let path = format!("{folder}/{}", made.id());
    let replaced = admin.call("PUT", &path, &changed.to_string()).await;
    assert_eq!(replaced.status, 200, "{}", replaced.body);
    for answer in [made, replaced, admin.get(&path).await, admin.get(&folder).await] {
        assert!(!answer.body.to_string().contains("secret"), "{}", answer.body);
    }
    let key = crate::store::Key::new(path.trim_start_matches('/')).ok();
    assert!(key.is_some());
    let disk = api.disk();
    assert!(disk.contains("https://example.com/hook"), "the store is not what is looked at");
    assert!(disk.contains("$secret"), "the secret of a webhook went away by a change of its name");
    assert!(!disk.contains(secret), "the secret of a webhook lies on the disk");
    assert!(!disk.contains(&fresh.text), "a token lies on the disk");
}

#[tokio::test]
async fn this_machine_may_ask_what_was_counted() {
    let api = Api::start(ControlLimits { calls_per_token: 1, ..AMPLE }).await;
    let admin = api.admin().await;
    let statuses = [admin.get("/accounts").await.status, admin.get("/accounts").await.status];
    assert_eq!(statuses, [200, 429]);
    assert_eq!(api.with(&[]).get("/accounts").await.status, 400);
    let nobody = api.with(&[]);
    let text = nobody.raw("GET", "/metrics", "127.0.0.1:1", "").await;
    for line in [
        "weir_api_calls_total{status=\"2xx\"} 1",
        "weir_api_calls_total{status=\"4xx\"} 2",
        "weir_api_limit_hits_total{limit=\"token\"} 1",
        "weir_api_limit_hits_total{limit=\"address\"} 0",
        "weir_api_denied_total 1",
        "weir_store_commits_total 2",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
    // A page under a name of its own that resolves to this machine.
    let stranger = nobody.raw("GET", "/metrics", "attacker.example", "").await;
    assert!(stranger.starts_with("HTTP/1.1 404"), "{stranger}");
}
