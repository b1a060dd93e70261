//! Load balancers: which pools serve a host.
//!
//! Rules and pool sets are in the files below this one.

mod pool_set;
mod rule;

use crate::pool::NETWORK;
use crate::shape::{
    Default, FREE, Faults, Field, Form, ID, Kind, LIST_MAX, Null, Shape, given, ids, text,
};
use serde_json::{Map, Value};

/// Cloudflare's limit of an Enterprise plan.
const AFFINITY_HEADERS_MAX: usize = 5;
/// The longest that a cookie binds a client, in seconds: a week.
const COOKIE_MAX: f64 = 604_800.0;

static POOL_IDS: Kind = ids(1);
static REGION_POOLS: Kind = Kind::Map { key: Form::Place, of: &POOL_IDS, max: LIST_MAX };
static COUNTRY_POOLS: Kind = Kind::Map { key: Form::Country, of: &POOL_IDS, max: LIST_MAX };

static WEIGHT: Kind = Kind::Number { min: 0.0, max: 1.0, step: 0.1 };
const WEIGHTS: Kind = Kind::Map { key: Form::Id, of: &WEIGHT, max: LIST_MAX };
static RANDOM_STEERING: Shape = Shape::new(
    "random steering",
    &[
        Field::new("default_weight", WEIGHT).default(Default::Integer(1)),
        Field::new("pool_weights", WEIGHTS),
    ],
);

static ADAPTIVE_ROUTING: Shape = Shape::new(
    "adaptive routing",
    &[Field::new("failover_across_pools", Kind::Bool)
        .default(Default::Bool(false))
        .stored("a request that failed is retried within its pool only")],
);

const NO_DNS: &str = "places are not looked up";
static LOCATION_STRATEGY: Shape = Shape::new(
    "location strategy",
    &[
        Field::new("mode", Kind::Choice(&["pop", "resolver_ip"]))
            .default(Default::Text("pop"))
            .stored(NO_DNS),
        Field::new("prefer_ecs", Kind::Choice(&["always", "never", "proximity", "geo"]))
            .default(Default::Text("proximity"))
            .stored(NO_DNS),
    ],
);

const UNBOUND: &str = "each request is steered for itself";
static AFFINITY_HEADER: Kind = Kind::Text { min: 1, max: 100, form: Form::AffinityHeader };
/// Its first three are returned where nothing was sent: Cloudflare's Rust client cannot read a load
/// balancer without them, and Terraform computes them.
static AFFINITY_ATTRIBUTES: Shape = Shape::new(
    "session affinity attributes",
    &[
        Field::new("samesite", Kind::Choice(&["Auto", "Lax", "None", "Strict"]))
            .shown(Default::Text("Auto"))
            .stored(UNBOUND),
        Field::new("secure", Kind::Choice(&["Auto", "Always", "Never"]))
            .shown(Default::Text("Auto"))
            .stored(UNBOUND),
        Field::new("drain_duration", Kind::Number { min: 0.0, max: 86_400.0, step: 1.0 })
            .shown(Default::Integer(0))
            .stored("a disabled origin gets nothing from that moment"),
        Field::new(
            "headers",
            Kind::Array { of: &AFFINITY_HEADER, min: 0, max: AFFINITY_HEADERS_MAX, unique: true },
        )
        .default(Default::Array)
        .stored(UNBOUND),
        Field::new("require_all_headers", Kind::Bool).default(Default::Bool(false)).stored(UNBOUND),
        Field::new("zero_downtime_failover", Kind::Choice(&["none", "temporary", "sticky"]))
            .default(Default::Text("none"))
            .stored("a request that failed is retried as the pool's own limits allow"),
    ],
)
.rules(&[cookie_reaches_nobody]);

/// Browsers refuse a cookie with SameSite=None that is not Secure.
fn cookie_reaches_nobody(object: &Map<String, Value>, faults: &mut Faults) {
    if text(object, "samesite") == Some("None") && text(object, "secure") == Some("Never") {
        faults.add_at("secure", "must not be \"Never\" with samesite \"None\"");
    }
}

/// The words of `steering_policy`.
const POLICIES: Kind = Kind::Choice(&[
    "off",
    "geo",
    "random",
    "dynamic_latency",
    "proximity",
    "least_outstanding_requests",
    "least_connections",
    "",
]);
/// Of them, those that are in effect.
const STEERED: &[&str] = &["off", "random", ""];
const IN_ORDER: &str = "traffic follows \"off\": default_pools in order";
/// Terraform sends "" for "none", which is not in Cloudflare's list.
const AFFINITIES: Kind = Kind::Choice(&["none", "cookie", "ip_cookie", "header", ""]);
/// Whole seconds; what is valid depends on the kind of affinity.
const AFFINITY_TTL: Kind = Kind::Number { min: 30.0, max: COOKIE_MAX, step: 1.0 };
/// Whole seconds (RFC 2181 §8).
const TTL: Kind = Kind::Number { min: 0.0, max: 2_147_483_647.0, step: 1.0 };

/// A load balancer.
///
/// Defaults are returned for what Cloudflare's Rust client cannot do without; Terraform computes
/// all of them, so that they are no drift.
pub static LOAD_BALANCER: Shape = Shape::new(
    "load balancer",
    &[
        Field::server("id"),
        Field::server("created_on"),
        Field::server("modified_on"),
        Field::server("zone_name"),
        Field::new("adaptive_routing", Kind::Object(&ADAPTIVE_ROUTING)),
        Field::new("country_pools", COUNTRY_POOLS).default(Default::Object).stored(IN_ORDER),
        Field::new("default_pools", ids(1)).required(),
        Field::new("description", FREE).shown(Default::Text("")),
        Field::new("enabled", Kind::Bool).shown(Default::Bool(true)),
        Field::new("fallback_pool", ID).required(),
        Field::new("location_strategy", Kind::Object(&LOCATION_STRATEGY)),
        Field::new("name", Kind::Text { min: 1, max: 253, form: Form::HostPattern }).required(),
        Field::new("networks", Kind::Array { of: &NETWORK, min: 0, max: LIST_MAX, unique: false })
            .stored("every listener of an edge serves it"),
        Field::new("pool_sets", pool_set::POOL_SETS)
            .null(Null::Leaves)
            .default(Default::Array)
            .stored(IN_ORDER),
        Field::new("pop_pools", REGION_POOLS).shown(Default::Object).stored(IN_ORDER),
        Field::new("proxied", Kind::Bool)
            .shown(Default::Bool(false))
            .ignored("an edge serves the host either way; DNS is answered elsewhere"),
        Field::new("random_steering", Kind::Object(&RANDOM_STEERING)),
        Field::new("region_pools", REGION_POOLS).shown(Default::Object).stored(IN_ORDER),
        Field::new("rules", rule::RULES).default(Default::Array).stored("no rule is evaluated"),
        Field::new("session_affinity", AFFINITIES)
            .shown(Default::Text("none"))
            .only(&["none", ""], UNBOUND),
        Field::new("session_affinity_attributes", Kind::Object(&AFFINITY_ATTRIBUTES))
            .shown(Default::Object),
        Field::new("session_affinity_ttl", AFFINITY_TTL).stored(UNBOUND),
        Field::new("steering_policy", POLICIES).shown(Default::Text("")).only(STEERED, IN_ORDER),
        Field::new("ttl", TTL).ignored("a proxied host has none; DNS is answered elsewhere"),
    ],
)
.rules(&[affinity_fits]);

/// Lifetimes and headers depend on the kind of affinity.
fn affinity_fits(object: &Map<String, Value>, faults: &mut Faults) {
    let kind = text(object, "session_affinity").unwrap_or("none");
    let range = match kind {
        "header" => (30.0, 3_600.0),
        "cookie" | "ip_cookie" => (1_800.0, COOKIE_MAX),
        _ => (0.0, COOKIE_MAX),
    };
    let ttl = given(object, "session_affinity_ttl").and_then(Value::as_f64);
    if ttl.is_some_and(|ttl| ttl < range.0 || ttl > range.1) {
        let what =
            format!("must be a number in range [{}, {}] for affinity by {kind}", range.0, range.1);
        faults.add_at("session_affinity_ttl", what);
    }
    let attributes = given(object, "session_affinity_attributes").and_then(Value::as_object);
    let given_one = |name| attributes.and_then(|attributes| given(attributes, name));
    let headers = given_one("headers").and_then(Value::as_array);
    if kind == "header" && headers.is_none_or(Vec::is_empty) {
        let what = "needs at least one of session_affinity_attributes.headers";
        faults.add_at("session_affinity", what);
    }
    if kind == "header" && given_one("zero_downtime_failover").is_some_and(|v| v == "sticky") {
        faults.within("session_affinity_attributes", |faults| {
            faults
                .add_at("zero_downtime_failover", "must not be \"sticky\" for affinity by header");
        });
    }
}
