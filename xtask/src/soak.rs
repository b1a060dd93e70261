//! `cargo xtask soak`: the tests with their full case counts, under a seed that can be repeated.
//!
//! Tests read WEIR_SOAK for how many cases to run and WEIR_SEED for where to start; `test` runs
//! the same tests as a sample with [`SEED`].

use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::count::{self, Count};
use crate::run::{self, Show};

/// The seed of `cargo xtask test`: a sample that differs from run to run would fail by chance.
pub(crate) const SEED: u64 = 20_260_801;

/// What to soak.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Tests whose name contains this, such as a module of them; all without it
    group: Option<String>,
    /// Where the random cases start; taken from the clock without it, and printed
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the verb.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(clock_seed);
    let group = args.group.as_deref().unwrap_or_default();
    let mut command = tests("soak", group);
    seeded(&mut command, seed).env("WEIR_SOAK", "1");
    let start = Instant::now();
    let finished = run::finish(&mut command, Show::Live)?;
    let mut count = count::tests(&finished.text).with_exit(finished.ok);
    if count == Count::default() {
        println!("no test matches {group:?}");
        count.failed = 1;
    }
    let repeat = format!("cargo xtask soak {group} --seed {seed}").replace("  ", " ");
    println!("{repeat}");
    println!("seed {seed}, {:.0} s", start.elapsed().as_secs_f64());
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(count.failed == 0)
}

/// The test runner: cargo-nextest under `profile` where it is installed, else cargo test. `group`
/// is a part of the names of tests, such as a module of them, or empty for all.
pub(crate) fn tests(profile: &str, group: &str) -> Command {
    if has_nextest() {
        let mut command = run::cargo(&["nextest", "run", "--workspace", "--all-targets"]);
        command.args(["--locked", "--no-fail-fast", "--no-tests=pass", "--status-level=fail"]);
        command.args(["--profile", profile]);
        command.args((!group.is_empty()).then_some(group));
        return command;
    }
    // A test that hangs would hold the whole run; the limit is that of CI with room to report.
    let mut command = run::command("timeout");
    command.args(["--kill-after=10s", "80m", "cargo", "test", "--workspace", "--all-targets"]);
    command.args(["--locked", "--no-fail-fast", "--", group]);
    command
}

/// Hands the seed to the tests, in the variable of the project and in that of proptest.
pub(crate) fn seeded(command: &mut Command, seed: u64) -> &mut Command {
    let seed = seed.to_string();
    command.env("WEIR_SEED", &seed).env("PROPTEST_RNG_SEED", &seed)
}

/// Whether cargo-nextest is installed.
pub(crate) fn has_nextest() -> bool {
    run::answers(&mut run::cargo(&["nextest", "--version"]))
}

fn clock_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(SEED, |since| since.as_secs())
}
