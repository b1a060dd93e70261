//! Following changes leads to the same items as compiling everything, and what wins over what.

use crate::publish::compile::{Compiler, LeftOut};
use crate::publish::lower::tests::{Random, put};
use crate::publish::ring::Hashes;
use crate::store::{Key, State};
use control_api::publish::{ItemKey, ItemKind, Items};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Instant;

const SEALED: &str = "opened";

fn open(_: &Key, _: &Value) -> Option<String> {
    Some(SEALED.to_owned())
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Something random becomes something else; the keys that were touched.
fn change(random: &mut Random, state: &mut State) -> BTreeSet<Key> {
    let mut touched = BTreeSet::new();
    for _ in 0..1 + random.below(3) {
        let account = ["a", "b"][random.below(2)];
        let zone = ["y", "z"][random.below(2)];
        let (id, other) = (random.below(5), random.below(5));
        let pick = |random: &mut Random| format!("{:032}", random.below(5));
        let (text, value) = match random.below(8) {
            0 => {
                let kind = ["http", "tcp", "smtp"][random.below(3)];
                let value = json!({"type": kind, "timeout": 1 + random.below(2)});
                (format!("accounts/{account}/monitors/{id:032}"), value)
            }
            1..=3 => {
                let value = json!({
                    "name": if random.below(2) == 0 { "web" } else { "api" },
                    "monitor": if random.below(2) == 0 { pick(random) } else { String::new() },
                    "origins": [{"address": format!("192.0.2.{}", 1 + other)}],
                });
                (format!("accounts/{account}/pools/{id:032}"), value)
            }
            4 => {
                let value = json!({"name": format!("{zone}.example"), "account": {"id": account}});
                (format!("zones/{zone}"), value)
            }
            5 => ("tokens/x".to_owned(), json!({"n": random.below(99)})),
            n => {
                let folder = match n {
                    6 => format!("zones/{zone}"),
                    _ => format!("accounts/{account}"),
                };
                let value = json!({
                    "name": format!("h{}.example", random.below(3)),
                    "enabled": random.below(4) > 0,
                    "default_pools": [pick(random), pick(random)],
                    "fallback_pool": pick(random),
                });
                (format!("{folder}/load_balancers/{id:032}"), value)
            }
        };
        match random.below(4) {
            0 => drop(state.objects.remove(&key(&text))),
            _ => put(state, &text, value),
        }
        touched.insert(key(&text));
    }
    state.revision += 1;
    touched
}

#[test]
fn following_changes_leads_where_compiling_everything_leads() {
    let first = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut left_out = 0;
    for seed in first..first + 20 {
        let mut random = Random(seed);
        let (mut state, mut compiler) = (State::default(), Compiler::default());
        for step in 0..200 {
            let before = compiler.items().clone();
            let touched = change(&mut random, &mut state);
            let changed = compiler.follow(&state, &touched, &open);
            let whole = Compiler::whole(&state, &open);
            let repeat = format!(
                "step {step}: WEIR_SEED={seed} cargo test -p control-plane --lib following_changes"
            );
            let differs = whole.items().since(compiler.items());
            assert!(differs.is_empty(), "{differs:?} {repeat}");
            assert_eq!(compiler.items().hash(), whole.items().hash(), "{repeat}");
            assert_eq!(compiler.left_out(), whole.left_out(), "{repeat}");
            let real = compiler.items().since(&before);
            let told = real.iter().all(|change| changed.items.contains(change.key()));
            assert!(told, "{:?} of {real:?} {repeat}", changed.items);
            left_out += whole.left_out().len();
        }
    }
    assert!(left_out > 100, "hosts were contested: {left_out}");
}

fn load_balancer(host: &str, enabled: bool) -> Value {
    json!({"name": host, "enabled": enabled, "default_pools": ["p"], "fallback_pool": "p"})
}

#[test]
fn of_several_load_balancers_of_a_host_the_oldest_enabled_one_counts() {
    let mut state = State::default();
    put(&mut state, "accounts/a/pools/p", json!({"name": "web", "origins": [{"address": "::1"}]}));
    put(&mut state, "accounts/a/load_balancers/1", load_balancer("A.example", false));
    put(&mut state, "accounts/a/load_balancers/2", load_balancer("a.example", true));
    put(&mut state, "accounts/a/load_balancers/3", load_balancer("a.EXAMPLE", true));
    let mut compiler = Compiler::whole(&state, &open);
    let published = |compiler: &Compiler| {
        let left: Vec<_> = compiler.left_out().keys().map(|key| key.id().to_owned()).collect();
        left.join(" ")
    };
    assert_eq!(published(&compiler), "1 3");
    let taken = LeftOut::Taken { by: key("accounts/a/load_balancers/2") };
    assert_eq!(compiler.left_out().get(&key("accounts/a/load_balancers/3")), Some(&taken));
    let two = key("accounts/a/load_balancers/2");
    state.objects.remove(&two);
    let changed = compiler.follow(&state, [&two], &open);
    assert_eq!(published(&compiler), "1");
    assert_eq!(changed.items.len(), 0, "the next one of them says the same");
    let host = ItemKey { kind: ItemKind::LoadBalancer, id: "a.example".into() };
    assert!(compiler.items().get(&host).is_some());
}

#[test]
fn packet_objects_are_tables_whose_secrets_are_opened() {
    let mut state = State::default();
    put(&mut state, "packet/settings", json!({"port": 6081, "hash_key": {"$secret": "AAAA"}}));
    put(&mut state, "packet/servers/1", json!({"id": 1, "address": "192.0.2.1"}));
    let compiler = Compiler::whole(&state, &open);
    let of = |kind, id: &str| {
        let item = compiler.items().get(&ItemKey { kind, id: id.into() });
        item.map(|item| item.body.get().to_owned()).unwrap_or_default()
    };
    let settings = of(ItemKind::Packet, "settings");
    assert_eq!(settings, format!(r#"{{"hash_key":"{SEALED}","port":6081}}"#));
    assert_eq!(of(ItemKind::Server, "1"), r#"{"address":"192.0.2.1","id":1}"#);
    let compiler = Compiler::whole(&state, &|_, _| None);
    assert_eq!(compiler.left_out().get(&key("packet/settings")), Some(&LeftOut::Sealed));
}

/// 10,000 load balancers of a pool each, with five origins and one monitor for all.
fn large(count: usize) -> State {
    let mut state = State::default();
    put(&mut state, "zones/z", json!({"name": "example", "account": {"id": "a"}}));
    put(&mut state, "accounts/a/monitors/m", json!({"type": "http"}));
    for n in 0..count {
        let id = format!("{n:032x}").chars().rev().collect::<String>();
        let origin = |at| json!({"address": format!("10.{}.{}.{at}", n / 250, n % 250)});
        let origins: Vec<Value> = (1..=5).map(origin).collect();
        let pool = json!({"name": format!("pool-{n}"), "monitor": "m", "origins": origins});
        put(&mut state, &format!("accounts/a/pools/{id}"), pool);
        let balancer = json!({
            "name": format!("h{n}.example"), "default_pools": [id], "fallback_pool": id,
        });
        put(&mut state, &format!("zones/z/load_balancers/{id}"), balancer);
    }
    state
}

#[test]
fn a_change_of_one_pool_looks_at_what_depends_on_it_alone() {
    let mut state = large(10_000);
    let begun = Instant::now();
    let mut compiler = Compiler::whole(&state, &open);
    let whole = begun.elapsed();
    assert_eq!((compiler.items().len(), compiler.left_out().len()), (20_002, 0));
    let pool = format!("accounts/a/pools/{:0<32}", "1");
    let mut value = state.get(&key(&pool)).unwrap().value.as_ref().clone();
    let mut steps = Vec::new();
    for n in 0..20 {
        value["origins"][0]["weight"] = json!(f64::from(n) / 100.0);
        let created = state.get(&key(&pool)).unwrap().created;
        put(&mut state, &pool, value.clone());
        state.objects.get_mut(&key(&pool)).unwrap().created = created;
        let begun = Instant::now();
        let changed = compiler.follow(&state, [&key(&pool)], &open);
        steps.push(begun.elapsed());
        assert_eq!(changed.items.len(), 1);
    }
    steps.sort();
    let begun = Instant::now();
    let hashes = Hashes::of(compiler.items());
    let hashed = begun.elapsed();
    assert_ne!(hashes.whole(), Hashes::of(&Items::default()).whole());
    println!("all: {whole:?}; one pool: {:?}; the hash of all: {hashed:?}", steps[10]);
    // Five hundred times less work, so that no load of the machine turns it round.
    assert!(steps[10] * 100 < whole, "{:?} of {whole:?}", steps[10]);
    // One monitor for all: its change is one item, unless edges cannot probe by it.
    put(&mut state, "accounts/a/monitors/m", json!({"type": "http", "path": "/x"}));
    let monitor = key("accounts/a/monitors/m");
    assert_eq!(compiler.follow(&state, [&monitor], &open).items.len(), 1);
    put(&mut state, "accounts/a/monitors/m", json!({"type": "smtp"}));
    assert_eq!(compiler.follow(&state, [&monitor], &open).items.len(), 10_001);
}
