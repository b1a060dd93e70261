//! Content-Length and Transfer-Encoding: spellings, repetitions, orders, versions, methods.

use super::{Bag, X, label};

pub(super) fn all(bag: &mut Bag) {
    lengths(bag);
    codings(bag);
    names(bag);
    both(bag);
    repeated(bag);
    methods(bag);
    versions(bag);
}

/// Whether a value says 28 or another length beyond doubt, once white space around it is off.
fn length(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn lengths(bag: &mut Bag) {
    let values: [&[u8]; 48] = [
        b"28",
        b" 28",
        b"\t28",
        b"28 ",
        b"28\t",
        b" \t 28 \t ",
        b"028",
        b"0000000028",
        b"0",
        b"00",
        b"27",
        b"29",
        b"+28",
        b"-28",
        b"-0",
        b"+0",
        b"0x1c",
        b"0X1C",
        b"1c",
        b"2_8",
        b"28.0",
        b"28e0",
        b"2 8",
        b"28,",
        b",28",
        b"28,28",
        b"28, 28",
        b"28, 29",
        b"28;a=b",
        b"\"28\"",
        b"'28'",
        b"",
        b"   ",
        b"18446744073709551615",
        b"18446744073709551616",
        b"18446744073709551644",
        b"4294967324",
        b"99999999999999999999",
        b"28\x00",
        b"28\x0b",
        b"28\x0c",
        b"28\x7f",
        b"28\x80",
        b"\xc2\xa028",
        b"\xd9\xa2\xd9\xa8",
        b"28a",
        b"a28",
        b"\\28",
    ];
    for value in values {
        for (version, last) in [("1.1", false), ("1.0", true)] {
            let mut bytes =
                format!("POST /cl HTTP/{version}\r\nHost: a\r\nContent-Length:").into_bytes();
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(format!("\r\n\r\n{X}{X}").as_bytes());
            let forwards = match length(value) {
                _ if value == b"4294967324" || value == b"18446744073709551615" => 0,
                None => 0,
                Some(_) if last => 1,
                // Both requests stand behind the empty body.
                Some(0) => 3,
                // A line feed is left over of the first.
                Some(27) => 1,
                // The first is the body, with a byte of the second: `ET` is a method too.
                Some(_) => 2,
            };
            bag.add(
                format!("length/{version}/{}", label(value)),
                "row 10, RFC 9110 §8.6",
                forwards,
                bytes,
            );
        }
    }
}

fn codings(bag: &mut Bag) {
    let values: [&[u8]; 38] = [
        b"chunked",
        b" chunked",
        b"\tchunked",
        b"chunked ",
        b"chunked\t",
        b"Chunked",
        b"CHUNKED",
        b"cHuNkEd",
        b"xchunked",
        b"chunkedx",
        b"x-chunked",
        b"chunked;a=b",
        b"chunked;q=1",
        b"chunked ; a",
        b"\"chunked\"",
        b"'chunked'",
        b"chunked,",
        b",chunked",
        b", chunked",
        b"chunked, chunked",
        b"chunked,identity",
        b"identity, chunked",
        b"identity",
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"",
        b"  ",
        b",",
        b"chunked\x00",
        b"\x0bchunked",
        b"chunked\x0b",
        b"\x0cchunked",
        b"chunked\x7f",
        b"chunked\x80",
        b"\xc2\xa0chunked",
        b"chun\xe2\x84\xaaed",
        b"chu nked",
    ];
    for value in values {
        for version in ["1.1", "1.0"] {
            for (shape, body) in [
                ("empty", "0\r\n\r\n"),
                ("x", "1c\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n"),
            ] {
                let mut bytes = format!("POST /te HTTP/{version}\r\nHost: a\r\nTransfer-Encoding:")
                    .into_bytes();
                bytes.extend_from_slice(value);
                bytes.extend_from_slice(format!("\r\n\r\n{body}{X}").as_bytes());
                let plain = std::str::from_utf8(value).unwrap_or("?").trim_matches([' ', '\t']);
                let good = plain.eq_ignore_ascii_case("chunked") && version == "1.1";
                let name = format!("coding/{version}/{shape}/{}", label(value));
                bag.add(name, "rows 7 and 9, RFC 9112 §6.1", if good { 2 } else { 0 }, bytes);
            }
        }
    }
}

/// How a name is read: as the framing field, as another field, or not at all.
#[derive(Clone, Copy)]
enum Reading {
    Framing,
    Other,
    Refused,
}

fn names(bag: &mut Bag) {
    use Reading::{Framing, Other, Refused};
    for (field, value, body) in [
        ("Content-Length", "28", X),
        ("Transfer-Encoding", "chunked", "1c\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n"),
    ] {
        let dashless = field.replace('-', "");
        let spellings: Vec<(Vec<u8>, Reading)> = vec![
            (field.to_lowercase().into(), Framing),
            (field.to_uppercase().into(), Framing),
            (field.replace('-', "_").into(), Other),
            (field.replace('-', ".").into(), Other),
            (field.replace('-', "--").into(), Other),
            (field.replace('-', "~").into(), Other),
            (format!("{field}'").into(), Other),
            (format!("{field}s").into(), Other),
            (format!("{field}0").into(), Other),
            (format!("X-{field}").into(), Other),
            (dashless.into(), Other),
            (format!("{field} ").into(), Refused),
            (format!("{field}\t").into(), Refused),
            (format!(" {field}").into(), Refused),
            (format!("\t{field}").into(), Refused),
            (field.replace('-', " ").into(), Refused),
            (format!("{field}\0").into(), Refused),
            (format!("\0{field}").into(), Refused),
            (format!("{field}\u{b}").into(), Refused),
            (format!("\u{feff}{field}").into(), Refused),
            (format!("{field}\u{a0}").into(), Refused),
            (field.replace('-', "\u{2010}").into(), Refused),
            (format!("\"{field}\"").into(), Refused),
            (format!("{field}:").into(), Refused),
            (format!("({field})").into(), Refused),
            (format!("a\n{field}").into(), Refused),
            (format!("a: b\n{field}").into(), Refused),
            (format!("a: b\r{field}").into(), Refused),
            (format!("a: b\r\r\n{field}").into(), Refused),
            (format!("a: b\r\n {field}").into(), Refused),
        ];
        for (name, reading) in spellings {
            for place in ["first", "last"] {
                let mut line = name.clone();
                line.extend_from_slice(format!(": {value}\r\n").as_bytes());
                let mut bytes = b"POST /n HTTP/1.1\r\n".to_vec();
                if place == "first" {
                    bytes.extend_from_slice(&line);
                }
                bytes.extend_from_slice(b"Host: a\r\n");
                if place == "last" {
                    bytes.extend_from_slice(&line);
                }
                bytes.extend_from_slice(format!("\r\n{body}{X}").as_bytes());
                let forwards = match reading {
                    Framing => 2,
                    // The body is a request of its own, or no request.
                    Other if field == "Content-Length" => 3,
                    Other => 1,
                    Refused => 0,
                };
                let name = format!("name/{place}/{}", label(&name));
                bag.add(name, "rows 9, 11 and 23, RFC 9112 §5.1", forwards, bytes);
            }
        }
    }
}

fn both(bag: &mut Bag) {
    let tail = format!("1c\r\n{X}\r\n0\r\n\r\n{X}");
    for coding in ["chunked", "Chunked", "identity", "xchunked", "gzip, chunked", "chunked;a", ""] {
        for length in ["4", "0", "28", "41", "6", "x", ""] {
            for order in ["cl-te", "te-cl"] {
                let (cl, te) = (
                    format!("Content-Length: {length}\r\n"),
                    format!("Transfer-Encoding: {coding}\r\n"),
                );
                let fields = if order == "cl-te" { cl + &te } else { te + &cl };
                let bytes = format!("POST /b HTTP/1.1\r\nHost: a\r\n{fields}\r\n{tail}");
                let name = format!("both/{order}/{}/{}", label(coding), label(length));
                bag.add(name, "row 8, RFC 9112 §6.3", 0, bytes);
            }
        }
    }
    // A field that is not forwarded frames nothing.
    for (name, hidden) in [
        ("te-underscore", "Transfer_Encoding: chunked\r\n"),
        ("te-dot", "Transfer.Encoding: chunked\r\n"),
        ("te-other", "X-Transfer-Encoding: chunked\r\n"),
    ] {
        for order in ["before", "behind"] {
            let cl = "Content-Length: 28\r\n";
            let fields =
                if order == "before" { format!("{hidden}{cl}") } else { format!("{cl}{hidden}") };
            let bytes = format!("POST /b HTTP/1.1\r\nHost: a\r\n{fields}\r\n{X}{X}");
            bag.add(format!("both/{name}/{order}"), "rows 9 and 70", 2, bytes);
        }
    }
}

fn repeated(bag: &mut Bag) {
    for (first, second) in [
        ("28", "28"),
        ("28", "0"),
        ("0", "28"),
        ("28", "028"),
        ("28", ""),
        ("", "28"),
        ("28", "29"),
        ("28", "x"),
    ] {
        for between in ["", "X-Between: 1\r\n"] {
            let bytes = format!(
                "POST /r HTTP/1.1\r\nContent-Length: {first}\r\n{between}Host: a\r\n\
                 content-length: {second}\r\n\r\n{X}{X}"
            );
            let apart = if between.is_empty() { "near" } else { "apart" };
            let name = format!("repeated/length/{apart}/{}/{}", label(first), label(second));
            bag.add(name, "row 10, RFC 9110 §8.6", 0, bytes);
        }
    }
    for (first, second) in [
        ("chunked", "chunked"),
        ("chunked", "identity"),
        ("identity", "chunked"),
        ("gzip", "chunked"),
        ("chunked", "gzip"),
        ("chunked", ""),
        ("", "chunked"),
        ("chunked", "x"),
    ] {
        let bytes = format!(
            "POST /r HTTP/1.1\r\nTransfer-Encoding: {first}\r\nHost: a\r\n\
             transfer-encoding: {second}\r\n\r\n0\r\n\r\n{X}"
        );
        let name = format!("repeated/coding/{}/{}", label(first), label(second));
        bag.add(name, "rows 7 and 9, RFC 9112 §6.1", 0, bytes);
    }
}

fn methods(bag: &mut Bag) {
    let all = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "REPORT"];
    for method in all {
        for (shape, field, body) in [
            ("none", "", String::new()),
            ("zero", "Content-Length: 0\r\n", String::new()),
            ("length", "Content-Length: 28\r\n", X.to_owned()),
            ("chunked", "Transfer-Encoding: chunked\r\n", format!("1c\r\n{X}\r\n0\r\n\r\n")),
        ] {
            for (version, option) in
                [("1.1", ""), ("1.1", "close"), ("1.0", ""), ("1.0", "keep-alive")]
            {
                let connection = if option.is_empty() {
                    String::new()
                } else {
                    format!("Connection: {option}\r\n")
                };
                let bytes = format!(
                    "{method} /m HTTP/{version}\r\nHost: a\r\n{field}{connection}\r\n{body}{X}"
                );
                let lasts = match (version, option) {
                    ("1.1", "close") | ("1.0", "") => false,
                    // The end of the body would be the end of the connection.
                    ("1.0", _) => {
                        shape != "none" || !matches!(method, "POST" | "PUT" | "PATCH" | "REPORT")
                    }
                    _ => true,
                };
                let served = match (method, shape) {
                    (_, "chunked") if version == "1.0" => None,
                    // Refused, but the next request is found where there is no body.
                    ("TRACE", "none") => Some(0),
                    ("TRACE", _) => None,
                    _ => Some(1),
                };
                let forwards = served.map_or(0, |n| n + usize::from(lasts));
                let name = format!(
                    "method/{method}/{shape}/{version}{}",
                    if option.is_empty() { String::new() } else { format!("-{option}") }
                );
                bag.add(name, "row 7, RFC 9110 §9, RFC 9112 §9.3", forwards, bytes);
            }
        }
    }
}

fn versions(bag: &mut Bag) {
    for (version, good) in [
        ("HTTP/1.2", true),
        ("HTTP/1.9", true),
        ("HTTP/1.10", false),
        ("HTTP/01.1", false),
        ("HTTP/1.01", false),
        ("HTTP/2.0", false),
        ("HTTP/3.0", false),
        ("HTTP/0.9", false),
        ("HTTP/9.9", false),
        ("HTTP/1", false),
        ("HTTP/1.", false),
        ("HTTP/.1", false),
        ("HTTP/1.1.1", false),
        ("HTTP/1,1", false),
        ("HTTP/+1.1", false),
        ("HTTP/1.1a", false),
        ("HTTP/a.b", false),
        ("HTTP1.1", false),
        ("HTTP /1.1", false),
        ("HTTP/ 1.1", false),
        ("http/1.1", false),
        ("Http/1.1", false),
        ("HTTPS/1.1", false),
        ("ICY/1.1", false),
        ("RTSP/1.0", false),
        ("HTTP/1.1 ", false),
        ("HTTP/1.1\t", false),
        ("HTTP/1.1\u{b}", false),
        ("HTTP/1.1\0", false),
        ("HTTP/1.1 HTTP/1.1", false),
        ("", false),
    ] {
        let forwards = if good { 2 } else { 0 };
        let bytes = format!("GET /v {version}\r\nHost: a\r\n\r\n{X}");
        bag.add(format!("version/{}", label(version)), "RFC 9112 §2.3", forwards, bytes);
    }
    bag.add("version/none", "HTTP/0.9, RFC 9112 §3", 0, "GET /v\r\n");
    bag.add("version/none-with-fields", "HTTP/0.9", 0, format!("GET /v\r\nHost: a\r\n\r\n{X}"));
}
