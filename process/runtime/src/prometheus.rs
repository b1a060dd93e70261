//! The text of `/metrics` in the Prometheus exposition format, version 0.0.4.
//!
//! Label values are names of the configuration and words of this file, never anything that a
//! client or an origin sent, so that the number of series is bounded by the configuration.

mod fleet;
mod packets;
mod procfs;

use crate::live::{Health, OriginLive, PoolLive, now_ms};
use crate::metrics::{Counter, Histogram, LATENCY_BOUNDS_US, Limit, ListenerStats, OriginStats};
use crate::metrics::{Http2Ledgers, ListenerNumbers, Sharded, WorkerStats};
use crate::status::{OriginState, StatusSource};
use core_model::config::{Listener, Name, Origin, Pool};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// `Content-Type` of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
const BREAKERS: [&str; 3] = ["connections", "pending", "requests"];

/// Every metric of the process as text.
#[must_use]
pub fn encode(source: &StatusSource) -> String {
    let mut out = Encoder::default();
    process(&mut out, source);
    listeners(&mut out, &source.live().listeners());
    let snapshot = source.snapshot();
    certificates(&mut out, &snapshot.config.listeners);
    revocation_lists(&mut out, &snapshot.config.listeners);
    let pools: Vec<_> = snapshot.config.pools.iter().map(|p| PoolView::of(source, p)).collect();
    origins(&mut out, &pools);
    origin_gauges(&mut out, &pools);
    pools_of(&mut out, &pools);
    workers(&mut out, source);
    fleet::encode(&mut out, source.fleet().as_ref());
    packets::encode(&mut out, source.packets());
    procfs::encode(&mut out);
    out.text
}

/// When certificates end. Several of one name (ECDSA and RSA) are one series: the soonest counts.
fn certificates(out: &mut Encoder, listeners: &[Listener]) {
    let name = "weir_certificate_not_after_seconds";
    let help = "End of a certificate, seconds since 1970, by its first DNS name; the soonest of \
                several.";
    out.family(name, "gauge", help);
    for listener in listeners {
        let mut ends: BTreeMap<&str, i64> = BTreeMap::new();
        for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            let first = certificate.names.first().map_or("-", String::as_str);
            let end = ends.entry(first).or_insert(certificate.not_after);
            *end = certificate.not_after.min(*end);
        }
        for (first, end) in ends {
            out.sample(name, &[("listener", &listener.name), ("name", first)], end as f64);
        }
    }
}

/// When revocation lists expire, by file: client certificates under them are refused from then on.
fn revocation_lists(out: &mut Encoder, listeners: &[Listener]) {
    let name = "weir_crl_next_update_seconds";
    let help = "Next update of a revocation list, seconds since 1970; the soonest of a file.";
    out.family(name, "gauge", help);
    for listener in listeners {
        for crl in listener.tls.iter().flat_map(|tls| &tls.crls) {
            let file = crl.file.display().to_string();
            let labels = [("listener", listener.name.as_ref()), ("file", file.as_str())];
            out.sample(name, &labels, crl.next_update as f64);
        }
    }
}

/// A pool with its live state.
struct PoolView<'a> {
    pool: &'a Pool,
    live: Arc<PoolLive>,
    origins: Vec<(&'a Origin, Arc<OriginLive>)>,
}

impl<'a> PoolView<'a> {
    fn of(source: &StatusSource, pool: &'a Pool) -> Self {
        let state = source.live().state_of(pool);
        let origins = pool.origins.iter().zip(state.origins).collect();
        Self { pool, live: state.live, origins }
    }
}

fn process(out: &mut Encoder, source: &StatusSource) {
    let snapshot = source.snapshot();
    let stats = &source.live().process;
    out.family("weir_build_info", "gauge", "Version of the program; the value is 1.");
    out.sample("weir_build_info", &[("version", source.version())], 1.0);
    out.family("weir_config_generation", "gauge", "Generation of the configuration in force.");
    out.sample("weir_config_generation", &[], snapshot.generation.0 as f64);
    let reloads = "weir_config_reloads_total";
    out.family(reloads, "counter", "Reloads of the configuration.");
    out.sample(reloads, &[("result", "applied")], stats.reloads_applied.get() as f64);
    out.sample(reloads, &[("result", "refused")], stats.reloads_refused.get() as f64);
    let upgrades = "weir_upgrades_total";
    out.family(upgrades, "counter", "Upgrades, as this process knows of them.");
    out.sample(upgrades, &[("result", "taken_over")], stats.upgrades_taken_over.get() as f64);
    out.sample(upgrades, &[("result", "refused")], stats.upgrades_refused.get() as f64);
    out.sample(upgrades, &[("result", "taken_back")], stats.upgrades_taken_back.get() as f64);
    out.family("weir_panics_total", "counter", "Tasks that panicked; each is a bug.");
    out.sample("weir_panics_total", &[], crate::panics::total() as f64);
    let rows: [(&str, &str, &Counter); 3] = [
        (
            "weir_access_log_dropped_total",
            "Access log lines lost because the writer was behind or could not write.",
            &stats.access_log_dropped,
        ),
        ("weir_dns_failures_total", "DNS lookups of origins that failed.", &stats.dns_failures),
        (
            "weir_accept_failures_total",
            "Connections not accepted for want of descriptors or memory.",
            &stats.accept_failures,
        ),
    ];
    for (name, help, counter) in rows {
        out.family(name, "counter", help);
        out.sample(name, &[], counter.get() as f64);
    }
}

type ListenerValue = fn(&ListenerStats) -> u64;

/// Counters of a listener without further labels.
const LISTENER_COUNTERS: [(&str, &str, ListenerValue); 13] = [
    ("weir_connections_accepted_total", "Connections accepted.", |s| s.accepted.get()),
    (
        "weir_connections_refused_total",
        "Connections refused by a limit or a PROXY protocol rule.",
        |s| s.refused.get(),
    ),
    (
        "weir_requests_aborted_total",
        "Requests that ended before their reply was sent whole.",
        |s| s.aborted.get(),
    ),
    ("weir_requests_malformed_total", "Requests refused for their form.", |s| s.malformed.get()),
    (
        "weir_origin_failure_replies_total",
        "Replies made by Weir because an origin failed (502, 503, 504).",
        |s| s.origin_failures.get(),
    ),
    ("weir_tunnels_total", "Upgraded connections (101).", |s| s.tunnels.get()),
    ("weir_http2_connections_total", "HTTP/2 connections.", |s| s.http2_connections.get()),
    (
        "weir_http2_faults_total",
        "HTTP/2 connections that broke the protocol or went over a limit.",
        |s| s.http2_faults.get(),
    ),
    (
        "weir_http2_frames_received_total",
        "HTTP/2 frames of clients, counted when their connection ends.",
        |s| s.http2_frames.get(),
    ),
    (
        "weir_http2_resets_received_total",
        "Streams reset by clients, counted when their connection ends.",
        |s| s.http2_resets_received.get(),
    ),
    (
        "weir_http2_resets_sent_total",
        "Streams reset by Weir, counted when their connection ends.",
        |s| s.http2_resets_sent.get(),
    ),
    ("weir_received_bytes_total", "Bytes received from clients, after TLS.", |s| s.bytes_in.get()),
    ("weir_sent_bytes_total", "Bytes sent to clients, before TLS.", |s| s.bytes_out.get()),
];

fn listeners(out: &mut Encoder, all: &[(Name, ListenerNumbers)]) {
    for (name, help, value) in LISTENER_COUNTERS {
        out.family(name, "counter", help);
        for (listener, numbers) in all {
            out.sample(name, &[("listener", listener)], numbers.sum(value) as f64);
        }
    }
    out.family("weir_connections_open", "gauge", "Open connections of clients.");
    for (listener, numbers) in all {
        let open =
            numbers.sum(|s| s.accepted.get()).saturating_sub(numbers.sum(|s| s.closed.get()));
        out.sample("weir_connections_open", &[("listener", listener)], open as f64);
    }
    let name = "weir_tls_handshakes_total";
    out.family(name, "counter", "TLS handshakes of clients: full, resumed by a ticket, or failed.");
    for (listener, numbers) in all {
        let resumed = numbers.sum(|s| s.resumed.get());
        let full = numbers.sum(|s| s.handshakes.get()).saturating_sub(resumed);
        let failed = numbers.sum(|s| s.handshake_failures.get());
        for (result, value) in [("full", full), ("resumed", resumed), ("failed", failed)] {
            out.sample(name, &[("listener", listener), ("result", result)], value as f64);
        }
    }
    out.family("weir_requests_total", "counter", "Requests answered, by class of the status.");
    for (listener, numbers) in all {
        for (i, class) in CLASSES.iter().enumerate() {
            let value = numbers.sum(|s| s.replies.get(i).map_or(0, Counter::get));
            let labels = [("listener", &**listener), ("code_class", class)];
            out.sample("weir_requests_total", &labels, value as f64);
        }
    }
    out.family("weir_limit_hits_total", "counter", "Times a named limit was hit.");
    for (listener, numbers) in all {
        for (i, limit) in Limit::ALL.iter().enumerate() {
            let value = numbers.sum(|s| s.limits.get(i).map_or(0, Counter::get));
            let labels = [("listener", &**listener), ("limit", limit.name())];
            out.sample("weir_limit_hits_total", &labels, value as f64);
        }
    }
    let name = "weir_request_duration_seconds";
    out.family(name, "histogram", "From the first byte of a request to the end of its reply.");
    for (listener, numbers) in all {
        out.histogram(name, &[("listener", listener)], numbers, |s| &s.latency);
    }
}

type OriginValue = fn(&OriginStats) -> u64;

/// Counters of an origin without further labels.
const ORIGIN_COUNTERS: [(&str, &str, OriginValue); 6] = [
    ("weir_origin_requests_total", "Requests sent to an origin, retries included.", |s| {
        s.requests.get()
    }),
    ("weir_origin_connects_total", "Connections made to an origin.", |s| s.connects.get()),
    (
        "weir_origin_connect_failures_total",
        "Connections to an origin that could not be made (TCP or TLS).",
        |s| s.connect_failures.get(),
    ),
    (
        "weir_origin_reused_requests_total",
        "Requests sent on a connection that had served one before.",
        |s| s.reused.get(),
    ),
    ("weir_origin_failures_total", "Requests whose reply did not come or was cut.", |s| {
        s.failures.get()
    }),
    ("weir_retries_total", "Requests sent to an origin after a failure elsewhere.", |s| {
        s.retries.get()
    }),
];

fn origins(out: &mut Encoder, pools: &[PoolView<'_>]) {
    for (name, help, value) in ORIGIN_COUNTERS {
        out.family(name, "counter", help);
        for (labels, _, live) in each_origin(pools) {
            out.sample(name, &labels, live.stats.sum(value) as f64);
        }
    }
    let name = "weir_origin_replies_total";
    out.family(name, "counter", "Final replies of an origin, by class of the status.");
    for (labels, _, live) in each_origin(pools) {
        for (i, class) in CLASSES.iter().enumerate() {
            let value = live.stats.sum(|s| s.replies.get(i).map_or(0, Counter::get));
            let [pool, origin] = labels;
            out.sample(name, &[pool, origin, ("class", class)], value as f64);
        }
    }
    let name = "weir_origin_breaker_hits_total";
    out.family(name, "counter", "Requests that a circuit breaker of an origin turned away.");
    for (labels, _, live) in each_origin(pools) {
        for (i, breaker) in BREAKERS.iter().enumerate() {
            let value = live.stats.sum(|s| s.breaker_hits.get(i).map_or(0, Counter::get));
            let [pool, origin] = labels;
            out.sample(name, &[pool, origin, ("breaker", breaker)], value as f64);
        }
    }
    let name = "weir_origin_duration_seconds";
    out.family(name, "histogram", "From the first byte sent to an origin to its reply's head.");
    for (labels, _, live) in each_origin(pools) {
        out.histogram(name, &labels, &live.stats, |s| &s.latency);
    }
}

fn origin_gauges(out: &mut Encoder, pools: &[PoolView<'_>]) {
    type Gauge = fn(&Pool, &OriginLive, u64) -> f64;
    let gauges: [(&str, &str, Gauge); 7] = [
        (
            "weir_origin_up",
            "1 while the monitor finds an origin healthy, or where there is none.",
            |pool, live, _| flag(pool.monitor.is_none() || live.health() == Health::Healthy),
        ),
        ("weir_origin_ejected", "1 while failed requests keep an origin out.", |_, live, now| {
            flag(live.ejected(now))
        }),
        ("weir_origin_in_flight", "Requests sent whose reply has not ended.", |_, live, _| {
            f64::from(live.in_flight.load(Relaxed))
        }),
        ("weir_origin_connections", "Open connections to an origin.", |_, live, _| {
            f64::from(live.connections.load(Relaxed))
        }),
        ("weir_origin_idle_connections", "Idle ones of these connections.", |_, live, _| {
            f64::from(live.idle.load(Relaxed).max(0))
        }),
        ("weir_origin_pending_connections", "Connections being made.", |_, live, _| {
            f64::from(live.pending.load(Relaxed))
        }),
        (
            "weir_origin_probe_rtt_seconds",
            "Round trip of the last successful probe; 0 before it.",
            |_, live, _| live.probe_rtt_us.load(Relaxed) as f64 / 1e6,
        ),
    ];
    let now = now_ms();
    for (name, help, value) in gauges {
        out.family(name, "gauge", help);
        for (labels, pool, live) in each_origin(pools) {
            out.sample(name, &labels, value(pool, live, now));
        }
    }
}

type OriginLabels<'a> = [(&'a str, &'a str); 2];

fn each_origin<'a>(
    pools: &'a [PoolView<'a>],
) -> impl Iterator<Item = (OriginLabels<'a>, &'a Pool, &'a OriginLive)> {
    pools.iter().flat_map(|view| {
        view.origins.iter().map(|(origin, live)| {
            ([("pool", &*view.pool.name), ("origin", &*origin.name)], view.pool, &**live)
        })
    })
}

fn pools_of(out: &mut Encoder, pools: &[PoolView<'_>]) {
    let now = now_ms();
    let name = "weir_pool_healthy_origins";
    out.family(name, "gauge", "Origins of a pool that can take requests.");
    for view in pools {
        let usable = |(origin, live): &&(&Origin, Arc<OriginLive>)| {
            OriginState::of(view.pool, origin, live, now).takes_requests()
        };
        let healthy = view.origins.iter().filter(usable).count();
        out.sample(name, &[("pool", &view.pool.name)], healthy as f64);
    }
    out.family("weir_pool_in_flight", "gauge", "Requests in flight in a pool.");
    for view in pools {
        let active = view.live.active.load(Relaxed);
        out.sample("weir_pool_in_flight", &[("pool", &view.pool.name)], f64::from(active));
    }
    let name = "weir_pool_retries_refused_total";
    out.family(name, "counter", "Retries that the retry budget of a pool did not allow.");
    for view in pools {
        let refused = view.live.budget_refusals.load(Relaxed);
        out.sample(name, &[("pool", &view.pool.name)], refused as f64);
    }
}

fn workers(out: &mut Encoder, source: &StatusSource) {
    let stats = &source.live().worker_stats;
    let name = "weir_origin_connection_lookups_total";
    let help = "Where a request's origin connection came from: the worker's own idle ones, those \
                of another worker, or a new one.";
    out.family(name, "counter", help);
    for (result, value) in [
        ("local", stats.sum(|s| s.pool_local.get())),
        ("shared", stats.sum(|s| s.pool_shared.get())),
        ("miss", stats.sum(|s| s.pool_miss.get())),
    ] {
        out.sample(name, &[("result", result)], value as f64);
    }
    out.family("weir_buffers_lent", "gauge", "Buffers that connections hold at this moment.");
    out.sample("weir_buffers_lent", &[], stats.sum(|s| s.buffers_lent.load(Relaxed)) as f64);
    http2_ledgers(out, source);
    let name = "weir_spliced_bytes_total";
    out.family(name, "counter", "Bytes of bodies moved inside the kernel (splice), both ways.");
    out.sample(name, &[], stats.sum(|s| s.spliced_bytes.get()) as f64);
    let name = "weir_allocations_total";
    out.family(name, "counter", "Blocks of memory that workers asked the allocator for.");
    out.sample(name, &[], stats.sum(|s| s.allocations.get()) as f64);
    let name = "weir_allocated_bytes_total";
    out.family(name, "counter", "Bytes of these blocks, whether kept or given back.");
    out.sample(name, &[], stats.sum(|s| s.allocated_bytes.get()) as f64);
    out.family("weir_workers", "gauge", "Worker threads.");
    out.sample("weir_workers", &[], source.live().workers() as f64);
}

/// Memory of HTTP/2 connections by either side of the proxy.
fn http2_ledgers(out: &mut Encoder, source: &StatusSource) {
    let stats = &source.live().worker_stats;
    type Side = fn(&WorkerStats) -> &Http2Ledgers;
    let sides: [(&str, Side); 2] =
        [("clients", |s| &s.http2_clients), ("origins", |s| &s.http2_origins)];
    let name = "weir_http2_ledger_bytes";
    let help = "Bytes that HTTP/2 connections hold, by the ledger of each.";
    out.family(name, "gauge", help);
    for (side, of) in sides {
        let held = stats.sum(|s| of(s).held.load(Relaxed));
        out.sample(name, &[("side", side)], held as f64);
    }
    let name = "weir_http2_ledger_max_bytes";
    out.family(name, "gauge", "Most bytes that one HTTP/2 connection has held since the start.");
    for (side, of) in sides {
        let most = stats.iter().map(|s| of(s).most.load(Relaxed)).max().unwrap_or(0);
        out.sample(name, &[("side", side)], most as f64);
    }
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// Writes families and samples; a family's samples follow it at once, as the format asks for.
#[derive(Debug, Default)]
struct Encoder {
    text: String,
}

impl Encoder {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.series(name, "", labels, None, value);
    }

    /// Prometheus' buckets are cumulative; the counts of the process are not.
    fn histogram<T: Default>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        numbers: &Sharded<T>,
        of: impl Fn(&T) -> &Histogram,
    ) {
        let mut counts = [0u64; LATENCY_BOUNDS_US.len() + 1];
        let mut sum_us = 0u64;
        for shard in numbers.iter() {
            let histogram = of(shard);
            for (sum, count) in counts.iter_mut().zip(histogram.counts()) {
                *sum += count;
            }
            sum_us += histogram.sum_us();
        }
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| (*us as f64 / 1e6).to_string());
        let mut total = 0;
        for (count, bound) in counts.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            total += count;
            self.series(name, "_bucket", labels, Some(&bound), total as f64);
        }
        self.series(name, "_sum", labels, None, sum_us as f64 / 1e6);
        self.series(name, "_count", labels, None, total as f64);
    }

    fn series(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[(&str, &str)],
        le: Option<&str>,
        value: f64,
    ) {
        self.text.push_str(name);
        self.text.push_str(suffix);
        let mut open = '{';
        for (label, text) in labels.iter().copied().chain(le.map(|bound| ("le", bound))) {
            self.text.push(open);
            open = ',';
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(text, &mut self.text);
            self.text.push('"');
        }
        if open == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests;
