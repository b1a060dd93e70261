//! The rules, one after the other, over the octets of a frame: what generated programs must agree
//! with. Slow and plain on purpose.

use std::collections::BTreeMap;

use super::packet::{self, Packet};
use super::rule::{Action, Limit, Match, Per, Prefix, Rate, Rule};

/// Rules that match a packet and leave it to later ones: limits with room, dry runs. After so many
/// the packet passes, so that a program's loop has an end that the verifier can see in time.
pub const APPLIED_MAX: usize = 16;
/// Ticks of the clock of limits in a nanosecond.
pub const TICKS: u64 = 16;
/// Most that a limit may hold in store, in ticks, so that sums stay within a word: 9 years.
pub const STORE_MAX: u64 = 1 << 62;

/// What a rule did to a packet that it matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Counted, by a dry run or a limit with room.
    Counted = 0,
    /// A dry run's limit was used up.
    WouldLimit = 1,
    /// Dropped by the rule.
    Dropped = 2,
    /// Dropped as the limit was used up.
    Limited = 3,
    /// Passed by the rule.
    Passed = 4,
}

impl Outcome {
    /// From its number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        let all = [Self::Counted, Self::WouldLimit, Self::Dropped, Self::Limited, Self::Passed];
        all.into_iter().find(|outcome| *outcome as u32 == number)
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Judgement {
    /// Whether it is dropped.
    pub dropped: bool,
    /// Each rule that matched before the matter ended, by index, in order.
    pub applied: Vec<(usize, Outcome)>,
}

/// A limit in the words of the program: ticks for a packet, for 65,536 octets, and in store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticks {
    /// Of a packet.
    pub packet: u64,
    /// Of the store of packets.
    pub packets: u64,
    /// Of 2^16 octets.
    pub octet: u64,
    /// Of the store of octets.
    pub octets: u64,
}

impl Ticks {
    /// A limit's. What is not limited costs nothing and is never used up.
    #[must_use]
    pub fn of(limit: &Limit) -> Self {
        let second = 1_000_000_000 * TICKS;
        let packet = |rate: Rate| second.div_ceil(rate.per_second);
        let octet = |rate: Rate| (second << 16).div_ceil(rate.per_second);
        let store = |ticks: u128| u64::try_from(ticks).map_or(STORE_MAX, |t| t.min(STORE_MAX));
        let (packets, octets) = (limit.packets, limit.octets);
        Self {
            packet: packets.map_or(0, packet),
            packets: packets
                .map_or(STORE_MAX, |rate| store(u128::from(packet(rate)) * u128::from(rate.burst))),
            octet: octets.map_or(0, octet),
            octets: octets.map_or(STORE_MAX, |rate| {
                store((u128::from(octet(rate)) * u128::from(rate.burst)) >> 16)
            }),
        }
    }
}

/// When the packets and the octets so far will have been paid for, in ticks.
type Debts = (u64, u64);

/// The rules and what their limits remember.
#[derive(Clone, Debug)]
pub struct Interpreter<'a> {
    rules: &'a [Rule],
    debts: BTreeMap<(usize, u128), Debts>,
    /// Whether limits are ever used up.
    pub limits: bool,
}

impl<'a> Interpreter<'a> {
    /// Rules whose limits are all unused.
    #[must_use]
    pub fn new(rules: &'a [Rule]) -> Self {
        Self { rules, debts: BTreeMap::new(), limits: true }
    }

    /// Judges a frame at a time in nanoseconds.
    pub fn judge(&mut self, frame: &[u8], now: u64) -> Judgement {
        let mut judgement = Judgement::default();
        let Some(packet) = packet::read(frame) else { return judgement };
        let mut counted = 0;
        for (at, rule) in self.rules.iter().enumerate() {
            if !matches(&rule.matches, &packet) {
                continue;
            }
            let outcome = self.apply(at, rule, &packet, now);
            judgement.applied.push((at, outcome));
            match outcome {
                Outcome::Counted | Outcome::WouldLimit => counted += 1,
                Outcome::Passed => return judgement,
                Outcome::Dropped | Outcome::Limited => {
                    judgement.dropped = true;
                    return judgement;
                }
            }
            if counted == APPLIED_MAX {
                return judgement;
            }
        }
        judgement
    }

    fn apply(&mut self, at: usize, rule: &Rule, packet: &Packet<'_>, now: u64) -> Outcome {
        match rule.action {
            Action::Drop | Action::Pass if rule.dry_run => Outcome::Counted,
            Action::Drop => Outcome::Dropped,
            Action::Pass => Outcome::Passed,
            Action::Limit(limit) => {
                let room = !self.limits || self.pay(at, &limit, packet, now);
                match (room, rule.dry_run) {
                    (true, _) => Outcome::Counted,
                    (false, true) => Outcome::WouldLimit,
                    (false, false) => Outcome::Limited,
                }
            }
        }
    }

    /// Takes a packet from a limit's store, or nothing where it is too large for what is left.
    fn pay(&mut self, at: usize, limit: &Limit, packet: &Packet<'_>, now: u64) -> bool {
        let ticks = Ticks::of(limit);
        let debts = self.debts.entry((at, sharer(limit.per, packet))).or_default();
        let now = now * TICKS;
        let packets = debts.0.max(now) + ticks.packet;
        let octets = debts.1.max(now) + ((packet.octets as u64 * ticks.octet) >> 16);
        let room = packets - now <= ticks.packets && octets - now <= ticks.octets;
        if room {
            *debts = (packets, octets);
        }
        room
    }
}

/// Who shares a limit.
fn sharer(per: Per, packet: &Packet<'_>) -> u128 {
    let family = u128::from(!packet.v6) << 32;
    match per {
        Per::Rule => 0,
        Per::Source if packet.v6 => packet.source >> 64 << 64,
        Per::Source => packet.source | family,
        Per::Destination if packet.v6 => packet.destination,
        Per::Destination => packet.destination | family,
    }
}

/// Whether a packet is what a rule asks for.
#[must_use]
pub fn matches(m: &Match, packet: &Packet<'_>) -> bool {
    let held = |prefixes: &[Prefix], number: u128| {
        prefixes.is_empty()
            || prefixes.iter().any(|prefix| {
                let (first, last) = prefix.bounds();
                prefix.address.is_ipv6() == packet.v6 && first <= number && number <= last
            })
    };
    let port = |ranges: &[super::rule::Range<u16>], port: Option<u16>| {
        ranges.is_empty()
            || port.is_some_and(|p| ranges.iter().any(|r| r.first <= p && p <= r.last))
    };
    held(&m.source, packet.source)
        && held(&m.destination, packet.destination)
        && m.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && port(&m.source_ports, packet.ports.map(|ports| ports.0))
        && port(&m.destination_ports, packet.ports.map(|ports| ports.1))
        && m.tcp_flags.is_none_or(|want| {
            packet.flags.is_some_and(|f| f & want.set == want.set && f & want.clear == 0)
        })
        && m.length.is_none_or(|r| r.first <= packet.length && packet.length <= r.last)
        && m.ttl.is_none_or(|r| r.first <= packet.ttl && packet.ttl <= r.last)
        && m.ip_options.is_none_or(|options| options == packet.options)
        && m.fragment.is_none_or(|fragment| fragment == packet.fragment)
        && m.payload.as_ref().is_none_or(|pattern| {
            let there = packet.payload.get(usize::from(pattern.offset)..).unwrap_or_default();
            there.len() >= pattern.octets.len()
                && (pattern.octets.iter().zip(&pattern.mask).zip(there))
                    .all(|((want, mask), octet)| octet & mask == want & mask)
        })
}
