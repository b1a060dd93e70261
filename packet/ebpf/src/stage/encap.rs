//! Stage 6: wraps the packet for its first hop. The outer source port carries the flow's entropy
//! for ECMP and receive queues; DSCP and ECN are copied; TTL is fresh; the second hop rides along.

use crate::frame::{Ethernet, Frame, Gue, Ipv4, Ipv6, Udp, ipv4_checksum};
use crate::stage::forward::Hops;
use crate::stage::parse::Packet;
use crate::world::{Constants, World};
use packet_abi::gue::{HEADER_LEN, HOP_V4_LEN, HOP_V6_LEN, OUTER_TTL};
use packet_abi::net::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_DONT_FRAGMENT, IPV4_LEN, IPV6_LEN,
    PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP, UDP_LEN, VLAN_LEN,
};
use packet_abi::tables::Encapsulation;
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Address, Family, Server, Trafficset};

/// What stands before the IP header: kept while room is made in front of it.
#[derive(Clone, Copy)]
pub(crate) struct LinkHeader {
    ethernet: Ethernet,
    tags: [u32; 2],
    l3: usize,
}

impl LinkHeader {
    /// Reads it.
    #[inline(always)]
    pub(crate) fn of<F: Frame>(frame: &F, l3: usize) -> Option<Self> {
        let ethernet = frame.load(0)?;
        let mut tags = [0; 2];
        if l3 > ETHERNET_LEN {
            tags[0] = frame.load(ETHERNET_LEN - 2)?;
        }
        if l3 > ETHERNET_LEN + VLAN_LEN {
            tags[1] = frame.load(ETHERNET_LEN - 2 + VLAN_LEN)?;
        }
        Some(Self { ethernet, tags, l3 })
    }

    /// Writes it in front of a packet of another family, back to where it came from or to `to`.
    #[inline(always)]
    pub(crate) fn back<F: Frame>(
        self,
        frame: &mut F,
        ethertype: u16,
        to: Option<[u8; 6]>,
    ) -> Option<()> {
        let destination = to.unwrap_or(self.ethernet.source);
        self.write(frame, destination, self.ethernet.destination, ethertype)
    }

    /// Writes it in front of a packet of another family that goes on as it came.
    #[inline(always)]
    pub(crate) fn on<F: Frame>(self, frame: &mut F, ethertype: u16) -> Option<()> {
        self.write(frame, self.ethernet.destination, self.ethernet.source, ethertype)
    }

    #[inline(always)]
    fn write<F: Frame>(
        self,
        frame: &mut F,
        destination: [u8; 6],
        source: [u8; 6],
        ethertype: u16,
    ) -> Option<()> {
        let ethernet = Ethernet { destination, source, ethertype: ethertype.to_be() };
        frame.store(0, ethernet)?;
        if self.l3 > ETHERNET_LEN {
            frame.store(ETHERNET_LEN - 2, self.tags[0])?;
            if self.l3 > ETHERNET_LEN + VLAN_LEN {
                frame.store(ETHERNET_LEN - 2 + VLAN_LEN, self.tags[1])?;
                frame.store(ETHERNET_LEN - 2 + 2 * VLAN_LEN, ethertype.to_be())?;
            } else {
                frame.store(ETHERNET_LEN - 2 + VLAN_LEN, ethertype.to_be())?;
            }
        }
        Some(())
    }
}

/// Wraps the packet for its hops. One that does not fit gets [`Reason::TooBigSent`].
#[inline(always)]
pub fn send<F: Frame, W: World<F>>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    load: Load,
) -> Result<Verdict, Verdict> {
    let bad = Verdict::Drop(Reason::BadTable);
    let first = world.server(load.hops.first).ok_or(bad)?;
    let second = match load.hops.second {
        0 => None,
        id => Some(world.server(id).ok_or(bad)?.address),
    };
    let fixed = world.fixed();
    let shape = Shape::of(&fixed, load.encapsulation, second.is_some());
    if packet.length + shape.overhead > fixed.mtu as usize {
        return Err(Verdict::Reply(Reason::TooBigSent));
    }
    wrap(frame, &fixed, packet, &load, shape, &first, second)
        .ok_or(Verdict::Drop(Reason::NoHeadroom))?;
    Ok(Verdict::Send(load.reason))
}

/// What is sent where, and why.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Servers to visit.
    pub hops: Hops,
    /// An [`Encapsulation`] as its number.
    pub encapsulation: u8,
    /// Hash of the flow.
    pub hash: u64,
    /// The verdict's reason.
    pub reason: Reason,
}

impl Load {
    /// A packet of a trafficset.
    #[must_use]
    #[inline(always)]
    pub const fn of(set: &Trafficset, hops: Hops, hash: u64, reason: Reason) -> Self {
        Self { hops, encapsulation: set.encapsulation, hash, reason }
    }
}

/// Lengths of the outer headers.
#[derive(Clone, Copy)]
struct Shape {
    encapsulation: u8,
    outer_ip: usize,
    hop: usize,
    overhead: usize,
}

impl Shape {
    #[inline(always)]
    const fn of(fixed: &Constants, encapsulation: u8, second: bool) -> Self {
        let (outer_ip, hop) =
            if fixed.outer_v6 { (IPV6_LEN, HOP_V6_LEN) } else { (IPV4_LEN, HOP_V4_LEN) };
        let overhead = if encapsulation == Encapsulation::IpIp as u8 {
            outer_ip
        } else if encapsulation == Encapsulation::Fou as u8 {
            outer_ip + UDP_LEN
        } else if second {
            outer_ip + UDP_LEN + HEADER_LEN + hop
        } else {
            outer_ip + UDP_LEN + HEADER_LEN
        };
        Self { encapsulation, outer_ip, hop, overhead }
    }
}

/// Octets that the tunnel takes from a packet at most: what senders are told leaves room for it, so
/// that they need not be told again when a bucket gets a second hop.
#[must_use]
#[inline(always)]
pub const fn overhead_max(outer_v6: bool) -> usize {
    if outer_v6 {
        IPV6_LEN + UDP_LEN + HEADER_LEN + HOP_V6_LEN
    } else {
        IPV4_LEN + UDP_LEN + HEADER_LEN + HOP_V4_LEN
    }
}

#[inline(always)]
fn wrap<F: Frame>(
    frame: &mut F,
    fixed: &Constants,
    packet: &Packet,
    load: &Load,
    shape: Shape,
    first: &Server,
    second: Option<Address>,
) -> Option<()> {
    let link = LinkHeader::of(frame, packet.l3)?;
    frame.grow(shape.overhead)?;
    let to = if first.flags & Server::LINK != 0 { Some(first.link) } else { None };
    let ethertype = if fixed.outer_v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    link.back(frame, ethertype, to)?;
    let inner = match packet.family {
        Family::V4 => PROTOCOL_IPV4,
        Family::V6 => PROTOCOL_IPV6,
    };
    let plain = shape.encapsulation == Encapsulation::IpIp as u8;
    let protocol = if plain { inner } else { PROTOCOL_UDP };
    outer(frame, fixed, packet, load, shape, first, protocol)?;
    if plain {
        return Some(());
    }
    let at = packet.l3 + shape.outer_ip;
    let gue = shape.encapsulation == Encapsulation::Gue as u8;
    frame.store(
        at,
        Udp {
            source: (0x8000 | (load.hash >> 48) as u16 & 0x7fff).to_be(),
            destination: if gue { fixed.gue_port } else { fixed.fou_port },
            length: ((packet.length + shape.overhead - shape.outer_ip) as u16).to_be(),
            // Zero, as RFC 6935 allows for tunnels over IPv6 too: hops rewrite the outer addresses.
            checksum: 0,
        },
    )?;
    if !gue {
        return Some(());
    }
    let count = second.is_some() as u8;
    let words = 1 + if second.is_some() { shape.hop / 4 } else { 0 };
    let gue = Gue {
        version_length: words as u8,
        protocol: inner,
        flags: 0,
        private: if fixed.outer_v6 { 0x10 } else { 0 },
        reserved: 0,
        next: 0,
        count,
    };
    frame.store(at + UDP_LEN, gue)?;
    match second {
        None => Some(()),
        Some(hop) if fixed.outer_v6 => {
            frame.store(at + UDP_LEN + HEADER_LEN, hop.high)?;
            frame.store(at + UDP_LEN + HEADER_LEN + 8, hop.low)
        }
        Some(hop) => frame.store(at + UDP_LEN + HEADER_LEN, hop.as_v4()),
    }
}

/// The outer IP header.
#[inline(always)]
fn outer<F: Frame>(
    frame: &mut F,
    fixed: &Constants,
    packet: &Packet,
    load: &Load,
    shape: Shape,
    first: &Server,
    protocol: u8,
) -> Option<()> {
    let length = packet.length + shape.overhead;
    if fixed.outer_v6 {
        let label = (load.hash >> 40) as u32 & 0xf_ffff;
        let header = Ipv6 {
            version_class_label: (6 << 28 | u32::from(packet.tos) << 20 | label).to_be(),
            payload: ((length - IPV6_LEN) as u16).to_be(),
            next: protocol,
            hops: OUTER_TTL,
            source: words(fixed.self_address),
            destination: words(first.address),
        };
        return frame.store(packet.l3, header);
    }
    let mut header = Ipv4 {
        version_ihl: 0x45,
        tos: packet.tos,
        length: (length as u16).to_be(),
        id: 0,
        fragment: IPV4_DONT_FRAGMENT.to_be(),
        ttl: OUTER_TTL,
        protocol,
        checksum: 0,
        source: fixed.self_address.as_v4(),
        destination: first.address.as_v4(),
    };
    header.checksum = ipv4_checksum(&header);
    frame.store(packet.l3, header)
}

/// An address as the four words of a header.
#[inline(always)]
pub(crate) const fn words(address: Address) -> [u32; 4] {
    const fn split(word: u64) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
        [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
    }
    let ([a, b], [c, d]) = (split(address.high), split(address.low));
    [a, b, c, d]
}
