//! The shield in the kernel: generated programs against the interpreter, and changes of rules.
//!
//! Needs root and bpf(2); each test says by name that it was skipped, and why, where they are
//! missing.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod change;
mod harness;
mod length;
mod many;
mod oracle;
mod reverse;
