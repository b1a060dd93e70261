//! The redirector: what a server does with a packet that a director or another redirector sent it.
//! Decapsulate it for a local socket, or pass it on to its next hop; the last hop takes it
//! whatever it is.

use crate::frame::{Ethernet, Frame, Ipv4, ipv4_checksum};
use crate::stage::decap::{self, Tunnel};
use crate::stage::encap::words;
use crate::stage::flow::{self, Seen, Way};
use crate::stage::icmp::{self, Message};
use crate::stage::local;
use crate::stage::parse::{self, Blame};
use crate::world::{Constants, Socket, World};
use packet_abi::gue::HEADER_LEN;
use packet_abi::net::{ETHERNET_LEN, IPV4_LEN, IPV6_LEN, UDP_LEN};
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Address, Family};

/// Whose lies the redirector reports: those of the tunnelled packet.
pub const BLAME: Blame = Blame {
    ipv4: Reason::InnerMalformed,
    ipv6: Reason::InnerMalformed,
    chain: Reason::InnerExtensionChain,
};

/// Octets of the tunnelled packet that a decision looks at: an ICMPv6 error with usual extension
/// headers in it and in what it quotes.
pub const INNER_REACH: usize = 256;

/// What is to be done, beside the verdict.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// For a local packet: the octets to take off behind the Ethernet header, and the family
    /// inside.
    pub take: Option<(usize, Family)>,
}

/// Decides about a frame; rewrites the outer headers where it is to be forwarded.
#[inline(always)]
pub fn decide<F: Frame, W: World<F>>(frame: &mut F, world: &W) -> Decision {
    let fixed = world.fixed();
    let tunnel = match decap::tunnel(frame, &fixed, ETHERNET_LEN) {
        Ok(tunnel) => tunnel,
        Err(verdict) => return Decision { verdict, take: None },
    };
    frame.reach(tunnel.inner.l3 + INNER_REACH);
    match stages(frame, world, &tunnel) {
        Ok(verdict) => {
            let take = tunnel.inner.l3 - ETHERNET_LEN;
            Decision { verdict, take: Some((take, tunnel.inner.family)) }
        }
        Err(Stop::Drop(reason)) => Decision { verdict: Verdict::Drop(reason), take: None },
        Err(Stop::Forward(next)) => {
            let verdict = match forward(frame, &fixed, &tunnel, next) {
                Ok(verdict) | Err(verdict) => verdict,
            };
            Decision { verdict, take: None }
        }
    }
}

/// Why a packet does not stay.
enum Stop {
    /// It is bad.
    Drop(Reason),
    /// It is for the next hop.
    Forward(Address),
}

impl Stop {
    /// What the director's verdict about the inner packet means in a tunnel.
    #[inline(always)]
    fn of(verdict: Verdict, next: Address) -> Self {
        match verdict {
            // Neither TCP nor UDP nor of an error: no socket can be asked, so the next hop decides.
            Verdict::Pass(_) => Self::Forward(next),
            verdict => match verdict.reason() {
                Reason::ShortTcp | Reason::ShortUdp | Reason::ShortIcmp | Reason::ShortInner => {
                    Self::Drop(Reason::InnerShort)
                }
                Reason::UnwantedIcmp => Self::Drop(Reason::InnerEchoReply),
                reason => Self::Drop(reason),
            },
        }
    }
}

#[inline(always)]
fn stages<F: Frame, W: World<F>>(frame: &F, world: &W, tunnel: &Tunnel) -> Result<Verdict, Stop> {
    if tunnel.gue.is_none() {
        return Ok(Verdict::Local(Reason::TunnelPlain));
    }
    let Some(next) = tunnel.next else {
        return Ok(Verdict::Local(Reason::TunnelLastHop));
    };
    let packet = parse::network(frame, world, tunnel.inner, BLAME)
        .map_err(|verdict| Stop::of(verdict, next))?;
    if packet.fragment {
        return Err(Stop::Drop(Reason::InnerFragment));
    }
    let seen = if icmp::is_icmp(&packet) {
        match icmp::read(frame, &packet) {
            Ok(Message::Echo) => return Ok(Verdict::Local(Reason::TunnelEcho)),
            Ok(Message::Error(flow)) => Seen { flow, way: Way::Error },
            Err(verdict) => return Err(Stop::of(verdict, next)),
        }
    } else {
        flow::transport(frame, &packet).map_err(|verdict| Stop::of(verdict, next))?
    };
    if seen.way == Way::Start {
        return Ok(Verdict::Local(Reason::TunnelSyn));
    }
    match world.socket(frame, &seen.flow, local::segment(&packet, &seen)) {
        Socket::Found => Ok(Verdict::Local(Reason::TunnelSocket)),
        Socket::TimeWait => Ok(Verdict::Local(Reason::TunnelTimeWait)),
        Socket::Cookie => Ok(Verdict::Local(Reason::TunnelCookie)),
        Socket::None => Err(Stop::Forward(next)),
    }
}

/// Sends the packet on: from this server, to the next hop, one TTL older.
#[inline(always)]
fn forward<F: Frame>(
    frame: &mut F,
    fixed: &Constants,
    tunnel: &Tunnel,
    next: Address,
) -> Result<Verdict, Verdict> {
    if next == fixed.self_address {
        return Err(Verdict::Drop(Reason::HopIsSelf));
    }
    if tunnel.ttl <= 1 {
        return Err(Verdict::Drop(Reason::OuterExpired));
    }
    rewrite(frame, fixed, tunnel, next).ok_or(Verdict::Drop(Reason::ForwardFailed))?;
    Ok(Verdict::Send(Reason::TunnelForwarded))
}

#[inline(always)]
fn rewrite<F: Frame>(
    frame: &mut F,
    fixed: &Constants,
    tunnel: &Tunnel,
    next: Address,
) -> Option<()> {
    let ethernet: Ethernet = frame.load(0)?;
    let back = Ethernet {
        destination: ethernet.source,
        source: ethernet.destination,
        ethertype: ethernet.ethertype,
    };
    frame.store(0, back)?;
    let (ttl, own) = (tunnel.ttl - 1, fixed.self_address);
    match tunnel.outer {
        Family::V4 => {
            let mut header: Ipv4 = frame.load(tunnel.l3)?;
            header.source = own.as_v4();
            header.destination = next.as_v4();
            header.ttl = ttl;
            header.checksum = 0;
            header.checksum = ipv4_checksum(&header);
            let [low, high] = header.checksum.to_ne_bytes();
            let at = tunnel.l3 + TTL_V4;
            let [_, _, _, ports, length, gue, hops]: [u32; 7] = frame.load(at)?;
            let first = u32::from_ne_bytes([ttl, header.protocol, low, high]);
            let [length, hops] = [unsummed(length), passed(hops)];
            let words = [first, header.source, header.destination, ports, length, gue, hops];
            frame.store(at, words)
        }
        Family::V6 => {
            let at = tunnel.l3 + PAYLOAD_V6;
            let head: [u32; 13] = frame.load(at)?;
            let [payload, _, _, _, _, _, _, _, _, ports, length, gue, hops] = head;
            let [high, low, inner, _] = payload.to_ne_bytes();
            let payload = u32::from_ne_bytes([high, low, inner, ttl]);
            let ([a, b, c, d], [e, f, g, h]) = (words(own), words(next));
            let [length, hops] = [unsummed(length), passed(hops)];
            frame.store(at, [payload, a, b, c, d, e, f, g, h, ports, length, gue, hops])
        }
    }
}

/// Where the word with the TTL is in an IPv4 header. From there on to the end of GUE's own header
/// all is written at once, as each store is a call of the kernel.
const TTL_V4: usize = 8;
/// Where the word with the hop limit is in an IPv6 header.
const PAYLOAD_V6: usize = 4;
const _: () = assert!(IPV4_LEN - TTL_V4 + UDP_LEN + HEADER_LEN == 7 * 4);
const _: () = assert!(IPV6_LEN - PAYLOAD_V6 + UDP_LEN + HEADER_LEN == 13 * 4);

/// UDP's length without a checksum: another's over the old addresses would be wrong, and none is
/// allowed in a tunnel.
#[inline(always)]
const fn unsummed(word: u32) -> u32 {
    let [high, low, _, _] = word.to_ne_bytes();
    u32::from_ne_bytes([high, low, 0, 0])
}

/// GUE's private data with the next hop counted up.
#[inline(always)]
const fn passed(word: u32) -> u32 {
    let [private, reserved, next, count] = word.to_ne_bytes();
    u32::from_ne_bytes([private, reserved, next.wrapping_add(1), count])
}
