//! When a target is probed: at the ticks of its own phase, so that probes spread over the interval.

use core_balance::rng;
use std::time::Duration;

/// The shortest interval, whatever the configuration says: a probe loop never spins.
pub(crate) const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// The place of a target within its interval, the same in every run; `hash` is of its identity.
pub(crate) fn phase(hash: u64, interval: Duration) -> Duration {
    let nanos = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
    // The upper bits decide, as in `hash / 2^64 * interval`.
    let share = (u128::from(rng::mix(hash)) * u128::from(nanos)) >> 64;
    Duration::from_nanos(u64::try_from(share).unwrap_or(0))
}

/// The first tick after `elapsed`; ticks are at `phase + k * interval` since the prober's start.
pub(crate) fn next_tick(elapsed: Duration, phase: Duration, interval: Duration) -> Duration {
    let interval = interval.max(INTERVAL_MIN);
    let Some(past) = elapsed.checked_sub(phase) else { return phase };
    let rounds = past.as_nanos() / interval.as_nanos() + 1;
    let ahead = u64::try_from(rounds * interval.as_nanos()).unwrap_or(u64::MAX);
    phase.saturating_add(Duration::from_nanos(ahead))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[track_caller]
    fn check(elapsed_ms: u64, phase_ms: u64, interval_ms: u64, expect_ms: u64) {
        let ms = Duration::from_millis;
        let got = next_tick(ms(elapsed_ms), ms(phase_ms), ms(interval_ms));
        assert_eq!(got, ms(expect_ms), "{elapsed_ms} {phase_ms} {interval_ms}");
    }

    #[test]
    fn the_next_tick_is_after_the_present() {
        check(0, 300, 1_000, 300);
        check(299, 300, 1_000, 300);
        check(300, 300, 1_000, 1_300);
        check(1_299, 300, 1_000, 1_300);
        check(9_999, 300, 1_000, 10_300);
        check(0, 0, 1_000, 1_000);
        check(5, 0, 0, 10);
    }

    #[test]
    fn phases_spread_over_the_interval() {
        let mut tenths = [0_u32; 10];
        for i in 0..1_000 {
            let hash = rng::stable_hash(format!("pool origin-{i} 192.0.2.1:80").as_bytes());
            let phase = phase(hash, 60 * S);
            assert!(phase < 60 * S);
            tenths[usize::try_from(phase.as_secs() / 6).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|n| (60..150).contains(n)), "{tenths:?}");
    }
}
