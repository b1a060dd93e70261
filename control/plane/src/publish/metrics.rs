//! What publishing counts, for `GET /metrics`.

use super::{EdgeState, EdgeStatus};
use process_runtime::metrics::{Counter, Histogram, LATENCY_BOUNDS_US};
use std::fmt::Write as _;

/// What an edge was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Every item.
    Whole,
    /// Items that differ.
    Delta,
    /// A generation without any change of items.
    Name,
}

/// Why a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The edge, or the connection, is gone.
    Gone,
    /// A newer stream of the edge took its place, or the edge was revoked.
    Stopped,
    /// The edge took nothing for too long.
    Slow,
    /// The edge did not say what it had to.
    Silent,
    /// The edge said what nobody understands.
    Broken,
}

impl Ended {
    const ALL: [Self; 5] = [Self::Gone, Self::Stopped, Self::Slow, Self::Silent, Self::Broken];

    /// Its label.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Stopped => "stopped",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::Broken => "broken",
        }
    }
}

/// Numbers of one publisher; any thread counts.
#[derive(Debug, Default)]
pub(crate) struct PublishMetrics {
    sent: [Counter; 3],
    ended: [Counter; Ended::ALL.len()],
    pub(crate) applied: Counter,
    pub(crate) refused: Counter,
    pub(crate) resyncs: Counter,
    pub(crate) halted: Counter,
    /// From the commit until an edge had it in force, as the clocks of both planes say.
    pub(crate) applied_us: Histogram,
}

/// What is told beside the counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) generation: u64,
    pub(crate) items: usize,
    pub(crate) left_out: usize,
    pub(crate) trial: bool,
}

impl PublishMetrics {
    pub(crate) fn sent(&self, sent: Sent) {
        self.sent.get(sent as usize).into_iter().for_each(Counter::inc_shared);
    }

    pub(crate) fn ended(&self, ended: Ended) {
        self.ended.get(ended as usize).into_iter().for_each(Counter::inc_shared);
    }

    /// As text for `/metrics`.
    pub(crate) fn encode(&self, gauges: Gauges, edges: &[EdgeStatus]) -> String {
        let mut out = String::new();
        let plain = |row: &[(&str, u64)], label: &str| {
            let one = |(word, value): &(&str, u64)| (format!("{{{label}=\"{word}\"}}"), *value);
            row.iter().map(one).collect::<Vec<_>>()
        };
        let single = |value: u64| vec![(String::new(), value)];
        let [whole, delta, name] = &self.sent;
        let sent = [("whole", whole.get()), ("delta", delta.get()), ("name", name.get())];
        let ended = Ended::ALL.iter().zip(&self.ended);
        let ended: Vec<_> = ended.map(|(ended, count)| (ended.word(), count.get())).collect();
        let outcomes = [
            ("applied", self.applied.get()),
            ("refused", self.refused.get()),
            ("resync", self.resyncs.get()),
        ];
        let counter = |out: &mut String, name: &str, help: &str, rows: &[(String, u64)]| {
            family(out, "counter", name, help, rows.iter().map(|(l, v)| (l.as_str(), *v as f64)));
        };
        let help = "Snapshots sent to edges: all items, those that differ, or the name alone.";
        counter(&mut out, "weir_publish_snapshots_total", help, &plain(&sent, "kind"));
        let help = "What became of snapshots on edges.";
        counter(&mut out, "weir_publish_outcomes_total", help, &plain(&outcomes, "outcome"));
        let help = "Streams of edges that ended, by why.";
        counter(&mut out, "weir_publish_streams_ended_total", help, &plain(&ended, "why"));
        let help = "Changes that were halted on the edges that got them first.";
        counter(&mut out, "weir_publish_halted_total", help, &single(self.halted.get()));
        let gauge = |out: &mut String, name: &str, help: &str, value: u64| {
            family(out, "gauge", name, help, [("", value as f64)].into_iter());
        };
        let help = "The newest generation.";
        gauge(&mut out, "weir_publish_generation", help, gauges.generation);
        gauge(&mut out, "weir_publish_items", "Items of it.", gauges.items as u64);
        let help = "Objects that are not published though they could be; the log says why.";
        gauge(&mut out, "weir_publish_left_out", help, gauges.left_out as u64);
        let help = "Whether some edges try a change.";
        gauge(&mut out, "weir_publish_trial", help, u64::from(gauges.trial));
        gauge(&mut out, "weir_publish_edges", "Attached edges.", edges.len() as u64);
        histogram(&mut out, &self.applied_us);
        of_edges(&mut out, edges);
        out
    }
}

fn of_edges(out: &mut String, edges: &[EdgeStatus]) {
    let labels: Vec<String> = edges
        .iter()
        // Names are of letters, digits and `-_.`, so that nothing needs escaping.
        .map(|edge| format!("{{edge=\"{}\",id=\"{}\"}}", edge.identity.name, edge.identity.id))
        .collect();
    let rows = |value: fn(&EdgeStatus) -> f64| {
        labels.iter().zip(edges).map(move |(label, edge)| (label.as_str(), value(edge)))
    };
    let help = "The generation that the edge has in force.";
    let has = |edge: &EdgeStatus| edge.has.as_ref().map_or(0.0, |has| has.generation as f64);
    family(out, "gauge", "weir_edge_generation", help, rows(has));
    let help = "How long a newer generation has been meant for the edge than it has.";
    let lag = |edge: &EdgeStatus| edge.lag_ms as f64 / 1e3;
    family(out, "gauge", "weir_edge_lag_seconds", help, rows(lag));
    let help = "Whether the edge refuses what is meant for it.";
    let refusing = |edge: &EdgeStatus| f64::from(edge.state == EdgeState::Refusing);
    family(out, "gauge", "weir_edge_refusing", help, rows(refusing));
}

/// Writing to a string cannot fail.
fn family<'l>(
    out: &mut String,
    kind: &str,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (&'l str, f64)>,
) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in rows {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}

fn histogram(out: &mut String, histogram: &Histogram) {
    let name = "weir_publish_apply_seconds";
    let _ = writeln!(out, "# HELP {name} From a commit until an edge said that it is in force.");
    let _ = writeln!(out, "# TYPE {name} histogram");
    let bounds = LATENCY_BOUNDS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
    let mut total = 0;
    for (count, bound) in histogram.counts().iter().zip(bounds.chain(["+Inf".to_owned()])) {
        total += count;
        let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(out, "{name}_sum {}", histogram.sum_us() as f64 / 1e6);
    let _ = writeln!(out, "{name}_count {total}");
}
