//! Where commits are kept: in a file of this machine, or in etcd. What both have to keep is in the
//! tests of the contract.

use super::embedded::Embedded;
use super::error::StoreError;
use super::etcd::Etcd;
use super::record::{Commit, Record, Revision};
use super::state::State;
use std::ops::RangeInclusive;

/// Records that one call of [`Backend::history`] gives. A reader goes on after the last one.
pub const HISTORY_PAGE_MAX: usize = 1_000;

/// Bytes of records after which a call of [`Backend::history`] gives no further one: some hundred
/// records of the largest objects would fill memory otherwise.
pub const HISTORY_BYTES_MAX: usize = 32 << 20;

/// Everything a store holds, as a backup has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dump {
    /// The objects.
    pub state: State,
    /// The records, oldest first; the last one made the state's revision.
    pub history: Vec<Record>,
}

/// Where commits are kept.
#[derive(Clone, Debug)]
pub enum Backend {
    /// In a file.
    Embedded(Embedded),
    /// In etcd.
    Etcd(Etcd),
}

impl Backend {
    /// Every object at the newest revision.
    ///
    /// # Errors
    /// As of [`StoreError`].
    pub async fn load(&self) -> Result<State, StoreError> {
        match self {
            Self::Embedded(store) => store.load().await,
            Self::Etcd(store) => store.load().await,
        }
    }

    /// Makes a commit durable, or nothing of it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the newest revision is not the commit's base. After
    /// [`StoreError::Unavailable`] the commit may have been made; its record tells.
    pub async fn commit(&self, commit: Commit) -> Result<Revision, StoreError> {
        match self {
            Self::Embedded(store) => store.commit(commit).await,
            Self::Etcd(store) => store.commit(commit).await,
        }
    }

    /// The first records of a range, oldest first, up to [`HISTORY_PAGE_MAX`] and
    /// [`HISTORY_BYTES_MAX`]; at least one, if there is any. Compacted ones are left out.
    ///
    /// # Errors
    /// As of [`StoreError`].
    pub async fn history(
        &self,
        range: RangeInclusive<Revision>,
    ) -> Result<Vec<Record>, StoreError> {
        match self {
            Self::Embedded(store) => store.history(range).await,
            Self::Etcd(store) => store.history(range).await,
        }
    }

    /// Waits until the newest revision is greater than `after`. Nobody but this process writes a
    /// file that it has open, so that this never ends there.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn changed(&self, after: Revision) -> Result<(), StoreError> {
        match self {
            Self::Embedded(_) => std::future::pending().await,
            Self::Etcd(store) => store.changed(after).await,
        }
    }

    /// Forgets the records before `first`.
    ///
    /// # Errors
    /// As of [`StoreError`].
    pub async fn compact(&self, first: Revision) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.compact(first).await,
            Self::Etcd(store) => store.compact(first).await,
        }
    }

    /// Fills an empty store.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where it is not empty.
    pub async fn fill(&self, dump: Dump) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.fill(dump).await,
            Self::Etcd(store) => store.fill(dump).await,
        }
    }

    /// Whether other processes write there too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Embedded(_) => false,
            Self::Etcd(_) => true,
        }
    }

    /// The file or the endpoints, for people.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Embedded(store) => store.path().display().to_string(),
            Self::Etcd(store) => store.place(),
        }
    }
}
