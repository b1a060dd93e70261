//! Lengths that do not hold: of requests (16, 49, 50), of replies (16, 50, 55), and of bodies that
//! were replaced (33).

use super::rig::{MALFORMED, halves_closed, passes, refused, refused_in_body};
use crate::framing::rig::{Rig, by_request};
use crate::support::client::Client;
use crate::support::edge::{Edge, origin};
use crate::support::h2::client::{H2, Outcome};
use crate::support::h2::frame;
use crate::support::h2::hpack::Block;
use crate::support::h2::wire::Frames;
use crate::support::process::Weir;
use crate::support::upstream::{Conn, Log, Upstream};
use crate::support::wait::{self, SOON};
use std::sync::Arc;

fn post(length: &str) -> Block {
    Block::request("POST", "/a").field("content-length", length)
}

#[test]
fn row_49_content_length() {
    let mut rig = Rig::new(49);
    let head = |id: u32, length: &str, ends: bool| frame::headers(id, &post(length).0, ends);
    refused(&mut rig, "10 and the end", |id| head(id, "10", true), &MALFORMED);
    for (what, block) in [
        ("two that differ", post("10").field("content-length", "11")),
        ("a list", post("10, 11")),
        ("a list of equals", post("10, 10")),
        ("a sign", post("+10")),
        ("minus", post("-1")),
        ("hexadecimal", post("0x5")),
        ("underscore", post("5_0")),
        ("empty", post("")),
        ("a space", post("1 0")),
        ("beyond 64 bits", post("99999999999999999999")),
    ] {
        let frames = |id: u32| {
            [frame::headers(id, &block.0, false), frame::data(id, b"0123456789", true)].concat()
        };
        refused(&mut rig, what, frames, &MALFORMED);
    }
    let data = |id: u32, text: &str, ends: bool| frame::data(id, text.as_bytes(), ends);
    let trailers = |id: u32| frame::headers(id, &Block::new().field("x-sum", "1").0, true);
    let short = |id: u32| [head(id, "10", false), data(id, "0123", true)].concat();
    refused_in_body(&mut rig, "4 of 10", short, &MALFORMED);
    let short = |id: u32| [head(id, "10", false), data(id, "0123", false), trailers(id)].concat();
    refused_in_body(&mut rig, "4 of 10 and trailers", short, &MALFORMED);
    let none = |id: u32| [head(id, "10", false), trailers(id)].concat();
    refused_in_body(&mut rig, "0 of 10 and trailers", none, &MALFORMED);
    let long = |id: u32| [head(id, "10", false), data(id, "01234567890", true)].concat();
    refused_in_body(&mut rig, "11 of 10", long, &MALFORMED);
    let long = |id: u32| [head(id, "10", false), data(id, "01234567890", false)].concat();
    refused_in_body(&mut rig, "11 of 10, no end", long, &MALFORMED);
    // What holds.
    for (what, pieces) in [("in one", &["0123456789"][..]), ("in three", &["0123", "", "456789"])] {
        let frames = |id: u32| {
            let mut bytes = head(id, "10", false);
            for (n, piece) in pieces.iter().enumerate() {
                bytes.extend(data(id, piece, n + 1 == pieces.len()));
            }
            bytes
        };
        passes(&mut rig, what, frames, |request, what| {
            assert_eq!(request.text(), "0123456789", "I1: {what}");
            assert_eq!(request.field("content-length"), Some("10"), "I1: {what}");
        });
    }
    let held =
        |id: u32| [head(id, "10", false), data(id, "0123456789", false), trailers(id)].concat();
    passes(&mut rig, "10 of 10 and trailers", held, |request, what| {
        assert_eq!(request.text(), "0123456789", "I1: {what}");
    });
    more_than_was_said(&mut rig);
    rig.finish();
}

/// What was said came whole, and more comes: the origin may have answered already, and whatever
/// it did, the surplus goes nowhere.
fn more_than_was_said(rig: &mut Rig) {
    for said in ["0123456789", ""] {
        let mut client = H2::connect(rig.weir.web());
        let id = client.open(&post(&said.len().to_string()), false);
        client.send(frame::data(id, said.as_bytes(), false));
        client.send(frame::data(id, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", true));
        match client.outcome(id, SOON) {
            Outcome::Reset(code) => assert_ne!(code, frame::NO_ERROR),
            Outcome::Reply(reply) => assert_eq!(reply.text(), format!("POST /a {}", said.len())),
            outcome => panic!("{outcome:?}"),
        }
        let after = client.get("/after").map(|reply| reply.text());
        assert_eq!(after, Ok("GET /after 0".into()), "I2");
        halves_closed(rig, "more than was said");
        let lines = rig.taken("more than was said").lines();
        assert!(!lines.iter().any(|line| line.contains("/x")), "I1: {lines:?}");
        rig.count();
    }
}

/// One function judges every way in which a request body ends: each end, in both protocols.
#[test]
fn row_50_every_end_of_a_request() {
    let mut rig = Rig::new(50);
    for sent in ["", "0", "012345678"] {
        let frames = |id: u32| {
            let head = frame::headers(id, &post("10").0, false);
            let body =
                if sent.is_empty() { Vec::new() } else { frame::data(id, sent.as_bytes(), false) };
            [head, body, frame::data(id, &[], true)].concat()
        };
        refused_in_body(&mut rig, &format!("{sent:?} and an empty DATA"), frames, &MALFORMED);
        // The same length, cut off by the end of the connection in place of the stream's.
        let mut client = H2::connect(rig.weir.web());
        let id = client.open(&post("10"), false);
        client.send(frame::data(id, sent.as_bytes(), false));
        client.wire.finish();
        client.end(SOON);
        halves_closed(&rig, "a connection that ends");
        let taken = rig.taken("a connection that ends");
        assert!(taken.requests.is_empty(), "I1: an end was made up: {taken:?}");
        let mut client = rig.weir.client();
        drop(
            client.send(format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{sent}")),
        );
        client.finish();
        client.end(SOON);
        let taken = rig.taken("HTTP/1.1, a connection that ends");
        assert!(taken.requests.is_empty(), "I1: an end was made up: {taken:?}");
        rig.count();
    }
    // Reset in the middle of a body whose length nobody said: no last chunk is made up.
    let mut client = H2::connect(rig.weir.web());
    let id = client.open(&Block::request("POST", "/a"), false);
    client.send(frame::data(id, b"0123", false));
    let partial = |log: &Arc<Log>| log.bytes().windows(4).any(|four| four == b"0123");
    let partial = || rig.upstream.logs().iter().any(partial);
    wait::until("the beginning is at the origin", SOON, partial);
    client.send(frame::reset(id, frame::CANCEL));
    assert_eq!(client.get("/after").map(|reply| reply.text()), Ok("GET /after 0".into()));
    halves_closed(&rig, "reset in a body");
    let taken = rig.taken("reset in a body");
    assert_eq!(taken.lines(), ["GET /after"], "I1: an end was made up");
    rig.finish();
}

/// Replies that end before their length, or go beyond it, by an origin of either protocol.
#[test]
fn row_50_every_end_of_a_reply() {
    let rig = Rig::scripted(50, |conn, request| {
        let body = match request.target.as_str() {
            "/none" => "",
            "/short" => "0123",
            "/chunked" => {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n";
                conn.write(head);
                return false;
            }
            _ => return conn.answer(&request),
        };
        conn.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{body}"));
        false
    });
    let mut client = H2::connect(rig.weir.web());
    for path in ["/none", "/short", "/chunked"] {
        let id = client.open(&Block::request("GET", path), true);
        match client.outcome(id, SOON) {
            Outcome::Reset(code) => assert_ne!(code, frame::NO_ERROR, "{path}"),
            Outcome::Reply(reply) => assert!(reply.status >= 500, "{path}: {reply:?}"),
            outcome => panic!("{path}: {outcome:?}"),
        }
        assert_eq!(client.get("/next").map(|r| r.text()), Ok("GET /next 0".into()), "I2: {path}");
    }
    let h2 = Upstream::start(|conn| {
        let Some(mut frames) = Frames::accept(conn, &[]) else { return };
        while let Some((id, fields)) = frames.request() {
            let ten = Block::new().index(8).field("content-length", "10");
            let head = frame::headers(id, &ten.0, false);
            let sent = match crate::support::h2::wire::value(&fields, ":path") {
                "/none" => frames.send([head, frame::data(id, &[], true)].concat()),
                "/ends" => frames.send(frame::headers(id, &ten.0, true)),
                "/short" => frames.send([head, frame::data(id, b"0123", true)].concat()),
                "/long" => frames.send([head, frame::data(id, b"0123456789X", true)].concat()),
                "/trailers" => {
                    let trailers = frame::headers(id, &Block::new().field("x", "y").0, true);
                    frames.send([head, frame::data(id, b"0123", false), trailers].concat())
                }
                "/reset" => {
                    let reset = frame::reset(id, frame::INTERNAL_ERROR);
                    frames.send([head, frame::data(id, b"0123", false), reset].concat())
                }
                path => frames.answer(id, path),
            };
            if !sent {
                return;
            }
        }
    });
    let weir = Weir::start(over_h2(&h2));
    for path in ["/none", "/ends", "/short", "/long", "/trailers", "/reset"] {
        let mut client = H2::connect(weir.web());
        let id = client.open(&Block::request("GET", path), true);
        match client.outcome(id, SOON) {
            Outcome::Reset(code) => assert_ne!(code, frame::NO_ERROR, "{path}"),
            Outcome::Reply(reply) => assert!(reply.status >= 500, "{path}: {reply:?}"),
            outcome => panic!("{path}: {outcome:?}"),
        }
        assert_eq!(client.get("/next").map(|r| r.text()), Ok("/next".into()), "I2: {path}");
        let mut client = weir.client();
        drop(client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")));
        match client.reply_within("GET", SOON) {
            Ok(reply) => assert!(reply.status >= 500, "{path} over HTTP/1.1: {reply:?}"),
            Err(what) => assert!(what.contains("ended"), "{path} over HTTP/1.1: {what}"),
        }
    }
}

/// Weir before an origin that speaks HTTP/2.
fn over_h2(upstream: &Upstream) -> Edge {
    let lines = "protocols = [\"h2\"]\noutlier_ejection = { consecutive_failures = 0 }";
    Edge::simple(upstream.port()).pool("p", lines, &[origin("o1", upstream.port())])
}

#[test]
fn row_16_bodyless_with_a_length() {
    let mut rig = Rig::scripted(16, |conn, request| match request.target.as_str() {
        // Announces what it does not send, and what it must not send.
        "/204" => conn.write("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        "/304" => conn.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        _ => conn.answer(&request),
    });
    for method in ["GET", "HEAD"] {
        let block = Block::request(method, "/a").field("content-length", "5");
        refused(&mut rig, method, |id| frame::headers(id, &block.0, true), &MALFORMED);
    }
    let mut client = H2::connect(rig.weir.web());
    for (n, (path, status)) in [("/204", 204), ("/304", 304), ("/204", 204)].into_iter().enumerate()
    {
        let reply = client.get(path).expect("a reply");
        assert_eq!((reply.status, reply.body.len()), (status, 0), "{path}");
        if status == 204 {
            assert!(!reply.has("content-length"), "RFC 9110 §8.6: {reply:?}");
        }
        let next = format!("/next{n}");
        let text = client.get(&next).map(|reply| reply.text());
        assert_eq!(text, Ok(format!("GET {next} 0")), "I2: behind {path}");
    }
    rig.taken("bodyless");
    rig.finish();
}

#[test]
fn row_55_a_body_behind_head() {
    let nested = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nnested";
    let mut rig = Rig::scripted(55, move |conn, request| {
        if request.method == "HEAD" {
            let length = nested.len();
            return conn
                .write(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{nested}"));
        }
        conn.answer(&request)
    });
    for n in 0..20 {
        let mut client = H2::connect(rig.weir.web());
        let reply = client.ask(&Block::request("HEAD", "/head"), &[]).expect("a reply");
        assert_eq!((reply.status, reply.body.len()), (200, 0));
        assert_eq!(reply.field("content-length"), Some("44"), "{reply:?}");
        let next = format!("/next{n}");
        let text = client.get(&next).map(|reply| reply.text());
        assert_eq!(text, Ok(format!("GET {next} 0")), "I2: the nested reply got out");
        rig.count();
    }
    // Each connection with bytes nobody asked for is closed, not kept.
    let spoilt = |log: &Arc<Log>| log.bytes().starts_with(b"HEAD ") && !log.closed();
    wait::until("no spoilt connection is kept", SOON, || !rig.upstream.logs().iter().any(spoilt));
    rig.finish();
}

/// Large fields of a reply, from an origin of either protocol: split over frames, or 502.
#[test]
fn row_33_large_reply_fields() {
    let large = "r".repeat(20_000);
    let (first, second) = (large.clone(), large.clone());
    let h1 = Upstream::start(by_request(move |conn: &mut Conn, _| {
        conn.write(format!("HTTP/1.1 200 OK\r\nX-Large: {first}\r\nContent-Length: 2\r\n\r\nok"))
    }));
    let h2 = Upstream::start(move |conn| {
        let Some(mut frames) = Frames::accept(conn, &[]) else { return };
        while let Some((id, _)) = frames.request() {
            let block = Block::new().index(8).field("x-large", &second);
            let head = frame::headers_cut(id, &block.0, false);
            if !frames.send([head, frame::data(id, b"ok", true)].concat()) {
                return;
            }
        }
    });
    for edge in [Edge::simple(h1.port()), over_h2(&h2)] {
        let weir = Weir::start(edge);
        let mut client = H2::connect(weir.web());
        let reply = client.get("/large").expect("a reply");
        assert_eq!((reply.status, reply.text()), (200, "ok".into()));
        assert_eq!(reply.field("x-large"), Some(&large[..]));
        let reply = Client::connect(weir.web()).get("/large").expect("a reply");
        assert_eq!(reply.field("x-large"), Some(&large[..]));
        assert_eq!(client.get("/large").map(|reply| reply.status), Ok(200), "still in step");
    }
}
