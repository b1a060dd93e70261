//! Telling what is stored and returned, and not in effect.

use super::{Effect, Field, Kind, Shape};
use crate::code;
use crate::envelope::Message;
use serde_json::{Map, Value};

/// The most remarks on one object: a load balancer has fewer kinds of properties.
const REMARKS_MAX: usize = 50;

impl Shape {
    /// What of an object is stored and not in effect, each property once. A value that changes
    /// nothing, as an empty list or the default, is not told of.
    #[must_use]
    pub fn not_in_effect(&self, object: &Map<String, Value>) -> Vec<Message> {
        if let Some(meanwhile) = self.stored {
            let text = format!("{} is stored and not in effect yet: {meanwhile}", self.name);
            return vec![Message::new(code::NOT_IN_EFFECT, text)];
        }
        let mut remarks = Vec::new();
        self.remark(object, String::new(), &mut remarks);
        remarks
    }

    fn remark(&self, object: &Map<String, Value>, place: String, remarks: &mut Vec<Message>) {
        for field in self.fields {
            let Some(value) = object.get(field.name) else { continue };
            let place = format!("{place}/{}", field.name);
            match field.meanwhile(value) {
                Some(meanwhile) => {
                    let text =
                        format!("{} is stored and not in effect yet: {meanwhile}", field.name);
                    let known = remarks.iter().any(|remark| remark.message == text);
                    if !known && remarks.len() < REMARKS_MAX {
                        remarks.push(Message::new(code::NOT_IN_EFFECT, text).at(place));
                    }
                }
                None => remark_inside(&field.kind, value, place, remarks),
            }
        }
    }
}

impl Field {
    /// What happens meanwhile, if this value is not in effect.
    fn meanwhile(&self, value: &Value) -> Option<&'static str> {
        let nothing = match value {
            Value::Null => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            value => self.default.is_some_and(|default| same(&default.to_value(), value)),
        };
        match self.effect {
            _ if nothing => None,
            Effect::Stored(meanwhile) => Some(meanwhile),
            Effect::Only(values, meanwhile) => {
                let applied = value.as_str().is_some_and(|text| values.contains(&text));
                (!applied).then_some(meanwhile)
            }
            Effect::Applied | Effect::Ignored(_) => None,
        }
    }
}

/// Whether two values are the same, `0` and `0.0` among them.
fn same(one: &Value, two: &Value) -> bool {
    one == two || one.as_f64().is_some_and(|one| two.as_f64() == Some(one))
}

fn remark_inside(kind: &Kind, value: &Value, place: String, remarks: &mut Vec<Message>) {
    match (kind, value) {
        (Kind::Object(shape), Value::Object(object)) => shape.remark(object, place, remarks),
        (Kind::Array { of, .. }, Value::Array(list)) => {
            for (index, value) in list.iter().enumerate() {
                remark_inside(of, value, format!("{place}/{index}"), remarks);
            }
        }
        _ => {}
    }
}
