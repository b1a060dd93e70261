//! The head an origin gets: the client's fields as they came, less what must not pass, plus what
//! the proxy answers for.

use crate::exchange::{Exchange, Stage, Target};
use crate::plan::{OriginPlan, PoolPlan};
use crate::stage::route;
use crate::upstream::Wire;
use crate::websocket;
use core_model::config::{HeaderNamePolicy, RouteRules};
use core_wire::forwarded::Element;
use core_wire::h1::Framing;
use core_wire::h1::head::{Field, Known, Method, Span};
use core_wire::h1::write::{ADDRESS_MAX, HeadWriter, WriteError, address_text};
use core_wire::write::{Scheme, WriteHead};

/// What decides over the head of a request to an origin.
#[derive(Clone, Copy)]
pub(crate) struct RequestPlan<'a> {
    pub(crate) stage: Stage<'a>,
    pub(crate) exchange: &'a Exchange,
    pub(crate) target: Target<'a>,
    pub(crate) pool: &'a PoolPlan,
    pub(crate) origin: &'a OriginPlan,
    /// The key of a WebSocket handshake that Weir makes for a client without one.
    pub(crate) socket_key: Option<[u8; websocket::KEY_LEN]>,
}

/// Starts the request on `wire` with its head.
pub(crate) fn begin(plan: RequestPlan<'_>, wire: &mut Wire) -> Result<(), WriteError> {
    let meaning = &plan.exchange.meaning;
    match wire {
        Wire::H1(h1) => {
            let mut out = HeadWriter::new(h1.sender.begin(meaning.framing));
            write(plan, &mut out)?;
            out.finish();
            Ok(())
        }
        Wire::H2(h2) => {
            let tunnel = meaning.upgrade.is_some();
            h2.head(meaning.framing, tunnel, |out| write(plan, out))
        }
    }
}

fn write<W: WriteHead>(plan: RequestPlan<'_>, out: &mut W) -> Result<(), WriteError> {
    let RequestPlan { stage, exchange, target, pool, origin, .. } = plan;
    let request = exchange.request();
    let buffer = exchange.head.filled();
    let rules = route::rules(stage, target);
    let effect = target.route.effect;
    request_line(plan, out)?;
    let drop_odd = stage.listener.config.header_names == HeaderNamePolicy::Drop;
    let changed = effect.request_headers;
    // Where Weir asks for the WebSocket itself, or the protocol has no such question.
    let own_key = plan.socket_key.is_some();
    let bridged = exchange.meaning.upgrade.is_some() && (W::MULTIPLEXED || own_key);
    out.copy_run(buffer, &request.fields, |field| {
        let dropped = field.hop
            || is_owned(field.known)
            || (drop_odd && field.odd_name)
            || (changed && is_replaced(&rules, field.name.get(buffer)))
            || (bridged && field.known == Known::SecWebSocketKey);
        !dropped
    })?;
    forwarding(exchange, origin, out)?;
    if changed {
        for (name, value) in rules.iter().flat_map(|r| &r.request_headers.set) {
            out.field(name.as_bytes(), value.as_bytes())?;
        }
    }
    if exchange.meaning.te_trailers {
        out.own(Known::Te, b"trailers")?;
    }
    match exchange.meaning.upgrade {
        Some(protocol) => {
            if let Some(key) = &plan.socket_key {
                out.own(Known::SecWebSocketKey, key)?;
            }
            out.upgrade(protocol.get(buffer))?;
            return Ok(());
        }
        None if pool.config.keepalive.connections == 0 => out.connection(b"close")?,
        None => {}
    }
    out.framing(exchange.meaning.framing);
    let method = request.method;
    if exchange.meaning.framing == Framing::None
        && matches!(method, Method::Post | Method::Put | Method::Patch)
    {
        // RFC 9110 §8.6: a method that expects content says that there is none.
        out.content_length(0);
    }
    Ok(())
}

/// Method, target and host.
fn request_line(plan: RequestPlan<'_>, out: &mut impl WriteHead) -> Result<(), WriteError> {
    let RequestPlan { exchange, target, origin, .. } = plan;
    let request = exchange.request();
    let buffer = exchange.head.filled();
    let rewritten = if target.route.effect.path {
        route::rewritten(exchange, &target.route.rules)
    } else {
        None
    };
    let end = request.target.query.map_or(request.target.path.end, |query| query.end);
    let path = Span { start: request.target.path.start, end };
    let scheme = if plan.origin.transport.client.is_some() { Scheme::Https } else { Scheme::Http };
    let whole = path.get(buffer);
    if let Some(protocol) = exchange.meaning.upgrade {
        let path = rewritten.as_deref().unwrap_or(if whole.is_empty() { b"/" } else { whole });
        let host = host(exchange, origin);
        let method: &[u8] = match request.method {
            Method::Connect => b"GET",
            _ => request.method_span.get(buffer),
        };
        return out.tunnel(method, scheme, host, path, protocol.get(buffer));
    }
    let method = request.method_span.get(buffer);
    match rewritten {
        Some(path) => out.request(method, scheme, host(exchange, origin), &path),
        None => match whole {
            // RFC 9112 §3.2.4: such a target is about the origin as a whole.
            [] if request.method == Method::Options => {
                out.request(method, scheme, host(exchange, origin), b"*")
            }
            [] => out.request(method, scheme, host(exchange, origin), b"/"),
            // The absolute form may have a query and no path.
            [b'?', ..] => {
                out.request(method, scheme, host(exchange, origin), &[b"/", whole].concat())
            }
            _ if origin.config.host_header.is_some() => {
                out.request(method, scheme, host(exchange, origin), whole)
            }
            _ => {
                out.request_of(buffer, request.method_span, scheme, authority(exchange), path);
                Ok(())
            }
        },
    }
}

/// Fields that only this proxy writes; what a client sent under these names is not forwarded.
fn is_owned(known: Known) -> bool {
    matches!(
        known,
        Known::Host
            | Known::XForwardedFor
            | Known::XForwardedProto
            | Known::XForwardedHost
            | Known::XForwardedPort
            | Known::XRealIp
            | Known::Forwarded
            | Known::CfConnectingIp
            | Known::TrueClientIp
            | Known::EarlyData
    )
}

/// Whether a rule sets or removes the field `name`.
fn is_replaced(rules: &[&RouteRules; 3], name: &[u8]) -> bool {
    rules.iter().any(|rule| {
        let headers = &rule.request_headers;
        headers.remove.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
            || headers.set.iter().any(|(n, _)| n.as_bytes().eq_ignore_ascii_case(name))
    })
}

/// The host that the origin is asked for.
fn host<'a>(exchange: &'a Exchange, origin: &'a OriginPlan) -> &'a [u8] {
    match &origin.config.host_header {
        Some(host) => host.as_bytes(),
        None => authority(exchange).get(exchange.head.filled()),
    }
}

/// Host and port as they stand side by side in the head.
fn authority(exchange: &Exchange) -> Span {
    let authority = exchange.meaning.authority;
    let digits = match authority.port {
        None => 0,
        Some(port) => 2 + u32::from(port).ilog10(),
    };
    Span { start: authority.host.start, end: authority.host.end + digits }
}

fn forwarding(
    exchange: &Exchange,
    origin: &OriginPlan,
    head: &mut impl WriteHead,
) -> Result<(), WriteError> {
    let peer = exchange.peer.address.ip().to_canonical();
    let https = exchange.peer.https;
    let mut proto: &[u8] = if https { b"https" } else { b"http" };
    if exchange.peer.trusted {
        // What trusted proxies wrote is kept and continued.
        head.own(
            Known::XForwardedFor,
            &continued(exchange, Known::XForwardedFor, peer.to_string().as_bytes()),
        )?;
        if exchange.field(Known::Forwarded).is_some() {
            let mut element = Vec::new();
            let host = exchange.meaning.authority.host.get(exchange.head.filled());
            let client = exchange.peer.address.ip();
            Element { client, host: Some(host), https }.write(&mut element);
            head.own(Known::Forwarded, &continued(exchange, Known::Forwarded, &element))?;
        }
        if let Some(said) = exchange.field(Known::XForwardedProto)
            && (said.eq_ignore_ascii_case(b"https") || said.eq_ignore_ascii_case(b"http"))
        {
            proto = said;
        }
        if let Some(host) = exchange.field(Known::XForwardedHost) {
            head.own(Known::XForwardedHost, host)?;
        }
        head.address(Known::CfConnectingIp, exchange.client);
    } else {
        let mut room = [0; ADDRESS_MAX];
        let text = address_text(peer, &mut room);
        let whole = Span { start: 0, end: text.len() as u32 };
        head.own_of(Known::XForwardedFor, text, whole);
        head.own_of(Known::CfConnectingIp, text, whole);
    }
    // One of the two words, whoever said it.
    head.own_of(Known::XForwardedProto, proto, Span { start: 0, end: proto.len() as u32 });
    if origin.config.host_header.is_some()
        && !(exchange.peer.trusted && exchange.field(Known::XForwardedHost).is_some())
    {
        head.own(Known::XForwardedHost, exchange.host().as_bytes())?;
    }
    Ok(())
}

/// The values of all fields of a name, with `last` behind them.
fn continued(exchange: &Exchange, known: Known, last: &[u8]) -> Vec<u8> {
    let of_name = |field: &&Field| field.known == known;
    let mut list = Vec::new();
    for field in exchange.request().fields.iter().filter(of_name) {
        list.extend_from_slice(exchange.text(field.value));
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last);
    list
}
