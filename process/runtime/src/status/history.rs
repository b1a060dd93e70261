//! The last minute of every listener and origin, second by second, and the events of late.

use super::OriginState;
use super::packets::PacketTrack;
use crate::live::LiveTable;
use crate::metrics::{Counter, Histogram, LATENCY_BOUNDS_US};
use core_model::Snapshot;
use core_model::config::Name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// Seconds of history: what fits a glance, at a few hundred bytes per object.
pub(super) const SECONDS: usize = 60;

/// Rates are means over this many seconds: steady enough to read, fresh enough to steer by.
pub(super) const RATE_SECONDS: usize = 5;

/// What a second keeps of the counts before it; percentiles look back about ten seconds.
const DECAY: f64 = 0.9;

/// Events kept: a screen or two of a bad hour.
const EVENTS_MAX: usize = 100;

const BUCKETS: usize = LATENCY_BOUNDS_US.len() + 1;

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, milliseconds since 1970.
    pub unix_ms: u64,
    /// A stable word: `healthy`, `unhealthy`, `ejected`, `returned`, `reload`, `refused`, …
    pub kind: String,
    /// What happened.
    pub text: String,
}

/// The last events, bounded.
#[derive(Debug, Default)]
pub(super) struct EventLog(VecDeque<Event>);

impl EventLog {
    pub(super) fn push(&mut self, event: Event) {
        if self.0.len() >= EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    pub(super) fn newest_first(&self) -> Vec<Event> {
        self.0.iter().rev().cloned().collect()
    }
}

/// A value per second, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Requests of each second.
    pub requests: Vec<u32>,
    /// Mean duration of each second, milliseconds; none where no request ended.
    pub mean_ms: Vec<Option<f32>>,
}

/// Totals at one moment, from which the difference of a second is made.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    requests: u64,
    errors: u64,
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Totals {
    fn add(&mut self, requests: &Counter, errors: Option<&Counter>, latency: &Histogram) {
        self.requests += requests.get();
        self.errors += errors.map_or(0, Counter::get);
        for (sum, count) in self.counts.iter_mut().zip(latency.counts()) {
            *sum += count;
        }
        self.sum_us += latency.sum_us();
    }
}

#[derive(Clone, Copy, Debug)]
struct Second {
    requests: u32,
    errors: u32,
    mean_ms: Option<f32>,
}

/// The history of one listener or origin.
#[derive(Debug, Default)]
pub(super) struct Track {
    before: Option<Totals>,
    seconds: VecDeque<Second>,
    recent: [f64; BUCKETS],
}

impl Track {
    fn sample(&mut self, totals: Totals) {
        let Some(before) = self.before.replace(totals) else { return };
        let mut ended = 0;
        let counts = self.recent.iter_mut().zip(totals.counts.iter().zip(before.counts));
        for (recent, (count, earlier)) in counts {
            let new = count.saturating_sub(earlier);
            ended += new;
            *recent = *recent * DECAY + new as f64;
        }
        let sum_ms = totals.sum_us.saturating_sub(before.sum_us) as f64 / 1000.0;
        if self.seconds.len() >= SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(Second {
            requests: difference(totals.requests, before.requests),
            errors: difference(totals.errors, before.errors),
            mean_ms: (ended > 0).then(|| round(sum_ms / ended as f64) as f32),
        });
    }

    /// Requests per second.
    pub(super) fn rate(&self) -> f64 {
        self.mean(|second| second.requests)
    }

    /// Errors per second.
    pub(super) fn error_rate(&self) -> f64 {
        self.mean(|second| second.errors)
    }

    fn mean(&self, value: impl Fn(&Second) -> u32) -> f64 {
        let last = self.seconds.iter().rev().take(RATE_SECONDS);
        let count = last.len().max(1) as f64;
        round(last.map(|s| f64::from(value(s))).sum::<f64>() / count)
    }

    /// The duration below which a share `q` of the last seconds' requests lie, milliseconds:
    /// linear within its bucket.
    pub(super) fn percentile_ms(&self, q: f64) -> Option<f64> {
        let total: f64 = self.recent.iter().sum();
        // Less than a hundredth of a request is what decay leaves of a burst long over.
        if total < 0.01 {
            return None;
        }
        let mut left = total * q;
        let mut low = 0.0;
        for (count, high) in self.recent.iter().zip(LATENCY_BOUNDS_US.map(|us| us as f64)) {
            if *count >= left {
                return Some(round((low + (high - low) * left / count) / 1000.0));
            }
            left -= count;
            low = high;
        }
        Some(low / 1000.0)
    }

    pub(super) fn series(&self) -> Series {
        Series {
            requests: self.seconds.iter().map(|s| s.requests).collect(),
            mean_ms: self.seconds.iter().map(|s| s.mean_ms).collect(),
        }
    }
}

pub(super) fn difference(after: u64, before: u64) -> u32 {
    u32::try_from(after.saturating_sub(before)).unwrap_or(u32::MAX)
}

/// Three decimals: more would be noise on the wire.
pub(super) fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The history of every object of the snapshot in force.
#[derive(Debug, Default)]
pub(super) struct History {
    listeners: BTreeMap<Name, Track>,
    origins: BTreeMap<(Name, Name), (Track, OriginState)>,
    generation: u64,
    refused: u64,
    pub(super) packets: PacketTrack,
}

impl History {
    pub(super) fn listener(&self, name: &Name) -> Option<&Track> {
        self.listeners.get(name)
    }

    pub(super) fn origin(&self, pool: &Name, origin: &Name) -> Option<&Track> {
        self.origins.get(&(pool.clone(), origin.clone())).map(|(track, _)| track)
    }

    /// Takes the sample of a second; gives the events that it shows, as kind and text.
    pub(super) fn sample(
        &mut self,
        live: &LiveTable,
        snapshot: &Snapshot,
        now_ms: u64,
    ) -> Vec<(&'static str, String)> {
        let config = &snapshot.config;
        let mut events = self.process_events(live, snapshot);
        let mut former = std::mem::take(&mut self.listeners);
        for listener in &config.listeners {
            let mut totals = Totals::default();
            for shard in live.listener(&listener.name).iter() {
                totals.add(&shard.requests, shard.replies.get(4), &shard.latency);
            }
            let mut track = former.remove(&listener.name).unwrap_or_default();
            track.sample(totals);
            self.listeners.insert(listener.name.clone(), track);
        }
        let mut former = std::mem::take(&mut self.origins);
        for pool in config.pools.iter() {
            for (origin, state_of) in pool.origins.iter().zip(live.state_of(pool).origins) {
                let mut totals = Totals::default();
                for shard in state_of.stats.iter() {
                    totals.add(&shard.requests, Some(&shard.failures), &shard.latency);
                }
                let state = OriginState::of(pool, origin, &state_of, now_ms);
                let key = (pool.name.clone(), origin.name.clone());
                let (mut track, before) =
                    former.remove(&key).unwrap_or_else(|| (Track::default(), state));
                track.sample(totals);
                if before != state {
                    let named = format!("{}/{}", pool.name, origin.name);
                    events.push(state_event(&named, before, state, &state_of.reason()));
                }
                self.origins.insert(key, (track, state));
            }
        }
        events
    }

    fn process_events(
        &mut self,
        live: &LiveTable,
        snapshot: &Snapshot,
    ) -> Vec<(&'static str, String)> {
        let mut events = Vec::new();
        let generation = snapshot.generation.0;
        let former = std::mem::replace(&mut self.generation, generation);
        if former != 0 && former != generation {
            events.push(("reload", format!("generation {generation} replaced {former}")));
        }
        let refused = live.process.reloads_refused.get();
        if std::mem::replace(&mut self.refused, refused) < refused {
            let text = format!("a reload was refused; generation {generation} goes on serving");
            events.push(("refused", text));
        }
        events
    }
}

fn state_event(
    named: &str,
    before: OriginState,
    state: OriginState,
    reason: &str,
) -> (&'static str, String) {
    let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    match state {
        OriginState::Unhealthy => ("unhealthy", format!("{named} is unhealthy{because}")),
        OriginState::Ejected => ("ejected", format!("{named} is ejected{because}")),
        OriginState::Healthy | OriginState::Unmonitored if before == OriginState::Ejected => {
            ("returned", format!("{named} gets requests again after an ejection"))
        }
        OriginState::Healthy => ("healthy", format!("{named} is healthy")),
        OriginState::Unmonitored => ("changed", format!("{named} has no monitor")),
        OriginState::Unknown => ("changed", format!("{named} waits for its first probe")),
        OriginState::Disabled => ("changed", format!("{named} is disabled")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(rows: &[(u64, u64)]) -> Track {
        let histogram = Histogram::default();
        let (requests, mut track) = (Counter::default(), Track::default());
        track.sample(Totals::default());
        for (count, us) in rows {
            for _ in 0..*count {
                histogram.record(*us);
                requests.inc();
            }
            let mut totals = Totals::default();
            totals.add(&requests, None, &histogram);
            track.sample(totals);
        }
        track
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_seconds() {
        assert_eq!(track(&[]).rate(), 0.0);
        assert_eq!(track(&[(10, 300), (20, 300)]).rate(), 15.0);
        let burst_long_ago = [(1000, 300), (5, 1), (5, 1), (5, 1), (5, 1), (5, 1)];
        assert_eq!(track(&burst_long_ago).rate(), 5.0);
    }

    #[test]
    fn a_percentile_lies_in_the_bucket_of_its_rank() {
        let track = track(&[(98, 700), (2, 40_000)]);
        let (p50, p99) = (track.percentile_ms(0.5).unwrap(), track.percentile_ms(0.99).unwrap());
        assert!((0.5..=1.0).contains(&p50), "{p50}");
        assert!((25.0..=50.0).contains(&p99), "{p99}");
        assert_eq!(super::Track::default().percentile_ms(0.5), None);
    }

    #[test]
    fn old_seconds_leave_and_percentiles_forget() {
        let mut rows = vec![(100, 20_000_000)];
        rows.extend([(100, 100); 80]);
        let track = track(&rows);
        assert_eq!(track.series().requests.len(), SECONDS);
        assert!(track.percentile_ms(0.99).unwrap() <= 0.25);
        let mean = track.series().mean_ms.last().copied().flatten().unwrap();
        assert!((mean - 0.1).abs() < 1e-6, "{mean}");
    }

    #[test]
    fn events_are_bounded_and_newest_first() {
        let mut log = EventLog::default();
        for n in 0..EVENTS_MAX as u64 + 5 {
            log.push(Event { unix_ms: n, kind: "x".into(), text: String::new() });
        }
        let events = log.newest_first();
        assert_eq!(events.len(), EVENTS_MAX);
        assert_eq!(events.first().map(|e| e.unix_ms), Some(EVENTS_MAX as u64 + 4));
    }
}
