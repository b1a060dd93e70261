//! A packet that does not fit into the tunnel is answered: "fragmentation needed" (RFC 792, RFC
//! 1191) or "packet too big" (RFC 4443 §3.2), from the VIP, with the size that fits.

use crate::frame::{Frame, Icmp, Ipv4, Ipv6, fold, ipv4_checksum};
use crate::stage::encap::{LinkHeader, overhead_max, words};
use crate::stage::icmp;
use crate::stage::parse::Packet;
use crate::world::World;
use packet_abi::Family;
use packet_abi::gue::OUTER_TTL;
use packet_abi::net::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP_FRAGMENTATION_NEEDED, ICMP_LEN, ICMP_UNREACHABLE,
    ICMPV6_TOO_BIG, IPV4_LEN, IPV6_LEN, PROTOCOL_ICMP, PROTOCOL_ICMPV6,
};
use packet_abi::verdict::{Reason, Verdict};

/// Octets of the packet that an IPv4 answer quotes: the longest header and 68 octets of what
/// follows, where RFC 792 asks for 8.
pub const QUOTE_V4: usize = 128;
/// Octets of the packet that an IPv6 answer quotes: as much as fits into the least MTU of IPv6.
pub const QUOTE_V6: usize = MTU_V6_MIN - IPV6_LEN - ICMP_LEN;
/// Least MTU of IPv6 (RFC 8200 §5).
pub const MTU_V6_MIN: usize = 1280;
/// Octets summed at a time: a quarter of the quotation.
const SUM_V6: usize = QUOTE_V6 / 4;

const _: () = assert!(SUM_V6 * 4 == QUOTE_V6 && SUM_V6.is_multiple_of(4));

/// Answers, or drops under a reason what may not be answered.
#[inline(always)]
pub fn answer<F: Frame, W: World<F>>(frame: &mut F, world: &W, packet: &Packet) -> Verdict {
    if icmp::is_icmp(packet) || !is_host(packet) {
        return Verdict::Drop(Reason::TooBigError);
    }
    if !packet.whole {
        return Verdict::Drop(Reason::TooBigUnfragmented);
    }
    if !world.may_reply() {
        return Verdict::Drop(Reason::TooBigLimited);
    }
    let fixed = world.fixed();
    let mtu = (fixed.mtu as usize).saturating_sub(overhead_max(fixed.outer_v6));
    let told = match packet.family {
        Family::V4 => v4(frame, packet, mtu),
        Family::V6 => v6(frame, packet, mtu),
    };
    match told {
        Some(()) => Verdict::Reply(Reason::TooBigSent),
        None => Verdict::Drop(Reason::NoHeadroom),
    }
}

/// Whether the source may be one host's. To others no error is sent: this network, loopback,
/// multicast, broadcast (RFC 1812 §4.3.2.7, RFC 4443 §2.4 e.6).
#[inline(always)]
fn is_host(packet: &Packet) -> bool {
    match packet.family {
        Family::V4 => {
            let [first, ..] = packet.source.as_v4().to_ne_bytes();
            first != 0 && first != 127 && first < 224
        }
        Family::V6 => {
            let (high, low) = packet.source.numbers();
            (high != 0 || low > 1) && high >> 56 != 0xff
        }
    }
}

#[inline(always)]
fn v4<F: Frame>(frame: &mut F, packet: &Packet, mtu: usize) -> Option<()> {
    let grown = IPV4_LEN + ICMP_LEN;
    let link = LinkHeader::of(frame, packet.l3)?;
    frame.grow(grown)?;
    frame.cut(packet.l3 + grown + QUOTE_V4)?;
    link.back(frame, ETHERTYPE_IPV4, None)?;
    let mut header = Ipv4 {
        version_ihl: 0x45,
        tos: 0,
        length: ((grown + QUOTE_V4) as u16).to_be(),
        id: 0,
        fragment: 0,
        ttl: OUTER_TTL,
        protocol: PROTOCOL_ICMP,
        checksum: 0,
        source: packet.destination.as_v4(),
        destination: packet.source.as_v4(),
    };
    header.checksum = ipv4_checksum(&header);
    frame.store(packet.l3, header)?;
    let mut icmp = Icmp {
        kind: ICMP_UNREACHABLE,
        code: ICMP_FRAGMENTATION_NEEDED,
        checksum: 0,
        rest: (mtu as u32).to_be(),
    };
    let at = packet.l3 + IPV4_LEN;
    let sum = frame.sum::<QUOTE_V4>(at + ICMP_LEN, head(&icmp))?;
    icmp.checksum = !fold_all(sum);
    frame.store(at, icmp)
}

#[inline(always)]
fn v6<F: Frame>(frame: &mut F, packet: &Packet, mtu: usize) -> Option<()> {
    let grown = IPV6_LEN + ICMP_LEN;
    let link = LinkHeader::of(frame, packet.l3)?;
    frame.grow(grown)?;
    frame.cut(packet.l3 + grown + QUOTE_V6)?;
    link.back(frame, ETHERTYPE_IPV6, None)?;
    let payload = ((ICMP_LEN + QUOTE_V6) as u16).to_be();
    let (source, destination) = (packet.destination, packet.source);
    let header = Ipv6 {
        version_class_label: (6_u32 << 28).to_be(),
        payload,
        next: PROTOCOL_ICMPV6,
        hops: OUTER_TTL,
        source,
        destination,
    };
    frame.store(packet.l3, header)?;
    let mut icmp = Icmp { kind: ICMPV6_TOO_BIG, code: 0, checksum: 0, rest: (mtu as u32).to_be() };
    let at = packet.l3 + IPV6_LEN;
    // The pseudo header (RFC 8200 §8.1): addresses, length, next header.
    let mut sum = head(&icmp) + u32::from(payload) + u32::from(u16::from(PROTOCOL_ICMPV6).to_be());
    for word in words(source) {
        sum += (word & 0xffff) + (word >> 16);
    }
    for word in words(destination) {
        sum += (word & 0xffff) + (word >> 16);
    }
    let quote = at + ICMP_LEN;
    sum = frame.sum::<SUM_V6>(quote, sum)?;
    sum = frame.sum::<SUM_V6>(quote + SUM_V6, sum)?;
    sum = frame.sum::<SUM_V6>(quote + 2 * SUM_V6, sum)?;
    sum = frame.sum::<SUM_V6>(quote + 3 * SUM_V6, sum)?;
    icmp.checksum = !fold_all(sum);
    frame.store(at, icmp)
}

/// The sum of an ICMP header whose checksum is zero.
#[inline(always)]
fn head(icmp: &Icmp) -> u32 {
    u32::from(u16::from_ne_bytes([icmp.kind, icmp.code])) + (icmp.rest & 0xffff) + (icmp.rest >> 16)
}

/// Folds a sum that may use all 32 bits: the kernel's helper carries around in 32.
#[inline(always)]
fn fold_all(sum: u32) -> u16 {
    fold((sum & 0xffff) + (sum >> 16))
}
