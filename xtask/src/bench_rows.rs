//! `cargo xtask bench`: hands its arguments to the measuring harness.

use anyhow::Result;

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
    bench::run(&args.rest)?;
    Ok(true)
}
