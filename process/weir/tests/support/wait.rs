//! Waiting for a state with a bound. A test that waits for time to pass instead is slow and flaky.

use std::time::{Duration, Instant};

/// Ample for anything that happens at once on loopback, even on a busy two-core machine.
pub(crate) const SOON: Duration = Duration::from_secs(15);
/// Between two looks at a state.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until `state` gives a value; fails the test with `what` after `bound`.
#[track_caller]
pub(crate) fn value<T>(what: &str, bound: Duration, mut state: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = state() {
            return value;
        }
        assert!(start.elapsed() < bound, "waited {bound:?} in vain until {what}");
        std::thread::sleep(LOOK);
    }
}

/// Waits until `state` holds; fails the test with `what` after `bound`.
#[track_caller]
pub(crate) fn until(what: &str, bound: Duration, mut state: impl FnMut() -> bool) {
    value(what, bound, || state().then_some(()));
}

/// Whether `state` holds within `bound`.
pub(crate) fn holds(bound: Duration, mut state: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < bound {
        if state() {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    state()
}
