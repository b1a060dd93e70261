//! HTTP/2 field blocks: bytes in names, values and pseudo-header fields, their number and order,
//! what belongs to HTTP/1 connections, two authorities. What a lenient proxy would copy into the
//! text of an HTTP/1 head.

use super::super::case::frames::{Field, Part};
use super::targets::PATHS;
use super::{Bag, is_token, label};

/// A list of fields as text.
pub(super) type Texts<'a> = &'a [(&'a str, &'a str)];

pub(super) fn plain(fields: Texts<'_>) -> Vec<Field> {
    let field = |(name, value): &(&str, &str)| Field::Plain((*name).into(), (*value).into());
    fields.iter().map(field).collect()
}

/// Method, scheme, authority, path.
pub(super) fn pseudo(method: &str, authority: &str, path: &str) -> Vec<Field> {
    plain(&[(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)])
}

pub(super) fn get() -> Vec<Field> {
    pseudo("GET", "a", "/f")
}

/// A request that is sound, on this stream.
pub(super) fn sound(stream: u32) -> Part {
    Part::Head { stream, ends: true, fields: pseudo("GET", "a", "/x") }
}

/// A head, and behind it a sound request on the same connection: what is wrong with the first is
/// the matter of its stream alone.
fn head(bag: &mut Bag, name: String, idea: &str, good: bool, fields: Vec<Field>) {
    let first = Part::Head { stream: 1, ends: true, fields };
    bag.frames(name, idea, usize::from(good) + 1, vec![first, sound(3)]);
}

pub(super) fn all(bag: &mut Bag) {
    names_and_values(bag);
    entries(bag);
    pseudo_bytes(bag);
    pseudo_values(bag);
    pseudo_lists(bag);
    paths(bag);
    connection(bag);
    authorities(bag);
    sizes(bag);
}

fn with(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<Field> {
    let mut fields = get();
    fields.push(Field::Plain(name.as_ref().to_vec(), value.as_ref().to_vec()));
    fields
}

fn names_and_values(bag: &mut Bag) {
    for b in 0..=255u8 {
        let good = is_token(b) && !b.is_ascii_uppercase();
        let name = format!("h2/name-byte/{b:02x}");
        head(bag, name, "row 51, RFC 9113 §8.2.1", good, with([b'x', b, b'y'], "v"));
        let good = b == b'\t' || (b >= 0x20 && b != 0x7f);
        let name = format!("h2/value-byte/{b:02x}");
        head(bag, name, "row 51, RFC 9113 §8.2.1", good, with("x", [b'a', b, b'c']));
    }
    for name in [
        "",
        "A",
        "x-Y",
        "a:b",
        "a: b",
        ":",
        ":x",
        "a b",
        " a",
        "a ",
        "a\r\nb",
        "a\r\nContent-Length",
        "a: b\r\nTransfer-Encoding",
        "\r\n\r\nGET /x HTTP/1.1\r\nHost",
        "a\n",
        "a\r",
        "\0",
        "\u{e9}",
        "Content-Length",
        "Host",
        "transfer-encoding ",
        "transfer-encoding\t",
        "content-length:",
    ] {
        head(bag, format!("h2/name/{}", label(name)), "row 51", false, with(name, "28"));
    }
    for value in [
        "a\r\nb: c",
        "a\nb: c",
        "a\rb",
        "a\r\n b",
        "a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        "a\n\nGET /x HTTP/1.1\nHost: a\n\n",
        "\r\nTransfer-Encoding: chunked",
        "a\0",
        "\0",
        " a",
        "a ",
        "\ta",
        "a\t",
        " ",
        "\u{1}",
        "a\u{7f}",
    ] {
        head(bag, format!("h2/value/{}", label(value)), "row 51", false, with("x", value));
    }
    for value in ["", "a\tb", "a b", "a: b", "\u{e9}", "\u{85}", "\\r\\n", "%0d%0aX: y"] {
        head(bag, format!("h2/value/{}", label(value)), "row 51", true, with("x", value));
    }
    // Names that are dropped, or another field in HTTP/1.
    for (name, value) in [
        ("content_length", "28"),
        ("transfer_encoding", "chunked"),
        ("content.length", "28"),
        ("x_forwarded_for", "1.2.3.4"),
        ("cf_connecting_ip", "1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "b"),
        ("x-real-ip", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4;host=b"),
        ("cf-connecting-ip", "1.2.3.4"),
        ("true-client-ip", "1.2.3.4"),
        ("x-original-url", "/x"),
        ("trailer", "x"),
        ("via", "2 a"),
        ("expect", "100-continue"),
        ("range", "bytes=0-1"),
        ("max-forwards", "0"),
        ("accept", "application/json"),
        ("authorization", "Basic x"),
        ("proxy-authorization", "Basic x"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("early-data", "1"),
    ] {
        head(bag, format!("h2/sound/{name}"), "rows 26 and 70", true, with(name, value));
    }
}

/// Fields that are kept in the table and named again by the next request.
fn entries(bag: &mut Bag) {
    for (name, value, good) in [
        ("x", "y", true),
        ("x-long", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", true),
        ("x", "a\r\nb: c", false),
        ("x", "a\0", false),
        ("x", " a", false),
        ("X", "y", false),
        ("a:b", "y", false),
        ("a\r\nb", "y", false),
        ("", "y", false),
        ("transfer-encoding", "chunked", false),
        ("connection", "close", false),
        ("te", "gzip", false),
        ("content-length", "28", false),
        (":path", "/y", false),
        ("x_y", "z", true),
        ("host", "a", true),
        ("host", "b", false),
        ("cookie", "a=b", true),
        ("expect", "x", false),
    ] {
        let mut first = get();
        first.push(Field::Kept(name.into(), value.into()));
        let mut second = get();
        // The entries of the dynamic table stand behind the 61 of the static one.
        second.push(Field::Entry(62));
        let parts = vec![
            Part::Head { stream: 1, ends: true, fields: first },
            Part::Head { stream: 3, ends: true, fields: second },
            sound(5),
        ];
        let forwards = if good { 3 } else { 1 };
        let name = format!("h2/entry/{}/{}", label(name), label(value));
        bag.frames(name, "row 51, RFC 7541 §2.3.2", forwards, parts);
    }
}

fn pseudo_bytes(bag: &mut Bag) {
    for b in 0..=255u8 {
        let replaced = |name: &str, value: Vec<u8>| {
            let change = |field: Field| match field {
                Field::Plain(n, _) if n == name.as_bytes() => Field::Plain(n, value.clone()),
                other => other,
            };
            get().into_iter().map(change).collect::<Vec<_>>()
        };
        let target = b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&b);
        let path = [b"/a", &[b][..], b"41"].concat();
        let name = format!("h2/path-byte/{b:02x}");
        head(bag, name, "row 51, RFC 9113 §8.3.1", target, replaced(":path", path));
        let method = is_token(b) && !b.is_ascii_lowercase();
        let name = format!("h2/method-byte/{b:02x}");
        let value = [b"GE", &[b][..], b"T"].concat();
        head(bag, name, "row 51, RFC 9113 §8.3.1", method, replaced(":method", value));
        let authority = b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&b);
        let name = format!("h2/authority-byte/{b:02x}");
        let value = vec![b'a', b, b'c'];
        head(bag, name, "row 54, RFC 3986 §3.2.2", authority, replaced(":authority", value));
        if !b.is_ascii_alphanumeric() {
            let name = format!("h2/path-first-byte/{b:02x}");
            let value = vec![b, b'a'];
            head(bag, name, "row 51", b == b'/', replaced(":path", value));
        }
    }
}

fn pseudo_values(bag: &mut Bag) {
    let request = |name: &str, value: &str| {
        let base = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/f")];
        let fields = base.map(|(n, v)| (n, if n == name { value } else { v }));
        plain(&fields)
    };
    for (name, value, good) in [
        (":path", "", false),
        (":path", "*", false),
        (":path", "a", false),
        (":path", "?q", false),
        (":path", "http://a/", false),
        (":path", "//a/b", true),
        (":path", "/ HTTP/1.1\r\nX: y", false),
        (":path", "/\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", false),
        (":path", "/ HTTP/1.1", false),
        (":path", "/ ", false),
        (":path", " /", false),
        (":path", "/\t", false),
        (":path", "/#f", false),
        (":path", "/?", true),
        (":path", "/?a=b c", false),
        (":path", "/?http://b/", true),
        (":method", "", false),
        (":method", "get", false),
        (":method", "GET ", false),
        (":method", " GET", false),
        (":method", "GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET", false),
        (":method", "GET\r\n", false),
        (":method", "GET /x", false),
        (":method", "TRACE", false),
        (":method", "CONNECT", false),
        (":method", "PRI", true),
        (":method", "FOO", true),
        (":method", "M-SEARCH", true),
        (":scheme", "", false),
        (":scheme", "https", true),
        (":scheme", "HTTP", true),
        (":scheme", "ftp", false),
        (":scheme", "http://evil/", false),
        (":scheme", "http\r\nX: y", false),
        (":scheme", "http ", false),
        (":scheme", "ht tp", false),
        (":scheme", "http://a/x HTTP/1.1\r\nHost: b\r\n\r\n", false),
    ] {
        let fields = request(name, value);
        let title = format!("h2/pseudo{}/{}", name.replace(':', "/"), label(value));
        head(bag, title, "rows 51 and 52, RFC 9113 §8.3.1", good, fields);
    }
    for (value, good) in super::hosts::VALUES {
        // White space around a value is no part of it in HTTP/1, and a fault here.
        let good = *good && value.trim_matches([' ', '\t']) == *value;
        let name = format!("h2/authority/{}", label(value));
        head(bag, name, "row 54", good, request(":authority", value));
    }
    let options = |path: &str| pseudo("OPTIONS", "a", path);
    head(bag, "h2/options/*".into(), "RFC 9113 §8.3.1", true, options("*"));
    head(bag, "h2/options/**".into(), "RFC 9113 §8.3.1", false, options("**"));
    head(bag, "h2/options/empty".into(), "RFC 9113 §8.3.1", false, options(""));
}

fn pseudo_lists(bag: &mut Bag) {
    let all = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/f")];
    let idea = "row 52, RFC 9113 §8.3";
    for (at, (name, value)) in all.iter().enumerate() {
        let rest: Vec<_> = all.iter().copied().filter(|(n, _)| n != name).collect();
        let short = name.trim_start_matches(':');
        head(bag, format!("h2/missing/{short}"), idea, false, plain(&rest));
        for other in [*value, "/x", ""] {
            let mut twice = all.to_vec();
            twice.push((name, other));
            let title = format!("h2/twice/{short}/{}", label(other));
            head(bag, title, idea, false, plain(&twice));
            let mut near = all.to_vec();
            near.insert(at, (name, other));
            let title = format!("h2/twice-near/{short}/{}", label(other));
            head(bag, title, idea, false, plain(&near));
        }
        let mut late = rest.clone();
        late.extend([("x", "y"), (name, value)]);
        head(bag, format!("h2/late/{short}"), idea, false, plain(&late));
        let mut again = all.to_vec();
        again.extend([("x", "y"), (name, value)]);
        head(bag, format!("h2/again/{short}"), idea, false, plain(&again));
    }
    for (name, value) in [
        (":status", "200"),
        (":x", "y"),
        (":", "y"),
        (":protocol", "websocket"),
        (":Path", "/x"),
        (":path ", "/x"),
        (":host", "b"),
        (":authority\0", "b"),
    ] {
        let mut fields = all.to_vec();
        fields.push((name, value));
        head(bag, format!("h2/unknown/{}", label(name)), idea, false, plain(&fields));
    }
    for (name, order) in
        [("reverse", [3, 2, 1, 0]), ("path-first", [3, 0, 1, 2]), ("authority-first", [2, 0, 1, 3])]
    {
        // The order among pseudo-header fields is free.
        let fields = order.map(|at| all[at]);
        head(bag, format!("h2/order/{name}"), idea, true, plain(&fields));
    }
    head(bag, "h2/missing/all".into(), idea, false, plain(&[("x", "y")]));
    head(bag, "h2/missing/everything".into(), idea, false, Vec::new());
}

fn paths(bag: &mut Bag) {
    for (path, unambiguous) in PATHS {
        let name = format!("h2/plain-path/{}", label(path));
        head(bag, name, "row 72, docs/decisions/0007", true, pseudo("GET", "a", path));
        let name = format!("h2/routed-path/{}", label(path));
        let fields = pseudo("GET", "routed", path);
        head(bag, name, "rows 71 and 72, docs/decisions/0007", *unambiguous, fields);
    }
}

fn connection(bag: &mut Bag) {
    for (name, value, good) in [
        ("connection", "close", false),
        ("connection", "keep-alive", false),
        ("connection", "x", false),
        ("connection", "", false),
        ("keep-alive", "timeout=5", false),
        ("proxy-connection", "keep-alive", false),
        ("transfer-encoding", "chunked", false),
        ("transfer-encoding", "identity", false),
        ("transfer-encoding", "", false),
        ("upgrade", "websocket", false),
        ("upgrade", "h2c", false),
        ("upgrade", "", false),
        ("http2-settings", "AAMAAABk", false),
        ("te", "trailers", true),
        ("te", "Trailers", true),
        ("te", "gzip", false),
        ("te", "trailers, gzip", false),
        ("te", "", false),
        ("expect", "100-continue", true),
        ("expect", "x", false),
        ("expect", "", false),
    ] {
        let title = format!("h2/connection/{name}/{}", label(value));
        head(bag, title, "row 53, RFC 9113 §8.2.2", good, with(name, value));
    }
}

fn authorities(bag: &mut Bag) {
    for (authority, host, good) in [
        (Some("a"), Some("a"), true),
        (Some("a"), Some("A"), true),
        (Some("A"), Some("a"), true),
        (Some("a:80"), Some("a"), true),
        (Some("a"), Some("a:80"), true),
        (Some("a:8080"), Some("a:8080"), true),
        (None, Some("a"), true),
        (None, Some("a:8080"), true),
        (None, Some("[::1]"), true),
        (Some("a"), Some("b"), false),
        (Some("a"), Some("a."), false),
        (Some("a"), Some("a:8080"), false),
        (Some("a:8080"), Some("a"), false),
        (Some("a"), Some("a:443"), false),
        (Some("a"), Some(""), false),
        (Some(""), Some("a"), false),
        (Some("a"), Some("a,b"), false),
        (Some("a"), Some("u@a"), false),
        (Some("u@a"), Some("a"), false),
        (Some("a"), Some("a\r\nX: y"), false),
        (Some("a"), Some(" a"), false),
        (None, Some(""), false),
        (None, Some("a b"), false),
        (None, Some("u@a"), false),
        (None, Some("a,b"), false),
        (None, None, false),
        (Some(""), None, false),
    ] {
        let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", "/f")];
        fields.extend(authority.map(|value| (":authority", value)));
        fields.extend(host.map(|value| ("host", value)));
        let show = |value: Option<&str>| value.map_or("none".into(), label);
        let title = format!("h2/host/{}/{}", show(authority), show(host));
        head(bag, title, "row 54, RFC 9113 §8.3.1", good, plain(&fields));
    }
    for (name, second) in [("same", "a"), ("other", "b")] {
        let mut fields = get();
        fields.extend(plain(&[("host", "a"), ("host", second)]));
        head(bag, format!("h2/host/twice-{name}"), "row 54", false, fields);
    }
}

fn sizes(bag: &mut Bag) {
    let idea = "RFC 6585 §5, RFC 9113 §10.5.1";
    // As in HTTP/1, the authority counts as Host.
    for (count, good) in [(1, true), (90, true), (99, true), (100, false), (250, false)] {
        let mut fields = get();
        fields.extend((0..count).map(|n| Field::Plain(format!("x{n}").into(), "y".into())));
        head(bag, format!("h2/count/{count}"), idea, good, fields);
    }
    for (count, good) in [(1, true), (90, true), (150, true), (250, false)] {
        let mut fields = get();
        fields.extend((0..count).map(|n| Field::Plain("cookie".into(), format!("c{n}=d").into())));
        // Pieces of a cookie become one field; there may be as many more of them as of fields.
        head(bag, format!("h2/crumbs/{count}"), "row 40, RFC 9113 §8.2.3", good, fields);
    }
    for (len, good) in [(1_000, true), (31_000, true), (33_000, false)] {
        head(bag, format!("h2/size/{len}"), idea, good, with("x", "v".repeat(len)));
    }
    // A block that is longer than a section may be ends the connection.
    let long = Part::Head { stream: 1, ends: true, fields: with("x", "v".repeat(70_000)) };
    bag.frames("h2/size/70000", "row 47", 0, vec![long, sound(3)]);
    for (len, good) in [(1_000, true), (8_000, true), (9_000, false)] {
        let path = format!("/{}", "p".repeat(len - 1));
        head(
            bag,
            format!("h2/path-length/{len}"),
            "RFC 9110 §15.5.15",
            good,
            pseudo("GET", "a", &path),
        );
    }
    for list in ["a=b", "a=b; c=d", "", "; ", "a=b;", "\"", "a=\u{e9}"] {
        let mut fields = get();
        fields.extend(plain(&[("cookie", "x=y"), ("accept", "*"), ("cookie", list)]));
        head(bag, format!("h2/crumb/{}", label(list)), "RFC 9113 §8.2.3", list != "; ", fields);
    }
}
