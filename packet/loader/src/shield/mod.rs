//! The shield: rules in front of the director, compiled to eBPF at run time.
//!
//! `rule` says what is meant, `plan` and `tables` make it ready, `emit` and `asm` write the
//! program, `bpf` loads it, `self_test` tries it, `install` swaps it in. `interpret` says what is
//! right (docs/algorithms/shield.md).

pub mod asked;
pub mod asm;
pub mod bpf;
pub mod emit;
pub mod frames;
pub mod install;
pub mod interpret;
pub mod maps;
pub mod packet;
pub mod pinned;
pub mod plan;
pub mod programs;
pub mod rule;
pub mod samples;
pub mod self_test;
pub mod synthetic;
pub mod tables;
pub mod vectors;

pub use asked::{Asked, Judged, Matched};
pub use install::{Installed, Options, Shield, ShieldError};
pub use maps::{Common, Own, RuleCounters};
pub use rule::{Action, Flags, Limit, Match, Pattern, Per, Prefix, Range, Rate, Rule};
