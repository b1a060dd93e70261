//! Waits for the head of an origin's reply while the request's body goes up.

use crate::buffers::Lent;
use crate::codec::h1_body::{BodyFault, SendFault};
use crate::codec::h2_stream::HeadLost;
use crate::exchange::{Client, Exchange, Stage};
use crate::lifecycle::Refusal;
use crate::link::H1Link;
use crate::plan::PoolPlan;
use crate::reason::Reason;
use crate::relay::{MoveFault, Pace, Waits, poll_move};
use crate::stage::reply;
use crate::timer::{self, NEVER};
use crate::upstream::{Flow, Upstream, Wire};
use crate::websocket;
use core_balance::retry::Progress;
use core_wire::h1::body::BodyError;
use core_wire::h1::head::{HeadLimits, Known, ResponseParser, Version};
use core_wire::h1::response::ResponseMeaning;
use core_wire::h2::section::SectionFault;
use process_runtime::metrics::Limit;
use std::task::{Context, Poll, ready};

/// Interim replies (1xx) before one final reply.
const INTERIM_MAX: u32 = 16;
/// Limits of a reply head: twice what is asked of clients, since operators trust their origins.
const REPLY_HEAD: HeadLimits =
    HeadLimits { line_bytes: 8 << 10, section_bytes: 64 << 10, fields: 200 };
/// Room for a reply head of the largest size.
const REPLY_HEAD_BYTES: usize = REPLY_HEAD.line_bytes + REPLY_HEAD.section_bytes + 8;

/// Ticks after which a client is watched while an origin is waited for. Most replies come sooner,
/// and watching costs a look at the reactor.
const WATCH_TICKS: u32 = 2;

/// A try that came to nothing.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    pub(crate) progress: Progress,
    /// A kept connection that its origin had closed meanwhile.
    pub(crate) stale: bool,
}

impl Failure {
    pub(crate) fn new(reason: Reason, progress: Progress) -> Self {
        Self { refusal: reason.into(), progress, stale: false }
    }

    pub(crate) fn because(mut self, detail: &dyn std::fmt::Display) -> Self {
        self.refusal.detail = Some(detail.to_string());
        self
    }
}

/// The client gave its request up.
pub(crate) fn gone() -> Failure {
    Failure::new(Reason::ClientGone, Progress::ReplyBegun)
}

/// Waits for the head of the final reply while the body goes up.
pub(crate) struct Wait<'a> {
    stage: Stage<'a>,
    pool: &'a PoolPlan,
    interim: u32,
    /// Tick at which the whole request had been sent.
    asked: Option<u32>,
    /// The origin was waited for, so something may be there.
    waited: bool,
    /// Tick from which on it is watched whether the client is still there; [`NEVER`] once it is.
    watch: u32,
}

impl<'a> Wait<'a> {
    /// Starts to wait for an origin of `pool`.
    pub(crate) fn new(stage: Stage<'a>, pool: &'a PoolPlan) -> Self {
        let watch = timer::now().saturating_add(WATCH_TICKS);
        Self { stage, pool, interim: 0, asked: None, waited: false, watch }
    }
}

impl Wait<'_> {
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange,
        client: &mut Client<'_>,
        upstream: &mut Upstream,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if upstream.upload.flow == Flow::Active
                && let Poll::Ready(Err(refusal)) = poll_upload(cx, client, upstream)
            {
                let progress = Progress::ReplyBegun;
                return Poll::Ready(Err(Failure { refusal, progress, stale: false }));
            }
            match self.poll_head(cx, exchange, upstream) {
                Poll::Ready(Ok(true)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(false)) => {
                    if let Err(failure) = self.interim(exchange, client, upstream) {
                        return Poll::Ready(Err(failure));
                    }
                    // What the client does not take at once leaves with the reply.
                    if client.link.poll_flush(cx).map_err(|_| ()) == Poll::Ready(Err(())) {
                        return Poll::Ready(Err(gone()));
                    }
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending
                    if upstream.upload.flow != Flow::Active
                        && client.poll_gone(cx, self.watch == NEVER) =>
                {
                    return Poll::Ready(Err(gone()));
                }
                Poll::Pending => match ready!(self.poll_late(cx, client, upstream)) {
                    Some(failure) => return Poll::Ready(Err(failure)),
                    None => continue,
                },
            }
        }
    }

    fn hit(&self, limit: Limit) {
        self.stage.listener.stats.shard(self.stage.worker.index).hit(limit);
    }

    /// Reads and parses; true for the head of a final reply, false for an interim one.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange,
        upstream: &mut Upstream,
    ) -> Poll<Result<bool, Failure>> {
        let Upstream { wire, parser, socket_key, .. } = upstream;
        let meaning = match wire {
            Wire::H1(h1) => ready!(self.poll_head_h1(cx, exchange, h1, parser))?,
            Wire::H2(h2) => {
                let method = exchange.request().method;
                let head = ready!(h2.poll_head(cx, parser.head_mut(), method));
                head.map_err(|lost| self.lost(&lost))?
            }
        };
        upstream.meaning = Some(meaning);
        if let Some(key) = *socket_key
            && upstream.parser.head().status == 101
        {
            let fields = &upstream.parser.head().fields;
            let answer = core_wire::h1::head::find(fields, Known::SecWebSocketAccept);
            if answer.is_none_or(|f| f.value.get(upstream.head_bytes()) != websocket::accept(&key))
            {
                let failure = Failure::new(Reason::BadReply, Progress::ReplyBegun);
                return Poll::Ready(Err(
                    failure.because(&"the WebSocket handshake is not answered")
                ));
            }
        }
        Poll::Ready(Ok(!meaning.interim))
    }

    fn lost(&self, lost: &HeadLost) -> Failure {
        let failure = match lost {
            HeadLost::Refused => Failure::new(Reason::ClosedEarly, Progress::Unprocessed),
            HeadLost::Ended => Failure::new(Reason::ClosedEarly, Progress::NoReply),
            HeadLost::Malformed(SectionFault::TooLarge | SectionFault::TooMany) => {
                self.hit(Limit::ReplyHead);
                Failure::new(Reason::ReplyTooLarge, Progress::ReplyBegun)
            }
            HeadLost::Malformed(_) => Failure::new(Reason::BadReply, Progress::ReplyBegun),
        };
        failure.because(lost)
    }

    fn poll_head_h1(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange,
        h1: &mut H1Link,
        parser: &mut ResponseParser,
    ) -> Poll<Result<ResponseMeaning, Failure>> {
        loop {
            let filled = h1.receiver.buffer.as_ref().map_or(&[][..], |b| b.filled());
            let have = filled.len();
            if have > 0 {
                let bad = |reason, error: &dyn std::fmt::Display| {
                    Failure::new(reason, Progress::ReplyBegun).because(error)
                };
                match parser.parse(filled, &REPLY_HEAD) {
                    Ok(true) => {
                        let method = exchange.request().method;
                        let head = parser.head_mut();
                        let meaning = core_wire::h1::response::meaning(head, filled, method)
                            .map_err(|error| bad(Reason::BadReply, &error))?;
                        let unasked = head.status == 101
                            && (exchange.meaning.upgrade.is_none() || meaning.upgrade.is_none());
                        if unasked {
                            return Poll::Ready(Err(bad(Reason::BadReply, &"an unasked 101")));
                        }
                        return Poll::Ready(Ok(meaning));
                    }
                    Ok(false) => {}
                    Err(error) => {
                        let large = matches!(error.status(), 414 | 431);
                        let reason = if large { Reason::ReplyTooLarge } else { Reason::BadReply };
                        if large {
                            self.hit(Limit::ReplyHead);
                        }
                        return Poll::Ready(Err(bad(reason, &error)));
                    }
                }
            }
            ready!(self.poll_bytes(cx, h1, have))?;
        }
    }

    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        h1: &mut H1Link,
        have: usize,
    ) -> Poll<Result<(), Failure>> {
        let begun = if have > 0 { Progress::ReplyBegun } else { Progress::NoReply };
        let gone = |error: &dyn std::fmt::Display| {
            Poll::Ready(Err(Failure::new(Reason::ClosedEarly, begun).because(error)))
        };
        if have == 0 && !std::mem::replace(&mut self.waited, true) {
            h1.receiver.buffer = None;
            if let Err(error) = ready!(h1.stream.poll_readable(cx)) {
                return gone(&error);
            }
        }
        let buffer = h1.receiver.buffer.get_or_insert_with(Lent::take);
        if buffer.space().is_empty() {
            buffer.grow(REPLY_HEAD_BYTES);
        }
        match h1.stream.poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) => gone(&"the origin closed the connection"),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => gone(&error),
            Poll::Pending => {
                // Nothing is held while nothing comes.
                if buffer.is_empty() {
                    h1.receiver.buffer = None;
                }
                Poll::Pending
            }
        }
    }

    /// Passes an interim reply on.
    fn interim(
        &mut self,
        exchange: &Exchange,
        client: &mut Client<'_>,
        upstream: &mut Upstream,
    ) -> Result<(), Failure> {
        self.interim += 1;
        if self.interim > INTERIM_MAX {
            self.hit(Limit::InterimReplies);
            return Err(Failure::new(Reason::TooManyInterim, Progress::ReplyBegun));
        }
        let status = upstream.parser.head().status;
        let wanted = exchange.request().version >= Version::Http11
            && (status != 100 || exchange.meaning.expect_continue);
        if wanted {
            reply::interim(client, upstream).map_err(|error| {
                Failure::new(Reason::BadReply, Progress::ReplyBegun).because(&error)
            })?;
        }
        if status == 100 {
            upstream.upload.expects = false;
            upstream.upload.meter.expect();
        }
        upstream.consume_head();
        upstream.parser.reset();
        upstream.meaning = None;
        Ok(())
    }

    /// Whether something took too long; `None` asks for another look.
    fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        client: &Client<'_>,
        upstream: &mut Upstream,
    ) -> Poll<Option<Failure>> {
        let stats = self.stage.listener.stats.shard(self.stage.worker.index);
        let over = || Some(Failure::new(Reason::DrainTimeout, Progress::ReplyBegun));
        if self.stage.is_over() {
            return Poll::Ready(over());
        }
        let deadline = if upstream.upload.flow == Flow::Active {
            self.asked = None;
            match upload_pace(self.stage, self.pool, client, upstream) {
                Ok(tick) => tick,
                Err((reason, limit)) => {
                    limit.into_iter().for_each(|limit| stats.hit(limit));
                    return Poll::Ready(Some(Failure::new(reason, Progress::ReplyBegun)));
                }
            }
        } else {
            let reply = self.pool.config.timeouts.reply;
            *self.asked.get_or_insert_with(|| timer::tick_after(reply))
        };
        ready!(self.stage.timer.poll(cx, deadline.min(self.stage.end()).min(self.watch)));
        if self.stage.is_over() {
            return Poll::Ready(over());
        }
        if timer::passed(self.watch) {
            self.watch = NEVER;
            return Poll::Ready(None);
        }
        if upstream.upload.flow == Flow::Active {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Failure::new(Reason::ReplyTimeout, Progress::ReplyBegun)))
    }
}

/// Until when the upload may stand still, or why it may not any longer.
pub(crate) fn upload_pace(
    stage: Stage<'_>,
    pool: &PoolPlan,
    client: &Client<'_>,
    upstream: &mut Upstream,
) -> Result<u32, (Reason, Option<Limit>)> {
    let config = &stage.listener.config;
    let blocked = !client.link.data().is_empty() || upstream.link().waiting() > 0;
    let unasked = upstream.upload.is_unasked();
    let meter = &mut upstream.upload.meter;
    let pace = if unasked {
        meter.pace(pool.config.timeouts.reply, Waits::Origin)
    } else if blocked {
        meter.pace(pool.config.timeouts.idle, Waits::Origin)
    } else {
        meter.pace(config.timeouts.body_idle, Waits::Client(config.limits.body_min_rate))
    };
    match pace {
        Pace::Until(tick) => Ok(tick),
        Pace::Idle if unasked => Err((Reason::ReplyTimeout, None)),
        Pace::Idle if blocked => Err((Reason::UploadStalled, None)),
        Pace::Idle => Err((Reason::BodyTimeout, Some(Limit::BodyIdle))),
        Pace::Slow => Err((Reason::BodyTimeout, Some(Limit::BodyMinRate))),
    }
}

/// Moves the request body. Ready once it is up, or cannot come: an error is the client's fault.
pub(crate) fn poll_upload(
    cx: &mut Context<'_>,
    client: &mut Client<'_>,
    upstream: &mut Upstream,
) -> Poll<Result<(), Refusal>> {
    let (mut link, upload) = upstream.halves();
    let moved = ready!(poll_move(cx, &mut client.link, &mut link, &mut upload.meter));
    upstream.upload.flow = match moved {
        Ok(()) => Flow::Done,
        // The origin may have answered before it closed; its reply is read to the end.
        Err(MoveFault::Sink(SendFault::Io(_))) => Flow::Stopped,
        Err(MoveFault::Sink(SendFault::Length(error))) => {
            return Poll::Ready(Err(Refusal {
                reason: Reason::Internal,
                detail: Some(error.to_string()),
            }));
        }
        Err(MoveFault::Source(fault)) => return Poll::Ready(Err(body_refusal(&fault))),
    };
    Poll::Ready(Ok(()))
}

fn body_refusal(fault: &BodyFault) -> Refusal {
    let reason = match fault {
        BodyFault::Io(_) | BodyFault::Broken(BodyError::EndedEarly) => Reason::ClientGone,
        BodyFault::Broken(BodyError::TooLarge) => Reason::BodyTooLarge,
        BodyFault::Broken(_) => Reason::BodyBroken,
    };
    Refusal { reason, detail: Some(fault.to_string()) }
}
