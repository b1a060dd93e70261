//! Rows of the framing recipes and of the parsing rules that concern what a reply means.

use super::super::head::{HeadLimits, ResponseParser};
use super::*;
use crate::testing::wire;

fn read(method: Method, text: &str) -> Result<ResponseMeaning, HeadError> {
    let buf = wire(text);
    crate::fuzzing::h1_head(&buf);
    let mut parser = ResponseParser::new();
    assert_eq!(parser.parse(&buf, &HeadLimits::default()), Ok(true), "{text:?}");
    meaning(parser.head_mut(), &buf, method)
}

/// Framing and whether the connection may be pooled, for a reply to GET.
#[track_caller]
fn check(text: &str, expect: Result<(Framing, bool), HeadError>) {
    let got = read(Method::Get, text).map(|meaning| (meaning.framing, meaning.reusable));
    assert_eq!(got, expect, "{text:?}");
}

#[test]
fn bodies_by_length_chunks_and_end() {
    check("HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎", Ok((Framing::Exact(5), true)));
    check("HTTP/1.1 200 OK⏎Transfer-Encoding: Chunked⏎⏎", Ok((Framing::Chunked, true)));
    check("HTTP/1.1 200 OK⏎⏎", Ok((Framing::Eof, false)));
    check("HTTP/1.1 200 OK⏎Content-Length: 5⏎Connection: close⏎⏎", Ok((Framing::Exact(5), false)));
    check("HTTP/1.0 200 OK⏎Content-Length: 5⏎⏎", Ok((Framing::Exact(5), false)));
    let kept = "HTTP/1.0 200 OK⏎Content-Length: 5⏎Connection: keep-alive⏎⏎";
    check(kept, Ok((Framing::Exact(5), true)));
    let old = "HTTP/1.0 200 OK⏎Transfer-Encoding: chunked⏎Connection: keep-alive⏎⏎";
    check(old, Ok((Framing::Chunked, false)));
}

#[test]
fn a_coding_beats_a_length_and_costs_the_connection() {
    let both = "HTTP/1.1 200 OK⏎Content-Length: 5⏎Transfer-Encoding: chunked⏎⏎";
    check(both, Ok((Framing::Chunked, false)));
    assert_eq!(read(Method::Get, both).unwrap().declared, None);
    for coding in ["gzip", "identity", "chunked, identity"] {
        let text = format!("HTTP/1.1 200 OK⏎Transfer-Encoding: {coding}⏎⏎");
        check(&text, Ok((Framing::Eof, false)));
    }
    let lost = "HTTP/1.1 200 OK⏎Transfer-Encoding: gzip, chunked⏎⏎";
    check(lost, Err(HeadError::UnknownCoding));
    let twice = "HTTP/1.1 200 OK⏎Transfer-Encoding: chunked, chunked⏎⏎";
    check(twice, Err(HeadError::BadCoding));
}

#[test]
fn doubtful_lengths_are_refused() {
    for lines in ["5⏎Content-Length: 6", "5⏎Content-Length: 5"] {
        let text = format!("HTTP/1.1 200 OK⏎Content-Length: {lines}⏎⏎");
        check(&text, Err(HeadError::RepeatedLength));
    }
    for length in ["", "5, 5", "-1", "x"] {
        let text = format!("HTTP/1.1 200 OK⏎Content-Length: {length}⏎⏎");
        check(&text, Err(HeadError::BadLength));
    }
}

#[test]
fn row_16_replies_without_a_body() {
    check("HTTP/1.1 204 No Content⏎⏎", Ok((Framing::None, true)));
    check("HTTP/1.1 204 No Content⏎Content-Length: 0⏎⏎", Ok((Framing::None, true)));
    check("HTTP/1.1 204 No Content⏎Content-Length: 5⏎⏎", Ok((Framing::None, false)));
    check("HTTP/1.1 304 Not Modified⏎Content-Length: 5⏎⏎", Ok((Framing::None, true)));
    let text = "HTTP/1.1 200 OK⏎Content-Length: 5⏎⏎";
    let head = read(Method::Head, text).unwrap();
    assert_eq!((head.framing, head.declared), (Framing::None, Some(5)));
    let open = read(Method::Head, "HTTP/1.1 200 OK⏎⏎").unwrap();
    assert_eq!((open.framing, open.reusable), (Framing::None, true));
}

#[test]
fn row_29_interim_replies() {
    let early = read(Method::Get, "HTTP/1.1 103 Early Hints⏎Link: x⏎⏎").unwrap();
    assert!(early.interim && early.framing == Framing::None && early.upgrade.is_none());
    for line in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let text = format!("HTTP/1.1 103 Early Hints⏎{line}⏎⏎");
        check(&text, Err(HeadError::InterimWithBody));
        let text = format!("HTTP/1.1 101 Switching⏎Connection: upgrade⏎Upgrade: a⏎{line}⏎⏎");
        check(&text, Err(HeadError::InterimWithBody));
    }
    assert!(!read(Method::Head, "HTTP/1.1 200 OK⏎⏎").unwrap().interim);
}

#[test]
fn row_2_only_101_switches() {
    let lines = "Connection: Upgrade⏎Upgrade: websocket⏎⏎";
    let switch = read(Method::Get, &format!("HTTP/1.1 101 Switching Protocols⏎{lines}")).unwrap();
    assert!(switch.upgrade.is_some() && !switch.interim);
    assert!(!switch.reusable && !switch.keep_alive);
    let plain = read(Method::Get, &format!("HTTP/1.1 200 OK⏎{lines}")).unwrap();
    assert_eq!((plain.upgrade, plain.framing), (None, Framing::Eof));
    let half = read(Method::Get, "HTTP/1.1 101 Switching Protocols⏎Upgrade: websocket⏎⏎");
    assert_eq!(half.unwrap().upgrade, None);
}

#[test]
fn hop_by_hop_fields_stay_here() {
    let text = "HTTP/1.1 200 OK⏎Connection: X-Mine, content-length⏎X-Mine: 1⏎Set-Cookie: a⏎\
                Keep-Alive: 1⏎Content-Length: 0⏎Proxy-Authenticate: x⏎Upgrade: h2⏎ETag: b⏎⏎";
    let buf = wire(text);
    let mut parser = ResponseParser::new();
    assert_eq!(parser.parse(&buf, &HeadLimits::default()), Ok(true));
    meaning(parser.head_mut(), &buf, Method::Get).unwrap();
    let kept: Vec<_> = parser.head().fields.iter().filter(|field| !field.hop).collect();
    let names: Vec<_> = kept.iter().map(|field| field.name.get(&buf)).collect();
    assert_eq!(names, [&b"Set-Cookie"[..], b"ETag"]);
}
