//! A monitor as `[[monitor]]`.
//!
//! Beside what has the same meaning in both: HEAD with an expected body asks by GET, as a reply to
//! HEAD has none; a fragment of the path is left out, as no request has one (RFC 9110 §7.1); of an
//! expected body with control characters the longest stretch without any is looked for; fields that
//! frame a message or belong to a connection are left out, and values lose outer spaces
//! (RFC 9110 §5.5).

use super::{Object, text, truth, whole};
use control_api::monitor::{INTERVAL_DEFAULT, RETRIES_DEFAULT, TIMEOUT_DEFAULT};
use serde_json::{Map, Value, json};

/// Fields that a probe writes itself, or that frame it.
const OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// Methods of a probe; others are words of other types.
const METHODS: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
/// Seconds from one probe to the next, as the configuration file has them.
const INTERVALS: std::ops::RangeInclusive<u64> = 1..=3_600;

/// What the monitor of an id is called on an edge.
pub(crate) fn monitor_name(id: &str) -> String {
    format!("monitor-{id}")
}

/// Whether edges probe by such a monitor. Pools of other ones have none there: their origins are
/// taken to be well.
pub(crate) fn is_probed(object: &Object) -> bool {
    matches!(kind_of(object), "http" | "https" | "tcp")
}

fn kind_of(object: &Object) -> &str {
    text(object, "type").unwrap_or("http")
}

/// The monitor as a table; none where edges do not probe by it.
pub(crate) fn monitor(id: &str, object: &Object) -> Option<Value> {
    if !is_probed(object) {
        return None;
    }
    let timeout = whole(object, "timeout", default(TIMEOUT_DEFAULT), 1..=60);
    let retries = whole(object, "retries", default(RETRIES_DEFAULT), 0..=10);
    // The API sees to it; an import need not have.
    let least = timeout * (retries + 1) + 1;
    let interval = whole(object, "interval", default(INTERVAL_DEFAULT), INTERVALS).max(least);
    let table = json!({
        "name": monitor_name(id),
        "type": kind_of(object),
        "port": whole(object, "port", 0, 0..=65_535),
        "interval": interval,
        "timeout": timeout,
        "retries": retries,
        "consecutive_up": whole(object, "consecutive_up", 0, 0..=100),
        "consecutive_down": whole(object, "consecutive_down", 0, 0..=100),
    });
    let mut table = match table {
        Value::Object(table) => table,
        _ => Map::new(),
    };
    if kind_of(object) != "tcp" {
        request(object, &mut table);
    }
    Some(Value::Object(table))
}

fn default(value: i64) -> u64 {
    value.unsigned_abs()
}

/// What only monitors that ask something have.
fn request(object: &Object, table: &mut Object) {
    let expected = plain_stretch(text(object, "expected_body").unwrap_or_default());
    let method = text(object, "method").filter(|method| METHODS.contains(method)).unwrap_or("GET");
    let method = if method == "HEAD" && !expected.is_empty() { "GET" } else { method };
    let path = text(object, "path").unwrap_or_default().split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path } else { "/" };
    let header = header(object);
    table.insert("method".to_owned(), json!(method));
    table.insert("path".to_owned(), json!(path));
    if !header.is_empty() {
        table.insert("header".to_owned(), Value::Object(header));
    }
    let codes = text(object, "expected_codes").unwrap_or_default();
    table.insert("expected_codes".to_owned(), json!(codes));
    table.insert("expected_body".to_owned(), json!(expected));
    for name in ["follow_redirects", "allow_insecure"] {
        table.insert(name.to_owned(), json!(truth(object, name, false)));
    }
}

/// The longest part of a text without control characters, but for line feeds and tabs.
fn plain_stretch(text: &str) -> &str {
    let parts = text.split(|c: char| c.is_control() && c != '\n' && c != '\t');
    parts.fold("", |longest, part| if part.len() > longest.len() { part } else { longest })
}

fn header(object: &Object) -> Map<String, Value> {
    let mut header = Map::new();
    let mut host = false;
    let given = object.get("header").and_then(Value::as_object);
    for (name, values) in given.into_iter().flatten() {
        let lower = name.to_ascii_lowercase();
        let is_host = lower == "host";
        if OWN_FIELDS.contains(&lower.as_str()) || (is_host && host) {
            continue;
        }
        let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut values: Vec<String> = values.map(|value| value.trim().to_owned()).collect();
        if is_host {
            // A request has one host.
            values.retain(|value| !value.is_empty());
            values.truncate(1);
            host = !values.is_empty();
        }
        if !values.is_empty() {
            header.insert(name.clone(), json!(values));
        }
    }
    header
}
