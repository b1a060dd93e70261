//! What an origin does with one request: refuses, says nothing, resets, cuts short, lies.

use super::{FullQueue, after_request, before, failed};
use crate::support::client::{Cut, End};
use crate::support::edge::Edge;
use crate::support::files::free_port;
use crate::support::process::Weir;
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[test]
fn refuses_the_connection() {
    let weir = Weir::start(Edge::simple(free_port()));
    failed(&weir.get("/a"), 502, "connection_refused");
    let mut client = weir.client();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").expect("sent");
    failed(&client.reply_within("POST", SOON), 502, "connection_refused");
    // The failure was the origin's: the client's connection goes on where its body was read.
    if let Ok(reply) = client.get("/b") {
        assert_eq!(reply.status, 502);
    }
}

#[test]
fn never_accepts() {
    let full = FullQueue::new();
    let lines = "timeouts = { connect = \"300ms\" }\nretries = { attempts = 0 }";
    let origins = [crate::support::edge::origin("o1", full.port)];
    let weir = Weir::start(Edge::simple(full.port).pool("p", lines, &origins));
    let begun = Instant::now();
    failed(&weir.get("/a"), 504, "connection_timeout");
    assert!(begun.elapsed() < Duration::from_secs(5), "the time limit is 300 ms");
}

#[test]
fn accepts_and_says_nothing() {
    let upstream = Upstream::start(Conn::drain);
    let weir = before(&upstream, "timeouts = { reply = \"300ms\" }\nretries = { attempts = 0 }");
    failed(&weir.get("/a"), 504, "http_response_timeout");
    wait::until("the origin is let go", SOON, || upstream.logs().iter().all(|log| log.closed()));
}

#[test]
fn closes_without_a_reply() {
    let upstream = after_request(|_| {});
    let weir = before(&upstream, "retries = { attempts = 0 }");
    failed(&weir.get("/a"), 502, "connection_terminated");
}

#[test]
fn resets_before_and_within_the_head() {
    for sent in ["", "HTT", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let upstream = after_request(move |conn| {
            conn.write(sent);
            // Weir reads the part before the reset discards it.
            conn.quiet(Duration::from_millis(20));
            conn.reset();
        });
        let weir = before(&upstream, "retries = { attempts = 0 }");
        failed(&weir.get("/a"), 502, "connection_terminated");
    }
}

/// A reply that was cut must never look whole: the client sees the connection end before the
/// length that was announced or the last chunk, or a 502.
#[track_caller]
fn never_whole(sent: &'static str, reset: bool) {
    let upstream = after_request(move |conn| {
        conn.write(sent);
        if reset {
            conn.quiet(Duration::from_millis(20));
            conn.reset();
        }
    });
    let weir = before(&upstream, "");
    for _ in 0..3 {
        let mut client = weir.client();
        client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
        match client.reply_within("GET", SOON) {
            Ok(reply) => assert_eq!(reply.status, 502, "{sent:?} looked whole: {reply:?}"),
            Err(e) => assert!(e.contains("ended"), "{sent:?}: {e}"),
        }
    }
}

#[test]
fn cuts_the_body_short() {
    for reset in [false, true] {
        never_whole("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", reset);
        never_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n", reset);
        never_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n012", reset);
        never_whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", reset);
    }
    // Without a length only a reset shows that it was cut.
    never_whole("HTTP/1.1 200 OK\r\n\r\n01234", true);
}

#[test]
fn ends_the_body_by_closing() {
    let upstream = after_request(|conn| {
        conn.write("HTTP/1.1 200 OK\r\n\r\n01234");
    });
    let weir = before(&upstream, "");
    let mut client = weir.client();
    for _ in 0..2 {
        let reply = client.get("/a").expect("whole");
        assert_eq!(reply.text(), "01234");
        if reply.field("connection") == Some("close") {
            client = weir.client();
        }
    }
    // An HTTP/1.0 client knows no chunks.
    let mut old = weir.client();
    old.send("GET /a HTTP/1.0\r\nHost: a\r\n\r\n").expect("it is sent");
    let reply = old.reply("GET");
    assert!(!reply.has("transfer-encoding"), "{reply:?}");
    assert_eq!(reply.text(), "01234");
}

#[test]
fn stops_within_the_body() {
    let upstream = after_request(|conn| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        conn.drain();
    });
    let weir = before(&upstream, "timeouts = { idle = \"300ms\" }");
    let mut client = weir.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    match client.reply_within("GET", SOON) {
        Ok(reply) => assert_eq!(reply.status, 504, "{reply:?}"),
        Err(e) => assert!(e.contains("ended"), "{e}"),
    }
    wait::until("the origin is let go", SOON, || upstream.logs().iter().all(|log| log.closed()));
}

#[test]
fn sends_wrong_framing() {
    for (head, body, whole) in [
        // Transfer-Encoding wins; the connection is not used again.
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", true),
        ("Content-Length: x", "hello", false),
        ("Content-Length: -1", "hello", false),
        ("Content-Length: 5\r\nContent-Length: 6", "hello", false),
        ("Transfer-Encoding: chunked", "zz\r\nhello\r\n", false),
        ("Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\n", false),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        let upstream = Upstream::start(
            move |conn: &mut Conn| {
                while conn.request().is_some() && conn.write(&text) {}
            },
        );
        let weir = before(&upstream, "");
        for _ in 0..2 {
            match weir.get("/a") {
                Ok(reply) if reply.status == 200 => {
                    assert!(whole && reply.text() == "hello", "{head}: {reply:?}");
                }
                Ok(reply) => assert_eq!((reply.status, whole), (502, false), "{head}: {reply:?}"),
                Err(e) => assert!(!whole && e.contains("ended"), "{head}: {e}"),
            }
        }
        assert_eq!(upstream.logs().len(), 2, "{head}: the connection was used again");
    }
}

#[test]
fn answers_early_and_closes() {
    // The origin answers at the head of a large upload, reads nothing of it, and closes.
    let upstream = Upstream::start(|conn: &mut Conn| {
        if conn.head().is_some() {
            conn.write(
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
            );
        }
    });
    let weir = before(&upstream, "");
    let body = vec![b'u'; 4 << 20];
    for n in 0..10 {
        let mut client = weir.client();
        let head =
            format!("POST /{n} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(head).expect("it is sent");
        // The client sends on while the reply comes; a reset would discard the reply.
        client.send_cut(&body, Cut::Whole);
        let reply = client.reply_within("POST", SOON).unwrap_or_else(|e| panic!("upload {n}: {e}"));
        assert_eq!((reply.status, reply.text().as_str()), (403, "no"), "upload {n}");
    }
}

#[test]
fn sends_junk_while_idle() {
    // Bytes on an idle connection, and a connection closed while idle, touch no later request.
    let done = Arc::new(AtomicUsize::new(0));
    let sent = done.clone();
    let upstream = Upstream::start(move |conn: &mut Conn| {
        while let Some(request) = conn.request() {
            conn.answer(&request);
            match request.target.as_str() {
                "/junk" => {
                    conn.quiet(Duration::from_millis(5));
                    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                    sent.fetch_add(1, Ordering::AcqRel);
                }
                "/close" => return,
                "/reset" => return conn.reset(),
                _ => {}
            }
        }
    });
    let weir = before(&upstream, "");
    for n in 0..30 {
        for target in ["/junk", "/close", "/reset"] {
            let reply = weir.get(target).unwrap_or_else(|e| panic!("{n}: {e}"));
            assert_eq!(reply.text(), format!("GET {target} 0"), "{n}");
            // Junk that comes after the next request would be its reply: nobody could tell.
            wait::until("the junk is there", SOON, || done.load(Ordering::Acquire) > n);
            let next = weir.get("/next").unwrap_or_else(|e| panic!("{n} after {target}: {e}"));
            assert_eq!(next.text(), "GET /next 0", "{n} after {target}");
        }
    }
}

#[test]
fn unread_replies_survive_the_end_of_the_connection() {
    // A refusal while the client is still sending: the reply arrives, and no reset before it.
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).listener("web", "limits = { body_bytes = 1000 }");
    let weir = Weir::start(edge);
    for n in 0..20 {
        let mut client = weir.client();
        let head = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n";
        client.send(head).expect("it is sent");
        client.send_cut(&vec![b'u'; 60_000], Cut::Whole);
        let reply = client.reply_within("POST", SOON).unwrap_or_else(|e| panic!("{n}: {e}"));
        assert_eq!(reply.status, 413);
        assert!(matches!(client.end(SOON), End::Closed(_)), "{n}");
    }
}
