//! Who of a bucket's two candidates owns it, so that every server gets its share of buckets.
//!
//! The first candidate owns a bucket unless it has more than its share: then it gives some to the
//! second candidates that have less than theirs. Both stay the bucket's candidates whoever owns it,
//! which is why balancing breaks no connection.

use packet_abi::tables::SERVER_ID_MAX;

use crate::fleet::Member;

/// Rounds over all buckets: overload that moves by one server in each round is gone long before.
/// What is left is left: a share may be out of reach where few buckets have a server as candidate.
const ROUNDS_MAX: usize = 32;
/// How much more than its share a server may own, in thousandths of it: where chance keeps within
/// that, no bucket is given away and each stays with the server that wants it most.
const SLACK: i32 = 15;

const PLACES: usize = SERVER_ID_MAX as usize + 1;

/// How many of `buckets` each server is to own, by id: in proportion to its weight, which is below
/// 2^40, largest remainders first, then lowest ids. Each id is given once.
#[must_use]
pub fn shares(weights: &[(u16, u64)], buckets: u32) -> Vec<u32> {
    let mut shares = vec![0_u32; PLACES];
    let total = weights.iter().map(|(_, weight)| weight).sum::<u64>().max(1);
    let mut rests = Vec::with_capacity(weights.len());
    let mut left = if weights.iter().all(|(_, weight)| *weight == 0) { 0 } else { buckets };
    for (id, weight) in weights {
        let exact = u64::from(buckets) * weight;
        let whole = (exact / total) as u32;
        left -= whole;
        rests.push((std::cmp::Reverse(exact % total), *id));
        if let Some(share) = shares.get_mut(usize::from(*id)) {
            *share = whole;
        }
    }
    rests.sort_unstable();
    for (_, id) in rests.iter().take(left as usize) {
        if let Some(share) = shares.get_mut(usize::from(*id)) {
            *share += 1;
        }
    }
    shares
}

/// The capacities of servers as weights.
pub(crate) fn capacities(members: &[Member]) -> Vec<(u16, u64)> {
    members.iter().map(|member| (member.id, u64::from(member.capacity))).collect()
}

/// The owner of each bucket among `members`, of whom `candidates` want it; 0 where nobody does.
pub(crate) fn owners(candidates: &[[u16; 2]], members: &[Member]) -> Vec<u16> {
    let mut scales = Scales::new(&shares(&capacities(members), candidates.len() as u32));
    let mut owners: Vec<u16> = candidates.iter().map(|[first, _]| *first).collect();
    owners.iter().for_each(|owner| scales.shift(*owner, 1));
    if scales.any_over() {
        // About half of all servers are over: whether one is cannot be foreseen, so that all is
        // computed and nothing is branched on.
        for (owner, [first, second]) in owners.iter_mut().zip(candidates) {
            let takes = scales.is_over(*first) & scales.is_under(*second) & (*second != 0);
            scales.shift(*first, -i32::from(takes));
            scales.shift(*second, i32::from(takes));
            *owner = if takes { *second } else { *first };
        }
    }
    for _ in 1..ROUNDS_MAX {
        if !scales.any_over() {
            break;
        }
        for (owner, [first, second]) in owners.iter_mut().zip(candidates) {
            if !scales.is_over(*owner) {
                continue;
            }
            let other = if owner == first { *second } else { *first };
            if other != 0 && scales.is_better(*owner, other) {
                scales.shift(*owner, -1);
                scales.shift(other, 1);
                *owner = other;
            }
        }
    }
    owners
}

/// What each server owns beside what it should, by id.
struct Scales {
    shares: [i32; PLACES],
    /// What each owns over the most that it may own: below zero where it may own more.
    over: [i32; PLACES],
    /// As `over` where each owns its share.
    settled: [i32; PLACES],
}

/// Where the scales have a server.
#[inline]
fn place(id: u16) -> usize {
    usize::from(id) & (PLACES - 1)
}

const _: () = assert!(PLACES.is_power_of_two());

impl Scales {
    /// Shares of at most the buckets of a table.
    fn new(wanted: &[u32]) -> Self {
        let mut shares = [0; PLACES];
        shares.iter_mut().zip(wanted).for_each(|(share, wanted)| *share = *wanted as i32);
        Self {
            shares,
            over: shares.map(|share| -most(share)),
            settled: shares.map(|share| share - most(share)),
        }
    }

    /// What a server owns, and its share.
    #[inline]
    fn at(&self, id: u16) -> (i32, i32) {
        let share = self.shares[place(id)];
        (self.over[place(id)] + most(share), share)
    }

    /// Gives a server buckets, or takes some.
    #[inline]
    fn shift(&mut self, id: u16, buckets: i32) {
        self.over[place(id)] += buckets;
    }

    #[inline]
    fn is_over(&self, id: u16) -> bool {
        self.over[place(id)] > 0
    }

    #[inline]
    fn is_under(&self, id: u16) -> bool {
        self.over[place(id)] < self.settled[place(id)]
    }

    /// Whether `to` with one bucket more is less loaded for its share than `from` is.
    #[inline]
    fn is_better(&self, from: u16, to: u16) -> bool {
        let ((from, of), (to, to_of)) = (self.at(from), self.at(to));
        (i64::from(to) + 1) * i64::from(of) < i64::from(from) * i64::from(to_of)
    }

    fn any_over(&self) -> bool {
        self.over.iter().any(|over| *over > 0)
    }
}

/// The most that a server may own for its share.
fn most(share: i32) -> i32 {
    share + (share * SLACK / 1000).max(1)
}
