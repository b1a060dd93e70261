//! A pool as `[[pool]]`.
//!
//! Beside what has the same meaning in both: an origin without a port is asked at port 80, and TLS
//! is spoken to origins of port 443; origins get names that a file can have, each its own; of
//! origins that stand for one address and port, in whatever spelling, the first enabled one is
//! kept; a pool that asks for more healthy origins than it has is healthy with all of them.

use super::{NAME_MAX, Object, entries, host_field, named, share, steps, text, truth, whole};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Bytes of the API's name in that of the edge.
const NAME_PART: usize = 50;
/// Digits of the id in the name of the edge.
const NUMBER_LEN: usize = 12;
/// The port of an origin that names none.
const PORT_USUAL: u64 = 80;
/// The port at which TLS is spoken.
const PORT_TLS: u64 = 443;
/// Steps of an origin's weight.
const HUNDREDTHS: f64 = 100.0;
/// Ways to choose an origin.
const STEERINGS: [&str; 4] = ["random", "hash", "least_outstanding_requests", "least_connections"];

/// What of an id tells pools apart on an edge.
pub(crate) fn pool_number(id: &str) -> &str {
    id.get(..NUMBER_LEN).unwrap_or(id)
}

/// What a pool is called on an edge: `api.17b5962d775c`.
pub(crate) fn pool_name(id: &str, object: &Object) -> String {
    let name: String = named(text(object, "name").unwrap_or_default());
    let name = name.get(..NAME_PART).unwrap_or(&name);
    format!("{name}.{}", pool_number(id))
}

/// The pool as a table. `monitor` is what its monitor is called on the edge.
pub(crate) fn pool(id: &str, object: &Object, monitor: Option<&str>) -> Option<Value> {
    let origins = origins(object);
    if origins.is_empty() {
        return None;
    }
    let tls = origins.iter().any(|origin| origin.port == PORT_TLS);
    let steering = object.get("origin_steering").and_then(|steering| steering.get("policy"));
    let steering = steering.and_then(Value::as_str).filter(|word| STEERINGS.contains(word));
    let most = origins.len() as u64;
    let mut table = json!({
        "name": pool_name(id, object),
        "enabled": truth(object, "enabled", true),
        "minimum_origins": whole(object, "minimum_origins", 1, 1..=most),
        "origin_steering": { "policy": steering.unwrap_or("random") },
        "origins": origins.iter().map(Origin::table).collect::<Vec<_>>(),
    });
    let members = table.as_object_mut()?;
    if let Some(monitor) = monitor {
        members.insert("monitor".to_owned(), json!(monitor));
    }
    if tls {
        members.insert("tls".to_owned(), json!({ "ports": [PORT_TLS] }));
    }
    Some(table)
}

/// Addresses of the origins of a pool as its table has them.
pub(crate) fn origin_addresses(table: &Object) -> impl Iterator<Item = &str> {
    entries(table, "origins").filter_map(|origin| origin.get("address")?.as_str())
}

struct Origin<'o> {
    name: String,
    address: &'o str,
    port: u64,
    weight: f64,
    enabled: bool,
    host: Option<String>,
}

impl Origin<'_> {
    fn table(&self) -> Value {
        let mut table = json!({
            "name": self.name,
            "address": self.address,
            "port": self.port,
            "weight": share(self.weight, HUNDREDTHS),
            "enabled": self.enabled,
        });
        if let (Some(host), Some(members)) = (&self.host, table.as_object_mut()) {
            members.insert("header".to_owned(), json!({ "Host": [host] }));
        }
        table
    }
}

fn origins(object: &Object) -> Vec<Origin<'_>> {
    let mut found: Vec<Origin<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for origin in entries(object, "origins").filter_map(Value::as_object) {
        let Some(address) = text(origin, "address") else { continue };
        let port = match whole(origin, "port", 0, 0..=65_535) {
            0 => PORT_USUAL,
            port => port,
        };
        let enabled = truth(origin, "enabled", true);
        let host = origin.get("header").and_then(|header| header.get("Host"));
        let host = host.and_then(|hosts| hosts.get(0)).and_then(Value::as_str);
        let made = Origin {
            name: name_of(origin, address),
            address,
            port,
            weight: steps(origin.get("weight"), HUNDREDTHS).unwrap_or(HUNDREDTHS),
            enabled,
            host: host.map(host_field),
        };
        let same = address.parse::<IpAddr>();
        let same = same.map_or_else(|_| address.to_ascii_lowercase(), |ip| ip.to_string());
        match places.get(&(same.clone(), port)).and_then(|at: &usize| found.get_mut(*at)) {
            Some(first) if enabled && !first.enabled => *first = made,
            Some(_) => {}
            None => {
                places.insert((same, port), found.len());
                found.push(made);
            }
        }
    }
    tell_apart(&mut found);
    found
}

/// The origin's own name, or its address, as a file can have it.
fn name_of(origin: &Object, address: &str) -> String {
    match named(text(origin, "name").unwrap_or_default()) {
        none if none.is_empty() => named(address),
        name => name,
    }
}

/// Gives later ones of the same name a number: `web`, `web.2`, `web.3`.
fn tell_apart(origins: &mut [Origin<'_>]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for origin in origins {
        if taken.insert(origin.name.clone()) {
            continue;
        }
        let plain = origin.name.clone();
        let count = counts.entry(plain.clone()).or_insert(1);
        // Each round takes a number of its own; of the names there are no more than origins.
        loop {
            *count += 1;
            let tail = format!(".{count}");
            let head = plain.get(..NAME_MAX - tail.len()).unwrap_or(&plain);
            let name = format!("{head}{tail}");
            if taken.insert(name.clone()) {
                origin.name = name;
                break;
            }
        }
    }
}
