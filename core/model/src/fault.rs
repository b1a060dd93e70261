//! A fault in a configuration with its place; `Faults` collects all of them before anyone gives up.

use std::fmt;

/// Where a fault stands: file, line and column (both from 1) and the path of the key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The file as the operator named it.
    pub file: String,
    /// Line, counted from 1; 0 where the fault belongs to the file as a whole.
    pub line: u32,
    /// Column in characters, counted from 1; 0 where the fault belongs to the file as a whole.
    pub column: u32,
    /// Path of the key, for example `pool[0].origins[1].weight`.
    pub path: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            f.write_str(&self.file)
        } else {
            write!(f, "{}:{}:{}", self.file, self.line, self.column)
        }
    }
}

/// One thing that is wrong: where, what was found and what would be valid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, naming what was found.
    pub what: String,
    /// What would be valid, or what to do.
    pub valid: String,
    /// The nearest name that exists, where a name was not found.
    pub nearest: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.place.path.is_empty() {
            write!(f, "{}: ", self.place.path)?;
        }
        f.write_str(&self.what)?;
        if let Some(nearest) = &self.nearest {
            write!(f, "; did you mean `{nearest}`?")?;
        }
        if !self.valid.is_empty() {
            write!(f, "\n    valid: {}", self.valid)?;
        }
        Ok(())
    }
}

/// The list of faults of one report, in the order of their places.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
}

impl Faults {
    /// An empty report.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault.
    pub fn push(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many faults there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The faults sorted by file, line and column.
    #[must_use]
    pub fn sorted(mut self) -> Vec<Fault> {
        self.list.sort();
        self.list.dedup();
        self.list
    }
}
