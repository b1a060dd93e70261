//! Idle connections to origins, in two levels: this worker's own, then one shared by all workers.
//!
//! A connection in use again and again stays with its worker and costs no lock. One that was idle
//! for [`DEMOTE_AFTER_TICKS`] moves to the shared level, where any worker finds it; so what one
//! worker opened serves another, and quiet workers do not hoard.

use super::{Key, KeyRef, OpenGuard, Upstream, Wire};
use crate::link::H1Link;
use crate::plan::Transport;
use crate::stream::Stream;
use crate::tcp::Tcp;
use crate::timer;
use crate::tls::{Session, TlsStream};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use tokio::net::TcpStream;

/// Idle time after which a connection is offered to all workers, in ticks of 100 ms.
const DEMOTE_AFTER_TICKS: u32 = 3;
/// Connections moved to the shared level in one tick; more would stall requests.
const DEMOTE_PER_TICK: usize = 64;
/// Parts of the shared level with a lock each.
const SHARDS: usize = 16;

type Map<T> = HashMap<Key, VecDeque<T>, foldhash::fast::RandomState>;

impl Upstream {
    /// Whether the origin neither closed it nor sent anything. Asks the kernel only when the
    /// reactor saw something happen.
    fn is_quiet(&mut self) -> bool {
        let Some(H1Link { stream, .. }) = self.own() else { return false };
        if let Stream::Tls(tls) = &*stream
            && !tls.is_clean()
        {
            return false;
        }
        let Ok(tcp) = stream.tcp_mut().joined() else { return false };
        let mut byte = [0];
        matches!(tcp.try_read(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// The level of one worker.
#[derive(Default)]
pub(crate) struct IdlePool {
    map: Map<Box<Upstream>>,
}

impl IdlePool {
    /// The newest quiet connection to `address` over `transport`.
    pub(crate) fn take(
        &mut self,
        address: SocketAddr,
        transport: &Arc<Transport>,
    ) -> Option<Box<Upstream>> {
        let list = self.map.get_mut(&KeyRef { address, transport })?;
        while let Some(mut kept) = list.pop_back() {
            kept.open.live().idle.fetch_sub(1, Relaxed);
            if !timer::passed(kept.expires) && kept.is_quiet() {
                return Some(kept);
            }
        }
        None
    }

    /// Keeps a connection. The caller has checked that it is clean and within the limits.
    pub(crate) fn put(&mut self, kept: Box<Upstream>) {
        kept.open.live().idle.fetch_add(1, Relaxed);
        match self.map.get_mut(&kept.key) {
            Some(list) => list.push_back(kept),
            None => {
                self.map.insert(kept.key.clone(), VecDeque::from([kept]));
            }
        }
    }

    /// Drops what expired or was closed by its origin, and moves what was idle for a while to the
    /// shared level (where there is more than one worker).
    pub(crate) fn tick(&mut self, shared: Option<&SharedPool>, look_closely: bool) {
        let now = timer::now();
        let mut moves = DEMOTE_PER_TICK;
        self.map.retain(|_, list| {
            if look_closely {
                list.retain_mut(|kept| {
                    let keep = !timer::passed(kept.expires) && kept.is_quiet();
                    if !keep {
                        kept.open.live().idle.fetch_sub(1, Relaxed);
                    }
                    keep
                });
            }
            while let Some(shared) = shared
                && moves > 0
                && list.front().is_some_and(|k| k.since.saturating_add(DEMOTE_AFTER_TICKS) <= now)
                && let Some(mut kept) = list.pop_front()
            {
                moves -= 1;
                if kept.is_quiet() {
                    shared.put(kept);
                } else {
                    kept.open.live().idle.fetch_sub(1, Relaxed);
                }
            }
            !list.is_empty()
        });
    }

    /// Closes everything (drain).
    pub(crate) fn clear(&mut self) {
        for kept in self.map.values().flatten() {
            kept.open.live().idle.fetch_sub(1, Relaxed);
        }
        self.map.clear();
    }
}

/// A connection that belongs to no worker's reactor.
struct Parked {
    tcp: std::net::TcpStream,
    session: Option<Session>,
    key: Key,
    open: OpenGuard,
    served: u64,
    since: u32,
    expires: u32,
}

/// The level of all workers.
pub(crate) struct SharedPool {
    shards: Vec<Mutex<Map<Parked>>>,
    hasher: foldhash::fast::RandomState,
}

impl Default for SharedPool {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: foldhash::fast::RandomState::default(),
        }
    }
}

impl SharedPool {
    fn shard(&self, key: &impl Hash) -> Option<std::sync::MutexGuard<'_, Map<Parked>>> {
        use std::hash::BuildHasher;
        let at = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or(0);
        Some(self.shards.get(at)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Offers a quiet connection to all workers. The idle count is unchanged; where the connection
    /// cannot be moved it is closed.
    fn put(&self, kept: Box<Upstream>) {
        let Upstream { wire, key, open, served, since, expires, .. } = *kept;
        let Wire::H1(H1Link { stream, .. }) = wire else { return };
        let (tcp, session) = match stream {
            Stream::Plain(tcp) => (tcp, None),
            Stream::Tls(tls) => {
                let (tcp, session) = tls.into_parts();
                (tcp, Some(session))
            }
        };
        let live = open.live().clone();
        let moved = tcp.into_std().ok().and_then(|tcp| {
            let parked = Parked { tcp, session, key, open, served, since, expires };
            let key = parked.key.clone();
            self.shard(&key)?.entry(key).or_default().push_back(parked);
            Some(())
        });
        if moved.is_none() {
            live.idle.fetch_sub(1, Relaxed);
        }
    }

    /// The newest quiet connection to `address` over `transport`, joined to this worker's reactor.
    pub(crate) fn take(
        &self,
        address: SocketAddr,
        transport: &Arc<Transport>,
    ) -> Option<Box<Upstream>> {
        let key = KeyRef { address, transport };
        loop {
            let parked = self.shard(&key)?.get_mut(&key)?.pop_back()?;
            parked.open.live().idle.fetch_sub(1, Relaxed);
            if timer::passed(parked.expires) || !is_quiet(&parked.tcp) {
                continue;
            }
            let Ok(tcp) = TcpStream::from_std(parked.tcp).map(Tcp::from) else { continue };
            let stream = match parked.session {
                None => Stream::Plain(tcp),
                Some(session) => Stream::Tls(Box::new(TlsStream::new(tcp, session))),
            };
            let wire = Wire::H1(H1Link::new(stream));
            let mut kept = Upstream::new(wire, parked.key, parked.open);
            kept.served = parked.served;
            kept.since = parked.since;
            kept.expires = parked.expires;
            return Some(kept);
        }
    }

    /// Drops what expired or was closed. Called about once a second by one worker.
    pub(crate) fn reap(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, list| {
                list.retain(|parked| {
                    let keep = !timer::passed(parked.expires) && is_quiet(&parked.tcp);
                    if !keep {
                        parked.open.live().idle.fetch_sub(1, Relaxed);
                    }
                    keep
                });
                !list.is_empty()
            });
        }
    }
}

/// Whether reading would block: no byte and no end has come.
fn is_quiet(tcp: &std::net::TcpStream) -> bool {
    let mut byte = [0];
    matches!(tcp.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
