//! `cargo xtask systemd`: weir.service under a real systemd, as process 1 of a small Debian in
//! namespaces of its own, through reloads and upgrades. Needs root, and debootstrap for the first
//! run, which it installs; not a part of `cargo xtask test`, which must work without either.
//!
//! The scripts beside this file say what happens inside: `enter.sh` builds the world that systemd
//! sees, `check.sh` looks at the unit. Nothing outlives the command, however it ends, but an empty
//! control group, which the next run removes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::run::{self, Show};

/// What the first run installs: the oldest release whose systemd Weir supports, and next to
/// systemd what the unit and the check call.
const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,curl,procps";

/// Programs of the machine, and their packages.
const NEEDED: [(&str, &str); 3] =
    [("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("setpriv", "util-linux")];

/// How long all of it may take, in seconds; it takes a minute and a half.
const RUN_MAX: &str = "300";

/// How long the processes of a control group may take to be gone once they are killed.
const GONE_MAX: Duration = Duration::from_secs(5);

/// Ends the program behind it with the process that started it.
const TIED: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

/// What the name of a control group of this command starts with.
const GROUP: &str = "weir-check-";

/// Files of the check: below the tree, and what they hold.
const FILES: [(&str, &str); 6] = [
    ("check/check.sh", include_str!("systemd/check.sh")),
    ("etc/weir/weir.toml", include_str!("systemd/weir.toml")),
    ("etc/systemd/system/weir-check.service", include_str!("systemd/weir-check.service")),
    ("etc/systemd/system/weir-check.target", include_str!("systemd/weir-check.target")),
    ("etc/systemd/system/weir.service", include_str!("../../packaging/weir.service")),
    ("usr/lib/sysusers.d/weir.conf", include_str!("../../packaging/weir.sysusers")),
];

/// Runs the verb.
///
/// # Errors
/// When something that it needs is missing.
pub(crate) fn run() -> Result<bool> {
    if !run::is_root() {
        bail!("systemd as process 1 needs namespaces and mounts: run this as root");
    }
    packages::install_these(&NEEDED)?;
    let build = ["build", "--quiet", "--locked", "--package", "process-weir", "--bins"];
    if !run::finish(&mut run::cargo(&build), Show::OnFailure)?.ok {
        bail!("weir cannot be built");
    }
    let tree = tree()?;
    furnish(&tree)?;
    let group = Group::new()?;
    let mut command = inside(&group, &tree);
    let finished = run::finish(&mut command, Show::Live)?;
    let told = fs::read_to_string(tree.join("check/out")).unwrap_or_default();
    print!("{told}");
    if told.is_empty() {
        println!("systemd did not come to the check");
    }
    Ok(finished.ok && told.contains(" passed, 0 failed"))
}

/// The installed system, made where it is missing or was left half made.
fn tree() -> Result<PathBuf> {
    let folder = run::root().join("target/systemd");
    let (tree, whole) = (folder.join("root"), folder.join("whole"));
    let told = format!("{SUITE} {PACKAGES}");
    if fs::read_to_string(&whole).is_ok_and(|before| before == told) {
        return Ok(tree);
    }
    if tree.exists() {
        fs::remove_dir_all(&tree).with_context(|| format!("{}: remove", tree.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    println!("installing {SUITE} with {PACKAGES}");
    // What it mounts in the tree goes with its namespace, also where it is killed.
    let mut install = run::command(TIED[0]);
    install.args(&TIED[1..]).args(["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]);
    install.args(["--mount-proc", "debootstrap", "--variant=minbase"]);
    install.arg(format!("--include={PACKAGES}")).arg(SUITE).arg(&tree);
    if !run::finish(&mut install, Show::OnFailure)?.ok {
        bail!("debootstrap failed");
    }
    fs::write(&whole, told).with_context(|| whole.display().to_string())?;
    Ok(tree)
}

/// Puts the program, its unit and the check into the tree.
fn furnish(tree: &Path) -> Result<()> {
    let check = tree.join("check");
    if check.exists() {
        fs::remove_dir_all(&check).with_context(|| check.display().to_string())?;
    }
    for (name, text) in FILES {
        let path = tree.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    // With an id of its own it is no machine on its first start, which enables every unit.
    fs::write(tree.join("etc/machine-id"), "77656972000000000000000000000001\n")?;
    let program = run::weir()?;
    let mut install = run::command("install");
    install.args(["-m", "0755"]).arg(program).arg(tree.join("usr/bin/weir"));
    let mut users = run::command("chroot");
    users.arg(tree).arg("systemd-sysusers");
    for command in [&mut install, &mut users] {
        if !run::finish(command, Show::OnFailure)?.ok {
            bail!("the tree for systemd cannot be made ready");
        }
    }
    Ok(())
}

/// systemd in its namespaces. Each process of the chain is killed with the one before it.
fn inside(group: &Group, tree: &Path) -> Command {
    const JOIN: &str = "echo $$ > \"$0\" && exec \"$@\"";
    let mut command = run::command("sh");
    command.args(["-c", JOIN]).arg(group.0.join("cgroup.procs"));
    command.args(TIED).args(["timeout", "--kill-after=5", RUN_MAX]);
    command.args(TIED).args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--net"]);
    command.args(["--cgroup", "--fork", "--kill-child=KILL"]);
    command.arg("sh").arg(run::root().join("xtask/src/systemd/enter.sh")).arg(tree);
    command
}

/// A control group of its own, which systemd takes for the root of all.
struct Group(PathBuf);

impl Group {
    fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts").context("/proc/mounts: read")?;
        let place = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let place = words.next()?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(place))
        });
        let place = place.context("no cgroup2 is mounted here")?;
        // Of runs that were killed: those in use stay, since they are not empty.
        for entry in fs::read_dir(&place)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(GROUP) {
                remove(&entry.path());
            }
        }
        let path = place.join(format!("{GROUP}{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("{}: create", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let start = Instant::now();
        while self.0.exists() && start.elapsed() < GONE_MAX {
            remove(&self.0);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Removes a control group and those below it, as far as no process is in them.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    // The kernel keeps one that is in use.
    let _ = fs::remove_dir(group);
}
