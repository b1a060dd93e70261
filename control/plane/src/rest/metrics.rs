//! What the API counts, and `GET /metrics`, which this machine alone may ask for.

use super::Site;
use bytes::Bytes;
use control_api::code;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use process_runtime::admin::host_is_here;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Limits of the API that a call can meet, as the label has them.
const LIMITS: [&str; 4] = ["address", "token", "denials", "connections"];

/// A limit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hit {
    /// Calls of one address in a window.
    Address,
    /// Calls of one token in a window.
    Token,
    /// The back-off of an address that showed wrong tokens.
    Denials,
    /// Connections at once: the next one waits to be accepted.
    Connections,
}

/// Counters of one process.
#[derive(Debug, Default)]
pub(crate) struct ApiMetrics {
    /// Calls by the first digit of their status, from 1xx.
    calls: [AtomicU64; 5],
    /// In the order of [`LIMITS`].
    hits: [AtomicU64; LIMITS.len()],
    /// Calls without a token that is right.
    denied: AtomicU64,
}

impl ApiMetrics {
    /// Counts an answered call; `code` is that of its first error.
    pub(crate) fn answered(&self, status: StatusCode, code: Option<u32>) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(calls) = self.calls.get(class) {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(code, Some(code::AUTHENTICATION | code::HEADERS)) {
            self.denied.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts that a limit was met.
    pub(crate) fn hit(&self, limit: Hit) {
        if let Some(hits) = self.hits.get(limit as usize) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let mut family = |name: &str, help: &str, rows: &[(String, &AtomicU64)]| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (labels, value) in rows {
                let _ = writeln!(out, "{name}{labels} {}", value.load(Ordering::Relaxed));
            }
        };
        let calls: Vec<_> = (1..)
            .zip(&self.calls)
            .map(|(class, calls)| (format!("{{status=\"{class}xx\"}}"), calls))
            .collect();
        family("weir_api_calls_total", "Calls by the class of their status.", &calls);
        let hits: Vec<_> = LIMITS
            .iter()
            .zip(&self.hits)
            .map(|(limit, hits)| (format!("{{limit=\"{limit}\"}}"), hits))
            .collect();
        family("weir_api_limit_hits_total", "Calls and connections that met a limit.", &hits);
        let denied = [(String::new(), &self.denied)];
        family("weir_api_denied_total", "Calls without a token that is right.", &denied);
        out
    }
}

/// The answer to `GET /metrics`; `None` where another thing is asked for, or by another machine. A
/// page in a browser of this machine, under a name that resolves to it, is another one too.
pub(crate) fn asked(site: &Site, source: IpAddr, parts: &Parts) -> Option<Response<Full<Bytes>>> {
    if parts.method != Method::GET || parts.uri.path() != "/metrics" || !source.is_loopback() {
        return None;
    }
    let named = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str))?;
    if !host_is_here(host, source) {
        return None;
    }
    let mut text = site.metrics.encode();
    text += &site.keeper.metrics().encode(site.keeper.state().revision);
    site.exposed.iter().for_each(|exposed| text += &(exposed.0)());
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Some(response)
}
