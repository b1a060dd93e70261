//! Objects of an account of Cloudflare's, or of another control plane, brought into this store.
//!
//! `gather` reads them, from the API or from files that hold its replies; `bring` puts them into
//! the store in one change. Ids are kept where they are free.

mod bring;
mod clean;
mod gather;
#[cfg(test)]
mod tests;

pub use bring::{BringError, bring};
pub use gather::{FILE_BYTES_MAX, GatherError, from_api, from_files};

use crate::store::{Difference, Revision};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was read of an account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    /// The account itself.
    pub account: Value,
    /// Objects by where they were: `zones`, `pools`, `zones/ID/load_balancers`.
    pub objects: BTreeMap<String, Vec<Value>>,
    /// What could not be read, and why.
    pub unread: Vec<String>,
}

/// What is to be brought.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bringing {
    /// What was read.
    pub gathered: Gathered,
    /// The account here, by name or id; that of the same id, or a new one, where none is named.
    pub into: Option<String>,
    /// Whether to tell only what would be done.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Brought {
    /// The revision that is in force.
    pub revision: Revision,
    /// Whether it was done.
    pub applied: bool,
    /// Objects that were read.
    pub read: usize,
    /// Places that change.
    pub changes: Vec<Difference>,
    /// Properties that are left out since Weir does not know them.
    pub left_out: Vec<String>,
    /// Ids that were not free: the old one, and the one here.
    pub renamed: Vec<(String, String)>,
}
