//! The grammar of chunked bodies: sizes, extensions, ends, trailers, and bodies that break off.

use super::{Bag, X, label};

const HEAD: &str = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A chunked body with a request behind it.
fn body(bag: &mut Bag, name: String, idea: &str, good: bool, body: &[u8]) {
    let bytes = [HEAD.as_bytes(), body, X.as_bytes()].concat();
    bag.add(format!("chunk/{name}"), idea, if good { 2 } else { 0 }, bytes);
}

pub(super) fn all(bag: &mut Bag) {
    sizes(bag);
    extensions(bag);
    ends(bag);
    trailers(bag);
    cut(bag);
}

fn sizes(bag: &mut Bag) {
    let sizes: [(&[u8], bool); 40] = [
        (b"5", true),
        (b"05", true),
        (b"0000000000000005", true),
        (b"00000000000000005", false),
        (b"0000000000000000000000005", false),
        (b"", false),
        (b"0x5", false),
        (b"5h", false),
        (b"h", false),
        (b"5g", false),
        (b"-5", false),
        (b"+5", false),
        (b" 5", false),
        (b"\t5", false),
        // White space in front of nothing (RFC 9112 §7.1.1 has it in front of `;` only).
        (b"5 ", false),
        (b"5\t", false),
        (b"5 5", false),
        (b"5,5", false),
        (b"5.0", false),
        (b"5e0", false),
        (b"5_", false),
        (b"\"5\"", false),
        (b"5\x00", false),
        (b"\x005", false),
        (b"5\x0b", false),
        (b"5\x0c", false),
        (b"5\xa0", false),
        (b"\xef\xbc\x95", false),
        (b"5\x85", false),
        (b"5\r", false),
        (b"5\n", false),
        (b"\r\n5", false),
        (b"\n5", false),
        (b"7fffffffffffffff", false),
        (b"8000000000000005", false),
        (b"ffffffffffffffff", false),
        (b"fffffffffffffff5", false),
        (b"10000000000000005", false),
        (b"100000005", false),
        (b"80000005", false),
    ];
    for (size, good) in sizes {
        let text = [size, b"\r\nhello\r\n0\r\n\r\n"].concat();
        body(bag, format!("size/{}", label(size)), "row 20, RFC 9112 §7.1", good, &text);
    }
    for (size, len) in [("a", 10), ("A", 10), ("1a", 26), ("1A", 26), ("Ff", 255)] {
        let text = format!("{size}\r\n{}\r\n0\r\n\r\n", "d".repeat(len));
        body(bag, format!("size/hex-{size}"), "RFC 9112 §7.1", true, text.as_bytes());
    }
}

fn extensions(bag: &mut Bag) {
    let long = format!(";{}", "e".repeat(8_000));
    let longer = format!(";{}", "e".repeat(17_000));
    let quoted = format!(";a=\"{}\"", "q".repeat(300));
    let list: [(&str, bool); 44] = [
        (";a", true),
        (";a=b", true),
        (";a=b;c=d", true),
        (";a=\"b\"", true),
        (";a=\"\"", true),
        (";a=\"b;c\"", true),
        (";a=\"b c\"", true),
        (";a=\"\\\"\"", true),
        (";a=\"\\\\\"", true),
        (";a=\"=\"", true),
        (";a;b;c", true),
        (" ;a", true),
        ("; a", true),
        (" ; a = b ; c", true),
        ("\t;\ta", true),
        (";a=\"1\";b", true),
        (&quoted, true),
        (";", false),
        (";;", false),
        (";a;", false),
        ("; ", false),
        (";=b", false),
        (";a=", false),
        (";a==b", false),
        (";a=b c", false),
        (";a=b=c", false),
        (";a=\"b", false),
        (";a=\"b\"c", false),
        (";a='b c'", false),
        (";a=\"\\", false),
        (";a=\"\r\n\"", false),
        (";a=\"\n\"", false),
        (";a=\"\r\"", false),
        (";a=\"\0\"", false),
        (";\n", false),
        (";\nxx", false),
        (";\r", false),
        (";\rxx", false),
        (";a\r", false),
        (";a\0", false),
        (";a\u{b}", false),
        (";a\u{e9}", false),
        (&long, true),
        (&longer, false),
    ];
    for (extension, good) in list {
        for (place, text) in [
            ("first", format!("5{extension}\r\nhello\r\n0\r\n\r\n")),
            ("last", format!("5\r\nhello\r\n0{extension}\r\n\r\n")),
        ] {
            let name = format!("extension/{place}/{}", label(extension));
            body(bag, name, "rows 17 and 18, RFC 9112 §7.1.1", good, text.as_bytes());
        }
    }
}

fn ends(bag: &mut Bag) {
    for (name, text, good) in [
        ("one", "5\r\nhello\r\n0\r\n\r\n", true),
        ("two", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", true),
        ("zeros", "5\r\nhello\r\n0000000000000000\r\n\r\n", true),
        ("lf-everywhere", "5\nhello\n0\n\n", false),
        ("lf-behind-size", "5\nhello\r\n0\r\n\r\n", false),
        ("lf-behind-data", "5\r\nhello\n0\r\n\r\n", false),
        ("lf-behind-last", "5\r\nhello\r\n0\n\r\n", false),
        ("lf-at-end", "5\r\nhello\r\n0\r\n\n", false),
        ("cr-behind-size", "5\rhello\r\n0\r\n\r\n", false),
        ("cr-behind-data", "5\r\nhello\r0\r\n\r\n", false),
        ("cr-behind-last", "5\r\nhello\r\n0\r\r\n", false),
        ("cr-at-end", "5\r\nhello\r\n0\r\n\r", false),
        ("crcrlf-behind-size", "5\r\r\nhello\r\n0\r\n\r\n", false),
        ("crcrlf-behind-data", "5\r\nhello\r\r\n0\r\n\r\n", false),
        ("lfcr-behind-data", "5\r\nhello\n\r0\r\n\r\n", false),
        ("junk-behind-data", "5\r\nhelloXX0\r\n\r\n", false),
        ("nothing-behind-data", "5\r\nhello0\r\n\r\n", false),
        ("too-much-data", "5\r\nhello!\r\n0\r\n\r\n", false),
        ("too-little-data", "5\r\nhell\r\n0\r\n\r\n", false),
        ("empty-line-behind-data", "5\r\nhello\r\n\r\n0\r\n\r\n", false),
        ("space-behind-data", "5\r\nhello \r\n0\r\n\r\n", false),
        ("minus-zero", "5\r\nhello\r\n-0\r\n\r\n", false),
        ("hex-zero", "5\r\nhello\r\n0x0\r\n\r\n", false),
        ("zero-space", "5\r\nhello\r\n0 \r\n\r\n", false),
        ("space-zero", "5\r\nhello\r\n 0\r\n\r\n", false),
        ("empty-size", "5\r\nhello\r\n\r\n\r\n", false),
        ("data-behind-last", "0\r\nhello\r\n\r\n", false),
        ("no-size", "hello\r\n0\r\n\r\n", false),
        ("request-as-body", X, false),
    ] {
        body(bag, format!("end/{name}"), "row 19, RFC 9112 §7.1", good, text.as_bytes());
    }
    // Chunks behind the last one are no part of the body.
    let more = format!("{HEAD}0\r\n\r\n5\r\nhello\r\n0\r\n\r\n{X}");
    bag.add("chunk/end/chunk-behind-end", "row 19", 1, more);
    let spare = format!("{HEAD}0\r\n\r\n\r\n{X}");
    bag.add("chunk/end/empty-line-behind-end", "RFC 9112 §2.2", 2, spare);
}

fn trailers(bag: &mut Bag) {
    let long = format!("A: {}\r\n", "t".repeat(9_000));
    let many = "A: b\r\n".repeat(40);
    for (name, text, good) in [
        ("plain", "A: b\r\n", true),
        ("two", "A: b\r\nC: d\r\n", true),
        ("same-twice", "A: b\r\na: c\r\n", true),
        ("no-value", "A:\r\n", true),
        ("underscore", "A_B: c\r\n", true),
        ("content-length", "Content-Length: 9\r\n", true),
        ("transfer-encoding", "Transfer-Encoding: chunked\r\n", true),
        ("host", "Host: evil\r\n", true),
        ("connection", "Connection: close\r\n", true),
        ("authorization", "Authorization: Basic x\r\n", true),
        ("cookie", "Cookie: a=b\r\n", true),
        ("trailer", "Trailer: A\r\n", true),
        ("upgrade", "Upgrade: websocket\r\n", true),
        ("expect", "Expect: 100-continue\r\n", true),
        ("x-forwarded-for", "X-Forwarded-For: 1.2.3.4\r\n", true),
        ("cf-connecting-ip", "CF-Connecting-IP: 1.2.3.4\r\n", true),
        ("te", "TE: trailers\r\n", true),
        ("obs-text", "A: \u{e9}\r\n", true),
        ("space-before-colon", "A : b\r\n", false),
        ("fold", "A: b\r\n c\r\n", false),
        ("leading-space", " A: b\r\n", false),
        ("no-name", ": b\r\n", false),
        ("no-colon", "A\r\n", false),
        ("request-line", "GET /x HTTP/1.1\r\n", false),
        ("nul-in-name", "A\0: b\r\n", false),
        ("nul-in-value", "A: b\0\r\n", false),
        ("bare-cr", "A: b\rC: d\r\n", false),
        ("bare-lf", "A: b\nC: d\r\n", false),
        ("lf-only", "A: b\n", false),
        ("crcrlf", "A: b\r\r\n", false),
        ("control", "A: b\u{1}\r\n", false),
        ("quote-in-name", "\"A\": b\r\n", false),
        ("long", &long, false),
        ("many", &many, false),
    ] {
        let text = format!("5\r\nhello\r\n0\r\n{text}\r\n");
        body(bag, format!("trailer/{name}"), "row 21, RFC 9110 §6.5", good, text.as_bytes());
    }
}

fn cut(bag: &mut Bag) {
    let whole = "3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\n";
    for at in 0..whole.len() {
        let bytes = format!("{HEAD}{}", &whole[..at]);
        bag.add(format!("chunk/cut/{at:02}"), "RFC 9112 §8", 0, bytes);
    }
    for at in [0, 1, 27] {
        let head = "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n";
        let bytes = format!("{head}{}", &X[..at]);
        bag.add(format!("length/cut/{at:02}"), "RFC 9112 §8", 0, bytes);
    }
    for at in 1..X.len() {
        bag.add(format!("head/cut/{at:02}"), "RFC 9112 §8", 0, &X[..at]);
        bag.add(format!("head/second-cut/{at:02}"), "row 32", 1, format!("{X}{}", &X[..at]));
    }
}
