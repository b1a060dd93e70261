//! One program against its prologue: what stands before a measured program in a test run, measured
//! alone and with it.

use super::Options;
use anyhow::{Context, Result, ensure};
use packet_abi::{Address, maps};
use packet_loader::measure::{Bench, CHAIN_MEASURED};
use rustix::fd::BorrowedFd;

/// `XDP_DROP`, what programs of XDP return.
pub(super) const XDP_DROP: u32 = 1;
/// `XDP_PASS`.
pub(super) const XDP_PASS: u32 = 2;
/// `XDP_TX`.
pub(super) const XDP_TX: u32 = 3;
/// `TC_ACT_OK`, of programs at TC.
pub(super) const TC_OK: u32 = 0;
/// `TC_ACT_REDIRECT`.
pub(super) const TC_REDIRECT: u32 = 7;

/// What a prologue draws: a destination of the plan.
pub(super) const DESTINATION: u32 = 1;
/// The source port.
pub(super) const PORT: u32 = 2;
/// The low 16 bits of the source address.
pub(super) const SOURCE: u32 = 4;
/// Words of a plan's frame.
const FIRST: usize = 12;

/// How a prologue makes a frame anew.
pub(super) struct Plan<'a> {
    /// The frame.
    pub(super) frame: &'a [u8],
    /// Octets from its start that are written anew, 96 at most; in XDP 0 stands for those of
    /// Ethernet, and for a program that changes the frame's head instead of its tail.
    pub(super) headers: u32,
    /// [`DESTINATION`], [`PORT`], [`SOURCE`], or several; XDP only.
    pub(super) draw: u32,
    /// Whether its addresses are IPv6.
    pub(super) v6: bool,
    /// What destinations are drawn from: a power of two, or none.
    pub(super) destinations: &'a [Address],
}

impl Plan<'_> {
    /// Tells it to the prologues.
    pub(super) fn tell(&self, bench: &Bench) -> Result<()> {
        for (at, address) in (0_u32..).zip(self.destinations) {
            // IPv4 as the load of its four octets, as the prologue stores it.
            let (first, second) =
                if self.v6 { (address.high, address.low) } else { (u64::from(address.as_v4()), 0) };
            bench.write("DESTINATIONS", at, &words(&[first, second]))?;
        }
        let mut first = [0_u64; FIRST];
        for (word, octets) in first.iter_mut().zip(self.frame.chunks(8)) {
            let mut padded = [0; 8];
            padded[..octets.len()].copy_from_slice(octets);
            *word = u64::from_ne_bytes(padded);
        }
        let mask = self.destinations.len().max(1) as u64 - 1;
        let sizes = [
            self.frame.len() as u64 | mask << 32,
            u64::from(self.v6),
            u64::from(self.headers) | u64::from(self.draw) << 32,
        ];
        bench.write("PLAN", 0, &words(&[&sizes[..], &first[..]].concat()))?;
        Ok(())
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// Where a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// XDP, behind `prologue`.
    Xdp,
    /// TC, behind `prologue_tc`.
    Tc,
}

/// A program to measure.
pub(super) struct Measured<'a> {
    /// Where.
    pub(super) hook: Hook,
    /// The program.
    pub(super) program: BorrowedFd<'a>,
    /// The frame of the plan.
    pub(super) frame: &'a [u8],
    /// What the program returns: anything else measures how a packet is refused.
    pub(super) returned: u32,
    /// Octets of the frame that it leaves.
    pub(super) leaves: Option<usize>,
}

impl Measured<'_> {
    /// Nanoseconds of the prologue alone, and with the program behind it: the least of some rounds
    /// each, interleaved, as other work on the machine only adds.
    pub(super) fn run(&self, bench: &Bench, options: &Options) -> Result<(f64, f64)> {
        let (name, map, slot, passed) = match self.hook {
            Hook::Xdp => ("prologue", maps::CHAIN, CHAIN_MEASURED, XDP_PASS),
            Hook::Tc => ("prologue_tc", "NEXT_TC", 0, TC_OK),
        };
        let prologue = bench.measuring(name).context(name)?;
        let (mut own, mut with) = (u32::MAX, u32::MAX);
        for _ in 0..options.rounds.max(1) {
            let _ = bench.clear(map, slot);
            let alone = bench.run(prologue, self.frame, options.repeat)?;
            ensure!(alone.returned == passed, "{name} returned {}", alone.returned);
            own = own.min(alone.nanoseconds);
            bench.put(map, slot, self.program).context("the slot of the program")?;
            let outcome = bench.run(prologue, self.frame, options.repeat)?;
            let (returned, octets) = (outcome.returned, outcome.frame.len());
            ensure!(returned == self.returned, "the program returned {returned}");
            let leaves = self.leaves.unwrap_or(octets);
            ensure!(octets == leaves, "the program left {octets} octets, not {leaves}");
            with = with.min(outcome.nanoseconds);
        }
        let _ = bench.clear(map, slot);
        Ok((f64::from(own), f64::from(with)))
    }

    /// Nanoseconds of the program over its prologue.
    pub(super) fn over(&self, bench: &Bench, options: &Options) -> Result<f64> {
        let (own, with) = self.run(bench, options)?;
        Ok(with - own)
    }
}
