//! Memory that the HTTP/2 connections of a worker hold by their ledgers, for its metrics. Each
//! connection tells its share in its turns; the sums are published by the clock of the worker, and
//! where a client's connection ends.

use core_wire::h2::connection::{Connection, Role};
use process_runtime::metrics::{Http2Ledgers, WorkerStats};
use std::cell::Cell;
use std::sync::atomic::Ordering;

/// The connections to one side.
#[derive(Clone, Copy)]
struct Sums {
    held: u64,
    most: u64,
}

thread_local! {
    static CLIENTS: Cell<Sums> = const { Cell::new(Sums { held: 0, most: 0 }) };
    static ORIGINS: Cell<Sums> = const { Cell::new(Sums { held: 0, most: 0 }) };
}

/// The share of one connection.
pub(crate) struct Held {
    role: Role,
    bytes: u64,
}

impl Held {
    pub(crate) fn new(role: Role) -> Self {
        Self { role, bytes: 0 }
    }

    /// Notes what the connection holds at this moment.
    #[inline]
    pub(crate) fn note(&mut self, conn: &Connection) {
        let bytes = conn.ledger_bytes() as u64;
        if bytes != self.bytes {
            self.change(bytes);
        }
    }

    fn change(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        let sums = match self.role {
            Role::Server => &CLIENTS,
            Role::Client => &ORIGINS,
        };
        let Sums { held, most } = sums.get();
        sums.set(Sums { held: (held + bytes).saturating_sub(before), most: most.max(bytes) });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.change(0);
    }
}

/// Writes the sums of this worker.
pub(crate) fn publish(stats: &WorkerStats) {
    let write = |to: &Http2Ledgers, Sums { held, most }: Sums| {
        to.held.store(held, Ordering::Relaxed);
        to.most.store(most, Ordering::Relaxed);
    };
    write(&stats.http2_clients, CLIENTS.get());
    write(&stats.http2_origins, ORIGINS.get());
}
