//! The tasks of the project: `cargo xtask VERB`. One file per verb; nothing here ships.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench_rows;
mod check_docs;
mod count;
mod ebpf;
mod fuzz;
mod lab;
mod markdown;
mod packages;
mod run;
mod soak;
mod systemd;
mod test;
mod tidy;
mod workspace;

/// The tasks of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run every test and check; the last line is `N passed, M failed`
    Test(test::Args),
    /// Check the conventions of STYLE.md over the whole tree
    Tidy,
    /// Try every link, command and configuration block of the documents
    CheckDocs,
    /// Run the tests with their full case counts (WEIR_SOAK=1)
    Soak(soak::Args),
    /// Reload and upgrade weir.service under a real systemd; needs root and debootstrap
    Systemd,
    /// Measure Weir beside its peers
    Bench(bench_rows::Args),
    /// Build the eBPF object, or check that the committed one is of its sources
    Ebpf(ebpf::Args),
    /// A fleet in network namespaces, with traffic and faults
    Lab(lab::Args),
    /// Replay the fuzz corpora, or fuzz one target for a time
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Test(args) => test::run(&args),
        Verb::Tidy => tidy::run(),
        Verb::CheckDocs => check_docs::run(),
        Verb::Soak(args) => soak::run(&args),
        Verb::Systemd => systemd::run(),
        Verb::Bench(args) => bench_rows::run(&args),
        Verb::Ebpf(args) => ebpf::run(&args),
        Verb::Lab(args) => lab::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
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
