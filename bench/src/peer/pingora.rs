//! A proxy on the Pingora crates, the package `bench/pingora`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Network, Peer, Site, Style};
use crate::machine::Places;
use crate::row::Upstream;

pub(super) const NAME: &str = "pingora";
/// The oldest release the goals were set against.
const LEAST: [u32; 2] = [0, 9];
/// TLS libraries it can be built with, the one its makers use first.
const LIBRARIES: [&str; 3] = ["boringssl", "openssl", "rustls"];
/// What the first of them is built with: a tool that says so when it is there, its Debian package.
const BUILD_TOOLS: [(&str, &str); 2] = [("cmake", "cmake"), ("clang", "libclang-dev")];
/// Which library the program was built with, so that later runs do not try the others again.
const STAMP: &str = "library";

pub(super) struct Pingora {
    program: PathBuf,
    version: String,
}

impl Pingora {
    pub(super) fn build(places: &Places, network: Network) -> Result<Self> {
        let target = places.peers.join(NAME);
        let program = target.join("release/pingora-peer");
        if network == Network::Reachable {
            build(&places.root.join("bench/pingora"), &target)?;
        }
        let version = super::version(&[program.clone().into_os_string()], "--version")?;
        super::at_least(NAME, &version, &LEAST);
        Ok(Self { program, version })
    }
}

/// Builds it with the first library that can be built here.
fn build(package: &Path, target: &Path) -> Result<()> {
    fs::create_dir_all(target)?;
    let stamp = target.join(STAMP);
    let known = fs::read_to_string(&stamp).unwrap_or_default();
    let known: Vec<&str> = LIBRARIES.into_iter().filter(|name| *name == known).collect();
    if known.is_empty() {
        for (tool, package) in BUILD_TOOLS {
            let there = Command::new(tool).arg("--version").output().is_ok();
            // Without it the next library is tried, and the table names which it was.
            if !there && let Err(error) = super::install(tool, package) {
                eprintln!("bench: {error:#}");
            }
        }
    }
    for library in if known.is_empty() { &LIBRARIES[..] } else { &known[..] } {
        eprintln!("bench: cargo build of a proxy on the Pingora crates with {library}");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--locked", "--no-default-features", "--features"])
            .arg(library)
            .current_dir(package)
            .env("CARGO_TARGET_DIR", target)
            .status()
            .context("cargo build")?;
        if built.success() {
            fs::write(&stamp, library)?;
            return Ok(());
        }
    }
    bail!("it could not be built")
}

impl Peer for Pingora {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn command(&self, site: &Site, _style: Style) -> Result<Vec<OsString>> {
        let clients = if site.h2 { "h2" } else { "h1" };
        let origin = if site.upstream == Upstream::H2 { "h2" } else { "h1" };
        let mut command = vec![self.program.clone().into_os_string()];
        command.extend([site.plain.to_string().into(), site.tls.to_string().into()]);
        command.extend([&site.identity.certificate, &site.identity.key].map(OsString::from));
        command.extend([clients.into(), site.origin.to_string().into(), origin.into()]);
        Ok(command)
    }
}
