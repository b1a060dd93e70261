//! How this edge stands to its control planes. Where it has none, the families stand there without
//! series.

use super::{Encoder, flag};
use crate::fleet::FleetStatus;

type Value = fn(&FleetStatus) -> f64;

const GAUGES: [(&str, &str, Value); 6] = [
    ("weir_control_connected", "1 while a control plane is followed.", |s| flag(s.connected)),
    ("weir_control_generation", "Published generation in force; 0 for none.", |s| {
        s.generation as f64
    }),
    (
        "weir_control_published_generation",
        "Newest generation that is meant for this edge, as far as it knows.",
        |s| s.published as f64,
    ),
    (
        "weir_control_stale_seconds",
        "Seconds since this edge last knew that it had the newest generation.",
        |s| s.stale_s,
    ),
    ("weir_control_on_disk", "1 where what is published and in force is on disk as well.", |s| {
        flag(s.on_disk)
    }),
    (
        "weir_control_certificate_not_after_seconds",
        "End of this edge's certificate, seconds since 1970.",
        |s| s.certificate_ends as f64,
    ),
];

pub(super) fn encode(out: &mut Encoder, status: Option<&FleetStatus>) {
    for (name, help, value) in GAUGES {
        out.family(name, "gauge", help);
        if let Some(status) = status {
            out.sample(name, &[], value(status));
        }
    }
    let name = "weir_control_snapshots_total";
    out.family(name, "counter", "Published snapshots by what became of them here.");
    if let Some(status) = status {
        for (result, count) in
            [("applied", status.applied), ("refused", status.refused), ("resync", status.resyncs)]
        {
            out.sample(name, &[("result", result)], count as f64);
        }
    }
    let name = "weir_control_losses_total";
    out.family(name, "counter", "Connections to control planes that were lost.");
    if let Some(status) = status {
        out.sample(name, &[], status.losses as f64);
    }
}
