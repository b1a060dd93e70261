//! The head an origin gets: the client's fields as they came, less what must not pass, plus what
//! the proxy answers for.

use crate::exchange::{Exchange, Stage, Target};
use crate::plan::{OriginPlan, PoolPlan};
use crate::stage::route;
use core_model::config::{HeaderNamePolicy, RouteRules};
use core_wire::forwarded::Element;
use core_wire::h1::Framing;
use core_wire::h1::head::{Field, Known, Method, Span};
use core_wire::h1::write::{HeadWriter, WriteError};

/// Writes the head of `exchange` for `origin` behind `out`.
pub(crate) fn write(
    stage: Stage<'_>,
    exchange: &Exchange,
    target: Target<'_>,
    (pool, origin): (&PoolPlan, &OriginPlan),
    out: &mut Vec<u8>,
) -> Result<(), WriteError> {
    let request = exchange.request();
    let buffer = exchange.head.filled();
    let rules = route::rules(stage, target);
    let mut head = HeadWriter::new(out);
    let method = request.method_span.get(buffer);
    let effect = target.route.effect;
    let rewritten = effect.path.then(|| route::rewritten(exchange, &target.route.rules)).flatten();
    match rewritten {
        Some(path) => head.request_line(method, &path)?,
        None => {
            let end = request.target.query.map_or(request.target.path.end, |query| query.end);
            let span = Span { start: request.target.path.start, end };
            match span.get(buffer) {
                // RFC 9112 §3.2.4: such a target is about the origin as a whole.
                [] if request.method == Method::Options => head.request_line(method, b"*")?,
                [] => head.request_line(method, b"/")?,
                // The absolute form may have a query and no path.
                whole @ [b'?', ..] => head.request_line(method, &[b"/", whole].concat())?,
                _ => head.request_line_of(buffer, request.method_span, span),
            }
        }
    }
    host(exchange, origin, &mut head)?;
    let drop_odd = stage.listener.config.header_names == HeaderNamePolicy::Drop;
    let changed = effect.request_headers;
    head.copy_run(buffer, &request.fields, |field| {
        let dropped = field.hop
            || is_owned(field.known)
            || (drop_odd && field.odd_name)
            || (changed && is_replaced(&rules, field.name.get(buffer)));
        !dropped
    })?;
    forwarding(exchange, origin, &mut head)?;
    if changed {
        for (name, value) in rules.iter().flat_map(|r| &r.request_headers.set) {
            head.field(name.as_bytes(), value.as_bytes())?;
        }
    }
    if exchange.meaning.te_trailers {
        head.own(b"TE: ", b"trailers")?;
    }
    match exchange.meaning.upgrade {
        Some(protocol) => {
            head.connection(b"Upgrade")?;
            head.own(b"Upgrade: ", protocol.get(buffer))?;
        }
        None if pool.config.keepalive.connections == 0 => head.connection(b"close")?,
        None => {}
    }
    head.framing(exchange.meaning.framing);
    if exchange.meaning.framing == Framing::None && matches!(method, b"POST" | b"PUT" | b"PATCH") {
        // RFC 9110 §8.6: a method that expects content says that there is none.
        head.content_length(0);
    }
    head.finish();
    Ok(())
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

fn host(
    exchange: &Exchange,
    origin: &OriginPlan,
    head: &mut HeadWriter<'_>,
) -> Result<(), WriteError> {
    if let Some(host) = &origin.config.host_header {
        return head.own(b"Host: ", host.as_bytes());
    }
    let buffer = exchange.head.filled();
    let authority = exchange.meaning.authority;
    // The authority was read out of the head, where host and port stand side by side.
    let digits = match authority.port {
        None => 0,
        Some(port) => 2 + u32::from(port).ilog10(),
    };
    let span = Span { start: authority.host.start, end: authority.host.end + digits };
    head.own_of(b"Host: ", buffer, span);
    Ok(())
}

fn forwarding(
    exchange: &Exchange,
    origin: &OriginPlan,
    head: &mut HeadWriter<'_>,
) -> Result<(), WriteError> {
    let peer = exchange.peer.address.ip().to_canonical();
    let https = exchange.peer.https;
    let mut proto: &[u8] = if https { b"https" } else { b"http" };
    if exchange.peer.trusted {
        // What trusted proxies wrote is kept and continued.
        head.own(
            b"X-Forwarded-For: ",
            &continued(exchange, Known::XForwardedFor, peer.to_string().as_bytes()),
        )?;
        if exchange.field(Known::Forwarded).is_some() {
            let mut element = Vec::new();
            let host = exchange.meaning.authority.host.get(exchange.head.filled());
            let client = exchange.peer.address.ip();
            Element { client, host: Some(host), https }.write(&mut element);
            head.own(b"Forwarded: ", &continued(exchange, Known::Forwarded, &element))?;
        }
        if let Some(said) = exchange.field(Known::XForwardedProto)
            && (said.eq_ignore_ascii_case(b"https") || said.eq_ignore_ascii_case(b"http"))
        {
            proto = said;
        }
        if let Some(host) = exchange.field(Known::XForwardedHost) {
            head.own(b"X-Forwarded-Host: ", host)?;
        }
        head.address(b"CF-Connecting-IP: ", exchange.client);
    } else {
        head.address(b"X-Forwarded-For: ", peer);
        head.address(b"CF-Connecting-IP: ", peer);
    }
    if proto == b"http" {
        head.line(b"X-Forwarded-Proto: http\r\n");
    } else {
        head.own(b"X-Forwarded-Proto: ", proto)?;
    }
    if origin.config.host_header.is_some()
        && !(exchange.peer.trusted && exchange.field(Known::XForwardedHost).is_some())
    {
        head.own(b"X-Forwarded-Host: ", exchange.host().as_bytes())?;
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
