//! What the rules ask of a packet, read from the octets of its frame: the oracle's parser.
//!
//! It follows docs/algorithms/shield.md and shares no code with `emit`, which does the same in the
//! kernel: a fault in one shows as a difference.

/// VLAN tags that are looked behind.
pub const TAGS_MAX: usize = 2;
/// IPv6 extension headers that are looked behind, as the director does.
pub const EXTENSIONS_MAX: usize = 6;

/// What rules can ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Whether it is IPv6.
    pub v6: bool,
    /// The protocol behind the extension headers.
    pub protocol: u8,
    /// Part of a larger packet.
    pub fragment: bool,
    /// IPv4 options, or extension headers other than for fragments.
    pub options: bool,
    /// TTL or hop limit.
    pub ttl: u8,
    /// By the IP header.
    pub length: u32,
    /// As a number of 32 or 128 bits.
    pub source: u128,
    /// As a number of 32 or 128 bits.
    pub destination: u128,
    /// Source and destination port.
    pub ports: Option<(u16, u16)>,
    /// TCP flags.
    pub flags: Option<u8>,
    /// Octets behind the transport header that are in the frame.
    pub payload: &'a [u8],
    /// Octets of the whole frame.
    pub octets: usize,
}

/// The IP header's part of it.
struct Network {
    v6: bool,
    protocol: u8,
    fragment: bool,
    /// A fragment that holds the transport header, or a whole packet, with headers that were read
    /// to their end.
    first: bool,
    options: bool,
    ttl: u8,
    length: u32,
    source: u128,
    destination: u128,
    /// Octets of headers.
    headers: usize,
}

/// Reads a frame; `None` where it is no IP packet with a whole fixed header, which no rule judges.
#[must_use]
pub fn read(frame: &[u8]) -> Option<Packet<'_>> {
    let mut at = 14;
    let mut kind = u16_at(frame, 12)?;
    for _ in 0..TAGS_MAX {
        if kind == 0x8100 || kind == 0x88a8 {
            kind = u16_at(frame, at + 2)?;
            at += 4;
        }
    }
    let ip = frame.get(at..)?;
    let network = match kind {
        0x0800 => v4(ip)?,
        0x86dd => v6(ip)?,
        _ => return None,
    };
    // What lies past the length of the IP header is padding of the wire.
    let end = ip.len().min(network.length as usize);
    let behind = ip.get(network.headers..end).filter(|_| network.first);
    let (ports, flags, payload) = behind.map_or((None, None, None), |b| transport(&network, b));
    Some(Packet {
        v6: network.v6,
        protocol: network.protocol,
        fragment: network.fragment,
        options: network.options,
        ttl: network.ttl,
        length: network.length,
        source: network.source,
        destination: network.destination,
        ports,
        flags,
        payload: payload.unwrap_or_default(),
        octets: frame.len(),
    })
}

type Transport<'a> = (Option<(u16, u16)>, Option<u8>, Option<&'a [u8]>);

/// Ports, flags and payload of a packet whose transport header starts at `behind`.
fn transport<'a>(network: &Network, behind: &'a [u8]) -> Transport<'a> {
    let ports = || Some((u16_at(behind, 0)?, u16_at(behind, 2)?));
    let least = match network.protocol {
        6 => 20,
        17 => 8,
        132 => 12,
        _ => return (None, None, Some(behind)),
    };
    if behind.len() < least {
        return (None, None, None);
    }
    if network.protocol != 6 {
        return (ports(), None, behind.get(least..));
    }
    let header = behind.get(12).map_or(0, |octet| usize::from(octet >> 4) * 4);
    let payload = if header < 20 { None } else { behind.get(header..) };
    (ports(), behind.get(13).copied(), payload)
}

fn v4(ip: &[u8]) -> Option<Network> {
    let fixed: &[u8; 20] = ip.first_chunk()?;
    let headers = usize::from(fixed[0] & 15) * 4;
    let length = u16_at(fixed, 2)?;
    if fixed[0] >> 4 != 4 || headers < 20 || usize::from(length) < headers {
        return None;
    }
    let fragment = u16_at(fixed, 6)?;
    Some(Network {
        v6: false,
        protocol: fixed[9],
        fragment: fragment & 0x3fff != 0,
        first: fragment & 0x1fff == 0,
        options: headers > 20,
        ttl: fixed[8],
        length: u32::from(length),
        source: number(fixed.get(12..16)?),
        destination: number(fixed.get(16..20)?),
        headers,
    })
}

fn v6(ip: &[u8]) -> Option<Network> {
    let fixed: &[u8; 40] = ip.first_chunk()?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let length = u32::from(u16_at(fixed, 4)?) + 40;
    let mut network = Network {
        v6: true,
        protocol: fixed[6],
        fragment: false,
        first: true,
        options: false,
        ttl: fixed[7],
        length,
        source: number(fixed.get(8..24)?),
        destination: number(fixed.get(24..40)?),
        headers: 40,
    };
    let end = ip.len().min(length as usize);
    extensions(ip.get(..end).unwrap_or_default(), &mut network);
    Some(network)
}

/// Walks extension headers. Where one is cut off, or too many follow, the last number seen is the
/// protocol and nothing is known of what lies behind.
fn extensions(ip: &[u8], network: &mut Network) {
    for _ in 0..EXTENSIONS_MAX {
        let fragment = network.protocol == 44;
        if !is_extension(network.protocol) {
            return;
        }
        let Some(header) = ip.get(network.headers..).and_then(<[u8]>::first_chunk::<8>) else {
            network.first = false;
            return;
        };
        let more = usize::from(header[1]);
        let len = match network.protocol {
            44 => 8,
            51 => (more + 2) * 4,
            _ => (more + 1) * 8,
        };
        network.protocol = header[0];
        network.headers += len;
        if fragment {
            let word = u16::from_be_bytes([header[2], header[3]]);
            network.fragment |= word & 0xfff9 != 0;
            if word & 0xfff8 != 0 {
                network.first = false;
                return;
            }
        } else {
            network.options = true;
        }
    }
    network.first &= !is_extension(network.protocol);
}

/// Hop-by-hop and destination options, routing, fragment, authentication.
fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | 44 | 51 | 60)
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    octets.get(at..)?.first_chunk().map(|pair| u16::from_be_bytes(*pair))
}

fn number(octets: &[u8]) -> u128 {
    octets.iter().fold(0, |sum, octet| sum << 8 | u128::from(*octet))
}
