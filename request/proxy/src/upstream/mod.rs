//! Connections to origins: made, lent, and kept while idle.

pub(crate) mod connect;
mod link;
pub(crate) mod pool;
pub(crate) mod request_head;
pub(crate) mod resolve;

pub(crate) use connect::connect;
pub(crate) use link::{Flow, Upstream};
pub(crate) use pool::{IdlePool, SharedPool};

use crate::plan::Transport;
use process_runtime::live::OriginLive;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

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

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.address.hash(state);
        Arc::as_ptr(&self.transport).hash(state);
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
        self.address.hash(state);
        Arc::as_ptr(self.transport).hash(state);
    }
}

impl hashbrown::Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.address == key.address && Arc::ptr_eq(self.transport, &key.transport)
    }
}

/// Counts a connection as open for as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenGuard(Arc<OriginLive>);

impl OpenGuard {
    pub(crate) fn new(live: &Arc<OriginLive>) -> Self {
        live.connections.fetch_add(1, Relaxed);
        Self(live.clone())
    }

    pub(crate) fn live(&self) -> &Arc<OriginLive> {
        &self.0
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
