//! Stage: the reply, be it an origin's or Weir's own; the one place that writes to a client.

use crate::exchange::{Client, Exchange, Stage, Target};
use crate::lifecycle::Refusal;
use crate::reason::Reason;
use crate::relay::{Meter, MoveFault, Pace, Waits, poll_move};
use crate::stage::route::{self, RedirectTo};
use crate::timer;
use crate::upstream::wait::{poll_upload, upload_pace};
use crate::upstream::{Flow, Upstream};
use crate::worker::Worker;
use core_model::config::{Hsts, RouteRules};
use core_wire::h1::Framing;
use core_wire::h1::head::{Field, Known, Version};
use core_wire::h1::response::ResponseMeaning;
use core_wire::h1::write::{HeadWriter, WriteError, reason as phrase};
use process_runtime::metrics::Limit;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

/// Unread request body that is read and thrown away, so that the connection may live on.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Sends an origin's reply and gives its connection back.
pub(crate) async fn stream(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    target: Target<'_>,
    mut upstream: Box<Upstream>,
) -> Result<(), Refusal> {
    let Some(meaning) = upstream.meaning else { return Err(Reason::Internal.into()) };
    let Some((pool_id, index)) = exchange.outcome.tried else {
        return Err(Reason::Internal.into());
    };
    let Some(pool) = target.host.pool(pool_id) else { return Err(Reason::Internal.into()) };
    let status = upstream.parser.head().status;
    exchange.outcome.status = status;
    if let Some(origin) = pool.origins.get(index) {
        let stats = origin.live.stats.shard(stage.worker.index);
        let class = usize::from(status / 100).saturating_sub(1);
        stats.replies.get(class).inspect(|counter| counter.inc());
    }
    let tunnel = status == 101;
    // A body that the client still owes cannot be told from its next request.
    exchange.keep &= !tunnel && upstream.upload.flow == Flow::Done && !stage.ends();
    let framing = to_client(exchange, meaning.framing);
    if let Err(error) = head(stage, exchange, client, target, &upstream, (meaning, framing)) {
        return Err(Refusal { reason: Reason::BadReply, detail: Some(error.to_string()) });
    }
    let head_len = upstream.parser.head().len;
    if let Some(buffer) = &mut upstream.reply.buffer {
        buffer.consume(head_len);
    }
    let mut download = Meter::new(false);
    let moved = if tunnel {
        stage.listener.stats.shard(stage.worker.index).tunnels.inc();
        tunnel_begin(client, &mut upstream);
        let idle = stage.listener.config.timeouts.tunnel_idle;
        let mut tunnel = Tunnel { stage, download: &mut download, up: false, down: false, idle };
        poll_fn(|cx| tunnel.poll(cx, client, &mut upstream)).await
    } else {
        upstream.reply.begin(meaning.framing, u64::MAX);
        let mut down = Download { stage, pool, meter: &mut download };
        poll_fn(|cx| down.poll(cx, client, &mut upstream)).await
    };
    exchange.outcome.bytes_out = download.bytes;
    exchange.outcome.complete = moved.is_ok();
    if let Err(refusal) = moved {
        exchange.keep = false;
        if framing == Framing::Eof {
            // A cut body without a length looks whole unless the connection is reset.
            let _ = process_runtime::sockets::reset_on_close(client.stream.tcp());
        }
        if upstream.upload.flow != Flow::Done {
            let _ = process_runtime::sockets::reset_on_close(upstream.stream.tcp());
        }
        exchange.outcome.reason = Some(refusal.reason);
        exchange.outcome.detail = refusal.detail;
        return Ok(());
    }
    upstream.release(stage, pool);
    Ok(())
}

/// The framing towards the client of a body that came in `framing`.
fn to_client(exchange: &mut Exchange, framing: Framing) -> Framing {
    match framing {
        Framing::Chunked | Framing::Eof if exchange.request().version == Version::Http10 => {
            exchange.keep = false;
            Framing::Eof
        }
        Framing::Eof => Framing::Chunked,
        same => same,
    }
}

fn head(
    stage: Stage<'_>,
    exchange: &Exchange,
    client: &mut Client,
    target: Target<'_>,
    upstream: &Upstream,
    (meaning, framing): (ResponseMeaning, Framing),
) -> Result<(), WriteError> {
    let reply = upstream.parser.head();
    let buffer = upstream.reply.buffer.as_ref().map_or(&[][..], |b| b.filled());
    let rules = route::rules(stage, target);
    let mut out = HeadWriter::new(client.reply.begin(framing));
    out.status_line(reply.status)?;
    let changed = target.route.effect.reply_headers;
    out.copy_run(buffer, &reply.fields, |field: &Field| {
        let dropped = field.hop || (changed && is_replaced(&rules, field.name.get(buffer)));
        !dropped
    })?;
    if !reply.fields.iter().any(|field| field.known == Known::Date) {
        out.date(&stage.worker.date());
    }
    if changed {
        added(&rules, exchange, &mut out)?;
    }
    match (framing, meaning.declared) {
        (Framing::None, Some(length)) if exchange.is_head() || reply.status == 304 => {
            out.content_length(length);
        }
        _ => out.framing(framing),
    }
    match meaning.upgrade {
        Some(protocol) if reply.status == 101 => {
            out.connection(b"Upgrade")?;
            out.field(b"Upgrade", protocol.get(buffer))?;
        }
        _ => connection(exchange, &mut out)?,
    }
    out.finish();
    Ok(())
}

/// Tells a client what becomes of the connection where its version does not say so.
fn connection(exchange: &Exchange, out: &mut HeadWriter<'_>) -> Result<(), WriteError> {
    match (exchange.keep, exchange.request().version) {
        (false, Version::Http11) => out.connection(b"close"),
        (true, Version::Http10) => out.connection(b"keep-alive"),
        _ => Ok(()),
    }
}

fn is_replaced(rules: &[&RouteRules; 3], name: &[u8]) -> bool {
    rules.iter().any(|rule| {
        let headers = &rule.response_headers;
        headers.remove.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
            || headers.set.iter().any(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name))
            || (rule.hsts.is_some() && name.eq_ignore_ascii_case(b"strict-transport-security"))
    })
}

/// The fields that rules add to a reply.
fn added(
    rules: &[&RouteRules; 3],
    exchange: &Exchange,
    out: &mut HeadWriter<'_>,
) -> Result<(), WriteError> {
    if exchange.peer.https
        && let Some(hsts) = rules.iter().rev().find_map(|rule| rule.hsts.as_ref())
    {
        out.field(b"Strict-Transport-Security", hsts_value(hsts).as_bytes())?;
    }
    for (name, value) in rules.iter().flat_map(|rule| &rule.response_headers.set) {
        out.field(name.as_bytes(), value.as_bytes())?;
    }
    Ok(())
}

fn hsts_value(hsts: &Hsts) -> String {
    let mut value = format!("max-age={}", hsts.max_age.as_secs());
    if hsts.include_subdomains {
        value.push_str("; includeSubDomains");
    }
    if hsts.preload {
        value.push_str("; preload");
    }
    value
}

/// A reply on its way to the client, with what is left of the request body beside it.
struct Download<'a> {
    stage: Stage<'a>,
    pool: &'a crate::plan::PoolPlan,
    meter: &'a mut Meter,
}

impl Download<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        upstream: &mut Upstream,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            if upstream.upload.flow == Flow::Active
                && let Poll::Ready(Err(_)) = poll_upload(cx, client, upstream)
            {
                // The reply is whole without the rest of the request.
                upstream.upload.flow = Flow::Stopped;
            }
            match poll_move(
                cx,
                (&mut upstream.stream, &mut upstream.reply),
                (&mut client.stream, &mut client.reply),
                self.meter,
            ) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(move_refusal(fault))),
                Poll::Pending => {}
            }
            let tick = match self.pace(client, upstream) {
                Ok(tick) => tick,
                Err((reason, limit)) => {
                    let stats = self.stage.listener.stats.shard(self.stage.worker.index);
                    limit.into_iter().for_each(|limit| stats.hit(limit));
                    return Poll::Ready(Err(reason.into()));
                }
            };
            ready!(self.stage.timer.poll(cx, tick));
        }
    }

    fn pace(
        &mut self,
        client: &Client,
        upstream: &mut Upstream,
    ) -> Result<u32, (Reason, Option<Limit>)> {
        if self.stage.is_over() {
            return Err((Reason::DrainTimeout, None));
        }
        let config = &self.stage.listener.config;
        let blocked = !upstream.reply.data().is_empty() || client.reply.waiting() > 0;
        let pace = if blocked {
            let waits = Waits::Client(config.limits.body_min_rate);
            self.meter.pace(config.timeouts.body_idle, waits)
        } else {
            self.meter.pace(self.pool.config.timeouts.idle, Waits::Origin)
        };
        let mut tick = match pace {
            Pace::Until(tick) => tick,
            Pace::Idle if blocked => return Err((Reason::ReplyNotTaken, Some(Limit::BodyIdle))),
            Pace::Slow => return Err((Reason::ReplyNotTaken, Some(Limit::BodyMinRate))),
            Pace::Idle => return Err((Reason::ReplyStalled, None)),
        };
        // A client that was answered without a 100 need not send its body.
        if upstream.upload.flow == Flow::Active && !upstream.upload.is_unasked() {
            tick = tick.min(upload_pace(self.stage, self.pool, client, upstream)?);
        }
        Ok(tick.min(self.stage.end()))
    }
}

fn move_refusal(fault: MoveFault) -> Refusal {
    let (reason, detail) = match fault {
        MoveFault::Source(fault) => (Reason::ReplyCut, fault.to_string()),
        MoveFault::Sink(fault) => (Reason::ClientGone, fault.to_string()),
    };
    Refusal { reason, detail: Some(detail) }
}

/// From here on both sides are streams of bytes that end with their connection.
fn tunnel_begin(client: &mut Client, upstream: &mut Upstream) {
    client.body.begin(Framing::Eof, u64::MAX);
    client.reply.tunnel();
    upstream.reply.begin(Framing::Eof, u64::MAX);
    upstream.request.tunnel();
    upstream.upload.meter = Meter::new(false);
}

/// Two directions of bytes, each of which may end by itself.
struct Tunnel<'a> {
    stage: Stage<'a>,
    download: &'a mut Meter,
    up: bool,
    down: bool,
    idle: std::time::Duration,
}

impl Tunnel<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        upstream: &mut Upstream,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            if !self.up
                && poll_move(
                    cx,
                    (&mut client.stream, &mut client.body),
                    (&mut upstream.stream, &mut upstream.request),
                    &mut upstream.upload.meter,
                )
                .is_ready()
            {
                self.up = true;
                let _ = upstream.stream.poll_shutdown(cx);
            }
            if !self.down
                && poll_move(
                    cx,
                    (&mut upstream.stream, &mut upstream.reply),
                    (&mut client.stream, &mut client.reply),
                    self.download,
                )
                .is_ready()
            {
                self.down = true;
                let _ = client.stream.poll_shutdown(cx);
            }
            if self.up && self.down {
                return Poll::Ready(Ok(()));
            }
            if self.stage.is_over() {
                return Poll::Ready(Err(Reason::DrainTimeout.into()));
            }
            let last = self.download.last().max(upstream.upload.meter.last());
            let idle = timer::tick_after(self.idle).saturating_sub(timer::now());
            let end = last.saturating_add(idle);
            if timer::passed(end) {
                let stats = self.stage.listener.stats.shard(self.stage.worker.index);
                stats.hit(Limit::TunnelIdle);
                return Poll::Ready(Err(Reason::TunnelIdle.into()));
            }
            ready!(self.stage.timer.poll(cx, end.min(self.stage.end())));
        }
    }
}

/// Answers with a redirect.
pub(crate) fn redirect(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    to: &RedirectTo,
) {
    exchange.outcome.status = to.status;
    let page = format!("{} {}\n", to.status, phrase(to.status));
    let more = [("Location", to.location.as_str()), ("Content-Type", "text/plain")];
    own(stage, exchange, client, (to.status, page.as_bytes()), &more);
}

/// Writes a reply of Weir's own.
fn own(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    (status, body): (u16, &[u8]),
    more: &[(&str, &str)],
) {
    // A request body that is known to be short is read before the next request; a longer one
    // costs the connection.
    exchange.keep &= match exchange.meaning.framing {
        Framing::None => true,
        Framing::Exact(length) => {
            length.saturating_sub(client.body.seen()) <= DRAIN_BYTES_MAX
                && !exchange.meaning.expect_continue
        }
        Framing::Chunked => !exchange.meaning.expect_continue,
        Framing::Eof => false,
    };
    exchange.keep &= !stage.ends();
    let framing =
        if exchange.is_head() { Framing::None } else { Framing::Exact(body.len() as u64) };
    let mut head = HeadWriter::new(client.reply.begin(framing));
    let mut write = || -> Result<(), WriteError> {
        head.status_line(status)?;
        head.date(&stage.worker.date());
        for (name, value) in more {
            head.field(name.as_bytes(), value.as_bytes())?;
        }
        head.content_length(body.len() as u64);
        connection(exchange, &mut head)
    };
    if write().is_err() {
        exchange.keep = false;
        exchange.outcome.reason = Some(Reason::Internal);
        return;
    }
    head.finish();
    let copied = if framing == Framing::None { Ok(()) } else { client.reply.copy(body) };
    if copied.and_then(|()| client.reply.finish(b"")).is_ok() {
        exchange.outcome.bytes_out = body.len() as u64;
    }
}

/// Sees a reply to its end, whichever way the stages before went.
pub(crate) async fn finish(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client,
    outcome: Result<(), Refusal>,
) {
    if let Err(refusal) = outcome {
        exchange.outcome.reason = Some(refusal.reason);
        exchange.outcome.detail = refusal.detail;
        if refusal.reason == Reason::ClientGone {
            exchange.keep = false;
            exchange.outcome.status = refusal.reason.status();
            return;
        }
        refuse(stage, exchange, client, refusal.reason);
    }
    if client.reply.is_finished() && client.reply.waiting() > 0 {
        let sent = send(stage, client).await;
        exchange.outcome.complete = sent;
        exchange.keep &= sent;
    }
    if exchange.keep && !client.body.is_done() {
        exchange.keep = drain(stage, client).await;
    }
}

/// Writes the small page of a refusal.
fn refuse(stage: Stage<'_>, exchange: &mut Exchange, client: &mut Client, reason: Reason) {
    let status = reason.status();
    exchange.outcome.status = status;
    if reason == Reason::BodyTooLarge {
        stage.listener.stats.shard(stage.worker.index).hit(Limit::BodyBytes);
    }
    if matches!(status, 400 | 408 | 413) {
        exchange.keep &= client.body.is_done();
    }
    let proxy_status = format!("weir; error={}", reason.proxy_status());
    let json = exchange.field(Known::Accept).is_some_and(wants_json);
    let (body, kind) = page(status, reason.says(), json);
    let more = [
        ("Content-Type", kind),
        ("Cache-Control", "no-store"),
        ("Proxy-Status", proxy_status.as_str()),
    ];
    own(stage, exchange, client, (status, body.as_bytes()), &more);
}

fn wants_json(accept: &[u8]) -> bool {
    let has = |what: &[u8]| accept.windows(what.len()).any(|part| part.eq_ignore_ascii_case(what));
    has(b"application/json") && !has(b"text/html")
}

/// Body and media type of a page about `status`.
fn page(status: u16, says: &str, json: bool) -> (String, &'static str) {
    let title = phrase(status);
    if json {
        let body = format!("{{\"status\":{status},\"title\":\"{title}\",\"detail\":\"{says}\"}}\n");
        return (body, "application/json");
    }
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <title>{status} {title}</title>\n\
         <body style=\"font:16px system-ui;margin:4em auto;max-width:32em\">\
         <h1>{status} {title}</h1><p>{says}</p></body></html>\n"
    );
    (body, "text/html; charset=utf-8")
}

/// The bytes of a reply to a request whose head could not be read or is not served. Says how many
/// are of its body.
pub(crate) fn malformed(
    worker: &Worker,
    status: u16,
    says: &str,
    (keep, bodyless): (bool, bool),
    out: &mut Vec<u8>,
) -> usize {
    let (body, kind) = page(status, says, false);
    let mut head = HeadWriter::new(out);
    let mut write = || -> Result<(), WriteError> {
        head.status_line(status)?;
        head.date(&worker.date());
        head.field(b"Content-Type", kind.as_bytes())?;
        head.field(b"Cache-Control", b"no-store")?;
        if status == 405 {
            head.field(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")?;
        }
        head.field(b"Proxy-Status", b"weir; error=http_request_error")?;
        head.content_length(body.len() as u64);
        if keep { Ok(()) } else { head.connection(b"close") }
    };
    if write().is_err() {
        return 0;
    }
    head.finish();
    if bodyless {
        return 0;
    }
    out.extend_from_slice(body.as_bytes());
    body.len()
}

/// Writes what waits for the client; false when it does not take it.
pub(crate) async fn send(stage: Stage<'_>, client: &mut Client) -> bool {
    let idle = timer::tick_after(stage.listener.config.timeouts.body_idle);
    let deadline = idle.min(stage.end());
    poll_fn(|cx| match client.reply.poll_flush(&mut client.stream, cx) {
        Poll::Ready(result) => Poll::Ready(result.is_ok()),
        Poll::Pending => stage.timer.poll(cx, deadline).map(|()| false),
    })
    .await
}

/// Reads what is left of a request body; false where that is too much, too slow or malformed.
async fn drain(stage: Stage<'_>, client: &mut Client) -> bool {
    let deadline = timer::tick_after(std::time::Duration::from_secs(1));
    let most = client.body.seen().saturating_add(DRAIN_BYTES_MAX);
    poll_fn(|cx| {
        loop {
            match client.body.poll(&mut client.stream, cx) {
                Poll::Ready(Ok(crate::codec::h1_body::Got::End)) => return Poll::Ready(true),
                Poll::Ready(Ok(crate::codec::h1_body::Got::Data)) => {
                    let n = client.body.data().len();
                    client.body.consume(n);
                    if client.body.seen() > most {
                        return Poll::Ready(false);
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => return stage.timer.poll(cx, deadline).map(|()| false),
            }
        }
    })
    .await
}
