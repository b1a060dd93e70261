//! Stage: gets the head of a reply from an origin, trying others where that is allowed.

use crate::exchange::{Client, Exchange, Stage, Target};
use crate::lifecycle::Refusal;
use crate::link::H1Link;
use crate::plan::{OriginPlan, PoolPlan};
use crate::reason::Reason;
use crate::relay::Meter;
use crate::stage::route;
use crate::timer;
use crate::upstream::connect::{Endpoints, Offer};
use crate::upstream::request_head::{self, RequestPlan};
use crate::upstream::wait::{self, Failure, Wait};
use crate::upstream::{self, Key, Upstream, Wire, streams};
use crate::websocket;
use core_balance::retry::{self, Progress, RetryCase};
use core_balance::{budget, outlier};
use core_model::config::{PoolId, UpstreamProtocols};
use core_wire::h1::head::Version;
use process_runtime::live::{OriginLive, PoolLive};
use process_runtime::metrics::{Limit, OriginStats};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;

/// Addresses of one origin that one try asks in turn.
const ADDRESSES_TRIED: usize = 4;

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
    client: &mut Client<'_>,
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
        let Some(pool) = stage.listener.pool(id) else { return Err(Reason::NoPool.into()) };
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
    client: &mut Client<'_>,
    target: Target<'_>,
    (pool, origin): (&PoolPlan, &OriginPlan),
    body: Option<Vec<u8>>,
) -> Result<Box<Upstream>, Failed> {
    let mut upstream = match acquire_for(stage, exchange, client, (pool, origin)).await {
        Ok(upstream) => upstream,
        Err(failure) => return Err((failure, body)),
    };
    let stats = origin.live.stats.shard(stage.worker.index);
    stats.requests.inc();
    if upstream.reused() {
        stats.reused.inc();
    }
    upstream.socket_key = socket_key(stage, exchange, &upstream);
    let socket_key = upstream.socket_key;
    let plan = RequestPlan { stage, exchange, target, pool, origin, socket_key };
    if let Err(error) = request_head::begin(plan, &mut upstream.wire) {
        let failure = Failure::new(Reason::Internal, Progress::ReplyBegun).because(&error);
        return Err((failure, None));
    }
    // A stream may come back unprocessed, and then any request is sent again.
    let repeatable =
        exchange.request().method.is_idempotent() || matches!(upstream.wire, Wire::H2(_));
    upstream.upload.meter = Meter::new(repeatable && pool.config.retries.attempts > 0);
    upstream.upload.expects = exchange.meaning.expect_continue;
    if let Some(body) = body.filter(|body| !body.is_empty())
        && let Err(error) = upstream.resend(&body)
    {
        let failure = Failure::new(Reason::Internal, Progress::ReplyBegun).because(&error);
        return Err((failure, None));
    }
    let mut wait = Wait::new(stage, pool);
    let got = poll_fn(|cx| wait.poll(cx, exchange, client, &mut upstream)).await;
    match got {
        Ok(()) => {
            let us = u64::try_from(exchange.started.elapsed().as_micros()).unwrap_or(u64::MAX);
            exchange.outcome.upstream_us = Some(us);
            stats.latency.record(us);
            Ok(upstream)
        }
        Err(mut failure) => {
            failure.stale = failure.progress == Progress::Unprocessed
                || (upstream.reused()
                    && failure.progress == Progress::NoReply
                    && failure.refusal.reason == Reason::ClosedEarly);
            let body = upstream.upload.meter.replay().map(<[u8]>::to_vec);
            Err((failure, body))
        }
    }
}

/// The key of a WebSocket handshake that only the origin's side has.
fn socket_key(
    stage: Stage<'_>,
    exchange: &Exchange,
    upstream: &Upstream,
) -> Option<[u8; websocket::KEY_LEN]> {
    let protocol = exchange.text(exchange.meaning.upgrade?);
    let one_sided = exchange.request().version == Version::Http2
        && matches!(upstream.wire, Wire::H1(_))
        && protocol.eq_ignore_ascii_case(b"websocket");
    one_sided.then(|| websocket::key([stage.worker.random(), stage.worker.random()]))
}

/// A connection for a request that is still wanted. Nobody waits for one whose stream was taken
/// back: an attacker could pile up thousands that are being made.
async fn acquire_for(
    stage: Stage<'_>,
    exchange: &Exchange,
    client: &mut Client<'_>,
    (pool, origin): (&PoolPlan, &OriginPlan),
) -> Result<Box<Upstream>, Failure> {
    let mut acquiring = pin!(acquire(stage, exchange, pool, origin));
    poll_fn(|cx| match acquiring.as_mut().poll(cx) {
        Poll::Pending if client.poll_gone(cx, false) => Poll::Ready(Err(wait::gone())),
        acquired => acquired,
    })
    .await
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
    let protocols = &origin.transport.protocols;
    if protocols.http2 && !private && !needs_http1(exchange, protocols) {
        let endpoints = endpoints(stage, exchange);
        // Boxed, since making a connection is rare and its future is large.
        let tunnel = exchange.meaning.upgrade.is_some();
        let at = (endpoints, tunnel);
        let stream = Box::pin(streams::acquire(stage, (pool, origin), address, at));
        if let Some(upstream) = stream.await? {
            return Ok(begun(upstream, origin));
        }
    }
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
    upstream::within_breakers(stage, pool, origin)?;
    // Boxed, since a new connection is rare and its future is large.
    Box::pin(make(stage, exchange, (pool, origin), turn)).await
}

/// Whether a request can be served over HTTP/1.1 only: a tunnel where both protocols are spoken,
/// as few origins allow tunnels on streams.
fn needs_http1(exchange: &Exchange, protocols: &UpstreamProtocols) -> bool {
    exchange.meaning.upgrade.is_some() && protocols.http1
}

/// The addresses that a PROXY header tells an origin.
fn endpoints(stage: Stage<'_>, exchange: &Exchange) -> Endpoints {
    let local = exchange.peer.local.as_deref().copied();
    let local = local.unwrap_or(stage.listener.config.address);
    Endpoints { client: exchange.peer.address, local }
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
    let endpoints = endpoints(stage, exchange);
    let addresses = origin.live.addresses.load_full();
    let mut last = Failure::new(Reason::DnsUnknown, Progress::NothingWritten);
    for address in addresses.iter().cycle().skip(turn).take(addresses.len().min(ADDRESSES_TRIED)) {
        let key = Key { address: *address, transport: origin.transport.clone() };
        let asked = (endpoints, Offer::Http1);
        match upstream::connect(pool, origin, &key, asked, stage.timer).await {
            Ok((stream, open)) => {
                stats.connects.inc();
                let wire = Wire::H1(H1Link::new(stream));
                return Ok(begun(Upstream::new(wire, key, open), origin));
            }
            Err(error) => {
                stats.connect_failures.inc();
                last = Failure::new(error.reason(), Progress::NothingWritten).because(&error);
            }
        }
    }
    Err(last)
}
