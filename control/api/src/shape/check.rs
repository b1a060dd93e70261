//! Checking a body: every property against its table, then the rules that span properties.

use super::faults::{nearest, shorten};
use super::{Faults, Field, Form, Kind, Null, Shape};
use crate::envelope::Message;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// How far a number may be from a multiple of its step, in steps: more than what binary fractions
/// do to the steps in use (0.01), less than anything that was meant.
const STEP_ERROR: f64 = 1e-6;

impl Shape {
    /// Checks the whole body of a POST or PUT. What only the server sets is left out of what comes
    /// back; all else is as it was sent, and no default is filled in.
    ///
    /// # Errors
    /// Every fault with its place, at most [`super::FAULTS_MAX`] and one that counts the rest.
    pub fn check(&self, body: &Value) -> Result<Map<String, Value>, Vec<Message>> {
        let mut faults = Faults::default();
        let checked = self.check_into(body, &mut faults);
        faults.or(checked)
    }

    pub(super) fn check_into(&self, body: &Value, faults: &mut Faults) -> Map<String, Value> {
        let Some(body) = body.as_object() else {
            faults.add(format!("must be an object ({})", self.name));
            return Map::new();
        };
        for name in body.keys().filter(|name| self.field(name).is_none()) {
            faults.within(name, |faults| faults.add_with(|| self.unknown(name)));
        }
        let mut checked = Map::new();
        for field in self.fields {
            match body.get(field.name) {
                None if field.required => {
                    faults.add_at(field.name, format!("is required: {}", field.kind.what()));
                }
                None => {}
                Some(_) if field.read_only => {}
                Some(value) => {
                    if let Some(value) = faults.within(field.name, |f| field.check(value, f)) {
                        checked.insert(field.name.to_owned(), value);
                    }
                }
            }
        }
        for rule in self.rules {
            rule(body, faults);
        }
        checked
    }

    fn unknown(&self, name: &str) -> String {
        let names = self.fields.iter().filter(|field| !field.read_only).map(|field| field.name);
        match nearest(name, names) {
            Some(near) => {
                format!("is no property of a {}, the nearest one is \"{near}\"", self.name)
            }
            None => format!("is no property of a {}", self.name),
        }
    }
}

impl Field {
    /// The value to keep, if any.
    fn check(&self, value: &Value, faults: &mut Faults) -> Option<Value> {
        match (value, self.null) {
            (Value::Null, Null::Kept) => Some(Value::Null),
            (Value::Null, Null::Removes | Null::Leaves) => None,
            _ => Some(self.kind.check(value, faults)).filter(|_| !self.forgotten),
        }
    }
}

impl Kind {
    /// What is valid, for messages and documents.
    #[must_use]
    pub fn what(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max } => format!("a whole number in range [{min}, {max}]"),
            Self::Number { min, max, step } if *step == 0.0 => {
                format!("a number in range [{min}, {max}]")
            }
            Self::Number { min, max, step } => {
                format!("a number in range [{min}, {max}] in steps of {step}")
            }
            Self::Text { min, max, form } if min == max || *max == usize::MAX => {
                form.what().to_owned()
            }
            Self::Text { min, max, form } => {
                format!("{}, {min} to {max} characters long", form.what())
            }
            Self::Choice(values) => {
                let quoted: Vec<String> = values.iter().map(|v| format!("\"{v}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Self::Array { of, min, max, .. } => {
                format!("an array of {min} to {max} elements, each {}", of.what())
            }
            Self::Object(shape) => format!("an object ({})", shape.name),
            Self::Map { key, of, .. } => {
                format!(
                    "an object whose names are {} and whose values are {}",
                    key.what(),
                    of.what()
                )
            }
            Self::Either(one, other) => format!("{}, or {}", one.what(), other.what()),
        }
    }

    fn check(&self, value: &Value, faults: &mut Faults) -> Value {
        match self {
            Self::Object(shape) => return Value::Object(shape.check_into(value, faults)),
            Self::Array { of, min, max, unique } => {
                if let Value::Array(list) = value {
                    return check_array(list, of, (*min, *max), *unique, faults);
                }
            }
            Self::Map { key, of, max } => {
                if let Value::Object(map) = value {
                    return check_map(map, *key, of, *max, faults);
                }
            }
            Self::Either(one, other) => {
                let mut apart = Faults::default();
                let kept = other.check(value, &mut apart);
                return if apart.count() == 0 { kept } else { one.check(value, faults) };
            }
            plain if plain.holds(value) => return value.clone(),
            _ => {}
        }
        faults.add_with(|| format!("must be {}{}", self.what(), shown(value)));
        value.clone()
    }

    /// Whether a value that is neither a list nor an object is one of this kind.
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Bool => value.is_boolean(),
            Self::Integer { min, max } => value.as_i64().is_some_and(|n| n >= *min && n <= *max),
            Self::Number { min, max, step } => value.as_f64().is_some_and(|n| {
                let steps = if *step == 0.0 { 0.0 } else { n / step };
                n >= *min && n <= *max && (steps - steps.round()).abs() < STEP_ERROR
            }),
            Self::Text { min, max, form } => value.as_str().is_some_and(|text| {
                let length = text.chars().count();
                length >= *min && length <= *max && form.holds(text)
            }),
            Self::Choice(values) => value.as_str().is_some_and(|text| values.contains(&text)),
            Self::Array { .. } | Self::Object(_) | Self::Map { .. } | Self::Either(..) => false,
        }
    }
}

fn check_array(
    list: &[Value],
    of: &Kind,
    (min, max): (usize, usize),
    unique: bool,
    faults: &mut Faults,
) -> Value {
    if list.len() < min || list.len() > max {
        faults.add(format!("length must be in range [{min}, {max}], not {}", list.len()));
    }
    let mut seen = BTreeSet::new();
    let one = |(index, value): (usize, &Value)| {
        faults.within(index, |faults| {
            if unique && value.as_str().is_some_and(|text| !seen.insert(text.to_owned())) {
                faults.add("stands in the list before: value not unique");
            }
            of.check(value, faults)
        })
    };
    Value::Array(list.iter().take(max).enumerate().map(one).collect())
}

fn check_map(
    map: &Map<String, Value>,
    key: Form,
    of: &Kind,
    max: usize,
    faults: &mut Faults,
) -> Value {
    if map.len() > max {
        faults.add(format!("must have at most {max} entries, not {}", map.len()));
    }
    let one = |(name, value): (&String, &Value)| {
        faults.within(name, |faults| {
            if !key.holds(name) {
                faults.add(format!("is a name that must be {}", key.what()));
            }
            (name.clone(), of.check(value, faults))
        })
    };
    Value::Object(map.iter().take(max).map(one).collect())
}

/// What was sent, where it is short and cannot be a secret: texts are never repeated.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => ", not null".to_owned(),
        Value::Bool(_) | Value::Number(_) => format!(", not {}", shorten(&value.to_string())),
        Value::String(_) => String::new(),
        Value::Array(_) => ", not an array".to_owned(),
        Value::Object(_) => ", not an object".to_owned(),
    }
}
