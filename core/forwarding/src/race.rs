//! Which two servers want a bucket most: weighted rendezvous, run as a race.
//!
//! Buckets lie in regions of R. In each region every server walks through the buckets in an order
//! of its own. The k-th bucket of a server of capacity w is reached at the time when the k-th of R
//! exponential clocks of rate w is expected to ring (Rényi: the sum of 1/(R − i) for i < k, over
//! w), so that a server comes first at a bucket with probability w over the sum of all w. The two
//! that reach a bucket first are its candidates.
//!
//! What follows: a server that leaves changes the buckets where it was a candidate and no others,
//! and the third becomes the second there. Only the first steps of each walk are taken: that costs
//! a few claims per bucket whatever the number of servers, where asking each server about each
//! bucket would cost thousands. Regions keep the claims within the nearest caches.

use crate::fleet::Member;
use crate::mix::draw;

/// Buckets of a region, as a power of two: 128 KiB of keys.
const REGION_BITS: u32 = 13;
/// A shift by half of a region's bits or more undoes itself.
const HALF_BITS: u32 = REGION_BITS.div_ceil(2);
/// Fixed point of arrivals: the last of a region's, at 9.6, fits into 32 bits.
const TIME_BITS: u32 = 28;
/// Bits of a key below the time: a server id.
const ID_BITS: u32 = 12;
/// Bits a time is shortened by, so that it and an id fill 64 bits.
const SHORTEN_BITS: u32 = 11;
/// Fixed point of paces: that of the largest capacity still has 12 bits.
const PACE_BITS: u32 = 31;
/// How long the walks last at first, in units in which the fleet claims each bucket once on
/// average. Then one bucket in 800 lacks its second claim, and is asked of each server.
const HORIZON: u64 = 9;
/// The first of so many parts of a walk has the claims that mostly enter.
const EARLY: usize = 3;
/// Nobody, later than anybody.
const NOBODY: u64 = u64::MAX;

/// The two candidates of each bucket: keys of time and server id, the earlier first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Race {
    seed: u64,
    region_bits: u32,
    best: Vec<[u64; 2]>,
}

impl Race {
    /// Runs `members` over `1 << bits` buckets.
    pub(crate) fn run(members: &[Member], seed: u64, bits: u32) -> Self {
        let region_bits = bits.min(REGION_BITS);
        let mut race = Self { seed, region_bits, best: vec![[NOBODY; 2]; 1 << bits] };
        let mut clock = Clock::new(region_bits);
        let total: u64 = members.iter().map(|member| u64::from(member.capacity)).sum();
        let runners: Vec<Runner> = members.iter().map(Runner::of).collect();
        let ends: Vec<usize> = members
            .iter()
            .map(|member| (HORIZON << TIME_BITS) * u64::from(member.capacity) / total.max(1))
            .map(|end| clock.steps(end))
            .collect();
        let mut walks = Vec::with_capacity(runners.len());
        for (region, best) in (0_u64..).zip(race.best.chunks_mut(1 << region_bits)) {
            walks.clear();
            walks.extend(runners.iter().map(|runner| runner.walk(seed, region, region_bits)));
            // Early claims nearly all enter, late ones hardly ever: apart, both are foreseen.
            for late in [false, true] {
                for ((runner, walk), end) in runners.iter().zip(&walks).zip(&ends) {
                    let early = end / EARLY;
                    let keys = clock.keys(*end, runner.pace);
                    if late {
                        walk.claim_late(best, keys.get(early..).unwrap_or_default(), early);
                    } else {
                        walk.claim_all(best, keys.get(..early).unwrap_or_default());
                    }
                }
            }
            complete(best, &clock, &runners, &walks);
        }
        race
    }

    /// Lets more servers run.
    pub(crate) fn join(&mut self, members: &[Member]) {
        let (seed, bits) = (self.seed, self.region_bits);
        let mut clock = Clock::new(bits);
        let runners: Vec<Runner> = members.iter().map(Runner::of).collect();
        for (region, best) in (0_u64..).zip(self.best.chunks_mut(1 << bits)) {
            // Past the slowest second candidate a claim changes nothing.
            let slowest = best.iter().map(|best| best[1]).max().unwrap_or(NOBODY);
            for runner in &runners {
                let end = if slowest == NOBODY { u64::MAX } else { runner.arrival(slowest) };
                let steps = clock.steps(end);
                let walk = runner.walk(seed, region, bits);
                walk.claim_all(best, clock.keys(steps, runner.pace));
            }
        }
    }

    /// The candidates of a bucket; 0 where there is none.
    #[inline]
    pub(crate) fn candidates(&self, bucket: usize) -> [u16; 2] {
        self.best.get(bucket).map_or([0; 2], |best| best.map(id_of))
    }

    /// The candidates of all buckets, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = [u16; 2]> + '_ {
        self.best.iter().map(|best| best.map(id_of))
    }
}

/// Asks every server about the buckets of a region that the first steps left without two
/// candidates.
fn complete(best: &mut [[u64; 2]], clock: &Clock, runners: &[Runner], walks: &[Walk]) {
    let wanted = runners.len().min(2);
    let lacks = |best: &[u64; 2]| best.iter().filter(|key| **key != NOBODY).count() < wanted;
    let lacking = (0_u32..).zip(best).filter(|(_, best)| lacks(best));
    let mut backs: Vec<Back> = Vec::new();
    for (bucket, best) in lacking {
        if backs.is_empty() {
            backs.extend(walks.iter().map(Walk::back));
        }
        *best = [NOBODY; 2];
        for (runner, back) in runners.iter().zip(&backs) {
            if let Some(arrival) = clock.arrivals.get(back.position(bucket) as usize) {
                claim(best, key(*arrival, runner.pace) + back.ahead);
            }
        }
    }
}

/// Enters a key among the two earliest.
#[inline]
fn claim(best: &mut [u64; 2], key: u64) {
    let later = best[0].max(key);
    *best = [best[0].min(key), best[1].min(later)];
}

#[inline]
fn id_of(key: u64) -> u16 {
    if key == NOBODY { 0 } else { (key & ((1 << ID_BITS) - 1)) as u16 }
}

/// An arrival at some pace, as a key without an id.
#[inline]
const fn key(arrival: u32, pace: u64) -> u64 {
    ((arrival as u64 * pace) >> SHORTEN_BITS) << ID_BITS
}

/// When the k-th of R exponential clocks is expected to ring, for k from 0 on; and the same as keys
/// of the pace that was asked for last, since most servers share one.
struct Clock {
    arrivals: Vec<u32>,
    pace: u64,
    keys: Vec<u64>,
}

impl Clock {
    fn new(region_bits: u32) -> Self {
        const SPARE_BITS: u32 = 16;
        let left = (1..=1_u64 << region_bits).rev();
        let arrival = |sum: &mut u64, left| {
            let arrival = (*sum >> SPARE_BITS) as u32;
            *sum += (1 << (TIME_BITS + SPARE_BITS)) / left;
            Some(arrival)
        };
        Self { arrivals: left.scan(0, arrival).collect(), pace: 0, keys: Vec::new() }
    }

    /// How many arrive at `end` at the latest.
    fn steps(&self, end: u64) -> usize {
        self.arrivals.partition_point(|arrival| u64::from(*arrival) <= end)
    }

    /// The keys of the first arrivals.
    fn keys(&mut self, steps: usize, pace: u64) -> &[u64] {
        if self.pace != pace {
            self.keys.clear();
            self.pace = pace;
        }
        let more = self.arrivals.get(self.keys.len()..steps).unwrap_or_default();
        self.keys.extend(more.iter().map(|arrival| key(*arrival, pace)));
        self.keys.get(..steps).unwrap_or_default()
    }
}

/// A server in a race.
struct Runner {
    id: u64,
    /// Time for a unit of arrivals.
    pace: u64,
}

impl Runner {
    fn of(member: &Member) -> Self {
        let pace = (1 << PACE_BITS) / u64::from(member.capacity.max(1));
        Self { id: u64::from(member.id), pace }
    }

    /// An arrival that is at `key` or later.
    fn arrival(&self, key: u64) -> u64 {
        (((key >> ID_BITS) + 1) << SHORTEN_BITS) / self.pace + 1
    }

    /// Its order of the buckets of a region.
    fn walk(&self, seed: u64, region: u64, region_bits: u32) -> Walk {
        let (walk, delay) = (draw(seed, self.id, region * 2), draw(seed, self.id, region * 2 + 1));
        let step = (delay as u32) >> (32 - (TIME_BITS - region_bits));
        Walk {
            mask: (1_u32 << region_bits) - 1,
            start: walk as u32,
            stride: (walk >> 32) as u32 | 1,
            factor: (delay >> 32) as u32 | 1,
            ahead: key(step, self.pace) | self.id,
        }
    }
}

/// One server's order of the buckets of a region: a permutation.
struct Walk {
    mask: u32,
    start: u32,
    stride: u32,
    factor: u32,
    /// What its keys have on top: its id, and a delay of less than one step, since servers of one
    /// capacity would all arrive at once otherwise.
    ahead: u64,
}

impl Walk {
    /// Takes as many steps as there are keys. Most of the time of a race is spent here: inlined,
    /// it would spill its registers.
    #[inline(never)]
    fn claim_all(&self, best: &mut [[u64; 2]], keys: &[u64]) {
        let Self { mask, factor, stride, start: mut at, ahead } = *self;
        for key in keys {
            if let Some(best) = best.get_mut(scatter(at, mask, factor) as usize) {
                claim(best, key + ahead);
            }
            at = at.wrapping_add(stride);
        }
    }

    /// The same from a step on, where few claims enter.
    #[inline(never)]
    fn claim_late(&self, best: &mut [[u64; 2]], keys: &[u64], steps: usize) {
        let Self { mask, factor, stride, start, ahead } = *self;
        let mut at = start.wrapping_add(stride.wrapping_mul(steps as u32));
        for key in keys {
            if let Some(best) = best.get_mut(scatter(at, mask, factor) as usize)
                && key + ahead < best[1]
            {
                claim(best, key + ahead);
            }
            at = at.wrapping_add(stride);
        }
    }

    /// The way back, from buckets to steps.
    fn back(&self) -> Back {
        let (factor, stride) = (inverse(self.factor), inverse(self.stride));
        Back { mask: self.mask, start: self.start, stride, factor, ahead: self.ahead }
    }
}

/// A walk from buckets to steps.
struct Back {
    mask: u32,
    start: u32,
    stride: u32,
    factor: u32,
    ahead: u64,
}

impl Back {
    /// How many steps lie before a bucket.
    fn position(&self, bucket: u32) -> u32 {
        let at = (bucket ^ (bucket >> HALF_BITS)).wrapping_mul(self.factor) & self.mask;
        let at = at ^ (at >> HALF_BITS);
        at.wrapping_sub(self.start).wrapping_mul(self.stride) & self.mask
    }
}

/// The bucket at a point of a walk.
#[inline]
const fn scatter(at: u32, mask: u32, factor: u32) -> u32 {
    let at = at & mask;
    let at = (at ^ (at >> HALF_BITS)).wrapping_mul(factor) & mask;
    at ^ (at >> HALF_BITS)
}

/// The inverse of an odd number modulo 2^32 (Newton: each step doubles the correct bits, of which
/// an odd number gives three at once).
const fn inverse(odd: u32) -> u32 {
    let mut inverse = odd;
    let mut correct = 3;
    while correct < u32::BITS {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse)));
        correct *= 2;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::State;

    fn fleet(capacities: &[(u16, u32)]) -> Vec<Member> {
        let member = |&(id, capacity)| Member { id, capacity, state: State::Active };
        capacities.iter().map(member).collect()
    }

    /// Asks every server about every bucket.
    fn plain(members: &[Member], seed: u64, bits: u32) -> Race {
        let region_bits = bits.min(REGION_BITS);
        let mut best = vec![[NOBODY; 2]; 1 << bits];
        let runners: Vec<Runner> = members.iter().map(Runner::of).collect();
        for (region, best) in (0..).zip(best.chunks_mut(1 << region_bits)) {
            let walk = |runner: &Runner| runner.walk(seed, region, region_bits);
            let walks: Vec<Walk> = runners.iter().map(walk).collect();
            complete(best, &Clock::new(region_bits), &runners, &walks);
        }
        Race { seed, region_bits, best }
    }

    #[track_caller]
    fn check(says: &str, members: &[Member], bits: u32) {
        let expect = plain(members, 7, bits);
        assert!(Race::run(members, 7, bits) == expect, "{says}");
        for split in [0, members.len() / 2, members.len().saturating_sub(1)] {
            let (early, late) = members.split_at(split);
            let mut race = Race::run(early, 7, bits);
            race.join(late);
            assert!(race == expect, "{says}, {split} of them first");
        }
    }

    #[test]
    fn a_race_is_what_asking_everybody_gives() {
        let even: Vec<_> = (1..=100).map(|id| (id, 1)).collect();
        let uneven: Vec<_> = (1..=100).map(|id| (id * 40, u32::from(id))).collect();
        check("nobody", &fleet(&[]), 8);
        check("one server", &fleet(&[(9, 3)]), 8);
        check("two", &fleet(&[(1, 1), (2, 1)]), 8);
        check("one bucket", &fleet(&[(1, 1), (2, 1), (3, 1)]), 0);
        check("a giant", &fleet(&[(1, 1), (2, 1_000_000), (3, 1)]), 12);
        check("a hundred alike", &fleet(&even), 14);
        check("a hundred of all sizes", &fleet(&uneven), 14);
        check("as few buckets as servers", &fleet(&even), 7);
    }

    #[test]
    fn a_walk_reaches_every_bucket_once_and_knows_when() {
        for bits in [0, 1, 2, 5, 12, REGION_BITS] {
            for runner in fleet(&[(1, 1), (4095, 9)]).iter().map(Runner::of) {
                let walk = runner.walk(3, 1, bits);
                let mut seen = vec![false; 1 << bits];
                let mut at = walk.start;
                for k in 0..1_u32 << bits {
                    let bucket = scatter(at, walk.mask, walk.factor);
                    assert!(!std::mem::replace(&mut seen[bucket as usize], true), "{bits}");
                    assert_eq!(walk.back().position(bucket), k, "{bits} bits");
                    at = at.wrapping_add(walk.stride);
                }
            }
        }
    }

    #[test]
    fn candidates_come_in_proportion_to_capacity() {
        let race = Race::run(&fleet(&[(1, 1), (2, 2), (3, 5), (4, 8)]), 11, 16);
        let mut firsts = [0_u32; 5];
        race.all().for_each(|[first, _]| firsts[usize::from(first)] += 1);
        for (id, expect) in [(1, 4096_u32), (2, 8192), (3, 20_480), (4, 32_768)] {
            assert!(firsts[id].abs_diff(expect) < 450, "{firsts:?}");
        }
    }
}
