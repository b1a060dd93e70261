//! Pools: origins and how one of them is chosen.

use crate::monitor::{PORT, unique_in};
use crate::shape::{
    Default, FREE, Faults, Field, Form, ID, Kind, LIST_MAX, Null, Shape, TEXT_MAX, given,
};
use serde_json::{Map, Value};

/// The most origins of a pool: what an edge takes.
pub const ORIGINS_MAX: usize = 1_000;
/// The longest name of a pool or an origin, in characters: what an edge takes.
pub const NAME_MAX: usize = 64;

static HOST: Kind = Kind::Text { min: 1, max: 259, form: Form::Authority };
static ORIGIN_HEADER: Shape = Shape::new(
    "origin header",
    &[Field::new("Host", Kind::Array { of: &HOST, min: 0, max: 1, unique: true })],
);

static ORIGIN: Kind = Kind::Object(&ORIGIN_SHAPE);
/// An origin. Private addresses need no virtual network here, since edges stand in networks of
/// their owner's.
static ORIGIN_SHAPE: Shape = Shape::new(
    "origin",
    &[
        Field::server("disabled_at"),
        Field::new("address", Kind::Text { min: 1, max: 253, form: Form::Address }).required(),
        // Cloudflare's own Rust client cannot read an origin without `enabled` and `weight`;
        // Terraform sends and expects both.
        Field::new("enabled", Kind::Bool).shown(Default::Bool(true)),
        Field::new("flatten_cname", Kind::Bool)
            .default(Default::Bool(true))
            .stored("it says how DNS answers, which is not built"),
        Field::new("header", Kind::Object(&ORIGIN_HEADER)),
        Field::new("name", Kind::Text { min: 0, max: TEXT_MAX, form: Form::Any }),
        Field::new("port", PORT).default(Default::Integer(0)),
        Field::new("virtual_network_id", Kind::Text { min: 36, max: 36, form: Form::Uuid })
            .stored("the origin is reached through the network of the edge"),
        Field::new("weight", Kind::Number { min: 0.0, max: 1.0, step: 0.01 })
            .shown(Default::Integer(1)),
    ],
);

static ORIGIN_STEERING: Shape = Shape::new(
    "origin steering",
    &[Field::new(
        "policy",
        Kind::Choice(&["random", "hash", "least_outstanding_requests", "least_connections"]),
    )
    .default(Default::Text("random"))],
);

const PERCENT: Kind = Kind::Number { min: 0.0, max: 100.0, step: 0.0 };
const SHED: &str = "nothing is shed";
static LOAD_SHEDDING: Shape = Shape::new(
    "load shedding",
    &[
        Field::new("default_percent", PERCENT).default(Default::Integer(0)).stored(SHED),
        Field::new("default_policy", Kind::Choice(&["random", "hash"]))
            .default(Default::Text("random"))
            .stored(SHED),
        Field::new("session_percent", PERCENT).default(Default::Integer(0)).stored(SHED),
        Field::new("session_policy", Kind::Choice(&["hash"])).default(Default::Text("hash")),
    ],
);

static FILTER: Shape = Shape::new(
    "notification filter",
    &[
        Field::new("disable", Kind::Bool).null(Null::Kept).default(Default::Bool(false)),
        Field::new("healthy", Kind::Bool).null(Null::Kept),
    ],
);
static NOTIFICATION_FILTER: Shape = Shape::new(
    "notification filter",
    &[
        Field::new("origin", Kind::Object(&FILTER)).null(Null::Kept),
        Field::new("pool", Kind::Object(&FILTER)).null(Null::Kept),
    ],
);

static CHECK_REGION: Kind = Kind::Choice(&[
    "WNAM",
    "ENAM",
    "WEU",
    "EEU",
    "NSAM",
    "SSAM",
    "OC",
    "ME",
    "NAF",
    "SAF",
    "SAS",
    "SEAS",
    "NEAS",
    "ALL_REGIONS",
]);
static HEALTH_SOURCE: Kind = Kind::Choice(&["local", "regional", "global"]);
pub(crate) static NETWORK: Kind = Kind::Text { min: 1, max: 64, form: Form::Name };

const UNTOLD: &str = "no notification is sent";

/// A pool.
///
/// `description`, `monitor` and `notification_email` are not returned where they were not sent,
/// though Cloudflare's Rust client needs them: Terraform takes what it did not send for a drift.
pub static POOL: Shape = Shape::new(
    "pool",
    &[
        Field::server("id"),
        Field::server("created_on"),
        Field::server("modified_on"),
        Field::server("disabled_at"),
        Field::new(
            "check_regions",
            Kind::Array { of: &CHECK_REGION, min: 0, max: 14, unique: true },
        )
        .null(Null::Kept)
        .stored("every edge probes for itself"),
        Field::new("description", FREE).default(Default::Text("")),
        Field::new("enabled", Kind::Bool).shown(Default::Bool(true)),
        Field::new(
            "health_sources",
            Kind::Array { of: &HEALTH_SOURCE, min: 0, max: 3, unique: true },
        )
        .null(Null::Kept)
        .stored("every edge goes by its own probes"),
        Field::new("latitude", Kind::Number { min: -90.0, max: 90.0, step: 0.0 })
            .null(Null::Removes)
            .stored("no pool is chosen by distance"),
        Field::new("load_shedding", Kind::Object(&LOAD_SHEDDING)).null(Null::Kept),
        Field::new("longitude", Kind::Number { min: -180.0, max: 180.0, step: 0.0 })
            .null(Null::Removes)
            .stored("no pool is chosen by distance"),
        Field::new("minimum_origins", Kind::Integer { min: 1, max: ORIGINS_MAX as i64 })
            .shown(Default::Integer(1)),
        Field::new("monitor", MONITOR_REFERENCE).null(Null::Removes),
        Field::new("monitor_group", MONITOR_REFERENCE)
            .null(Null::Removes)
            .default(Default::Text(""))
            .stored("the origins are taken to be well without a probe"),
        Field::new("name", Kind::Text { min: 1, max: NAME_MAX, form: Form::Name }).required(),
        Field::new("networks", Kind::Array { of: &NETWORK, min: 0, max: LIST_MAX, unique: false })
            .stored("the pool is reached through the network of the edge"),
        Field::new("notification_email", Kind::Text { min: 0, max: TEXT_MAX, form: Form::Emails })
            .default(Default::Text(""))
            .stored(UNTOLD),
        Field::new("notification_filter", Kind::Object(&NOTIFICATION_FILTER))
            .null(Null::Kept)
            .stored(UNTOLD),
        Field::new("origin_steering", Kind::Object(&ORIGIN_STEERING)).null(Null::Kept),
        Field::new("origins", Kind::Array { of: &ORIGIN, min: 1, max: ORIGINS_MAX, unique: false })
            .required(),
    ],
)
.rules(&[both_coordinates, one_way_of_probing, origins_differ, health_sources_fit]);

/// The bulk PATCH of pools, which can do one thing.
pub static POOLS: Shape =
    Shape::new("bulk change of pools", &[Field::new("notification_email", Kind::Choice(&[""]))]);

/// An id, or the empty text that clients send for none.
static NO_REFERENCE: Kind = Kind::Choice(&[""]);
static REFERENCE: Kind = ID;
const MONITOR_REFERENCE: Kind = Kind::Either(&REFERENCE, &NO_REFERENCE);

fn both_coordinates(object: &Map<String, Value>, faults: &mut Faults) {
    for (one, other) in [("latitude", "longitude"), ("longitude", "latitude")] {
        if given(object, one).is_some() && given(object, other).is_none() {
            faults.add_at(one, format!("needs {other} beside it"));
        }
    }
}

fn one_way_of_probing(object: &Map<String, Value>, faults: &mut Faults) {
    let set = |name| given(object, name).is_some_and(|value| value != "");
    if set("monitor") && set("monitor_group") {
        faults.add_at("monitor_group", "excludes monitor: a pool has one of them");
    }
}

fn origins_differ(object: &Map<String, Value>, faults: &mut Faults) {
    unique_in(object, "origins", "address", faults);
}

/// Cloudflare's beta takes two lists only.
fn health_sources_fit(object: &Map<String, Value>, faults: &mut Faults) {
    let Some(sources) = given(object, "health_sources").and_then(Value::as_array) else { return };
    let words: Vec<&str> = sources.iter().filter_map(Value::as_str).collect();
    match words.as_slice() {
        [] | ["local", "global"] => {}
        ["regional", "global"] => {
            let regions = given(object, "check_regions").and_then(Value::as_array);
            if regions.is_none_or(Vec::is_empty) {
                faults.add_at("health_sources", "with \"regional\" needs check_regions");
            }
        }
        _ => {
            let what = "must be [\"local\", \"global\"] or [\"regional\", \"global\"]";
            faults.add_at("health_sources", what);
        }
    }
}
