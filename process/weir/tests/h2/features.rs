//! What HTTP/2 offers to clients, before origins of both protocols: bodies and trailers whole and
//! both ways, many streams at once, back-pressure, priorities, and goodbyes in two steps.

use super::upstream::over_h2;
use crate::framing::rig::by_request;
use crate::support::client::Client;
use crate::support::edge::Edge;
use crate::support::h2::client::{H2, Outcome};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::h2::origin::{Exchange, Origin};
use crate::support::meter;
use crate::support::process::Weir;
use crate::support::reader::{Length, Message};
use crate::support::siege::ALLOCATOR_KIB;
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// Bytes that repeat late, so that a piece lost, doubled or out of place shows.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Whether two bodies are equal, without showing megabytes when they are not.
#[track_caller]
pub(super) fn same(got: &[u8], sent: &[u8], what: &str) {
    assert_eq!(got.len(), sent.len(), "{what}: length");
    let differs = got.iter().zip(sent).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}: first byte that differs");
}

/// Sends back what it got, with a field that tells how long that was.
async fn echo(mut exchange: Exchange) {
    if !exchange.read().await {
        return;
    }
    let body = exchange.request.body.clone();
    let length = body.len().to_string();
    exchange.reply(200, &[("content-length", &length)], &body).await;
}

#[test]
fn requests_of_every_kind_before_an_origin_of_http1() {
    let upstream = Upstream::tagged();
    let ca = Authority::new();
    let edge = Edge::simple(upstream.port());
    let certificate = edge.certificate("c", &ca.issue(&["a.test"], VALID));
    let tls = format!("tls = {{ certificates = [{certificate}] }}");
    let weir = Weir::start(edge.listener("secure", &tls));
    let config = ca.client_alpn(&["h2", "http/1.1"]);
    let secure = H2::tls(weir.address("secure"), "a.test", config);
    for (mut client, scheme) in [(H2::connect(weir.web()), "http"), (secure, "https")] {
        let block = |method: &str, path: &str| Block::new().pseudo(method, scheme, "a.test", path);
        let reply = client.ask(&block("GET", "/get"), &[]).expect("a reply");
        assert_eq!((reply.status, reply.text()), (200, "GET /get 0".into()), "{scheme}");
        let reply = client.ask(&block("HEAD", "/head"), &[]).expect("a reply");
        assert_eq!((reply.status, reply.text()), (200, String::new()), "{scheme}");
        assert_eq!(reply.field("content-length"), Some("12"), "{scheme}");
        let reply = client.ask(&block("POST", "/post"), b"hello").expect("a reply");
        assert_eq!(reply.text(), "POST /post 5", "{scheme}");
        let known = block("PUT", "/put").field("content-length", "5");
        assert_eq!(client.ask(&known, b"hello").expect("a reply").text(), "PUT /put 5");
        let options = block("OPTIONS", "*");
        assert_eq!(client.ask(&options, &[]).expect("a reply").text(), "OPTIONS * 0", "{scheme}");
        assert_eq!(client.ask(&block("DELETE", "/d?q=1"), &[]).map(|r| r.status), Ok(200));
        let requests = upstream.take().requests;
        let framing: Vec<Length> = requests.iter().map(|request| request.length).collect();
        let (none, exact) = (Length::None, Length::Exact(5));
        assert_eq!(framing, [none, none, Length::Chunked, exact, none, none], "{scheme}");
        for request in &requests {
            assert_eq!(request.version, "HTTP/1.1");
            assert_eq!(request.field("host"), Some("a.test"), "{request:?}");
            assert_eq!(request.field("x-forwarded-proto"), Some(scheme), "{request:?}");
            assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"), "{request:?}");
        }
        assert_eq!(requests[5].target, "/d?q=1");
    }
}

#[test]
fn alpn_decides_over_tls() {
    let upstream = Upstream::tagged();
    let ca = Authority::new();
    let edge = Edge::simple(upstream.port());
    let certificate = edge.certificate("c", &ca.issue(&["a.test"], VALID));
    let tls = format!("tls = {{ certificates = [{certificate}] }}");
    let old = format!("{tls}\nprotocols = [\"http/1.1\"]");
    let weir = Weir::start(edge.listener("secure", &tls).listener("old", &old));
    for (listener, offered, agreed) in [
        ("secure", &["h2", "http/1.1"][..], "h2"),
        ("secure", &["http/1.1", "h2"], "h2"),
        ("secure", &["http/1.1"], "http/1.1"),
        ("secure", &[], ""),
        ("old", &["h2", "http/1.1"], "http/1.1"),
    ] {
        let client = Client::tls(weir.address(listener), "a.test", ca.client_alpn(offered));
        let mut client = client.unwrap_or_else(|e| panic!("{listener} {offered:?}: {e}"));
        let alpn = String::from_utf8_lossy(client.alpn()).into_owned();
        assert_eq!(alpn, agreed, "{listener} {offered:?}");
        let status = match agreed {
            "h2" => H2::over(client, &[]).get("/a").map(|reply| reply.status),
            _ => client.get("/a").map(|reply| reply.status),
        };
        assert_eq!(status, Ok(200), "{listener} {offered:?}");
    }
    let none = Client::tls(weir.address("old"), "a.test", ca.client_alpn(&["h2"]));
    assert!(none.is_err(), "no protocol in common, and yet a connection");
    // A listener that was told so takes no preface.
    let edge = Edge::simple(upstream.port()).listener("web", "protocols = [\"http/1.1\"]");
    let weir = Weir::start(edge);
    let mut client = H2::connect(weir.web());
    let id = client.open(&Block::request("GET", "/a"), true);
    assert_eq!(client.outcome(id, SOON), Outcome::Gone);
}

#[test]
fn bodies_arrive_whole_both_ways() {
    let origin = Origin::start(echo);
    let old = Upstream::start(by_request(|conn: &mut Conn, mut request: Message| {
        if !conn.body(&mut request) {
            return false;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        conn.write(head) && conn.write(&request.body)
    }));
    for (weir, origins) in [
        (Weir::start(over_h2(&origin)), "HTTP/2"),
        (Weir::start(Edge::simple(old.port())), "HTTP/1.1"),
    ] {
        let mut client = H2::connect(weir.web());
        for size in [0, 1, 16_384, 16_385, 65_535, 65_536, MIB, 10 * MIB] {
            let body = pattern(size);
            for length in [true, false] {
                let what = format!("{size} bytes, length said: {length}, origin of {origins}");
                let mut block = Block::request("POST", "/echo");
                if length {
                    block = block.field("content-length", size.to_string());
                }
                let id = client.open(&block, false);
                // The reply comes while the upload goes on: both windows are kept open.
                client.upload(id, &body, true);
                let reply = client.reply(id).unwrap_or_else(|e| panic!("{what}: {e}"));
                same(&reply.body, &body, &what);
                let length = reply.field("content-length").unwrap_or("0");
                assert_eq!(length, size.to_string(), "{what}");
            }
        }
        // And to a client of HTTP/1.1.
        let body = pattern(MIB);
        let mut client = weir.client();
        client
            .send(format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {MIB}\r\n\r\n"))
            .expect("it is sent");
        client.send(&body).expect("it is sent");
        same(&client.reply("POST").body, &body, &format!("HTTP/1.1, origin of {origins}"));
    }
    assert_eq!(origin.faults(), Vec::<String>::new());
}

#[test]
fn trailers_go_both_ways() {
    let origin = Origin::start(|mut exchange| async move {
        exchange.read().await;
        exchange.head(200, &[("trailer", "x-sum")], false);
        exchange.write(b"hello", false).await;
        exchange.trailers(&[("x-sum", "5"), ("grpc-status", "0")]);
    });
    let trailers = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    let weir = Weir::start(over_h2(&origin));
    let mut client = H2::connect(weir.web());
    let id = client.open(&Block::request("POST", "/a").field("te", "trailers"), false);
    client.upload(id, b"hi", false);
    let sum = Block::new().field("x-sum", "2").field("content-length", "9").field("host", "evil");
    client.send(frame::headers(id, &sum.0, true));
    let reply = client.reply(id).expect("a reply");
    assert_eq!((reply.status, reply.text()), (200, "hello".into()));
    assert_eq!(reply.trailers, trailers(&[("x-sum", "5"), ("grpc-status", "0")]));
    let seen = origin.request("/a");
    assert_eq!(seen.message.trailers, trailers(&[("x-sum", "2")]), "forbidden names are dropped");
    assert_eq!(seen.message.field("te"), Some("trailers"));

    let old = Upstream::start(by_request(|conn: &mut Conn, mut request: Message| {
        conn.body(&mut request)
            && conn.write(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
                 X-Sum: 5\r\n\r\n",
            )
    }));
    let weir = Weir::start(Edge::simple(old.port()));
    let mut client = H2::connect(weir.web());
    let id = client.open(&Block::request("POST", "/b").field("te", "trailers"), false);
    client.upload(id, b"hi", false);
    client.send(frame::headers(id, &Block::new().field("x-sum", "2").0, true));
    let reply = client.reply(id).expect("a reply");
    assert_eq!((reply.text(), reply.trailers), ("hello".into(), trailers(&[("x-sum", "5")])));
    let request = old.take().requests.remove(0);
    assert_eq!((request.length, request.text()), (Length::Chunked, "hi".into()));
    assert_eq!(request.trailers, trailers(&[("x-sum", "2")]));
}

#[test]
fn cookies_and_interim_replies() {
    let origin = Origin::start(|mut exchange| async move {
        exchange.interim(103, &[("link", "</a.css>")]);
        exchange.reply(200, &[("set-cookie", "a=1"), ("set-cookie", "b=2")], b"ok").await;
    });
    let old = Upstream::start(by_request(|conn: &mut Conn, _: Message| {
        conn.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            && conn.write(
                "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                 Content-Length: 2\r\n\r\nok",
            )
    }));
    for (weir, what) in [
        (Weir::start(over_h2(&origin)), "HTTP/2"),
        (Weir::start(Edge::simple(old.port())), "HTTP/1.1"),
    ] {
        let mut client = H2::connect(weir.web());
        let block = Block::request("GET", "/a").field("cookie", "a=1");
        let block = block.field("x", "y").field("cookie", "b=2").field("cookie", "c=3; d=4");
        let reply = client.ask(&block, &[]).expect("a reply");
        let cookies = reply.fields.iter().filter(|(name, _)| name == "set-cookie");
        let cookies: Vec<&str> = cookies.map(|(_, value)| value.as_str()).collect();
        assert_eq!((reply.text(), cookies), ("ok".into(), vec!["a=1", "b=2"]), "{what}");
        let interim: Vec<u16> = reply.interim.iter().map(|interim| interim.status).collect();
        assert_eq!(interim, [103], "{what}");
        assert_eq!(reply.interim[0].field("link"), Some("</a.css>"), "{what}");
    }
    let joined = Some("a=1; b=2; c=3; d=4");
    assert_eq!(old.take().requests[0].field("cookie"), joined);
    assert_eq!(origin.request("/a").message.field("cookie"), joined);
}

#[test]
fn a_hundred_streams_at_once() {
    let origin = Origin::start(|mut exchange| async move {
        // All of them are here before the first is answered.
        if exchange.pause(Duration::from_millis(300)).await {
            exchange.serve().await;
        }
    });
    let weir = Weir::start(over_h2(&origin));
    let mut client = H2::connect(weir.web());
    let body = pattern(20_000);
    let ids: Vec<u32> = (0..100)
        .map(|n| {
            client.open(
                &Block::request(if n % 2 == 0 { "GET" } else { "POST" }, &format!("/{n}")),
                n % 2 == 0,
            )
        })
        .collect();
    for (n, &id) in ids.iter().enumerate().filter(|(n, _)| n % 2 == 1) {
        client.upload(id, &body, true);
        assert!(client.streams[&id].reset.is_none(), "stream {n}");
    }
    for (n, id) in ids.into_iter().enumerate() {
        let reply = client.reply(id).unwrap_or_else(|e| panic!("stream {n}: {e}"));
        let tag = if n % 2 == 0 { format!("GET /{n} 0") } else { format!("POST /{n} 20000") };
        assert_eq!(reply.text(), tag, "I2");
    }
    assert!(origin.most_live() > 50, "{} at once", origin.most_live());
    assert_eq!(origin.faults(), Vec::<String>::new());
}

#[test]
fn a_slow_reader_holds_the_origin_back() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let origin = Origin::start(move |mut exchange| {
        let count = count.clone();
        async move {
            if exchange.request.target != "/large" {
                return exchange.serve().await;
            }
            exchange.head(200, &[], false);
            let piece = pattern(16_384);
            while exchange.write(&piece, false).await {
                count.fetch_add(piece.len(), Ordering::AcqRel);
            }
        }
    });
    let weir = Weir::start(over_h2(&origin));
    let mut client = H2::connect(weir.web());
    client.gives_credit = false;
    assert_eq!(client.get("/small").map(|reply| reply.status), Ok(200));
    let rss = meter::rss_kib(weir.pid());
    let id = client.open(&Block::request("GET", "/large"), true);
    let still = Duration::from_millis(500);
    let mut before = usize::MAX;
    wait::until("the origin is held back", SOON, || {
        client.until_within(still, |_| false);
        let now = written.load(Ordering::Acquire);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < 2 * MIB, "{before} bytes were taken for a window of 64 KiB");
    let came = client.streams[&id].body.len();
    assert!(came <= 65_535, "{came} bytes came through a window of 64 KiB");
    let grown = meter::rss_kib(weir.pid()).saturating_sub(rss);
    assert!(grown < 2_048 + ALLOCATOR_KIB, "{grown} KiB more");
    // Other streams of the connection to the origin go on meanwhile.
    let mut other = H2::connect(weir.web());
    assert_eq!(other.get("/other").map(|reply| reply.text()), Ok("GET /other 0".into()));
    // And with credit it goes on where it stopped.
    client.credit(0, 1 << 20);
    client.credit(id, 1 << 20);
    client.until("a mebibyte more came", |client| client.streams[&id].body.len() >= MIB);
    client.send(frame::reset(id, frame::CANCEL));
    wait::until("the origin is let go", SOON, || origin.resets() == 1);
}

#[test]
fn a_slow_origin_stops_an_upload() {
    let go = Arc::new(AtomicBool::new(false));
    let gate = go.clone();
    let old = Upstream::start(by_request(move |conn: &mut Conn, mut request: Message| {
        // From the first request on, before there is anything that it could hold.
        conn.holds_at_most(64 << 10);
        if request.target == "/gate" {
            wait::until("the gate opens", SOON, || gate.load(Ordering::Acquire));
        }
        conn.body(&mut request) && conn.answer(&request)
    }));
    let gate = go.clone();
    let origin = Origin::start(move |mut exchange| {
        let gate = gate.clone();
        async move {
            while exchange.request.target == "/gate" && !gate.load(Ordering::Acquire) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            exchange.serve().await;
        }
    });
    for (weir, what, most) in [
        (Weir::start(over_h2(&origin)), "HTTP/2", MIB),
        // Weir's socket holds up to four mebibytes more (net.ipv4.tcp_wmem).
        (Weir::start(Edge::simple(old.port())), "HTTP/1.1", 6 * MIB),
    ] {
        go.store(false, Ordering::Release);
        let mut client = H2::connect(weir.web());
        assert_eq!(client.get("/first").map(|reply| reply.status), Ok(200), "{what}");
        let rss = meter::rss_kib(weir.pid());
        // Enough that a client which nobody stops is seen; each byte is work on a busy machine.
        let body = pattern(most + MIB);
        let id = client.open(&Block::request("POST", "/gate"), false);
        let done = client.upload_within(id, &body, true, Duration::from_secs(1));
        let sent = client.streams[&id].uploaded;
        assert!(!done && sent < most, "{what}: {sent} bytes were taken though nobody reads");
        let grown = meter::rss_kib(weir.pid()).saturating_sub(rss);
        assert!(grown < 2_048 + ALLOCATOR_KIB, "{what}: {grown} KiB more");
        assert_eq!(client.get("/other").map(|reply| reply.text()), Ok("GET /other 0".into()));
        go.store(true, Ordering::Release);
        client.upload(id, &body[sent..], true);
        let text = client.reply(id).map(|reply| reply.text());
        assert_eq!(text, Ok(format!("POST /gate {}", body.len())), "{what}");
    }
}

#[test]
fn an_urgent_reply_overtakes() {
    let upstream = Upstream::start(by_request(|conn: &mut Conn, request: Message| {
        let size = if request.target == "/large" { 4 * MIB } else { 200_000 };
        conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"))
            && conn.write(vec![b'p'; size])
    }));
    let weir = Weir::start(Edge::simple(upstream.port()));
    for by_frame in [false, true] {
        // Streams have room; the connection's window is what they compete for.
        let mut client = H2::with(weir.web(), &[(frame::INITIAL_WINDOW_SIZE, 1 << 24)]);
        client.gives_credit = false;
        let (low, high) = if by_frame { ("u=3", "u=3") } else { ("u=7", "u=0") };
        let large = client.open(&Block::request("GET", "/large").field("priority", low), true);
        let filled = |client: &H2, id: u32| client.streams[&id].body.len();
        client.until("the window is full", |client| filled(client, large) == 65_535);
        let urgent = client.open(&Block::request("GET", "/urgent").field("priority", high), true);
        if by_frame {
            client.send(frame::priority_update(large, "u=7"));
            client.send(frame::priority_update(urgent, "u=1"));
        }
        client.send(frame::ping([0; 8]));
        client.until("Weir knows of both", |client| client.pongs == 1);
        wait::until("the urgent reply is at hand", SOON, || upstream.count().is_multiple_of(2));
        for _ in 0..200 {
            if client.streams[&urgent].ended {
                break;
            }
            client.credit(0, 16_384);
            client.until_within(Duration::from_millis(20), |_| false);
        }
        assert!(client.streams[&urgent].ended, "the urgent reply is not whole");
        let waited = filled(&client, large) - 65_535;
        assert!(waited <= 150_000, "{waited} bytes of the other one came before it");
    }
}

/// Holds `/wait` until the gate opens, and answers.
fn gated(gate: &Arc<AtomicBool>) -> Upstream {
    let gate = gate.clone();
    Upstream::start(by_request(move |conn: &mut Conn, request: Message| {
        if request.target == "/wait" {
            wait::until("the gate opens", SOON, || gate.load(Ordering::Acquire));
        }
        conn.answer(&request)
    }))
}

/// Expects the two steps of a goodbye while a stream is open, and its end.
#[track_caller]
fn says_goodbye(client: &mut H2, id: u32, upstream: &Upstream, gate: &AtomicBool) {
    client.until("the first GOAWAY", |client| !client.go_aways.is_empty());
    let first = client.go_aways[0];
    assert_eq!((first.last, first.code), (0x7fff_ffff, frame::NO_ERROR), "a warning first");
    client.until("the second GOAWAY", |client| client.go_aways.len() == 2);
    let second = client.go_aways[1];
    assert_eq!((second.last, second.code), (id, frame::NO_ERROR), "the last stream taken");
    let before = upstream.count();
    let late = client.open(&Block::request("GET", "/late"), true);
    client.send(frame::ping([0; 8]));
    client.until("it is looked at", |client| client.pongs == 1);
    assert!(client.streams[&late].head.is_none(), "a stream behind the last one is ignored");
    gate.store(true, Ordering::Release);
    let text = client.reply(id).map(|reply| reply.text());
    assert_eq!(text, Ok("GET /wait 0".into()), "what is open is served");
    assert_eq!(client.closed("after the last stream", SOON), Some(frame::NO_ERROR));
    assert_eq!(upstream.count(), before, "the late request went upstream");
}

#[test]
fn goodbye_in_two_steps_when_weir_stops() {
    let gate = Arc::new(AtomicBool::new(false));
    let upstream = gated(&gate);
    let mut weir = Weir::start(Edge::simple(upstream.port()).drain("30s"));
    let mut idle = H2::connect(weir.web());
    assert_eq!(idle.get("/a").map(|reply| reply.status), Ok(200));
    let mut client = H2::connect(weir.web());
    let id = client.open(&Block::request("GET", "/wait"), true);
    wait::until("the request is at the origin", SOON, || upstream.count() == 2);
    weir.guard.signal(Signal::TERM);
    says_goodbye(&mut client, id, &upstream, &gate);
    assert_eq!(idle.closed("idle", SOON), Some(frame::NO_ERROR));
    assert!(weir.guard.exit(SOON).success());
}

#[test]
fn goodbye_in_two_steps_when_a_listener_goes() {
    let gate = Arc::new(AtomicBool::new(false));
    let upstream = gated(&gate);
    let edge = Edge::simple(upstream.port()).listener("old", "");
    let mut weir = Weir::start(edge.clone());
    let mut stays = H2::connect(weir.web());
    assert_eq!(stays.get("/a").map(|reply| reply.status), Ok(200));
    let mut client = H2::connect(weir.address("old"));
    let id = client.open(&Block::request("GET", "/wait"), true);
    wait::until("the request is at the origin", SOON, || upstream.count() == 2);
    weir.reload(edge.without_listener("old"));
    says_goodbye(&mut client, id, &upstream, &gate);
    assert_eq!(stays.get("/b").map(|reply| reply.status), Ok(200));
    assert_eq!(stays.go_aways, [], "a connection of another listener");
}

#[test]
fn the_last_request_of_a_connection_is_followed_by_a_goodbye() {
    let upstream = Upstream::tagged();
    let lines = "limits = { requests_per_connection = 3 }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let mut client = H2::connect(weir.web());
    for n in 0..3 {
        let path = format!("/{n}");
        assert_eq!(client.get(&path).map(|reply| reply.text()), Ok(format!("GET {path} 0")));
    }
    assert_eq!(client.closed("after three", SOON), Some(frame::NO_ERROR));
    assert_eq!(upstream.take().requests.len(), 3);
}

#[test]
fn the_access_log_says_http2() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port());
    let log = edge.file("access.log", "");
    let lines = format!("[logging]\naccess = {{ path = {log:?}, format = \"json\" }}");
    let weir = Weir::start(edge.runtime(&lines));
    let mut client = H2::connect(weir.web());
    assert_eq!(client.get("/good").map(|reply| reply.status), Ok(200));
    let bad = client.open(&Block::request("GET", "/bad").field("connection", "x"), true);
    assert_eq!(client.outcome(bad, SOON), Outcome::Reset(frame::PROTOCOL_ERROR));
    assert_eq!(weir.get("/old").map(|reply| reply.status), Ok(200));
    let read = || std::fs::read_to_string(&log).expect("there is a log");
    wait::until("every request is in the log", SOON, || {
        read().lines().count() >= 2 && read().contains("/old")
    });
    let lines: Vec<serde_json::Value> =
        read().lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    let of = |target: &str| lines.iter().find(|line| line["target"] == target);
    let good = of("/good").expect("a line for it");
    assert_eq!((&good["protocol"], &good["status"]), (&"HTTP/2.0".into(), &200.into()), "{good}");
    assert_eq!(of("/old").expect("a line for it")["protocol"], "HTTP/1.1");
}
