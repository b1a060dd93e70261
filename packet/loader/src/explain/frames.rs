//! Frames of a flow that the programs are asked about, and what is read from those that they made.

use packet_abi::net::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_LEN, IPV6_LEN, PROTOCOL_TCP, PROTOCOL_UDP,
    TCP_ACK, TCP_LEN, TCP_SYN, UDP_LEN,
};
use packet_abi::{gue, net};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Ethernet addresses of the router and of this server in the frames: of the range for local use.
const LINK: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
const TTL: u8 = 64;
/// Octets of payload behind a connection id: what a short QUIC packet has at least.
const PAYLOAD: usize = 24;

/// A packet of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// The first packet of a TCP connection.
    Syn,
    /// A later one.
    Ack,
    /// A UDP packet with a payload of zeros.
    Datagram,
    /// A QUIC packet with a short header and this connection id.
    Quic(Vec<u8>),
}

impl Probe {
    /// Its name in explanations.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Syn => "SYN",
            Self::Ack => "ACK",
            Self::Datagram => "UDP packet",
            Self::Quic(_) => "QUIC packet",
        }
    }

    fn transport(&self, source: u16, destination: u16) -> (u8, Vec<u8>) {
        let mut ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        let flags = match self {
            Self::Syn => TCP_SYN,
            Self::Ack => TCP_ACK,
            Self::Datagram | Self::Quic(_) => {
                let mut payload = match self {
                    Self::Quic(id) => [&[0x40], id.as_slice()].concat(),
                    _ => Vec::new(),
                };
                payload.resize(payload.len() + PAYLOAD, 0);
                ports.extend(((UDP_LEN + payload.len()) as u16).to_be_bytes());
                ports.extend([0, 0]);
                ports.extend(payload);
                return (PROTOCOL_UDP, ports);
            }
        };
        ports.extend([0; 8]);
        ports.extend([(TCP_LEN as u8 / 4) << 4, flags]);
        ports.extend([0xff, 0xff, 0, 0, 0, 0]);
        (PROTOCOL_TCP, ports)
    }

    /// The frame of a packet between two addresses of one family; `None` where they are of two.
    pub(super) fn frame(&self, source: SocketAddr, destination: SocketAddr) -> Option<Vec<u8>> {
        let (protocol, mut transport) = self.transport(source.port(), destination.port());
        let (addresses, ethertype) = match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ([from.octets(), to.octets()].concat(), ETHERTYPE_IPV4)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                ([from.octets(), to.octets()].concat(), ETHERTYPE_IPV6)
            }
            _ => return None,
        };
        let len = transport.len() as u16;
        let mut pseudo = addresses.clone();
        pseudo.extend([[0, protocol], len.to_be_bytes()].concat());
        pseudo.extend(&transport);
        let sum_at = if protocol == PROTOCOL_TCP { 16 } else { 6 };
        let sum = checksum(&pseudo).to_be_bytes();
        for (to, from) in transport.iter_mut().skip(sum_at).zip(sum) {
            *to = from;
        }
        let mut frame = LINK.to_vec();
        frame.extend(ethertype.to_be_bytes());
        if ethertype == ETHERTYPE_IPV4 {
            let mut header = vec![0x45, 0];
            header.extend((IPV4_LEN as u16 + len).to_be_bytes());
            header.extend([0, 0]);
            header.extend(net::IPV4_DONT_FRAGMENT.to_be_bytes());
            header.extend([TTL, protocol, 0, 0]);
            header.extend(addresses);
            let sum = checksum(&header).to_be_bytes();
            for (to, from) in header.iter_mut().skip(10).zip(sum) {
                *to = from;
            }
            frame.extend(header);
        } else {
            frame.extend([0x60, 0, 0, 0]);
            frame.extend(len.to_be_bytes());
            frame.extend([protocol, TTL]);
            frame.extend(addresses);
        }
        frame.extend(transport);
        Some(frame)
    }
}

/// The checksum of the Internet (RFC 1071). UDP's zero, which means none, does not come out.
fn checksum(octets: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for word in octets.chunks(2) {
        let [high, low] = [word.first(), word.get(1)].map(|octet| octet.copied().unwrap_or(0));
        sum += u64::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !(sum as u16) {
        0 => 0xffff,
        sum => sum,
    }
}

/// The outer headers of a frame that the director sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outer {
    /// From whom.
    pub(super) source: IpAddr,
    /// To whom.
    pub(super) destination: IpAddr,
    /// Its UDP source port, if it has one.
    pub(super) port: Option<u16>,
    /// Servers after the destination.
    pub(super) hops: Vec<IpAddr>,
    /// Octets of the outer packet.
    pub(super) octets: usize,
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

fn address(frame: &[u8], at: usize, v6: bool) -> Option<IpAddr> {
    Some(if v6 {
        IpAddr::from(<[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?)
    } else {
        IpAddr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?)
    })
}

/// Reads the outer headers; `gue` is the port of GUE.
pub(super) fn outer(frame: &[u8], gue: u16) -> Option<Outer> {
    let v6 = word(frame, ETHERNET_LEN - 2)? == ETHERTYPE_IPV6;
    let (protocol_at, source_at, address_len, header) =
        if v6 { (6, 8, 16, IPV6_LEN) } else { (9, 12, 4, IPV4_LEN) };
    let octets = frame.len().checked_sub(ETHERNET_LEN)?;
    let l4 = ETHERNET_LEN + header;
    let mut outer = Outer {
        source: address(frame, ETHERNET_LEN + source_at, v6)?,
        destination: address(frame, ETHERNET_LEN + source_at + address_len, v6)?,
        port: None,
        hops: Vec::new(),
        octets,
    };
    if *frame.get(ETHERNET_LEN + protocol_at)? != PROTOCOL_UDP {
        return Some(outer);
    }
    outer.port = word(frame, l4);
    if word(frame, l4 + 2)? == gue {
        let first = l4 + UDP_LEN + gue::HEADER_LEN;
        let count = usize::from(*frame.get(first - 1)?).min(gue::HOPS_MAX);
        for hop in 0..count {
            outer.hops.push(address(frame, first + hop * address_len, v6)?);
        }
    }
    Some(outer)
}

/// The same frame as if it had been sent to `to`; `None` where that is of the other family.
pub(super) fn sent_to(frame: &[u8], to: IpAddr) -> Option<Vec<u8>> {
    let mut frame = frame.to_vec();
    let v6 = word(&frame, ETHERNET_LEN - 2)? == ETHERTYPE_IPV6;
    let (at, octets) = match to {
        IpAddr::V4(to) if !v6 => (ETHERNET_LEN + 16, to.octets().to_vec()),
        IpAddr::V6(to) if v6 => (ETHERNET_LEN + 24, to.octets().to_vec()),
        _ => return None,
    };
    frame.get_mut(at..at + octets.len())?.copy_from_slice(&octets);
    if !v6 {
        let header = ETHERNET_LEN..ETHERNET_LEN + IPV4_LEN;
        frame.get_mut(ETHERNET_LEN + 10..ETHERNET_LEN + 12)?.fill(0);
        let sum = checksum(frame.get(header)?).to_be_bytes();
        frame.get_mut(ETHERNET_LEN + 10..ETHERNET_LEN + 12)?.copy_from_slice(&sum);
    }
    Some(frame)
}

/// An address of the tables: IPv4 as it is written.
pub(super) fn written(octets: [u8; 16]) -> IpAddr {
    let address = Ipv6Addr::from(octets);
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_frames_hold() {
        for (source, destination) in
            [("192.0.2.1:1234", "203.0.113.7:443"), ("[2001:db8::1]:1234", "[2001:db8:7::7]:443")]
        {
            let (source, destination): (SocketAddr, SocketAddr) =
                (source.parse().unwrap(), destination.parse().unwrap());
            for probe in [Probe::Syn, Probe::Ack, Probe::Datagram, Probe::Quic(vec![1; 8])] {
                let frame = probe.frame(source, destination).unwrap();
                let v6 = source.is_ipv6();
                let (l4, from) = if v6 { (54, 22) } else { (34, 26) };
                let protocol = if v6 { frame[20] } else { frame[23] };
                let mut pseudo = frame[from..l4].to_vec();
                pseudo.extend([0, protocol]);
                pseudo.extend(((frame.len() - l4) as u16).to_be_bytes());
                pseudo.extend(&frame[l4..]);
                // A sum that holds folds to all ones, of which the complement is none.
                assert_eq!(checksum(&pseudo), 0xffff, "{}", probe.name());
                assert!(v6 || checksum(&frame[14..34]) == 0xffff);
            }
        }
        let (v4, v6) = ("192.0.2.1:1".parse().unwrap(), "[::1]:1".parse().unwrap());
        assert_eq!(Probe::Syn.frame(v4, v6), None);
    }
}
