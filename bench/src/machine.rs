//! What the kernel tells about a process tree, and where on this machine things are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit};
use rustix::thread::CpuSet;

/// Descriptors for ten thousand idle connections on both sides of a proxy, and room.
const DESCRIPTORS: u64 = 65_536;

/// Folders of a run.
#[derive(Clone, Debug)]
pub struct Places {
    /// The workspace.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    /// Peers unpacked, kept between runs.
    pub peers: PathBuf,
    /// Configurations and logs of this run.
    pub work: PathBuf,
}

impl Places {
    /// The folders of the workspace this program was built in.
    #[must_use]
    pub fn find() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().unwrap_or(here).to_path_buf();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        Self { peers: target.join("peers"), work: target.join("bench"), root, target }
    }
}

/// A process and all its descendants.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn tree(root: u32) -> Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("/proc")? {
        let Ok(entry) = entry else { continue };
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// The parent in a `/proc/PID/stat` line; the command in it may hold blanks and brackets.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time of all tasks of a process tree, in nanoseconds.
///
/// # Errors
/// When the root process has ended or the kernel keeps no `schedstat`.
pub fn cpu_nanos(root: u32) -> Result<u64> {
    let mut sum = 0;
    let mut read = 0;
    for pid in tree(root)? {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        for task in tasks.flatten() {
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            sum += schedstat(&text).with_context(|| format!("schedstat {text:?}"))?;
            read += 1;
        }
    }
    if read == 0 {
        bail!("process {root} has ended, or the kernel keeps no schedstat");
    }
    Ok(sum)
}

/// Ticks of a second in `/proc/PID/stat`, as the kernel tells every program (`USER_HZ`).
const TICKS: u64 = 100;

/// CPU time of one process since its start, threads that have ended included, in hundredths of a
/// second.
///
/// # Errors
/// When the process has ended.
pub fn cpu_of_process(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let ticks = ticks(&text).with_context(|| format!("{path}: {text:?}"))?;
    Ok(Duration::from_millis(ticks * (1_000 / TICKS)))
}

/// User and system time in a `/proc/PID/stat` line.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    user.parse::<u64>().ok()?.checked_add(system.parse().ok()?)
}

/// The first field: nanoseconds on a CPU.
fn schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Proportional memory (Pss) of a process tree, in KiB.
///
/// # Errors
/// When the root process has ended or its memory may not be read.
pub fn pss_kib(root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in tree(root)? {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(_) if pid != root => continue,
            Err(error) => return Err(error).context(path),
        };
        sum += pss(&text).with_context(|| format!("{path}: no Pss"))?;
    }
    Ok(sum)
}

/// Resident memory of a process tree, in KiB: coarser than `pss_kib`, and cheap to look at.
///
/// # Errors
/// When the root process has ended.
pub fn rss_kib(root: u32) -> Result<u64> {
    let mut sum = 0;
    for pid in tree(root)? {
        let path = format!("/proc/{pid}/status");
        match fs::read_to_string(&path) {
            Ok(text) => sum += kib(&text, "VmRSS:").unwrap_or(0),
            Err(_) if pid != root => {}
            Err(error) => return Err(error).context(path),
        }
    }
    Ok(sum)
}

fn pss(text: &str) -> Option<u64> {
    kib(text, "Pss:")
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Pins this thread, and threads and processes it starts, to one CPU.
///
/// # Errors
/// When the machine has no such CPU.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).with_context(|| format!("pin to CPU {cpu}"))
}

/// Raises the limit of open files as far as this user may; tells what it is.
pub fn raise_descriptors() -> u64 {
    let limits = rustix::process::getrlimit(Resource::Nofile);
    for wanted in
        [limits.maximum.unwrap_or(DESCRIPTORS).max(DESCRIPTORS), limits.maximum.unwrap_or(0)]
    {
        let limit = Rlimit { current: Some(wanted), maximum: Some(wanted) };
        if rustix::process::setrlimit(Resource::Nofile, limit).is_ok() {
            return wanted;
        }
    }
    limits.current.unwrap_or(DESCRIPTORS)
}

/// One line about the machine, for the table.
#[must_use]
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown CPU", |(_, name)| name.trim());
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<f64>().ok())
        .map_or(0.0, |kib| kib / f64::from(1 << 20));
    format!("{model}, {cpus} CPUs, {gib:.0} GiB, Linux {kernel}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_texts_are_read() {
        assert_eq!(schedstat("1992843 17 15\n"), Some(1_992_843));
        assert_eq!(schedstat(""), None);
        assert_eq!(parent("12 (a) b) (c) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 nonsense"), None);
        let stat = "12 (a) b) S 7 12 12 0 -1 4194304 9 0 0 0 31 11 0 0 20";
        assert_eq!((ticks(stat), ticks("12 (a) S 7")), (Some(42), None));
        let rollup =
            "55-7f ---p 0 00:00 0 [rollup]\nRss:    1724 kB\nPss:     362 kB\nPss_Dirty: 9 kB\n";
        assert_eq!(pss(rollup), Some(362));
        assert_eq!(pss("Rss: 5 kB"), None);
    }

    #[test]
    fn this_process_has_used_cpu_and_memory_and_has_a_tree() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let found = tree(me).unwrap();
        let _ = child.kill();
        let _ = child.wait();
        assert!(found.contains(&me) && found.contains(&child.id()), "{found:?}");
        assert!(cpu_nanos(me).unwrap() > 0);
        assert!(pss_kib(me).unwrap() > 0);
        assert!(rss_kib(me).unwrap() >= pss_kib(me).unwrap());
    }
}
