//! The weir command: parses the command line and hands over; what a command does is in its file.

mod beside;
mod cli;
mod client;
mod commands;
mod control;
mod demo;
mod effective;
mod explain;
mod packet;
mod server;
mod top;

use clap::Parser;
use mimalloc::MiMalloc;
use process_runtime::allocations::Counting;
use std::process::ExitCode;

/// Allocates fast for many small objects per worker and gives memory back after a crowd.
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting::new(MiMalloc);

fn main() -> ExitCode {
    match cli::Command::of(cli::Cli::parse()).run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::from(cli::EXIT_FAILED)
        }
    }
}
