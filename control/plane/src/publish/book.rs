//! What edges are to have: the newest snapshot, or the one that was approved while some edges try
//! the next; and the messages that take an edge there from what it has.

use super::compile::{Changed, Compiler, LeftOut, Open};
use super::ring::{Hashes, Ring, Roles};
use crate::store::{Key, Revision, Since, State};
use bytes::Bytes;
use control_api::publish::{
    Change, FrameError, Hash, Item, ItemKey, Items, PlaneMessage, SnapshotId, frame,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Bytes of items in one message, at which the next one begins.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Deliveries of one target that are kept for other edges which need the same. Edges have one of a
/// few snapshots; another one is written for itself.
const DELIVERIES_MAX: usize = 64;
/// Changes up to which a delivery is written where it is asked for; a larger one would hold up
/// other streams.
const CHANGES_FEW: usize = 100;

/// Which snapshot is meant for an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    /// The newest one.
    Newest,
    /// The one that was approved, while another is tried or was halted.
    Approved,
    /// The one that is tried.
    Trial,
}

/// A snapshot by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) generation: Revision,
    pub(crate) hashes: Hashes,
    pub(crate) committed_ms: u64,
}

/// A snapshot that is kept while the store moves on.
#[derive(Clone, Debug)]
struct Held {
    items: Items,
    target: Target,
}

/// What takes an edge from one snapshot to another.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) snapshot: SnapshotId,
    pub(crate) base: Option<SnapshotId>,
    committed_ms: u64,
    pub(crate) changes: Vec<Change>,
    written: OnceCell<Arc<[Bytes]>>,
}

impl Delivery {
    /// When the last change of the snapshot was committed, in milliseconds since 1970.
    pub(crate) fn committed_ms(&self) -> u64 {
        self.committed_ms
    }

    /// The messages, written once for all edges that need them.
    pub(crate) async fn octets(self: &Arc<Self>) -> Result<Arc<[Bytes]>, FrameError> {
        let write = || async {
            if self.changes.len() <= CHANGES_FEW {
                return self.write();
            }
            let own = self.clone();
            let written = tokio::task::spawn_blocking(move || own.write()).await;
            written.unwrap_or_else(|_| Ok(Arc::default()))
        };
        self.written.get_or_try_init(write).await.cloned()
    }

    fn write(&self) -> Result<Arc<[Bytes]>, FrameError> {
        let begin = PlaneMessage::Begin {
            snapshot: self.snapshot.clone(),
            base: self.base.clone(),
            items: self.changes.len(),
            committed_ms: self.committed_ms,
        };
        let mut chunks = Vec::new();
        let mut octets = frame(&begin)?;
        let (mut put, mut remove, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut flush = |put: &mut Vec<Item>, remove: &mut Vec<ItemKey>| {
            let items =
                PlaneMessage::Items { put: std::mem::take(put), remove: std::mem::take(remove) };
            octets.extend(frame(&items)?);
            if octets.len() >= MESSAGE_BYTES {
                chunks.push(Bytes::from(std::mem::take(&mut octets)));
            }
            Ok::<(), FrameError>(())
        };
        for change in &self.changes {
            // What stands around an item takes less than its id may.
            let size = change.key().id.len() + 64;
            let size = size
                + match change {
                    Change::Put(item) => item.body.get().len(),
                    Change::Remove(_) => 0,
                };
            if bytes + size > MESSAGE_BYTES && bytes > 0 {
                flush(&mut put, &mut remove)?;
                bytes = 0;
            }
            bytes += size;
            match change.clone() {
                Change::Put(item) => put.push(item),
                Change::Remove(key) => remove.push(key),
            }
        }
        if bytes > 0 {
            flush(&mut put, &mut remove)?;
        }
        octets.extend(frame(&PlaneMessage::End { snapshot: self.snapshot.clone() })?);
        chunks.push(octets.into());
        Ok(chunks.into())
    }
}

/// By what a delivery is found again.
type Place = (Which, Roles, Option<(Revision, Hash)>);

/// What edges are to have.
#[derive(Debug)]
pub(crate) struct Book {
    lineage: String,
    compiler: Compiler,
    ring: Ring,
    newest: Target,
    /// Set while edges are not to have the newest one.
    approved: Option<Held>,
    trial: Option<Held>,
    /// The content that was halted last.
    halted: Option<Hash>,
    /// Whether changes are tried on some edges first.
    tries: bool,
    deliveries: BTreeMap<Place, Arc<Delivery>>,
}

impl Book {
    /// The book of a state. With `tries`, changes go to some edges first.
    pub(crate) fn new(
        lineage: String,
        state: &State,
        at_ms: u64,
        tries: bool,
        open: Open<'_>,
    ) -> Self {
        let compiler = Compiler::whole(state, open);
        let hashes = Hashes::of(compiler.items());
        let mut ring = Ring::default();
        ring.restart(hashes);
        let newest = Target { generation: state.revision, hashes, committed_ms: at_ms };
        Self {
            lineage,
            compiler,
            ring,
            newest,
            approved: None,
            trial: None,
            halted: None,
            tries,
            deliveries: BTreeMap::new(),
        }
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Target {
        self.newest
    }

    /// Items of the newest snapshot.
    pub(crate) fn items(&self) -> &Items {
        self.compiler.items()
    }

    /// Objects that are not published though they could be.
    pub(crate) fn left_out(&self) -> &BTreeMap<Key, LeftOut> {
        self.compiler.left_out()
    }

    /// The snapshot that was approved, where it is not the newest one.
    pub(crate) fn approved(&self) -> Option<Target> {
        self.approved.as_ref().map(|held| held.target)
    }

    /// The snapshot that is tried, if there is one.
    pub(crate) fn trial(&self) -> Option<Target> {
        self.trial.as_ref().map(|held| held.target)
    }

    /// The content that edges may not have, if there is one.
    pub(crate) fn halted(&self) -> Option<Hash> {
        self.halted
    }

    /// Takes up the newest state, where `since` is what was changed of the last one.
    pub(crate) fn follow(
        &mut self,
        state: &State,
        since: Option<&Since>,
        at_ms: u64,
        open: Open<'_>,
    ) -> Changed {
        let before =
            self.tries.then(|| Held { items: self.compiler.items().clone(), target: self.newest });
        let (changed, committed_ms) = match since {
            Some(since) => (self.compiler.follow(state, &since.keys, open), since.at_ms),
            None => (self.restart(state, open), at_ms),
        };
        let hashes = match changed.items.is_empty() {
            true => self.newest.hashes,
            false => Hashes::of(self.compiler.items()),
        };
        self.newest = Target { generation: state.revision, hashes, committed_ms };
        self.ring.push(hashes, changed.items.iter().cloned());
        self.forget(Which::Newest);
        if self.approved.is_none() && !changed.items.is_empty() {
            self.approved = before;
        }
        self.settle();
        changed
    }

    /// Compiles all of a state in place of what was there.
    fn restart(&mut self, state: &State, open: Open<'_>) -> Changed {
        let fresh = Compiler::whole(state, open);
        let changes = fresh.items().since(self.compiler.items());
        let known = self.compiler.left_out();
        let left_out = fresh.left_out().iter().filter(|(key, why)| known.get(*key) != Some(*why));
        let left_out = left_out.map(|(key, why)| (key.clone(), why.clone())).collect();
        self.compiler = fresh;
        Changed { items: changes.iter().map(|change| change.key().clone()).collect(), left_out }
    }

    /// Everything is tried from the one of these items on, which a store has approved.
    pub(crate) fn approve_items(&mut self, items: Items, generation: Revision, at_ms: u64) {
        let hashes = Hashes::of(&items);
        let changes = self.compiler.items().since(&items);
        self.ring.restart(hashes);
        self.ring.push(self.newest.hashes, changes.iter().map(|change| change.key().clone()));
        let target = Target { generation, hashes, committed_ms: at_ms };
        self.approved = Some(Held { items, target });
        self.forget(Which::Approved);
        self.settle();
    }

    /// Takes up what the store says was approved. Whether its items are known here; if not, they
    /// have to be found and given to [`Book::approve_items`].
    pub(crate) fn approve(&mut self, content: Hash) -> bool {
        if self.newest.hashes.whole() == content {
            (self.approved, self.trial) = (None, None);
        } else if self.trial().is_some_and(|trial| trial.hashes.whole() == content) {
            self.approved = self.trial.take();
        } else if self.approved().is_none_or(|held| held.hashes.whole() != content) {
            return false;
        }
        self.forget(Which::Approved);
        self.forget(Which::Trial);
        self.settle();
        true
    }

    /// Takes up what the store says was halted.
    pub(crate) fn halt(&mut self, content: Option<Hash>) {
        self.halted = content;
        if self.trial().is_some_and(|trial| Some(trial.hashes.whole()) == content) {
            self.trial = None;
        }
        self.settle();
    }

    /// Begins a trial where there is something to try.
    fn settle(&mut self) {
        let newest = self.newest.hashes.whole();
        if self.approved().is_some_and(|approved| approved.hashes.whole() == newest) {
            (self.approved, self.trial) = (None, None);
        }
        if self.approved.is_some() && self.trial.is_none() && self.halted != Some(newest) {
            let items = self.compiler.items().clone();
            self.trial = Some(Held { items, target: self.newest });
            self.forget(Which::Trial);
        }
    }

    /// The snapshot that is meant for an edge, which may be among those that try changes.
    pub(crate) fn meant(&self, canary: bool) -> (Which, Target) {
        match (&self.approved, &self.trial) {
            (None, _) => (Which::Newest, self.newest),
            (Some(_), Some(trial)) if canary => (Which::Trial, trial.target),
            (Some(approved), _) => (Which::Approved, approved.target),
        }
    }

    /// The name of a snapshot, as edges of these roles know it.
    pub(crate) fn name_of(&self, target: &Target, roles: Roles) -> SnapshotId {
        SnapshotId {
            lineage: self.lineage.clone(),
            generation: target.generation,
            hash: target.hashes.seen_by(roles),
        }
    }

    /// What takes an edge to the snapshot that is meant for it.
    pub(crate) fn delivery(
        &mut self,
        canary: bool,
        roles: Roles,
        has: Option<&SnapshotId>,
    ) -> Arc<Delivery> {
        let (which, target) = self.meant(canary);
        let snapshot = self.name_of(&target, roles);
        let has = has.filter(|has| has.lineage == self.lineage);
        let place = (which, roles, has.map(|has| (has.generation, has.hash)));
        if let Some(delivery) = self.deliveries.get(&place) {
            return delivery.clone();
        }
        let items = match which {
            Which::Newest => self.compiler.items(),
            Which::Approved => self.approved.as_ref().map_or(self.compiler.items(), |h| &h.items),
            Which::Trial => self.trial.as_ref().map_or(self.compiler.items(), |h| &h.items),
        };
        let put = |item| Change::Put(item);
        let between = |has: &SnapshotId| match has.hash == snapshot.hash {
            true => Some(Default::default()),
            false => self.ring.between(roles, has.hash, snapshot.hash),
        };
        let (base, changes) = match has.and_then(|has| Some((has, between(has)?))) {
            Some((has, keys)) => {
                let change =
                    |key: &ItemKey| items.get(key).map_or(Change::Remove(key.clone()), put);
                (Some(has.clone()), keys.into_iter().map(change).collect())
            }
            None => {
                let own = items.keys().filter(|key| roles.get(key.kind));
                (None, own.filter_map(|key| items.get(key)).map(put).collect())
            }
        };
        let committed_ms = target.committed_ms;
        let written = OnceCell::new();
        let delivery = Arc::new(Delivery { snapshot, base, committed_ms, changes, written });
        if self.deliveries.len() < DELIVERIES_MAX {
            self.deliveries.insert(place, delivery.clone());
        }
        delivery
    }

    /// Forgets what was written for a snapshot that is another one since then.
    fn forget(&mut self, which: Which) {
        self.deliveries.retain(|(of, ..), _| *of != which);
    }
}
