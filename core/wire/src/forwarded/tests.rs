//! Row 89 of the recipes, and the elements that are written.

use super::*;

/// Who the client is where 10.0.0.0/8 and loopback are trusted.
#[track_caller]
fn check(kind: Kind, peer: &str, values: &[&str], expect: &str) {
    let trusted = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 10,
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    let values_read = values.iter().map(|value| value.as_bytes());
    let got = client(peer.parse().unwrap(), values_read, kind, trusted);
    assert_eq!(got, expect.parse::<IpAddr>().unwrap(), "{peer} {values:?}");
}

#[test]
fn row_89_x_forwarded_for() {
    let check = |peer, values: &[&str], expect| check(Kind::XForwardedFor, peer, values, expect);
    check("192.0.2.9", &["1.2.3.4"], "192.0.2.9");
    check("10.0.0.1", &[], "10.0.0.1");
    check("10.0.0.1", &["1.2.3.4"], "1.2.3.4");
    check("10.0.0.1", &["6.6.6.6, 1.2.3.4"], "1.2.3.4");
    check("10.0.0.1", &["6.6.6.6, 1.2.3.4 ,10.0.0.2"], "1.2.3.4");
    check("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.0.0.2"], "1.2.3.4");
    check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
    check("10.0.0.1", &["1.2.3.4, unknown, 10.0.0.2"], "10.0.0.2");
    check("10.0.0.1", &["1.2.3.4, 10.0.0.2,"], "1.2.3.4");
    check("10.0.0.1", &["1.2.3.4:5678"], "1.2.3.4");
    check("10.0.0.1", &["[2001:db8::1]:99"], "2001:db8::1");
    check("10.0.0.1", &["2001:db8::1"], "2001:db8::1");
    check("10.0.0.1", &["::ffff:10.0.0.5, ::ffff:1.2.3.4"], "1.2.3.4");
    check("::ffff:10.0.0.1", &["1.2.3.4"], "1.2.3.4");
    check("::1", &["1.2.3.4, \"10.0.0.2\""], "::1");
}

#[test]
fn hops_are_bounded() {
    let ways = |count: usize| vec!["10.0.0.2"; count].join(",");
    let kind = Kind::XForwardedFor;
    check(kind, "10.0.0.1", &[&format!("1.2.3.4,{}", ways(31))], "1.2.3.4");
    check(kind, "10.0.0.1", &[&format!("1.2.3.4,{}", ways(32))], "10.0.0.2");
    check(kind, "10.0.0.1", &[&format!("1.2.3.4{}", ",".repeat(32))], "10.0.0.1");
}

#[test]
fn row_89_forwarded() {
    let check = |values: &[&str], expect| check(Kind::Forwarded, "10.0.0.1", values, expect);
    check(&["for=1.2.3.4"], "1.2.3.4");
    check(&["For=\"1.2.3.4:80\";proto=http;by=9.9.9.9"], "1.2.3.4");
    check(&["for=6.6.6.6, for=\"[2001:db8::1]:99\""], "2001:db8::1");
    check(&["for=6.6.6.6, for=1.2.3.4;host=\"a,for=7.7.7.7\", for=10.0.0.2"], "1.2.3.4");
    check(&["for=1.2.3.4;host=\"a\\\", for=7.7.7.7\""], "1.2.3.4");
    check(&["for=6.6.6.6, for=1.2.3.4;host=\"a\\\", for=7.7.7.7\""], "1.2.3.4");
    check(&["for=1.2.3.4;host=\"a;for=7.7.7.7;b\""], "1.2.3.4");
    check(&["host=\"a;for=7.7.7.7;b\""], "10.0.0.1");
    check(&["host=\"a\\\";for=7.7.7.7;b\""], "10.0.0.1");
    check(&["proto=http; For=1.2.3.4 ;"], "1.2.3.4");
    check(&["for=1.2.3.4", "for=10.0.0.7;proto=https"], "1.2.3.4");
    check(&["for=1.2.3.4, for=unknown"], "10.0.0.1");
    check(&["for=1.2.3.4, for=_hidden, for=10.0.0.2"], "10.0.0.2");
    check(&["for=1.2.3.4, proto=https"], "10.0.0.1");
    check(&["for=1.2.3.4;for=5.6.7.8"], "10.0.0.1");
    check(&["\"for=1.2.3.4"], "10.0.0.1");
}

#[test]
fn elements_are_written_with_quotes_where_needed() {
    let check = |client: &str, host: Option<&str>, https, expect: &str| {
        let host = host.map(str::as_bytes);
        let element = Element { client: client.parse().unwrap(), host, https };
        let mut out = Vec::new();
        element.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    };
    check("192.0.2.1", Some("a.example"), true, "for=192.0.2.1;host=a.example;proto=https");
    check("::1", Some("a:80"), false, "for=\"[::1]\";host=\"a:80\";proto=http");
    check("::ffff:192.0.2.1", None, false, "for=192.0.2.1;proto=http");
    check("192.0.2.1", Some("a\"b"), false, "for=192.0.2.1;proto=http");
    check("192.0.2.1", Some("a\r\nb"), false, "for=192.0.2.1;proto=http");
}
