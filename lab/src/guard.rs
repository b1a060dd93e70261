//! The guard: a process that takes a run away when the lab ends, however it ends.
//!
//! It waits for the end of its standard input, which the lab holds open, then kills every process
//! in the run's namespaces, removes those, the pins of the run's programs and its folder. A guard
//! that was killed itself is made up for by the next run, which sweeps up after runs whose process
//! is gone.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::namespace::FOLDER;
use crate::tool;

/// What the names of all runs begin with.
const PREFIX: &str = "weirlab-";
/// Where the programs of a run keep their pins.
const PINS: &str = "/sys/fs/bpf/weir";
/// Ten seconds: a killed process is gone at once unless the machine hangs.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(10);

/// Runs that this process has had: part of their names.
static RUNS: AtomicU32 = AtomicU32::new(0);

/// The guard of one run.
#[derive(Debug)]
pub struct Guard {
    run: String,
    process: Child,
}

impl Guard {
    /// Sweeps up after the dead and starts a guard; `lab` is this crate's program.
    ///
    /// # Errors
    /// When the guard cannot be started.
    pub fn start(lab: &Path) -> Result<Self> {
        sweep_dead();
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let run = format!("{PREFIX}{}-{number}", std::process::id());
        fs::create_dir_all(folder(&run)).context("making the run's folder")?;
        let mut command = Command::new(lab);
        command.args(["guard", &run]).stdin(Stdio::piped()).stdout(Stdio::null());
        // A group of its own: Ctrl-C ends the lab, and the guard works then.
        let process = command.process_group(0).spawn();
        let process = process.with_context(|| format!("starting {}", lab.display()))?;
        Ok(Self { run, process })
    }

    /// What the names of the run's namespaces begin with.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where the run's files lie.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        folder(&self.run)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            eprintln!("lab: the guard was lost: {error}");
        }
    }
}

/// The life of the guard: until its input ends.
///
/// # Errors
/// When something of the run cannot be removed.
pub fn keep(run: &str) -> Result<()> {
    if !run.starts_with(PREFIX) {
        bail!("`{run}` is not the name of a run");
    }
    let mut all = Vec::new();
    std::io::stdin().read_to_end(&mut all).context("waiting for the lab's end")?;
    sweep(run)
}

fn folder(run: &str) -> PathBuf {
    std::env::temp_dir().join(run)
}

/// Names of the namespaces of a run, or of all runs.
///
/// # Errors
/// Never where there are none.
pub fn namespaces(run: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(FOLDER) else { return Vec::new() };
    let start = format!("{run}-");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&start)).collect()
}

/// Removes what runs have left whose process is gone.
fn sweep_dead() {
    let mut runs: Vec<String> = Vec::new();
    let folders = [PathBuf::from(FOLDER), std::env::temp_dir()];
    for entry in folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten() {
        runs.extend(dead_run(&entry.file_name()));
    }
    runs.sort();
    runs.dedup();
    for run in runs {
        if let Err(error) = sweep(&run) {
            eprintln!("lab: sweeping up after {run}: {error:#}");
        }
    }
}

/// The run a name belongs to, if that run's process is gone.
fn dead_run(name: &OsStr) -> Option<String> {
    let rest = name.to_str()?.strip_prefix(PREFIX)?;
    let mut parts = rest.split('-');
    let (process, number) = (parts.next()?, parts.next()?);
    process.parse::<u32>().ok()?;
    let alive = Path::new("/proc").join(process).exists();
    (!alive).then(|| format!("{PREFIX}{process}-{number}"))
}

/// Kills and removes everything of a run.
fn sweep(run: &str) -> Result<()> {
    let names = namespaces(run);
    for name in &names {
        kill_all(name)?;
    }
    for name in &names {
        tool::run(&format!("ip netns del {name}"))?;
    }
    for entry in fs::read_dir(PINS).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{run}-")) {
            remove(&entry.path())?;
        }
    }
    remove(&folder(run))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn kill_all(namespace: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let pids = tool::run(&format!("ip netns pids {namespace}"))?;
        let pids: Vec<Pid> =
            pids.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)).collect();
        if pids.is_empty() {
            return Ok(());
        }
        if start.elapsed() > KILL_LIMIT {
            bail!("processes in {namespace} outlive SIGKILL: {pids:?}");
        }
        for pid in pids {
            // It may have ended since it was listed.
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_dead_when_its_process_is() {
        let own = format!("weirlab-{}-0-r", std::process::id());
        for (name, expect) in [
            ("weirlab-4194999-3-s1", Some("weirlab-4194999-3")),
            ("weirlab-4194999-3", Some("weirlab-4194999-3")),
            ("weirlab-x-3-s1", None),
            ("other", None),
            (own.as_str(), None),
        ] {
            assert_eq!(dead_run(OsStr::new(name)).as_deref(), expect, "{name}");
        }
    }
}
