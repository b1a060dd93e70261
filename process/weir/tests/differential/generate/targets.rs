//! Request lines: methods, spaces, targets in every form and with every byte.

use super::{Bag, X, is_token, label};

pub(super) fn all(bag: &mut Bag) {
    bytes(bag);
    methods(bag);
    forms(bag);
    paths(bag);
    spaces(bag);
    lengths(bag);
}

/// RFC 3986: what a target may consist of. A fragment never is in one.
fn is_target(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&b)
}

fn bytes(bag: &mut Bag) {
    for b in 0..=255u8 {
        let forwards = if is_target(b) { 2 } else { 0 };
        let with = |before: &str, behind: &str| {
            let mut bytes = format!("GET {before}").into_bytes();
            bytes.push(b);
            bytes.extend_from_slice(format!("{behind} HTTP/1.1\r\nHost: a\r\n\r\n{X}").as_bytes());
            bytes
        };
        // An escape that is one whatever stands in the middle.
        bag.add(format!("target/path-byte/{b:02x}"), "RFC 9112 §3.2", forwards, with("/a", "41"));
        if !b.is_ascii_alphanumeric() {
            let name = format!("target/query-byte/{b:02x}");
            bag.add(name, "RFC 9112 §3.2", forwards, with("/a?q=", "41"));
            let first = if b == b'/' { 2 } else { 0 };
            bag.add(format!("target/first-byte/{b:02x}"), "RFC 9112 §3.2", first, with("", "a"));
        }
    }
}

fn methods(bag: &mut Bag) {
    for b in 0..=255u8 {
        // Tokens of capitals; others are taken for mistakes.
        let good = is_token(b) && !b.is_ascii_lowercase();
        let mut bytes = b"GE".to_vec();
        bytes.push(b);
        bytes.extend_from_slice(format!("T /m HTTP/1.1\r\nHost: a\r\n\r\n{X}").as_bytes());
        bag.add(
            format!("target/method-byte/{b:02x}"),
            "RFC 9110 §9.1",
            if good { 2 } else { 0 },
            bytes,
        );
    }
    for (method, forwards) in [
        ("", 0),
        ("get", 0),
        ("Get", 0),
        ("gET", 0),
        ("post", 0),
        ("G", 2),
        ("GETT", 2),
        ("PROPFIND", 2),
        ("M-SEARCH", 2),
        ("PRI", 2),
        ("CONNECT", 0),
        ("\"GET\"", 0),
        ("GET,", 0),
        ("GET\0", 0),
        ("\u{feff}GET", 0),
    ] {
        let bytes = format!("{method} /m HTTP/1.1\r\nHost: a\r\n\r\n{X}");
        bag.add(format!("target/method/{}", label(method)), "RFC 9110 §9.1", forwards, bytes);
    }
    let long = "M".repeat(300);
    bag.add(
        "target/method/long",
        "RFC 9110 §9.1",
        1,
        format!("{long} /m HTTP/1.1\r\nHost: a\r\n\r\n"),
    );
}

/// Method, target, Host, whether the request is served.
const FORMS: &[(&str, &str, &str, bool)] = &[
    ("OPTIONS", "*", "a", true),
    ("OPTIONS", "/*", "a", true),
    ("OPTIONS", "**", "a", false),
    ("OPTIONS", "*/", "a", false),
    ("GET", "*", "a", false),
    ("GET", "http://a/", "a", true),
    ("GET", "http://a/p/q?r=s", "a", true),
    ("GET", "http://a", "a", true),
    ("GET", "http://a?q", "a", true),
    ("GET", "http://a/?", "a", true),
    ("OPTIONS", "http://a", "a", true),
    ("OPTIONS", "http://a/", "a", true),
    ("OPTIONS", "http://a?q", "a", true),
    ("GET", "HTTP://a/p", "a", true),
    ("GET", "hTTp://a/p", "a", true),
    ("GET", "https://a/p", "a", true),
    ("GET", "http://A/p", "a", true),
    ("GET", "http://a/p", "A", true),
    ("GET", "http://a:80/p", "a", true),
    ("GET", "http://a/p", "a:80", true),
    ("GET", "https://a:443/p", "a", true),
    ("GET", "http://a:8080/p", "a:8080", true),
    ("GET", "http://[::1]/p", "[::1]", true),
    ("GET", "http://a:8080/p", "a", false),
    ("GET", "http://a:443/p", "a", false),
    ("GET", "https://a:80/p", "a", false),
    ("GET", "http://b/p", "a", false),
    ("GET", "http://a/p", "b", false),
    ("GET", "http://a./p", "a", false),
    ("GET", "http://a.b/p", "a", false),
    ("GET", "http://u@a/p", "a", false),
    ("GET", "http://u:p@a/p", "a", false),
    ("GET", "http://a@b/p", "b", false),
    ("GET", "http://a@b/p", "a", false),
    ("GET", "http://@a/p", "a", false),
    ("GET", "http://a:/p", "a", false),
    ("GET", "http://a:0/p", "a:0", false),
    ("GET", "http://a:080/p", "a", false),
    ("GET", "http://a:65536/p", "a:65536", false),
    ("GET", "http://a:99999/p", "a", false),
    ("GET", "http://a:+80/p", "a", false),
    ("GET", "http://a:80:80/p", "a", false),
    ("GET", "http://a,b/p", "a", false),
    ("GET", "http://a%2eb/p", "a.b", false),
    ("GET", "http://%61/p", "a", false),
    ("GET", "http://a\\b/p", "a", false),
    ("GET", "http://a#b/p", "a", false),
    ("GET", "http://a/p#f", "a", false),
    ("GET", "http://[::1/p", "[::1]", false),
    ("GET", "http://::1/p", "[::1]", false),
    ("GET", "http://[]/p", "a", false),
    ("GET", "http:///p", "a", false),
    ("GET", "http://?q", "a", false),
    ("GET", "http://", "a", false),
    ("GET", "http:/a/p", "a", false),
    ("GET", "http:a/p", "a", false),
    ("GET", "http:", "a", false),
    ("GET", "://a/p", "a", false),
    ("GET", "httpx://a/p", "a", false),
    ("GET", "ftp://a/p", "a", false),
    ("GET", "ws://a/p", "a", false),
    ("GET", "file:///p", "a", false),
    ("GET", "javascript:x", "a", false),
    ("GET", "a", "a", false),
    ("GET", "a/b", "a", false),
    ("GET", "a:80", "a", false),
    ("GET", "./a", "a", false),
    ("GET", "?q", "a", false),
    ("GET", "\\p", "a", false),
    ("CONNECT", "a:443", "a:443", false),
    ("CONNECT", "a:443", "b:443", false),
    ("CONNECT", "a", "a", false),
    ("CONNECT", "http://a/", "a", false),
    ("CONNECT", "a:443/", "a", false),
    ("CONNECT", "*", "a", false),
];

fn forms(bag: &mut Bag) {
    for (method, target, host, good) in FORMS {
        // A CONNECT that is well formed is refused without doubt about what follows.
        let follows = *good || (*method, *target, *host) == ("CONNECT", "a:443", "a:443");
        let forwards = usize::from(*good) + usize::from(follows);
        let bytes = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n{X}");
        let name = format!("target/form/{method}/{}/{host}", label(target));
        bag.add(name, "row 27, RFC 9112 §3.2", forwards, bytes);
    }
    for (target, served) in [("http://a/p", true), ("http://u@a/p", false), ("/p", true)] {
        let bytes = format!("GET {target} HTTP/1.0\r\n\r\n");
        let name = format!("target/form/1.0-without-host/{}", label(target));
        bag.add(name, "RFC 9112 §3.2", usize::from(served), bytes);
    }
}

/// Paths that servers normalize in ways of their own, and whether Weir takes them where routes
/// depend on paths.
pub(super) const PATHS: &[(&str, bool)] = &[
    ("/", true),
    ("//", true),
    ("///", true),
    ("//a/b", true),
    ("//a@b/c", true),
    ("/.", true),
    ("/./", true),
    ("/..", false),
    ("/../", false),
    ("/../admin", false),
    ("/a/..", true),
    ("/a/../", true),
    ("/a/../admin", true),
    ("/a/./../admin/", true),
    ("/a/../../admin", false),
    ("/a/b/../../admin", true),
    ("/a//../admin", true),
    ("/a/b//../../admin", true),
    ("/admin", true),
    ("/admin/", true),
    ("/admin/x", true),
    ("/admin/../x", true),
    ("/admin/..", true),
    ("/admin/.", true),
    ("/admin//", true),
    ("/admins", true),
    ("/admin.", true),
    ("/admin;x", true),
    ("/admin/;x", true),
    ("/ADMIN", true),
    ("/aDmin", true),
    ("//admin", true),
    ("/./admin", true),
    ("/.//admin", true),
    ("/%61dmin", true),
    ("/%41dmin", true),
    ("/adm%69n/x", true),
    ("/%2e/admin", true),
    ("/a/%2e%2e/admin", true),
    ("/a/%2E./admin", true),
    ("/a/.%2e/admin", true),
    ("/%2e%2e/admin", false),
    ("/a/..%2fadmin", false),
    ("/a%2f..%2fadmin", false),
    ("/%2fadmin", false),
    ("/admin%2f", false),
    ("/admin%2fx", false),
    ("/admin%5cx", false),
    ("/%5cadmin", false),
    ("/a/..%5cadmin", false),
    ("/a/..;/admin", false),
    ("/a/..;x/../admin", false),
    ("/a;x/../admin", true),
    ("/;/admin", true),
    ("/.;/admin", false),
    ("/a/...//admin", true),
    ("/.../admin", true),
    ("/admin%00", false),
    ("/admin%0a", false),
    ("/admin%0d%0aX:%20y", false),
    ("/admin%09", false),
    ("/admin%7f", false),
    ("/admin%20", true),
    ("/admin%3b", true),
    ("/admin%3f", true),
    ("/admin%3fx", true),
    ("/admin%23", true),
    ("/admin%25", true),
    ("/%2561dmin", true),
    ("/a/%252e%252e/admin", true),
    ("/admin%", false),
    ("/admin%4", false),
    ("/admin%zz", false),
    ("/%u0061dmin", false),
    ("/%c0%afadmin", true),
    ("/a/%c0%ae%c0%ae/admin", true),
    ("/admin%ff", true),
    ("/admin%e2%80%ae", true),
    ("/admin?", true),
    ("/admin?x", true),
    ("/admin?/../x", true),
    ("/a?/../admin", true),
    ("/a?b?c", true),
    ("/?/admin", true),
    ("/??", true),
    ("/a?http://b/", true),
    ("/http://b/admin", true),
    ("/admin&x", true),
    ("/admin:80", true),
    ("/admin@x", true),
    ("/[admin]", true),
    ("/*", true),
    ("/~admin", true),
    ("/%7eadmin", true),
];

fn paths(bag: &mut Bag) {
    for (path, plain) in PATHS {
        let line = |host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let name = format!("target/path/{}", label(path));
        bag.add(&*name, "row 72, docs/decisions/0007", 1, line("a"));
        let name = format!("target/routed/{}", label(path));
        bag.add(&*name, "rows 71 and 72, docs/decisions/0007", usize::from(*plain), line("routed"));
    }
}

fn spaces(bag: &mut Bag) {
    let line = |text: &[u8]| [text, b"\r\nHost: a\r\n\r\n", X.as_bytes()].concat();
    let odd: [&[u8]; 22] = [
        b"GET  /s HTTP/1.1",
        b"GET /s  HTTP/1.1",
        b"GET\t/s HTTP/1.1",
        b"GET /s\tHTTP/1.1",
        b"GET\x0b/s HTTP/1.1",
        b"GET /s\x0cHTTP/1.1",
        b"GET\xa0/s HTTP/1.1",
        b"GET /s\xa0HTTP/1.1",
        b"GET\x00/s HTTP/1.1",
        b"GET/s HTTP/1.1",
        b"GET /sHTTP/1.1",
        b"GET/sHTTP/1.1",
        b" GET /s HTTP/1.1",
        b"\tGET /s HTTP/1.1",
        b"GET /s HTTP/1.1 ",
        b"GET /s HTTP/1.1\t",
        b"GET /s /x HTTP/1.1",
        b"GET /s HTTP/1.1 HTTP/1.1",
        b"GET /s HTTP/1.1 /x",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
        b"/s HTTP/1.1",
    ];
    for text in odd {
        bag.add(format!("target/space/{}", label(text)), "RFC 9112 §3", 0, line(text));
    }
}

fn lengths(bag: &mut Bag) {
    // `GET  HTTP/1.1` has 13 bytes, and the line may have 8192.
    for (len, served) in [
        (1_000, true),
        (4_096, true),
        (8_179, true),
        (8_180, false),
        (9_000, false),
        (70_000, false),
    ] {
        let target = format!("/{}", "l".repeat(len - 1));
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        bag.add(format!("target/length/{len}"), "RFC 9112 §3", usize::from(served), bytes);
    }
}
