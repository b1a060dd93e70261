//! Lays the views side by side: what Weir logged, the bytes that went to the origin, what the
//! origin logged, and what the client got.

use super::bytes::{self, Request, show};
use super::origin::{self, Seen};
use super::recorder::Recorded;
use super::rig::{Got, Run};
use crate::support::reader::{self, Kind, Message};
use std::collections::BTreeMap;
use std::fmt;

/// A line of Weir's access log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    method: String,
    host: String,
    target: String,
    status: u16,
    body: usize,
    /// The pool, where the request was given to an origin.
    pool: Option<String>,
    reason: Option<String>,
    retries: u64,
}

impl Line {
    /// Reads a line; gives the client too.
    #[track_caller]
    pub(super) fn parse(line: &str) -> (String, Self) {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = |key: &str| value.get(key).and_then(|v| v.as_str()).map(str::to_owned);
        let number = |key: &str| value.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
        let parsed = Self {
            method: text("method").unwrap_or_default(),
            host: text("host").unwrap_or_default(),
            target: text("target").unwrap_or_default(),
            status: u16::try_from(number("status")).expect("a status"),
            body: usize::try_from(number("bytes_in")).expect("a size"),
            pool: text("origin").and_then(|_| text("pool")),
            reason: text("reason"),
            retries: number("retries"),
        };
        (text("client").unwrap_or_default(), parsed)
    }

    /// Whether Weir says that an origin answered it.
    fn forwarded(&self) -> bool {
        self.pool.is_some() && self.reason.is_none()
    }
}

/// Everything that was seen.
pub(super) struct Views<'a> {
    pub(super) kind: origin::Kind,
    pub(super) runs: Vec<Run<'a>>,
    pub(super) weir: BTreeMap<String, Vec<Line>>,
    pub(super) recorded: Vec<Recorded>,
    pub(super) seen: BTreeMap<String, Vec<Seen>>,
}

/// The count of a run.
#[derive(Default)]
pub(super) struct Summary {
    clients: usize,
    connections: usize,
    forwarded: usize,
    refused: usize,
    by_origin: usize,
    /// Name of the case and what differs.
    pub(super) differences: Vec<(String, String)>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} clients, {} requests forwarded over {} connections ({} of them refused by the \
             origin), {} refused by Weir, differences: {}",
            self.clients,
            self.forwarded,
            self.connections,
            self.by_origin,
            self.refused,
            self.differences.len()
        )
    }
}

/// A request with what the origin saw in it.
struct Sent {
    order: (u64, usize),
    message: Message,
    whole: bool,
    seen: Option<Seen>,
}

/// Compares all views.
pub(super) fn all(views: &Views<'_>) -> Summary {
    let mut summary = Summary::default();
    let mut sent = by_client(views, &mut summary);
    for run in &views.runs {
        let client = run.client.to_string();
        let mut requests = sent.remove(&client).unwrap_or_default();
        requests.sort_by_key(|request| request.order);
        let lines = views.weir.get(&client).map(Vec::as_slice).unwrap_or_default();
        summary.clients += 1;
        let forwarded = lines.iter().filter(|line| line.forwarded()).count();
        summary.forwarded += forwarded;
        summary.refused += lines.len() - forwarded;
        let faults = case(views.kind, run, lines, &requests);
        let name = format!("{} ({:?})", run.case.name, run.cut);
        summary.differences.extend(faults.into_iter().map(|fault| (name.clone(), fault)));
    }
    for (client, requests) in sent {
        // The harness looks whether Weir listens, and sends no request then.
        for request in requests {
            let what =
                format!("{client:?} sent {} {}", request.message.method, request.message.target);
            summary.differences.push(("no case".into(), what));
        }
    }
    summary
}

/// The requests of the recorded bytes by the client whom Weir names in them, each with what the
/// origin saw of it.
fn by_client(views: &Views<'_>, summary: &mut Summary) -> BTreeMap<String, Vec<Sent>> {
    let mut sent: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
    let mut logs = views.seen.clone();
    for recorded in &views.recorded {
        let mut seen = logs.remove(&recorded.peer).unwrap_or_default();
        summary.connections += 1;
        let (requests, fault) = bytes::requests(recorded);
        summary.differences.extend(fault.map(|fault| ("the bytes".into(), fault)));
        for Request { order, message, whole, length } in requests {
            let client = client(&message);
            let seen = of(&mut seen, &client, &message, length.is_some());
            let served = seen.as_ref().is_some_and(|seen| seen.status < 400);
            summary.by_origin += usize::from(seen.is_some() && whole && !served);
            let took = seen.as_ref().and_then(|seen| seen.length).filter(|_| whole && served);
            if let (Some(took), Some(length)) = (took, length)
                && !message.target.starts_with("/early")
                && took != length
            {
                let what = format!("the origin took {took} bytes of {length} as {message:?}");
                summary.differences.push((client.clone(), what));
            }
            sent.entry(client).or_default().push(Sent { order, message, whole, seen });
        }
        for extra in seen {
            let what = format!("the origin saw a request where the bytes have none: {extra:?}");
            summary.differences.push((extra.client, what));
        }
    }
    for (peer, seen) in logs {
        // A connection without a request, as the harness opens it, is logged by nobody.
        summary.differences.push(("no connection".into(), format!("{peer}: {seen:?}")));
    }
    sent
}

/// Takes what the origin logged of a request: the next line of its connection, or, where requests
/// run beside each other, one for the same client and target, or one that it refused before it
/// took it apart.
fn of(seen: &mut Vec<Seen>, client: &str, message: &Message, in_turn: bool) -> Option<Seen> {
    let same = |seen: &Seen| {
        seen.client == client && seen.target == message.target && seen.method == message.method
    };
    let unread = |seen: &Seen| seen.client.is_empty() && seen.status >= 400;
    let beside = || seen.iter().position(same).or_else(|| seen.iter().position(unread));
    let at = if in_turn { 0 } else { beside()? };
    (at < seen.len()).then(|| seen.remove(at))
}

fn client(message: &Message) -> String {
    let name = |(n, _): &&(String, String)| n == "cf-connecting-ip";
    let mut values = message.fields.iter().filter(name).map(|(_, v)| v.clone());
    match (values.next(), values.next()) {
        (Some(value), None) => value,
        (first, second) => format!("{first:?} and {second:?}"),
    }
}

/// Lays the views of one case side by side.
fn case(by: origin::Kind, run: &Run<'_>, lines: &[Line], requests: &[Sent]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut forwarded: Vec<&Line> = lines.iter().filter(|line| line.forwarded()).collect();
    let whole = requests.iter().filter(|r| r.whole || r.message.target.starts_with("/early"));
    let mut whole: Vec<&Sent> = whole.collect();
    if matches!(run.got, Got::Replies(_)) {
        // Streams have no order.
        forwarded.sort_by_key(|line| (origin_form(line), line.method.clone()));
        whole.sort_by_key(|sent| (sent.message.target.clone(), sent.message.method.clone()));
    }
    let mut fault = |what: String| faults.push(what);
    if !run.ended {
        fault("the connection stays open".into());
    }
    if forwarded.len() != run.case.forwards {
        fault(format!("{} forwarded, expected {}: {lines:?}", forwarded.len(), run.case.forwards));
    }
    if whole.len() != forwarded.len() {
        let targets: Vec<_> = whole.iter().map(|r| &r.message.target).collect();
        fault(format!(
            "{} in the bytes, {} in the log: {targets:?} {lines:?}",
            whole.len(),
            forwarded.len()
        ));
    }
    // A request that was found broken on its way reaches the origin in part, no other does.
    let broken = lines.iter().filter(|line| line.pool.is_some() && line.reason.is_some()).count();
    if requests.len() - whole.len() > broken {
        let parts = requests.len() - whole.len();
        fault(format!("{parts} requests in part, {broken} in the log: {lines:?}"));
    }
    for line in lines {
        if line.retries > 0 {
            fault(format!("tried again: {line:?}"));
        }
    }
    for (sent, line) in whole.iter().zip(&forwarded) {
        faults.extend(compare(sent, line));
        faults.extend(marks(&sent.message));
    }
    for sent in requests {
        faults.extend(taken(sent));
        let refused = sent.whole && sent.seen.as_ref().is_some_and(|seen| seen.status >= 400);
        if refused && !by.may_refuse(&run.case.name) {
            faults.push(format!("the origin refused it: {:?}", sent.seen));
        }
    }
    match &run.got {
        Got::Bytes(bytes) => {
            if let Err(what) = replies(bytes, run.ended, lines) {
                faults.push(format!("{what}: {:?}", show(bytes)));
            }
        }
        Got::Replies(list) => faults.extend(streams(list, lines)),
    }
    faults
}

/// What Weir logged against what it sent.
fn compare(sent: &Sent, line: &Line) -> Vec<String> {
    let message = &sent.message;
    let mut faults = Vec::new();
    let mut same = |what: &str, left: &str, right: &str| {
        if left != right {
            faults.push(format!("{what} is {left:?} in the log and {right:?} in the bytes"));
        }
    };
    same("the method", &line.method, &message.method);
    same("the target", &origin_form(line), &message.target);
    let host = message.field("host").unwrap_or_default().to_ascii_lowercase();
    same("the host", &line.host, without_port(&host));
    if sent.whole {
        same("the body", &line.body.to_string(), &message.body.len().to_string());
    }
    if let Some(seen) = &sent.seen {
        if let (Some(normal), "routed") = (&seen.normal, line.host.as_str()) {
            let below = normal == "/admin" || normal.starts_with("/admin/");
            let expected = if below { "admin" } else { "p" };
            same(&format!("the pool of {normal:?}"), line.pool.as_deref().unwrap_or(""), expected);
        }
        if seen.status != line.status && seen.status != 499 {
            faults.push(format!("the origin said {}, Weir {}", seen.status, line.status));
        }
    }
    faults
}

/// The target that the origin must get for the one of the client (RFC 9112 §3.2.2 and §3.2.4).
fn origin_form(line: &Line) -> String {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let start = line.target.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| &line.target[scheme.len()..])
    });
    let Some(rest) = rest else { return line.target.clone() };
    match rest.find(['/', '?']) {
        None if line.method == "OPTIONS" => "*".into(),
        None => "/".into(),
        Some(at) if rest[at..].starts_with('?') => format!("/{}", &rest[at..]),
        Some(at) => rest[at..].into(),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What no request to an origin may carry.
fn marks(message: &Message) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, value) in &message.fields {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let hop = matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "http2-settings" | "proxy-authorization"
        );
        let h2c = name == "upgrade" && value.to_ascii_lowercase().starts_with("h2");
        let te = name == "te" && value != "trailers";
        if !plain || hop || h2c || te {
            faults.push(format!("the origin got {name}: {value}"));
        }
    }
    for name in ["host", "x-forwarded-for", "cf-connecting-ip", "x-forwarded-proto"] {
        let count = message.fields.iter().filter(|(n, _)| n == name).count();
        if count != 1 {
            faults.push(format!("the origin got {name} {count} times"));
        }
    }
    faults
}

/// What Weir sent against what the origin logged.
fn taken(sent: &Sent) -> Vec<String> {
    let message = &sent.message;
    let Some(seen) = &sent.seen else {
        // A head without its body may have been too early for a log line.
        return if sent.whole {
            vec![format!("the origin saw no {}", message.target)]
        } else {
            vec![]
        };
    };
    let early = message.target.starts_with("/early");
    let mut faults = Vec::new();
    // HAProxy answers at the end of a connection, whatever is missing of the body.
    let waits = seen.normal.is_some();
    if !sent.whole && !early && waits && seen.status < 400 {
        faults.push(format!("the origin served half a request: {seen:?}"));
    }
    if seen.target.is_empty() && seen.status >= 400 {
        // Refused by the origin before it took the request apart.
        return faults;
    }
    let body = String::from_utf8_lossy(&message.body);
    let host = message.field("host").unwrap_or_default();
    // HAProxy leaves the usual port out of what it has from `:authority`.
    let default = if message.version == "HTTP/2.0" && !waits { ":80" } else { "" };
    for (what, left, right) in [
        ("method", seen.method.as_str(), message.method.as_str()),
        ("host", seen.host.as_str(), host.strip_suffix(default).unwrap_or(host)),
        ("target", seen.target.as_str(), message.target.as_str()),
        ("body", &String::from_utf8_lossy(&seen.body), &body),
    ] {
        let unread =
            what == "body" && (early || seen.status >= 300 || seen.status == 204 || !sent.whole);
        if left != right && !unread {
            faults.push(format!("the origin saw the {what} {left:?} in {right:?}"));
        }
    }
    faults
}

/// The replies that the client got against the lines of the log: as many, in order, each for its
/// request.
fn replies(bytes: &[u8], ended: bool, lines: &[Line]) -> Result<(), String> {
    let mut rest = bytes;
    for line in lines {
        if line.reason.as_deref() == Some("client_gone") {
            continue;
        }
        let kind = Kind::Reply(&line.method);
        let Some((reply, used)) = reader::message(rest, kind, ended)? else {
            return Err(format!("no reply for {line:?}"));
        };
        rest = &rest[used..];
        if !answers(&reply, line) {
            return Err(format!("{} {:?} for {line:?}", reply.status, reply.fields));
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes behind the replies", rest.len())) }
}

/// Whether this is the reply to the request of this line.
fn answers(reply: &Message, line: &Line) -> bool {
    let tagged = line.forwarded() && line.status < 300;
    let target = origin_form(line);
    let tag = (reply.field("x-method"), reply.field("x-target"));
    reply.status == line.status && (!tagged || tag == (Some(&line.method), Some(&target)))
}

/// As [`replies`], on streams: in any order, and a refusal may be a reset.
fn streams(replies: &[Message], lines: &[Line]) -> Vec<String> {
    let mut left: Vec<&Message> = replies.iter().collect();
    let mut faults = Vec::new();
    for line in lines {
        match left.iter().position(|reply| answers(reply, line)) {
            Some(at) => drop(left.swap_remove(at)),
            None if line.forwarded() => faults.push(format!("no reply for {line:?}")),
            None => {}
        }
    }
    faults.extend(left.iter().map(|reply| format!("a reply to nothing: {reply:?}")));
    faults
}
