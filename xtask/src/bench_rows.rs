//! `cargo xtask bench`: hands its arguments to the measuring harness.

use anyhow::{Context, Result};
use std::process::Command;

/// What to measure.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// The row and its options; `cargo xtask bench --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ROW")]
    rest: Vec<String>,
}

/// Runs the verb.
///
/// # Errors
/// Those of the harness.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let packets = args.rest.first().is_some_and(|first| first == "packet");
    if packets && cfg!(debug_assertions) {
        return optimised(args);
    }
    bench::run(&args.rest)?;
    Ok(true)
}

/// Does the same by a release build: tables are made and written by the code that is measured, as
/// users have it, where the rows of proxies measure programs of their own.
fn optimised(args: &Args) -> Result<bool> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["run", "--quiet", "--release", "--package", "xtask", "--", "bench"];
    let status = Command::new(cargo).args(build).args(&args.rest).status();
    Ok(status.context("a release build of this tool")?.success())
}
