//! Every named limit and time limit is hit once: the client sees what the manual says, and
//! `weir_limit_hits_total` counts it under its name.

use crate::support::client::{Client, End};
use crate::support::edge::{Edge, origin};
use crate::support::files::free_port;
use crate::support::process::Weir;
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use crate::support::ws::{self, WebSocket};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const HITS: &str = "weir_limit_hits_total";

/// Weir whose listener `web` has these lines, before a tagging origin.
fn listening(lines: &str) -> (Weir, Upstream) {
    let upstream = Upstream::start(ws::echo_or_tag);
    (Weir::start(Edge::simple(upstream.port()).listener("web", lines)), upstream)
}

/// Weir whose pool has these lines, before this origin.
fn pooled(lines: &str, upstream: &Upstream) -> Weir {
    let edge = Edge::simple(upstream.port());
    Weir::start(edge.pool("p", lines, &[origin("o1", upstream.port())]))
}

#[track_caller]
fn counted(weir: &Weir, limit: &str) {
    weir.metric_reaches(HITS, &[("limit", limit)], 1.0);
}

/// Sends a request that breaks `limit`, expects `status` and the end of the connection.
#[track_caller]
fn refused(limit: &str, lines: &str, request: &str, status: u16) {
    let (weir, upstream) = listening(lines);
    assert_eq!(weir.get("/before").map(|r| r.status), Ok(200), "{limit}: a request within limits");
    let mut client = weir.client();
    drop(client.send(request));
    let reply = client.reply("POST");
    assert_eq!(reply.status, status, "{limit}: {reply:?}");
    assert_eq!(reply.field("connection"), Some("close"), "{limit}");
    assert!(matches!(client.end(SOON), End::Closed(_)), "{limit}: closed, and not reset");
    counted(&weir, limit);
    let others = upstream.take().lines().iter().filter(|l| !l.contains("before")).count();
    assert_eq!(others, 0, "{limit}: the origin got it");
}

/// Sends the start of something and nothing more; expects `status` (or nothing) and the end of
/// the connection about `after` later.
#[track_caller]
fn timed_out(limit: &str, lines: &str, start: &str, status: Option<u16>) {
    let (weir, _upstream) = listening(lines);
    let begun = Instant::now();
    let mut client = weir.client();
    client.send(start).expect("it is sent");
    if let Some(status) = status {
        let reply = client.reply("GET");
        assert_eq!(reply.status, status, "{limit}: {reply:?}");
        assert_eq!(reply.field("connection"), Some("close"), "{limit}");
    }
    assert_eq!(client.end(SOON), End::Closed(Vec::new()), "{limit}");
    assert!(begun.elapsed() >= Duration::from_millis(250), "{limit}: ended too early");
    counted(&weir, limit);
}

#[test]
fn header_bytes() {
    let long = "a".repeat(2000);
    let request = format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
    refused("header_bytes", "limits = { header_bytes = 1024 }", &request, 431);
}

#[test]
fn header_count() {
    let fields = "X: y\r\n".repeat(20);
    let request = format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    refused("header_count", "limits = { header_count = 10 }", &request, 431);
}

#[test]
fn uri_bytes() {
    let request = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(400));
    refused("uri_bytes", "limits = { uri_bytes = 256 }", &request, 414);
}

#[test]
fn body_bytes() {
    let lines = "limits = { body_bytes = 10 }";
    let request = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890";
    refused("body_bytes", lines, request, 413);
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused("body_bytes", lines, &format!("{head}b\r\n01234567890\r\n0\r\n\r\n"), 413);
    refused("body_bytes", lines, &format!("{head}6\r\n012345\r\n6\r\n012345\r\n0\r\n\r\n"), 413);
}

#[test]
fn requests_per_connection() {
    let (weir, _upstream) = listening("limits = { requests_per_connection = 3 }");
    let mut client = weir.client();
    for n in 1..=3 {
        let reply = client.get("/a").expect("within the limit");
        let close = reply.field("connection") == Some("close");
        assert_eq!((reply.status, close), (200, n == 3), "request {n}");
    }
    assert_eq!(client.end(SOON), End::Closed(Vec::new()));
    counted(&weir, "requests_per_connection");
}

/// Whether a new connection gets no service.
fn turned_away(client: std::io::Result<Client>) -> bool {
    match client {
        Err(_) => true,
        Ok(mut client) => client.get("/a").map_or(true, |reply| reply.status == 503),
    }
}

#[test]
fn connections() {
    let (weir, _upstream) = listening("limits = { connections = 3 }");
    let mut first = weir.client();
    assert_eq!(first.get("/a").map(|r| r.status), Ok(200));
    let mut held: Vec<Client> = Vec::new();
    wait::until("the listener is full", SOON, || {
        let mut client = weir.client();
        let served = client.get("/a").is_ok_and(|reply| reply.status == 200);
        held.push(client);
        !served
    });
    assert!(held.len() <= 3, "{} connections beside the first", held.len());
    counted(&weir, "connections");
    assert_eq!(first.get("/a").map(|r| r.status), Ok(200), "open ones go on");
    held.clear();
    wait::until("there is room again", SOON, || weir.get("/a").is_ok_and(|r| r.status == 200));
}

#[test]
fn connections_per_source() {
    let (weir, _upstream) = listening("limits = { connections_per_source = 2 }");
    let source = Ipv4Addr::new(127, 0, 0, 9);
    let from = |source| Client::connect_from(source, weir.web());
    let mut held: Vec<Client> = (0..2).map(|_| from(source).expect("accepted")).collect();
    for client in &mut held {
        assert_eq!(client.get("/a").map(|r| r.status), Ok(200));
    }
    assert!(turned_away(from(source)), "a third connection of this source");
    counted(&weir, "connections_per_source");
    let mut other = from(Ipv4Addr::new(127, 0, 0, 10)).expect("accepted");
    assert_eq!(other.get("/a").map(|r| r.status), Ok(200), "another source");
    held.clear();
    let served = || from(source).is_ok_and(|mut c| c.get("/a").is_ok_and(|r| r.status == 200));
    wait::until("there is room again", SOON, served);
}

#[test]
fn body_min_rate() {
    let (weir, _upstream) = listening("limits = { body_min_rate = 1000 }");
    let mut client = weir.client();
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    client.send(head).expect("it is sent");
    let begun = Instant::now();
    let reply = wait::value("the slow body is refused", SOON, || {
        drop(client.send("a"));
        client.reply_within("POST", Duration::from_millis(200)).ok()
    });
    assert_eq!(reply.status, 408, "{reply:?}");
    assert!(begun.elapsed() > Duration::from_secs(4), "the grace of 5 s was not given");
    assert!(matches!(client.end(SOON), End::Closed(_)));
    counted(&weir, "body_min_rate");
}

/// An origin that greets, waits until it may, and does the rest.
fn patient(
    greeting: &'static str,
    may: Arc<AtomicBool>,
    rest: impl Fn(&mut Conn) + Send + Sync + 'static,
) -> Upstream {
    Upstream::start(move |conn: &mut Conn| {
        if conn.head().is_some() {
            conn.write(greeting);
            wait::until("the origin may go on", SOON, || may.load(Ordering::Acquire));
            rest(conn);
        }
    })
}

#[test]
fn body_min_rate_of_a_body_that_nobody_asked_for() {
    let may = Arc::new(AtomicBool::new(false));
    let upstream = patient("", may.clone(), |conn| {
        conn.write("HTTP/1.1 100 Continue\r\n\r\n");
        conn.drain();
    });
    let weir = Weir::start(Edge::simple(upstream.port()));
    let mut client = weir.client();
    let head = "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    client.send(head).expect("it is sent");
    assert_eq!(client.end(Duration::from_millis(6500)), End::Open(Vec::new()), "it waits");
    may.store(true, Ordering::Release);
    assert_eq!(client.exact(25), b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn body_min_rate_of_a_reply() {
    const BURST: usize = 16 << 20;
    let may = Arc::new(AtomicBool::new(false));
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
    let upstream = patient(head, may.clone(), |conn| {
        conn.write(vec![b'z'; BURST]);
        conn.drain();
    });
    let lines = "limits = { body_min_rate = 134217728 }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let request = "GET /a HTTP/1.0\r\nHost: a\r\n\r\n";
    let mut reader = weir.client();
    reader.send(request).expect("it is sent");
    let mut idler = weir.client();
    idler.send(request).expect("it is sent");
    let End::Open(got) = reader.end(Duration::from_millis(6500)) else {
        panic!("a quiet stream was cut");
    };
    assert!(got.ends_with(b"data: 1\n\n"), "{}", String::from_utf8_lossy(&got));
    may.store(true, Ordering::Release);
    assert_eq!(reader.exact(BURST).len(), BURST, "the time before does not count");
    // The other one takes nothing.
    counted(&weir, "body_min_rate");
    assert!(!matches!(idler.end(SOON), End::Open(_)));
}

#[test]
fn first_byte() {
    timed_out("first_byte", "timeouts = { first_byte = \"300ms\" }", "", None);
}

#[test]
fn head() {
    timed_out("head", "timeouts = { head = \"300ms\" }", "GET /a HTTP/1.1\r\nHost", Some(408));
}

#[test]
fn body_idle() {
    let start = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc";
    timed_out("body_idle", "timeouts = { body_idle = \"300ms\" }", start, Some(408));
}

#[test]
fn body_idle_of_a_reply_that_is_not_taken() {
    const BODY: usize = 64 << 20;
    let upstream = Upstream::start(|conn: &mut Conn| {
        if conn.request().is_some() {
            conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"));
            conn.write(vec![b'z'; BODY]);
        }
    });
    let lines = "timeouts = { body_idle = \"500ms\" }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let mut client = weir.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    client.exact(1);
    counted(&weir, "body_idle");
    assert!(!matches!(client.end(SOON), End::Open(_)), "the connection is closed");
    wait::until("the origin is let go", SOON, || upstream.logs().iter().all(|log| log.closed()));
}

#[test]
fn keepalive() {
    let (weir, _upstream) = listening("timeouts = { keepalive = \"300ms\" }");
    let mut client = weir.client();
    assert_eq!(client.get("/a").map(|r| r.status), Ok(200));
    assert_eq!(client.end(SOON), End::Closed(Vec::new()), "silently");
    counted(&weir, "keepalive");
}

#[test]
fn tunnel_idle() {
    let (weir, upstream) = listening("timeouts = { tunnel_idle = \"2s\" }");
    let mut socket = WebSocket::open(weir.web(), "/ws");
    for n in 0..5 {
        // Longer than the limit in all, but never silent for it.
        assert_eq!(socket.echo("hello"), "hello", "{n}");
        assert!(matches!(socket.0.end(Duration::from_millis(600)), End::Open(_)), "{n}");
    }
    assert!(matches!(socket.0.end(SOON), End::Closed(_)));
    counted(&weir, "tunnel_idle");
    wait::until("the origin is let go", SOON, || upstream.logs().iter().all(|log| log.closed()));
}

#[test]
fn proxy_protocol() {
    let lines = "proxy_protocol = { trusted = [\"127.0.0.0/8\"], timeout = \"300ms\" }";
    // The header must come first, so that the harness cannot ask for readiness this way.
    for start in ["", "PROXY TCP4 1.2"] {
        timed_out("proxy_protocol", lines, start, None);
    }
    let (weir, _upstream) = listening(lines);
    let mut client = weir.client();
    client.send(format!("PROXY TCP4 {}", "1".repeat(200))).expect("it is sent");
    assert!(!matches!(client.end(SOON), End::Open(_)), "a header that is too long");
    counted(&weir, "proxy_protocol");
}

/// Weir with TLS on `web`.
fn secure(lines: &str) -> (Weir, Upstream) {
    let upstream = Upstream::tagged();
    let pem = Authority::new().issue(&["a"], VALID);
    let edge = Edge::simple(upstream.port());
    let certificate = edge.certificate("a", &pem);
    let lines = format!("{lines}\ntls = {{ certificates = [{certificate}] }}");
    (Weir::start(edge.listener("web", &lines)), upstream)
}

#[test]
fn handshake() {
    let (weir, _upstream) = secure("timeouts = { handshake = \"300ms\" }");
    for start in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let before = weir.metric(HITS, &[("limit", "handshake")]);
        let mut client = weir.client();
        client.send(start).expect("it is sent");
        assert!(!matches!(client.end(SOON), End::Open(_)), "{start:?}");
        weir.metric_reaches(HITS, &[("limit", "handshake")], before + 1.0);
    }
}

#[test]
fn handshake_bytes() {
    let (weir, _upstream) = secure("");
    let mut client = weir.client();
    // A ClientHello of a length that is allowed, in records so small that they weigh more.
    let mut record = vec![0x16, 3, 1, 0, 16];
    record.extend([0; 16]);
    let mut first = record.clone();
    first[5..9].copy_from_slice(&[1, 0, 0xff, 0xf0]);
    let rest = record.repeat(0xfff0 / 16 - 1);
    drop(client.send(first).and_then(|()| client.send(rest)));
    assert!(!matches!(client.end(SOON), End::Open(_)));
    counted(&weir, "handshake_bytes");
}

/// An origin that answers `/slow` requests once it may.
fn slow(may: Arc<AtomicBool>) -> Upstream {
    Upstream::start(move |conn: &mut Conn| {
        while let Some(request) = conn.request() {
            if request.target == "/slow" {
                wait::until("/slow may be answered", SOON, || may.load(Ordering::Acquire));
            }
            conn.answer(&request);
        }
    })
}

/// With `/slow` in flight a second request meets the breaker.
#[track_caller]
fn breaks(breakers: &str, limit: &str) {
    let may = Arc::new(AtomicBool::new(false));
    let upstream = slow(may.clone());
    let weir = pooled(&format!("circuit_breakers = {{ {breakers} }}"), &upstream);
    assert_eq!(weir.get("/a").map(|r| r.status), Ok(200));
    let mut held = weir.client();
    held.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    wait::until("it is in flight", SOON, || upstream.count() == 2);
    let reply = weir.get("/b").expect("a reply of Weir's own");
    assert_eq!(reply.status, 503, "{limit}: {reply:?}");
    assert!(reply.field("proxy-status").is_some_and(|v| v.contains("error=")), "{reply:?}");
    counted(&weir, limit);
    may.store(true, Ordering::Release);
    assert_eq!(held.reply("GET").text(), "GET /slow 0", "the one in flight is served");
    wait::until("there is room again", SOON, || weir.get("/a").is_ok_and(|r| r.status == 200));
}

#[test]
fn origin_requests() {
    breaks("requests = 1", "origin_requests");
}

#[test]
fn origin_connections() {
    breaks("connections = 1", "origin_connections");
}

#[test]
fn origin_pending() {
    // A listening socket whose queue is full: connections to it stay in the making.
    let full = crate::origin_faults::FullQueue::new();
    let lines = "circuit_breakers = { pending = 1 }\ntimeouts = { connect = \"10s\" }";
    let edge = Edge::simple(full.port).pool("p", lines, &[origin("o1", full.port)]);
    let weir = Weir::start(edge);
    let mut held = weir.client();
    held.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    wait::until("a second one is refused", SOON, || {
        let mut client = weir.client();
        drop(client.send("GET /b HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.reply_within("GET", Duration::from_millis(500)).is_ok_and(|r| r.status == 503)
    });
    counted(&weir, "origin_pending");
}

#[test]
fn retry_budget() {
    let upstream = Upstream::start(|conn: &mut Conn| drop(conn.request()));
    let lines = "retries = { attempts = 2, budget_percent = 0, budget_min = 0 }";
    let origins = [origin("o1", upstream.port()), origin("o2", free_port())];
    let edge = Edge::simple(upstream.port()).pool("p", lines, &origins);
    let weir = Weir::start(edge);
    wait::until("a request fails", SOON, || weir.get("/a").is_ok_and(|r| r.status == 502));
    counted(&weir, "retry_budget");
}

#[test]
fn interim_replies() {
    let upstream = Upstream::start(|conn: &mut Conn| {
        if conn.request().is_some() {
            conn.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(40));
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            conn.drain();
        }
    });
    let weir = pooled("", &upstream);
    assert_eq!(weir.get("/a").map(|r| r.status), Ok(502));
    counted(&weir, "interim_replies");
}

#[test]
fn reply_head() {
    let upstream = Upstream::start(|conn: &mut Conn| {
        if conn.request().is_some() {
            let field = format!("X: {}\r\n", "a".repeat(1000));
            conn.write(format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(2000)));
            conn.drain();
        }
    });
    let weir = pooled("", &upstream);
    assert_eq!(weir.get("/a").map(|r| r.status), Ok(502));
    counted(&weir, "reply_head");
}
