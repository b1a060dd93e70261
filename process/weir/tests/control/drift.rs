//! Plan, apply, plan, as Terraform and octoDNS do it: what was applied is what is read, so that the
//! second plan is empty, and what was read can be sent back without changing anything.

use super::rig::Plane;
use serde_json::{Value, json};

/// What only the server sets, by any of its names.
const SERVERS: [&str; 10] = [
    "id",
    "created_on",
    "modified_on",
    "created_at",
    "created",
    "modified",
    "zone_name",
    "status",
    "failure_reason",
    "type",
];

/// A declared object and where it is kept.
struct Declared {
    folder: String,
    /// What `POST` takes.
    first: Value,
    /// What the declaration becomes later.
    then: Value,
}

/// What differs between a declaration and an object that was read: the plan.
fn plan(declared: &Value, read: &Value) -> Vec<String> {
    match (declared, read) {
        // What was not declared is the server's to say, as the provider's computed properties.
        (Value::Object(declared), Value::Object(read)) => declared
            .iter()
            .flat_map(|(name, value)| plan(value, read.get(name).unwrap_or(&Value::Null)))
            .collect(),
        (Value::Array(declared), Value::Array(read)) if declared.len() == read.len() => {
            declared.iter().zip(read).flat_map(|(one, other)| plan(one, other)).collect()
        }
        _ if declared == read => Vec::new(),
        _ => vec![format!("{declared} is {read}")],
    }
}

#[track_caller]
fn good((status, body): (u16, Value)) -> Value {
    assert!(status < 300, "{status} {body}");
    body["result"].clone()
}

fn declarations(plane: &Plane) -> Vec<Declared> {
    let account = format!("/accounts/{}", plane.account);
    let zone = json!({ "name": "drift.example", "account": { "id": plane.account } });
    let zone = good(plane.ask("POST", "/zones", &zone.to_string()));
    let zone = format!("/zones/{}", zone["id"].as_str().expect("an id"));
    let origins = json!([{ "name": "o", "address": "192.0.2.1" }]);
    let pools = format!("{account}/load_balancers/pools");
    let pool = json!({ "name": "base", "origins": origins });
    let pool = good(plane.ask("POST", &pools, &pool.to_string()))["id"].clone();
    let declared = |folder: String, first: Value, then: Value| Declared { folder, first, then };
    vec![
        declared(
            format!("{account}/load_balancers/monitors"),
            json!({ "type": "https", "path": "/", "interval": 60, "header": { "Host": ["a"] } }),
            json!({ "type": "tcp", "port": 443, "interval": 90 }),
        ),
        declared(
            pools,
            json!({
                "name": "drift", "origins": origins, "latitude": 1.5, "longitude": -1.25,
                "notification_filter": { "pool": { "disable": false, "healthy": null } },
            }),
            json!({
                "name": "drift", "enabled": false, "load_shedding": null,
                "origins": [{
                    "name": "p", "address": "192.0.2.2", "weight": 0.07, "enabled": false,
                }],
            }),
        ),
        declared(
            format!("{zone}/load_balancers"),
            json!({
                "name": "drift.example", "default_pools": [pool], "fallback_pool": pool,
                "proxied": true, "ttl": 120, "pop_pools": { "LAX": [pool] },
                "rules": [{ "name": "r", "condition": "true", "overrides": { "ttl": 30 } }],
            }),
            json!({
                "name": "*.drift.example", "default_pools": [pool], "fallback_pool": pool,
                "session_affinity": "header", "session_affinity_ttl": 100,
                "session_affinity_attributes": { "headers": ["x-a"] },
            }),
        ),
        declared(
            format!("{zone}/healthchecks"),
            json!({ "name": "h", "address": "drift.example", "http_config": { "port": 8080 } }),
            json!({ "name": "h", "address": "drift.example", "check_regions": ["WEU"] }),
        ),
    ]
}

#[test]
fn what_is_applied_is_what_is_read() {
    let plane = Plane::start();
    for Declared { folder, first, then } in declarations(&plane) {
        let made = good(plane.ask("POST", &folder, &first.to_string()));
        let path = format!("{folder}/{}", made["id"].as_str().expect("an id"));
        let read = || good(plane.ask("GET", &path, ""));
        assert_eq!(plan(&first, &read()), Vec::<String>::new(), "{path}");
        assert_eq!(read(), made, "{path}: a read differs from what the making told");
        let changed = good(plane.ask("PUT", &path, &then.to_string()));
        assert_eq!(plan(&then, &read()), Vec::<String>::new(), "{path}");
        assert_eq!(read(), changed);
        for name in first.as_object().into_iter().flatten().map(|(name, _)| name) {
            let kept = then.get(name).is_some() || SERVERS.contains(&name.as_str());
            let value = read().get(name).cloned().unwrap_or_default();
            assert!(kept || first[name] != value, "{path}: {name} outlived a PUT without it");
        }
        let listed = good(plane.ask("GET", &folder, ""));
        assert!(listed.as_array().is_some_and(|rows| rows.contains(&read())), "{path}");
        // Terraform sends back all that it read.
        let before = read();
        let again = good(plane.ask("PUT", &path, &before.to_string()));
        assert_eq!(plan(&then, &again), Vec::<String>::new(), "{path}");
        assert_eq!(good(plane.ask("PATCH", &path, "{}")), read(), "{path}");
    }
}
