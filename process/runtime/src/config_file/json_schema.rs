//! The JSON Schema of the file (draft 2020-12), for editors that complete and check TOML.

use super::check::valid_of;
use super::schema::{Default, Key, Kind, ROOT, Section, Text};
use super::text::valid_text;
use serde_json::{Map, Value, json};

/// Any text with `${VARIABLE}` in it: known only when the file is read.
const VARIABLE: &str = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}";

/// The JSON Schema of the configuration file.
#[must_use]
pub fn json_schema() -> Value {
    let mut schema = section(&ROOT);
    if let Value::Object(map) = &mut schema {
        let draft = json!("https://json-schema.org/draft/2020-12/schema");
        map.insert("$schema".to_owned(), draft);
        map.insert("title".to_owned(), json!("Weir configuration"));
    }
    schema
}

fn section(section: &Section) -> Value {
    let mut properties = Map::new();
    for key in section.keys {
        let mut value = kind(&key.kind);
        if let Value::Object(map) = &mut value {
            map.insert("description".to_owned(), json!(description(key)));
            if let Some(default) = default(key) {
                map.insert("default".to_owned(), default);
            }
        }
        properties.insert(key.name.to_owned(), value);
    }
    let needed = section.keys.iter().filter(|key| matches!(key.default, Default::Required));
    let required: Vec<&str> = needed.map(|key| key.name).collect();
    json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn description(key: &Key) -> String {
    let mut text = key.doc.to_owned();
    match key.default {
        Default::Absent(absent) => text.push_str(&format!(" Without it: {absent}.")),
        Default::Needed(unless) => text.push_str(&format!(" Needed unless {unless} is given.")),
        Default::Instead(other) => text.push_str(&format!(" In place of {other}.")),
        _ => {}
    }
    if !matches!(key.kind, Kind::Table(_) | Kind::Switch(_) | Kind::Tables { .. }) {
        text.push_str(&format!(" Valid: {}.", valid_of(&key.kind)));
    }
    if !key.why.is_empty() {
        text.push_str(&format!(" Why this default: {}", key.why.trim()));
    }
    text
}

fn default(key: &Key) -> Option<Value> {
    match (key.default, key.kind) {
        (Default::Bool(on), _) => Some(json!(on)),
        (Default::Int(_), Kind::Share { .. }) => super::print::show(key).parse().ok(),
        (Default::Int(number), _) => Some(json!(number)),
        (Default::Time(time), _) => Some(json!(super::text::show_time(time))),
        (Default::Text(text), _) => Some(json!(text)),
        (Default::Words(words), _) => Some(json!(words)),
        _ => None,
    }
}

fn kind(of: &Kind) -> Value {
    match of {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Fixed { only, .. } => json!({ "const": only }),
        Kind::Int { min, max, .. } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Kind::OneOf(values) => json!({ "enum": values }),
        Kind::Share { .. } => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Kind::Time { .. } => {
            json!({ "type": "string", "pattern": format!("^[0-9]+(ms|s|m|h|d)$|{VARIABLE}") })
        }
        Kind::Size { min, max } => json!({ "anyOf": [
            { "type": "integer", "minimum": min, "maximum": max },
            { "type": "string", "pattern": format!("^[0-9]+([KMGT]iB|B)?$|{VARIABLE}") },
        ] }),
        Kind::Text(text) => {
            let free = matches!(text, Text::Free | Text::HeaderValue | Text::Codes);
            let least = usize::from(!free);
            json!({ "type": "string", "minLength": least })
        }
        Kind::Choice { values, .. } => json!({ "anyOf": [
            { "enum": values },
            { "type": "string", "pattern": VARIABLE },
        ] }),
        Kind::SwitchOrPort => json!({ "anyOf": [
            { "type": "boolean" },
            { "type": "integer", "minimum": 1, "maximum": 65_535 },
        ] }),
        Kind::List { of, min } => {
            json!({ "type": "array", "items": kind(of), "minItems": min })
        }
        Kind::Map { key, of } => json!({
            "type": "object",
            "propertyNames": { "description": valid_text(*key) },
            "additionalProperties": kind(of),
        }),
        Kind::Table(of) | Kind::Switch(of) => section(of),
        Kind::Tables { of, min, max } => json!({
            "type": "array", "items": section(of), "minItems": min, "maxItems": max,
        }),
    }
}
