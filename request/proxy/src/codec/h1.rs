//! An HTTP/1 connection of a client: waits without a buffer, reads heads, hands each request to
//! the lifecycle, and closes so that nothing sent is lost.

use crate::buffers::Lent;
use crate::codec::client::{self, Arrived, Seat, WARM_TICKS};
use crate::codec::h2::Http2;
use crate::codec::linger;
use crate::exchange::{Client, Exchange, HeadBytes, Outcome, Peer, Stage};
use crate::lifecycle;
use crate::link::{H1Link, Link};
use crate::stage::record::{self, Refused};
use crate::stage::reply;
use crate::stream::Stream;
use crate::timer::{self, NEVER, Timer};
use crate::worker::Phase;
use core_model::config::Protocol;
use core_wire::h1::head::{HeadError, HeadLimits, Method, RequestParser};
use core_wire::h1::request::{self, RequestMeaning};
use process_runtime::metrics::Limit;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// How long an idle connection may still bring a request once its listener is gone or the process
/// drains; a request that is under way to us by then is answered.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A client's connection.
pub(crate) struct Connection {
    seat: Seat,
    pub(crate) link: H1Link,
    pub(crate) peer: Peer,
    pub(crate) timer: Timer,
    served: u64,
    /// Tick at which an idle connection closes: keep-alive, or the last call.
    until: u32,
    last_call: bool,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Another one is served, once its bytes are there.
    Idle,
    /// No further one came soon.
    Rest,
    /// The client has closed it or asked for that.
    Close,
    /// We close it while the client may still be sending.
    Linger,
    /// The client speaks HTTP/2 with prior knowledge.
    Http2,
}

impl Connection {
    pub(crate) fn new(seat: Seat, link: H1Link, peer: Peer, timer: Timer) -> Self {
        let until = timer::tick_after(seat.local.plan.config.timeouts.first_byte);
        Self { seat, link, peer, timer, served: 0, until, last_call: false }
    }

    /// Serves the connection to its end.
    pub(crate) async fn serve(mut self: Box<Self>) {
        let next = loop {
            match self.wait(NEVER).await {
                Next::Idle | Next::Rest => {}
                next => break next,
            }
            // The future of requests is large, and an idle connection does without it.
            match Box::pin(self.requests()).await {
                Next::Idle | Next::Rest => {}
                next => break next,
            }
        };
        if next == Next::Http2 {
            let Self { seat, link, peer, timer, .. } = *self;
            let buffered = (link.stream, link.receiver.buffer);
            tokio::task::spawn_local(Box::new(Http2::new(seat, buffered, peer, timer)).serve());
            return;
        }
        Box::pin(self.close(next)).await;
    }

    /// Waits for bytes, holding nothing.
    /// Gives up at the tick `rest`.
    async fn wait(&mut self, rest: u32) -> Next {
        if self.link.receiver.has_surplus() {
            return Next::Idle;
        }
        if timer::passed(rest) {
            return Next::Rest;
        }
        self.link.receiver.buffer = None;
        self.link.sender.release();
        if self.served > 0 {
            self.until = timer::tick_after(self.seat.local.plan.config.timeouts.keepalive);
        }
        // The first request is often there as soon as its connection.
        let mut waited = self.link.stream.tcp().is_apart() && self.served == 0;
        poll_fn(|cx| self.poll_wait(cx, rest, std::mem::replace(&mut waited, true))).await
    }

    /// `waited` is false the first time, when nothing is likely to be there.
    fn poll_wait(&mut self, cx: &mut Context<'_>, rest: u32, waited: bool) -> Poll<Next> {
        loop {
            if waited {
                let mut buffer = Lent::take();
                match self.link.stream.poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.link.receiver.buffer = Some(buffer);
                        return Poll::Ready(Next::Idle);
                    }
                    Poll::Ready(_) => return Poll::Ready(Next::Close),
                    Poll::Pending => {}
                }
            } else {
                match self.link.stream.poll_readable(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Next::Idle),
                    Poll::Ready(Err(_)) => return Poll::Ready(Next::Close),
                    Poll::Pending => {}
                }
            }
            self.seat.refresh();
            if self.seat.worker.shared.phase() == Phase::Stopping {
                return Poll::Ready(Next::Close);
            }
            if self.seat.ends() && !self.last_call {
                self.last_call = true;
                self.until = self.until.min(timer::tick_after(LAST_CALL));
            }
            ready!(self.timer.poll(cx, self.until.min(rest)));
            if timer::passed(rest) {
                return Poll::Ready(Next::Rest);
            }
            if timer::passed(self.until) {
                if self.last_call {
                    return Poll::Ready(Next::Linger);
                }
                let first = self.served == 0;
                self.seat.stats().hit(if first { Limit::FirstByte } else { Limit::Keepalive });
                return Poll::Ready(Next::Close);
            }
        }
    }

    /// Serves requests until none is at hand.
    async fn requests(&mut self) -> Next {
        loop {
            self.seat.refresh();
            let mut parser = self.seat.worker.request_parser();
            let read = self.read_head(&mut parser).await;
            let started = Instant::now();
            let next = match read {
                Ok(meaning) => self.one(parser, meaning, started).await,
                Err(fault) => {
                    let next = self.refuse(fault, &parser, started).await;
                    self.seat.worker.keep_request_parser(parser);
                    next
                }
            };
            if next != Next::Idle {
                return next;
            }
            // Whoever has sent two requests is likely to send a third soon.
            if !self.link.receiver.has_surplus() {
                let rest = if self.served > 1 { timer::now() + WARM_TICKS } else { 0 };
                match self.wait(rest).await {
                    Next::Idle => {}
                    next => return next,
                }
            }
        }
    }

    /// Reads a head.
    async fn read_head(&mut self, parser: &mut RequestParser) -> Result<RequestMeaning, HeadFault> {
        let config = &self.seat.local.plan.config;
        let limits = HeadLimits {
            line_bytes: config.limits.uri_bytes,
            section_bytes: config.limits.header_bytes,
            fields: config.limits.header_count,
        };
        let most = limits.line_bytes + limits.section_bytes + 8;
        let mut deadline = NEVER;
        let head_time = config.timeouts.head;
        poll_fn(|cx| {
            loop {
                if let Some(buffer) = self.link.receiver.buffer.as_mut()
                    && !buffer.is_empty()
                {
                    if parser.parse(buffer.filled(), &limits).map_err(HeadFault::Head)? {
                        return Poll::Ready(Ok(()));
                    }
                    if deadline == NEVER {
                        deadline = timer::tick_after(head_time);
                    }
                    if buffer.space().is_empty() {
                        buffer.grow(most);
                    }
                }
                let buffer = self.link.receiver.buffer.get_or_insert_with(Lent::take);
                match self.link.stream.poll_read(cx, buffer) {
                    Poll::Ready(Ok(0)) if buffer.is_empty() => {
                        return Poll::Ready(Err(HeadFault::Ended));
                    }
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(HeadFault::Cut)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(HeadFault::Cut)),
                    Poll::Pending if deadline == NEVER => {
                        // Woken for nothing: the wait without a buffer goes on.
                        return Poll::Ready(Err(HeadFault::Nothing));
                    }
                    Poll::Pending => {
                        return self.timer.poll(cx, deadline).map(|()| Err(HeadFault::Late));
                    }
                }
            }
        })
        .await?;
        let filled = self.link.receiver.buffer.as_ref().map_or(&[][..], Lent::filled);
        let head = parser.head_mut();
        request::meaning(head, filled).map_err(|error| {
            let keep = !error.closes() && request::keep_alive(head, filled);
            HeadFault::Meaning { error, keep, len: head.len }
        })
    }

    /// Whether the first bytes may be those of HTTP/2.
    fn takes_http2(&self) -> bool {
        let protocols = &self.seat.local.plan.config.protocols;
        self.served == 0 && !self.peer.https && protocols.contains(&Protocol::Http2)
    }

    /// Answers a head that could not be read.
    async fn refuse(&mut self, fault: HeadFault, parser: &RequestParser, started: Instant) -> Next {
        let stats = self.seat.local.plan.stats.shard(self.seat.worker.index);
        let (status, says, reason, keep) = match &fault {
            HeadFault::Nothing => return Next::Idle,
            HeadFault::Ended | HeadFault::Cut => return Next::Close,
            HeadFault::Head(HeadError::Http2Preface) if self.takes_http2() => return Next::Http2,
            HeadFault::Late => {
                stats.hit(Limit::Head);
                (408, "The request head came too slowly.".to_owned(), "head_timeout", None)
            }
            HeadFault::Head(error) | HeadFault::Meaning { error, .. } => {
                match error {
                    HeadError::LineTooLong => stats.hit(Limit::UriBytes),
                    HeadError::SectionTooLarge => stats.hit(Limit::HeaderBytes),
                    HeadError::TooManyFields => stats.hit(Limit::HeaderCount),
                    _ => stats.malformed.inc(),
                }
                if error.silent() {
                    return Next::Linger;
                }
                let keep = match fault {
                    HeadFault::Meaning { keep: true, len, .. } => Some(len),
                    _ => None,
                };
                let says = format!("The request is malformed: {error}.");
                (error.status(), says, error.name(), keep)
            }
        };
        self.served += 1;
        let out = self.link.sender.interim();
        let parsed = matches!(fault, HeadFault::Meaning { .. });
        // RFC 9110 §9.3.2: a reply to HEAD has no content, whatever its status.
        let bodyless = parsed && parser.head().method == Method::Head;
        let keeps = (keep.is_some(), bodyless);
        let body = reply::malformed(&self.seat.worker, status, &says, keeps, out);
        let stage = Stage {
            worker: &self.seat.worker,
            listener: &self.seat.local.plan,
            timer: &self.timer,
            local: &self.seat.local,
        };
        let mut lent = Client { link: Link::H1(&mut self.link), ended: false };
        let sent = reply::send(stage, &mut lent).await;
        let bytes = self.link.receiver.buffer.as_ref().map_or(&[][..], Lent::filled);
        let refused = Refused {
            peer: &self.peer,
            head: parsed.then(|| (parser.head(), bytes)),
            started,
            status,
            bytes_out: body as u64,
            reason,
            tls: record::tls_facts(&self.link.stream),
        };
        record::refused(stage, &refused);
        match (sent, keep) {
            (true, Some(len)) => {
                if let Some(buffer) = &mut self.link.receiver.buffer {
                    buffer.consume(len);
                }
                Next::Idle
            }
            (true, None) => Next::Linger,
            (false, _) => Next::Close,
        }
    }

    /// Serves one request whose head was read.
    async fn one(
        &mut self,
        parser: Box<RequestParser>,
        meaning: RequestMeaning,
        started: Instant,
    ) -> Next {
        self.served += 1;
        let local = self.seat.local.clone();
        let worker = self.seat.worker.clone();
        let limits = &local.plan.config.limits;
        local.plan.stats.shard(worker.index).requests.inc();
        let mut keep = meaning.keep_alive && !self.seat.ends();
        if self.served >= limits.requests_per_connection {
            local.plan.stats.shard(worker.index).hit(Limit::RequestsPerConnection);
            keep = false;
        }
        let len = parser.head().len;
        let mut head = self.link.receiver.buffer.take().unwrap_or_else(Lent::take);
        if head.len() > len {
            let rest = head.filled().get(len..).unwrap_or_default();
            self.link.receiver.buffer.get_or_insert_with(Lent::take).extend(rest);
        }
        head.truncate(len);
        self.link.receiver.begin(meaning.framing, limits.body_bytes);
        let Arrived { client, host } =
            client::arrived(&local, &self.peer, &parser, &meaning, head.filled());
        let asked_to_close = !meaning.keep_alive;
        let mut exchange = Exchange {
            head: HeadBytes::Read(head),
            parser,
            meaning,
            host,
            peer: self.peer.clone(),
            client,
            started,
            keep,
            outcome: Outcome::default(),
        };
        let stage =
            Stage { worker: &worker, listener: &local.plan, timer: &self.timer, local: &local };
        let mut lent = Client { link: Link::H1(&mut self.link), ended: false };
        lifecycle::serve(stage, &mut exchange, &mut lent).await;
        let Exchange { parser, keep, outcome, .. } = exchange;
        worker.keep_request_parser(parser);
        if keep {
            return Next::Idle;
        }
        let whole = outcome.complete && self.link.receiver.is_done();
        if !outcome.complete || (whole && asked_to_close && !self.link.receiver.has_surplus()) {
            Next::Close
        } else {
            Next::Linger
        }
    }

    /// Ends the connection.
    async fn close(&mut self, next: Next) {
        if let Some(limit) = self.link.stream.limit() {
            self.seat.stats().hit(limit);
        }
        if next == Next::Close
            && let Stream::Plain(tcp) = &self.link.stream
        {
            // The end of the socket says all there is to say.
            tcp.end();
            return;
        }
        let H1Link { stream, receiver, .. } = &mut self.link;
        let timer = &self.timer;
        Box::pin(linger::close(stream, &mut receiver.buffer, timer, next == Next::Linger)).await;
    }
}

/// Why there is no head.
enum HeadFault {
    /// The socket was not readable after all.
    Nothing,
    /// The client closed between two requests.
    Ended,
    /// It closed in the middle of a head.
    Cut,
    /// It took too long.
    Late,
    /// The bytes are not a head.
    Head(HeadError),
    /// The head asks for what is not served; `len` is its length.
    Meaning { error: HeadError, keep: bool, len: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // With the reactor's part, the task and the allocator's rounding it stays below a KiB.
        assert!(size_of::<Connection>() <= 320, "{} bytes", size_of::<Connection>());
        let serve: fn(Box<Connection>) -> _ = Connection::serve;
        assert!(future_size(serve) <= 128, "{} bytes", future_size(serve));
    }

    fn future_size<F: Future>(_: fn(Box<Connection>) -> F) -> usize {
        size_of::<F>()
    }
}
