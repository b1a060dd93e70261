//! Rules of a load balancer: conditions, and what they override or answer.

use super::{
    ADAPTIVE_ROUTING, AFFINITIES, AFFINITY_ATTRIBUTES, AFFINITY_TTL, COUNTRY_POOLS,
    LOCATION_STRATEGY, POLICIES, RANDOM_STEERING, REGION_POOLS, TTL, WEIGHT, WEIGHTS,
    affinity_fits,
};
use crate::shape::{
    Default, Faults, Field, Form, ID, Kind, LIST_MAX, Null, Shape, URL_MAX, given, ids,
};
use serde_json::{Map, Value};

/// The longest condition, in characters: Cloudflare's limit of expressions.
const CONDITION_MAX: usize = 4_096;

/// The list of rules.
pub(super) const RULES: Kind = Kind::Array { of: &RULE, min: 0, max: LIST_MAX, unique: false };
static RULE: Kind = Kind::Object(&RULE_SHAPE);

static RULE_SHAPE: Shape = Shape::new(
    "load balancer rule",
    &[
        Field::new("condition", Kind::Text { min: 0, max: CONDITION_MAX, form: Form::Any }),
        Field::new("disabled", Kind::Bool).default(Default::Bool(false)),
        Field::new("fixed_response", Kind::Object(&FIXED_RESPONSE)).null(Null::Removes),
        Field::new("name", Kind::Text { min: 1, max: 200, form: Form::Any }),
        Field::new("overrides", Kind::Object(&OVERRIDES)).null(Null::Removes),
        Field::new("priority", Kind::Integer { min: 0, max: i32::MAX as i64 })
            .default(Default::Integer(0)),
        Field::new("terminates", Kind::Bool).default(Default::Bool(false)),
    ],
)
.rules(&[answers_or_steers]);

/// A rule that answers routes nothing: overrides beside the answer would never be looked at.
fn answers_or_steers(object: &Map<String, Value>, faults: &mut Faults) {
    let filled = |name| {
        let object = given(object, name).and_then(Value::as_object);
        object.is_some_and(|object| !object.is_empty())
    };
    if filled("fixed_response") && filled("overrides") {
        faults.add_at("overrides", "excludes fixed_response: a rule has one of them");
    }
}

/// An answer that is made without an origin.
pub(super) static FIXED_RESPONSE: Shape = Shape::new(
    "fixed response",
    &[
        Field::new("content_type", Kind::Text { min: 0, max: 32, form: Form::FieldValue }),
        Field::new("location", Kind::Text { min: 0, max: URL_MAX, form: Form::FieldValue }),
        Field::new("message_body", Kind::Text { min: 0, max: 1_024, form: Form::Any }),
        // 1xx is no answer (RFC 9110 §15.2).
        Field::new("status_code", Kind::Integer { min: 200, max: 599 }),
    ],
);

/// What a rule overrides. Properties of affinity that are of no use in a rule are taken all the
/// same, as Cloudflare does.
static OVERRIDES: Shape = Shape::new(
    "rule override",
    &[
        Field::new("adaptive_routing", Kind::Object(&ADAPTIVE_ROUTING)),
        Field::new("country_pools", COUNTRY_POOLS),
        Field::new("default_pools", ids(0)),
        Field::new("fallback_pool", ID),
        Field::new("location_strategy", Kind::Object(&LOCATION_STRATEGY)),
        Field::new("pool_default_weight", WEIGHT),
        Field::new("pool_weights", WEIGHTS),
        Field::new("pools", ids(0)),
        Field::new("pop_pools", REGION_POOLS),
        Field::new("random_steering", Kind::Object(&RANDOM_STEERING)),
        Field::new("region_pools", REGION_POOLS),
        Field::new("session_affinity", AFFINITIES),
        Field::new("session_affinity_attributes", Kind::Object(&AFFINITY_ATTRIBUTES)),
        Field::new("session_affinity_ttl", AFFINITY_TTL),
        Field::new("steering_policy", POLICIES),
        Field::new("ttl", TTL),
    ],
)
.rules(&[weights_once, affinity_fits]);

/// Weights are said in one of two ways.
fn weights_once(object: &Map<String, Value>, faults: &mut Faults) {
    if given(object, "random_steering").is_none() {
        return;
    }
    for name in ["pool_weights", "pool_default_weight"] {
        if given(object, name).is_some() {
            faults.add_at(name, "excludes random_steering: weights are said in one way");
        }
    }
}
