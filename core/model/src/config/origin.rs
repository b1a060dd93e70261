//! `[[monitor]]` and `[[pool]]`: origins, how they are probed and how they are spoken to.

use super::listener::{Certificate, PinnedBytes, Protocol};
use super::{MonitorId, Name};
use crate::net::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Kind of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorKind {
    /// A request over plain text.
    Http,
    /// A request over TLS.
    Https,
    /// A connection and nothing more.
    Tcp,
}

/// An inclusive range of status codes, from `200`, `2xx` or a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeRange {
    /// First code.
    pub first: u16,
    /// Last code.
    pub last: u16,
}

/// One `[[monitor]]` (Cloudflare's fields).
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// Unique name.
    pub name: Name,
    /// What is probed.
    pub kind: MonitorKind,
    /// Request method; `GET` by default.
    pub method: String,
    /// Request target.
    pub path: String,
    /// Port probed in place of the origin's.
    pub port: Option<u16>,
    /// Fields of the request: name and values.
    pub header: Vec<(String, Vec<String>)>,
    /// From one probe to the next.
    pub interval: Duration,
    /// How long one try may take.
    pub timeout: Duration,
    /// Immediate further tries after a time-out.
    pub retries: u32,
    /// Successful probes in a row that make an origin healthy; 0 and 1 mean the first one.
    pub consecutive_up: u32,
    /// Failed probes in a row that make an origin unhealthy; 0 and 1 mean the first one.
    pub consecutive_down: u32,
    /// Codes that count as healthy. Empty means any.
    pub expected_codes: Vec<CodeRange>,
    /// Case-insensitive text in the first 10 KiB of the reply; empty means no check.
    pub expected_body: String,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether the certificate is left unchecked.
    pub allow_insecure: bool,
}

/// How an origin is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginAddress {
    /// A literal address.
    Ip(IpAddr),
    /// A DNS name in lower case, resolved again by its TTL.
    Dns(String),
}

impl std::fmt::Display for OriginAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(v6)) => write!(f, "[{v6}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Dns(name) => f.write_str(name),
        }
    }
}

/// One origin of a pool (Cloudflare calls it origin or endpoint).
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Unique within the pool.
    pub name: Name,
    /// Where it is.
    pub address: OriginAddress,
    /// TCP port, 1..=65535.
    pub port: u16,
    /// Share of the traffic, 0..=100 hundredths (Cloudflare's 0..1 in steps of 0.01).
    pub weight: u8,
    /// Disabled origins get no requests and no probes.
    pub enabled: bool,
    /// Host that the origin sees in place of the client's.
    pub host_header: Option<String>,
}

/// How an origin of a pool is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginSteering {
    /// Random by weight.
    Random,
    /// Fewest outstanding requests by weight.
    LeastOutstandingRequests,
    /// Fewest open connections by weight.
    LeastConnections,
    /// By client address, weighted (rendezvous).
    Hash,
}

/// `pool.tls`: how Weir speaks TLS to the origins of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTls {
    /// Name sent and verified; the origin's Host header or DNS name by default.
    pub server_name: Option<String>,
    /// Whether certificate and name are verified.
    pub verify: bool,
    /// DER certificates of private authorities; the system's authorities where empty.
    pub authorities: Vec<PinnedBytes>,
    /// The file they came from.
    pub ca_file: Option<PathBuf>,
    /// Client certificate (Authenticated Origin Pulls).
    pub client_certificate: Option<Certificate>,
    /// Ports of origins that TLS is spoken to, ascending; every one where empty.
    pub ports: Vec<u16>,
}

/// PROXY protocol towards origins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocolOut {
    /// Text form.
    V1,
    /// Binary form.
    V2,
}

/// `pool.keepalive`: idle connections to origins.
#[derive(Clone, Debug, PartialEq)]
pub struct Keepalive {
    /// Idle connections kept per origin over all workers; 0 disables reuse.
    pub connections: usize,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// Requests on one connection before it is closed.
    pub requests: u64,
}

/// `pool.timeouts`.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTimeouts {
    /// TCP connection.
    pub connect: Duration,
    /// TLS handshake.
    pub handshake: Duration,
    /// From the end of the request to the first byte of the reply.
    pub reply: Duration,
    /// Between two pieces of a reply body, or of a request body that the origin takes.
    pub idle: Duration,
}

/// `pool.retries`.
#[derive(Clone, Debug, PartialEq)]
pub struct Retries {
    /// Further tries of one request, 0..=10.
    pub attempts: u32,
    /// Retries allowed as a share of active requests, percent.
    pub budget_percent: u32,
    /// Retries always allowed at one time whatever the share.
    pub budget_min: u32,
}

/// `pool.circuit_breakers`, each per origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Breakers {
    /// Open connections.
    pub connections: u32,
    /// Requests that wait for a connection to be made.
    pub pending: u32,
    /// Requests in flight.
    pub requests: u32,
}

/// `pool.outlier_ejection`: passive health.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierEjection {
    /// Failures in a row that eject an origin; 0 disables.
    pub consecutive_failures: u32,
    /// First ejection; the n-th one lasts n times as long.
    pub base_time: Duration,
    /// Longest ejection.
    pub max_time: Duration,
    /// Largest share of a pool's origins that is ejected at once, percent.
    pub max_percent: u32,
}

/// `pool.protocols`: at least one of them. Both need TLS, where ALPN decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamProtocols {
    /// HTTP/1.1.
    pub http1: bool,
    /// HTTP/2; without TLS with prior knowledge.
    pub http2: bool,
}

impl UpstreamProtocols {
    /// What every origin is taken to speak of which nothing is said.
    pub const HTTP1: Self = Self { http1: true, http2: false };

    /// What is offered by ALPN (RFC 7301), the preferred one first.
    #[must_use]
    pub fn alpn(self) -> Vec<Vec<u8>> {
        let offered = [(self.http2, Protocol::Http2), (self.http1, Protocol::Http1)];
        offered.iter().filter(|(on, _)| *on).map(|(_, p)| p.alpn().to_vec()).collect()
    }
}

/// One `[[pool]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Unique name.
    pub name: Name,
    /// A disabled pool gets no requests and no probes.
    pub enabled: bool,
    /// Free text.
    pub description: String,
    /// How the origins are probed; without one health is ignored.
    pub monitor: Option<MonitorId>,
    /// The pool is unhealthy with fewer healthy origins.
    pub minimum_origins: u32,
    /// How an origin is chosen.
    pub origin_steering: OriginSteering,
    /// The origins; never empty, names unique.
    pub origins: Vec<Origin>,
    /// TLS to the origins, or none for plain text.
    pub tls: Option<Arc<UpstreamTls>>,
    /// Protocols that the origins are spoken to in.
    pub protocols: UpstreamProtocols,
    /// PROXY protocol to the origins.
    pub proxy_protocol: Option<ProxyProtocolOut>,
    /// Source address of connections to origins.
    pub source_address: Option<IpAddr>,
    /// Idle connections.
    pub keepalive: Keepalive,
    /// Time limits.
    pub timeouts: UpstreamTimeouts,
    /// Retries.
    pub retries: Retries,
    /// Circuit breakers.
    pub circuit_breakers: Breakers,
    /// Passive health.
    pub outlier_ejection: OutlierEjection,
    /// After an origin becomes healthy its weight grows from a tenth to the whole within this time;
    /// zero disables.
    pub slow_start: Duration,
    /// Addresses that DNS answers may not hold (rebinding guard); empty means any may.
    pub deny_addresses: Vec<IpNet>,
}

impl Pool {
    /// How TLS is spoken to origins of this port; none for plain text.
    #[must_use]
    pub fn tls_at(&self, port: u16) -> Option<&Arc<UpstreamTls>> {
        self.tls.as_ref().filter(|tls| tls.ports.is_empty() || tls.ports.contains(&port))
    }

    /// The protocols that origins of this port are spoken to in. A choice between two is made by
    /// ALPN, so that without TLS it is the one that every origin speaks.
    #[must_use]
    pub fn protocols_at(&self, port: u16) -> UpstreamProtocols {
        match self.protocols {
            UpstreamProtocols { http1: true, http2: true } if self.tls_at(port).is_none() => {
                UpstreamProtocols::HTTP1
            }
            protocols => protocols,
        }
    }
}
