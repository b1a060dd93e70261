//! Counts durations in log-linear buckets, so that a percentile costs no memory per sample.

use std::time::Duration;

/// Buckets per power of two: a reported value is at most 1/64 above the true one.
const STEPS: u64 = 64;
const STEPS_LOG2: u32 = STEPS.ilog2();
/// Every nanosecond count of 64 bits has a bucket.
const BUCKETS: usize = (64 - STEPS_LOG2 as usize + 1) * STEPS as usize;

/// How often each duration came up.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
    }

    /// Samples counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration that `share` (0 to 1) of the samples do not exceed; zero without samples.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(highest(index));
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEPS_LOG2;
    // The top bits are STEPS..2*STEPS, so each further power of two takes the next STEPS buckets.
    shift as usize * STEPS as usize + (nanos >> shift) as usize
}

/// The largest value of a bucket.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let top = index - shift * STEPS;
    ((top + 1) << shift).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_a_64th() {
        for nanos in [0, 1, 63, 64, 65, 127, 128, 129, 1000, 123_456, 1 << 40, u64::MAX] {
            let top = highest(bucket(nanos));
            assert!(top >= nanos, "{nanos}: {top}");
            assert!(top - nanos <= nanos / STEPS, "{nanos}: {top}");
            if nanos > 0 {
                assert!(bucket(nanos - 1) <= bucket(nanos));
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_of_a_known_set() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0), (0.0, 1.0)] {
            let got = histogram.percentile(share).as_nanos() as f64 / 1000.0;
            assert!((micros..=micros * 1.016 + 0.1).contains(&got), "{share}: {got}");
        }
        assert_eq!(histogram.total(), 1000);
        assert_eq!(Histogram::default().percentile(0.5), Duration::ZERO);
    }
}
