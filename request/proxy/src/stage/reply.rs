//! Stage: the reply, be it an origin's or Weir's own; the one place that writes to a client.

use crate::codec::h2_stream::H2Link;
use crate::exchange::{Client, Exchange, Stage, Target};
use crate::lifecycle::Refusal;
use crate::link::Link;
use crate::reason::Reason;
use crate::relay::{Meter, MoveFault, Pace, Waits, poll_move};
use crate::stage::route::{self, RedirectTo};
use crate::timer;
use crate::tunnel::{self, Tunnel};
use crate::upstream::wait::{poll_upload, upload_pace};
use crate::upstream::{Flow, Upstream, Wire};
use crate::websocket;
use crate::worker::Worker;
use core_model::config::{Hsts, RouteRules};
use core_wire::h1::Framing;
use core_wire::h1::head::{Field, Known, Method, Version};
use core_wire::h1::response::ResponseMeaning;
use core_wire::h1::write::{HeadWriter, WriteError, reason as phrase};
use core_wire::write::WriteHead;
use process_runtime::metrics::Limit;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

/// Unread request body that is read and thrown away, so that the connection may live on.
const DRAIN_BYTES_MAX: u64 = 64 * 1024;

/// Sends an origin's reply and gives its connection back.
pub(crate) async fn stream(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client<'_>,
    target: Target<'_>,
    mut upstream: Box<Upstream>,
) -> Result<(), Refusal> {
    let Some(meaning) = upstream.meaning else { return Err(Reason::Internal.into()) };
    let Some((pool_id, index)) = exchange.outcome.tried else {
        return Err(Reason::Internal.into());
    };
    let Some(pool) = stage.listener.pool(pool_id) else { return Err(Reason::Internal.into()) };
    let status = upstream.parser.head().status;
    exchange.outcome.status = status;
    if let Some(origin) = pool.origins.get(index) {
        let stats = origin.live.stats.shard(stage.worker.index);
        let class = usize::from(status / 100).saturating_sub(1);
        stats.replies.get(class).inspect(|counter| counter.inc());
    }
    let tunnel = is_tunnel(exchange, &upstream);
    if !tunnel && exchange.request().method == Method::Connect && status / 100 == 2 {
        // Passed on, it would open a tunnel that the origin knows nothing of.
        return Err(Reason::NoTunnel.into());
    }
    // A body that the client still owes cannot be told from its next request.
    exchange.keep &= !tunnel && upstream.upload.flow == Flow::Done && !stage.ends();
    let framing = to_client(exchange, meaning.framing, status);
    let reply = Reply { stage, exchange, target, upstream: &upstream, meaning, framing, tunnel };
    if let Err(error) = reply.head(client) {
        return Err(Refusal { reason: Reason::BadReply, detail: Some(error.to_string()) });
    }
    upstream.consume_head();
    let mut download = Meter::new(false);
    let moved = if tunnel {
        stage.listener.stats.shard(stage.worker.index).tunnels.inc();
        tunnel::begin(client, &mut upstream);
        let idle = stage.listener.config.timeouts.tunnel_idle;
        let mut tunnel = Tunnel::new(stage, &mut download, idle);
        poll_fn(|cx| tunnel.poll(cx, client, &mut upstream)).await
    } else {
        upstream.begin_reply(meaning.framing);
        let mut down = Download { stage, pool, meter: &mut download };
        poll_fn(|cx| down.poll(cx, client, &mut upstream)).await
    };
    exchange.outcome.bytes_out = download.bytes;
    exchange.outcome.complete = moved.is_ok();
    if let Err(refusal) = moved {
        exchange.keep = false;
        if framing == Framing::Eof || matches!(client.link, Link::H2(_)) {
            // A cut body without a length looks whole unless the connection is reset, and a stream
            // has no other way to be cut.
            client.link.abort();
        }
        if upstream.upload.flow != Flow::Done {
            upstream.link().abort();
        }
        exchange.outcome.reason = Some(refusal.reason);
        exchange.outcome.detail = refusal.detail;
        return Ok(());
    }
    upstream.release(stage, pool);
    Ok(())
}

/// Whether from here on both sides are streams of bytes.
fn is_tunnel(exchange: &Exchange, upstream: &Upstream) -> bool {
    let status = upstream.parser.head().status;
    match upstream.wire {
        Wire::H1(_) => status == 101,
        // RFC 8441 §4: a stream has no 101, the request itself asks for the tunnel.
        Wire::H2(_) => exchange.meaning.upgrade.is_some() && status / 100 == 2,
    }
}

/// The framing towards the client of a body that came in `framing`.
fn to_client(exchange: &mut Exchange, framing: Framing, status: u16) -> Framing {
    let bodiless = exchange.is_head() || status < 200 || matches!(status, 204 | 304);
    match framing {
        // A stream that ended says what HTTP/1 has to say by a length.
        Framing::None if !bodiless => Framing::Exact(0),
        Framing::Chunked | Framing::Eof if exchange.request().version == Version::Http10 => {
            exchange.keep = false;
            Framing::Eof
        }
        Framing::Eof => Framing::Chunked,
        same => same,
    }
}

/// Passes an interim reply on.
pub(crate) fn interim(client: &mut Client<'_>, upstream: &Upstream) -> Result<(), WriteError> {
    fn write(out: &mut impl WriteHead, upstream: &Upstream) -> Result<(), WriteError> {
        let head = upstream.parser.head();
        out.status(head.status)?;
        out.copy_run(upstream.head_bytes(), &head.fields, |field| !field.hop)
    }
    match &mut client.link {
        Link::H1(h1) => {
            let mut out = HeadWriter::new(h1.sender.interim());
            write(&mut out, upstream)?;
            out.finish();
            Ok(())
        }
        Link::H2(h2) => h2.interim(|out| write(out, upstream)),
    }
}

/// An origin's reply with what decides over its head.
struct Reply<'a> {
    stage: Stage<'a>,
    exchange: &'a Exchange,
    target: Target<'a>,
    upstream: &'a Upstream,
    meaning: ResponseMeaning,
    /// The framing towards the client.
    framing: Framing,
    tunnel: bool,
}

impl Reply<'_> {
    /// Writes the head for the client.
    fn head(&self, client: &mut Client<'_>) -> Result<(), WriteError> {
        match &mut client.link {
            Link::H1(h1) => {
                let mut out = HeadWriter::new(h1.sender.begin(self.framing));
                self.write(&mut out, if self.tunnel { 101 } else { self.status() })?;
                out.finish();
                if !self.exchange.keep && !self.tunnel {
                    h1.sender.end_connection();
                }
                Ok(())
            }
            Link::H2(h2) => {
                let status = if self.tunnel { 200 } else { self.status() };
                h2.head(self.framing, self.tunnel, |out| self.write(out, status))
            }
        }
    }

    fn status(&self) -> u16 {
        self.upstream.parser.head().status
    }

    fn write(&self, out: &mut impl WriteHead, status: u16) -> Result<(), WriteError> {
        let Self { stage, exchange, target, upstream, meaning, .. } = *self;
        let reply = upstream.parser.head();
        let buffer = upstream.head_bytes();
        let rules = route::rules(stage, target);
        out.status(status)?;
        let changed = target.route.effect.reply_headers;
        // A stream has no handshake of WebSocket beyond its head (RFC 8441 §5), to either side.
        let of_stream = exchange.request().version == Version::Http2;
        let bridged = self.tunnel && (of_stream || matches!(upstream.wire, Wire::H2(_)));
        out.copy_run(buffer, &reply.fields, |field: &Field| {
            let dropped = field.hop
                || (changed && is_replaced(&rules, field.name.get(buffer)))
                || (bridged && field.known == Known::SecWebSocketAccept);
            !dropped
        })?;
        if !reply.fields.iter().any(|field| field.known == Known::Date) {
            out.date(&stage.worker.date());
        }
        if changed {
            added(&rules, exchange, out)?;
        }
        match (self.framing, meaning.declared) {
            (Framing::None, Some(length)) if exchange.is_head() || reply.status == 304 => {
                out.content_length(length);
            }
            _ if self.tunnel => {}
            (framing, _) => out.framing(framing),
        }
        if !self.tunnel {
            return connection(exchange, out);
        }
        if let Some(protocol) = exchange.meaning.upgrade {
            out.upgrade(exchange.text(protocol))?;
        }
        match (&upstream.wire, exchange.field(Known::SecWebSocketKey)) {
            (Wire::H2(_), Some(key)) if !of_stream => {
                out.own(Known::SecWebSocketAccept, &websocket::accept(key))
            }
            _ => Ok(()),
        }
    }
}

/// Tells a client what becomes of the connection where its version does not say so.
fn connection(exchange: &Exchange, out: &mut impl WriteHead) -> Result<(), WriteError> {
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
    out: &mut impl WriteHead,
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
        client: &mut Client<'_>,
        upstream: &mut Upstream,
    ) -> Poll<Result<(), Refusal>> {
        loop {
            if upstream.upload.flow == Flow::Active
                && let Poll::Ready(Err(_)) = poll_upload(cx, client, upstream)
            {
                // The reply is whole without the rest of the request.
                upstream.upload.flow = Flow::Stopped;
            }
            match poll_move(cx, &mut upstream.link(), &mut client.link, self.meter) {
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
        client: &Client<'_>,
        upstream: &mut Upstream,
    ) -> Result<u32, (Reason, Option<Limit>)> {
        if self.stage.is_over() {
            return Err((Reason::DrainTimeout, None));
        }
        let config = &self.stage.listener.config;
        let blocked = !upstream.link().data().is_empty() || client.link.waiting() > 0;
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

/// Answers with a redirect.
pub(crate) fn redirect(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client<'_>,
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
    client: &mut Client<'_>,
    (status, body): (u16, &[u8]),
    more: &[(&str, &str)],
) {
    // A request body that is known to be short is read before the next request; a longer one
    // costs the connection.
    exchange.keep &= match exchange.meaning.framing {
        Framing::None => true,
        Framing::Exact(length) => {
            length.saturating_sub(client.link.seen()) <= DRAIN_BYTES_MAX
                && !exchange.meaning.expect_continue
        }
        Framing::Chunked => !exchange.meaning.expect_continue,
        Framing::Eof => false,
    };
    exchange.keep &= !stage.ends();
    let framing =
        if exchange.is_head() { Framing::None } else { Framing::Exact(body.len() as u64) };
    let date = stage.worker.date();
    let shared: &Exchange = exchange;
    let written = match &mut client.link {
        Link::H1(h1) => {
            let mut out = HeadWriter::new(h1.sender.begin(framing));
            let head = own_head(&mut out, shared, (status, body.len()), &date, more);
            let head = head.map(|()| out.finish());
            if !shared.keep {
                h1.sender.end_connection();
            }
            head
        }
        Link::H2(h2) => {
            h2.head(framing, false, |out| own_head(out, shared, (status, body.len()), &date, more))
        }
    };
    if written.is_err() {
        exchange.keep = false;
        exchange.outcome.reason = Some(Reason::Internal);
        return;
    }
    let copied = if framing == Framing::None { Ok(()) } else { client.link.copy(body) };
    if copied.and_then(|()| client.link.finish(b"")).is_ok() {
        exchange.outcome.bytes_out = body.len() as u64;
    }
}

fn own_head(
    out: &mut impl WriteHead,
    exchange: &Exchange,
    (status, length): (u16, usize),
    date: &[u8; 29],
    more: &[(&str, &str)],
) -> Result<(), WriteError> {
    out.status(status)?;
    out.date(date);
    for (name, value) in more {
        out.field(name.as_bytes(), value.as_bytes())?;
    }
    out.content_length(length as u64);
    connection(exchange, out)
}

/// Sees a reply to its end, whichever way the stages before went.
pub(crate) async fn finish(
    stage: Stage<'_>,
    exchange: &mut Exchange,
    client: &mut Client<'_>,
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
    if client.link.is_finished() && client.link.waiting() > 0 {
        let sent = send(stage, client).await;
        exchange.outcome.complete = sent;
        exchange.keep &= sent;
    }
    // A stream ends with its exchange; only a connection has to be cleared for what follows.
    if exchange.keep && !client.link.is_received() && matches!(client.link, Link::H1(_)) {
        exchange.keep = drain(stage, client).await;
    }
}

/// Writes the small page of a refusal.
fn refuse(stage: Stage<'_>, exchange: &mut Exchange, client: &mut Client<'_>, reason: Reason) {
    let status = reason.status();
    exchange.outcome.status = status;
    if reason == Reason::BodyTooLarge {
        stage.listener.stats.shard(stage.worker.index).hit(Limit::BodyBytes);
    }
    if matches!(status, 400 | 408 | 413) {
        exchange.keep &= client.link.is_received();
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
    if malformed_head(&mut head, worker, (status, kind, body.len()), keep).is_err() {
        return 0;
    }
    head.finish();
    if bodyless {
        return 0;
    }
    out.extend_from_slice(body.as_bytes());
    body.len()
}

/// As [`malformed`], on a stream.
pub(crate) fn malformed_stream(
    worker: &Worker,
    status: u16,
    (says, bodyless): (&str, bool),
    link: &mut H2Link,
) -> usize {
    let (body, kind) = page(status, says, false);
    let length = body.len();
    let framing = if bodyless { Framing::None } else { Framing::Exact(length as u64) };
    let written =
        link.head(framing, false, |out| malformed_head(out, worker, (status, kind, length), true));
    if bodyless {
        return 0;
    }
    let queued = written.is_ok() && link.queue(body.as_bytes()).is_ok();
    if queued && link.finish(b"").is_ok() { length } else { 0 }
}

fn malformed_head(
    out: &mut impl WriteHead,
    worker: &Worker,
    (status, kind, length): (u16, &str, usize),
    keep: bool,
) -> Result<(), WriteError> {
    out.status(status)?;
    out.date(&worker.date());
    out.field(b"Content-Type", kind.as_bytes())?;
    out.field(b"Cache-Control", b"no-store")?;
    if status == 405 {
        out.field(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")?;
    }
    out.field(b"Proxy-Status", b"weir; error=http_request_error")?;
    out.content_length(length as u64);
    if keep { Ok(()) } else { out.connection(b"close") }
}

/// Writes what waits for the client; false when it does not take it.
pub(crate) async fn send(stage: Stage<'_>, client: &mut Client<'_>) -> bool {
    let idle = timer::tick_after(stage.listener.config.timeouts.body_idle);
    let deadline = idle.min(stage.end());
    poll_fn(|cx| match client.link.poll_flush(cx) {
        Poll::Ready(result) => Poll::Ready(result.is_ok()),
        Poll::Pending => stage.timer.poll(cx, deadline).map(|()| false),
    })
    .await
}

/// Reads what is left of a request body; false where that is too much, too slow or malformed.
async fn drain(stage: Stage<'_>, client: &mut Client<'_>) -> bool {
    let deadline = timer::tick_after(std::time::Duration::from_secs(1));
    let most = client.link.seen().saturating_add(DRAIN_BYTES_MAX);
    poll_fn(|cx| {
        loop {
            match client.link.poll_body(cx) {
                Poll::Ready(Ok(crate::codec::h1_body::Got::End)) => return Poll::Ready(true),
                Poll::Ready(Ok(crate::codec::h1_body::Got::Data)) => {
                    let n = client.link.data().len();
                    client.link.consume(n);
                    if client.link.seen() > most {
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
