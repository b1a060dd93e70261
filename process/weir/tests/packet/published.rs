//! A packet path that a control plane publishes: two edges in one network namespace, each with an
//! interface and pins of its own, a third one that is a proxy alone, and clients in a namespace
//! at the other ends.

use super::ways::{namespace, shell, socket_in};
use super::{World, weir, within};
use crate::fleet::rig::{Fleet, answers, control, get, origin, until};
use crate::support::process::Weir;
use crate::support::wait::{self, SOON};
use serde_json::{Value, json};
use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const KEY: &str = "5f1d0e7a9c3b48268d44a1c07be2f693";

/// The clients' side: what goes to 203.0.113.5 comes in at `edge0`, to 203.0.114.5 at `edge1`.
const CLIENTS: &str = "ip link set lo up \
    && ip link add peer0 type veth peer name edge0 netns 1 \
    && ip link add peer1 type veth peer name edge1 netns 1 \
    && ip link set peer0 up && ip link set peer1 up && ip addr add 198.51.100.1/24 dev peer0 \
    && ip route add 203.0.113.0/24 dev peer0 \
    && ip route add 203.0.114.0/24 dev peer1 src 198.51.100.1 \
    && ip neigh add 203.0.113.5 dev peer0 lladdr 02:00:00:00:00:01 \
    && ip neigh add 203.0.114.5 dev peer1 lladdr 02:00:00:00:00:02";

/// The edges' side. The BPF file system is root's alone, as service managers mount it.
const EDGES: &str = "ip link set edge0 up address 02:00:00:00:00:01 \
    && ip link set edge1 up address 02:00:00:00:00:02 \
    && ip addr add 192.0.2.1/32 dev edge0 && ip addr add 192.0.2.2/32 dev edge1 \
    && ip route add 198.51.100.0/24 dev edge0 \
    && ip route add local 203.0.113.0/24 dev lo && ip route add local 203.0.114.0/24 dev lo \
    && for at in all edge0 edge1; do echo 0 > /proc/sys/net/ipv4/conf/$at/rp_filter; done \
    && chmod 700 /sys/fs/bpf";

/// Clients, and what two edges need; gives where the clients are.
fn clients(world: &World) -> PathBuf {
    let clients = world.dir.path().join("clients");
    shell("ip link del edge0");
    namespace(&clients, CLIENTS);
    shell(EDGES);
    clients
}

/// An edge's part of the packet path.
fn own(number: u8) -> String {
    format!(
        "[packet]\ninterfaces = [\"edge{}\"]\naddress = \"192.0.2.{number}\"\n\
         name = \"edge-{number}\"",
        number - 1
    )
}

/// What the fleet has in common. The key comes last: until then nothing is in force.
fn publish(fleet: &Fleet) {
    fleet.put_packet("/servers/1", &json!({ "address": "192.0.2.1" }));
    fleet.put_packet("/servers/2", &json!({ "address": "192.0.2.2" }));
    fleet.put_packet(
        "/trafficsets/web",
        &json!({ "prefixes": ["203.0.113.0/24", "203.0.114.0/24"] }),
    );
    let flood = json!({ "protocol": "udp", "source_ports": ["5353"], "action": "drop" });
    fleet.put_packet("/shield_rules/flood", &flood);
    fleet.put_packet("", &json!({ "hash_key": KEY }));
}

/// What `/status` says of the packet path; null where there is none.
fn packets(edge: &Weir) -> Value {
    let reply = edge.admin("/status").unwrap_or_else(|error| panic!("/status: {error}"));
    let status: Value = serde_json::from_str(&reply.text()).expect("JSON");
    status["packet"].clone()
}

/// Waits until the edge has the newest in force; gives its generation, and number and hash of the
/// tables.
#[track_caller]
fn newest(fleet: &Fleet, edge: &Weir) -> (u64, u64, String) {
    let name = &edge.edge.text();
    let name = name.rsplit("name = \"edge-").next().and_then(|rest| rest.split('"').next());
    let line = format!("edge-{} ", name.expect("a name"));
    wait::until("the control plane says that it is current", SOON, || {
        let list = fleet.edge(&["list"]);
        list.lines().any(|one| one.starts_with(&line) && one.contains(" current,"))
    });
    let generation = control(edge)["generation"].as_u64().expect("a number");
    let (number, hash) = tables(edge);
    (generation, number, hash)
}

/// Number and hash of the tables in force.
#[track_caller]
fn tables(edge: &Weir) -> (u64, String) {
    let packets = packets(edge);
    let hash = packets["table_hash"].as_str().unwrap_or_else(|| panic!("{packets}"));
    (packets["generation"].as_u64().expect("a number"), hash.to_owned())
}

/// What the edge says becomes of a packet: of the shield and of the director.
#[track_caller]
fn fate(edge: &Weir, number: u8, protocol: &str, source_port: u16) -> (String, String) {
    let admin = edge.edge.admin.to_string();
    let (name, source) = (format!("edge-{number}"), format!("198.51.100.1:{source_port}"));
    let vip = format!("203.0.{}.5:9", 112 + number);
    let words = ["explain", protocol, &source, &vip, "--name", &name, "--admin", &admin, "--json"];
    let told: Value = serde_json::from_str(&weir(&words)).expect("JSON");
    let answer = &told["answers"][0];
    let word = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    (word(&answer["shield"]["verdict"]), word(&answer["director"]["reason"]))
}

/// A port whose flows to the edge's VIP are decided like this there.
#[track_caller]
fn port(edge: &Weir, number: u8, protocol: &str, reason: &str) -> u16 {
    let own = |port: &u16| fate(edge, number, protocol, *port).1 == reason;
    (40_000..40_030).find(own).unwrap_or_else(|| panic!("no {reason} among thirty flows"))
}

/// Whether what a process may write in its memory has these octets somewhere.
fn remembers(pid: u32, octets: &[u8]) -> bool {
    /// Read at once. Most of what an allocator reserves was never touched.
    const PART: usize = 1 << 20;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root reads it");
    let mut part = vec![0; PART];
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let (from, to) = range.expect("two ends");
        let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).expect("a number"));
        let step = PART - octets.len();
        (from..to).step_by(step).any(|at| {
            let length = usize::try_from(to - at).expect("it fits").min(PART);
            // What only the kernel reads cannot be read by this.
            memory.read_exact_at(&mut part[..length], at).is_ok()
                && memchr::memmem::find(&part[..length], octets).is_some()
        })
    })
}

/// Whether a file of a folder has these octets.
fn keeps(folder: &Path, octets: &[u8]) -> bool {
    let files = std::fs::read_dir(folder).expect("a folder");
    files
        .map(|file| std::fs::read(file.expect("a file").path()).expect("readable"))
        .any(|content| memchr::memmem::find(&content, octets).is_some())
}

#[test]
fn edges_put_it_in_force_with_the_rest_and_go_on_without_a_control_plane() {
    let name = "edges_put_it_in_force_with_the_rest_and_go_on_without_a_control_plane";
    within(&format!("published::{name}"), |world| {
        let clients = clients(world);
        let shop = origin("shop");
        let mut fleet = Fleet::start();
        fleet.open_folder();
        let pool = fleet.pool("shop", &shop);
        fleet.host("a", &pool);
        // The first edge gives up being root before there is a packet path.
        let user = "user = \"nobody\"";
        let files = [
            fleet.edge_file_as("both", "edge-1", user).runtime(&own(1)),
            fleet.edge_file_as("both", "edge-2", "").runtime(&own(2)),
            fleet.edge_file_as("proxy", "edge-3", ""),
        ];
        let [one, two, three] = files.clone().map(Weir::start);
        for edge in [&one, &two, &three] {
            answers(edge, "a", "shop");
            assert_eq!(packets(edge), Value::Null);
        }
        publish(&fleet);
        let first = newest(&fleet, &one);
        assert_eq!(newest(&fleet, &two), first);
        assert_eq!(one.metric("weir_packet_table_info", &[("hash", &first.2)]), 1.0);
        assert_eq!(one.metric("weir_control_generation", &[]), first.0 as f64);
        // A packet lands where it is said to, and another is dropped by the rule.
        let here = UdpSocket::bind("203.0.113.5:9").expect("a VIP");
        here.set_read_timeout(Some(SOON)).expect("a bound");
        // It is asked for the flow's socket first; without one the next server would have it.
        let own = port(&one, 1, "udp", "sent_second");
        here.connect(("198.51.100.1", own)).expect("the route of the clients");
        assert_eq!(fate(&one, 1, "udp", own).1, "local_socket");
        let send = |port: u16, vip: &str| {
            let socket = socket_in(&clients, &format!("198.51.100.1:{port}"));
            socket.send_to(b"x", (vip, 9)).expect("the route of the VIP");
        };
        send(5353, "203.0.113.5");
        send(own, "203.0.113.5");
        let (_, from) = here.recv_from(&mut [0; 8]).expect("it lands");
        assert_eq!(from.port(), own);
        assert_eq!(fate(&one, 1, "udp", 5353), ("drop".to_owned(), String::new()));
        let dropped = [("rule", "flood"), ("result", "dropped")];
        assert_eq!(one.metric("weir_packet_rule_packets_total", &dropped), 1.0);
        send(5353, "203.0.114.5");
        two.metric_reaches("weir_packet_rule_packets_total", &dropped, 1.0);
        // One call drains a server, on all edges.
        let new = port(&two, 2, "tcp", "local_syn");
        fleet.put_packet("/servers/2", &json!({ "address": "192.0.2.2", "state": "draining" }));
        let second = newest(&fleet, &one);
        assert_eq!(newest(&fleet, &two), second);
        assert!(second.0 > first.0 && second.1 == first.1 + 1 && second.2 != first.2);
        assert_eq!(one.metric("weir_packet_servers", &[("state", "draining")]), 1.0);
        let decided = fate(&two, 2, "tcp", new).1;
        assert!(decided.starts_with("sent_"), "a new flow to a server that drains: {decided}");
        // What is no proxy's business is not on its disk, nor was it ever in its memory.
        assert!(keeps(&fleet.state("edge-1"), KEY.as_bytes()));
        assert!(remembers(one.pid(), KEY.as_bytes()));
        assert!(keeps(&fleet.state("edge-3"), b"load_balancer"));
        for octets in [KEY.as_bytes(), b"192.0.2.2", b"203.0.114.0/24"] {
            assert!(!keeps(&fleet.state("edge-3"), octets), "{octets:?}");
            assert!(!remembers(three.pid(), octets), "{octets:?}");
        }
        // With the control plane dead all goes on, and starts again from disk: programs that are
        // there are taken up, and those that are gone are loaded anew.
        fleet.kill();
        assert_eq!(tables(&one), (second.1, second.2.clone()));
        drop((one, two));
        weir(&["packet", "detach", "--name", "edge-2"]);
        let [file_one, file_two, _] = files;
        let (one, two) = (Weir::start(file_one), Weir::start(file_two));
        assert_eq!(tables(&one), (second.1, second.2.clone()));
        assert_eq!(tables(&two).1, second.2);
        for edge in [&one, &two] {
            assert_eq!(get(edge, "a"), "shop");
            assert_eq!(control(edge)["generation"], second.0);
        }
        send(5353, "203.0.113.5");
        one.metric_reaches("weir_packet_rule_packets_total", &dropped, 2.0);
    });
}

#[test]
fn what_is_wrong_is_refused_by_the_api_or_by_the_edge_that_knows() {
    let name = "what_is_wrong_is_refused_by_the_api_or_by_the_edge_that_knows";
    within(&format!("published::{name}"), |world| {
        clients(world);
        let (old, new) = (origin("old"), origin("new"));
        let fleet = Fleet::start();
        let pool = fleet.pool("shop", &old);
        fleet.host("a", &pool);
        publish(&fleet);
        let file = fleet.edge_file_as("both", "edge-2", "").runtime(&own(2));
        let edge = Weir::start(file);
        answers(&edge, "a", "old");
        let before = newest(&fleet, &edge);
        for (path, body, pointer) in [
            ("/servers/3", json!({ "address": "192.0.2.2" }), "/address"),
            ("/servers/3", json!({ "address": "127.0.0.1" }), "/address"),
            ("/trafficsets/web", json!({ "prefixes": ["203.0.113.0/33"] }), "/prefixes/0"),
            ("/shield_rules/flood", json!({ "action": "burn" }), "/action"),
            ("", json!({ "interfaces": ["edge0"] }), "/interfaces"),
        ] {
            let (status, body) = fleet.packet("PUT", path, &body);
            assert_eq!((status, body["success"].as_bool()), (400, Some(false)), "{path} {body}");
            let told = body["errors"].as_array().expect("errors").iter();
            let told: Vec<_> = told.map(|error| error["source"]["pointer"].clone()).collect();
            assert!(told.contains(&json!(pointer)), "{path} {body}");
        }
        assert_eq!(newest(&fleet, &edge), before);
        // Only the edge knows that this leaves it without a server.
        fleet.put_packet("/servers/2", &json!({ "address": "192.0.2.77" }));
        let refused = until(&edge, "it is refused", |control| control["refused"] != 0);
        let why = refused["refusal"].as_str().expect("a text");
        assert!(why.contains("no [[server]] has the address"), "{why}");
        fleet.turn(&pool, &new);
        until(&edge, "the next is refused too", |control| control["refused"] == 2);
        assert_eq!((control(&edge)["generation"].as_u64(), tables(&edge)), {
            let (generation, number, hash) = before;
            (Some(generation), (number, hash))
        });
        assert_eq!(get(&edge, "a"), "old");
        let list = fleet.edge(&["list"]);
        assert!(list.contains("refusing") && list.contains("no [[server]] has the"), "{list}");
        fleet.put_packet("/servers/2", &json!({ "address": "192.0.2.2" }));
        answers(&edge, "a", "new");
    });
}

#[test]
fn what_was_started_in_vain_is_gone_and_what_is_published_no_more_stays() {
    let name = "what_was_started_in_vain_is_gone_and_what_is_published_no_more_stays";
    within(&format!("published::{name}"), |world| {
        clients(world);
        let fleet = Fleet::start();
        let file = fleet.edge_file_as("packet", "edge-1", "").runtime(&own(1));
        let edge = Weir::start(file.clone());
        until(&edge, "it follows", |control| control["connected"] == true);
        // The file gets all that was missing, and an address that another program has.
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = taken.local_addr().expect("it is bound");
        let whole = file
            .clone()
            .runtime(&format!("hash_key = \"{KEY}\"\n[[server]]\nid = 1\naddress = \"192.0.2.1\""));
        whole.listener_at("taken", address, "").write();
        edge.hup();
        let refused = [("result", "refused")];
        assert_eq!(edge.metric("weir_config_reloads_total", &refused), 1.0);
        assert!(edge.stderr().contains("packet_attached"), "{}", edge.stderr());
        assert_eq!(packets(&edge), Value::Null);
        super::refused(&["packet", "status", "--name", "edge-1"], "nothing is loaded");
        // It is awaited as before.
        file.write();
        publish(&fleet);
        let before = newest(&fleet, &edge);
        let (status, body) = fleet.packet("DELETE", "", &Value::Null);
        assert_eq!(status, 200, "{body}");
        let after = newest(&fleet, &edge);
        assert!(after.0 > before.0);
        assert_eq!((after.1, after.2), (before.1, before.2));
        assert!(edge.stderr().contains("packet_kept"), "{}", edge.stderr());
    });
}
