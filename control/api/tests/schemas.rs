//! The tables beside Cloudflare's schemas: the same properties, kinds and values. Bodies made of
//! the schemas are accepted and come back unchanged, bent ones are refused at the right place.

#[path = "schemas/generate.rs"]
mod generate;
#[path = "schemas/schema.rs"]
mod schema;

use control_api::{Kind, SHAPES, Shape};
use generate::bodies;
use proptest::prelude::*;
use proptest::sample::Index;
use schema::{Schemas, conforms, schemas};
use serde_json::{Map, Value, json};

/// Objects that have schemas of their own.
const OBJECTS: [&str; 10] = [
    "monitor",
    "monitor group",
    "pool",
    "load balancer",
    "health check",
    "webhook",
    "notification policy",
    "account",
    "zone",
    "user",
];

fn shape(name: &str) -> &'static Shape {
    SHAPES.iter().find(|shape| shape.name == name).expect("a shape of this name")
}

/// Where a table differs from the schemas on purpose, and why.
const ERRATA: &[(&str, &str)] = &[
    ("monitor group.id", "the schema requires it of requests: the server makes it"),
    ("account.id", "the same"),
    ("account.type", "only PUT requires it, and `standard` holds without it"),
    ("account.unit", "no reply has it"),
    ("pool.origins[].address", "the schema does not require it: there is no origin without it"),
    ("notification policy.filters.traffic_exclusions[]", "the limit is meant for the list"),
    ("notification policy.mechanisms.email[].id", "the schema does not require it"),
    ("notification policy.mechanisms.pagerduty[].id", "the same"),
    ("notification policy.mechanisms.webhooks[].id", "the same"),
    ("zone.account.id", "the same"),
    ("zone.jump_start", "Cloudflare's Rust client sends it"),
    ("load balancer.session_affinity", "Terraform sends the empty text"),
    ("load balancer.rules[].overrides.session_affinity", "the same"),
    ("load balancer.pool_sets[].overrides.steering_policy", "a pool set is a topology already"),
];

fn erratum(place: &str) -> bool {
    ERRATA.iter().any(|(known, _)| *known == place)
}

#[test]
fn tables_have_what_schemas_have() {
    let mut differences = Vec::new();
    for name in OBJECTS {
        let schemas = schemas(name);
        for schema in schemas.requests.iter().chain([&schemas.response]) {
            compare_object(name, shape(name), schema, &mut differences);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn tables_have_nothing_else() {
    let mut surplus = Vec::new();
    for name in OBJECTS {
        let Schemas { requests, response } = schemas(name);
        for field in shape(name).fields {
            let has = |schema: &Value| schema["properties"].get(field.name).is_some();
            let place = format!("{name}.{}", field.name);
            let known = requests.iter().chain([&response]).any(has);
            if !known && !erratum(&place) {
                surplus.push(place);
            }
        }
    }
    assert_eq!(surplus, [""; 0]);
}

fn compare_object(place: &str, shape: &Shape, schema: &Value, differences: &mut Vec<String>) {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        let Some(field) = shape.field(name) else {
            differences.push(format!("{place} is missing"));
            continue;
        };
        if field.read_only {
            continue;
        }
        if required.contains(&json!(name)) && !field.required && !erratum(&place) {
            differences.push(format!("{place} is required"));
        }
        if property["nullable"] == true && field.null == control_api::shape::Null::Refused {
            differences.push(format!("{place} is nullable"));
        }
        compare(&place, &field.kind, property, differences);
    }
}

fn compare(place: &str, kind: &Kind, schema: &Value, differences: &mut Vec<String>) {
    let mut differ = |what: String| {
        if !erratum(place) {
            differences.push(format!("{place}: {what}"));
        }
    };
    let limit = |name: &str| schema[name].as_f64();
    let within = |min: f64, max: f64, low: &str, high: &str| {
        limit(low).is_none_or(|low| min >= low) && limit(high).is_none_or(|high| max <= high)
    };
    let ends = match (kind, schema["type"].as_str().unwrap_or("object")) {
        (Kind::Bool, "boolean") => true,
        (Kind::Integer { min, max }, "integer") => {
            within(*min as f64, *max as f64, "minimum", "maximum")
        }
        (Kind::Number { min, max, step }, "number") => {
            let steps = limit("multipleOf").is_none_or(|multiple| *step == multiple);
            steps && within(*min, *max, "minimum", "maximum")
        }
        (Kind::Text { min, max, .. }, "string") => {
            within(*min as f64, *max as f64, "minLength", "maxLength")
        }
        (Kind::Choice(values), "string") => {
            let known = schema["enum"].as_array().cloned().unwrap_or_default();
            known.is_empty() || known == values.iter().map(|v| json!(v)).collect::<Vec<_>>()
        }
        (Kind::Array { min, max, .. }, "array") => {
            within(*min as f64, *max as f64, "minItems", "maxItems")
        }
        (Kind::Object(_) | Kind::Map { .. }, "object") => true,
        (Kind::Either(one, _), kind) => {
            matches!((one, kind), (Kind::Text { .. }, "string") | (Kind::Object(_), "object"))
        }
        _ => false,
    };
    if !ends {
        differ(format!("{kind:?} is not {schema}"));
    }
    match kind {
        Kind::Array { of, .. } => {
            compare(&format!("{place}[]"), of, &schema["items"], differences);
        }
        Kind::Map { of, .. } => {
            let values = &schema["additionalProperties"];
            if !values.is_null() {
                compare(&format!("{place}{{}}"), of, values, differences);
            }
        }
        Kind::Object(shape) | Kind::Either(Kind::Object(shape), _) => {
            compare_object(place, shape, schema, differences);
        }
        _ => {}
    }
}

/// Objects with a body each.
fn sent() -> impl Strategy<Value = (&'static str, Value)> {
    prop::sample::select(&OBJECTS[..])
        .prop_flat_map(|name| bodies(name).prop_map(move |body| (name, body)))
}

/// Pointers to every value of a body that its table speaks of.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inside {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        places(value, &at, all);
        all.push(at);
    }
}

/// A value of another kind.
fn other_kind(value: &Value) -> Value {
    match value {
        Value::Bool(_) => json!("true"),
        Value::Number(number) => json!(number.to_string()),
        Value::String(_) => json!(7),
        Value::Array(_) => json!({"0": true}),
        Value::Object(_) | Value::Null => json!([[]]),
    }
}

/// What a client reads back.
fn returned(shape: &Shape, checked: &Map<String, Value>) -> Value {
    Value::Object(shape.shown(checked))
}

proptest! {
    #[test]
    fn bodies_of_the_schemas_are_accepted_and_unchanged((name, body) in sent()) {
        let checked = shape(name).check(&body);
        prop_assert!(checked.is_ok(), "{name} {body}: {checked:?}");
        let Value::Object(mut kept) = body else { unreachable!() };
        kept.retain(|property, _| !shape(name).field(property).unwrap().forgotten);
        prop_assert_eq!(checked, Ok(kept));
    }

    #[test]
    fn what_is_returned_conforms_to_the_schema_of_replies((name, body) in sent()) {
        let checked = shape(name).check(&body).unwrap();
        let shown = returned(shape(name), &checked);
        prop_assert_eq!(conforms(name, shape(name), &shown), Vec::<String>::new(), "{}", shown);
    }

    #[test]
    fn what_was_read_can_be_sent_back((name, body) in sent()) {
        let checked = shape(name).check(&body).unwrap();
        let Value::Object(mut read) = returned(shape(name), &checked) else { unreachable!() };
        for field in shape(name).fields.iter().filter(|field| field.read_only) {
            read.insert(field.name.to_owned(), json!({"set": ["by", "the server"]}));
        }
        let again = shape(name).replace(&checked, &Value::Object(read)).unwrap();
        prop_assert_eq!(returned(shape(name), &again), returned(shape(name), &checked));
    }

    #[test]
    fn a_value_of_another_kind_is_refused_at_its_place(
        (name, body) in sent(),
        at in any::<Index>(),
    ) {
        let mut all = Vec::new();
        places(&body, "", &mut all);
        prop_assume!(!all.is_empty());
        let place = at.get(&all);
        let mut bent = body.clone();
        let value = bent.pointer_mut(place).expect("a place of the body");
        *value = other_kind(value);
        let faults = shape(name).check(&bent).expect_err(&format!("{name} {place} in {bent}"));
        let found: Vec<_> = faults.iter().filter_map(|fault| fault.pointer.as_deref()).collect();
        // An element whose index is a name, and the reverse, is refused as a whole.
        let within = |pointer: &&str| pointer.starts_with(place.as_str());
        prop_assert!(found.iter().any(within), "{name} {place}: {faults:?}");
    }

    #[test]
    fn an_unknown_property_is_refused_with_the_nearest_name(
        (name, body) in sent(),
        at in any::<Index>(),
    ) {
        let Value::Object(mut bent) = body else { unreachable!() };
        let own: Vec<_> = shape(name).fields.iter().filter(|field| !field.read_only).collect();
        let field = at.get(&own);
        let wrong = format!("{}_", field.name);
        prop_assume!(shape(name).field(&wrong).is_none());
        bent.insert(wrong.clone(), Value::Null);
        let faults = shape(name).check(&Value::Object(bent)).expect_err("it is refused");
        prop_assert_eq!(faults.len(), 1);
        prop_assert_eq!(faults[0].pointer.clone(), Some(format!("/{wrong}")));
        let near = format!("\"{}\"", field.name);
        prop_assert!(faults[0].message.contains(&near), "{}", faults[0].message);
    }

    #[test]
    fn a_missing_property_is_named((name, body) in sent()) {
        let Value::Object(body) = body else { unreachable!() };
        for field in shape(name).fields.iter().filter(|field| field.required) {
            let mut bent = body.clone();
            bent.remove(field.name);
            let faults = shape(name).check(&Value::Object(bent)).expect_err("it is refused");
            let at = format!("/{}", field.name);
            prop_assert!(faults.iter().any(|f| f.pointer.as_deref() == Some(&at)), "{faults:?}");
        }
    }

    #[test]
    fn any_change_of_one_body_into_another_is_a_merge(
        (name, one, other) in prop::sample::select(&OBJECTS[..]).prop_flat_map(|name| {
            (bodies(name), bodies(name)).prop_map(move |(one, other)| (name, one, other))
        }),
    ) {
        // A zone keeps its name and account, and rules may span what is sent and what is not.
        let old = shape(name).check(&one).unwrap();
        let Ok(merged) = shape(name).merge(&old, &other) else { return Ok(()) };
        let kept = |property: &str| !shape(name).field(property).unwrap().forgotten;
        for (property, value) in other.as_object().unwrap().iter().filter(|(name, _)| kept(name)) {
            prop_assert_eq!(merged.get(property).unwrap_or(&Value::Null), value, "{}", property);
        }
        for (property, value) in old.iter().filter(|(name, _)| other.get(name).is_none()) {
            prop_assert_eq!(merged.get(property), Some(value), "{}", property);
        }
    }
}
