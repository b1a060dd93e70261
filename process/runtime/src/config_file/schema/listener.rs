//! `[[listener]]`, and the rules that listeners, hosts and routes share.

use super::{
    DAY, Default, FILE, FILES, GIB, KIB, Key, Kind, LIST_MAX, NAME, NAMES, NET_LIST, NETS, SECOND,
    Section, TIME, Text, VALUES, count, key, switch, table,
};
use core_model::defaults::{self, reasons};
use std::time::Duration;

const BACKLOG: &str =
    "Length of the accept queue. Where the address stays, it changes by a restart only.";

static PROTOCOLS: Kind = Kind::Choice { values: &["h2", "http/1.1"], later: &["h3"] };

/// `[[listener]]`.
pub(crate) static LISTENER: Section = Section {
    doc: "Where clients connect, and what is asked of them.",
    keys: &[
        key("name", NAME, "Unique name.").example("\"public\""),
        key("address", Kind::Text(Text::Socket), "Address and port.").example("\"0.0.0.0:8080\""),
        key(
            "protocols",
            Kind::List { of: &PROTOCOLS, min: 1 },
            "Protocols offered, in order of preference. Without TLS, h2 is taken from clients that \
             start with it (prior knowledge).",
        )
        .default(Default::Words(&["h2", "http/1.1"]), "clients choose; h2 needs fewer connections"),
        key("backlog", count(1, 1 << 20, "connections"), BACKLOG)
            .default(Default::Int(defaults::BACKLOG as u64), reasons::BACKLOG),
        key(
            "trusted_proxies",
            NET_LIST,
            "Proxies whose X-Forwarded-For, or else Forwarded, tells who the client is.",
        )
        .default(Default::Empty, "empty: none; a client can write anything in these fields")
        .example("[\"10.0.0.0/8\"]"),
        key(
            "header_names",
            Kind::Choice { values: &["drop", "reject", "keep"], later: &[] },
            "Request fields whose name has characters outside A-Z a-z 0-9 and hyphen.",
        )
        .default(Default::Text("drop"), "such names alias others behind CGI-like gateways"),
        REDIRECT_HTTPS,
        HSTS,
        REQUEST_HEADERS,
        RESPONSE_HEADERS,
        table("limits", &LIMITS),
        table("timeouts", &TIMEOUTS),
        switch("tls", &TLS, "plain text"),
        switch("proxy_protocol", &PROXY_PROTOCOL, "not expected"),
    ],
    later: &[],
};

/// `redirect_https`.
pub(crate) const REDIRECT_HTTPS: Key = key(
    "redirect_https",
    Kind::SwitchOrPort,
    "Answers plain requests with 308 to the https URL: true for port 443, or another port.",
)
.absent("as the wider layer says; no redirect where none does")
.example("true");

/// `hsts`.
pub(crate) const HSTS: Key = switch("hsts", &HSTS_SECTION, "not sent");
/// `request_headers`.
pub(crate) const REQUEST_HEADERS: Key = table("request_headers", &REQUEST_RULES);
/// `response_headers`.
pub(crate) const RESPONSE_HEADERS: Key = table("response_headers", &RESPONSE_RULES);

static HSTS_SECTION: Section = Section {
    doc: "Strict-Transport-Security on replies over TLS (RFC 6797).",
    keys: &[
        key(
            "max_age",
            Kind::Time { min: Duration::ZERO, max: Duration::from_secs(10 * 365 * 86_400) },
            "How long clients remember; whole seconds.",
        )
        .default(
            Default::Time(Duration::from_secs(365 * 86_400)),
            "a year is what preload lists ask for",
        ),
        key("include_subdomains", Kind::Bool, "Whether subdomains are included.")
            .default(Default::Bool(false), "one plain subdomain would become unreachable"),
        key("preload", Kind::Bool, "Whether preloading is agreed to.")
            .default(Default::Bool(false), "leaving a preload list takes months"),
    ],
    later: &[],
};

const SET: Key = key(
    "set",
    Kind::Map { key: Text::HeaderName, of: &VALUES },
    "Fields that replace any of the same name.",
)
.default(Default::Empty, "nothing is changed unasked");
const REMOVE: Key =
    key("remove", Kind::List { of: &NAMES, min: 0 }, "Names of fields that are removed.")
        .default(Default::Empty, "nothing is changed unasked");

static REQUEST_RULES: Section = Section {
    doc: "Changes of the request before it is forwarded.",
    keys: &[SET.example("{ X-Edge = \"weir\" }"), REMOVE.example("[\"X-Debug\"]")],
    later: &[],
};

static RESPONSE_RULES: Section = Section {
    doc: "Changes of the reply before it is sent.",
    keys: &[
        SET.example("{ X-Content-Type-Options = \"nosniff\" }"),
        REMOVE.example("[\"X-Powered-By\"]"),
    ],
    later: &[],
};

static TLS: Section = Section {
    doc: "TLS 1.2 and 1.3.",
    keys: &[
        key(
            "client_auth",
            Kind::Choice { values: &["none", "optional", "required"], later: &[] },
            "Whether a client certificate is asked for.",
        )
        .default(Default::Text("none"), "browsers have none"),
        key("client_ca", FILE, "Authorities of client certificates (PEM).")
            .absent("needed where client_auth is not \"none\"")
            .example("\"tls/client-ca.crt\""),
        key(
            "crls",
            Kind::List { of: &FILES, min: 0 },
            "Revocation lists of the authorities of client certificates (PEM or DER). Every \
             certificate of a client's chain needs a list that is not past its next update.",
        )
        .default(Default::Empty, "empty: nothing is looked up; most authorities issue no lists")
        .example("[\"tls/client-ca.crl\"]"),
        key("min_version", Kind::Choice { values: &["1.2", "1.3"], later: &[] }, "Lowest version.")
            .default(Default::Text("1.2"), "clients from before 2018 still come"),
        key(
            "strict_sni",
            Kind::Bool,
            "Whether a name that no certificate covers is refused; \
             the first certificate answers otherwise.",
        )
        .default(Default::Bool(false), "probes and old clients send no name or a wrong one"),
        key(
            "ticket_keys",
            Kind::List { of: &FILES, min: 0 },
            "Files of 48 or 80 random bytes, newest first, the same on every server of a fleet.",
        )
        .default(Default::Empty, "empty: made by the process and rotated")
        .example("[\"tls/ticket.key\"]"),
        key(
            "ticket_rotation",
            Kind::Time { min: SECOND, max: Duration::from_secs(7 * 86_400) },
            "How long a made key signs new tickets (RFC 8446 §4.6.1: 7 days at most).",
        )
        .default(Default::Time(defaults::TICKET_ROTATION), reasons::TICKET_ROTATION),
        key("early_data", Kind::Fixed { only: false, why: "0-RTT is refused for now" }, "0-RTT.")
            .default(Default::Bool(false), "a replayed request is one that nobody sent"),
        key(
            "certificates",
            Kind::Tables { of: &CERTIFICATE, min: 1, max: LIST_MAX },
            CERTIFICATE.doc,
        ),
    ],
    later: &[],
};

static CERTIFICATE: Section = Section {
    doc: "A certificate and its key; the first one answers clients that send no name.",
    keys: &[
        key("certificate", FILE, "Chain, leaf first (PEM).").example("\"tls/example.crt\""),
        key("key", FILE, "Private key (PEM: PKCS#8, PKCS#1 or SEC1, not encrypted).")
            .example("\"tls/example.key\""),
        key("ocsp", FILE, "OCSP response to staple (DER).")
            .absent("nothing is stapled")
            .example("\"tls/example.ocsp\""),
    ],
    later: &[],
};

static PROXY_PROTOCOL: Section = Section {
    doc: "PROXY protocol v1 or v2 in front of each connection.",
    keys: &[
        key("accept", Kind::Bool, "Whether the header is read.")
            .default(Default::Bool(true), "the table says that it comes"),
        key(
            "trusted",
            Kind::List { of: &NETS, min: 1 },
            "Sources that must send the header; connections from elsewhere are closed.",
        )
        .example("[\"127.0.0.0/8\"]"),
        key("timeout", TIME, "How long the header may take.").default(
            Default::Time(defaults::PROXY_PROTOCOL_TIMEOUT),
            reasons::PROXY_PROTOCOL_TIMEOUT,
        ),
    ],
    later: &[],
};

static LIMITS: Section = Section {
    doc: "What may be asked; each hit is counted in weir_limit_hits_total{limit=…}.",
    keys: &[
        key(
            "header_bytes",
            Kind::Size { min: KIB, max: 1024 * KIB },
            "Field lines of a request head; in HTTP/2 as they would be written in HTTP/1.",
        )
        .default(Default::Int(defaults::HEADER_BYTES as u64), reasons::HEADER_BYTES),
        key(
            "header_count",
            count(1, 10_000, "fields"),
            "Fields of a request head, Host among them; a cookie in pieces is one.",
        )
        .default(Default::Int(defaults::HEADER_COUNT as u64), reasons::HEADER_COUNT),
        key("uri_bytes", Kind::Size { min: 256, max: 1024 * KIB }, "Request line.")
            .default(Default::Int(defaults::URI_BYTES as u64), reasons::URI_BYTES),
        key("body_bytes", Kind::Size { min: 0, max: 1024 * GIB }, "Request body.")
            .default(Default::Int(defaults::BODY_BYTES), reasons::BODY_BYTES),
        key(
            "requests_per_connection",
            count(1, 1 << 40, "requests"),
            "Requests on one connection before it is closed.",
        )
        .default(Default::Int(defaults::REQUESTS_PER_CONNECTION), reasons::REQUESTS_PER_CONNECTION),
        key(
            "streams_per_connection",
            count(1, 10_000, "requests"),
            "Requests at once on one HTTP/2 connection.",
        )
        .default(
            Default::Int(defaults::STREAMS_PER_CONNECTION as u64),
            reasons::STREAMS_PER_CONNECTION,
        ),
        key("connections", count(1, 1 << 30, "connections"), "Open connections of the listener.")
            .default(Default::Int(defaults::LISTENER_CONNECTIONS), reasons::LISTENER_CONNECTIONS),
        key(
            "connections_per_source",
            count(1, 1 << 30, "connections"),
            "Open connections of one source address (IPv6: of one /64).",
        )
        .default(Default::Int(defaults::CONNECTIONS_PER_SOURCE), reasons::CONNECTIONS_PER_SOURCE),
        key(
            "body_min_rate",
            count(0, 1 << 30, "bytes per second"),
            "Least rate at which a client sends a request body or takes a reply, averaged over \
             the time in which only the client is waited for, once that is 5 seconds; 0: none.",
        )
        .default(Default::Int(defaults::BODY_MIN_RATE), reasons::BODY_MIN_RATE),
    ],
    later: &[],
};

static TIMEOUTS: Section = Section {
    doc: "How long clients may take.",
    keys: &[
        key("handshake", TIME, "TLS handshake.")
            .default(Default::Time(defaults::HANDSHAKE_TIMEOUT), reasons::HANDSHAKE_TIMEOUT),
        key("first_byte", TIME, "From the connection to the first byte of the first request.")
            .default(Default::Time(defaults::FIRST_BYTE_TIMEOUT), reasons::FIRST_BYTE_TIMEOUT),
        key("head", TIME, "From the first byte of a request head to its end.")
            .default(Default::Time(defaults::HEAD_TIMEOUT), reasons::HEAD_TIMEOUT),
        key("body_idle", TIME, "Between two pieces of a body, or of a reply the client takes.")
            .default(Default::Time(defaults::BODY_IDLE_TIMEOUT), reasons::BODY_IDLE_TIMEOUT),
        key("keepalive", TIME, "Between two requests of a connection.")
            .default(Default::Time(defaults::KEEPALIVE_TIMEOUT), reasons::KEEPALIVE_TIMEOUT),
        key(
            "tunnel_idle",
            Kind::Time { min: SECOND, max: DAY },
            "Silence both ways in a tunnel (WebSocket) before it is closed.",
        )
        .default(Default::Time(defaults::TUNNEL_IDLE_TIMEOUT), reasons::TUNNEL_IDLE_TIMEOUT),
    ],
    later: &[],
};
