//! Why a probe failed, in the words that people know from Cloudflare's monitors.

use std::io;

/// Why a probe failed. The texts are Cloudflare's, so that its documentation helps here too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The name has no address.
    DnsUnknownHost,
    /// The connection was refused.
    TcpConnectionFailed,
    /// The connection was not made in time.
    TcpTimeout,
    /// No route to the address.
    NoRouteToHost,
    /// The network of the address is not reached.
    NetworkUnreachable,
    /// The peer reset the connection.
    ConnectionReset,
    /// No authority that is trusted signed the certificate, or it is expired.
    TlsUntrustedCertificate,
    /// The certificate is for another name.
    TlsNameMismatch,
    /// The peer knows no certificate for the name asked for.
    TlsUnrecognizedName,
    /// The peer broke the protocol, or speaks none that is offered.
    TlsProtocolError,
    /// The peer ended the handshake, or did not finish it in time.
    TlsHandshakeFailure,
    /// The reply did not come in time.
    HttpTimeout,
    /// What came is no reply.
    HttpInvalidResponse,
    /// The status is not an expected one.
    ResponseCodeMismatch,
    /// The text expected is not in the body.
    ResponseBodyMismatch,
    /// The monitor cannot be carried out as configured.
    MonitorConfigError,
    /// Anything else.
    Other,
}

impl Reason {
    /// Every reason.
    pub const ALL: &'static [Self] = &[
        Self::DnsUnknownHost,
        Self::TcpConnectionFailed,
        Self::TcpTimeout,
        Self::NoRouteToHost,
        Self::NetworkUnreachable,
        Self::ConnectionReset,
        Self::TlsUntrustedCertificate,
        Self::TlsNameMismatch,
        Self::TlsUnrecognizedName,
        Self::TlsProtocolError,
        Self::TlsHandshakeFailure,
        Self::HttpTimeout,
        Self::HttpInvalidResponse,
        Self::ResponseCodeMismatch,
        Self::ResponseBodyMismatch,
        Self::MonitorConfigError,
        Self::Other,
    ];

    /// The text for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::DnsUnknownHost => "DNS Unknown Host",
            Self::TcpConnectionFailed => "TCP connection failed",
            Self::TcpTimeout => "TCP Timeout",
            Self::NoRouteToHost => "No route to host",
            Self::NetworkUnreachable => "Network Unreachable",
            Self::ConnectionReset => "Connection Reset by Peer",
            Self::TlsUntrustedCertificate => "TLS untrusted certificate",
            Self::TlsNameMismatch => "TLS name mismatch",
            Self::TlsUnrecognizedName => "TLS unrecognized name",
            Self::TlsProtocolError => "TLS protocol error",
            Self::TlsHandshakeFailure => "TLS Handshake Failure",
            Self::HttpTimeout => "HTTP timeout occurred",
            Self::HttpInvalidResponse => "HTTP Invalid Response",
            Self::ResponseCodeMismatch => "Response code mismatch",
            Self::ResponseBodyMismatch => "Response body mismatch",
            Self::MonitorConfigError => "Monitor Config Error",
            Self::Other => "Other",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// A failed try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What is reported.
    pub(crate) reason: Reason,
    /// What exactly was seen, for the log and the status page.
    pub(crate) detail: String,
    /// Whether time ran out, the only failure that is tried again at once.
    pub(crate) timed_out: bool,
}

impl Failure {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), timed_out: false }
    }
}

/// How far a try has got; it names the failure where time runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Lookup,
    Connect,
    Handshake,
    Exchange,
}

impl Phase {
    /// The failure of a try whose time ran out here.
    pub(crate) fn timed_out(self) -> Failure {
        let (reason, detail) = match self {
            Self::Lookup => (Reason::DnsUnknownHost, "no address was found in time"),
            Self::Connect => (Reason::TcpTimeout, "no connection in time"),
            Self::Handshake => (Reason::TlsHandshakeFailure, "no TLS session in time"),
            Self::Exchange => (Reason::HttpTimeout, "no reply in time"),
        };
        // Asking the resolver again at once gives what it gave.
        Failure { reason, detail: detail.to_owned(), timed_out: self != Self::Lookup }
    }

    /// The failure of a try whose socket failed here.
    pub(crate) fn failed(self, error: &io::Error) -> Failure {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Failure::new(tls_reason(tls), tls.to_string());
        }
        let reason = match error.kind() {
            io::ErrorKind::TimedOut => return self.timed_out(),
            io::ErrorKind::HostUnreachable => Reason::NoRouteToHost,
            io::ErrorKind::NetworkUnreachable => Reason::NetworkUnreachable,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::ConnectionReset,
            io::ErrorKind::AddrNotAvailable => Reason::MonitorConfigError,
            _ => match self {
                Self::Lookup => Reason::DnsUnknownHost,
                Self::Connect => Reason::TcpConnectionFailed,
                Self::Handshake => Reason::TlsHandshakeFailure,
                Self::Exchange => Reason::Other,
            },
        };
        Failure::new(reason, error.to_string())
    }
}

fn tls_reason(error: &rustls::Error) -> Reason {
    use rustls::{AlertDescription, CertificateError, Error};
    match error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Reason::TlsNameMismatch,
        Error::InvalidCertificate(_) => Reason::TlsUntrustedCertificate,
        Error::AlertReceived(AlertDescription::UnrecognisedName) => Reason::TlsUnrecognizedName,
        Error::AlertReceived(AlertDescription::ProtocolVersion) => Reason::TlsProtocolError,
        Error::AlertReceived(_) => Reason::TlsHandshakeFailure,
        _ => Reason::TlsProtocolError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(phase: Phase, kind: io::ErrorKind, expect: &str, timed_out: bool) {
        let failure = phase.failed(&io::Error::from(kind));
        assert_eq!((failure.reason.text(), failure.timed_out), (expect, timed_out), "{kind:?}");
    }

    #[test]
    fn a_socket_error_has_a_reason_that_people_know() {
        use io::ErrorKind as Kind;
        check(Phase::Connect, Kind::ConnectionRefused, "TCP connection failed", false);
        check(Phase::Connect, Kind::TimedOut, "TCP Timeout", true);
        check(Phase::Connect, Kind::HostUnreachable, "No route to host", false);
        check(Phase::Connect, Kind::NetworkUnreachable, "Network Unreachable", false);
        check(Phase::Connect, Kind::AddrNotAvailable, "Monitor Config Error", false);
        check(Phase::Handshake, Kind::UnexpectedEof, "TLS Handshake Failure", false);
        check(Phase::Handshake, Kind::ConnectionReset, "Connection Reset by Peer", false);
        check(Phase::Exchange, Kind::BrokenPipe, "Connection Reset by Peer", false);
        check(Phase::Exchange, Kind::Interrupted, "Other", false);
        check(Phase::Lookup, Kind::Other, "DNS Unknown Host", false);
    }

    #[test]
    fn a_tls_error_has_a_reason_that_people_know() {
        use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
        for (error, expect) in [
            (Error::InvalidCertificate(Certificate::Expired), "TLS untrusted certificate"),
            (Error::InvalidCertificate(Certificate::NotValidForName), "TLS name mismatch"),
            (Error::AlertReceived(Alert::UnrecognisedName), "TLS unrecognized name"),
            (Error::AlertReceived(Alert::ProtocolVersion), "TLS protocol error"),
            (Error::AlertReceived(Alert::CertificateRequired), "TLS Handshake Failure"),
            (Error::DecryptError, "TLS protocol error"),
        ] {
            let error = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(Phase::Handshake.failed(&error).reason.text(), expect, "{error}");
        }
    }
}
