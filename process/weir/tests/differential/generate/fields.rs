//! Field lines: every byte in names and values, line ends, sizes, Connection, Upgrade, Expect, and
//! fields that speak of the client.

use super::{Bag, X, is_token, label};

pub(super) fn all(bag: &mut Bag) {
    bytes(bag);
    lines(bag);
    starts(bag);
    sizes(bag);
    connection(bag);
    upgrade(bag);
    expect(bag);
    owned(bag);
}

/// A request with these further field lines, and another one behind it.
fn with(fields: impl AsRef<[u8]>) -> Vec<u8> {
    let start: &[u8] = b"GET /f HTTP/1.1\r\nHost: a\r\n";
    [start, fields.as_ref(), b"\r\n", X.as_bytes()].concat()
}

fn bytes(bag: &mut Bag) {
    for b in 0..=255u8 {
        let name = if is_token(b) || b == b':' { 2 } else { 0 };
        let line = [b"X", &[b][..], b"Y: v\r\n"].concat();
        bag.add(
            format!("field/name-byte/{b:02x}"),
            "rows 23 and 70, RFC 9110 §5.1",
            name,
            with(line),
        );
        let value = if b == b'\t' || (b >= 0x20 && b != 0x7f) { 2 } else { 0 };
        let line = [b"X: a", &[b][..], b"c\r\n"].concat();
        bag.add(format!("field/value-byte/{b:02x}"), "row 23, RFC 9110 §5.5", value, with(line));
    }
    for (line, served) in [
        ("X:\r\n", true),
        ("X: \r\n", true),
        ("X:\t\r\n", true),
        ("X:v\r\n", true),
        ("X:  v  \r\n", true),
        ("X::v\r\n", true),
        ("X: v: w\r\n", true),
        (":v\r\n", false),
        (": v\r\n", false),
        (":\r\n", false),
        ("X\r\n", false),
        ("X v\r\n", false),
        ("X;v\r\n", false),
        ("X=v\r\n", false),
        (" X: v\r\n", false),
        ("\tX: v\r\n", false),
        ("X : v\r\n", false),
        ("X\t: v\r\n", false),
        ("X Y: v\r\n", false),
        ("GET /x HTTP/1.1: v\r\n", false),
        ("X: v\r\n w\r\n", false),
        ("X: v\r\n\tw\r\n", false),
        ("X: v\r\n Content-Length: 5\r\n", false),
        ("X: v\r\n \r\n", false),
        ("X: v\r\n  : w\r\n", false),
    ] {
        let name = format!("field/line/{}", label(line));
        bag.add(name, "rows 22 and 23, RFC 9112 §5", if served { 2 } else { 0 }, with(line));
    }
}

/// Ends of lines, other than CRLF, at each line of a head.
fn lines(bag: &mut Bag) {
    let lines = ["GET /l HTTP/1.1", "Host: a", "Content-Length: 0", "X: y", ""];
    for (which, place) in
        ["request-line", "host", "length", "field", "empty-line"].iter().enumerate()
    {
        for (name, end) in [
            ("lf", "\n"),
            ("cr", "\r"),
            ("lfcr", "\n\r"),
            ("crcrlf", "\r\r\n"),
            ("crlflf", "\r\n\n"),
            ("nul-crlf", "\0\r\n"),
            ("cr-nul-lf", "\r\0\n"),
            ("vt", "\u{b}"),
            ("ff-crlf", "\u{c}\r\n"),
            ("nel", "\u{85}"),
            ("ls", "\u{2028}"),
            ("cr-space-lf", "\r \n"),
        ] {
            let mut bytes = String::new();
            for (at, line) in lines.iter().enumerate() {
                bytes.push_str(line);
                bytes.push_str(if at == which { end } else { "\r\n" });
            }
            bytes.push_str(X);
            // An empty line that comes early ends the head.
            let forwards = usize::from((*place, name) == ("empty-line", "crlflf"));
            bag.add(
                format!("field/line-end/{place}/{name}"),
                "row 22, RFC 9112 §2.2",
                forwards,
                bytes,
            );
        }
    }
}

fn starts(bag: &mut Bag) {
    for (name, before, forwards) in [
        ("crlf", &b"\r\n"[..], 1),
        ("two-crlf", b"\r\n\r\n", 0),
        ("lf", b"\n", 0),
        ("cr", b"\r", 0),
        ("space", b" ", 0),
        ("tab", b"\t", 0),
        ("nul", b"\0", 0),
        ("bom", b"\xef\xbb\xbf", 0),
        ("crlf-space", b"\r\n ", 0),
        ("tls", b"\x16\x03\x01\x00\x05hello", 0),
        ("ssl2", b"\x80\x2e\x01\x03\x01", 0),
        ("reply", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
        ("proxy-v1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 0),
        ("proxy-v1-unknown", b"PROXY UNKNOWN\r\n", 0),
        ("proxy-v2", b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", 0),
        ("field", b"X: y\r\n", 0),
        ("chunk", b"5\r\nhello\r\n", 0),
    ] {
        let bytes = [before, X.as_bytes()].concat();
        bag.add(format!("start/first/{name}"), "RFC 9112 §2.2", forwards, bytes);
        let bytes = [X.as_bytes(), before, X.as_bytes()].concat();
        bag.add(format!("start/second/{name}"), "RFC 9112 §2.2", forwards + 1, bytes);
    }
}

fn sizes(bag: &mut Bag) {
    let idea = "row 11, RFC 6585 §5";
    for len in [254, 255, 256, 257, 4_095, 4_096, 4_097] {
        let name = format!("Content-Length0{}", "a".repeat(len - 15));
        let fields = format!("{name}:\r\nContent-Length: 28\r\n");
        let bytes = format!("POST /z HTTP/1.1\r\nHost: a\r\n{fields}\r\n{X}{X}");
        bag.add(format!("size/name/{len}"), idea, 2, bytes);
    }
    for len in [65_534, 65_535, 65_536, 65_537] {
        let fields = format!("Content-Length0{}: 1\r\n", "a".repeat(len - 15));
        bag.add(format!("size/name/{len}"), idea, 0, with(fields));
    }
    for (len, served) in
        [(255, true), (8_192, true), (31_000, true), (33_000, false), (65_536, false)]
    {
        let fields = format!("X: {}\r\n", "v".repeat(len));
        bag.add(format!("size/value/{len}"), idea, if served { 2 } else { 0 }, with(fields));
    }
    for (count, served) in [(50, true), (99, true), (100, false), (101, false), (1_000, false)] {
        let fields = "X: y\r\n".repeat(count);
        bag.add(format!("size/count/{count}"), idea, if served { 2 } else { 0 }, with(fields));
    }
}

fn connection(bag: &mut Bag) {
    let many = (0..33).map(|n| format!("o{n}")).collect::<Vec<_>>().join(", ");
    for (options, forwards) in [
        ("close", 1),
        ("Close", 1),
        ("CLOSE ", 1),
        ("close, keep-alive", 1),
        ("keep-alive, close", 1),
        ("x, close", 1),
        ("close,", 1),
        (",close", 1),
        ("keep-alive", 2),
        ("closed", 2),
        ("xclose", 2),
        ("", 2),
        (",", 2),
        (" , , ", 2),
        ("X-Forwarded-For", 2),
        ("X-Forwarded-For, X-Real-IP, Authorization, Cookie", 2),
        ("CF-Connecting-IP", 2),
        ("X-Weir-Id", 2),
        ("X-Named", 2),
        ("x-named, X-NAMED", 2),
        ("Connection", 2),
        ("TE", 2),
        ("Trailer", 2),
        ("Expect", 2),
        ("Upgrade", 2),
        ("HTTP2-Settings", 2),
        ("Proxy-Connection", 2),
        ("GET", 2),
        ("Content-Length", 0),
        ("content-length", 0),
        ("close, Content-Length", 0),
        ("Transfer-Encoding", 0),
        ("transfer-encoding, close", 0),
        ("Host", 0),
        ("x, HOST", 0),
        ("a b", 0),
        ("\"close\"", 0),
        ("close;q=1", 0),
        ("a=b", 0),
        ("close\u{e9}", 0),
        (&many, 0),
    ] {
        let fields = format!("X-Named: n\r\nAuthorization: n\r\nConnection: {options}\r\n");
        let name = format!("connection/{}", label(options));
        bag.add(name, "rows 25 and 26, RFC 9110 §7.6.1", forwards, with(fields));
    }
    for (name, fields, forwards) in [
        ("two-fields", "Connection: x\r\nConnection: close\r\n", 1),
        ("two-fields-framing", "Connection: x\r\nConnection: content-length\r\n", 0),
        ("proxy-connection", "Proxy-Connection: close\r\n", 2),
        ("keep-alive-field", "Keep-Alive: timeout=1, max=1\r\n", 2),
        ("underscore", "Connection_: close\r\n", 2),
    ] {
        bag.add(format!("connection/{name}"), "RFC 9110 §7.6.1", forwards, with(fields));
    }
    for (option, field) in [
        ("transfer-encoding", format!("Transfer-Encoding: chunked\r\n\r\n1c\r\n{X}\r\n0\r\n\r\n")),
        ("content-length", format!("Content-Length: 28\r\n\r\n{X}")),
    ] {
        let bytes = format!("POST /k HTTP/1.1\r\nHost: a\r\nConnection: {option}\r\n{field}{X}");
        bag.add(format!("connection/with-body/{option}"), "row 25", 0, bytes);
    }
}

fn upgrade(bag: &mut Bag) {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    for (name, fields) in [
        ("websocket", format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{key}")),
        ("websocket-lower", format!("connection: upgrade\r\nupgrade: WebSocket\r\n{key}")),
        ("foo", "Connection: upgrade\r\nUpgrade: foo\r\n".into()),
        ("foo-version", "Connection: upgrade\r\nUpgrade: foo/2\r\n".into()),
        ("without-connection", "Upgrade: websocket\r\n".into()),
        ("without-upgrade", "Connection: upgrade\r\n".into()),
        ("empty", "Connection: upgrade\r\nUpgrade:\r\n".into()),
        ("list", "Connection: upgrade\r\nUpgrade: foo, websocket\r\n".into()),
        (
            "h2c",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
                .into(),
        ),
        ("h2c-upper", "Connection: Upgrade\r\nUpgrade: H2C\r\n".into()),
        ("h2", "Connection: Upgrade\r\nUpgrade: h2\r\n".into()),
        ("http-2.0", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n".into()),
        ("tls", "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n".into()),
        ("h2c-then-foo", "Upgrade: h2c\r\nUpgrade: foo\r\nConnection: Upgrade\r\n".into()),
        ("foo-then-h2c", "Upgrade: foo\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n".into()),
        ("quoted", "Connection: upgrade\r\nUpgrade: \"websocket\"\r\n".into()),
    ] {
        // The origins switch to nothing: what follows is another request.
        bag.add(format!("upgrade/{name}"), "rows 1, 5 and 6, RFC 9110 §7.8", 2, with(&fields));
        let length =
            format!("POST /u HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 28\r\n\r\n{X}{X}");
        bag.add(format!("upgrade/length/{name}"), "row 4", 2, length);
        let chunked = format!(
            "POST /u HTTP/1.1\r\nHost: a\r\n{fields}Transfer-Encoding: chunked\r\n\r\n\
             1c\r\n{X}\r\n0\r\n\r\n{X}"
        );
        bag.add(format!("upgrade/chunked/{name}"), "row 4", 2, chunked);
        let old = format!("GET /u HTTP/1.0\r\nHost: a\r\n{fields}\r\n{X}");
        bag.add(format!("upgrade/1.0/{name}"), "RFC 9110 §7.8", 1, old);
    }
}

fn expect(bag: &mut Bag) {
    for (value, served) in [
        ("100-continue", true),
        ("100-Continue", true),
        ("100-CONTINUE", true),
        ("100-continue ", true),
        ("100 continue", false),
        ("100-continu", false),
        ("100-continue, x", false),
        ("100-continue;a", false),
        ("y 100-continue", false),
        ("200-ok", false),
        ("", false),
        ("\"100-continue\"", false),
    ] {
        let field = format!("Expect: {value}\r\n");
        let served = |n: usize| if served { n } else { 0 };
        let body =
            format!("POST /e HTTP/1.1\r\nHost: a\r\n{field}Content-Length: 28\r\n\r\n{X}{X}");
        bag.add(
            format!("expect/length/{}", label(value)),
            "row 31, RFC 9110 §10.1.1",
            served(2),
            body,
        );
        let chunked = format!(
            "POST /e HTTP/1.1\r\nHost: a\r\n{field}Transfer-Encoding: chunked\r\n\r\n\
             1c\r\n{X}\r\n0\r\n\r\n{X}"
        );
        bag.add(format!("expect/chunked/{}", label(value)), "row 31", served(2), chunked);
        let none = with(&field);
        bag.add(format!("expect/none/{}", label(value)), "row 31", served(2), none);
        let old = format!("POST /e HTTP/1.0\r\nHost: a\r\n{field}Content-Length: 28\r\n\r\n{X}");
        bag.add(format!("expect/1.0/{}", label(value)), "RFC 9110 §10.1.1", served(1), old);
    }
    let twice = "Expect: 100-continue\r\n".repeat(2);
    bag.add("expect/twice", "row 31", 0, with(&twice));
    let head = "POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
    let length = format!("{head}Content-Length: 28\r\n\r\n");
    bag.steps(
        "expect/waits/length",
        "row 31",
        2,
        &[length.as_bytes(), format!("{X}{X}").as_bytes()],
    );
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let body = format!("1c\r\n{X}\r\n0\r\n\r\n{X}");
    bag.steps("expect/waits/chunked", "row 31", 2, &[chunked.as_bytes(), body.as_bytes()]);
    let folded = format!(
        "POST /e HTTP/1.1\r\nHost: a\r\nExpect:\r\n 100-continue\r\nContent-Length: 28\r\n\r\n{X}"
    );
    bag.add("expect/folded", "rows 22 and 31", 0, folded);
}

/// Fields by which proxies speak of clients, and their look-alikes.
fn owned(bag: &mut Bag) {
    for name in [
        "X-Forwarded-For",
        "X_Forwarded_For",
        "x-forwarded-for",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Real-IP",
        "Forwarded",
        "CF-Connecting-IP",
        "CF_Connecting_IP",
        "Cf-Connecting.Ip",
        "CF-Connecting-IPv6",
        "True-Client-IP",
        "Via",
        "Max-Forwards",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Keep-Alive",
        "HTTP2-Settings",
        "TE",
        "Trailer",
        "Early-Data",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "Range",
        "If-None-Match",
    ] {
        for value in ["1.2.3.4", "trailers", ""] {
            let twice = format!("{name}: {value}\r\n{name}: 5\r\n");
            let name = format!("owned/{name}/{}", label(value));
            bag.add(name, "rows 26, 70 and 89", 2, with(twice));
        }
    }
}
