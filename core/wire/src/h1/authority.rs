//! The one normalized authority of a request: what routing, SNI check, logs and the origin see.

use super::head::Span;
use crate::bytes;

/// A validated `host[:port]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// Host name, IPv4 address or `[IPv6 address]` with its brackets, as it was sent; empty only
    /// where an HTTP/1.0 request names no host.
    pub host: Span,
    /// Port 1..=65535 where one is named.
    pub port: Option<u16>,
}

impl Authority {
    /// Appends the host in lower case.
    pub fn lowercase_into(&self, buf: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(self.host.get(buf));
        if let Some(new) = out.get_mut(from..) {
            new.make_ascii_lowercase();
        }
    }

    /// The host, ready to compare without regard to case.
    #[must_use]
    pub fn host<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        self.host.get(buf)
    }
}

/// Reads an authority out of `span`: a name of unreserved characters and sub-delimiters without
/// the comma, or an IPv6 address in brackets, then perhaps a colon and a port without leading
/// zeros. `None` for anything else: user information, lists, an empty host, an empty port.
#[inline]
#[must_use]
pub fn read(buf: &[u8], span: Span) -> Option<Authority> {
    let text = span.get(buf);
    let host = match text {
        [b'[', ..] => bracketed(text)?,
        _ => bytes::skip_reg_name(text, 0),
    };
    if host == 0 {
        return None;
    }
    let port = match text.get(host..)? {
        [] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        _ => return None,
    };
    let start = span.start as usize;
    Some(Authority { host: Span::new(start, start + host), port })
}

/// The length of the IPv6 address in brackets that `text` starts with.
#[inline(never)]
fn bracketed(text: &[u8]) -> Option<usize> {
    let close = memchr::memchr(b']', text)?;
    let address = core::str::from_utf8(text.get(1..close)?).ok()?;
    address.parse::<core::net::Ipv6Addr>().ok()?;
    Some(close + 1)
}

fn port(digits: &[u8]) -> Option<u16> {
    if !matches!(digits, [b'1'..=b'9', ..]) {
        return None;
    }
    u16::try_from(bytes::decimal(digits)?).ok()
}

#[cfg(test)]
mod tests {
    //! Row 27 of the framing recipes.
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, Option<u16>)>) {
        let got = read(text.as_bytes(), Span::new(0, text.len()));
        let got = got.map(|a| (core::str::from_utf8(a.host(text.as_bytes())).unwrap(), a.port));
        assert_eq!(got, expect, "{text:?}");
    }

    #[test]
    fn row_27_authorities() {
        check("a", Some(("a", None)));
        check("a.example:8080", Some(("a.example", Some(8080))));
        check("under_score.example", Some(("under_score.example", None)));
        check("192.0.2.1:80", Some(("192.0.2.1", Some(80))));
        check("[::1]", Some(("[::1]", None)));
        check("[2001:db8::1]:443", Some(("[2001:db8::1]", Some(443))));
        check("a:65535", Some(("a", Some(65535))));
        for bad in [
            "",
            "a@b",
            "u:p@b",
            "a,b",
            "a:80:81",
            "a:",
            "a:0",
            "a:080",
            "a:99999",
            "a:65536",
            "a:+80",
            "[::1",
            "[::1]x",
            "[]",
            "[::1%eth0]",
            "[1.2.3.4]",
            "::1",
            "a/b",
            "a#",
            "a\\b",
            "a b",
            "a?b",
            "a%41",
            ":80",
            "a\u{e9}",
            "a\"b",
            "a<b",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn lower_case_is_appended() {
        let text = b"ExAmPle.COM:1";
        let authority = read(text, Span::new(0, text.len())).unwrap();
        let mut out = b"x".to_vec();
        authority.lowercase_into(text, &mut out);
        assert_eq!(out, b"xexample.com");
    }
}
