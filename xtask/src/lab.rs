//! `cargo xtask lab`: builds the lab and the programs that it runs, and hands its arguments over.

use anyhow::Result;

use crate::run::{self, Show};

/// What the lab is to do.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// The verb and its options; `cargo xtask lab --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "VERB")]
    rest: Vec<String>,
}

/// Runs the verb.
///
/// # Errors
/// When something cannot be built or started.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let build = ["build", "--quiet", "--package", "process-weir", "--package", "lab", "--locked"];
    if !run::finish(&mut run::cargo(&build), Show::Live)?.ok {
        return Ok(false);
    }
    let lab = run::weir()?.with_file_name("lab");
    // The terminal is the lab's: it draws, and Ctrl-C ends it.
    let status = run::command(&lab.to_string_lossy()).args(&args.rest).status()?;
    Ok(status.success())
}
