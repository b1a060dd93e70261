//! Open connections per source address, for the limit of a listener.
//!
//! Shared by all workers, since the kernel spreads the connections of one source over them; a
//! lock is taken when a connection opens and when it closes, never by a request.

use hashbrown::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Parts of the table with a lock each.
const SHARDS: usize = 64;

type Shard = Mutex<HashMap<u64, u32, foldhash::fast::RandomState>>;

/// The table. It holds an entry per source with an open connection, hence no more than there are
/// connections.
#[derive(Debug)]
pub(crate) struct Sources {
    open: AtomicU64,
    shards: Vec<Shard>,
}

impl Default for Sources {
    fn default() -> Self {
        Self { open: AtomicU64::new(0), shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }
}

/// Which limit a connection would break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Listener,
    Source,
}

/// One open connection; closing it is dropping this.
#[derive(Debug)]
pub(crate) struct Place {
    sources: Arc<Sources>,
    key: u64,
}

/// An IPv6 host owns a /64, so the prefix is what is counted. IPv4 addresses stand where prefixes
/// of multicast are, which is no source.
fn key(source: IpAddr) -> u64 {
    match source.to_canonical() {
        IpAddr::V4(v4) => 0xffff_ffff_0000_0000 | u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

impl Sources {
    fn shard(&self, key: u64) -> Option<&Shard> {
        let mixed = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58;
        self.shards.get(usize::try_from(mixed).unwrap_or(0) % SHARDS)
    }

    /// Number of open connections.
    #[cfg(test)]
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Relaxed)
    }

    /// Counts a connection from `source`, or says which limit it would break.
    pub(crate) fn enter(
        self: &Arc<Self>,
        source: IpAddr,
        limit: u64,
        per_source: u64,
    ) -> Result<Place, Full> {
        if self.open.fetch_add(1, Relaxed) >= limit {
            self.open.fetch_sub(1, Relaxed);
            return Err(Full::Listener);
        }
        let key = key(source);
        if let Some(shard) = self.shard(key) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let count = shard.entry(key).or_insert(0);
            if u64::from(*count) >= per_source {
                self.open.fetch_sub(1, Relaxed);
                return Err(Full::Source);
            }
            *count += 1;
        }
        Ok(Place { sources: self.clone(), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sources.open.fetch_sub(1, Relaxed);
        if let Some(shard) = self.sources.shard(self.key) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = shard.get_mut(&self.key) {
                *count -= 1;
                if *count == 0 {
                    shard.remove(&self.key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_and_a_64_counts_as_one_source() {
        let sources = Arc::new(Sources::default());
        let enter = |ip: &str| sources.enter(ip.parse().unwrap(), 3, 2);
        let first = enter("2001:db8::1").unwrap();
        let second = enter("2001:db8::2").unwrap();
        assert_eq!(enter("2001:db8::3").unwrap_err(), Full::Source);
        let third = enter("192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.2").unwrap_err(), Full::Listener);
        drop((first, second, third));
        assert_eq!(sources.open(), 0);
        assert!(enter("2001:db8::3").is_ok());
    }
}
