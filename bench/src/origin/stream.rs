//! The origin's side of HTTP/2 with prior knowledge: every request gets the same small message and
//! trailers, as a gRPC server answers a unary call.

use std::collections::VecDeque;

use anyhow::{Result, bail};

use crate::h2::{self, Block, FORGET, Field, Frame, Frames, WIDE, WINDOW, flag, kind, setting};

/// Body of every reply: a gRPC message of 128 bytes behind its length.
pub const MESSAGE: usize = 133;
/// The table that the kept fields of a reply fit into.
const TABLE: u32 = 512;
/// Received bytes after which the connection's window is opened again by as much.
const REPLENISH: u32 = WIDE / 2;

/// What every connection says.
pub(super) struct Replies {
    head: Block,
    message: Vec<u8>,
    trailers: Block,
}

impl Replies {
    pub(super) fn new() -> Self {
        let head = [Field::Known(8), Field::Kept(31, "application/grpc")];
        let trailers = [Field::KeptText("grpc-status", "0")];
        Self {
            head: Block::of(&head, trailers.len()),
            message: message(),
            trailers: Block::of(&trailers, 0),
        }
    }
}

/// A gRPC message: not compressed, its length, bytes.
#[must_use]
pub fn message() -> Vec<u8> {
    let length = u32::try_from(MESSAGE - 5).unwrap_or(0);
    let mut bytes = vec![0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.resize(MESSAGE, b'm');
    bytes
}

/// The state of one connection.
pub(super) struct Speaker {
    frames: Frames,
    greeted: bool,
    /// Bytes to be sent.
    pub(super) out: Vec<u8>,
    /// Streams whose request has ended, while the connection's window is too small.
    waiting: VecDeque<u32>,
    window: i64,
    remembers: bool,
    answered: bool,
    received: u32,
}

impl Speaker {
    pub(super) fn new() -> Self {
        Self {
            frames: Frames::default(),
            greeted: false,
            out: Vec::new(),
            waiting: VecDeque::new(),
            window: WINDOW,
            remembers: true,
            answered: false,
            received: 0,
        }
    }

    /// Takes bytes; tells how many requests ended in them.
    pub(super) fn feed(&mut self, bytes: &[u8], replies: &Replies) -> Result<u64> {
        let mut frames = std::mem::take(&mut self.frames);
        frames.feed(bytes);
        if !self.greeted {
            match frames.preface() {
                Some(true) => self.greet(),
                Some(false) => bail!("this is not HTTP/2"),
                None => {
                    self.frames = frames;
                    return Ok(0);
                }
            }
        }
        let mut requests = 0;
        while let Some(frame) = frames.cut()? {
            requests += self.take(frame)?;
        }
        self.frames = frames;
        if self.received >= REPLENISH {
            h2::number(&mut self.out, kind::WINDOW_UPDATE, 0, self.received);
            self.received = 0;
        }
        self.answer(replies);
        Ok(requests)
    }

    fn greet(&mut self) {
        self.greeted = true;
        let pairs = [(setting::MAX_CONCURRENT_STREAMS, 1024), (setting::INITIAL_WINDOW_SIZE, WIDE)];
        h2::settings(&mut self.out, &pairs);
        h2::number(&mut self.out, kind::WINDOW_UPDATE, 0, WIDE);
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<u64> {
        match frame.kind {
            kind::HEADERS | kind::DATA => {
                if frame.kind == kind::DATA {
                    self.received += u32::try_from(frame.payload.len())?;
                }
                if frame.has(flag::END_STREAM) {
                    self.waiting.push_back(frame.stream);
                    return Ok(1);
                }
            }
            kind::SETTINGS if !frame.has(flag::ACK) => self.settled(frame)?,
            kind::PING if !frame.has(flag::ACK) => {
                h2::frame(&mut self.out, kind::PING, flag::ACK, 0, frame.payload);
            }
            kind::WINDOW_UPDATE if frame.stream == 0 => self.window += i64::from(frame.number()),
            kind::RST_STREAM => self.waiting.retain(|stream| *stream != frame.stream),
            _ => {}
        }
        Ok(0)
    }

    fn settled(&mut self, frame: Frame<'_>) -> Result<()> {
        for (name, value) in frame.settings() {
            match name {
                setting::HEADER_TABLE_SIZE if !self.answered => self.remembers = value >= TABLE,
                setting::INITIAL_WINDOW_SIZE if (value as usize) < MESSAGE => {
                    bail!("a window of {value} is smaller than a reply")
                }
                _ => {}
            }
        }
        h2::frame(&mut self.out, kind::SETTINGS, flag::ACK, 0, &[]);
        Ok(())
    }

    fn answer(&mut self, replies: &Replies) {
        while self.window >= MESSAGE as i64
            && let Some(stream) = self.waiting.pop_front()
        {
            let first = !std::mem::replace(&mut self.answered, true);
            let forgetful;
            let (head, trailers) = match (self.remembers, first) {
                (true, true) => (&replies.head.first, &replies.trailers.first),
                (true, false) => (&replies.head.again, &replies.trailers.again),
                (false, true) => {
                    forgetful = [&[FORGET], replies.head.plain.as_slice()].concat();
                    (&forgetful, &replies.trailers.plain)
                }
                (false, false) => (&replies.head.plain, &replies.trailers.plain),
            };
            self.window -= MESSAGE as i64;
            h2::frame(&mut self.out, kind::HEADERS, flag::END_HEADERS, stream, head);
            h2::frame(&mut self.out, kind::DATA, 0, stream, &replies.message);
            let end = flag::END_HEADERS | flag::END_STREAM;
            h2::frame(&mut self.out, kind::HEADERS, end, stream, trailers);
        }
    }
}
