//! Connections to origins: made, lent, and kept while idle.

pub(crate) mod connect;
mod link;
pub(crate) mod pool;
pub(crate) mod request_head;
pub(crate) mod resolve;
pub(crate) mod streams;
pub(crate) mod wait;

pub(crate) use connect::connect;
pub(crate) use link::{Flow, Upstream, Wire};
pub(crate) use pool::{IdlePool, SharedPool};
pub(crate) use streams::StreamPool;

use crate::exchange::Stage;
use crate::plan::{OriginPlan, PoolPlan, Transport};
use crate::reason::Reason;
use core_balance::retry::Progress;
use process_runtime::live::OriginLive;
use process_runtime::metrics::Limit;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use wait::Failure;

/// Who a connection leads to and what was proved on it. Transports are interned by value, hence
/// equal ones are the same object.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Arc<Transport>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address && Arc::ptr_eq(&self.transport, &other.transport)
    }
}

impl Eq for Key {}

/// What the hashes of a key are made from: one word, as the whole key is compared anyway.
fn digest(address: SocketAddr, transport: &Arc<Transport>) -> u64 {
    let (high, low) = match address.ip() {
        IpAddr::V4(v4) => (0, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => {
            let (high, low) = (v6.to_bits() >> 64, v6.to_bits());
            (high as u64, low as u64)
        }
    };
    let transport = Arc::as_ptr(transport) as usize as u64;
    (low << 16 | u64::from(address.port())) ^ high.rotate_left(32) ^ transport.rotate_left(24)
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(digest(self.address, &self.transport));
    }
}

/// A key to look up by, without counting a use of its transport.
#[derive(Clone, Copy)]
pub(crate) struct KeyRef<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) transport: &'a Arc<Transport>,
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(digest(self.address, self.transport));
    }
}

impl hashbrown::Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.address == key.address && Arc::ptr_eq(self.transport, &key.transport)
    }
}

/// Whether another connection to `origin` may be made.
///
/// # Errors
/// When one of its circuit breakers forbids it.
pub(crate) fn within_breakers(
    stage: Stage<'_>,
    pool: &PoolPlan,
    origin: &OriginPlan,
) -> Result<(), Failure> {
    let breakers = &pool.config.circuit_breakers;
    for (count, most, limit, at) in [
        (&origin.live.connections, breakers.connections, Limit::OriginConnections, 0),
        (&origin.live.pending, breakers.pending, Limit::OriginPending, 1),
    ] {
        if count.load(Relaxed) >= most {
            let stats = origin.live.stats.shard(stage.worker.index);
            stage.listener.stats.shard(stage.worker.index).hit(limit);
            stats.breaker_hits.get(at).inspect(|counter| counter.inc());
            return Err(Failure::new(Reason::ConnectionLimit, Progress::NothingWritten));
        }
    }
    Ok(())
}

/// Counts a connection as open for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    live: Arc<OriginLive>,
    counts: bool,
}

impl OpenGuard {
    pub(crate) fn new(live: &Arc<OriginLive>) -> Self {
        live.connections.fetch_add(1, Relaxed);
        Self { live: live.clone(), counts: true }
    }

    /// For a stream of a connection that is counted already.
    pub(crate) fn of_stream(live: &Arc<OriginLive>) -> Self {
        Self { live: live.clone(), counts: false }
    }

    pub(crate) fn live(&self) -> &Arc<OriginLive> {
        &self.live
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        if self.counts {
            self.live.connections.fetch_sub(1, Relaxed);
        }
    }
}
