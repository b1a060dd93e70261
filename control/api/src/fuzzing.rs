//! What must hold for every body and every stream. The fuzz targets call it, and the tests that
//! replay their corpora.

use crate::publish::{EdgeMessage, FRAME_BYTES_MAX, FrameError, Frames, PlaneMessage, frame};
use crate::{SHAPES, Shape};
use serde::Serialize;
use serde::de::DeserializeOwned;
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

/// Tries one input as a stream: the first octet says in what pieces the rest comes.
///
/// # Panics
/// When an invariant does not hold.
pub fn publish_frames(input: &[u8]) {
    let Some((pieces, octets)) = input.split_first() else { return };
    let pieces = usize::from(*pieces);
    try_stream::<EdgeMessage>(octets, pieces);
    try_stream::<PlaneMessage>(octets, pieces);
}

/// What comes of a stream: its messages as they are written, and why it cannot be read on.
type Heard = (Vec<Vec<u8>>, Option<String>);

fn try_stream<M: Serialize + DeserializeOwned>(octets: &[u8], pieces: usize) {
    let whole = hear::<M>(octets, octets.len().max(1));
    // Short pieces and ones of a few hundred octets.
    let piece = 1 + pieces % 16 + (pieces / 16) * 32;
    assert_eq!(hear::<M>(octets, piece), whole, "pieces of {piece} octets say something else");
    for message in &whole.0 {
        let again = hear::<M>(message, message.len());
        let same = again.1.is_none() && again.0.as_slice() == std::slice::from_ref(message);
        assert!(same, "what was written is read otherwise: {again:?}");
    }
}

/// Reads a stream that comes in pieces of so many octets.
fn hear<M: Serialize + DeserializeOwned>(octets: &[u8], piece: usize) -> Heard {
    let mut frames = Frames::<M>::default();
    let (mut messages, mut taken) = (Vec::new(), 0);
    for piece in octets.chunks(piece) {
        taken += piece.len();
        frames.push(piece);
        loop {
            match frames.take() {
                Ok(Some(message)) => match frame(&message) {
                    Ok(written) => messages.push(written),
                    // What is written out in full may be longer than what came.
                    Err(FrameError::Long(_)) => {}
                    Err(error) => return (messages, Some(format!("not written: {error}"))),
                },
                Ok(None) => break,
                Err(error) => return (messages, Some(error.to_string())),
            }
        }
        let held = frames.held();
        assert!(held <= taken && held < 4 + FRAME_BYTES_MAX, "{held} octets are held");
        assert_eq!(frames.is_empty(), held == 0, "{held} octets are held");
    }
    (messages, None)
}
