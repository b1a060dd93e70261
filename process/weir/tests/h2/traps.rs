//! Traps that other implementations fell into: one line of a change log each (59), and what comes
//! in one segment with the preface or after a long silence (60).

use super::rig::{CLOSED, Verdict, refused};
use crate::framing::rig::Rig;
use crate::support::client::Client;
use crate::support::edge::Edge;
use crate::support::h2::client::{H2, Outcome};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::h2::wire::Frames;
use crate::support::meter;
use crate::support::process::Weir;
use crate::support::siege::{Bounds, CONNECTION_BLOCKS, Siege};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use std::time::Duration;

fn get(path: &str) -> Vec<u8> {
    Block::request("GET", path).0
}

/// Frames that end the connection, whatever stream they claim (RFC 9113).
#[test]
fn row_59_connection_errors() {
    let mut rig = Rig::new(59);
    let protocol = [Verdict::Connection(&[frame::PROTOCOL_ERROR])];
    let size = [Verdict::Connection(&[frame::FRAME_SIZE_ERROR])];
    let flow = [Verdict::Connection(&[frame::FLOW_CONTROL_ERROR])];
    let closed = [Verdict::Connection(&[frame::PROTOCOL_ERROR, frame::STREAM_CLOSED])];
    let either = [size[0], protocol[0]];
    let raw = frame::frame;
    let push = [&[0, 0, 0, 2][..], &get("/x")].concat();
    let cases: Vec<(&str, Vec<u8>, &[Verdict<'_>])> = vec![
        ("DATA on stream 0", raw(frame::DATA, 0, 0, b"x"), &protocol),
        ("HEADERS on stream 0", frame::headers(0, &get("/x"), true), &protocol),
        ("HEADERS on an even stream", frame::headers(2, &get("/x"), true), &protocol),
        ("CONTINUATION alone", raw(frame::CONTINUATION, 4, 1, &get("/x")), &protocol),
        ("DATA on an idle stream", frame::data(1, b"x", true), &closed),
        ("RST_STREAM on an idle stream", frame::reset(1, 0), &protocol),
        ("RST_STREAM on stream 0", frame::reset(0, 0), &protocol),
        ("RST_STREAM of 3 bytes", raw(frame::RST_STREAM, 0, 1, &[0; 3]), &size),
        ("WINDOW_UPDATE on an idle stream", frame::window_update(1, 1), &protocol),
        ("WINDOW_UPDATE of 0", frame::window_update(0, 0), &protocol),
        ("WINDOW_UPDATE beyond 2^31-1", frame::window_update(0, 0x7fff_ffff), &flow),
        ("WINDOW_UPDATE of 5 bytes", raw(frame::WINDOW_UPDATE, 0, 0, &[1; 5]), &size),
        ("SETTINGS on a stream", raw(frame::SETTINGS, 0, 1, &[]), &protocol),
        ("SETTINGS of 5 bytes", raw(frame::SETTINGS, 0, 0, &[0; 5]), &size),
        ("SETTINGS ACK with a payload", raw(frame::SETTINGS, 1, 0, &[0; 6]), &size),
        ("ENABLE_PUSH of 2", frame::settings(&[(frame::ENABLE_PUSH, 2)]), &protocol),
        (
            "a window beyond 2^31-1",
            frame::settings(&[(frame::INITIAL_WINDOW_SIZE, 1 << 31)]),
            &flow,
        ),
        ("a small frame size", frame::settings(&[(frame::MAX_FRAME_SIZE, 16_383)]), &protocol),
        ("a large frame size", frame::settings(&[(frame::MAX_FRAME_SIZE, 1 << 24)]), &protocol),
        (
            "extended CONNECT of 2",
            frame::settings(&[(frame::ENABLE_CONNECT_PROTOCOL, 2)]),
            &protocol,
        ),
        ("PING on a stream", raw(frame::PING, 0, 1, &[0; 8]), &protocol),
        ("PING of 7 bytes", raw(frame::PING, 0, 0, &[0; 7]), &size),
        ("GOAWAY on a stream", raw(frame::GOAWAY, 0, 1, &[0; 8]), &protocol),
        ("GOAWAY of 7 bytes", raw(frame::GOAWAY, 0, 0, &[0; 7]), &size),
        ("a push by a client", raw(frame::PUSH_PROMISE, 4, 1, &push), &protocol),
        ("PRIORITY on stream 0", raw(frame::PRIORITY, 0, 0, &[0; 5]), &protocol),
        ("PRIORITY_UPDATE on a stream", raw(frame::PRIORITY_UPDATE, 0, 1, &[0; 8]), &protocol),
        ("a frame above 16 KiB", raw(frame::DATA, 0, 1, &[0; 16_385]), &size),
        ("an unknown frame above 16 KiB", raw(0xbb, 0, 0, &[0; 16_385]), &size),
        ("all padding and more", raw(frame::HEADERS, 0xd, 1, &[200, 0x82]), &protocol),
        ("padding without its length", raw(frame::HEADERS, 0xd, 1, &[]), &either),
        (
            "DATA inside a field block",
            [raw(frame::HEADERS, 0, 1, &[0x82]), frame::data(1, b"x", true)].concat(),
            &protocol,
        ),
        (
            "another stream inside a field block",
            [raw(frame::HEADERS, 1, 1, &[0x82]), frame::headers(3, &get("/x"), true)].concat(),
            &protocol,
        ),
        (
            "an unknown frame inside a field block",
            [raw(frame::HEADERS, 1, 1, &[0x82]), raw(0xbb, 0, 0, &[])].concat(),
            &protocol,
        ),
        (
            "a CONTINUATION of another stream",
            [raw(frame::HEADERS, 1, 1, &[0x82]), raw(frame::CONTINUATION, 4, 3, &[])].concat(),
            &protocol,
        ),
    ];
    for (what, bytes, allowed) in cases {
        refused(&mut rig, what, |_| bytes.clone(), allowed);
    }
    rig.finish();
}

/// Streams that were used: their frames are errors or nothing, and never another request.
#[test]
fn row_59_streams_that_ended() {
    let mut rig = Rig::new(59);
    for (what, bytes, may_go_on) in [
        ("DATA", frame::data(1, b"x", true), false),
        ("HEADERS", frame::headers(1, &get("/x"), true), false),
        ("RST_STREAM", frame::reset(1, frame::CANCEL), true),
        ("WINDOW_UPDATE", frame::window_update(1, 1), true),
        ("PRIORITY", frame::priority(1, 0), true),
        ("PRIORITY_UPDATE", frame::priority_update(1, "u=0"), true),
    ] {
        let mut client = H2::connect(rig.weir.web());
        assert_eq!(client.get("/a").map(|reply| reply.text()), Ok("GET /a 0".into()));
        client.send(bytes);
        client.send(frame::ping([0; 8]));
        let served = client.until_within(SOON, |client| client.pongs == 1);
        assert!(served || client.gone().is_some(), "{what} on a stream that ended");
        if may_go_on {
            let text = client.get("/after").map(|reply| reply.text());
            assert_eq!(text, Ok("GET /after 0".into()), "{what} on a stream that ended");
        }
        let lines = rig.taken(what).lines();
        assert!(!lines.iter().any(|line| line.contains("/x")), "I1: {what}: {lines:?}");
        rig.count();
    }
    // A lower number than one that was used never was (RFC 9113 §5.1.1).
    let mut client = H2::connect(rig.weir.web());
    client.expect_stream(5);
    client.send(frame::headers(5, &get("/a"), true));
    assert_eq!(client.reply(5).map(|reply| reply.text()), Ok("GET /a 0".into()));
    client.send(frame::headers(3, &get("/x"), true));
    let code = client.closed("a stream behind its time", CLOSED);
    assert!([Some(frame::PROTOCOL_ERROR), Some(frame::STREAM_CLOSED)].contains(&code), "{code:?}");
    assert_eq!(rig.taken("a stream behind its time").lines(), ["GET /a"]);
    rig.finish();
}

/// What is odd but allowed.
#[test]
fn row_59_allowed() {
    let rig = Rig::new(59);
    let mut client = H2::connect(rig.weir.web());
    client.send(frame::frame(0xbb, 0xff, 0, b"unknown"));
    client.send(frame::settings(&[(0x0f0f, 7), (frame::HEADER_TABLE_SIZE, 0)]));
    client.send(frame::settings(&[(frame::HEADER_TABLE_SIZE, 4096)]));
    client.send(frame::priority(9, 11));
    client.until("SETTINGS are acknowledged", |client| client.settings_acks == 3);
    // 255 bytes of padding on both frames of a request, priority in its head.
    let id = client.next_id();
    let block = Block::request("POST", "/padded").0;
    let padding = [0; 255];
    let head = [&[255][..], &[0, 0, 0, 0, 16], &block, &padding].concat();
    client.send(frame::frame(frame::HEADERS, 0x2c, id, &head));
    client.send(frame::padded(id, b"hello", 255, false));
    client.send(frame::padded(id, b"", 255, true));
    assert_eq!(client.reply(id).map(|reply| reply.text()), Ok("POST /padded 5".into()));
    // The largest frame, the reserved bit of a stream number, and a field block over many frames.
    let id = client.open(&Block::request("POST", "/large"), false);
    client.send(frame::frame(frame::DATA, 0, id | 1 << 31, &[b'x'; frame::MAX_PAYLOAD]));
    client.send(frame::data(id, &[], true));
    assert_eq!(client.reply(id).map(|reply| reply.text()), Ok("POST /large 16384".into()));
    let id = client.next_id();
    let mut bytes = frame::frame(frame::HEADERS, frame::END_STREAM, id, &[]);
    let block = get("/pieces");
    for piece in block.chunks(block.len().div_ceil(4)) {
        bytes.extend(frame::frame(frame::CONTINUATION, 0, id, piece));
    }
    bytes.extend(frame::frame(frame::CONTINUATION, frame::END_HEADERS, id, &[]));
    client.send(bytes);
    assert_eq!(client.reply(id).map(|reply| reply.text()), Ok("GET /pieces 0".into()));
}

/// More streams than allowed are refused, and the others are served.
#[test]
fn row_59_too_many_streams() {
    let (weir, _upstream, work) = super::rig::held();
    let mut client = H2::connect(weir.web());
    client.until("SETTINGS come", |client| !client.settings.is_empty());
    let most = client.settings[&frame::MAX_CONCURRENT_STREAMS];
    assert!(most <= 128, "{most} streams at once");
    let ids: Vec<u32> =
        (0..most).map(|_| client.open(&Block::request("GET", "/slow"), true)).collect();
    let count = usize::try_from(most).expect("a few");
    wait::until("all are at the origin", SOON, || work.live() == count);
    for _ in 0..5 {
        let over = client.open(&Block::request("GET", "/slow"), true);
        assert_eq!(client.outcome(over, SOON), Outcome::Reset(frame::REFUSED_STREAM));
    }
    assert_eq!(work.begun(), count);
    client.send(frame::reset(ids[0], frame::CANCEL));
    wait::until("the work is cancelled", SOON, || work.live() == count - 1);
    assert_eq!(client.get("/fence1").map(|reply| reply.text()), Ok("GET /fence1 0".into()));
}

/// Origins that break the rules: the client gets 502, or a reset where a reply had begun.
#[test]
fn row_59_replies_of_broken_origins() {
    let upstream = Upstream::start(|conn| {
        let Some(mut frames) = Frames::accept(conn, &[]) else { return };
        while let Some((id, fields)) = frames.request() {
            let path = crate::support::h2::wire::value(&fields, ":path");
            let sent = match broken(path, id) {
                Some(bytes) => frames.send(bytes),
                None => frames.answer(id, path),
            };
            if !sent {
                return;
            }
        }
    });
    let lines = "protocols = [\"h2\"]\noutlier_ejection = { consecutive_failures = 0 }\n\
        retries = { attempts = 0 }\ntimeouts = { reply = \"2s\" }";
    let origins = [crate::support::edge::origin("o1", upstream.port())];
    let weir = Weir::start(Edge::simple(upstream.port()).pool("p", lines, &origins));
    let paths = [
        "/no-status",
        "/status-twice",
        "/status-late",
        "/status-words",
        "/status-0",
        "/path",
        "/upper",
        "/connection",
        "/newline",
        "/switching",
        "/interim-ends",
        "/data-first",
        "/push",
        "/index-0",
        "/window-0",
        "/refused",
        "/goaway",
        "/garbage",
        "/preface",
    ];
    for path in paths {
        let mut client = H2::connect(weir.web());
        let id = client.open(&Block::request("GET", path), true);
        match client.outcome(id, SOON) {
            Outcome::Reply(reply) => assert!(reply.status >= 500, "{path}: {reply:?}"),
            Outcome::Reset(code) => assert_ne!(code, frame::NO_ERROR, "{path}"),
            outcome => panic!("{path}: {outcome:?}"),
        }
        let text = client.get("/sound").map(|reply| reply.text());
        assert_eq!(text, Ok("/sound".into()), "behind {path}");
    }
    assert_eq!(weir.metric("weir_panics_total", &[]), 0.0);
}

/// What a broken origin sends for a path.
fn broken(path: &str, id: u32) -> Option<Vec<u8>> {
    let ok = || Block::new().index(8);
    let head = |block: Block| frame::headers(id, &block.0, true);
    Some(match path {
        "/no-status" => head(Block::new().field("x", "y")),
        "/status-twice" => head(ok().index(8)),
        "/status-late" => head(Block::new().field("x", "y").index(8)),
        "/status-words" => head(Block::new().field(":status", "20x")),
        "/status-0" => head(Block::new().field(":status", "65736")),
        "/path" => head(ok().field(":path", "/")),
        "/upper" => head(ok().field("X-Upper", "y")),
        "/connection" => head(ok().field("connection", "close")),
        "/newline" => head(ok().field("x", "a\r\nset-cookie: b")),
        "/switching" => head(Block::new().field(":status", "101")),
        "/interim-ends" => head(Block::new().field(":status", "103")),
        "/data-first" => frame::data(id, b"x", true),
        "/push" => {
            let block = [&[0, 0, 0, 2][..], &get("/x")].concat();
            frame::frame(frame::PUSH_PROMISE, 4, id, &block)
        }
        "/index-0" => head(ok().index(0)),
        "/window-0" => frame::window_update(id, 0),
        "/refused" => frame::reset(id, frame::REFUSED_STREAM),
        "/goaway" => frame::go_away(0, frame::INTERNAL_ERROR),
        "/garbage" => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/preface" => frame::PREFACE.to_vec(),
        _ => return None,
    })
}

/// The preface and much more in one segment.
#[test]
fn row_60_all_at_once() {
    let mut rig = Rig::new(60);
    let mut client = H2::silent(rig.weir.client());
    let mut bytes = [frame::PREFACE, &frame::settings(&[])].concat();
    let mut ids = Vec::new();
    while bytes.len() < 64 * 1024 && ids.len() < 90 {
        let id = client.next_id();
        let path = format!("/{}-{}", ids.len(), "p".repeat(700));
        bytes.extend(frame::headers(id, &get(&path), true));
        ids.push((id, path));
    }
    client.send(bytes);
    let count = ids.len();
    for (id, path) in ids {
        assert_eq!(client.reply(id).map(|reply| reply.text()), Ok(format!("GET {path} 0")));
    }
    // A burst after a silence, over a connection that gave its buffers back meanwhile.
    let idle = Duration::from_millis(300);
    client.until_within(idle, |client| client.wire.ended().is_some());
    let ids: Vec<u32> = (0..50).map(|_| client.next_id()).collect();
    let burst: Vec<u8> =
        ids.iter().flat_map(|&id| frame::headers(id, &get(&format!("/burst{id}")), true)).collect();
    client.send(burst);
    for id in ids {
        let text = client.reply(id).map(|reply| reply.text());
        assert_eq!(text, Ok(format!("GET /burst{id} 0")), "I2");
    }
    let lines = rig.taken("all at once").lines();
    assert_eq!(lines.len(), count + 50, "I1");
}

/// Prefaces that are none.
#[test]
fn row_60_prefaces() {
    let mut rig = Rig::new(60);
    let settings = frame::settings(&[]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a wrong end", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_vec()),
        ("a wrong method", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_vec()),
        ("no SETTINGS", [frame::PREFACE, &frame::ping([0; 8])].concat()),
        ("HEADERS first", [frame::PREFACE, &frame::headers(1, &get("/x"), true)].concat()),
        ("twice", [frame::PREFACE, &settings, frame::PREFACE].concat()),
        (
            "HTTP/1.1 inside",
            [frame::PREFACE, &settings, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"].concat(),
        ),
    ];
    for (what, bytes) in cases {
        let mut client = rig.weir.client();
        client.send_cut(&bytes, crate::support::client::Cut::Whole);
        let end = client.end(SOON);
        let open = matches!(end, crate::support::client::End::Open(_));
        assert!(!open, "{what}: the connection stays open");
        let taken = rig.taken(what);
        assert!(taken.requests.is_empty() && taken.partial.is_empty(), "I1: {what}: {taken:?}");
        rig.count();
    }
    rig.finish();
}

/// Connections that do nothing: little memory, an end in time, and the memory comes back.
#[test]
fn row_60_idle_connections() {
    let count: u64 = if std::env::var_os("WEIR_SOAK").is_some() { 5_000 } else { 500 };
    let upstream = Upstream::tagged();
    let lines = "timeouts = { keepalive = \"3s\", first_byte = \"3s\" }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let siege = Siege::begin(&weir, "idle connections");
    let mut clients: Vec<H2> = (0..count).map(|_| H2::connect(weir.web())).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let path = format!("/fence{n}");
        assert_eq!(client.get(&path).map(|reply| reply.text()), Ok(format!("GET {path} 0")));
    }
    // Far below what an attacker may hold: 32 KiB each.
    siege.memory(count / 64);
    for client in &mut clients {
        assert_eq!(client.closed("idle", SOON), Some(frame::NO_ERROR), "idle");
    }
    let served = clients.len();
    drop(clients);
    let most = 32;
    wait::until("every descriptor is back", SOON, || meter::descriptors(weir.pid()) < most + 64);
    // A connection comes and goes with its request, and sends a few frames.
    siege.finish(Bounds {
        connections: count / 64,
        cpu: Duration::from_secs(10),
        frames: 10 * served,
        requests: served,
        blocks: served * CONNECTION_BLOCKS,
    });
    assert_eq!(Client::connect(weir.web()).get("/fence").map(|reply| reply.status), Ok(200));
}
