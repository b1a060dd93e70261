//! Every range from both sides: the last value that is accepted and the first that is not.

use control_api::{SHAPES, Shape, code};
use serde_json::{Value, json};

const ID: &str = "0123456789abcdef0123456789abcdef";
const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn shape(name: &str) -> &'static Shape {
    SHAPES.iter().find(|shape| shape.name == name).expect("a shape of this name")
}

/// The smallest body of an object in which the values of the rows stand.
fn body(name: &str) -> Value {
    match name {
        // Short, so that no interval is too short for them.
        "monitor" => json!({"timeout": 1, "retries": 1}),
        "monitor group" => json!({"description": "", "members": [{
            "monitor_id": ID, "enabled": true, "monitoring_only": false, "must_be_healthy": true,
        }]}),
        "pool" => json!({
            "name": "p", "origins": [{"address": "192.0.2.1", "header": {}}],
            "load_shedding": {}, "origin_steering": {}, "latitude": 0, "longitude": 0,
        }),
        "load balancer" => json!({
            "name": "a.example.com", "default_pools": [ID], "fallback_pool": ID,
            "random_steering": {"pool_weights": {}}, "session_affinity_attributes": {},
            "rules": [{"fixed_response": {}}], "pool_sets": [{
                "overrides": {}, "match": {"topology": {"regions": ["WEU"]}},
            }],
        }),
        "health check" => json!({
            "name": "h", "address": "192.0.2.1", "timeout": 1, "retries": 1,
            "http_config": {}, "tcp_config": {},
        }),
        "webhook" => json!({"name": "w", "url": "https://a.example.com"}),
        "notification policy" => json!({
            "name": "n", "enabled": true, "alert_type": "load_balancing_health_alert",
            "mechanisms": {}, "filters": {},
        }),
        "account" => json!({"name": "a", "settings": {}}),
        "zone" => json!({"name": "example.com", "account": {"id": ID}}),
        "user" => json!({}),
        _ => panic!("no body of a {name}"),
    }
}

fn with(name: &str, pointer: &str, value: &Value) -> Value {
    let mut body = body(name);
    let (above, property) = pointer.rsplit_once('/').expect("a pointer");
    let place = body.pointer_mut(above).unwrap_or_else(|| panic!("{name} has no {above}"));
    match place {
        Value::Array(list) => {
            let index: usize = property.parse().expect("an index");
            list[index] = value.clone();
        }
        place => place[property] = value.clone(),
    }
    body
}

#[track_caller]
fn check(name: &str, pointer: &str, accepted: &[Value], refused: &[Value]) {
    for value in accepted {
        let outcome = shape(name).check(&with(name, pointer, value));
        assert!(outcome.is_ok(), "{name} {pointer} {}: {outcome:?}", short(value));
    }
    for value in refused {
        let outcome = shape(name).check(&with(name, pointer, value));
        let faults = outcome.err().unwrap_or_else(|| panic!("{name} {pointer} {}", short(value)));
        let at = faults[0].pointer.clone().unwrap_or_default();
        assert!(at.starts_with(pointer), "{name} {pointer} {}: {faults:?}", short(value));
        assert_eq!((faults.len(), faults[0].code), (1, code::VALIDATION), "{faults:?}");
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

/// Texts of the two lengths.
fn lengths(accepted: usize, refused: usize) -> ([Value; 1], [Value; 1]) {
    ([json!("a".repeat(accepted))], [json!("a".repeat(refused))])
}

#[track_caller]
fn check_longest(name: &str, pointer: &str, longest: usize) {
    let (accepted, refused) = lengths(longest, longest + 1);
    check(name, pointer, &accepted, &refused);
}

#[track_caller]
fn check_whole(name: &str, pointer: &str, min: i64, max: i64) {
    let refused = [json!(min - 1), json!(max + 1), json!(min as f64 + 0.5), json!(min.to_string())];
    check(name, pointer, &[json!(min), json!(max)], &refused);
}

#[test]
fn whole_numbers_of_monitors_and_health_checks() {
    for name in ["monitor", "health check"] {
        check_whole(name, "/interval", 10, 3_600);
        check_whole(name, "/timeout", 1, 10);
        check_whole(name, "/retries", 1, 5);
    }
    check_whole("monitor", "/consecutive_up", 0, 100);
    check_whole("monitor", "/consecutive_down", 0, 100);
    check_whole("monitor", "/port", 0, 65_535);
    check_whole("health check", "/consecutive_fails", 0, 100);
    check_whole("health check", "/consecutive_successes", 0, 100);
    check_whole("health check", "/http_config/port", 0, 65_535);
    check_whole("health check", "/tcp_config/port", 0, 65_535);
}

#[test]
fn numbers_of_pools() {
    let at = "/origins/0/weight";
    let refused = [json!(-0.01), json!(1.01), json!(0.015), json!("1"), Value::Null];
    check("pool", at, &[json!(0), json!(1), json!(0.01), json!(0.29), json!(0.58)], &refused);
    check_whole("pool", "/origins/0/port", 0, 65_535);
    check_whole("pool", "/minimum_origins", 1, 1_000);
    check("pool", "/latitude", &[json!(-90), json!(90)], &[json!(-90.1), json!(90.1)]);
    check("pool", "/longitude", &[json!(-180), json!(180)], &[json!(-180.1), json!(180.1)]);
    for at in ["/load_shedding/default_percent", "/load_shedding/session_percent"] {
        check("pool", at, &[json!(0), json!(0.5), json!(100)], &[json!(-1), json!(100.1)]);
    }
}

#[test]
fn numbers_of_load_balancers() {
    let weights = [json!(0), json!(0.3), json!(0.7), json!(1)];
    let refused = [json!(-0.1), json!(1.1), json!(0.05)];
    for at in ["/random_steering/default_weight", "/pool_sets/0/overrides/pool_default_weight"] {
        check("load balancer", at, &weights, &refused);
    }
    let weigh = |weight: &Value| json!({ID: weight});
    let at = "/random_steering/pool_weights";
    check("load balancer", at, &weights.each_ref().map(weigh), &refused.each_ref().map(weigh));
    let at = "/session_affinity_attributes/drain_duration";
    check("load balancer", at, &[json!(0), json!(86_400)], &[json!(-1), json!(86_401), json!(0.5)]);
    check(
        "load balancer",
        "/ttl",
        &[json!(0), json!(2_147_483_647)],
        &[json!(-1), json!(1_u64 << 31)],
    );
    check_whole("load balancer", "/rules/0/priority", 0, i64::from(i32::MAX));
    check_whole("load balancer", "/rules/0/fixed_response/status_code", 200, 599);
}

/// A load balancer with this affinity lives this long: accepted or not.
#[track_caller]
fn check_ttl(affinity: &str, accepted: [u32; 2], refused: [u32; 2]) {
    let lives = |ttl: u32| {
        let mut body = body("load balancer");
        body["session_affinity"] = json!(affinity);
        body["session_affinity_attributes"] = json!({"headers": ["x-session"]});
        body["session_affinity_ttl"] = json!(ttl);
        shape("load balancer").check(&body)
    };
    for ttl in accepted {
        assert!(lives(ttl).is_ok(), "{affinity} {ttl}");
    }
    for ttl in refused {
        let faults = lives(ttl).expect_err("it is refused");
        assert_eq!(faults[0].pointer.as_deref(), Some("/session_affinity_ttl"), "{faults:?}");
    }
}

#[test]
fn lifetimes_depend_on_the_kind_of_affinity() {
    check_ttl("cookie", [1_800, 604_800], [1_799, 604_801]);
    check_ttl("ip_cookie", [1_800, 604_800], [1_799, 604_801]);
    check_ttl("header", [30, 3_600], [29, 3_601]);
    check_ttl("none", [30, 604_800], [29, 604_801]);
}

#[test]
fn lengths_of_texts() {
    for (name, pointer, longest) in [
        ("monitor", "/description", 1_024),
        ("monitor", "/expected_body", 10_240),
        ("monitor group", "/description", 1_024),
        ("pool", "/description", 1_024),
        ("pool", "/name", 64),
        ("pool", "/origins/0/name", 1_024),
        ("load balancer", "/description", 1_024),
        ("load balancer", "/rules/0/name", 200),
        ("load balancer", "/rules/0/condition", 4_096),
        ("load balancer", "/rules/0/fixed_response/content_type", 32),
        ("load balancer", "/rules/0/fixed_response/location", 2_048),
        ("load balancer", "/rules/0/fixed_response/message_body", 1_024),
        ("load balancer", "/pool_sets/0/name", 200),
        ("health check", "/name", 255),
        ("webhook", "/name", 255),
        ("webhook", "/secret", 1_024),
        ("notification policy", "/name", 255),
        ("account", "/name", 100),
        ("user", "/country", 30),
        ("user", "/first_name", 60),
        ("user", "/last_name", 60),
        ("user", "/telephone", 20),
        ("user", "/zipcode", 20),
    ] {
        check_longest(name, pointer, longest);
    }
    // Lengths are in characters: 1,024 of three octets each fit.
    check("pool", "/description", &[json!("é".repeat(1_024))], &[json!("é".repeat(1_025))]);
    check("pool", "/name", &[json!("a")], &[json!("")]);
    check("account", "/name", &[json!("a")], &[json!("")]);
}

#[test]
fn lengths_of_lists() {
    let pools = |count: usize| json!(vec![ID; count]);
    check("load balancer", "/default_pools", &[pools(1), pools(1_000)], &[pools(0), pools(1_001)]);
    let origins = |count: usize| {
        (0..count).map(|n| json!({"address": format!("o{n}.example.com")})).collect::<Value>()
    };
    check("pool", "/origins", &[origins(1), origins(1_000)], &[origins(0), origins(1_001)]);
    let names = |count: usize| (0..count).map(|n| json!(format!("x-{n}"))).collect::<Value>();
    let at = "/session_affinity_attributes/headers";
    check("load balancer", at, &[names(0), names(5)], &[names(6), json!(["x", "x"])]);
    let regions = |count: usize| (0..count).map(|n| json!(format!("R{n}"))).collect::<Value>();
    let at = "/pool_sets/0/match/topology/regions";
    check("load balancer", at, &[regions(1), regions(1_000)], &[regions(1_001), json!(["A", "A"])]);
    let set = json!({"overrides": {}});
    let sets = |count: usize| json!(vec![set.clone(); count]);
    check("load balancer", "/pool_sets", &[sets(0), sets(1_000)], &[sets(1_001)]);
    let hosts = |count: usize| json!({"Host": vec!["a.example.com"; count]});
    check("pool", "/origins/0/header", &[json!({}), hosts(1)], &[hosts(2), json!({"host": []})]);
    let regions = [json!([]), json!(["WEU"]), json!(["ALL_REGIONS"]), Value::Null];
    check("pool", "/check_regions", &regions, &[json!(["IN"]), json!(["WEU", "WEU"])]);
}

#[test]
fn forms_of_texts() {
    let host = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
    let label = format!("{}.example.com", "a".repeat(64));
    let texts = |list: &[&str]| list.iter().map(|text| json!(text)).collect::<Vec<_>>();
    let rows: &[(&str, &str, &[&str], &[&str])] = &[
        ("pool", "/name", &["a", "A-b_9"], &["a b", "a.b", "é"]),
        (
            "pool",
            "/monitor",
            &[ID, ""],
            &["0123", &ID.to_uppercase(), "0123456789abcdef0123456789abcdeg"],
        ),
        ("pool", "/origins/0/virtual_network_id", &[UUID], &[ID, ""]),
        (
            "pool",
            "/origins/0/address",
            &["192.0.2.1", "2001:db8::1", "a", "a.example.com", "10.0.0.1", &host],
            &["", "192.0.2", "192.0.2.256", "[::1]", "a..b", "-a.b", "a b", "a:80", &long, &label],
        ),
        (
            "load balancer",
            "/name",
            &["a.example.com", "*.example.com", "_x.example.com", &host],
            &["", "*", "a.*.com", "**.a", "a.example.com.", "a/b", "é.example.com", "192.0.2.1"],
        ),
        ("monitor", "/path", &["", "/", "/a?b=c"], &["a", "/a b", "/\r\n", "/é"]),
        (
            "monitor",
            "/expected_codes",
            &["", "200", "2xx", "200, 3XX,404"],
            &["2", "600", "0xx", "200,", "20x", "200-299"],
        ),
        ("monitor", "/method", &["GET", "HEAD", "OPTIONS"], &["", "get", "POST", "a b"]),
        ("monitor", "/probe_zone", &["", "example.com"], &["a b", "*.example.com"]),
        ("health check", "/address", &["192.0.2.1", "a.example.com"], &["", "http://a"]),
        (
            "webhook",
            "/url",
            &["http://a", "https://a.example.com:8443/x?y#z", "https://[::1]:1/"],
            &[
                "",
                "ftp://a",
                "https://",
                "https://u@a",
                "https://a b",
                "https://a:0",
                "https://a:99999",
            ],
        ),
        ("webhook", "/secret", &["", "geheim", "é"], &["a\r\nb: c", "\0"]),
        ("zone", "/name", &["example.com", "a"], &["", "*.example.com", "192.0.2.1", &long]),
        (
            "pool",
            "/notification_email",
            &["", "a@b.c", "a@b.c, d@e.f"],
            &["a", "@b.c", "a@", "a@b.c,"],
        ),
    ];
    for (name, pointer, accepted, refused) in rows {
        check(name, pointer, &texts(accepted), &texts(refused));
    }
    let headers = |name: &str| json!({name: ["a"]});
    check(
        "monitor",
        "/header",
        &[headers("Host"), headers("X-a")],
        &[
            headers("a b"),
            headers("User-Agent"),
            headers(""),
            json!({"Host": []}),
            json!({"Host": ["a\nb"]}),
            json!({"Host": "a"}),
        ],
    );
    let pools = |name: &str| json!({name: [ID]});
    check("load balancer", "/country_pools", &[pools("DE")], &[pools("de"), pools("DEU")]);
    check(
        "load balancer",
        "/region_pools",
        &[pools("WNAM"), pools("EEU")],
        &[pools("weu"), pools("")],
    );
    check("load balancer", "/pop_pools", &[pools("LAX")], &[pools("l x"), json!({"LAX": []})]);
}
