//! The life of the process: start, signals, drain, faults of the file, and the examples.

use crate::support::client::{Client, End};
use crate::support::edge::Edge;
use crate::support::files::{TempDir, free_port};
use crate::support::process::{Weir, command, run};
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// Answers `/later` a moment after it came, `/never` not at all.
fn slow() -> Upstream {
    Upstream::start(|conn: &mut Conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/later" => drop(conn.quiet(Duration::from_millis(700))),
                "/never" => return conn.drain(),
                _ => {}
            }
            conn.answer(&request);
        }
    })
}

/// Sends a GET and waits until the origin has it.
fn in_flight(weir: &Weir, upstream: &Upstream, target: &str) -> Client {
    let before = upstream.count();
    let mut client = weir.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).expect("it is sent");
    wait::until("it is in flight", SOON, || upstream.count() > before);
    client
}

#[test]
fn term_drains() {
    let upstream = slow();
    let mut weir = Weir::start(Edge::simple(upstream.port()).drain("10s"));
    let mut idle = weir.client();
    assert_eq!(idle.get("/a").map(|r| r.status), Ok(200));
    let mut client = in_flight(&weir, &upstream, "/later");
    weir.guard.signal(Signal::TERM);
    let reply = client.reply("GET");
    assert_eq!(reply.text(), "GET /later 0", "a request in flight finishes");
    assert_eq!(reply.field("connection"), Some("close"));
    assert_eq!(client.end(SOON), End::Closed(Vec::new()));
    assert!(matches!(idle.end(SOON), End::Closed(_)), "idle connections are closed, not reset");
    let status = weir.guard.exit(SOON);
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(Client::try_connect(weir.web()).is_err(), "nothing listens");
}

#[test]
fn memory_is_held_in_small_pages() {
    let upstream = slow();
    let weir = Weir::start(Edge::simple(upstream.port()));
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.guard.pid()));
    let status = status.expect("it runs");
    let told = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    assert_eq!(told.map(str::trim), Some("0"), "{status}");
}

#[test]
fn a_drain_ends() {
    let upstream = slow();
    let mut weir = Weir::start(Edge::simple(upstream.port()).drain("500ms"));
    let mut client = in_flight(&weir, &upstream, "/never");
    let begun = Instant::now();
    weir.guard.signal(Signal::TERM);
    weir.guard.exit(SOON);
    assert!(begun.elapsed() >= Duration::from_millis(400), "requests had their time");
    assert!(begun.elapsed() < Duration::from_secs(5), "the deadline was 500 ms");
    assert!(!matches!(client.end(SOON), End::Open(_)));
}

#[test]
fn int_is_quick() {
    let upstream = slow();
    let mut weir = Weir::start(Edge::simple(upstream.port()).drain("60s"));
    let _client = in_flight(&weir, &upstream, "/never");
    let begun = Instant::now();
    weir.guard.signal(Signal::INT);
    weir.guard.exit(SOON);
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
}

#[test]
fn a_second_term_ends_the_drain() {
    let upstream = slow();
    let mut weir = Weir::start(Edge::simple(upstream.port()).drain("60s"));
    let _client = in_flight(&weir, &upstream, "/never");
    let web = weir.web();
    weir.guard.signal(Signal::TERM);
    wait::until("the drain began", SOON, || Client::try_connect(web).is_err());
    assert!(weir.guard.ended().is_none(), "the request in flight holds it");
    weir.guard.signal(Signal::TERM);
    weir.guard.exit(Duration::from_secs(3));
}

#[test]
fn a_port_in_use_is_named() {
    let upstream = Upstream::tagged();
    for what in ["listener", "admin"] {
        let edge = Edge::simple(upstream.port());
        let address = if what == "admin" { edge.admin } else { edge.addresses()[0] };
        let _held = TcpListener::bind(address).expect("it was free");
        let (good, out, err) = run(command().arg("run").arg(edge.write()));
        assert!(!good, "{what}: it started");
        let told = format!("{out}{err}");
        assert!(told.contains(&address.port().to_string()), "{what}: no port in {told:?}");
        assert!(told.contains("in use"), "{what}: no cause in {told:?}");
    }
}

/// A file with ten faults of different kinds, each with the line where it stands.
fn ten_faults(dir: &TempDir) -> (String, Vec<usize>) {
    let ca = Authority::new();
    let (one, other) = (ca.issue(&["a.test"], VALID), ca.issue(&["b.test"], VALID));
    dir.write("a.pem", &one.certificate);
    dir.write("b.key", &other.key);
    let text = "\
[runtime]
workres = 2                     #! an unknown key
drain_timeout = 5               #! a wrong type
[[listener]]
name = \"web\"
address = \"127.0.0.1:99999\"     #! no such port
[[listener]]
name = \"web\"                    #! a name twice
address = \"127.0.0.1:18081\"
timeouts = { head = \"10 parsecs\" } #! no such unit
[[listener]]
name = \"tls\"
address = \"127.0.0.1:18082\"
[[listener.tls.certificates]]
certificate = \"a.pem\"           #! certificate and key of two pairs
key = \"b.key\"
[[listener.tls.certificates]]
certificate = \"missing.pem\"     #! a file that is not there
key = \"b.key\"
[[pool]]
name = \"p\"
monitor = \"nowhere\"             #! a dangling reference
[[pool.origins]]
name = \"o1\"
address = \"127.0.0.1\"
port = 9001
weight = 7                      #! out of range
[[load_balancer]]
name = \"*\"
default_pools = [\"p\"]
steering_policy = \"geo\"         #! Cloudflare has it, Weir does not yet
";
    let lines = text.lines().enumerate();
    let marked = lines.filter(|(_, line)| line.contains("#!")).map(|(n, _)| n + 1).collect();
    (text.to_owned(), marked)
}

#[test]
fn check_reports_ten_faults_of_ten() {
    let dir = TempDir::new();
    let (text, lines) = ten_faults(&dir);
    assert_eq!(lines.len(), 10);
    let file = dir.write("ten.toml", &text);
    let (good, out, err) = run(command().arg("check").arg(&file));
    assert!(!good, "a file with faults passed");
    let told = format!("{out}{err}");
    for line in &lines {
        // The mismatch of certificate and key may be told at either of the two.
        let here = told.contains(&format!("ten.toml:{line}:"))
            || (*line == 15 && told.contains("ten.toml:16:"));
        assert!(here, "nothing about line {line} in\n{told}");
    }
    let faults = told.lines().filter(|line| line.contains("ten.toml:")).count();
    assert_eq!(faults, 10, "{told}");
    let (good, out, _) = run(command().arg("check").arg("--json").arg(&file));
    assert!(!good);
    let json: serde_json::Value = serde_json::from_str(&out).expect("--json prints JSON");
    let list = json.as_array().or_else(|| json.get("faults").and_then(|f| f.as_array()));
    assert_eq!(list.map(Vec::len), Some(10), "{json}");
}

#[test]
fn check_passes_a_good_file() {
    let edge = Edge::simple(9001);
    let (good, out, err) = run(command().arg("check").arg(edge.write()));
    assert!(good, "{out}{err}");
    let (good, out, err) = run(command().arg("check").arg("/nowhere/weir.toml"));
    assert!(!good && format!("{out}{err}").contains("/nowhere/weir.toml"));
}

#[test]
fn listeners_of_both_families_serve() {
    let upstream = Upstream::tagged();
    let port = free_port();
    let v6 = format!("[::1]:{port}").parse().expect("an address");
    let edge = Edge::simple(upstream.port()).listener_at("six", v6, "").listener_at(
        "two",
        (Ipv4Addr::new(127, 0, 0, 2), port).into(),
        "",
    );
    let weir = Weir::start(edge);
    for name in ["web", "six", "two"] {
        let mut client = Client::connect(weir.address(name));
        assert_eq!(client.get("/a").map(|r| r.text()), Ok("GET /a 0".into()), "{name}");
    }
}
