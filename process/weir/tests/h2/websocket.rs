//! WebSocket over HTTP/2 (RFC 8441): clients and origins of both protocols in every pair.

use super::upstream::over_h2;
use crate::support::client::End;
use crate::support::edge::Edge;
use crate::support::h2::client::{H2, Outcome};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::h2::origin::{Exchange, Options, Origin};
use crate::support::process::Weir;
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use crate::support::ws::{self, WebSocket};

/// The first byte of a close frame.
const CLOSE: u8 = 0x88;

/// The field block that opens a WebSocket (RFC 8441 §5).
fn connect(path: &str) -> Block {
    Block::new()
        .field(":method", "CONNECT")
        .field(":protocol", "websocket")
        .field(":scheme", "http")
        .field(":authority", "a")
        .field(":path", path)
        .field("sec-websocket-version", "13")
        .field("sec-websocket-protocol", "chat")
        .field("origin", "http://a")
}

/// An open WebSocket on a stream.
struct Socket {
    id: u32,
    read: usize,
}

impl Socket {
    #[track_caller]
    fn open(client: &mut H2, path: &str) -> Self {
        client.until("Weir offers extended CONNECT", |client| {
            client.settings.get(&frame::ENABLE_CONNECT_PROTOCOL) == Some(&1)
        });
        let id = client.open(&connect(path), false);
        client.until("it is open", |client| {
            let stream = &client.streams[&id];
            stream.head.is_some() || stream.reset.is_some()
        });
        let stream = &client.streams[&id];
        assert_eq!(stream.head.as_ref().map(|head| head.status), Some(200), "{stream:?}");
        assert!(!stream.ended, "a tunnel does not end with its head");
        let head = stream.head.as_ref().expect("it came");
        assert!(!head.has("sec-websocket-accept"), "RFC 8441 §5: {head:?}");
        Self { id, read: 0 }
    }

    /// Sends a frame and gives the frame that comes back.
    #[track_caller]
    fn exchange(&mut self, client: &mut H2, kind: u8, text: &str) -> Vec<u8> {
        let want = self.read + 2 + text.len();
        client.upload(self.id, &ws::client_frame(kind, text.as_bytes()), false);
        client.until("the echo comes", |client| client.streams[&self.id].body.len() >= want);
        let frame = client.streams[&self.id].body[self.read..want].to_vec();
        self.read = want;
        frame
    }

    #[track_caller]
    fn echo(&mut self, client: &mut H2, text: &str) -> String {
        let frame = self.exchange(client, ws::TEXT, text);
        assert_eq!(frame[0], ws::TEXT, "a text frame");
        String::from_utf8_lossy(&frame[2..]).into_owned()
    }
}

/// Accepts and echoes; others get their tag.
async fn echo_or_tag(mut exchange: Exchange) {
    if exchange.request.method != "CONNECT" {
        return exchange.serve().await;
    }
    exchange.head(200, &[], false);
    let mut buffer = Vec::new();
    while let Some(piece) = exchange.piece().await {
        buffer.extend(piece);
        for frame in ws::echoes(&mut buffer) {
            let closes = frame[0] == CLOSE;
            if !exchange.write(&frame, closes).await || closes {
                return;
            }
        }
    }
    exchange.write(&[], true).await;
}

fn h2_origin() -> Origin {
    Origin::with(Options { connect: true, ..Options::default() }, echo_or_tag)
}

#[test]
fn a_client_of_http2_before_an_origin_of_http1() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let ca = Authority::new();
    let edge = Edge::simple(upstream.port());
    let certificate = edge.certificate("c", &ca.issue(&["a.test"], VALID));
    let tls = format!("tls = {{ certificates = [{certificate}] }}");
    let weir = Weir::start(edge.listener("secure", &tls));
    let secure = H2::tls(weir.address("secure"), "a.test", ca.client_alpn(&["h2"]));
    for mut client in [H2::connect(weir.web()), secure] {
        let mut sockets: Vec<Socket> =
            (0..10).map(|n| Socket::open(&mut client, &format!("/ws{n}"))).collect();
        for turn in 0..10 {
            for (n, socket) in sockets.iter_mut().enumerate() {
                let text = format!("turn {turn} of {n}");
                assert_eq!(socket.echo(&mut client, &text), text, "I2");
            }
            // Requests go on beside them.
            let path = format!("/plain{turn}");
            let text = client.get(&path).map(|reply| reply.text());
            assert_eq!(text, Ok(format!("GET {path} 0")), "I2");
        }
    }
    let bytes: Vec<u8> = upstream.logs().iter().flat_map(|log| log.bytes()).collect();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("GET /ws0 HTTP/1.1\r\n"), "an upgrade of HTTP/1.1 to the origin");
    for line in ["sec-websocket-version: 13", "sec-websocket-protocol: chat", "upgrade: websocket"]
    {
        assert!(text.to_ascii_lowercase().contains(line), "{line} is missing");
    }
    assert!(!text.contains(":protocol"), "a pseudo-header field was forwarded");
}

#[test]
fn a_client_of_http1_before_an_origin_of_http2() {
    let origin = h2_origin();
    let weir = Weir::start(over_h2(&origin));
    let mut sockets: Vec<WebSocket> =
        (0..10).map(|n| WebSocket::open(weir.web(), &format!("/ws{n}"))).collect();
    for turn in 0..10 {
        for (n, socket) in sockets.iter_mut().enumerate() {
            let text = format!("turn {turn} of {n}");
            assert_eq!(socket.echo(&text), text, "I2");
        }
    }
    let seen = origin.request("/ws0").message;
    assert_eq!((&seen.method[..], seen.field(":protocol")), ("CONNECT", Some("websocket")));
    assert_eq!(seen.field("sec-websocket-version"), Some("13"));
    for name in ["sec-websocket-key", "upgrade", "connection"] {
        assert!(!seen.has(name), "RFC 8441 §5: {name} in {seen:?}");
    }
    // The end of the client ends the stream, and that alone.
    let first = sockets.remove(0);
    first.0.finish();
    wait::until("the origin sees the end", SOON, || origin.live() == 9);
    assert_eq!(sockets[0].echo("still here"), "still here");
    assert_eq!(origin.faults(), Vec::<String>::new());
}

#[test]
fn http2_on_both_sides() {
    let origin = h2_origin();
    let weir = Weir::start(over_h2(&origin));
    let mut client = H2::connect(weir.web());
    let mut first = Socket::open(&mut client, "/first");
    let mut second = Socket::open(&mut client, "/second");
    for turn in 0..10 {
        let text = format!("turn {turn}");
        assert_eq!(first.echo(&mut client, &text), text);
        assert_eq!(second.echo(&mut client, &text), text);
    }
    assert!(origin.connections() <= 2, "{} connections", origin.connections());
    // A reset of the client is one at the origin.
    client.send(frame::reset(first.id, frame::CANCEL));
    wait::until("the origin sees it", SOON, || origin.live() == 1);
    assert_eq!(second.echo(&mut client, "still here"), "still here");
    assert_eq!(origin.faults(), Vec::<String>::new());
}

/// Close frames pass like any other, and the ends of the streams follow them, whoever began.
#[test]
fn closing_passes_both_ways() {
    let origin = h2_origin();
    let old = Upstream::start(ws::echo_or_tag);
    for (weir, what) in [
        (Weir::start(over_h2(&origin)), "HTTP/2"),
        (Weir::start(Edge::simple(old.port())), "HTTP/1.1"),
    ] {
        // The client begins: its close frame comes back, then it ends its half.
        let mut client = H2::connect(weir.web());
        let mut socket = Socket::open(&mut client, "/closes");
        assert_eq!(socket.exchange(&mut client, CLOSE, "\u{3}\u{0}")[0], CLOSE, "{what}");
        client.send(frame::data(socket.id, &[], true));
        client.until("the stream ends", |client| {
            let stream = &client.streams[&socket.id];
            stream.ended || stream.reset.is_some()
        });
        assert_eq!(client.get("/after").map(|reply| reply.status), Ok(200), "{what}");
        // The client ends without a word.
        let socket = Socket::open(&mut client, "/ends");
        client.send(frame::data(socket.id, &[], true));
        client.until("the stream ends", |client| {
            let stream = &client.streams[&socket.id];
            stream.ended || stream.reset.is_some()
        });
    }
    let over = || {
        old.logs()
            .iter()
            .filter(|log| log.bytes().starts_with(b"GET /closes"))
            .all(|log| log.closed())
    };
    wait::until("the origin's connection is closed", SOON, over);
    // The origin begins.
    let leaves = Upstream::start(|conn| {
        if let Some(request) = conn.request() {
            conn.write(ws::accept(&request));
            conn.write([CLOSE, 2, 3, 0]);
        }
    });
    let weir = Weir::start(Edge::simple(leaves.port()));
    let mut client = H2::connect(weir.web());
    let socket = Socket::open(&mut client, "/leaves");
    client.until("the close frame comes", |client| {
        client.streams[&socket.id].body == [CLOSE, 2, 3, 0]
    });
    client.until("and the end", |client| {
        let stream = &client.streams[&socket.id];
        stream.ended || stream.reset.is_some()
    });
    let mut old = WebSocket::open(weir.web(), "/leaves");
    assert_eq!(old.0.exact(4), [CLOSE, 2, 3, 0]);
    assert_eq!(old.0.end(SOON), End::Closed(Vec::new()));
}

#[test]
fn an_origin_that_declines() {
    let declining = Upstream::tagged();
    let weir = Weir::start(Edge::simple(declining.port()));
    let mut client = H2::connect(weir.web());
    let id = client.open(&connect("/no"), false);
    client.until("a reply comes", |client| client.streams[&id].head.is_some());
    let head = client.streams[&id].head.clone().expect("it came");
    // The origin's 200 is no switch of protocols, and must not look like one.
    assert_ne!(head.status, 200, "{head:?}");
    // An origin of HTTP/2 that never offered extended CONNECT is not asked for it.
    let plain = Origin::tagged();
    let weir = Weir::start(over_h2(&plain));
    let mut old = weir.client();
    old.send(ws::request("/no")).expect("it is sent");
    let reply = old.reply("GET");
    assert!(reply.status >= 400, "{reply:?}");
    let mut client = H2::connect(weir.web());
    let id = client.open(&connect("/no"), false);
    match client.outcome(id, SOON) {
        Outcome::Reply(reply) => assert!(reply.status >= 400, "{reply:?}"),
        outcome => panic!("{outcome:?}"),
    }
    assert!(plain.seen().iter().all(|seen| seen.message.method != "CONNECT"));
    assert_eq!(plain.faults(), Vec::<String>::new());
}

#[test]
fn odd_requests_for_tunnels() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let weir = Weir::start(Edge::simple(upstream.port()));
    let mut client = H2::connect(weir.web());
    let with = |list: &[(&str, &str)]| Block::new().fields(list);
    let (method, scheme) = ((":method", "CONNECT"), (":scheme", "http"));
    let (authority, path) = ((":authority", "a"), (":path", "/ws"));
    let websocket = (":protocol", "websocket");
    for (what, block) in [
        ("no path", with(&[method, websocket, scheme, authority])),
        ("no scheme", with(&[method, websocket, authority, path])),
        ("twice", with(&[method, websocket, websocket, scheme, authority, path])),
        ("h2c", with(&[method, (":protocol", "h2c"), scheme, authority, path])),
        ("not a token", with(&[method, (":protocol", "a b"), scheme, authority, path])),
        ("empty", with(&[method, (":protocol", ""), scheme, authority, path])),
        ("a line break", with(&[method, (":protocol", "a\r\nb: c"), scheme, authority, path])),
    ] {
        let id = client.open(&block, true);
        match client.outcome(id, SOON) {
            Outcome::Reset(code) => assert_eq!(code, frame::PROTOCOL_ERROR, "{what}"),
            Outcome::Reply(reply) => assert!(reply.status >= 400, "{what}: {reply:?}"),
            outcome => panic!("{what}: {outcome:?}"),
        }
    }
    assert_eq!(client.get("/after").map(|reply| reply.status), Ok(200));
    let lines = upstream.take().lines();
    assert_eq!(lines, ["GET /after"], "I1");
}
