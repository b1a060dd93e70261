//! Rows 7 to 12, 22, 23, 25 to 27: what a request head may say.

use super::rig::{Rig, X, by_request};
use crate::support::client::{Cut, End};
use crate::support::wait::SOON;

const CHUNKED: &str = "Transfer-Encoding: chunked";

/// A POST to /a with these lines and what follows the head.
fn post(lines: &str, rest: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{rest}")
}

/// A GET of /a with these lines.
fn get(lines: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

#[test]
fn row_07_http_1_0_and_bodies() {
    let mut rig = Rig::new(7);
    for host in ["", "Host: a\r\n"] {
        let chunked = format!("POST /a HTTP/1.0\r\n{host}{CHUNKED}\r\n\r\n0\r\n\r\n{X}");
        rig.refused(chunked, &[400]);
        let bytes = format!("POST /a HTTP/1.0\r\n{host}\r\n{X}");
        rig.each(
            &bytes,
            |client, what| {
                let reply = client.reply_within("POST", SOON);
                (reply.unwrap_or_else(|e| panic!("{what}: {e}")), client.end(SOON))
            },
            |(reply, end), taken, what| {
                // Without a length there is no body, and nothing may follow on this connection.
                assert_eq!(reply.status, 200, "{what}: {reply:?}");
                assert_eq!(end, End::Closed(Vec::new()), "{what}");
                let [request] = &taken.requests[..] else { panic!("I1: {what}: {taken:?}") };
                assert!(request.body.is_empty(), "I1: {what}: {request:?}");
                assert!(taken.partial.is_empty(), "I1: {what}: {taken:?}");
            },
        );
    }
    rig.refused(
        post("Transfer-Encoding: identity, chunked", &format!("0\r\n\r\n{X}")),
        &[400, 501],
    );
    rig.refused(post(&format!("{CHUNKED}\r\n{CHUNKED}"), &format!("0\r\n\r\n{X}")), &[400]);
    rig.refused(
        post(&format!("Transfer-Encoding: identity\r\n{CHUNKED}"), &format!("0\r\n\r\n{X}")),
        &[400, 501],
    );
    rig.finish();
}

#[test]
fn row_08_both_lengths() {
    let mut rig = Rig::new(8);
    for (length, body) in [
        ("Content-Length: 6", "0\r\n\r\nG".to_owned()),
        ("Content-Length: 4", format!("1c\r\n{X}\r\n0\r\n\r\n")),
        ("Content-Length: 0", "0\r\n\r\n".to_owned()),
    ] {
        rig.refused(post(&format!("{length}\r\n{CHUNKED}"), &body), &[400]);
        rig.refused(post(&format!("{CHUNKED}\r\n{length}"), &body), &[400]);
    }
    rig.finish();
}

#[test]
fn row_09_obscured_transfer_encoding() {
    let mut rig = Rig::new(9);
    let rest = format!("0\r\n\r\n{X}");
    for (line, statuses) in [
        ("Transfer-Encoding: xchunked", &[501][..]),
        ("Transfer-Encoding: gzip", &[501]),
        ("Transfer-Encoding: chunked;a=b", &[400, 501]),
        ("Transfer-Encoding: \"chunked\"", &[400, 501]),
        ("Transfer-Encoding: \x0bchunked", &[400]),
        ("Transfer-Encoding: chunked, identity", &[400, 501]),
        ("Transfer-Encoding: chunked, chunked", &[400]),
        ("Transfer-Encoding: chunked,", &[400, 501]),
        ("Transfer-Encoding:", &[400, 501]),
        ("Transfer-Encoding : chunked", &[400]),
        ("Transfer-Encoding\t: chunked", &[400]),
        ("Transfer-Encoding:\r\n chunked", &[400]),
    ] {
        rig.refused(post(line, &rest), statuses);
    }
    for line in ["Transfer-Encoding: CHUNKED", "Transfer-Encoding:\tchunked \t"] {
        rig.passes(post(line, "2\r\nhi\r\n0\r\n\r\n"), |request, what| {
            assert_eq!(request.text(), "hi", "I1: {what}");
        });
    }
    // A field of another name frames nothing: the message has no body and junk comes after it.
    let aliased = post("Transfer_Encoding: chunked", &rest);
    for cut in Cut::all(aliased.len()) {
        let what = super::rig::show(aliased.as_bytes(), cut);
        let mut client = rig.weir.client();
        client.send_cut(aliased.as_bytes(), cut);
        let first = client.reply_within("POST", SOON).unwrap_or_else(|e| panic!("{what}: {e}"));
        if first.status == 200 {
            super::rig::refusal(&mut client, &[400], &what);
        } else {
            assert_eq!(first.status, 400, "{what}");
        }
        let taken = rig.taken(&what);
        for request in &taken.requests {
            assert_eq!((request.target.as_str(), request.body.len()), ("/a", 0), "I1: {what}");
            assert!(!request.has("transfer_encoding"), "{what}: {request:?}");
        }
        rig.count();
    }
    rig.finish();
}

#[test]
fn row_10_odd_content_length() {
    let mut rig = Rig::new(10);
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: -0",
        "Content-Length: 0x5",
        "Content-Length: 5_0",
        "Content-Length: 5 5",
        "Content-Length: ",
        "Content-Length: 5;a",
        "Content-Length: 99999999999999999999",
        "Content-Length: 18446744073709551616",
    ] {
        rig.refused(post(lines, "hello"), &[400]);
    }
    rig.refused(post("Content-Length: 18446744073709551615", "hello"), &[400, 413]);
    let leading = post("Content-Length: 05", "hello");
    rig.each(
        &leading,
        |client, what| client.reply_within("POST", SOON).unwrap_or_else(|e| panic!("{what}: {e}")),
        |reply, taken, what| {
            if reply.status == 200 {
                assert_eq!(taken.requests[0].text(), "hello", "I1: {what}");
            } else {
                assert_eq!(reply.status, 400, "{what}");
                assert!(taken.requests.is_empty(), "I4: {what}");
            }
        },
    );
    rig.passes(post("Content-Length: \t 5 \t", "hello"), |request, what| {
        assert_eq!(request.text(), "hello", "I1: {what}");
    });
    rig.finish();
}

#[test]
fn row_11_very_long_field_names() {
    let mut rig = Rig::new(11);
    for len in [255, 256, 257, 65_535, 65_536, 65_537] {
        let name = format!("Content-Length0{}", "a".repeat(len - "Content-Length0".len()));
        let bytes = post(&format!("{name}: 0\r\nContent-Length: 28"), X);
        rig.each(
            &bytes,
            |client, what| {
                client.reply_within("POST", SOON).unwrap_or_else(|e| panic!("{what}: {e}"))
            },
            |reply, taken, what| match reply.status {
                200 => {
                    assert!(len < 60_000, "{what}: beyond the limit of a head");
                    let [request] = &taken.requests[..] else { panic!("I1: {what}: {taken:?}") };
                    assert_eq!(request.text(), X, "I1: {what}");
                    assert_eq!(request.field(&name.to_lowercase()), Some("0"), "{what}");
                }
                status => {
                    assert!([400, 431].contains(&status), "{what}: {status}");
                    assert!(taken.requests.is_empty() && taken.partial.is_empty(), "I4: {what}");
                }
            },
        );
    }
    rig.finish();
}

#[test]
fn row_12_empty_name_and_empty_length() {
    let mut rig = Rig::new(12);
    rig.refused(post(": x\r\nContent-Length: 9", "123456789"), &[400]);
    rig.refused(post(":\r\nContent-Length: 9", "123456789"), &[400]);
    rig.refused(post("Content-Length:", X), &[400]);
    rig.finish();
}

#[test]
fn row_22_line_ends_and_folding() {
    let mut rig = Rig::new(22);
    for bytes in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 9\r\n\r\n",
        "GET / HTTP/1.1\rHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n b\r\n\r\n",
        "\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        rig.refused(bytes, &[400]);
    }
    // One empty line before a request is allowed for the sake of old clients.
    let bytes = "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n";
    rig.each(
        bytes,
        |client, what| client.reply_within("GET", SOON).unwrap_or_else(|e| panic!("{what}: {e}")),
        |reply, taken, what| {
            assert_eq!(reply.status, 200, "{what}");
            assert_eq!(taken.lines(), ["GET /a"], "I1: {what}");
        },
    );
    rig.finish();
}

#[test]
fn row_23_names_and_values() {
    let mut rig = Rig::new(23);
    for lines in [
        "Content-Length : 5",
        "Content-Length\t: 5",
        "X: a\0b",
        "X: a\x01b",
        "X: a\x7fb",
        "X\x01: a",
        "X\0: a",
        "X Y: a",
        "X\"Y: a",
        "X(Y): a",
        "no colon",
        "X@: a",
    ] {
        rig.refused(post(lines, "hello"), &[400]);
    }
    rig.refused("GET /a HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n", &[400]);
    rig.refused("GET /a HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", &[400]);
    for line in [
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET\t/a HTTP/1.1",
        " GET /a HTTP/1.1",
        "GET /a HTTP/1.1 ",
        "GET /a",
        "G(T /a HTTP/1.1",
        "GET /a HTTP/1.10",
        "GET /a HTTP/01.1",
        "GET /a http/1.1",
        "GET /a HTTP/1",
        "GET /a\\b HTTP/1.1",
        "GET /a<b HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a\x7fb HTTP/1.1",
        "GET /a\x01b HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET a HTTP/1.1",
    ] {
        rig.refused(format!("{line}\r\nHost: a\r\n\r\n"), &[400]);
    }
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.8"] {
        rig.refused(format!("GET /a {version}\r\nHost: a\r\n\r\n"), &[505]);
    }
    // Names that gateways alias (X_Y and X-Y) are dropped by default.
    rig.passes(get("X_Y: a\r\nX.Z: b\r\nX-W: c"), |request, what| {
        assert!(!request.has("x_y") && !request.has("x.z"), "{what}: {request:?}");
        assert_eq!(request.field("x-w"), Some("c"), "{what}");
    });
    rig.finish();
}

#[test]
fn row_25_connection_names_framing() {
    let mut rig = Rig::new(25);
    for name in ["transfer-encoding", "Transfer-Encoding", "close, transfer-encoding"] {
        let body = format!("1c\r\n{X}\r\n0\r\n\r\n");
        rig.refused(post(&format!("Connection: {name}\r\n{CHUNKED}"), &body), &[400]);
    }
    rig.refused(post("Connection: content-length\r\nContent-Length: 28", X), &[400]);
    rig.refused(get("Connection: host"), &[400]);
    rig.refused(get("Connection: keep-alive\r\nConnection: Host"), &[400]);
    rig.finish();
}

#[test]
fn row_26_connection_names_proxy_fields() {
    let mut rig = Rig::new(26);
    let lines = "Connection: close, X-Forwarded-For, X-Real-IP, X-Forwarded-Host, Authorization, \
        X-Forwarded-Proto, X-Mine\r\nAuthorization: Basic abc\r\nX-Mine: 1\r\nX-Other: 2\r\n\
        X-Forwarded-For: 6.6.6.6";
    rig.passes(get(lines), |request, what| {
        let client = request.field("x-forwarded-for").unwrap_or_default();
        assert_eq!(client, "127.0.0.1", "{what}: the address of the peer, and no spoofed one");
        assert_eq!(request.field("authorization"), Some("Basic abc"), "{what}");
        assert_eq!(request.field("x-forwarded-proto"), Some("http"), "{what}");
        assert!(!request.has("x-mine"), "{what}: {request:?}");
        assert_eq!(request.field("x-other"), Some("2"), "{what}");
    });
    // The remaining hop-by-hop fields (RFC 9110 §7.6.1) stay here as well.
    let hops = "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\
        Proxy-Authorization: Basic abc";
    rig.passes(get(hops), |request, what| {
        for name in ["keep-alive", "proxy-connection", "te", "proxy-authorization"] {
            assert!(!request.has(name), "{what}: {name} was forwarded");
        }
    });
    rig.finish();
}

#[test]
fn row_27_one_authority() {
    let mut rig = Rig::new(27);
    for host in [
        "a@b", "a,b", "a:80:81", "a:", "a:99999", "a:0", "a:-1", "a:x", "[::1", "::1]", "[::1]x",
        "[g::1]", "a/b", "a#", "a?b", "a\\b", "a b", "u:p@a", "a%00b", "<a>", "",
    ] {
        rig.refused(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n"), &[400]);
    }
    for head in [
        "GET http://b/ HTTP/1.1\r\nHost: a",
        "GET http://a:81/ HTTP/1.1\r\nHost: a",
        "GET http://a@a/ HTTP/1.1\r\nHost: a",
        "GET http:///a HTTP/1.1\r\nHost: a",
        "GET http://a\\b/ HTTP/1.1\r\nHost: a",
        "GET /a HTTP/1.1\r\nHost: a\r\nHost: a",
        "GET /a HTTP/1.1\r\nHost: a\r\nHost: b",
        "GET /a HTTP/1.1",
        "GET ftp://a/ HTTP/1.1\r\nHost: a",
    ] {
        rig.refused(format!("{head}\r\n\r\n"), &[400]);
    }
    for (head, host) in [
        ("GET /a HTTP/1.1\r\nHost: a", "a"),
        ("GET /a HTTP/1.1\r\nHost: A.Example", "a.example"),
        ("GET /a HTTP/1.1\r\nHost: a:8080", "a:8080"),
        ("GET /a HTTP/1.1\r\nHost: [::1]:80", "[::1]"),
        ("GET http://a/a HTTP/1.1\r\nHost: a", "a"),
        ("GET HTTP://a/a HTTP/1.1\r\nHost: A", "a"),
    ] {
        rig.passes(format!("{head}\r\n\r\n"), |request, what| {
            assert_eq!(request.target, "/a", "{what}");
            let found = request.field("host").unwrap_or_default().to_ascii_lowercase();
            let found = found.strip_suffix(":80").unwrap_or(&found);
            assert_eq!(found, host, "{what}");
        });
    }
    rig.finish();

    // Routing takes the same authority that the origin gets.
    let other = crate::support::upstream::Upstream::tagged();
    let port = other.port();
    let script = by_request(|conn, mut request| conn.body(&mut request) && conn.answer(&request));
    let rig = Rig::with(27, script, |edge| {
        edge.pool("q", "", &[crate::support::edge::origin("o2", port)]).balance(
            "b.example",
            "q",
            "",
        )
    });
    for head in [
        "GET http://b.example/r HTTP/1.1\r\nHost: b.example",
        "GET /r HTTP/1.1\r\nHost: B.EXAMPLE:80",
        "GET /r HTTP/1.1\r\nHost: b.example",
    ] {
        let mut client = rig.weir.client();
        client.send(format!("{head}\r\n\r\n")).expect("it is sent");
        assert_eq!(client.reply("GET").status, 200, "{head}");
        assert_eq!(other.take().lines(), ["GET /r"], "{head}");
    }
    assert!(
        rig.upstream.take().requests.is_empty(),
        "the default pool got a request for b.example"
    );
}

/// What the parsing table says beside the numbered rows; counted as row 0.
#[test]
fn row_00_methods_versions_and_ends() {
    let mut rig = Rig::new(0);
    rig.passes("GET /a HTTP/1.2\r\nHost: a\r\n\r\n", |request, what| {
        assert_eq!(request.version, "HTTP/1.1", "{what}: Weir speaks for itself");
    });
    for method in ["BREW", "DELETE", "GET", "PATCH"] {
        let bytes = format!("{method} /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        rig.passes(bytes, |request, what| {
            assert_eq!((request.method.as_str(), request.text()), (method, "hi".into()), "{what}");
        });
    }
    let old = "GET /a HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    rig.passes(old, |request, what| assert!(!request.has("upgrade"), "{what}: {request:?}"));
    let trace = "TRACE /a HTTP/1.1\r\nHost: a\r\n\r\n";
    rig.each(
        trace,
        |client, what| client.reply_within("GET", SOON).unwrap_or_else(|e| panic!("{what}: {e}")),
        |reply, taken, what| {
            assert_eq!(reply.status, 405, "{what}");
            assert!(taken.requests.is_empty(), "{what}: {taken:?}");
        },
    );
    // A TLS greeting on a plain port, and a client that ends within a head: no reply, no trace.
    let greeting = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03";
    let half = b"GET /a HTTP/1.1\r\nHost: a\r\nX: y";
    for (bytes, finish) in [(&greeting[..], false), (&half[..], true)] {
        for cut in Cut::all(bytes.len()) {
            let what = super::rig::show(bytes, cut);
            let mut client = rig.weir.client();
            client.send_cut(bytes, cut);
            if finish {
                client.finish();
            }
            match client.end(SOON) {
                End::Closed(rest) | End::Reset(rest) => assert_eq!(rest, b"", "{what}"),
                End::Open(_) => panic!("{what}: left open"),
            }
            let taken = rig.taken(&what);
            assert!(taken.requests.is_empty() && taken.partial.is_empty(), "{what}: {taken:?}");
            rig.count();
        }
    }
    rig.finish();
}
