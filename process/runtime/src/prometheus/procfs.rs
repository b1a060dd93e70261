//! The `process_*` metrics that every Prometheus client library gives, from `/proc`.

use super::Encoder;
use crate::live::now_ms;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn encode(out: &mut Encoder) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let cpu = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let fds = std::fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    let rows = [
        ("process_cpu_seconds_total", "counter", "CPU time used, user and system.", Some(cpu)),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            field(&status, "VmRSS:").map(kib),
        ),
        (
            "process_virtual_memory_bytes",
            "gauge",
            "Virtual memory.",
            field(&status, "VmSize:").map(kib),
        ),
        ("process_threads", "gauge", "Threads.", field(&status, "Threads:")),
        // Reading the folder opens one more.
        (
            "process_open_fds",
            "gauge",
            "Open file descriptors.",
            fds.map(|n| n.saturating_sub(1) as f64),
        ),
        (
            "process_max_fds",
            "gauge",
            "Limit of open file descriptors.",
            getrlimit(Resource::Nofile).current.map(|n| n as f64),
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "Start of the process since 1970.",
            Some((unix - now_ms() as f64 / 1e3).floor()),
        ),
    ];
    for (name, kind, help, value) in rows {
        if let Some(value) = value {
            out.family(name, kind, help);
            out.sample(name, &[], value);
        }
    }
}

/// `/proc` counts memory in KiB.
fn kib(value: f64) -> f64 {
    value * 1024.0
}

/// The number of a line such as `VmRSS:     1234 kB`.
fn field(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
