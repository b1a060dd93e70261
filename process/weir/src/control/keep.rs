//! `weir backup`, `weir restore`, `weir export` and `weir import`: the store as files, and back.

use super::cloudflare::Cloudflare;
use super::{on, reach, reach_there, runtime};
use crate::cli::EXIT_REFUSED;
use anyhow::Context;
use clap::{Args, Subcommand};
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
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Import {
    #[command(subcommand)]
    elsewhere: Option<Elsewhere>,
    /// The file of `weir control`.
    #[arg(long = "control", required = true)]
    file: Option<PathBuf>,
    /// The folder of an export.
    #[arg(required = true)]
    path: Option<PathBuf>,
    /// Remove objects that are not in the folder, but for tokens.
    #[arg(long)]
    prune: bool,
}

/// Objects that are not in the form of an export.
#[derive(Subcommand, Debug)]
enum Elsewhere {
    /// Bring the objects of an account of Cloudflare's, or of another control plane.
    Cloudflare(Cloudflare),
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
        if let Some(Elsewhere::Cloudflare(cloudflare)) = &self.elsewhere {
            return cloudflare.run();
        }
        let (file, path) = self.file.as_ref().zip(self.path.as_ref()).context("FILE and DIR")?;
        let objects = match files::read(path) {
            Ok(objects) => objects,
            Err(faults) => {
                faults.iter().for_each(|fault| eprintln!("{fault}"));
                return Ok(ExitCode::from(EXIT_REFUSED));
            }
        };
        on(file, |file| {
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
