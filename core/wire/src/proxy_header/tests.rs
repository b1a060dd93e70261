//! Rows 81 and 82 of the recipes.

use super::*;
use crate::testing::wire;

fn addresses(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

#[track_caller]
fn check(bytes: &[u8], expect: Result<Parsed, ProxyHeaderError>) {
    crate::fuzzing::proxy_header(bytes);
    assert_eq!(parse(bytes), expect, "{:?}", String::from_utf8_lossy(bytes));
}

#[track_caller]
fn check_1(text: &str, expect: Result<Option<ProxyHeader>, ProxyHeaderError>) {
    let bytes = wire(text);
    let len = memchr::memchr(b'\n', &bytes).map_or(0, |at| at + 1);
    let expect = expect.map(|header| match header {
        Some(header) => Parsed::Done { len, header },
        None => Parsed::Partial,
    });
    check(&bytes, expect);
}

/// A version 2 header with this command, family and payload, and a length of `len`.
fn version_2(command: u8, family: u8, len: usize, payload: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE_V2.to_vec();
    out.extend_from_slice(&[command, family]);
    out.extend_from_slice(&(len as u16).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

#[test]
fn version_1_lines() {
    let four = addresses("192.0.2.1:5000", "198.51.100.2:443");
    check_1("PROXY TCP4 192.0.2.1 198.51.100.2 5000 443⏎GET /", Ok(Some(four)));
    let six = addresses("[2001:db8::1]:1", "[::1]:65535");
    check_1("PROXY TCP6 2001:db8::1 ::1 1 65535⏎", Ok(Some(six)));
    check_1("PROXY UNKNOWN⏎", Ok(Some(ProxyHeader::Unknown)));
    check_1("PROXY UNKNOWN ffff:f 1 2⏎", Ok(Some(ProxyHeader::Unknown)));
    for partial in ["", "P", "PROXY ", "PROXY TCP4 192", "PROXY UNKNOWN␍"] {
        check_1(partial, Ok(None));
    }
    for bad in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443␊",
        "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443␍X",
        "PROXY TCP4 192.0.2.1 198.51.100.2 5000⏎",
        "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443 1⏎",
        "PROXY TCP4 192.0.2.1 198.51.100.2  5000 443⏎",
        "PROXY TCP4 192.0.2.1 198.51.100.2 05000 443⏎",
        "PROXY TCP4 192.0.2.1 198.51.100.2 70000 443⏎",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443⏎",
        "PROXY TCP4 192.0.2.256 198.51.100.2 1 443⏎",
        "PROXY TCP4 ::1 ::1 1 443⏎",
        "PROXY TCP6 192.0.2.1 192.0.2.1 1 443⏎",
        "PROXY UDP4 192.0.2.1 192.0.2.1 1 443⏎",
        "PROXY ⏎",
        "PROXY TCP4 \u{e9}⏎",
    ] {
        check_1(bad, Err(ProxyHeaderError::BadLine));
    }
    for bad in ["GET / HTTP/1.1⏎", "proxy TCP4", "PROXX", "⏎⏎␀⏎QUIX", "\u{16}\u{3}"] {
        check(&wire(bad), Err(ProxyHeaderError::NoSignature));
    }
}

#[test]
fn row_82_version_1_has_107_bytes_at_most() {
    let line = |len: usize| format!("PROXY UNKNOWN {}", "x".repeat(len - 14));
    check_1(&format!("{}⏎", line(105)), Ok(Some(ProxyHeader::Unknown)));
    check_1(&format!("{}⏎", line(106)), Err(ProxyHeaderError::TooLong));
    check_1(&line(107), Err(ProxyHeaderError::TooLong));
    check_1(&line(106), Ok(None));
}

#[test]
fn row_82_version_2() {
    let four = [192, 0, 2, 1, 198, 51, 100, 2, 0x13, 0x88, 0x01, 0xbb];
    let header = addresses("192.0.2.1:5000", "198.51.100.2:443");
    let done = |len, header| Ok(Parsed::Done { len, header });
    for family in [0x11, 0x12] {
        check(&version_2(0x21, family, 12, &four), done(28, header));
    }
    let with_tlv = [&four[..], &[0x04, 0, 2, 9, 9, 0x05, 0, 0], b"rest"].concat();
    check(&version_2(0x21, 0x11, 20, &with_tlv), done(36, header));
    let mut six = [0u8; 36];
    six[15] = 1;
    six[31] = 2;
    six[33] = 3;
    six[35] = 4;
    check(&version_2(0x21, 0x21, 36, &six), done(52, addresses("[::1]:3", "[::2]:4")));
    check(&version_2(0x20, 0x11, 12, &four), done(28, ProxyHeader::Local));
    check(&version_2(0x20, 0x00, 0, &[]), done(16, ProxyHeader::Local));
    check(&version_2(0x21, 0x00, 3, b"xyz"), done(19, ProxyHeader::Unknown));
    check(&version_2(0x21, 0x31, 216, &[0; 216]), done(232, ProxyHeader::Unknown));
    check(&version_2(0x21, 0x11, 12, &four[..11]), Ok(Parsed::Partial));
    check(&version_2(0x21, 0x11, 536, &four), Ok(Parsed::Partial));
    let bad = |bytes: &[u8], error| check(bytes, Err(error));
    bad(&version_2(0x21, 0x11, 65_535, &four), ProxyHeaderError::TooLong);
    bad(&version_2(0x21, 0x11, 537, &four), ProxyHeaderError::TooLong);
    bad(&version_2(0x21, 0x11, 11, &four[..11]), ProxyHeaderError::TooShort);
    bad(&version_2(0x21, 0x21, 12, &four), ProxyHeaderError::TooShort);
    bad(&version_2(0x21, 0x31, 12, &four), ProxyHeaderError::TooShort);
    bad(&version_2(0x21, 0x13, 12, &four), ProxyHeaderError::BadFamily);
    bad(&version_2(0x21, 0x41, 12, &four), ProxyHeaderError::BadFamily);
    bad(&version_2(0x11, 0x11, 12, &four), ProxyHeaderError::BadVersion);
    bad(&version_2(0x22, 0x11, 12, &four), ProxyHeaderError::BadCommand);
    bad(&version_2(0x22, 0, 0, &[])[..13], ProxyHeaderError::BadCommand);
    let torn = [&four[..], &[0x04, 0, 3, 9, 9]].concat();
    bad(&version_2(0x21, 0x11, 17, &torn), ProxyHeaderError::BadTlv);
    bad(&version_2(0x21, 0x11, 14, &torn), ProxyHeaderError::BadTlv);
}

#[test]
fn row_81_headers_are_written_with_their_own_length() {
    #[track_caller]
    fn check(source: &str, destination: &str, line: &str, read: (&str, &str)) {
        let (from, to) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut out = b"x".to_vec();
        write_v1(from, to, &mut out);
        assert_eq!(&out[1..], wire(line));
        let mut out = Vec::new();
        write_v2(from, to, &mut out);
        let header = addresses(read.0, read.1);
        assert_eq!(parse(&out), Ok(Parsed::Done { len: out.len(), header }));
    }
    let (a, b) = ("192.0.2.1:5000", "198.51.100.2:443");
    check(a, b, "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443⏎", (a, b));
    let (a, b) = ("[2001:db8::1]:1", "[::1]:65535");
    check(a, b, "PROXY TCP6 2001:db8::1 ::1 1 65535⏎", (a, b));
    let (a, b) = ("192.0.2.1:1", "[::1]:2");
    check(a, b, "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2⏎", ("[::ffff:192.0.2.1]:1", b));
    let mut out = Vec::new();
    write_v2_local(&mut out);
    assert_eq!(parse(&out), Ok(Parsed::Done { len: 16, header: ProxyHeader::Local }));
}
