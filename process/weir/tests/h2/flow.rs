//! Windows and time: credit that comes back exactly (56), nothing buffered beyond a window (57, and
//! clients that read slowly or not at all), order of events (58), and slow clients (35).

use super::rig::{CLOSED, held};
use crate::framing::rig::{Rig, by_request};
use crate::support::edge::Edge;
use crate::support::h2::client::{H2, Outcome};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::meter;
use crate::support::process::Weir;
use crate::support::siege::{Bounds, CONNECTION_BLOCKS, Siege};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use crate::support::ws;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
/// What one stream may keep in Weir and in the sockets on both its sides while its client takes
/// nothing. Sockets of the kernel are the larger part, and are not Weir's memory.
const SOCKETS: usize = 8 * MIB;
/// Blocks for a tunnel, or for a reply without end, and the connection to its origin: ten times
/// what was measured.
const STREAM_BLOCKS: usize = 160;
/// What a client may cost that is slow on one connection, with one request at most.
const SLOW: Bounds = Bounds {
    connections: 1,
    cpu: Duration::from_secs(5),
    frames: 800,
    requests: 1,
    blocks: CONNECTION_BLOCKS + STREAM_BLOCKS,
};
/// What 500 tunnels may cost, in connections of an attacker: 64 KiB each, for both their sides.
const TUNNELS: u64 = 16;

#[test]
fn row_56_windows_come_back() {
    let mut rig = Rig::scripted(56, |conn, request| {
        // Uploads to /half get an answer before their end.
        if request.target == "/half" {
            conn.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nhalf");
            conn.drain();
            return false;
        }
        let mut request = request;
        conn.body(&mut request) && conn.answer(&request)
    });
    let mut client = H2::connect(rig.weir.web());
    // Streams that end by an early answer, behind padding, and by resets, as many of these as the
    // reset budget lets pass.
    for n in 0..300_u32 {
        let path = if n % 3 == 0 { "/half" } else { "/whole" };
        let id = client.open(&Block::request("POST", path), false);
        let mut bytes = frame::padded(id, &[b'x'; 700], 255, false);
        bytes.extend(frame::padded(id, &[], 100, false));
        if n % 3 == 1 {
            bytes.extend(frame::reset(id, frame::CANCEL));
            // DATA that was under way when the stream ended counts for the connection.
            client.send(bytes);
            continue;
        }
        bytes.extend(frame::padded(id, b"end", 7, true));
        client.send(bytes);
        match client.outcome(id, SOON) {
            Outcome::Reply(reply) => assert_eq!(reply.status, 200, "stream {id}"),
            // The early answer may end the stream before its rest is taken.
            Outcome::Reset(frame::NO_ERROR) if path == "/half" => {}
            outcome => panic!("stream {id}: {outcome:?}"),
        }
    }
    // The client counts what it may send by what it was given; a leak of 1 KiB a stream would
    // leave nothing of a window of 64 or 256 KiB.
    let body = vec![b'b'; 4 * MIB];
    let reply = client.ask(&Block::request("POST", "/whole"), &body).expect("the upload ends");
    assert_eq!(reply.text(), format!("POST /whole {}", 4 * MIB));
    rig.taken("uploads");
    rig.count();
    rig.finish();
}

/// An origin that writes as much as it can, and counts.
fn fountain() -> (Upstream, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let count = written.clone();
    let upstream = Upstream::start(by_request(move |conn: &mut Conn, request| {
        let tunnel = ws::wanted(&request);
        let plain = || "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned();
        let head = if tunnel { ws::accept(&request) } else { plain() };
        let piece = [b'f'; 64 * 1024];
        let mut open = conn.write(head);
        while open {
            open = conn.write(piece);
            count.fetch_add(piece.len(), Ordering::AcqRel);
        }
        false
    }));
    (upstream, written)
}

/// Waits until a count stands still for a while, and gives it.
fn settled(count: &AtomicUsize) -> usize {
    let (mut last, mut since) = (count.load(Ordering::Acquire), Instant::now());
    wait::value("the origin is held back", SOON, || {
        let now = count.load(Ordering::Acquire);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(500)).then_some(now)
    })
}

#[test]
fn row_57_tunnels_without_window() {
    let (upstream, written) = fountain();
    let weir = Weir::start(Edge::simple(upstream.port()));
    let siege = Siege::begin(&weir, "tunnels");
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = H2::with(weir.web(), &[(frame::INITIAL_WINDOW_SIZE, 0)]);
        client.until("Weir offers extended CONNECT", |client| {
            client.settings.get(&frame::ENABLE_CONNECT_PROTOCOL) == Some(&1)
        });
        let block = Block::new().field(":method", "CONNECT").field(":protocol", "websocket");
        let block = block.field(":scheme", "http").field(":authority", "a").field(":path", "/ws");
        let block = block.field("sec-websocket-version", "13");
        let ids: Vec<u32> = (0..100).map(|_| client.open(&block, false)).collect();
        client.until("every tunnel is open", |client| {
            ids.iter().all(|id| client.streams[id].head.as_ref().is_some_and(|h| h.status == 200))
        });
        clients.push(client);
    }
    let kept = settled(&written);
    assert!(kept < 500 * SOCKETS, "{kept} bytes were taken from the origin");
    siege.memory(TUNNELS);
    siege.buffers(500);
    // No more than was given: each stream one byte.
    for client in &mut clients {
        client.credit(0, 100);
        for id in client.streams.keys().copied().collect::<Vec<_>>() {
            client.credit(id, 1);
        }
        client.until("each tunnel has its byte", |client| {
            client.streams.values().all(|stream| stream.body.len() == 1)
        });
    }
    siege.finish(Bounds {
        connections: TUNNELS,
        cpu: Duration::from_secs(15),
        requests: 500,
        blocks: 5 * CONNECTION_BLOCKS + 500 * STREAM_BLOCKS,
        ..SLOW
    });
}

/// A client that never reads, with all the windows in the world: TCP holds the origin back.
#[test]
fn row_44_a_client_that_reads_nothing() {
    let (upstream, written) = fountain();
    let weir = Weir::start(Edge::simple(upstream.port()));
    let siege = Siege::begin(&weir, "unread replies");
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = H2::with(weir.web(), &[(frame::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
        client.send(frame::window_update(0, 0x7fff_0000));
        for n in 0..10 {
            client.open(&Block::request("GET", &format!("/fountain{n}")), true);
        }
        clients.push(client);
    }
    let kept = settled(&written);
    assert!(kept < 40 * SOCKETS, "{kept} bytes were taken from the origin");
    siege.buffers(40);
    let before = meter::cpu(weir.pid());
    std::thread::sleep(Duration::from_secs(1));
    let used = meter::cpu(weir.pid()).saturating_sub(before);
    assert!(used < Duration::from_millis(500), "{used:?} in a second of waiting");
    siege.finish(Bounds {
        connections: 4,
        cpu: Duration::from_secs(10),
        requests: 40,
        blocks: 4 * CONNECTION_BLOCKS + 40 * STREAM_BLOCKS,
        ..SLOW
    });
    drop(clients);
}

/// A client whose window stays shut while a reply waits: the stream or the connection is given up.
#[test]
fn row_40_a_window_that_stays_shut() {
    let upstream = Upstream::tagged();
    let lines = "timeouts = { body_idle = \"500ms\" }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let mut client = H2::with(weir.web(), &[(frame::INITIAL_WINDOW_SIZE, 0)]);
    let id = client.open(&Block::request("GET", "/a"), true);
    let over = client.until_within(SOON, |client| {
        client.streams[&id].reset.is_some() || client.gone().is_some()
    });
    assert!(over, "a reply that nobody takes waits for ever");
    weir.metric_reaches("weir_limit_hits_total", &[("limit", "body_idle")], 1.0);
}

#[test]
fn row_58_frames_behind_a_reset() {
    let (weir, _upstream, work) = held();
    let block = Block::request("POST", "/slow").field("content-length", "4");
    let pieces = |id: u32| {
        [
            frame::headers(id, &block.0, false),
            frame::data(id, b"01", false),
            frame::reset(id, frame::CANCEL),
            frame::data(id, b"23", true),
            frame::window_update(id, 10),
            frame::priority(id, 0),
        ]
    };
    // Every order in which the last four may come behind the head, in one segment.
    for turn in 0..24 {
        let mut client = H2::connect(weir.web());
        let id = client.next_id();
        let list = pieces(id);
        let mut rest: Vec<usize> = vec![1, 2, 3, 4];
        let mut bytes = list[0].clone();
        for left in (1..=4).rev() {
            let factor: usize = (1..left).product();
            bytes.extend(&list[rest.remove(turn / factor % left)]);
        }
        bytes.extend(&list[5]);
        bytes.extend(frame::ping(*b"in order"));
        client.send(&bytes);
        // DATA behind RST_STREAM may be ignored or be an error (RFC 9113 §5.1); it is no panic.
        client.until_within(SOON, |client| client.pongs == 1 || client.gone().is_some());
        drop(client);
        wait::until("the work is cancelled", SOON, || work.live() == 0);
    }
    assert_eq!(weir.metric("weir_panics_total", &[]), 0.0);
    assert_eq!(H2::connect(weir.web()).get("/fence1").map(|reply| reply.status), Ok(200));
}

/// Stalls and resets in the middle of large replies: no loop without an end.
#[test]
fn row_58_resets_in_large_replies() {
    let (upstream, _) = fountain();
    let weir = Weir::start(Edge::simple(upstream.port()));
    let siege = Siege::begin(&weir, "resets in replies");
    for n in 0..50 {
        let mut client = H2::connect(weir.web());
        client.gives_credit = n % 2 == 0;
        let id = client.open(&Block::request("GET", "/fountain"), true);
        let enough = if n % 2 == 0 { 200_000 } else { 60_000 };
        client.until("much of it came", |client| client.streams[&id].body.len() > enough);
        client.send(frame::reset(id, frame::CANCEL));
        if client.gives_credit {
            let path = format!("/fence-{n}");
            let text = client.get(&path).map(|reply| reply.text());
            assert_eq!(text, Ok(format!("GET {path} 0")), "I2");
        }
    }
    wait::until("every reply is given up", SOON, || {
        upstream
            .logs()
            .iter()
            .filter(|log| log.bytes().starts_with(b"GET /fountain"))
            .all(|log| log.closed())
    });
    // A reply each, and another one where its connection goes on.
    siege.finish(Bounds {
        connections: 2,
        cpu: Duration::from_secs(15),
        frames: 50 * 100,
        requests: 75,
        blocks: 50 * (CONNECTION_BLOCKS + STREAM_BLOCKS),
    });
}

/// One byte at a time, slower than the time allowed for a head.
#[test]
fn row_35_slow_heads() {
    let upstream = Upstream::tagged();
    let lines = "timeouts = { head = \"500ms\", first_byte = \"500ms\" }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let siege = Siege::begin(&weir, "slow heads");
    let block = Block::request("GET", "/slow").0;
    let (first, rest) = block.split_at(4);
    let begun = |id: u32| frame::frame(frame::HEADERS, frame::END_STREAM, id, first);
    // Bytes sent at once, and bytes that follow one by one.
    let cases: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("the preface", frame::PREFACE[..5].to_vec(), frame::PREFACE[5..].to_vec()),
        ("the first SETTINGS", frame::PREFACE.to_vec(), frame::settings(&[(3, 100); 20])),
        (
            "HEADERS",
            [frame::PREFACE, &frame::settings(&[])].concat(),
            frame::headers(1, &[&block[..], &[0; 200]].concat(), true),
        ),
        (
            "CONTINUATION",
            [frame::PREFACE, &frame::settings(&[]), &begun(1)].concat(),
            frame::frame(frame::CONTINUATION, frame::END_HEADERS, 1, &[rest, &[0; 200]].concat()),
        ),
    ];
    for (what, at_once, slowly) in cases {
        let mut client = H2::silent(weir.client());
        client.expect_stream(1);
        let start = Instant::now();
        client.send(at_once);
        for byte in slowly {
            client.send([byte]);
            let pace = Duration::from_millis(50);
            client.until_within(pace, |client| client.wire.ended().is_some());
            if client.wire.ended().is_some() {
                break;
            }
        }
        assert!(client.wire.ended().is_some(), "{what}: open after {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(5), "{what}: {:?}", start.elapsed());
    }
    let lines = upstream.take().lines();
    assert!(!lines.iter().any(|line| line.contains("/slow")), "I1: {lines:?}");
    // None of the four gets as far as a request.
    let blocks = 4 * CONNECTION_BLOCKS;
    siege.finish(Bounds { requests: 0, blocks, ..SLOW });
}

/// A body slower than the least rate, in DATA frames of a byte.
#[test]
fn row_35_slow_bodies() {
    let upstream = Upstream::tagged();
    let lines = "limits = { body_min_rate = 1000 }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let siege = Siege::begin(&weir, "slow body");
    let mut client = H2::connect(weir.web());
    let id = client.open(&Block::request("POST", "/slow").field("content-length", "100000"), false);
    let over = wait::holds(SOON, || {
        client.send(frame::data(id, b"a", false));
        let pace = Duration::from_millis(100);
        client.until_within(pace, |client| {
            let stream = &client.streams[&id];
            stream.reset.is_some() || stream.head.is_some() || client.gone().is_some()
        })
    });
    assert!(over, "a slow body goes on for ever");
    if let Some(head) = &client.streams[&id].head {
        assert_eq!(head.status, 408);
    }
    weir.metric_reaches("weir_limit_hits_total", &[("limit", "body_min_rate")], 1.0);
    siege.finish(SLOW);
    let lines = upstream.take().lines();
    assert!(!lines.iter().any(|line| line.contains("/slow")), "I1: an end was made up: {lines:?}");
}

/// A reply taken slower than the least rate.
#[test]
fn row_35_slow_readers() {
    let (upstream, _) = fountain();
    let lines = "limits = { body_min_rate = 100000 }";
    let weir = Weir::start(Edge::simple(upstream.port()).listener("web", lines));
    let siege = Siege::begin(&weir, "slow reader");
    let mut client = H2::connect(weir.web());
    client.gives_credit = false;
    let id = client.open(&Block::request("GET", "/fountain"), true);
    let over = wait::holds(Duration::from_secs(30), || {
        client.credit(id, 100);
        client.credit(0, 100);
        client.until_within(Duration::from_millis(100), |client| {
            client.streams[&id].reset.is_some() || client.gone().is_some()
        })
    });
    assert!(over, "a slow reader is served for ever");
    wait::until("the origin is let go", SOON + CLOSED, || {
        upstream
            .logs()
            .iter()
            .filter(|log| log.bytes().starts_with(b"GET /fountain"))
            .all(|log| log.closed())
    });
    siege.finish(SLOW);
}
