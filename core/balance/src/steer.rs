//! Which origin of a pool, and which pool of a load balancer, gets a request.
//!
//! Candidates come through a closure, one look at each, so that the caller keeps its own state and
//! nothing is copied into a list. See `docs/algorithms/steering.md`.

use crate::rng::{self, SplitMix64};
use core_model::config::{OriginSteering, PoolSteering};

/// Weight of a pool that `random_steering` does not name, tenths.
const POOL_WEIGHT_DEFAULT: u8 = 10;

/// What steering knows of one usable origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Share of the traffic, in any unit that all candidates have in common; see [`weight`].
    pub weight: u32,
    /// Requests sent whose reply has not ended.
    pub in_flight: u32,
    /// Open connections.
    pub connections: u32,
    /// Stable identity of the origin, for hash steering; see [`key`]. It must not depend on the
    /// position in the list, or a removal would move every client.
    pub key: u64,
}

/// The weight of a candidate: the origin's hundredths (0..=100) times the factor of its slow start
/// ([`crate::slow_start::factor`], 0..=65536).
#[must_use]
#[inline]
pub fn weight(hundredths: u8, slow_start: u32) -> u32 {
    u32::from(hundredths).saturating_mul(slow_start)
}

/// The key of an origin, from what identifies it (address and port). Made once for a snapshot.
#[must_use]
pub fn key(identity: &str) -> u64 {
    rng::stable_hash(identity.as_bytes())
}

/// Chooses one of the origins `0..n`. `candidate` gives `None` for an origin that may not be used:
/// disabled, unhealthy, ejected, at its breaker, or tried already.
///
/// An origin of weight 0 gets a request only where all usable ones have weight 0. `random` decides
/// where chance does; `hash` is the client's for [`OriginSteering::Hash`]. `None` where no origin
/// is usable.
#[inline]
pub fn origin(
    policy: OriginSteering,
    n: usize,
    candidate: impl Fn(usize) -> Option<Candidate>,
    random: u64,
    hash: u64,
) -> Option<usize> {
    if n == 1 {
        // There is nothing to weigh.
        return candidate(0).map(|_| 0);
    }
    match policy {
        OriginSteering::Random => weighted(n, |i| candidate(i).map(|c| c.weight), random),
        OriginSteering::LeastOutstandingRequests => {
            least(n, |i| candidate(i).map(|c| (c.in_flight, c.weight)), random)
        }
        OriginSteering::LeastConnections => {
            least(n, |i| candidate(i).map(|c| (c.connections, c.weight)), random)
        }
        OriginSteering::Hash => rendezvous(n, candidate, hash),
    }
}

/// Chooses one of the pools `0..n`, given in the load balancer's order; `None` means the fallback
/// pool, whose own health is ignored.
///
/// Off takes the first usable pool. Random takes each usable pool in proportion to its weight; a
/// pool of weight 0 gets a request only where all usable ones have weight 0.
#[inline]
pub fn pools(
    steering: &PoolSteering,
    n: usize,
    usable: impl Fn(usize) -> bool,
    random: u64,
) -> Option<usize> {
    match steering {
        PoolSteering::Off => (0..n).find(|i| usable(*i)),
        PoolSteering::Random(weights) => weighted(
            n,
            |i| {
                let weight = weights.get(i).copied().unwrap_or(POOL_WEIGHT_DEFAULT);
                usable(i).then_some(u32::from(weight))
            },
            random,
        ),
    }
}

/// Whether an origin counts as healthy: with a monitor only where the monitor said so (unknown
/// counts as down), without one always.
#[must_use]
#[inline]
pub fn origin_healthy(monitored: bool, decided: Option<bool>) -> bool {
    !monitored || decided == Some(true)
}

/// Whether a pool may get requests: it is enabled and at least `minimum_origins`, and at least one,
/// of its enabled origins count as healthy ([`origin_healthy`]). The fallback pool is not asked.
#[must_use]
#[inline]
pub fn pool_usable(healthy: u32, minimum_origins: u32, enabled: bool) -> bool {
    enabled && healthy >= minimum_origins.max(1)
}

/// Health of a pool as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolHealth {
    /// The pool is disabled or has no monitor.
    NotMonitored,
    /// No probe of any enabled origin was decided.
    Unknown,
    /// All enabled origins are healthy.
    Healthy,
    /// Some are not, but enough are.
    Degraded,
    /// Fewer than `minimum_origins` are healthy; the pool gets no requests.
    Critical,
}

/// What [`pool_health`] looks at. Origins are counted where they are enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolCounts {
    /// Whether the pool is enabled and has a monitor.
    pub monitored: bool,
    /// Enabled origins.
    pub origins: u32,
    /// Of these, the ones that the monitor decided on.
    pub decided: u32,
    /// Of these, the healthy ones.
    pub healthy: u32,
    /// The pool's setting.
    pub minimum_origins: u32,
}

/// The health of a pool for status pages and metrics.
#[must_use]
pub fn pool_health(counts: PoolCounts) -> PoolHealth {
    if !counts.monitored {
        PoolHealth::NotMonitored
    } else if counts.decided == 0 {
        PoolHealth::Unknown
    } else if !pool_usable(counts.healthy, counts.minimum_origins, true) {
        PoolHealth::Critical
    } else if counts.healthy < counts.origins {
        PoolHealth::Degraded
    } else {
        PoolHealth::Healthy
    }
}

/// One pass of weighted sampling: the k-th candidate replaces the choice with probability
/// weight / sum of the weights so far, so that each ends up chosen in proportion to its weight.
fn weighted(n: usize, weight: impl Fn(usize) -> Option<u32>, random: u64) -> Option<usize> {
    let mut rng = SplitMix64::new(random);
    let mut chosen = None;
    let mut sum = 0_u64;
    let mut idle = 0_u64;
    for i in 0..n {
        let Some(weight) = weight(i) else { continue };
        if weight > 0 {
            sum += u64::from(weight);
            if rng.below(sum) < u64::from(weight) {
                chosen = Some(i);
            }
        } else if sum == 0 {
            idle += 1;
            if rng.below(idle) == 0 {
                chosen = Some(i);
            }
        }
    }
    chosen
}

/// The smallest (load + 1) / weight, which is the largest weight / (1 + load). Equals share by
/// chance, so that workers which see the same numbers do not all choose the same origin.
fn least(n: usize, load: impl Fn(usize) -> Option<(u32, u32)>, random: u64) -> Option<usize> {
    let mut rng = SplitMix64::new(random);
    let mut best: Option<(usize, u64, u64)> = None;
    let mut equals = 1_u64;
    for i in 0..n {
        let Some((load, weight)) = load(i) else { continue };
        let (load, weight) = (u64::from(load) + 1, u64::from(weight));
        let Some((_, best_load, best_weight)) = best else {
            best = Some((i, load, weight));
            continue;
        };
        let order = match (weight == 0, best_weight == 0) {
            (false, false) => (load * best_weight).cmp(&(best_load * weight)),
            (true, true) => load.cmp(&best_load),
            (here_is_zero, _) => here_is_zero.cmp(&false).then(std::cmp::Ordering::Less),
        };
        match order {
            std::cmp::Ordering::Less => {
                best = Some((i, load, weight));
                equals = 1;
            }
            std::cmp::Ordering::Equal => {
                equals += 1;
                if rng.below(equals) == 0 {
                    best = Some((i, load, weight));
                }
            }
            std::cmp::Ordering::Greater => {}
        }
    }
    best.map(|(i, _, _)| i)
}

/// Weighted rendezvous hashing: each candidate draws an exponential variate from (client, key) and
/// divides it by its weight; the smallest wins. A candidate that leaves moves only its own clients,
/// one whose weight grows takes clients from the others and moves no other one.
fn rendezvous(
    n: usize,
    candidate: impl Fn(usize) -> Option<Candidate>,
    hash: u64,
) -> Option<usize> {
    let mut best: Option<(usize, bool, f64)> = None;
    let client = rng::mix(hash);
    for i in 0..n {
        let Some(candidate) = candidate(i) else { continue };
        let drawn = exponential(rng::mix(client ^ candidate.key));
        let idle = candidate.weight == 0;
        let score = drawn / f64::from(candidate.weight.max(1));
        let better =
            best.is_none_or(
                |(_, best_idle, best_score)| {
                    if idle == best_idle { score < best_score } else { best_idle }
                },
            );
        if better {
            best = Some((i, idle, score));
        }
    }
    best.map(|(i, _, _)| i)
}

/// 53 random bits as an exponential variate.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exact in an f64")]
fn exponential(random: u64) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    // Half a step keeps the argument of the logarithm above 0.
    -(((random >> 11) as f64 + 0.5) * STEP).ln()
}

#[cfg(test)]
mod tests;
