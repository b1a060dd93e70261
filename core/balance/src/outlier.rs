//! Passive health: failures in a row on real requests keep requests away from an origin for a time.

use core_model::config::OutlierEjection;
use std::time::Duration;

/// What passive health knows of one origin, this result included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Ejections that are not forgiven.
    pub ejections: u32,
    /// End of the last ejection, milliseconds on the caller's clock; 0 for none.
    pub ejected_until_ms: u64,
}

/// What passive health knows of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Enabled origins.
    pub origins: u32,
    /// Of these, the ones ejected at this moment.
    pub ejected: u32,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    None,
    /// The origin gets no requests until then; the caller counts one more ejection and starts to
    /// count failures again.
    Eject {
        /// Milliseconds on the caller's clock.
        until_ms: u64,
    },
}

/// Whether a failure ejects its origin. `record.consecutive_failures` includes it.
///
/// The n-th ejection lasts n times `base_time`, at most `max_time`. An origin is left in where its
/// ejection would put more than `max_percent` of the pool out, and one that is ejected already
/// (its last requests still fail) is not ejected for longer.
#[must_use]
pub fn on_failure(record: Record, share: Share, policy: &OutlierEjection, now_ms: u64) -> Decision {
    let enough = policy.consecutive_failures > 0
        && record.consecutive_failures >= policy.consecutive_failures;
    if !enough || now_ms < record.ejected_until_ms || !fits(share, policy.max_percent) {
        return Decision::None;
    }
    let nth = record.ejections.saturating_add(1);
    let time = policy.base_time.saturating_mul(nth).min(policy.max_time);
    Decision::Eject { until_ms: now_ms.saturating_add(millis(time)) }
}

/// The ejections that stand after a success: all are forgiven once the origin was in for as long
/// as the longest ejection. The caller sets failures in a row to 0.
#[must_use]
#[inline]
pub fn on_success(record: Record, policy: &OutlierEjection, now_ms: u64) -> u32 {
    let forgiven = record.ejected_until_ms.saturating_add(millis(policy.max_time));
    if now_ms >= forgiven { 0 } else { record.ejections }
}

fn fits(share: Share, max_percent: u32) -> bool {
    let out = u64::from(share.ejected) + 1;
    out * 100 <= u64::from(share.origins) * u64::from(max_percent)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(consecutive_failures: u32, max_percent: u32) -> OutlierEjection {
        OutlierEjection {
            consecutive_failures,
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(100),
            max_percent,
        }
    }

    #[track_caller]
    fn check(says: &str, policy: &OutlierEjection, given: [u32; 4], until: u64, expect: u64) {
        let [consecutive_failures, ejections, origins, ejected] = given;
        let record = Record { consecutive_failures, ejections, ejected_until_ms: until };
        let got = match on_failure(record, Share { origins, ejected }, policy, 1_000) {
            Decision::None => 0,
            Decision::Eject { until_ms } => until_ms,
        };
        assert_eq!(got, expect, "{says}");
    }

    #[test]
    fn failures_in_a_row_eject() {
        let five = policy(5, 50);
        check("four are too few", &five, [4, 0, 4, 0], 0, 0);
        check("five eject", &five, [5, 0, 4, 0], 0, 31_000);
        check("more eject too", &five, [9, 0, 4, 0], 0, 31_000);
        check("the second lasts twice as long", &five, [5, 1, 4, 0], 900, 61_000);
        check("the fourth is cut to the longest", &five, [5, 3, 4, 0], 900, 101_000);
        check("an endless count stays at the longest", &five, [5, u32::MAX, 4, 0], 0, 101_000);
        check("out already", &five, [6, 1, 4, 1], 1_001, 0);
        check("the end of an ejection is in", &five, [6, 1, 4, 1], 1_000, 61_000);
        check("0 disables", &policy(0, 50), [99, 0, 4, 0], 0, 0);
    }

    #[test]
    fn a_pool_keeps_its_share() {
        check("half of four", &policy(1, 50), [1, 0, 4, 1], 0, 31_000);
        check("not three of four", &policy(1, 50), [1, 0, 4, 2], 0, 0);
        check("one of two", &policy(1, 50), [1, 0, 2, 0], 0, 31_000);
        check("not the only one", &policy(1, 50), [1, 0, 1, 0], 0, 0);
        check("one in three is less than 34 percent", &policy(1, 34), [1, 0, 3, 0], 0, 31_000);
        check("all where 100 percent may go", &policy(1, 100), [1, 0, 1, 0], 0, 31_000);
    }

    #[test]
    fn ejections_are_forgiven_after_a_long_good_time() {
        let policy = policy(5, 50);
        let record = Record { consecutive_failures: 0, ejections: 3, ejected_until_ms: 5_000 };
        assert_eq!(on_success(record, &policy, 5_001), 3);
        assert_eq!(on_success(record, &policy, 104_999), 3);
        assert_eq!(on_success(record, &policy, 105_000), 0);
    }
}
