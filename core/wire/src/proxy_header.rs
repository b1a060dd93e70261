//! The PROXY protocol, versions 1 and 2: how a front tells who its client is. Reading is strict;
//! whether the peer may be believed is up to the caller.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::bytes;
use crate::faults::faults;

/// Bytes of a version 1 header with its CRLF: the longest that its specification allows.
pub const V1_BYTES_MAX: usize = 107;
/// Bytes of a version 2 header in front of the addresses.
const V2_FIXED: usize = 16;
/// Bytes of addresses and TLVs in version 2: with the fixed part what fits into one segment
/// of any path (the specification counts on no more).
pub const V2_PAYLOAD_MAX: usize = 536;

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

faults! {
    /// What is wrong with a PROXY header; the connection is closed without a reply.
    ProxyHeaderError {
        NoSignature, "no_signature", "the connection does not start with a PROXY header";
        TooLong, "too_long", "the PROXY header is longer than its limit";
        BadLine, "bad_line", "the version 1 line breaks its grammar";
        BadVersion, "bad_version", "the version is not 2";
        BadCommand, "bad_command", "the command is neither LOCAL nor PROXY";
        BadFamily, "bad_family", "the address family or the transport is unknown";
        TooShort, "too_short", "the length leaves no room for the addresses";
        BadTlv, "bad_tlv", "the TLVs do not fill the header exactly";
    }
}

/// What a PROXY header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection was made for a client.
    Addresses {
        /// Address of the client.
        source: SocketAddr,
        /// Address that the client connected to.
        destination: SocketAddr,
    },
    /// The front speaks for itself, as in a health check.
    Local,
    /// The front does not know the client, or not by an IP address.
    Unknown,
}

/// What has been read of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// What is there may start a header; more is needed.
    Partial,
    /// A whole header.
    Done {
        /// Its length in bytes; what follows belongs to the client.
        len: usize,
        /// What it says.
        header: ProxyHeader,
    },
}

/// Reads the header that a connection starts with.
///
/// # Errors
/// The broken rule, as soon as it is certain.
pub fn parse(buf: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if starts(buf, SIGNATURE_V2) {
        return if buf.len() < V2_FIXED { fixed_part(buf) } else { version_2(buf) };
    }
    if starts(buf, SIGNATURE_V1) {
        return version_1(buf);
    }
    Err(ProxyHeaderError::NoSignature)
}

/// True where `buf` starts with `signature` or is the start of it.
fn starts(buf: &[u8], signature: &[u8]) -> bool {
    buf.iter().zip(signature).all(|(a, b)| a == b)
}

fn version_1(buf: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let window = buf.get(..V1_BYTES_MAX).unwrap_or(buf);
    let Some(end) = memchr::memchr2(b'\r', b'\n', window) else {
        return match window.len() {
            V1_BYTES_MAX => Err(ProxyHeaderError::TooLong),
            _ => Ok(Parsed::Partial),
        };
    };
    match window.get(end..end + 2) {
        Some(b"\r\n") => {}
        Some(_) => return Err(ProxyHeaderError::BadLine),
        None if window.len() == V1_BYTES_MAX => return Err(ProxyHeaderError::TooLong),
        None if window.get(end) == Some(&b'\r') => return Ok(Parsed::Partial),
        None => return Err(ProxyHeaderError::BadLine),
    }
    let line = window.get(SIGNATURE_V1.len()..end).ok_or(ProxyHeaderError::BadLine)?;
    let header = line_1(line).ok_or(ProxyHeaderError::BadLine)?;
    Ok(Parsed::Done { len: end + 2, header })
}

/// The line behind `PROXY `.
fn line_1(line: &[u8]) -> Option<ProxyHeader> {
    let text = core::str::from_utf8(line).ok()?;
    let mut parts = text.split(' ');
    let family = parts.next()?;
    if family == "UNKNOWN" {
        return Some(ProxyHeader::Unknown);
    }
    let mut address = || -> Option<IpAddr> {
        let part = parts.next()?;
        match family {
            "TCP4" => part.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => part.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (from, to) = (address()?, address()?);
    let (from_port, to_port) = (port(parts.next()?)?, port(parts.next()?)?);
    if parts.next().is_some() {
        return None;
    }
    Some(ProxyHeader::Addresses {
        source: SocketAddr::new(from, from_port),
        destination: SocketAddr::new(to, to_port),
    })
}

fn port(text: &str) -> Option<u16> {
    if text.len() > 1 && text.starts_with('0') {
        return None;
    }
    u16::try_from(bytes::decimal(text.as_bytes())?).ok()
}

/// Judges a version 2 header of which the fixed part is not all there.
fn fixed_part(buf: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    if let Some(&command) = buf.get(12) {
        check_command(command)?;
    }
    Ok(Parsed::Partial)
}

/// True for PROXY, false for LOCAL.
fn check_command(byte: u8) -> Result<bool, ProxyHeaderError> {
    match (byte >> 4, byte & 15) {
        (2, 0) => Ok(false),
        (2, 1) => Ok(true),
        (2, _) => Err(ProxyHeaderError::BadCommand),
        _ => Err(ProxyHeaderError::BadVersion),
    }
}

fn version_2(buf: &[u8]) -> Result<Parsed, ProxyHeaderError> {
    let Some([command, family, high, low]) = buf.get(12..V2_FIXED).and_then(|b| b.first_chunk())
    else {
        return Ok(Parsed::Partial);
    };
    let proxied = check_command(*command)?;
    let payload = usize::from(u16::from_be_bytes([*high, *low]));
    if payload > V2_PAYLOAD_MAX {
        return Err(ProxyHeaderError::TooLong);
    }
    let len = V2_FIXED + payload;
    let Some(payload) = buf.get(V2_FIXED..len) else {
        return Ok(Parsed::Partial);
    };
    let header = if proxied { addresses(*family, payload)? } else { ProxyHeader::Local };
    Ok(Parsed::Done { len, header })
}

fn addresses(family: u8, payload: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let (size, header) = match family {
        0x00 => return Ok(ProxyHeader::Unknown),
        0x11 | 0x12 => (12, pair(payload, ip_4)),
        0x21 | 0x22 => (36, pair(payload, ip_6)),
        0x31 | 0x32 => (216, Some(ProxyHeader::Unknown)),
        _ => return Err(ProxyHeaderError::BadFamily),
    };
    let tlvs = payload.get(size..).ok_or(ProxyHeaderError::TooShort)?;
    check_tlvs(tlvs)?;
    header.ok_or(ProxyHeaderError::TooShort)
}

fn ip_4(bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (octets, rest) = bytes.split_first_chunk::<4>()?;
    Some((IpAddr::from(*octets), rest))
}

fn ip_6(bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
    let (octets, rest) = bytes.split_first_chunk::<16>()?;
    Some((IpAddr::from(*octets), rest))
}

type ReadIp = fn(&[u8]) -> Option<(IpAddr, &[u8])>;

/// Two addresses, then two ports.
fn pair(payload: &[u8], ip: ReadIp) -> Option<ProxyHeader> {
    let (from, rest) = ip(payload)?;
    let (to, rest) = ip(rest)?;
    let [a, b, c, d] = rest.first_chunk()?;
    Some(ProxyHeader::Addresses {
        source: SocketAddr::new(from, u16::from_be_bytes([*a, *b])),
        destination: SocketAddr::new(to, u16::from_be_bytes([*c, *d])),
    })
}

/// TLVs are skipped, but each must end where the header ends or before.
fn check_tlvs(mut rest: &[u8]) -> Result<(), ProxyHeaderError> {
    while !rest.is_empty() {
        let ([_, high, low], behind) =
            rest.split_first_chunk::<3>().ok_or(ProxyHeaderError::BadTlv)?;
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        rest = behind.get(len..).ok_or(ProxyHeaderError::BadTlv)?;
    }
    Ok(())
}

/// Both addresses in one family: IPv4 becomes a mapped IPv6 address beside an IPv6 one.
fn alike(a: SocketAddr, b: SocketAddr) -> (SocketAddr, SocketAddr) {
    if a.is_ipv4() == b.is_ipv4() {
        return (a, b);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(a), mapped(b))
}

/// Appends a version 1 header for a client at `source` that connected to `destination`.
pub fn write_v1(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    let (source, destination) = alike(source, destination);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let line = format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    out.extend_from_slice(line.as_bytes());
}

/// Appends a version 2 header for a client at `source` that connected to `destination`, without
/// TLVs; the length is that of what is written.
pub fn write_v2(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    let (source, destination) = alike(source, destination);
    let mut payload = Vec::with_capacity(36);
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => payload.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => payload.extend_from_slice(&ip.octets()),
        }
    }
    payload.extend_from_slice(&source.port().to_be_bytes());
    payload.extend_from_slice(&destination.port().to_be_bytes());
    out.extend_from_slice(SIGNATURE_V2);
    out.extend_from_slice(&[0x21, if source.is_ipv4() { 0x11 } else { 0x21 }]);
    // At most 36 bytes, so the length always fits.
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(&payload);
}

/// Appends a version 2 header of a connection that the proxy makes for itself, as a probe does.
pub fn write_v2_local(out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE_V2);
    out.extend_from_slice(&[0x20, 0x00, 0, 0]);
}

#[cfg(test)]
mod tests;
