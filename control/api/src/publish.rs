//! What a control plane and its edges say to each other: items, snapshots by generation and hash,
//! the messages of a stream, and those of joining.
//!
//! An item is one table of an edge's configuration (`[[pool]]`, `[[load_balancer]]`, …) as JSON,
//! with the keys of the file. A snapshot is a set of items. An edge has a snapshot whole or not at
//! all: what it was sent counts only once its hash is the one that was promised.

mod frame;
mod message;
#[cfg(test)]
mod tests;

pub use frame::{FRAME_BYTES_MAX, FrameError, Frames, frame};
pub use message::{
    Certified, EdgeMessage, Enrol, JOIN_PATH, JoinToken, Numbers, OriginReport, Outcome,
    PlaneMessage, RENEW_PATH, Refusal, Refused, Renew, Report, Role, STREAM_PATH, TokenError,
};

use aws_lc_rs::digest::{Context, Digest, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Items of one snapshot: what the configuration file allows of all kinds together.
pub const ITEMS_MAX: usize = 250_000;
/// Bytes of one item: a pool with its most origins takes some 200 KiB.
pub const ITEM_BYTES_MAX: usize = 1 << 20;
/// Bytes of an item's id: what stands before them in the file is a name of at most 64.
pub const ITEM_ID_MAX: usize = 320;

/// Kinds of items. Their order is the order of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// `[[monitor]]`.
    Monitor,
    /// `[[pool]]`.
    Pool,
    /// `[[zone]]`.
    Zone,
    /// `[[load_balancer]]`.
    LoadBalancer,
    /// The fleet's part of `[packet]`: there is one at most.
    Packet,
    /// `[[server]]`.
    Server,
    /// `[[trafficset]]`.
    Trafficset,
    /// `[[shield_rule]]`.
    ShieldRule,
}

impl ItemKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Monitor,
        Self::Pool,
        Self::Zone,
        Self::LoadBalancer,
        Self::Packet,
        Self::Server,
        Self::Trafficset,
        Self::ShieldRule,
    ];

    /// The table of the configuration file that it is.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Monitor => "monitor",
            Self::Pool => "pool",
            Self::Zone => "zone",
            Self::LoadBalancer => "load_balancer",
            Self::Packet => "packet",
            Self::Server => "server",
            Self::Trafficset => "trafficset",
            Self::ShieldRule => "shield_rule",
        }
    }

    /// The role that an edge needs to be given it.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Monitor | Self::Pool | Self::Zone | Self::LoadBalancer => Role::Proxy,
            Self::Packet | Self::Server | Self::Trafficset | Self::ShieldRule => Role::Packet,
        }
    }
}

/// The name of an item: its kind and an id that stays the same through all changes of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemKey {
    /// What it is.
    pub kind: ItemKind,
    /// Which one; at most [`ITEM_ID_MAX`] bytes.
    pub id: Arc<str>,
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.table(), self.id)
    }
}

/// SHA-256 of something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash of these octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        Self::from(aws_lc_rs::digest::digest(&SHA256, octets))
    }

    /// Its octets.
    #[must_use]
    pub fn octets(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Digest> for Hash {
    fn from(digest: Digest) -> Self {
        // SHA-256 has 32 octets whatever it was made of.
        Self(digest.as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const WRONG: &str = "a hash is 64 lower-case hexadecimal digits";
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(WRONG);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(WRONG),
        };
        let mut octets = [0; 32];
        for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
            if let [high, low] = pair {
                *octet = digit(*high)? << 4 | digit(*low)?;
            }
        }
        Ok(Self(octets))
    }
}

/// One item: its text is kept byte for byte, since its hash is that of the text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    /// Which item.
    pub key: ItemKey,
    /// The table as JSON.
    pub body: Arc<RawValue>,
}

impl Item {
    /// An item of a table. Keys of a [`serde_json::Value`] are sorted, so that equal tables have
    /// equal texts.
    ///
    /// # Errors
    /// A key of the table is no text, which a [`serde_json::Value`] cannot have.
    pub fn new(key: ItemKey, table: &serde_json::Value) -> Result<Self, serde_json::Error> {
        Ok(Self { key, body: serde_json::value::to_raw_value(table)?.into() })
    }

    /// The hash of key and text.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(self.key.kind.table().as_bytes());
        context.update(&[0]);
        context.update(self.key.id.as_bytes());
        context.update(&[0]);
        context.update(self.body.get().as_bytes());
        Hash::from(context.finish())
    }
}

/// The hash of a snapshot: of the hashes of its items in the order of their keys.
#[must_use]
pub fn hash_of_all<'h>(hashes: impl Iterator<Item = &'h Hash>) -> Hash {
    let mut context = Context::new(&SHA256);
    hashes.for_each(|hash| context.update(&hash.0));
    Hash::from(context.finish())
}

/// A snapshot by name: what an edge has, or is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotId {
    /// The store that it is from: generations of two stores have nothing to do with each other.
    pub lineage: String,
    /// The revision of the store that it shows; a later one is greater.
    pub generation: u64,
    /// The hash of its items.
    pub hash: Hash,
}

/// What a delta does to one item.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is new, or another one.
    Put(Item),
    /// It is gone.
    Remove(ItemKey),
}

impl Change {
    /// The item that it is about.
    #[must_use]
    pub fn key(&self) -> &ItemKey {
        match self {
            Self::Put(item) => &item.key,
            Self::Remove(key) => key,
        }
    }
}

/// A set of items with their hashes. Clones share the items.
#[derive(Clone, Debug, Default)]
pub struct Items {
    all: BTreeMap<ItemKey, (Arc<RawValue>, Hash)>,
}

impl Items {
    /// Applies one change.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Put(item) => {
                let hash = item.hash();
                self.all.insert(item.key, (item.body, hash));
            }
            Change::Remove(key) => drop(self.all.remove(&key)),
        }
    }

    /// The hash of them all.
    #[must_use]
    pub fn hash(&self) -> Hash {
        hash_of_all(self.all.values().map(|(_, hash)| hash))
    }

    /// The hash of those of some kinds: what an edge has that is given no others.
    #[must_use]
    pub fn hash_of(&self, kept: impl Fn(ItemKind) -> bool) -> Hash {
        let kept = self.all.iter().filter(|(key, _)| kept(key.kind));
        hash_of_all(kept.map(|(_, (_, hash))| hash))
    }

    /// Names of all of them, in order.
    pub fn keys(&self) -> impl Iterator<Item = &ItemKey> {
        self.all.keys()
    }

    /// One item.
    #[must_use]
    pub fn get(&self, key: &ItemKey) -> Option<Item> {
        self.all.get(key).map(|(body, _)| Item { key: key.clone(), body: body.clone() })
    }

    /// All of them, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = Item> {
        self.all.iter().map(|(key, (body, _))| Item { key: key.clone(), body: body.clone() })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What makes `old` these items.
    #[must_use]
    pub fn since(&self, old: &Self) -> Vec<Change> {
        let other =
            |key: &ItemKey, hash: &Hash| old.all.get(key).is_none_or(|(_, before)| before != hash);
        let put = self.all.iter().filter(|(key, (_, hash))| other(key, hash));
        let put =
            put.map(|(key, (body, _))| Change::Put(Item { key: key.clone(), body: body.clone() }));
        let gone = old.all.keys().filter(|key| !self.all.contains_key(*key));
        put.chain(gone.cloned().map(Change::Remove)).collect()
    }
}
