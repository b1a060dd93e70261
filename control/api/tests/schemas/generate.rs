//! Bodies made of Cloudflare's schemas, with what the schemas leave out: forms of texts, ranges of
//! numbers, and what spans properties.

use super::schema::schemas;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const HEX: &str = "[0-9a-f]{32}";
const HOST: &str = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?\\.example\\.com";

/// Bodies of an object that its table must accept.
pub(crate) fn bodies(name: &'static str) -> BoxedStrategy<Value> {
    let all = schemas(name);
    let mut request = all.requests[0].clone();
    let shape = super::shape(name);
    for other in all.requests.iter().chain([&all.response]) {
        for (property, schema) in other["properties"].as_object().expect("an object") {
            request["properties"][property] = schema.clone();
        }
    }
    let required = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
    request["required"] = all.requests.iter().flat_map(required).collect();
    let properties = request["properties"].as_object_mut().expect("an object");
    properties.retain(|property, _| shape.field(property).is_some_and(|field| !field.read_only));
    if let Some(account) = request.pointer_mut("/properties/account/properties") {
        // The name of a zone's account is the server's.
        account.as_object_mut().expect("an object").remove("name");
    }
    made(name, name, &request).prop_map(repaired).boxed()
}

/// Values of a schema; `name` is that of the property, or of the list or map that they are in.
fn made(object: &'static str, name: &str, schema: &Value) -> BoxedStrategy<Value> {
    let plain = match schema["type"].as_str().unwrap_or("object") {
        "boolean" => any::<bool>().prop_map(Value::from).boxed(),
        "integer" => {
            let (min, max) = range(object, name);
            (min..=max).prop_map(Value::from).boxed()
        }
        "number" => number(name, schema),
        "string" => text(object, name, schema),
        "array" => {
            let max = schema["maxItems"].as_u64().unwrap_or(4).min(4) as usize;
            let (min, max) = list_length(name, max);
            let element = made(object, name, &schema["items"]);
            prop::collection::vec(element, min..=max).prop_map(Value::Array).boxed()
        }
        _ => match schema["properties"].as_object() {
            Some(properties) => structure(object, properties, schema),
            None => {
                let values = schema.get("additionalProperties").unwrap_or(schema);
                let value = made(object, name, values);
                prop::collection::btree_map(key(name), value, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect()))
                    .boxed()
            }
        },
    };
    if schema["nullable"] == true {
        return prop_oneof![4 => plain, 1 => Just(Value::Null)].boxed();
    }
    plain
}

fn structure(
    object: &'static str,
    properties: &Map<String, Value>,
    schema: &Value,
) -> BoxedStrategy<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut made_of = Just(Map::new()).boxed();
    for (name, property) in properties {
        if property["readOnly"] == true {
            continue;
        }
        // What schemas do not require and objects need.
        let always = required.contains(&json!(name)) || ["address", "id"].contains(&name.as_str());
        let value = made(object, name, property);
        let value = match always {
            true => value.prop_map(Some).boxed(),
            false => prop::option::weighted(0.4, value).boxed(),
        };
        let name = name.clone();
        made_of = (made_of, value)
            .prop_map(move |(mut map, value)| {
                map.extend(value.map(|value| (name.clone(), value)));
                map
            })
            .boxed();
    }
    made_of.prop_map(Value::Object).boxed()
}

/// Ranges that the schemas leave out, such that probes never overlap.
fn range(object: &str, name: &str) -> (i64, i64) {
    match name {
        "interval" => (61, 3_600),
        "timeout" => (1, 10),
        "retries" => (1, 5),
        "consecutive_up" | "consecutive_down" | "consecutive_fails" | "consecutive_successes" => {
            (0, 100)
        }
        "port" => (1, 65_535),
        "minimum_origins" => (1, 1_000),
        "status_code" => (200, 599),
        "priority" => (0, i64::from(i32::MAX)),
        _ => panic!("{object}: no range for {name}"),
    }
}

fn number(name: &str, schema: &Value) -> BoxedStrategy<Value> {
    if let Some(step) = schema["multipleOf"].as_f64() {
        let steps = (1.0 / step).round() as i64;
        return (0..=steps).prop_map(move |n| json!(n as f64 * step)).boxed();
    }
    match name {
        "pool_weights" => (0..=10_i64).prop_map(|n| json!(n as f64 / 10.0)).boxed(),
        "latitude" => (-90.0..=90.0_f64).prop_map(Value::from).boxed(),
        "longitude" => (-180.0..=180.0_f64).prop_map(Value::from).boxed(),
        // Valid for every kind of affinity.
        "session_affinity_ttl" => (1_800..=3_600_i64).prop_map(Value::from).boxed(),
        "drain_duration" => (0..=86_400_i64).prop_map(Value::from).boxed(),
        "ttl" => (0..=2_147_483_647_i64).prop_map(Value::from).boxed(),
        "default_percent" | "session_percent" => (0.0..=100.0_f64).prop_map(Value::from).boxed(),
        _ => panic!("no range for {name}"),
    }
}

/// Lengths of lists that the schemas leave out.
fn list_length(name: &str, max: usize) -> (usize, usize) {
    match name {
        "Host" => (0, 1),
        "traffic_exclusions" => (0, 1),
        "origins" | "members" | "header" | "default_pools" => (1, 3),
        "region_pools" | "country_pools" | "pop_pools" => (1, 3),
        _ => (0, max),
    }
}

fn key(name: &str) -> BoxedStrategy<String> {
    match name {
        "country_pools" => "[A-Z]{2}".boxed(),
        "region_pools" | "pop_pools" => "[A-Z]{3,5}".boxed(),
        "pool_weights" => HEX.boxed(),
        "header" => {
            "X-[a-zA-Z0-9~/]{0,1}[a-zA-Z0-9]{1,6}".prop_map(|name| name.replace('/', "~")).boxed()
        }
        _ => panic!("no names for {name}"),
    }
}

fn text(object: &'static str, name: &str, schema: &Value) -> BoxedStrategy<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return prop::sample::select(values.clone()).boxed();
    }
    let regex = match (object, name) {
        ("pool" | "health check", "name") => "[-_a-zA-Z0-9]{1,64}",
        ("load balancer", "name") => "(\\*\\.)?[a-z]{1,9}\\.example\\.com",
        ("zone", "name" | "vanity_name_servers") => HOST,
        ("load balancer", "default_pools" | "fallback_pool" | "pools") => HEX,
        ("load balancer", "region_pools" | "country_pools" | "pop_pools") => HEX,
        ("pool", "monitor" | "monitor_group") | ("monitor group", "monitor_id") => HEX,
        ("zone", "id") => HEX,
        ("load balancer", "countries") => "[A-Z]{2}",
        ("load balancer", "pops" | "regions") => "[A-Z]{3,4}",
        ("load balancer", "headers") => "([a-z-]{1,12}|cookie:[a-z]{1,4}(,[a-z]{1,4}){0,2})",
        ("load balancer" | "pool", "networks") => "[a-z0-9-]{1,20}",
        (_, "address") => {
            "([a-z]{1,9}\\.example\\.com|192\\.0\\.2\\.[1-9]|2001:db8::[1-9a-f]{1,4})"
        }
        (_, "Host") => "[a-z]{1,9}\\.example\\.com(:8080)?",
        (_, "expected_codes") if object == "monitor" => "|[1-5]xx|200,3[0-9]{2}",
        (_, "expected_codes") => "[1-5]xx|[1-5][0-9]{2}",
        (_, "probe_zone") => "|[a-z]{1,9}\\.example\\.com",
        (_, "path") => "/[!-~]{0,20}",
        ("monitor", "method") => "GET|HEAD|OPTIONS",
        ("monitor" | "health check", "header") => "[ -~]{0,20}",
        ("health check", "type") => "HTTP|HTTPS|TCP",
        (_, "virtual_network_id") => "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        (_, "notification_email" | "abuse_contact_email") => "|[a-z.+]{1,9}@example\\.com",
        (_, "url") => "https?://[a-z]{1,9}\\.example\\.com(:[1-9]{1,4})?(/[!-~]{0,9})?",
        (_, "secret" | "content_type" | "location") => "[ -~é]{0,30}",
        ("notification policy", "new_health") => "Healthy|Unhealthy",
        ("notification policy", "event_source") => "pool|origin",
        ("notification policy", "id") => "[a-z]{3,9}@example\\.com",
        _ => {
            let max = schema["maxLength"].as_u64().unwrap_or(30).min(30);
            let min = 1;
            let any = format!("\\PC{{{min},{max}}}");
            return proptest::string::string_regex(&any)
                .expect("a pattern")
                .prop_map(Value::from)
                .boxed();
        }
    };
    proptest::string::string_regex(regex).expect("a pattern").prop_map(Value::from).boxed()
}

/// A body that keeps what spans properties.
fn repaired(mut body: Value) -> Value {
    repair(&mut body);
    body
}

fn repair(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(repair),
        Value::Object(map) => {
            map.values_mut().for_each(repair);
            repair_object(map);
        }
        _ => {}
    }
}

fn repair_object(map: &mut Map<String, Value>) {
    let has = |map: &Map<String, Value>, name: &str| map.contains_key(name);
    if has(map, "latitude") != has(map, "longitude") {
        map.remove("latitude");
        map.remove("longitude");
    }
    if has(map, "timeout") || has(map, "retries") {
        map.entry("interval").or_insert(json!(61));
    }
    if has(map, "monitor") {
        map.remove("monitor_group");
    }
    for list in ["origins", "members"] {
        differ(map, list);
    }
    for list in ["check_regions", "headers", "countries", "pops", "regions", "vanity_name_servers"]
    {
        if let Some(list) = map.get_mut(list).and_then(Value::as_array_mut) {
            list.sort_by_key(Value::to_string);
            list.dedup();
        }
    }
    if map.get("health_sources").is_some_and(Value::is_array) {
        map.insert("health_sources".to_owned(), json!(["local", "global"]));
    }
    if map.get("samesite") == Some(&json!("None")) {
        map.remove("secure");
    }
    if map.get("session_affinity") == Some(&json!("header")) {
        map.insert("session_affinity_attributes".to_owned(), json!({"headers": ["x-session"]}));
    }
    if map.get("type") == Some(&json!("udp_icmp")) {
        map.insert("port".to_owned(), json!(53));
    }
    // Weights of an override, its answer, and what a pool set is for.
    if has(map, "random_steering") {
        map.remove("pool_weights");
        map.remove("pool_default_weight");
    }
    if has(map, "fixed_response") {
        map.remove("overrides");
    }
    if has(map, "topology") {
        map.insert("topology".to_owned(), json!({"regions": ["WEU"]}));
        map.remove("default");
    }
    if let Some(sets) = map.get_mut("pool_sets").and_then(Value::as_array_mut) {
        sets.iter_mut().filter_map(Value::as_object_mut).for_each(repair_set);
    }
}

fn repair_set(set: &mut Map<String, Value>) {
    if !set.contains_key("fixed_response") && !set.contains_key("overrides") {
        set.insert("overrides".to_owned(), json!({}));
    }
    if let Some(overrides) = set.get_mut("overrides").and_then(Value::as_object_mut)
        && overrides.get("steering_policy") == Some(&json!("geo"))
    {
        overrides.remove("steering_policy");
    }
    let matched = set.get_mut("match").and_then(Value::as_object_mut);
    if let Some(matched) = matched.filter(|matched| !matched.contains_key("topology")) {
        matched.insert("default".to_owned(), json!(true));
    }
}

/// Gives each element of a list an address or a monitor of its own.
fn differ(map: &mut Map<String, Value>, list: &str) {
    let elements = map.get_mut(list).and_then(Value::as_array_mut);
    for (index, element) in elements.into_iter().flatten().enumerate() {
        for (name, value) in
            [("address", format!("192.0.2.{index}")), ("monitor_id", format!("{index:032x}"))]
        {
            if element.get(name).is_some() {
                element[name] = json!(value);
            }
        }
    }
}
