//! HTTP/2 streams: lengths that lie, requests inside of bodies, trailers, resets, streams side by
//! side, replies that come before the body.

use super::super::case::frames::{Field, Part};
use super::heads::{Texts, get, plain, pseudo, sound};
use super::{Bag, X, label};

pub(super) fn all(bag: &mut Bag) {
    lengths(bag);
    hidden(bag);
    trailers(bag);
    together(bag);
    resets(bag);
    early(bag);
    tunnels(bag);
}

fn post(path: &str, more: Texts<'_>) -> Vec<Field> {
    let mut fields = pseudo("POST", "a", path);
    fields.extend(plain(more));
    fields
}

fn open(stream: u32, fields: Vec<Field>) -> Part {
    Part::Head { stream, ends: false, fields }
}

fn whole(stream: u32, fields: Vec<Field>) -> Part {
    Part::Head { stream, ends: true, fields }
}

fn data(stream: u32, ends: bool, text: &str) -> Part {
    Part::Data { stream, ends, bytes: text.into() }
}

fn lengths(bag: &mut Bag) {
    let idea = "row 49, RFC 9113 §8.1.1";
    for (length, good) in [
        ("28", true),
        ("028", true),
        ("27", false),
        ("29", false),
        ("0", false),
        ("+28", false),
        ("-28", false),
        ("0x1c", false),
        ("28,28", false),
        ("28, 28", false),
        ("2 8", false),
        (" 28", false),
        ("28 ", false),
        ("", false),
        ("x", false),
        ("18446744073709551615", false),
        ("18446744073709551616", false),
        ("18446744073709551644", false),
        ("4294967324", false),
        ("28\r\nTransfer-Encoding: chunked", false),
        ("28\0", false),
    ] {
        let head = || post("/l", &[("content-length", length)]);
        let forwards = 1 + usize::from(good);
        let name = |shape: &str| format!("h2/length/{shape}/{}", label(length));
        // Nothing comes: only zero would be right.
        let nothing = vec![whole(1, head()), sound(3)];
        bag.frames(name("head-only"), "rows 16 and 49", 1 + usize::from(length == "0"), nothing);
        let empty = vec![open(1, head()), data(1, true, ""), sound(3)];
        bag.frames(name("no-data"), "rows 16 and 49", 1 + usize::from(length == "0"), empty);
        if length == "0" {
            // Whole before the lie is told, so that it may have been served by then.
            continue;
        }
        let one = vec![open(1, head()), data(1, true, X), sound(3)];
        bag.frames(name("one"), idea, forwards, one);
        let two = vec![
            open(1, head()),
            data(1, false, &X[..4]),
            data(1, false, ""),
            data(1, true, &X[4..]),
            sound(3),
        ];
        bag.frames(name("two"), idea, forwards, two);
        let ends = vec![open(1, head()), data(1, false, X), data(1, true, ""), sound(3)];
        bag.frames(name("empty-end"), idea, forwards, ends);
        let trailers =
            vec![open(1, head()), data(1, false, X), whole(1, plain(&[("x", "y")])), sound(3)];
        bag.frames(name("trailers"), idea, forwards, trailers);
    }
    for (first, second) in [("28", "28"), ("28", "29"), ("28", "0"), ("0", "28"), ("28", "")] {
        let fields = post("/l", &[("content-length", first), ("content-length", second)]);
        let parts = vec![open(1, fields), data(1, true, X), sound(3)];
        let name = format!("h2/length/twice/{first}/{}", label(second));
        bag.frames(name, idea, 1, parts);
    }
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "FOO"] {
        for (shape, length) in [("known", Some("28")), ("unknown", None)] {
            let mut fields = pseudo(method, "a", "/l");
            fields.extend(length.map(|n| Field::Plain("content-length".into(), n.into())));
            let parts = vec![open(1, fields), data(1, true, X), sound(3)];
            bag.frames(format!("h2/length/method/{method}/{shape}"), idea, 2, parts);
        }
    }
}

fn hidden(bag: &mut Bag) {
    let idea = "§2.0 of the recipes";
    let chunk = format!("1c\r\n{X}\r\n0\r\n\r\n");
    let double = format!("{X}{X}");
    for (name, body) in [
        ("request", X),
        ("two-requests", &double),
        ("chunks", &chunk),
        ("end-of-chunks", "0\r\n\r\n"),
        ("end-of-chunks-request", &format!("0\r\n\r\n{X}")),
        ("crlf-request", &format!("\r\n\r\n{X}")),
        ("reply", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let length = body.len().to_string();
        for (shape, more) in
            [("known", &[("content-length", length.as_str())][..]), ("unknown", &[])]
        {
            let parts = vec![open(1, post("/o", more)), data(1, true, body), sound(3)];
            bag.frames(format!("h2/hidden/{shape}/{name}"), idea, 2, parts);
            let mut parts = vec![open(1, post("/o", more))];
            let bytes = body.as_bytes();
            parts.extend(bytes.iter().map(|&b| Part::Data {
                stream: 1,
                ends: false,
                bytes: vec![b],
            }));
            parts.extend([data(1, true, ""), sound(3)]);
            if body.len() < 60 {
                bag.frames(format!("h2/hidden/{shape}-bytes/{name}"), idea, 2, parts);
            }
        }
    }
}

fn trailers(bag: &mut Bag) {
    for (name, value, good) in [
        ("x", "y", true),
        ("x", "", true),
        ("x_y", "z", true),
        ("x", "\u{e9}", true),
        // Dropped, as in HTTP/1: they would speak of the message as a whole.
        ("host", "evil", true),
        ("authorization", "Basic x", true),
        ("x-forwarded-for", "1.2.3.4", true),
        ("cf-connecting-ip", "1.2.3.4", true),
        ("cookie", "a=b", true),
        ("trailer", "x", true),
        ("expect", "100-continue", true),
        (":path", "/x", false),
        (":method", "GET", false),
        (":status", "200", false),
        (":x", "y", false),
        ("connection", "close", false),
        ("transfer-encoding", "chunked", false),
        ("upgrade", "websocket", false),
        ("keep-alive", "x", false),
        ("te", "gzip", false),
        ("X", "y", false),
        ("a:b", "c", false),
        ("a\r\nb", "c", false),
        ("a b", "c", false),
        ("", "y", false),
        ("x", "a\r\nb: c", false),
        ("x", "a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("x", "a\nb", false),
        ("x", "a\0b", false),
        ("x", " a", false),
        ("x", "a ", false),
    ] {
        for (shape, more) in [("known", &[("content-length", "5")][..]), ("unknown", &[])] {
            if shape == "known" && !good {
                // Whole before its trailers, so that it may have been served by then.
                continue;
            }
            let fields = plain(&[(name, value)]);
            let parts = vec![
                open(1, post("/t", more)),
                data(1, false, "hello"),
                whole(1, fields),
                sound(3),
            ];
            let title = format!("h2/trailer/{shape}/{}/{}", label(name), label(value));
            bag.frames(title, "rows 51 to 53, RFC 9113 §8.1", 1 + usize::from(good), parts);
        }
    }
    let twice = vec![
        open(1, post("/t", &[])),
        data(1, false, "hello"),
        open(1, plain(&[("x", "y")])),
        data(1, true, "more"),
        sound(3),
    ];
    bag.frames("h2/trailer/that-do-not-end", "RFC 9113 §8.1", 1, twice);
    let empty = vec![open(1, post("/t", &[])), data(1, false, "hello"), whole(1, vec![]), sound(3)];
    bag.frames("h2/trailer/none", "RFC 9113 §8.1", 2, empty);
    let alone = vec![open(1, post("/t", &[])), whole(1, plain(&[("x", "y")])), sound(3)];
    bag.frames("h2/trailer/without-data", "RFC 9113 §8.1", 2, alone);
}

fn together(bag: &mut Bag) {
    let idea = "row 32, RFC 9113 §5";
    for count in [2u32, 10, 50] {
        let parts = (0..count).map(|n| whole(2 * n + 1, pseudo("GET", "a", &format!("/{n}"))));
        bag.frames(format!("h2/together/get-{count}"), idea, count as usize, parts.collect());
    }
    let hosts = (0..8)
        .map(|n| whole(2 * n + 1, pseudo("GET", &format!("h{n}.example:80{n}"), &format!("/{n}"))));
    bag.frames("h2/together/hosts", idea, 8, hosts.collect());
    for (name, known) in [("known", true), ("unknown", false)] {
        let streams = [1, 3, 5, 7, 9];
        let mut parts = Vec::new();
        for stream in streams {
            let path = format!("/{stream}");
            let more: Texts<'_> = if known { &[("content-length", "28")] } else { &[] };
            parts.push(open(stream, post(&path, more)));
        }
        for at in (0..X.len()).step_by(7) {
            for stream in streams {
                parts.push(data(stream, at + 7 >= X.len(), &X[at..X.len().min(at + 7)]));
            }
        }
        bag.frames(format!("h2/together/bodies-{name}"), idea, 5, parts);
    }
    let mixed = vec![
        open(1, post("/1", &[("content-length", "28")])),
        whole(3, get()),
        data(1, false, &X[..10]),
        whole(5, pseudo("GET", "a", "/bad path")),
        data(1, false, &X[10..20]),
        open(7, post("/7", &[])),
        data(7, true, X),
        data(1, true, &X[20..]),
        sound(9),
    ];
    bag.frames("h2/together/one-bad", idea, 4, mixed);
    let waits = vec![whole(1, get()), Part::Await, sound(3), Part::Await, sound(5)];
    bag.frames("h2/together/waits", idea, 3, waits);
}

fn resets(bag: &mut Bag) {
    let idea = "rows 14 and 41, RFC 9113 §5.4.2";
    for (name, more, sent) in [
        ("head", &[][..], ""),
        ("known", &[("content-length", "28")], &X[..10]),
        ("unknown", &[], &X[..10]),
    ] {
        for code in [0, 1, 8] {
            let mut parts = vec![open(1, post("/r", more))];
            if !sent.is_empty() {
                parts.push(data(1, false, sent));
            }
            parts.extend([Part::Reset { stream: 1, code }, sound(3)]);
            bag.frames(format!("h2/reset/{name}/{code}"), idea, 1, parts);
        }
        let mut cut = vec![open(1, post("/r", more))];
        if !sent.is_empty() {
            cut.push(data(1, false, sent));
        }
        cut.push(sound(3));
        bag.frames(format!("h2/reset/{name}/connection-ends"), idea, 1, cut);
    }
}

/// The origin answers `/early` before the body is there.
fn early(bag: &mut Bag) {
    let idea = "row 14, RFC 9113 §8.1";
    for method in ["GET", "POST", "HEAD", "PUT"] {
        for (shape, length) in [("known", Some("28")), ("unknown", None)] {
            let mut fields = pseudo(method, "a", "/early");
            fields.extend(length.map(|n| Field::Plain("content-length".into(), n.into())));
            let parts = vec![open(1, fields.clone()), data(1, true, X), Part::Await, sound(3)];
            bag.frames(format!("h2/early/whole/{method}/{shape}"), idea, 2, parts);
        }
    }
}

fn tunnels(bag: &mut Bag) {
    let idea = "rows 3 and 57, RFC 9113 §8.5, RFC 8441 §4";
    let connect = |more: Texts<'_>| {
        let mut fields = plain(&[(":method", "CONNECT")]);
        fields.extend(plain(more));
        fields
    };
    let full = [(":scheme", "http"), (":authority", "a"), (":path", "/w")];
    let with = |protocol| [full[0], full[1], full[2], (":protocol", protocol)];
    for (name, fields) in [
        ("plain", connect(&[(":authority", "a:443")])),
        ("plain-without-port", connect(&[(":authority", "a")])),
        ("with-path", connect(&full)),
        ("h2c", connect(&with("h2c"))),
        ("http", connect(&with("HTTP/2.0"))),
        ("empty", connect(&with(""))),
        ("no-token", connect(&with("web socket"))),
        ("injection", connect(&with("websocket\r\nX: y"))),
        ("without-path", connect(&[(":scheme", "http"), (":authority", "a"), (":protocol", "w")])),
        ("without-scheme", connect(&[(":authority", "a"), (":path", "/"), (":protocol", "w")])),
        ("without-authority", connect(&[(":scheme", "http"), (":path", "/"), (":protocol", "w")])),
    ] {
        // Early data behind a head that opens no tunnel.
        let parts = vec![open(1, fields), data(1, true, X), sound(3)];
        bag.frames(format!("h2/tunnel/{name}"), idea, 1, parts);
    }
}
