//! What is done with objects: every fault at once, rules that span properties, changes, what is
//! returned, and what is told to be without effect.

use control_api::shape::FAULTS_MAX;
use control_api::{Envelope, Message, SHAPES, Shape};
use serde_json::{Map, Value, json};

const ID: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn shape(name: &str) -> &'static Shape {
    SHAPES.iter().find(|shape| shape.name == name).expect("a shape of this name")
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

fn pool(more: Value) -> Value {
    let mut body = object(json!({"name": "p", "origins": [{"address": "192.0.2.1"}]}));
    body.extend(object(more));
    Value::Object(body)
}

fn load_balancer(more: Value) -> Value {
    let mut body =
        object(json!({"name": "a.example.com", "default_pools": [ID], "fallback_pool": ID}));
    body.extend(object(more));
    Value::Object(body)
}

fn pointers(faults: &[Message]) -> Vec<&str> {
    faults.iter().map(|fault| fault.pointer.as_deref().unwrap_or("-")).collect()
}

/// A body is refused at these places.
#[track_caller]
fn refused(name: &str, body: &Value, expect: &[&str]) {
    let faults = shape(name).check(body).err().unwrap_or_default();
    assert_eq!(pointers(&faults), expect, "{faults:#?}");
}

#[test]
fn every_fault_is_told_at_once() {
    let body = json!({
        "nam": "p",
        "origins": [{"address": "192.0.2.1", "weight": 2}, {"address": 7}, {"adress": "a"}],
        "minimum_origins": "1",
        "latitude": 91,
        "load_shedding": {"default_policy": "all"},
    });
    refused(
        "pool",
        &body,
        &[
            "/nam",
            "/latitude",
            "/load_shedding/default_policy",
            "/minimum_origins",
            "/name",
            "/origins/0/weight",
            "/origins/1/address",
            "/origins/2/adress",
            "/origins/2/address",
            "/latitude",
        ],
    );
}

#[test]
fn a_fault_says_what_is_valid_and_never_repeats_a_text() {
    let faults = shape("monitor").check(&json!({"timeout": 11, "type": "htp"})).unwrap_err();
    let texts: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(
        texts,
        [
            "timeout must be a whole number in range [1, 10], not 11: validation failed",
            "type must be one of \"http\", \"https\", \"tcp\", \"udp_icmp\", \"icmp_ping\", \
             \"smtp\": validation failed",
        ]
    );
    let secret = json!({"name": "w", "url": "x", "secret": "geheim\n"});
    let faults = shape("webhook").check(&secret).unwrap_err();
    assert_eq!(pointers(&faults), ["/secret", "/url"]);
    assert!(!format!("{faults:?}").contains("geheim"), "{faults:?}");
}

#[test]
fn faults_beyond_the_limit_are_counted() {
    let names: Map<String, Value> = (0..300).map(|n| (format!("x{n}"), json!(0))).collect();
    let faults = shape("user").check(&Value::Object(names)).unwrap_err();
    assert_eq!(faults.len(), FAULTS_MAX + 1);
    assert_eq!(faults[FAULTS_MAX].message, "200 further faults are left out");
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    for body in [json!(null), json!([]), json!("a"), json!(1)] {
        refused("monitor", &body, &[""]);
        assert!(shape("monitor").merge(&Map::new(), &body).is_err());
    }
}

#[test]
fn probes_do_not_overlap() {
    let probe = |interval: u32, timeout: u32, retries: u32| {
        let mut body = json!({"interval": interval, "timeout": timeout});
        body["retries"] = json!(retries);
        body
    };
    for name in ["monitor", "health check"] {
        let mut body = probe(15, 5, 2);
        let mut fine = probe(16, 5, 2);
        for body in [&mut body, &mut fine].into_iter().filter(|_| name == "health check") {
            body["name"] = json!("h");
            body["address"] = json!("a");
        }
        refused(name, &body, &["/interval"]);
        refused(name, &fine, &[]);
    }
    refused("monitor", &json!({"interval": 15}), &["/interval"]);
    refused("monitor", &json!({"retries": 5, "timeout": 10}), &["/timeout"]);
}

#[test]
fn what_a_monitor_of_a_type_needs() {
    refused("monitor", &json!({"type": "udp_icmp"}), &["/port"]);
    refused("monitor", &json!({"type": "udp_icmp", "port": 0}), &["/port"]);
    refused("monitor", &json!({"type": "udp_icmp", "port": 53}), &[]);
    refused("monitor", &json!({"type": "https", "method": "connection_established"}), &["/method"]);
    // Terraform sends its defaults for any type.
    let terraform = json!({
        "type": "tcp", "method": "GET", "path": "/", "expected_codes": "200", "port": 0,
        "follow_redirects": false, "allow_insecure": false,
    });
    refused("monitor", &terraform, &[]);
}

#[test]
fn what_a_pool_cannot_have() {
    refused("pool", &pool(json!({"latitude": 1})), &["/latitude"]);
    refused("pool", &pool(json!({"longitude": 1})), &["/longitude"]);
    refused("pool", &pool(json!({"longitude": 1, "latitude": null})), &["/longitude"]);
    refused("pool", &pool(json!({"monitor": ID, "monitor_group": OTHER})), &["/monitor_group"]);
    refused("pool", &pool(json!({"monitor": ID, "monitor_group": ""})), &[]);
    let twice =
        json!([{"address": "a.example.com"}, {"address": "b"}, {"address": "A.example.com"}]);
    refused("pool", &pool(json!({"origins": twice})), &["/origins/2/address"]);
    let regional = json!(["regional", "global"]);
    refused("pool", &pool(json!({"health_sources": regional})), &["/health_sources"]);
    let regions = json!({"health_sources": regional, "check_regions": ["WEU"]});
    refused("pool", &pool(regions), &[]);
    refused("pool", &pool(json!({"health_sources": ["global"]})), &["/health_sources"]);
    refused("bulk change of pools", &json!({"notification_email": ""}), &[]);
    refused(
        "bulk change of pools",
        &json!({"notification_email": "a@b.c"}),
        &["/notification_email"],
    );
}

#[test]
fn what_a_group_cannot_have() {
    let member = |id: &str| {
        let mut member = json!({"enabled": true, "monitoring_only": false});
        member["monitor_id"] = json!(id);
        member["must_be_healthy"] = json!(true);
        member
    };
    let group = |members: Value| json!({"description": "g", "members": members});
    refused("monitor group", &group(json!([member(ID), member(OTHER)])), &[]);
    refused("monitor group", &group(json!([member(ID), member(ID)])), &["/members/1/monitor_id"]);
    refused("monitor group", &group(json!([])), &["/members"]);
}

#[test]
fn what_a_load_balancer_cannot_have() {
    let with =
        |more: Value, expect: &[&str]| refused("load balancer", &load_balancer(more), expect);
    with(json!({"session_affinity": "header"}), &["/session_affinity"]);
    with(
        json!({
            "session_affinity": "header",
            "session_affinity_attributes": {
                "headers": ["x", "cookie:a, b"], "zero_downtime_failover": "sticky",
            },
        }),
        &["/session_affinity_attributes/zero_downtime_failover"],
    );
    let never = json!({"samesite": "None", "secure": "Never"});
    let at = "/session_affinity_attributes/secure";
    with(json!({"session_affinity_attributes": never}), &[at]);
    let rules = json!([
        {"fixed_response": {"status_code": 200}, "overrides": {"ttl": 1}},
        {"overrides": {"random_steering": {}, "pool_weights": {}, "pool_default_weight": 1}},
        {"fixed_response": {"status_code": 200}, "overrides": {}},
        {"overrides": {"rules": []}},
    ]);
    with(
        json!({"rules": rules}),
        &[
            "/rules/0/overrides",
            "/rules/1/overrides/pool_weights",
            "/rules/1/overrides/pool_default_weight",
            "/rules/3/overrides/rules",
        ],
    );
}

#[test]
fn pool_sets_are_refused_with_cloudflares_words() {
    let sets = json!([
        {},
        {"overrides": {}, "fixed_response": {}},
        {"overrides": {}, "match": {}},
        {"overrides": {}, "match": {"default": true, "topology": {"pops": ["LAX"]}}},
        {"overrides": {}, "match": {"topology": {"pops": []}}},
        {"overrides": {"steering_policy": "geo"}},
        {"overrides": {"steering_policy": "random"}, "match": {"default": true}, "disabled": true},
    ]);
    let faults = shape("load balancer").check(&load_balancer(json!({"pool_sets": sets})));
    let faults = faults.unwrap_err();
    let expect = [
        ("/pool_sets/0", "POOL_SET_NO_INTENT"),
        ("/pool_sets/1/overrides", "fixed_response"),
        ("/pool_sets/2/match", "POOL_SET_EMPTY_MATCH"),
        ("/pool_sets/3/match/topology", "POOL_SET_DEFAULT_WITH_MATCH"),
        ("/pool_sets/4/match/topology", "POOL_SET_EMPTY_TOPOLOGY"),
        ("/pool_sets/5/overrides/steering_policy", "one of"),
    ];
    assert_eq!(pointers(&faults), expect.map(|(pointer, _)| pointer));
    for (fault, (_, word)) in faults.iter().zip(expect) {
        assert!(fault.message.contains(word), "{fault:?}");
    }
}

/// A change of an object makes this of it.
#[track_caller]
fn merged(name: &str, old: Value, patch: Value, expect: Value) {
    let outcome = shape(name).merge(&object(old), &patch);
    assert_eq!(outcome.map(Value::Object), Ok(expect));
}

#[test]
fn a_patch_replaces_lists_and_objects_whole() {
    let old = pool(json!({"id": ID, "load_shedding": {"default_percent": 5}, "enabled": false}));
    let patch = json!({"origins": [{"address": "b"}], "load_shedding": {"session_percent": 1}});
    let expect = json!({
        "id": ID, "name": "p", "enabled": false,
        "origins": [{"address": "b"}], "load_shedding": {"session_percent": 1},
    });
    merged("pool", old, patch, expect);
}

#[test]
fn null_resets_what_can_be_reset() {
    let old = || pool(json!({"monitor": ID, "load_shedding": {}, "check_regions": ["WEU"]}));
    let patch = json!({"monitor": null, "load_shedding": null, "check_regions": null});
    merged("pool", old(), patch, pool(json!({"load_shedding": null, "check_regions": null})));
    let outcome = shape("pool").merge(&object(old()), &json!({"name": null, "origins": null}));
    assert_eq!(pointers(&outcome.unwrap_err()), ["/name", "/origins"]);
    let coordinates = || pool(json!({"latitude": 1, "longitude": 2}));
    merged("pool", coordinates(), json!({"latitude": null, "longitude": null}), pool(json!({})));
    let outcome = shape("pool").merge(&object(coordinates()), &json!({"latitude": null}));
    // The fault is in what was not sent, where no pointer leads.
    assert_eq!(pointers(&outcome.unwrap_err()), ["-"]);
}

#[test]
fn null_leaves_pool_sets_and_an_empty_list_clears_them() {
    let sets = json!({"pool_sets": [{"overrides": {}}]});
    let old = || load_balancer(sets.clone());
    merged("load balancer", old(), json!({"pool_sets": null}), old());
    merged("load balancer", old(), json!({}), old());
    let cleared = load_balancer(json!({"pool_sets": []}));
    merged("load balancer", old(), json!({"pool_sets": []}), cleared);
}

#[test]
fn a_change_that_breaks_a_rule_with_what_was_there_is_refused() {
    let old = object(json!({"interval": 60, "retries": 5}));
    let faults = shape("monitor").merge(&old, &json!({"timeout": 10})).unwrap_err();
    assert_eq!(pointers(&faults), ["-"]);
    assert!(faults[0].message.contains("60 s"), "{faults:?}");
    let faults = shape("monitor").merge(&old, &json!({"timeout": 10, "interval": 59}));
    assert_eq!(pointers(&faults.unwrap_err()), ["/interval"]);
}

#[test]
fn what_the_server_sets_is_not_changed_by_a_client() {
    let disabled = json!({"address": "a", "enabled": false, "disabled_at": "then"});
    let old = pool(json!({"id": ID, "created_on": "then", "origins": [disabled]}));
    let patch = json!({"id": OTHER, "created_on": 7, "description": "d"});
    let mut expect = old.clone();
    expect["description"] = json!("d");
    merged("pool", old.clone(), patch, expect.clone());
    // A PUT sends back what was read.
    expect["origins"] = json!([{"address": "a", "enabled": false}]);
    let outcome = shape("pool").replace(&object(old.clone()), &{
        let mut body = old;
        body["description"] = json!("d");
        body
    });
    assert_eq!(outcome.map(Value::Object), Ok(expect));
}

#[test]
fn put_resets_what_is_not_sent_but_secrets() {
    let old = object(json!({"id": ID, "name": "w", "url": "https://a", "secret": "s"}));
    let outcome = shape("webhook").replace(&old, &json!({"name": "v", "url": "https://b"}));
    let expect = json!({"id": ID, "name": "v", "url": "https://b", "secret": "s"});
    assert_eq!(outcome.map(Value::Object), Ok(expect));
    let outcome = shape("webhook")
        .replace(&old, &json!({"name": "v", "url": "https://b", "secret": null}))
        .map(Value::Object);
    assert_eq!(outcome, Ok(json!({"id": ID, "name": "v", "url": "https://b"})));
    let old = object(pool(json!({"id": ID, "description": "d"})));
    let outcome = shape("pool").replace(&old, &pool(json!({})));
    assert_eq!(outcome.map(Value::Object), Ok(pool(json!({"id": ID}))));
}

#[test]
fn put_of_a_policy_leaves_what_is_not_sent() {
    let policy = json!({
        "name": "n", "enabled": true, "alert_type": "tunnel_health_event", "mechanisms": {},
    });
    let outcome =
        shape("notification policy").replace(&object(policy.clone()), &json!({"name": "m"}));
    let mut expect = policy;
    expect["name"] = json!("m");
    assert_eq!(outcome.map(Value::Object), Ok(expect));
}

#[test]
fn a_zone_keeps_its_name_and_account() {
    let zone = json!({"name": "example.com", "account": {"id": ID}});
    let change = |patch: Value| shape("zone").merge(&object(zone.clone()), &patch);
    assert_eq!(pointers(&change(json!({"name": "a.b"})).unwrap_err()), ["/name"]);
    assert_eq!(pointers(&change(json!({"account": {"id": OTHER}})).unwrap_err()), ["/account"]);
    assert!(change(json!({"name": "example.com", "account": {"id": ID, "name": "n"}})).is_ok());
    // Cloudflare's Rust client names the account by its id alone.
    let rust = json!({"name": "a.b", "account": ID, "jump_start": null, "type": null});
    let expect = json!({"name": "a.b", "account": ID});
    assert_eq!(shape("zone").check(&rust).map(Value::Object), Ok(expect));
}

#[test]
fn what_is_returned_has_the_defaults_that_clients_cannot_do_without() {
    let shown = shape("load balancer").shown(&object(load_balancer(json!({"id": ID}))));
    let expect = load_balancer(json!({
        "id": ID, "description": "", "enabled": true, "proxied": false, "steering_policy": "",
        "pop_pools": {}, "region_pools": {}, "session_affinity": "none",
        "session_affinity_attributes": {"samesite": "Auto", "secure": "Auto", "drain_duration": 0},
    }));
    assert_eq!(Value::Object(shown), expect);
    let shown = shape("pool").shown(&object(pool(json!({}))));
    let origin = json!({"address": "192.0.2.1", "enabled": true, "weight": 1});
    let expect = pool(json!({"enabled": true, "minimum_origins": 1, "origins": [origin]}));
    assert_eq!(Value::Object(shown), expect);
    assert_eq!(shape("monitor").shown(&Map::new()), Map::new());
    let webhook = object(json!({"name": "w", "url": "https://a", "secret": "s"}));
    assert_eq!(shape("webhook").shown(&webhook).get("secret"), None);
}

/// An object has these properties without effect.
#[track_caller]
fn told(name: &str, body: Value, expect: &[&str]) {
    let checked = shape(name).check(&body).expect("a body that is accepted");
    let remarks = shape(name).not_in_effect(&checked);
    assert_eq!(pointers(&remarks), expect, "{remarks:#?}");
    // With its defaults it is told the same.
    let shown = shape(name).not_in_effect(&shape(name).shown(&checked));
    assert_eq!(shown, remarks);
    let envelope = Envelope { messages: remarks, ..Envelope::success(Value::Null) };
    assert_eq!(envelope.status(), 200);
}

#[test]
fn what_is_not_in_effect_is_told_once() {
    told("load balancer", load_balancer(json!({})), &[]);
    for steering in ["off", "random", ""] {
        told("load balancer", load_balancer(json!({"steering_policy": steering})), &[]);
    }
    told("load balancer", load_balancer(json!({"steering_policy": "geo"})), &["/steering_policy"]);
    let empty = json!({"rules": [], "pool_sets": [], "pop_pools": {}, "session_affinity": "none"});
    told("load balancer", load_balancer(empty), &[]);
    let much = json!({
        "rules": [{}], "pool_sets": [{"overrides": {}}], "session_affinity": "cookie",
        "session_affinity_attributes": {"samesite": "Lax", "secure": "Auto", "drain_duration": 9},
        "adaptive_routing": {"failover_across_pools": true}, "proxied": true, "ttl": 30,
    });
    told(
        "load balancer",
        load_balancer(much),
        &[
            "/adaptive_routing/failover_across_pools",
            "/pool_sets",
            "/rules",
            "/session_affinity",
            "/session_affinity_attributes/samesite",
            "/session_affinity_attributes/drain_duration",
        ],
    );
    told("monitor", json!({"type": "tcp"}), &[]);
    told("monitor", json!({"type": "smtp"}), &["/type"]);
    let shedding = json!({"load_shedding": {"default_percent": 0.0, "default_policy": "random"}});
    told("pool", pool(shedding), &[]);
    told(
        "pool",
        pool(json!({"origin_steering": {"policy": "hash"}, "notification_email": ""})),
        &[],
    );
    let flat =
        json!([{"address": "a", "flatten_cname": false}, {"address": "b", "flatten_cname": false}]);
    told("pool", pool(json!({"origins": flat})), &["/origins/0/flatten_cname"]);
    told("webhook", json!({"name": "w", "url": "https://a"}), &["-"]);
}
