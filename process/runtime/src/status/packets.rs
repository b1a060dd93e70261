//! Rates of packets: the last minute of the packet path, second by second.

use super::history::{RATE_SECONDS, SECONDS, difference, round};
use crate::packets::{PacketSeries, PacketStatus, ReasonCount};
use std::collections::VecDeque;

/// Counters of the last seconds, and what they add up to for a minute.
#[derive(Debug, Default)]
pub(super) struct PacketTrack {
    /// One reading more than there are seconds between them, oldest first.
    readings: VecDeque<Vec<ReasonCount>>,
    /// Packets and drops of each second.
    seconds: VecDeque<(u32, u32)>,
}

impl PacketTrack {
    /// Takes the reading of a second; `None` where there is no packet path, or it cannot be read.
    pub(super) fn sample(&mut self, reading: Option<Vec<ReasonCount>>) {
        let Some(reading) = reading else {
            *self = Self::default();
            return;
        };
        if let Some(before) = self.readings.back() {
            let (mut packets, mut drops) = (0_u32, 0_u32);
            for (one, earlier) in reading.iter().zip(before) {
                let new = difference(one.amount.packets, earlier.amount.packets);
                packets = packets.saturating_add(new);
                drops = drops.saturating_add(if one.is_drop() { new } else { 0 });
            }
            if self.seconds.len() >= SECONDS {
                self.seconds.pop_front();
            }
            self.seconds.push_back((packets, drops));
        }
        if self.readings.len() > RATE_SECONDS {
            self.readings.pop_front();
        }
        self.readings.push_back(reading);
    }

    /// Adds the rates and the last minute to what was read.
    pub(super) fn tell(&self, mut status: PacketStatus) -> PacketStatus {
        let (Some(first), Some(last)) = (self.readings.front(), self.readings.back()) else {
            return status;
        };
        let seconds = self.readings.len().saturating_sub(1).max(1) as f64;
        let known = last.iter().zip(first);
        for (one, (after, before)) in status.reasons.iter_mut().zip(known) {
            let new = difference(after.amount.packets, before.amount.packets);
            let rate = round(f64::from(new) / seconds);
            one.packets_per_s = Some(rate);
            status.packets_per_s += rate;
            status.drops_per_s += if one.is_drop() { rate } else { 0.0 };
        }
        status.packets_per_s = round(status.packets_per_s);
        status.drops_per_s = round(status.drops_per_s);
        status.history = Some(PacketSeries {
            packets: self.seconds.iter().map(|second| second.0).collect(),
            drops: self.seconds.iter().map(|second| second.1).collect(),
        });
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::Amount;

    fn reading(passed: u64, dropped: u64) -> Vec<ReasonCount> {
        let one = |verdict: &str, packets| ReasonCount {
            verdict: verdict.to_owned(),
            amount: Amount { packets, bytes: 0 },
            ..ReasonCount::default()
        };
        vec![one("pass", passed), one("drop", dropped)]
    }

    fn told(readings: &[(u64, u64)]) -> PacketStatus {
        let mut track = PacketTrack::default();
        for (passed, dropped) in readings {
            track.sample(Some(reading(*passed, *dropped)));
        }
        track.tell(PacketStatus { reasons: reading(0, 0), ..PacketStatus::default() })
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_seconds() {
        for (readings, packets, drops) in [
            (&[][..], 0.0, 0.0),
            (&[(1_000, 5)][..], 0.0, 0.0),
            (&[(1_000, 5), (1_010, 7)][..], 12.0, 2.0),
            (&[(0, 0), (90, 0), (90, 0), (90, 10), (90, 10), (90, 10)][..], 20.0, 2.0),
            // What was longer ago is left out.
            (&[(0, 0), (9, 0), (9, 0), (9, 0), (9, 0), (9, 0), (14, 0)][..], 1.0, 0.0),
            // Counters that begin anew are no packets.
            (&[(1_000, 5), (0, 0)][..], 0.0, 0.0),
        ] {
            let told = told(readings);
            assert_eq!((told.packets_per_s, told.drops_per_s), (packets, drops), "{readings:?}");
        }
    }

    #[test]
    fn each_reason_has_its_rate_and_the_minute_its_seconds() {
        let told = told(&[(0, 0), (10, 2), (20, 4)]);
        let rates: Vec<_> = told.reasons.iter().map(|one| one.packets_per_s).collect();
        assert_eq!(rates, [Some(10.0), Some(2.0)]);
        let series = told.history.unwrap();
        assert_eq!((series.packets, series.drops), (vec![12, 12], vec![2, 2]));
    }

    #[test]
    fn what_cannot_be_read_has_no_rates() {
        let mut track = PacketTrack::default();
        track.sample(Some(reading(1, 1)));
        track.sample(None);
        let told = track.tell(PacketStatus { reasons: reading(9, 9), ..PacketStatus::default() });
        assert_eq!((told.history, told.reasons[0].packets_per_s), (None, None));
    }
}
