//! The director: what every server does with a packet that a router sent it. The life of a packet
//! is `stages`, below: parse, service, flow, forward, local, encap.

use crate::frame::Frame;
use crate::stage::encap::{self, Load};
use crate::stage::flow::{self, Seen, Way};
use crate::stage::forward;
use crate::stage::icmp::{self, Message};
use crate::stage::parse::{self, Blame, Link};
use crate::stage::{local, service, too_big};
use crate::world::World;
use packet_abi::Family;
use packet_abi::net::ETHERNET_LEN;
use packet_abi::verdict::{Reason, Verdict};

/// Whose lies the director reports.
pub const BLAME: Blame = Blame {
    ipv4: Reason::BadIpv4Header,
    ipv6: Reason::BadIpv6Header,
    chain: Reason::ExtensionChain,
};

/// Decides about a frame, and rewrites it where the verdict says so, but for two: after
/// [`Reason::TooBigSent`] the answer is still to be written, by [`too_big`], and after
/// [`Reason::CookieSent`] by [`crate::cookie::decide`], which may also leave it to the stack.
#[inline(always)]
pub fn decide<F: Frame, W: World<F>>(frame: &mut F, world: &W) -> Verdict {
    // Frames without tags have their headers where the compiler knows: their stages are a copy of
    // code of their own for each family, without what finds places and tells families apart.
    let decided = match parse::untagged(frame) {
        Some(Family::V4) => stages(frame, world, Link { l3: ETHERNET_LEN, family: Family::V4 }),
        Some(Family::V6) => stages(frame, world, Link { l3: ETHERNET_LEN, family: Family::V6 }),
        None => parse::link(frame).and_then(|link| stages(frame, world, link)),
    };
    match decided {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

#[inline(always)]
fn stages<F: Frame, W: World<F>>(frame: &mut F, world: &W, link: Link) -> Result<Verdict, Verdict> {
    let address = parse::destination(frame, link)?;
    let leaf = service::vip(world, address)?;
    let packet = parse::network(frame, world, link, BLAME)?;
    let seen = if packet.fragment {
        flow::of_fragment(&packet)
    } else if icmp::is_icmp(&packet) {
        match icmp::read(frame, &packet)? {
            Message::Echo => return Ok(icmp::answer_echo(frame, &packet)),
            Message::Error(flow) => Seen { flow, way: Way::Error },
        }
    } else {
        flow::transport(frame, &packet)?
    };
    let set = service::trafficset(world, leaf, &seen)?;
    let subject = flow::dissect(frame, world, &packet, &seen, &set);
    let mut hops = forward::hops(world, &set, &seen, subject)?;
    let named = subject.named != 0 && hops.first.id == subject.named;
    let mut reason = forward::reason(&seen, named);
    if hops.first.id == world.fixed().self_id {
        hops = local::here(frame, world, &packet, &seen, &set, hops, reason)?;
        reason = Reason::SentSecond;
    }
    encap::send(frame, world, &packet, Load::of(&set, hops, subject.hash, reason))
}

/// Writes the answer to a packet that does not fit into the tunnel. It is a program of its own, as
/// the director's stack has no room for it.
#[inline(always)]
pub fn too_big<F: Frame, W: World<F>>(frame: &mut F, world: &W) -> Verdict {
    let packet = match parse::link(frame) {
        Ok(link) => parse::network(frame, world, link, BLAME),
        Err(verdict) => return verdict,
    };
    match packet {
        Ok(packet) => too_big::answer(frame, world, &packet),
        Err(verdict) => verdict,
    }
}
