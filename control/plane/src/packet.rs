//! Objects of the packet path in the store: tables with the keys of the configuration file, checked
//! as an edge of the fleet would.

use crate::store::{Key, KeyError, State, Vault, is_sealed};
use process_runtime::config_file::{NO_HASH_KEY, PACKET_FLEET_KEYS, packet_faults};
use serde_json::{Map, Value, json};

/// An object of JSON.
type Object = Map<String, Value>;

/// The folder of them all.
const FOLDER: &str = "packet";
/// The one object of the fleet's part of `[packet]`.
const SETTINGS: &str = "settings";
/// The secret among its keys.
pub(crate) const HASH_KEY: &str = "hash_key";

/// A kind of objects that have names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PacketKind {
    /// The table of the configuration file.
    pub(crate) table: &'static str,
    /// Its word in paths and keys.
    pub(crate) folder: &'static str,
    /// The key of the table that names an object.
    pub(crate) name: &'static str,
}

/// Every kind.
pub(crate) const KINDS: [PacketKind; 3] = [
    PacketKind { table: "server", folder: "servers", name: "id" },
    PacketKind { table: "trafficset", folder: "trafficsets", name: "name" },
    PacketKind { table: "shield_rule", folder: "shield_rules", name: "name" },
];

/// What is wrong with an object, or with all of them once it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PacketFault {
    /// The object.
    pub(crate) key: Option<Key>,
    /// The place in it (RFC 6901).
    pub(crate) pointer: String,
    /// What is wrong and what would be valid.
    pub(crate) what: String,
}

impl PacketKind {
    /// Where an object of this name is kept.
    pub(crate) fn key(self, name: &str) -> Result<Key, KeyError> {
        Key::of(&[FOLDER, self.folder, name])
    }

    /// The folder of the objects.
    pub(crate) fn folder_key(self) -> Result<Key, KeyError> {
        Key::of(&[FOLDER, self.folder])
    }

    /// The name that a table says.
    pub(crate) fn name_of(self, table: &Object) -> Option<String> {
        match table.get(self.name)? {
            Value::String(name) => Some(name.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// A name as the table has it.
    pub(crate) fn name_value(self, name: &str) -> Value {
        match self.name {
            "id" => name.parse::<u64>().map_or_else(|_| json!(name), |number| json!(number)),
            _ => json!(name),
        }
    }
}

/// Where the fleet's part of `[packet]` is kept.
pub(crate) fn settings_key() -> Result<Key, KeyError> {
    Key::of(&[FOLDER, SETTINGS])
}

/// Keys that are an edge's own, or none at all.
pub(crate) fn strangers(settings: &Object) -> Vec<PacketFault> {
    let strange = settings.keys().filter(|name| !PACKET_FLEET_KEYS.contains(&name.as_str()));
    let fault = |name: &String| PacketFault {
        key: settings_key().ok(),
        pointer: format!("/{name}"),
        what: format!("is no key of the whole fleet: one of {}", PACKET_FLEET_KEYS.join(", ")),
    };
    strange.map(fault).collect()
}

/// Seals the hash key of new settings; where none is given, or the old one, the old one stays
/// sealed as it is.
pub(crate) fn seal(
    vault: &Vault,
    old: Option<&Value>,
    settings: &mut Object,
) -> Result<(), crate::store::StoreError> {
    let Ok(key) = settings_key() else { return Ok(()) };
    let old = old.and_then(|old| old.get(HASH_KEY)).filter(|value| is_sealed(value));
    let given = settings.get(HASH_KEY).and_then(Value::as_str);
    let sealed = match (given, old) {
        (None, None) => return Ok(()),
        (None, Some(old)) => old.clone(),
        (Some(new), Some(old)) if vault.open_sealed(&key, old).is_ok_and(|o| o == new) => {
            old.clone()
        }
        (Some(new), _) => vault.seal(&key, new)?,
    };
    settings.insert(HASH_KEY.to_owned(), sealed);
    Ok(())
}

/// What an edge would refuse of all objects as they are in `state`. A sealed key is taken to be
/// right: it was looked at before.
pub(crate) fn faults(state: &State) -> Vec<PacketFault> {
    let (mut tables, mut keys) = (Object::new(), Vec::new());
    for kind in KINDS {
        let Ok(folder) = kind.folder_key() else { continue };
        // In the order in which they are published.
        let mut objects = state.children(&folder);
        objects.sort_by_key(|(key, _)| *key);
        keys.extend(objects.iter().map(|(key, _)| (kind.table, (*key).clone())));
        let list = objects.iter().map(|(_, stored)| stored.value.as_ref().clone());
        tables.insert(kind.table.to_owned(), list.collect());
    }
    if let Some(stored) = settings_key().ok().and_then(|key| state.get(&key)) {
        let mut settings = stored.value.as_object().cloned().unwrap_or_default();
        if settings.get(HASH_KEY).is_some_and(is_sealed) {
            settings.insert(HASH_KEY.to_owned(), json!(NO_HASH_KEY));
        }
        tables.insert(FOLDER.to_owned(), Value::Object(settings));
    }
    let fault = |fault: core_model::Fault| {
        let (key, pointer) = place(&fault.place.path, &keys);
        let valid = if fault.valid.is_empty() { String::new() } else { ": ".to_owned() };
        PacketFault { key, pointer, what: plain(&fault.what) + &valid + &fault.valid }
    };
    packet_faults(&tables).into_iter().map(fault).collect()
}

/// A fault without the lines of a file that nobody has seen.
fn plain(what: &str) -> String {
    let mut parts = what.split("tables:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let place = |c: char| c.is_ascii_digit() || c == ':';
        text + "another one" + part.trim_start_matches(place)
    })
}

/// From `server[0].address` to the object and `/address`.
fn place(path: &str, keys: &[(&'static str, Key)]) -> (Option<Key>, String) {
    let pointer = |rest: &str| {
        let steps = rest.split(['.', '[']).filter(|step| !step.is_empty());
        steps.map(|step| format!("/{}", step.trim_end_matches(']'))).collect::<String>()
    };
    if let Some(rest) = path.strip_prefix(FOLDER) {
        return (settings_key().ok(), pointer(rest));
    }
    let Some((table, rest)) = path.split_once('[') else { return (None, pointer(path)) };
    let (index, rest) = rest.split_once(']').unwrap_or((rest, ""));
    let index: Option<usize> = index.parse().ok();
    let mut of_table = keys.iter().filter(|(own, _)| *own == table);
    let key = index.and_then(|index| of_table.nth(index)).map(|(_, key)| key.clone());
    (key, pointer(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_no_file_are_not_told() {
        for (what, expect) in [
            ("the id `1` stands at tables:4:2 already", "the id `1` stands at another one already"),
            ("`a` and `b` (tables:14:13) both have it", "`a` and `b` (another one) both have it"),
            ("plain", "plain"),
        ] {
            assert_eq!(plain(what), expect);
        }
    }

    #[test]
    fn a_path_of_the_file_names_an_object_and_a_place_in_it() {
        let key = |kind: PacketKind, name| kind.key(name).ok();
        let [server, set, rule] = KINDS;
        let all = [(server, "1"), (server, "2"), (set, "web"), (rule, "a")];
        let keys: Vec<_> =
            all.iter().map(|(kind, name)| (kind.table, kind.key(name).expect("a key"))).collect();
        for (path, expect) in [
            ("server[1].address", (key(server, "2"), "/address")),
            ("trafficset[0].prefixes[3]", (key(set, "web"), "/prefixes/3")),
            ("shield_rule[0]", (key(rule, "a"), "")),
            ("server[7].address", (None, "/address")),
            ("packet.port", (settings_key().ok(), "/port")),
            ("listener", (None, "/listener")),
        ] {
            assert_eq!(place(path, &keys), (expect.0, expect.1.to_owned()), "{path}");
        }
    }
}
