//! What must hold for every body. The fuzz target calls it, and the test that replays its corpus.

use crate::{SHAPES, Shape};
use serde_json::{Map, Value};

/// Tries one input: the first octet chooses a shape, what follows is a body and, after a zero
/// octet, a change of it.
///
/// # Panics
/// When an invariant does not hold.
pub fn api_body(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let Some(shape) = SHAPES.get(usize::from(*choice) % SHAPES.len()) else { return };
    let mut parts = rest.splitn(2, |octet| *octet == 0);
    let mut next = || parts.next().and_then(|part| serde_json::from_slice::<Value>(part).ok());
    let Some(body) = next() else { return };
    let Some(object) = try_body(shape, &body) else { return };
    if let Some(patch) = next() {
        try_change(shape, &object, &patch);
    }
}

/// Checks a body, and what must hold of the outcome.
fn try_body(shape: &Shape, body: &Value) -> Option<Map<String, Value>> {
    match shape.check(body) {
        Ok(object) => {
            let again = shape.check(&Value::Object(object.clone()));
            assert_eq!(again.as_ref(), Ok(&object), "what was checked is refused or changed");
            let unchanged = shape.merge(&object, &Value::Object(Map::new()));
            assert_eq!(unchanged.as_ref(), Ok(&object), "an empty change changes");
            let shown = shape.shown(&object);
            assert_eq!(shape.shown(&shown), shown, "what is shown changes when it is shown");
            let sent = shape.check(&Value::Object(shown));
            assert!(sent.is_ok(), "what is returned is refused when it is sent back: {sent:?}");
            for remark in shape.not_in_effect(&object) {
                let pointer = remark.pointer.unwrap_or_default();
                assert!(body.pointer(&pointer).is_some(), "a remark on nothing: {pointer}");
            }
            Some(object)
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "a body is refused for no reason");
            for fault in faults {
                assert!(leads_somewhere(body, fault.pointer.as_deref()), "{fault:?}");
            }
            None
        }
    }
}

fn try_change(shape: &Shape, object: &Map<String, Value>, patch: &Value) {
    for outcome in [shape.merge(object, patch), shape.replace(object, patch)] {
        match outcome {
            Ok(changed) => {
                let again = shape.check(&Value::Object(changed));
                assert!(again.is_ok(), "what was made of a change is refused: {again:?}");
            }
            Err(faults) => {
                for fault in faults {
                    assert!(leads_somewhere(patch, fault.pointer.as_deref()), "{fault:?}");
                }
            }
        }
    }
}

/// Whether a pointer leads to a value, or to a property that an object lacks.
fn leads_somewhere(body: &Value, pointer: Option<&str>) -> bool {
    let Some(pointer) = pointer else { return true };
    let above = pointer.rsplit_once('/').map_or("", |(above, _)| above);
    body.pointer(pointer).is_some() || body.pointer(above).is_some_and(Value::is_object)
}
