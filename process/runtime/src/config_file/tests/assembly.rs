//! The local file and published items as one configuration: what comes out, what is refused.

use super::{BASE, Folder, shown};
use crate::config_file::{Assembly, Loaded, diff};
use control_api::publish::{Change, Item, ItemKey, ItemKind};
use core_balance::rng::SplitMix64;
use core_model::config::Action;
use serde_json::{Value, json};

/// The local file, and an assembly that follows a control plane.
struct Edge {
    folder: Folder,
    assembly: Assembly,
}

fn edge(text: &str) -> Edge {
    let folder = Folder::new();
    folder.write("weir.toml", text);
    let (assembly, _) = Assembly::following(&folder.0.join("weir.toml"))
        .unwrap_or_else(|faults| panic!("{}", shown(&faults)));
    Edge { folder, assembly }
}

fn put(kind: ItemKind, id: &str, table: &Value) -> Change {
    Change::Put(Item::new(ItemKey { kind, id: id.into() }, table).unwrap())
}

fn gone(kind: ItemKind, id: &str) -> Change {
    Change::Remove(ItemKey { kind, id: id.into() })
}

fn pool(name: &str, address: &str) -> Value {
    json!({ "name": name, "origins": [{ "name": "o", "address": address, "port": 80 }] })
}

fn balancer(host: &str, pools: &[&str]) -> Value {
    json!({ "name": host, "default_pools": pools })
}

/// What a configuration does with the requests of each host: names and addresses, as references
/// are positions.
fn hosts(loaded: &Loaded) -> Vec<String> {
    let config = &loaded.config;
    let mut all: Vec<String> = Vec::new();
    for balancer in config.load_balancers.iter() {
        let Action::Proxy { pools, fallback, .. } = &balancer.default else { continue };
        let pool = |at: usize| {
            let pool = &config.pools[at];
            let monitor = pool.monitor.map(|id| format!("?{}", config.monitors[id.0].name));
            let origins: Vec<_> = pool.origins.iter().map(|o| o.address.to_string()).collect();
            format!("{}={}{}", pool.name, origins.join("+"), monitor.unwrap_or_default())
        };
        let pools: Vec<_> = pools.iter().map(|id| pool(id.0)).collect();
        let fallback = &config.pools[fallback.0].name;
        all.push(format!("{}: {} | {fallback}", balancer.name, pools.join(" ")));
    }
    all.sort();
    all
}

/// Changes an edge that has two published hosts; gives what its hosts are after that.
#[track_caller]
fn check(changes: Vec<Change>, expect: &[&str]) {
    let mut edge = published();
    let loaded = edge.assembly.change(changes).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert_eq!(hosts(&loaded), expect);
    // An edge that starts with the same items has the same.
    let text = std::fs::read_to_string(edge.folder.0.join("weir.toml")).unwrap();
    let mut fresh = self::edge(&text);
    let all = edge.assembly.items().iter().map(Change::Put).collect();
    let loaded = fresh.assembly.change(all).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert_eq!(hosts(&loaded), expect, "from the start");
    assert_eq!(fresh.assembly.items().hash(), edge.assembly.items().hash());
}

/// Changes it in a way that is refused.
#[track_caller]
fn refused(changes: Vec<Change>, expect: &str) {
    let mut edge = published();
    let before = edge.assembly.items().hash();
    let faults = edge.assembly.change(changes).expect_err("it is refused");
    assert!(shown(&faults).starts_with(expect), "{}\nfound {}", expect, shown(&faults));
    assert_eq!(edge.assembly.items().hash(), before);
    let loaded = edge.assembly.change(Vec::new()).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert_eq!(hosts(&loaded), PUBLISHED, "after a refusal");
}

const LOCAL: &str = "base.test: base=127.0.0.1 | base";
const PUBLISHED: [&str; 3] =
    ["a.test: a=10.0.0.1 | a", LOCAL, "c.test: c=10.0.0.3?m a=10.0.0.1 | a"];

fn published() -> Edge {
    let mut edge = edge(BASE);
    let mut monitored = pool("c", "10.0.0.3");
    monitored["monitor"] = json!("m");
    let all = vec![
        put(ItemKind::LoadBalancer, "1", &balancer("a.test", &["a"])),
        put(ItemKind::LoadBalancer, "2", &balancer("c.test", &["c", "a"])),
        put(ItemKind::Pool, "p1", &pool("a", "10.0.0.1")),
        put(ItemKind::Pool, "p2", &pool("unused", "10.0.0.2")),
        put(ItemKind::Pool, "p3", &monitored),
        put(ItemKind::Monitor, "m1", &json!({ "name": "m" })),
    ];
    let loaded = edge.assembly.change(all).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert_eq!(hosts(&loaded), PUBLISHED);
    edge
}

#[test]
fn changes_of_items_are_changes_of_the_configuration() {
    let [a, local, c] = PUBLISHED;
    check(vec![], &PUBLISHED);
    check(
        vec![put(ItemKind::Pool, "p1", &pool("a", "10.9.9.9"))],
        &["a.test: a=10.9.9.9 | a", local, "c.test: c=10.0.0.3?m a=10.9.9.9 | a"],
    );
    check(vec![gone(ItemKind::Pool, "p2")], &PUBLISHED);
    check(vec![gone(ItemKind::LoadBalancer, "2")], &[a, local]);
    check(vec![gone(ItemKind::LoadBalancer, "1")], &[local, c]);
    check(vec![gone(ItemKind::LoadBalancer, "2"), gone(ItemKind::Pool, "p3")], &[a, local]);
    check(vec![gone(ItemKind::LoadBalancer, "1"), gone(ItemKind::Pool, "p2")], &[local, c]);
    // A name moves to another pool; whoever refers to it follows.
    check(
        vec![
            put(ItemKind::Pool, "p1", &pool("unused", "10.0.0.1")),
            put(ItemKind::Pool, "p2", &pool("a", "10.0.0.2")),
        ],
        &["a.test: a=10.0.0.2 | a", local, "c.test: c=10.0.0.3?m a=10.0.0.2 | a"],
    );
    // A host moves to another load balancer.
    check(
        vec![
            put(ItemKind::LoadBalancer, "1", &balancer("c.test", &["a"])),
            put(ItemKind::LoadBalancer, "2", &balancer("a.test", &["c"])),
        ],
        &["a.test: c=10.0.0.3?m | c", local, "c.test: a=10.0.0.1 | a"],
    );
    // A pool is named anew together with those that refer to it.
    check(
        vec![
            put(ItemKind::Pool, "p1", &pool("b", "10.0.0.1")),
            put(ItemKind::LoadBalancer, "1", &balancer("a.test", &["b"])),
            put(ItemKind::LoadBalancer, "2", &balancer("c.test", &["c", "b", "base"])),
        ],
        &["a.test: b=10.0.0.1 | b", local, "c.test: c=10.0.0.3?m b=10.0.0.1 base=127.0.0.1 | base"],
    );
    // Of two changes of one item the later one counts.
    check(
        vec![
            put(ItemKind::Pool, "p4", &pool("new", "10.0.0.4")),
            gone(ItemKind::Pool, "p4"),
            put(ItemKind::LoadBalancer, "3", &balancer("x.test", &["base"])),
            put(ItemKind::LoadBalancer, "3", &balancer("d.test", &["unused", "base"])),
        ],
        &[a, local, c, "d.test: unused=10.0.0.2 base=127.0.0.1 | base"],
    );
}

#[test]
fn what_is_wrong_with_items_is_told_and_nothing_is_changed() {
    let lb = ItemKind::LoadBalancer;
    let mut many = pool("d", "10.0.0.4");
    many["origins"][0]["weight"] = json!(7);
    for (changes, expect) in [
        (
            vec![gone(ItemKind::Pool, "p1")],
            "published load_balancer/1: default_pools[0]: there is no [[pool]] named `a`",
        ),
        (
            vec![put(ItemKind::Pool, "p1", &pool("b", "10.0.0.1"))],
            "published load_balancer/1: default_pools[0]: there is no [[pool]] named `a`",
        ),
        (
            vec![gone(ItemKind::Monitor, "m1")],
            "published pool/p3: monitor: there is no [[monitor]] named `m`",
        ),
        (
            vec![put(ItemKind::Pool, "p4", &many)],
            "published pool/p4: origins[0].weight: `7` is out of range",
        ),
        (
            vec![put(ItemKind::Pool, "p4", &json!({ "name": "d", "orgins": [] }))],
            "published pool/p4: `origins` is missing",
        ),
        (
            vec![put(ItemKind::Pool, "p4", &json!([]))],
            "published pool/p4: found a list where a table belongs",
        ),
        (
            vec![put(ItemKind::Pool, "p4", &json!({ "name": null, "origins": [] }))],
            "published pool/p4: name: found `null`",
        ),
        (
            vec![put(ItemKind::Pool, "p4", &pool("base", "10.0.0.1"))],
            "published pool/p4: name: the name `base` stands at ",
        ),
        (
            vec![put(ItemKind::Pool, "p4", &pool("a", "10.0.0.1"))],
            "published pool/p4: name: the name `a` stands at published pool/p1 already",
        ),
        (
            vec![put(lb, "3", &balancer("base.test", &["a"]))],
            "published load_balancer/3: name: the host `base.test` stands at ",
        ),
        (
            vec![put(lb, "3", &balancer("A.test", &["a"]))],
            "published load_balancer/3: name: the host `A.test` stands at \
             published load_balancer/1 already",
        ),
        (
            vec![put(
                lb,
                "3",
                &json!({ "name": "d.test", "default_pools": ["a"],
                         "tls": { "require_client_certificate": true } }),
            )],
            "published load_balancer/3: tls.require_client_certificate: no listener of this host",
        ),
        (
            vec![put(
                lb,
                "3",
                &json!({ "name": "d.test", "default_pools": ["a"],
                "request_headers": { "set": { "Host": "x" } } }),
            )],
            "published load_balancer/3: request_headers.set.Host: Weir writes `Host` itself",
        ),
    ] {
        refused(changes, expect);
    }
}

#[test]
fn items_know_nothing_of_the_machine() {
    let variable = json!({ "name": "d", "description": "${HOME}",
        "origins": [{ "name": "o", "address": "10.0.0.1" }] });
    let mut edge = published();
    let loaded = edge.assembly.change(vec![put(ItemKind::Pool, "p4", &variable)]).unwrap();
    let found = loaded.config.pools.iter().find(|pool| &*pool.name == "d").unwrap();
    assert_eq!(found.description, "${HOME}");
    let file = json!({ "name": "d", "tls": { "ca": "/etc/passwd" },
        "origins": [{ "name": "o", "address": "10.0.0.1" }] });
    let expect = "published pool/p4: tls.ca: what is published names no files of an edge";
    refused(vec![put(ItemKind::Pool, "p4", &file)], expect);
}

#[test]
fn the_local_file_is_read_anew_with_the_same_items() {
    let mut edge = published();
    edge.folder.write("weir.toml", BASE.replace("127.0.0.1\", port", "127.0.0.9\", port"));
    let loaded = edge.assembly.reload().unwrap_or_else(|f| panic!("{}", shown(&f)));
    let [a, _, c] = PUBLISHED;
    assert_eq!(hosts(&loaded), [a, "base.test: base=127.0.0.9 | base", c]);
    let taken = BASE.replace("name = \"base.test\"", "name = \"a.test\"");
    edge.folder.write("weir.toml", &taken);
    let faults = edge.assembly.reload().expect_err("the host is published already");
    let expect = "published load_balancer/1: name: the host `a.test` stands at ";
    assert!(shown(&faults).starts_with(expect), "{}", shown(&faults));
    let loaded = edge.assembly.change(Vec::new()).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert_eq!(hosts(&loaded), [a, "base.test: base=127.0.0.9 | base", c]);
}

const PACKET: &str = "[packet]\ninterfaces = [\"eth0\"]\naddress = \"192.0.2.1\"\n";

#[test]
fn the_packet_path_waits_for_the_fleets_part() {
    let mut edge = edge(PACKET);
    let key = json!({ "hash_key": "000102030405060708090a0b0c0d0e0f", "port": 7000 });
    let keyed = vec![put(ItemKind::Packet, "fleet", &key)];
    let loaded = edge.assembly.change(keyed).unwrap_or_else(|f| panic!("{}", shown(&f)));
    assert!(loaded.config.packet.is_none() && !loaded.warnings.is_empty());
    let server = json!({ "id": 1, "address": "192.0.2.1" });
    let listed = vec![put(ItemKind::Server, "s", &server)];
    let loaded = edge.assembly.change(listed).unwrap_or_else(|f| panic!("{}", shown(&f)));
    let packet = loaded.config.packet.expect("there is a packet path");
    assert_eq!((packet.port, packet.servers.len()), (7000, 1));
    let doubled = json!({ "hash_key": "000102030405060708090a0b0c0d0e0f", "address": "192.0.2.1" });
    let faults = edge.assembly.change(vec![put(ItemKind::Packet, "fleet", &doubled)]);
    let expect = "published packet/fleet: address: `address` is published, and stands in";
    assert!(shown(&faults.unwrap_err()).starts_with(expect));
    let loaded = edge.assembly.change(vec![gone(ItemKind::Server, "s")]).unwrap();
    assert!(loaded.config.packet.is_none());
}

#[test]
fn an_edge_without_a_packet_path_takes_the_rest() {
    let mut edge = published();
    let server = json!({ "id": 1, "address": "192.0.2.1" });
    let loaded = edge.assembly.change(vec![put(ItemKind::Server, "s", &server)]).unwrap();
    assert!(loaded.config.packet.is_none());
    assert!(shown(&loaded.warnings).contains("no effect here"), "{}", shown(&loaded.warnings));
}

#[test]
fn what_the_api_has_no_field_for_is_said_for_all_published_pools() {
    let usual = "[published.pool]\nslow_start = \"30s\"\n[published.pool.timeouts]\n\
                 connect = \"7s\"\n[published.pool.tls]\nverify = false\n";
    let mut edge = edge(&format!("{BASE}{usual}"));
    let mut plain = pool("plain", "192.0.2.1");
    plain["timeouts"] = json!({ "reply": "3s" });
    let mut secret = pool("secret", "192.0.2.2");
    secret["tls"] = json!({ "ports": [443] });
    secret["slow_start"] = json!("5s");
    let changes = vec![put(ItemKind::Pool, "1", &plain), put(ItemKind::Pool, "2", &secret)];
    let loaded = edge.assembly.change(changes).unwrap_or_else(|f| panic!("{}", shown(&f)));
    let said: Vec<_> = loaded
        .config
        .pools
        .iter()
        .map(|pool| {
            let (timeouts, tls) = (&pool.timeouts, pool.tls.as_ref());
            let tls = tls.map(|tls| (tls.verify, tls.ports.clone()));
            let seconds = (pool.slow_start.as_secs(), timeouts.connect.as_secs());
            (pool.name.to_string(), seconds, timeouts.reply.as_secs() == 3, tls)
        })
        .collect();
    assert_eq!(
        said,
        [
            ("base".to_owned(), (0, 5), false, None),
            ("plain".to_owned(), (30, 7), true, None),
            ("secret".to_owned(), (5, 7), false, Some((false, vec![443]))),
        ]
    );
}

#[test]
fn a_reload_that_is_not_put_in_force_is_taken_back() {
    let mut edge = published();
    let before = edge.assembly.change(Vec::new()).map(|loaded| hosts(&loaded)).unwrap();
    let file = edge.folder.0.join("weir.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let more = "[[load_balancer]]\nname = \"more.example\"\ndefault_pools = [\"other\"]\n\
                [[pool]]\nname = \"other\"\n[[pool.origins]]\nname = \"o\"\n\
                address = \"192.0.2.9\"\nport = 80\n";
    std::fs::write(&file, format!("{text}{more}")).unwrap();
    let read = edge.assembly.reload().map(|loaded| hosts(&loaded)).unwrap();
    assert_eq!(read.len(), before.len() + 1);
    edge.assembly.take_back();
    assert_eq!(edge.assembly.change(Vec::new()).map(|loaded| hosts(&loaded)).unwrap(), before);
}

#[test]
fn a_faulty_reload_takes_back_nothing_of_the_good_one_before_it() {
    let mut edge = published();
    let file = edge.folder.0.join("weir.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let more = "[[load_balancer]]\nname = \"more.example\"\ndefault_pools = [\"other\"]\n\
                [[pool]]\nname = \"other\"\n[[pool.origins]]\nname = \"o\"\n\
                address = \"192.0.2.9\"\nport = 80\n";
    std::fs::write(&file, format!("{text}{more}")).unwrap();
    let good = edge.assembly.reload().map(|loaded| hosts(&loaded)).unwrap();
    std::fs::write(&file, "not TOML").unwrap();
    edge.assembly.reload().unwrap_err();
    edge.assembly.take_back();
    assert_eq!(edge.assembly.change(Vec::new()).map(|loaded| hosts(&loaded)).unwrap(), good);
}

/// A change at random, mostly one that fits what is there.
fn any_change(random: &mut SplitMix64) -> Change {
    let mut below = |n: u64| random.next() % n;
    let (id, other) = (below(6), below(8));
    let id = format!("i{id}");
    match below(8) {
        0 => gone(ItemKind::Pool, &id),
        1 => gone(ItemKind::LoadBalancer, &id),
        2 if below(4) == 0 => gone(ItemKind::Monitor, &id),
        2 | 3 => put(ItemKind::Monitor, &id, &json!({ "name": format!("m{}", other % 3) })),
        4 | 5 => {
            let mut pool = pool(&format!("n{other}"), &format!("10.0.0.{}", below(200)));
            if below(3) == 0 {
                pool["monitor"] = json!(format!("m{}", below(3)));
            }
            put(ItemKind::Pool, &id, &pool)
        }
        _ => {
            let mut pools = vec![format!("n{}", below(8)), format!("n{}", below(8))];
            pools.dedup();
            let table = json!({ "name": format!("h{other}.test"), "default_pools": pools });
            put(ItemKind::LoadBalancer, &id, &table)
        }
    }
}

#[test]
fn the_short_way_and_the_long_way_come_to_the_same() {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("WEIR_SEED={seed} cargo test -p process-runtime --lib the_short_way");
    let (mut random, mut edge) = (SplitMix64::new(seed), edge(BASE));
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..3_000 {
        let count = 1 + random.next() % 4;
        let changes: Vec<Change> = (0..count).map(|_| any_change(&mut random)).collect();
        let before = edge.assembly.items().hash();
        match edge.assembly.change(changes) {
            Ok(loaded) => {
                taken += 1;
                let again = edge.assembly.long_way().unwrap_or_else(|f| panic!("{f:?}"));
                assert_eq!(hosts(&loaded), hosts(&again));
                let changes = diff(&again.config, &loaded.config);
                assert!(changes.is_empty(), "{changes:?}");
            }
            Err(_) => {
                refused += 1;
                assert_eq!(edge.assembly.items().hash(), before);
            }
        }
    }
    assert!(taken > 300 && refused > 300, "{taken} taken, {refused} refused");
}
