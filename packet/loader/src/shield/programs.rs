//! Loading the programs of a plan, and trying them apart from all traffic.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use packet_abi::maps;

use super::bpf::{self, Asks, BpfError, Kind, Map, Ran};
use super::emit::{self, Wiring};
use super::install::{SHARERS_MAX, ShieldError};
use super::maps::{Common, Own, RuleCounters};
use super::plan::{PROGRAMS_MAX, Part, Place};

/// Sources and destinations that limits remember in a trial, whose frames are few.
const TRIAL_SHARERS_MAX: u32 = 4096;
const _: () = assert!(TRIAL_SHARERS_MAX < SHARERS_MAX);

// Both generations of programs fit the shield's slots of the chain.
const _: () = assert!(maps::CHAIN_SHIELD_MORE + 2 * PROGRAMS_MAX as u32 <= maps::CHAIN_LEN);

/// How programs are loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load<'a> {
    /// The half of the chain's slots that they tail-call each other in.
    pub half: u32,
    /// Whether the first checks the reverse path.
    pub reverse_path: bool,
    /// Whether they take frames of several pages.
    pub frags: bool,
    /// Where a test reads what happened and sets the clock.
    pub trace: Option<BorrowedFd<'a>>,
}

/// Programs in the kernel, first one first.
#[derive(Debug)]
pub struct Loaded {
    /// Their descriptors.
    pub programs: Vec<OwnedFd>,
    /// Instructions of all.
    pub instructions: usize,
}

/// Slots of a half's programs; the first program stands where the chain enters the shield, so that
/// its own one stays empty.
pub fn slots(half: u32) -> impl Iterator<Item = u32> {
    let first = maps::CHAIN_SHIELD_MORE + half * PROGRAMS_MAX as u32;
    first..first + PROGRAMS_MAX as u32
}

/// Loads the programs of parts, tied to maps.
///
/// # Errors
/// When the kernel refuses one.
pub fn load(
    parts: &[Part],
    tables: &[Map],
    (own, common): (&Own, &Common),
    how: Load<'_>,
) -> Result<Loaded, ShieldError> {
    let mut loaded = Loaded { programs: Vec::with_capacity(parts.len()), instructions: 0 };
    for (at, ((part, data), slot)) in parts.iter().zip(tables).zip(slots(how.half)).enumerate() {
        let wiring = Wiring {
            data: data.as_fd(),
            counters: own.counters.as_fd(),
            debts: own.debts.as_fd(),
            sharers: own.sharers.as_fd(),
            counted: own.counted.as_fd(),
            samples: common.samples.as_fd(),
            chain: common.chain.as_fd(),
            reasons: common.reasons.as_fd(),
            seen: common.seen.as_fd(),
            taps: common.taps.as_fd(),
            trace: how.trace,
            follows: at > 0,
            next: (at + 1 < parts.len()).then_some(slot + 1),
            reverse_path: how.reverse_path && at == 0,
        };
        let code = emit::program(part, wiring)?;
        loaded.instructions += code.len();
        // Of all helpers, only that of the routing table is kept for the GPL.
        let asks = Asks { frags: how.frags, gpl_helpers: wiring.reverse_path };
        loaded.programs.push(bpf::load("weir_shield", &code, asks)?);
    }
    Ok(loaded)
}

/// Programs with maps of their own: the same instructions that traffic will meet, for self-tests,
/// tests and measurements. Limits are never used up until [`Trial::set_limits`].
#[derive(Debug)]
pub struct Trial {
    parts: Vec<Part>,
    tables: Vec<Map>,
    own: Own,
    common: Common,
    loaded: Loaded,
}

impl Trial {
    /// Loads the programs of a plan. With a check of the reverse path, frames are to come in by an
    /// interface: [`Trial::run_from`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(parts: Vec<Part>, places: &[Place], how: Load<'_>) -> Result<Self, ShieldError> {
        let slots_needed = places.iter().map(|place| place.slot + 1).max().unwrap_or(1);
        let (own, common) = (Own::new(slots_needed, TRIAL_SHARERS_MAX)?, Common::alone()?);
        let mut tables = Vec::with_capacity(parts.len());
        for part in &parts {
            tables.push(Map::new("shield_tables", Kind::Array, 4, part.data.len() as u32, 1)?);
        }
        let how = Load { half: 0, ..how };
        let loaded = load(&parts, &tables, (&own, &common), how)?;
        let trial = Self { parts, tables, own, common, loaded };
        trial.set_limits(false)?;
        let chain = trial.common.chain()?;
        for (slot, program) in slots(0).zip(&trial.loaded.programs).skip(1) {
            chain.put(slot, program.as_fd())?;
        }
        Ok(trial)
    }

    /// Writes the tables, with limits as the rules say or without end.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_limits(&self, limits: bool) -> Result<(), BpfError> {
        for (map, part) in self.tables.iter().zip(&self.parts) {
            let data = if limits { part.data.clone() } else { part.without_limits() };
            map.write(0, &data)?;
        }
        Ok(())
    }

    /// The plan.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The tables of each part.
    #[must_use]
    pub fn tables(&self) -> &[Map] {
        &self.tables
    }

    /// The program that a frame meets first; `None` without rules.
    #[must_use]
    pub fn first(&self) -> Option<BorrowedFd<'_>> {
        self.loaded.programs.first().map(AsFd::as_fd)
    }

    /// Instructions of all programs.
    #[must_use]
    pub fn instructions(&self) -> usize {
        self.loaded.instructions
    }

    /// Judges a frame `repeat` times.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run(&self, frame: &[u8], repeat: u32) -> Result<Ran, BpfError> {
        self.run_from(frame, repeat, 0)
    }

    /// The same for a frame that came in by an interface of this network namespace, by its index; 0
    /// is none in particular.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run_from(&self, frame: &[u8], repeat: u32, interface: u32) -> Result<Ran, BpfError> {
        match self.loaded.programs.first() {
            Some(first) => bpf::run(first.as_fd(), frame, repeat, interface),
            None => Ok(Ran { action: 2, nanoseconds: 0 }),
        }
    }

    /// The counters of reasons that these programs move.
    #[must_use]
    pub fn reasons(&self) -> BorrowedFd<'_> {
        self.common.reasons.as_fd()
    }

    /// What the rule of a place counted.
    ///
    /// # Errors
    /// When there is no such place.
    pub fn counters(&self, place: Place) -> Result<RuleCounters, BpfError> {
        self.own.counters(place.slot)
    }
}
