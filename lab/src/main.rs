//! The `lab` command; `cargo xtask lab` builds what it needs and runs it.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use lab::scenario::{self, SCENARIOS};
use lab::server::Programs;
use lab::{guard, service};

/// A fleet on one machine, in network namespaces that it makes and removes.
#[derive(Parser)]
#[command(name = "lab", bin_name = "cargo xtask lab")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run scenarios, all without names, and print what came of them as a table
    Matrix { names: Vec<String> },
    /// Wait for the end of a run and remove it
    #[command(hide = true)]
    Guard { run: String },
    /// The services of a server
    #[command(hide = true)]
    Service { id: u16 },
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Matrix { names } => matrix(&names),
        Verb::Guard { run } => guard::keep(&run).map(|()| true),
        Verb::Service { id } => service::serve(id).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn matrix(names: &[String]) -> Result<bool> {
    let programs = Programs::beside(&std::env::current_exe()?)?;
    let mut well = true;
    println!("{}", scenario::heading());
    for scenario in SCENARIOS {
        if names.is_empty() || names.iter().any(|name| name == scenario.name) {
            let outcome = scenario.run(&programs).with_context(|| scenario.name.to_owned())?;
            println!("{}", outcome.row(scenario));
            well &= scenario.faults(&outcome).is_empty();
        }
    }
    Ok(well)
}
