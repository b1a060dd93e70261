//! What changed between two values, for people: one line per place.

use super::key::Key;
use super::record::{Changed, Record};
use super::vault::{is_sealed, redacted};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// One place that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The object and, after `#`, the place in it as JSON pointer.
    pub place: String,
    /// What was there.
    pub before: Option<Value>,
    /// What is there.
    pub after: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "+ {}: {after}", self.place),
            (Some(before), None) => write!(f, "- {}: {before}", self.place),
            (Some(before), Some(after)) => write!(f, "~ {}: {before} -> {after}", self.place),
            (None, None) => f.write_str(&self.place),
        }
    }
}

/// The places in which the objects of a change differ. Secrets are `"(secret)"`.
#[must_use]
pub fn differences(changes: &[Changed]) -> Vec<Difference> {
    let mut found = Vec::new();
    for change in changes {
        let place = change.key.to_string();
        compare(&place, "", change.before.as_deref(), change.after.as_deref(), &mut found);
    }
    found
}

/// The changes of consecutive records as one: what each object was before the first, and is after
/// the last.
#[must_use]
pub fn together(records: &[Record]) -> Vec<Changed> {
    let mut all: BTreeMap<&Key, Changed> = BTreeMap::new();
    for change in records.iter().flat_map(|record| &record.changes) {
        let one = all.entry(&change.key).or_insert_with(|| change.clone());
        one.after.clone_from(&change.after);
    }
    all.into_values().filter(|change| change.before != change.after).collect()
}

/// Objects are gone into, anything else is compared as it is: lists are replaced whole.
fn compare(
    key: &str,
    pointer: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    found: &mut Vec<Difference>,
) {
    if before == after {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after)
        && !before.into_iter().chain(after).any(is_sealed)
    {
        let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
        for name in names {
            let step = name.replace('~', "~0").replace('/', "~1");
            compare(key, &format!("{pointer}/{step}"), old.get(name), new.get(name), found);
        }
        return;
    }
    let place = if pointer.is_empty() { key.to_owned() } else { format!("{key}#{pointer}") };
    found.push(Difference { place, before: before.map(redacted), after: after.map(redacted) });
}
