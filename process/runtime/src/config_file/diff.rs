//! What changes from one configuration to another, for `weir diff` and the reload log.

use super::describe::{Field, Object, objects};
use core_model::Config;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Fields that a running process cannot change.
const NEEDS_RESTART: [(&str, &str); 9] = [
    ("runtime", "workers"),
    ("runtime", "user"),
    ("runtime", "group"),
    ("admin", "address"),
    ("control", "urls"),
    ("control", "join_token_file"),
    ("control", "state"),
    ("control", "name"),
    ("packet", "name"),
];

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Fields of it differ.
    Changed,
}

/// The change of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Kind and name, such as `pool api`.
    pub object: String,
    /// `field: old -> new` for each field that differs.
    pub details: Vec<String>,
    /// Whether a reload cannot bring it about.
    pub needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
        };
        write!(f, "{sign} {}", self.object)?;
        if self.needs_restart {
            f.write_str(" (needs a restart)")?;
        }
        for detail in &self.details {
            write!(f, "\n    {detail}")?;
        }
        Ok(())
    }
}

/// What a reload from `old` to `new` changes, in the order of the file's kinds.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let awaited = old.packet.is_none() && old.packet_name.is_some();
    let (before, after) = (objects(old, new), objects(new, old));
    let (old_names, new_names) = (by_name(&before), by_name(&after));
    let gone = before.iter().filter(|object| !new_names.contains_key(object.name.as_str()));
    let mut changes: Vec<Change> =
        gone.map(|object| whole(ChangeKind::Removed, &object.name, false)).collect();
    for object in &after {
        match old_names.get(object.name.as_str()) {
            None => changes.push(whole(ChangeKind::Added, &object.name, awaited)),
            Some(before) if before.is(object) => {}
            Some(before) => changes.extend(changed(before, object)),
        }
    }
    changes
}

fn by_name<'o, 'c>(all: &'o [Object<'c>]) -> HashMap<&'o str, &'o Object<'c>> {
    all.iter().map(|object| (object.name.as_str(), object)).collect()
}

/// Changes as JSON.
#[must_use]
pub fn changes_json(changes: &[Change]) -> serde_json::Value {
    let one = |change: &Change| {
        let kind = match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Removed => "removed",
            ChangeKind::Changed => "changed",
        };
        serde_json::json!({
            "kind": kind,
            "object": change.object,
            "details": change.details,
            "needs_restart": change.needs_restart,
        })
    };
    serde_json::Value::Array(changes.iter().map(one).collect())
}

/// `awaited` where the rights for a packet path were kept for one that is not there yet.
fn whole(kind: ChangeKind, object: &str, awaited: bool) -> Change {
    // The rights that the packet path needs are given up where there is none, and an edge is one
    // from its start.
    let needs_restart = (object == "packet" && !awaited) || object == "control";
    Change { kind, object: object.to_owned(), details: Vec::new(), needs_restart }
}

fn changed(old: &Object<'_>, new: &Object<'_>) -> Option<Change> {
    let (name, old, new) = (&new.name, old.fields(), new.fields());
    let map = |fields: &[Field]| -> BTreeMap<String, String> {
        fields.iter().map(|field| (field.path.clone(), field.shown.clone())).collect()
    };
    let (before, after) = (map(&old), map(&new));
    let gone = old.iter().filter(|field| !after.contains_key(&field.path));
    let mut paths: Vec<&str> = gone.map(|field| field.path.as_str()).collect();
    let differs = |field: &&Field| before.get(&field.path) != Some(&field.shown);
    paths.extend(new.iter().filter(differs).map(|field| field.path.as_str()));
    if paths.is_empty() {
        return None;
    }
    let show = |side: &BTreeMap<String, String>, path: &str| {
        side.get(path).cloned().unwrap_or_else(|| "none".to_owned())
    };
    let line = |path: &&str| format!("{path}: {} -> {}", show(&before, path), show(&after, path));
    // The queue is made with the sockets, which a listener keeps with its address.
    let keeps_sockets = name.starts_with("listener ") && !paths.contains(&"address");
    let restart = |path: &&str| {
        NEEDS_RESTART.contains(&(name.as_str(), *path)) || (keeps_sockets && *path == "backlog")
    };
    Some(Change {
        kind: ChangeKind::Changed,
        object: name.clone(),
        details: paths.iter().map(line).collect(),
        needs_restart: paths.iter().any(restart),
    })
}
