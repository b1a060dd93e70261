//! From tables of the file to objects of the API: the same words, mostly. What the API has no words
//! for stays on the edge.

use super::Staying;
use crate::packet::{KINDS, PacketKind};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// An object of JSON.
pub(super) type Object = Map<String, Value>;

/// Keys of `[[monitor]]` that the API has.
pub(super) const MONITOR_KEYS: [&str; 15] = [
    "description",
    "type",
    "method",
    "path",
    "port",
    "header",
    "interval",
    "timeout",
    "retries",
    "consecutive_up",
    "consecutive_down",
    "expected_codes",
    "expected_body",
    "follow_redirects",
    "allow_insecure",
];
/// Keys of `[[pool]]` that the API has.
pub(super) const POOL_KEYS: [&str; 7] =
    ["name", "description", "enabled", "minimum_origins", "monitor", "origin_steering", "origins"];
/// Keys of `[[load_balancer]]` that the API has.
pub(super) const BALANCER_KEYS: [&str; 9] = [
    "name",
    "description",
    "enabled",
    "proxied",
    "session_affinity",
    "default_pools",
    "fallback_pool",
    "steering_policy",
    "random_steering",
];

/// What a file declares in the words of the API. References are still names.
#[derive(Debug, Default)]
pub(super) struct Raised {
    /// By name.
    pub(super) monitors: Vec<(String, Object)>,
    /// By name.
    pub(super) pools: Vec<(String, Object)>,
    /// Names.
    pub(super) zones: Vec<String>,
    /// By host.
    pub(super) balancers: Vec<(String, Object)>,
    /// The fleet's part of `[packet]`.
    pub(super) settings: Option<Object>,
    /// Objects of the packet path, as they are.
    pub(super) packets: Vec<(PacketKind, String, Object)>,
    /// Whether the file says anything of the packet path.
    pub(super) has_packets: bool,
    /// What stays on the edge.
    pub(super) staying: Vec<Staying>,
}

/// Turns tables into objects.
///
/// # Errors
/// What no file has: a section that is no list of tables, or an object without a name.
pub(super) fn raise(tables: &Object) -> Result<Raised, Vec<String>> {
    let (mut raised, mut faults) = (Raised::default(), Vec::new());
    for (section, value) in tables {
        if section == "packet" {
            raised.has_packets = true;
            match value.as_object() {
                Some(table) if table.is_empty() => {}
                Some(table) => raised.settings = Some(table.clone()),
                None => faults.push("packet: must be a table".to_owned()),
            }
            continue;
        }
        let Some(list) = value.as_array() else {
            faults.push(format!("{section}: must be a list of tables"));
            continue;
        };
        for table in list {
            if let Err(fault) = raised.take(section, table) {
                faults.push(fault);
            }
        }
    }
    if faults.is_empty() { Ok(raised) } else { Err(faults) }
}

impl Raised {
    fn take(&mut self, section: &str, table: &Value) -> Result<(), String> {
        let table = table.as_object().ok_or_else(|| format!("{section}: must hold tables"))?;
        if let Some(kind) = KINDS.into_iter().find(|kind| kind.table == section) {
            let name = kind.name_of(table).ok_or_else(|| format!("{section}: has no name"))?;
            self.has_packets = true;
            self.packets.push((kind, name, table.clone()));
            return Ok(());
        }
        let name = table.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("{section}: has no name"))?.to_owned();
        match section {
            "monitor" => self.monitor(name, table.clone()),
            "pool" => self.pool(name, table.clone()),
            "zone" => self.zone(name, table),
            "load_balancer" => self.balancer(name, table.clone()),
            other => return Err(format!("{other}: is no section that can be declared")),
        }
        Ok(())
    }

    fn stays(&mut self, kind: &str, name: &str, keys: Vec<String>, why: &str) {
        let (kind, name, why) = (kind.to_owned(), name.to_owned(), why.to_owned());
        self.staying.push(Staying { kind, name, keys, why });
    }

    /// A monitor has no name in the API: its description tells people which one it is.
    fn monitor(&mut self, name: String, mut table: Object) {
        table.remove("name");
        table.entry("description").or_insert_with(|| json!(name));
        self.monitors.push((name, table));
    }

    fn pool(&mut self, name: String, mut table: Object) {
        let keys = strangers(&table, &POOL_KEYS);
        keys.iter().for_each(|key| drop(table.remove(key)));
        if !keys.is_empty() {
            let why = "the API has no field for it: write it in [published.pool] of the edge";
            self.stays("pool", &name, keys, why);
        }
        self.pools.push((name, table));
    }

    /// What hosts of a zone inherit is the edge's; the zone itself is what hosts belong to.
    fn zone(&mut self, name: String, table: &Object) {
        let keys = strangers(table, &["name"]);
        if !keys.is_empty() {
            self.stays("zone", &name, keys, "the API has no field for it");
        }
        self.zones.push(name);
    }

    /// A host whose routes or headers would be lost stays where it is, whole.
    fn balancer(&mut self, name: String, mut table: Object) {
        let keys = strangers(&table, &BALANCER_KEYS);
        if !keys.is_empty() {
            let why = format!("the API has no field for {}", keys.join(", "));
            self.stays("load_balancer", &name, Vec::new(), &why);
            return;
        }
        if !table.contains_key("fallback_pool") {
            let pools = table.get("default_pools").and_then(Value::as_array);
            if let Some(last) = pools.and_then(|pools| pools.last()).cloned() {
                table.insert("fallback_pool".to_owned(), last);
            }
        }
        self.balancers.push((name, table));
    }
}

fn strangers(table: &Object, known: &[&str]) -> Vec<String> {
    table.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect()
}

/// Ids by name, of what others refer to.
pub(super) type Ids = BTreeMap<String, String>;

/// Puts ids in the place of names; gives the names that have none.
pub(super) fn refer(object: &mut Object, ids: &Ids) -> Vec<String> {
    let mut missing = Vec::new();
    let mut id = |name: &Value| match name.as_str().map(|name| (name, ids.get(name))) {
        Some((_, Some(id))) => json!(id),
        Some((name, None)) => {
            missing.push(name.to_owned());
            Value::Null
        }
        None => name.clone(),
    };
    for key in ["monitor", "fallback_pool"] {
        if let Some(value) = object.get_mut(key) {
            *value = id(value);
        }
    }
    if let Some(Value::Array(pools)) = object.get_mut("default_pools") {
        pools.iter_mut().for_each(|pool| *pool = id(pool));
    }
    let weights = object.get_mut("random_steering").and_then(|all| all.get_mut("pool_weights"));
    if let Some(Value::Object(weights)) = weights {
        let named = std::mem::take(weights);
        for (name, weight) in named {
            if let Value::String(id) = id(&json!(name)) {
                weights.insert(id, weight);
            }
        }
    }
    missing.sort();
    missing.dedup();
    missing
}
