//! The command line: what can be typed, and what each exit code means.

use crate::{beside, commands, control, demo, explain, packet, server, top};
use clap::{Parser, Subcommand};
use core_model::ListenAddress;
use std::path::PathBuf;
use std::process::ExitCode;

/// The configuration is wrong, or a reload or an upgrade was refused, or a demo request failed.
pub(crate) const EXIT_REFUSED: u8 = 1;
/// The command could not do its work: an address in use, no such file, no running process.
pub(crate) const EXIT_FAILED: u8 = 3;

/// A content-delivery edge for people who run their own servers.
#[derive(Parser, Debug)]
#[command(
    name = "weir",
    version,
    after_help = "Exit codes: 0 done; 1 the configuration is wrong or was refused; \
                  2 the command line is wrong; 3 the command could not do its work.\n\
                  First steps: `weir demo`, then `weir check FILE` and `weir run FILE`."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What weir is asked to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Start three origins and a Weir before them, send requests, and show what happens; with
    /// `--fleet` a control plane and three edges, each a process of its own.
    Demo(demo::Options),
    /// Become a program that ends with the process that starts this.
    #[command(hide = true)]
    Beside(beside::Options),
    /// Serve what FILE says until TERM (drain), INT (quick) or a fault; HUP reloads, USR2 upgrades.
    Run {
        /// The configuration.
        file: PathBuf,
        #[command(flatten)]
        fleet: server::FleetOptions,
    },
    /// Serve the API of the control plane, as FILE says, until TERM or INT.
    Control {
        /// The file of the control plane.
        file: PathBuf,
    },
    /// Tokens of the API.
    #[command(subcommand)]
    Token(control::TokenCommand),
    /// Edges of the fleet: tokens that they join with, which there are, and shutting one out.
    #[command(subcommand)]
    Edge(control::EdgeCommand),
    /// Show who changed what in the store of the control plane, and when.
    History(control::History),
    /// Put the objects of an earlier revision in force again, as a new change.
    Rollback(control::Rollback),
    /// Write the store of the control plane to one file, with its history.
    Backup(control::Place),
    /// Fill an empty store from a backup.
    Restore(control::Place),
    /// Write each object of the store to a file of its own, below a new folder.
    Export(control::Place),
    /// Make the objects of the store those of a folder, in one change; or bring those of an account
    /// of Cloudflare's: `weir import cloudflare`.
    Import(control::Import),
    /// Show what `weir apply` would do.
    Plan(control::PlanOptions),
    /// Make the objects of a control plane those that a configuration declares, in one change.
    Apply(control::ApplyOptions),
    /// Tell every fault of FILE, or that there is none. With --control, those of a control file,
    /// and of each object of its store what is not in effect yet.
    Check {
        /// The configuration.
        #[arg(required_unless_present = "control")]
        file: Option<PathBuf>,
        /// The file of `weir control`.
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        control: Option<PathBuf>,
        /// Faults as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Print every key with default, unit and reason, as a file that can be edited.
    PrintDefaults,
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
    /// Make a running weir read its file again, and tell what changed.
    Reload {
        /// The admin address of the running weir.
        #[arg(long, default_value = core_model::defaults::ADMIN_ADDRESS)]
        admin: ListenAddress,
    },
    /// Make a running weir hand over to a new process of its program's file, without losing a
    /// connection: the file may have been replaced by another version.
    Upgrade {
        /// The admin address of the running weir.
        #[arg(long, default_value = core_model::defaults::ADMIN_ADDRESS)]
        admin: ListenAddress,
    },
    /// Show what a running weir does, live in the terminal.
    Top {
        /// The admin address of the running weir.
        #[arg(long, default_value = core_model::defaults::ADMIN_ADDRESS)]
        admin: ListenAddress,
        /// Print one frame and end, as where the output is no terminal.
        #[arg(long)]
        once: bool,
    },
    /// Show what a reload would change: the running weir's file against what it serves, or FILE
    /// against OTHER.
    Diff {
        /// The configuration in force; the running weir is asked where none is given.
        #[arg(requires = "other")]
        file: Option<PathBuf>,
        /// The configuration that would replace it.
        other: Option<PathBuf>,
        /// The admin address of the running weir.
        #[arg(long, default_value = core_model::defaults::ADMIN_ADDRESS)]
        admin: ListenAddress,
        /// Changes as JSON on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Tell what becomes of a flow on this server, stage by stage, by the word of the programs in
    /// the kernel: `weir explain tcp 198.51.100.7:40000 203.0.113.1:443`. Or tell what holds for a
    /// host of a configuration, and which layer says so: `weir explain FILE HOST/PATH`.
    Explain(explain::Options),
    /// The packet path: forwarding tables and the fleet that shares them.
    #[command(subcommand)]
    Packet(packet::Command),
}

impl Command {
    /// The command that was typed.
    #[must_use]
    pub(crate) fn of(cli: Cli) -> Self {
        cli.command
    }

    /// Does it.
    ///
    /// # Errors
    /// Whatever kept it from its work, for people.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Demo(options) => demo::run(&options),
            Self::Beside(options) => beside::run(&options),
            Self::Run { file, fleet } => server::run_file(&file, fleet),
            Self::Control { file } => control::run(&file),
            Self::Token(command) => command.run(),
            Self::Edge(command) => command.run(),
            Self::History(history) => history.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Backup(place) => place.backup(),
            Self::Restore(place) => place.restore(),
            Self::Export(place) => place.export(),
            Self::Import(import) => import.run(),
            Self::Plan(options) => options.run(),
            Self::Apply(options) => options.run(),
            Self::Check { control: Some(file), json, .. } => control::check(&file, json),
            Self::Check { file, json, .. } => commands::check(&file.unwrap_or_default(), json),
            Self::PrintDefaults => commands::print_defaults(),
            Self::Schema => commands::schema(),
            Self::Reload { admin } => commands::reload(&admin),
            Self::Upgrade { admin } => commands::upgrade(&admin),
            Self::Top { admin, once } => top::run(&admin, once).map(|()| ExitCode::SUCCESS),
            Self::Diff { file: Some(old), other: Some(new), json, .. } => {
                commands::diff_files(&old, &new, json)
            }
            Self::Diff { admin, json, .. } => commands::diff_running(&admin, json),
            Self::Explain(options) => explain::run(&options),
            Self::Packet(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
