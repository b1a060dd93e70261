//! The Debian packages that tests run as clients and as origins, installed by name when missing,
//! and clients for Python and Node in folders of their own.

use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

use anyhow::{Context, Result, bail};

use crate::run::{self, Show};

/// Program, or a file by its path, and the package that brings it.
const NEEDED: [(&str, &str); 14] = [
    ("curl", "curl"),
    ("nginx", "nginx"),
    ("haproxy", "haproxy"),
    ("wrk", "wrk"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("/usr/share/doc/python3-venv", "python3-venv"),
    ("h2load", "nghttp2-client"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("iptables", "iptables"),
    ("etcd", "etcd-server"),
];

/// Debian asks this program before a package starts its service; 101 says no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Packages for Python as their makers publish them, and the folder below `target/peers` with an
/// environment for each; tests run its `bin/python3`. gRPC is newer than Debian's.
const PYTHON: [(&str, &str); 3] = [
    ("grpcio", "grpcio==1.85.1"),
    ("cloudflare", "cloudflare==5.9.0"),
    ("schemathesis", "schemathesis==4.32.5"),
];

/// The same for Node.
const NODE: [(&str, &str); 1] = [("cloudflare-node", "cloudflare@7.3.0")];

/// The program with a client for Rust, which is no member of the workspace.
const RUST: &str = "process/weir/tests/control/rust";

/// Where they are, below the root of the checkout.
const PEERS: &str = "target/peers";

/// Installs what is missing and says so.
///
/// # Errors
/// When something is missing and cannot be installed.
pub(crate) fn install() -> Result<()> {
    install_these(&NEEDED)?;
    PYTHON.iter().try_for_each(|(folder, package)| install_python(folder, package))?;
    NODE.iter().try_for_each(|(folder, package)| install_node(folder, package))?;
    build_rust()
}

/// Builds the program that calls with Cloudflare's client for Rust.
fn build_rust() -> Result<()> {
    let manifest = run::root().join(RUST).join("Cargo.toml");
    let mut build = run::command("cargo");
    build.args(["build", "--quiet", "--locked", "--manifest-path"]).arg(manifest);
    build.arg("--target-dir").arg(run::root().join(PEERS).join("cloudflare-rust"));
    if !run::finish(&mut build, Show::OnFailure)?.ok {
        bail!("{RUST} cannot be built");
    }
    Ok(())
}

/// Makes the environment with a package for Python, unless it is there in this version.
fn install_python(folder: &str, package: &str) -> Result<()> {
    let folder = run::root().join(PEERS).join(folder);
    unless_there(&folder, package, || {
        // The interpreter of the system: one of a version manager may go away with its version.
        let mut make = run::command("/usr/bin/python3");
        make.args(["-m", "venv", "--clear"]).arg(&folder);
        let mut fill = run::command(&folder.join("bin/python3").to_string_lossy());
        fill.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]);
        Ok([make, fill])
    })
}

/// Makes the folder with a package for Node, unless it is there in this version.
fn install_node(folder: &str, package: &str) -> Result<()> {
    let folder = run::root().join(PEERS).join(folder);
    unless_there(&folder, package, || {
        fs::create_dir_all(&folder).with_context(|| format!("{}: make", folder.display()))?;
        let mut fill = run::command("npm");
        fill.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
        fill.arg(package);
        Ok([fill])
    })
}

/// Runs commands that bring `package` into `folder`, unless a mark in it says that they have.
fn unless_there<const N: usize>(
    folder: &Path,
    package: &str,
    commands: impl FnOnce() -> Result<[Command; N]>,
) -> Result<()> {
    let mark = folder.join("whole");
    if fs::read_to_string(&mark).is_ok_and(|found| found == package) {
        return Ok(());
    }
    println!("installing {package}");
    for mut command in commands()? {
        if !run::finish(&mut command, Show::OnFailure)?.ok {
            bail!("{package} cannot be installed in {}", folder.display());
        }
    }
    fs::write(&mark, package).with_context(|| format!("{}: write", mark.display()))
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
