//! Stage 5, where this server is the first hop: whether the packet stays. A new connection does,
//! and one whose socket is here; anything else belongs to the second hop, if there is one.

use crate::frame::Frame;
use crate::stage::flow::{Seen, Way};
use crate::stage::forward::Hops;
use crate::stage::parse::Packet;
use crate::world::{Segment, Socket, World};
use packet_abi::Trafficset;
use packet_abi::net::PROTOCOL_TCP;
use packet_abi::verdict::{Reason, Verdict};

/// Keeps the packet here, by the verdict, or gives the hop it has to go. `reason` is why it came to
/// its first hop.
#[inline(always)]
pub fn here<'a, F: Frame, W: World<F>>(
    frame: &F,
    world: &W,
    packet: &Packet,
    seen: &Seen,
    set: &Trafficset,
    hops: Hops<'a>,
    reason: Reason,
) -> Result<Hops<'a>, Verdict> {
    if reason == Reason::SentId {
        return Err(Verdict::Local(Reason::LocalId));
    }
    if seen.way == Way::Start && set.flags & (Trafficset::COOKIES | Trafficset::COOKIES_AUTO) != 0 {
        return Err(Verdict::Reply(Reason::CookieSent));
    }
    let Some(second) = hops.second else {
        return Err(Verdict::Local(Reason::LocalOnlyHop));
    };
    if seen.way == Way::Start {
        return Err(Verdict::Local(Reason::LocalSyn));
    }
    match world.socket(frame, &seen.flow, segment(packet, seen)) {
        Socket::Found | Socket::TimeWait => Err(Verdict::Local(Reason::LocalSocket)),
        Socket::Cookie => Err(Verdict::Local(Reason::LocalCookie)),
        Socket::None => Ok(Hops { first: second, second: None }),
    }
}

/// The segment that may carry a cookie: one of the flow itself, not an error about it.
#[inline(always)]
pub(crate) fn segment(packet: &Packet, seen: &Seen) -> Option<Segment> {
    if seen.way == Way::Part && packet.protocol == PROTOCOL_TCP {
        Some(Segment { l3: packet.l3, l4: packet.l4 })
    } else {
        None
    }
}
