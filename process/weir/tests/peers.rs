//! Weir between programs of others: curl and wrk as clients, nginx and HAProxy as origins and as
//! fronts. The programs are Debian's; a test without its program fails and names the package.

use crate::support::client::Client;
use crate::support::edge::{Edge, origin};
use crate::support::files::{TempDir, free_port};
use crate::support::process::{Guard, Weir, run};
use crate::support::reader::Message;
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use crate::support::ws::{self, WebSocket};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

/// The program, or a failure that says what to install.
#[track_caller]
pub(crate) fn program(name: &str) -> Command {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin"];
    let found =
        folders.iter().map(|f| format!("{f}/{name}")).find(|p| std::path::Path::new(p).exists());
    Command::new(found.unwrap_or_else(|| {
        panic!("`{name}` is missing: `cargo xtask test --group packages` installs it")
    }))
}

#[track_caller]
pub(crate) fn curl(arguments: &[&str]) -> String {
    let mut command = program("curl");
    let (good, out, err) = run(command.args(["-sS", "--max-time", "20"]).args(arguments));
    assert!(good, "curl {arguments:?}: {out}{err}");
    out
}

/// Waits until a program listens.
#[track_caller]
pub(crate) fn listening(guard: &mut Guard, port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait::until("the peer listens", SOON, || {
        assert!(guard.ended().is_none(), "{}{}", guard.stdout.text(), guard.stderr.text());
        TcpStream::connect(address).is_ok()
    });
}

/// nginx with this text inside `server {}`.
struct Nginx {
    port: u16,
    _guard: Guard,
    _dir: TempDir,
}

impl Nginx {
    fn start(server: &str, big: usize) -> Self {
        let (dir, port) = (TempDir::new(), free_port());
        dir.write("big", vec![b'n'; big]);
        dir.write("small", "from nginx");
        let root = dir.path().display();
        let text = format!(
            "daemon off; master_process off; error_log stderr; pid {root}/pid;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
             fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             client_max_body_size 64m;\n\
             server {{ listen 127.0.0.1:{port}; root {root};\n{server}\n}} }}\n"
        );
        let file = dir.write("nginx.conf", text);
        let mut command = program("nginx");
        let mut guard = Guard::start(command.arg("-c").arg(file).arg("-p").arg(dir.path()));
        listening(&mut guard, port);
        Self { port, _guard: guard, _dir: dir }
    }
}

/// HAProxy with these lines; its front listens on `port` where they say `{port}`.
pub(crate) struct Haproxy {
    pub(crate) port: u16,
    _guard: Guard,
    _dir: TempDir,
}

impl Haproxy {
    pub(crate) fn start(lines: &str) -> Self {
        let (dir, port) = (TempDir::new(), free_port());
        let lines = lines.replace("{port}", &port.to_string());
        let text = format!(
            "global\n  maxconn 200\ndefaults\n  mode http\n  timeout connect 5s\n  \
             timeout client 30s\n  timeout server 30s\n{lines}\n"
        );
        let file = dir.write("haproxy.cfg", text);
        let mut guard = Guard::start(program("haproxy").arg("-db").arg("-f").arg(file));
        listening(&mut guard, port);
        Self { port, _guard: guard, _dir: dir }
    }
}

const MIB: usize = 1 << 20;

#[test]
fn curl_as_client() {
    let upstream = Upstream::tagged();
    let ca = Authority::new();
    let edge = Edge::simple(upstream.port());
    let certificate = edge.certificate("c", &ca.issue(&["a.test"], VALID));
    let ca_file = edge.file("ca.pem", &ca.pem).display().to_string();
    let big = edge.file("big", &"u".repeat(3 * MIB)).display().to_string();
    let weir = Weir::start(
        edge.listener("secure", &format!("tls = {{ certificates = [{certificate}] }}")),
    );
    let url = format!("http://{}", weir.web());
    assert_eq!(curl(&[&format!("{url}/a")]), "GET /a 0");
    // Two transfers on one connection.
    assert_eq!(curl(&[&format!("{url}/a"), &format!("{url}/b")]), "GET /a 0GET /b 0");
    assert_eq!(curl(&["-0", &format!("{url}/old")]), "GET /old 0");
    assert!(curl(&["-I", &format!("{url}/head")]).starts_with("HTTP/1.1 200 "));
    assert_eq!(curl(&["-d", "hello", &format!("{url}/p")]), "POST /p 5");
    // More than a mebibyte: curl asks with Expect first.
    let up = curl(&["--data-binary", &format!("@{big}"), &format!("{url}/up")]);
    assert_eq!(up, format!("POST /up {}", 3 * MIB));
    let upload = format!("curl -sS -T - {url}/chunked < {big}");
    let (good, out, err) = run(Command::new("sh").arg("-c").arg(upload));
    assert!(good, "{err}");
    assert_eq!(out, format!("PUT /chunked {}", 3 * MIB));
    let port = weir.address("secure").port();
    let resolve = format!("a.test:{port}:127.0.0.1");
    for version in ["--tlsv1.3", "--tls-max=1.2"] {
        let (flag, value) = version.split_once('=').unwrap_or((version, ""));
        let secure = format!("https://a.test:{port}/tls");
        let mut arguments = vec!["--cacert", &ca_file, "--resolve", &resolve, flag];
        if !value.is_empty() {
            arguments.push(value);
        }
        arguments.push(&secure);
        assert_eq!(curl(&arguments), "GET /tls 0", "{version}");
    }
}

#[test]
fn nginx_as_origin() {
    let nginx = Nginx::start("location /echo { return 200 \"$request_method $host\"; }", 8 * MIB);
    let weir = Weir::start(Edge::simple(nginx.port));
    let mut client = weir.client();
    assert_eq!(client.get("/small").map(|r| r.text()), Ok("from nginx".into()));
    let big = client.get("/big").expect("whole");
    assert_eq!(big.body.len(), 8 * MIB);
    assert!(big.body.iter().all(|&b| b == b'n'));
    assert_eq!(client.get("/none").map(|r| r.status), Ok(404));
    assert_eq!(client.get("/echo").map(|r| r.text()), Ok("GET a".into()));
    client.send("GET /big HTTP/1.1\r\nHost: a\r\nRange: bytes=10-19\r\n\r\n").expect("it is sent");
    let part = client.reply("GET");
    assert_eq!((part.status, part.body.len()), (206, 10));
    client.send("HEAD /big HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    assert_eq!(client.reply("HEAD").field("content-length"), Some("8388608"));
    assert_eq!(client.get("/small").map(|r| r.text()), Ok("from nginx".into()), "still in step");
}

#[test]
fn nginx_as_front() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let edge = Edge::simple(upstream.port());
    let weir = Weir::start(edge.listener("web", "trusted_proxies = [\"127.0.0.0/8\"]"));
    let nginx = Nginx::start(
        &format!(
            "location / {{ proxy_pass http://{}; proxy_http_version 1.1;\n\
             proxy_set_header Host $host; proxy_set_header Connection $http_connection;\n\
             proxy_set_header Upgrade $http_upgrade; proxy_request_buffering off;\n\
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }}",
            weir.web()
        ),
        1,
    );
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, nginx.port));
    let source = Ipv4Addr::new(127, 0, 0, 5);
    let mut client = Client::connect_from(source, address).expect("accepted");
    assert_eq!(client.get("/a").map(|r| r.text()), Ok("GET /a 0".into()));
    let body = "b".repeat(MIB);
    client
        .send(format!("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n{body}"))
        .expect("it is sent");
    assert_eq!(client.reply("POST").text(), format!("POST /b {MIB}"));
    let seen: Vec<Message> = upstream.take().requests;
    let forwarded = seen[0].field("x-forwarded-for").unwrap_or_default();
    assert!(forwarded.starts_with("127.0.0.5"), "the address of nginx's client: {forwarded:?}");
    let mut socket = WebSocket::open(address, "/ws");
    assert_eq!(socket.echo("through both"), "through both");
}

#[test]
fn haproxy_as_origin() {
    for (protocol, accept) in [("off", ""), ("v1", " accept-proxy"), ("v2", " accept-proxy")] {
        let haproxy = Haproxy::start(&format!(
            "frontend f\n  bind 127.0.0.1:{{port}}{accept}\n  \
             http-request return status 200 content-type text/plain lf-string \"%[src] %[path]\""
        ));
        let edge = Edge::simple(haproxy.port);
        let lines = format!("proxy_protocol = \"{protocol}\"");
        let weir = Weir::start(edge.pool("p", &lines, &[origin("o1", haproxy.port)]));
        for (source, target) in [(6, "/a"), (7, "/b"), (6, "/c")] {
            let source = Ipv4Addr::new(127, 0, 0, source);
            let mut client = Client::connect_from(source, weir.web()).expect("accepted");
            let seen = if protocol == "off" { Ipv4Addr::LOCALHOST } else { source };
            let reply = client.get(target).unwrap_or_else(|e| panic!("{protocol}: {e}"));
            assert_eq!(reply.text(), format!("{seen} {target}"), "{protocol}");
        }
    }
}

#[test]
fn haproxy_as_front() {
    for send in ["", "send-proxy", "send-proxy-v2"] {
        let upstream = Upstream::start(ws::echo_or_tag);
        let lines = if send.is_empty() {
            ""
        } else {
            "proxy_protocol = { trusted = [\"127.0.0.0/8\"], timeout = \"5s\" }"
        };
        // The harness asks the listener `plain`, which expects no header, for readiness.
        let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
        let haproxy = Haproxy::start(&format!(
            "frontend f\n  bind 127.0.0.1:{{port}}\n  default_backend b\nbackend b\n  \
             server w {} {send}",
            weir.web()
        ));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, haproxy.port));
        let source = Ipv4Addr::new(127, 0, 0, 8);
        let mut client = Client::connect_from(source, address).expect("accepted");
        let body = "b".repeat(MIB);
        for n in 0..3 {
            let reply = client.get(&format!("/{n}")).unwrap_or_else(|e| panic!("{send}: {e}"));
            assert_eq!(reply.text(), format!("GET /{n} 0"), "{send}");
            let head = format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n");
            client.send(head + &body).expect("it is sent");
            assert_eq!(client.reply("POST").text(), format!("POST /{n} {MIB}"), "{send}");
        }
        let seen = upstream.take().requests;
        let expected = if send.is_empty() { "127.0.0.1" } else { "127.0.0.8" };
        let told = seen[0].field("x-forwarded-for");
        assert_eq!(told, Some(expected), "{send}: the client that HAProxy tells of");
        let mut socket = WebSocket::open(address, "/ws");
        assert_eq!(socket.echo("through both"), "through both", "{send}");
    }
}

#[test]
fn a_proxy_header_from_a_stranger() {
    let upstream = Upstream::tagged();
    let lines = "proxy_protocol = { trusted = [\"127.0.0.2\"], timeout = \"5s\" }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let header = "PROXY TCP4 6.6.6.6 127.0.0.1 1 2\r\n";
    let ask = |source: u8, header: &str| {
        let source = Ipv4Addr::new(127, 0, 0, source);
        let mut client = Client::connect_from(source, weir.web()).expect("accepted");
        drop(client.send(header));
        client.get("/a").map(|reply| reply.status)
    };
    assert_eq!(ask(2, header), Ok(200), "a trusted source");
    let seen = upstream.take().requests;
    assert_eq!(seen[0].field("x-forwarded-for"), Some("6.6.6.6"));
    assert!(!matches!(ask(3, header), Ok(200)), "a stranger's header was believed");
    assert!(!matches!(ask(2, ""), Ok(200)), "a trusted source must send the header");
    assert!(upstream.take().requests.is_empty());
}

#[test]
fn wrk_for_a_moment() {
    let upstream = Upstream::tagged();
    let weir = Weir::start(Edge::simple(upstream.port()).workers(2));
    let url = format!("http://{}/wrk", weir.web());
    let mut command = program("wrk");
    let (good, out, err) = run(command.args(["-t1", "-c16", "-d1s", "--latency", &url]));
    assert!(good, "{out}{err}");
    assert!(!out.contains("Socket errors") && !out.contains("Non-2xx"), "{out}");
    let line = out.lines().find(|line| line.contains("requests in")).unwrap_or_default();
    let count: usize =
        line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or_default();
    assert!(count > 100, "{out}");
    println!("wrk: {line}");
}

#[test]
fn websocket_through_weir() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let weir = Weir::start(Edge::simple(upstream.port()));
    let mut sockets: Vec<WebSocket> =
        (0..20).map(|n| WebSocket::open(weir.web(), &format!("/ws{n}"))).collect();
    for turn in 0..20 {
        for (n, socket) in sockets.iter_mut().enumerate() {
            let text = format!("turn {turn} of {n}");
            assert_eq!(socket.echo(&text), text);
        }
    }
    // An end of either side is passed on.
    let first = sockets.remove(0);
    first.0.finish();
    wait::until("the origin sees it", SOON, || upstream.logs().iter().any(|log| log.closed()));
}
