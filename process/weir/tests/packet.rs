//! The packet path of a running weir, each test in a network namespace and with BPF pins of its
//! own: two ends of a veth pair, the programs at one, packets from the other.
//!
//! Needs root, bpf(2) and namespaces; each test says by name that it was skipped, and why, where
//! they are missing.

mod published;
mod seen;
mod ways;

use crate::support::files::TempDir;
use crate::support::process::{Guard, command, run};
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

/// Set in the namespace.
const INSIDE: &str = "WEIR_TEST_IN_NAMESPACE";

/// What makes the world: the programs' interface is `edge0`, packets are sent from `peer0`.
/// Temporary folders are its own as well, as every world's first process has the same number.
const SETUP: &str = "mount -t tmpfs tmpfs ${TMPDIR:-/tmp} \
    && mount -t bpf bpf /sys/fs/bpf && ip link set lo up \
    && ip link add edge0 address 02:00:00:00:00:01 type veth peer name peer0 \
    && ip addr add 192.0.2.1/24 dev edge0 && ip addr add 198.51.100.1/24 dev peer0 \
    && ip link set edge0 up && ip link set peer0 up \
    && ip route add 203.0.113.0/24 dev peer0 src 198.51.100.1 \
    && ip neigh add 203.0.113.5 dev peer0 lladdr 02:00:00:00:00:01";

const CONFIG: &str = r#"
[packet]
interfaces = ["edge0"]
address = "192.0.2.1"
hash_key = "5f1d0e7a9c3b48268d44a1c07be2f693"
[[server]]
id = 1
address = "192.0.2.1"
[[server]]
id = 2
address = "192.0.2.2"
[[trafficset]]
name = "web"
prefixes = ["203.0.113.0/24"]
[[shield_rule]]
name = "flood"
protocol = "udp"
source_ports = ["5353"]
action = "drop"
"#;

/// Runs `test` again within namespaces of its own, which end with it, however it ends.
fn within(name: &str, test: impl FnOnce(&World)) {
    if std::env::var_os(INSIDE).is_some() {
        let (good, out, err) = run(Command::new("sh").args(["-c", SETUP]));
        assert!(good, "{out}{err}");
        return test(&World { dir: TempDir::new() });
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: packet::{name}: only root has a packet path");
        return;
    }
    let (can, _, err) =
        run(Command::new("unshare").args(["--net", "--mount", "--pid", "--fork", "true"]));
    if !can {
        println!("skipped: packet::{name}: no namespaces: {err}");
        return;
    }
    let exe = std::env::current_exe().expect("this program has a path");
    let (good, out, err) = run(Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private"])
        // All that the test starts ends with it, the successor of an upgrade too.
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(exe)
        .args(["--exact", &format!("packet::{name}"), "--nocapture"])
        .env(INSIDE, "1"));
    assert!(good && out.contains("1 passed"), "{out}{err}");
}

struct World {
    dir: TempDir,
}

impl World {
    /// Writes the configuration.
    fn write(&self, text: &str) -> PathBuf {
        let file = self.dir.path().join("weir.toml");
        std::fs::write(&file, text).expect("writable");
        file
    }

    /// Starts `weir ARGUMENTS FILE`, and waits until it is ready.
    fn start(&self, arguments: &[&str], text: &str) -> Guard {
        let file = self.write(text);
        let mut guard = Guard::start(command().args(arguments).arg(file));
        wait::until("weir is ready", SOON, || {
            assert!(guard.ended().is_none(), "it ended: {}", guard.stderr.text());
            guard.stderr.text().contains(" ready: ")
        });
        guard
    }

    /// Sends a packet to a VIP.
    fn send(&self, source_port: u16) {
        let socket = UdpSocket::bind(("198.51.100.1", source_port)).expect("an address of peer0");
        socket.send_to(b"x", ("203.0.113.5", 9)).expect("the route of the VIP");
    }
}

/// `weir ARGUMENTS`, which must do its work.
#[track_caller]
fn weir(arguments: &[&str]) -> String {
    let (good, out, err) = run(command().args(arguments));
    assert!(good, "weir {arguments:?}: {out}{err}");
    out
}

/// `weir ARGUMENTS`, which must be refused with this.
#[track_caller]
fn refused(arguments: &[&str], says: &str) {
    let (good, out, err) = run(command().args(arguments));
    assert!(!good && err.contains(says), "weir {arguments:?}: {out}{err}");
}

fn status() -> Value {
    let out = weir(&["packet", "status", "--json"]);
    serde_json::from_str(&out).expect("JSON")
}

/// What the kernel has: generation, and how the interface meets the programs.
fn in_kernel() -> (u64, String) {
    let status = status();
    let mode = status["interfaces"][0]["mode"].as_str().expect("a mode").to_owned();
    (status["generation"].as_u64().expect("a number"), mode)
}

/// Packets of a reason.
fn packets(reason: &str) -> u64 {
    let status = status();
    let mut reasons = status["reasons"].as_array().expect("a list").iter();
    let one = reasons.find(|one| one["reason"] == reason).expect("a reason of the table");
    one["packets"].as_u64().expect("a number")
}

/// Packets that the rule dropped.
fn dropped() -> u64 {
    let out = weir(&["packet", "rules", "--json"]);
    let rules: Value = serde_json::from_str(&out).expect("JSON");
    rules[0]["dropped"]["packets"].as_u64().expect("a number")
}

fn metrics() -> String {
    let mut stream = TcpStream::connect("127.0.0.1:9900").expect("the admin listener");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    text
}

const DRAINING: &str = "address = \"192.0.2.2\"\nstate = \"draining\"";

fn draining() -> String {
    CONFIG.replace("address = \"192.0.2.2\"", DRAINING)
}

#[test]
fn packets_are_handled_on_after_the_process_and_taken_up_by_the_next() {
    within("packets_are_handled_on_after_the_process_and_taken_up_by_the_next", |world| {
        let mut guard = world.start(&["packet", "run"], CONFIG);
        assert_eq!(in_kernel(), (1, "native".to_owned()));
        world.send(5353);
        wait::until("the rule counts", SOON, || dropped() == 1);
        guard.signal(Signal::TERM);
        assert!(guard.exit(SOON).success());
        // Nobody is there, and packets are dropped and counted all the same.
        assert_eq!(in_kernel(), (1, "native".to_owned()));
        world.send(5353);
        wait::until("the drop is counted", SOON, || packets("shield_rule") == 2);
        // The same file makes the same tables, so nothing is published; counters go on.
        let guard = world.start(&["packet", "run"], CONFIG);
        assert_eq!(in_kernel(), (1, "native".to_owned()));
        assert_eq!(dropped(), 2);
        refused(&["packet", "detach"], "another process holds");
        drop(guard);
        weir(&["packet", "detach"]);
        refused(&["packet", "status"], "nothing is loaded");
    });
}

#[test]
fn a_reload_changes_tables_and_rules() {
    within("a_reload_changes_tables_and_rules", |world| {
        let _guard = world.start(&["packet", "run"], CONFIG);
        let before = status()["table_hash"].clone();
        world.write(&draining().replace("\"drop\"", "\"pass\""));
        let told = weir(&["reload"]);
        assert!(told.contains("~ server 2\n    state: Active -> Draining"), "{told}");
        assert_eq!(in_kernel().0, 2);
        assert_ne!(status()["table_hash"], before);
        world.send(5353);
        wait::until("the packet passes", SOON, || {
            packets("shield_rule") == 0 && packets("sent_first") + packets("local_only_hop") == 1
        });
        let text = metrics();
        for line in [
            "weir_packet_up 1",
            "weir_packet_generation 2",
            "weir_packet_servers{state=\"draining\"} 1",
            "weir_packet_interface_info{interface=\"edge0\",mode=\"native\"} 1",
            "weir_packet_rule_packets_total{rule=\"flood\",result=\"matched\"} 1",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        // Constants are loaded anew, with the same tables.
        world.write(&draining().replace("[packet]", "[packet]\nmtu = 1400"));
        weir(&["reload"]);
        assert_eq!(in_kernel(), (2, "native".to_owned()));
        assert!(metrics().contains("weir_packet_up 1"));
    });
}

#[test]
fn a_change_that_cannot_be_is_refused_and_changes_nothing() {
    within("a_change_that_cannot_be_is_refused_and_changes_nothing", |world| {
        let _guard = world.start(&["packet", "run"], CONFIG);
        for (text, says) in [
            (CONFIG.replace("\"edge0\"", "\"none0\""), "there is no interface `none0`"),
            (draining().replace("\"edge0\"", "\"edge0\", \"none0\""), "`none0`"),
            (CONFIG.replace("id = 2", "id = 1"), "the id `1` stands at"),
        ] {
            world.write(&text);
            refused(&["reload"], says);
            assert_eq!(in_kernel(), (1, "native".to_owned()), "{says}");
            world.send(5353);
        }
        wait::until("the rule counts", SOON, || dropped() == 3);
        // What takes a restart is told, and the rest is taken over.
        world.write(&draining().replace("[packet]", "[packet]\nname = \"other\""));
        let told = weir(&["reload"]);
        assert!(told.contains("~ packet (needs a restart)"), "{told}");
        assert_eq!(in_kernel().0, 2);
    });
}

#[test]
fn another_user_and_its_upgrade_look_after_the_packet_path() {
    within("another_user_and_its_upgrade_look_after_the_packet_path", |world| {
        let user = "[runtime]\nuser = \"nobody\"\n";
        let world_readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(world.dir.path(), world_readable).expect("our own folder");
        let guard = world.start(&["packet", "run"], &format!("{user}{CONFIG}"));
        let uid = |pid: u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            status.lines().any(|line| line.starts_with("Uid:\t0\t"))
        };
        assert!(!uid(guard.pid()), "it is still root");
        let rule = CONFIG.replace("\"drop\"", "\"pass\"").replace("192.0.2.2", "192.0.2.3");
        world.write(&format!("{user}{rule}"));
        weir(&["reload"]);
        assert_eq!(in_kernel().0, 2);
        let told = weir(&["upgrade"]);
        assert!(told.contains("serves"), "{told}");
        world.write(&format!("{user}{}", draining()));
        weir(&["reload"]);
        assert_eq!(in_kernel(), (3, "native".to_owned()));
        world.send(5353);
        wait::until("the rule counts", SOON, || dropped() == 1);
    });
}

#[test]
fn a_file_with_listeners_serves_both() {
    within("a_file_with_listeners_serves_both", |world| {
        let listener = "[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:8080\"\n\
                        [[load_balancer]]\nname = \"*\"\n\
                        redirect = { location = \"https://example.com/\" }\n";
        let _guard = world.start(&["run"], &format!("{listener}{CONFIG}"));
        assert_eq!(in_kernel(), (1, "native".to_owned()));
        let mut stream = TcpStream::connect("127.0.0.1:8080").expect("the listener");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        let mut head = [0; 12];
        stream.read_exact(&mut head).expect("it answers");
        assert_eq!(&head, b"HTTP/1.1 302");
    });
}

#[test]
fn a_capture_ends_at_its_limits_and_keeps_what_was_asked_for() {
    within("a_capture_ends_at_its_limits_and_keeps_what_was_asked_for", |world| {
        let _guard = world.start(&["packet", "run"], CONFIG);
        refused(&["packet", "capture", "-", "--reason", "nonsense"], "not a reason");
        refused(&["packet", "capture", "-", "--name", "none"], "nothing is loaded");
        let file = world.dir.path().join("seen.pcapng");
        let mut capture = Guard::start(
            command().args(["packet", "capture", "--verdict", "drop", "--count", "1"]).arg(&file),
        );
        // It looks from some moment on: packets are sent until it has seen one.
        wait::until("the capture ends", SOON, || {
            world.send(5353);
            capture.ended().is_some()
        });
        wait::until("it tells", SOON, || capture.stderr.ended());
        assert!(capture.stderr.text().contains("1 packets written"), "{}", capture.stderr.text());
        let bytes = std::fs::read(&file).expect("a capture was written");
        assert!(bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]), "no section header");
        let word = b"shield_rule";
        assert!(bytes.windows(word.len()).any(|part| part == word), "no reason in it");
        let file = world.dir.path().join("told.pcapng");
        let mut capture = Guard::start(command().args(["packet", "capture"]).arg(&file));
        wait::until("it has begun", SOON, || file.exists());
        capture.signal(Signal::INT);
        assert!(capture.exit(SOON).success(), "{}", capture.stderr.text());
    });
}

#[test]
fn check_tells_of_tables_that_do_not_fit() {
    let dir = TempDir::new();
    let prefixes: Vec<String> =
        (0..2_000).map(|n| format!("\"10.{}.{}.0/25\"", n / 250, n % 250)).collect();
    let text = CONFIG
        .replace("[packet]", "[packet]\ntrie_entries_max = 1024")
        .replace("\"203.0.113.0/24\"]", &format!("{}]\nports = [\"443\"]", prefixes.join(",")));
    let file = dir.write("weir.toml", text).display().to_string();
    refused(&["check", &file], "trie_entries_max");
    let file = dir.write("weir.toml", CONFIG).display().to_string();
    weir(&["check", &file]);
}

#[test]
fn a_packet_path_is_attached_without_a_process() {
    within("a_packet_path_is_attached_without_a_process", |world| {
        let file = world.write(CONFIG).display().to_string();
        weir(&["packet", "attach", &file]);
        world.send(5353);
        wait::until("the drop is counted", SOON, || packets("shield_rule") == 1);
        assert_eq!(in_kernel(), (1, "native".to_owned()));
        weir(&["packet", "detach"]);
        let (_, out, _) = run(Command::new("ip").args(["link", "show", "edge0"]));
        assert!(!out.contains("xdp"), "{out}");
        let none = world.write("").display().to_string();
        refused(&["packet", "run", &none], "there is no [packet]");
        refused(&["packet", "attach", &none], "has no [packet]");
    });
}

#[test]
fn a_flow_is_explained_by_the_programs_in_force() {
    within("a_flow_is_explained_by_the_programs_in_force", |world| {
        let _running = world.start(&["packet", "run"], CONFIG);
        let flow = ["198.51.100.1:40000", "203.0.113.5:443"];
        let text = weir(&["explain", "tcp", flow[0], flow[1]]);
        let json = weir(&["explain", "tcp", flow[0], flow[1], "--json"]);
        let told: Value = serde_json::from_str(&json).expect("JSON");
        // A first segment and a later one: either this server's or sent to the other.
        let answers = told["answers"].as_array().expect("answers");
        assert_eq!(answers.len(), 2, "{json}");
        assert_eq!(told["service"]["dissector"], "4-tuple", "{json}");
        assert!(text.contains("203.0.113.5:443"), "{text}");
        let elsewhere = weir(&["explain", "udp", flow[0], "192.0.2.77:53", "--json"]);
        let told: Value = serde_json::from_str(&elsewhere).expect("JSON");
        assert_eq!(told["service"], Value::Null, "{elsewhere}");
        // What was asked shows in no counter; nobody else sends to VIPs here.
        for reason in ["local_only_hop", "local_syn", "local_socket", "sent_first", "sent_second"] {
            assert_eq!(packets(reason), 0, "{reason}");
        }
        refused(&["explain", "tcp", flow[0], flow[1], "--quic-cid", "40"], "goes with udp");
        refused(&["explain", "udp", flow[0], flow[1], "--quic-cid", "4"], "two hexadecimal digits");
        refused(&["explain", "tcp", "[2001:db8::1]:1", flow[1]], "two families");
    });
}
