//! The store: every object of the control plane, one revision per change, and the history of all.
//!
//! A change is compared with the newest revision and committed as a whole. [`Keeper`] is what
//! others use; below it are two [`Backend`]s with one contract. Values are JSON, whose meaning is
//! the API's; what must not lie on a disk in the clear is sealed by the [`Vault`] before it comes
//! here.

mod backend;
mod backup;
mod diff;
mod embedded;
mod error;
mod etcd;
pub mod files;
mod keeper;
mod key;
mod metrics;
mod recent;
mod record;
mod rollback;
mod state;
mod vault;

pub use backend::{Backend, Dump, HISTORY_BYTES_MAX, HISTORY_PAGE_MAX};
pub use backup::Backup;
pub use diff::{Difference, differences, together};
pub use embedded::Embedded;
pub use error::{ChangeError, Fault, KeyError, StoreError};
pub use etcd::{Etcd, EtcdOptions};
pub use keeper::{CHANGE_TRIES_MAX, Keeper, StateGuard, Validate};
pub use key::{KEY_BYTES_MAX, Key};
pub use metrics::StoreMetrics;
pub use recent::{RECENT_MAX, Since};
pub use record::{Changed, Commit, OBJECT_BYTES_MAX, Record, Revision, Stored, Who, Write};
pub use rollback::{CREDENTIALS, Moved, is_credential};
pub use state::{Draft, State};
pub use vault::{Vault, is_sealed, redacted};

#[cfg(test)]
mod tests;
