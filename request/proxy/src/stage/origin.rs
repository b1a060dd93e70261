//! Stage: gets the head of a reply from an origin, trying others where that is allowed.

use crate::codec::h1_body::SendFault;
use crate::exchange::{Client, Exchange, Stage, Target};
use crate::lifecycle::Refusal;
use crate::plan::{OriginPlan, PoolPlan};
use crate::reason::Reason;
use crate::relay::{Meter, MoveFault, Pace, Waits, poll_move};
use crate::stage::route;
use crate::timer;
use crate::upstream::connect::Endpoints;
use crate::upstream::{self, Flow, Key, Upstream, request_head};
use core_balance::retry::{self, Progress, RetryCase};
use core_balance::{budget, outlier};
use core_model::config::PoolId;
use core_wire::h1::head::{HeadLimits, Version};
use core_wire::h1::write::HeadWriter;
use process_runtime::live::{OriginLive, PoolLive};
use process_runtime::metrics::{Limit, OriginStats};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

/// Interim replies (1xx) before one final reply.
const INTERIM_MAX: u32 = 16;
/// Addresses of one origin that one try asks in turn.
const ADDRESSES_TRIED: usize = 4;
/// Limits of a reply head: twice what is asked of clients, since operators trust their origins.
const REPLY_HEAD: HeadLimits =
    HeadLimits { line_bytes: 8 << 10, section_bytes: 64 << 10, fields: 200 };
/// Room for a reply head of the largest size.
const REPLY_HEAD_BYTES: usize = REPLY_HEAD.line_bytes + REPLY_HEAD.section_bytes + 8;

/// A try that came to nothing.
struct Failure {
    refusal: Refusal,
    progress: Progress,
    /// A kept connection that its origin had closed meanwhile.
    stale: bool,
}

impl Failure {
    fn new(reason: Reason, progress: Progress) -> Self {
        Self { refusal: reason.into(), progress, stale: false }
    }

    fn because(mut self, detail: &dyn std::fmt::Display) -> Self {
        self.refusal.detail = Some(detail.to_string());
        self
    }
}

/// Counts a further try towards the budget for as long as it lives.
struct Retrying(Arc<PoolLive>);

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, Relaxed);
    }
}

/// Sends the request and waits for the head of the final reply.
pub(crate) async fn fetch(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    target: Target<'_>,
) -> Result<Box<Upstream>, Refusal> {
    let mut tried: Vec<(PoolId, usize)> = Vec::new();
    let mut kept_body: Option<Vec<u8>> = None;
    let mut retrying: Option<Retrying> = None;
    let mut last: Option<Refusal> = None;
    let mut stale_once = false;
    loop {
        let (id, index) = match route::pick(stage, exchange, target, &tried) {
            Ok(choice) => choice,
            // A further try that finds nobody leaves the first failure to be told.
            Err(reason) => return Err(last.unwrap_or_else(|| reason.into())),
        };
        let Some(pool) = target.host.pool(id) else { return Err(Reason::NoPool.into()) };
        let Some(origin) = pool.origins.get(index) else { return Err(Reason::NoPool.into()) };
        exchange.outcome.tried = Some((id, index));
        let stats = origin.live.stats.shard(stage.worker.index);
        if retrying.is_some() {
            stats.retries.inc();
        }
        let at: (&PoolPlan, _) = (pool, origin);
        let tried_one = attempt(stage, exchange, client, target, at, kept_body.take()).await;
        let (failure, body) = match tried_one {
            Ok(upstream) => {
                note_success(pool, &origin.live);
                return Ok(upstream);
            }
            Err(failed) => failed,
        };
        if failure.refusal.reason.side() == crate::reason::Side::Origin && !failure.stale {
            note_failure(pool, &origin.live, stats, &failure.refusal);
        }
        let allowed = retry::allowed(RetryCase {
            progress: failure.progress,
            idempotent: exchange.request().method.is_idempotent(),
            body_replayable: body.is_some(),
            tunnel: exchange.meaning.upgrade.is_some(),
        });
        let replayable = body.is_some() || failure.progress == Progress::NothingWritten;
        if !allowed || !replayable || failure.refusal.reason.side() == crate::reason::Side::Client {
            return Err(failure.refusal);
        }
        let free = failure.stale && !std::mem::replace(&mut stale_once, true);
        if !free {
            if exchange.outcome.retries >= pool.config.retries.attempts
                || !within_budget(stage, pool)
            {
                return Err(failure.refusal);
            }
            tried.push((id, index));
        }
        exchange.outcome.retries += 1;
        if retrying.is_none() {
            pool.live.retrying.fetch_add(1, Relaxed);
            retrying = Some(Retrying(pool.live.clone()));
        }
        kept_body = body;
        last = Some(failure.refusal);
    }
}

fn within_budget(stage: Stage<'_>, pool: &PoolPlan) -> bool {
    let active = pool.origins.iter().map(|o| o.live.in_flight.load(Relaxed)).sum();
    let retries = &pool.config.retries;
    let retrying = pool.live.retrying.load(Relaxed);
    let within = budget::may_retry(active, retrying, retries.budget_percent, retries.budget_min);
    if !within {
        pool.live.budget_refusals.fetch_add(1, Relaxed);
        stage.listener.stats.shard(stage.worker.index).hit(Limit::RetryBudget);
    }
    within
}

fn note_success(pool: &PoolPlan, live: &OriginLive) {
    if live.consecutive_failures.load(Relaxed) != 0 {
        live.consecutive_failures.store(0, Relaxed);
    }
    if live.ejections.load(Relaxed) != 0 {
        let record = record(live);
        let now = u64::from(timer::now()) * 100;
        live.ejections
            .store(outlier::on_success(record, &pool.config.outlier_ejection, now), Relaxed);
    }
}

fn record(live: &OriginLive) -> outlier::Record {
    outlier::Record {
        consecutive_failures: live.consecutive_failures.load(Relaxed),
        ejections: live.ejections.load(Relaxed),
        ejected_until_ms: live.ejected_until_ms.load(Relaxed),
    }
}

fn note_failure(pool: &PoolPlan, live: &OriginLive, stats: &OriginStats, refusal: &Refusal) {
    stats.failures.inc();
    live.set_reason(refusal.detail.as_deref().unwrap_or(refusal.reason.says()));
    live.consecutive_failures.fetch_add(1, Relaxed);
    let now = u64::from(timer::now()) * 100;
    let enabled = pool.origins.iter().filter(|o| o.config.enabled);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let share = outlier::Share {
        origins: count(enabled.clone().count()),
        ejected: count(enabled.filter(|o| o.live.ejected(now)).count()),
    };
    let policy = &pool.config.outlier_ejection;
    if let outlier::Decision::Eject { until_ms } =
        outlier::on_failure(record(live), share, policy, now)
    {
        live.ejected_until_ms.store(until_ms, Relaxed);
        live.ejections.fetch_add(1, Relaxed);
        live.consecutive_failures.store(0, Relaxed);
        process_runtime::operator_log::warn(
            "origin_ejected",
            "failures in a row on real requests; it gets none for a time",
            &[
                ("pool", &pool.config.name),
                ("origin", &live.origin),
                ("for_ms", &(until_ms - now)),
                ("last", &refusal.reason.name()),
            ],
        );
    }
}

type Failed = (Failure, Option<Vec<u8>>);

/// One try at one origin. A failure comes with the body sent so far, where it can be sent again.
async fn attempt(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    target: Target<'_>,
    (pool, origin): (&PoolPlan, &OriginPlan),
    body: Option<Vec<u8>>,
) -> Result<Box<Upstream>, Failed> {
    let mut upstream = match acquire(stage, exchange, pool, origin).await {
        Ok(upstream) => upstream,
        Err(failure) => return Err((failure, body)),
    };
    let stats = origin.live.stats.shard(stage.worker.index);
    stats.requests.inc();
    if upstream.reused() {
        stats.reused.inc();
    }
    let framing = exchange.meaning.framing;
    let out = upstream.request.begin(framing);
    if let Err(error) = request_head::write(stage, exchange, target, (pool, origin), out) {
        let failure = Failure::new(Reason::Internal, Progress::ReplyBegun).because(&error);
        return Err((failure, None));
    }
    upstream.upload.meter =
        Meter::new(exchange.request().method.is_idempotent() && pool.config.retries.attempts > 0);
    upstream.upload.expects = exchange.meaning.expect_continue;
    if let Some(body) = body.filter(|body| !body.is_empty())
        && let Err(error) = upstream.resend(&body)
    {
        let failure = Failure::new(Reason::Internal, Progress::ReplyBegun).because(&error);
        return Err((failure, None));
    }
    let mut wait = Wait { stage, pool, interim: 0, asked: None, waited: false };
    let got = poll_fn(|cx| wait.poll(cx, exchange, client, &mut upstream)).await;
    match got {
        Ok(()) => {
            let us = u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            exchange.outcome.upstream_us = Some(us);
            stats.latency.record(us);
            Ok(upstream)
        }
        Err(mut failure) => {
            failure.stale = upstream.reused()
                && failure.progress == Progress::NoReply
                && failure.refusal.reason == Reason::ClosedEarly;
            let body = upstream.upload.meter.replay().map(<[u8]>::to_vec);
            Err((failure, body))
        }
    }
}

/// Takes an idle connection or makes one.
async fn acquire(
    stage: Stage<'_>,
    exchange: &Exchange,
    pool: &PoolPlan,
    origin: &OriginPlan,
) -> Result<Box<Upstream>, Failure> {
    let nothing = Progress::NothingWritten;
    let worker = stage.worker;
    let addresses = origin.live.addresses.load();
    let turn = match addresses.len() {
        0 => return Err(Failure::new(Reason::DnsUnknown, nothing)),
        1 => 0,
        n => origin.live.turn.fetch_add(1, Relaxed) as usize % n,
    };
    let Some(address) = addresses.get(turn).copied() else {
        return Err(Failure::new(Reason::DnsUnknown, nothing));
    };
    drop(addresses);
    let private = origin.transport.proxy.is_some();
    if !private {
        if let Some(kept) = worker.idle.borrow_mut().take(address, &origin.transport) {
            worker.stats().pool_local.inc();
            return Ok(begun(kept, origin));
        }
        if worker.shared.live.workers() > 1
            && let Some(kept) = worker.shared.idle.take(address, &origin.transport)
        {
            worker.stats().pool_shared.inc();
            return Ok(begun(kept, origin));
        }
    }
    worker.stats().pool_miss.inc();
    let breakers = &pool.config.circuit_breakers;
    let listener = stage.listener.stats.shard(worker.index);
    let stats = origin.live.stats.shard(worker.index);
    for (count, most, limit, at) in [
        (&origin.live.connections, breakers.connections, Limit::OriginConnections, 0),
        (&origin.live.pending, breakers.pending, Limit::OriginPending, 1),
    ] {
        if count.load(Relaxed) >= most {
            listener.hit(limit);
            stats.breaker_hits.get(at).inspect(|counter| counter.inc());
            return Err(Failure::new(Reason::ConnectionLimit, nothing));
        }
    }
    // Boxed, since a new connection is rare and its future is large.
    Box::pin(make(stage, exchange, (pool, origin), turn)).await
}

fn begun(mut upstream: Box<Upstream>, origin: &OriginPlan) -> Box<Upstream> {
    upstream.begin(&origin.live);
    upstream
}

/// Makes a connection, to another address of the origin where one does not accept.
async fn make(
    stage: Stage<'_>,
    exchange: &Exchange,
    (pool, origin): (&PoolPlan, &OriginPlan),
    turn: usize,
) -> Result<Box<Upstream>, Failure> {
    let stats = origin.live.stats.shard(stage.worker.index);
    let peer = exchange.peer;
    let endpoints = Endpoints { client: peer.address, local: peer.local };
    let addresses = origin.live.addresses.load_full();
    let mut last = Failure::new(Reason::DnsUnknown, Progress::NothingWritten);
    for address in addresses.iter().cycle().skip(turn).take(addresses.len().min(ADDRESSES_TRIED)) {
        let key = Key { address: *address, transport: origin.transport.clone() };
        match upstream::connect(pool, origin, &key, endpoints, stage.timer).await {
            Ok((stream, open)) => {
                stats.connects.inc();
                return Ok(begun(Upstream::new(stream, key, open), origin));
            }
            Err(error) => {
                stats.connect_failures.inc();
                last = Failure::new(error.reason(), Progress::NothingWritten).because(&error);
            }
        }
    }
    Err(last)
}

fn gone() -> Failure {
    Failure::new(Reason::ClientGone, Progress::ReplyBegun)
}

/// Waits for the head of the final reply while the body goes up.
struct Wait<'a> {
    stage: Stage<'a>,
    pool: &'a PoolPlan,
    interim: u32,
    /// Tick at which the whole request had been sent.
    asked: Option<u32>,
    /// The origin was waited for, so something may be there.
    waited: bool,
}

impl Wait<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange,
        client: &mut Client,
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
                    if client.reply.poll_flush(&mut client.stream, cx).map_err(|_| ())
                        == Poll::Ready(Err(()))
                    {
                        return Poll::Ready(Err(gone()));
                    }
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending if upstream.upload.flow != Flow::Active && client.poll_gone(cx) => {
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
        loop {
            let have = upstream.reply.buffer.as_ref().map_or(0, crate::buffers::Lent::len);
            if have > 0 {
                let filled = upstream.reply.buffer.as_ref().map_or(&[][..], |b| b.filled());
                let bad = |reason, error: &dyn std::fmt::Display| {
                    Failure::new(reason, Progress::ReplyBegun).because(error)
                };
                match upstream.parser.parse(filled, &REPLY_HEAD) {
                    Ok(true) => {
                        let method = exchange.request().method;
                        let head = upstream.parser.head_mut();
                        let meaning = core_wire::h1::response::meaning(head, filled, method)
                            .map_err(|error| bad(Reason::BadReply, &error))?;
                        let unasked = head.status == 101
                            && (exchange.meaning.upgrade.is_none() || meaning.upgrade.is_none());
                        if unasked {
                            return Poll::Ready(Err(bad(Reason::BadReply, &"an unasked 101")));
                        }
                        let interim = meaning.interim;
                        upstream.meaning = Some(meaning);
                        return Poll::Ready(Ok(!interim));
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
            ready!(self.poll_bytes(cx, upstream, have))?;
        }
    }

    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut Upstream,
        have: usize,
    ) -> Poll<Result<(), Failure>> {
        let begun = if have > 0 { Progress::ReplyBegun } else { Progress::NoReply };
        let gone = |error: &dyn std::fmt::Display| {
            Poll::Ready(Err(Failure::new(Reason::ClosedEarly, begun).because(error)))
        };
        if have == 0 && !std::mem::replace(&mut self.waited, true) {
            upstream.reply.buffer = None;
            if let Err(error) = ready!(upstream.stream.poll_readable(cx)) {
                return gone(&error);
            }
        }
        let buffer = upstream.reply.buffer.get_or_insert_with(crate::buffers::Lent::take);
        if buffer.space().is_empty() {
            buffer.grow(REPLY_HEAD_BYTES);
        }
        match upstream.stream.poll_read(cx, buffer) {
            Poll::Ready(Ok(0)) => gone(&"the origin closed the connection"),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => gone(&error),
            Poll::Pending => {
                // Nothing is held while nothing comes.
                if buffer.is_empty() {
                    upstream.reply.buffer = None;
                }
                Poll::Pending
            }
        }
    }

    /// Passes an interim reply on.
    fn interim(
        &mut self,
        exchange: &Exchange,
        client: &mut Client,
        upstream: &mut Upstream,
    ) -> Result<(), Failure> {
        self.interim += 1;
        if self.interim > INTERIM_MAX {
            self.hit(Limit::InterimReplies);
            return Err(Failure::new(Reason::TooManyInterim, Progress::ReplyBegun));
        }
        let head = upstream.parser.head();
        let buffer = upstream.reply.buffer.as_ref().map_or(&[][..], |b| b.filled());
        let wanted = exchange.request().version == Version::Http11
            && (head.status != 100 || exchange.meaning.expect_continue);
        if wanted {
            let mut out = HeadWriter::new(client.reply.interim());
            let written = out
                .status_line(head.status)
                .and_then(|()| out.copy_run(buffer, &head.fields, |field| !field.hop));
            if let Err(error) = written {
                return Err(Failure::new(Reason::BadReply, Progress::ReplyBegun).because(&error));
            }
            out.finish();
        }
        if head.status == 100 {
            upstream.upload.expects = false;
            upstream.upload.meter.expect();
        }
        let len = head.len;
        if let Some(buffer) = &mut upstream.reply.buffer {
            buffer.consume(len);
        }
        upstream.parser.reset();
        upstream.meaning = None;
        Ok(())
    }

    /// Whether something took too long; `None` asks for another look.
    fn poll_late(
        &mut self,
        cx: &mut Context<'_>,
        client: &Client,
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
        ready!(self.stage.timer.poll(cx, deadline.min(self.stage.end())));
        if self.stage.is_over() {
            return Poll::Ready(over());
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
    client: &Client,
    upstream: &mut Upstream,
) -> Result<u32, (Reason, Option<Limit>)> {
    let config = &stage.listener.config;
    let blocked = !client.body.data().is_empty() || upstream.request.waiting() > 0;
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
    client: &mut Client,
    upstream: &mut Upstream,
) -> Poll<Result<(), Refusal>> {
    let moved = ready!(poll_move(
        cx,
        (&mut client.stream, &mut client.body),
        (&mut upstream.stream, &mut upstream.request),
        &mut upstream.upload.meter,
    ));
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

fn body_refusal(fault: &crate::codec::h1_body::BodyFault) -> Refusal {
    use crate::codec::h1_body::BodyFault;
    use core_wire::h1::body::BodyError;
    let reason = match fault {
        BodyFault::Io(_) | BodyFault::Broken(BodyError::EndedEarly) => Reason::ClientGone,
        BodyFault::Broken(BodyError::TooLarge) => Reason::BodyTooLarge,
        BodyFault::Broken(_) => Reason::BodyBroken,
    };
    Refusal { reason, detail: Some(fault.to_string()) }
}
