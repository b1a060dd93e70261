//! Rows of the framing recipes and of the parsing rules that concern the shape of a head.

use super::super::{TargetForm, find};
use super::*;
use crate::testing::wire;

fn parse(text: &str) -> Result<Option<(RequestHead, Vec<u8>)>, HeadError> {
    let buf = wire(text);
    crate::fuzzing::h1_head(&buf);
    let mut parser = RequestParser::new();
    Ok(parser.parse(&buf, &HeadLimits::default())?.then(|| (parser.head().clone(), buf)))
}

#[track_caller]
fn accepted(text: &str) -> (RequestHead, Vec<u8>) {
    parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}")).expect("the head is complete")
}

/// `text` is refused for this reason, with this status.
#[track_caller]
fn refused(text: &str, expect: HeadError, status: u16) {
    assert_eq!(parse(text).err(), Some(expect), "{text:?}");
    assert_eq!(expect.status(), status, "{expect}");
}

/// A field line is refused for this reason in a request and in a reply.
#[track_caller]
fn refused_field(line: &str, expect: HeadError) {
    refused(&format!("GET / HTTP/1.1⏎Host: a⏎{line}⏎Z: z⏎⏎"), expect, 400);
    refused_reply(&format!("HTTP/1.1 200 OK⏎Server: a⏎{line}⏎Z: z⏎⏎"), expect);
}

#[track_caller]
fn refused_reply(text: &str, expect: HeadError) {
    let buf = wire(text);
    crate::fuzzing::h1_head(&buf);
    let got = ResponseParser::new().parse(&buf, &HeadLimits::default());
    assert_eq!(got, Err(expect), "{text:?}");
}

#[track_caller]
fn reply(text: &str) -> (ResponseHead, Vec<u8>) {
    let buf = wire(text);
    crate::fuzzing::h1_head(&buf);
    let mut parser = ResponseParser::new();
    assert_eq!(parser.parse(&buf, &HeadLimits::default()), Ok(true), "{text:?}");
    (parser.head().clone(), buf)
}

#[test]
fn a_browser_like_request_is_cut_into_spans() {
    let text = "GET /a/b?c=d?e HTTP/1.1⏎Host: a.example:8080⏎User-Agent:  x \t⏎accept:*/*⏎\
                X-Empty:⏎X-Blank: ⏎x_odd: 1⏎Cookie: a=b; c=\u{fc}⏎X-Tab: a\tb⏎⏎GET /next";
    let (head, buf) = accepted(text);
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.target.form, TargetForm::Origin);
    assert_eq!(head.target.path.get(&buf), b"/a/b");
    assert_eq!(head.target.query.map(|q| q.get(&buf)), Some(&b"c=d?e"[..]));
    let rows: Vec<_> = head
        .fields
        .iter()
        .map(|f| {
            let text = |span: Span| String::from_utf8(span.get(&buf).to_vec()).unwrap();
            (text(f.name), text(f.value), f.known, f.canonical, f.odd_name)
        })
        .collect();
    let row = |name: &str, value: &str, known, canonical, odd| {
        (name.to_owned(), value.to_owned(), known, canonical, odd)
    };
    assert_eq!(
        rows,
        [
            row("Host", "a.example:8080", Known::Host, true, false),
            row("User-Agent", "x", Known::UserAgent, false, false),
            row("accept", "*/*", Known::Accept, false, false),
            row("X-Empty", "", Known::Other, false, false),
            row("X-Blank", "", Known::Other, true, false),
            row("x_odd", "1", Known::Other, true, true),
            row("Cookie", "a=b; c=\u{fc}", Known::Cookie, true, false),
            row("X-Tab", "a\tb", Known::Other, true, false),
        ]
    );
    assert_eq!(&buf[head.len..], b"GET /next");
    assert_eq!(find(&head.fields, Known::Host), head.fields.first());
}

#[test]
fn a_parser_is_used_again() {
    let limits = HeadLimits::default();
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(&wire("⏎GET /a HTTP/1.1⏎A: b⏎⏎"), &limits), Ok(true));
    assert_eq!(parser.head().start, 2);
    parser.reset();
    assert_eq!(parser.parse(b"PO", &limits), Ok(false));
    assert_eq!(parser.parse(&wire("POST /b HTTP/1.0⏎⏎"), &limits), Ok(true));
    assert_eq!(parser.parse(&wire("POST /b HTTP/1.0⏎⏎more"), &limits), Ok(true));
    let head = parser.head();
    assert_eq!((head.method, head.start, head.len), (Method::Post, 0, 20));
    assert!(head.fields.is_empty());
}

#[test]
fn every_method_is_known_by_its_name_in_upper_case() {
    for (name, method) in [
        ("GET", Method::Get),
        ("HEAD", Method::Head),
        ("POST", Method::Post),
        ("PUT", Method::Put),
        ("DELETE", Method::Delete),
        ("PATCH", Method::Patch),
        ("OPTIONS", Method::Options),
        ("TRACE", Method::Trace),
        ("PROPFIND", Method::Other),
        ("M-SEARCH", Method::Other),
    ] {
        assert_eq!(accepted(&format!("{name} / HTTP/1.1⏎⏎")).0.method, method);
    }
    for bad in ["get", "Get", "prop", "G(T", "G\u{e9}T", "G:T", "\"GET\"", "{}"] {
        refused(&format!("{bad} / HTTP/1.1⏎⏎"), HeadError::BadMethod, 400);
    }
}

#[test]
fn row_22_bare_line_ends() {
    refused("GET / HTTP/1.1␊Host: a␊␊", HeadError::BareLf, 400);
    refused("GET / HTTP/1.1⏎Host: a␊⏎", HeadError::BareLf, 400);
    refused("GET / HTTP/1.1⏎Host: a⏎␊", HeadError::BareLf, 400);
    refused("␊GET / HTTP/1.1⏎⏎", HeadError::BareLf, 400);
    refused("GET / HTTP/1.1␍Host: a⏎⏎", HeadError::BareCr, 400);
    refused("GET / HTTP/1.1⏎X: a␍Content-Length: 9⏎⏎", HeadError::BareCr, 400);
    refused("GET / HTTP/1.1⏎X: a⏎␍X", HeadError::BareCr, 400);
    refused("␍GET / HTTP/1.1⏎⏎", HeadError::BareCr, 400);
    refused_field("X: a⏎ b", HeadError::ObsFold);
    refused_field("X: a⏎\tb", HeadError::ObsFold);
    refused_field("X␊: a", HeadError::BareLf);
    refused_field("X: a␍␍", HeadError::BareCr);
}

#[test]
fn bare_line_ends_are_refused_before_the_line_is_complete() {
    let limits = HeadLimits::default();
    for (text, error) in [
        ("GET / HTTP/1.1␊", HeadError::BareLf),
        ("GET / HT␍x", HeadError::BareCr),
        ("GET / HTTP/1.1⏎X: y␊", HeadError::BareLf),
        ("GET / HTTP/1.1⏎X: y␍z", HeadError::BareCr),
    ] {
        assert_eq!(RequestParser::new().parse(&wire(text), &limits), Err(error), "{text:?}");
    }
}

#[test]
fn row_23_white_space_and_control_characters() {
    refused_field("Content-Length : 5", HeadError::SpaceBeforeColon);
    refused_field("Content-Length\t: 5", HeadError::SpaceBeforeColon);
    refused_field("X: a␀b", HeadError::NulInValue);
    refused_field("X: a␋b", HeadError::ControlInValue);
    refused_field("X: a\u{7f}b", HeadError::ControlInValue);
    refused_field("X\u{1}: a", HeadError::FieldNameToken);
    refused_field("X Y: a", HeadError::FieldNameToken);
    refused_field("X\u{e9}: a", HeadError::FieldNameToken);
    refused_field("X(: a", HeadError::FieldNameToken);
    refused_field("X", HeadError::MissingColon);
    refused("GET / HTTP/1.1⏎ X: y⏎⏎", HeadError::LeadingSpace, 400);
    refused("GET / HTTP/1.1⏎\tX: y⏎⏎", HeadError::LeadingSpace, 400);
}

#[test]
fn row_12_empty_names() {
    refused_field(": x⏎Content-Length: 9", HeadError::EmptyName);
    refused_field(":", HeadError::EmptyName);
}

#[test]
fn row_11_long_names_are_what_they_are() {
    for len in [255, 256, 257] {
        let name = format!("Content-Length0{}", "a".repeat(len - 15));
        let (head, buf) = accepted(&format!("GET / HTTP/1.1⏎{name}: 1⏎⏎"));
        assert_eq!(head.fields[0].name.get(&buf), name.as_bytes());
        assert_eq!(head.fields[0].known, Known::Other);
    }
    for len in [65_535, 65_536, 65_537] {
        let name = format!("Content-Length0{}", "a".repeat(len - 15));
        refused(&format!("GET / HTTP/1.1⏎{name}: 1⏎⏎"), HeadError::SectionTooLarge, 431);
    }
}

#[test]
fn one_empty_line_may_come_first() {
    let (head, _) = accepted("⏎GET / HTTP/1.1⏎⏎");
    assert_eq!((head.start, head.len), (2, 20));
    refused("⏎⏎GET / HTTP/1.1⏎⏎", HeadError::EmptyLines, 400);
}

#[test]
fn other_protocols_are_recognized() {
    refused("\u{16}\u{3}\u{1}", HeadError::TlsOnPlain, 400);
    assert!(HeadError::TlsOnPlain.silent() && !HeadError::BareLf.silent());
    refused("PRI * HTTP/2.0⏎⏎SM⏎⏎", HeadError::Http2Preface, 400);
}

#[test]
fn request_lines_have_single_spaces() {
    for text in [
        "GET  / HTTP/1.1⏎⏎",
        "GET /  HTTP/1.1⏎⏎",
        "GET\t/ HTTP/1.1⏎⏎",
        "GET /\tHTTP/1.1⏎⏎",
        "GET / HTTP/1.1 ⏎⏎",
        "GET / HTTP/1.1\t⏎⏎",
        "GET / x HTTP/1.1⏎⏎",
        "GET / ⏎⏎",
    ] {
        refused(text, HeadError::BadSpace, 400);
    }
    refused(" GET / HTTP/1.1⏎⏎", HeadError::BadSpace, 400);
}

#[test]
fn versions() {
    assert_eq!(accepted("GET / HTTP/1.0⏎⏎").0.version, Version::Http10);
    for minor in 1..=9 {
        let head = accepted(&format!("GET / HTTP/1.{minor}⏎⏎")).0;
        assert_eq!(head.version, Version::Http11);
    }
    for text in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.8", "HTTP/0.9"] {
        refused(&format!("GET / {text}⏎⏎"), HeadError::Version505, 505);
    }
    for text in ["HTTP/1.10", "HTTP/01.1", "http/1.1", "HTTP/1", "HTTP/1.", "HTTP/1.x", "HTTP"] {
        refused(&format!("GET / {text}⏎⏎"), HeadError::BadVersion, 400);
    }
    refused("GET /⏎⏎", HeadError::MissingVersion, 400);
    refused("GET⏎⏎", HeadError::MissingVersion, 400);
}

#[test]
fn targets_have_uri_characters_only() {
    for bad in ["\"", "<", ">", "\\", "^", "`", "{", "|", "}", "#", "\u{7f}", "\u{80}", "␋", "␀"]
    {
        refused(&format!("GET /a{bad}b HTTP/1.1⏎⏎"), HeadError::BadTargetChar, 400);
        refused(&format!("GET {bad} HTTP/1.1⏎⏎"), HeadError::BadTargetChar, 400);
    }
    let fine = "/-._~:/?[]@!$&'()*+,;=%41%zz";
    let (head, buf) = accepted(&format!("GET {fine} HTTP/1.1⏎⏎"));
    assert_eq!(head.target.whole.get(&buf), fine.as_bytes());
}

#[test]
fn forms_of_targets() {
    #[track_caller]
    fn check(line: &str, form: TargetForm, parts: (&str, &str, Option<&str>)) {
        let (head, buf) = accepted(&format!("{line} HTTP/1.1⏎⏎"));
        let target = head.target;
        let text = |span: Span| std::str::from_utf8(span.get(&buf)).unwrap();
        assert_eq!(target.form, form, "{line}");
        let got = (text(target.authority), text(target.path), target.query.map(text));
        assert_eq!(got, parts, "{line}");
    }
    let plain = TargetForm::Absolute { https: false };
    check("GET /", TargetForm::Origin, ("", "/", None));
    check("GET /?", TargetForm::Origin, ("", "/", Some("")));
    check("GET //a/b", TargetForm::Origin, ("", "//a/b", None));
    check("OPTIONS *", TargetForm::Asterisk, ("", "*", None));
    check("CONNECT a:443", TargetForm::Authority, ("a:443", "", None));
    check("GET http://a", plain, ("a", "", None));
    check("GET http://a:80/b?c", plain, ("a:80", "/b", Some("c")));
    check("GET HTTP://a?c", plain, ("a", "", Some("c")));
    check("GET https://a/", TargetForm::Absolute { https: true }, ("a", "/", None));
    for bad in [
        "GET *",
        "GET a:443",
        "GET a",
        "GET ftp://a/",
        "GET http:/a",
        "GET http:a",
        "GET httpx://a",
        "GET ?a",
        "OPTIONS **",
        "CONNECT /a",
        "CONNECT http://a/",
        "CONNECT a:1?b",
    ] {
        refused(&format!("{bad} HTTP/1.1⏎⏎"), HeadError::BadTargetForm, 400);
    }
}

#[test]
fn limits_count_exactly() {
    let limits = HeadLimits { line_bytes: 20, section_bytes: 12, fields: 2 };
    let parse = |text: &str| RequestParser::new().parse(&wire(text), &limits);
    assert_eq!(parse("GET /23456 HTTP/1.11"), Ok(false));
    assert_eq!(parse("GET /23456 HTTP/1.1⏎⏎"), Ok(true));
    assert_eq!(parse("GET /234567 HTTP/1.1⏎⏎"), Ok(true));
    assert_eq!(parse("GET /2345678 HTTP/1.1⏎⏎"), Err(HeadError::LineTooLong));
    assert_eq!(parse("GET /2345678901234567"), Err(HeadError::LineTooLong));
    assert_eq!(parse("GET / HTTP/1.1⏎A: b⏎C: d⏎⏎"), Ok(true));
    assert_eq!(parse("GET / HTTP/1.1⏎A: b⏎C: de⏎⏎"), Err(HeadError::SectionTooLarge));
    assert_eq!(parse("GET / HTTP/1.1⏎A:⏎B:⏎C:⏎⏎"), Err(HeadError::TooManyFields));
    assert_eq!(parse("GET / HTTP/1.1⏎A: 34567890123"), Err(HeadError::SectionTooLarge));
    let in_bytes = |text: &str| {
        let buf = wire(text);
        let mut parser = RequestParser::new();
        let mut each = (0..=buf.len()).map(|len| parser.parse(&buf[..len], &limits));
        each.find(|got| *got != Ok(false))
    };
    assert_eq!(in_bytes("GET / HTTP/1.1⏎A: b⏎C: d⏎⏎"), Some(Ok(true)));
    let large = "GET / HTTP/1.1⏎A: b⏎C: de⏎⏎";
    assert_eq!(in_bytes(large), Some(Err(HeadError::SectionTooLarge)));
    let mut parser = RequestParser::new();
    let buf = wire(large);
    assert_eq!(parser.parse(&buf[..buf.len() - 3], &limits), Ok(false));
    assert_eq!(parser.parse(&buf, &limits), Err(HeadError::SectionTooLarge));
    assert_eq!(HeadError::LineTooLong.status(), 414);
    assert_eq!(HeadError::TooManyFields.status(), 431);
}

#[test]
fn row_29_status_lines() {
    let (head, buf) = reply("HTTP/1.1 200 All is well⏎A: b⏎⏎");
    assert_eq!((head.status, head.version), (200, Version::Http11));
    assert_eq!(head.reason.get(&buf), b"All is well");
    assert_eq!(reply("HTTP/1.0 404 ⏎⏎").0.status, 404);
    let (head, buf) = reply("HTTP/1.1 999⏎⏎");
    assert_eq!((head.status, head.reason.get(&buf)), (999, &b""[..]));
    for bad in ["65736", "99", "099", "2000", "20", "2x0", "+20", "", "200x"] {
        refused_reply(&format!("HTTP/1.1 {bad} OK⏎⏎"), HeadError::BadStatus);
    }
    refused_reply("HTTP/1.1  200 OK⏎⏎", HeadError::BadStatus);
    refused_reply("HTTP/1.1\t200 OK⏎⏎", HeadError::BadStatus);
    refused_reply("HTTP/2.0 200 OK⏎⏎", HeadError::Version505);
    refused_reply("HTTP/1.10 200 OK⏎⏎", HeadError::BadStatus);
    refused_reply("http/1.1 200 OK⏎⏎", HeadError::BadVersion);
    refused_reply("ICY 200 OK⏎⏎", HeadError::BadVersion);
    refused_reply("HTTP⏎⏎", HeadError::BadVersion);
    refused_reply("⏎HTTP/1.1 200 OK⏎⏎", HeadError::EmptyLines);
    refused_reply("HTTP/1.1 200 O␀K⏎⏎", HeadError::BadReason);
    refused_reply("HTTP/1.1 200 OK␊⏎⏎", HeadError::BareLf);
}

#[test]
fn known_names_are_found_in_any_case() {
    let names = "connection TRANSFER-encoding Content-Length hOsT te dAtE Via \
                 Strict-Transport-Security CF-Connecting-IP cf-connecting-ipv6 \
                 If-Unmodified-Since x-forwarded-proto";
    for name in names.split_whitespace() {
        let known = Known::of(name.as_bytes());
        assert!(known.as_str().eq_ignore_ascii_case(name), "{name}: {known:?}");
    }
    for name in [
        "",
        "t",
        "tf",
        "hos",
        "host1",
        "Content-Lengtx",
        "Content-LengtX0",
        "Transfer_Encoding",
        "Content Length",
        "\rontent-length",
        "Content\rLength",
        "H\u{4f}st\0",
        "Strict-Transport-SecuritY1",
        "Strict-Tr-nsport-Security",
    ] {
        assert_eq!(Known::of(name.as_bytes()), Known::Other, "{name:?}");
    }
}

#[test]
fn labels_of_faults_are_unique() {
    let mut names: Vec<_> = HeadError::ALL.iter().map(HeadError::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), HeadError::ALL.len());
}

/// The two ways of reading a field line agree wherever the short one answers.
#[test]
fn usual_values_are_read_as_any_values() {
    let names = ["Name", "Host", "tE", "Content-LENGTH", "X-Forwarded-Host", "Sec_Odd", "A B", ""];
    let values =
        ["", "a", "a b", " a", "a ", "\t", "a\tb", "a\tb ", "a\x01", "a\rb", "ä", ":", " "];
    let (mut short, mut long) = (0, 0);
    for (name, value) in names.iter().flat_map(|name| values.map(|value| (name, value))) {
        for before in ["", " ", "  ", "\t", " \t"] {
            for end in ["\r\n", "\n", "\r", "", "\r\nx"] {
                let line = format!("{name}:{before}{value}{end}");
                let mut usual = Vec::new();
                let next = usual_fields(line.as_bytes(), 0, 1, &mut usual);
                let any = read_field(line.as_bytes(), 0);
                if let [usual] = usual[..] {
                    assert_eq!(Some(usual), any, "{line:?}");
                    assert_eq!(next, usual.line.end as usize, "{line:?}");
                    short += 1;
                }
                long += usize::from(any.is_some());
            }
        }
    }
    assert!(short > 5 && long > short, "{short} in the short way of {long}");
}

/// So do those of reading a start line: the short one is not taken where a line came in pieces.
#[test]
fn usual_start_lines_are_read_as_any_start_lines() {
    let limits = HeadLimits { line_bytes: 24, ..HeadLimits::default() };
    let request = |cut: usize, buf: &[u8]| {
        let mut parser = RequestParser::new();
        let first = parser.parse(&buf[..cut], &limits);
        let all = if first == Ok(false) { parser.parse(buf, &limits) } else { first };
        (all, format!("{:?}", parser.head()))
    };
    let reply = |cut: usize, buf: &[u8]| {
        let mut parser = ResponseParser::new();
        let first = parser.parse(&buf[..cut], &limits);
        let all = if first == Ok(false) { parser.parse(buf, &limits) } else { first };
        (all, format!("{:?}", parser.head()))
    };
    let targets = ["/", "/a?b", "/?", "/a?b?c", "/a%20~", "/12345678", "/1234567890123456", "/#"];
    for target in targets {
        for method in ["GET", "POST", "HEAD", "PUT", "get", "GET "] {
            for end in [" HTTP/1.1⏎⏎", " HTTP/1.0⏎⏎", " HTTP/1.1␊⏎", "  HTTP/1.1⏎⏎"]
            {
                let buf = wire(&format!("{method} {target}{end}"));
                assert_eq!(request(0, &buf), request(5, &buf), "{method} {target}{end}");
            }
        }
    }
    for status in ["200", "099", "999", "1000", "2x0", ""] {
        for reason in [" OK", " ", "", "  a", " a\tb", " ä", " a\u{1}", " longer than the limit"] {
            let buf = wire(&format!("HTTP/1.1 {status}{reason}⏎⏎"));
            assert_eq!(reply(0, &buf), reply(5, &buf), "{status}{reason}");
        }
    }
}
