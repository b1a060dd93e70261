//! Weir between programs of others that speak HTTP/2: curl, h2load, node, gRPC and HAProxy.

use super::features::same;
use crate::peers::{Haproxy, curl, listening, program};
use crate::support::client::Client;
use crate::support::edge::{Edge, origin};
use crate::support::files::{TempDir, free_port};
use crate::support::h2::client::H2;
use crate::support::h2::hpack::Block;
use crate::support::process::{Guard, Weir, command, run, workspace};
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use crate::support::ws::{self, WebSocket};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

const MIB: usize = 1 << 20;
/// Lines of a pool whose origins speak HTTP/2.
const H2_POOL: &str = "protocols = [\"h2\"]\noutlier_ejection = { consecutive_failures = 0 }";

/// The configuration with a listener `secure` for `a.test`, and the file of its authority.
fn secured(edge: Edge) -> (Edge, String) {
    let ca = Authority::new();
    let certificate = edge.certificate("c", &ca.issue(&["a.test", "127.0.0.1"], VALID));
    let file = edge.file("ca.pem", &ca.pem).display().to_string();
    let tls = format!("tls = {{ certificates = [{certificate}] }}");
    (edge.listener("secure", &tls), file)
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/h2")).join(name)
}

/// Runs a script of a peer against Weir to its end.
#[track_caller]
fn good(interpreter: &str, name: &str, arguments: &[&str]) {
    let mut command = match interpreter.starts_with('/') {
        true => Command::new(interpreter),
        false => program(interpreter),
    };
    let (_, out, err) = run(command.arg(script(name)).args(arguments));
    assert!(out.ends_with("good\n"), "{name} {arguments:?}: {out}{err}");
}

#[test]
fn curl_over_http2() {
    let upstream = Upstream::tagged();
    let (edge, ca) = secured(Edge::simple(upstream.port()));
    let big = edge.file("big", &"u".repeat(3 * MIB)).display().to_string();
    let weir = Weir::start(edge);
    let plain = format!("http://{}", weir.web());
    let port = weir.address("secure").port();
    let resolve = format!("a.test:{port}:127.0.0.1");
    let secure = format!("https://a.test:{port}");
    for (url, flags) in [
        (&plain, &["--http2-prior-knowledge"][..]),
        (&secure, &["--http2", "--cacert", &ca, "--resolve", &resolve]),
    ] {
        let curl = |arguments: &[&str]| curl(&[flags, arguments].concat());
        let told = ["-w", " %{http_version}"];
        let ask = |arguments: &[&str], path: &str| {
            curl(&[&told[..], arguments, &[&format!("{url}{path}")]].concat())
        };
        assert_eq!(ask(&[], "/a"), "GET /a 0 2");
        assert_eq!(ask(&["-d", "hello"], "/p"), "POST /p 5 2");
        let file = format!("@{big}");
        let up = ask(&["--data-binary", &file], "/up");
        assert_eq!(up, format!("POST /up {} 2", 3 * MIB));
        let unknown = ask(&["-T", "-", "-H", "Expect:"], "/chunked");
        assert_eq!(unknown, "PUT /chunked 0 2");
        assert!(curl(&["-I", &format!("{url}/head")]).starts_with("HTTP/2 200"));
        // With prior knowledge, curl 7.88 sends a second preface on a connection it uses again.
        let count = if url.starts_with("https") { 20 } else { 1 };
        let many: Vec<String> = (0..count).map(|n| format!("{url}/{n}")).collect();
        let list: Vec<&str> = ["-Z"].into_iter().chain(many.iter().map(String::as_str)).collect();
        let replies = curl(&list);
        for n in 0..count {
            assert!(replies.contains(&format!("GET /{n} 0")), "{replies}");
        }
    }
}

#[test]
fn h2load_loses_nothing() {
    let upstream = Upstream::tagged();
    let (edge, _) = secured(Edge::simple(upstream.port()).workers(2));
    let weir = Weir::start(edge);
    for url in [format!("http://{}/l", weir.web()), format!("https://{}/l", weir.address("secure"))]
    {
        let mut command = program("h2load");
        let (ended, out, err) = run(command.args(["-n2000", "-c8", "-m20", &url]));
        assert!(ended, "{out}{err}");
        let all = "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored";
        assert!(out.contains(all), "{url}: {out}");
        assert!(out.contains("status codes: 2000 2xx"), "{url}: {out}");
    }
}

#[test]
fn node_as_client() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let (edge, ca) = secured(Edge::simple(upstream.port()));
    let weir = Weir::start(edge);
    good("node", "peer.js", &["client", &format!("http://{}", weir.web())]);
    let port = weir.address("secure").port();
    good("node", "peer.js", &["client", &format!("https://127.0.0.1:{port}"), &ca]);
}

#[test]
fn node_as_origin() {
    let port = free_port();
    let mut command = program("node");
    let mut guard =
        Guard::start(command.arg(script("peer.js")).args(["origin", &port.to_string()]));
    listening(&mut guard, port);
    let weir = Weir::start(Edge::simple(port).pool("p", H2_POOL, &[origin("o1", port)]));
    let mut client = H2::connect(weir.web());
    let reply = client.get("/a").expect("a reply");
    assert_eq!((reply.status, reply.text()), (200, "GET /a 0".into()));
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "8".to_owned())]);
    let body = vec![b'b'; 3 * MIB];
    let reply = client.ask(&Block::request("POST", "/b"), &body).expect("a reply");
    assert_eq!(reply.text(), format!("POST /b {}", 3 * MIB));
    let mut old = weir.client();
    assert_eq!(old.get("/c").map(|reply| reply.text()), Ok("GET /c 0".into()));
    let mut socket = WebSocket::open(weir.web(), "/ws");
    assert_eq!(socket.echo("to node"), "to node");
    // And both ends at once: node before Weir before node.
    good("node", "peer.js", &["client", &format!("http://{}", weir.web())]);
}

/// The interpreter that has gRPC.
fn grpc_python() -> String {
    let path = workspace().join("target/peers/grpcio/bin/python3");
    let told = "gRPC is missing: `cargo xtask test --group packages` installs it";
    assert!(path.exists(), "{told}");
    path.display().to_string()
}

/// A gRPC server that listens.
fn grpc_server() -> (Guard, u16) {
    let port = free_port();
    let mut command = Command::new(grpc_python());
    let file = script("grpc_peer.py");
    let mut guard = Guard::start(command.arg(&file).args(["server", &port.to_string()]));
    listening(&mut guard, port);
    (guard, port)
}

#[test]
fn grpc_through_the_example() {
    let (_server, port) = grpc_server();
    let [web, admin] = [(); 2].map(|()| free_port());
    let text = std::fs::read_to_string(workspace().join("examples/grpc.toml")).expect("readable");
    let text = text.replace("127.0.0.1:8080", &format!("127.0.0.1:{web}"));
    let text = text.replace("port = 9001", &format!("port = {port}"));
    let text = format!("{text}\n[admin]\naddress = \"127.0.0.1:{admin}\"\n");
    let dir = TempDir::new();
    let file = dir.write("grpc.toml", text);
    let mut weir = Guard::start(command().arg("run").arg(file));
    listening(&mut weir, web);
    good(&grpc_python(), "grpc_peer.py", &["client", &format!("127.0.0.1:{web}")]);
}

#[test]
fn grpc_through_weir() {
    let (_server, port) = grpc_server();
    let edge = Edge::simple(port).pool("p", H2_POOL, &[origin("o1", port)]);
    let (edge, ca) = secured(edge);
    let weir = Weir::start(edge);
    good(&grpc_python(), "grpc_peer.py", &["client", &weir.web().to_string()]);
    let secure = weir.address("secure").to_string();
    good(&grpc_python(), "grpc_peer.py", &["client", &secure, &ca]);
}

#[test]
fn haproxy_before_weir() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let weir = Weir::start(Edge::simple(upstream.port()));
    let haproxy = Haproxy::start(&format!(
        "frontend f\n  bind 127.0.0.1:{{port}}\n  default_backend b\nbackend b\n  \
         server w {} proto h2",
        weir.web()
    ));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, haproxy.port));
    let mut client = Client::connect(address);
    let body = "b".repeat(MIB);
    for n in 0..10 {
        let reply = client.get(&format!("/{n}")).expect("a reply");
        assert_eq!(reply.text(), format!("GET /{n} 0"));
        let head = format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n");
        client.send(head + &body).expect("it is sent");
        assert_eq!(client.reply("POST").text(), format!("POST /{n} {MIB}"));
    }
    let mut socket = WebSocket::open(address, "/ws");
    assert_eq!(socket.echo("through both"), "through both");
    let mut client = H2::connect(address);
    let ids: Vec<u32> =
        (0..50).map(|n| client.open(&Block::request("GET", &format!("/m{n}")), true)).collect();
    for (n, id) in ids.into_iter().enumerate() {
        assert_eq!(client.reply(id).map(|reply| reply.text()), Ok(format!("GET /m{n} 0")), "I2");
    }
}

#[test]
fn haproxy_behind_weir() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let haproxy = Haproxy::start(&format!(
        "frontend f\n  bind 127.0.0.1:{{port}} proto h2\n  default_backend b\nbackend b\n  \
         server w {}",
        upstream.address
    ));
    let pool = Edge::simple(haproxy.port).pool("p", H2_POOL, &[origin("o1", haproxy.port)]);
    let weir = Weir::start(pool);
    let body = super::features::pattern(3 * MIB);
    let mut client = H2::connect(weir.web());
    let reply = client.ask(&Block::request("POST", "/up"), &body).expect("a reply");
    assert_eq!(reply.text(), format!("POST /up {}", 3 * MIB));
    wait::until("the origin has it", SOON, || upstream.count() == 1);
    same(&upstream.take().requests[0].body, &body, "upload");
    let mut old = weir.client();
    assert_eq!(old.get("/c").map(|reply| reply.text()), Ok("GET /c 0".into()));
    let mut socket = WebSocket::open(weir.web(), "/ws");
    assert_eq!(socket.echo("through both"), "through both");
}
