//! Frames and fleets of the packet rows.

use core_forwarding::image::{Dissection, Room, ServerSpec, Strategy, TrafficsetSpec};
use core_forwarding::trie::Network;
use core_forwarding::{Image, Member, State};
use packet_abi::{Address, Encapsulation, Trafficset};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result};

/// The measuring server's own tunnel address.
pub(crate) const SELF: Address = Address::v4(u32::from_ne_bytes([10, 0, 0, 1]));
/// Octets of Ethernet.
const ETHERNET: usize = 14;

/// Addresses that a row draws from, by chance: enough to meet nearly every prefix, and few enough
/// to lie in a second-level cache, so that the drawing itself is not what is measured.
const DESTINATIONS: usize = 1 << 14;

/// What the packets of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP segment with ACK.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// A QUIC packet with a routable connection id of server 2.
    Quic,
}

/// A number from a seed, by xorshift.
pub(crate) fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// The frame of a row, with 64 octets at least, as the shortest that Ethernet carries.
pub(crate) fn frame(kind: Kind, v6: bool) -> Vec<u8> {
    let transport = if kind == Kind::Tcp { 20 } else { 8 };
    let payload = if kind == Kind::Quic { 20 } else { 6 };
    let mut frame = vec![0; ETHERNET];
    frame[0..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    let length = transport + payload;
    let protocol = if kind == Kind::Tcp { 6 } else { 17 };
    if v6 {
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame.extend([0x60, 0, 0, 0, 0, length as u8, protocol, 64]);
        frame.extend(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 9).octets());
        frame.extend([0; 16]);
    } else {
        frame[12..14].copy_from_slice(&[0x08, 0]);
        frame.extend([0x45, 0, 0, 20 + length as u8, 0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend([198, 51, 100, 9]);
        frame.extend([0; 4]);
    }
    frame.extend([0x9c, 0x40, 0x01, 0xbb]);
    if kind == Kind::Tcp {
        frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    } else {
        frame.extend([0, length as u8, 0, 0]);
    }
    let mut body = vec![0; payload];
    if kind == Kind::Quic {
        // A short header; config id 0, server id 2 in two octets, a nonce.
        body[..4].copy_from_slice(&[0x40, 0, 0, 2]);
    }
    frame.extend(body);
    frame
}

/// A server of the fleet: id and address follow from its number.
pub(crate) fn server(id: u16) -> ServerSpec {
    let [high, low] = id.to_be_bytes();
    ServerSpec {
        member: Member { id, capacity: 100, state: State::Active },
        address: IpAddr::V4(Ipv4Addr::new(10, 0, high, low)),
        link: None,
    }
}

/// How VIPs of a row lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vips {
    /// One address.
    One,
    /// 1,000 prefixes of mixed lengths, 300,000 addresses and more.
    Mixed,
    /// 10,000 prefixes, each with a protocol and a port range.
    Ports,
}

/// A generation, and addresses in it to draw from: a power of two.
pub(crate) struct Row {
    /// The generation.
    pub(crate) image: Image,
    /// Destinations.
    pub(crate) destinations: Vec<Address>,
}

/// Builds a generation of `servers` servers and tables of `buckets`.
pub(crate) fn row(vips: Vips, v6: bool, kind: Kind, servers: u16, buckets: u32) -> Result<Row> {
    // Server 1, which measures, owns nothing, so that every packet is sent.
    let fleet: Vec<ServerSpec> = (2..servers + 2).map(server).collect();
    let mut seed = 0x5eed_u64;
    let networks = networks(vips, v6, &mut seed);
    let set = |name: String, networks: &[(IpAddr, u8)], ports: Vec<(u16, u16)>| TrafficsetSpec {
        name,
        networks: networks.iter().filter_map(|(at, bits)| Network::new(*at, *bits)).collect(),
        tcp: vips != Vips::Ports || kind == Kind::Tcp,
        udp: vips != Vips::Ports || kind != Kind::Tcp,
        ports,
        servers: Vec::new(),
        strategy: Strategy::TwoSlot(buckets),
        dissection: if kind == Kind::Quic {
            Dissection::Quic { config: 0, server_len: 2, id_len: 8 }
        } else {
            Dissection::FourTuple
        },
        encapsulation: Encapsulation::Gue,
        flags: Trafficset::UDP_FLOW,
    };
    let sets: Vec<TrafficsetSpec> = if vips == Vips::Ports {
        // Twenty policies, each with a range that holds port 443 and one that does not.
        let chunks = networks.chunks(networks.len().div_ceil(20));
        let ports = |at: u16| vec![(400, 500 + at), (8000, 8000 + at)];
        (0_u16..).zip(chunks).map(|(at, chunk)| set(format!("set{at}"), chunk, ports(at))).collect()
    } else {
        vec![set("all".to_owned(), &networks, Vec::new())]
    };
    let image = Image::build(&fleet, &sets, Room::default()).context("the tables of a row")?;
    let count = if vips == Vips::One { 1 } else { DESTINATIONS };
    let destinations = (0..count).map(|_| {
        let at = next(&mut seed) as usize % networks.len();
        inside(networks[at], &mut seed)
    });
    Ok(Row { destinations: destinations.collect(), image })
}

/// The generation of a fleet of one, which measures: every flow to its one VIP is its own, and SYNs
/// are answered by cookie.
pub(crate) fn served(v6: bool) -> Result<Row> {
    let mut seed = 0x5eed_u64;
    let networks = networks(Vips::One, v6, &mut seed);
    let set = TrafficsetSpec {
        name: "served".to_owned(),
        networks: networks.iter().filter_map(|(at, bits)| Network::new(*at, *bits)).collect(),
        tcp: true,
        udp: true,
        ports: Vec::new(),
        servers: Vec::new(),
        strategy: Strategy::TwoSlot(128),
        dissection: Dissection::FourTuple,
        encapsulation: Encapsulation::Gue,
        flags: Trafficset::UDP_FLOW | Trafficset::COOKIES,
    };
    let image = Image::build(&[server(1)], &[set], Room::default()).context("a row's tables")?;
    let destinations = networks.iter().map(|network| inside(*network, &mut seed)).collect();
    Ok(Row { destinations, image })
}

/// Prefixes: address with host bits cleared, and length.
fn networks(vips: Vips, v6: bool, seed: &mut u64) -> Vec<(IpAddr, u8)> {
    let count = match vips {
        Vips::One => 1,
        Vips::Mixed => 1000,
        Vips::Ports => 10_000,
    };
    let mut networks = BTreeSet::new();
    while networks.len() < count {
        let random = next(seed);
        // Between 16 and 4,096 addresses each of IPv4.
        let bits = if vips == Vips::One { 32 } else { 20 + (random >> 40) as u8 % 9 };
        networks.insert(if v6 {
            let bits = bits + 36;
            let address = u128::from(0x2001_0db8_0000_0000 | (random & 0xffff_ffff)) << 64;
            (IpAddr::V6(Ipv6Addr::from(address >> (128 - bits) << (128 - bits))), bits)
        } else {
            let address = 0x0b00_0000 | (random as u32 & 0x3fff_ffff);
            (IpAddr::V4(Ipv4Addr::from(address >> (32 - bits) << (32 - bits))), bits)
        });
    }
    networks.into_iter().collect()
}

/// An address by chance within a prefix.
fn inside((network, bits): (IpAddr, u8), seed: &mut u64) -> Address {
    let random = u128::from(next(seed)) << 64 | u128::from(next(seed));
    match network {
        IpAddr::V4(network) => {
            let host = (random as u32).checked_shr(u32::from(bits)).unwrap_or(0);
            Address::v4((u32::from(network) | host).to_be())
        }
        IpAddr::V6(network) => {
            let host = random.checked_shr(u32::from(bits)).unwrap_or(0);
            Address::of((u128::from(network) | host).to_be_bytes())
        }
    }
}
