//! A load balancer as `[[load_balancer]]`.
//!
//! What is not in effect is left out: steering other than "random" is by the order of the pools.
//! Weights of pools that it does not use are left out too, and where no pool has any weight all
//! requests go to the fallback pool.

use super::{Object, entries, share, steps, text, truth};
use serde_json::{Map, Value, json};

/// Steps of a pool's weight.
const TENTHS: f64 = 10.0;

/// The load balancer as a table. `pool` tells what the pool of an id is called on the edge; one
/// that is not there is left out, and without any there is no table.
pub(crate) fn load_balancer(
    object: &Object,
    pool: impl Fn(&str) -> Option<String>,
) -> Option<Value> {
    let host = text(object, "name")?.to_ascii_lowercase();
    let mut pools: Vec<(&str, String)> = Vec::new();
    for id in entries(object, "default_pools").filter_map(Value::as_str) {
        if pools.iter().any(|(other, _)| *other == id) {
            continue;
        }
        pools.extend(pool(id).map(|name| (id, name)));
    }
    let fallback = text(object, "fallback_pool").and_then(&pool);
    let fallback = fallback.or_else(|| pools.last().map(|(_, name)| name.clone()))?;
    let mut random = None;
    if text(object, "steering_policy") == Some("random") && !pools.is_empty() {
        random = weights(object, &pools);
        if random.is_none() {
            pools.clear();
        }
    }
    let mut names: Vec<&str> = pools.iter().map(|(_, name)| name.as_str()).collect();
    if names.is_empty() {
        names.push(&fallback);
    }
    let mut table = json!({
        "name": host,
        "enabled": truth(object, "enabled", true),
        "default_pools": names,
        "fallback_pool": fallback,
    });
    if let (Some(random), Some(members)) = (random, table.as_object_mut()) {
        members.insert("steering_policy".to_owned(), json!("random"));
        members.insert("random_steering".to_owned(), random);
    }
    Some(table)
}

/// `random_steering`; none where every pool has weight 0.
fn weights(object: &Object, pools: &[(&str, String)]) -> Option<Value> {
    let given = object.get("random_steering").and_then(Value::as_object);
    let default = given.and_then(|given| steps(given.get("default_weight"), TENTHS));
    let default = default.unwrap_or(TENTHS);
    let own = given.and_then(|given| given.get("pool_weights")).and_then(Value::as_object);
    let mut named = Map::new();
    let mut most = 0.0_f64;
    for (id, name) in pools {
        let weight = own.and_then(|own| steps(own.get(*id), TENTHS));
        most = most.max(weight.unwrap_or(default));
        if let Some(weight) = weight {
            named.insert(name.clone(), share(weight, TENTHS));
        }
    }
    let steering = json!({ "default_weight": share(default, TENTHS), "pool_weights": named });
    (most > 0.0).then_some(steering)
}
