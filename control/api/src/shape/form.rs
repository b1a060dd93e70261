//! What texts look like.

use crate::id;
use std::net::IpAddr;

/// What a text looks like. Lengths are said apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Anything.
    Any,
    /// Letters, digits, hyphens and underscores of ASCII.
    Name,
    /// An object's id.
    Id,
    /// A UUID in lower case.
    Uuid,
    /// A DNS name (RFC 1123 §2.1), underscores allowed as in service names.
    Host,
    /// The same, or with `*` as its first label.
    HostPattern,
    /// A DNS name or an IP address.
    Address,
    /// The same, with a port if need be: what a Host field holds.
    Authority,
    /// Empty, or a DNS name.
    HostOrNone,
    /// A field name or method (RFC 9110 §5.6.2).
    Token,
    /// A field value without line breaks (RFC 9110 §5.5).
    FieldValue,
    /// Empty, or an absolute path with a query if need be.
    Target,
    /// Empty, or codes and classes with commas: `200,2xx`.
    Codes,
    /// One code or class.
    Code,
    /// An http or https URL with a host and no user.
    Url,
    /// An e-mail address.
    Email,
    /// Empty, or e-mail addresses with commas.
    Emails,
    /// Two capital letters: ISO 3166-1 alpha-2.
    Country,
    /// A code of capital letters, digits, hyphens and underscores: regions and PoPs.
    Place,
    /// A header's name, or `cookie:` and names of cookies with commas.
    AffinityHeader,
}

impl Form {
    /// What it looks like, for a message that says what is valid.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Any => "text",
            Self::Name => "only letters, digits, hyphens and underscores",
            Self::Id => "an id of 32 lower-case hexadecimal digits",
            Self::Uuid => "a UUID in lower case",
            Self::Host => "a host name",
            Self::HostPattern => "a host name, with \"*\" as its first label if need be",
            Self::Address => "a host name or an IP address",
            Self::Authority => "a host name or an IP address, with a port if need be",
            Self::HostOrNone => "empty or a host name",
            Self::Token => "a name without spaces and separators",
            Self::FieldValue => "the value of a header field without line breaks",
            Self::Target => "empty or a path that starts with \"/\", without spaces",
            Self::Codes => "empty or status codes and classes such as \"200,2xx\"",
            Self::Code => "a status code or a class such as \"2xx\"",
            Self::Url => "an http or https URL with a host and without a user",
            Self::Email => "an e-mail address",
            Self::Emails => "empty or e-mail addresses separated by commas",
            Self::Country => "a country code of two capital letters",
            Self::Place => "a code of capital letters and digits",
            Self::AffinityHeader => "the name of a header, or \"cookie:\" and names of cookies",
        }
    }

    /// Whether a text looks like it.
    #[must_use]
    pub fn holds(self, text: &str) -> bool {
        let all = |fits: fn(u8) -> bool| !text.is_empty() && text.bytes().all(fits);
        match self {
            Self::Any => true,
            Self::Name => all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')),
            Self::Id => id::is_id(text),
            Self::Uuid => id::is_uuid(text),
            Self::Host => is_host(text),
            Self::HostPattern => is_host(text.strip_prefix("*.").unwrap_or(text)),
            Self::Address => is_address(text),
            Self::Authority => is_authority(text),
            Self::HostOrNone => text.is_empty() || is_host(text),
            Self::Token => all(is_token),
            Self::FieldValue => text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)),
            Self::Target => {
                text.is_empty() || (text.starts_with('/') && all(|b| b > b' ' && b < 0x7f))
            }
            Self::Codes => text.is_empty() || text.split(',').all(|code| is_code(code.trim())),
            Self::Code => is_code(text),
            Self::Url => is_url(text),
            Self::Email => is_email(text),
            Self::Emails => text.is_empty() || text.split(',').all(|one| is_email(one.trim())),
            Self::Country => text.len() == 2 && all(|b| b.is_ascii_uppercase()),
            Self::Place => {
                all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
            }
            Self::AffinityHeader => match text.strip_prefix("cookie:") {
                Some(names) => names.split(',').all(|name| is_name(name.trim())),
                None => is_name(text),
            },
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Labels of 1 to 63 octets, 253 in all; a name whose last label is a number would be taken for an
/// address by URL parsers.
fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok() || is_host(text)
}

fn is_authority(text: &str) -> bool {
    if is_address(text) {
        return true;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(is_v6);
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if text.ends_with(']') {
        return text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(is_v6);
    }
    let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits && port.parse::<u16>().is_ok_and(|port| port > 0);
    let host = match inner {
        Some(inner) => is_v6(inner),
        None => !host.contains(':') && is_address(host),
    };
    port && host
}

fn is_v6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

/// 100 to 599, or `1xx` to `5xx`.
fn is_code(text: &str) -> bool {
    match text.as_bytes() {
        [b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => true,
        [b'1'..=b'5', tens, ones] => tens.is_ascii_digit() && ones.is_ascii_digit(),
        _ => false,
    }
}

fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = text.bytes().all(|byte| byte > b' ' && byte < 0x7f);
    rest.is_some_and(|rest| {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        plain && rest.get(..end).is_some_and(is_authority)
    })
}

fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(name, host)| {
        let plain = |b: u8| b.is_ascii_graphic() && !b"\",:;<>@[]\\()".contains(&b);
        (1..=64).contains(&name.len()) && name.bytes().all(plain) && is_host(host)
    })
}
