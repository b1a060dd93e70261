//! The redirector's first stage: proves that a packet is from the tunnel and for this server, and
//! from there on holds every lie against it.

use crate::frame::{Frame, Gue, Ipv4, Ipv6, Udp};
use crate::stage::parse::Link;
use crate::world::Constants;
use packet_abi::gue::{HEADER_LEN, HOP_V4_LEN, HOP_V6_LEN, HOPS_MAX, PRIVATE_V4, PRIVATE_V6};
use packet_abi::net::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_DONT_FRAGMENT, IPV4_FRAGMENT_MASK, IPV4_LEN, IPV6_LEN,
    PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP, UDP_LEN,
};
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Address, Family};

/// Words of a GUE header's length field.
const LENGTH_MASK: u8 = 0x1f;

/// A packet from the tunnel.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    /// Offset of the outer IP header.
    pub l3: usize,
    /// Family of the outer packet.
    pub outer: Family,
    /// Where the inner packet starts.
    pub inner: Link,
    /// TTL or hop limit of the outer packet.
    pub ttl: u8,
    /// The hop it has to go to from here; `None` is the last hop.
    pub next: Option<Address>,
    /// Offset of the GUE header; `None` where there is none, and so no hops.
    pub gue: Option<usize>,
}

/// Reads the outer headers. Not GUE, FOU or IP in IP to this server's address passes; what lies
/// after that is dropped.
#[inline(always)]
pub fn tunnel<F: Frame>(frame: &mut F, fixed: &Constants, l3: usize) -> Result<Tunnel, Verdict> {
    let short = Verdict::Pass(Reason::ShortFrame);
    let ethertype = u16::from_be(frame.load(l3 - 2).ok_or(short)?);
    let not_ours = Verdict::Pass(Reason::NotTunnel);
    let (outer, ttl, protocol, l4, fragment) = if fixed.outer_v6 {
        if ethertype != ETHERTYPE_IPV6 {
            return Err(not_ours);
        }
        let header: Ipv6 = frame.load(l3).ok_or(short)?;
        if header.destination != fixed.self_address {
            return Err(not_ours);
        }
        (Family::V6, header.hops, header.next, l3 + IPV6_LEN, false)
    } else {
        if ethertype != ETHERTYPE_IPV4 {
            return Err(not_ours);
        }
        let header: Ipv4 = frame.load(l3).ok_or(short)?;
        if header.version_ihl != 0x45 || header.destination != fixed.self_address.as_v4() {
            return Err(not_ours);
        }
        let place = u16::from_be(header.fragment) & IPV4_FRAGMENT_MASK & !IPV4_DONT_FRAGMENT;
        (Family::V4, header.ttl, header.protocol, l3 + IPV4_LEN, place != 0)
    };
    let plain = |inner| Tunnel { l3, outer, inner, ttl, next: None, gue: None };
    match protocol {
        PROTOCOL_IPV4 | PROTOCOL_IPV6 if fragment => Err(Verdict::Drop(Reason::TunnelFragment)),
        PROTOCOL_IPV4 => Ok(plain(Link { l3: l4, family: Family::V4 })),
        PROTOCOL_IPV6 => Ok(plain(Link { l3: l4, family: Family::V6 })),
        PROTOCOL_UDP => {
            let udp: Udp = frame.load(l4).ok_or(not_ours)?;
            if udp.destination != fixed.gue_port && udp.destination != fixed.fou_port {
                return Err(not_ours);
            }
            if fragment {
                return Err(Verdict::Drop(Reason::TunnelFragment));
            }
            // Where a packet lies in pieces, more than its outer headers is asked for only now.
            frame.reach(l4 + UDP_LEN + HEADER_LEN + HOPS_MAX * HOP_V6_LEN);
            if udp.destination == fixed.gue_port {
                gue(frame, plain(Link { l3: l4 + UDP_LEN, family: Family::V4 }))
            } else {
                foo(frame, plain(Link { l3: l4 + UDP_LEN, family: Family::V4 }))
            }
        }
        _ => Err(not_ours),
    }
}

/// FOU: the inner packet's first four bits tell its family.
#[inline(always)]
fn foo<F: Frame>(frame: &F, tunnel: Tunnel) -> Result<Tunnel, Verdict> {
    let first: u8 = frame.load(tunnel.inner.l3).ok_or(Verdict::Drop(Reason::TunnelShort))?;
    let family = match first >> 4 {
        4 => Family::V4,
        6 => Family::V6,
        _ => return Err(Verdict::Drop(Reason::InnerMalformed)),
    };
    Ok(Tunnel { inner: Link { l3: tunnel.inner.l3, family }, ..tunnel })
}

/// GUE: checks what must be as a director writes it, and takes the next hop out.
#[inline(always)]
fn gue<F: Frame>(frame: &F, tunnel: Tunnel) -> Result<Tunnel, Verdict> {
    let at = tunnel.inner.l3;
    let header: Gue = frame.load(at).ok_or(Verdict::Drop(Reason::TunnelShort))?;
    let bad = |reason| Err(Verdict::Drop(reason));
    if header.version_length & !LENGTH_MASK != 0 {
        return bad(Reason::GueVersion);
    }
    if header.flags != 0 {
        return bad(Reason::GueFlags);
    }
    let family = match header.protocol {
        PROTOCOL_IPV4 => Family::V4,
        PROTOCOL_IPV6 => Family::V6,
        _ => return bad(Reason::GueProtocol),
    };
    let (version, hop_len) = match tunnel.outer {
        Family::V4 => (PRIVATE_V4, HOP_V4_LEN),
        Family::V6 => (PRIVATE_V6, HOP_V6_LEN),
    };
    if header.private >> 4 != version {
        return bad(Reason::GuePrivateVersion);
    }
    if header.private & 15 != 0 || header.reserved != 0 {
        return bad(Reason::GueReserved);
    }
    let (next, count) = (usize::from(header.next), usize::from(header.count));
    if count > HOPS_MAX || next > count {
        return bad(Reason::GueHops);
    }
    let hops = count * hop_len;
    if usize::from(header.version_length) * 4 != HEADER_LEN - 4 + hops {
        return bad(Reason::GueLength);
    }
    let inner = Link { l3: at + HEADER_LEN + hops, family };
    let next = if next == count {
        None
    } else {
        let hop = hop(frame, tunnel.outer, at + HEADER_LEN + next * hop_len);
        Some(hop.ok_or(Verdict::Drop(Reason::TunnelShort))?)
    };
    Ok(Tunnel { inner, next, gue: Some(at), ..tunnel })
}

#[inline(always)]
fn hop<F: Frame>(frame: &F, outer: Family, at: usize) -> Option<Address> {
    match outer {
        Family::V4 => Some(Address::v4(frame.load(at)?)),
        Family::V6 => Some(Address { high: frame.load(at)?, low: frame.load(at + 8)? }),
    }
}
