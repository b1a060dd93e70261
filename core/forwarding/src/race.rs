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
const ID_MASK: u64 = (1 << ID_BITS) - 1;
/// Bits a time is shortened by, so that it and an id fill 64 bits.
const SHORTEN_BITS: u32 = 11;
/// Fixed point of paces: that of the largest capacity still has 12 bits.
const PACE_BITS: u32 = 31;
/// How long the walks last at first, in units in which the fleet claims each bucket once on
/// average. Then one bucket in 2,000 lacks its second claim, and is asked of each server.
const HORIZON: u64 = 10;
/// The first of so many parts of a walk has the claims that mostly enter.
const EARLY: usize = 2;
/// Steps that are worked out together.
const GROUP: usize = 16;
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
        let mut field = Field::new(members, seed, Clock::new(region_bits));
        for (region, best) in (0_u64..).zip(race.best.chunks_mut(1 << region_bits)) {
            field.run(region, best);
        }
        race
    }

    /// Lets more servers run.
    pub(crate) fn join(&mut self, members: &[Member]) {
        let mut field = Field::new(members, self.seed, Clock::new(self.region_bits));
        for (region, best) in (0_u64..).zip(self.best.chunks_mut(1 << self.region_bits)) {
            field.join(region, best);
        }
    }

    /// The candidates of a bucket; 0 where there is none.
    #[inline]
    pub(crate) fn candidates(&self, bucket: usize) -> [u16; 2] {
        self.best.get(bucket).map_or([0; 2], |best| best.map(id_of))
    }

    /// The candidates of all buckets, in order.
    pub(crate) fn ids(&self) -> Vec<[u16; 2]> {
        self.best.iter().map(|best| best.map(id_of)).collect()
    }
}

/// The candidates of all buckets among `members`, and those after `more` have joined them. Keys are
/// kept for one region only, which stays in the nearest caches.
pub(crate) fn before_and_after(
    members: &[Member],
    more: &[Member],
    seed: u64,
    bits: u32,
) -> [Vec<[u16; 2]>; 2] {
    let region_bits = bits.min(REGION_BITS);
    let clock = Clock::new(region_bits);
    let mut fields = [members, more].map(|members| Field::new(members, seed, clock.clone()));
    let mut found = [Vec::with_capacity(1 << bits), Vec::with_capacity(1 << bits)];
    let mut best = vec![[NOBODY; 2]; 1 << region_bits];
    let [field, joining] = &mut fields;
    let [before, after] = &mut found;
    for region in 0..1_u64 << (bits - region_bits) {
        best.fill([NOBODY; 2]);
        field.run(region, &mut best);
        ids(&best, field.runners.len(), before);
        joining.join(region, &mut best);
        ids(&best, field.runners.len() + joining.runners.len(), after);
    }
    found
}

/// Servers that run, and what they need in each region.
struct Field {
    seed: u64,
    region_bits: u32,
    runners: Vec<Runner>,
    /// How many steps each takes before what is left is completed.
    ends: Vec<usize>,
    clock: Clock,
    walks: Vec<Walk>,
    /// Upper halves of the second keys of a region: what late claims are held against, as these
    /// fit into the nearest cache.
    latest: Vec<u32>,
    /// Where the steps of all walks lead, each walk's in whole groups.
    buckets: Vec<u16>,
}

impl Field {
    fn new(members: &[Member], seed: u64, clock: Clock) -> Self {
        let region_bits = clock.arrivals.len().trailing_zeros();
        let total: u64 = members.iter().map(|member| u64::from(member.capacity)).sum();
        let end = |member: &Member| {
            clock.steps((HORIZON << TIME_BITS) * u64::from(member.capacity) / total.max(1))
        };
        Self {
            seed,
            region_bits,
            runners: members.iter().map(Runner::of).collect(),
            ends: members.iter().map(end).collect(),
            clock,
            walks: Vec::with_capacity(members.len()),
            latest: Vec::with_capacity(1 << region_bits),
            buckets: Vec::new(),
        }
    }

    /// Runs all in a region where nobody was.
    fn run(&mut self, region: u64, best: &mut [[u64; 2]]) {
        let Self { seed, region_bits, runners, ends, clock, walks, latest, buckets } = self;
        walks.clear();
        walks.extend(runners.iter().map(|runner| runner.walk(*seed, region, *region_bits)));
        buckets.clear();
        walks.iter().zip(&*ends).for_each(|(walk, end)| walk.steps(*end, buckets));
        // Early claims nearly all enter, late ones hardly ever: apart, both are foreseen.
        let mut rest = buckets.as_slice();
        for ((runner, walk), end) in runners.iter().zip(&*walks).zip(&*ends) {
            let (buckets, others) = rest.split_at(end.next_multiple_of(GROUP));
            walk.claim_all(best, buckets, clock.keys(end / EARLY, runner.pace));
            rest = others;
        }
        latest.clear();
        latest.extend(best.iter().map(|best| upper(best[1])));
        let mut rest = buckets.as_slice();
        for ((runner, walk), end) in runners.iter().zip(&*walks).zip(&*ends) {
            let (buckets, others) = rest.split_at(end.next_multiple_of(GROUP));
            clock.keys(*end, runner.pace);
            let late = end / EARLY..*end;
            let buckets = buckets.get(late.clone()).unwrap_or_default();
            let keys = clock.keys.get(late.clone()).unwrap_or_default();
            let uppers = clock.uppers.get(late).unwrap_or_default();
            walk.claim_late(Late { best, latest }, buckets, keys, uppers);
            rest = others;
        }
        complete(best, clock, runners, walks);
    }

    /// Runs all in a region where others were.
    fn join(&mut self, region: u64, best: &mut [[u64; 2]]) {
        let Self { seed, region_bits, runners, clock, buckets, .. } = self;
        // Past the slowest second candidate a claim changes nothing.
        let slowest = best.iter().map(|best| best[1]).max().unwrap_or(NOBODY);
        for runner in runners {
            let end = if slowest == NOBODY { u64::MAX } else { runner.arrival(slowest) };
            let steps = clock.steps(end);
            let walk = runner.walk(*seed, region, *region_bits);
            buckets.clear();
            walk.steps(steps, buckets);
            walk.claim_all(best, buckets, clock.keys(steps, runner.pace));
        }
    }
}

/// Asks every server about the buckets of a region that the first steps left without two
/// candidates.
fn complete(best: &mut [[u64; 2]], clock: &Clock, runners: &[Runner], walks: &[Walk]) {
    let wanted = runners.len().min(2);
    let last = wanted.saturating_sub(1);
    let lacks = |best: &[u64; 2]| wanted > 0 && best[last] == NOBODY;
    let lacking = (0_u16..).zip(best).filter(|(_, best)| lacks(best));
    let mut backs: Vec<Back> = Vec::new();
    for (bucket, best) in lacking {
        if backs.is_empty() {
            backs.extend(walks.iter().map(Walk::back));
        }
        *best = [NOBODY; 2];
        for (runner, back) in runners.iter().zip(&backs) {
            if let Some(arrival) = clock.arrivals.get(usize::from(back.position(bucket))) {
                let key = key(*arrival, runner.pace) + back.ahead;
                if key < best[1] {
                    claim(best, key);
                }
            }
        }
    }
}

/// What late claims are held against.
struct Late<'a> {
    best: &'a mut [[u64; 2]],
    /// Upper halves of the second keys, which fit into the nearest cache.
    latest: &'a mut [u32],
}

/// Enters a key that may be among the two earliest.
#[cold]
fn enter(best: &mut [[u64; 2]], latest: &mut [u32], bucket: u16, key: u64) {
    let bucket = usize::from(bucket);
    if let (Some(best), Some(latest)) = (best.get_mut(bucket), latest.get_mut(bucket))
        && key < best[1]
    {
        claim(best, key);
        *latest = upper(best[1]);
    }
}

/// The upper half of a key. Of two keys the earlier never has the larger one.
#[inline]
const fn upper(key: u64) -> u32 {
    (key >> 32) as u32
}

/// Enters a key among the two earliest.
#[inline]
fn claim(best: &mut [u64; 2], key: u64) {
    let later = best[0].max(key);
    *best = [best[0].min(key), best[1].min(later)];
}

/// Appends the ids of candidates among so many runners.
fn ids(best: &[[u64; 2]], runners: usize, ids: &mut Vec<[u16; 2]>) {
    if runners < 2 {
        ids.extend(best.iter().map(|best| best.map(id_of)));
    } else {
        // Each bucket has two, so that nobody need be asked for.
        ids.extend(best.iter().map(|best| best.map(|key| (key & ID_MASK) as u16)));
    }
}

#[inline]
fn id_of(key: u64) -> u16 {
    if key == NOBODY { 0 } else { (key & ID_MASK) as u16 }
}

/// An arrival at some pace, as a key without an id.
#[inline]
const fn key(arrival: u32, pace: u64) -> u64 {
    ((arrival as u64 * pace) >> SHORTEN_BITS) << ID_BITS
}

/// When the k-th of R exponential clocks is expected to ring, for k from 0 on; and the same as keys
/// of the pace that was asked for last, since most servers share one.
#[derive(Clone)]
struct Clock {
    arrivals: Vec<u32>,
    pace: u64,
    keys: Vec<u64>,
    /// Upper halves of the keys.
    uppers: Vec<u32>,
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
        Self {
            arrivals: left.scan(0, arrival).collect(),
            pace: 0,
            keys: Vec::new(),
            uppers: Vec::new(),
        }
    }

    /// How many arrive at `end` at the latest.
    fn steps(&self, end: u64) -> usize {
        self.arrivals.partition_point(|arrival| u64::from(*arrival) <= end)
    }

    /// The keys of the first arrivals.
    fn keys(&mut self, steps: usize, pace: u64) -> &[u64] {
        if self.pace != pace {
            self.keys.clear();
            self.uppers.clear();
            self.pace = pace;
        }
        let more = self.arrivals.get(self.keys.len()..steps).unwrap_or_default();
        self.keys.extend(more.iter().map(|arrival| key(*arrival, pace)));
        let more = self.keys.get(self.uppers.len()..).unwrap_or_default();
        self.uppers.extend(more.iter().map(|key| upper(*key)));
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
            // Of more bits than a region has, those above its own change nothing below them.
            mask: ((1_u32 << region_bits) - 1) as u16,
            start: walk as u16,
            stride: (walk >> 32) as u16 | 1,
            factor: (delay >> 32) as u16 | 1,
            ahead: key(step, self.pace) | self.id,
        }
    }
}

/// One server's order of the buckets of a region: a permutation.
struct Walk {
    mask: u16,
    start: u16,
    stride: u16,
    factor: u16,
    /// What its keys have on top: its id, and a delay of less than one step, since servers of one
    /// capacity would all arrive at once otherwise.
    ahead: u64,
}

impl Walk {
    /// Appends where its first steps lead. A loop of this alone, over whole groups and in numbers
    /// of 16 bits, becomes one over vectors.
    #[inline(never)]
    fn steps(&self, count: usize, buckets: &mut Vec<u16>) {
        let Self { mask, start, stride, factor, .. } = *self;
        let padded = count.next_multiple_of(GROUP) as u16;
        let bucket = |step| scatter(start.wrapping_add(stride.wrapping_mul(step)), mask, factor);
        buckets.extend((0..padded).map(bucket));
    }

    /// Claims each bucket by the key beside it.
    #[inline(never)]
    fn claim_all(&self, best: &mut [[u64; 2]], buckets: &[u16], keys: &[u64]) {
        let mut one = |bucket: u16, key: u64| {
            if let Some(best) = best.get_mut(usize::from(bucket)) {
                claim(best, key.wrapping_add(self.ahead));
            }
        };
        let buckets = buckets.get(..keys.len()).unwrap_or_default();
        let ((groups, rest), (times, last)) = (buckets.as_chunks::<8>(), keys.as_chunks::<8>());
        for (buckets, keys) in groups.iter().zip(times) {
            buckets.iter().zip(keys).for_each(|(bucket, key)| one(*bucket, *key));
        }
        rest.iter().zip(last).for_each(|(bucket, key)| one(*bucket, *key));
    }

    /// The same where few claims enter: `uppers` are the upper halves of `keys`.
    #[inline(never)]
    fn claim_late(&self, late: Late<'_>, buckets: &[u16], keys: &[u64], uppers: &[u32]) {
        let Late { best, latest } = late;
        let ahead = upper(self.ahead);
        let mut one = |bucket: u16, upper: u32, key: &u64| {
            // What a sum of the lower halves would carry makes a key later only.
            if latest
                .get(usize::from(bucket))
                .is_some_and(|latest| upper.wrapping_add(ahead) <= *latest)
            {
                enter(best, latest, bucket, key.wrapping_add(self.ahead));
            }
        };
        let (buckets, rest) = buckets.as_chunks::<8>();
        let ((keys, last), (uppers, last_uppers)) =
            (keys.as_chunks::<8>(), uppers.as_chunks::<8>());
        for ((buckets, keys), uppers) in buckets.iter().zip(keys).zip(uppers) {
            for ((bucket, key), upper) in buckets.iter().zip(keys).zip(uppers) {
                one(*bucket, *upper, key);
            }
        }
        for ((bucket, key), upper) in rest.iter().zip(last).zip(last_uppers) {
            one(*bucket, *upper, key);
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
    mask: u16,
    start: u16,
    stride: u16,
    factor: u16,
    ahead: u64,
}

impl Back {
    /// How many steps lie before a bucket.
    #[inline]
    fn position(&self, bucket: u16) -> u16 {
        let at = (bucket ^ (bucket >> HALF_BITS)).wrapping_mul(self.factor) & self.mask;
        let at = at ^ (at >> HALF_BITS);
        at.wrapping_sub(self.start).wrapping_mul(self.stride) & self.mask
    }
}

/// The bucket at a point of a walk.
#[inline]
const fn scatter(at: u16, mask: u16, factor: u16) -> u16 {
    let at = at & mask;
    let at = (at ^ (at >> HALF_BITS)).wrapping_mul(factor) & mask;
    at ^ (at >> HALF_BITS)
}

/// The inverse of an odd number modulo 2^16 (Newton: each step doubles the correct bits, of which
/// an odd number gives three at once).
const fn inverse(odd: u16) -> u16 {
    let mut inverse = odd;
    let mut correct = 3;
    while correct < u16::BITS {
        inverse = inverse.wrapping_mul(2_u16.wrapping_sub(odd.wrapping_mul(inverse)));
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
                for k in 0..(1_u32 << bits) as u16 {
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
        race.ids().iter().for_each(|[first, _]| firsts[usize::from(*first)] += 1);
        for (id, expect) in [(1, 4096_u32), (2, 8192), (3, 20_480), (4, 32_768)] {
            assert!(firsts[id].abs_diff(expect) < 450, "{firsts:?}");
        }
    }
}
