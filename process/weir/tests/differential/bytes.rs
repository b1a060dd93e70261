//! The bytes that went to an origin, read strictly as requests of HTTP/1 or HTTP/2.

use super::recorder::Recorded;
use crate::support::h2::frame;
use crate::support::h2::hpack::Decoder;
use crate::support::reader::{self, Fields, Kind, Length, Message};
use std::collections::BTreeMap;

/// A request as the bytes have it.
pub(super) struct Request {
    /// Where it stands in the order of all bytes that went to origins.
    pub(super) order: (u64, usize),
    pub(super) message: Message,
    /// False where the connection or stream ended before the request did.
    pub(super) whole: bool,
    /// Bytes of head and body, where one request follows another.
    pub(super) length: Option<usize>,
}

/// Every request of a connection, and what is wrong with the bytes behind them.
pub(super) fn requests(recorded: &Recorded) -> (Vec<Request>, Option<String>) {
    let mut list = Vec::new();
    let read = match recorded.bytes.strip_prefix(frame::PREFACE) {
        Some(frames) => http2(recorded, frames, &mut list),
        None => http1(recorded, &mut list),
    };
    (list, read.err())
}

fn http1(recorded: &Recorded, list: &mut Vec<Request>) -> Result<(), String> {
    let mut at = 0;
    while at < recorded.bytes.len() {
        let bytes = &recorded.bytes[at..];
        let fault = |what| format!("{what}: {:?}", show(bytes));
        let head = reader::head(bytes, Kind::Request).map_err(fault)?;
        let (mut message, head) = head.ok_or_else(|| fault("a head is cut short".into()))?;
        let body = reader::body(&mut message, &bytes[head..], true).map_err(fault)?;
        let length = head + body.unwrap_or(bytes.len() - head);
        let order = recorded.order(at);
        list.push(Request { order, message, whole: body.is_some(), length: Some(length) });
        at += length;
    }
    Ok(())
}

fn http2(recorded: &Recorded, frames: &[u8], list: &mut Vec<Request>) -> Result<(), String> {
    let mut decoder = Decoder::new(4096);
    let mut streams: BTreeMap<u32, usize> = BTreeMap::new();
    let mut block: Option<(u32, bool, Vec<u8>)> = None;
    let mut rest = frames;
    while !rest.is_empty() {
        let offset = recorded.bytes.len() - rest.len();
        // The connection may have ended inside of a frame.
        let Some((frame, used)) = frame::parse(rest) else { return Ok(()) };
        rest = &rest[used..];
        let ends = frame.has(frame::END_STREAM);
        match (frame.kind, &mut block) {
            (frame::HEADERS, None) => block = Some((frame.stream, ends, frame.payload.clone())),
            (frame::CONTINUATION, Some((stream, _, bytes))) if *stream == frame.stream => {
                bytes.extend(&frame.payload);
            }
            (_, Some(_)) => return Err(format!("a frame inside of a field block: {frame:?}")),
            (frame::DATA, None) => {
                let at = *streams.get(&frame.stream).ok_or("DATA on no stream")?;
                if list[at].whole {
                    return Err(format!("DATA behind the end of {:?}", list[at].message));
                }
                list[at].message.body.extend(&frame.payload);
                list[at].whole = ends;
            }
            _ => {}
        }
        if !matches!(frame.kind, frame::HEADERS | frame::CONTINUATION)
            || !frame.has(frame::END_HEADERS)
        {
            continue;
        }
        let Some((stream, ends, bytes)) = block.take() else { continue };
        let fields = decoder.decode(&bytes)?;
        if let Some(&at) = streams.get(&stream) {
            list[at].message.trailers = fields;
            list[at].whole = ends;
            continue;
        }
        streams.insert(stream, list.len());
        let message = message(fields)?;
        list.push(Request { order: recorded.order(offset), message, whole: ends, length: None });
    }
    list.iter().try_for_each(|request| fits(&request.message, request.whole))
}

/// A head of HTTP/2 in the form of one of HTTP/1.
fn message(fields: Fields) -> Result<Message, String> {
    let mut pseudo = BTreeMap::new();
    let mut plain = Fields::new();
    for (name, value) in fields {
        if !name.starts_with(':') {
            plain.push((name, value));
        } else if !plain.is_empty() || pseudo.insert(name.clone(), value).is_some() {
            return Err(format!("{name} is late or repeated"));
        }
    }
    let mut take = |name: &str| pseudo.remove(name).ok_or(format!("no {name}"));
    let (mut method, target, _) = (take(":method")?, take(":path")?, take(":scheme")?);
    // A request without Host has none either.
    let host = take(":authority").unwrap_or_default();
    if take(":protocol").is_ok() && method == "CONNECT" {
        // RFC 8441 §4: what GET with Upgrade is in HTTP/1.
        method = "GET".into();
    }
    if !pseudo.is_empty() || plain.iter().any(|(name, _)| name == "host") {
        return Err(format!("more than belongs in a request: {pseudo:?} {plain:?}"));
    }
    plain.push(("host".into(), host));
    Ok(Message {
        method,
        target,
        status: 0,
        version: "HTTP/2.0".into(),
        fields: plain,
        length: Length::None,
        body: Vec::new(),
        trailers: Vec::new(),
        interim: Vec::new(),
    })
}

/// Whether the content has the length that is announced.
fn fits(message: &Message, whole: bool) -> Result<(), String> {
    let Some(length) = message.field("content-length") else { return Ok(()) };
    let announced: usize = length.parse().map_err(|_| format!("content-length {length:?}"))?;
    let came = message.body.len();
    if came > announced || (whole && came != announced) {
        return Err(format!("{came} bytes of {announced} in {message:?}"));
    }
    Ok(())
}

/// The start of bytes, for people.
pub(super) fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}
