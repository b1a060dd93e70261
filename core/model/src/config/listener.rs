//! `[[listener]]`: where clients connect, and what is asked of them.

use super::{Name, RouteRules};
use crate::net::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A protocol a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN over TLS, with prior knowledge without.
    Http2,
}

impl Protocol {
    /// Its name in ALPN (RFC 7301) and in the configuration.
    #[must_use]
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// One `[[listener]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// Unique name.
    pub name: Name,
    /// Address and port; unique among listeners.
    pub address: SocketAddr,
    /// Protocols offered, in order of preference.
    pub protocols: Vec<Protocol>,
    /// TLS, or none for plain text.
    pub tls: Option<Tls>,
    /// PROXY protocol in front of the connection.
    pub proxy_protocol: Option<ProxyProtocolIn>,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Names and values of header fields outside `[A-Za-z0-9-]`.
    pub header_names: HeaderNamePolicy,
    /// What may be asked of this listener.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Redirects, HSTS and headers for every request of this listener.
    pub rules: RouteRules,
    /// Length of the accept queue, connections.
    pub backlog: u32,
}

/// What happens to a request field whose name has characters outside `[A-Za-z0-9-]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderNamePolicy {
    /// The field is removed (default; such names alias others behind CGI-like gateways).
    Drop,
    /// The request is refused with 400.
    Reject,
    /// The field is forwarded as it is.
    Keep,
}

/// `listener.proxy_protocol`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyProtocolIn {
    /// Sources that must send the header; connections from elsewhere are closed.
    pub trusted: Vec<IpNet>,
    /// How long the header may take.
    pub timeout: Duration,
}

/// Whether a client certificate is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientAuth {
    /// Not asked for.
    None,
    /// Asked for; a connection without one goes on, a wrong one is refused.
    Optional {
        /// DER certificates of the authorities, with the file they came from.
        authorities: Vec<PinnedBytes>,
        /// The file.
        file: PathBuf,
    },
    /// Asked for and needed.
    Required {
        /// DER certificates of the authorities.
        authorities: Vec<PinnedBytes>,
        /// The file.
        file: PathBuf,
    },
}

/// A file of certificate revocation lists (RFC 5280 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationLists {
    /// The file.
    pub file: PathBuf,
    /// DER lists, in the order of the file; never empty.
    pub lists: Vec<PinnedBytes>,
    /// The soonest next update, seconds since 1970: when lists expire.
    pub next_update: i64,
}

/// Lowest TLS version offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// Shared bytes of a certificate, key or staple; cheap to clone. `Debug` shows the length only.
#[derive(Clone, PartialEq, Eq)]
pub struct PinnedBytes(pub Arc<[u8]>);

impl std::fmt::Debug for PinnedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// A certificate chain with its key, read and known to belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// File of the chain.
    pub certificate_file: PathBuf,
    /// File of the key.
    pub key_file: PathBuf,
    /// DER certificates, leaf first.
    pub chain: Vec<PinnedBytes>,
    /// DER private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PinnedBytes,
    /// Kind of `key`, which its DER form does not tell by itself.
    pub key_kind: KeyKind,
    /// DER OCSP response to staple.
    pub ocsp: Option<PinnedBytes>,
    /// DNS names of the leaf in lower case, wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// End of validity of the leaf, seconds since 1970.
    pub not_after: i64,
}

/// The encoding of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RFC 5208.
    Pkcs8,
    /// RFC 8017.
    Pkcs1,
    /// RFC 5915.
    Sec1,
}

/// `listener.tls`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tls {
    /// Certificates; the first one answers clients without SNI. Never empty.
    pub certificates: Vec<Certificate>,
    /// Whether a name that no certificate covers is refused (`unrecognized_name`); the first
    /// certificate answers otherwise.
    pub strict_sni: bool,
    /// Lowest version.
    pub min_version: TlsVersion,
    /// Client certificates.
    pub client_auth: ClientAuth,
    /// Client certificates that are revoked; no revocation is asked for where empty.
    pub crls: Vec<RevocationLists>,
    /// Session ticket keys shared by a fleet, newest first, 48 or 80 bytes each; made by the
    /// process and rotated where empty.
    pub ticket_keys: Vec<PinnedBytes>,
    /// How long a made key signs new tickets.
    pub ticket_rotation: Duration,
}

/// `listener.limits`: each is counted in `weir_limit_hits_total{limit=…}` when it is hit.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of a request head without its first line.
    pub header_bytes: usize,
    /// Fields of a request head.
    pub header_count: usize,
    /// Bytes of a request line.
    pub uri_bytes: usize,
    /// Bytes of a request body.
    pub body_bytes: u64,
    /// Requests on one connection.
    pub requests_per_connection: u64,
    /// Requests at once on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// Open connections of the listener.
    pub connections: u64,
    /// Open connections of one source address (IPv6: /64).
    pub connections_per_source: u64,
    /// Least bytes per second at which a client sends a body, from its first byte on, or takes a
    /// reply: averaged over the time in which only the client is waited for, after 5 s of it.
    pub body_min_rate: u64,
}

/// `listener.timeouts`.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeouts {
    /// TLS handshake.
    pub handshake: Duration,
    /// From the accepted connection to the first byte of the first head.
    pub first_byte: Duration,
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// Between two pieces of a body, and between two pieces of a reply that the client takes.
    pub body_idle: Duration,
    /// Between two requests of a connection.
    pub keepalive: Duration,
    /// Silence both ways in a tunnel (WebSocket) before it is closed.
    pub tunnel_idle: Duration,
}
