//! A forwarding table: two slots for each bucket, and when it last changed.

use packet_abi::Bucket;
use thiserror::Error;

use crate::fleet::SERVERS_MAX;
use crate::mix::Checksum;

/// The number of buckets of a table: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Buckets(u32);

/// Most buckets of one table: the maps of the kernel hold as many for both generations.
pub const BUCKETS_MAX: u32 = 1 << 20;
/// Buckets for each server at least: below, one bucket more or less is over one part in a hundred.
pub const BUCKETS_PER_SERVER: u32 = 100;

/// A number of buckets that no table has. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} buckets: give a power of two up to {BUCKETS_MAX}")]
pub struct BucketsError(pub u32);

impl Buckets {
    /// Checks the number.
    ///
    /// # Errors
    /// Where it is no power of two, or over [`BUCKETS_MAX`].
    pub const fn new(count: u32) -> Result<Self, BucketsError> {
        if count.is_power_of_two() && count <= BUCKETS_MAX {
            Ok(Self(count))
        } else {
            Err(BucketsError(count))
        }
    }

    /// The fewest that are enough for a fleet of `servers`.
    #[must_use]
    pub fn enough_for(servers: usize) -> Self {
        let servers = u32::try_from(servers).unwrap_or(u32::MAX);
        let wanted = servers.max(1).saturating_mul(BUCKETS_PER_SERVER).min(BUCKETS_MAX);
        Self(wanted.next_power_of_two())
    }

    /// The number.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0
    }

    /// Its logarithm.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.trailing_zeros()
    }
}

/// A forwarding table. Bucket and time of change are two lists of one length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    buckets: Vec<Bucket>,
    changed: Vec<u64>,
}

/// The buckets in which a table differs from the one before, by index.
pub type TableDiff = Vec<(u32, Bucket)>;

impl Table {
    /// A table of these buckets that never changed.
    #[must_use]
    pub(crate) fn of(buckets: Vec<Bucket>) -> Self {
        let changed = vec![0; buckets.len()];
        Self { buckets, changed }
    }

    /// The buckets, in order.
    #[must_use]
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// A bucket; empty past the last one.
    #[must_use]
    pub fn bucket(&self, index: usize) -> Bucket {
        self.buckets.get(index).copied().unwrap_or_default()
    }

    /// When the owner of a bucket was last replaced, on the planner's clock; 0 for never.
    #[must_use]
    pub fn changed(&self, index: usize) -> u64 {
        self.changed.get(index).copied().unwrap_or(0)
    }

    /// How many buckets each server owns, by id.
    #[must_use]
    pub fn owned(&self) -> Vec<u32> {
        let mut owned = vec![0_u32; SERVERS_MAX + 1];
        for bucket in &self.buckets {
            if let Some(owned) = owned.get_mut(bucket.first() as usize) {
                *owned += 1;
            }
        }
        owned
    }

    /// Restores a table from what was stored of it; `None` where the lists differ in length or are
    /// not as long as a table can be.
    #[must_use]
    pub fn restore(buckets: Vec<Bucket>, changed: Vec<u64>) -> Option<Self> {
        let count = u32::try_from(buckets.len()).ok()?;
        let fits = buckets.len() == changed.len() && Buckets::new(count).is_ok();
        fits.then_some(Self { buckets, changed })
    }

    /// Sets a bucket and the time of its change.
    pub(crate) fn set(&mut self, index: usize, bucket: Bucket, now: u64) {
        if let Some(place) = self.buckets.get_mut(index) {
            *place = bucket;
        }
        if let Some(place) = self.changed.get_mut(index) {
            *place = now;
        }
    }

    /// What must be written to turn `before` into this table.
    #[must_use]
    pub fn diff(&self, before: &Self) -> TableDiff {
        let pairs = (0_u32..).zip(self.buckets.iter().zip(&before.buckets));
        pairs.filter(|(_, (new, old))| new != old).map(|(at, (new, _))| (at, *new)).collect()
    }

    /// The checksum of all buckets: equal tables on two servers have equal ones.
    #[must_use]
    pub fn checksum(&self) -> u64 {
        let mut sum = Checksum::default();
        sum.words(self.buckets.iter().map(|bucket| bucket.0));
        sum.value()
    }
}
