//! An HTTP/2 connection of a client: reads heads, starts a task for each request, and says
//! goodbye so that no request is lost.

use crate::buffers::{Lent, Out};
use crate::codec::client::{Seat, WARM_TICKS};
use crate::codec::h2_desk::{self as desk, Job};
use crate::codec::h2_held;
use crate::codec::h2_mux::{Driver, Mux, Over};
use crate::codec::h2_stream::H2Link;
use crate::codec::linger;
use crate::exchange::{Peer, Stage};
use crate::stage::record::{self, Refused};
use crate::stage::reply;
use crate::stream::Stream;
use crate::timer::{self, NEVER, Timer};
use crate::worker::{Local, Phase};
use core_wire::h1::head::{HeadError, HeadLimits, Method, RequestParser};
use core_wire::h2::connection::{Connection, Event, Limits, Role, StreamKey};
use core_wire::h2::frame::ErrorCode;
use core_wire::h2::message::{self, MessageError};
use core_wire::h2::section::{Section, SectionLimits};
use process_runtime::metrics::Limit;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Time between the two steps of saying goodbye, where the peer does not answer our PING: requests
/// that were under way when we said the first arrive within it.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long a peer may leave what we have for it in our output. Its streams have limits of their
/// own; this one ends peers that hold all of them.
const STALL_MAX: Duration = Duration::from_secs(60);

/// What a field weighs more in a decoded section than as a line of HTTP/1, in bytes: 32 instead of
/// 4 (RFC 7541 §4.1), and more for a piece of a cookie, which has a name of its own.
const FIELD_OVERHEAD: usize = 80;
/// Pseudo-header fields: five of a request (RFC 8441 §4).
const PSEUDO_FIELDS: usize = 5;
/// What they weigh, their values of a usual length: names, overheads, method, scheme, protocol.
const PSEUDO_BYTES: usize = 256;

/// How far a connection is with saying goodbye.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Goodbye {
    /// Not begun.
    No,
    /// New requests are still answered, until this tick.
    Said(u32),
    /// The last request is known.
    Final,
}

/// A client's connection.
pub(crate) struct Http2 {
    driver: Driver,
    front: Front,
    timer: Timer,
    goodbye: Goodbye,
    /// Tick at which the connection closes if it stays idle.
    until: u32,
    /// Tick at which a connection without streams gives back what served them.
    rest: u32,
    /// Tick at which the frame that has begun must be complete.
    frame_until: u32,
}

/// What turns heads into exchanges.
struct Front {
    seat: Seat,
    peer: Peer,
    served: u64,
    acknowledged: bool,
}

impl Http2 {
    /// A connection whose first bytes may be in `buffer` already.
    pub(crate) fn new(
        seat: Seat,
        (stream, buffer): (Stream, Option<Lent>),
        peer: Peer,
        timer: Timer,
    ) -> Self {
        let conn = Connection::new(Role::Server, &limits(&seat.local), timer::now());
        let mux = Mux::new(conn, record::tls_facts(&stream));
        let until = timer::tick_after(seat.local.plan.config.timeouts.first_byte);
        seat.stats().http2_connections.inc();
        Self {
            driver: Driver::new(mux, stream, buffer),
            front: Front { seat, peer, served: 0, acknowledged: false },
            timer,
            goodbye: Goodbye::No,
            until,
            rest: NEVER,
            frame_until: NEVER,
        }
    }

    /// Serves the connection to its end.
    pub(crate) async fn serve(mut self: Box<Self>) {
        let over = poll_fn(|cx| self.poll(cx)).await;
        let stats = self.front.seat.stats();
        if let Some(limit) = self.driver.stream.limit() {
            stats.hit(limit);
        }
        if let Over::Fault(fault) = over {
            stats.http2_faults.inc();
            if let Some(limit) = limit_of(fault) {
                stats.hit(limit);
            }
        }
        let counters = *self.driver.mux.conn.borrow().counters();
        stats.http2_frames.add(counters.frames);
        stats.http2_resets_received.add(counters.resets_peer);
        stats.http2_resets_sent.add(counters.resets_own);
        stats.hits(Limit::StreamsPerConnection, counters.refused_full);
        stats.hits(Limit::Http2Memory, counters.refused_memory);
        h2_held::publish(self.front.seat.worker.stats());
        let Driver { stream, buffer, .. } = &mut self.driver;
        let timer = &self.timer;
        Box::pin(linger::close(stream, buffer, timer, true)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let front = &mut self.front;
            front.seat.refresh();
            let turn = self.driver.poll_turn(cx, |mux, event, section| {
                front.handle(mux, event, section);
            });
            if let Poll::Ready(over) = turn {
                // Whatever was said last is sent as far as it goes.
                let _ = self.driver.poll_write(cx);
                return Poll::Ready(over);
            }
            if let Some(over) = self.look() {
                let _ = self.driver.poll_write(cx);
                return Poll::Ready(over);
            }
            let deadline = self.deadline();
            ready!(self.timer.poll(cx, deadline));
        }
    }

    /// Does what time asks for; says when the connection is to end.
    fn look(&mut self) -> Option<Over> {
        let Self { driver, front, .. } = self;
        let stats = front.seat.stats();
        let timeouts = &front.seat.local.plan.config.timeouts;
        if front.seat.worker.shared.phase() == Phase::Stopping {
            return Some(Over::Gone);
        }
        if driver.stalled_since().is_some_and(|tick| timer::passed(tick + timer::ticks(STALL_MAX)))
        {
            stats.hit(Limit::Http2Stall);
            return Some(Over::Gone);
        }
        let active = driver.mux.conn.borrow().active();
        if driver.is_mid_frame() || driver.mux.conn.borrow().is_mid_block() {
            if self.frame_until == NEVER {
                self.frame_until = timer::tick_after(timeouts.head);
            } else if timer::passed(self.frame_until) {
                stats.hit(Limit::Head);
                return Some(Over::Gone);
            }
        } else {
            self.frame_until = NEVER;
        }
        let ends = front.seat.ends();
        match self.goodbye {
            Goodbye::No if ends || driver.mux.conn.borrow().is_going_away() => {
                driver.mux.conn.borrow_mut().shut_down();
                driver.mux.touch();
                self.goodbye = Goodbye::Said(timer::tick_after(GOODBYE));
            }
            Goodbye::Said(tick) if timer::passed(tick) || front.acknowledged => {
                driver.mux.conn.borrow_mut().shut_down_now();
                driver.mux.touch();
                self.goodbye = Goodbye::Final;
            }
            Goodbye::Final if active == 0 && driver.mux.conn.borrow_mut().output().is_empty() => {
                return Some(Over::Gone);
            }
            _ => {}
        }
        if active > 0 || !driver.mux.is_settled() {
            if active > 0 {
                (self.until, self.rest) = (NEVER, NEVER);
            }
        } else if self.until == NEVER {
            self.until = timer::tick_after(timeouts.keepalive);
            self.rest = timer::now() + WARM_TICKS;
        }
        if timer::passed(self.rest) {
            driver.mux.conn.borrow_mut().shrink();
            self.rest = NEVER;
        }
        if timer::passed(self.until) && self.goodbye == Goodbye::No {
            let first = front.served == 0;
            stats.hit(if first { Limit::FirstByte } else { Limit::Keepalive });
            driver.mux.conn.borrow_mut().shut_down_now();
            driver.mux.touch();
            self.goodbye = Goodbye::Final;
        }
        None
    }

    fn deadline(&self) -> u32 {
        let stall = self.driver.stalled_since().map_or(NEVER, |t| t + timer::ticks(STALL_MAX));
        let goodbye = match self.goodbye {
            Goodbye::Said(tick) => tick,
            Goodbye::No | Goodbye::Final => NEVER,
        };
        let until = if self.goodbye == Goodbye::No { self.until } else { NEVER };
        until.min(self.rest).min(self.frame_until).min(stall).min(goodbye)
    }
}

impl Front {
    fn handle(&mut self, mux: &Rc<Mux>, event: Event, section: &mut Section) {
        match event {
            Event::Head { stream, ends } => self.begin(mux, stream, section, ends),
            Event::Readable(key) | Event::Reset(key) => mux.wake(key),
            Event::Settings => mux.settle(),
            Event::PingAck => self.acknowledged = true,
            Event::GoAway { .. } => {}
        }
    }

    /// Starts the exchange of a request.
    fn begin(&mut self, mux: &Rc<Mux>, stream: StreamKey, section: &mut Section, ends: bool) {
        let started = Instant::now();
        let link = H2Link::new(mux.clone(), stream);
        let config = &self.seat.local.plan.config;
        let limits = HeadLimits {
            line_bytes: config.limits.uri_bytes,
            section_bytes: config.limits.header_bytes,
            fields: config.limits.header_count,
        };
        self.served += 1;
        let mut parser = self.seat.worker.request_parser();
        let read = message::request(section, parser.head_mut(), ends, &limits);
        let bytes = Out::from(std::mem::replace(&mut section.bytes, Out::lend()));
        match read {
            Ok(meaning) => {
                self.seat.stats().requests.inc();
                let job = Job {
                    local: self.seat.local.clone(),
                    peer: self.peer.clone(),
                    link,
                    parser,
                    bytes,
                    meaning,
                    started,
                };
                desk::give(&self.seat.worker, job);
            }
            Err(error) => {
                self.refuse(mux, stream, link, (&parser, &bytes), (error, started));
                self.seat.worker.keep_request_parser(parser);
            }
        }
    }

    /// Answers a request that is malformed or asks for what is not served.
    fn refuse(
        &self,
        mux: &Rc<Mux>,
        stream: StreamKey,
        mut link: H2Link,
        (parser, bytes): (&RequestParser, &Out),
        (error, started): (MessageError, Instant),
    ) {
        let stats = self.seat.stats();
        let mut bytes_out = 0;
        let (status, reason) = match error {
            MessageError::Malformed(fault) => {
                stats.malformed.inc();
                mux.conn.borrow_mut().reset(stream, ErrorCode::PROTOCOL_ERROR);
                (400, fault.name())
            }
            MessageError::Refused(error) => {
                match error {
                    HeadError::LineTooLong => stats.hit(Limit::UriBytes),
                    HeadError::SectionTooLarge => stats.hit(Limit::HeaderBytes),
                    HeadError::TooManyFields => stats.hit(Limit::HeaderCount),
                    _ => stats.malformed.inc(),
                }
                let says = format!("The request is malformed: {error}.");
                let worker = &self.seat.worker;
                let bodyless = parser.head().method == Method::Head;
                let says = (says.as_str(), bodyless);
                bytes_out = reply::malformed_stream(worker, error.status(), says, &mut link) as u64;
                (error.status(), error.name())
            }
        };
        let timer = Timer::new();
        let stage = Stage {
            worker: &self.seat.worker,
            listener: &self.seat.local.plan,
            timer: &timer,
            local: &self.seat.local,
        };
        let refused = Refused {
            peer: &self.peer,
            head: matches!(error, MessageError::Refused(_)).then(|| (parser.head(), bytes.bytes())),
            started,
            status,
            bytes_out,
            reason,
            tls: mux.tls,
        };
        record::refused(stage, &refused);
        mux.touch();
    }
}

/// The limits of a connection, those of the listener among them.
fn limits(local: &Local) -> Limits {
    let config = &local.plan.config.limits;
    Limits {
        max_concurrent_streams: config.streams_per_connection,
        requests_max: config.requests_per_connection,
        // Wide enough for every head within the limits of the listener, to which the message is
        // held once the pieces of its cookie are joined.
        section: SectionLimits {
            bytes: config.header_bytes
                + config.uri_bytes
                + FIELD_OVERHEAD * config.header_count
                + PSEUDO_BYTES,
            fields: 2 * config.header_count + PSEUDO_FIELDS,
        },
        enable_connect: true,
        ..Limits::default()
    }
}

/// The limit that a peer went over.
fn limit_of(fault: core_wire::h2::connection::Fault) -> Option<Limit> {
    use core_wire::h2::connection::Fault;
    match fault {
        Fault::ResetFlood => Some(Limit::Http2Resets),
        Fault::ControlFlood | Fault::TinyFlood => Some(Limit::Http2Control),
        Fault::Memory => Some(Limit::Http2Memory),
        Fault::SectionFlood | Fault::BlockBytes | Fault::ContinuationFlood => {
            Some(Limit::HeaderBytes)
        }
        _ => None,
    }
}
