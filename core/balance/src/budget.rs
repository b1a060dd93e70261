//! How many retries a pool may carry, so that they cannot double the load of one in trouble.

/// Whether one more retry may start: the retries in flight stay below `percent` of the requests in
/// flight (`active`, retries included), or below `min` where that is more.
#[must_use]
#[inline]
pub fn may_retry(active: u32, retrying: u32, percent: u32, min: u32) -> bool {
    let share = u64::from(active) * u64::from(percent) / 100;
    u64::from(retrying) < share.max(u64::from(min))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(active: u32, retrying: u32, percent: u32, min: u32, expect: bool) {
        let got = may_retry(active, retrying, percent, min);
        assert_eq!(got, expect, "{retrying} of {active}, {percent} % or {min}");
    }

    #[test]
    fn retries_are_a_share_of_the_requests_with_a_floor() {
        check(1, 0, 20, 3, true);
        check(1, 2, 20, 3, true);
        check(1, 3, 20, 3, false);
        check(100, 19, 20, 3, true);
        check(100, 20, 20, 3, false);
        check(0, 0, 20, 0, false);
        check(100, 0, 0, 0, false);
        check(u32::MAX, u32::MAX - 1, 100, 0, true);
    }
}
