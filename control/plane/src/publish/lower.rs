//! What an object of the API is on an edge: a table of the configuration file.
//!
//! Any body that the API takes becomes a table that every edge takes: where Cloudflare allows what
//! a configuration file does not, the table has what comes nearest. `monitor`, `pool` and
//! `load_balancer` each say what that is; descriptions stay behind, since nothing acts on them.

mod changes;
mod load_balancer;
mod monitor;
mod pool;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use changes::changes;
pub(crate) use load_balancer::load_balancer;
pub(crate) use monitor::{is_probed, monitor, monitor_name};
pub(crate) use pool::{origin_addresses, pool, pool_name, pool_number};

use serde_json::{Map, Value, json};

/// The longest name of an object in a configuration file, in bytes.
const NAME_MAX: usize = 64;

/// An object of JSON.
pub(crate) type Object = Map<String, Value>;

/// A zone as `[[zone]]`. The API has no rules that hosts could inherit, so that the name is all.
pub(crate) fn zone(object: &Object) -> Option<Value> {
    let name = text(object, "name")?.to_ascii_lowercase();
    Some(json!({ "name": name }))
}

/// The text of a property, if it is there.
pub(crate) fn text<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Value::as_str)
}

/// The truth of a property, or what holds without it.
pub(crate) fn truth(object: &Object, name: &str, default: bool) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(default)
}

/// A whole number of a property in a range, or what holds without it.
fn whole(object: &Object, name: &str, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
    let given = object.get(name).and_then(Value::as_u64).unwrap_or(default);
    given.clamp(*range.start(), *range.end())
}

/// The entries of a list, none where there is no list.
fn entries<'o>(object: &'o Object, name: &str) -> impl Iterator<Item = &'o Value> {
    object.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A share from 0 to 1 as a whole number of steps, as the configuration file counts it.
fn steps(value: Option<&Value>, steps: f64) -> Option<f64> {
    let share = value.and_then(Value::as_f64)?;
    Some((share * steps).round().clamp(0.0, steps))
}

/// Such a share as JSON: without a fraction where there is none.
fn share(counted: f64, steps: f64) -> Value {
    match counted {
        none if none <= 0.0 => json!(0),
        whole if whole >= steps => json!(1),
        part => json!(part / steps),
    }
}

/// A text as the name of an object: other characters than those of names become `-`.
fn named(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.chars().take(NAME_MAX).map(|c| if fits(c) { c } else { '-' }).collect()
}

/// The host of a Host field: an IPv6 address stands in brackets there (RFC 3986 §3.2.2).
fn host_field(text: &str) -> String {
    match text.parse::<std::net::Ipv6Addr>() {
        Ok(v6) => format!("[{v6}]"),
        Err(_) => text.to_owned(),
    }
}
