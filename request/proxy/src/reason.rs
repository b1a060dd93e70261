//! Why a request was not answered by an origin: one table, from which the status, the
//! `Proxy-Status` header, the log line and the metric follow.

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The client sent something wrong, or too much, or went away.
    Client,
    /// The origin did not answer as it should.
    Origin,
    /// The configuration sends the request nowhere.
    Operator,
    /// Weir has a fault or a limit of its own.
    Weir,
}

impl Side {
    /// The word in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Origin => "origin",
            Side::Operator => "operator",
            Side::Weir => "weir",
        }
    }
}

macro_rules! reasons {
    ($(
        $variant:ident = $status:literal, $name:literal, $error:literal, $side:ident:
            $says:literal;
    )+) => {
        /// A reason with its consequences.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason { $(#[doc = $says] $variant,)+ }

        impl Reason {
            /// Every reason.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The status sent where a reply is still possible.
            pub(crate) fn status(self) -> u16 {
                match self { $(Reason::$variant => $status,)+ }
            }

            /// The word in logs.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// The error type of `Proxy-Status` (RFC 9209 §2.3).
            pub(crate) fn proxy_status(self) -> &'static str {
                match self { $(Reason::$variant => $error,)+ }
            }

            /// Who has to change something.
            pub(crate) fn side(self) -> Side {
                match self { $(Reason::$variant => Side::$side,)+ }
            }

            /// What happened, for the small page and the log.
            pub(crate) fn says(self) -> &'static str {
                match self { $(Reason::$variant => $says,)+ }
            }
        }
    };
}

reasons! {
    NoHost = 404, "no_such_host", "destination_not_found", Operator:
        "No load balancer serves this host.";
    Misdirected = 421, "misdirected", "http_request_error", Client:
        "The connection was made for a host with other rules about client certificates.";
    NoCertificate = 403, "no_client_certificate", "http_request_denied", Client:
        "This site needs a client certificate.";
    AmbiguousPath = 400, "ambiguous_path", "http_request_error", Client:
        "The path can be read in two ways.";
    HeaderName = 400, "header_name", "http_request_error", Client:
        "A header name has characters that this site refuses.";
    BodyTooLarge = 413, "body_too_large", "http_request_denied", Client:
        "The request body is larger than this site accepts.";
    BodyBroken = 400, "body_broken", "http_request_error", Client:
        "The request body is malformed.";
    BodyTimeout = 408, "body_timeout", "http_request_error", Client:
        "The request body came too slowly.";
    ClientGone = 499, "client_gone", "http_request_error", Client:
        "The client closed the connection.";
    ReplyNotTaken = 499, "reply_not_taken", "http_request_error", Client:
        "The client did not take the reply in time.";
    NoPool = 503, "no_healthy_pool", "destination_unavailable", Origin:
        "No origin can take the request.";
    DnsUnknown = 502, "dns_unknown", "dns_error", Origin:
        "The name of the origin has no address.";
    Refused = 502, "connection_refused", "connection_refused", Origin:
        "The origin refused the connection.";
    ConnectTimeout = 504, "connect_timeout", "connection_timeout", Origin:
        "The origin did not accept the connection in time.";
    ConnectFailed = 502, "connect_failed", "destination_ip_unroutable", Origin:
        "The origin cannot be reached.";
    TlsTimeout = 504, "tls_timeout", "connection_timeout", Origin:
        "The origin did not finish the TLS handshake in time.";
    TlsCertificate = 502, "tls_certificate", "tls_certificate_error", Origin:
        "The certificate of the origin is not trusted.";
    TlsFailed = 502, "tls_failed", "tls_protocol_error", Origin:
        "The TLS handshake with the origin failed.";
    ConnectionLimit = 503, "connection_limit", "connection_limit_reached", Origin:
        "The origins have as many connections as they may have.";
    RequestLimit = 503, "request_limit", "connection_limit_reached", Origin:
        "The origins have as many requests as they may have.";
    ReplyTimeout = 504, "reply_timeout", "http_response_timeout", Origin:
        "The origin did not answer in time.";
    ClosedEarly = 502, "closed_early", "connection_terminated", Origin:
        "The origin closed the connection before its reply.";
    BadReply = 502, "bad_reply", "http_protocol_error", Origin:
        "The origin sent a reply that is not HTTP.";
    ReplyTooLarge = 502, "reply_head_too_large", "http_response_header_section_size", Origin:
        "The head of the origin's reply is too large.";
    TooManyInterim = 502, "too_many_interim", "http_protocol_error", Origin:
        "The origin sent too many interim replies.";
    ReplyCut = 502, "reply_cut", "http_response_incomplete", Origin:
        "The origin cut its reply short.";
    ReplyStalled = 504, "reply_stalled", "connection_read_timeout", Origin:
        "The origin stopped in the middle of its reply.";
    UploadStalled = 504, "upload_stalled", "connection_write_timeout", Origin:
        "The origin stopped taking the request body.";
    NoTunnel = 502, "no_tunnel", "http_upgrade_failed", Origin:
        "The origin does not open the tunnel that was asked for.";
    TunnelIdle = 504, "tunnel_idle", "connection_read_timeout", Client:
        "The tunnel was silent for too long.";
    DrainTimeout = 503, "drain_timeout", "connection_terminated", Operator:
        "The listener is gone, and the time to finish is over.";
    Internal = 500, "internal", "proxy_internal_error", Weir:
        "Weir could not build the message.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_sentence() {
        let names: BTreeSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!((400..600).contains(&reason.status()), "{}", reason.name());
            assert!(reason.says().ends_with('.'), "{}", reason.name());
            assert!(!reason.proxy_status().is_empty() && !reason.side().name().is_empty());
        }
    }
}
