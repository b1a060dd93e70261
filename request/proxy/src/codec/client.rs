//! What a client's connection has to find out for a request, whatever its protocol.

use crate::exchange::{Host, Peer};
use crate::sources::Place;
use crate::timer::NEVER;
use crate::worker::{Local, Worker};
use core_wire::forwarded::{self, Kind};
use core_wire::h1::head::{Known, RequestParser};
use core_wire::h1::request::RequestMeaning;
use process_runtime::metrics::ListenerStats;
use std::net::IpAddr;
use std::rc::Rc;

/// How long a connection that is in steady use keeps what serves requests, in ticks of 100 ms.
pub(crate) const WARM_TICKS: u32 = 2;

/// Whom a request is from and whom it is for.
pub(crate) struct Arrived {
    /// Address of the client itself, behind trusted proxies.
    pub(crate) client: IpAddr,
    pub(crate) host: Host,
}

/// Finds both in a head whose spans refer to `bytes`.
pub(crate) fn arrived(
    local: &Local,
    peer: &Peer,
    parser: &RequestParser,
    meaning: &RequestMeaning,
    bytes: &[u8],
) -> Arrived {
    Arrived { client: address(local, peer, parser, bytes), host: host(meaning, bytes) }
}

fn host(meaning: &RequestMeaning, bytes: &[u8]) -> Host {
    let span = meaning.authority.host;
    if span.get(bytes).iter().any(u8::is_ascii_uppercase) {
        let mut lower = Vec::with_capacity(span.len());
        meaning.authority.lowercase_into(bytes, &mut lower);
        Host::Lowered(String::from_utf8(lower).unwrap_or_default())
    } else {
        Host::AsSent(span)
    }
}

/// The client's address: what trusted proxies say of it, else the connection's.
fn address(local: &Local, peer: &Peer, parser: &RequestParser, bytes: &[u8]) -> IpAddr {
    let own = peer.address.ip().to_canonical();
    if !peer.trusted {
        return own;
    }
    let trusted = &local.plan.config.trusted_proxies;
    let fields = &parser.head().fields;
    let by = |known, kind| {
        let values = fields.iter().filter(|f| f.known == known).map(|f| f.value.get(bytes));
        forwarded::client(own, values, kind, |ip| trusted.iter().any(|net| net.contains(ip)))
    };
    if fields.iter().any(|field| field.known == Known::XForwardedFor) {
        by(Known::XForwardedFor, Kind::XForwardedFor)
    } else {
        by(Known::Forwarded, Kind::Forwarded)
    }
}

/// A connection's place among those of its worker and listener; given up when it is dropped.
pub(crate) struct Seat {
    pub(crate) worker: Rc<Worker>,
    pub(crate) local: Rc<Local>,
    /// The listener lets in others now than those it let in when the connection was made.
    stale: bool,
    _place: Place,
}

impl Seat {
    pub(crate) fn new(worker: Rc<Worker>, local: Rc<Local>, place: Place) -> Self {
        Self { worker, local, stale: false, _place: place }
    }

    /// The numbers of the listener.
    pub(crate) fn stats(&self) -> &ListenerStats {
        self.local.plan.stats.shard(self.worker.index)
    }

    /// Whether the connection is to end with what it is serving.
    pub(crate) fn ends(&self) -> bool {
        self.local.end() != NEVER || self.worker.draining() || self.stale
    }

    /// Takes a new plan over.
    #[inline]
    pub(crate) fn refresh(&mut self) {
        if self.worker.generation() != self.local.generation {
            self.take_over();
        }
    }

    #[cold]
    fn take_over(&mut self) {
        let fresh = self.worker.current(&self.local);
        if Rc::ptr_eq(&fresh, &self.local) {
            return;
        }
        if fresh.plan.config.name != self.local.plan.config.name {
            // With its sockets the listener got another name, under which this is closed.
            self.stats().closed.inc();
            fresh.plan.stats.shard(self.worker.index).accepted.inc();
        }
        self.stale |= !fresh.lets_in_the_same(&self.local);
        self.local = fresh;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stats().closed.inc();
        self.worker.open.set(self.worker.open.get().saturating_sub(1));
    }
}
