//! Rows of the framing recipes and of the parsing rules that concern what a request means.

use super::super::head::{HeadLimits, RequestParser};
use super::*;
use crate::testing::wire;

struct Read {
    buf: Vec<u8>,
    head: RequestHead,
    meaning: Result<RequestMeaning, HeadError>,
}

fn read(text: &str) -> Read {
    let buf = wire(text);
    crate::fuzzing::h1_head(&buf);
    let mut parser = RequestParser::new();
    let done = parser.parse(&buf, &HeadLimits::default());
    assert_eq!(done, Ok(true), "{text:?}");
    let mut head = parser.head().clone();
    let meaning = meaning(&mut head, &buf);
    Read { buf, head, meaning }
}

impl Read {
    /// Names of the fields to forward.
    fn kept(&self) -> Vec<&str> {
        let fields = self.head.fields.iter().filter(|field| !field.hop);
        fields.map(|field| std::str::from_utf8(field.name.get(&self.buf)).unwrap()).collect()
    }
}

/// A request with these field lines besides Host.
fn with(lines: &str) -> Read {
    read(&format!("POST /a HTTP/1.1⏎Host: a⏎{lines}⏎"))
}

#[track_caller]
fn framed(lines: &str, expect: Result<Framing, HeadError>) {
    let got = with(lines).meaning.map(|meaning| meaning.framing);
    assert_eq!(got, expect, "{lines:?}");
}

#[test]
fn row_1_an_upgrade_is_only_a_wish() {
    let read = read("GET /a HTTP/1.1⏎Host: a⏎Connection: upgrade⏎Upgrade: foo⏎⏎");
    let meaning = read.meaning.unwrap();
    assert_eq!(meaning.upgrade.map(|span| span.get(&read.buf)), Some(&b"foo"[..]));
    assert_eq!(meaning.framing, Framing::None);
    assert_eq!(read.kept(), ["Host"]);
}

#[test]
fn row_3_connect() {
    let check = |text: &str| read(text).meaning.err();
    let plain = "CONNECT h:443 HTTP/1.1⏎Host: h:443⏎⏎";
    assert_eq!(check(plain), Some(HeadError::ConnectRefused));
    let body = "CONNECT h:443 HTTP/1.1⏎Host: h:443⏎Content-Length: 1⏎⏎";
    assert_eq!(check(body), Some(HeadError::ConnectWithBody));
    assert_eq!(check("TRACE / HTTP/1.1⏎Host: h⏎⏎"), Some(HeadError::TraceRefused));
    let body = "TRACE / HTTP/1.1⏎Host: h⏎Content-Length: 1⏎⏎";
    assert_eq!(check(body), Some(HeadError::TraceWithBody));
    assert_eq!(HeadError::ConnectRefused.status(), 405);
    assert!(!HeadError::ConnectRefused.closes() && !HeadError::TraceRefused.closes());
    assert!(HeadError::ConnectWithBody.closes());
    assert_eq!(check("CONNECT h HTTP/1.1⏎Host: h⏎⏎"), Some(HeadError::BadHost));
    let mut parser = RequestParser::new();
    let buf = wire(plain);
    assert_eq!(parser.parse(&buf, &HeadLimits::default()), Ok(true));
    assert!(keep_alive(parser.head(), &buf));
}

#[test]
fn row_4_upgrade_with_a_body_is_stripped() {
    for framing in ["Content-Length: 28", "Content-Length: 0", "Transfer-Encoding: chunked"] {
        let read = with(&format!("Connection: upgrade⏎Upgrade: websocket⏎{framing}⏎"));
        assert_eq!(read.meaning.unwrap().upgrade, None, "{framing}");
        assert_eq!(read.kept(), ["Host"]);
    }
}

#[test]
fn row_5_half_an_upgrade_is_stripped() {
    for lines in ["Upgrade: foo⏎", "Connection: upgrade⏎"] {
        let read = with(lines);
        assert_eq!(read.meaning.unwrap().upgrade, None, "{lines}");
        assert_eq!(read.kept(), ["Host"]);
    }
    let old = read("GET / HTTP/1.0⏎Connection: upgrade⏎Upgrade: foo⏎⏎");
    assert_eq!(old.meaning.unwrap().upgrade, None);
}

#[test]
fn row_6_h2c_is_never_passed_on() {
    for upgrade in [
        "Upgrade: h2c⏎",
        "Upgrade: H2C⏎",
        "Upgrade: h2⏎",
        "Upgrade: HTTP/2.0⏎",
        "Upgrade: h2c⏎Upgrade: foo⏎",
        "Upgrade: foo⏎Upgrade: h2c⏎",
        "Upgrade: foo, h2c⏎",
        "Upgrade: ⏎",
        "Upgrade: foo bar⏎",
        "Upgrade: foo/⏎",
    ] {
        let lines =
            format!("{upgrade}Connection: Upgrade, HTTP2-Settings⏎HTTP2-Settings: AAMAAABk⏎");
        let read = with(&lines);
        assert_eq!(read.meaning.unwrap().upgrade, None, "{upgrade}");
        assert_eq!(read.kept(), ["Host"]);
    }
}

#[test]
fn row_7_http_1_0() {
    let check = |text: &str| read(text).meaning;
    let coded = "POST /a HTTP/1.0⏎Transfer-Encoding: chunked⏎⏎";
    assert_eq!(check(coded).err(), Some(HeadError::CodingOn10));
    let bare = check("POST /a HTTP/1.0⏎Connection: keep-alive⏎⏎").unwrap();
    assert_eq!((bare.framing, bare.keep_alive), (Framing::None, false));
    assert!(bare.authority.host.is_empty());
    let sized = check("POST /a HTTP/1.0⏎Connection: Keep-Alive⏎Content-Length: 2⏎⏎").unwrap();
    assert_eq!((sized.framing, sized.keep_alive), (Framing::Exact(2), true));
    assert!(check("GET /a HTTP/1.0⏎Connection: keep-alive⏎⏎").unwrap().keep_alive);
    assert!(!check("GET /a HTTP/1.0⏎⏎").unwrap().keep_alive);
    framed("Transfer-Encoding: identity, chunked⏎", Err(HeadError::UnknownCoding));
    let two = "Transfer-Encoding: chunked⏎Transfer-Encoding: chunked⏎";
    framed(two, Err(HeadError::BadCoding));
}

#[test]
fn row_8_length_and_coding() {
    for lines in [
        "Content-Length: 6⏎Transfer-Encoding: chunked⏎",
        "Transfer-Encoding: chunked⏎Content-Length: 6⏎",
        "Content-Length: x⏎Transfer-Encoding: identity⏎",
    ] {
        framed(lines, Err(HeadError::LengthAndCoding));
    }
}

#[test]
fn row_9_codings() {
    for fine in ["chunked", "Chunked", "CHUNKED", "\tchunked \t"] {
        framed(&format!("Transfer-Encoding: {fine}⏎"), Ok(Framing::Chunked));
    }
    for unknown in ["xchunked", "gzip", "identity", "gzip, chunked", "chunked-"] {
        let line = format!("Transfer-Encoding: {unknown}⏎");
        framed(&line, Err(HeadError::UnknownCoding));
    }
    for bad in [
        "chunked;a=b",
        "\"chunked\"",
        "chunked, identity",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "",
        "chunked chunked",
        "gzip, chunked, chunked",
        "chunked, gzip, chunked",
    ] {
        framed(&format!("Transfer-Encoding: {bad}⏎"), Err(HeadError::BadCoding));
    }
    assert_eq!(HeadError::UnknownCoding.status(), 501);
    assert_eq!(HeadError::BadCoding.status(), 400);
    let alias = with("Transfer_Encoding: chunked⏎");
    assert_eq!(alias.meaning.unwrap().framing, Framing::None);
    assert!(alias.head.fields[1].odd_name);
}

#[test]
fn row_10_lengths() {
    framed("Content-Length: 5⏎", Ok(Framing::Exact(5)));
    framed("Content-Length: 0⏎", Ok(Framing::Exact(0)));
    framed("Content-Length: 05⏎", Ok(Framing::Exact(5)));
    framed("Content-Length: 18446744073709551615⏎", Ok(Framing::Exact(u64::MAX)));
    for bad in [
        "5, 5",
        "+5",
        "-0",
        "-5",
        "0x5",
        "5_0",
        "",
        "99999999999999999999",
        "5 5",
        "5.0",
        "\u{b2}",
        "18446744073709551616",
        "5;",
        "5,",
    ] {
        framed(&format!("Content-Length: {bad}⏎"), Err(HeadError::BadLength));
    }
    for two in ["5⏎Content-Length: 6", "5⏎content-length: 5"] {
        framed(&format!("Content-Length: {two}⏎"), Err(HeadError::RepeatedLength));
    }
}

#[test]
fn row_25_framing_cannot_be_nominated() {
    for name in ["transfer-encoding", "Content-Length", "HOST", "close, host"] {
        let line = format!("Connection: {name}⏎Transfer-Encoding: chunked⏎");
        framed(&line, Err(HeadError::NominatedFraming));
    }
}

#[test]
fn row_26_what_the_proxy_says_cannot_be_nominated() {
    let read = with(
        "Connection: close, X-Forwarded-For, X-Real-IP, X-Forwarded-Host, Authorization, \
         cf-worker, X-Mine, x-auth-user⏎X-Forwarded-For: 1⏎X-Real-IP: 2⏎X-Forwarded-Host: 3⏎\
         Authorization: 4⏎CF-Worker: 5⏎x-mine: 6⏎X-Auth-User: 7⏎x-mine: 8⏎",
    );
    assert!(!read.meaning.unwrap().keep_alive);
    let kept = ["Host", "X-Forwarded-For", "X-Real-IP", "X-Forwarded-Host", "Authorization"];
    assert_eq!(read.kept(), [&kept[..], &["CF-Worker", "X-Auth-User"]].concat());
}

#[test]
fn hop_by_hop_fields_stay_here() {
    let read = with(
        "Connection: keep-alive⏎Keep-Alive: timeout=5⏎Proxy-Connection: close⏎\
         TE: trailers, deflate⏎Proxy-Authorization: x⏎Proxy-Authenticate: y⏎Trailer: z⏎\
         Content-Length: 1⏎Expect: 100-continue⏎",
    );
    assert_eq!(read.kept(), ["Host", "Trailer", "Expect"]);
    let meaning = read.meaning.unwrap();
    assert!(meaning.keep_alive && meaning.te_trailers && meaning.expect_continue);
}

#[test]
fn connection_is_a_bounded_list_of_tokens() {
    let lines = |value: &str| with(&format!("Connection: {value}⏎")).meaning.err();
    assert_eq!(lines(", ,close,,"), None);
    assert_eq!(lines("close keep-alive"), Some(HeadError::BadConnection));
    assert_eq!(lines("\"close\""), Some(HeadError::BadConnection));
    assert_eq!(lines(&vec!["a"; 32].join(",")), None);
    assert_eq!(lines(&vec!["a"; 33].join(",")), Some(HeadError::TooManyOptions));
    assert!(!with("Connection: keep-alive⏎Connection: Close⏎").meaning.unwrap().keep_alive);
}

#[test]
fn row_27_one_authority() {
    let check = |text: &str| {
        let read = read(text);
        read.meaning.map(|meaning| {
            let host = std::str::from_utf8(meaning.authority.host(&read.buf)).unwrap();
            format!("{host} {:?}", meaning.authority.port)
        })
    };
    let ok = |text: &str| Ok(text.to_owned());
    let bad = Err(HeadError::BadHost);
    assert_eq!(check("GET / HTTP/1.1⏎Host: a:81⏎⏎"), ok("a Some(81)"));
    assert_eq!(check("GET http://b/ HTTP/1.1⏎Host: a⏎⏎"), Err(HeadError::HostMismatch));
    assert_eq!(check("GET http://A:80/ HTTP/1.1⏎Host: a⏎⏎"), ok("A Some(80)"));
    assert_eq!(check("GET https://a/ HTTP/1.1⏎Host: a:443⏎⏎"), ok("a None"));
    assert_eq!(check("GET https://a/ HTTP/1.1⏎Host: a:80⏎⏎"), Err(HeadError::HostMismatch));
    assert_eq!(check("GET http://a/ HTTP/1.0⏎⏎"), ok("a None"));
    assert_eq!(check("GET http://u@a/ HTTP/1.1⏎Host: a⏎⏎"), bad);
    assert_eq!(check("GET http:/// HTTP/1.1⏎Host: a⏎⏎"), bad);
    for host in ["a@b", "a,b", "a:80:81", "a:", "a:99999", "[::1", "a/b", "a#", "a\\b", "", "a b"] {
        assert_eq!(check(&format!("GET / HTTP/1.1⏎Host: {host}⏎⏎")), bad, "{host:?}");
    }
    let two = "GET / HTTP/1.1⏎Host: a⏎host: a⏎⏎";
    assert_eq!(check(two), Err(HeadError::RepeatedHost));
    assert_eq!(check("GET / HTTP/1.0⏎Host: a⏎host: a⏎⏎"), Err(HeadError::RepeatedHost));
    assert_eq!(check("GET / HTTP/1.1⏎⏎"), Err(HeadError::MissingHost));
    assert_eq!(check("OPTIONS * HTTP/1.1⏎Host: a⏎⏎"), ok("a None"));
}

#[test]
fn row_31_expectations() {
    let check = |lines: &str| with(lines).meaning.map(|meaning| meaning.expect_continue);
    let body = "Content-Length: 5⏎";
    assert_eq!(check(&format!("{body}Expect: 100-Continue⏎")), Ok(true));
    assert_eq!(check("Transfer-Encoding: chunked⏎Expect: 100-continue⏎"), Ok(true));
    for bad in [
        "Expect: y 100-continue⏎",
        "Expect: 100-continue, y⏎",
        "Expect: ⏎",
        "Expect: 200-ok⏎",
        "Expect: 100-continue⏎Expect: 100-continue⏎",
    ] {
        assert_eq!(check(&format!("{body}{bad}")), Err(HeadError::Expectation), "{bad}");
    }
    assert_eq!(HeadError::Expectation.status(), 417);
    let bodiless = with("Expect: 100-continue⏎");
    assert!(!bodiless.meaning.unwrap().expect_continue);
    assert_eq!(bodiless.kept(), ["Host"]);
    let old = read("POST / HTTP/1.0⏎Content-Length: 5⏎Expect: 100-continue⏎⏎");
    assert!(!old.meaning.unwrap().expect_continue);
    assert!(old.kept().is_empty());
}

#[test]
fn bodies_are_allowed_with_any_other_method() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND"] {
        let text = format!("{method} /a HTTP/1.1⏎Host: a⏎Content-Length: 3⏎⏎");
        assert_eq!(read(&text).meaning.unwrap().framing, Framing::Exact(3), "{method}");
    }
}
