//! Stage: what is left of a request when it is over: numbers, a log line, and a word to the
//! operator where somebody has to change something.

use crate::exchange::{Client, Exchange, Stage};
use crate::reason::Side;
use core_wire::h1::head::{Known, Version};
use process_runtime::access_log::AccessRecord;
use process_runtime::operator_log;
use std::time::{SystemTime, UNIX_EPOCH};

/// Counts and logs.
pub(crate) fn write(stage: Stage<'_>, exchange: &Exchange, client: &Client) {
    let stats = stage.listener.stats.shard(stage.worker.index);
    let outcome = &exchange.outcome;
    let class = usize::from(outcome.status / 100).saturating_sub(1);
    stats.replies.get(class).inspect(|counter| counter.inc());
    stats.bytes_in.add(client.body.seen());
    stats.bytes_out.add(outcome.bytes_out);
    let us = u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    stats.latency.record(us);
    if !outcome.complete {
        stats.aborted.inc();
    }
    if let Some(reason) = outcome.reason {
        match reason.side() {
            Side::Client => {}
            Side::Origin => stats.origin_failures.inc(),
            Side::Operator | Side::Weir => {}
        }
        tell(stage, exchange);
    }
    if let Some(log) = stage.worker.log.borrow_mut().as_mut()
        && log.enabled()
    {
        let (host, pool) = target_names(stage, exchange);
        let request = exchange.request();
        log.record(&AccessRecord {
            time_unix_ms: unix_ms(),
            client: exchange.client,
            method: exchange.text(request.method_span),
            scheme: if exchange.peer.https { "https" } else { "http" },
            host: exchange.host().as_bytes(),
            target: exchange.text(request.target.whole),
            protocol: if request.version == Version::Http11 { "HTTP/1.1" } else { "HTTP/1.0" },
            status: outcome.status,
            bytes_out: outcome.bytes_out,
            bytes_in: client.body.seen(),
            duration_us: us,
            upstream_us: outcome.upstream_us,
            listener: &stage.listener.config.name,
            load_balancer: host,
            pool: pool.map(|(pool, _)| pool),
            origin: pool.map(|(_, origin)| origin),
            retries: outcome.retries,
            referer: exchange.field(Known::Referer),
            user_agent: exchange.field(Known::UserAgent),
            tls_version: None,
            tls_cipher: None,
            reason: outcome.reason.map(|reason| reason.name()),
            fault: outcome.reason.map(|reason| reason.side().name()),
        });
    }
}

type Names<'a> = (Option<&'a str>, Option<(&'a str, &'a str)>);

fn target_names<'a>(stage: Stage<'a>, exchange: &Exchange) -> Names<'a> {
    let Some(host) = stage.listener.hosts.find(exchange.host()) else { return (None, None) };
    let tried = exchange.outcome.tried.and_then(|(id, index)| {
        let pool = host.pool(id)?;
        let origin = pool.origins.get(index)?;
        Some((&*pool.config.name, &*origin.config.name))
    });
    (Some(&host.name), tried)
}

/// Tells the operator of what is not the client's fault. The log bounds its own rate.
fn tell(stage: Stage<'_>, exchange: &Exchange) {
    let Some(reason) = exchange.outcome.reason else { return };
    if reason.side() == Side::Client {
        return;
    }
    let (host, pool) = target_names(stage, exchange);
    let (pool, origin) = pool.unwrap_or(("-", "-"));
    operator_log::warn(
        "request_failed",
        reason.says(),
        &[
            ("fault", &reason.side().name()),
            ("reason", &reason.name()),
            ("status", &exchange.outcome.status),
            ("listener", &stage.listener.config.name),
            ("load_balancer", &host.unwrap_or("-")),
            ("pool", &pool),
            ("origin", &origin),
            ("retries", &exchange.outcome.retries),
            ("detail", &exchange.outcome.detail.as_deref().unwrap_or("-")),
        ],
    );
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
