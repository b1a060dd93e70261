//! What can go wrong with the store, named by who is at fault.

use super::key::{KEY_BYTES_MAX, Key};
use super::record::Revision;
use std::fmt;
use thiserror::Error;

/// Why a text is no key.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// A segment is empty or holds a character that keys do not have.
    #[error("`{text}` is no key: segments of a-z, 0-9, `_` and `-`, joined by `/`")]
    Characters {
        /// What was given.
        text: String,
    },
    /// It is too long.
    #[error("a key of {bytes} bytes; at most {KEY_BYTES_MAX}")]
    Long {
        /// Its bytes.
        bytes: usize,
    },
}

/// Why the store did not do what was asked of it.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Somebody else committed first; nothing was written.
    #[error("the store is at revision {head}, the change was made on {base}")]
    Conflict {
        /// What the change was made on.
        base: Revision,
        /// What the store has.
        head: Revision,
    },
    /// The store cannot be reached or has no leader. Whether the last write was done is unknown
    /// until the store answers again.
    #[error("{place}: {attempt}: {why}; try again, the change may or may not have been made")]
    Unavailable {
        /// The file or the endpoints.
        place: String,
        /// What was asked for.
        attempt: &'static str,
        /// The answer, or what the connection came to.
        why: String,
    },
    /// No room: the disk, or etcd's quota. Nothing was written.
    #[error("{place}: no room: {why}")]
    Full {
        /// The file or the endpoints.
        place: String,
        /// What said so, and what makes room.
        why: String,
    },
    /// The file is open in another process.
    #[error("{place}: another process has it open; ask the control plane that runs, or stop it")]
    Locked {
        /// The file.
        place: String,
    },
    /// What is stored is not what this program writes.
    #[error("{place}: {what}; restore a backup")]
    Corrupt {
        /// The file or the endpoints.
        place: String,
        /// What was found.
        what: String,
    },
    /// The store refuses who asks.
    #[error("{place}: refused: {why}; see user, password_file, cert and key")]
    Denied {
        /// The endpoints.
        place: String,
        /// The answer.
        why: String,
    },
    /// The change is larger than the store takes at once. Nothing was written.
    #[error("{place}: too large: {why}; make the change in parts")]
    TooLarge {
        /// The file or the endpoints.
        place: String,
        /// Which bound was hit.
        why: String,
    },
    /// History that was asked for is compacted away.
    #[error("revision {wanted} cannot be reached: history begins at {first}")]
    Compacted {
        /// What was asked for.
        wanted: Revision,
        /// The oldest record there is.
        first: Revision,
    },
    /// A revision that does not exist yet.
    #[error("revision {wanted} does not exist: the store is at {head}")]
    Ahead {
        /// What was asked for.
        wanted: Revision,
        /// What the store has.
        head: Revision,
    },
    /// A restore into a store that holds something.
    #[error("{place}: holds revision {head}; restore into an empty store, or import files")]
    NotEmpty {
        /// The file or the endpoints.
        place: String,
        /// What the store has.
        head: Revision,
    },
    /// A file beside the store: a backup, an exported object, a key.
    #[error("{path}: {what}")]
    File {
        /// The file or folder.
        path: String,
        /// What is wrong with it, and what to do.
        what: String,
    },
}

/// One thing that makes a state invalid as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The object at fault.
    pub key: Key,
    /// The place in it, as JSON pointer (RFC 6901).
    pub pointer: Option<String>,
    /// What is wrong and what would be valid.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pointer = self.pointer.as_deref().unwrap_or_default();
        write!(
            f,
            "{}{}{pointer}: {}",
            self.key,
            if pointer.is_empty() { "" } else { "#" },
            self.what
        )
    }
}

/// Why a change was not made.
#[derive(Debug, Error)]
pub enum ChangeError<E> {
    /// The edit itself said no.
    #[error("{0}")]
    Edit(E),
    /// The state would be invalid.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Fault>),
    /// Others committed first, each time.
    #[error("others committed first {tries} times in a row")]
    Contended {
        /// How often it was tried.
        tries: u32,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
