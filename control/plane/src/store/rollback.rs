//! Back to an earlier revision, as a new commit: history goes on, nothing of it is lost.

use super::error::{ChangeError, StoreError};
use super::keeper::{CHANGE_TRIES_MAX, Keeper};
use super::key::Key;
use super::record::{Revision, Who};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Folders of what neither comes back nor goes by a rollback, an export or an import: tokens of the
/// API, so that one that was revoked stays revoked, edges and their join tokens likewise; what
/// the store itself is known by, such as the authority of its edges; and what edges try or have
/// approved, which belongs to one moment.
pub const CREDENTIALS: [&str; 4] = ["tokens", "edges", "meta", "publish"];

/// Whether an object is in one of these folders; that of tokens may lie deeper.
#[must_use]
pub fn is_credential(key: &Key) -> bool {
    let mut segments = key.segments();
    let first = segments.next().is_some_and(|first| CREDENTIALS.contains(&first));
    first || segments.any(|segment| segment == "tokens")
}

/// The store moved between the reading of the history and the change.
#[derive(Debug, thiserror::Error)]
#[error("others commit all the time; try again")]
pub struct Moved;

impl Keeper {
    /// Makes every object what it was at revision `to`, but for credentials. How many objects
    /// changed, and the revision that this made.
    ///
    /// # Errors
    /// When `to` lies ahead or is compacted away, when that state would be invalid by today's
    /// rules, or what the store says.
    pub async fn rollback(
        &self,
        to: Revision,
        who: &Who,
        at_ms: u64,
    ) -> Result<(usize, Revision), ChangeError<Moved>> {
        let what = format!("rollback to {to}");
        for _ in 0..CHANGE_TRIES_MAX {
            let head = self.state().revision;
            let old = self.values_at(to, head).await?;
            let done = self
                .change(who, &what, at_ms, |draft| {
                    if draft.revision != head {
                        return Err(Moved);
                    }
                    for (key, value) in &old {
                        match value {
                            Some(value) => draft.put(key.clone(), value.as_ref().clone()),
                            None => drop(draft.remove(key)),
                        }
                    }
                    Ok(draft.writes().len())
                })
                .await;
            if !matches!(done, Err(ChangeError::Edit(Moved))) {
                return done;
            }
        }
        Err(ChangeError::Edit(Moved))
    }

    /// What the objects were at `to` that changed from there to `head`.
    pub(crate) async fn values_at(
        &self,
        to: Revision,
        head: Revision,
    ) -> Result<BTreeMap<Key, Option<Arc<Value>>>, StoreError> {
        if to > head {
            return Err(StoreError::Ahead { wanted: to, head });
        }
        let mut old = BTreeMap::new();
        let mut next = to + 1;
        while next <= head {
            let records = self.history(next..=head).await?;
            let first = records.first().map_or(head, |record| record.revision);
            if first != next || records.is_empty() {
                return Err(StoreError::Compacted { wanted: to, first });
            }
            next += records.len() as Revision;
            for change in records.into_iter().flat_map(|record| record.changes) {
                if !is_credential(&change.key) {
                    old.entry(change.key).or_insert(change.before);
                }
            }
        }
        Ok(old)
    }
}
