//! What the demo's own requests came to: totals, and what the last second looked like.

use super::origins::NAMES;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures told one by one: the first ones show what is wrong, more would bury the rest.
const FAILURES_TOLD: u64 = 10;

/// Prints a line; a reader that went away (`weir demo | head`) is no reason to fail.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Requests counted by all clients of the demo.
#[derive(Debug)]
pub(super) struct Tally {
    began: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    requests: u64,
    failed: u64,
    /// Of the second that runs: times of good replies in microseconds, and replies by origin.
    times_us: Vec<u64>,
    by_origin: [u64; NAMES.len()],
    /// Good replies by door.
    by_door: Vec<u64>,
}

/// What the clients saw in a second.
#[derive(Debug)]
pub(super) struct Second {
    /// Seconds since the start.
    at: u64,
    /// Good replies.
    pub(super) good: u64,
    /// Good replies by origin.
    pub(super) by_origin: [u64; NAMES.len()],
    /// Good replies by door; doors behind the last one that gave any are left out.
    pub(super) by_door: Vec<u64>,
    /// Failures since the start.
    failed: u64,
    p99_us: u64,
}

impl Second {
    /// How many of the good replies these are, in percent.
    pub(super) fn share(&self, count: u64) -> u64 {
        // At most a few hundred requests a second: the product is small.
        count * 100 / self.good.max(1)
    }

    /// The line of progress, with `middle` between rate and failures.
    pub(super) fn line(&self, middle: &str) -> String {
        let Self { at, good, failed, p99_us, .. } = self;
        let (ms, tenth) = (p99_us / 1000, p99_us % 1000 / 100);
        format!("{at:4}s {good:4} req/s {middle}   {failed} failed   p99 {ms}.{tenth} ms")
    }

    /// The line of progress by origin.
    pub(super) fn by_origins(&self) -> String {
        let mut middle = String::new();
        for (name, count) in NAMES.iter().zip(self.by_origin) {
            // A string takes everything.
            let _ = write!(middle, "  {name} {:3}%", self.share(count));
        }
        self.line(&middle)
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), counts: Mutex::default() }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply came by the door of this index and was right; `origin` is that of who made it.
    pub(super) fn completed(&self, door: usize, origin: usize, took: Duration) {
        let mut counts = self.counts();
        counts.requests += 1;
        counts.times_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if let Some(count) = counts.by_origin.get_mut(origin) {
            *count += 1;
        }
        if counts.by_door.len() <= door {
            counts.by_door.resize(door + 1, 0);
        }
        if let Some(count) = counts.by_door.get_mut(door) {
            *count += 1;
        }
    }

    /// No reply came, or a wrong one.
    pub(super) fn failed(&self, why: &str) {
        let failed = {
            let mut counts = self.counts();
            counts.requests += 1;
            counts.failed += 1;
            counts.failed
        };
        if failed <= FAILURES_TOLD {
            let at = self.began.elapsed().as_secs_f32();
            let _ = writeln!(std::io::stderr().lock(), "failed after {at:.3}s: {why}");
        }
    }

    /// All requests so far, and those of them that failed.
    pub(super) fn totals(&self) -> (u64, u64) {
        let counts = self.counts();
        (counts.requests, counts.failed)
    }

    /// The second that ends at this call; the next one begins.
    pub(super) fn second(&self) -> Second {
        let mut counts = self.counts();
        let mut times = std::mem::take(&mut counts.times_us);
        let by_origin = std::mem::take(&mut counts.by_origin);
        let by_door = std::mem::take(&mut counts.by_door);
        let failed = counts.failed;
        drop(counts);
        times.sort_unstable();
        let p99 = (times.len() * 99).div_ceil(100).saturating_sub(1);
        let p99_us = times.get(p99).copied().unwrap_or(0);
        let at = self.began.elapsed().as_secs();
        Second { at, good: times.len() as u64, by_origin, by_door, failed, p99_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_told_and_the_next_one_starts_empty() {
        let tally = Tally::new();
        for ms in 1..=100 {
            tally.completed(1, usize::from(ms > 75), Duration::from_millis(ms));
        }
        tally.failed("for the test");
        assert_eq!(tally.totals(), (101, 1));
        let shares = "alpha  75%  beta  25%  gamma   0%   1 failed   p99 99.0 ms";
        let second = tally.second();
        assert_eq!((second.by_door.as_slice(), second.share(25)), (&[0, 100][..], 25));
        let line = second.by_origins();
        assert!(line.contains(" 100 req/s") && line.ends_with(shares), "{line}");
        let line = tally.second().by_origins();
        assert!(line.contains("   0 req/s") && line.ends_with("1 failed   p99 0.0 ms"), "{line}");
    }
}
