//! Stage 1: finds the IP packet in the frame and the transport header in the packet. Until an
//! address is known to be a VIP nothing is dropped: `destination` passes what it cannot read, and
//! `network` runs after it and may call a packet bad.

use crate::frame::{Frame, Ipv4, Ipv6, hidden};
use crate::world::World;
use packet_abi::net::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN,
    EXTENSION_DESTINATION, EXTENSION_FRAGMENT, EXTENSION_HOP_BY_HOP, EXTENSION_MOBILITY,
    EXTENSION_ROUTING, IPV4_DONT_FRAGMENT, IPV4_FRAGMENT_MASK, IPV4_LEN, IPV6_EXTENSIONS_MAX,
    IPV6_LEN, VLAN_LEN, VLAN_TAGS_MAX,
};
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Address, Family};

/// Where the IP packet starts.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Offset of the IP header: 14, 18 or 22.
    pub l3: usize,
    /// Its family.
    pub family: Family,
}

/// An IP packet whose lengths have been checked.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Family.
    pub family: Family,
    /// Offset of the IP header.
    pub l3: usize,
    /// Offset of what follows it and its extensions.
    pub l4: usize,
    /// Octets from `l3` on; the frame may have padding behind.
    pub length: usize,
    /// Protocol of what follows.
    pub protocol: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// IPv4: the DF bit. IPv6 packets are never fragmented on their way.
    pub whole: bool,
    /// Whether it is a fragment.
    pub fragment: bool,
    /// From whom.
    pub source: Address,
    /// To whom.
    pub destination: Address,
}

/// The family of a frame without VLAN tags.
#[inline(always)]
pub fn untagged<F: Frame>(frame: &F) -> Option<Family> {
    match u16::from_be(frame.load::<u16>(ETHERNET_LEN - 2)?) {
        ETHERTYPE_IPV4 => Some(Family::V4),
        ETHERTYPE_IPV6 => Some(Family::V6),
        _ => None,
    }
}

/// Finds the IP header, past VLAN tags.
#[inline(always)]
pub fn link<F: Frame>(frame: &F) -> Result<Link, Verdict> {
    let short = Verdict::Pass(Reason::ShortFrame);
    let first = frame.load::<u16>(ETHERNET_LEN - 2).ok_or(short)?;
    // Counted without a branch: verifiers then follow one frame, not one for each number of tags.
    let mut tags = is_tag(first);
    let second = frame.load::<u16>(ETHERNET_LEN - 2 + tags * VLAN_LEN).ok_or(short)?;
    tags += tags & is_tag(second);
    let l3 = ETHERNET_LEN + (tags & VLAN_TAGS_MAX_MASK) * VLAN_LEN;
    let ethertype = u16::from_be(frame.load::<u16>(l3 - 2).ok_or(short)?);
    match ethertype {
        ETHERTYPE_IPV4 => Ok(Link { l3, family: Family::V4 }),
        ETHERTYPE_IPV6 => Ok(Link { l3, family: Family::V6 }),
        _ => Err(Verdict::Pass(Reason::NotIp)),
    }
}

/// Bits of a number of tags.
const VLAN_TAGS_MAX_MASK: usize = 3;
const _: () = assert!(VLAN_TAGS_MAX <= VLAN_TAGS_MAX_MASK);

/// 1 where an EtherType in wire order starts a VLAN tag, else 0.
#[inline(always)]
fn is_tag(ethertype: u16) -> usize {
    let ethertype = usize::from(ethertype);
    let other = hidden(ethertype ^ usize::from(ETHERTYPE_VLAN.to_be()));
    let outer = hidden(ethertype ^ usize::from(ETHERTYPE_QINQ.to_be()));
    // Zero less one borrows from the top bit, and nothing else here does.
    (other.wrapping_sub(1) | outer.wrapping_sub(1)) >> (usize::BITS - 1)
}

/// The address a packet is for.
#[inline(always)]
pub fn destination<F: Frame>(frame: &F, link: Link) -> Result<Address, Verdict> {
    let short = Verdict::Pass(Reason::ShortFrame);
    match link.family {
        Family::V4 => {
            let header: Ipv4 = frame.load(link.l3).ok_or(short)?;
            Ok(Address::v4(header.destination))
        }
        Family::V6 => {
            let header: Ipv6 = frame.load(link.l3).ok_or(short)?;
            Ok(header.destination)
        }
    }
}

/// Whose lies a parser reports, and as what: the director's and the redirector's reasons differ.
#[derive(Clone, Copy, Debug)]
pub struct Blame {
    /// The IPv4 header lies.
    pub ipv4: Reason,
    /// An IPv6 header lies.
    pub ipv6: Reason,
    /// Too many extension headers.
    pub chain: Reason,
}

/// Reads an IP packet that is ours; what lies is dropped under `blame`.
#[inline(always)]
pub fn network<F: Frame, W: World<F>>(
    frame: &F,
    world: &W,
    link: Link,
    blame: Blame,
) -> Result<Packet, Verdict> {
    match link.family {
        Family::V4 => ipv4(frame, link.l3, Verdict::Drop(blame.ipv4)),
        Family::V6 => ipv6(frame, world, link.l3, blame),
    }
}

#[inline(always)]
fn ipv4<F: Frame>(frame: &F, l3: usize, bad: Verdict) -> Result<Packet, Verdict> {
    let header: Ipv4 = frame.load(l3).ok_or(bad)?;
    let header_len = usize::from(header.version_ihl & 15) * 4;
    let length = usize::from(u16::from_be(header.length));
    let lies = header.version_ihl >> 4 != 4
        || header_len < IPV4_LEN
        || length < header_len
        || l3 + length > frame.octets();
    if lies {
        return Err(bad);
    }
    let fragment = u16::from_be(header.fragment);
    Ok(Packet {
        family: Family::V4,
        l3,
        l4: l3 + header_len,
        length,
        protocol: header.protocol,
        tos: header.tos,
        whole: fragment & IPV4_DONT_FRAGMENT != 0,
        fragment: fragment & IPV4_FRAGMENT_MASK & !IPV4_DONT_FRAGMENT != 0,
        source: Address::v4(header.source),
        destination: Address::v4(header.destination),
    })
}

#[inline(always)]
fn ipv6<F: Frame, W: World<F>>(
    frame: &F,
    world: &W,
    l3: usize,
    blame: Blame,
) -> Result<Packet, Verdict> {
    let bad = Verdict::Drop(blame.ipv6);
    let header: Ipv6 = frame.load(l3).ok_or(bad)?;
    let first = u32::from_be(header.version_class_label);
    let length = IPV6_LEN + usize::from(u16::from_be(header.payload));
    if first >> 28 != 6 || l3 + length > frame.octets() {
        return Err(bad);
    }
    let mut packet = Packet {
        family: Family::V6,
        l3,
        l4: l3 + IPV6_LEN,
        length,
        protocol: header.next,
        tos: (first >> 20) as u8,
        whole: true,
        fragment: false,
        source: header.source,
        destination: header.destination,
    };
    if is_extension(packet.protocol) {
        extensions(frame, world, &mut packet, blame)?;
    }
    Ok(packet)
}

/// Note: where the header is that is walked next.
const AT: usize = 5;
/// Bits of a place behind extension headers: each has 2,048 octets at most.
const AT_MASK: u32 = 0x3fff;
const _: () = assert!(
    ETHERNET_LEN + VLAN_TAGS_MAX * VLAN_LEN + IPV6_LEN + IPV6_EXTENSIONS_MAX * 2048
        <= AT_MASK as usize
);

/// Walks extension headers (RFC 8200 §4). Those that encrypt or authenticate end the walk: what is
/// behind them is not ours to read, and no trafficset serves their protocols.
#[inline(always)]
fn extensions<F: Frame, W: World<F>>(
    frame: &F,
    world: &W,
    packet: &mut Packet,
    blame: Blame,
) -> Result<(), Verdict> {
    let bad = Verdict::Drop(blame.ipv6);
    world.note(AT, packet.l4 as u32);
    for _ in 0..IPV6_EXTENSIONS_MAX {
        let kind = packet.protocol;
        if !is_extension(kind) {
            break;
        }
        let l4 = (world.noted(AT) & AT_MASK) as usize;
        let [next, words]: [u8; 2] = frame.load::<u16>(l4).ok_or(bad)?.to_ne_bytes();
        let octets = if kind == EXTENSION_FRAGMENT {
            let place = u16::from_be(frame.load::<u16>(l4 + 2).ok_or(bad)?);
            // A lone fragment (RFC 6946) is whole: offset 0 and no more to come.
            packet.fragment |= place & 0xfff9 != 0;
            8
        } else {
            8 + usize::from(words) * 8
        };
        world.note(AT, (l4 + octets) as u32);
        packet.protocol = next;
        if l4 + octets > packet.l3 + packet.length {
            return Err(bad);
        }
        // What follows a fragment's header is there in the first fragment only.
        if packet.fragment {
            break;
        }
    }
    packet.l4 = (world.noted(AT) & AT_MASK) as usize;
    if is_extension(packet.protocol) && !packet.fragment {
        return Err(Verdict::Drop(blame.chain));
    }
    Ok(())
}

#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        EXTENSION_HOP_BY_HOP
            | EXTENSION_ROUTING
            | EXTENSION_FRAGMENT
            | EXTENSION_DESTINATION
            | EXTENSION_MOBILITY
    )
}
