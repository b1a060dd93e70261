//! Pool sets of a load balancer: who is meant, and which pools serve them.
//!
//! Faults begin with Cloudflare's word for them.

use super::rule::FIXED_RESPONSE;
use super::{WEIGHT, WEIGHTS};
use crate::shape::{Default, Faults, Field, Form, ID, Kind, LIST_MAX, Null, Shape, given, ids};
use serde_json::{Map, Value};

/// The list of pool sets.
pub(super) const POOL_SETS: Kind =
    Kind::Array { of: &POOL_SET, min: 0, max: LIST_MAX, unique: false };
static POOL_SET: Kind = Kind::Object(&POOL_SET_SHAPE);

static POOL_SET_SHAPE: Shape = Shape::new(
    "pool set",
    &[
        Field::new("disabled", Kind::Bool).default(Default::Bool(false)),
        Field::new("fixed_response", Kind::Object(&FIXED_RESPONSE)).null(Null::Removes),
        Field::new("match", Kind::Object(&MATCH)).null(Null::Removes),
        Field::new("name", Kind::Text { min: 0, max: 200, form: Form::Any }),
        Field::new("overrides", Kind::Object(&OVERRIDES)).null(Null::Removes),
    ],
)
.rules(&[one_intent]);

/// A set does something, and one thing.
fn one_intent(object: &Map<String, Value>, faults: &mut Faults) {
    match (given(object, "fixed_response"), given(object, "overrides")) {
        (None, None) => {
            faults.add("needs overrides or fixed_response (POOL_SET_NO_INTENT)");
        }
        (Some(_), Some(_)) => {
            faults.add_at("overrides", "excludes fixed_response: a pool set has one of them");
        }
        _ => {}
    }
}

static MATCH: Shape = Shape::new(
    "pool set match",
    &[
        Field::new("default", Kind::Bool).default(Default::Bool(false)),
        Field::new("topology", Kind::Object(&TOPOLOGY)).null(Null::Removes),
    ],
)
.rules(&[one_match]);

fn one_match(object: &Map<String, Value>, faults: &mut Faults) {
    let all = given(object, "default").is_some_and(|value| value == true);
    let some = given(object, "topology").is_some();
    if all && some {
        faults.add_at("topology", "excludes default (POOL_SET_DEFAULT_WITH_MATCH)");
    }
    if !all && !some {
        faults.add("needs default or topology (POOL_SET_EMPTY_MATCH)");
    }
}

static PLACE: Kind = Kind::Text { min: 1, max: 16, form: Form::Place };
static COUNTRY: Kind = Kind::Text { min: 2, max: 2, form: Form::Country };
static TOPOLOGY: Shape = Shape::new(
    "topology match",
    &[
        Field::new("countries", places(&COUNTRY)),
        Field::new("pops", places(&PLACE)),
        Field::new("regions", places(&PLACE)),
    ],
)
.rules(&[some_place]);

const fn places(of: &'static Kind) -> Kind {
    Kind::Array { of, min: 0, max: LIST_MAX, unique: true }
}

fn some_place(object: &Map<String, Value>, faults: &mut Faults) {
    let filled = |name: &&str| {
        let list = given(object, name).and_then(Value::as_array);
        list.is_some_and(|list| !list.is_empty())
    };
    if !["countries", "pops", "regions"].iter().any(filled) {
        faults.add("needs countries, pops or regions (POOL_SET_EMPTY_TOPOLOGY)");
    }
}

static OVERRIDES: Shape = Shape::new(
    "pool set override",
    &[
        Field::new("fallback_pool", ID),
        Field::new("pool_default_weight", WEIGHT),
        Field::new("pool_weights", WEIGHTS),
        Field::new("pools", ids(0)),
        // Without `geo`: a set is a topology already.
        Field::new(
            "steering_policy",
            Kind::Choice(&[
                "off",
                "random",
                "dynamic_latency",
                "proximity",
                "least_outstanding_requests",
                "least_connections",
                "",
            ]),
        ),
    ],
);
