//! What is stored and what is remembered of each commit.

use super::key::Key;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Number of a state: it grows by one with each commit; 0 is an empty store.
pub type Revision = u64;

/// Bytes of one object as JSON. The API takes bodies of 1 MiB; what it adds is small.
pub const OBJECT_BYTES_MAX: usize = 1_100_000;

/// An object as the store has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Its content.
    #[serde(with = "shared")]
    pub value: Arc<Value>,
    /// The commit that made it.
    pub created: Revision,
    /// The commit that changed it last.
    pub modified: Revision,
}

/// Who changed something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// `token:ID`, `cli:root`, `import`.
    pub actor: String,
    /// Where the call came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl Who {
    /// A user of this machine, by number.
    #[must_use]
    pub fn operator(uid: u32) -> Self {
        let actor = if uid == 0 { "cli:root".to_owned() } else { format!("cli:{uid}") };
        Self { actor, address: None }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.actor)?;
        self.address.map_or(Ok(()), |address| write!(f, " from {address}"))
    }
}

/// A change that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The revision that it was made on.
    pub base: Revision,
    /// A number of its own, by which a writer finds out whether a commit without an answer was
    /// done.
    pub id: u64,
    /// Who changes.
    pub who: Who,
    /// What was asked for: `PATCH /accounts/…`.
    pub what: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What the objects become.
    pub writes: Vec<Write>,
}

impl Commit {
    /// The revision that it makes.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.base.saturating_add(1)
    }

    /// What history keeps of it.
    #[must_use]
    pub fn record(&self) -> Record {
        let changes = self.writes.iter().map(|write| Changed {
            key: write.key.clone(),
            before: write.before.as_ref().map(|stored| stored.value.clone()),
            after: write.after.clone(),
        });
        Record {
            revision: self.revision(),
            id: self.id,
            who: self.who.clone(),
            what: self.what.clone(),
            at_ms: self.at_ms,
            changes: changes.collect(),
        }
    }
}

/// What one object becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Its name.
    pub key: Key,
    /// What it was at the commit's base.
    pub before: Option<Stored>,
    /// What it becomes; none removes it.
    pub after: Option<Arc<Value>>,
}

impl Write {
    /// What is stored once `revision` is committed.
    #[must_use]
    pub fn stored(&self, revision: Revision) -> Option<Stored> {
        let created = self.before.as_ref().map_or(revision, |before| before.created);
        let value = self.after.clone()?;
        Some(Stored { value, created, modified: revision })
    }
}

/// A commit as history has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The revision that it made.
    pub revision: Revision,
    /// The commit's own number.
    pub id: u64,
    /// Who changed.
    pub who: Who,
    /// What was asked for.
    pub what: String,
    /// When, in milliseconds since 1970, by the clock of who changed.
    pub at_ms: u64,
    /// What changed, in the order of the writes.
    pub changes: Vec<Changed>,
}

/// One object of a [`Record`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The object.
    pub key: Key,
    /// What it was; none where the commit made it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "perhaps")]
    pub before: Option<Arc<Value>>,
    /// What it became; none where the commit removed it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "perhaps")]
    pub after: Option<Arc<Value>>,
}

/// A shared value as JSON has it.
mod shared {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(value: &Arc<Value>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Value>, D::Error> {
        Value::deserialize(from).map(Arc::new)
    }
}

/// A shared value that may be absent; one that is `null` is there.
mod perhaps {
    use serde::{Deserializer, Serialize, Serializer};
    use serde_json::Value;
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Arc<Value>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Arc<Value>>, D::Error> {
        super::shared::deserialize(from).map(Some)
    }
}
