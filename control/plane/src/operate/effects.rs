//! What stored objects say and edges do not do: properties that are not in effect yet, objects that
//! are not published, and what reaches edges as the nearest thing that they take.

use crate::publish::told;
use crate::rest::{HEALTHCHECK, LINKED};
use crate::store::{Key, Revision, State};
use control_api::{Shape, account};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Remarks of one answer: more than anybody reads, far less than a message. The rest is counted.
pub const REMARKS_MAX: usize = 10_000;

/// What kind of remark one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The property is stored, and nothing acts on it yet.
    NotInEffect,
    /// Edges have something else in its place.
    Changed,
    /// Edges do not have the object.
    NotPublished,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInEffect => "not in effect",
            Self::Changed => "changed",
            Self::NotPublished => "not published",
        })
    }
}

/// What an object says and edges do not do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// The object's key in the store; its last segment is its id.
    pub object: Key,
    /// What people know it by, where it has a name.
    pub name: Option<String>,
    /// The place in it (RFC 6901); empty for all of it.
    pub pointer: String,
    /// What kind of remark it is.
    pub effect: Effect,
    /// What it is about, and what holds meanwhile.
    pub text: String,
}

/// Remarks on all objects of a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effects {
    /// The revision.
    pub revision: Revision,
    /// The remarks by object, at most [`REMARKS_MAX`].
    pub remarks: Vec<Remark>,
    /// Further ones.
    pub more: usize,
}

/// What a state says and edges do not do. `open` opens sealed secrets.
pub(super) fn effects(state: &State, open: &dyn Fn(&Key, &Value) -> Option<String>) -> Effects {
    let mut published = told(state, open);
    let mut found = Effects { revision: state.revision, remarks: Vec::new(), more: 0 };
    for (key, stored) in &state.objects {
        let Some(object) = stored.value.as_object() else { continue };
        let name = name_of(object);
        let mut remark = |pointer, effect, text| {
            if found.remarks.len() >= REMARKS_MAX {
                found.more += 1;
                return;
            }
            let (object, name) = (key.clone(), name.clone());
            found.remarks.push(Remark { object, name, pointer, effect, text });
        };
        let told = published.remove(key).unwrap_or_default();
        if let Some(why) = told.left_out {
            remark(String::new(), Effect::NotPublished, why);
        }
        for message in shape_of(key).map(|of| of.not_in_effect(object)).unwrap_or_default() {
            let pointer = message.pointer.unwrap_or_default();
            remark(pointer, Effect::NotInEffect, message.message);
        }
        for (pointer, text) in told.changed {
            remark(pointer.to_owned(), Effect::Changed, text);
        }
    }
    found
}

/// What people call an object: monitors have a description in place of a name.
fn name_of(object: &Map<String, Value>) -> Option<String> {
    let text = |name| object.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text("name").or_else(|| text("description")).map(str::to_owned)
}

/// What an object of the API may be.
fn shape_of(key: &Key) -> Option<&'static Shape> {
    let segments: Vec<&str> = key.segments().collect();
    match segments.as_slice() {
        ["accounts", _] => Some(&account::ACCOUNT),
        ["zones", _] => Some(&account::ZONE),
        ["accounts" | "zones", _, folder, _] => {
            let all = LINKED.into_iter().chain([&HEALTHCHECK]);
            all.into_iter().find(|of| of.folder == *folder).map(|of| of.shape)
        }
        _ => None,
    }
}
