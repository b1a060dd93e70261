//! `weir packet attach` and `weir packet detach`: in force without a process, and gone.

use super::PacketPath;
use crate::cli::EXIT_REFUSED;
use crate::commands::print_faults;
use anyhow::bail;
use packet_loader::Home;
use process_runtime::config_file;
use std::path::Path;
use std::process::ExitCode;

/// `weir packet attach`.
///
/// # Errors
/// What kept it from being put in force.
pub(super) fn attach(file: &Path) -> anyhow::Result<ExitCode> {
    let loaded = match config_file::load(file) {
        Ok(loaded) => loaded,
        Err(faults) => {
            print_faults(&faults);
            return Ok(ExitCode::from(EXIT_REFUSED));
        }
    };
    loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let Some(config) = loaded.config.packet else {
        bail!("{} has no [packet]", file.display());
    };
    PacketPath::start(&config)?;
    println!("in force; `weir packet status --name {}` shows it", config.name);
    Ok(ExitCode::SUCCESS)
}

/// `weir packet detach`.
///
/// # Errors
/// Nothing is there, another process looks after it, or the kernel refused.
pub(super) fn detach(name: &str) -> anyhow::Result<ExitCode> {
    let home = Home::at(Path::new(packet_loader::pins::ROOT), name)?;
    packet_loader::detach(&home)?;
    println!("{name} is gone: its packets go to the kernel alone");
    Ok(ExitCode::SUCCESS)
}
