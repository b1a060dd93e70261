//! What `diff` tells.

use super::super::{changes_json, diff};
use super::{BASE, right};

fn check(old: &str, new: &str, expect: &[&str]) {
    let (old, new) = (format!("{old}\n{BASE}"), format!("{new}\n{BASE}"));
    let changes = diff(&right(&old).config, &right(&new).config);
    let told: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(told, expect, "\n{old}\n{new}");
}

const POOL: &str = "[[pool]]\nname = \"api\"\n";
const ORIGIN: &str = "[[pool.origins]]\nname = \"a\"\naddress = \"10.0.0.1\"\n";

#[test]
fn nothing_changes_nothing() {
    check("", "", &[]);
    let pool = format!("{POOL}{ORIGIN}");
    check(&pool, &format!("# comment\n{POOL}enabled = true\n{ORIGIN}port = 80"), &[]);
}

#[test]
fn objects_come_and_go() {
    let pool = format!("{POOL}{ORIGIN}");
    check("", &pool, &["+ pool api"]);
    check(&pool, "", &["- pool api"]);
    let listener = "[[listener]]\nname = \"l\"\naddress = \"127.0.0.1:2\"\n";
    check(&pool, listener, &["- pool api", "+ listener l"]);
}

#[test]
fn fields_change() {
    let old = format!("{POOL}{ORIGIN}");
    let new = format!("{POOL}slow_start = \"5m\"\n{ORIGIN}weight = 0.5\n");
    let expect = "~ pool api\n    slow_start: 0s -> 5m\n    origins.a.weight: 1 -> 0.5";
    check(&old, &new, &[expect]);
    let two = "[[pool.origins]]\nname = \"b\"\naddress = \"b.test\"\nport = 81\n";
    let expect = "~ pool api\n    origins.b.address: none -> b.test:81\n    \
                  origins.b.weight: none -> 1\n    origins.b.enabled: none -> true\n    \
                  origins.b.header.Host: none -> none";
    check(&old, &format!("{old}{two}"), &[expect]);
}

#[test]
fn a_restart_is_told() {
    let expect = "~ runtime (needs a restart)\n    workers: 1 -> 2";
    check("[runtime]\nworkers = 1", "[runtime]\nworkers = 2", &[expect]);
    let control = |at: &str| format!("[control]\nurls = [\"https://{at}\"]");
    check("", &control("a"), &["+ control (needs a restart)"]);
    let expect = "~ control (needs a restart)\n    urls: [https://a] -> [https://b]";
    check(&control("a"), &control("b"), &[expect]);
    let drain = |time: &str| format!("[runtime]\nworkers = 1\ndrain_timeout = \"{time}\"");
    check(&drain("1s"), &drain("2s"), &["~ runtime\n    drain_timeout: 1s -> 2s"]);
    let dns = "[runtime]\nworkers = 1\ndns_max_ttl = \"2m\"";
    check(dns, &dns.replace("2m", "3m"), &["~ runtime\n    dns_max_ttl: 2m -> 3m"]);
    let listener = |lines: &str| format!("[[listener]]\nname = \"l\"\n{lines}\n");
    let old = listener("address = \"127.0.0.1:2\"\nbacklog = 1");
    let expect = "~ listener l (needs a restart)\n    backlog: 1 -> 2";
    check(&old, &listener("address = \"127.0.0.1:2\"\nbacklog = 2"), &[expect]);
    let expect = "~ listener l\n    address: 127.0.0.1:2 -> 127.0.0.1:3\n    backlog: 1 -> 2";
    check(&old, &listener("address = \"127.0.0.1:3\"\nbacklog = 2"), &[expect]);
    let expect = "~ admin (needs a restart)\n    address: 127.0.0.1:9900 -> none";
    check("", "[admin]\naddress = \"none\"", &[expect]);
    check("", "[logging]\nlevel = \"debug\"", &["~ logging\n    level: Info -> Debug"]);
}

#[test]
fn secrets_are_not_shown() {
    let host = |value: &str| {
        format!(
            "[[load_balancer]]\nname = \"h\"\ndefault_pools = [\"base\"]\n\
             request_headers = {{ set = {{ Authorization = \"{value}\", X = \"{value}\" }} }}"
        )
    };
    let changes = diff(&right(&(host("one") + BASE)).config, &right(&(host("two") + BASE)).config);
    let told = changes[0].to_string();
    assert!(told.contains("X: \"one\" -> \"two\""), "{told}");
    assert!(told.contains("Authorization: (hidden, sha256 "), "{told}");
    assert!(!told.contains("Authorization: \"one\""), "{told}");
}

#[test]
fn changes_as_json() {
    let old = right(BASE).config;
    let new = right(&format!("{POOL}{ORIGIN}{BASE}")).config;
    let json = changes_json(&diff(&old, &new));
    assert_eq!(
        json,
        serde_json::json!([
            { "kind": "added", "object": "pool api", "details": [], "needs_restart": false }
        ])
    );
}
