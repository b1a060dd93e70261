//! Bodies: from framed bytes to content ([`BodyDecoder`]) and back ([`BodyEncoder`]).
//! Both know how much of the message is still owed, and refuse an end that comes early.

mod chunked;

use core::ops::Range;

use super::Framing;
use crate::faults::faults;
use chunked::ChunkedDecoder;

faults! {
    /// A broken rule in a body.
    BodyError {
        TooLarge, "body_too_large", "the body is larger than its limit";
        EndedEarly, "ended_early", "the message ended before its body was complete";
        BareLf, "chunk_bare_lf", "a chunk line ends with LF alone";
        BareCr, "chunk_bare_cr", "a CR in a chunk line is not followed by LF";
        ChunkSize, "chunk_size", "a chunk size is not 1 to 16 hexadecimal digits";
        ChunkExtension, "chunk_extension", "a chunk extension breaks the grammar";
        ChunkExtensionTooLong, "chunk_extension_too_long", "chunk extensions pass their limit";
        ChunkOverhead, "chunk_overhead", "the chunks carry far more framing than content";
        ChunkEnd, "chunk_end", "chunk data is not followed by CRLF";
        Trailer, "trailer", "a trailer field line breaks the grammar";
        TrailersTooLarge, "trailers_too_large", "the trailer section passes its limits";
        Overrun, "overrun", "more content than the framing allows was to be written";
        Underrun, "underrun", "less content than the framing promises was written";
    }
}

impl BodyError {
    /// The status of the reply to a request with this fault; a fault in the body of a reply is a
    /// 502 if its head was not sent on yet, else an abort.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::TrailersTooLarge => 431,
            Self::Overrun | Self::Underrun => 500,
            _ => 400,
        }
    }
}

/// Limits of one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of content (413).
    pub body_bytes: u64,
    /// Bytes of one chunk line without its CRLF, extensions included.
    pub chunk_line_bytes: u32,
    /// Bytes of all chunk extensions of the body together.
    pub extension_bytes: u32,
    /// Bytes of all trailer lines together.
    pub trailer_bytes: u32,
    /// Number of trailer fields.
    pub trailer_fields: u32,
}

impl Default for BodyLimits {
    /// No limit on the content; 8 KiB a chunk line and 16 KiB of extensions, which nobody uses
    /// but attackers; 8 KiB and 32 fields of trailers, as those of a head are seldom more.
    fn default() -> Self {
        Self {
            body_bytes: u64::MAX,
            chunk_line_bytes: 8 << 10,
            extension_bytes: 16 << 10,
            trailer_bytes: 8 << 10,
            trailer_fields: 32,
        }
    }
}

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are dealt with. 0 without `done`: more input is needed.
    pub consumed: usize,
    /// The content among them, as a range of the input; possibly empty.
    pub data: Range<usize>,
    /// The body is complete; what stands behind `consumed` is not part of it.
    pub done: bool,
}

/// Takes content out of a framed body.
///
/// Call [`decode`](Self::decode) in a loop on what is left of the input until it is done or
/// consumes nothing, and [`end`](Self::end) at whatever ends the stream.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    seen: u64,
    most: u64,
}

#[derive(Debug)]
enum State {
    Exact(u64),
    Eof,
    /// Boxed, as it is several times as large as the others and an idle connection holds a state.
    Chunked(Box<ChunkedDecoder>),
    Done,
}

impl BodyDecoder {
    /// A decoder at the first byte behind the head.
    #[must_use]
    pub fn new(framing: Framing, limits: BodyLimits) -> Self {
        let state = match framing {
            Framing::None | Framing::Exact(0) => State::Done,
            Framing::Exact(length) => State::Exact(length),
            Framing::Chunked => State::Chunked(Box::new(ChunkedDecoder::new(limits))),
            Framing::Eof => State::Eof,
        };
        Self { state, seen: 0, most: limits.body_bytes }
    }

    /// Reads on. Consumes at most up to the end of the body, never a byte of the next message.
    ///
    /// # Errors
    /// The broken rule; the rest of the connection cannot be read then.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, BodyError> {
        let decoded = match &mut self.state {
            State::Done => return Ok(Decoded { done: true, ..Decoded::default() }),
            State::Eof => Decoded { consumed: input.len(), data: 0..input.len(), done: false },
            State::Exact(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                Decoded { consumed: take, data: 0..take, done: *left == 0 }
            }
            State::Chunked(chunked) => chunked.decode(input)?,
        };
        self.seen = self.seen.saturating_add(decoded.data.len() as u64);
        if self.seen > self.most {
            return Err(BodyError::TooLarge);
        }
        if decoded.done && !matches!(self.state, State::Chunked(_)) {
            self.state = State::Done;
        }
        Ok(decoded)
    }

    /// Counts `len` bytes of content that went over without being seen here; possible only where
    /// [`left`](Self::left) tells how much is to come.
    ///
    /// # Errors
    /// [`BodyError::Overrun`] where less was to come, [`BodyError::TooLarge`] beyond the limit.
    pub fn pass(&mut self, len: usize) -> Result<(), BodyError> {
        let left = self.left().and_then(|left| left.checked_sub(len as u64));
        let left = left.ok_or(BodyError::Overrun)?;
        self.state = if left == 0 { State::Done } else { State::Exact(left) };
        self.seen = self.seen.saturating_add(len as u64);
        if self.seen > self.most { Err(BodyError::TooLarge) } else { Ok(()) }
    }

    /// The one question asked at every end of a message (EOF, FIN, END_STREAM): may it end here?
    ///
    /// # Errors
    /// [`BodyError::EndedEarly`] where the framing promised more.
    pub fn end(&mut self) -> Result<(), BodyError> {
        match &self.state {
            State::Eof => {
                self.state = State::Done;
                Ok(())
            }
            _ if self.is_done() => Ok(()),
            _ => Err(BodyError::EndedEarly),
        }
    }

    /// Bytes of content so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// True when the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.state {
            State::Done => true,
            State::Chunked(chunked) => chunked.is_done(),
            State::Exact(_) | State::Eof => false,
        }
    }

    /// Bytes of content that are still to come, where the framing tells.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match &self.state {
            State::Exact(left) => Some(*left),
            State::Done => Some(0),
            State::Chunked(_) | State::Eof => None,
        }
    }

    /// The trailer fields that may be forwarded, as canonical lines (`name: value CRLF`) without
    /// the empty line; complete when the body is. They are never merged into the head.
    #[must_use]
    pub fn trailers(&self) -> &[u8] {
        match &self.state {
            State::Chunked(chunked) => chunked.trailers(),
            _ => &[],
        }
    }
}

/// What ends the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk of a body without trailers, with the end of the body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The line of the last chunk, behind which trailer lines and [`CHUNK_END`] follow.
pub const LAST_CHUNK_LINE: &[u8] = b"0\r\n";

/// The line in front of the data of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct ChunkHead {
    bytes: [u8; 18],
    start: u8,
}

impl ChunkHead {
    /// The bytes to send.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..).unwrap_or_default()
    }
}

/// Keeps count of the content that is written under a framing.
#[derive(Debug)]
pub struct BodyEncoder {
    framing: Framing,
    seen: u64,
}

impl BodyEncoder {
    /// An encoder for a body with this framing.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self { framing, seen: 0 }
    }

    /// The framing given at the start.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The line in front of a chunk of `len` bytes; `len` 0 would end the body, so no chunk is
    /// written for no data.
    #[must_use]
    pub fn frame(len: usize) -> ChunkHead {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [0; 18];
        let mut start = 18;
        let mut rest = len;
        let mut push = |b: u8| {
            start -= 1;
            if let Some(place) = bytes.get_mut(start) {
                *place = b;
            }
        };
        push(b'\n');
        push(b'\r');
        loop {
            push(HEX.get(rest & 15).copied().unwrap_or_default());
            rest >>= 4;
            if rest == 0 {
                break;
            }
        }
        ChunkHead { bytes, start: start as u8 }
    }

    /// Counts `len` bytes of content that are about to be written.
    ///
    /// # Errors
    /// [`BodyError::Overrun`] where the framing has no room for them; nothing is counted then.
    pub fn account(&mut self, len: usize) -> Result<(), BodyError> {
        let seen = self.seen.saturating_add(len as u64);
        let most = match self.framing {
            Framing::None => 0,
            Framing::Exact(length) => length,
            Framing::Chunked | Framing::Eof => u64::MAX,
        };
        if seen > most {
            return Err(BodyError::Overrun);
        }
        self.seen = seen;
        Ok(())
    }

    /// Asks whether the body may end here.
    ///
    /// # Errors
    /// [`BodyError::Underrun`] where less was written than the framing promises.
    pub fn end(&self) -> Result<(), BodyError> {
        match self.framing {
            Framing::Exact(length) if self.seen < length => Err(BodyError::Underrun),
            _ => Ok(()),
        }
    }

    /// Bytes of content so far.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests;
