//! An HTTP/1 connection of a client: waits without a buffer, reads heads, hands each request to
//! the lifecycle, and closes so that nothing sent is lost.

use crate::buffers::Lent;
use crate::exchange::{Client, Exchange, Host, Outcome, Peer, Stage};
use crate::lifecycle;
use crate::sources::Place;
use crate::stage::record::{self, Refused};
use crate::stage::reply;
use crate::stream::Stream;
use crate::timer::{self, NEVER, Timer};
use crate::worker::{Local, Phase, Worker};
use core_wire::forwarded::{self, Kind};
use core_wire::h1::head::{HeadError, HeadLimits, Known, Method, RequestParser};
use core_wire::h1::request::{self, RequestMeaning};
use process_runtime::metrics::Limit;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// How long an idle connection may still bring a request once its listener is gone or the process
/// drains; a request that is under way to us by then is answered.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long a connection that we closed is read from, so that no reset destroys the last reply.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// How long a connection that is in steady use keeps what serves requests, in ticks of 100 ms.
const WARM_TICKS: u32 = 2;

/// A client's connection.
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) local: Rc<Local>,
    pub(crate) client: Client,
    pub(crate) peer: Peer,
    pub(crate) timer: Timer,
    _place: Place,
    served: u64,
    /// Tick at which an idle connection closes: keep-alive, or the last call.
    until: u32,
    last_call: bool,
    /// The client was let in by rules about certificates that are not in force any more.
    stale: bool,
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
}

impl Connection {
    pub(crate) fn new(
        worker: Rc<Worker>,
        local: Rc<Local>,
        client: Client,
        peer: Peer,
        timer: Timer,
        place: Place,
    ) -> Self {
        let until = timer::tick_after(local.plan.config.timeouts.first_byte);
        Self {
            worker,
            local,
            client,
            peer,
            timer,
            _place: place,
            served: 0,
            until,
            last_call: false,
            stale: false,
        }
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
        Box::pin(self.close(next)).await;
    }

    fn stats(&self) -> &process_runtime::metrics::ListenerStats {
        self.local.plan.stats.shard(self.worker.index)
    }

    /// Takes a new plan over and looks whether the process drains.
    fn refresh(&mut self) {
        if self.worker.generation() == self.local.generation {
            return;
        }
        let local = self.worker.current(&self.local);
        if Rc::ptr_eq(&local, &self.local) {
            return;
        }
        if local.plan.config.name != self.local.plan.config.name {
            // With its sockets the listener got another name, under which this is closed.
            self.stats().closed.inc();
            local.plan.stats.shard(self.worker.index).accepted.inc();
        }
        self.stale |= !local.lets_in_the_same(&self.local);
        self.local = local;
    }

    fn ends(&self) -> bool {
        self.local.end() != NEVER || self.worker.draining() || self.stale
    }

    /// Waits for bytes, holding nothing.
    /// Gives up at the tick `rest`.
    async fn wait(&mut self, rest: u32) -> Next {
        if self.client.body.has_surplus() {
            return Next::Idle;
        }
        if timer::passed(rest) {
            return Next::Rest;
        }
        self.client.body.buffer = None;
        self.client.reply.release();
        if self.served > 0 {
            self.until = timer::tick_after(self.local.plan.config.timeouts.keepalive);
        }
        let mut waited = false;
        poll_fn(|cx| self.poll_wait(cx, rest, std::mem::replace(&mut waited, true))).await
    }

    /// `waited` is false the first time, when nothing is likely to be there.
    fn poll_wait(&mut self, cx: &mut Context<'_>, rest: u32, waited: bool) -> Poll<Next> {
        loop {
            if waited {
                let mut buffer = Lent::take();
                match self.client.stream.poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        self.client.body.buffer = Some(buffer);
                        return Poll::Ready(Next::Idle);
                    }
                    Poll::Ready(_) => return Poll::Ready(Next::Close),
                    Poll::Pending => {}
                }
            } else {
                match self.client.stream.poll_readable(cx) {
                    Poll::Ready(Ok(())) => return Poll::Ready(Next::Idle),
                    Poll::Ready(Err(_)) => return Poll::Ready(Next::Close),
                    Poll::Pending => {}
                }
            }
            self.refresh();
            if self.worker.shared.phase() == Phase::Stopping {
                return Poll::Ready(Next::Close);
            }
            if self.ends() && !self.last_call {
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
                self.stats().hit(if first { Limit::FirstByte } else { Limit::Keepalive });
                return Poll::Ready(Next::Close);
            }
        }
    }

    /// Serves requests until none is at hand.
    async fn requests(&mut self) -> Next {
        loop {
            self.refresh();
            let mut parser = self.worker.request_parser();
            let read = self.read_head(&mut parser).await;
            let started = Instant::now();
            let next = match read {
                Ok(meaning) => self.one(parser, meaning, started).await,
                Err(fault) => {
                    let next = self.refuse(fault, &parser, started).await;
                    self.worker.keep_request_parser(parser);
                    next
                }
            };
            if next != Next::Idle {
                return next;
            }
            // Whoever has sent two requests is likely to send a third soon.
            if !self.client.body.has_surplus() {
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
        let config = &self.local.plan.config;
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
                if let Some(buffer) = self.client.body.buffer.as_mut()
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
                let buffer = self.client.body.buffer.get_or_insert_with(Lent::take);
                match self.client.stream.poll_read(cx, buffer) {
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
        let filled = self.client.body.buffer.as_ref().map_or(&[][..], Lent::filled);
        let head = parser.head_mut();
        request::meaning(head, filled).map_err(|error| {
            let keep = !error.closes() && request::keep_alive(head, filled);
            HeadFault::Meaning { error, keep, len: head.len }
        })
    }

    /// Answers a head that could not be read.
    async fn refuse(&mut self, fault: HeadFault, parser: &RequestParser, started: Instant) -> Next {
        let stats = self.local.plan.stats.shard(self.worker.index);
        let (status, says, reason, keep) = match &fault {
            HeadFault::Nothing => return Next::Idle,
            HeadFault::Ended | HeadFault::Cut => return Next::Close,
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
        let out = self.client.reply.interim();
        let parsed = matches!(fault, HeadFault::Meaning { .. });
        // RFC 9110 §9.3.2: a reply to HEAD has no content, whatever its status.
        let bodyless = parsed && parser.head().method == Method::Head;
        let body = reply::malformed(&self.worker, status, &says, (keep.is_some(), bodyless), out);
        let stage = Stage {
            worker: &self.worker,
            listener: &self.local.plan,
            timer: &self.timer,
            local: &self.local,
        };
        let sent = reply::send(stage, &mut self.client).await;
        let bytes = self.client.body.buffer.as_ref().map_or(&[][..], Lent::filled);
        let refused = Refused {
            peer: &self.peer,
            head: parsed.then(|| (parser.head(), bytes)),
            started,
            status,
            bytes_out: body as u64,
            reason,
        };
        record::refused(stage, &self.client, &refused);
        match (sent, keep) {
            (true, Some(len)) => {
                if let Some(buffer) = &mut self.client.body.buffer {
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
        let local = self.local.clone();
        let worker = self.worker.clone();
        let limits = &local.plan.config.limits;
        local.plan.stats.shard(worker.index).requests.inc();
        let mut keep = meaning.keep_alive && !self.ends();
        if self.served >= limits.requests_per_connection {
            local.plan.stats.shard(worker.index).hit(Limit::RequestsPerConnection);
            keep = false;
        }
        let len = parser.head().len;
        let mut head = self.client.body.buffer.take().unwrap_or_else(Lent::take);
        if head.len() > len {
            let rest = head.filled().get(len..).unwrap_or_default();
            self.client.body.buffer.get_or_insert_with(Lent::take).extend(rest);
        }
        head.truncate(len);
        self.client.body.begin(meaning.framing, limits.body_bytes);
        self.client.ended = false;
        let client = client_address(&local, &self.peer, &parser, &head);
        let host = host(&meaning, &head);
        let asked_to_close = !meaning.keep_alive;
        let mut exchange = Exchange {
            head,
            parser,
            meaning,
            host,
            peer: self.peer,
            client,
            started,
            keep,
            outcome: Outcome::default(),
        };
        let stage =
            Stage { worker: &worker, listener: &local.plan, timer: &self.timer, local: &local };
        lifecycle::serve(stage, &mut exchange, &mut self.client).await;
        let Exchange { parser, keep, outcome, .. } = exchange;
        worker.keep_request_parser(parser);
        if keep {
            return Next::Idle;
        }
        let whole = outcome.complete && self.client.body.is_done();
        if !outcome.complete || (whole && asked_to_close && !self.client.body.has_surplus()) {
            Next::Close
        } else {
            Next::Linger
        }
    }

    /// Ends the connection.
    async fn close(&mut self, next: Next) {
        if next == Next::Close && matches!(self.client.stream, Stream::Plain(_)) {
            // Closing the socket says all there is to say.
            return;
        }
        let deadline = timer::tick_after(LINGER);
        let mut left = LINGER_BYTES_MAX;
        let client = &mut self.client;
        let timer = &self.timer;
        let shut = poll_fn(|cx| match client.stream.poll_shutdown(cx) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => timer.poll(cx, deadline).map(|()| false),
        })
        .await;
        if next != Next::Linger || !shut {
            return;
        }
        poll_fn(|cx| {
            loop {
                let buffer = client.body.buffer.get_or_insert_with(Lent::take);
                buffer.consume(buffer.len());
                match client.stream.poll_read(cx, buffer) {
                    Poll::Ready(Ok(n)) if n > 0 && n < left => left -= n,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => {
                        client.body.buffer = None;
                        return timer.poll(cx, deadline);
                    }
                }
            }
        })
        .await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stats().closed.inc();
        self.worker.open.set(self.worker.open.get().saturating_sub(1));
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

fn host(meaning: &RequestMeaning, head: &Lent) -> Host {
    let span = meaning.authority.host;
    let bytes = span.get(head.filled());
    if bytes.iter().any(u8::is_ascii_uppercase) {
        let mut lower = Vec::with_capacity(bytes.len());
        meaning.authority.lowercase_into(head.filled(), &mut lower);
        Host::Lowered(String::from_utf8(lower).unwrap_or_default())
    } else {
        Host::AsSent(span)
    }
}

/// The client's address: what trusted proxies say of it, else the connection's.
fn client_address(local: &Local, peer: &Peer, parser: &RequestParser, head: &Lent) -> IpAddr {
    let own = peer.address.ip().to_canonical();
    if !peer.trusted {
        return own;
    }
    let trusted = &local.plan.config.trusted_proxies;
    let fields = &parser.head().fields;
    let by = |known, kind| {
        let values = fields.iter().filter(|f| f.known == known).map(|f| f.value.get(head.filled()));
        forwarded::client(own, values, kind, |ip| trusted.iter().any(|net| net.contains(ip)))
    };
    if fields.iter().any(|field| field.known == Known::XForwardedFor) {
        by(Known::XForwardedFor, Kind::XForwardedFor)
    } else {
        by(Known::Forwarded, Kind::Forwarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        // With the reactor's part, the task and the allocator's rounding it stays below a KiB.
        assert!(size_of::<Connection>() <= 400, "{} bytes", size_of::<Connection>());
        let serve: fn(Box<Connection>) -> _ = Connection::serve;
        assert!(future_size(serve) <= 128, "{} bytes", future_size(serve));
    }

    fn future_size<F: Future>(_: fn(Box<Connection>) -> F) -> usize {
        size_of::<F>()
    }
}
