//! Timestamps of objects: RFC 3339 in UTC with microseconds, as Cloudflare's SDKs read them.

const MICROSECONDS: u64 = 1_000_000;
const DAY_SECONDS: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAYS: u64 = 719_468;
/// Days of 400 years.
const ERA_DAYS: u64 = 146_097;

/// `2026-11-21T16:11:09.000000Z` from microseconds since 1970 without leap seconds.
///
/// Years beyond 9999, which RFC 3339 cannot write, come out with more digits.
#[must_use]
pub fn timestamp(us: u64) -> String {
    let (seconds, fraction) = (us / MICROSECONDS, us % MICROSECONDS);
    let (year, month, day) = date(seconds / DAY_SECONDS);
    let second = seconds % DAY_SECONDS;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
}

/// Year, month and day of a day since 1970. Years are taken to begin in March, so that the leap
/// day is the last of its year and months have a regular length of 30.6 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{DAY_SECONDS, MICROSECONDS, date, timestamp};
    use proptest::prelude::*;

    #[track_caller]
    fn check(us: u64, expect: &str) {
        assert_eq!(timestamp(us), expect);
    }

    #[test]
    fn known_moments() {
        check(0, "1970-01-01T00:00:00.000000Z");
        check(1, "1970-01-01T00:00:00.000001Z");
        check(951_782_399_999_999, "2000-02-28T23:59:59.999999Z");
        check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
        check(951_868_800_000_000, "2000-03-01T00:00:00.000000Z");
        check(1_388_553_600_123_456, "2014-01-01T05:20:00.123456Z");
        check(1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z");
        check(1_735_689_599_000_000, "2024-12-31T23:59:59.000000Z");
        check(4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z");
        check(253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z");
    }

    /// Days of a month by the rule that everybody knows.
    fn month_days(year: u64, month: u64) -> u64 {
        match month {
            4 | 6 | 9 | 11 => 30,
            2 if year.is_multiple_of(4)
                && (!year.is_multiple_of(100) || year.is_multiple_of(400)) =>
            {
                29
            }
            2 => 28,
            _ => 31,
        }
    }

    #[test]
    fn eight_centuries_day_by_day() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..800 * 366 {
            assert_eq!(date(days), (year, month, day), "day {days}");
            day += 1;
            if day > month_days(year, month) {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }

    proptest! {
        #[test]
        fn later_moments_sort_later(a in 0u64..253_402_300_799_999_999, b in 0u64..10_000_000_000) {
            let (one, two) = (timestamp(a), timestamp(a + b));
            prop_assert!(one.len() == 27 || one > timestamp(a - 1));
            prop_assert!(b == 0 || two > one || two.len() > one.len());
        }

        #[test]
        fn the_time_of_day_is_what_is_left_of_the_day(us in 0u64..253_402_300_799_999_999) {
            let text = timestamp(us);
            let number = |at: usize, length: usize| text[at..at + length].parse::<u64>().unwrap();
            let second = number(11, 2) * 3_600 + number(14, 2) * 60 + number(17, 2);
            let day = us % (DAY_SECONDS * MICROSECONDS);
            prop_assert_eq!(second * MICROSECONDS + number(20, 6), day);
        }
    }
}
