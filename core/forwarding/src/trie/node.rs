//! The nodes of the trie: where each looks, how many bits, and what it skips.

use packet_abi::Entry;
use packet_abi::tables::TRIE_STRIDE_MAX;

use super::{TrieError, mask};

/// One child in so many must lead somewhere, or a node looks at fewer bits: room for speed.
const FILL: usize = 4;

/// A prefix and what it answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) address: u128,
    pub(super) bits: u8,
    pub(super) entry: Entry,
}

/// The child that an address selects: `stride` bits from bit `at` on.
pub(super) const fn child(address: u128, at: u32, stride: u32) -> u32 {
    ((address << at) >> (128 - stride)) as u32
}

/// The nodes that were built.
pub(super) struct Nodes {
    room: u32,
    least: u32,
    pub(super) entries: Vec<u64>,
    /// Nodes on the longest way down.
    pub(super) depth: usize,
}

impl Nodes {
    /// Nothing yet; nodes look at `least` bits at least, where as many are left.
    pub(super) fn new(room: u32, least: u32) -> Self {
        Self { room, least, entries: Vec::new(), depth: 0 }
    }

    /// The entry that decides among `leaves`, whose first `matched` bits are the same and known to
    /// match; `outer` is the answer where none of them fits.
    pub(super) fn node(
        &mut self,
        leaves: &[&Leaf],
        matched: u32,
        outer: Entry,
        depth: usize,
    ) -> Result<Entry, TrieError> {
        let (outer, leaves) = match leaves {
            [whole, rest @ ..] if u32::from(whole.bits) <= matched => (whole.entry, rest),
            _ => (outer, leaves),
        };
        let ([first, ..], [.., last]) = (leaves, leaves) else { return Ok(outer) };
        self.depth = self.depth.max(depth);
        let shortest = leaves.iter().map(|leaf| u32::from(leaf.bits)).min().unwrap_or(128);
        let at = (first.address ^ last.address).leading_zeros().min(shortest - 1);
        let stride = self.stride(leaves, at);
        let skip = at > matched;

        let node = self.entries.len();
        let count = 1_usize << stride;
        let header = if skip { 3 } else { 0 };
        if node + header + count > self.room as usize {
            return Err(TrieError::Entries(self.room));
        }
        if skip {
            let expected = first.address & mask(at as u8);
            self.entries.extend([(expected >> 64) as u64, expected as u64, outer.0]);
        }
        self.entries.resize(node + header + count, outer.0);
        self.children(leaves, (at, stride), node + header, depth)?;
        Ok(Entry::node(node as u32, at as u8, stride as u8, skip))
    }

    /// Fills the children of a node, which start at `base` and hold what lies around them.
    fn children(
        &mut self,
        leaves: &[&Leaf],
        (at, stride): (u32, u32),
        base: usize,
        depth: usize,
    ) -> Result<(), TrieError> {
        let below = at + stride;
        // Shorter prefixes come first, so that longer ones lie over them.
        for leaf in leaves.iter().filter(|leaf| u32::from(leaf.bits) <= below) {
            let from = base + child(leaf.address, at, stride) as usize;
            let to = from + (1 << (below - u32::from(leaf.bits)));
            if let Some(children) = self.entries.get_mut(from..to) {
                children.fill(leaf.entry.0);
            }
        }
        let deep = leaves.iter().copied().filter(|leaf| u32::from(leaf.bits) > below);
        let deep: Vec<&Leaf> = deep.collect();
        for group in deep.chunk_by(|a, b| (a.address ^ b.address) & mask(below as u8) == 0) {
            let [first, ..] = group else { continue };
            let place = base + child(first.address, at, stride) as usize;
            let outer = Entry(self.entries.get(place).copied().unwrap_or(0));
            let entry = self.node(group, below, outer, depth + 1)?;
            if let Some(child) = self.entries.get_mut(place) {
                *child = entry.0;
            }
        }
        Ok(())
    }

    /// The most bits of which enough children lead somewhere. A node's bits lie in one word.
    fn stride(&self, leaves: &[&Leaf], at: u32) -> u32 {
        let left = if at < 64 { 64 - at } else { 128 - at };
        let most = left.min(TRIE_STRIDE_MAX);
        let least = self.least.min(most);
        let full = |stride: &u32| occupied(leaves, at, *stride) * FILL >= 1 << stride;
        (least + 1..=most).rev().find(full).unwrap_or(least)
    }
}

/// How many children of a node lead somewhere of their own: those that a short prefix fills alike
/// are one.
fn occupied(leaves: &[&Leaf], at: u32, stride: u32) -> usize {
    let below = at + stride;
    let (mut count, mut last) = (0, None);
    for leaf in leaves {
        let here = child(leaf.address, at, stride);
        let is_short = u32::from(leaf.bits) <= below;
        count += usize::from(is_short || last != Some(here));
        last = if is_short { None } else { Some(here) };
    }
    count
}
