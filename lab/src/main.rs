//! The `lab` command; `cargo xtask lab` builds what it needs and runs it.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lab::scenario::{self, SCENARIOS};
use lab::server::Programs;
use lab::{control, demo, guard, service};

/// A fleet on one machine, in network namespaces that it makes and removes.
#[derive(Parser)]
#[command(name = "lab", bin_name = "cargo xtask lab")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a fleet with traffic that stays up
    Up {
        /// Port of the page on loopback; any without it
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Show what is up: servers, flows, namespaces
    Status,
    /// Do something to what is up, such as `drain 2`; `fault help` lists what there is
    Fault { words: Vec<String> },
    /// Take down what is up, and tell how many flows were kept and broken
    Down,
    /// A fleet through its life: added, drained, removed and killed servers, on a terminal and a
    /// page
    Demo {
        /// Port of the page on loopback; any without it
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Run scenarios, all without names, and print what came of them as a table
    Matrix { names: Vec<String> },
    /// Wait for the end of a run and remove it
    #[command(hide = true)]
    Guard { run: String },
    /// Hold what `up` makes
    #[command(hide = true)]
    Hold {
        #[arg(long)]
        port: u16,
    },
    /// The services of a server
    #[command(hide = true)]
    Service { id: u16 },
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Up { port } => programs().and_then(|all| control::up(&all, port)).map(|()| true),
        Verb::Status => told("status"),
        Verb::Fault { words } => told(&format!("fault {}", words.join(" "))),
        Verb::Down => told("down"),
        Verb::Demo { port } => programs().and_then(|all| demo::run(&all, port)),
        Verb::Hold { port } => programs().and_then(|all| control::hold(&all, port)).map(|()| true),
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

/// This program and the `weir` beside it.
fn programs() -> Result<Programs> {
    Programs::beside(&std::env::current_exe()?)
}

fn told(request: &str) -> Result<bool> {
    print!("{}", control::ask(request)?);
    Ok(true)
}

fn matrix(names: &[String]) -> Result<bool> {
    let programs = programs()?;
    let mut well = true;
    println!("{}", scenario::heading());
    for scenario in SCENARIOS {
        if names.is_empty() || names.iter().any(|name| name == scenario.name) {
            match scenario.run(&programs) {
                Ok(outcome) => {
                    println!("{}", outcome.row(scenario));
                    well &= scenario.faults(&outcome).is_empty();
                }
                Err(error) => {
                    println!("{:<16} failed: {error:#}", scenario.name);
                    well = false;
                }
            }
        }
    }
    Ok(well)
}
