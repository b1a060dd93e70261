//! The last generations: what each of them changed, so that an edge which has one of them is sent
//! what came after.

use control_api::publish::{Hash, ItemKey, ItemKind, Items, Role};
use std::collections::{BTreeSet, VecDeque};

/// Generations that are remembered: an edge that was away for longer gets everything.
pub(crate) const GENERATIONS_MAX: usize = 1_024;
/// Keys that are remembered over all generations: beyond twice the items of a snapshot everything
/// is not more than what changed.
const KEYS_MAX: usize = 2 * control_api::publish::ITEMS_MAX;

/// What an edge does, and so which items it gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Roles(u8);

impl Roles {
    /// Every role.
    pub(crate) const ALL: Self = Self(3);

    /// These roles.
    pub(crate) fn of(roles: &[Role]) -> Self {
        Self(roles.iter().fold(0, |bits, role| bits | Self::bit(*role)))
    }

    fn bit(role: Role) -> u8 {
        match role {
            Role::Proxy => 1,
            Role::Packet => 2,
        }
    }

    /// Whether items of a kind are for them.
    pub(crate) fn get(self, kind: ItemKind) -> bool {
        self.0 & Self::bit(kind.role()) != 0
    }
}

/// The hash of a snapshot, as edges of each set of roles see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashes([Hash; 4]);

impl Hashes {
    /// Those of these items.
    pub(crate) fn of(items: &Items) -> Self {
        let of = |roles: Roles| items.hash_of(|kind| roles.get(kind));
        let (none, proxy, packet) = (of(Roles(0)), of(Roles(1)), of(Roles(2)));
        // Most fleets have no items of one of the two.
        let all = match (proxy == none, packet == none) {
            (_, true) => proxy,
            (true, _) => packet,
            _ => of(Roles::ALL),
        };
        Self([none, proxy, packet, all])
    }

    /// That which edges of these roles see.
    pub(crate) fn seen_by(&self, roles: Roles) -> Hash {
        let [none, proxy, packet, all] = self.0;
        match roles.0 {
            0 => none,
            1 => proxy,
            2 => packet,
            _ => all,
        }
    }

    /// That of everything.
    pub(crate) fn whole(&self) -> Hash {
        self.seen_by(Roles::ALL)
    }
}

/// One generation.
#[derive(Debug)]
struct Entry {
    hashes: Hashes,
    /// What it changed of the one before it.
    keys: Box<[ItemKey]>,
}

/// The last generations, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    /// Keys of all entries.
    keys: usize,
}

impl Ring {
    /// Takes up a generation and what it changed of the last one.
    pub(crate) fn push(&mut self, hashes: Hashes, keys: impl IntoIterator<Item = ItemKey>) {
        let keys: Box<[ItemKey]> = keys.into_iter().collect();
        let same = self.entries.back().is_some_and(|last| last.hashes == hashes);
        if same && keys.is_empty() {
            // It is found by the hash of the one before.
            return;
        }
        self.keys += keys.len();
        self.entries.push_back(Entry { hashes, keys });
        while self.entries.len() > GENERATIONS_MAX
            || (self.keys > KEYS_MAX && self.entries.len() > 1)
        {
            let gone = self.entries.pop_front();
            self.keys -= gone.map_or(0, |gone| gone.keys.len());
        }
    }

    /// Forgets what was before `hashes`: it is not known what leads there.
    pub(crate) fn restart(&mut self, hashes: Hashes) {
        *self = Self::default();
        self.push(hashes, []);
    }

    /// Keys of items that may differ between what edges of these roles have at two hashes, in
    /// either order; none where one of the two is not known. It is the hash that counts, so that
    /// generations of other control planes are known here.
    pub(crate) fn between(&self, roles: Roles, one: Hash, two: Hash) -> Option<BTreeSet<&ItemKey>> {
        let find = |hash| self.entries.iter().rposition(|e| e.hashes.seen_by(roles) == hash);
        let (one, two) = (find(one)?, find(two)?);
        let range = one.min(two) + 1..one.max(two) + 1;
        let keys = self.entries.range(range).flat_map(|entry| entry.keys.iter());
        Some(keys.filter(|key| roles.get(key.kind)).collect())
    }
}
