//! ICMP to a VIP: an echo request is answered at once, an error goes to the server that owns the
//! flow it is about, and the rest is the stack's or nobody's.

use crate::frame::{Ethernet, Frame, Icmp, Ipv4, Ipv6, update};
use crate::stage::flow::split;
use crate::stage::parse::Packet;
use packet_abi::gue::OUTER_TTL;
use packet_abi::net::{
    EXTENSION_FRAGMENT, ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_LEN, ICMP_PARAMETER_PROBLEM,
    ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE, ICMPV6_ECHO, ICMPV6_ECHO_REPLY, ICMPV6_PARAMETER_PROBLEM,
    ICMPV6_TIME_EXCEEDED, ICMPV6_TOO_BIG, ICMPV6_UNREACHABLE, IPV4_LEN, IPV4_OFFSET_MASK, IPV6_LEN,
    PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP,
};
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Address, Family, Flow};

/// ICMPv4 source quench, which RFC 6633 took out of use.
const ICMP_SOURCE_QUENCH: u8 = 4;
/// ICMPv4 redirect: of use to a host that routes, never to a VIP.
const ICMP_REDIRECT: u8 = 5;

/// What an ICMP message is to a VIP.
#[derive(Clone, Copy, Debug)]
pub enum Message {
    /// An echo request.
    Echo,
    /// An error about a flow, seen from the flow's client.
    Error(Flow),
}

/// Whether a packet is ICMP of its own family.
#[inline(always)]
#[must_use]
pub fn is_icmp(packet: &Packet) -> bool {
    match packet.family {
        Family::V4 => packet.protocol == PROTOCOL_ICMP,
        Family::V6 => packet.protocol == PROTOCOL_ICMPV6,
    }
}

/// Reads the message.
#[inline(always)]
pub fn read<F: Frame>(frame: &F, packet: &Packet) -> Result<Message, Verdict> {
    let short = Verdict::Drop(Reason::ShortIcmp);
    if packet.l4 + ICMP_LEN > packet.l3 + packet.length {
        return Err(short);
    }
    let header: Icmp = frame.load(packet.l4).ok_or(short)?;
    let unwanted = Verdict::Drop(Reason::UnwantedIcmp);
    let error = match (packet.family, header.kind) {
        (Family::V4, ICMP_ECHO) | (Family::V6, ICMPV6_ECHO) => return Ok(Message::Echo),
        (Family::V4, ICMP_ECHO_REPLY | ICMP_SOURCE_QUENCH | ICMP_REDIRECT)
        | (Family::V6, ICMPV6_ECHO_REPLY) => return Err(unwanted),
        (Family::V4, ICMP_UNREACHABLE | ICMP_TIME_EXCEEDED | ICMP_PARAMETER_PROBLEM) => true,
        (
            Family::V6,
            ICMPV6_UNREACHABLE | ICMPV6_TOO_BIG | ICMPV6_TIME_EXCEEDED | ICMPV6_PARAMETER_PROBLEM,
        ) => true,
        _ => false,
    };
    if !error {
        // Neighbour discovery, timestamps and the like are the stack's.
        return Err(Verdict::Pass(Reason::NotAFlow));
    }
    quoted(frame, packet).map(Message::Error)
}

/// The flow of the quoted packet, which the VIP sent, turned to its client's side.
#[inline(always)]
fn quoted<F: Frame>(frame: &F, packet: &Packet) -> Result<Flow, Verdict> {
    let short = Verdict::Drop(Reason::ShortInner);
    let foreign = Verdict::Drop(Reason::ForeignError);
    let l3 = packet.l4 + ICMP_LEN;
    let ((source, destination), protocol, l4) = match packet.family {
        Family::V4 => {
            let header: Ipv4 = frame.load(l3).ok_or(short)?;
            let header_len = usize::from(header.version_ihl & 15) * 4;
            if header.version_ihl >> 4 != 4 || header_len < IPV4_LEN {
                return Err(foreign);
            }
            // Later fragments have no ports to tell the flow by.
            if u16::from_be(header.fragment) & IPV4_OFFSET_MASK != 0 {
                return Err(short);
            }
            let addresses = (Address::v4(header.source), Address::v4(header.destination));
            (addresses, header.protocol, l3 + header_len)
        }
        Family::V6 => quoted_v6(frame, l3)?,
    };
    if source != packet.destination || (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) {
        return Err(foreign);
    }
    if l4 + 4 > packet.l3 + packet.length {
        return Err(short);
    }
    let [source_port, destination_port] = split(frame.load(l4).ok_or(short)?);
    Ok(Flow {
        family: packet.family,
        protocol,
        source: destination,
        destination: source,
        source_port: destination_port,
        destination_port: source_port,
    })
}

/// Addresses, protocol and transport header of a quoted IPv6 packet. It is cut off, so that its
/// payload length says nothing. A VIP sends no extension headers but a fragment's.
#[inline(always)]
fn quoted_v6<F: Frame>(frame: &F, l3: usize) -> Result<((Address, Address), u8, usize), Verdict> {
    let short = Verdict::Drop(Reason::ShortInner);
    let header: Ipv6 = frame.load(l3).ok_or(short)?;
    if u32::from_be(header.version_class_label) >> 28 != 6 {
        return Err(Verdict::Drop(Reason::ForeignError));
    }
    let addresses = (header.source, header.destination);
    let l4 = l3 + IPV6_LEN;
    if header.next != EXTENSION_FRAGMENT {
        return Ok((addresses, header.next, l4));
    }
    let next: u8 = frame.load(l4).ok_or(short)?;
    let place = u16::from_be(frame.load::<u16>(l4 + 2).ok_or(short)?);
    if place & 0xfff8 != 0 { Err(short) } else { Ok((addresses, next, l4 + FRAGMENT_LEN)) }
}

/// Octets of a fragment header (RFC 8200 §4.5).
const FRAGMENT_LEN: usize = 8;

/// Turns an echo request into its reply, back to where it came from.
#[inline(always)]
pub fn answer_echo<F: Frame>(frame: &mut F, packet: &Packet) -> Verdict {
    match turn(frame, packet) {
        Some(()) => Verdict::Reply(Reason::EchoAnswered),
        None => Verdict::Drop(Reason::ShortIcmp),
    }
}

#[inline(always)]
fn turn<F: Frame>(frame: &mut F, packet: &Packet) -> Option<()> {
    let ethernet: Ethernet = frame.load(0)?;
    let mut icmp: Icmp = frame.load(packet.l4)?;
    let old = u16::from_ne_bytes([icmp.kind, icmp.code]);
    match packet.family {
        Family::V4 => {
            let mut header: Ipv4 = frame.load(packet.l3)?;
            (header.source, header.destination) = (header.destination, header.source);
            let before = u16::from_ne_bytes([header.ttl, header.protocol]);
            header.ttl = OUTER_TTL;
            let after = u16::from_ne_bytes([header.ttl, header.protocol]);
            header.checksum = update(header.checksum, before, after);
            frame.store(packet.l3, header)?;
            icmp.kind = ICMP_ECHO_REPLY;
        }
        Family::V6 => {
            let mut header: Ipv6 = frame.load(packet.l3)?;
            (header.source, header.destination) = (header.destination, header.source);
            header.hops = OUTER_TTL;
            frame.store(packet.l3, header)?;
            icmp.kind = ICMPV6_ECHO_REPLY;
        }
    }
    icmp.checksum = update(icmp.checksum, old, u16::from_ne_bytes([icmp.kind, icmp.code]));
    if icmp.checksum == 0 {
        // Both zeros of one's complement are right but over a message of zeros alone, as an empty
        // IPv4 reply may be: there only this one is.
        icmp.checksum = u16::MAX;
    }
    frame.store(packet.l4, icmp)?;
    let back = Ethernet {
        destination: ethernet.source,
        source: ethernet.destination,
        ethertype: ethernet.ethertype,
    };
    frame.store(0, back)
}
