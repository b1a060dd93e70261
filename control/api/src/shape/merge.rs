//! Changing an object: PATCH merges, PUT replaces, and what a client is shown of the outcome.

use super::{Faults, Field, Kind, Null, Put, Shape};
use crate::envelope::Message;
use serde_json::{Map, Value};

impl Shape {
    /// Merges a PATCH onto `old`: arrays and objects are replaced whole, null does what the
    /// property's table says, and the outcome is checked as a whole. What the server set stays.
    ///
    /// # Errors
    /// Every fault. Pointers lead into `patch`; a fault of what was not sent has none.
    pub fn merge(
        &self,
        old: &Map<String, Value>,
        patch: &Value,
    ) -> Result<Map<String, Value>, Vec<Message>> {
        let Some(changes) = patch.as_object() else { return self.check(patch) };
        let mut merged = Map::new();
        for field in self.fields.iter().filter(|field| !field.read_only) {
            if let Some(value) = old.get(field.name) {
                merged.insert(field.name.to_owned(), value.clone());
            }
        }
        for (name, value) in changes {
            let field = self.field(name);
            match field.filter(|_| value.is_null()).map(|field| field.null) {
                _ if field.is_some_and(|field| field.read_only) => {}
                Some(Null::Leaves) => {}
                Some(Null::Removes) => drop(merged.remove(name)),
                _ => drop(merged.insert(name.clone(), value.clone())),
            }
        }
        let mut faults = Faults::default();
        self.check_fixed(old, changes, &mut faults);
        let mut checked = self.check_into(&Value::Object(merged), &mut faults);
        for (name, value) in old {
            let servers = self.field(name).is_none_or(|field| field.read_only);
            if servers || !changes.contains_key(name) {
                checked.insert(name.clone(), value.clone());
            }
        }
        faults.or(checked).map_err(|mut found| {
            found.iter_mut().for_each(|fault| sent_only(fault, changes));
            found
        })
    }

    /// What PUT makes of `old`: `body` whole, with what the server set and secrets that were not
    /// sent; or a merge where [`Put::Merges`].
    ///
    /// # Errors
    /// Every fault.
    pub fn replace(
        &self,
        old: &Map<String, Value>,
        body: &Value,
    ) -> Result<Map<String, Value>, Vec<Message>> {
        if self.put == Put::Merges {
            return self.merge(old, body);
        }
        let mut faults = Faults::default();
        if let Some(changes) = body.as_object() {
            self.check_fixed(old, changes, &mut faults);
        }
        let mut checked = self.check_into(body, &mut faults);
        let sent = |name: &str| body.get(name).is_some();
        for (name, value) in old {
            let field = self.field(name);
            let servers = field.is_none_or(|field| field.read_only);
            if servers || field.is_some_and(|field| field.secret && !sent(name)) {
                checked.insert(name.clone(), value.clone());
            }
        }
        faults.or(checked)
    }

    /// An object as it is returned: without secrets, and with the defaults that clients rely on.
    #[must_use]
    pub fn shown(&self, object: &Map<String, Value>) -> Map<String, Value> {
        let mut shown = object.clone();
        for field in self.fields {
            if field.secret {
                shown.remove(field.name);
            }
            if let (true, Some(default)) = (field.shown, field.default)
                && !shown.contains_key(field.name)
            {
                shown.insert(field.name.to_owned(), default.to_value());
            }
            if let Some(value) = shown.get_mut(field.name) {
                show(&field.kind, value);
            }
        }
        shown
    }

    fn check_fixed(
        &self,
        old: &Map<String, Value>,
        changes: &Map<String, Value>,
        faults: &mut Faults,
    ) {
        let differs = |field: &&Field| match (old.get(field.name), changes.get(field.name)) {
            (Some(old), Some(new)) => named(old) != named(new),
            _ => false,
        };
        for field in self.fields.iter().filter(|field| field.fixed).filter(differs) {
            faults.add_at(field.name, "cannot change: make another object");
        }
    }
}

fn show(kind: &Kind, value: &mut Value) {
    match (kind, value) {
        (Kind::Object(shape), Value::Object(object)) => *object = shape.shown(object),
        (Kind::Array { of, .. }, Value::Array(list)) => {
            list.iter_mut().for_each(|value| show(of, value));
        }
        _ => {}
    }
}

/// The id of an object that names another, which is sent in one way and returned in the other.
fn named(value: &Value) -> &Value {
    value.get("id").unwrap_or(value)
}

/// Takes the pointer off a fault of something that the client did not send.
fn sent_only(fault: &mut Message, sent: &Map<String, Value>) {
    let first = fault.pointer.as_deref().and_then(|pointer| pointer.split('/').nth(1));
    let first = first.map(|name| name.replace("~1", "/").replace("~0", "~"));
    if first.is_some_and(|name| !sent.contains_key(&name)) {
        fault.pointer = None;
    }
}
