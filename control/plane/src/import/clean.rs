//! What a shape does not know is taken out of an object that others sent, and told.

use super::super::store::Key;
use control_api::{Message, Shape};
use serde_json::{Map, Value};

/// Rounds of taking out: one tells of a hundred faults at most, and an object of Cloudflare's has
/// some dozen properties.
const ROUNDS_MAX: usize = 100;
/// What a shape says of a property that it does not know.
const UNKNOWN: &str = " is no property of a ";

/// The object as its shape takes it, without what only servers set. Properties that are unknown are
/// named in `left_out`; null stands for nothing.
///
/// # Errors
/// Faults of values.
pub(super) fn clean(
    shape: &Shape,
    key: &Key,
    object: &Value,
    left_out: &mut Vec<String>,
) -> Result<Map<String, Value>, Vec<Message>> {
    let mut object = object.clone();
    let mut rounds = 0;
    loop {
        let faults = match shape.check(&object) {
            Ok(checked) => return Ok(checked),
            Err(faults) => faults,
        };
        rounds += 1;
        let mut taken = false;
        // Elements of lists have the places that they had when they were told.
        for fault in faults.iter().rev() {
            let Some(pointer) = fault.pointer.as_deref() else { continue };
            let unknown = fault.message.contains(UNKNOWN);
            let null = object.pointer(pointer).is_some_and(Value::is_null);
            if (unknown || null) && take(&mut object, pointer) {
                taken = true;
                if unknown {
                    left_out.push(format!("{key}#{pointer}"));
                }
            }
        }
        if !taken || rounds >= ROUNDS_MAX {
            return Err(faults);
        }
    }
}

/// Takes a property out; whether it was there.
fn take(object: &mut Value, pointer: &str) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.is_some_and(|parent| parent.remove(&name).is_some())
}
