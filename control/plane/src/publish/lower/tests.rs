//! Rows of what objects become, and the property that whatever the API takes an edge takes.

use super::*;
use crate::publish::compile::Compiler;
use crate::store::{Key, State, Stored};
use control_api::shape::{Form, Kind};
use control_api::{Shape, load_balancer::LOAD_BALANCER, monitor::MONITOR, pool::POOL};
use process_runtime::config_file::Assembly;
use std::path::PathBuf;

pub(crate) const ID: &str = "17b5962d775c646f3f9725cbc7a53df4";

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("no object: {other}"),
    }
}

/// What a place of a table holds.
fn at(table: Option<&Value>, pointer: &str) -> Value {
    table.and_then(|table| table.pointer(pointer)).cloned().unwrap_or(Value::Null)
}

#[test]
fn a_monitor_asks_what_it_asked_in_the_api() {
    let check = |sent: Value, pointer: &str, expect: Value| {
        let table = monitor(ID, &object(sent.clone()));
        assert_eq!(at(table.as_ref(), pointer), expect, "{pointer} of {sent}");
    };
    check(json!({}), "/name", json!(format!("monitor-{ID}")));
    check(json!({}), "/type", json!("http"));
    check(json!({}), "/interval", json!(60));
    check(json!({}), "/retries", json!(2));
    check(json!({}), "/path", json!("/"));
    check(json!({"path": "/a?b#c"}), "/path", json!("/a?b"));
    check(json!({"path": "/${HOME}"}), "/path", json!("/${HOME}"));
    check(json!({"method": "HEAD"}), "/method", json!("HEAD"));
    check(json!({"method": "HEAD", "expected_body": "x"}), "/method", json!("GET"));
    check(json!({"method": "connection_established"}), "/method", json!("GET"));
    check(json!({"expected_body": "a\r\nlonger\u{7}b"}), "/expected_body", json!("\nlonger"));
    check(json!({"expected_codes": "2xx, 304"}), "/expected_codes", json!("2xx, 304"));
    let header = json!({"header": {"Host": [" a.example "], "X-A": ["1 ", ""], "Upgrade": ["x"]}});
    check(header, "/header", json!({"Host": ["a.example"], "X-A": ["1", ""]}));
    let hosts = json!({"header": {"Host": ["a"], "host": ["b", "c"]}});
    check(hosts, "/header", json!({"Host": ["a"]}));
    check(json!({"type": "tcp", "path": "/x", "allow_insecure": true}), "/path", json!(null));
    check(json!({"type": "tcp", "method": "word"}), "/method", json!(null));
    check(json!({"type": "tcp", "port": 22}), "/port", json!(22));
    for kind in ["udp_icmp", "icmp_ping", "smtp"] {
        check(json!({"type": kind, "port": 1}), "", json!(null));
    }
}

#[test]
fn a_pool_has_the_origins_that_it_had_in_the_api() {
    let check = |what: &str, sent: Value, pointer: &str, expect: Value| {
        let table = pool(ID, &object(sent), None);
        assert_eq!(at(table.as_ref(), pointer), expect, "{what}");
    };
    let with = |origins: Value| json!({"name": "api", "origins": origins});
    let one = |origin: Value| json!({"name": "api", "origins": [origin]});
    let plain = || json!({"address": "192.0.2.1"});
    check("its name", one(plain()), "/name", json!("api.17b5962d775c"));
    let long = json!({"name": "n".repeat(64), "origins": [plain()]});
    check("a long name", long, "/name", json!(format!("{}.17b5962d775c", "n".repeat(50))));
    check("port 80", one(plain()), "/origins/0/port", json!(80));
    check("no TLS", one(plain()), "/tls", json!(null));
    let tls = || with(json!([plain(), {"address": "192.0.2.2", "port": 443}]));
    check("TLS at 443", tls(), "/tls", json!({"ports": [443]}));
    check("and 80 beside it", tls(), "/origins/0/port", json!(80));
    check("a name of its address", one(plain()), "/origins/0/name", json!("192.0.2.1"));
    let v6 = one(json!({"address": "2001:db8::1"}));
    check("also of IPv6", v6, "/origins/0/name", json!("2001-db8--1"));
    let named = one(json!({"address": "a.example", "name": "Ä b/c"}));
    check("a name of other characters", named, "/origins/0/name", json!("--b-c"));
    let same = with(json!([
        {"address": "192.0.2.1", "name": "web"},
        {"address": "192.0.2.2", "name": "web.2"},
        {"address": "192.0.2.3", "name": "web"},
    ]));
    check("names of their own", same, "/origins/2/name", json!("web.3"));
    let twice = || {
        with(json!([
            {"address": "2001:db8::1", "enabled": false, "name": "a"},
            {"address": "2001:db8:0::1", "name": "b"},
            {"address": "2001:DB8::0:1", "name": "c"},
        ]))
    };
    check("an address once", twice(), "/origins/1", json!(null));
    check("the enabled one", twice(), "/origins/0/name", json!("b"));
    let most = json!({"name": "api", "minimum_origins": 9, "origins": [plain()]});
    check("no more than there are", most, "/minimum_origins", json!(1));
    let weight = |weight: Value| one(json!({"address": "192.0.2.1", "weight": weight}));
    check("a weight", weight(json!(0.07)), "/origins/0/weight", json!(0.07));
    check("a whole weight", weight(json!(1.0)), "/origins/0/weight", json!(1));
    check("no weight", weight(json!(0)), "/origins/0/weight", json!(0));
    let host = |host: &str| one(json!({"address": "192.0.2.1", "header": {"Host": [host]}}));
    check("a host", host("a:8080"), "/origins/0/header/Host/0", json!("a:8080"));
    check(
        "a host of IPv6",
        host("2001:db8::1"),
        "/origins/0/header/Host/0",
        json!("[2001:db8::1]"),
    );
    let none = one(json!({"address": "192.0.2.1", "header": {"Host": []}}));
    check("no host", none, "/origins/0/header", json!(null));
    let networks = json!({"name": "api", "origins": [plain()], "networks": ["n"], "latitude": 1});
    check("what is not in effect", networks, "/networks", json!(null));
}

#[test]
fn a_load_balancer_sends_requests_where_the_api_says() {
    let check = |what: &str, sent: Value, pointer: &str, expect: Value| {
        let known = |id: &str| (id != "gone").then(|| format!("pool-{id}"));
        let table = load_balancer(&object(sent), known);
        assert_eq!(at(table.as_ref(), pointer), expect, "{what}");
    };
    let with = |more: Value| {
        let mut sent =
            json!({"name": "A.example", "default_pools": ["a", "b", "a"], "fallback_pool": "f"});
        object(more).into_iter().for_each(|(name, value)| sent[name] = value);
        sent
    };
    check("its host", with(json!({})), "/name", json!("a.example"));
    check("each pool once", with(json!({})), "/default_pools", json!(["pool-a", "pool-b"]));
    check("the fallback", with(json!({})), "/fallback_pool", json!("pool-f"));
    check("disabled", with(json!({"enabled": false})), "/enabled", json!(false));
    check("not proxied", with(json!({"proxied": false})), "/proxied", json!(null));
    for policy in ["off", "", "geo", "proximity", "dynamic_latency", "least_connections"] {
        check(policy, with(json!({"steering_policy": policy})), "/steering_policy", json!(null));
    }
    let random =
        |steering: Value| with(json!({"steering_policy": "random", "random_steering": steering}));
    check("random", random(json!({})), "/steering_policy", json!("random"));
    let weights = || random(json!({"default_weight": 0.3, "pool_weights": {"a": 0.5, "z": 1}}));
    check("a weight", weights(), "/random_steering/pool_weights", json!({"pool-a": 0.5}));
    check("the others'", weights(), "/random_steering/default_weight", json!(0.3));
    let nothing = || random(json!({"default_weight": 0}));
    check("without any weight", nothing(), "/default_pools", json!(["pool-f"]));
    check("in order then", nothing(), "/steering_policy", json!(null));
    let gone = || with(json!({"default_pools": ["gone"]}));
    check("a pool that is not published", gone(), "/default_pools", json!(["pool-f"]));
    let lost = with(json!({"default_pools": ["a", "b"], "fallback_pool": "gone"}));
    check("a fallback that is not", lost, "/fallback_pool", json!("pool-b"));
    let none = with(json!({"default_pools": ["gone"], "fallback_pool": "gone"}));
    check("no pool at all", none, "", json!(null));
}

/// A small generator, so that a seed gives the same bodies everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end.max(1)
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn object(&mut self, shape: &Shape) -> Value {
        let mut object = Object::new();
        for field in shape.fields.iter().filter(|field| !field.read_only) {
            if field.required || self.below(3) == 0 {
                object.insert(field.name.to_owned(), self.value(&field.kind));
            }
        }
        Value::Object(object)
    }

    fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => json!(self.below(2) == 0),
            Kind::Integer { min, max } => {
                let span = usize::try_from(max - min).unwrap() + 1;
                json!(match self.below(4) {
                    0 => *min,
                    1 => *max,
                    2 => min + self.below(span.min(5)) as i64,
                    _ => min + self.below(span) as i64,
                })
            }
            Kind::Number { min, max, step } => {
                let steps = if *step > 0.0 { ((max - min) / step).round() } else { 7.0 };
                let at = self.below(steps.min(1e6) as usize + 1) as f64;
                json!(if *step > 0.0 { min + at * step } else { min + (max - min) * at / steps })
            }
            Kind::Text { min, max, form } => json!(self.text(*min, *max, *form)),
            Kind::Choice(of) => json!(self.one(of)),
            Kind::Array { of, min, max, .. } => {
                let count = min + self.below(4.min(max - min + 1));
                (0..count).map(|_| self.value(of)).collect()
            }
            Kind::Object(shape) => self.object(shape),
            Kind::Map { key, of, max } => {
                let count = self.below(4.min(*max));
                let entries = (0..count).map(|_| (self.text(1, 64, *key), self.value(of)));
                Value::Object(entries.collect())
            }
            Kind::Either(one, other) => {
                let kind = if self.below(2) == 0 { one } else { other };
                self.value(kind)
            }
        }
    }

    fn text(&mut self, min: usize, max: usize, form: Form) -> String {
        let long = "x".repeat(max.min(70_000));
        let sixty = format!("{}.example", "y".repeat(60));
        let of: &[&str] = match form {
            Form::Any => &["", "a", "${HOME}", "$${", "a\r\nb\u{0}c\t", "ä ü/\\\"'#", &long],
            Form::Name => &["a", "A-b_9", &long],
            Form::Id => &[ID, IDS[0], IDS[1], IDS[2]],
            Form::Uuid => &["01234567-89ab-cdef-0123-456789abcdef"],
            Form::Host => &["a", "A_b.example", &sixty],
            Form::HostPattern => &["a", "*.a.example", "B.example", "_x.example", &sixty],
            Form::HostOrNone => &["", "a.example"],
            Form::Address => &[
                "192.0.2.1",
                "::1",
                "0:0::1",
                "A.example",
                "a.example",
                "x",
                "::ffff:192.0.2.1",
                "0.0.0.0",
                "ff02::1",
                &sixty,
            ],
            Form::Authority => &["a", "a.example:80", "::1", "[::1]", "[::1]:80", "192.0.2.1:1"],
            Form::Token => &["Host", "host", "X-A", "Connection", "TE", "a!#$%&'*+-.^_`|~9"],
            Form::FieldValue => &["", " a ", "\ta", "a b", "ä", "\u{a0}a", "${HOME}", &long],
            Form::Target => &["", "/", "/a?b=c", "/a#b", "/${X}", "/\"\\{}", "/../..//."],
            Form::Codes => &["", "200", "2xx, 304", "5XX,100"],
            Form::Code => &["200", "2xx"],
            Form::Url => &["https://a.example/x"],
            Form::Email | Form::Emails => &["a@b.example"],
            Form::Country => &["DE"],
            Form::Place => &["WEU", "X-1"],
            Form::AffinityHeader => &["x-a", "cookie:a, b"],
        };
        let fits = |text: &&&str| (min..=max).contains(&text.chars().count());
        let of: Vec<&str> = of.iter().filter(fits).copied().collect();
        self.one(&of).to_owned()
    }

    /// A body that the API takes.
    fn body(&mut self, shape: &'static Shape) -> Object {
        loop {
            let body = self.object(shape);
            if let Ok(object) = shape.check(&body) {
                return object;
            }
        }
    }
}

const IDS: [&str; 4] = [
    "00000000000000000000000000000001",
    "00000000000100000000000000000002",
    "0000000000020000000000000000abcd",
    "ffffffffffffffffffffffffffffffff",
];

/// An edge of a control plane whose own file has a listener alone.
pub(crate) struct Edge {
    folder: PathBuf,
    pub(crate) assembly: Assembly,
}

impl Edge {
    pub(crate) fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-lower-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("weir.toml");
        let text = "[[listener]]\nname = \"public\"\naddress = \"127.0.0.1:8080\"\n";
        std::fs::write(&file, text).unwrap();
        let (assembly, _) = Assembly::following(&file).unwrap();
        Self { folder, assembly }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) fn put(state: &mut State, key: &str, value: Value) {
    state.revision += 1;
    let created = state.revision;
    let stored = Stored { value: value.into(), created, modified: created };
    state.objects.insert(Key::new(key).unwrap(), stored);
}

/// A store of random objects, whose references lead somewhere.
fn random_state(random: &mut Random) -> State {
    let mut state = State::default();
    put(&mut state, "accounts/a", json!({"id": "a", "name": "a"}));
    put(&mut state, "accounts/b", json!({"id": "b", "name": "b"}));
    put(&mut state, "zones/z", json!({"id": "z", "name": "Example", "account": {"id": "a"}}));
    put(&mut state, "zones/y", json!({"id": "y", "name": "example", "account": {"id": "b"}}));
    for account in ["a", "b"] {
        for id in IDS {
            let monitor = Value::Object(random.body(&MONITOR));
            put(&mut state, &format!("accounts/{account}/monitors/{id}"), monitor);
            let mut pool = random.body(&POOL);
            if pool.get("monitor").is_some_and(|monitor| monitor == ID) {
                pool.insert("monitor".to_owned(), json!(random.one(&IDS)));
            }
            let key = format!("accounts/{account}/pools/{id}");
            put(&mut state, &key, Value::Object(pool));
        }
    }
    for folder in ["accounts/a", "accounts/b", "zones/z", "zones/y"] {
        for id in IDS {
            let load_balancer = Value::Object(random.body(&LOAD_BALANCER));
            put(&mut state, &format!("{folder}/load_balancers/{id}"), load_balancer);
        }
    }
    state
}

#[test]
fn whatever_the_api_takes_an_edge_takes() {
    let soak = std::env::var_os("WEIR_SOAK").is_some();
    let first = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rounds = if soak { 20_000 } else { 300 };
    let mut edge = Edge::new();
    let mut seen = 0;
    for seed in first..first + rounds {
        let state = random_state(&mut Random(seed));
        let compiler = Compiler::whole(&state, &|_, _| None);
        seen += compiler.items().len();
        let changes = compiler.items().since(edge.assembly.items());
        if let Err(faults) = edge.assembly.change(changes) {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            panic!(
                "{}\nWEIR_SEED={seed} cargo test -p control-plane --lib whatever_the_api",
                faults.join("\n")
            );
        }
    }
    assert!(seen > rounds as usize * 8, "{seen} items in {rounds} stores");
}
