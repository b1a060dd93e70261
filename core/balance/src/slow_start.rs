//! The share of its weight that an origin has while it warms up.

/// The whole weight, the unit of [`factor`].
pub const WHOLE: u32 = 65_536;

/// A tenth: enough to fill caches and connections, too little to fall over at once.
const START: u64 = 6_554;

/// The factor of an origin's weight in 1/65536: a tenth when it became healthy (`since_ms`), then
/// growing evenly to the whole at the end of `window_ms`. A `since_ms` of 0 (it was healthy from
/// the start) or a window of 0 gives the whole.
#[must_use]
#[inline]
pub fn factor(since_ms: u64, now_ms: u64, window_ms: u64) -> u32 {
    let age = now_ms.saturating_sub(since_ms);
    if since_ms == 0 || age >= window_ms {
        return WHOLE;
    }
    let grown = u128::from(u64::from(WHOLE) - START) * u128::from(age) / u128::from(window_ms);
    u32::try_from(grown + u128::from(START)).unwrap_or(WHOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(since: u64, now: u64, window: u64, expect: u32) {
        assert_eq!(factor(since, now, window), expect, "since {since} now {now} window {window}");
    }

    #[test]
    fn the_weight_grows_from_a_tenth_to_the_whole() {
        check(1_000, 1_000, 10_000, 6_554);
        check(1_000, 6_000, 10_000, 36_045);
        check(1_000, 10_999, 10_000, 65_530);
        check(1_000, 11_000, 10_000, WHOLE);
        check(1_000, u64::MAX, 10_000, WHOLE);
        check(1_000, 500, 10_000, 6_554);
        check(1, u64::MAX - 1, u64::MAX, WHOLE - 1);
    }

    #[test]
    fn no_window_and_no_beginning_mean_the_whole() {
        check(1_000, 1_000, 0, WHOLE);
        check(0, 5, 10_000, WHOLE);
    }
}
