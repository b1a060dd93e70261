//! The HTTP/2 side of a connection of the load: requests written ahead of time, replies counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};

use super::Advance;
use crate::h2::{self, Block, FORGET, Frame, Frames, WIDE, WINDOW, flag, kind, setting};

/// Received bytes after which the connection's window is opened again by as much.
const REPLENISH: u32 = WIDE / 2;
/// The last stream a connection can have (RFC 9113 §5.1.1).
const LAST: u32 = 0x7fff_ffff;
/// The table that the kept fields of a request fit into.
const TABLE: u32 = 1024;

/// What is said on every HTTP/2 connection of a plan.
#[derive(Debug)]
pub struct Script {
    /// Requests in flight on a connection.
    pub streams: usize,
    /// Header block of every request.
    pub request: Block,
    /// Body of every request.
    pub upload: Vec<u8>,
    /// Body bytes of every reply.
    pub body: u64,
    /// Whether a reply ends with trailers.
    pub trailers: bool,
}

/// A request in flight.
#[derive(Debug)]
struct Stream {
    id: u32,
    due: Instant,
    answered: bool,
    body: u64,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Session {
    script: Arc<Script>,
    frames: Frames,
    /// Bytes to be sent.
    pub(super) out: Vec<u8>,
    open: Vec<Stream>,
    /// Requests that wait for the server's settings or for its window.
    waiting: VecDeque<Instant>,
    greeted: bool,
    remembers: bool,
    asked: bool,
    next: u32,
    window: i64,
    received: u32,
}

impl Session {
    pub(super) fn new(script: Arc<Script>) -> Self {
        let mut out = h2::PREFACE.to_vec();
        let pairs = [(setting::ENABLE_PUSH, 0), (setting::INITIAL_WINDOW_SIZE, WIDE)];
        h2::settings(&mut out, &pairs);
        h2::number(&mut out, kind::WINDOW_UPDATE, 0, WIDE);
        Self {
            script,
            frames: Frames::default(),
            out,
            open: Vec::new(),
            waiting: VecDeque::new(),
            greeted: false,
            remembers: true,
            asked: false,
            next: 1,
            window: WINDOW,
            received: 0,
        }
    }

    /// Requests that wait for their reply.
    pub(super) fn in_flight(&self) -> usize {
        self.open.len() + self.waiting.len()
    }

    pub(super) fn ask(&mut self, due: Instant) -> Result<()> {
        self.waiting.push_back(due);
        self.send()
    }

    /// Writes the requests that may be sent.
    fn send(&mut self) -> Result<()> {
        let script = Arc::clone(&self.script);
        let upload = script.upload.as_slice();
        while self.greeted && self.window >= upload.len() as i64 {
            let Some(due) = self.waiting.pop_front() else { break };
            if self.next >= LAST {
                bail!("a connection's streams are used up");
            }
            let end = if upload.is_empty() { flag::END_STREAM } else { 0 };
            let flags = flag::END_HEADERS | end;
            let block = &script.request;
            let first = !std::mem::replace(&mut self.asked, true);
            match (self.remembers, first) {
                (true, true) => {
                    h2::frame(&mut self.out, kind::HEADERS, flags, self.next, &block.first);
                }
                (true, false) => {
                    h2::frame(&mut self.out, kind::HEADERS, flags, self.next, &block.again);
                }
                (false, true) => {
                    let block = [&[FORGET], block.plain.as_slice()].concat();
                    h2::frame(&mut self.out, kind::HEADERS, flags, self.next, &block);
                }
                (false, false) => {
                    h2::frame(&mut self.out, kind::HEADERS, flags, self.next, &block.plain);
                }
            }
            if !upload.is_empty() {
                h2::frame(&mut self.out, kind::DATA, flag::END_STREAM, self.next, upload);
                self.window -= upload.len() as i64;
            }
            self.open.push(Stream { id: self.next, due, answered: false, body: 0 });
            self.next += 2;
        }
        Ok(())
    }

    /// Takes bytes; the times at which requests were due that are answered go to `ended`.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        advance: &mut Advance,
        ended: &mut Vec<Instant>,
    ) -> Result<()> {
        let mut frames = std::mem::take(&mut self.frames);
        frames.feed(bytes);
        while let Some(frame) = frames.cut()? {
            self.take(frame, advance, ended)?;
        }
        self.frames = frames;
        if self.received >= REPLENISH {
            h2::number(&mut self.out, kind::WINDOW_UPDATE, 0, self.received);
            self.received = 0;
        }
        self.send()
    }

    fn take(
        &mut self,
        frame: Frame<'_>,
        advance: &mut Advance,
        ended: &mut Vec<Instant>,
    ) -> Result<()> {
        match frame.kind {
            kind::HEADERS | kind::DATA => return self.reply(frame, advance, ended),
            kind::SETTINGS if !frame.has(flag::ACK) => self.settled(frame)?,
            kind::PING if !frame.has(flag::ACK) => {
                h2::frame(&mut self.out, kind::PING, flag::ACK, 0, frame.payload);
            }
            kind::WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(frame.number()),
            kind::RST_STREAM => bail!("a stream was reset with error {}", frame.number()),
            kind::GOAWAY => {
                let error = frame.payload.get(4..8).unwrap_or_default();
                bail!("the proxy said GOAWAY with error {error:02x?}");
            }
            kind::CONTINUATION | kind::PUSH_PROMISE => bail!("a frame of type {}", frame.kind),
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, frame: Frame<'_>) -> Result<()> {
        for (name, value) in frame.settings() {
            match name {
                setting::HEADER_TABLE_SIZE if !self.asked => self.remembers = value >= TABLE,
                setting::HEADER_TABLE_SIZE if self.remembers && value < TABLE => {
                    bail!("the proxy shrank its table to {value} after requests")
                }
                setting::MAX_CONCURRENT_STREAMS if (value as usize) < self.script.streams => {
                    bail!("the proxy allows {value} streams, {} are meant", self.script.streams)
                }
                setting::INITIAL_WINDOW_SIZE if (value as usize) < self.script.upload.len() => {
                    bail!("the proxy's window of {value} is smaller than a request")
                }
                _ => {}
            }
        }
        h2::frame(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
        self.greeted = true;
        Ok(())
    }

    fn reply(
        &mut self,
        frame: Frame<'_>,
        advance: &mut Advance,
        ended: &mut Vec<Instant>,
    ) -> Result<()> {
        let found = self.open.iter().position(|stream| stream.id == frame.stream);
        let Some(stream) = found.and_then(|place| self.open.get_mut(place)) else {
            bail!("a frame of type {} came on stream {}, which is over", frame.kind, frame.stream);
        };
        let content = frame.content()?;
        if frame.kind == kind::DATA {
            stream.body += content.len() as u64;
            advance.body += content.len() as u64;
            self.received += u32::try_from(frame.payload.len())?;
        } else if !frame.has(flag::END_HEADERS) {
            bail!("the proxy's header block is longer than a frame");
        } else if !stream.answered {
            h2::ok(content)?;
            stream.answered = true;
        } else if !self.script.trailers || !frame.has(flag::END_STREAM) {
            bail!("trailers came that were not expected, or do not end the stream");
        }
        if frame.has(flag::END_STREAM) {
            let trailers = frame.kind == kind::HEADERS;
            if stream.body != self.script.body || trailers != self.script.trailers {
                let (came, wanted) = (stream.body, self.script.body);
                bail!("a reply ended after {came} of {wanted} bytes, trailers: {trailers}");
            }
            ended.push(stream.due);
            if let Some(place) = found {
                self.open.swap_remove(place);
            }
        }
        Ok(())
    }
}
