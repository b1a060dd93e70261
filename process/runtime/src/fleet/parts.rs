//! From messages to a snapshot that is whole, and from that to what it changes here.

use super::Incoming;
use control_api::publish::{Change, ITEM_BYTES_MAX, ITEMS_MAX, Items, PlaneMessage, SnapshotId};

/// Bytes of all items of one snapshot: four times what 10,000 load balancers with 50,000 origins
/// take.
pub const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

/// A snapshot that has come as a whole.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    /// What it is to be.
    pub(super) snapshot: SnapshotId,
    /// What it changes; all of it is here where there is none.
    pub(super) base: Option<SnapshotId>,
    /// Its items, or what is other in it.
    pub(super) changes: Vec<Change>,
}

/// Takes messages of snapshots until one is whole.
#[derive(Debug, Default)]
pub(super) struct Parts {
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    arrived: Arrived,
    /// Changes that were announced and have not come.
    left: usize,
    bytes: usize,
}

impl Parts {
    /// Whether a snapshot has begun and not ended.
    pub(super) fn open(&self) -> bool {
        self.begun.is_some()
    }

    /// Takes a message of a snapshot; others are not for here.
    ///
    /// # Errors
    /// What is out of order, in words.
    pub(super) fn take(&mut self, message: PlaneMessage) -> Result<Option<Arrived>, String> {
        match message {
            PlaneMessage::Begin { snapshot, base, items, .. } => {
                if self.begun.is_some() {
                    return Err("a snapshot begins before the last one has ended".to_owned());
                }
                if items > ITEMS_MAX {
                    return Err(format!("{items} changes were announced, at most {ITEMS_MAX}"));
                }
                let arrived = Arrived { snapshot, base, changes: Vec::new() };
                self.begun = Some(Begun { arrived, left: items, bytes: 0 });
                Ok(None)
            }
            PlaneMessage::Items { put, remove } => {
                let begun = self.begun.as_mut().ok_or("items outside of a snapshot")?;
                let count = put.len() + remove.len();
                begun.left =
                    begun.left.checked_sub(count).ok_or("more changes than were announced")?;
                if let Some(item) = put.iter().find(|item| item.body.get().len() > ITEM_BYTES_MAX) {
                    return Err(format!("{} has more than {ITEM_BYTES_MAX} bytes", item.key));
                }
                begun.bytes += put.iter().map(|item| item.body.get().len()).sum::<usize>();
                if begun.bytes > SNAPSHOT_BYTES_MAX {
                    return Err(format!("a snapshot of more than {SNAPSHOT_BYTES_MAX} bytes"));
                }
                begun.arrived.changes.extend(put.into_iter().map(Change::Put));
                begun.arrived.changes.extend(remove.into_iter().map(Change::Remove));
                Ok(None)
            }
            PlaneMessage::End { snapshot } => {
                let begun = self.begun.take().ok_or("the end of a snapshot that did not begin")?;
                match begun {
                    Begun { left: left @ 1.., .. } => Err(format!("{left} changes are missing")),
                    Begun { arrived, .. } if arrived.snapshot != snapshot => {
                        Err("a snapshot ends as another one than it began".to_owned())
                    }
                    Begun { arrived, .. } => Ok(Some(arrived)),
                }
            }
            PlaneMessage::Welcome { .. } | PlaneMessage::Beat { .. } => Ok(None),
        }
    }
}

/// What a snapshot changes where `items` are published: none where it does not follow `has`, or
/// where it would not have the hash that was promised.
#[must_use]
pub fn wanted(items: &Items, has: Option<&SnapshotId>, incoming: &Incoming) -> Option<Vec<Change>> {
    let whole = incoming.base.is_none();
    if !whole && incoming.base.as_ref() != has {
        return None;
    }
    let mut next = if whole { Items::default() } else { items.clone() };
    incoming.changes.iter().cloned().for_each(|change| next.apply(change));
    if next.hash() != incoming.snapshot.hash {
        return None;
    }
    if whole {
        return Some(next.since(items));
    }
    let other = |change: &Change| match (change, items.get(change.key())) {
        (Change::Put(new), Some(old)) => new.body.get() != old.body.get(),
        (Change::Put(_), None) | (Change::Remove(_), Some(_)) => true,
        (Change::Remove(_), None) => false,
    };
    Some(incoming.changes.iter().filter(|change| other(change)).cloned().collect())
}

/// What takes `changes` back where `items` are published.
#[must_use]
pub fn inverse(items: &Items, changes: &[Change]) -> Vec<Change> {
    let back = |change: &Change| match items.get(change.key()) {
        Some(item) => Change::Put(item),
        None => Change::Remove(change.key().clone()),
    };
    changes.iter().map(back).collect()
}
