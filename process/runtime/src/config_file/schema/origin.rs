//! `[[monitor]]` and `[[pool]]`, in Cloudflare's words where Cloudflare has them.

use super::{
    Default, FILE, FREE, Key, Kind, MILLISECOND, NAME, NET_LIST, ORIGINS_MAX, PORT, Section, TIME,
    Text, VALUES, count, key, later, later_use, switch, table,
};
use core_model::defaults::{self, reasons};
use std::time::Duration;

static HEADER_LIST: Kind = Kind::List { of: &VALUES, min: 1 };
const HEADER: Kind = Kind::Map { key: Text::HeaderName, of: &HEADER_LIST };

/// `[[monitor]]`.
pub(crate) static MONITOR: Section = Section {
    doc: "How origins are probed (Cloudflare's fields).",
    keys: &[
        key("name", NAME, "Unique name.").example("\"web\""),
        key("description", FREE, "Free text.").default(Default::Text(""), "Cloudflare's default"),
        key(
            "type",
            Kind::Choice {
                values: &["http", "https", "tcp"],
                later: &["icmp_ping", "udp_icmp", "smtp"],
            },
            "A request, a request over TLS, or a connection and nothing more.",
        )
        .default(Default::Text("http"), "Cloudflare's default"),
        key(
            "method",
            Kind::Choice {
                values: &["GET", "HEAD", "OPTIONS", "connection_established"],
                later: &[],
            },
            "Request method; \"connection_established\" for tcp.",
        )
        .absent("GET, or connection_established for tcp")
        .example("\"GET\""),
        key("path", Kind::Text(Text::RequestTarget), "Path, with a query if needed; not for tcp.")
            .default(Default::Text("/"), "Cloudflare's default")
            .example("\"/health\""),
        key("port", PORT, "Port that is probed; 0 for the origin's own.")
            .default(Default::Int(0), "the port that serves is the one to ask"),
        key("header", HEADER, "Fields of the request; not for tcp, and not User-Agent.")
            .default(Default::Empty, "Host is the origin's without it")
            .example("{ Host = [\"example.com\"] }"),
        key("interval", count(1, 3_600, "seconds"), "From one probe to the next.")
            .default(Default::Int(defaults::MONITOR_INTERVAL.as_secs()), reasons::MONITOR_INTERVAL),
        key("timeout", count(1, 60, "seconds"), "How long one try may take.")
            .default(Default::Int(defaults::MONITOR_TIMEOUT.as_secs()), reasons::MONITOR_TIMEOUT),
        key("retries", count(0, 10, "tries"), "Immediate further tries after a time-out.")
            .default(Default::Int(defaults::MONITOR_RETRIES as u64), reasons::MONITOR_RETRIES),
        key(
            "consecutive_up",
            count(0, 100, "probes"),
            "Successful probes in a row that make an origin healthy.",
        )
        .default(Default::Int(0), "Cloudflare's default: the first one counts"),
        key(
            "consecutive_down",
            count(0, 100, "probes"),
            "Failed probes in a row that make an origin unhealthy.",
        )
        .default(Default::Int(0), "Cloudflare's default: the first one counts"),
        key(
            "expected_codes",
            Kind::Text(Text::Codes),
            "Codes that count as healthy; empty for any. Not for tcp.",
        )
        .default(Default::Text(""), "Cloudflare's default")
        .example("\"2xx,304\""),
        key(
            "expected_body",
            FREE,
            "Text in the first 10 KiB of the reply, whatever its case. Not for tcp.",
        )
        .default(Default::Text(""), "Cloudflare's default: no check")
        .example("\"ready\""),
        key("follow_redirects", Kind::Bool, "Whether redirects are followed.")
            .default(Default::Bool(false), "Cloudflare's default"),
        key("allow_insecure", Kind::Bool, "Whether the certificate is left unchecked.")
            .default(Default::Bool(false), "Cloudflare's default"),
    ],
    later: &[
        later("probe_zone"),
        later_use("id", "objects have names here"),
        later("created_on"),
        later("modified_on"),
    ],
};

static PROTOCOLS: Kind = Kind::Choice { values: &["h2", "http/1.1"], later: &["h3"] };

/// `[[pool]]`.
pub(crate) static POOL: Section = Section {
    doc: "A group of origins (Cloudflare's fields, and how Weir speaks to them).",
    keys: &[
        key("name", NAME, "Unique name.").example("\"api\""),
        key("description", FREE, "Free text.").default(Default::Text(""), "Cloudflare's default"),
        key("enabled", Kind::Bool, "A disabled pool gets no requests and no probes.")
            .default(Default::Bool(true), "Cloudflare's default"),
        key(
            "minimum_origins",
            count(1, ORIGINS_MAX as u64, "origins"),
            "The pool is unhealthy with fewer healthy origins.",
        )
        .default(Default::Int(1), "Cloudflare's default"),
        key("monitor", Kind::Text(Text::Reference("monitor")), "Name of the monitor.")
            .absent("health is ignored")
            .example("\"web\""),
        key(
            "protocols",
            Kind::List { of: &PROTOCOLS, min: 1 },
            "Protocols spoken to the origins: one, or with TLS both, among which the origin \
             chooses by ALPN. Without TLS, h2 is spoken with prior knowledge.",
        )
        .default(Default::Words(&["http/1.1"]), "every origin speaks it"),
        key(
            "proxy_protocol",
            Kind::Choice { values: &["off", "v1", "v2"], later: &[] },
            "PROXY protocol sent to the origins.",
        )
        .default(Default::Text("off"), "an origin that does not expect it answers 400"),
        key("source_address", Kind::Text(Text::Ip), "Source address of connections to origins.")
            .absent("what the kernel chooses")
            .example("\"127.0.0.1\""),
        key(
            "slow_start",
            Kind::Time { min: Duration::ZERO, max: Duration::from_secs(3_600) },
            "After an origin becomes healthy its share grows to the whole within this time.",
        )
        .default(Default::Time(Duration::ZERO), "most origins are warm at once"),
        key("deny_addresses", NET_LIST, "Addresses that DNS answers may not hold.")
            .default(Default::Empty, "empty: any may; origins are often in private networks")
            .example("[\"169.254.0.0/16\"]"),
        table("origin_steering", &STEERING),
        table("keepalive", &KEEPALIVE),
        table("timeouts", &TIMEOUTS),
        table("retries", &RETRIES),
        table("circuit_breakers", &BREAKERS),
        table("outlier_ejection", &OUTLIER),
        switch("tls", &UPSTREAM_TLS, "plain text"),
        key("origins", Kind::Tables { of: &ORIGIN, min: 1, max: ORIGINS_MAX }, ORIGIN.doc),
    ],
    later: &[
        later("check_regions"),
        later("health_sources"),
        later("latitude"),
        later("longitude"),
        later("load_shedding"),
        later("monitor_group"),
        later("networks"),
        later_use("notification_email", "watch `weir_origin_up` in the metrics"),
        later_use("notification_filter", "watch `weir_origin_up` in the metrics"),
        later_use("id", "objects have names here"),
        later("created_on"),
        later("modified_on"),
        later_use("disabled_at", "use `enabled`"),
    ],
};

/// `[published]`.
pub(crate) static PUBLISHED: Section = Section {
    doc: "What objects of the control plane have where its API has no field for it.",
    keys: &[table("pool", &PUBLISHED_POOL)],
    later: &[],
};

static PUBLISHED_POOL: Section = Section {
    doc: "Keys of [[pool]] for published pools. What a pool was published with comes first; \
          [published.pool.tls] holds where TLS is spoken at all.",
    keys: &[
        named(POOL.keys, "protocols"),
        named(POOL.keys, "proxy_protocol"),
        named(POOL.keys, "source_address"),
        named(POOL.keys, "slow_start"),
        named(POOL.keys, "deny_addresses"),
        named(POOL.keys, "keepalive"),
        named(POOL.keys, "timeouts"),
        named(POOL.keys, "retries"),
        named(POOL.keys, "circuit_breakers"),
        named(POOL.keys, "outlier_ejection"),
        named(POOL.keys, "tls"),
    ],
    later: &[],
};

/// A key of a section by its name, which is looked for when this is compiled.
const fn named(keys: &[Key], name: &str) -> Key {
    let mut at = 0;
    while at < keys.len() {
        let (found, name) = (keys[at].name.as_bytes(), name.as_bytes());
        let mut same = 0;
        while same < name.len() && same < found.len() && found[same] == name[same] {
            same += 1;
        }
        if same == name.len() && same == found.len() {
            return keys[at];
        }
        at += 1;
    }
    panic!("no such key")
}

static ORIGIN: Section = Section {
    doc: "One origin.",
    keys: &[
        key("name", NAME, "Name, unique within the pool.").example("\"api-1\""),
        key("address", Kind::Text(Text::Origin), "IP address or DNS name, without port.")
            .example("\"127.0.0.1\""),
        key(
            "port",
            PORT,
            "Port; 0 for 443 where the pool has tls without `ports`, and 80 otherwise.",
        )
        .default(Default::Int(0), "Cloudflare's default"),
        key("weight", Kind::Share { steps: 100 }, "Share of the traffic, 0 to 1 by 0.01.")
            .default(Default::Int(100), "Cloudflare's default"),
        key("enabled", Kind::Bool, "A disabled origin gets no requests and no probes.")
            .default(Default::Bool(true), "Cloudflare's default"),
        key("header", HEADER, "Host that the origin sees in place of the client's.")
            .default(Default::Empty, "the origin sees the client's Host")
            .example("{ Host = [\"api.internal\"] }"),
    ],
    later: &[
        later_use("virtual_network_id", "Weir's own routes decide"),
        later("flatten_cname"),
        later_use("disabled_at", "use `enabled`"),
    ],
};

static STEERING: Section = Section {
    doc: "How an origin is chosen.",
    keys: &[key(
        "policy",
        Kind::Choice {
            values: &["random", "least_outstanding_requests", "least_connections", "hash"],
            later: &[],
        },
        "By weight at random, by fewest requests or connections, or by client address.",
    )
    .default(Default::Text("random"), "Cloudflare's default")],
    later: &[],
};

static TLS_PORTS: Kind = count(1, 65_535, "port");

static UPSTREAM_TLS: Section = Section {
    doc: "TLS to the origins.",
    keys: &[
        key("server_name", Kind::Text(Text::ServerName), "Name that is sent and verified.")
            .absent("the origin's Host header, or its DNS name")
            .example("\"api.internal\""),
        key("verify", Kind::Bool, "Whether certificate and name are verified.")
            .default(Default::Bool(true), "without it anybody on the way can read"),
        key("ca", FILE, "Authorities of the origins' certificates (PEM).")
            .absent("the system's authorities")
            .example("\"tls/origin-ca.crt\""),
        key("certificate", FILE, "Client certificate (Authenticated Origin Pulls), PEM.")
            .absent("none is shown")
            .example("\"tls/client.crt\""),
        key("key", FILE, "Key of the client certificate, PEM.")
            .absent("needed with `certificate`")
            .example("\"tls/client.key\""),
        key(
            "ports",
            Kind::List { of: &TLS_PORTS, min: 0 },
            "Ports of origins that TLS is spoken to; the others get plain text.",
        )
        .default(Default::Empty, "empty: every origin of a pool is spoken to alike")
        .example("[443]"),
    ],
    later: &[],
};

static KEEPALIVE: Section = Section {
    doc: "Idle connections to origins.",
    keys: &[
        key(
            "connections",
            count(0, 1 << 20, "connections"),
            "Idle connections kept for each origin over all workers; 0 switches reuse off.",
        )
        .default(
            Default::Int(defaults::KEEPALIVE_CONNECTIONS as u64),
            reasons::KEEPALIVE_CONNECTIONS,
        ),
        key("idle", TIME, "How long an idle connection is kept.")
            .default(Default::Time(defaults::UPSTREAM_IDLE), reasons::UPSTREAM_IDLE),
        key("requests", count(1, 1 << 40, "requests"), "Requests on one connection.")
            .default(Default::Int(defaults::UPSTREAM_REQUESTS), reasons::UPSTREAM_REQUESTS),
    ],
    later: &[],
};

static TIMEOUTS: Section = Section {
    doc: "How long origins may take.",
    keys: &[
        key("connect", TIME, "TCP connection.")
            .default(Default::Time(defaults::CONNECT_TIMEOUT), reasons::CONNECT_TIMEOUT),
        key("handshake", TIME, "TLS handshake.")
            .default(Default::Time(defaults::HANDSHAKE_TIMEOUT), reasons::HANDSHAKE_TIMEOUT),
        key("reply", TIME, "From the end of the request to the first byte of the reply.")
            .default(Default::Time(defaults::REPLY_TIMEOUT), reasons::REPLY_TIMEOUT),
        key("idle", TIME, "Between two pieces of a body, either way.")
            .default(Default::Time(defaults::UPSTREAM_BODY_IDLE), reasons::UPSTREAM_BODY_IDLE),
    ],
    later: &[],
};

static RETRIES: Section = Section {
    doc: "Further tries of a request, where RFC 9110 §9.2.2 allows one.",
    keys: &[
        key("attempts", count(0, 10, "tries"), "Further tries of one request.")
            .default(Default::Int(defaults::RETRY_ATTEMPTS as u64), reasons::RETRY_ATTEMPTS),
        key("budget_percent", count(0, 100, "percent"), "Retries as a share of active requests.")
            .default(
                Default::Int(defaults::RETRY_BUDGET_PERCENT as u64),
                reasons::RETRY_BUDGET_PERCENT,
            ),
        key("budget_min", count(0, 10_000, "retries"), "Retries at one time whatever the share.")
            .default(Default::Int(defaults::RETRY_BUDGET_MIN as u64), reasons::RETRY_BUDGET_MIN),
    ],
    later: &[],
};

static BREAKERS: Section = Section {
    doc: "What one origin may hold at most; more is answered with 503 or sent elsewhere.",
    keys: &[
        key("connections", count(1, 1 << 20, "connections"), "Open connections.").default(
            Default::Int(defaults::BREAKER_CONNECTIONS as u64),
            reasons::BREAKER_CONNECTIONS,
        ),
        key("pending", count(1, 1 << 20, "requests"), "Requests that wait for a connection.")
            .default(Default::Int(defaults::BREAKER_PENDING as u64), reasons::BREAKER_PENDING),
        key("requests", count(1, 1 << 20, "requests"), "Requests in flight.")
            .default(Default::Int(defaults::BREAKER_REQUESTS as u64), reasons::BREAKER_REQUESTS),
    ],
    later: &[],
};

static OUTLIER: Section = Section {
    doc: "Origins that fail requests are left alone for a while.",
    keys: &[
        key(
            "consecutive_failures",
            count(0, 10_000, "failures"),
            "Failures in a row that eject an origin; 0 switches it off.",
        )
        .default(Default::Int(defaults::OUTLIER_CONSECUTIVE as u64), reasons::OUTLIER_CONSECUTIVE),
        key(
            "base_time",
            Kind::Time { min: MILLISECOND, max: Duration::from_secs(3_600) },
            "First ejection; the n-th lasts n times as long.",
        )
        .default(Default::Time(defaults::OUTLIER_BASE), reasons::OUTLIER_BASE),
        key("max_time", TIME, "Longest ejection.")
            .default(Default::Time(defaults::OUTLIER_MAX), reasons::OUTLIER_MAX),
        key("max_percent", count(0, 100, "percent"), "Share of the pool ejected at once, at most.")
            .default(
                Default::Int(defaults::OUTLIER_MAX_PERCENT as u64),
                reasons::OUTLIER_MAX_PERCENT,
            ),
    ],
    later: &[],
};
