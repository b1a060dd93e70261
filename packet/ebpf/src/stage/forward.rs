//! Stage 4: where a packet goes. A hash picks a bucket, a bucket has two slots, dead servers are
//! passed over.

use crate::stage::flow::{Seen, Subject, Way};
use crate::world::World;
use packet_abi::net::PROTOCOL_UDP;
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Server, Trafficset};

/// A server that a packet is to visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop<'a> {
    /// Its id.
    pub id: u32,
    /// What the tables say of it.
    pub server: &'a Server,
}

/// Servers a packet is to visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hops<'a> {
    /// Where it goes first.
    pub first: Hop<'a>,
    /// Where it goes if the first has no socket for it.
    pub second: Option<Hop<'a>>,
}

/// The hops of a packet.
#[inline(always)]
pub fn hops<'a, F, W: World<F>>(
    world: &'a W,
    set: &Trafficset,
    seen: &Seen,
    subject: Subject,
) -> Result<Hops<'a>, Verdict> {
    if subject.named != 0
        && let Some(first) = living(world, subject.named)
    {
        return Ok(Hops { first, second: None });
    }
    let index = set.table_base.wrapping_add(slot(set, subject.hash));
    let bucket = world.bucket(index).ok_or(Verdict::Drop(Reason::BadTable))?;
    let (mut first, mut second) = (bucket.first(), bucket.second());
    let udp = seen.flow.protocol == PROTOCOL_UDP;
    // A fragment without ports and a datagram that is for itself have no socket that could be asked
    // for, so that one server takes them: the current owner if it lives.
    let alone = seen.way == Way::Fragment || udp && set.flags & Trafficset::UDP_FLOW == 0;
    if udp && !alone && second != 0 {
        // No SYN tells a new UDP flow, so the previous owner is asked for its socket first.
        (first, second) = (second, first);
    }
    // Both are asked for before either is judged, so that the loads of both are under way together.
    match (living(world, first), living(world, second)) {
        (Some(first), second) => Ok(Hops { first, second: if alone { None } else { second } }),
        (None, Some(second)) => Ok(Hops { first: second, second: None }),
        (None, None) => Err(Verdict::Drop(Reason::NoServer)),
    }
}

/// Why a packet is sent to its first hop, which its connection id may have named.
#[inline(always)]
#[must_use]
pub fn reason(seen: &Seen, named: bool) -> Reason {
    match seen.way {
        _ if named => Reason::SentId,
        Way::Error => Reason::SentError,
        Way::Fragment => Reason::SentFragment,
        Way::Part | Way::Start => Reason::SentFirst,
    }
}

/// The bucket of a hash in a table.
#[inline(always)]
#[must_use]
pub fn slot(set: &Trafficset, hash: u64) -> u32 {
    if set.flags & Trafficset::MAGLEV == 0 {
        hash as u32 & set.table_len.wrapping_sub(1)
    } else {
        // The high half times the length, over 2^32: an even share without a division.
        (((hash >> 32) * u64::from(set.table_len)) >> 32) as u32
    }
}

/// A server that packets may be sent to. Id 0 is never present.
#[inline(always)]
fn living<F, W: World<F>>(world: &W, id: u32) -> Option<Hop<'_>> {
    if id == 0 {
        return None;
    }
    let server = world.server(id)?;
    if server.flags & (Server::PRESENT | Server::DEAD) == Server::PRESENT {
        Some(Hop { id, server })
    } else {
        None
    }
}
