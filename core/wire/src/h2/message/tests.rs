//! Rows 16, 49, 51 to 54 of the recipes, and what requests, replies and trailers mean.

use super::*;
use crate::h2::hpack::Decoder;
use crate::h2::section::SectionLimits;

/// A block of literals, decoded.
fn section(fields: &[(&str, &str)]) -> Section {
    let mut block = Vec::new();
    for (name, value) in fields {
        for (n, text) in [name, value].into_iter().enumerate() {
            if n == 0 {
                block.push(0);
            }
            assert!(text.len() < 127, "a length of one octet");
            block.push(text.len() as u8);
            block.extend_from_slice(text.as_bytes());
        }
    }
    let mut section = Section::default();
    Decoder::new(4096).decode(&block, &SectionLimits::default(), &mut section).unwrap();
    section
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/")];

/// The fields of `GET`, with those of `changes` in the place of their namesakes or behind them.
fn changed<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = GET.to_vec();
    for &(name, value) in changes {
        match fields.iter_mut().find(|(other, _)| name.starts_with(':') && *other == name) {
            Some(field) => field.1 = value,
            None if name.starts_with(':') => fields.insert(4.min(fields.len()), (name, value)),
            None => fields.push((name, value)),
        }
    }
    fields
}

type Read = Result<(RequestHead, RequestMeaning, Vec<u8>), MessageError>;

fn read(fields: &[(&str, &str)], ends: bool) -> Read {
    let mut section = section(fields);
    let mut head = RequestHead::default();
    let meaning = request(&mut section, &mut head, ends, &HeadLimits::default())?;
    Ok((head, meaning, section.bytes))
}

#[track_caller]
fn malformed(fields: &[(&str, &str)], ends: bool, expect: SectionFault) {
    let got = read(fields, ends).map(|_| ());
    assert_eq!(got, Err(MessageError::Malformed(expect)), "{fields:?}");
}

#[track_caller]
fn refused(fields: &[(&str, &str)], ends: bool, expect: HeadError) {
    let got = read(fields, ends).map(|_| ());
    assert_eq!(got, Err(MessageError::Refused(expect)), "{fields:?}");
}

#[test]
fn a_request_has_the_form_of_http_1() {
    let fields = [
        (":method", "POST"),
        (":path", "/a/b?c?d"),
        (":scheme", "https"),
        (":authority", "Example.com:8443"),
        ("content-length", "5"),
        ("te", "trailers"),
        ("x_odd", "1"),
        ("user-agent", "curl"),
        ("expect", "100-Continue"),
    ];
    let (head, meaning, buf) = read(&fields, false).unwrap();
    assert_eq!((head.method, head.method_span.get(&buf)), (Method::Post, &b"POST"[..]));
    assert_eq!((head.version, head.start, head.len), (Version::Http2, 0, buf.len()));
    assert_eq!(head.target.form, TargetForm::Origin);
    assert_eq!(head.target.whole.get(&buf), b"/a/b?c?d");
    assert_eq!(head.target.path.get(&buf), b"/a/b");
    assert_eq!(head.target.query.map(|query| query.get(&buf)), Some(&b"c?d"[..]));
    assert_eq!(meaning.framing, Framing::Exact(5));
    assert_eq!((meaning.keep_alive, meaning.expect_continue), (true, true));
    assert_eq!((meaning.te_trailers, meaning.upgrade), (true, None));
    let host = meaning.authority.host;
    assert_eq!((host.get(&buf), meaning.authority.port), (&b"Example.com"[..], Some(8443)));
    let behind = Span { start: host.end, end: host.end + 5 };
    assert_eq!(behind.get(&buf), b":8443", "host and port stand side by side");
    let forwarded: Vec<_> =
        head.fields.iter().filter(|f| !f.hop).map(|f| f.line.get(&buf)).collect();
    let expect: [&[u8]; 3] =
        [b"x_odd: 1\r\n", b"user-agent: curl\r\n", b"expect: 100-Continue\r\n"];
    assert_eq!(forwarded, expect);
    assert!(head.fields.iter().any(|field| field.odd_name));
}

#[test]
fn rows_16_and_49_lengths_and_ends() {
    for (length, ends, expect) in [
        (None, true, Framing::None),
        (None, false, Framing::Chunked),
        (Some("0"), true, Framing::None),
        (Some("0"), false, Framing::Exact(0)),
        (Some("10"), false, Framing::Exact(10)),
    ] {
        let fields =
            changed(&length.map(|l| ("content-length", l)).into_iter().collect::<Vec<_>>());
        assert_eq!(read(&fields, ends).unwrap().1.framing, expect, "{length:?} {ends}");
    }
    malformed(&changed(&[("content-length", "5")]), true, SectionFault::LengthMismatch);
    for bad in ["", "+5", "-0", "0x5", "5_0", "5, 5", "99999999999999999999"] {
        malformed(&changed(&[("content-length", bad)]), false, SectionFault::BadLength);
    }
    for second in ["5", "6"] {
        let fields = changed(&[("content-length", "5"), ("content-length", second)]);
        malformed(&fields, false, SectionFault::RepeatedLength);
    }
}

#[test]
fn row_51_nothing_is_injected_into_a_start_line() {
    for bad in ["", "*", "a", "http://a/", "/ HTTP/1.1", "/a b", "/#", "/\u{e9}", "/\"", "?a"] {
        malformed(&changed(&[(":path", bad)]), true, SectionFault::BadPath);
    }
    for bad in ["/ HTTP/1.1\r\nx: y", "/\n", "/\0"] {
        malformed(&changed(&[(":path", bad)]), true, SectionFault::ValueControl);
    }
    for bad in ["", "get", "Get", "GET /x", "a:b", "G\u{e9}T"] {
        malformed(&changed(&[(":method", bad)]), true, SectionFault::BadMethod);
    }
    malformed(&changed(&[(":method", "GET ")]), true, SectionFault::ValueSpace);
    for bad in ["", "http://evil/", "https:", "ftp", "h"] {
        malformed(&changed(&[(":scheme", bad)]), true, SectionFault::BadScheme);
    }
    for bad in ["", "u@a", "u:p@a", "a,b", "a:", "a:0", "a b", "a/b", "[::1", "a\u{e9}"] {
        malformed(&changed(&[(":authority", bad)]), true, SectionFault::BadAuthority);
        malformed(&changed(&[("host", bad)]), true, SectionFault::BadAuthority);
    }
    malformed(&changed(&[(":authority", "a\r\nb")]), true, SectionFault::ValueControl);
}

#[test]
fn row_52_pseudo_fields_are_there_once_and_nothing_else() {
    for missing in 0..4 {
        let mut fields = GET.to_vec();
        fields.remove(missing);
        malformed(&fields, true, SectionFault::PseudoMissing);
    }
    malformed(&changed(&[(":status", "200")]), true, SectionFault::PseudoMisplaced);
    malformed(&changed(&[(":protocol", "websocket")]), true, SectionFault::PseudoMisplaced);
    malformed(&changed(&[(":other", "1")]), true, SectionFault::PseudoUnknown);
    let mut fields = GET.to_vec();
    fields.push(GET[0]);
    malformed(&fields, true, SectionFault::PseudoRepeated);
    fields[4] = ("a", "b");
    fields.swap(3, 4);
    malformed(&fields, true, SectionFault::PseudoLate);
}

#[test]
fn row_54_one_authority() {
    for (authority, host, expect) in [
        (Some("a"), None, Ok("a")),
        (None, Some("b:8080"), Ok("b")),
        (Some("a"), Some("A"), Ok("a")),
        (Some("a:443"), Some("a"), Ok("a")),
        (Some("a"), Some("a:443"), Ok("a")),
        (Some("[::1]:1"), Some("[::1]:1"), Ok("[::1]")),
        (Some("a"), Some("b"), Err(SectionFault::HostMismatch)),
        (Some("a"), Some("a:80"), Err(SectionFault::HostMismatch)),
        (None, None, Err(SectionFault::PseudoMissing)),
    ] {
        let mut fields = vec![GET[0], GET[1], GET[3]];
        fields.splice(0..0, authority.map(|a| (":authority", a)));
        fields.extend(host.map(|h| ("host", h)));
        let got = read(&fields, true);
        let got = got.map(|(_, meaning, buf)| meaning.authority.host(&buf).to_vec());
        let expect = expect.map(|text| text.as_bytes().to_vec()).map_err(MessageError::Malformed);
        assert_eq!(got, expect, "{authority:?} {host:?}");
    }
    let (head, ..) = read(&changed(&[("host", "a")]), true).unwrap();
    assert!(head.fields.iter().all(|field| field.hop), "the writer says Host itself");
    malformed(&changed(&[("host", "a"), ("host", "a")]), true, SectionFault::RepeatedHost);
}

#[test]
fn cookies_in_pieces_become_one_line() {
    let fields =
        changed(&[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2"), ("cookie", "")]);
    let (head, _, buf) = read(&fields, true).unwrap();
    let lines: Vec<_> = head.fields.iter().map(|field| field.line.get(&buf)).collect();
    assert_eq!(lines, [&b"accept: */*\r\n"[..], b"cookie: a=1; b=2\r\n"]);
    let cookie = head.fields[1];
    assert_eq!((cookie.name.get(&buf), cookie.known), (&b"cookie"[..], Known::Cookie));
    assert_eq!(cookie.value.get(&buf), b"a=1; b=2");
    assert_eq!(head.len, buf.len());
}

#[test]
fn tunnels_and_methods_that_are_not_served() {
    let tunnel = changed(&[(":method", "CONNECT"), (":protocol", "websocket")]);
    let (head, meaning, buf) = read(&tunnel, false).unwrap();
    assert_eq!((head.method, meaning.framing), (Method::Connect, Framing::None));
    assert_eq!(meaning.upgrade.map(|span| span.get(&buf)), Some(&b"websocket"[..]));
    for bad in ["", "h2c", "h2", "http", "HTTP", "web socket", "websocket/13"] {
        let fields = changed(&[(":method", "CONNECT"), (":protocol", bad)]);
        malformed(&fields, false, SectionFault::BadProtocol);
    }
    let mut fields = tunnel.clone();
    fields.push(("content-length", "0"));
    malformed(&fields, false, SectionFault::LengthMismatch);
    refused(&[(":method", "CONNECT"), (":authority", "a:443")], false, HeadError::ConnectRefused);
    malformed(&[(":method", "CONNECT"), (":authority", "a")], false, SectionFault::BadAuthority);
    malformed(&[(":method", "CONNECT")], false, SectionFault::PseudoMissing);
    malformed(&changed(&[(":method", "CONNECT")]), false, SectionFault::PseudoMisplaced);
    refused(&changed(&[(":method", "TRACE")]), true, HeadError::TraceRefused);
    refused(&changed(&[(":method", "TRACE")]), false, HeadError::TraceWithBody);
    let (head, ..) = read(&changed(&[(":method", "OPTIONS"), (":path", "*")]), true).unwrap();
    assert_eq!(head.target.form, TargetForm::Asterisk);
}

#[test]
fn limits_and_expectations_are_answered() {
    let mut large = section(&GET);
    for (fault, expect) in [
        (SectionFault::TooLarge, HeadError::SectionTooLarge),
        (SectionFault::TooMany, HeadError::TooManyFields),
    ] {
        large.fault = Some(fault);
        let mut head = RequestHead::default();
        let got = request(&mut large, &mut head, true, &HeadLimits::default());
        assert_eq!(got, Err(MessageError::Refused(expect)));
    }
    let limits = HeadLimits { line_bytes: 4, ..HeadLimits::default() };
    for (path, expect) in [("/abc", Ok(())), ("/abcd", Err(HeadError::LineTooLong))] {
        let mut section = section(&changed(&[(":path", path)]));
        let got = request(&mut section, &mut RequestHead::default(), true, &limits);
        assert_eq!(got.map(|_| ()), expect.map_err(MessageError::Refused));
    }
    refused(&changed(&[("expect", "more")]), false, HeadError::Expectation);
    let twice = changed(&[("expect", "100-continue"), ("expect", "100-continue")]);
    refused(&twice, false, HeadError::Expectation);
    let (head, meaning, _) = read(&changed(&[("expect", "100-continue")]), true).unwrap();
    assert!(!meaning.expect_continue && head.fields[0].hop, "nothing to wait for");
}

fn reply(
    fields: &[(&str, &str)],
    ends: bool,
    method: Method,
) -> Result<(u16, ResponseMeaning), SectionFault> {
    let mut head = ResponseHead::default();
    let meaning = response(&mut section(fields), &mut head, ends, method)?;
    assert_eq!(head.version, Version::Http2);
    Ok((head.status, meaning))
}

#[test]
fn replies_end_where_they_say() {
    use Framing as F;
    for (status, length, ends, method, expect) in [
        ("200", None, false, Method::Get, Ok(F::Chunked)),
        ("200", None, true, Method::Get, Ok(F::None)),
        ("200", Some("5"), false, Method::Get, Ok(F::Exact(5))),
        ("200", Some("0"), true, Method::Get, Ok(F::None)),
        ("200", Some("5"), true, Method::Get, Err(SectionFault::LengthMismatch)),
        ("200", Some("5"), true, Method::Head, Ok(F::None)),
        ("304", Some("5"), true, Method::Get, Ok(F::None)),
        ("204", None, true, Method::Get, Ok(F::None)),
        ("200", Some("5x"), false, Method::Get, Err(SectionFault::BadLength)),
        ("200", None, false, Method::Connect, Ok(F::None)),
        ("403", None, false, Method::Connect, Ok(F::Chunked)),
        ("103", None, false, Method::Get, Ok(F::None)),
        ("103", None, true, Method::Get, Err(SectionFault::InterimEnds)),
        ("103", Some("1"), false, Method::Get, Err(SectionFault::InterimEnds)),
        ("101", None, false, Method::Get, Err(SectionFault::SwitchingProtocols)),
        ("20", None, false, Method::Get, Err(SectionFault::BadStatus)),
        ("2000", None, false, Method::Get, Err(SectionFault::BadStatus)),
        ("099", None, false, Method::Get, Err(SectionFault::BadStatus)),
        ("2x0", None, false, Method::Get, Err(SectionFault::BadStatus)),
    ] {
        let mut fields = vec![(":status", status)];
        fields.extend(length.map(|l| ("content-length", l)));
        let got = reply(&fields, ends, method);
        let framing = got.map(|(_, meaning)| meaning.framing);
        assert_eq!(framing, expect, "{status} {length:?} {ends} {method:?}");
        if let Ok((number, meaning)) = got {
            assert_eq!(number.to_string(), status);
            assert_eq!(meaning.interim, number < 200);
            assert!(meaning.reusable && meaning.keep_alive);
        }
    }
    let missing = reply(&[("a", "b")], true, Method::Get);
    assert_eq!(missing.map(|_| ()), Err(SectionFault::PseudoMissing));
    let request = reply(&[(":status", "200"), (":path", "/")], true, Method::Get);
    assert_eq!(request.map(|_| ()), Err(SectionFault::PseudoMisplaced));
}

#[test]
fn row_53_trailers_change_nothing() {
    let mut lines = Vec::new();
    let fields = [
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("host", "b"),
        ("x_odd", "1"),
        ("x-forwarded-new", "1"),
        ("grpc-message", ""),
    ];
    assert_eq!(trailers(&mut section(&fields), &mut lines), Ok(()));
    assert_eq!(lines, b"grpc-status: 0\r\ngrpc-message: \r\n");
    for (fields, expect) in [
        (vec![(":path", "/")], SectionFault::PseudoMisplaced),
        (vec![("connection", "close")], SectionFault::ConnectionField),
        (vec![("te", "gzip")], SectionFault::Te),
        (vec![("a", "b"); 33], SectionFault::TooMany),
        (vec![("a", "0123456789012345678901234567890123456789"); 33], SectionFault::TooMany),
    ] {
        assert_eq!(trailers(&mut section(&fields), &mut lines), Err(expect));
    }
}

#[test]
fn limits_mean_what_they_mean_in_http_1() {
    use crate::h1::head::RequestParser;
    let check = |fields: &[(&str, &str)], limits: &HeadLimits, expect: Option<HeadError>| {
        let mut section = section(fields);
        let got = request(&mut section, &mut RequestHead::default(), true, limits);
        assert_eq!(got.err(), expect.map(MessageError::Refused), "{limits:?}");
        // The same request as a head of HTTP/1.
        let mut text = "GET / HTTP/1.1\r\nhost: a\r\n".to_owned();
        let cookies: Vec<_> = fields.iter().filter(|f| f.0 == "cookie").map(|f| f.1).collect();
        let rest = fields.iter().filter(|f| f.0 != "cookie" && !f.0.starts_with(':'));
        rest.for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        text += &format!("cookie: {}\r\n\r\n", cookies.join("; "));
        let read = RequestParser::default().parse(text.as_bytes(), limits);
        assert_eq!(read.err(), expect, "HTTP/1, {limits:?}");
    };
    let mut fields = GET.to_vec();
    fields.extend([("x-one", "1"), ("x-two", "2"), ("cookie", "a=1"), ("cookie", "b=2")]);
    // Host, two others and the cookie.
    let lines = "host: a\r\nx-one: 1\r\nx-two: 2\r\ncookie: a=1; b=2\r\n".len();
    let limits = |section_bytes, fields| HeadLimits { line_bytes: 100, section_bytes, fields };
    check(&fields, &limits(lines, 4), None);
    check(&fields, &limits(lines, 3), Some(HeadError::TooManyFields));
    check(&fields, &limits(lines - 1, 4), Some(HeadError::SectionTooLarge));
}

#[test]
fn a_head_refused_for_its_size_tells_whose_it_was() {
    let mut section = section(&[GET[0], (":path", "/a?b"), ("x", "y")]);
    section.fault = Some(SectionFault::TooLarge);
    let mut head = RequestHead::default();
    let got = request(&mut section, &mut head, true, &HeadLimits::default());
    assert_eq!(got.err(), Some(MessageError::Refused(HeadError::SectionTooLarge)));
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target.path.get(&section.bytes), b"/a");
    assert_eq!(head.target.whole.get(&section.bytes), b"/a?b");
}
