//! The Debian packages that tests run as clients and as origins, installed by name when missing,
//! and gRPC for Python in an environment of its own.

use std::path::Path;
use std::{env, fs, io};

use anyhow::{Context, Result, bail};

use crate::run::{self, Show};

/// Program, or a file by its path, and the package that brings it.
const NEEDED: [(&str, &str); 13] = [
    ("curl", "curl"),
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("wrk", "wrk"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("/usr/share/doc/python3-venv", "python3-venv"),
    ("h2load", "nghttp2-client"),
    ("node", "nodejs"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("iptables", "iptables"),
    ("etcd", "etcd-server"),
];

/// Debian asks this program before a package starts its service; 101 says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// gRPC as its makers publish it, newer than Debian's.
const GRPC: &str = "grpcio==1.85.1";

/// The environment with it, below the root of the checkout; tests run its `bin/python3`.
const GRPC_FOLDER: &str = "target/peers/grpcio";

/// Installs what is missing and says so.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) fn install() -> Result<()> {
    install_these(&NEEDED)?;
    install_grpc()
}

/// Makes the environment with gRPC, unless it is there in this version.
fn install_grpc() -> Result<()> {
    let folder = run::root().join(GRPC_FOLDER);
    let mark = folder.join("whole");
    if fs::read_to_string(&mark).is_ok_and(|found| found == GRPC) {
        return Ok(());
    }
    println!("installing {GRPC}");
    // The interpreter of the system: one of a version manager may go away with its version.
    let mut make = run::command("/usr/bin/python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    let mut fill = run::command(&folder.join("bin/python3").to_string_lossy());
    fill.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", GRPC]);
    for command in [&mut make, &mut fill] {
        if !run::finish(command, Show::OnFailure)?.ok {
            bail!("{GRPC} cannot be installed in {}", folder.display());
        }
    }
    fs::write(&mark, GRPC).with_context(|| format!("{}: write", mark.display()))
}

/// Installs what is missing of a list of programs or files and their packages.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) fn install_these(needed: &[(&'static str, &'static str)]) -> Result<()> {
    let missing = missing(needed);
    if missing.is_empty() {
        println!("nothing to install");
        return Ok(());
    }
    let list = missing.join(" ");
    if run::which("apt-get").is_none() {
        bail!("missing: {list}; there is no apt-get here, install them by hand");
    }
    if !run::is_root() {
        bail!("missing: {list}; run `apt-get install {list}` as root, or run this as root");
    }
    println!("installing {list}");
    let _quiet = Quiet::start()?;
    apt(&["update", "--quiet=2"])?;
    let mut install = vec!["install", "--yes", "--quiet=2", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install)?;
    let left = self::missing(needed);
    if !left.is_empty() {
        bail!("installed, and yet not found: {}", left.join(" "));
    }
    Ok(())
}

fn missing(needed: &[(&'static str, &'static str)]) -> Vec<&'static str> {
    let absent = |name: &str| match name.starts_with('/') {
        true => !Path::new(name).exists(),
        false => run::which(name).is_none(),
    };
    needed.iter().filter(|(program, _)| absent(program)).map(|(_, package)| *package).collect()
}

fn apt(args: &[&str]) -> Result<()> {
    let mut apt = run::command("apt-get");
    apt.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    if env::var_os("PATH").is_none() {
        apt.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    }
    if !run::finish(&mut apt, Show::OnFailure)?.ok {
        bail!("apt-get {} failed", args.join(" "));
    }
    Ok(())
}

/// While it lives, packages do not start their services: a test starts its own, on its own ports.
struct Quiet {
    mine: bool,
}

impl Quiet {
    fn start() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { mine: false });
        }
        fs::write(POLICY, "#!/bin/sh\nexit 101\n").with_context(|| format!("{POLICY}: write"))?;
        make_executable(POLICY).with_context(|| format!("{POLICY}: mode"))?;
        Ok(Self { mine: true })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if self.mine {
            // A policy that cannot be removed only keeps services from starting by themselves.
            let _ = fs::remove_file(POLICY);
        }
    }
}

fn make_executable(path: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
