//! Stage 4: where a packet goes. A hash picks a bucket, a bucket has two slots, dead servers are
//! passed over.

use crate::stage::flow::{Seen, Subject, Way, lives};
use crate::world::World;
use packet_abi::Trafficset;
use packet_abi::net::PROTOCOL_UDP;
use packet_abi::verdict::{Reason, Verdict};

/// Servers a packet is to visit; the second is 0 where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hops {
    /// Where it goes first.
    pub first: u32,
    /// Where it goes if the first has no socket for it.
    pub second: u32,
}

/// The hops of a packet.
#[inline(always)]
pub fn hops<F, W: World<F>>(
    world: &W,
    set: &Trafficset,
    seen: &Seen,
    subject: Subject,
) -> Result<Hops, Verdict> {
    if subject.named != 0 {
        return Ok(Hops { first: subject.named, second: 0 });
    }
    let index = set.table_base.wrapping_add(slot(set, subject.hash));
    let bucket = world.bucket(index).ok_or(Verdict::Drop(Reason::BadTable))?;
    let (mut first, mut second) = (bucket.first(), bucket.second());
    if seen.way == Way::Fragment {
        // Without ports no socket can be asked for, so that the current owner takes it.
        second = 0;
    } else if seen.flow.protocol == PROTOCOL_UDP {
        if set.flags & Trafficset::UDP_FLOW == 0 {
            second = 0;
        } else if second != 0 {
            // No SYN tells a new UDP flow, so the previous owner is asked for its socket first.
            (first, second) = (second, first);
        }
    }
    living(world, first, second)
}

/// Why a packet is sent to its first hop.
#[inline(always)]
#[must_use]
pub fn reason(seen: &Seen, subject: Subject) -> Reason {
    match seen.way {
        _ if subject.named != 0 => Reason::SentId,
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

/// Leaves out slots whose server is dead or unknown.
#[inline(always)]
fn living<F, W: World<F>>(world: &W, first: u32, second: u32) -> Result<Hops, Verdict> {
    let second = if second != 0 && lives(world, second) { second } else { 0 };
    if first != 0 && lives(world, first) {
        Ok(Hops { first, second })
    } else if second != 0 {
        Ok(Hops { first: second, second: 0 })
    } else {
        Err(Verdict::Drop(Reason::NoServer))
    }
}
