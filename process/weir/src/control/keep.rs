//! `weir backup`, `weir restore`, `weir export` and `weir import`: the store as files, and back.

use super::{on, reach, reach_there, runtime};
use crate::cli::EXIT_REFUSED;
use anyhow::Context;
use clap::Args;
use control_plane::operate::{Changed, Operator, Request};
use control_plane::store::files;
use std::path::PathBuf;
use std::process::ExitCode;

/// A control file, and a file or folder beside the store.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The file of `weir control`.
    #[arg(long = "control")]
    file: PathBuf,
    /// The file of a backup, or the folder of an export.
    path: PathBuf,
}

/// Where objects come from.
#[derive(Args, Debug)]
pub(crate) struct Import {
    #[command(flatten)]
    place: Place,
    /// Remove objects that are not in the folder, but for tokens.
    #[arg(long)]
    prune: bool,
}

impl Place {
    /// Writes objects and history to a file.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn backup(&self) -> anyhow::Result<ExitCode> {
        on(&self.file, |file| {
            runtime()?.block_on(async {
                let revision = reach_there(&file).await?.backup(&self.path).await?;
                println!("{}: revision {revision}", self.path.display());
                Ok(())
            })
        })
    }

    /// Fills an empty store from a backup.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn restore(&self) -> anyhow::Result<ExitCode> {
        on(&self.file, |file| {
            runtime()?.block_on(async {
                let Operator::Own(desk, _) = reach(&file).await? else {
                    anyhow::bail!("a control plane runs on that store: stop it first");
                };
                let revision = desk.keeper().restore(&self.path).await?;
                println!("revision {revision} is in force");
                Ok(())
            })
        })
    }

    /// Writes each object to a file of its own.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn export(&self) -> anyhow::Result<ExitCode> {
        on(&self.file, |file| {
            runtime()?.block_on(async {
                let written = reach_there(&file).await?.export(&self.path).await?;
                println!("{}: {written} objects", self.path.display());
                Ok(())
            })
        })
    }
}

impl Import {
    /// Makes the objects those of a folder.
    ///
    /// # Errors
    /// What kept it from its work.
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let objects = match files::read(&self.place.path) {
            Ok(objects) => objects,
            Err(faults) => {
                faults.iter().for_each(|fault| eprintln!("{fault}"));
                return Ok(ExitCode::from(EXIT_REFUSED));
            }
        };
        on(&self.place.file, |file| {
            runtime()?.block_on(async {
                let request = Request::Import { objects, prune: self.prune };
                let done = reach(&file).await?.ask(&request).await;
                let Changed { objects, revision } = done.context("import")?;
                println!("{objects} objects changed; this is revision {revision}");
                Ok(())
            })
        })
    }
}
