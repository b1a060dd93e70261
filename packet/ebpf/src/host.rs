//! Frames and tables over plain memory: for tests, fuzzing and explanations, never in the kernel.

use crate::frame::{Frame, Plain};
use crate::world::{Constants, NOTES, Segment, Socket, World};
use core::cell::Cell;
use packet_abi::tables::Row;
use packet_abi::{Bucket, Descriptor, Entry, Flow, Server, Trafficset};
use std::vec::Vec;

/// Octets in front of a frame, as drivers leave them.
pub const HEADROOM: usize = 256;

/// Octets behind a frame, as drivers leave them.
pub const TAILROOM: usize = 64;

/// A frame in memory.
#[derive(Clone, Debug)]
pub struct HostFrame {
    octets: Vec<u8>,
    start: usize,
}

impl HostFrame {
    /// A frame with headroom that is filled with `poison`, so that octets which nobody wrote show.
    #[must_use]
    pub fn new(frame: &[u8], poison: u8) -> Self {
        let mut octets = std::vec![poison; HEADROOM];
        octets.extend_from_slice(frame);
        Self { octets, start: HEADROOM }
    }

    /// The frame as it is.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.octets.get(self.start..).unwrap_or_default()
    }

    fn range(&self, at: usize, len: usize) -> Option<core::ops::Range<usize>> {
        let from = self.start.checked_add(at)?;
        let to = from.checked_add(len)?;
        (to <= self.octets.len()).then_some(from..to)
    }
}

impl Frame for HostFrame {
    fn octets(&self) -> usize {
        self.octets.len() - self.start
    }

    fn load<T: Plain>(&self, at: usize) -> Option<T> {
        let octets = self.octets.get(self.range(at, size_of::<T>())?)?;
        // SAFETY: the slice has the octets of a T, and any octets are a valid Plain value.
        Some(unsafe { octets.as_ptr().cast::<T>().read_unaligned() })
    }

    fn store<T: Plain>(&mut self, at: usize, value: T) -> Option<()> {
        let range = self.range(at, size_of::<T>())?;
        let octets = self.octets.get_mut(range)?;
        // SAFETY: the slice has room for a T, and u8 takes any octets.
        unsafe { octets.as_mut_ptr().cast::<T>().write_unaligned(value) };
        Some(())
    }

    fn grow(&mut self, octets: usize) -> Option<()> {
        self.start = self.start.checked_sub(octets)?;
        Some(())
    }

    fn shrink(&mut self, octets: usize) -> Option<()> {
        if octets >= self.octets() {
            return None;
        }
        self.start += octets;
        Some(())
    }

    fn cut(&mut self, octets: usize) -> Option<()> {
        if octets > self.octets() + TAILROOM {
            return None;
        }
        self.octets.resize(self.start + octets, 0);
        Some(())
    }

    fn reach(&mut self, _octets: usize) {}

    fn sum<const N: usize>(&self, at: usize, sum: u32) -> Option<u32> {
        let octets = self.octets.get(self.range(at, N)?)?;
        let words = octets.chunks_exact(2).map(|word| match word {
            [a, b] => u64::from(u16::from_ne_bytes([*a, *b])),
            _ => 0,
        });
        let sum = words.sum::<u64>() + u64::from(sum);
        Some(((sum & 0xffff_ffff) + (sum >> 32)) as u32)
    }
}

/// One generation and the sockets around it, in memory.
#[derive(Clone, Debug)]
pub struct HostWorld {
    /// What a loader would fix.
    pub fixed: Constants,
    /// Bases and root; `generation` 0 is none.
    pub descriptor: Descriptor,
    /// The trie.
    pub trie: Vec<Entry>,
    /// Port rows.
    pub rows: Vec<Row>,
    /// Trafficsets.
    pub sets: Vec<Trafficset>,
    /// Servers by id.
    pub servers: Vec<Server>,
    /// Buckets.
    pub buckets: Vec<Bucket>,
    /// Flows with a socket here, and which.
    pub sockets: Vec<(Flow, Socket)>,
    /// Notes.
    pub notes: [Cell<u32>; NOTES],
    /// Whether replies are used up.
    pub silent: bool,
    /// The cookie that the kernel gives, and none where no listener is there.
    pub cookie: Option<u32>,
    /// Whether too many SYNs come.
    pub flooded: bool,
    /// The clock of timestamps, in milliseconds.
    pub milliseconds: u32,
}

impl World<HostFrame> for HostWorld {
    fn fixed(&self) -> Constants {
        self.fixed
    }

    fn root(&self) -> Option<Entry> {
        (self.descriptor.generation != 0).then_some(Entry(self.descriptor.root))
    }

    fn entry(&self, index: u32) -> Option<Entry> {
        self.trie.get(index as usize).copied()
    }

    fn row(&self, index: u32) -> Option<Row> {
        self.rows.get(index as usize).copied()
    }

    fn trafficset(&self, index: u32) -> Option<Trafficset> {
        self.sets.get(index as usize).copied()
    }

    fn server(&self, index: u32) -> Option<&Server> {
        self.servers.get(index as usize)
    }

    fn bucket(&self, index: u32) -> Option<Bucket> {
        self.buckets.get(index as usize).copied()
    }

    fn socket(&self, _frame: &HostFrame, flow: &Flow, ack: Option<Segment>) -> Socket {
        let found = self.sockets.iter().find(|(other, _)| other == flow);
        match found.map_or(Socket::None, |(_, socket)| *socket) {
            Socket::Cookie if ack.is_none() => Socket::None,
            socket => socket,
        }
    }

    fn may_reply(&self) -> bool {
        !self.silent
    }

    fn note(&self, slot: usize, value: u32) {
        if let Some(note) = self.notes.get(slot) {
            note.set(value);
        }
    }

    fn noted(&self, slot: usize) -> u32 {
        self.notes.get(slot).map_or(0, Cell::get)
    }

    fn flooded(&self) -> bool {
        self.flooded
    }

    fn cookie(&self, _frame: &HostFrame, _flow: &Flow, _segment: Segment) -> Option<u32> {
        self.cookie
    }

    fn milliseconds(&self) -> u32 {
        self.milliseconds
    }
}
