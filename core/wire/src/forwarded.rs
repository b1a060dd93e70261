//! The client's address out of `X-Forwarded-For` and `Forwarded` (RFC 7239), and an element of
//! the latter for the origin. Only what trusted hops wrote counts: the walk goes from the right
//! and ends at the first address that is not trusted.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::bytes;

/// Elements looked at from the right; a longer way from client to edge is a loop or a lie.
pub const HOPS_MAX: usize = 32;

/// Which of the two fields the values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded`: a list of `for=…;proto=…` elements.
    Forwarded,
}

/// The address of the client, as far as trusted hops tell it.
///
/// `peer` is the address of the connection and `values` are those of all fields of the kind, in
/// their order. Where an element has no address ("unknown", a name, nonsense), the hop that wrote
/// it is the last one known.
#[must_use]
pub fn client<'a>(
    peer: IpAddr,
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
    kind: Kind,
    trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut hops = 0;
    for value in values.rev() {
        let mut rest = value;
        loop {
            if hops == HOPS_MAX || !trusted(client) {
                return client;
            }
            let (before, element) = last_element(rest, kind);
            let element = bytes::trim(element);
            // Empty elements do not count (RFC 9110 §5.6.1), but are bounded like others.
            hops += 1;
            if !element.is_empty() {
                let named = match kind {
                    Kind::XForwardedFor => address(element),
                    Kind::Forwarded => forwarded_for(element),
                };
                match named {
                    Some(ip) => client = ip.to_canonical(),
                    None => return client,
                }
            }
            match before {
                Some(before) => rest = before,
                None => break,
            }
        }
    }
    client
}

/// Splits at the last comma outside of a quoted string.
fn last_element(value: &[u8], kind: Kind) -> (Option<&[u8]>, &[u8]) {
    let comma = match kind {
        Kind::XForwardedFor => memchr::memrchr(b',', value),
        Kind::Forwarded => {
            // From the right a quote is a delimiter where an even number of backslashes is in
            // front of it; a comma between two of them belongs to the string.
            let mut quoted = false;
            let mut at = value.len();
            loop {
                let Some(found) = memchr::memrchr2(b',', b'"', value.get(..at).unwrap_or_default())
                else {
                    break None;
                };
                at = found;
                if value.get(found) == Some(&b'"') {
                    let escapes = value
                        .get(..found)
                        .unwrap_or_default()
                        .iter()
                        .rev()
                        .take_while(|&&b| b == b'\\')
                        .count();
                    quoted ^= escapes % 2 == 0;
                } else if !quoted {
                    break Some(found);
                }
            }
        }
    };
    match comma.and_then(|at| Some((value.get(..at)?, value.get(at + 1..)?))) {
        Some((before, last)) => (Some(before), last),
        None => (None, value),
    }
}

/// The address of the `for` parameter of an element.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(element) = rest {
        let end = parameter_end(element);
        rest = element.get(end + 1..);
        let pair = bytes::trim(element.get(..end)?);
        let Some(equals) = memchr::memchr(b'=', pair) else {
            continue;
        };
        if !pair.get(..equals)?.eq_ignore_ascii_case(b"for") {
            continue;
        }
        if found.is_some() {
            return None;
        }
        let value = pair.get(equals + 1..)?;
        let value = match value {
            [b'"', inner @ .., b'"'] => inner,
            _ => value,
        };
        found = Some(address(value)?);
    }
    found
}

/// The offset of the first semicolon outside of a quoted string, or the length of `element`.
fn parameter_end(element: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    let end = element.iter().position(|&b| {
        let ends = b == b';' && !quoted;
        quoted ^= b == b'"' && !escaped;
        escaped = quoted && b == b'\\' && !escaped;
        ends
    });
    end.unwrap_or(element.len())
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = core::str::from_utf8(text).ok()?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip);
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// What the proxy tells an origin in `Forwarded`.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    /// Address of the client.
    pub client: IpAddr,
    /// The authority that the client asked for; left out where it cannot be quoted.
    pub host: Option<&'a [u8]>,
    /// The client came over TLS.
    pub https: bool,
}

impl Element<'_> {
    /// Appends `for=…;host=…;proto=…`, with quotes where they are needed.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.client.to_canonical() {
            IpAddr::V4(ip) => out.extend_from_slice(format!("for={ip}").as_bytes()),
            IpAddr::V6(ip) => out.extend_from_slice(format!("for=\"[{ip}]\"").as_bytes()),
        }
        let clean = |host: &[u8]| {
            !host.is_empty()
                && host.iter().all(|&b| bytes::is_value(b) && !matches!(b, b'"' | b'\\'))
        };
        if let Some(host) = self.host.filter(|host| clean(host)) {
            let quote: &[u8] = if bytes::is_token_text(host) { b"" } else { b"\"" };
            for part in [b";host=", quote, host, quote] {
                out.extend_from_slice(part);
            }
        }
        let proto: &[u8] = if self.https { b";proto=https" } else { b";proto=http" };
        out.extend_from_slice(proto);
    }
}

#[cfg(test)]
mod tests;
