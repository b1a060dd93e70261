//! Who of a bucket's two candidates owns it, so that every server gets its share of buckets.
//!
//! The first candidate owns a bucket unless it has more than its share: then it gives some to the
//! second candidates that have less than theirs. Both stay the bucket's candidates whoever owns it,
//! which is why balancing breaks no connection.

use packet_abi::tables::SERVER_ID_MAX;

use crate::fleet::Member;
use crate::race::Race;

/// Rounds over all buckets: overload that moves by one server in each round is gone long before.
/// What is left is left: a share may be out of reach where few buckets have a server as candidate.
const ROUNDS_MAX: usize = 32;
/// How much more than its share a server may own, in thousandths of it: where chance keeps within
/// that, no bucket is given away and each stays with the server that wants it most.
const SLACK: u32 = 15;

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

/// The owner of each bucket among `members`, who ran in `race`; 0 where nobody did.
pub(crate) fn owners(race: &Race, members: &[Member], buckets: u32) -> Vec<u16> {
    let mut scales = Scales::new(shares(&capacities(members), buckets));
    let mut owners: Vec<u16> = race.all().map(|[first, _]| first).collect();
    owners.iter().for_each(|owner| scales.add(*owner));
    for round in 0..ROUNDS_MAX {
        if !scales.any_over() {
            break;
        }
        for (bucket, owner) in owners.iter_mut().enumerate() {
            if !scales.is_over(*owner) {
                continue;
            }
            let [first, second] = race.candidates(bucket);
            let other = if *owner == first { second } else { first };
            let takes =
                if round == 0 { scales.is_under(other) } else { scales.is_better(*owner, other) };
            if other != 0 && takes {
                scales.remove(*owner);
                scales.add(other);
                *owner = other;
            }
        }
    }
    owners
}

/// What each server owns beside what it should.
struct Scales {
    shares: Vec<u32>,
    /// The most that each may own.
    limits: Vec<u32>,
    owned: Vec<u32>,
}

impl Scales {
    fn new(shares: Vec<u32>) -> Self {
        let limits = shares.iter().map(|share| most(*share)).collect();
        Self { shares, limits, owned: vec![0; PLACES] }
    }

    fn at(&self, id: u16) -> (u32, u32) {
        let id = usize::from(id);
        (self.owned.get(id).copied().unwrap_or(0), self.shares.get(id).copied().unwrap_or(0))
    }

    fn add(&mut self, id: u16) {
        if let Some(owned) = self.owned.get_mut(usize::from(id)) {
            *owned += 1;
        }
    }

    fn remove(&mut self, id: u16) {
        if let Some(owned) = self.owned.get_mut(usize::from(id)) {
            *owned -= 1;
        }
    }

    fn is_over(&self, id: u16) -> bool {
        let id = usize::from(id);
        self.owned.get(id) > self.limits.get(id)
    }

    fn is_under(&self, id: u16) -> bool {
        let (owned, share) = self.at(id);
        owned < share
    }

    /// Whether `to` with one bucket more is less loaded for its share than `from` is.
    fn is_better(&self, from: u16, to: u16) -> bool {
        let ((from, of), (to, to_of)) = (self.at(from), self.at(to));
        (u64::from(to) + 1) * u64::from(of) < u64::from(from) * u64::from(to_of)
    }

    fn any_over(&self) -> bool {
        self.owned.iter().zip(&self.limits).any(|(owned, limit)| owned > limit)
    }
}

/// The most that a server may own for its share.
fn most(share: u32) -> u32 {
    share + (share * SLACK / 1000).max(1)
}
