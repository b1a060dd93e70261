//! When probes change the health of an origin.

/// The result of one probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The origin answered as expected.
    Success,
    /// It did not.
    Failure,
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// The origin is healthy from this probe on.
    Up,
    /// The origin is unhealthy from this probe on.
    Down,
}

/// Health of one monitored origin: unknown until the first probe ends, which decides at once; from
/// then on only results in a row change it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracker {
    healthy: Option<bool>,
    /// Results in a row that speak against `healthy`.
    against: u32,
}

impl Tracker {
    /// A tracker that goes on from a known health; `None` is unknown.
    #[must_use]
    pub fn resume(healthy: Option<bool>) -> Self {
        Self { healthy, against: 0 }
    }

    /// The health decided, or `None` before the first result.
    #[must_use]
    pub fn healthy(&self) -> Option<bool> {
        self.healthy
    }

    /// Notes a result. `consecutive_up` successes in a row make an unhealthy origin healthy and
    /// `consecutive_down` failures in a row a healthy one unhealthy; 0 and 1 mean the first one.
    pub fn observe(
        &mut self,
        outcome: Outcome,
        consecutive_up: u32,
        consecutive_down: u32,
    ) -> Option<Transition> {
        let good = outcome == Outcome::Success;
        let needed = match self.healthy {
            None => 1,
            Some(healthy) if healthy == good => {
                self.against = 0;
                return None;
            }
            Some(_) if good => consecutive_up,
            Some(_) => consecutive_down,
        };
        self.against = self.against.saturating_add(1);
        if self.against < needed {
            return None;
        }
        *self = Self::resume(Some(good));
        Some(if good { Transition::Up } else { Transition::Down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `results`: `+` success, `-` failure. `expect`: `U` up, `D` down, `.` no change.
    #[track_caller]
    fn check(up: u32, down: u32, results: &str, expect: &str) {
        let mut tracker = Tracker::default();
        let got: String = results
            .chars()
            .map(|result| {
                let outcome = if result == '+' { Outcome::Success } else { Outcome::Failure };
                match tracker.observe(outcome, up, down) {
                    Some(Transition::Up) => 'U',
                    Some(Transition::Down) => 'D',
                    None => '.',
                }
            })
            .collect();
        assert_eq!(got, expect, "up {up} down {down} results {results}");
    }

    #[test]
    fn the_first_result_decides_whatever_the_settings() {
        check(3, 3, "+", "U");
        check(3, 3, "-", "D");
    }

    #[test]
    fn zero_and_one_mean_the_next_result() {
        check(0, 0, "+-+-", "UDUD");
        check(1, 1, "+-+-", "UDUD");
    }

    #[test]
    fn only_results_in_a_row_change_health() {
        check(2, 3, "+--+---", "U.....D");
        check(2, 3, "-+-++", "D...U");
        check(3, 1, "+-++-+++", "UD.....U");
        check(1, 2, "+-+-+-", "U.....");
    }

    #[test]
    fn a_resumed_tracker_goes_on_from_its_health() {
        let mut tracker = Tracker::resume(Some(true));
        assert_eq!(tracker.observe(Outcome::Success, 1, 2), None);
        assert_eq!(tracker.observe(Outcome::Failure, 1, 2), None);
        assert_eq!(tracker.observe(Outcome::Failure, 1, 2), Some(Transition::Down));
        assert_eq!(tracker.healthy(), Some(false));
    }
}
