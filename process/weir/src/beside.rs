//! `weir beside`: becomes another program that ends when the process that asked for it ends, also
//! where that is killed. The demo of a fleet starts its processes by it.

use crate::cli::EXIT_FAILED;
use anyhow::{Context, bail};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The verb, which people have no use for.
pub(crate) const VERB: &str = "beside";

/// What is to run.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// The process to end with: it must be the one that starts this.
    parent: u32,
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    words: Vec<OsString>,
}

/// Becomes the program.
///
/// # Errors
/// It cannot be started.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // The order outlives `execve`, and is given by the thread that started this, which is the
    // first one of its process.
    set_parent_process_death_signal(Some(Signal::KILL)).context("an order to end in time")?;
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(options.parent) {
        // It ended before the order was given.
        return Ok(ExitCode::from(EXIT_FAILED));
    }
    let Some((program, arguments)) = options.words.split_first() else { bail!("no program") };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("{} cannot be started", Path::new(program).display()))
}

/// A command that ends with this process. It is to be started by the main thread.
///
/// # Errors
/// The program's own file is not known.
pub(crate) fn command() -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(VERB).arg(std::process::id().to_string());
    // Signals of a terminal are for the parent alone, which ends its children in order.
    command.process_group(0);
    Ok(command)
}
