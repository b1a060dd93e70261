//! What is remembered beside the pins, in a small map of its own: which layout the tables have,
//! which reasons the counters count, which object the programs came from, and with what settings.
//! A later loader decides by it what it may go on with.

use crate::settings::Settings;
use crate::sys::bpf::{self, MapInfo, Shape, kind};
use packet_abi::flow::hash_bytes;
use packet_abi::tables::{Allowance, Count, Seen};
use packet_abi::verdict::Reason;
use packet_abi::{Descriptor, HashKey, Server, Trafficset};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;

/// Name of the pin.
pub(crate) const NAME: &str = "LAYOUT";
/// What the tables mean, beside their sizes: counted up where a word of them changes its meaning.
pub const TABLES_VERSION: u64 = 1;
/// First word of the map: "weirpkt1".
const MAGIC: u64 = u64::from_be_bytes(*b"weirpkt1");
const WORDS: usize = 12;
/// The hashes here tell builds apart, and no attacker chooses them.
const KEY: HashKey = HashKey { first: 0, second: 0 };

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Of the tables' version and the sizes of their values.
    pub tables: u64,
    /// Of the words of all reasons, in their order.
    pub reasons: u64,
    /// Of the object.
    pub object: u64,
    /// The constants.
    pub settings: Settings,
}

impl Layout {
    /// The layout of an object of this build.
    #[must_use]
    pub fn of(object: &[u8], settings: &Settings) -> Self {
        Self {
            tables: tables(),
            reasons: reasons(),
            object: hash_bytes(&KEY, object),
            settings: *settings,
        }
    }

    /// Writes it to a map of its own.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn write(&self) -> io::Result<OwnedFd> {
        let shape =
            Shape { kind: kind::ARRAY, key: 4, value: (WORDS * 8) as u32, entries: 1, flags: 0 };
        let fd = bpf::create_map(NAME, shape, None)?;
        let mut words = [MAGIC, self.tables, self.reasons, self.object].to_vec();
        words.extend(self.settings.words());
        let octets: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        bpf::update(fd.as_fd(), 0, &octets)?;
        Ok(fd)
    }

    /// Reads it; `None` where it was written by another kind of loader.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn read(map: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let MapInfo { shape, .. } = bpf::map_info(map)?;
        if (shape.key, shape.value as usize) != (4, WORDS * 8) {
            return Ok(None);
        }
        let mut octets = [0; WORDS * 8];
        bpf::look_up(map, 0, &mut octets)?;
        let mut words = [0; WORDS];
        for (word, octets) in words.iter_mut().zip(octets.chunks_exact(8)) {
            *word = u64::from_ne_bytes(octets.try_into().unwrap_or_default());
        }
        let [magic, tables, reasons, object, settings @ ..] = words;
        let settings = Settings::of_words(settings);
        Ok((magic == MAGIC).then_some(Self { tables, reasons, object, settings }))
    }
}

fn tables() -> u64 {
    let sizes = [
        size_of::<Descriptor>(),
        size_of::<Trafficset>(),
        size_of::<Server>(),
        size_of::<Count>(),
        size_of::<Seen>(),
        size_of::<Allowance>(),
    ];
    let octets: Vec<u8> = std::iter::once(TABLES_VERSION)
        .chain(sizes.map(|size| size as u64))
        .flat_map(u64::to_ne_bytes)
        .collect();
    hash_bytes(&KEY, &octets)
}

fn reasons() -> u64 {
    let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.word()).collect();
    hash_bytes(&KEY, words.join(" ").as_bytes())
}

/// Numbers of the CPUs that the kernel keeps values for, whether they are there or not. Values of
/// per-CPU maps lie in this order.
///
/// # Errors
/// Where `/sys/devices/system/cpu/possible` cannot be read or understood.
pub fn possible_cpus() -> io::Result<Vec<u32>> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    cpus_of(text.trim()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The numbers of a list such as `0-3,8`.
fn cpus_of(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last >= CPUS_MAX {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// Highest number of a CPU and one: what Linux can be built for.
const CPUS_MAX: u32 = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_numbers() {
        let rows: [(&str, Option<&[u32]>); 6] = [
            ("0", Some(&[0])),
            ("0-3", Some(&[0, 1, 2, 3])),
            ("0-1,8,10-11", Some(&[0, 1, 8, 10, 11])),
            ("", None),
            ("3-1", None),
            ("0-4000000000", None),
        ];
        for (list, expect) in rows {
            assert_eq!(cpus_of(list).as_deref(), expect, "{list}");
        }
    }
}
