//! A connection to an origin with what is on it: a request, the head of its reply, or nothing.
//!
//! It stays in one allocation from its first request to its last, so that lending it moves a
//! pointer.

use super::{Key, OpenGuard};
use crate::buffers::Lent;
use crate::codec::h2_stream::H2Link;
use crate::exchange::Stage;
use crate::link::{H1Link, Link};
use crate::plan::PoolPlan;
use crate::relay::Meter;
use crate::timer;
use crate::websocket;
use core_wire::h1::Framing;
use core_wire::h1::head::ResponseParser;
use core_wire::h1::response::ResponseMeaning;
use process_runtime::live::OriginLive;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Counts a request as in flight for as long as it lives.
struct InFlight(Arc<OriginLive>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// How far the request body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Active,
    Done,
    /// The origin takes no more; its reply may still come.
    Stopped,
}

/// The request body on its way.
pub(crate) struct Upload {
    pub(crate) meter: Meter,
    pub(crate) flow: Flow,
    /// The client may wait for a `100 Continue` that it was not sent.
    pub(crate) expects: bool,
}

impl Upload {
    /// Whether nothing comes because the origin has not asked for it.
    pub(crate) fn is_unasked(&self) -> bool {
        self.expects && self.meter.bytes == 0
    }
}

/// What a request goes out on.
pub(crate) enum Wire {
    /// A connection of its own.
    H1(H1Link),
    /// A stream of a shared connection.
    H2(H2Link),
}

/// A connection to an origin, or a stream of one.
pub(crate) struct Upstream {
    pub(crate) wire: Wire,
    pub(crate) parser: ResponseParser,
    pub(crate) meaning: Option<ResponseMeaning>,
    pub(crate) upload: Upload,
    /// The key of the WebSocket handshake that Weir makes itself.
    pub(crate) socket_key: Option<[u8; websocket::KEY_LEN]>,
    pub(crate) key: Key,
    pub(crate) open: OpenGuard,
    /// Requests it was given.
    pub(crate) served: u64,
    /// Tick since which it is idle, on the clock of the process.
    pub(crate) since: u32,
    /// Tick after which it is not used any more.
    pub(crate) expires: u32,
    in_flight: Option<InFlight>,
}

impl Upstream {
    /// A connection without a request.
    pub(crate) fn new(wire: Wire, key: Key, open: OpenGuard) -> Box<Self> {
        Box::new(Self {
            wire,
            parser: ResponseParser::new(),
            meaning: None,
            upload: Upload { meter: Meter::new(false), flow: Flow::Active, expects: false },
            socket_key: None,
            key,
            open,
            served: 0,
            since: 0,
            expires: 0,
            in_flight: None,
        })
    }

    /// Makes it ready for a request to `live`, which may be another origin at the same address than
    /// the one it was made for.
    pub(crate) fn begin(&mut self, live: &Arc<OriginLive>) {
        live.in_flight.fetch_add(1, Relaxed);
        self.in_flight = Some(InFlight(live.clone()));
        self.served += 1;
        self.meaning = None;
        self.upload = Upload { meter: Meter::new(false), flow: Flow::Active, expects: false };
    }

    /// Whether it has served a request before the one on it.
    pub(crate) fn reused(&self) -> bool {
        self.served > 1
    }

    /// What is sent and received on it.
    #[inline]
    pub(crate) fn link(&mut self) -> Link<'_> {
        match &mut self.wire {
            Wire::H1(h1) => Link::H1(h1),
            Wire::H2(h2) => Link::H2(h2),
        }
    }

    /// As [`Self::link`], with the request body's account beside it.
    pub(crate) fn halves(&mut self) -> (Link<'_>, &mut Upload) {
        let link = match &mut self.wire {
            Wire::H1(h1) => Link::H1(h1),
            Wire::H2(h2) => Link::H2(h2),
        };
        (link, &mut self.upload)
    }

    /// The connection, where it is this request's own.
    #[inline]
    pub(crate) fn own(&mut self) -> Option<&mut H1Link> {
        match &mut self.wire {
            Wire::H1(h1) => Some(h1),
            Wire::H2(_) => None,
        }
    }

    /// The bytes that the spans of the reply's head refer to.
    #[inline]
    pub(crate) fn head_bytes(&self) -> &[u8] {
        match &self.wire {
            Wire::H1(h1) => h1.receiver.buffer.as_ref().map_or(&[][..], Lent::filled),
            Wire::H2(h2) => h2.head_bytes(),
        }
    }

    /// Forgets the head of a reply, which was dealt with.
    pub(crate) fn consume_head(&mut self) {
        let len = self.parser.head().len;
        match &mut self.wire {
            Wire::H1(h1) => {
                if let Some(buffer) = &mut h1.receiver.buffer {
                    buffer.consume(len);
                }
            }
            Wire::H2(h2) => h2.consume_head(),
        }
    }

    /// Starts to receive the body of a reply.
    pub(crate) fn begin_reply(&mut self, framing: Framing) {
        match &mut self.wire {
            Wire::H1(h1) => h1.receiver.begin(framing, u64::MAX),
            Wire::H2(h2) => h2.begin_receiving(framing, u64::MAX),
        }
    }

    /// Sends the beginning of a body again.
    pub(crate) fn resend(&mut self, body: &[u8]) -> Result<(), core_wire::h1::body::BodyError> {
        self.link().copy(body)?;
        self.upload.meter.resent(body);
        Ok(())
    }

    /// Gives the connection back where it is proven clean; closes it otherwise. A stream ends with
    /// its request, whatever comes of its connection.
    pub(crate) fn release(mut self: Box<Self>, stage: Stage<'_>, pool: &PoolPlan) {
        let reusable = self.meaning.is_some_and(|meaning| meaning.reusable);
        let Wire::H1(h1) = &mut self.wire else { return };
        let clean = reusable
            && self.upload.flow == Flow::Done
            && h1.sender.is_done()
            && h1.receiver.is_done()
            && !h1.receiver.has_surplus();
        let keepalive = &pool.config.keepalive;
        let idle = usize::try_from(self.open.live().idle.load(Relaxed)).unwrap_or(0);
        if clean
            && self.key.transport.proxy.is_none()
            && idle < keepalive.connections
            && self.served < keepalive.requests
            && !stage.worker.draining()
        {
            h1.receiver.buffer = None;
            h1.sender.release();
            self.in_flight = None;
            self.parser.reset();
            self.since = timer::now();
            self.expires = timer::tick_after(keepalive.idle);
            stage.worker.idle.borrow_mut().put(self);
        }
    }
}
