//! Compares one file or item with the schema: gives tables whose values have the right kind and
//! range.
//!
//! Every fault is reported and the value left out, so that what follows sees defaults in its place.

use super::raw::{Node, Raw, RawKey, RawTable, Whole, describe};
use super::report::{At, Report};
use super::schema::{Default, Kind, Section, TEXT_MAX, Text};
use super::table::{Item, Table, Value};
use super::text::{self, quote};
use std::borrow::Cow;

/// Checks one file.
pub(crate) struct Checker<'a> {
    /// Takes the faults.
    pub(crate) report: &'a mut Report,
    /// The file.
    pub(crate) source: usize,
    /// Gives the value of an environment variable; none in what is published, where a text is what
    /// it is, and no file of this machine is named.
    pub(crate) env: Option<&'a Env<'a>>,
    /// Whether tables are parts of others, so that required keys may stand there.
    pub(crate) part: bool,
    /// Whether faults are told with their paths, and not only counted.
    pub(crate) told: bool,
}

/// Gives the value of an environment variable.
pub(crate) type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

impl Checker<'_> {
    /// The path of an entry of a list.
    fn path(&self, list: &str, index: usize) -> String {
        if self.told { format!("{list}[{index}]") } else { String::new() }
    }

    fn at(&self, offset: usize) -> At {
        At { source: self.source, offset }
    }

    /// Checks a table against its section.
    pub(crate) fn table(
        &mut self,
        section: &'static Section,
        table: &RawTable<'_>,
        at: At,
        path: String,
    ) -> Table {
        let mut checked = Table::empty(section, at, path, self.told);
        checked.reserve(table.len());
        for (name, value) in table {
            self.entry(section, name, value, &mut checked);
        }
        for key in section.keys.iter().filter(|_| !self.part) {
            let missing = matches!(key.default, Default::Required) && !checked.given(key.name);
            if missing && !self.report.source_broken(self.source) {
                let what = format!("`{}` is missing", key.name);
                self.report.fault(at, &checked.path, what, valid_of(&key.kind));
            }
        }
        checked
    }

    fn entry(
        &mut self,
        section: &'static Section,
        name: &RawKey<'_>,
        value: &Node<'_>,
        checked: &mut Table,
    ) {
        let at = self.at(name.offset);
        let word: &str = &name.word;
        if let Some(key) = section.key(word) {
            checked.give(key.name, at);
            if let Some(item) = self.value(&key.kind, value, &checked.path_of(key.name)) {
                let at = if matches!(item.value, Value::Table(_)) { at } else { item.at };
                checked.set(key.name, Item { at, value: item.value });
            }
            return;
        }
        let path = checked.path_of(&clean(word));
        if let Some(later) = section.later.iter().find(|later| later.name == word) {
            let what = format!("Cloudflare has `{word}`; this version of Weir does not yet");
            self.report.fault(at, &path, what, later.today);
            return;
        }
        let names = section.keys.iter().map(|key| key.name);
        let what = format!("{} is not a key of this table", quote(word));
        let all: Vec<&str> = names.clone().collect();
        self.report.unknown(at, &path, what, all.join(", "), word, names);
    }

    fn value(&mut self, kind: &Kind, found: &Node<'_>, path: &str) -> Option<Item> {
        let at = self.at(found.offset);
        let value = match (kind, &found.raw) {
            (Kind::Bool, Raw::Bool(on)) => Some(Value::Bool(*on)),
            (Kind::Fixed { only, why }, Raw::Bool(on)) => {
                if on != only {
                    self.report.fault(at, path, format!("`{on}`: {why}"), format!("{only}"));
                }
                Some(Value::Bool(*only))
            }
            (Kind::SwitchOrPort, Raw::Bool(on)) => Some(Value::Port(on.then_some(443))),
            (Kind::SwitchOrPort, Raw::Whole(whole)) => self
                .number(whole, 1, 65_535, at, path, kind)
                .map(|port| Value::Port(u16::try_from(port).ok())),
            (Kind::Int { min, max, .. } | Kind::Size { min, max }, Raw::Whole(whole)) => {
                self.number(whole, *min, *max, at, path, kind).map(Value::Int)
            }
            (Kind::OneOf(of), Raw::Whole(whole)) => {
                let number = self.number(whole, 0, u64::MAX, at, path, kind)?;
                if !of.contains(&number) {
                    self.report.fault(at, path, format!("`{number}`"), valid_of(kind));
                    return None;
                }
                Some(Value::Int(number))
            }
            (Kind::Share { steps }, Raw::Float(_) | Raw::Whole(_)) => {
                self.share(*steps, &found.raw, at, path, kind)
            }
            (
                Kind::Size { .. } | Kind::Time { .. } | Kind::Text(_) | Kind::Choice { .. },
                Raw::Text(text),
            ) => {
                let text = self.expanded(text, at, path)?;
                self.read_text(kind, text, at, path)
            }
            (Kind::List { .. } | Kind::Tables { .. }, Raw::Array(entries)) => {
                self.many(kind, entries, at, path)
            }
            (Kind::Map { key, of }, Raw::Table(table)) => Some(self.map(*key, of, table, path)),
            (Kind::Table(section) | Kind::Switch(section), Raw::Table(table)) => {
                Some(Value::Table(self.table(section, table, at, path.to_owned())))
            }
            (_, other) => {
                self.report.fault(at, path, format!("found {}", describe(other)), valid_of(kind));
                None
            }
        };
        value.map(|value| Item { at, value })
    }

    fn expanded<'t>(&mut self, text: &'t str, at: At, path: &str) -> Option<Cow<'t, str>> {
        let expanded = match self.env.map(|env| text::expand(text, env)) {
            None => Cow::Borrowed(text),
            Some(Ok(expanded)) => Cow::Owned(expanded),
            Some(Err(wrong)) => {
                for (what, valid) in wrong {
                    self.report.fault(at, path, what, valid);
                }
                return None;
            }
        };
        if expanded.len() > TEXT_MAX {
            let what = format!("found a text of {} bytes", expanded.len());
            self.report.fault(at, path, what, format!("at most {TEXT_MAX} bytes"));
            return None;
        }
        Some(expanded)
    }

    fn read_text(&mut self, kind: &Kind, found: Cow<'_, str>, at: At, path: &str) -> Option<Value> {
        match kind {
            Kind::Size { min, max } => {
                let size = text::parse_size(&found).filter(|size| (min..=max).contains(&size));
                self.or_fault(size.map(Value::Int), &found, kind, at, path)
            }
            Kind::Time { min, max } => {
                let time = text::parse_time(&found).filter(|time| (min..=max).contains(&time));
                self.or_fault(time.map(Value::Time), &found, kind, at, path)
            }
            Kind::Choice { values, later } => {
                if later.contains(&&*found) {
                    let what = later_value(&found);
                    self.report.fault(at, path, what, valid_of(kind));
                    return None;
                }
                if values.contains(&&*found) {
                    return Some(Value::Text(found.into_owned()));
                }
                let what = quote(&found);
                let names = values.iter().copied();
                self.report.unknown(at, path, what, valid_of(kind), &found, names);
                None
            }
            Kind::Text(Text::File | Text::Target | Text::Glob) if self.env.is_none() => {
                let what = "what is published names no files of an edge";
                self.report.fault(at, path, what, "files stand in the edge's own file");
                None
            }
            Kind::Text(of) => {
                if let Some(valid) = text::fault_of(*of, &found) {
                    // A header value is often a secret, and a key is one, so it is not shown.
                    let secret = matches!(of, Text::HeaderValue | Text::HashKey);
                    let what = if secret { "this value".to_owned() } else { quote(&found) };
                    self.report.fault(at, path, format!("{what} is not valid here"), valid);
                    // A wrong name still names its object, so that references to it are not
                    // reported as well.
                    return (*of == Text::Name).then(|| Value::Text(found.into_owned()));
                }
                Some(Value::Text(found.into_owned()))
            }
            _ => None,
        }
    }

    fn or_fault(
        &mut self,
        value: Option<Value>,
        found: &str,
        kind: &Kind,
        at: At,
        path: &str,
    ) -> Option<Value> {
        if value.is_none() {
            self.report.fault(at, path, format!("found {}", quote(found)), valid_of(kind));
        }
        value
    }

    fn number(
        &mut self,
        found: &Whole<'_>,
        min: u64,
        max: u64,
        at: At,
        path: &str,
        kind: &Kind,
    ) -> Option<u64> {
        let number = found.number().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            let what = format!("{} is out of range", quote(&found.to_string()));
            self.report.fault(at, path, what, valid_of(kind));
        }
        number
    }

    fn share(
        &mut self,
        steps: u32,
        found: &Raw<'_>,
        at: At,
        path: &str,
        kind: &Kind,
    ) -> Option<Value> {
        let written = match found {
            Raw::Float(digits) => Cow::Borrowed(&**digits),
            Raw::Whole(whole) => whole.decimal(),
            _ => Cow::Borrowed(""),
        };
        let scaled = written.parse::<f64>().ok().map(|share| share * f64::from(steps));
        let whole = scaled.map(f64::round).unwrap_or(f64::NAN);
        let exact = scaled.is_some_and(|scaled| (scaled - whole).abs() < 1e-6);
        let step = (0..=steps).find(|step| f64::from(*step) == whole).filter(|_| exact);
        if step.is_none() {
            let what = format!("{} is out of range or between two steps", quote(&written));
            self.report.fault(at, path, what, valid_of(kind));
        }
        step.map(|step| Value::Int(u64::from(step)))
    }

    fn many(&mut self, kind: &Kind, entries: &[Node<'_>], at: At, path: &str) -> Option<Value> {
        let (min, max) = match kind {
            Kind::Tables { min, max, .. } => (*min, *max),
            Kind::List { min, .. } => (*min, super::schema::LIST_MAX),
            _ => return None,
        };
        if entries.len() < min || entries.len() > max {
            let what = format!("found {} entries", entries.len());
            self.report.fault(at, path, what, format!("{min} to {max} entries"));
            if entries.len() > max {
                return None;
            }
        }
        if let Kind::Tables { of, .. } = kind {
            let mut tables = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                let (at, path) = (self.at(entry.offset), self.path(path, index));
                match &entry.raw {
                    Raw::Table(table) => tables.push(self.table(of, table, at, path)),
                    other => {
                        let what = format!("found {}", describe(other));
                        self.report.fault(at, &path, what, "a table");
                    }
                }
            }
            return Some(Value::Tables(tables));
        }
        let Kind::List { of, .. } = kind else { return None };
        let items = entries.iter().enumerate();
        let items =
            items.filter_map(|(index, entry)| self.value(of, entry, &self.path(path, index)));
        Some(Value::List(items.collect()))
    }

    fn map(&mut self, key: Text, of: &Kind, table: &RawTable<'_>, path: &str) -> Value {
        let mut items = Vec::new();
        for (name, value) in table {
            let word: &str = &name.word;
            let path = if self.told { format!("{path}.{}", clean(word)) } else { String::new() };
            if let Some(valid) = text::fault_of(key, word) {
                let what = format!("{} is not valid here", quote(word));
                let at = self.at(name.offset);
                self.report.fault(at, &path, what, valid);
            }
            if let Some(item) = self.value(of, value, &path) {
                items.push((word.to_owned(), Item { at: self.at(name.offset), ..item }));
            }
        }
        Value::Map(items)
    }
}

/// What is said of a word that a later version may know.
fn later_value(found: &str) -> String {
    match found {
        "h2" | "h3" | "h2c" => format!("this version of Weir does not speak `{found}` yet"),
        _ => format!("Cloudflare has `{found}`; this version of Weir does not yet"),
    }
}

/// A key as it stands in a path.
fn clean(key: &str) -> String {
    if text::is_token(key) { key.to_owned() } else { format!("\"{}\"", text::shorten(key)) }
}

/// What would be valid for a kind, in words.
pub(crate) fn valid_of(kind: &Kind) -> String {
    match kind {
        Kind::Bool => "true or false".to_owned(),
        Kind::Fixed { only, .. } => format!("{only}"),
        Kind::Int { min, max, unit } => format!("a whole number {min}..={max} ({unit})"),
        Kind::OneOf(of) => {
            let of: Vec<String> = of.iter().map(u64::to_string).collect();
            of.join(", ")
        }
        Kind::Share { steps } => {
            format!("a number from 0 to 1 in steps of {}", 1.0 / f64::from(*steps))
        }
        Kind::Time { min, max } => {
            let (min, max) = (text::show_time(*min), text::show_time(*max));
            format!("a time from \"{min}\" to \"{max}\", such as \"500ms\", \"10s\" or \"5m\"")
        }
        Kind::Size { min, max } => {
            let (min, max) = (text::show_size(*min), text::show_size(*max));
            format!("a size from {min} to {max}: bytes, or such as \"32KiB\" or \"10MiB\"")
        }
        Kind::Text(of) => text::valid_text(*of).to_owned(),
        Kind::Choice { values, .. } => {
            let values: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
            values.join(", ")
        }
        Kind::SwitchOrPort => "true, false, or a port 1..=65535".to_owned(),
        Kind::List { of, .. } => format!("a list, each entry: {}", valid_of(of)),
        Kind::Map { of, .. } => format!("a table, each value: {}", valid_of(of)),
        Kind::Table(_) | Kind::Switch(_) => "a table".to_owned(),
        Kind::Tables { .. } => "a list of tables, each under [[double brackets]]".to_owned(),
    }
}
