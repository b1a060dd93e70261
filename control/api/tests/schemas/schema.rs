//! Cloudflare's schemas of objects without their words: types, values, ranges.

use control_api::Shape;
use serde_json::Value;
use std::sync::LazyLock;

/// Requests and replies of each object, made of Cloudflare's OpenAPI document (August 2026).
static FACTS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../facts/schemas.json")).expect("committed JSON")
});

/// Schemas of one object.
pub(crate) struct Schemas {
    /// Of its requests that differ.
    pub(crate) requests: Vec<Value>,
    /// Of the object in a reply.
    pub(crate) response: Value,
}

pub(crate) fn schemas(name: &str) -> Schemas {
    let facts = &FACTS[name];
    let requests = facts["requests"].as_object().expect("requests");
    Schemas { requests: requests.values().cloned().collect(), response: facts["response"].clone() }
}

/// Where an object does not conform to the schema of replies, but for what the server sets.
pub(crate) fn conforms(name: &str, shape: &Shape, object: &Value) -> Vec<String> {
    let mut schema = schemas(name).response;
    for field in shape.fields.iter().filter(|field| field.read_only) {
        if let Some(properties) = schema["properties"].as_object_mut() {
            properties.remove(field.name);
        }
        if let Some(required) = schema["required"].as_array_mut() {
            required.retain(|name| name != field.name);
        }
    }
    let mut faults = Vec::new();
    look("", &schema, object, &mut faults);
    faults
}

fn look(place: &str, schema: &Value, value: &Value, faults: &mut Vec<String>) {
    if value.is_null() {
        if schema["nullable"] != true {
            faults.push(format!("{place} is null"));
        }
        return;
    }
    let kind = schema["type"].as_str().unwrap_or("object");
    let fits = match kind {
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    let known = schema["enum"].as_array().is_none_or(|values| values.contains(value));
    let limit = |name: &str| schema[name].as_f64();
    let number = value.as_f64().unwrap_or_default();
    let low = limit("minimum").is_none_or(|min| !value.is_number() || number >= min);
    let high = limit("maximum").is_none_or(|max| !value.is_number() || number <= max);
    let length = value.as_str().map_or(0.0, |text| text.chars().count() as f64);
    let long = limit("maxLength").is_none_or(|max| length <= max);
    if !(fits && known && low && high && long) {
        faults.push(format!("{place}: {value} is not {schema}"));
    }
    let within = |name: &str| format!("{place}/{name}");
    for (index, element) in value.as_array().into_iter().flatten().enumerate() {
        look(&within(&index.to_string()), &schema["items"], element, faults);
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            faults.push(format!("{} is missing", within(name)));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let property = schema["properties"].get(name).or(schema.get("additionalProperties"));
        match property {
            Some(property) => look(&within(name), property, value, faults),
            None if schema.get("properties").is_none() => {}
            None => faults.push(format!("{} is no property", within(name))),
        }
    }
}
