//! `weir packet`: the verbs of the packet path, a file each.

mod simulate;

use clap::Subcommand;
use std::process::ExitCode;

/// What is asked of the packet path.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a fleet and its planner in virtual time, and tell what became of connections and load.
    Simulate(simulate::Options),
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// Whatever kept it from its work, for people.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Simulate(options) => simulate::run(&options),
        }
    }
}
