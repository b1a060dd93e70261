//! Shapes: what the JSON of each object may be, as tables, and the three things done with them:
//! checking a whole body, merging a change, and telling what is stored but not in effect.
//!
//! One table per object stands in the file of the object, with the rules that span properties as
//! functions beside it. What an object refers to and whether that is there is not asked here.

mod check;
mod effect;
mod faults;
mod form;
mod merge;

pub use faults::{FAULTS_MAX, Faults};
pub use form::Form;

use serde_json::{Map, Value};

/// What the JSON of an object may be.
#[derive(Debug)]
pub struct Shape {
    /// Word for documents and messages.
    pub name: &'static str,
    /// Properties, each once.
    pub fields: &'static [Field],
    /// What spans properties.
    pub rules: &'static [Rule],
    /// Set where objects of this shape are stored and nothing acts on them: what happens meanwhile.
    pub stored: Option<&'static str>,
    /// What PUT does.
    pub put: Put,
}

/// What spans properties. It gets the object as it was sent, so that a property may be of a wrong
/// kind, which is reported already.
pub type Rule = fn(&Map<String, Value>, &mut Faults);

/// What PUT does to properties that are not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// They are reset. Secrets stay, as nobody can send back what is never returned.
    Replaces,
    /// They stay: where Cloudflare's PUT requires nothing.
    Merges,
}

/// One property.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Whether an object needs it.
    pub required: bool,
    /// Whether only the server sets it. Clients that send back what they read are not refused: what
    /// they send is left out.
    pub read_only: bool,
    /// Whether it cannot change once the object is made.
    pub fixed: bool,
    /// Whether it is never returned, nor written to a log.
    pub secret: bool,
    /// Whether it is checked and then forgotten.
    pub forgotten: bool,
    /// What null means.
    pub null: Null,
    /// What holds where it is not sent.
    pub default: Option<Default>,
    /// Whether the default is returned where nothing was sent.
    pub shown: bool,
    /// What it does.
    pub effect: Effect,
}

/// What null means for a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// It is a fault.
    Refused,
    /// It is a value that says "unset", and comes back as it was sent.
    Kept,
    /// It removes the property: Cloudflare takes null, but its schema returns none.
    Removes,
    /// It changes nothing, as if the property had not been sent.
    Leaves,
}

/// What holds where a property is not sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(&'static str),
    /// An empty array.
    Array,
    /// An empty object.
    Object,
}

/// What a property does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What it says.
    Applied,
    /// Nothing yet: it is checked, stored and returned, and told. What happens meanwhile.
    Stored(&'static str),
    /// What it says for these values, nothing yet for others. What happens meanwhile.
    Only(&'static [&'static str], &'static str),
    /// Nothing, by definition: why.
    Ignored(&'static str),
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A whole number, both ends included. `1.0` is none.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number, both ends included.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// What it is a multiple of; 0 for anything.
        step: f64,
    },
    /// A text; lengths in characters, both ends included.
    Text {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
        /// What it looks like.
        form: Form,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A list; lengths with both ends included.
    Array {
        /// What each element is.
        of: &'static Kind,
        /// The fewest elements.
        min: usize,
        /// The most elements.
        max: usize,
        /// Whether no text may stand twice.
        unique: bool,
    },
    /// An object with properties of a table.
    Object(&'static Shape),
    /// An object with names of the client's.
    Map {
        /// What names look like.
        key: Form,
        /// What each value is.
        of: &'static Kind,
        /// The most entries.
        max: usize,
    },
    /// The first that fits; faults are those of the first.
    Either(&'static Kind, &'static Kind),
}

/// The most ids in one list and entries in one map: pools of a load balancer, as Cloudflare's
/// limit of pool sets, 1,000.
pub const LIST_MAX: usize = 1_000;
/// The longest free text, in characters, where Cloudflare says nothing else: its own limit of
/// descriptions.
pub const TEXT_MAX: usize = 1_024;
/// The longest text that a peer gets in a request: URLs and paths, in characters. What nginx and
/// Cloudflare take in a request line is not less.
pub const URL_MAX: usize = 2_048;

/// An object's id.
pub const ID: Kind = Kind::Text { min: 32, max: 32, form: Form::Id };
/// Free text.
pub const FREE: Kind = Kind::Text { min: 0, max: TEXT_MAX, form: Form::Any };
/// A time that the server wrote.
pub const TIME: Kind = Kind::Text { min: 1, max: 40, form: Form::Any };
/// What only the server sets and nobody checks.
pub const ANY_TEXT: Kind = Kind::Text { min: 0, max: usize::MAX, form: Form::Any };

/// A list of ids in order of preference.
pub const fn ids(min: usize) -> Kind {
    Kind::Array { of: &ID, min, max: LIST_MAX, unique: false }
}

impl Shape {
    /// A table without rules, all of it in effect.
    #[must_use]
    pub const fn new(name: &'static str, fields: &'static [Field]) -> Self {
        Self { name, fields, rules: &[], stored: None, put: Put::Replaces }
    }

    /// With what spans properties.
    #[must_use]
    pub const fn rules(mut self, rules: &'static [Rule]) -> Self {
        self.rules = rules;
        self
    }

    /// Stored and returned, and nothing acts on it: what happens meanwhile.
    #[must_use]
    pub const fn stored(mut self, meanwhile: &'static str) -> Self {
        self.stored = Some(meanwhile);
        self
    }

    /// PUT leaves what is not sent.
    #[must_use]
    pub const fn put_merges(mut self) -> Self {
        self.put = Put::Merges;
        self
    }

    /// The property of this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Field {
    /// An optional property that does what it says.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            required: false,
            read_only: false,
            fixed: false,
            secret: false,
            forgotten: false,
            null: Null::Refused,
            default: None,
            shown: false,
            effect: Effect::Applied,
        }
    }

    /// What only the server sets.
    #[must_use]
    pub const fn server(name: &'static str) -> Self {
        let mut field = Self::new(name, ANY_TEXT);
        field.read_only = true;
        field
    }

    /// An object needs it.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// It cannot change once the object is made.
    #[must_use]
    pub const fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// It is never returned.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// What null means.
    #[must_use]
    pub const fn null(mut self, null: Null) -> Self {
        self.null = null;
        self
    }

    /// What holds where it is not sent.
    #[must_use]
    pub const fn default(mut self, default: Default) -> Self {
        self.default = Some(default);
        self
    }

    /// The default, which is returned where nothing was sent.
    #[must_use]
    pub const fn shown(mut self, default: Default) -> Self {
        self.default = Some(default);
        self.shown = true;
        self
    }

    /// It does nothing yet: what happens meanwhile.
    #[must_use]
    pub const fn stored(mut self, meanwhile: &'static str) -> Self {
        self.effect = Effect::Stored(meanwhile);
        self
    }

    /// It does what it says for these values: what happens meanwhile with others.
    #[must_use]
    pub const fn only(mut self, values: &'static [&'static str], meanwhile: &'static str) -> Self {
        self.effect = Effect::Only(values, meanwhile);
        self
    }

    /// It is checked and then forgotten: why.
    #[must_use]
    pub const fn forgotten(mut self, why: &'static str) -> Self {
        self.forgotten = true;
        self.ignored(why)
    }

    /// It does nothing by definition: why.
    #[must_use]
    pub const fn ignored(mut self, why: &'static str) -> Self {
        self.effect = Effect::Ignored(why);
        self
    }
}

impl Default {
    /// As JSON.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            Self::Bool(value) => Value::Bool(value),
            Self::Integer(value) => Value::from(value),
            Self::Text(value) => Value::from(value),
            Self::Array => Value::Array(Vec::new()),
            Self::Object => Value::Object(Map::new()),
        }
    }
}

/// The whole number that a property holds, or its default where it is not sent.
///
/// None where it is neither, which is reported already.
#[must_use]
pub fn whole(object: &Map<String, Value>, name: &str, default: i64) -> Option<i64> {
    given(object, name).map_or(Some(default), Value::as_i64)
}

/// What a property holds, unless it is null.
#[must_use]
pub fn given<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// The text that a property holds.
#[must_use]
pub fn text<'o>(object: &'o Map<String, Value>, name: &str) -> Option<&'o str> {
    given(object, name).and_then(Value::as_str)
}
