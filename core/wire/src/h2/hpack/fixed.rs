//! The static table (RFC 7541 Appendix A), and what is known about a name wherever it stands.

use crate::bytes;
use crate::h1::head::Known;
use crate::h1::head::known_names;
use crate::h2::section::SectionFault;

/// Where a field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    Method,
    Scheme,
    Authority,
    Path,
    Protocol,
    Status,
}

/// What a name says, found once for each name that comes as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) known: Known,
    /// As [`crate::h1::head::Field::odd_name`].
    pub(super) odd: bool,
    pub(super) fault: Option<SectionFault>,
}

impl Name {
    /// The name of these bytes.
    pub(super) fn of(name: &[u8]) -> Self {
        if let [b':', ..] = name {
            return Self::pseudo(name);
        }
        let plain = bytes::is_plain_name(name);
        let known = Known::of(name);
        let fault = if !bytes::is_token_text(name) {
            Some(SectionFault::NameToken)
        } else if name.iter().any(u8::is_ascii_uppercase) {
            Some(SectionFault::NameUpperCase)
        } else {
            forbidden(known)
        };
        Self { kind: Kind::Ordinary, known, odd: !plain, fault }
    }

    const fn pseudo(name: &[u8]) -> Self {
        let kind = match name {
            b":method" => Kind::Method,
            b":scheme" => Kind::Scheme,
            b":authority" => Kind::Authority,
            b":path" => Kind::Path,
            b":protocol" => Kind::Protocol,
            b":status" => Kind::Status,
            _ => Kind::Ordinary,
        };
        let fault =
            if matches!(kind, Kind::Ordinary) { Some(SectionFault::PseudoUnknown) } else { None };
        Self { kind, known: Known::Other, odd: false, fault }
    }
}

/// Fields that speak of an HTTP/1 connection (RFC 9113 §8.2.2).
const fn forbidden(known: Known) -> Option<SectionFault> {
    match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyConnection
        | Known::TransferEncoding
        | Known::Upgrade
        | Known::Http2Settings => Some(SectionFault::ConnectionField),
        _ => None,
    }
}

/// One entry of the static table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// `name: value CRLF`
    pub(super) line: &'static [u8],
    pub(super) name_len: usize,
    pub(super) name: Name,
}

impl Row {
    const fn of(line: &'static str, name: &'static str) -> Self {
        let known = known_of(name.as_bytes());
        let name = match name.as_bytes() {
            pseudo @ [b':', ..] => (pseudo.len(), Name::pseudo(pseudo)),
            plain => {
                let fault = forbidden(known);
                (plain.len(), Name { kind: Kind::Ordinary, known, odd: false, fault })
            }
        };
        Self { line: line.as_bytes(), name_len: name.0, name: name.1 }
    }
}

/// [`Known::of`] for a plain name at compile time.
const fn known_of(name: &[u8]) -> Known {
    let mut at = 0;
    while at < known_names().len() {
        let (other, known) = known_names()[at];
        if name.eq_ignore_ascii_case(other) {
            return known;
        }
        at += 1;
    }
    Known::Other
}

/// The index of the first entry of this name, or 0.
pub(super) const fn index_of(name: &[u8]) -> u8 {
    let mut at = 0;
    while at < TABLE.len() {
        let row = TABLE[at];
        if row.line.split_at(row.name_len).0.eq_ignore_ascii_case(name) {
            return at as u8 + 1;
        }
        at += 1;
    }
    0
}

/// The entries, the first of which has the index 1.
pub(super) static ROWS: [Row; 61] = TABLE;

macro_rules! rows {
    ($($name:literal $value:literal,)+) => {
        const TABLE: [Row; 61] = [$(Row::of(concat!($name, ": ", $value, "\r\n"), $name),)+];
    };
}

rows! {
    ":authority" "",
    ":method" "GET",
    ":method" "POST",
    ":path" "/",
    ":path" "/index.html",
    ":scheme" "http",
    ":scheme" "https",
    ":status" "200",
    ":status" "204",
    ":status" "206",
    ":status" "304",
    ":status" "400",
    ":status" "404",
    ":status" "500",
    "accept-charset" "",
    "accept-encoding" "gzip, deflate",
    "accept-language" "",
    "accept-ranges" "",
    "accept" "",
    "access-control-allow-origin" "",
    "age" "",
    "allow" "",
    "authorization" "",
    "cache-control" "",
    "content-disposition" "",
    "content-encoding" "",
    "content-language" "",
    "content-length" "",
    "content-location" "",
    "content-range" "",
    "content-type" "",
    "cookie" "",
    "date" "",
    "etag" "",
    "expect" "",
    "expires" "",
    "from" "",
    "host" "",
    "if-match" "",
    "if-modified-since" "",
    "if-none-match" "",
    "if-range" "",
    "if-unmodified-since" "",
    "last-modified" "",
    "link" "",
    "location" "",
    "max-forwards" "",
    "proxy-authenticate" "",
    "proxy-authorization" "",
    "range" "",
    "referer" "",
    "refresh" "",
    "retry-after" "",
    "server" "",
    "set-cookie" "",
    "strict-transport-security" "",
    "transfer-encoding" "",
    "user-agent" "",
    "vary" "",
    "via" "",
    "www-authenticate" "",
}
