//! What became of packets, by reason: sums over CPUs, and the verdict that a CPU saw last.

use crate::layout::possible_cpus;
use crate::pins::{Home, PinError};
use crate::sys::bpf;
use packet_abi::maps;
use packet_abi::tables::Count;
use packet_abi::verdict::Reason;
use rustix::fd::{AsFd, OwnedFd};
use std::io;

const COUNT_LEN: usize = size_of::<Count>();

/// Why counters were not read.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// They are not where they should be.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel refused.
    #[error("the kernel did not tell the counter of {reason}")]
    Refused {
        /// The reason's word.
        reason: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The CPUs cannot be counted.
    #[error("the CPUs of this host cannot be counted (/sys/devices/system/cpu/possible)")]
    Cpus(#[source] io::Error),
}

/// The counters of all reasons.
#[derive(Debug)]
pub struct Counters {
    map: OwnedFd,
    cpus: usize,
}

impl Counters {
    /// Opens the counters that are pinned.
    ///
    /// # Errors
    /// [`CountersError`].
    pub fn open(home: &Home) -> Result<Self, CountersError> {
        Self::of(home.open(maps::COUNTERS)?)
    }

    /// Of a map.
    pub(crate) fn of(map: OwnedFd) -> Result<Self, CountersError> {
        let cpus = possible_cpus().map_err(CountersError::Cpus)?.len();
        Ok(Self { map, cpus })
    }

    /// Every reason with its sum over CPUs, in the order of [`Reason::ALL`].
    ///
    /// CPUs go on counting meanwhile, so that sums of different reasons are of different moments.
    ///
    /// # Errors
    /// [`CountersError::Refused`].
    pub fn read(&self) -> Result<Vec<(Reason, Count)>, CountersError> {
        let mut values = vec![0; COUNT_LEN * self.cpus];
        let mut sums = Vec::with_capacity(Reason::ALL.len());
        for reason in Reason::ALL {
            bpf::look_up(self.map.as_fd(), *reason as u32, &mut values)
                .map_err(|source| CountersError::Refused { reason: reason.word(), source })?;
            sums.push((*reason, sum(&values)));
        }
        Ok(sums)
    }
}

fn sum(values: &[u8]) -> Count {
    let mut sum = Count::default();
    for value in values.chunks_exact(COUNT_LEN) {
        let (packets, octets) = value.split_at(8);
        sum.packets = sum.packets.wrapping_add(word(packets));
        sum.octets = sum.octets.wrapping_add(word(octets));
    }
    sum
}

fn word(octets: &[u8]) -> u64 {
    u64::from_ne_bytes(octets.try_into().unwrap_or_default())
}

/// The reason whose counter moved between two readings; `None` where none did.
pub(crate) fn moved(before: &[(Reason, Count)], after: &[(Reason, Count)]) -> Option<Reason> {
    let moved = before.iter().zip(after).find(|(before, after)| before.1 != after.1);
    moved.map(|(_, (reason, _))| *reason)
}

/// A reason by its number.
#[must_use]
pub fn reason_of(number: u32) -> Option<Reason> {
    Reason::ALL.get(number as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_cpus() {
        let words = [1_u64, 100, 2, 200, u64::MAX, 1];
        let values: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        assert_eq!(sum(&values), Count { packets: 2, octets: 301 });
        assert_eq!(reason_of(0), Some(Reason::NotIp));
        assert_eq!(reason_of(u32::MAX), None);
    }
}
