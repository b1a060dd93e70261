//! `[[load_balancer]]` and its routes.

use super::listener::{HSTS, REDIRECT_HTTPS, REQUEST_HEADERS, RESPONSE_HEADERS};
use super::{
    Default, FREE, Key, Kind, LISTENERS, POOLS, ROUTES_MAX, Section, Text, key, later, later_use,
    switch, table, tables,
};

static TENTHS: Kind = Kind::Share { steps: 10 };

const DEFAULT_POOLS: Key = key(
    "default_pools",
    Kind::List { of: &POOLS, min: 1 },
    "Names of pools, in order of preference.",
)
.needed("redirect")
.example("[\"api\"]");
const FALLBACK_POOL: Key = key(
    "fallback_pool",
    Kind::Text(Text::Reference("pool")),
    "Pool used when every other is disabled or unhealthy; its own health is ignored.",
)
.absent("the last one of default_pools")
.example("\"api\"");
const STEERING_POLICY: Key = key(
    "steering_policy",
    Kind::Choice {
        values: &["off", "random", ""],
        later: &[
            "geo",
            "dynamic_latency",
            "proximity",
            "least_outstanding_requests",
            "least_connections",
        ],
    },
    "\"off\": the first healthy pool in order. \"random\": by weight. \"\": as \"off\".",
)
.default(Default::Text(""), "Cloudflare's default");
const RANDOM_STEERING: Key = table("random_steering", &STEERING);
const REDIRECT: Key = switch("redirect", &REDIRECTION, "requests are proxied");

/// `[[load_balancer]]`.
pub(crate) static LOAD_BALANCER: Section = Section {
    doc: "A host and where its requests go (Cloudflare's fields, and routes).",
    keys: &[
        key(
            "name",
            Kind::Text(Text::Host),
            "The host: \"example.com\", \"*.example.com\" (any labels in front), or \"*\".",
        )
        .example("\"example.com\""),
        key("description", FREE, "Free text.").default(Default::Text(""), "Cloudflare's default"),
        key("enabled", Kind::Bool, "A disabled one matches nothing.")
            .default(Default::Bool(true), "Cloudflare's default"),
        key(
            "proxied",
            Kind::Fixed { only: true, why: "answering by DNS alone is not there yet" },
            "Whether requests pass through Weir.",
        )
        .default(Default::Bool(true), "there is no other way yet"),
        key(
            "session_affinity",
            Kind::Choice { values: &["none"], later: &["cookie", "ip_cookie", "header"] },
            "Whether a client stays with its origin.",
        )
        .default(Default::Text("none"), "Cloudflare's default"),
        key(
            "listeners",
            Kind::List { of: &LISTENERS, min: 0 },
            "Names of the listeners it serves.",
        )
        .default(Default::Empty, "empty: every one")
        .example("[\"public\"]"),
        DEFAULT_POOLS,
        FALLBACK_POOL,
        STEERING_POLICY,
        REDIRECT_HTTPS,
        HSTS,
        REQUEST_HEADERS,
        RESPONSE_HEADERS,
        RANDOM_STEERING,
        REDIRECT.instead("default_pools"),
        table("tls", &HOST_TLS),
        tables("routes", &ROUTE, ROUTES_MAX),
    ],
    later: &[
        later("adaptive_routing"),
        later("country_pools"),
        later("region_pools"),
        later("pop_pools"),
        later("pool_sets"),
        later("location_strategy"),
        later("networks"),
        later_use("rules", "use `[[load_balancer.routes]]` for paths"),
        later("session_affinity_attributes"),
        later("session_affinity_ttl"),
        later_use("ttl", "Weir does not answer DNS"),
        later_use("id", "objects have names here"),
        later("zone_name"),
        later("created_on"),
        later("modified_on"),
    ],
};

static HOST_TLS: Section = Section {
    doc: "What the host asks of connections over TLS.",
    keys: &[key(
        "require_client_certificate",
        Kind::Bool,
        "Whether requests need a client certificate, which a listener asks for by `client_auth`; \
         without one they are answered with 403, on a connection made for another host with 421.",
    )
    .default(Default::Bool(false), "browsers have none")],
    later: &[],
};

static ROUTE: Section = Section {
    doc: "What is done with some paths of the host; exact paths win, then the longest prefix.",
    keys: &[
        key(
            "path_prefix",
            Kind::Text(Text::UrlPath),
            "This path and every path below it: \"/api\" stands for /api and /api/x, not /apis.",
        )
        .needed("path")
        .example("\"/v1\""),
        key("path", Kind::Text(Text::UrlPath), "Exactly this path.")
            .instead("path_prefix")
            .example("\"/favicon.ico\""),
        DEFAULT_POOLS,
        FALLBACK_POOL,
        STEERING_POLICY,
        key("strip_prefix", Kind::Text(Text::UrlPath), "Start of the path that is taken away.")
            .absent("the path stays")
            .example("\"/v1\""),
        key("add_prefix", Kind::Text(Text::UrlPath), "Put in front of the path.")
            .absent("the path stays")
            .example("\"/api\""),
        REDIRECT_HTTPS,
        HSTS,
        REQUEST_HEADERS,
        RESPONSE_HEADERS,
        RANDOM_STEERING,
        REDIRECT.instead("default_pools"),
    ],
    later: &[],
};

static REDIRECTION: Section = Section {
    doc: "A reply that sends the client elsewhere.",
    keys: &[
        key("status", Kind::OneOf(&[301, 302, 303, 307, 308]), "Status code.")
            .default(Default::Int(302), "a permanent one stays in browsers for good"),
        key(
            "location",
            Kind::Text(Text::Location),
            "URL or path; one that ends with `*` has path and query of the request in its place.",
        )
        .example("\"https://www.example.com*\""),
    ],
    later: &[],
};

static STEERING: Section = Section {
    doc: "Weights for steering_policy = \"random\".",
    keys: &[
        key("default_weight", Kind::Share { steps: 10 }, "Weight of pools that are not named.")
            .default(Default::Int(10), "Cloudflare's default"),
        key(
            "pool_weights",
            Kind::Map { key: Text::Reference("pool"), of: &TENTHS },
            "Weight by pool, 0 to 1 by 0.1.",
        )
        .default(Default::Empty, "every pool alike")
        .example("{ api = 0.5 }"),
    ],
    later: &[],
};
