//! What was typed, whatever language it was typed in: a small tree that TOML and JSON are turned
//! into, so that one checker reads files and published items.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Keys of one JSON table that are compared with each other one by one; more are put in a set.
const FEW_KEYS: usize = 16;

/// A value.
#[derive(Debug)]
pub(crate) enum Raw<'a> {
    Bool(bool),
    Whole(Whole<'a>),
    Float(Cow<'a, str>),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Table(RawTable<'a>),
    Date,
    /// JSON's `null`.
    Null,
}

/// A whole number.
#[derive(Debug)]
pub(crate) enum Whole<'a> {
    /// Its digits and their base.
    Written(Cow<'a, str>, u32),
    /// The number.
    Number(u64),
    /// It is below zero.
    Negative(i64),
}

impl Whole<'_> {
    /// The number, where it is not below zero and fits.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Written(digits, base) => u64::from_str_radix(digits, *base).ok(),
            Self::Number(number) => Some(*number),
            Self::Negative(_) => None,
        }
    }

    /// Its digits, where they are decimal.
    pub(crate) fn decimal(&self) -> Cow<'_, str> {
        match self {
            Self::Written(digits, 10) => Cow::Borrowed(digits),
            Self::Written(..) => Cow::Borrowed(""),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Negative(number) => Cow::Owned(number.to_string()),
        }
    }
}

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written(digits, base) => {
                f.write_str(match base {
                    2 => "0b",
                    8 => "0o",
                    16 => "0x",
                    _ => "",
                })?;
                f.write_str(digits)
            }
            Self::Number(number) => number.fmt(f),
            Self::Negative(number) => number.fmt(f),
        }
    }
}

/// A value and where it begins.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    /// Bytes of the file before it; 0 in an item.
    pub(crate) offset: usize,
    pub(crate) raw: Raw<'a>,
}

/// Keys with their values, none of them twice, in their order.
pub(crate) type RawTable<'a> = Vec<(RawKey<'a>, Node<'a>)>;

/// A key and where it begins.
#[derive(Debug)]
pub(crate) struct RawKey<'a> {
    pub(crate) offset: usize,
    pub(crate) word: Cow<'a, str>,
}

/// What a TOML parser has read.
pub(crate) fn of_toml(table: DeTable<'_>) -> RawTable<'_> {
    let mut keys = RawTable::with_capacity(table.len());
    for (key, value) in table {
        let offset = key.span().start;
        keys.push((RawKey { offset, word: key.into_inner() }, node(value)));
    }
    keys
}

fn node(value: Spanned<DeValue<'_>>) -> Node<'_> {
    let offset = value.span().start;
    let raw = match value.into_inner() {
        DeValue::String(text) => Raw::Text(text),
        DeValue::Integer(digits) => {
            Raw::Whole(Whole::Written(Cow::Owned(digits.as_str().to_owned()), digits.radix()))
        }
        DeValue::Float(digits) => Raw::Float(Cow::Owned(digits.as_str().to_owned())),
        DeValue::Boolean(on) => Raw::Bool(on),
        DeValue::Datetime(_) => Raw::Date,
        DeValue::Array(entries) => Raw::Array(entries.into_iter().map(node).collect()),
        DeValue::Table(table) => Raw::Table(of_toml(table)),
    };
    Node { offset, raw }
}

/// What stands in an item.
///
/// # Errors
/// It is not JSON, no table, or has a key twice.
pub(crate) fn of_json(text: &str) -> Result<RawTable<'_>, String> {
    match serde_json::from_str(text) {
        Ok(Raw::Table(table)) => Ok(table),
        Ok(other) => Err(format!("found {} where a table belongs", describe(&other))),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

/// A value in words, for faults.
pub(crate) fn describe(found: &Raw<'_>) -> String {
    let number = |digits: &str| format!("the number {}", super::text::quote(digits));
    match found {
        Raw::Text(text) => format!("the text {}", super::text::quote(text)),
        Raw::Whole(whole) => number(&whole.to_string()),
        Raw::Float(digits) => number(digits),
        Raw::Bool(on) => format!("`{on}`"),
        Raw::Date => "a date".to_owned(),
        Raw::Null => "`null`".to_owned(),
        Raw::Array(_) => "a list".to_owned(),
        Raw::Table(_) => "a table".to_owned(),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawKey<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Raw::Text(word) = deserializer.deserialize_str(Json)? else {
            return Err(de::Error::custom("a key that is no text"));
        };
        Ok(Self { offset: 0, word })
    }
}

/// Takes JSON as it comes. The depth is bounded by the parser.
struct Json;

impl<'de> Visitor<'de> for Json {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
        Ok(Raw::Bool(on))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Raw::Whole(Whole::Number(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Raw::Whole(u64::try_from(number).map_or(Whole::Negative(number), Whole::Number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Raw::Float(Cow::Owned(number.to_string())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Raw::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Raw::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(raw) = seq.next_element()? {
            entries.push(Node { offset: 0, raw });
        }
        Ok(Raw::Array(entries))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut table: RawTable<'de> = Vec::new();
        while let Some((key, raw)) = map.next_entry::<RawKey<'de>, Raw<'de>>()? {
            table.push((key, Node { offset: 0, raw }));
        }
        if let Some(word) = twice(&table) {
            let word = super::text::quote(word);
            return Err(de::Error::custom(format!("the key {word} stands there twice")));
        }
        Ok(Raw::Table(table))
    }
}

fn twice<'t>(table: &'t RawTable<'_>) -> Option<&'t str> {
    let words = || table.iter().map(|(key, _)| &*key.word);
    if table.len() <= FEW_KEYS {
        let before = |at: usize, word: &str| words().take(at).any(|other| other == word);
        return words().enumerate().find(|(at, word)| before(*at, word)).map(|(_, word)| word);
    }
    let mut seen = BTreeSet::new();
    words().find(|word| !seen.insert(*word))
}
