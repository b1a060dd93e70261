//! What the listener of edges counts.

use control_api::publish::Refusal;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

/// Reasons of refusals, as the label has them.
const REASONS: [(Refusal, &str); 10] = [
    (Refusal::Token, "token"),
    (Refusal::TokenEnded, "token_ended"),
    (Refusal::TokenUsed, "token_used"),
    (Refusal::Request, "request"),
    (Refusal::NoCertificate, "no_certificate"),
    (Refusal::Unknown, "unknown"),
    (Refusal::Revoked, "revoked"),
    (Refusal::Full, "full"),
    (Refusal::Limited, "limited"),
    (Refusal::Unavailable, "unavailable"),
];

/// The word of a refusal in metrics and logs.
pub(super) fn word(refusal: Refusal) -> &'static str {
    REASONS.iter().find(|(own, _)| *own == refusal).map_or("other", |(_, word)| word)
}

/// Limits that a connection can meet, as the label has them.
const LIMITS: [&str; 4] = ["connections", "handshakes", "strangers", "per_edge"];

/// A limit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hit {
    /// Connections at once: the next one waits to be accepted.
    Connections,
    /// Handshakes at once: the next one waits to be accepted.
    Handshakes,
    /// Connections without a certificate: this one is closed.
    Strangers,
    /// Connections of one edge: this one is closed.
    PerEdge,
}

/// Counters of one process.
#[derive(Debug, Default)]
pub(super) struct EdgeMetrics {
    pub(super) joins: AtomicU64,
    pub(super) renewals: AtomicU64,
    /// TLS that came to nothing, above all for certificates that are wrong or have ended.
    pub(super) handshakes_failed: AtomicU64,
    /// In the order of [`REASONS`].
    denied: [AtomicU64; REASONS.len()],
    /// In the order of [`LIMITS`].
    hits: [AtomicU64; LIMITS.len()],
}

/// What is the case when the metrics are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gauges {
    /// Edges in the store that are not revoked.
    pub(super) edges: usize,
    /// Edges that are connected here.
    pub(super) connected: usize,
    /// When the authority ends, in seconds since 1970.
    pub(super) authority_ends: u64,
}

impl EdgeMetrics {
    pub(super) fn denied(&self, refusal: Refusal) {
        let at = REASONS.iter().position(|(own, _)| *own == refusal);
        if let Some(denied) = at.and_then(|at| self.denied.get(at)) {
            denied.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn hit(&self, limit: Hit) {
        if let Some(hits) = self.hits.get(limit as usize) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of it in the form of Prometheus.
    pub(super) fn encode(&self, gauges: Gauges) -> String {
        let mut out = String::new();
        let plain = |value: &AtomicU64| vec![(String::new(), value.load(Ordering::Relaxed))];
        let rows = |label: &str, words: &[&str], values: &[AtomicU64]| {
            let all = words.iter().zip(values);
            let all = all.map(|(word, value)| {
                (format!("{{{label}=\"{word}\"}}"), value.load(Ordering::Relaxed))
            });
            all.collect::<Vec<_>>()
        };
        let reasons = REASONS.map(|(_, word)| word);
        for (name, help, rows) in [
            ("weir_edge_joins_total", "Edges that joined here.", plain(&self.joins)),
            ("weir_edge_renewals_total", "Certificates renewed here.", plain(&self.renewals)),
            (
                "weir_edge_handshake_failures_total",
                "TLS handshakes of edges that failed.",
                plain(&self.handshakes_failed),
            ),
            (
                "weir_edge_denied_total",
                "Requests of edges that were refused.",
                rows("reason", &reasons, &self.denied),
            ),
            (
                "weir_edge_limit_hits_total",
                "Connections of edges that met a limit.",
                rows("limit", &LIMITS, &self.hits),
            ),
        ] {
            family(&mut out, name, "counter", help, &rows);
        }
        let one = |value: u64| [(String::new(), value)];
        let count = |value: usize| one(u64::try_from(value).unwrap_or(u64::MAX));
        family(&mut out, "weir_edges", "gauge", "Edges that may come.", &count(gauges.edges));
        let help = "Edges with a connection to this control plane.";
        family(&mut out, "weir_edges_connected", "gauge", help, &count(gauges.connected));
        let help = "When the authority of edges ends, in seconds since 1970.";
        let ends = one(gauges.authority_ends);
        family(&mut out, "weir_edge_authority_ends_seconds", "gauge", help, &ends);
        out
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str, rows: &[(String, impl Display)]) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in rows {
        let _ = writeln!(out, "{name}{labels} {value}");
    }
}
