//! Row 28 of the framing recipes, and what the serializer writes.

use super::super::head::{HeadLimits, RequestParser};
use super::*;
use crate::testing::wire;

#[test]
fn a_reply_head_is_written() {
    let mut out = b"before".to_vec();
    let mut writer = HeadWriter::new(&mut out);
    writer.status_line(200).unwrap();
    writer.field(b"Server", b"weir").unwrap();
    writer.field(b"X-Empty", b"").unwrap();
    writer.field(b"X-Trimmed", b" \ta\tb ").unwrap();
    writer.number(b"Age", 0).unwrap();
    writer.number(b"X-Most", u64::MAX).unwrap();
    writer.date(&crate::date::imf_fixdate(0));
    writer.framing(Framing::Exact(1234567890));
    writer.framing(Framing::Chunked);
    writer.framing(Framing::None);
    writer.framing(Framing::Eof);
    writer.connection(b"close").unwrap();
    writer.finish();
    let expect = "beforeHTTP/1.1 200 OK⏎Server: weir⏎X-Empty: ⏎X-Trimmed: a\tb⏎Age: 0⏎\
                  X-Most: 18446744073709551615⏎Date: Thu, 01 Jan 1970 00:00:00 GMT⏎\
                  Content-Length: 1234567890⏎Transfer-Encoding: chunked⏎Connection: close⏎⏎";
    assert_eq!(out, wire(expect));
}

#[test]
fn row_28_nothing_splits_a_head() {
    let mut out = Vec::new();
    let mut writer = HeadWriter::new(&mut out);
    for bad in ["a␍b", "a␊b", "a⏎X: y", "a␀", "a␋", "a\u{7f}"] {
        assert_eq!(writer.field(b"Location", &wire(bad)), Err(WriteError::Value), "{bad:?}");
        assert_eq!(writer.connection(&wire(bad)), Err(WriteError::Value));
        assert_eq!(writer.request_line(b"GET", &wire(bad)), Err(WriteError::Target));
        assert_eq!(writer.request_line(&wire(bad), b"/"), Err(WriteError::Method));
        assert_eq!(writer.field(&wire(bad), b"x"), Err(WriteError::Name));
    }
    for bad in ["", "a b", "a:", "\u{e9}", " a"] {
        assert_eq!(writer.field(bad.as_bytes(), b"x"), Err(WriteError::Name), "{bad:?}");
    }
    for bad in ["", "/ ", "/ HTTP/1.1", "/\u{e9}", "/#"] {
        assert_eq!(writer.request_line(b"GET", bad.as_bytes()), Err(WriteError::Target));
    }
    for name in ["Content-Length", "transfer-encoding"] {
        assert_eq!(writer.field(name.as_bytes(), b"5"), Err(WriteError::Framing));
        assert_eq!(writer.number(name.as_bytes(), 5), Err(WriteError::Framing));
    }
    for bad in [0, 99, 1000, 65535] {
        assert_eq!(writer.status_line(bad), Err(WriteError::Status));
    }
    assert!(out.is_empty(), "what is refused leaves nothing behind");
}

#[test]
fn runs_of_fields_are_copied_and_odd_lines_are_written_anew() {
    let text = "GET / HTTP/1.1⏎A: 1⏎B: 2⏎Drop: 3⏎C:4⏎D: 5 ⏎E: 6⏎F: 7⏎⏎";
    let buf = wire(text);
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&buf, &HeadLimits::default()), Ok(true));
    let fields = &parser.head().fields;
    let mut out = Vec::new();
    let mut writer = HeadWriter::new(&mut out);
    writer.request_line(b"GET", b"/x").unwrap();
    writer.copy_run(&buf, fields, |field| field.name.get(&buf) != b"Drop").unwrap();
    writer.copy(&buf, &fields[0]).unwrap();
    writer.finish();
    let expect = "GET /x HTTP/1.1⏎A: 1⏎B: 2⏎C: 4⏎D: 5⏎E: 6⏎F: 7⏎A: 1⏎⏎";
    assert_eq!(out, wire(expect));
}

#[test]
fn a_request_line_has_one_space_wherever_its_parts_stand() {
    for (buf, method, target) in [
        ("GET /a", (0, 3), (4, 6)),
        ("GET\n/a", (0, 3), (4, 6)),
        ("GET/a", (0, 3), (3, 5)),
        ("GET  /a", (0, 3), (5, 7)),
        ("/aGET", (2, 5), (0, 2)),
        (" /aGET", (3, 6), (1, 3)),
    ] {
        let span = |(start, end)| Span { start, end };
        let mut out = Vec::new();
        HeadWriter::new(&mut out).request_line_of(buf.as_bytes(), span(method), span(target));
        assert_eq!(out, b"GET /a HTTP/1.1\r\n", "{buf:?}");
    }
    let mut out = Vec::new();
    let (method, none) = (Span { start: 0, end: 3 }, Span { start: 4, end: 4 });
    HeadWriter::new(&mut out).request_line_of(b"GET /a", method, none);
    HeadWriter::new(&mut out).request_line_of(b"GET", method, none);
    assert_eq!(out, b"GET  HTTP/1.1\r\nGET  HTTP/1.1\r\n");
}

#[test]
fn framing_fields_are_never_copied() {
    for line in ["Content-Length: 5", "Content-Length:5", "Transfer-Encoding: chunked"] {
        let buf = wire(&format!("GET / HTTP/1.1⏎{line}⏎⏎"));
        let mut parser = RequestParser::new();
        assert_eq!(parser.parse(&buf, &HeadLimits::default()), Ok(true));
        let fields = &parser.head().fields;
        let mut out = Vec::new();
        let mut writer = HeadWriter::new(&mut out);
        assert_eq!(writer.copy(&buf, &fields[0]), Err(WriteError::Framing));
        assert_eq!(writer.copy_run(&buf, fields, |_| true), Err(WriteError::Framing));
        assert!(out.is_empty());
    }
}

#[test]
fn reasons_are_values() {
    for status in 100..=999 {
        assert!(reason(status).bytes().all(bytes::is_value));
    }
    assert_eq!((reason(504), reason(599)), ("Gateway Timeout", ""));
}

#[test]
fn addresses_are_written_as_they_are_displayed() {
    for text in ["0.0.0.0", "127.0.0.1", "10.99.100.255", "192.0.2.10", "::1", "2001:db8::a"] {
        let mut out = Vec::new();
        HeadWriter::new(&mut out).address(b"X: ", text.parse().unwrap());
        assert_eq!(out, format!("X: {text}\r\n").as_bytes());
    }
}
