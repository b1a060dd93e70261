//! A pool over virtual time, from a seed: shares, failure and recovery, movement of hashed clients.
//!
//! Each test prints the seed that repeats a failure.

use core_balance::health::{Outcome, Tracker, Transition};
use core_balance::rng::SplitMix64;
use core_balance::{outlier, slow_start, steer};
use core_model::config::{OriginSteering, OutlierEjection};
use std::time::Duration;

const SEEDS: u64 = 5;
const PROBE_MS: u64 = 1_000;
const SLOW_START_MS: u64 = 10_000;
const POLICIES: [OriginSteering; 4] = [
    OriginSteering::Random,
    OriginSteering::LeastOutstandingRequests,
    OriginSteering::LeastConnections,
    OriginSteering::Hash,
];

struct Origin {
    key: u64,
    weight: u8,
    works: bool,
    tracker: Tracker,
    healthy_since_ms: u64,
    /// Ends of the requests in flight.
    running: Vec<u64>,
    passive: outlier::Record,
}

struct Pool {
    policy: OriginSteering,
    origins: Vec<Origin>,
    ejection: OutlierEjection,
    rng: SplitMix64,
    now_ms: u64,
    failed: u64,
}

impl Pool {
    fn new(policy: OriginSteering, weights: &[u8], seed: u64) -> Self {
        let origin = |(i, weight): (usize, &u8)| Origin {
            key: steer::key(&format!("192.0.2.{i}:80")),
            weight: *weight,
            works: true,
            tracker: Tracker::resume(Some(true)),
            healthy_since_ms: 0,
            running: Vec::new(),
            passive: outlier::Record::default(),
        };
        Self {
            policy,
            origins: weights.iter().enumerate().map(origin).collect(),
            ejection: OutlierEjection {
                consecutive_failures: 5,
                base_time: Duration::from_secs(3),
                max_time: Duration::from_secs(30),
                max_percent: 50,
            },
            rng: SplitMix64::new(seed),
            now_ms: 1,
            failed: 0,
        }
    }

    fn candidate(&self, i: usize) -> Option<steer::Candidate> {
        let origin = &self.origins[i];
        let healthy = steer::origin_healthy(true, origin.tracker.healthy());
        let load = count(origin.running.len());
        (healthy && self.now_ms >= origin.passive.ejected_until_ms).then(|| steer::Candidate {
            weight: steer::weight(
                origin.weight,
                slow_start::factor(origin.healthy_since_ms, self.now_ms, SLOW_START_MS),
            ),
            in_flight: load,
            connections: load,
            key: origin.key,
        })
    }

    /// One request of a random client; it takes 5 to 15 ms at an origin that works.
    fn request(&mut self) -> Option<usize> {
        let (random, client) = (self.rng.next(), self.rng.next());
        let n = self.origins.len();
        let chosen = steer::origin(self.policy, n, |i| self.candidate(i), random, client)?;
        let ejected = self.origins.iter().filter(|o| self.now_ms < o.passive.ejected_until_ms);
        let share = outlier::Share { origins: count(n), ejected: count(ejected.count()) };
        let ends = self.now_ms + 5 + self.rng.below(11);
        let origin = &mut self.origins[chosen];
        if origin.works {
            origin.running.push(ends);
            origin.passive.consecutive_failures = 0;
            origin.passive.ejections =
                outlier::on_success(origin.passive, &self.ejection, self.now_ms);
            return Some(chosen);
        }
        self.failed += 1;
        origin.passive.consecutive_failures += 1;
        let decision = outlier::on_failure(origin.passive, share, &self.ejection, self.now_ms);
        if let outlier::Decision::Eject { until_ms } = decision {
            origin.passive.ejected_until_ms = until_ms;
            origin.passive.ejections += 1;
            origin.passive.consecutive_failures = 0;
        }
        Some(chosen)
    }

    /// `ms` milliseconds with `rate` requests in each; how many each origin got.
    fn run(&mut self, ms: u64, rate: u64) -> Vec<u64> {
        let mut got = vec![0; self.origins.len()];
        for _ in 0..ms {
            self.now_ms += 1;
            let now = self.now_ms;
            for origin in &mut self.origins {
                origin.running.retain(|end| *end > now);
                if now.is_multiple_of(PROBE_MS) {
                    let outcome = if origin.works { Outcome::Success } else { Outcome::Failure };
                    if origin.tracker.observe(outcome, 2, 2) == Some(Transition::Up) {
                        origin.healthy_since_ms = now;
                    }
                }
            }
            for _ in 0..rate {
                if let Some(i) = self.request() {
                    got[i] += 1;
                }
            }
        }
        got
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn percent(part: u64, whole: &[u64]) -> u64 {
    part * 100 / whole.iter().sum::<u64>().max(1)
}

#[test]
fn shares_follow_the_weights() {
    for seed in 0..SEEDS {
        for policy in POLICIES {
            let got = Pool::new(policy, &[100, 50, 50], seed).run(2_000, 8);
            let shares: Vec<u64> = got.iter().map(|n| percent(*n, &got)).collect();
            let near = (47..=53).contains(&shares[0]) && (22..=28).contains(&shares[1]);
            assert!(near, "seed {seed} {policy:?}: {shares:?}");
        }
    }
}

#[test]
fn a_dead_origin_is_left_within_a_few_requests_and_returns_gently() {
    for seed in 0..SEEDS {
        for policy in POLICIES {
            let says = format!("seed {seed} {policy:?}");
            let mut pool = Pool::new(policy, &[100; 4], seed);
            pool.run(PROBE_MS, 8);
            pool.origins[1].works = false;
            pool.run(20 * PROBE_MS, 8);
            // Ejection ends the damage before the monitor does, with the threshold for each time.
            assert!(pool.failed <= 5, "{says}: {} failed", pool.failed);
            assert_eq!(pool.run(PROBE_MS, 8)[1], 0, "{says}");

            pool.origins[1].works = true;
            while pool.origins[1].healthy_since_ms == 0 {
                assert!(pool.now_ms < 60 * PROBE_MS, "{says}: never healthy again");
                pool.run(1, 8);
            }
            let first = pool.run(500, 8);
            let share = percent(first[1], &first);
            assert!((1..=8).contains(&share), "{says}: {share} % at once");
            pool.run(SLOW_START_MS, 8);
            let whole = pool.run(2_000, 8);
            let share = percent(whole[1], &whole);
            assert!((22..=28).contains(&share), "{says}: {share} % in the end");
        }
    }
}

#[test]
fn half_of_the_pool_stays_in_whatever_fails() {
    for seed in 0..SEEDS {
        let mut pool = Pool::new(OriginSteering::Random, &[100; 4], seed);
        for origin in &mut pool.origins {
            origin.works = false;
        }
        for _ in 0..PROBE_MS {
            pool.run(1, 8);
            let now = pool.now_ms;
            let out = pool.origins.iter().filter(|o| now < o.passive.ejected_until_ms).count();
            assert!(out <= 2, "seed {seed}: {out} ejected");
        }
    }
}

#[test]
fn hash_moves_the_clients_of_the_lost_origin_and_no_others() {
    const CLIENTS: u64 = 20_000;
    for seed in 0..SEEDS {
        let pool = Pool::new(OriginSteering::Hash, &[100; 8], seed);
        let mut rng = SplitMix64::new(seed);
        let (mut of_lost, mut spread) = (0, [0_u64; 8]);
        for _ in 0..CLIENTS {
            let client = rng.next();
            let all = |i: usize| pool.candidate(i);
            let without = |i: usize| if i == 3 { None } else { pool.candidate(i) };
            // The list without the origin is one shorter, as after a reload that removed it.
            let shorter = |i: usize| pool.candidate(if i < 3 { i } else { i + 1 });
            let before = steer::origin(OriginSteering::Hash, 8, all, 0, client).unwrap();
            let after = steer::origin(OriginSteering::Hash, 8, without, 0, client).unwrap();
            let removed = steer::origin(OriginSteering::Hash, 7, shorter, 0, client).unwrap();
            assert_eq!(if removed < 3 { removed } else { removed + 1 }, after, "seed {seed}");
            if before == 3 {
                of_lost += 1;
                spread[after] += 1;
            } else {
                assert_eq!(before, after, "seed {seed} client {client}");
            }
        }
        let share = of_lost * 1_000 / CLIENTS;
        assert!((115..=135).contains(&share), "seed {seed}: {share} ‰ moved");
        let even = of_lost / 7;
        let near = |n: &u64| *n > even * 7 / 10 && *n < even * 13 / 10;
        assert_eq!(spread.iter().filter(|n| near(n)).count(), 7, "seed {seed}: {spread:?}");
    }
}
