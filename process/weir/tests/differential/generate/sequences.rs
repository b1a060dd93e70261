//! Several requests on a connection: pipelined, hidden in bodies, behind refusals, behind replies
//! that come before the body.

use super::{Bag, X};

pub(super) fn all(bag: &mut Bag) {
    pipelined(bag);
    hidden(bag);
    early(bag);
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn pipelined(bag: &mut Bag) {
    let idea = "row 32, RFC 9112 §9.3.2";
    for count in [2, 3, 10, 30] {
        let bytes: String = (0..count).map(|n| get(&format!("/{n}"))).collect();
        bag.add(format!("pipeline/get-{count}"), idea, count, bytes);
    }
    let post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        "PUT /c HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let head = "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n";
    let trace = "TRACE /t HTTP/1.1\r\nHost: a\r\n\r\n";
    let bare = "POST /n HTTP/1.1\r\nHost: a\r\n\r\n";
    let none = get("/none");
    let parts =
        [("post", post), ("chunked", chunked), ("head", head), ("bare", bare), ("none", &none)];
    for (first, one) in parts {
        for (second, two) in parts {
            bag.add(format!("pipeline/{first}-{second}"), idea, 3, format!("{one}{two}{X}"));
        }
        bag.add(format!("pipeline/{first}-trace"), idea, 2, format!("{one}{trace}{X}"));
        bag.add(
            format!("pipeline/{first}-bad"),
            idea,
            1,
            format!("{one}GET /b HTTP/1.1\r\n\r\n{X}"),
        );
        bag.add(format!("pipeline/{first}-junk"), idea, 1, format!("{one}\0\0\0\0{X}"));
        bag.add(format!("pipeline/{first}-tls"), idea, 1, format!("{one}\u{16}\u{3}\u{1}{X}"));
    }
    let mixed: String = (0..5).map(|_| format!("{post}{chunked}{head}")).collect();
    bag.add("pipeline/mixed-15", idea, 15, mixed);
    let closes = format!("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{X}{X}");
    bag.add("pipeline/close-first", idea, 1, closes);
    let hosts: String =
        (0..6).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h{n}.example:80{n}\r\n\r\n")).collect();
    bag.add("pipeline/hosts", idea, 6, hosts);
    bag.steps("pipeline/waits", idea, 2, &[get("/1").as_bytes(), X.as_bytes()]);
}

/// A request inside of a body, of a field, of a target.
fn hidden(bag: &mut Bag) {
    let idea = "§2.0 of the recipes";
    let inner = format!("{X}{X}");
    let n = inner.len();
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "FOO"] {
        for host in ["a", "a:80", "b.example"] {
            let length = format!(
                "{method} /o HTTP/1.1\r\nHost: {host}\r\nContent-Length: {n}\r\n\r\n{inner}{X}"
            );
            bag.add(format!("hidden/length/{method}/{host}"), idea, 2, length);
            let chunked = format!(
                "{method} /o HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {n:x}\r\n{inner}\r\n0\r\n\r\n{X}"
            );
            bag.add(format!("hidden/chunked/{method}/{host}"), idea, 2, chunked);
        }
    }
    for (name, target) in [
        ("path", "/o%20HTTP/1.1%0d%0aHost:%20b%0d%0a%0d%0aGET%20/x"),
        ("query", "/o?%20HTTP/1.1%0d%0aHost:%20b%0d%0a%0d%0aGET%20/x"),
        ("plus", "/o?+HTTP/1.1&Host:+b"),
    ] {
        bag.add(format!("hidden/target/{name}"), "row 28", 2, format!("{}{X}", get(target)));
    }
    let reply = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let length = reply.len();
    let bytes =
        format!("POST /o HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{reply}{X}");
    bag.add("hidden/reply", idea, 2, bytes);
    let chunk = "5\r\nhello\r\n0\r\n\r\n";
    let length = chunk.len();
    let bytes =
        format!("POST /o HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{chunk}{X}");
    bag.add("hidden/chunks", idea, 2, bytes);
}

/// The origin answers `/early` before the body is there.
fn early(bag: &mut Bag) {
    let idea = "row 14";
    for method in ["GET", "POST", "HEAD", "PUT"] {
        let head = format!("{method} /early HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n");
        bag.add(format!("early/length/{method}"), idea, 1, format!("{head}{X}"));
        bag.steps(format!("early/waits/{method}"), idea, 1, &[head.as_bytes(), X.as_bytes()]);
        let part = format!("{head}{}", &X[..10]);
        bag.steps(format!("early/part/{method}"), idea, 1, &[part.as_bytes(), &X.as_bytes()[10..]]);
        bag.steps(format!("early/cut/{method}"), idea, 1, &[part.as_bytes(), b""]);
        let chunked =
            format!("{method} /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let body = format!("1c\r\n{X}\r\n0\r\n\r\n");
        bag.steps(
            format!("early/chunked/{method}"),
            idea,
            1,
            &[chunked.as_bytes(), body.as_bytes()],
        );
        let broken = format!("1c\r\n{X}XX0\r\n\r\n{X}");
        bag.steps(
            format!("early/broken/{method}"),
            idea,
            1,
            &[chunked.as_bytes(), broken.as_bytes()],
        );
    }
}
