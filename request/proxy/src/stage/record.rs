//! Stage: what is left of a request when it is over: numbers, a log line, and a word to the
//! operator where somebody has to change something.

use crate::exchange::{Client, Exchange, Peer, Stage};
use crate::reason::Side;
use crate::stream::Stream;
use core_wire::h1::head::{Known, RequestHead, Span, Version};
use process_runtime::access_log::AccessRecord;
use process_runtime::operator_log;
use rustls::{CipherSuite, ProtocolVersion};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Counts and logs.
pub(crate) fn write(stage: Stage<'_>, exchange: &Exchange, client: &Client<'_>) {
    let stats = stage.listener.stats.shard(stage.worker.index);
    let outcome = &exchange.outcome;
    let class = usize::from(outcome.status / 100).saturating_sub(1);
    stats.replies.get(class).inspect(|counter| counter.inc());
    stats.bytes_in.add(client.link.seen());
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
        let (tls_version, tls_cipher) = client.tls();
        log.record(&AccessRecord {
            time_unix_ms: unix_ms(),
            client: exchange.client,
            method: exchange.text(request.method_span),
            scheme: if exchange.peer.https { "https" } else { "http" },
            host: exchange.host().as_bytes(),
            target: exchange.text(request.target.whole),
            protocol: protocol(request.version),
            status: outcome.status,
            bytes_out: outcome.bytes_out,
            bytes_in: client.link.seen(),
            duration_us: us,
            upstream_us: outcome.upstream_us,
            listener: &stage.listener.config.name,
            load_balancer: host,
            pool: pool.map(|(pool, _)| pool),
            origin: pool.map(|(_, origin)| origin),
            retries: outcome.retries,
            referer: exchange.field(Known::Referer),
            user_agent: exchange.field(Known::UserAgent),
            tls_version,
            tls_cipher,
            reason: outcome.reason.map(|reason| reason.name()),
            fault: outcome.reason.map(|reason| reason.side().name()),
        });
    }
}

/// A request whose head could not be read, or asks for what is not served.
pub(crate) struct Refused<'a> {
    pub(crate) peer: &'a Peer,
    /// The head and its bytes, where there is one.
    pub(crate) head: Option<(&'a RequestHead, &'a [u8])>,
    pub(crate) started: Instant,
    pub(crate) status: u16,
    pub(crate) bytes_out: u64,
    pub(crate) reason: &'static str,
    pub(crate) tls: TlsFacts,
}

/// Version and cipher suite of a client's TLS, as the standards write them.
pub(crate) type TlsFacts = (Option<&'static str>, Option<&'static str>);

/// Counts and logs a request that did not become an exchange.
pub(crate) fn refused(stage: Stage<'_>, refused: &Refused<'_>) {
    let stats = stage.listener.stats.shard(stage.worker.index);
    stats.requests.inc();
    let class = usize::from(refused.status / 100).saturating_sub(1);
    stats.replies.get(class).inspect(|counter| counter.inc());
    stats.bytes_out.add(refused.bytes_out);
    let us = u64::try_from(refused.started.elapsed().as_micros()).unwrap_or(u64::MAX);
    stats.latency.record(us);
    let mut log = stage.worker.log.borrow_mut();
    let Some(log) = log.as_mut().filter(|log| log.enabled()) else { return };
    let known = |part: fn(&RequestHead) -> Span| {
        refused.head.map_or(&b"-"[..], |(head, bytes)| part(head).get(bytes))
    };
    let (tls_version, tls_cipher) = refused.tls;
    log.record(&AccessRecord {
        time_unix_ms: unix_ms(),
        client: refused.peer.address.ip().to_canonical(),
        method: known(|head| head.method_span),
        scheme: if refused.peer.https { "https" } else { "http" },
        host: b"",
        target: known(|head| head.target.whole),
        protocol: match refused.head.map(|(head, _)| head.version) {
            None => "-",
            Some(version) => protocol(version),
        },
        status: refused.status,
        bytes_out: refused.bytes_out,
        bytes_in: 0,
        duration_us: us,
        upstream_us: None,
        listener: &stage.listener.config.name,
        load_balancer: None,
        pool: None,
        origin: None,
        retries: 0,
        referer: None,
        user_agent: None,
        tls_version,
        tls_cipher,
        reason: Some(refused.reason),
        fault: Some(Side::Client.name()),
    });
}

/// The version as access logs have it.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2.0",
    }
}

/// Reads them off a connection.
pub(crate) fn tls_facts(stream: &Stream) -> TlsFacts {
    let Stream::Tls(stream) = stream else { return (None, None) };
    let agreed = stream.agreed();
    let version = match agreed.version {
        Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
        Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
        _ => None,
    };
    let cipher = match agreed.suite.map(|suite| suite.suite()) {
        // rustls names the version in the suites of TLS 1.3; RFC 8446 §B.4 does not.
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => Some("TLS_AES_128_GCM_SHA256"),
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => Some("TLS_AES_256_GCM_SHA384"),
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => Some("TLS_CHACHA20_POLY1305_SHA256"),
        Some(other) => other.as_str(),
        None => None,
    };
    (version, cipher)
}

type Names<'a> = (Option<&'a str>, Option<(&'a str, &'a str)>);

fn target_names<'a>(stage: Stage<'a>, exchange: &Exchange) -> Names<'a> {
    let Some(host) = stage.listener.hosts.find(exchange.host_bytes()) else { return (None, None) };
    let tried = exchange.outcome.tried.and_then(|(id, index)| {
        let pool = stage.listener.pool(id)?;
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
