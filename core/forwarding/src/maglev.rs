//! Maglev tables, for services that need consistent hashing and no second hop (Eisenbud et al.,
//! NSDI 2016, §3.4): each server walks through the entries in an order of its own, servers take
//! turns, and a turn goes on until it finds an entry that nobody has.
//!
//! Servers take turns in proportion to their capacity. A server that leaves moves a few entries of
//! others too: `tests/maglev.rs` measures how many.

use packet_abi::Bucket;
use thiserror::Error;

use crate::fleet::{Fleet, State};
use crate::mix::draw;
use crate::table::BUCKETS_MAX;

/// Fewest entries of a table: at 100 for each server this is enough for 655 of them.
pub const ENTRIES_MIN: u32 = 65_537;
/// Entries unless the configuration says otherwise.
pub const ENTRIES: u32 = ENTRIES_MIN;

/// A number of entries that no table has. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a Maglev table of {0} entries: give a prime of {ENTRIES_MIN} to {BUCKETS_MAX}")]
pub struct EntriesError(pub u32);

/// The table of the active servers of `fleet`: entry by entry a first hop, and 0 as the second.
/// All entries are empty where no server is active.
///
/// # Errors
/// Where `entries` is no prime, or too small or too large.
pub fn table(fleet: &Fleet, seed: u64, entries: u32) -> Result<Vec<Bucket>, EntriesError> {
    if !(ENTRIES_MIN..=BUCKETS_MAX).contains(&entries) || !is_prime(entries) {
        return Err(EntriesError(entries));
    }
    let active = fleet.those(|member| member.state == State::Active);
    let strongest = active.iter().map(|member| member.capacity).max().unwrap_or(0);
    let mut table = vec![Bucket::default(); entries as usize];
    let mut turns: Vec<Turn> = active.iter().map(|m| Turn::of(m.id, seed, entries)).collect();
    let mut left = if active.is_empty() { 0 } else { entries };
    while left > 0 {
        for (turn, member) in turns.iter_mut().zip(&active) {
            turn.credit += member.capacity;
            if turn.credit < strongest || left == 0 {
                continue;
            }
            turn.credit -= strongest;
            turn.take(&mut table, entries);
            left -= 1;
        }
    }
    Ok(table)
}

/// A server's walk through the entries.
struct Turn {
    id: u16,
    at: u32,
    skip: u32,
    /// It has a turn each time that this reaches the capacity of the strongest.
    credit: u32,
}

impl Turn {
    fn of(id: u16, seed: u64, entries: u32) -> Self {
        let below =
            |number: u64, bound: u32| ((u128::from(number) * u128::from(bound)) >> 64) as u32;
        let (start, skip) = (draw(seed, u64::from(id), 0), draw(seed, u64::from(id), 1));
        Self { id, at: below(start, entries), skip: below(skip, entries - 1) + 1, credit: 0 }
    }

    /// Takes the next entry that nobody has; there must be one.
    fn take(&mut self, table: &mut [Bucket], entries: u32) {
        for _ in 0..entries {
            let at = self.at as usize;
            self.at = (self.at + self.skip) % entries;
            if let Some(entry) = table.get_mut(at).filter(|entry| entry.first() == 0) {
                *entry = Bucket::new(self.id, 0);
                return;
            }
        }
    }
}

fn is_prime(number: u32) -> bool {
    let root = number.isqrt();
    number > 1 && (2..=root).all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_prime_number_of_entries() {
        let fleet = Fleet::of_ids(1..=3).unwrap();
        for wrong in [0, 1, 65_521, 65_536, 65_538, 1_048_576, u32::MAX] {
            assert_eq!(table(&fleet, 1, wrong), Err(EntriesError(wrong)));
        }
        for right in [ENTRIES, 131_071, 655_373, 1_048_573] {
            assert_eq!(table(&fleet, 1, right).map(|table| table.len()), Ok(right as usize));
        }
        assert!(table(&Fleet::default(), 1, ENTRIES).unwrap().iter().all(|e| e.0 == 0));
    }
}
