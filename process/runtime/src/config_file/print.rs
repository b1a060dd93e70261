//! `weir print-defaults`: every key with its default, range and reason, as a commented file.
//!
//! A line `#key` or `#[table]` can be taken as it is: with all of them the file loads. `#?` stands
//! before what is off without being written, `#!` before what excludes another key.

use super::check::valid_of;
use super::schema::{Default, Key, Kind, ROOT, Section};
use super::text::{show_size, show_time};
use std::fmt::Write as _;

/// Columns of the printed file.
const WIDTH: usize = 100;

const HEAD: &str = "\
Every key of Weir's configuration, with its default and the reason for it.
`#key` and `#[table]` lines are defaults and needed keys: without their `#` they load as they are.
`#?` stands before what is off unless it is written, with an example.
`#!` stands before what takes the place of another key.
Text values may hold ${VARIABLE} and ${VARIABLE:-default}; $${ stands for the characters.
Paths are relative to the file that names them.";

/// Every key of the file with default, unit and reason, as TOML with comments.
#[must_use]
pub fn print_defaults() -> String {
    let mut out = String::new();
    for line in HEAD.lines() {
        prose(&mut out, line);
    }
    out.push('\n');
    section(&mut out, &ROOT, "", "");
    out
}

fn section(out: &mut String, section: &Section, path: &str, mark: &str) {
    let inner =
        |key: &&Key| matches!(key.kind, Kind::Table(_) | Kind::Switch(_) | Kind::Tables { .. });
    for key in section.keys.iter().filter(|key| !inner(key)) {
        simple(out, key, mark);
    }
    for key in section.keys.iter().filter(inner) {
        let name =
            if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let (of, header, own) = match key.kind {
            Kind::Table(of) => (of, format!("[{name}]"), ""),
            Kind::Switch(of) => (of, format!("[{name}]"), "? "),
            Kind::Tables { of, min, .. } => {
                let off = matches!(key.default, Default::Absent(_));
                let optional = min == 0 && (off || !path.is_empty());
                (of, format!("[[{name}]]"), if optional { "? " } else { "" })
            }
            _ => continue,
        };
        let own = if matches!(key.default, Default::Instead(_)) { "! " } else { own };
        let own = if mark == "! " || own.is_empty() { mark } else { own };
        out.push('\n');
        prose(out, of.doc);
        if let Default::Absent(absent) = key.default {
            prose(out, &format!("Without it: {absent}."));
        }
        if let Default::Instead(other) = key.default {
            prose(out, &format!("In place of {other}."));
        }
        let _ = writeln!(out, "#{own}{header}");
        self::section(out, of, &name, own);
    }
}

fn simple(out: &mut String, key: &Key, mark: &str) {
    prose(out, key.doc);
    if !matches!(key.kind, Kind::Bool | Kind::Fixed { .. }) {
        prose(out, &format!("Valid: {}.", valid_of(&key.kind)));
    }
    let value = match key.default {
        Default::Required => {
            prose(out, "Needed.");
            key.example.to_owned()
        }
        Default::Needed(unless) => {
            prose(out, &format!("Needed, unless {unless} is given."));
            key.example.to_owned()
        }
        Default::Absent(absent) => {
            prose(out, &format!("Without it: {absent}."));
            let own = if mark == "! " { mark } else { "? " };
            let _ = writeln!(out, "#{own}{} = {}", key.name, key.example);
            return;
        }
        Default::Instead(other) => {
            prose(out, &format!("In place of {other}."));
            let _ = writeln!(out, "#! {} = {}", key.name, key.example);
            return;
        }
        _ => {
            prose(out, &format!("Why this default: {}", key.why.trim()));
            if !key.example.is_empty() {
                prose(out, &format!("Example: {} = {}", key.name, key.example));
            }
            show(key)
        }
    };
    let _ = writeln!(out, "#{mark}{} = {value}", key.name);
}

/// The default as TOML.
pub(crate) fn show(key: &Key) -> String {
    match (key.default, key.kind) {
        (Default::Bool(on), _) => on.to_string(),
        (Default::Int(bytes), Kind::Size { .. }) => {
            let shown = show_size(bytes);
            if shown == bytes.to_string() { shown } else { format!("\"{shown}\"") }
        }
        (Default::Int(count), Kind::Share { steps }) => {
            #[expect(clippy::cast_precision_loss, reason = "at most a hundred steps")]
            let share = count as f64 / f64::from(steps);
            format!("{share}")
        }
        (Default::Int(number), _) => number.to_string(),
        (Default::Time(time), _) => format!("\"{}\"", show_time(time)),
        (Default::Text(text), _) => format!("\"{text}\""),
        (Default::Words(words), _) => format!("{words:?}"),
        (_, Kind::List { .. }) => "[]".to_owned(),
        _ => "{}".to_owned(),
    }
}

fn prose(out: &mut String, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.len() + word.len() + 3 > WIDTH {
            let _ = writeln!(out, "# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "# {line}");
}
