//! From fields to blocks. The table is searched by a hash in a few fixed places, never walked.

use super::plan::{self, Plan, Treatment};
use super::store::Store;
use super::{ENTRY_OVERHEAD, TABLE_SIZE_DEFAULT, fixed, huffman, put_integer};
use crate::bytes;
use crate::h1::head::Known;
use core::mem::size_of;
use std::collections::VecDeque;

/// Ids that names can have.
const IDS: usize = 1 << u8::BITS;

/// Sets of places in which an entry can be found, by its hash.
const SETS: usize = 32;
/// Places of a set. With four, the dozen fields that usually repeat practically never push each
/// other out of a set; an entry that is pushed out is sent again and does no other harm.
const WAYS: usize = 4;

/// A field may take up to this part of the table: a larger one would push most others out.
const SHARE: usize = 4;

/// A cookie shorter than this is never indexed: short secrets can be guessed (RFC 7541 §7.1.3).
const COOKIE_GUESSABLE: usize = 20;

/// The number of an entry and a part of its hash. The entry may be gone, and its number may be
/// that of another since: whoever follows it compares the whole.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    number: u16,
    tag: u16,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    /// Place of the value in the store; names are told apart by their plan's `id`.
    place: u32,
    value_len: u32,
    /// Size as RFC 7541 §4.1 counts it.
    size: u32,
    name: u8,
}

/// A name whose text is looked up only where it is written.
#[derive(Clone, Copy)]
enum Name<'a> {
    Known(Known),
    Text(&'a [u8]),
}

impl<'a> Name<'a> {
    fn text(self) -> &'a [u8] {
        match self {
            Self::Known(known) => known.as_str().as_bytes(),
            Self::Text(text) => text,
        }
    }
}

/// Encodes the field blocks of one direction of a connection. Its owner is
/// [`crate::h2::write::HeadWriter`], which checks what gets in.
#[derive(Debug)]
pub struct Encoder {
    /// Newest first.
    entries: VecDeque<Entry>,
    values: Store,
    size: usize,
    most: usize,
    /// Number of the newest entry, counted from 1 and around.
    newest: u16,
    /// The number of the entry that each name was last found in, by the name's `id`. Most fields
    /// have the value that they had before, which is seen without a hash.
    recent: [u16; IDS],
    /// Where entries are found by their hash; the newest of a set first.
    places: [[Place; WAYS]; SETS],
    /// The least and the last size that the peer was not told of yet.
    resized: Option<(usize, usize)>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder with the size of table that both sides start with.
    #[must_use]
    pub fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            values: Store::default(),
            size: 0,
            most: TABLE_SIZE_DEFAULT as usize,
            newest: 0,
            recent: [0; IDS],
            places: [[Place::default(); WAYS]; SETS],
            resized: None,
        }
    }

    /// Takes over the peer's SETTINGS_HEADER_TABLE_SIZE, up to 4096. The next block tells the
    /// peer of a change (RFC 7541 §4.2).
    pub fn set_max_table(&mut self, size: u32) {
        let most = size.min(TABLE_SIZE_DEFAULT) as usize;
        if most == self.most {
            return;
        }
        let least = self.resized.map_or(most, |(least, _)| least.min(most));
        self.resized = Some((least, most));
        self.most = most;
        self.make_room(0);
    }

    /// Bytes of heap that the encoder holds.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.values.memory() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Gives back memory that the table does not use; for a connection that falls idle.
    pub fn shrink(&mut self) {
        self.values.shrink();
        self.entries.shrink_to_fit();
    }

    /// Starts a block: tells of a changed size where there is one.
    #[inline]
    pub(in crate::h2) fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some((least, last)) = self.resized.take() {
            if least < last {
                put_integer(out, 0x20, 5, least);
            }
            put_integer(out, 0x20, 5, last);
        }
    }

    /// Takes a block back that was not written to its end. The peer sees nothing of it, or all
    /// that there is: both tables start anew with the next block.
    #[cold]
    pub(in crate::h2) fn abandon(&mut self) {
        let most = core::mem::take(&mut self.most);
        self.make_room(0);
        self.most = most;
        self.resized = Some((0, most));
    }

    /// A field of the static table.
    #[inline]
    pub(in crate::h2) fn fixed(&mut self, index: usize, out: &mut Vec<u8>) {
        put_integer(out, 0x80, 7, index);
    }

    /// A literal with the name of a static entry, not indexed.
    pub(in crate::h2) fn literal(&mut self, index: usize, value: &[u8], out: &mut Vec<u8>) {
        put_integer(out, 0, 4, index);
        raw(value, out);
    }

    /// A literal with a name of the caller's source, not indexed.
    pub(in crate::h2) fn named(&mut self, name: &'static [u8], value: &[u8], out: &mut Vec<u8>) {
        out.push(0);
        raw(name, out);
        raw(value, out);
    }

    /// `:authority`
    pub(in crate::h2) fn authority(&mut self, value: &[u8], out: &mut Vec<u8>) {
        self.put(plan::AUTHORITY, Name::Text(b":authority"), value, out);
    }

    /// `:status` where the static table does not have it.
    pub(in crate::h2) fn status(&mut self, value: &[u8], out: &mut Vec<u8>) {
        self.put(plan::STATUS, Name::Text(b":status"), value, out);
    }

    /// A field of a known name.
    #[inline]
    pub(in crate::h2) fn known(&mut self, known: Known, value: &[u8], out: &mut Vec<u8>) {
        let mut plan = plan::known(known);
        if known == Known::Cookie && value.len() < COOKIE_GUESSABLE {
            plan.treatment = Treatment::Never;
        }
        self.put(plan, Name::Known(known), value, out);
    }

    /// A field of another name: a token in whatever case.
    #[inline]
    pub(in crate::h2) fn other(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        self.put(plan::other(name), Name::Text(name), value, out);
    }

    /// What is found in the table is one reference; all else is left to [`Encoder::write`].
    #[inline]
    fn put(&mut self, plan: Plan, name: Name<'_>, value: &[u8], out: &mut Vec<u8>) {
        if plan.treatment == Treatment::Index {
            let at = usize::from(self.newest.wrapping_sub(self.recent[usize::from(plan.id)]));
            if let Some(entry) = self.entries.get(at)
                && entry.name == plan.id
                && self.values.get(entry.place, entry.value_len as usize) == value
            {
                put_integer(out, 0x80, 7, fixed::ROWS.len() + 1 + at);
                return;
            }
        }
        self.write(plan, name, value, out);
    }

    #[inline(never)]
    fn write(&mut self, plan: Plan, name: Name<'_>, value: &[u8], out: &mut Vec<u8>) {
        if plan.treatment == Treatment::Index {
            let hash = hash(plan.id, value);
            if let Some(at) = self.find(hash, plan.id, value) {
                self.recent[usize::from(plan.id)] = self.newest.wrapping_sub(at as u16);
                put_integer(out, 0x80, 7, fixed::ROWS.len() + 1 + at);
                return;
            }
            if self.insert(plan, hash, name.text(), value, out) {
                return;
            }
        }
        let first = if plan.treatment == Treatment::Never { 0x10 } else { 0 };
        put_integer(out, first, 4, usize::from(plan.fixed));
        if plan.fixed == 0 {
            let name = name.text();
            put_integer(out, 0, 7, name.len());
            lower(name, out);
        }
        raw(value, out);
    }

    /// Position of the entry, counted from the newest.
    #[inline]
    fn find(&self, hash: u32, name: u8, value: &[u8]) -> Option<usize> {
        for place in &self.places[hash as usize % SETS] {
            if place.tag != tag(hash) {
                continue;
            }
            let at = usize::from(self.newest.wrapping_sub(place.number));
            if let Some(entry) = self.entries.get(at)
                && entry.hash == hash
                && entry.name == name
                && self.values.get(entry.place, entry.value_len as usize) == value
            {
                return Some(at);
            }
        }
        None
    }

    /// Writes the field and puts it into the table, if it is not too large for that.
    #[cold]
    fn insert(
        &mut self,
        plan: Plan,
        hash: u32,
        name: &[u8],
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        if size > self.most / SHARE {
            return false;
        }
        let named = match usize::from(plan.fixed) {
            0 => self.entries.iter().position(|entry| entry.name == plan.id).map(|at| at + 62),
            fixed => Some(fixed),
        };
        put_integer(out, 0x40, 6, named.unwrap_or(0));
        if named.is_none() {
            let mut small = Vec::with_capacity(name.len());
            lower(name, &mut small);
            string(&small, out);
        }
        string(value, out);
        self.make_room(size);
        let place = self.values.push(value);
        let (value_len, size32) = (value.len() as u32, size as u32);
        self.entries.push_front(Entry { hash, place, value_len, size: size32, name: plan.id });
        self.size += size;
        self.newest = self.newest.wrapping_add(1);
        self.recent[usize::from(plan.id)] = self.newest;
        let set = &mut self.places[hash as usize % SETS];
        set.rotate_right(1);
        set[0] = Place { number: self.newest, tag: tag(hash) };
        true
    }

    /// Removes old entries until `size` more fits, or all.
    fn make_room(&mut self, size: usize) {
        let before = self.entries.len();
        while self.size + size > self.most {
            let Some(old) = self.entries.pop_back() else { break };
            self.size -= old.size as usize;
        }
        if self.entries.len() == before {
            return;
        }
        match self.entries.back() {
            Some(oldest) => self.values.release_before(oldest.place),
            None => self.values.clear(),
        }
    }
}

/// A hash of the length and three words of the value. Values that differ elsewhere only share a
/// set, and comparing tells them apart.
#[inline]
fn hash(name: u8, value: &[u8]) -> u32 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (first, last) = bytes::ends(value);
    let middle = value
        .get(value.len() / 2..)
        .and_then(|half| half.first_chunk::<8>())
        .map_or(0, |word| u64::from_le_bytes(*word));
    let ends = (first ^ last.rotate_left(21)).wrapping_mul(SPREAD);
    let all = ends ^ middle.rotate_left(42) ^ ((value.len() as u64) << 8 | u64::from(name));
    let mixed = all.wrapping_mul(SPREAD);
    (mixed >> 32) as u32 ^ (mixed >> 59) as u32
}

#[inline]
fn tag(hash: u32) -> u16 {
    (hash >> 16) as u16
}

/// A string as it is. What is not indexed is written so: Huffman coding would save a quarter of
/// its bytes each time, and cost more than all the rest of the field.
#[inline]
fn raw(text: &[u8], out: &mut Vec<u8>) {
    put_integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

/// A string in the shorter of its two forms, for what is sent once and referred to often.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let coded = huffman::encoded_len(text);
    if coded >= text.len() {
        return raw(text, out);
    }
    put_integer(out, 0x80, 7, coded);
    huffman::encode(text, out);
}

/// Appends `name` in lower case.
fn lower(name: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(name);
    if let Some(added) = out.get_mut(start..) {
        added.make_ascii_lowercase();
    }
}
