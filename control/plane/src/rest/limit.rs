//! How often somebody may call: windows by token and by address, and the back-off of an address
//! that shows wrong tokens.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Callers that are told apart; 64 bytes each. Further ones share one count.
pub(crate) const CALLERS_MAX: usize = 65_536;
/// Longest back-off of an address: an operator who mended a script does not wait a day.
const BACK_OFF_MAX: Duration = Duration::from_secs(3_600);
/// Doublings after which [`BACK_OFF_MAX`] is reached from a second.
const STRIKES_MAX: u32 = 12;

/// What is left of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Calls of a window.
    pub(crate) limit: u32,
    /// Calls that are left in this one.
    pub(crate) remaining: u32,
    /// Time until the next one opens.
    pub(crate) reset: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    opened: Instant,
    calls: u32,
}

/// Counts calls of each caller in windows of a fixed length.
#[derive(Debug)]
pub(crate) struct Windows<K> {
    length: Duration,
    limit: u32,
    seen: Mutex<Seen<K>>,
}

#[derive(Debug)]
struct Seen<K> {
    callers: HashMap<K, Window>,
    /// All callers that found no room.
    others: Option<Window>,
}

impl<K: Eq + Hash> Windows<K> {
    /// Windows of `length` with `limit` calls each.
    pub(crate) fn new(length: Duration, limit: u32) -> Self {
        let seen = Mutex::new(Seen { callers: HashMap::new(), others: None });
        Self { length, limit, seen }
    }

    /// Counts one call at `now`. The error says what is left: nothing.
    pub(crate) fn count(&self, caller: K, now: Instant) -> Result<Left, Left> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window { opened: now, calls: 0 };
        let over = |window: &Window| now.saturating_duration_since(window.opened) >= self.length;
        if seen.callers.len() >= CALLERS_MAX && !seen.callers.contains_key(&caller) {
            seen.callers.retain(|_, window| !over(window));
        }
        let room = seen.callers.len() < CALLERS_MAX || seen.callers.contains_key(&caller);
        let window = match room {
            true => seen.callers.entry(caller).or_insert(fresh),
            false => seen.others.get_or_insert(fresh),
        };
        if over(window) {
            *window = fresh;
        }
        window.calls = window.calls.saturating_add(1);
        let reset = self.length.saturating_sub(now.saturating_duration_since(window.opened));
        let left =
            Left { limit: self.limit, remaining: self.limit.saturating_sub(window.calls), reset };
        if window.calls > self.limit { Err(left) } else { Ok(left) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Strikes {
    opened: Instant,
    denials: u32,
    strikes: u32,
    until: Instant,
}

/// Addresses that show wrong tokens.
#[derive(Debug)]
pub(crate) struct Denials<K> {
    length: Duration,
    limit: u32,
    seen: Mutex<HashMap<K, Strikes>>,
}

impl<K: Eq + Hash> Denials<K> {
    /// After `limit` denials in a window of `length` an address waits a second, and twice as long
    /// after each further one.
    pub(crate) fn new(length: Duration, limit: u32) -> Self {
        Self { length, limit, seen: Mutex::new(HashMap::new()) }
    }

    /// How long the address has to wait at `now`, if it has to.
    pub(crate) fn wait(&self, address: &K, now: Instant) -> Option<Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let until = seen.get(address)?.until;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Counts a denial at `now`.
    pub(crate) fn count(&self, address: K, now: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |strikes: &Strikes| {
            now.saturating_duration_since(strikes.opened) >= self.length && strikes.until <= now
        };
        if seen.len() >= CALLERS_MAX && !seen.contains_key(&address) {
            seen.retain(|_, strikes| !over(strikes));
            if seen.len() >= CALLERS_MAX {
                // As many addresses at once are a flood, which the windows of calls bound.
                return;
            }
        }
        let fresh = Strikes { opened: now, denials: 0, strikes: 0, until: now };
        let strikes = seen.entry(address).or_insert(fresh);
        if over(strikes) {
            *strikes = fresh;
        }
        strikes.denials = strikes.denials.saturating_add(1);
        if strikes.denials > self.limit {
            let seconds = 1_u64 << strikes.strikes.min(STRIKES_MAX);
            strikes.until = now + Duration::from_secs(seconds).min(BACK_OFF_MAX);
            strikes.strikes = strikes.strikes.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_lets_its_limit_through_and_opens_again() {
        let (start, length) = (Instant::now(), Duration::from_secs(10));
        let windows = Windows::new(length, 2);
        let at = |seconds| start + Duration::from_secs(seconds);
        for (caller, second, expect) in [
            ("a", 0, Ok(1)),
            ("a", 1, Ok(0)),
            ("a", 2, Err(8)),
            ("b", 2, Ok(1)),
            ("a", 9, Err(1)),
            ("a", 10, Ok(1)),
        ] {
            let found = windows.count(caller, at(second));
            let found = found.map(|left| left.remaining).map_err(|left| left.reset.as_secs());
            assert_eq!(found, expect, "{caller} at {second}");
        }
    }

    #[test]
    fn callers_without_room_share_one_count() {
        let now = Instant::now();
        let windows = Windows::new(Duration::from_secs(10), 1);
        for caller in 0..CALLERS_MAX {
            assert!(windows.count(caller, now).is_ok());
        }
        assert!(windows.count(CALLERS_MAX, now).is_ok());
        assert!(windows.count(CALLERS_MAX + 1, now).is_err());
        assert!(windows.count(CALLERS_MAX + 1, now + Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn an_address_waits_twice_as_long_each_time() {
        let start = Instant::now();
        let denials = Denials::new(Duration::from_secs(60), 2);
        let mut now = start;
        let mut waits = Vec::new();
        for _ in 0..6 {
            denials.count("a", now);
            let wait = denials.wait(&"a", now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8]);
        assert_eq!(denials.wait(&"b", now), None);
        now += Duration::from_secs(60);
        denials.count("a", now);
        assert_eq!(denials.wait(&"a", now), None);
    }
}
