//! Tables of a generation, written into the half of the maps that no packet looks at, read back,
//! and put in force by one store. A single bucket is one store too.
//!
//! ```text
//!            half 0              half 1
//! TRIE    [ generation 7 … ] [ generation 8 … ]      ACTIVE ──► 0
//! BUCKETS [ generation 7 … ] [ generation 8 … ]      then   ──► 1, and a wait before half 0 is
//!                                                            written again
//! ```
//!
//! A process that dies at any point leaves the old generation in force, or the new one.

use crate::object::ObjectError;
use crate::pins::{Home, PinError};
use crate::sys::bpf::Grace;
use crate::sys::mapped::Mapped;
use crate::words::{
    DESCRIPTOR_WORDS, SERVER_WORDS, SET_WORDS, descriptor_of, descriptor_words, server_of,
    server_words, set_of, set_words,
};
use core_forwarding::Image;
use packet_abi::tables::Row;
use packet_abi::{Bucket, Descriptor, Entry, Server, Trafficset, maps};
use rustix::fd::OwnedFd;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Why a generation was not put in force. The one before it still is.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// More than the maps have room for.
    #[error(
        "generation {generation} has {wanted} {what}, and the maps have room for {capacity}: raise \
         `{key}` in [packet]; a restart of the packet daemon makes larger maps"
    )]
    Capacity {
        /// Its number.
        generation: u64,
        /// Trie entries, port rows, …
        what: &'static str,
        /// How many it has.
        wanted: usize,
        /// How many there may be.
        capacity: usize,
        /// The key of the configuration.
        key: &'static str,
    },
    /// Not newer than what is in force.
    #[error(
        "generation {generation} was to be published, and {in_force} is in force: a generation's \
         number must grow"
    )]
    NotNewer {
        /// Its number.
        generation: u64,
        /// The one in force.
        in_force: u64,
    },
    /// What was read back is not what was written.
    #[error(
        "generation {generation} was written and read back with checksum {found:016x} for \
         {expected:016x}: another process writes the same maps, or memory is faulty; nothing \
         changed"
    )]
    Differs {
        /// Its number.
        generation: u64,
        /// Of what was to be written.
        expected: u64,
        /// Of what was read.
        found: u64,
    },
    /// No such bucket.
    #[error("bucket {index} was to be moved, and the generation in force has {len}")]
    NoBucket {
        /// Its index, over all tables.
        index: u32,
        /// Buckets of all tables.
        len: u32,
    },
    /// The programs that a trafficset wants were refused.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// They were not pinned.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A slot of the chain.
    #[error("the kernel did not change a slot of {map}")]
    Slot {
        /// The map.
        map: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel did not wait.
    #[error("the kernel did not wait for the programs under way; the new generation is in force")]
    Grace(#[source] io::Error),
}

/// What a publication took.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Number of the generation.
    pub generation: u64,
    /// Checksum of its contents: the same on every server that was given the same.
    pub checksum: u64,
    /// Time to write, read back and put in force.
    pub write: Duration,
    /// Time until no packet could see the old generation.
    pub settle: Duration,
}

/// The maps of the tables, in the memory of this process.
#[derive(Debug)]
pub struct Tables {
    active: Mapped,
    descriptors: Mapped,
    trie: Mapped,
    rows: Mapped,
    sets: Mapped,
    servers: Mapped,
    buckets: Mapped,
    grace: Grace,
    /// Whether a packet may still look at the half that is not in force.
    unsettled: bool,
}

/// Why the tables could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// They are not where they should be.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// They are, and the kernel would not map them.
    #[error("the map {name} could not be mapped into memory")]
    Map {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Tables {
    /// Opens the tables that are pinned, for reading; who writes holds the lock of `home`.
    ///
    /// # Errors
    /// [`TablesError`].
    pub fn open(home: &Home) -> Result<Self, TablesError> {
        Self::of(|name| Ok(home.open(name)?))
    }

    /// From descriptors of the maps.
    pub(crate) fn of(
        map: impl Fn(&'static str) -> Result<OwnedFd, TablesError>,
    ) -> Result<Self, TablesError> {
        let mapped = |name, words| {
            Mapped::new(map(name)?, words).map_err(|source| TablesError::Map { name, source })
        };
        Ok(Self {
            active: mapped(maps::ACTIVE, 1)?,
            descriptors: mapped(maps::DESCRIPTORS, DESCRIPTOR_WORDS)?,
            trie: mapped(maps::TRIE, 1)?,
            rows: mapped(maps::ROWS, 1)?,
            sets: mapped(maps::SETS, SET_WORDS)?,
            servers: mapped(maps::SERVERS, SERVER_WORDS)?,
            buckets: mapped(maps::BUCKETS, 1)?,
            grace: Grace::new()
                .map_err(|source| TablesError::Map { name: "weir_grace", source })?,
            // A process before this one may have died before it waited.
            unsettled: true,
        })
    }

    /// The half in force, 0 or 1.
    fn half(&self) -> usize {
        // The array's one element; the kernel makes no empty array.
        let word = self.active.words().first().map_or(0, |word| word.load(Ordering::Acquire));
        (word & 1) as usize
    }

    /// Where the generation in force lies. Its number is 0 before the first one.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        descriptor_of(self.descriptors.element(self.half()).unwrap_or_default())
    }

    /// Puts a generation in force.
    ///
    /// Every packet sees the old or the new one as a whole. On return none sees the old one, so
    /// that what it referred to (a server, say) may go.
    ///
    /// # Errors
    /// [`PublishError`]; but for [`PublishError::Grace`] nothing has changed.
    pub fn publish(&mut self, generation: u64, image: &Image) -> Result<Published, PublishError> {
        let in_force = self.descriptor().generation;
        if generation <= in_force {
            return Err(PublishError::NotNewer { generation, in_force });
        }
        let spare = self.half() ^ 1;
        let (bases, descriptor) = self.place(generation, spare, image)?;
        self.settle()?;
        let begun = Instant::now();
        let expected = image.checksum;
        self.write(&bases, image);
        let found = self.image_at(&descriptor).checksum;
        if found != expected {
            return Err(PublishError::Differs { generation, expected, found });
        }
        let descriptor = Descriptor { checksum: expected, ..descriptor };
        store(self.descriptors.range(spare, 1), &descriptor_words(&descriptor));
        self.unsettled = true;
        if let Some(word) = self.active.words().first() {
            // All that the half holds is seen by whoever sees this.
            word.store(spare as u64, Ordering::Release);
        }
        let write = begun.elapsed();
        let begun = Instant::now();
        self.settle()?;
        Ok(Published { generation, checksum: expected, write, settle: begun.elapsed() })
    }

    /// Gives a bucket of the generation in force to other servers: one store. `index` counts over
    /// all tables, as [`Trafficset::table_base`] does.
    ///
    /// # Errors
    /// [`PublishError::NoBucket`].
    pub fn move_bucket(&mut self, index: u32, bucket: Bucket) -> Result<(), PublishError> {
        let descriptor = self.descriptor();
        let missing = PublishError::NoBucket { index, len: descriptor.buckets_len };
        if index >= descriptor.buckets_len {
            return Err(missing);
        }
        let place = descriptor.buckets_base as usize + index as usize;
        let word = self.buckets.words().get(place).ok_or(missing)?;
        word.store(bucket.0, Ordering::Release);
        Ok(())
    }

    /// The checksum of what is in force as it is at this moment, single moves included: equal
    /// tables on two servers have equal ones.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        self.image().checksum
    }

    /// Waits until no packet can see the half that is not in force.
    fn settle(&mut self) -> Result<(), PublishError> {
        if self.unsettled {
            self.grace.wait().map_err(PublishError::Grace)?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// Where a generation is to lie, if there is room.
    fn place(
        &self,
        generation: u64,
        half: usize,
        image: &Image,
    ) -> Result<(Bases, Descriptor), PublishError> {
        let base = |map: &Mapped, wanted: usize, what, key| {
            let capacity = map.len() / 2;
            let fits = wanted <= capacity;
            let error = PublishError::Capacity { generation, what, wanted, capacity, key };
            if fits { Ok(half * capacity) } else { Err(error) }
        };
        let bases = Bases {
            trie: base(&self.trie, image.trie.len(), "trie entries", "trie_entries_max")?,
            rows: base(&self.rows, image.rows.len(), "port rows", "port_rows_max")?,
            sets: base(&self.sets, image.sets.len(), "trafficsets", "trafficsets_max")?,
            servers: base(&self.servers, image.servers.len(), "servers", "servers_max")?,
            buckets: base(&self.buckets, image.buckets.len(), "buckets", "buckets_max")?,
        };
        let descriptor = Descriptor {
            generation,
            checksum: 0,
            root: image.root,
            trie_base: bases.trie as u32,
            trie_len: image.trie.len() as u32,
            rows_base: bases.rows as u32,
            rows_len: image.rows.len() as u32,
            sets_base: bases.sets as u32,
            sets_len: image.sets.len() as u32,
            servers_base: bases.servers as u32,
            servers_len: image.servers.len() as u32,
            buckets_base: bases.buckets as u32,
            buckets_len: image.buckets.len() as u32,
        };
        Ok((bases, descriptor))
    }

    /// Writes an image at its bases.
    fn write(&self, bases: &Bases, image: &Image) {
        let Image { trie, rows, sets, servers, buckets, .. } = image;
        store(self.trie.range(bases.trie, trie.len()), trie);
        store(self.rows.range(bases.rows, rows.len()), rows);
        store(self.buckets.range(bases.buckets, buckets.len()), buckets);
        for (at, set) in sets.iter().enumerate() {
            store(self.sets.range(bases.sets + at, 1), &set_words(set));
        }
        for (at, server) in servers.iter().enumerate() {
            store(self.servers.range(bases.servers + at, 1), &server_words(server));
        }
        // A server that a bucket or a connection id names, and that is not there, is none: what an
        // earlier generation left behind must not stand in its place.
        let rest = self.servers.len() / 2;
        for at in servers.len()..rest {
            store(self.servers.range(bases.servers + at, 1), &server_words(&Server::NONE));
        }
    }

    /// What is in force as it is at this moment, single moves included.
    #[must_use]
    pub fn image(&self) -> Image {
        self.image_at(&self.descriptor())
    }

    /// What lies where a descriptor says.
    fn image_at(&self, descriptor: &Descriptor) -> Image {
        let Descriptor { trie_len, rows_len, sets_len, servers_len, .. } = *descriptor;
        let mut image = Image {
            root: descriptor.root,
            trie: load(&self.trie, descriptor.trie_base, trie_len),
            rows: load(&self.rows, descriptor.rows_base, rows_len),
            sets: (0..sets_len).filter_map(|at| self.trafficset(descriptor, at)).collect(),
            servers: (0..servers_len).filter_map(|at| self.server(descriptor, at)).collect(),
            buckets: load(&self.buckets, descriptor.buckets_base, descriptor.buckets_len),
            checksum: 0,
        };
        image.checksum = image.parts().checksum();
        image
    }
}

/// Readers, by index from the generation's own first element.
impl Tables {
    fn element<const WORDS: usize>(
        map: &Mapped,
        base: u32,
        len: u32,
        index: u32,
    ) -> Option<[u64; WORDS]> {
        if index < len { map.element(base as usize + index as usize) } else { None }
    }

    /// An entry of the trie.
    #[must_use]
    pub fn entry(&self, generation: &Descriptor, index: u32) -> Option<Entry> {
        let Descriptor { trie_base, trie_len, .. } = *generation;
        let [word] = Self::element(&self.trie, trie_base, trie_len, index)?;
        Some(Entry(word))
    }

    /// A port row.
    #[must_use]
    pub fn row(&self, generation: &Descriptor, index: u32) -> Option<Row> {
        let Descriptor { rows_base, rows_len, .. } = *generation;
        let [word] = Self::element(&self.rows, rows_base, rows_len, index)?;
        Some(Row(word))
    }

    /// A trafficset.
    #[must_use]
    pub fn trafficset(&self, generation: &Descriptor, index: u32) -> Option<Trafficset> {
        let Descriptor { sets_base, sets_len, .. } = *generation;
        Self::element(&self.sets, sets_base, sets_len, index).map(set_of)
    }

    /// A server by id.
    #[must_use]
    pub fn server(&self, generation: &Descriptor, id: u32) -> Option<Server> {
        let Descriptor { servers_base, servers_len, .. } = *generation;
        Self::element(&self.servers, servers_base, servers_len, id).map(server_of)
    }

    /// A bucket, counted over all tables.
    #[must_use]
    pub fn bucket(&self, generation: &Descriptor, index: u32) -> Option<Bucket> {
        let Descriptor { buckets_base, buckets_len, .. } = *generation;
        let [word] = Self::element(&self.buckets, buckets_base, buckets_len, index)?;
        Some(Bucket(word))
    }
}

/// First elements of a generation's parts.
struct Bases {
    trie: usize,
    rows: usize,
    sets: usize,
    servers: usize,
    buckets: usize,
}

fn store(place: Option<&[AtomicU64]>, words: &[u64]) {
    // `place` has the same lengths; a write that did not happen shows in the checksum.
    for (to, from) in place.unwrap_or_default().iter().zip(words) {
        to.store(*from, Ordering::Relaxed);
    }
}

fn load(map: &Mapped, base: u32, len: u32) -> Vec<u64> {
    let place = map.range(base as usize, len as usize).unwrap_or_default();
    place.iter().map(|word| word.load(Ordering::Relaxed)).collect()
}

#[cfg(test)]
mod tests;
