//! Rows 14, 15, 17 to 21, 31 and 32: bodies, their ends, and what comes after them.

use super::rig::{Rig, X, by_request, show};
use crate::support::client::{Client, Cut, End};
use crate::support::edge::Edge;
use crate::support::meter;
use crate::support::upstream::Conn;
use crate::support::wait::{self, SOON};
use std::time::Duration;

/// A chunked POST to /a with this body.
fn chunked(body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

#[test]
fn row_14_early_reply_with_a_body_owed() {
    // Answers at the head and keeps reading: what comes must be the body that was promised.
    let script = by_request(|conn, mut request| {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly") && conn.body(&mut request)
    });
    let mut rig = Rig::with(14, script, |edge| edge);
    let head = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n0123456789";
    let filler = format!("{X}{X}{X}012345");
    assert_eq!(filler.len(), 90);
    for cut in Cut::all(head.len()) {
        let what = show(head.as_bytes(), cut);
        let mut client = rig.weir.client();
        client.send_cut(head.as_bytes(), cut);
        let reply = client.reply_within("POST", SOON).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(reply.text(), "early", "{what}");
        // While the body is owed, that connection to the origin serves nobody else.
        let owed = rig.taken(&what);
        assert!(owed.requests.is_empty(), "I1: {what}: {owed:?}");
        drop(client.send(&filler));
        client.finish();
        match client.end(SOON) {
            End::Closed(rest) => {
                assert!(rest.is_empty(), "I2: {what}: body bytes were answered: {rest:?}");
            }
            End::Reset(_) => {}
            End::Open(rest) => panic!("{what}: open after {rest:?}"),
        }
        for log in rig.upstream.logs() {
            let bytes = String::from_utf8_lossy(&log.bytes()).into_owned();
            if let Some(at) = bytes.find("0123456789") {
                let body = &bytes[at..];
                let body = body.get(..100).unwrap_or(body);
                assert!(format!("0123456789{filler}").starts_with(body), "I1: {what}: {bytes:?}");
            }
        }
        rig.taken(&what);
        rig.count();
    }
    rig.finish();
}

/// After a reply that Weir made by itself: the body is drained and the connection goes on with
/// the next request, or the connection ends. Its bytes are never a request.
#[track_caller]
fn one_reply(rig: &mut Rig, bytes: &str, status: u16) {
    for cut in Cut::all(bytes.len()) {
        let what = show(bytes.as_bytes(), cut);
        let mut client = rig.weir.client();
        client.send_cut(bytes.as_bytes(), cut);
        let reply = client.reply_within("GET", SOON).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        let next = client.get("/next");
        if let Ok(next) = &next {
            let is_next = next.status == status || next.text() == "GET /next 0";
            assert!(is_next, "I2: {what}: {next:?}");
            assert_eq!(client.unread(), b"", "I2: {what}: one reply too many");
        }
        let taken = rig.taken(&what);
        let leaked = taken.requests.iter().any(|r| r.target == "/x" || r.target == "/c");
        assert!(!leaked && taken.partial.is_empty(), "I1: {what}: {taken:?}");
        rig.count();
    }
}

#[test]
fn row_15_own_replies_and_unread_bodies() {
    let only =
        |edge: Edge| edge.balance("a", "p", "").listener("web", "limits = { body_bytes = 20 }");
    let mut rig = Rig::with(15, Conn::serve, only);
    let with_body = |head: &str| format!("{head}\r\nContent-Length: 28\r\n\r\n{X}");
    one_reply(&mut rig, &with_body("GET /c HTTP/1.1\r\nHost: a"), 413);
    one_reply(&mut rig, &with_body("GET /c HTTP/1.1\r\nHost: a\r\nExpect: y"), 417);
    rig.finish();

    let redirecting = |edge: Edge| edge.listener("redirects", "redirect_https = true");
    let mut rig = Rig::with(15, Conn::serve, redirecting);
    let redirecting = rig.weir.address("redirects");
    for cut in Cut::all(28) {
        let bytes = with_body("GET /c HTTP/1.1\r\nHost: a");
        let mut client = Client::connect(redirecting);
        client.send_cut(bytes.as_bytes(), cut);
        let reply = client.reply("GET");
        assert_eq!(reply.status, 308, "{cut:?}: {reply:?}");
        if let Ok(next) = client.get("/next") {
            assert_eq!(next.status, 308, "{cut:?}: {next:?}");
            assert_eq!(next.field("location"), Some("https://a/next"), "I2: {cut:?}");
            assert_eq!(client.unread(), b"", "I2: {cut:?}: one reply too many");
        }
        let taken = rig.taken("redirect");
        assert!(taken.requests.is_empty() && taken.partial.is_empty(), "I1: {taken:?}");
        rig.count();
    }
    rig.finish();
}

#[test]
fn row_15_replies_without_a_body_to_requests_with_one() {
    let mut rig = Rig::scripted(15, |conn, mut request| {
        conn.body(&mut request);
        if request.target == "/c" {
            return conn.write("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n");
        }
        conn.answer(&request)
    });
    let bytes = format!("GET /c HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n{X}");
    rig.each(
        &bytes,
        |client, what| {
            let reply = client.reply_within("GET", SOON).unwrap_or_else(|e| panic!("{what}: {e}"));
            (reply, client.get("/next"))
        },
        |(reply, next), taken, what| {
            assert_eq!(reply.status, 304, "{what}");
            assert_eq!(taken.requests[0].text(), X, "I1: {what}");
            if let Ok(next) = next {
                assert_eq!(next.text(), "GET /next 0", "I2: {what}");
            }
            assert!(taken.requests.iter().all(|r| r.target != "/x"), "I1: {what}: {taken:?}");
        },
    );
    rig.finish();
}

#[test]
fn row_17_chunk_extensions() {
    let mut rig = Rig::new(17);
    for line in [
        "2;\nxx\r\n",
        "2;a=\"\r\n\"\r\n",
        "2;\rx\r\n",
        "2;\r\n",
        "2 \r\n",
        "2;a=\0\r\n",
        "2;a=b\n",
        "2 ;\r\n",
        "2;=b\r\n",
        "2\t\r\n",
        "2;a\x01\r\n",
    ] {
        rig.refused_in_body(chunked(&format!("{line}hi\r\n0\r\n\r\n")), &[400], b"hi");
    }
    for line in ["2;a=b\r\n", "2;a\r\n", "2;a=\"x y\"\r\n", "2;a=b;c=d\r\n"] {
        rig.passes(chunked(&format!("{line}hi\r\n0;e=f\r\n\r\n")), |request, what| {
            // The strict reader refuses extensions, so they were dropped.
            assert_eq!(request.text(), "hi", "I1: {what}");
        });
    }
    rig.finish();
}

#[test]
fn row_18_oversized_chunk_extensions() {
    let mut rig = Rig::new(18);
    let big = format!("1;a={}\r\nx\r\n", "b".repeat(16 * 1024));
    rig.refused_in_body(chunked(&big.repeat(2)), &[400], b"xx");
    let many = format!("1;a={}\r\nx\r\n", "b".repeat(1024));
    let bytes = chunked(&many.repeat(40));
    let before = meter::cpu(rig.weir.pid());
    for cut in [Cut::Whole, Cut::Bytes, Cut::At(5000), Cut::At(20_000)] {
        let mut client = rig.weir.client();
        client.send_cut(bytes.as_bytes(), cut);
        super::rig::refusal(&mut client, &[400], &format!("40 KiB of extensions, {cut:?}"));
        assert!(rig.taken("extensions").requests.is_empty());
        rig.count();
    }
    let used = meter::cpu(rig.weir.pid()) - before;
    assert!(used < Duration::from_secs(4), "I3: {used:?} for a few refused requests");
    rig.finish();
}

#[test]
fn row_19_chunk_terminators() {
    let mut rig = Rig::new(19);
    for (body, forbidden) in [
        ("5\nhello\n0\n\n", "hello"),
        ("5\r\nhello\n0\r\n\r\n", "\r\n0\r\n"),
        ("5\r\nhelloXX0\r\n\r\n", "XX"),
        ("5\r\nhello\r0\r\n\r\n", "\r\n0\r\n"),
        ("5\r\nhello0\r\n\r\n", "hello0"),
        ("5\r\nhello\r\n0\n\n", "\r\n0\r\n"),
        ("5\r\nhello\r\n0\r\nX: a\n\r\n", "X: a"),
        ("5\r\nhello\r\n\r\n0\r\n\r\n", "\r\n0\r\n"),
        ("5\r\nhello\r\n;a\r\n", ";a"),
        ("5\r\nhello\r\n5", "\r\n0\r\n"),
    ] {
        // The last one is not wrong but short; the client goes, and there is no end to forward.
        if body.ends_with('5') {
            let bytes = chunked(body);
            let mut client = rig.weir.client();
            client.send_cut(bytes.as_bytes(), Cut::Whole);
            client.finish();
            drop(client.end(SOON));
            let taken = rig.taken(body);
            assert!(taken.requests.is_empty(), "I1: an end was made up: {taken:?}");
            rig.count();
            continue;
        }
        rig.refused_in_body(chunked(body), &[400], forbidden.as_bytes());
    }
    rig.finish();
}

#[test]
fn row_20_chunk_sizes() {
    let mut rig = Rig::new(20);
    for size in [
        "10000000000000000",
        "-1",
        "+1",
        "0x5",
        "00000000000000000000",
        "5g",
        "",
        " 5",
        "1ffffffffffffffff",
    ] {
        rig.refused_in_body(chunked(&format!("{size}\r\nhello\r\n0\r\n\r\n")), &[400], b"hello");
    }
    rig.refused_in_body(chunked("FFFFFFFFFFFFFFFF\r\nhello"), &[400, 413], b"hello");
    rig.refused_in_body(
        chunked("5\r\nhello\r\nFFFFFFFFFFFFFFFB\r\nhello"),
        &[400, 413],
        b"lohello",
    );
    rig.passes(chunked("0000000000000005\r\nhello\r\n0\r\n\r\n"), |request, what| {
        assert_eq!(request.text(), "hello", "I1: {what}");
    });
    rig.finish();
}

#[test]
fn row_21_trailers() {
    let mut rig = Rig::new(21);
    let forbidden = "Content-Length: 9\r\nHost: evil\r\nX-Forwarded-For: 1\r\n\
        Transfer-Encoding: chunked\r\nAuthorization: x\r\nConnection: close\r\nX-Sum: 5\r\n";
    rig.passes(chunked(&format!("2\r\nhi\r\n0\r\n{forbidden}\r\n")), |request, what| {
        assert_eq!(request.text(), "hi", "I1: {what}");
        assert_eq!(request.field("host"), Some("a"), "{what}");
        assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"), "{what}");
        for name in [
            "content-length",
            "host",
            "x-forwarded-for",
            "transfer-encoding",
            "authorization",
            "connection",
        ] {
            let found = request.trailers.iter().any(|(n, _)| n == name);
            assert!(!found, "{what}: trailer {name} was forwarded");
        }
        assert!(!request.has("x-sum"), "{what}: a trailer became a field");
    });
    let many = "X-T: 1\r\n".repeat(200);
    rig.refused_in_body(chunked(&format!("2\r\nhi\r\n0\r\n{many}\r\n")), &[400, 431], b"X-T");
    let long = format!("X-T: {}\r\n", "a".repeat(100_000));
    rig.refused_in_body(chunked(&format!("2\r\nhi\r\n0\r\n{long}\r\n")), &[400, 431], b"X-T");
    rig.finish();
}

#[test]
fn row_31_expectations() {
    let mut rig = Rig::scripted(31, |conn, mut request| match request.target.as_str() {
        // Says 100 late and then answers.
        "/late" => {
            let late = Duration::from_millis(20);
            std::thread::sleep(late);
            conn.write("HTTP/1.1 100 Continue\r\n\r\n")
                && conn.body(&mut request)
                && conn.answer(&request)
        }
        "/refuses" => {
            conn.write("HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            conn.drain();
            false
        }
        "/final" => {
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            conn.drain();
            false
        }
        _ => conn.body(&mut request) && conn.answer(&request),
    });
    let post = |target: &str, expect: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: 5\r\n\r\nhello")
    };
    for target in ["/a", "/late"] {
        for expect in ["Expect: 100-continue\r\n", "Expect: 100-Continue\r\n"] {
            rig.each(
                post(target, expect),
                |client, what| {
                    let reply = client.reply_within("POST", SOON);
                    reply.unwrap_or_else(|e| panic!("{what}: {e}"))
                },
                |reply, taken, what| {
                    assert_eq!(reply.text(), format!("POST {target} 5"), "{what}");
                    assert!(reply.interim.len() <= 1, "{what}: 100 came twice: {reply:?}");
                    assert_eq!(taken.requests[0].text(), "hello", "I1: {what}");
                },
            );
        }
    }
    for (target, status) in [("/refuses", 417), ("/final", 200)] {
        rig.each(
            post(target, "Expect: 100-continue\r\n"),
            |client, what| {
                let reply = client.reply_within("POST", SOON);
                (reply.unwrap_or_else(|e| panic!("{what}: {e}")), client.get("/next"))
            },
            |(reply, next), _, what| {
                assert_eq!(reply.status, status, "{what}");
                if let Ok(next) = next {
                    assert_eq!(next.text(), "GET /next 0", "I2: {what}");
                }
            },
        );
    }
    rig.refused(post("/a", "Expect: y 100-continue\r\n"), &[417]);
    rig.refused(post("/a", "Expect: 100-continue, y\r\n"), &[417]);
    rig.refused(post("/a", "Expect:\r\n 100-continue\r\n"), &[400]);
    rig.passes("GET /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n", |request, what| {
        assert!(request.body.is_empty(), "I1: {what}");
    });
    waits_for_100(&mut rig);
    rig.finish();
}

/// A client that holds its body back until it is asked for it gets asked, once.
fn waits_for_100(rig: &mut Rig) {
    let mut client = rig.weir.client();
    let head =
        "POST /late HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.send(head).expect("it is sent");
    let interim = client.exact("HTTP/1.1 100 Continue\r\n\r\n".len());
    assert_eq!(String::from_utf8_lossy(&interim), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello").expect("it is sent");
    let reply = client.reply("POST");
    assert_eq!((reply.text().as_str(), reply.interim.len()), ("POST /late 5", 0));
    rig.taken("100 asked for");
    rig.count();
}

#[test]
fn row_32_pipelining() {
    let mut rig = Rig::new(32);
    let bytes = format!(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n{}GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n".to_owned() + X
    );
    rig.each(
        &bytes,
        |client, what| {
            let first = client.reply_within("GET", SOON).unwrap_or_else(|e| panic!("{what}: {e}"));
            let more: Vec<_> =
                std::iter::from_fn(|| client.reply_within("GET", Duration::from_secs(2)).ok())
                    .take(2)
                    .collect();
            std::iter::once(first).chain(more).map(|reply| reply.text()).collect::<Vec<_>>()
        },
        |replies, taken, what| {
            let all = ["GET /1 0", "POST /2 28", "GET /3 0"];
            assert_eq!(replies[..], all[..replies.len()], "I2: {what}");
            let lines = ["GET /1", "POST /2", "GET /3"];
            assert_eq!(taken.lines()[..], lines[..taken.requests.len()], "I1: {what}");
            assert!(taken.partial.is_empty(), "I1: {what}: half forwarded: {taken:?}");
            assert!(replies.len() == 3 || replies.len() == 1, "{what}: {replies:?}");
        },
    );
    // A hundred in one write: answered in order, none lost.
    let many: String = (0..100).map(|n| format!("GET /m{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let mut client = rig.weir.client();
    client.send(many).expect("it is sent");
    for n in 0..100 {
        assert_eq!(client.reply("GET").text(), format!("GET /m{n} 0"), "I2");
    }
    assert_eq!(rig.taken("a hundred").requests.len(), 100);
    rig.count();
    wait::until("nothing is unread", SOON, || client.unread().is_empty());
    rig.finish();
}
