//! The two lists of docs/api, made of the tables that they speak of.

use crate::operations::{OPERATIONS, Operation};
use crate::shape::{Effect, Kind, Shape};
use std::fmt::Write as _;

/// A row of the list of properties.
struct Row {
    name: String,
    values: String,
    meanwhile: &'static str,
}

/// The document that lists every property that is stored and not in effect.
#[must_use]
pub fn not_in_effect_list() -> String {
    let mut stored = Vec::new();
    let mut ignored = Vec::new();
    for shape in crate::SHAPES {
        match shape.stored {
            Some(meanwhile) => {
                stored.push(Row {
                    name: shape.name.to_owned(),
                    values: "all".to_owned(),
                    meanwhile,
                });
            }
            None => rows(shape, shape.name, &mut stored, &mut ignored),
        }
    }
    let mut text = String::from(
        "# Properties that are not in effect\n\n\
         Made of the tables in `control/api`; a test holds this file to them, and the first list\n\
         may only shrink.\n\n\
         Each is checked, stored and returned as it was sent. A reply to a call that sets one\n\
         says so in `messages`, with code 19000 and a pointer. `weir check --control FILE`\n\
         lists what all stored objects set.\n",
    );
    table(&mut text, &["property", "values", "meanwhile"], &stored);
    text.push_str("\n## Without effect by definition\n\nChecked, and not told of.\n");
    table(&mut text, &["property", "values", "why"], &ignored);
    text
}

fn rows(shape: &Shape, place: &str, stored: &mut Vec<Row>, ignored: &mut Vec<Row>) {
    for field in shape.fields {
        let name = format!("{place}.{}", field.name);
        let all = "all but the default".to_owned();
        match field.effect {
            Effect::Stored(meanwhile) => stored.push(Row { name, values: all, meanwhile }),
            Effect::Only(values, meanwhile) => {
                let others = others(&field.kind, values);
                stored.push(Row { name, values: others, meanwhile });
            }
            Effect::Ignored(meanwhile) => {
                ignored.push(Row { name, values: "all".to_owned(), meanwhile });
            }
            Effect::Applied => inside(&field.kind, &name, stored, ignored),
        }
    }
}

fn inside(kind: &Kind, place: &str, stored: &mut Vec<Row>, ignored: &mut Vec<Row>) {
    match kind {
        Kind::Object(shape) => rows(shape, place, stored, ignored),
        Kind::Array { of, .. } => inside(of, &format!("{place}[]"), stored, ignored),
        _ => {}
    }
}

/// The values of a choice that are not in effect.
fn others(kind: &Kind, applied: &[&str]) -> String {
    let Kind::Choice(values) = kind else { return "others".to_owned() };
    let left = values.iter().filter(|value| !applied.contains(value));
    left.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

fn table(text: &mut String, head: &[&str], rows: &[Row]) {
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(text, "\n| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let _ = writeln!(text, "| `{}` | {} | {} |", row.name, row.values, row.meanwhile);
    }
}

/// The document that lists every operation as built or not built.
#[must_use]
pub fn operations_list() -> String {
    let built = OPERATIONS.iter().filter(|operation| operation.resource.is_some());
    let mut text = format!(
        "# Operations of the control API\n\n\
         Made of the table in `control/api`; a test holds this file to it. {} of {} operations\n\
         are built. The others are answered with 404 and code 7003.\n",
        built.count(),
        OPERATIONS.len(),
    );
    section(&mut text, "Built", |operation| operation.resource.is_some());
    section(&mut text, "Not built", |operation| operation.resource.is_none());
    text
}

fn section(text: &mut String, title: &str, belongs: fn(&Operation) -> bool) {
    let _ = writeln!(text, "\n## {title}\n\n| method | path | operation |\n|---|---|---|");
    for operation in OPERATIONS.iter().filter(|operation| belongs(operation)) {
        let (method, path) = (operation.method.as_str(), operation.path);
        let _ = writeln!(text, "| {method} | `{path}` | {} |", operation.id);
    }
}
