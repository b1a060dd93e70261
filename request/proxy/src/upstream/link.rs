//! A connection to an origin with what is on it: a request, the head of its reply, or nothing.
//!
//! It stays in one allocation from its first request to its last, so that lending it moves a
//! pointer.

use super::{Key, OpenGuard};
use crate::codec::h1_body::{Receiver, Sender};
use crate::exchange::Stage;
use crate::plan::PoolPlan;
use crate::relay::Meter;
use crate::stream::Stream;
use crate::timer;
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

/// A connection to an origin.
pub(crate) struct Upstream {
    pub(crate) stream: Stream,
    pub(crate) reply: Receiver,
    pub(crate) request: Sender,
    pub(crate) parser: ResponseParser,
    pub(crate) meaning: Option<ResponseMeaning>,
    pub(crate) upload: Upload,
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
    pub(crate) fn new(stream: Stream, key: Key, open: OpenGuard) -> Box<Self> {
        Box::new(Self {
            stream,
            reply: Receiver::new(),
            request: Sender::new(),
            parser: ResponseParser::new(),
            meaning: None,
            upload: Upload { meter: Meter::new(false), flow: Flow::Active, expects: false },
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

    /// Sends the beginning of a body again.
    pub(crate) fn resend(&mut self, body: &[u8]) -> Result<(), core_wire::h1::body::BodyError> {
        self.request.copy(body)?;
        self.upload.meter.resent(body);
        Ok(())
    }

    /// Gives the connection back where it is proven clean; closes it otherwise.
    pub(crate) fn release(mut self: Box<Self>, stage: Stage<'_>, pool: &PoolPlan) {
        let reusable = self.meaning.is_some_and(|meaning| meaning.reusable);
        let clean = reusable
            && self.upload.flow == Flow::Done
            && self.request.is_done()
            && self.reply.is_done()
            && !self.reply.has_surplus();
        let keepalive = &pool.config.keepalive;
        let idle = usize::try_from(self.open.live().idle.load(Relaxed)).unwrap_or(0);
        if clean
            && self.key.transport.proxy.is_none()
            && idle < keepalive.connections
            && self.served < keepalive.requests
            && !stage.worker.draining()
        {
            self.in_flight = None;
            self.parser.reset();
            self.reply.buffer = None;
            self.request.release();
            self.since = timer::now();
            self.expires = timer::tick_after(keepalive.idle);
            stage.worker.idle.borrow_mut().put(self);
        }
    }
}
