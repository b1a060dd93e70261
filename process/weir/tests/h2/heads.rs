//! Field blocks that lie: about the coding (48), about the request (51, 52), about the connection
//! (53), about who is asked (54), and those that are too large (33, 47).

use super::rig::{MALFORMED, Verdict, malformed, passes, refused};
use crate::framing::rig::Rig;
use crate::support::h2::frame;
use crate::support::h2::hpack::{Block, FIRST_DYNAMIC, huffman, integer};

/// What a wrong field block costs.
const COMPRESSION: [Verdict<'_>; 1] = [Verdict::Connection(&[frame::COMPRESSION_ERROR])];

#[test]
fn row_48_hpack_integrity() {
    let mut rig = Rig::new(48);
    let get = || Block::request("GET", "/a");
    let literal = |name: &[u8], value: &[u8]| [&[0], name, value].concat();
    let coded = |bytes: &[u8]| [integer(0x80, 7, bytes.len()), bytes.to_vec()].concat();
    let plain = |text: &[u8]| [integer(0, 7, text.len()), text.to_vec()].concat();
    let mut long_padding = huffman(b"a");
    long_padding.push(0xff);
    let cases = [
        ("index 0", get().index(0)),
        ("an index beyond both tables", get().index(FIRST_DYNAMIC)),
        ("a far index", get().index(1 << 20)),
        ("a name of index beyond both tables", get().raw(integer(0, 4, 70)).raw(plain(b"v"))),
        ("a size update behind a field", get().size_update(100)),
        ("a size update above what was announced", Block::new().size_update(4097).raw(get().0)),
        ("a huge size update", Block::new().size_update(1 << 27).raw(get().0)),
        ("an integer of six octets", get().raw([0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])),
        ("an integer that wraps", get().raw([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])),
        ("a length that wraps", get().raw([0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x7f])),
        ("eight bits of padding", get().raw(literal(&plain(b"x"), &coded(&long_padding)))),
        ("padding of zeros", get().raw(literal(&plain(b"x"), &coded(&[0x18])))),
        ("EOS in a string", get().raw(literal(&plain(b"x"), &coded(&[0xff; 4])))),
        ("a string beyond the block", get().raw([0, 1, b'x', 40, b'y'])),
        ("a block cut behind its pattern", get().raw([0x40])),
        ("a block cut inside an integer", get().raw([0xff, 0x80])),
    ];
    for (what, block) in cases {
        refused(&mut rig, what, |id| frame::headers(id, &block.0, true), &COMPRESSION);
    }
    // In trailers as well.
    let post = Block::request("POST", "/a");
    let trailers = |id: u32| {
        let bytes = [
            frame::headers(id, &post.0, false),
            frame::headers(id, &Block::new().index(0).0, true),
        ];
        bytes.concat()
    };
    super::rig::refused_in_body(&mut rig, "index 0 in trailers", trailers, &COMPRESSION);
    // What is allowed: updates in front, down and up again, and every form of a literal.
    let sound = Block::new().size_update(0).size_update(4096).raw(get().0);
    let sound = sound.indexed_field("x-one", "1").index(FIRST_DYNAMIC).huffman_field("x-two", "2");
    let sound = sound.raw([0x10]).raw(plain(b"x-three")).raw(plain(b"3"));
    passes(
        &mut rig,
        "sound",
        |id| frame::headers(id, &sound.0, true),
        |request, what| {
            let ours = request.fields.iter().filter(|(name, _)| name.starts_with("x-"));
            let ours: Vec<&str> = ours
                .filter(|(name, _)| !name.starts_with("x-forwarded"))
                .map(|(_, value)| value.as_str())
                .collect();
            assert_eq!(ours, ["1", "1", "2", "3"], "I1: {what}");
        },
    );
    rig.finish();
}

#[test]
fn row_51_injection() {
    let mut rig = Rig::new(51);
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a")];
    let replaced = |name: &str, value: &str| {
        let fields = pseudo.iter().map(|&(n, v)| (n, if n == name { value } else { v }));
        Block::new().fields(&fields.collect::<Vec<_>>())
    };
    for (name, value) in [
        (":path", "/ HTTP/1.1\r\nX: y"),
        (":path", "/a b"),
        (":path", "/a\r\n"),
        (":path", "/a\n"),
        (":path", "/a\0"),
        (":path", "/a\t"),
        (":path", "/a#b"),
        (":path", "a"),
        (":path", "http://a/a"),
        (":method", "GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET"),
        (":method", "GET /x"),
        (":method", "GET\r\n"),
        (":method", ""),
        (":method", "G\0T"),
        (":authority", "a\r\nX: y"),
        (":authority", "a\nb"),
        (":authority", "a b"),
        (":authority", "a/b"),
        (":authority", "u@a"),
        (":authority", "a,b"),
        (":authority", "a:99999"),
        (":authority", "a\\b"),
        (":scheme", "http://evil/"),
        (":scheme", "http\r\nX: y"),
        (":scheme", ""),
        (":scheme", "ht tp"),
    ] {
        malformed(&mut rig, &format!("{name} {value:?}"), &replaced(name, value));
    }
    let get = || Block::request("GET", "/a");
    for (name, value) in [
        ("a\r\nb", "c"),
        ("a\nb", "c"),
        ("a\rb", "c"),
        ("a:b", "c"),
        ("a b", "c"),
        ("a\0", "c"),
        ("A", "c"),
        ("x-Y", "c"),
        ("", "c"),
        ("a\u{7f}", "c"),
        ("é", "c"),
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\rb"),
        ("x", "a\0b"),
        ("x", " a"),
        ("x", "a "),
        ("x", "\ta"),
        ("x", "a\t"),
        ("x", "a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ] {
        malformed(&mut rig, &format!("{name:?}: {value:?}"), &get().field(name, value));
        // An entry of the table is judged each time it is used, not once.
        let indexed = get().indexed_field(name, value).index(FIRST_DYNAMIC);
        malformed(&mut rig, &format!("indexed {name:?}: {value:?}"), &indexed);
    }
    passes(
        &mut rig,
        "odd but sound",
        |id| {
            let block = get().field("x-tab", "a\tb").field("x-empty", "").field("x-high", "é");
            frame::headers(id, &block.0, true)
        },
        |request, what| {
            assert_eq!(request.field("x-tab"), Some("a\tb"), "I1: {what}");
            assert_eq!(request.field("x-empty"), Some(""), "I1: {what}");
            assert_eq!(request.field("x-high"), Some("é"), "I1: {what}");
            assert_eq!((&request.method[..], &request.target[..]), ("GET", "/a"), "I1: {what}");
        },
    );
    rig.finish();
}

#[test]
fn row_52_pseudo_fields() {
    let mut rig = Rig::new(52);
    let all = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/a")];
    for (missing, _) in [all[0], all[1], all[3]] {
        let rest: Vec<_> = all.iter().copied().filter(|(name, _)| *name != missing).collect();
        malformed(&mut rig, &format!("no {missing}"), &Block::new().fields(&rest));
    }
    for twice in all {
        let block = Block::new().fields(&all).fields(&[twice]);
        malformed(&mut rig, &format!("{} twice", twice.0), &block);
    }
    let get = || Block::new().fields(&all);
    malformed(&mut rig, "a different :path behind", &get().field(":path", "/x"));
    for late in all {
        let rest: Vec<_> = all.iter().copied().filter(|field| *field != late).collect();
        let block = Block::new().fields(&rest).field("x", "y").fields(&[late]);
        malformed(&mut rig, &format!("{} behind a field", late.0), &block);
    }
    malformed(&mut rig, ":status", &get().field(":status", "200"));
    malformed(&mut rig, "an unknown one", &get().field(":x", "y"));
    malformed(&mut rig, "a colon alone", &get().field(":", "y"));
    malformed(&mut rig, ":protocol without CONNECT", &get().field(":protocol", "websocket"));
    malformed(&mut rig, "an empty :path", &Block::request("GET", ""));
    malformed(&mut rig, "* without OPTIONS", &Block::request("GET", "*"));
    malformed(&mut rig, "nothing at all", &Block::new());
    malformed(&mut rig, "fields alone", &Block::new().field("x", "y"));
    let post = Block::request("POST", "/a");
    for (name, value) in [(":path", "/x"), (":status", "200"), (":x", "y")] {
        let trailers = Block::new().field("x", "y").field(name, value);
        let first = Block::new().field(name, value);
        for block in [trailers, first] {
            let frames = |id: u32| {
                let head = frame::headers(id, &post.0, false);
                [head, frame::data(id, b"hi", false), frame::headers(id, &block.0, true)].concat()
            };
            let what = format!("{name} in trailers");
            super::rig::refused_in_body(&mut rig, &what, frames, &MALFORMED);
        }
    }
    // RFC 9113 §8.5: plain CONNECT is not what an edge serves.
    let connect = Block::new().field(":method", "CONNECT").field(":authority", "a:443");
    let refusals = [MALFORMED[0], Verdict::Status(&[405])];
    refused(&mut rig, "CONNECT", |id| frame::headers(id, &connect.0, true), &refusals);
    let trace = Block::request("TRACE", "/a");
    refused(&mut rig, "TRACE", |id| frame::headers(id, &trace.0, true), &refusals);
    rig.finish();
}

#[test]
fn row_53_connection_fields() {
    let mut rig = Rig::new(53);
    let fields = [
        ("connection", "close"),
        ("connection", "x-other"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ];
    for (name, value) in fields {
        let block = Block::request("GET", "/a").field(name, value);
        malformed(&mut rig, &format!("{name}: {value}"), &block);
        let frames = |id: u32| {
            let head = frame::headers(id, &Block::request("POST", "/a").0, false);
            let trailers = frame::headers(id, &Block::new().field(name, value).0, true);
            [head, frame::data(id, b"hi", false), trailers].concat()
        };
        let what = format!("{name}: {value} in trailers");
        super::rig::refused_in_body(&mut rig, &what, frames, &MALFORMED);
    }
    // The one value that is allowed; HTTP2-Settings has no meaning here and goes nowhere.
    let block = Block::request("GET", "/a").field("te", "trailers");
    passes(
        &mut rig,
        "te: trailers",
        |id| frame::headers(id, &block.0, true),
        |request, what| {
            for name in ["upgrade", "keep-alive", "proxy-connection", "http2-settings"] {
                assert!(!request.has(name), "I1: {what}: {name} was forwarded");
            }
        },
    );
    rig.finish();
}

#[test]
fn row_54_authorities() {
    let mut rig = Rig::new(54);
    let with = |authority: Option<&str>, hosts: &[&str]| {
        let mut block = Block::new().field(":method", "GET").field(":scheme", "http");
        if let Some(authority) = authority {
            block = block.field(":authority", authority);
        }
        block = block.field(":path", "/a");
        hosts.iter().fold(block, |block, host| block.field("host", host))
    };
    for (authority, hosts) in [
        (Some("a"), &["b"][..]),
        (Some("a"), &["a", "b"]),
        (Some("a:8080"), &["a"]),
        (Some("a"), &["a:8080"]),
        (Some("a"), &[""]),
        (Some(""), &["a"]),
        (Some(""), &[]),
        (None, &[]),
        (None, &[""]),
        (None, &["a", "b"]),
        (None, &["a", "a"]),
        (None, &["u@a"]),
        (Some("u@a"), &[]),
        (Some("u@a"), &["a"]),
        (Some("u:p@a"), &["u:p@a"]),
        (Some("[::1"), &[]),
        (Some("a:b:c"), &[]),
        (Some("a?b"), &[]),
    ] {
        let what = format!(":authority {authority:?}, host {hosts:?}");
        malformed(&mut rig, &what, &with(authority, hosts));
    }
    for (authority, hosts, seen) in [
        (Some("a"), &[][..], "a"),
        (None, &["a"], "a"),
        (Some("a"), &["a"], "a"),
        (Some("A"), &["a"], "a"),
        (Some("a:80"), &["a"], "a"),
        (Some("a:8080"), &["a:8080"], "a:8080"),
    ] {
        let what = format!(":authority {authority:?}, host {hosts:?}");
        let block = with(authority, hosts);
        passes(
            &mut rig,
            &what,
            |id| frame::headers(id, &block.0, true),
            |request, what| {
                let host = request.field("host").unwrap_or_default().to_ascii_lowercase();
                let host = if seen == "a" { host.trim_end_matches(":80") } else { &host };
                assert_eq!(host, seen, "I1: {what}");
            },
        );
    }
    rig.finish();
}

/// Frames of a field block that may need CONTINUATION.
fn get(block: &Block) -> impl Fn(u32) -> Vec<u8> {
    |id| frame::headers_cut(id, &block.0, true)
}

#[test]
fn row_33_large_fields() {
    let mut rig = Rig::new(33);
    // Beyond the limit once: answered or reset. Beyond it twice: the connection ends.
    let once = [
        Verdict::Status(&[431]),
        Verdict::Stream(&[frame::PROTOCOL_ERROR, frame::ENHANCE_YOUR_CALM]),
        Verdict::Connection(&[frame::ENHANCE_YOUR_CALM]),
    ];
    let head = || Block::request("GET", "/a");
    let one = head().field("x-long", "a".repeat(70_000));
    refused(&mut rig, "one field of 70 KB", get(&one), &once);
    let four = (0..4).fold(head(), |block, n| block.field(format!("x-{n}"), "a".repeat(20_000)));
    refused(&mut rig, "four of 20 KB", get(&four), &once);
    let many = (0..400).fold(head(), |block, n| block.field(format!("x-{n}"), "a"));
    refused(&mut rig, "400 fields", get(&many), &once);
    let crumbs = (0..400).fold(head(), |block, n| block.field("cookie", format!("c{n}=")));
    refused(&mut rig, "400 crumbs", get(&crumbs), &once);
    let path = Block::request("GET", &format!("/{}", "a".repeat(9_000)));
    let long = [Verdict::Status(&[414]), once[0], once[1]];
    refused(&mut rig, "a path of 9 KB", get(&path), &long);
    // Within the limits, over several frames.
    let large = head().field("x-large", "a".repeat(20_000));
    passes(&mut rig, "one field of 20 KB", get(&large), |request, what| {
        assert_eq!(request.field("x-large").map(str::len), Some(20_000), "I1: {what}");
    });
    rig.finish();
}

#[test]
fn row_47_decoded_size() {
    let mut rig = Rig::new(47);
    let value = "v".repeat(4_000);
    let bomb = |references: usize| {
        let block = Block::request("GET", "/a").indexed_field("x-bomb", &value);
        (0..references).fold(block, |block, _| block.index(FIRST_DYNAMIC))
    };
    let once = [
        Verdict::Status(&[431]),
        Verdict::Stream(&[frame::PROTOCOL_ERROR, frame::ENHANCE_YOUR_CALM]),
        Verdict::Connection(&[frame::ENHANCE_YOUR_CALM]),
    ];
    refused(&mut rig, "80 KB of 5 KB", get(&bomb(20)), &once);
    let twice = [Verdict::Connection(&[frame::ENHANCE_YOUR_CALM, frame::COMPRESSION_ERROR])];
    for references in [40, 16_000] {
        refused(&mut rig, &format!("{references} references"), get(&bomb(references)), &twice);
    }
    rig.finish();
}
