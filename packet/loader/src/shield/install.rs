//! The shield in the kernel: its own maps, and the programs of the rules in force. A change is
//! compiled, tried, and swapped in by one store into the chain; what fails leaves everything as it
//! is.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use packet_abi::maps;

use super::asm::AsmError;
use super::bpf::{self, BpfError};
use super::maps::{COUNTERS_OCTETS, Common, Own, RuleCounters};
use super::plan::{self, Place, PlanError};
use super::programs::{self, Load, Trial, slots};
use super::rule::{self, RULES_MAX, Rule, RuleError};
use super::self_test::{self, SelfTestError};
use crate::pins::PinError;
use crate::sys::bpf::Grace;

/// Places of counters: those of the rules in force and of the next stand side by side.
pub const PLACES_MAX: usize = 2 * RULES_MAX;
/// Sources and destinations that limits remember, over all rules; the one that was seen least
/// recently is forgotten first. Some 14 MB.
pub const SHARERS_MAX: u32 = 131_072;
/// Why rules were not put in force. Those before them stay.
#[derive(Debug, thiserror::Error)]
pub enum ShieldError {
    /// A rule is wrong.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// They do not fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The generator failed.
    #[error("the shield's generator made no program: a fault of Weir, report it with the rules")]
    Assembler(#[from] AsmError),
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] BpfError),
    /// A pin.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The program is not what the rules say.
    #[error(transparent)]
    SelfTest(#[from] SelfTestError),
}

/// How the shield is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// Whether sources must be reached by the way they came (strict reverse path).
    pub reverse_path: bool,
    /// Whether the other programs of the chain take frames of several pages.
    pub frags: bool,
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Installed {
    /// Programs.
    pub programs: usize,
    /// Their instructions.
    pub instructions: usize,
    /// Octets of their tables.
    pub table_octets: usize,
    /// Frames of the self-test.
    pub tested_frames: usize,
}

/// The shield and the rules in force.
#[derive(Debug)]
pub struct Shield {
    common: Common,
    own: Own,
    options: Options,
    grace: Grace,
    /// Places by the hash of the rule's name.
    places: BTreeMap<u64, Place>,
    names: Vec<String>,
    /// Which half of the chain's slots is in force: 0 or 1.
    half: u32,
}

impl Shield {
    /// A shield without rules; nothing stands in the chain until [`Shield::install`].
    ///
    /// # Errors
    /// When the kernel refuses a map.
    pub fn new(common: Common, options: Options) -> Result<Self, ShieldError> {
        let own = Own::new(PLACES_MAX as u32, SHARERS_MAX)?;
        let (grace, places) = (grace()?, BTreeMap::new());
        Ok(Self { common, own, options, grace, places, names: Vec::new(), half: 0 })
    }

    /// A shield whose maps are there already, as after a restart: rules of the same names go on
    /// counting where they were.
    ///
    /// # Errors
    /// When the maps cannot be read.
    pub fn adopt(common: Common, own: Own, options: Options) -> Result<Self, ShieldError> {
        let places = places_of(&own)?;
        let (_, half, _) = place_of(&own.places.read(PLACES_MAX as u32)?);
        let (grace, names) = (grace()?, Vec::new());
        Ok(Self { common, own, options, grace, places, names, half: half & 1 })
    }

    /// The maps to pin.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Puts rules in force. Packets are judged by the old rules or by the new ones.
    ///
    /// # Errors
    /// When a rule is wrong, they do not fit, the kernel refuses, or the self-test fails; the rules
    /// before them then stay in force.
    pub fn install(&mut self, rules: &[Rule]) -> Result<Installed, ShieldError> {
        rule::check(rules)?;
        let (known, places) = self.place(rules)?;
        let parts = plan::plan(rules, &places)?;
        let spare = 1 - self.half;
        // Test frames come in by no interface that a route could lead to.
        let frags = self.options.frags;
        let trial = Trial::new(parts, &places, Load { frags, ..Load::default() })?;
        let tested_frames = self_test::run(&trial, rules, &places)?;
        trial.set_limits(true)?;
        let how = Load {
            half: spare,
            reverse_path: self.options.reverse_path,
            frags: self.options.frags,
            trace: None,
        };
        let loaded = programs::load(trial.parts(), trial.tables(), (&self.own, &self.common), how)?;
        let chain = self.common.chain()?;
        for (slot, program) in slots(spare).zip(&loaded.programs).skip(1) {
            chain.put(slot, program.as_fd())?;
        }
        if let Some(first) = loaded.programs.first() {
            chain.put(maps::CHAIN_SHIELD, first.as_fd())?;
        }
        let old = self.half;
        self.half = spare;
        self.remember(&known)?;
        self.places = known;
        self.names = rules.iter().map(|rule| rule.name.clone()).collect();
        // Packets that are under way go on through the old programs: they leave once all are done.
        self.wait_for_packets()?;
        for slot in slots(old).skip(1) {
            chain.clear(slot)?;
        }
        Ok(Installed {
            programs: loaded.programs.len(),
            instructions: loaded.instructions,
            table_octets: trial.parts().iter().map(|part| part.data.len()).sum(),
            tested_frames,
        })
    }

    /// Takes the shield out of the chain: packets go straight to the director.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self) -> Result<(), ShieldError> {
        let chain = self.common.chain()?;
        chain.clear(maps::CHAIN_SHIELD)?;
        self.wait_for_packets()?;
        for slot in slots(0).skip(1).chain(slots(1).skip(1)) {
            chain.clear(slot)?;
        }
        Ok(())
    }

    /// What each rule in force counted, in the order of the rules.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counters(&self) -> Result<Vec<(&str, RuleCounters)>, ShieldError> {
        let mut counters = Vec::with_capacity(self.names.len());
        for name in &self.names {
            if let Some(place) = self.places.get(&hash(name)) {
                counters.push((name.as_str(), self.own.counters(place.slot)?));
            }
        }
        Ok(counters)
    }

    fn wait_for_packets(&self) -> Result<(), BpfError> {
        let failed =
            |source| BpfError::Entry { what: "wait for packets at", name: "CHAIN", source };
        self.grace.wait().map_err(failed)
    }

    /// Places for rules: their own where they have one, else free ones, emptied.
    fn place(&self, rules: &[Rule]) -> Result<(BTreeMap<u64, Place>, Vec<Place>), BpfError> {
        let mut known = BTreeMap::new();
        let mut places = Vec::with_capacity(rules.len());
        let mut taken: Vec<u32> = self.places.values().map(|place| place.slot).collect();
        taken.sort_unstable();
        let mut free = (0..PLACES_MAX as u32).filter(|slot| taken.binary_search(slot).is_err());
        for rule in rules {
            let hash = hash(&rule.name);
            let place = match self.places.get(&hash) {
                Some(place) => *place,
                None => self.empty(free.next().unwrap_or_default())?,
            };
            known.insert(hash, place);
            places.push(place);
        }
        Ok((known, places))
    }

    fn empty(&self, slot: u32) -> Result<Place, BpfError> {
        let (_, epoch, _) = place_of(&self.own.places.read(slot)?);
        let zeros = vec![0; COUNTERS_OCTETS as usize * bpf::cpus()?];
        self.own.counters.write(slot, &zeros)?;
        self.own.debts.write(slot, &[0; 16])?;
        Ok(Place { slot, epoch: (epoch + 1) & 0x3fff_ffff })
    }

    /// Writes down who has which place, for a process after this one.
    fn remember(&self, known: &BTreeMap<u64, Place>) -> Result<(), BpfError> {
        for (hash, place) in self.places.iter().filter(|(hash, _)| !known.contains_key(hash)) {
            self.write_place(place.slot, *hash, place.epoch, false)?;
        }
        for (hash, place) in known.iter().filter(|(hash, _)| !self.places.contains_key(hash)) {
            self.write_place(place.slot, *hash, place.epoch, true)?;
        }
        self.write_place(PLACES_MAX as u32, 0, self.half, true)
    }

    fn write_place(&self, slot: u32, hash: u64, epoch: u32, taken: bool) -> Result<(), BpfError> {
        let words = [hash, u64::from(epoch) | u64::from(taken) << 32];
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.own.places.write(slot, &octets)
    }
}

/// Who has which place, as the process before wrote it down.
fn places_of(own: &Own) -> Result<BTreeMap<u64, Place>, BpfError> {
    let mut places = BTreeMap::new();
    for slot in 0..PLACES_MAX as u32 {
        let (hash, epoch, taken) = place_of(&own.places.read(slot)?);
        if taken {
            places.insert(hash, Place { slot, epoch });
        }
    }
    Ok(places)
}

/// What rules counted, by name.
pub(super) fn counters_by_name(
    own: &Own,
    names: &[&str],
) -> Result<Vec<(String, Option<RuleCounters>)>, ShieldError> {
    let places = places_of(own)?;
    let mut counters = Vec::with_capacity(names.len());
    for name in names {
        let place = places.get(&hash(name));
        let counted = place.map(|place| own.counters(place.slot)).transpose()?;
        counters.push(((*name).to_owned(), counted));
    }
    Ok(counters)
}

fn grace() -> Result<Grace, BpfError> {
    Grace::new().map_err(|source| BpfError::Map { name: "weir_grace", octets: 8, source })
}

fn place_of(entry: &[u8]) -> (u64, u32, bool) {
    let word = |at: usize| {
        let octets = entry.get(at..).and_then(<[u8]>::first_chunk::<8>);
        octets.map_or(0, |octets| u64::from_le_bytes(*octets))
    };
    (word(0), word(8) as u32, word(8) >> 32 != 0)
}

/// FNV-1a of 64 bits: a name as the map of places keeps it.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
