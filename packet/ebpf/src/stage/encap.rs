//! Stage 6: wraps the packet for its first hop. The outer source port carries the flow's entropy
//! for ECMP and receive queues; DSCP and ECN are copied; TTL is fresh; the second hop rides along.

use crate::frame::{Foo, Frame, Ipv4, Outer, Plain, ipv4_checksum};
use crate::stage::forward::Hops;
use crate::stage::parse::Packet;
use crate::world::{Constants, World};
use packet_abi::gue::{self, HEADER_LEN, HOP_V4_LEN, HOP_V6_LEN, OUTER_TTL};
use packet_abi::net::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_DONT_FRAGMENT, IPV4_LEN, IPV6_LEN,
    PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP, UDP_LEN, VLAN_LEN,
};
use packet_abi::tables::Encapsulation;
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Address, Family, Server, Trafficset};

/// What stands before the IP header: kept while room is made in front of it. Addresses are words,
/// as eBPF would move their octets one by one.
#[derive(Clone, Copy)]
pub(crate) struct LinkHeader {
    /// The destination and the first two octets of the source.
    first: u64,
    /// The rest of the source.
    rest: u32,
    tags: [u32; 2],
    l3: usize,
}

/// Bits of an Ethernet address.
const MAC_BITS: u32 = 48;
/// The bits of an Ethernet address in a word.
const MAC_MASK: u64 = (1 << MAC_BITS) - 1;

impl LinkHeader {
    /// Reads it.
    #[inline(always)]
    pub(crate) fn of<F: Frame>(frame: &F, l3: usize) -> Option<Self> {
        let (first, rest) = (frame.load(0)?, frame.load(8)?);
        let mut tags = [0; 2];
        if l3 > ETHERNET_LEN {
            tags[0] = frame.load(ETHERNET_LEN - 2)?;
        }
        if l3 > ETHERNET_LEN + VLAN_LEN {
            tags[1] = frame.load(ETHERNET_LEN - 2 + VLAN_LEN)?;
        }
        Some(Self { first, rest, tags, l3 })
    }

    /// The destination as the low bits of a word, in the order of loads.
    #[inline(always)]
    fn destination(&self) -> u64 {
        u64::from_le(self.first) & MAC_MASK
    }

    /// The source, as the low bits of a word.
    #[inline(always)]
    fn source(&self) -> u64 {
        u64::from_le(self.first) >> MAC_BITS | u64::from(u32::from_le(self.rest)) << 16
    }

    /// Writes it in front of a packet of another family, back to where it came from or to `to`.
    #[inline(always)]
    pub(crate) fn back<F: Frame>(
        self,
        frame: &mut F,
        ethertype: u16,
        to: Option<[u8; 6]>,
    ) -> Option<()> {
        let destination = match to {
            Some([a, b, c, d, e, f]) => u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
            None => self.source(),
        };
        self.write(frame, destination, self.destination(), ethertype)
    }

    /// Writes it in front of a packet of another family that goes on as it came.
    #[inline(always)]
    pub(crate) fn on<F: Frame>(self, frame: &mut F, ethertype: u16) -> Option<()> {
        self.write(frame, self.destination(), self.source(), ethertype)
    }

    #[inline(always)]
    fn write<F: Frame>(
        self,
        frame: &mut F,
        destination: u64,
        source: u64,
        ethertype: u16,
    ) -> Option<()> {
        frame.store(0, (destination | source << MAC_BITS).to_le())?;
        frame.store(8, ((source >> 16) as u32).to_le())?;
        if self.l3 > ETHERNET_LEN {
            frame.store(ETHERNET_LEN - 2, self.tags[0])?;
            if self.l3 > ETHERNET_LEN + VLAN_LEN {
                frame.store(ETHERNET_LEN - 2 + VLAN_LEN, self.tags[1])?;
            }
        }
        frame.store(self.l3 - 2, ethertype.to_be())
    }
}

/// Wraps the packet for its hops. One that does not fit gets [`Reason::TooBigSent`].
#[inline(always)]
pub fn send<F: Frame, W: World<F>>(
    frame: &mut F,
    world: &W,
    packet: &Packet,
    load: Load<'_>,
) -> Result<Verdict, Verdict> {
    let fixed = world.fixed();
    let shape = Shape::of(&fixed, load.encapsulation, load.hops.second.is_some());
    if packet.length + shape.overhead > fixed.mtu as usize {
        return Err(Verdict::Reply(Reason::TooBigSent));
    }
    let link = LinkHeader::of(frame, packet.l3).ok_or(Verdict::Drop(Reason::NoHeadroom))?;
    frame.grow(shape.overhead).ok_or(Verdict::Drop(Reason::NoHeadroom))?;
    let first = load.hops.first.server;
    let to = if first.flags & Server::LINK != 0 { Some(first.link) } else { None };
    let written = if fixed.outer_v6 {
        link.back(frame, ETHERTYPE_IPV6, to).and_then(|()| v6(frame, &fixed, packet, &load, shape))
    } else {
        link.back(frame, ETHERTYPE_IPV4, to).and_then(|()| v4(frame, &fixed, packet, &load, shape))
    };
    written.ok_or(Verdict::Drop(Reason::NoHeadroom))?;
    Ok(Verdict::Send(load.reason))
}

/// What is sent where, and why.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Servers to visit.
    pub hops: Hops<'a>,
    /// An [`Encapsulation`] as its number.
    pub encapsulation: u8,
    /// Hash of the flow.
    pub hash: u64,
    /// The verdict's reason.
    pub reason: Reason,
}

impl<'a> Load<'a> {
    /// A packet of a trafficset.
    #[must_use]
    #[inline(always)]
    pub const fn of(set: &Trafficset, hops: Hops<'a>, hash: u64, reason: Reason) -> Self {
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
    /// IP in IP.
    #[inline(always)]
    const fn plain(self) -> bool {
        self.encapsulation == Encapsulation::IpIp as u8
    }

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

/// The outer headers over IPv4.
#[inline(always)]
fn v4<F: Frame>(
    frame: &mut F,
    fixed: &Constants,
    packet: &Packet,
    load: &Load<'_>,
    shape: Shape,
) -> Option<()> {
    let protocol = if shape.plain() { inner(packet) } else { PROTOCOL_UDP };
    let mut header = Ipv4 {
        version_ihl: 0x45,
        tos: packet.tos,
        length: ((packet.length + shape.overhead) as u16).to_be(),
        id: 0,
        fragment: IPV4_DONT_FRAGMENT.to_be(),
        ttl: OUTER_TTL,
        protocol,
        checksum: 0,
        source: fixed.self_address.as_v4(),
        destination: load.hops.first.server.address.as_v4(),
    };
    header.checksum = ipv4_checksum(&header);
    let ip = [
        octets([header.version_ihl, header.tos]) | u32::from(header.length) << 16,
        u32::from(header.fragment) << 16,
        octets([header.ttl, header.protocol]) | u32::from(header.checksum) << 16,
        header.source,
        header.destination,
    ];
    lay(frame, fixed, packet, load, shape, ip, Address::as_v4)
}

/// The outer headers over IPv6.
#[inline(always)]
fn v6<F: Frame>(
    frame: &mut F,
    fixed: &Constants,
    packet: &Packet,
    load: &Load<'_>,
    shape: Shape,
) -> Option<()> {
    let protocol = if shape.plain() { inner(packet) } else { PROTOCOL_UDP };
    let label = (load.hash >> 40) as u32 & 0xf_ffff;
    let payload = (packet.length + shape.overhead - IPV6_LEN) as u16;
    let [a, b, c, d] = words(fixed.self_address);
    let [e, f, g, h] = words(load.hops.first.server.address);
    let ip = [
        (6 << 28 | u32::from(packet.tos) << 20 | label).to_be(),
        u32::from(payload.to_be()) | octets([protocol, OUTER_TTL]) << 16,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
    ];
    lay(frame, fixed, packet, load, shape, ip, words)
}

/// Writes the outer headers behind an IP header of `N` words, whose family has hops as `hop` says.
#[inline(always)]
fn lay<F: Frame, T: Plain, const N: usize>(
    frame: &mut F,
    fixed: &Constants,
    packet: &Packet,
    load: &Load<'_>,
    shape: Shape,
    ip: [u32; N],
    hop: impl Fn(Address) -> T,
) -> Option<()> {
    if shape.plain() {
        return frame.store(packet.l3, ip);
    }
    let udp = udp(fixed, packet, load, shape);
    if shape.encapsulation != Encapsulation::Gue as u8 {
        return frame.store(packet.l3, Foo { ip, udp });
    }
    frame.store(packet.l3, Outer { ip, udp, gue: gue(packet, load, shape) })?;
    match load.hops.second {
        None => Some(()),
        Some(second) => frame.store(packet.l3 + size_of::<Outer<N>>(), hop(second.server.address)),
    }
}

/// The protocol number of the packet in the tunnel.
#[inline(always)]
const fn inner(packet: &Packet) -> u8 {
    match packet.family {
        Family::V4 => PROTOCOL_IPV4,
        Family::V6 => PROTOCOL_IPV6,
    }
}

/// Two octets as the low half of a word in the order of loads.
#[inline(always)]
const fn octets(two: [u8; 2]) -> u32 {
    u16::from_ne_bytes(two) as u32
}

/// The UDP header, without a checksum: hops rewrite the outer addresses, and RFC 6935 allows zero
/// for tunnels over IPv6 too.
#[inline(always)]
fn udp(fixed: &Constants, packet: &Packet, load: &Load<'_>, shape: Shape) -> [u32; 2] {
    let source = (0x8000 | (load.hash >> 48) as u16 & 0x7fff).to_be();
    let gue = shape.encapsulation == Encapsulation::Gue as u8;
    let destination = if gue { fixed.gue_port } else { fixed.fou_port };
    let length = ((packet.length + shape.overhead - shape.outer_ip) as u16).to_be();
    [u32::from(source) | u32::from(destination) << 16, u32::from(length)]
}

/// GUE and its private data before the hops.
#[inline(always)]
fn gue(packet: &Packet, load: &Load<'_>, shape: Shape) -> [u32; 2] {
    let hops = usize::from(load.hops.second.is_some());
    let [a, b, c, d, e, f, g, h] = gue::header(inner(packet), shape.hop, hops);
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
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
