//! The table of streams: a slab whose slots are reused, an index from identifiers to slots, and
//! the queues of streams whose turn to send comes next.

use super::{StreamEnd, StreamKey};
use crate::h2::flow::{RecvWindow, SendWindow};
use crate::h2::priority::{Priority, URGENCIES};

/// No slot.
const NONE: u32 = u32::MAX;

/// Empty buffers kept for later streams: as many as are filled at once where uploads are few.
const SPARE_MAX: usize = 4;

/// Capacity of a buffer worth keeping, in bytes: one full frame.
const SPARE_BYTES_MAX: usize = 16_384;

/// Our half of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Local {
    /// No head was sent.
    #[default]
    Idle,
    /// A head was sent.
    Open,
    /// END_STREAM was sent.
    Ended,
}

/// The peer's half of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Remote {
    /// The final head is awaited.
    #[default]
    Head,
    /// Content or trailers are awaited.
    Body,
    /// END_STREAM came.
    Ended,
    /// RST_STREAM came before it: nothing else may come, and the message is not whole.
    Reset,
}

impl Remote {
    /// Whether nothing more may come.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Reset)
    }
}

/// One stream. A slot that is free has the identifier 0.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    pub(crate) local: Local,
    pub(crate) remote: Remote,
    /// Set once the stream was cut off.
    pub(crate) end: Option<StreamEnd>,
    /// The peer wants no more of a message that it has answered in full.
    pub(crate) stopped: bool,
    pub(crate) send: SendWindow,
    pub(crate) recv: RecvWindow,
    pub(crate) inbox: Vec<u8>,
    pub(crate) trailers: Vec<u8>,
    /// Received bytes that were not passed on, in the inbox or taken.
    pub(crate) unreleased: usize,
    /// Bytes charged for the head that was handed out.
    pub(crate) head: usize,
    /// Bytes of content received.
    pub(crate) received: u64,
    /// Bytes of content that the head announced.
    pub(crate) expected: Option<u64>,
    pub(crate) urgency: u8,
    /// The peer asked for the whole of it before others of its urgency that opened later.
    pub(crate) in_order: bool,
    /// It waits for its own window, or for its turn.
    pub(crate) waits: bool,
    /// It stands in a queue of turns.
    queued: bool,
    /// What it may send as its turn has come, in bytes; 0 once it has sent.
    pub(crate) granted: usize,
    prev: u32,
    next: u32,
}

impl Stream {
    /// True while frames may go either way.
    pub(crate) fn is_alive(&self) -> bool {
        self.end.is_none()
    }

    /// True where both halves ended or the stream was cut off: it does not count against the
    /// peer's limit.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some() || (self.local == Local::Ended && self.remote == Remote::Ended)
    }

    /// Bytes that the stream is charged with.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        let taken = self.unreleased.saturating_sub(self.inbox.len());
        size_of::<Self>() + self.head + self.inbox.capacity() + self.trailers.capacity() + taken
    }
}

/// One queue of turns.
#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
}

/// All streams of a connection.
#[derive(Debug)]
pub(crate) struct Streams {
    slots: Vec<Stream>,
    free: Vec<u32>,
    index: Index,
    used: usize,
    queues: [Queue; URGENCIES],
    /// A bit for each urgency whose queue is not empty.
    ready: u8,
    spare: Vec<Vec<u8>>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: Index::default(),
            used: 0,
            queues: [Queue { first: NONE, last: NONE }; URGENCIES],
            ready: 0,
            spare: Vec::new(),
        }
    }

    /// Streams that were not removed.
    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Puts a stream with this identifier, not yet in the table, into a free slot.
    pub(crate) fn insert(&mut self, id: u32) -> StreamKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Stream::default());
            self.slots.len() as u32 - 1
        });
        if let Some(slot) = self.slots.get_mut(index as usize) {
            let trailers = core::mem::take(&mut slot.trailers);
            *slot = Stream { id, trailers, prev: NONE, next: NONE, ..Stream::default() };
        }
        self.index.insert(id, index);
        self.used += 1;
        StreamKey { index, id }
    }

    /// Frees the slot of a stream.
    pub(crate) fn remove(&mut self, key: StreamKey) {
        if self.get(key).is_none() {
            return;
        }
        self.unqueue(key);
        self.index.remove(key.id);
        self.free.push(key.index);
        self.used -= 1;
        if let Some(slot) = self.slots.get_mut(key.index as usize) {
            slot.id = 0;
            slot.trailers = Vec::new();
            let inbox = core::mem::take(&mut slot.inbox);
            self.keep(inbox);
        }
    }

    /// Keeps a buffer for a later stream.
    pub(crate) fn keep(&mut self, mut buffer: Vec<u8>) {
        let fits = (1..=SPARE_BYTES_MAX).contains(&buffer.capacity());
        if fits && self.spare.len() < SPARE_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// An empty buffer.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Lets memory go that no stream needs.
    pub(crate) fn shrink(&mut self) {
        self.spare = Vec::new();
        if self.used == 0 {
            *self = Self::new();
        }
    }

    /// The stream of a key, where the key is not stale.
    #[inline]
    pub(crate) fn get(&self, key: StreamKey) -> Option<&Stream> {
        self.slots.get(key.index as usize).filter(|stream| stream.id == key.id)
    }

    /// The same, to change it.
    #[inline]
    pub(crate) fn get_mut(&mut self, key: StreamKey) -> Option<&mut Stream> {
        self.slots.get_mut(key.index as usize).filter(|stream| stream.id == key.id)
    }

    /// The key of an identifier.
    #[inline]
    pub(crate) fn find(&self, id: u32) -> Option<StreamKey> {
        self.index.get(id).map(|index| StreamKey { index, id })
    }

    /// The key in the slot `index`, where one is in use; for walks over all slots.
    pub(crate) fn at(&self, index: usize) -> Option<StreamKey> {
        let id = self.slots.get(index)?.id;
        (id != 0).then_some(StreamKey { index: index as u32, id })
    }

    /// Slots to walk over.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// True where a stream at least as urgent waits for its turn.
    #[inline]
    pub(crate) fn others_wait(&self, urgency: u8) -> bool {
        self.ready & upto(urgency) != 0
    }

    /// Puts a stream into its queue, if it stands in none: at the end, or in its place among those
    /// that go in order, which stand in front.
    pub(crate) fn queue(&mut self, key: StreamKey) {
        let Some(stream) = self.get(key).filter(|stream| !stream.queued) else { return };
        let (urgency, in_order) = (stream.urgency, stream.in_order);
        let Some(&queue) = self.queues.get(usize::from(urgency)) else { return };
        let (prev, next) =
            if in_order { self.place(queue.first, key.id) } else { (queue.last, NONE) };
        self.ready |= 1 << urgency;
        if let Some(stream) = self.slots.get_mut(prev as usize) {
            stream.next = key.index;
        }
        if let Some(stream) = self.slots.get_mut(next as usize) {
            stream.prev = key.index;
        }
        if let Some(queue) = self.queues.get_mut(usize::from(urgency)) {
            queue.first = if prev == NONE { key.index } else { queue.first };
            queue.last = if next == NONE { key.index } else { queue.last };
        }
        if let Some(stream) = self.slots.get_mut(key.index as usize) {
            (stream.queued, stream.prev, stream.next) = (true, prev, next);
        }
    }

    /// The slots between which a stream stands that goes in order. Whoever has its turn is the
    /// first of them most of the time; else the walk ends with the streams there are.
    fn place(&self, first: u32, id: u32) -> (u32, u32) {
        let (mut prev, mut next) = (NONE, first);
        while let Some(stream) = self.slots.get(next as usize) {
            if !stream.in_order || stream.id > id {
                break;
            }
            (prev, next) = (next, stream.next);
        }
        (prev, next)
    }

    /// Takes a stream out of its queue, wherever it stands in it.
    pub(crate) fn unqueue(&mut self, key: StreamKey) {
        let Some(stream) = self.get_mut(key).filter(|stream| stream.queued) else { return };
        stream.queued = false;
        let (prev, next, urgency) = (stream.prev, stream.next, stream.urgency);
        let Some(queue) = self.queues.get_mut(usize::from(urgency)) else { return };
        match self.slots.get_mut(prev as usize) {
            Some(stream) => stream.next = next,
            None => queue.first = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(stream) => stream.prev = prev,
            None => queue.last = prev,
        }
        if queue.first == NONE {
            self.ready &= !(1 << urgency);
        }
    }

    /// Takes the stream out whose turn it is.
    pub(crate) fn next(&mut self) -> Option<StreamKey> {
        if self.ready == 0 {
            return None;
        }
        let queue = self.queues.get(self.ready.trailing_zeros() as usize)?;
        let key = self.at(queue.first as usize)?;
        self.unqueue(key);
        Some(key)
    }

    /// Gives a stream another priority, keeping it in line.
    pub(crate) fn set_priority(&mut self, key: StreamKey, priority: Priority) {
        let Some(stream) = self.get(key) else { return };
        let queued = stream.queued;
        self.unqueue(key);
        if let Some(stream) = self.get_mut(key) {
            stream.urgency = priority.urgency.min(URGENCIES as u8 - 1);
            stream.in_order = !priority.incremental;
        }
        if queued {
            self.queue(key);
        }
    }
}

/// The bits of urgencies from 0 up to this one.
fn upto(urgency: u8) -> u8 {
    0xff >> (7 - urgency.min(7))
}

/// From identifiers to slots: open addressing. Identifiers of one side are odd numbers in
/// sequence, so half of one is as good as a hash; a peer that skips some to make them collide
/// gains a walk over as many entries as it may have streams.
#[derive(Debug, Default)]
struct Index {
    /// Identifier (0 is free) and slot; a power of two of them, at most half in use.
    cells: Vec<(u32, u32)>,
    used: usize,
}

/// Cells of the first table: eight streams.
const CELLS_MIN: usize = 16;

impl Index {
    fn home(&self, id: u32) -> usize {
        (id >> 1) as usize & self.cells.len().wrapping_sub(1)
    }

    fn step(&self, at: usize) -> usize {
        (at + 1) & self.cells.len().wrapping_sub(1)
    }

    #[inline]
    fn position(&self, id: u32) -> Option<usize> {
        let mut at = self.home(id);
        loop {
            match self.cells.get(at) {
                Some(&(found, _)) if found == id => return Some(at),
                Some(&(0, _)) | None => return None,
                Some(_) => at = self.step(at),
            }
        }
    }

    #[inline]
    fn get(&self, id: u32) -> Option<u32> {
        // A free cell has the identifier 0, which is no stream's.
        let at = self.position(id).filter(|_| id != 0)?;
        self.cells.get(at).map(|&(_, slot)| slot)
    }

    fn insert(&mut self, id: u32, slot: u32) {
        if (self.used + 1) * 2 > self.cells.len() {
            let cells = vec![(0, 0); (self.cells.len() * 2).max(CELLS_MIN)];
            let before = core::mem::replace(&mut self.cells, cells);
            for (id, slot) in before.into_iter().filter(|&(id, _)| id != 0) {
                self.put(id, slot);
            }
        }
        self.put(id, slot);
        self.used += 1;
    }

    fn put(&mut self, id: u32, slot: u32) {
        let mut at = self.home(id);
        while self.cells.get(at).is_some_and(|&(found, _)| found != 0) {
            at = self.step(at);
        }
        if let Some(cell) = self.cells.get_mut(at) {
            *cell = (id, slot);
        }
    }

    fn remove(&mut self, id: u32) {
        let Some(mut hole) = self.position(id).filter(|_| id != 0) else { return };
        self.used -= 1;
        let mut at = hole;
        // Entries behind the hole move up unless they stand at home between hole and place.
        loop {
            at = self.step(at);
            let Some(&(found, slot)) = self.cells.get(at) else { return };
            if found == 0 {
                break;
            }
            let mask = self.cells.len().wrapping_sub(1);
            let away = at.wrapping_sub(self.home(found)) & mask;
            if away >= at.wrapping_sub(hole) & mask {
                if let Some(cell) = self.cells.get_mut(hole) {
                    *cell = (found, slot);
                }
                hole = at;
            }
        }
        if let Some(cell) = self.cells.get_mut(hole) {
            *cell = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_found_until_they_are_removed() {
        let mut streams = Streams::new();
        let mut alive = std::collections::BTreeMap::new();
        let mut seed = 7u32;
        for round in 0..5_000u32 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let id = round * 2 + 1 + (seed >> 28) * 64;
            if streams.find(id).is_none() {
                alive.insert(id, streams.insert(id));
            }
            if alive.len() > 40 {
                let nth = seed as usize % alive.len();
                let (&id, &key) = alive.iter().nth(nth).unwrap();
                streams.remove(key);
                alive.remove(&id);
                assert!(streams.get(key).is_none(), "a stale key finds nothing");
            }
            assert_eq!(streams.len(), alive.len());
            for (&id, &key) in &alive {
                assert_eq!(streams.find(id), Some(key));
            }
        }
        assert!(streams.slots() <= 42, "slots are reused");
    }

    #[test]
    fn turns_go_by_urgency_and_then_around() {
        let mut streams = Streams::new();
        let keys: Vec<_> = (0..6).map(|nth| streams.insert(nth * 2 + 1)).collect();
        let by = |urgency| Priority { urgency, incremental: true };
        for (&key, urgency) in keys.iter().zip([3, 3, 0, 7, 3, 0]) {
            streams.set_priority(key, by(urgency));
            streams.queue(key);
            streams.queue(key);
        }
        assert!(streams.others_wait(0));
        streams.unqueue(keys[1]);
        streams.set_priority(keys[4], by(1));
        let order: Vec<_> = std::iter::from_fn(|| streams.next()).map(|key| key.id).collect();
        assert_eq!(order, [5, 11, 9, 1, 7]);
        assert!(!streams.others_wait(7));
    }
    #[test]
    fn whole_replies_stand_in_the_order_of_their_streams_before_those_in_parts() {
        let mut streams = Streams::new();
        let keys: Vec<_> = (0..6).map(|nth| streams.insert(nth * 2 + 1)).collect();
        // Streams 3, 7 and 11 are of use as a whole only.
        for nth in [5, 0, 3, 1, 4, 2] {
            streams.set_priority(keys[nth], Priority { urgency: 3, incremental: nth % 2 == 0 });
            streams.queue(keys[nth]);
        }
        let mut order = Vec::new();
        while let Some(key) = streams.next().filter(|_| order.len() < 9) {
            order.push(key.id);
            // Each comes back once.
            if order.iter().filter(|&&id| id == key.id).count() == 1 {
                streams.queue(key);
            }
        }
        assert_eq!(order, [3, 3, 7, 7, 11, 11, 1, 9, 5]);
        assert!(streams.others_wait(3));
    }
}
