//! Checked tables: values of the right kind, with their places, and defaults for those that are not
//! there.

use super::report::At;
use super::schema::{Default, Kind, Section};
use std::time::Duration;

/// A value of the right kind.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bool(bool),
    Int(u64),
    Time(Duration),
    Text(String),
    Port(Option<u16>),
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
    Table(Table),
    Tables(Vec<Table>),
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) at: At,
    pub(crate) value: Value,
}

impl Item {
    /// The text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }
}

/// Values by key. A table has a few keys, which are found sooner one after the other than in a
/// tree.
#[derive(Clone, Debug, Default)]
struct Values(Vec<(&'static str, Item)>);

impl Values {
    fn get(&self, key: &str) -> Option<&Item> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, item)| item)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Item> {
        self.0.iter_mut().find(|(name, _)| *name == key).map(|(_, item)| item)
    }

    fn insert(&mut self, key: &'static str, item: Item) {
        match self.get_mut(key) {
            Some(there) => *there = item,
            None => self.0.push((key, item)),
        }
    }
}

/// A checked table. Reading a key that is not given gives its default.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) at: At,
    /// Empty where nobody is told of faults.
    pub(crate) path: String,
    told: bool,
    section: &'static Section,
    items: Values,
    given: Vec<(&'static str, At)>,
}

impl Table {
    /// A table without keys. Its path is not written down where nobody is `told` of faults.
    pub(super) fn empty(section: &'static Section, at: At, path: String, told: bool) -> Self {
        let (items, given) = (Values::default(), Vec::new());
        let mut table = Self { at, path, told, section, items, given };
        for key in section.keys {
            if let Kind::Table(inner) = key.kind {
                let path = table.path_of(key.name);
                let value = Value::Table(Self::empty(inner, at, path, told));
                table.items.0.push((key.name, Item { at, value }));
            }
        }
        table
    }

    /// Makes room for as many keys.
    pub(super) fn reserve(&mut self, keys: usize) {
        self.given.reserve_exact(keys);
        self.items.0.reserve_exact(keys);
    }

    /// Notes that the file has this key.
    pub(super) fn give(&mut self, key: &'static str, at: At) {
        self.given.push((key, at));
    }

    /// Takes the value of a key.
    pub(super) fn set(&mut self, key: &'static str, item: Item) {
        self.items.insert(key, item);
    }

    /// A table that holds only this, so that it can stand beside those of files.
    pub(crate) fn around(section: &'static Section, key: &'static str, tables: Vec<Self>) -> Self {
        let at = tables.first().map_or(At::default(), |table| table.at);
        let mut around = Self::empty(section, at, String::new(), true);
        around.given.push((key, at));
        around.items.insert(key, Item { at, value: Value::Tables(tables) });
        around
    }

    /// A table that is there.
    pub(crate) fn table_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self.items.get_mut(key).map(|item| &mut item.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// Takes the keys of another table of the same section over; gives those that both have.
    pub(crate) fn adopt(&mut self, other: Self) -> Vec<&'static str> {
        let both = other.given.iter().map(|(key, _)| *key).filter(|key| self.given(key)).collect();
        for (key, at) in &other.given {
            self.given.push((key, *at));
        }
        let given = |key: &str| other.given.iter().any(|(name, _)| *name == key);
        for (key, item) in other.items.0.into_iter().filter(|(key, _)| given(key)) {
            self.items.insert(key, item);
        }
        both
    }

    /// Takes over from a table with keys of the same names what this one has not, in tables within
    /// as well. What a table within switches on stays off where it is not here.
    pub(crate) fn fill(&mut self, from: &Self) {
        for (key, at) in &from.given {
            let (Some(there), kind) = (from.items.get(key), self.section.key(key)) else {
                continue;
            };
            let switch = kind.is_none_or(|key| matches!(key.kind, Kind::Switch(_)));
            let given = self.given(key);
            match (self.items.get_mut(key).map(|item| &mut item.value), &there.value) {
                (Some(Value::Table(here)), Value::Table(there)) => here.fill(there),
                (None, _) if !switch && !given => {
                    self.items.insert(key, there.clone());
                    self.given.push((key, *at));
                }
                _ => {}
            }
        }
    }

    /// The path of a key of this table.
    pub(crate) fn path_of(&self, key: &str) -> String {
        match (self.told, self.path.is_empty()) {
            (false, _) => String::new(),
            (true, true) => key.to_owned(),
            (true, false) => format!("{}.{key}", self.path),
        }
    }

    /// The place of a key, or of the table where it is not given.
    pub(crate) fn at_of(&self, key: &str) -> At {
        match self.items.get(key) {
            Some(item) if self.given(key) => item.at,
            _ => self.given.iter().find(|(name, _)| *name == key).map_or(self.at, |(_, at)| *at),
        }
    }

    /// Whether the file has this key, right or wrong.
    pub(crate) fn given(&self, key: &str) -> bool {
        self.given.iter().any(|(name, _)| *name == key)
    }

    /// Whether the file has this key with a value that was refused.
    pub(crate) fn refused(&self, key: &str) -> bool {
        self.given(key) && self.items.get(key).is_none()
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.items.get(key).map(|item| &item.value)
    }

    fn default_of(&self, key: &str) -> Default {
        let key = self.section.key(key);
        debug_assert!(key.is_some(), "every key that is read stands in the schema");
        key.map_or(Default::Empty, |key| key.default)
    }

    /// A switch.
    pub(crate) fn bool(&self, key: &str) -> bool {
        match (self.value(key), self.default_of(key)) {
            (Some(Value::Bool(on)), _) => *on,
            (_, Default::Bool(on)) => on,
            _ => false,
        }
    }

    /// A number, a size, or the steps of a share.
    pub(crate) fn int(&self, key: &str) -> u64 {
        match (self.value(key), self.default_of(key)) {
            (Some(Value::Int(number)), _) => *number,
            (_, Default::Int(number)) => number,
            _ => 0,
        }
    }

    /// A number of a range that fits.
    pub(crate) fn int32(&self, key: &str) -> u32 {
        u32::try_from(self.int(key)).unwrap_or(u32::MAX)
    }

    /// A number of a range that fits.
    pub(crate) fn size(&self, key: &str) -> usize {
        usize::try_from(self.int(key)).unwrap_or(usize::MAX)
    }

    /// A time.
    pub(crate) fn time(&self, key: &str) -> Duration {
        match (self.value(key), self.default_of(key)) {
            (Some(Value::Time(time)), _) => *time,
            (_, Default::Time(time)) => time,
            _ => Duration::ZERO,
        }
    }

    /// A text or word.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match (self.value(key), self.default_of(key)) {
            (Some(Value::Text(text)), _) => Some(text),
            (_, Default::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// `true`, `false` or a port.
    pub(crate) fn port(&self, key: &str) -> Option<u16> {
        if let Some(Value::Port(port)) = self.value(key) { *port } else { None }
    }

    /// A list of values.
    pub(crate) fn list(&self, key: &str) -> &[Item] {
        if let Some(Value::List(items)) = self.value(key) { items } else { &[] }
    }

    /// The words of a list.
    pub(crate) fn words(&self, key: &str) -> Vec<&str> {
        match (self.value(key), self.default_of(key)) {
            (Some(Value::List(items)), _) => items.iter().filter_map(Item::text).collect(),
            (_, Default::Words(words)) => words.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Free keys with their values.
    pub(crate) fn map(&self, key: &str) -> &[(String, Item)] {
        if let Some(Value::Map(items)) = self.value(key) { items } else { &[] }
    }

    /// The numbers of a list, with their places.
    pub(crate) fn numbers(&self, key: &str) -> impl Iterator<Item = (usize, At, u64)> {
        let numbers = self.list(key).iter().enumerate();
        numbers.filter_map(|(index, item)| match item.value {
            Value::Int(number) => Some((index, item.at, number)),
            _ => None,
        })
    }

    /// A table.
    pub(crate) fn table(&self, key: &str) -> Option<&Self> {
        if let Some(Value::Table(table)) = self.value(key) { Some(table) } else { None }
    }

    /// A list of tables.
    pub(crate) fn tables(&self, key: &str) -> &[Self] {
        if let Some(Value::Tables(tables)) = self.value(key) { tables } else { &[] }
    }
}
