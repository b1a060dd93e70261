//! Rows 28 and 51 of the recipes for the writers of both protocols, and what a block holds.

use super::*;
use crate::h1::head::{HeadLimits, RequestParser};
use crate::h2::hpack::Decoder;
use crate::h2::section::{Section, SectionLimits};
use crate::testing::wire;

fn decoded(decoder: &mut Decoder, block: &[u8]) -> String {
    let mut section = Section::default();
    decoder.decode(block, &SectionLimits::default(), &mut section).unwrap();
    assert_eq!(section.fault, None);
    String::from_utf8(section.bytes).unwrap().replace("\r\n", "⏎")
}

/// What any writer makes of a forwarded request.
fn forwarded(mut head: impl WriteHead) -> Result<(), WriteError> {
    let buf = wire(
        "PUT /p?q HTTP/1.1⏎Host: a:81⏎User-Agent: curl⏎X-Mixed-Case:  v ⏎Connection: x⏎\
         TE: gzip⏎Content-Length: 3⏎X_odd: 1⏎⏎",
    );
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&buf, &HeadLimits::default()), Ok(true));
    let meaning = crate::h1::request::meaning(parser.head_mut(), &buf).unwrap();
    let parsed = parser.head();
    let host = meaning.authority.host;
    let authority = Span { start: host.start, end: host.end + 3 };
    head.request_of(&buf, parsed.method_span, Scheme::Http, authority, parsed.target.whole);
    head.copy_run(&buf, &parsed.fields, |field| !field.hop && field.known != Known::Host)?;
    head.address(Known::XForwardedFor, [192, 0, 2, 10].into());
    head.own(Known::XForwardedProto, b"https")?;
    head.own_of(Known::XForwardedHost, &buf, authority);
    head.own(Known::Te, b"trailers")?;
    head.field(b"X-Set", b" v ")?;
    head.connection(b"close")?;
    head.framing(meaning.framing);
    head.finish();
    Ok(())
}

#[test]
fn both_protocols_say_the_same() {
    let mut out = Vec::new();
    forwarded(crate::h1::write::HeadWriter::new(&mut out)).unwrap();
    let expect = "PUT /p?q HTTP/1.1⏎Host: a:81⏎User-Agent: curl⏎X-Mixed-Case: v⏎X_odd: 1⏎\
                  X-Forwarded-For: 192.0.2.10⏎X-Forwarded-Proto: https⏎X-Forwarded-Host: a:81⏎\
                  TE: trailers⏎X-Set: v⏎Connection: close⏎Content-Length: 3⏎⏎";
    assert_eq!(out, wire(expect));
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let expect = ":method: PUT⏎:scheme: http⏎:authority: a:81⏎:path: /p?q⏎user-agent: curl⏎\
                  x-mixed-case: v⏎x_odd: 1⏎x-forwarded-for: 192.0.2.10⏎x-forwarded-proto: https⏎\
                  x-forwarded-host: a:81⏎te: trailers⏎x-set: v⏎content-length: 3⏎";
    for _ in 0..3 {
        let mut out = Vec::new();
        forwarded(HeadWriter::new(&mut encoder, &mut out)).unwrap();
        assert_eq!(decoded(&mut decoder, &out), expect);
    }
}

fn replied(mut head: impl WriteHead) -> Result<(), WriteError> {
    head.status(302)?;
    head.own(Known::Server, b"weir")?;
    head.own(Known::Connection, b"keep-alive")?;
    head.own(Known::Upgrade, b"websocket")?;
    head.field(b"Keep-Alive", b"5")?;
    head.field(b"Set-Cookie", b"a=1")?;
    head.field(b"Set-Cookie", b"b=2")?;
    head.date(&crate::date::imf_fixdate(0));
    head.content_length(7);
    head.framing(Framing::Chunked);
    head.finish();
    Ok(())
}

#[test]
fn a_reply_has_no_connection_fields_in_http_2() {
    let mut out = Vec::new();
    replied(HeadWriter::new(&mut Encoder::new(), &mut out)).unwrap();
    let expect = ":status: 302⏎server: weir⏎set-cookie: a=1⏎set-cookie: b=2⏎\
                  date: Thu, 01 Jan 1970 00:00:00 GMT⏎content-length: 7⏎";
    assert_eq!(decoded(&mut Decoder::new(4096), &out), expect);
    let mut out = Vec::new();
    replied(crate::h1::write::HeadWriter::new(&mut out)).unwrap();
    assert!(out.starts_with(b"HTTP/1.1 302 Found\r\nServer: weir\r\nConnection: keep-alive\r\n"));
}

fn refuses(mut head: impl WriteHead) {
    for bad in ["a␍b", "a␊b", "a⏎X: y", "a␀", "a␋", "a\u{7f}"] {
        let bad = wire(bad);
        assert_eq!(head.field(b"Location", &bad), Err(WriteError::Value));
        assert_eq!(head.own(Known::Location, &bad), Err(WriteError::Value));
        assert_eq!(head.connection(&bad), Err(WriteError::Value));
        assert_eq!(head.request(b"GET", Scheme::Http, &bad, b"/"), Err(WriteError::Value));
        assert_eq!(head.request(b"GET", Scheme::Http, b"a", &bad), Err(WriteError::Target));
        assert_eq!(head.request(&bad, Scheme::Http, b"a", b"/"), Err(WriteError::Method));
        assert_eq!(head.field(&bad, b"x"), Err(WriteError::Name));
    }
    for bad in ["", "a b", "a:", "\u{e9}", " a", ":path"] {
        assert_eq!(head.field(bad.as_bytes(), b"x"), Err(WriteError::Name), "{bad:?}");
    }
    for bad in ["", "/ ", "/ HTTP/1.1", "/\u{e9}", "/#"] {
        let got = head.request(b"GET", Scheme::Https, b"a", bad.as_bytes());
        assert_eq!(got, Err(WriteError::Target));
    }
    for name in ["Content-Length", "transfer-encoding"] {
        assert_eq!(head.field(name.as_bytes(), b"5"), Err(WriteError::Framing));
        assert_eq!(head.own(Known::of(name.as_bytes()), b"5"), Err(WriteError::Framing));
    }
    assert_eq!(head.own(Known::Other, b"5"), Err(WriteError::Name));
    for bad in [0, 99, 1000, 65535] {
        assert_eq!(head.status(bad), Err(WriteError::Status));
    }
}

#[test]
fn rows_28_and_51_nothing_splits_a_head_of_either_protocol() {
    let mut out = Vec::new();
    refuses(crate::h1::write::HeadWriter::new(&mut out));
    assert!(out.is_empty(), "what is refused leaves nothing behind");
    refuses(HeadWriter::new(&mut Encoder::new(), &mut out));
    assert!(out.is_empty(), "what is refused leaves nothing behind");
    let mut encoder = Encoder::new();
    assert_eq!(HeadWriter::new(&mut encoder, &mut out).status(101), Err(WriteError::Status));
}

#[test]
fn a_tunnel_is_asked_for() {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    let mut head = HeadWriter::new(&mut encoder, &mut out);
    assert_eq!(head.connect(b"a", Scheme::Https, b"/", b"a b"), Err(WriteError::Value));
    assert_eq!(head.connect(b"a", Scheme::Https, b"x", b"websocket"), Err(WriteError::Target));
    head.connect(b"a", Scheme::Https, b"/chat", b"websocket").unwrap();
    head.finish();
    let expect = ":method: CONNECT⏎:scheme: https⏎:authority: a⏎:path: /chat⏎:protocol: websocket⏎";
    assert_eq!(decoded(&mut Decoder::new(4096), &out), expect);
}

#[test]
fn an_abandoned_block_leaves_the_tables_in_step() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    for sent in [false, true] {
        for complete in [true, false, true] {
            let mut out = Vec::new();
            let mut head = HeadWriter::new(&mut encoder, &mut out);
            head.status(200).unwrap();
            head.own(Known::Server, b"weir").unwrap();
            head.field(b"Vary", if complete { b"accept" } else { b"origin" }).unwrap();
            if complete {
                head.finish();
                let got = decoded(&mut decoder, &out);
                assert_eq!(got, ":status: 200⏎server: weir⏎vary: accept⏎");
            } else {
                drop(head);
                if sent {
                    decoded(&mut decoder, &out);
                }
            }
        }
    }
}

#[test]
fn trailers_are_a_block() {
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    trailers(&mut encoder, b"Grpc-Status: 0\r\ngrpc-message: \r\nno line\r\n", &mut out);
    let expect = "grpc-status: 0⏎grpc-message: ⏎";
    assert_eq!(decoded(&mut Decoder::new(4096), &out), expect);
}
