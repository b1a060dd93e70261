//! What the store counts.

use super::record::Revision;
use process_runtime::metrics::{Counter, Histogram, LATENCY_BOUNDS_US};
use std::fmt::Write as _;

/// Numbers of one keeper; any thread reads them.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// Commits made by this process.
    pub commits: Counter,
    /// Commits that others came before.
    pub conflicts: Counter,
    /// Commits that failed for another reason.
    pub failures: Counter,
    /// How long a commit took until it was durable.
    pub commit_us: Histogram,
}

impl StoreMetrics {
    /// As text for `/metrics`; `revision` is that of the state in memory.
    #[must_use]
    pub fn encode(&self, revision: Revision) -> String {
        let mut out = String::new();
        let counters = [
            ("commits", "Commits that this process made.", &self.commits),
            ("conflicts", "Commits that others came before.", &self.conflicts),
            ("failures", "Commits that failed otherwise.", &self.failures),
        ];
        // Writing to a string cannot fail.
        for (name, help, counter) in counters {
            let name = format!("weir_store_{name}_total");
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            let _ = writeln!(out, "{name} {}", counter.get());
        }
        let name = "weir_store_commit_seconds";
        let _ = writeln!(out, "# HELP {name} Time until a commit was durable.");
        let _ = writeln!(out, "# TYPE {name} histogram");
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
        let mut total = 0;
        for (count, bound) in self.commit_us.counts().iter().zip(bounds.chain(["+Inf".to_owned()]))
        {
            total += count;
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(out, "{name}_sum {}", self.commit_us.sum_us() as f64 / 1e6);
        let _ = writeln!(out, "{name}_count {total}");
        let name = "weir_store_revision";
        let _ = writeln!(out, "# HELP {name} Revision of the objects in memory.");
        let _ = writeln!(out, "# TYPE {name} gauge\n{name} {revision}");
        out
    }
}
