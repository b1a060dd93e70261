//! Reads how many tests passed and failed from what cargo test and cargo-nextest print.

use std::ops::AddAssign;

/// Tests or checks that passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How many passed.
    pub(crate) passed: usize,
    /// How many failed, counting those that were due and did not run.
    pub(crate) failed: usize,
}

impl Count {
    /// One check.
    pub(crate) fn one(ok: bool) -> Self {
        Self { passed: usize::from(ok), failed: usize::from(!ok) }
    }

    /// The same, with a failure added where the program failed without a failed test, as a test
    /// that does not compile does.
    pub(crate) fn with_exit(mut self, ok: bool) -> Self {
        if !ok && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The closing line of cargo-nextest in `text`, or the sum of those of cargo test. What a failed
/// test printed is shown by cargo-nextest too, and may hold lines of the other form.
pub(crate) fn tests(text: &str) -> Count {
    let summary = |line: &str| line.trim_start().strip_prefix("Summary [").map(nextest);
    if let Some(count) = text.lines().rev().find_map(summary) {
        return count;
    }
    let mut sum = Count::default();
    for rest in text.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        sum += Count { passed: before(rest, " passed"), failed: before(rest, " failed") };
    }
    sum
}

/// `0.1s] 3/5 tests run: 2 passed (1 slow), 1 failed, 0 skipped`: all five were due.
fn nextest(rest: &str) -> Count {
    let due = rest.split_once(']').map_or("", |(_, after)| after).trim_start();
    let due = due.split_whitespace().next().unwrap_or_default();
    let due: usize = due.rsplit('/').next().unwrap_or_default().parse().unwrap_or(0);
    let passed = before(rest, " passed");
    Count { passed, failed: due.saturating_sub(passed) }
}

/// The number that stands directly before `word`, or 0.
fn before(text: &str, word: &str) -> usize {
    let head = text.split_once(word).map_or("", |(head, _)| head);
    head.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Count, tests};

    #[test]
    fn closing_lines_are_summed() {
        for (text, passed, failed) in [
            ("", 0, 0),
            ("test result: ok. 3 passed; 0 failed; 0 ignored;", 3, 0),
            (
                "test result: FAILED. 3 passed; 2 failed;\ntest result: ok. 1 passed; 0 failed;",
                4,
                2,
            ),
            ("  Summary [   0.012s] 1 test run: 1 passed, 0 skipped", 1, 0),
            ("  Summary [   0.012s] 5 tests run: 3 passed (1 slow), 1 failed, 1 timed out", 3, 2),
            ("  Summary [   0.012s] 4/9 tests run: 4 passed, 0 skipped", 4, 5),
            (
                "    test result: FAILED. 0 passed; 1 failed;\nSummary [1s] 1 test run: 0 passed",
                0,
                1,
            ),
            ("warning: a test named `passed` failed", 0, 0),
        ] {
            assert_eq!(tests(text), Count { passed, failed }, "{text}");
        }
    }

    #[test]
    fn a_run_that_fails_without_a_failed_test_counts_one() {
        assert_eq!(tests("").with_exit(false), Count { passed: 0, failed: 1 });
        assert_eq!(tests("").with_exit(true), Count::default());
    }
}
