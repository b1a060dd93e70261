//! The origin's side in frames, over a connection of [`Upstream`](crate::support::upstream), for
//! what a well-made server cannot be brought to do.

use super::frame::{self, Frame};
use super::hpack::{Block, Decoder};
use crate::support::reader::Fields;
use crate::support::upstream::Conn;

/// An HTTP/2 connection in the hands of a script.
pub(crate) struct Frames<'a> {
    conn: &'a mut Conn,
    buffer: Vec<u8>,
    decoder: Decoder,
}

impl<'a> Frames<'a> {
    /// Reads the preface and sends SETTINGS; `None` for a connection that is no HTTP/2.
    pub(crate) fn accept(conn: &'a mut Conn, settings: &[(u16, u32)]) -> Option<Self> {
        let mut frames = Self { conn, buffer: Vec::new(), decoder: Decoder::new(4096) };
        while frames.buffer.len() < frame::PREFACE.len() {
            frames.more()?;
        }
        if !frames.buffer.starts_with(frame::PREFACE) {
            return None;
        }
        frames.buffer.drain(..frame::PREFACE.len());
        frames.send(frame::settings(settings)).then_some(frames)
    }

    fn more(&mut self) -> Option<()> {
        let piece = self.conn.piece();
        self.buffer.extend(&piece);
        (!piece.is_empty()).then_some(())
    }

    /// Sends bytes; false when the other side closed.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.conn.write(bytes)
    }

    /// The next frame; SETTINGS and PING are acknowledged on the way.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, used)) = frame::parse(&self.buffer) {
                self.buffer.drain(..used);
                match frame.kind {
                    frame::SETTINGS if !frame.has(frame::ACK) => self.send(frame::settings_ack()),
                    frame::PING if !frame.has(frame::ACK) => self.send(frame::pong(&frame.payload)),
                    _ => true,
                };
                return Some(frame);
            }
            self.more()?;
        }
    }

    /// The next request: its stream and its fields, pseudo-header fields first.
    pub(crate) fn request(&mut self) -> Option<(u32, Fields)> {
        let first = self.until(frame::HEADERS)?;
        let (mut block, mut whole) = (first.payload, first.flags & frame::END_HEADERS != 0);
        while !whole {
            let next = self.frame()?;
            whole = next.has(frame::END_HEADERS);
            block.extend(next.payload);
        }
        let fields = self.decoder.decode(&block).unwrap_or_else(|e| panic!("to the origin: {e}"));
        Some((first.stream, fields))
    }

    /// Skips to the next frame of a kind.
    pub(crate) fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.frame()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Replies with 200 and a short text.
    pub(crate) fn answer(&mut self, stream: u32, text: &str) -> bool {
        let block = Block::new().index(8).field("content-length", text.len().to_string());
        let bytes =
            [frame::headers(stream, &block.0, false), frame::data(stream, text.as_bytes(), true)];
        self.send(bytes.concat())
    }

    /// Reads on until the other side closes.
    pub(crate) fn drain(&mut self) {
        while self.frame().is_some() {}
    }
}

/// A pseudo-header field or field of a request; empty without it.
pub(crate) fn value<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}
