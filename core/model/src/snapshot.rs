//! The immutable, numbered unit in which configuration reaches a plane.

use crate::Config;

/// The number of a snapshot. Generations only grow; 0 means that nothing was applied yet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A whole validated configuration with its number and the number of the one it replaces.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Number of this snapshot.
    pub generation: Generation,
    /// Number of the snapshot that was serving when this one was made.
    pub parent: Generation,
    /// What it says.
    pub config: Config,
}

impl Snapshot {
    /// The first snapshot of a process.
    #[must_use]
    pub fn first(config: Config) -> Self {
        Self { generation: Generation(1), parent: Generation(0), config }
    }

    /// The snapshot that replaces this one.
    #[must_use]
    pub fn successor(&self, config: Config) -> Self {
        Self { generation: self.generation.next(), parent: self.generation, config }
    }
}
