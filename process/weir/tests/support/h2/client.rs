//! A client that speaks HTTP/2 in frames: well-behaved where it is asked for a request, and
//! otherwise sending whatever it is given. What comes is held to RFC 9113 on the way.

use super::frame::{self, Frame};
use super::hpack::{Block, Decoder};
use crate::support::client::{Client, End};
use crate::support::reader::{Fields, Length, Message};
use crate::support::wait::SOON;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The window both sides start with (RFC 9113 §6.9.2).
pub(crate) const WINDOW: i64 = 65_535;
/// Fields that no HTTP/2 message has (RFC 9113 §8.2.2).
const CONNECTION_FIELDS: [&str; 6] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"];

/// What came on one stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) head: Option<Message>,
    pub(crate) interim: Vec<Message>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
    pub(crate) ended: bool,
    pub(crate) reset: Option<u32>,
    /// Bytes of our body that went out.
    pub(crate) uploaded: usize,
    send_window: i64,
    receive_window: i64,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Reply(Box<Message>),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY or the end of the connection came first.
    Gone,
    /// Nothing of these within the bound.
    Open,
}

/// A GOAWAY that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GoAway {
    pub(crate) last: u32,
    pub(crate) code: u32,
}

pub(crate) struct H2 {
    pub(crate) wire: Client,
    decoder: Decoder,
    pub(crate) streams: BTreeMap<u32, Stream>,
    pub(crate) settings: BTreeMap<u16, u32>,
    pub(crate) go_aways: Vec<GoAway>,
    /// PINGs that came, and answers to ours.
    pub(crate) pings: usize,
    pub(crate) pongs: usize,
    pub(crate) settings_acks: usize,
    /// Whether what is received is given back to the other side's windows.
    pub(crate) gives_credit: bool,
    /// Whether SETTINGS and PING are acknowledged.
    pub(crate) acknowledges: bool,
    /// Whether the other side is held to the windows.
    pub(crate) checks_windows: bool,
    send_window: i64,
    receive_window: i64,
    own_window: i64,
    next: u32,
    block: Option<(u32, bool, Vec<u8>)>,
    faults: Vec<String>,
}

impl H2 {
    /// Over plain TCP, with prior knowledge.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(Client::connect(address), &[])
    }

    /// Over plain TCP, with these settings.
    #[track_caller]
    pub(crate) fn with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        Self::over(Client::connect(address), settings)
    }

    /// Over TLS; the handshake must agree on `h2`.
    #[track_caller]
    pub(crate) fn tls(address: SocketAddr, name: &str, config: Arc<rustls::ClientConfig>) -> Self {
        let client = Client::tls(address, name, config).unwrap_or_else(|e| panic!("TLS: {e}"));
        assert_eq!(String::from_utf8_lossy(client.alpn()), "h2", "ALPN");
        Self::over(client, &[])
    }

    /// Over a connection that is there; sends the preface and SETTINGS.
    pub(crate) fn over(wire: Client, settings: &[(u16, u32)]) -> Self {
        let mut client = Self::silent(wire);
        let window = settings.iter().find(|(id, _)| *id == frame::INITIAL_WINDOW_SIZE);
        client.own_window = window.map_or(WINDOW, |(_, window)| i64::from(*window));
        client.send([frame::PREFACE, &frame::settings(settings)].concat());
        client
    }

    /// Over a connection that is there; nothing is sent.
    pub(crate) fn silent(wire: Client) -> Self {
        Self {
            wire,
            decoder: Decoder::new(4096),
            streams: BTreeMap::new(),
            settings: BTreeMap::new(),
            go_aways: Vec::new(),
            pings: 0,
            pongs: 0,
            settings_acks: 0,
            gives_credit: true,
            acknowledges: true,
            checks_windows: true,
            send_window: WINDOW,
            receive_window: WINDOW,
            own_window: WINDOW,
            next: 1,
            block: None,
            faults: Vec::new(),
        }
    }

    /// Sends bytes. An error means that the other side closed, which the reading side tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.wire.send(bytes));
    }

    /// The next stream of ours.
    pub(crate) fn next_id(&mut self) -> u32 {
        let id = self.next;
        self.next += 2;
        self.expect_stream(id);
        id
    }

    /// Expects frames on a stream whose HEADERS the test writes itself.
    pub(crate) fn expect_stream(&mut self, id: u32) {
        let initial = self.settings.get(&frame::INITIAL_WINDOW_SIZE);
        let send_window = initial.map_or(WINDOW, |&n| i64::from(n));
        let receive_window = self.own_window;
        let stream = Stream { send_window, receive_window, ..Stream::default() };
        self.streams.entry(id).or_insert(stream);
        self.next = self.next.max(id + 2);
    }

    /// Opens a stream with this field block.
    pub(crate) fn open(&mut self, block: &Block, ends: bool) -> u32 {
        let id = self.next_id();
        self.send(frame::headers_cut(id, &block.0, ends));
        id
    }

    /// Sends a body within the windows of the other side; false when it cannot end within `bound`.
    pub(crate) fn upload_within(
        &mut self,
        id: u32,
        mut data: &[u8],
        ends: bool,
        bound: Duration,
    ) -> bool {
        let deadline = Instant::now() + bound;
        while !data.is_empty() {
            let stream = &self.streams[&id];
            if stream.reset.is_some() || stream.ended {
                return false;
            }
            let window = stream.send_window.min(self.send_window).max(0);
            let room = usize::try_from(window).expect("not negative").min(frame::MAX_PAYLOAD);
            let (piece, rest) = data.split_at(room.min(data.len()));
            if piece.is_empty() {
                if !self.step(deadline) {
                    return false;
                }
                continue;
            }
            let sent = i64::try_from(piece.len()).expect("a frame is small");
            self.send_window -= sent;
            self.stream(id).send_window -= sent;
            self.stream(id).uploaded += piece.len();
            self.send(frame::data(id, piece, ends && rest.is_empty()));
            data = rest;
        }
        true
    }

    /// Sends a body within the windows of the other side.
    #[track_caller]
    pub(crate) fn upload(&mut self, id: u32, data: &[u8], ends: bool) {
        if data.is_empty() && ends {
            self.send(frame::data(id, &[], true));
        }
        let done = self.upload_within(id, data, ends, SOON);
        assert!(done, "the body of stream {id} cannot be sent: {:?}", self.streams[&id]);
    }

    /// A request with a body, and its reply.
    pub(crate) fn ask(&mut self, block: &Block, body: &[u8]) -> Result<Message, String> {
        let id = self.open(block, body.is_empty());
        if !body.is_empty() {
            self.upload_within(id, body, true, SOON);
        }
        self.reply(id)
    }

    /// A GET for host `a`.
    pub(crate) fn get(&mut self, path: &str) -> Result<Message, String> {
        self.ask(&Block::request("GET", path), &[]).map_err(|e| format!("GET {path}: {e}"))
    }

    /// The reply on a stream; an error says what came in its place.
    pub(crate) fn reply(&mut self, id: u32) -> Result<Message, String> {
        match self.outcome(id, SOON) {
            Outcome::Reply(message) => Ok(*message),
            Outcome::Reset(code) => Err(format!("reset with {code}")),
            Outcome::Gone => Err(format!("gone: {:?} {:?}", self.go_aways, self.wire.ended())),
            Outcome::Open => Err(format!("nothing within {SOON:?}: {:?}", self.streams[&id])),
        }
    }

    /// Waits for the end of a stream.
    #[track_caller]
    pub(crate) fn outcome(&mut self, id: u32, bound: Duration) -> Outcome {
        let deadline = Instant::now() + bound;
        loop {
            assert_eq!(self.faults, Vec::<String>::new(), "what came is no HTTP/2");
            let stream = &self.streams[&id];
            if stream.ended
                && let Some(mut message) = stream.head.clone()
            {
                message.body = stream.body.clone();
                message.trailers = stream.trailers.clone();
                message.interim = stream.interim.clone();
                return Outcome::Reply(Box::new(message));
            }
            if let Some(code) = stream.reset {
                return Outcome::Reset(code);
            }
            let refused = |away: &GoAway| away.last < id || away.code != frame::NO_ERROR;
            if self.go_aways.iter().any(refused) {
                return Outcome::Gone;
            }
            if !self.step(deadline) {
                return if self.wire.ended().is_some() { Outcome::Gone } else { Outcome::Open };
            }
        }
    }

    /// Handles what comes until `state` holds; fails the test when it does not by then.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, state: impl Fn(&Self) -> bool) {
        let held = self.until_within(SOON, state);
        let (away, ended) = (&self.go_aways, self.wire.ended());
        assert!(held, "waited in vain until {what}: {away:?}, ended {ended:?}");
    }

    /// Handles what comes until `state` holds; false when it does not within the bound.
    #[track_caller]
    pub(crate) fn until_within(&mut self, bound: Duration, state: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + bound;
        while !state(self) {
            if !self.step(deadline) {
                return state(self);
            }
        }
        assert_eq!(self.faults, Vec::<String>::new(), "what came is no HTTP/2");
        true
    }

    /// The code of the last GOAWAY.
    pub(crate) fn gone(&self) -> Option<u32> {
        self.go_aways.last().map(|away| away.code)
    }

    /// Waits for GOAWAY and the end of the connection; gives the code.
    #[track_caller]
    pub(crate) fn closed(&mut self, what: &str, bound: Duration) -> Option<u32> {
        let deadline = Instant::now() + bound;
        while self.step(deadline) {}
        assert!(self.wire.ended().is_some(), "{what}: open after {bound:?}: {:?}", self.go_aways);
        self.gone()
    }

    /// Reads to the end without looking at frames.
    pub(crate) fn end(&mut self, bound: Duration) -> End {
        self.wire.end(bound)
    }

    /// Handles one frame; false when none comes by the deadline.
    pub(crate) fn step(&mut self, deadline: Instant) -> bool {
        match self.frame(deadline) {
            Some(frame) => {
                if let Err(fault) = self.handle(&frame) {
                    self.faults.push(format!("{fault} in {frame:?}"));
                }
                true
            }
            None => false,
        }
    }

    /// The next frame, not handled.
    pub(crate) fn frame(&mut self, deadline: Instant) -> Option<Frame> {
        loop {
            if let Some((frame, used)) = frame::parse(self.wire.unread()) {
                self.wire.consume(used);
                return Some(frame);
            }
            if !self.wire.fill(deadline) {
                return None;
            }
        }
    }

    fn stream(&mut self, id: u32) -> &mut Stream {
        self.streams.get_mut(&id).expect("a stream of ours")
    }

    fn handle(&mut self, frame: &Frame) -> Result<(), String> {
        if self.block.is_some() && frame.kind != frame::CONTINUATION {
            return Err("a frame inside a field block".into());
        }
        if frame.payload.len() > frame::MAX_PAYLOAD {
            return Err("a frame above 16 KiB".into());
        }
        match frame.kind {
            frame::SETTINGS if frame.has(frame::ACK) => self.settings_acks += 1,
            frame::SETTINGS => self.take_settings(frame),
            frame::PING if frame.has(frame::ACK) => self.pongs += 1,
            frame::PING => {
                self.pings += 1;
                if self.acknowledges {
                    self.send(frame::pong(&frame.payload));
                }
            }
            frame::GOAWAY => {
                let last = frame.number(0) & 0x7fff_ffff;
                self.go_aways.push(GoAway { last, code: frame.number(4) });
            }
            frame::WINDOW_UPDATE if frame.stream == 0 => {
                self.send_window += i64::from(frame.number(0));
            }
            frame::PUSH_PROMISE => return Err("a push".into()),
            _ if frame.stream == 0 => {}
            _ if !self.streams.contains_key(&frame.stream) => {
                return Err("a stream that nobody opened".into());
            }
            frame::WINDOW_UPDATE => {
                self.stream(frame.stream).send_window += i64::from(frame.number(0));
            }
            frame::RST_STREAM => self.stream(frame.stream).reset = Some(frame.number(0)),
            frame::DATA => return self.take_data(frame),
            frame::HEADERS => {
                let ends = frame.has(frame::END_STREAM);
                self.block = Some((frame.stream, ends, frame.payload.clone()));
                return self.take_block(frame.has(frame::END_HEADERS));
            }
            frame::CONTINUATION => {
                let Some((_, _, block)) = &mut self.block else {
                    return Err("CONTINUATION without HEADERS".into());
                };
                block.extend(&frame.payload);
                return self.take_block(frame.has(frame::END_HEADERS));
            }
            _ => {}
        }
        Ok(())
    }

    fn take_settings(&mut self, frame: &Frame) {
        for pair in frame.payload.chunks_exact(6) {
            let id = u16::from_be_bytes([pair[0], pair[1]]);
            let value = u32::from_be_bytes([pair[2], pair[3], pair[4], pair[5]]);
            let before = self.settings.insert(id, value);
            if id == frame::INITIAL_WINDOW_SIZE {
                let change = i64::from(value) - before.map_or(WINDOW, i64::from);
                self.streams.values_mut().for_each(|stream| stream.send_window += change);
            }
        }
        if self.acknowledges {
            self.send(frame::settings_ack());
        }
    }

    fn take_data(&mut self, frame: &Frame) -> Result<(), String> {
        if frame.has(frame::PADDED) {
            return Err("padding, which Weir has no use for".into());
        }
        let len = i64::try_from(frame.payload.len()).expect("a frame is small");
        self.receive_window -= len;
        let (gives, checks) = (self.gives_credit, self.checks_windows);
        let connection = self.receive_window;
        let stream = self.stream(frame.stream);
        if stream.head.is_none() || stream.ended {
            return Err("DATA before the head or behind the end".into());
        }
        stream.body.extend(&frame.payload);
        stream.receive_window -= len;
        stream.ended |= frame.has(frame::END_STREAM);
        if checks && (stream.receive_window < 0 || connection < 0) {
            return Err("more than the window".into());
        }
        if gives && len > 0 {
            if !stream.ended {
                stream.receive_window += len;
            }
            let ended = stream.ended;
            self.receive_window += len;
            let len = u32::try_from(len).expect("a frame is small");
            let mut bytes = frame::window_update(0, len);
            if !ended {
                bytes.extend(frame::window_update(frame.stream, len));
            }
            self.send(bytes);
        }
        Ok(())
    }

    /// Gives the other side credit: on a stream, or (0) for the connection.
    pub(crate) fn credit(&mut self, id: u32, increment: u32) {
        match self.streams.get_mut(&id) {
            Some(stream) => stream.receive_window += i64::from(increment),
            None => self.receive_window += i64::from(increment),
        }
        self.send(frame::window_update(id, increment));
    }

    /// Decodes the block once it is whole.
    fn take_block(&mut self, whole: bool) -> Result<(), String> {
        if !whole {
            return Ok(());
        }
        let (id, ends, block) = self.block.take().ok_or("no block")?;
        let fields = self.decoder.decode(&block)?;
        let stream = self.stream(id);
        if stream.ended || stream.reset.is_some() && stream.head.is_none() {
            return Err("HEADERS behind the end".into());
        }
        stream.ended |= ends;
        if stream.head.is_some() {
            if !ends || fields.iter().any(|(name, _)| name.starts_with(':')) {
                return Err(format!("trailers {fields:?}, END_STREAM: {ends}"));
            }
            stream.trailers = fields;
            return sound(&stream.trailers);
        }
        let message = head(fields)?;
        if message.status >= 200 {
            stream.head = Some(message);
        } else if ends {
            return Err("an interim reply that ends the stream".into());
        } else {
            stream.interim.push(message);
        }
        Ok(())
    }
}

/// A head of a reply (RFC 9113 §8.3.2).
fn head(mut fields: Fields) -> Result<Message, String> {
    if fields.first().is_none_or(|(name, _)| name != ":status") {
        return Err(format!("no status first: {fields:?}"));
    }
    let (_, status) = fields.remove(0);
    if status.len() != 3 {
        return Err(format!("status {status:?}"));
    }
    sound(&fields)?;
    Ok(Message {
        method: String::new(),
        target: String::new(),
        status: status.parse().map_err(|_| format!("status {status:?}"))?,
        version: "HTTP/2.0".into(),
        fields,
        length: Length::None,
        body: Vec::new(),
        trailers: Vec::new(),
        interim: Vec::new(),
    })
}

/// Ordinary fields as RFC 9113 §8.2 wants them.
fn sound(fields: &Fields) -> Result<(), String> {
    let lower =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    for (name, value) in fields {
        if name.is_empty() || !name.bytes().all(lower) {
            return Err(format!("field name {name:?}"));
        }
        if CONNECTION_FIELDS.contains(&name.as_str()) {
            return Err(format!("{name}: {value} in HTTP/2"));
        }
        let control = |b: u8| (b < 0x20 && b != b'\t') || b == 0x7f;
        if value.bytes().any(control) || value.trim_matches([' ', '\t']) != value {
            return Err(format!("field value {value:?}"));
        }
    }
    Ok(())
}
