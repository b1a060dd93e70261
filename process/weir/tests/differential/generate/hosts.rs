//! Whom a request is for: Host with every byte, in odd forms, missing and repeated.

use super::{Bag, X, label};

pub(super) fn all(bag: &mut Bag) {
    bytes(bag);
    values(bag);
    numbers(bag);
}

fn request(host: &[u8]) -> Vec<u8> {
    [b"GET /h HTTP/1.1\r\nHost: ", host, b"\r\n\r\n", X.as_bytes()].concat()
}

fn bytes(bag: &mut Bag) {
    for b in 0..=255u8 {
        // RFC 3986 reg-name without what makes a list of it or a second spelling.
        let good = b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&b);
        let forwards = if good { 2 } else { 0 };
        bag.add(
            format!("host/byte/{b:02x}"),
            "row 27, RFC 3986 §3.2.2",
            forwards,
            request(&[b'a', b, b'c']),
        );
    }
}

/// Values of Host, and whether they name one authority beyond doubt.
pub(super) const VALUES: &[(&str, bool)] = &[
    ("a", true),
    ("A.Example", true),
    ("a.", true),
    ("a..b", true),
    (".a", true),
    (".", true),
    ("..", true),
    ("-a", true),
    ("a:1", true),
    ("a:80", true),
    ("a:443", true),
    ("a:65535", true),
    ("A:80", true),
    ("a.:80", true),
    ("127.0.0.1", true),
    ("127.0.0.1:80", true),
    ("127.1", true),
    ("0x7f.1", true),
    ("2130706433", true),
    ("localhost", true),
    ("[::1]", true),
    ("[::1]:80", true),
    ("[::ffff:1.2.3.4]", true),
    ("[FE80::1]", true),
    ("xn--e1afmkfd", true),
    ("*", true),
    ("a_b", true),
    (" a", true),
    ("a ", true),
    ("\ta\t", true),
    ("", false),
    (" ", false),
    ("a:", false),
    ("a:0", false),
    ("a:080", false),
    ("a:65536", false),
    ("a:99999", false),
    ("a:4294967376", false),
    ("a:+80", false),
    ("a:-80", false),
    ("a: 80", false),
    ("a :80", false),
    ("a:80:81", false),
    ("a:http", false),
    ("a:80,b", false),
    (":80", false),
    (":", false),
    ("a,b", false),
    ("a, a", false),
    ("a;b", true),
    ("a b", false),
    ("a@b", false),
    ("u:p@a", false),
    ("@a", false),
    ("a@", false),
    ("a/", false),
    ("a/b", false),
    ("/a", false),
    ("a?b", false),
    ("a#b", false),
    ("a\\b", false),
    ("a%41", false),
    ("%61", false),
    ("http://a", false),
    ("//a", false),
    ("[::1", false),
    ("::1", false),
    ("::1]", false),
    ("[]", false),
    ("[a]", false),
    ("[::1]x", false),
    ("[::1]:", false),
    ("[::1]:0", false),
    ("[::1%25lo]", false),
    ("[::1%lo]", false),
    ("[v1.x]", false),
    ("[1.2.3.4]", false),
    ("[::1]]", false),
    ("[[::1]]", false),
    ("\"a\"", false),
    ("<a>", false),
    ("{a}", false),
    ("\u{e9}", false),
    ("a\u{3002}b", false),
];

fn values(bag: &mut Bag) {
    let lengths = [255, 1_000].map(|len| "h".repeat(len));
    let long = lengths.iter().map(|text| (text.as_str(), true));
    for (value, good) in VALUES.iter().copied().chain(long) {
        let forwards = if good { 2 } else { 0 };
        let name = format!("host/value/{}", label(value));
        bag.add(name, "row 27, RFC 9110 §7.2", forwards, request(value.as_bytes()));
    }
}

fn numbers(bag: &mut Bag) {
    for (name, fields, served) in [
        ("none", "", false),
        ("twice", "Host: a\r\nHost: a\r\n", false),
        ("two", "Host: a\r\nHost: b\r\n", false),
        ("two-apart", "Host: a\r\nX: y\r\nhost: b\r\n", false),
        ("empty-and-one", "Host:\r\nHost: a\r\n", false),
        ("one-and-empty", "Host: a\r\nHost:\r\n", false),
        ("space-before-colon", "Host : a\r\n", false),
        ("space-before-colon-second", "Host: a\r\nHost : b\r\n", false),
        ("folded", "Host:\r\n a\r\n", false),
        ("folded-second", "Host: a\r\n b\r\n", false),
        ("leading-space", " Host: a\r\n", false),
        ("leading-space-second", "Host: a\r\n Host: b\r\n", false),
        ("lower-case", "host: a\r\n", true),
        ("upper-case", "HOST: a\r\n", true),
        ("no-space", "Host:a\r\n", true),
        ("last", "X: y\r\nHost: a\r\n", true),
        ("x-host", "X-Host: b\r\nHost: a\r\n", true),
        ("x-forwarded-host", "X-Forwarded-Host: b\r\nHost: a\r\n", true),
        ("forwarded", "Forwarded: host=b\r\nHost: a\r\n", true),
        ("x-original-url", "X-Original-URL: /x\r\nX-Rewrite-URL: /x\r\nHost: a\r\n", true),
        ("underscore", "Host_: b\r\nHost: a\r\n", true),
        ("authority", ":authority: b\r\nHost: a\r\n", false),
    ] {
        let forwards = if served { 2 } else { 0 };
        let bytes = format!("GET /h HTTP/1.1\r\n{fields}\r\n{X}");
        bag.add(format!("host/number/{name}"), "row 27, RFC 9112 §3.2", forwards, bytes);
    }
    for (name, fields, served) in [
        ("none", "", true),
        ("one", "Host: a\r\n", true),
        ("twice", "Host: a\r\nHost: a\r\n", false),
        ("bad", "Host: a@b\r\n", false),
        ("empty", "Host:\r\n", false),
    ] {
        let bytes = format!("GET /h HTTP/1.0\r\n{fields}\r\n");
        let forwards = usize::from(served);
        bag.add(format!("host/number-1.0/{name}"), "RFC 9112 §3.2", forwards, bytes);
    }
}
