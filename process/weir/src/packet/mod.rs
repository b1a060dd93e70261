//! `weir packet`: the verbs of the packet path, a file each.

mod capture;
mod inputs;
mod netns;
mod path;
mod place;
mod rules;
mod simulate;
mod status;

pub(crate) use inputs::check;
pub(crate) use path::PacketPath;
pub(crate) use rules::{InForce, in_force};

use crate::server;
use clap::Subcommand;
use core_model::ListenAddress;
use std::path::PathBuf;
use std::process::ExitCode;

/// What is asked of the packet path.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Look after the packet path of FILE, without its listeners, until TERM or INT; HUP reloads.
    /// Packets are handled on after the end, until `weir packet detach`.
    Run {
        /// The configuration.
        file: PathBuf,
    },
    /// Put the packet path of FILE in force, and end: packets are handled without a process.
    Attach {
        /// The configuration.
        file: PathBuf,
    },
    /// Take a packet path off its interfaces and out of the kernel.
    Detach {
        /// `name` of its [packet].
        #[arg(long, default_value = core_model::defaults::PACKET_NAME)]
        name: String,
    },
    /// Tell what is in force in the kernel, and what became of packets.
    Status {
        /// `name` of its [packet].
        #[arg(long, default_value = core_model::defaults::PACKET_NAME)]
        name: String,
        /// As JSON on standard output.
        #[arg(long)]
        json: bool,
        /// Reasons of which no packet was seen, too.
        #[arg(long)]
        all: bool,
    },
    /// Write packets with their verdicts to a pcapng file, until INT or a limit.
    Capture(capture::Options),
    /// Run a fleet and its planner in virtual time, and tell what became of connections and load.
    Simulate(simulate::Options),
    /// Tell what the rules of a running weir's shield counted.
    Rules {
        /// The admin address of the running weir.
        #[arg(long, default_value = core_model::defaults::ADMIN_ADDRESS)]
        admin: ListenAddress,
        /// As JSON on standard output.
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// Whatever kept it from its work, for people.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Run { file } => server::run_packets(&file),
            Self::Attach { file } => place::attach(&file),
            Self::Detach { name } => place::detach(&name),
            Self::Status { name, json, all } => status::status(&name, json, all),
            Self::Capture(options) => capture::run(&options),
            Self::Simulate(options) => simulate::run(&options),
            Self::Rules { admin, json } => status::rules(&admin, json),
        }
    }
}
