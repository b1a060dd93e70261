//! All objects at one revision, and a draft of the next.

use super::key::Key;
use super::record::{Record, Revision, Stored, Write};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::{Bound, Deref};
use std::sync::Arc;

/// All objects at one revision.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The revision.
    pub revision: Revision,
    /// The objects by name.
    pub objects: BTreeMap<Key, Stored>,
}

impl State {
    /// An object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Stored> {
        self.objects.get(key)
    }

    /// Every object below `folder`, at any depth, in the order in which they were made; those of
    /// one commit by name. `accounts/ID/pools` gives the pools of an account, not an object of
    /// that very name.
    #[must_use]
    pub fn under(&self, folder: &Key) -> Vec<(&Key, &Stored)> {
        let mut found: Vec<_> = self.range(folder).collect();
        found.sort_by_key(|(_, stored)| stored.created);
        found
    }

    /// As [`State::under`], but only objects directly in `folder`.
    #[must_use]
    pub fn children(&self, folder: &Key) -> Vec<(&Key, &Stored)> {
        let depth = folder.segments().count() + 1;
        let mut found = self.under(folder);
        found.retain(|(key, _)| key.segments().count() == depth);
        found
    }

    /// The objects below `folder` by name.
    fn range(&self, folder: &Key) -> impl Iterator<Item = (&Key, &Stored)> {
        // `0` is what follows `/`.
        let (first, end) = (format!("{folder}/"), format!("{folder}0"));
        let bounds = (Bound::Excluded(first.as_str()), Bound::Excluded(end.as_str()));
        self.objects.range::<str, _>(bounds)
    }

    /// Puts a commit in force that follows this revision.
    pub(crate) fn apply(&mut self, record: &Record) {
        for change in &record.changes {
            match &change.after {
                Some(value) => {
                    let (value, modified) = (value.clone(), record.revision);
                    let created = self.get(&change.key).map_or(modified, |stored| stored.created);
                    let stored = Stored { value, created, modified };
                    self.objects.insert(change.key.clone(), stored);
                }
                None => drop(self.objects.remove(&change.key)),
            }
        }
        self.revision = record.revision;
    }
}

/// A state being edited. Reads see what was written; what is not committed is undone.
#[derive(Debug)]
pub struct Draft<'a> {
    state: &'a mut State,
    /// What each object was that is touched.
    before: BTreeMap<Key, Option<Stored>>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(state: &'a mut State) -> Self {
        Self { state, before: BTreeMap::new() }
    }

    /// Makes or replaces an object.
    pub fn put(&mut self, key: Key, value: Value) {
        let next = self.state.revision.saturating_add(1);
        let old = self.state.objects.get(&key).cloned();
        if old.as_ref().is_some_and(|old| *old.value == value) {
            return;
        }
        let created = old.as_ref().map_or(next, |old| old.created);
        let stored = Stored { value: Arc::new(value), created, modified: next };
        self.state.objects.insert(key.clone(), stored);
        self.before.entry(key).or_insert(old);
    }

    /// Removes an object; whether it was there.
    pub fn remove(&mut self, key: &Key) -> bool {
        let old = self.state.objects.remove(key);
        let was = old.is_some();
        if was {
            self.before.entry(key.clone()).or_insert(old);
        }
        was
    }

    /// What a commit has to write, by name; objects that are as they were are left out.
    pub(crate) fn writes(&self) -> Vec<Write> {
        let value = |stored: Option<&Stored>| stored.map(|stored| stored.value.clone());
        let all = self.before.iter().map(|(key, before)| Write {
            key: key.clone(),
            before: before.clone(),
            after: value(self.state.get(key)),
        });
        all.filter(|write| value(write.before.as_ref()) != write.after).collect()
    }
}

impl Deref for Draft<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        for (key, before) in std::mem::take(&mut self.before) {
            match before {
                Some(stored) => drop(self.state.objects.insert(key, stored)),
                None => drop(self.state.objects.remove(&key)),
            }
        }
    }
}
