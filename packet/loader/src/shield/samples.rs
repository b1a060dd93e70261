//! Samples of packets that rules matched, as user space reads them from the ring.

use std::io;
use std::os::fd::BorrowedFd;

use super::emit::HEADER;
use super::interpret::Outcome;
use crate::sys::ring::Ring;

/// A packet that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds of the monotonic clock.
    pub time: u64,
    /// Place of the rule ([`super::plan::Place`]).
    pub slot: u32,
    /// Octets of the frame.
    pub octets: u32,
    /// Interface that it came in by.
    pub interface: u32,
    /// What the rule did to it.
    pub outcome: Outcome,
    /// The first octets of the frame.
    pub head: Vec<u8>,
}

impl Sample {
    /// Reads a record; `None` for one of another kind.
    #[must_use]
    pub fn of(record: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let octets: &[u8; 4] = record.get(at..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*octets))
        };
        let captured = word(16)? as usize;
        Some(Self {
            time: u64::from(word(0)?) | u64::from(word(4)?) << 32,
            slot: word(8)?,
            octets: word(12)?,
            interface: word(20)?,
            outcome: Outcome::of(word(24)?)?,
            head: record.get(HEADER..)?.get(..captured)?.to_vec(),
        })
    }
}

/// Reads samples. One reader of a ring at a time.
#[derive(Debug)]
pub struct Samples(Ring);

impl Samples {
    /// Of the map `SAMPLES`.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self(Ring::new(map.try_clone_to_owned()?)?))
    }

    /// Hands every sample that is there to `each`, oldest first; at most a ring's worth.
    pub fn take(&mut self, mut each: impl FnMut(Sample)) {
        self.0.take(|record| {
            if let Some(sample) = Sample::of(record) {
                each(sample);
            }
        });
    }
}
