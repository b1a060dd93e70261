//! Floods (40–45): many small things of one kind. Each ends in GOAWAY ENHANCE_YOUR_CALM or another
//! connection error, costs Weir little, and others are served meanwhile.

use super::rig::{CLOSED, held, held_until};
use crate::framing::rig::Rig;
use crate::support::h2::client::H2;
use crate::support::h2::frame;
use crate::support::h2::hpack::{Block, FIRST_DYNAMIC};
use crate::support::process::Weir;
use crate::support::siege::TAKEN_BACK_BLOCKS;
use crate::support::siege::{AT_ORIGIN_BLOCKS, Bounds, CONNECTION_BLOCKS, Siege};
use crate::support::wait::{self, SOON};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Processor time that a flood may cost before it is cut off: more than ten times what any of
/// them takes.
const CUT_OFF: Duration = Duration::from_millis(1_500);
/// And 400 heads of 27 KB that are within the limits, and go to the origin.
const SERVED: Duration = Duration::from_secs(4);
/// Requests that may get through before the reset budget (200 and 20 a second) is used up, with
/// room for those that were under way.
const BUDGET: usize = 400;
/// Frames of them and of their resets, and of what good clients send.
const BUDGET_FRAMES: usize = 1_200;
/// Frames of a flood that are dealt with where none of them may be many: the control budget (100
/// and 10 a second), and room for what good clients send.
const FRAMES: usize = 800;
/// Tiny pieces of data that one connection may send (16,384 and 2,000 a second).
const TINY_FRAMES: usize = 24_000;
/// Streams at once (l7 limits: 100).
const STREAMS: usize = 100;
/// What 100 requests at the origin may cost, in connections of an attacker: 64 KiB each.
const ORIGIN_SIDE: u64 = 3;
/// Blocks for a request with a head of 27 KB, at the origin or refused: ten times what was
/// measured.
const LARGE_HEAD_BLOCKS: usize = 160;
/// Blocks for a request whose reset comes with it: ten times what was measured.
const UNSEEN_BLOCKS: usize = 2;
/// What the flood of one connection may cost that gets nothing to the origin.
const FLOOD: Bounds =
    Bounds { connections: 1, cpu: CUT_OFF, frames: FRAMES, requests: 0, blocks: CONNECTION_BLOCKS };
/// A flood is sent in pieces of about this many bytes.
const PIECE: usize = 32 * 1024;

/// Sends `frame` up to `times` times, or until Weir takes no more.
fn flood(client: &mut H2, times: usize, mut frame: impl FnMut(&mut H2) -> Vec<u8>) -> usize {
    let (mut sent, mut piece) = (0, Vec::with_capacity(PIECE * 2));
    while sent < times {
        piece.clear();
        while piece.len() < PIECE && sent < times {
            piece.extend(frame(client));
            sent += 1;
        }
        if client.wire.send(&piece).is_err() {
            break;
        }
    }
    sent
}

/// What one connection may cost whose requests are reset, of which so many began at the origin.
fn resets(begun: usize) -> Bounds {
    let blocks = BUDGET * TAKEN_BACK_BLOCKS + begun * AT_ORIGIN_BLOCKS;
    let blocks = CONNECTION_BLOCKS + blocks;
    Bounds { frames: BUDGET_FRAMES, requests: BUDGET, blocks, ..FLOOD }
}

/// What so many connections may cost where each costs no more than [`FLOOD`].
fn floods(count: usize) -> Bounds {
    let connections = u64::try_from(count).expect("a few");
    Bounds { connections, blocks: CONNECTION_BLOCKS * count, ..FLOOD }
}

/// As I4 says, and for the reason that was meant.
#[track_caller]
fn calmed(client: &mut H2, what: &str) {
    let code = client.closed(what, SOON);
    // A reset of the transport may overtake the GOAWAY while the flood goes on.
    let allowed = [Some(frame::ENHANCE_YOUR_CALM), None];
    assert!(allowed.contains(&code), "{what}: GOAWAY {code:?}");
}

/// Floods one connection with a frame and expects that it is cut off.
#[track_caller]
fn cut_off(weir: &Weir, what: &str, times: usize, frame: impl FnMut(&mut H2) -> Vec<u8>) {
    let mut client = H2::connect(weir.web());
    let write_bound = Some(Duration::from_secs(2));
    client.wire.raw().set_write_timeout(write_bound).expect("a bound can be set");
    let sent = flood(&mut client, times, frame);
    println!("{what}: {sent} of {times} frames");
    calmed(&mut client, what);
}

#[test]
fn row_40_bomb() {
    let (weir, _upstream, work) = held();
    let siege = Siege::begin(&weir, "bomb");
    let mut attackers = Vec::new();
    for variant in ["empty fields", "crumbs", "named fields"] {
        for _ in 0..2 {
            let mut client = H2::with(weir.web(), &[(frame::INITIAL_WINDOW_SIZE, 0)]);
            for n in 0..STREAMS {
                let seed = match variant {
                    "empty fields" => Block::request("GET", "/a").indexed_field("a", ""),
                    "crumbs" => Block::request("GET", "/a").indexed_field("cookie", "a="),
                    _ => Block::request("GET", "/a").indexed_field("x-named", ""),
                };
                let first = if n == 0 { seed } else { Block::request("GET", "/a") };
                let block = (0..15_000).fold(first, |block, _| block.index(FIRST_DYNAMIC));
                client.open(&block, true);
                if client.wire.ended().is_some() {
                    break;
                }
            }
            attackers.push(client);
        }
    }
    let count = floods(attackers.len()).connections;
    // The pin: a byte of window now and then, no reading beyond what keeps the connection going.
    for client in &mut attackers {
        client.send(frame::window_update(0, 1));
        client.until_within(CLOSED, |client| client.wire.ended().is_some());
        siege.memory(count);
    }
    assert_eq!(work.begun(), 0, "a bomb reached the origin");
    siege.finish(floods(attackers.len()));
}

/// The bomb within every limit of a single head: what 100 streams hold together is bounded too.
#[test]
fn row_40_bomb_within_the_limits_of_a_head() {
    let (weir, _upstream, work) = held();
    let siege = Siege::begin(&weir, "bomb within limits");
    let mut attackers = Vec::new();
    for _ in 0..4 {
        let mut client = H2::with(weir.web(), &[(frame::INITIAL_WINDOW_SIZE, 0)]);
        for _ in 0..STREAMS {
            let block = Block::request("GET", "/a").field("x-pad", "p".repeat(7_000));
            let block = (0..40).fold(block, |b, n| b.field(format!("x-{n}"), "p".repeat(500)));
            client.open(&block, true);
        }
        attackers.push(client);
    }
    let settled = Duration::from_secs(1);
    for client in &mut attackers {
        client.until_within(settled, |client| client.wire.ended().is_some());
    }
    // Each of these requests is at work at the origin, which costs a connection there, and that
    // its buffers beside what the ledger of the attacker holds.
    println!("{} requests at the origin", work.begun());
    siege.held_at_least(1 << 20);
    siege.finish(Bounds {
        connections: 4 + 4 * ORIGIN_SIDE,
        cpu: SERVED,
        requests: 4 * STREAMS,
        blocks: 4 * (CONNECTION_BLOCKS + STREAMS * LARGE_HEAD_BLOCKS),
        ..FLOOD
    });
}

#[test]
fn row_41_rapid_reset() {
    let (weir, _upstream, work) = held();
    let siege = Siege::begin(&weir, "rapid reset");
    cut_off(&weir, "rapid reset", 10_000, |client| {
        let id = client.next_id();
        let head = frame::headers(id, &Block::request("GET", "/slow").0, true);
        [head, frame::reset(id, frame::CANCEL)].concat()
    });
    assert!(work.begun() <= BUDGET, "{} requests reached the origin", work.begun());
    assert!(work.most() <= STREAMS, "{} at once at the origin", work.most());
    wait::until("the work is cancelled", SOON, || work.live() == 0);
    siege.finish(resets(work.begun()));
}

#[test]
fn row_41_rapid_reset_after_a_moment() {
    let (weir, _upstream, work) = held();
    let siege = Siege::begin(&weir, "paced reset");
    let mut client = H2::connect(weir.web());
    for _ in 0..3_000 {
        let id = client.open(&Block::request("GET", "/slow"), true);
        // The attacker's pace, by which the request is at the origin when it is taken back.
        std::thread::sleep(Duration::from_millis(1));
        if client.wire.send(frame::reset(id, frame::CANCEL)).is_err() {
            break;
        }
    }
    calmed(&mut client, "paced reset");
    assert!(work.begun() <= BUDGET, "{} requests reached the origin", work.begun());
    assert!(work.most() <= STREAMS, "{} at once at the origin", work.most());
    wait::until("the work is cancelled", SOON, || work.live() == 0);
    siege.finish(resets(work.begun()));
}

/// The six ways to make the other side reset a stream.
fn triggers(id: u32) -> [(&'static str, Vec<u8>); 6] {
    [
        ("WINDOW_UPDATE of 0", frame::window_update(id, 0)),
        ("WINDOW_UPDATE beyond 2^31-1", frame::window_update(id, 0x7fff_ffff)),
        ("DATA behind the end", frame::data(id, b"x", false)),
        ("HEADERS again", frame::headers(id, &Block::request("GET", "/slow").0, true)),
        ("PRIORITY of 4 bytes", frame::frame(frame::PRIORITY, 0, id, &[0; 4])),
        ("PRIORITY on itself", frame::priority(id, id)),
    ]
}

#[test]
fn row_42_made_you_reset() {
    for (at, (what, _)) in triggers(1).into_iter().enumerate() {
        let (weir, _upstream, work) = held();
        // Once: the stream ends, or the connection, and the work with it.
        let mut client = H2::connect(weir.web());
        let id = client.open(&Block::request("GET", "/slow"), true);
        wait::until("the origin works", SOON, || work.live() == 1);
        client.send(&triggers(id)[at].1);
        let over = client.until_within(CLOSED, |client| {
            client.streams[&id].reset.is_some() || client.gone().is_some()
        });
        // RFC 9113 §5.3.2 lets a dependency on itself be ignored.
        let may_be_ignored = what == "PRIORITY on itself";
        assert!(over || may_be_ignored, "{what}: nothing came of it");
        drop(client);
        wait::until("the work is cancelled", SOON, || work.live() == 0);
        // Over and over: the connection ends.
        let before = work.begun();
        let siege = Siege::begin(&weir, what);
        let mut client = H2::connect(weir.web());
        flood(&mut client, 3_000, |client| {
            let id = client.next_id();
            let head = frame::headers(id, &Block::request("GET", "/slow").0, true);
            [head, triggers(id)[at].1.clone()].concat()
        });
        let code = client.closed(what, SOON);
        assert_ne!(code, Some(frame::NO_ERROR), "{what}");
        let begun = work.begun() - before;
        assert!(begun <= BUDGET, "{what}: {begun} requests reached the origin");
        assert!(work.most() <= STREAMS, "{what}: {} at once at the origin", work.most());
        wait::until("the work is cancelled", SOON, || work.live() == 0);
        // Most of these end the connection at once.
        let blocks = CONNECTION_BLOCKS + begun * AT_ORIGIN_BLOCKS;
        siege.finish(Bounds { blocks, ..resets(begun) });
    }
}

#[test]
fn row_43_continuations() {
    let (weir, _upstream, work) = held();
    let siege = Siege::begin(&weir, "continuations");
    for (what, payload) in [
        ("of one byte", vec![0x82]),
        ("of nothing", Vec::new()),
        ("of 16 KiB", vec![0x82; frame::MAX_PAYLOAD]),
    ] {
        let mut client = H2::connect(weir.web());
        let id = client.next_id();
        client.send(frame::frame(frame::HEADERS, frame::END_STREAM, id, &[0x82]));
        flood(&mut client, 100_000, |_| frame::frame(frame::CONTINUATION, 0, id, &payload));
        let code = client.closed(what, SOON);
        assert_ne!(code, Some(frame::NO_ERROR), "{what}");
    }
    // As trailers, where a request is at the origin already.
    let mut client = H2::connect(weir.web());
    let id = client.open(&Block::request("POST", "/slow"), false);
    client.send(frame::frame(frame::HEADERS, frame::END_STREAM, id, &[]));
    flood(&mut client, 100_000, |_| frame::frame(frame::CONTINUATION, 0, id, &[]));
    client.closed("in trailers", SOON);
    wait::until("the work is cancelled", SOON, || work.live() == 0);
    assert!(work.begun() <= 1, "{} requests reached the origin", work.begun());
    siege.finish(Bounds { requests: 1, ..floods(4) });
}

/// Frames that a flood sends a million times, without reading what comes back.
const MILLION: usize = 1_000_000;

#[test]
fn row_44_control_frames() {
    let (weir, _upstream, work) = held();
    for (what, bytes) in [
        ("PING", frame::ping([0; 8])),
        ("SETTINGS", frame::settings(&[])),
        ("SETTINGS of a window", frame::settings(&[(frame::INITIAL_WINDOW_SIZE, 70_000)])),
        ("PRIORITY", frame::priority(1, 3)),
        ("PRIORITY_UPDATE", frame::priority_update(1, "u=1")),
        ("WINDOW_UPDATE", frame::window_update(0, 1)),
    ] {
        let siege = Siege::begin(&weir, what);
        cut_off(&weir, what, MILLION, |_| bytes.clone());
        siege.finish(FLOOD);
    }
    assert_eq!(work.begun(), 0);
}

#[test]
fn row_44_empty_frames() {
    let (weir, _upstream, work) = held();
    let siege = Siege::begin(&weir, "empty DATA");
    let mut id = 0;
    cut_off(&weir, "empty DATA", MILLION, |client| {
        if id == 0 {
            id = client.open(&Block::request("POST", "/slow"), false);
        }
        frame::data(id, &[], false)
    });
    wait::until("the work is cancelled", SOON, || work.live() == 0);
    siege.finish(Bounds { requests: 1, ..FLOOD });
    let siege = Siege::begin(&weir, "empty HEADERS");
    cut_off(&weir, "empty HEADERS", 100_000, |client| frame::headers(client.next_id(), &[], true));
    siege.finish(FLOOD);
    let siege = Siege::begin(&weir, "nameless fields");
    let block = Block::request("GET", "/slow").field("", "").field("", "");
    cut_off(&weir, "nameless fields", 100_000, |client| {
        frame::headers(client.next_id(), &block.0, true)
    });
    siege.finish(FLOOD);
    assert!(work.begun() <= 1, "{} requests reached the origin", work.begun());
}

#[test]
fn row_44_dribble() {
    // A window of one byte, given back byte by byte, for a reply of 1 MiB.
    let body = "d".repeat(1 << 20);
    let rig = Rig::scripted(44, move |conn, _| {
        conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let siege = Siege::begin(&rig.weir, "dribble");
    let mut client = H2::with(rig.weir.web(), &[(frame::INITIAL_WINDOW_SIZE, 1)]);
    client.gives_credit = false;
    let id = client.open(&Block::request("GET", "/big"), true);
    for _ in 0..100_000 {
        client.credit(id, 1);
        if client.wire.ended().is_some() {
            break;
        }
        // What comes is read now and then, so that this is about frames and not about buffers.
        client.until_within(Duration::ZERO, |client| client.wire.ended().is_some());
    }
    calmed(&mut client, "dribble");
    siege.finish(Bounds { requests: 1, ..FLOOD });
}

#[test]
fn row_45_tiny_data() {
    for (what, pad, size) in [("1 byte", 0, 1), ("1 byte padded", 255, 1), ("only padding", 255, 0)]
    {
        let reads = Arc::new(AtomicBool::new(false));
        let (weir, _upstream, work) = held_until(reads.clone());
        let siege = Siege::begin(&weir, what);
        for _ in 0..4 {
            let mut client = H2::connect(weir.web());
            let write_bound = Some(Duration::from_secs(2));
            client.wire.raw().set_write_timeout(write_bound).expect("a bound can be set");
            let id = client.open(&Block::request("POST", "/slow"), false);
            let piece = vec![b'x'; size];
            let sent = flood(&mut client, MILLION, |_| match pad {
                0 => frame::data(id, &piece, false),
                pad => frame::padded(id, &piece, pad, false),
            });
            println!("{what}: {sent} of {MILLION} frames");
            let over = client.until_within(CLOSED, |client| client.wire.ended().is_some());
            if !over && sent < MILLION {
                // Held back: Weir takes no more, as the credit for the padding is not read.
                continue;
            }
            let code = client.closed(what, SOON);
            // Beyond the window FLOW_CONTROL_ERROR; before it, too many frames for their bytes.
            let codes = [Some(frame::FLOW_CONTROL_ERROR), Some(frame::ENHANCE_YOUR_CALM), None];
            assert!(codes.contains(&code), "{what}: {code:?}");
        }
        siege.memory(4);
        reads.store(true, Ordering::Release);
        wait::until("the work is cancelled", SOON, || work.live() == 0);
        siege.finish(Bounds {
            frames: 4 * TINY_FRAMES,
            requests: 4,
            blocks: 4 * (CONNECTION_BLOCKS + AT_ORIGIN_BLOCKS),
            ..floods(4)
        });
    }
}

/// Resets that come faster than requests are taken up: all in one segment, again and again.
#[test]
fn row_45_resets_before_anyone_looks() {
    let (weir, _upstream, work) = held();
    let siege = Siege::begin(&weir, "resets in one segment");
    for _ in 0..20 {
        let mut client = H2::connect(weir.web());
        let mut bytes = Vec::new();
        for _ in 0..1_000 {
            let id = client.next_id();
            bytes.extend(frame::headers(id, &Block::request("GET", "/slow").0, true));
            bytes.extend(frame::reset(id, frame::CANCEL));
        }
        client.send(bytes);
        calmed(&mut client, "resets in one segment");
    }
    assert!(work.most() <= STREAMS, "{} at once at the origin", work.most());
    wait::until("the work is cancelled", SOON, || work.live() == 0);
    let blocks = 20 * (CONNECTION_BLOCKS + BUDGET * UNSEEN_BLOCKS);
    let blocks = blocks + work.begun() * AT_ORIGIN_BLOCKS;
    siege.finish(Bounds {
        frames: 20 * BUDGET_FRAMES,
        requests: 20 * BUDGET,
        blocks,
        ..floods(20)
    });
}
