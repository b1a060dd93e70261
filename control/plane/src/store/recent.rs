//! What the last commits changed, in memory: whoever follows the state need not look at all of it.

use super::key::Key;
use super::record::{Record, Revision};
use std::collections::{BTreeSet, VecDeque};

/// Commits that are remembered. Who follows is behind by a few.
pub const RECENT_MAX: usize = 256;
/// Objects of a commit that are remembered; after a larger one all are looked at.
const KEYS_MAX: usize = 100_000;

/// What was changed after a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// The objects, made, changed or removed.
    pub keys: BTreeSet<Key>,
    /// When the last of the commits was made, in milliseconds since 1970; 0 where there was none.
    pub at_ms: u64,
}

/// The last commits, oldest first, without gaps.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Revision, u64, Box<[Key]>)>);

impl Recent {
    /// Takes up a commit that follows the last one.
    pub(super) fn add(&mut self, record: &Record) {
        let follows = self.0.back().is_none_or(|(last, ..)| last + 1 == record.revision);
        if !follows || record.changes.len() > KEYS_MAX {
            self.forget();
        }
        if record.changes.len() > KEYS_MAX {
            return;
        }
        if self.0.len() >= RECENT_MAX {
            self.0.pop_front();
        }
        let keys = record.changes.iter().map(|change| change.key.clone()).collect();
        self.0.push_back((record.revision, record.at_ms, keys));
    }

    /// What comes next has nothing to do with what was.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// What lies between two revisions; none where that is not known.
    pub(super) fn since(&self, after: Revision, head: Revision) -> Option<Since> {
        let mut since = Since::default();
        if after == head {
            return Some(since);
        }
        let first = self.0.front().map(|(revision, ..)| *revision);
        let last = self.0.back().map(|(revision, ..)| *revision);
        let known = first.is_some_and(|first| first <= after.saturating_add(1));
        if after > head || !known || last != Some(head) {
            return None;
        }
        for (_, at_ms, keys) in self.0.iter().filter(|(revision, ..)| *revision > after) {
            since.keys.extend(keys.iter().cloned());
            since.at_ms = *at_ms;
        }
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Changed, Who};
    use super::*;

    fn record(revision: Revision, keys: &[&str]) -> Record {
        let changed = |key: &&str| Changed {
            key: Key::new(key).unwrap(),
            before: None,
            after: Some(serde_json::Value::Null.into()),
        };
        let who = Who { actor: "test".into(), address: None };
        let changes = keys.iter().map(changed).collect();
        Record { revision, id: revision, who, what: String::new(), at_ms: revision * 10, changes }
    }

    #[test]
    fn what_was_changed_is_known_back_to_the_first_commit_that_is_remembered() {
        let mut recent = Recent::default();
        (5..=7).for_each(|revision| recent.add(&record(revision, &["a", &format!("k{revision}")])));
        let since = |after, head| {
            let found: Since = recent.since(after, head)?;
            Some((
                found.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                found.at_ms,
            ))
        };
        let some = |keys: &str, at| Some((keys.to_owned(), at));
        for (after, expect) in [
            (7, some("", 0)),
            (6, some("a k7", 70)),
            (4, some("a k5 k6 k7", 70)),
            (3, None),
            (8, None),
        ] {
            assert_eq!(since(after, 7), expect, "after {after}");
        }
        // A state that commits do not lead to.
        assert_eq!(since(6, 9), None);
    }

    #[test]
    fn a_gap_and_too_many_commits_are_forgotten() {
        let mut recent = Recent::default();
        recent.add(&record(1, &["a"]));
        recent.add(&record(3, &["b"]));
        assert_eq!(recent.since(0, 3), None);
        assert!(recent.since(2, 3).is_some());
        (4..4 + RECENT_MAX as u64 + 10).for_each(|revision| recent.add(&record(revision, &["c"])));
        let head = 3 + RECENT_MAX as u64 + 10;
        assert_eq!(recent.since(3, head), None);
        assert!(recent.since(head - RECENT_MAX as u64, head).is_some());
    }
}
