//! What a configuration declares, as tables of JSON with the keys of the file: what `weir plan` and
//! `weir apply` send to a control plane.

use super::{Reader, build, machine, main_file, schema, text};
use control_api::publish::ItemKind;
use core_model::Fault;
use core_model::config::packet::HashKey;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::Path;

/// Keys of `[packet]` that are the fleet's. The others are an edge's own.
pub const PACKET_FLEET_KEYS: [&str; 8] = [
    "hash_key",
    "port",
    "fou_port",
    "reverse_path",
    "too_big_rate",
    "trie_entries_max",
    "port_rows_max",
    "buckets_max",
];

/// What a configuration declares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// By the names of the file: a list of tables for each kind of objects, and one table `packet`
    /// with the keys of [`PACKET_FLEET_KEYS`].
    pub tables: Map<String, Value>,
    /// Sections that belong to the edge, such as `listener`.
    pub local: Vec<String>,
}

/// Reads the configuration at `path` and gives what it declares. Environment variables are put in,
/// and so is the key in `hash_key_file`.
///
/// # Errors
/// All faults, in the order of their places, as of an edge that a control plane publishes to.
pub fn declared(path: &Path) -> Result<Declared, Vec<Fault>> {
    let name = path.display().to_string();
    let world = machine();
    let mut reader = Reader::new(&world, &schema::ROOT);
    reader.read_all(&name, main_file(path, &name)?);
    let Reader { report, roots, .. } = reader;
    let texts: Vec<_> = report.texts().collect();
    let loaded = build(&world, report, &roots, true)?;
    let mut declared = Declared::default();
    for text in texts {
        // What is no TOML was told as a fault above.
        let Ok(table) = toml::from_str::<toml::Table>(&text) else { continue };
        let Ok(Value::Object(sections)) = serde_json::to_value(table) else { continue };
        for (section, value) in sections {
            declared.add(section, expanded(value, world.env));
        }
    }
    let key = loaded.config.packet.map(|packet| packet.hash_key);
    declared.split_packet(key.as_ref());
    Ok(declared)
}

impl Declared {
    fn add(&mut self, section: String, value: Value) {
        if !ItemKind::ALL.iter().any(|kind| kind.table() == section) {
            if section != "include" && !self.local.contains(&section) {
                self.local.push(section);
            }
            return;
        }
        match (self.tables.get_mut(&section), value) {
            (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
            (_, value) => drop(self.tables.insert(section, value)),
        }
    }

    /// Leaves the edge's part of `[packet]` where it is.
    fn split_packet(&mut self, key: Option<&HashKey>) {
        let Some(Value::Object(mut packet)) = self.tables.remove("packet") else { return };
        self.local.push("packet".to_owned());
        packet.retain(|name, _| PACKET_FLEET_KEYS.contains(&name.as_str()));
        if let Some(key) = key {
            packet.insert("hash_key".to_owned(), Value::String(digits(key)));
        }
        self.tables.insert("packet".to_owned(), Value::Object(packet));
    }
}

/// The digits of a key, as a file has them.
fn digits(key: &HashKey) -> String {
    key.octets().iter().fold(String::new(), |mut text, octet| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// The value with its environment variables put in. A text with a fault was told before.
fn expanded(value: Value, env: &super::check::Env<'_>) -> Value {
    match value {
        Value::String(found) => Value::String(text::expand(&found, env).unwrap_or(found)),
        Value::Array(entries) => entries.into_iter().map(|entry| expanded(entry, env)).collect(),
        Value::Object(table) => {
            let table = table.into_iter().map(|(key, value)| (key, expanded(value, env)));
            Value::Object(table.collect())
        }
        other => other,
    }
}
