//! What an operator is told of objects that edges do not have as they are stored.

use super::compile::{Compiler, Open};
use super::lower::changes;
use crate::store::{Key, State};
use std::collections::BTreeMap;

/// What is told of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// Why edges do not have it though it could be published.
    pub(crate) left_out: Option<String>,
    /// Places that are something else on edges (RFC 6901), and what.
    pub(crate) changed: Vec<(&'static str, String)>,
}

/// What is told of the objects of a state, where there is something.
pub(crate) fn told(state: &State, open: Open<'_>) -> BTreeMap<Key, Told> {
    let compiler = Compiler::whole(state, open);
    let mut all: BTreeMap<Key, Told> = BTreeMap::new();
    for (key, why) in compiler.left_out() {
        all.entry(key.clone()).or_default().left_out = Some(why.to_string());
    }
    for (key, stored) in &state.objects {
        let (Some(kind), Some(object)) = (Compiler::kind_of(key), stored.value.as_object()) else {
            continue;
        };
        if all.contains_key(key) {
            continue;
        }
        let item = compiler.item_of(key);
        let table = item.and_then(|item| serde_json::from_str(item.body.get()).ok());
        let changed = changes(kind, object, table.as_ref());
        if !changed.is_empty() {
            all.entry(key.clone()).or_default().changed = changed;
        }
    }
    all
}
