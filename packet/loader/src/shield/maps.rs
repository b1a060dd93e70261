//! The maps of the shield: its own, and those it shares with the other programs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use packet_abi::maps;
use packet_abi::tables::{Count, Seen};

use super::bpf::{BpfError, Kind, Map};
use crate::sys::bpf::{self as sys, Shape};

/// Octets of [`RuleCounters`] in the map.
pub(super) const COUNTERS_OCTETS: u32 = 48;
/// Octets of an entry of the places: u64 hash of the name, u32 epoch, u32 in force.
const PLACE_OCTETS: u32 = 16;

/// What a rule counted, over all CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RuleCounters {
    /// Packets that matched.
    pub matched_packets: u64,
    /// Octets of their frames.
    pub matched_octets: u64,
    /// Packets that it dropped; none in a dry run.
    pub dropped_packets: u64,
    /// Octets of their frames.
    pub dropped_octets: u64,
    /// Packets past the limit, in a dry run too.
    pub limited_packets: u64,
    /// Octets of their frames.
    pub limited_octets: u64,
}

/// Maps that the shield shares with the other programs.
#[derive(Debug)]
pub struct Common {
    /// `SAMPLES`.
    pub samples: OwnedFd,
    /// `CHAIN`.
    pub chain: OwnedFd,
    /// `COUNTERS`.
    pub reasons: OwnedFd,
    /// `SEEN`.
    pub seen: OwnedFd,
    /// `TAP`.
    pub taps: OwnedFd,
}

impl Common {
    /// The chain as a map.
    pub(super) fn chain(&self) -> Result<Map, BpfError> {
        let (fd, name) = (self.chain.try_clone(), maps::CHAIN);
        let fd = fd.map_err(|source| BpfError::Entry { what: "share", name, source })?;
        Ok(Map::adopt(fd, name, Kind::Programs, 4))
    }

    /// Maps that nothing else has: for self-tests, tests and measurements.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn alone() -> Result<Self, BpfError> {
        let (count, seen) = (size_of::<Count>() as u32, size_of::<Seen>() as u32);
        let reasons = packet_abi::verdict::REASONS;
        let own = |map: Map| map.into_fd();
        Ok(Self {
            samples: own(Map::new(maps::SAMPLES, Kind::Ring, 0, 0, maps::SAMPLES_LEN)?),
            chain: own(Map::new(maps::CHAIN, Kind::Programs, 4, 4, maps::CHAIN_LEN)?),
            reasons: own(Map::new(maps::COUNTERS, Kind::PerCpuArray, 4, count, reasons)?),
            seen: own(Map::new(maps::SEEN, Kind::PerCpuArray, 4, seen, 1)?),
            taps: own(Map::new(maps::TAP, Kind::Programs, 4, 4, maps::TAP_LEN)?),
        })
    }
}

/// Maps that are the shield's alone.
#[derive(Debug)]
pub struct Own {
    pub(super) counters: Map,
    pub(super) debts: Map,
    pub(super) sharers: Map,
    pub(super) counted: Map,
    pub(super) places: Map,
}

impl Own {
    /// Names of the maps, as pins: [`Own::fds`] and [`Own::adopt`] keep this order.
    pub const NAMES: [&'static str; 5] =
        ["SHIELD_COUNTERS", "SHIELD_DEBTS", "SHIELD_SHARERS", "SHIELD_COUNTED", "SHIELD_PLACES"];
    /// Their kinds, keys and values.
    const SHAPES: [(Kind, u32, u32); 5] = [
        (Kind::PerCpuArray, 4, COUNTERS_OCTETS),
        (Kind::Array, 4, 16),
        (Kind::LruHash, 24, 16),
        (Kind::PerCpuArray, 4, 8),
        (Kind::Array, 4, PLACE_OCTETS),
    ];

    /// New maps for so many rules, sources and destinations.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn new(places: u32, sharers: u32) -> Result<Self, BpfError> {
        let lens = [places, places, sharers, 1, places + 1];
        let make = |at: usize| {
            let (kind, key, value) = Self::SHAPES[at];
            Map::new(Self::NAMES[at], kind, key, value, lens[at])
        };
        Ok(Self {
            counters: make(0)?,
            debts: make(1)?,
            sharers: make(2)?,
            counted: make(3)?,
            places: make(4)?,
        })
    }

    /// Whether maps have the shapes of this build, with so many places for sharers.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn fits(fds: [BorrowedFd<'_>; 5], sharers: u32) -> Result<bool, BpfError> {
        let places = super::install::PLACES_MAX as u32;
        let lens = [places, places, sharers, 1, places + 1];
        let mut all = true;
        for (at, fd) in fds.into_iter().enumerate() {
            let (kind, key, value) = Self::SHAPES[at];
            let name = Self::NAMES[at];
            let info = sys::map_info(fd);
            let info = info.map_err(|source| BpfError::Entry { what: "describe", name, source })?;
            let want = Shape { kind: kind as u32, key, value, entries: lens[at], flags: 0 };
            all &= info.shape == want;
        }
        Ok(all)
    }

    /// Maps that another process made and pinned.
    #[must_use]
    pub fn adopt(fds: [OwnedFd; 5]) -> Self {
        let [counters, debts, sharers, counted, places] = fds;
        let adopt = |at: usize, fd| {
            let (kind, _, value) = Self::SHAPES[at];
            Map::adopt(fd, Self::NAMES[at], kind, value)
        };
        Self {
            counters: adopt(0, counters),
            debts: adopt(1, debts),
            sharers: adopt(2, sharers),
            counted: adopt(3, counted),
            places: adopt(4, places),
        }
    }

    /// Descriptors, in the order of [`Own::NAMES`].
    #[must_use]
    pub fn fds(&self) -> [BorrowedFd<'_>; 5] {
        [&self.counters, &self.debts, &self.sharers, &self.counted, &self.places].map(Map::as_fd)
    }

    /// What the rule of a place counted.
    ///
    /// # Errors
    /// When there is no such place.
    pub fn counters(&self, slot: u32) -> Result<RuleCounters, BpfError> {
        let octets = self.counters.read(slot)?;
        let mut sums = [0_u64; 6];
        for cpu in octets.chunks_exact(COUNTERS_OCTETS as usize) {
            for (sum, word) in sums.iter_mut().zip(cpu.chunks_exact(8)) {
                *sum += u64::from_ne_bytes(word.try_into().unwrap_or_default());
            }
        }
        let [matched_packets, matched_octets, dropped_packets, dropped_octets, packets, octets] =
            sums;
        Ok(RuleCounters {
            matched_packets,
            matched_octets,
            dropped_packets,
            dropped_octets,
            limited_packets: packets,
            limited_octets: octets,
        })
    }
}
