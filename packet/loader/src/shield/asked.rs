//! What the shield would do with a packet, apart from all traffic: the programs that these rules
//! become, with maps of their own and a trace of which rule did what.
//!
//! Limits have room: what is left of one is in the maps of the running shield, and an answer that
//! took from it would change it.

use std::os::fd::AsFd;

use packet_abi::verdict::Reason;

use super::bpf::{BpfError, Map, Shared};
use super::emit::{TRACE_EVENTS_MAX, TRACE_WORDS};
use super::install::{Options, ShieldError};
use super::interpret::Outcome;
use super::plan::{self, Place};
use super::programs::{Load, Trial};
use super::rule::{self, Rule};
use crate::counters::{self, Counters};
use crate::sys::bpf as sys;

/// The action of XDP for what is dropped.
const XDP_DROP: u32 = 1;

/// A rule that matched a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Its place among the rules, from 0.
    pub index: usize,
    /// Its name.
    pub rule: String,
    /// Whether it only counts.
    pub dry_run: bool,
    /// What it did.
    pub outcome: Outcome,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Why it was dropped, by the counter that moved; `None` for one that goes on.
    pub dropped: Option<Reason>,
    /// Rules that matched, in their order, up to the one that ended the matter.
    pub matched: Vec<Matched>,
}

/// Programs of rules, to be asked.
#[derive(Debug)]
pub struct Asked {
    rules: Vec<(String, bool)>,
    options: Options,
    trial: Trial,
    counters: Counters,
    trace: Shared,
}

impl Asked {
    /// Compiles and loads rules as [`super::Shield::install`] does, and puts nothing in force.
    ///
    /// # Errors
    /// When a rule is wrong, they do not fit, or the kernel refuses.
    pub fn new(rules: &[Rule], options: Options) -> Result<Self, ShieldError> {
        rule::check(rules)?;
        let slots = 0..rules.len() as u32;
        let places: Vec<Place> = slots.map(|slot| Place { slot, epoch: 0 }).collect();
        let trace = Map::shared("shield_trace", (TRACE_WORDS * 8) as u32)?;
        let how = Load {
            half: 0,
            reverse_path: options.reverse_path,
            frags: options.frags,
            trace: Some(trace.as_fd()),
        };
        let trial = Trial::new(plan::plan(rules, &places)?, &places, how)?;
        let share = |source| BpfError::Entry { what: "share", name: "COUNTERS", source };
        let reasons = trial.reasons().try_clone_to_owned().map_err(share)?;
        let counters =
            Counters::of(reasons).map_err(|error| share(std::io::Error::other(error)))?;
        Ok(Self {
            rules: rules.iter().map(|rule| (rule.name.clone(), rule.dry_run)).collect(),
            options,
            trial,
            counters,
            trace: Shared::new(&trace)?,
        })
    }

    /// How the shield is made.
    #[must_use]
    pub const fn options(&self) -> Options {
        self.options
    }

    /// Rules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Judges a frame that came in by an interface of this network namespace; its index is asked
    /// for the check of the reverse path alone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn judge(&self, frame: &[u8], interface: u32) -> Result<Judged, ShieldError> {
        let read = || {
            let failed = |error| std::io::Error::other(error);
            let entry = |source| BpfError::Entry { what: "read", name: "COUNTERS", source };
            self.counters.read().map_err(failed).map_err(entry)
        };
        self.trace.set(1, 0);
        let before = read()?;
        let interface = if self.options.reverse_path { interface } else { 0 };
        let ran = self.trial.run_from(frame, 1, interface)?;
        let after = read()?;
        let dropped = counters::moved(&before, &after);
        let events = (self.trace.get(1) as usize).min(TRACE_EVENTS_MAX);
        let matched = (0..events).filter_map(|at| self.event(self.trace.get(2 + at))).collect();
        Ok(Judged { dropped: dropped.filter(|_| ran.action == XDP_DROP), matched })
    }

    /// An event of the trace: place of the rule, and what it did.
    fn event(&self, word: u64) -> Option<Matched> {
        let index = (word >> 8) as usize;
        let (rule, dry_run) = self.rules.get(index)?.clone();
        Some(Matched { index, rule, dry_run, outcome: Outcome::of((word & 0xff) as u32)? })
    }
}

/// Whether a shield stands in front of the director of a packet path.
///
/// # Errors
/// When the kernel refuses.
pub fn stands(home: &crate::pins::Home) -> Result<bool, ShieldError> {
    let (name, slot) = (packet_abi::maps::CHAIN, packet_abi::maps::CHAIN_SHIELD);
    let chain = home.open(name)?;
    let found = sys::slot_id(chain.as_fd(), slot);
    Ok(found.map_err(|source| BpfError::Entry { what: "read", name, source })?.is_some())
}
