//! The output of a connection: frames one behind the other, and what can still be done to the last
//! one before any of it is sent.

use crate::h2::frame::{self, END_STREAM, HEADER_BYTES, Header, Kind};

/// Replies to control frames that may wait: past it the peer does not read what it asks for.
const REPLIES_MAX: u32 = 128;

/// Capacity that an empty output keeps, in bytes: its high-water mark and a frame beyond.
const KEPT_BYTES_MAX: usize = 96 << 10;

/// Sent bytes in front of the others that are worth being moved over, in bytes.
const SENT_BYTES_MAX: usize = 16 << 10;

/// The frame at the end of the output, where it is one that can grow or end its stream.
#[derive(Clone, Copy, Debug)]
struct Last {
    stream: u32,
    /// Where its header stands in the buffer.
    at: usize,
    is_data: bool,
}

/// Bytes to write.
#[derive(Debug, Default)]
pub(crate) struct Output {
    buf: Vec<u8>,
    start: usize,
    last: Option<Last>,
    /// Replies in the output, up to the byte `replies_end` of the buffer.
    replies: u32,
    replies_end: usize,
}

impl Output {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.buf.len() - self.start
    }

    pub(crate) fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    pub(crate) fn sent(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.buf.len());
        if self.start >= self.replies_end {
            (self.replies, self.replies_end) = (0, 0);
        }
        if self.start == self.buf.len() {
            (self.start, self.last) = (0, None);
            self.buf.clear();
            if self.buf.capacity() > KEPT_BYTES_MAX {
                self.buf = Vec::new();
            }
        } else if self.start > SENT_BYTES_MAX && self.start * 2 > self.buf.len() {
            self.compact();
        }
    }

    /// Moves what was not sent to the front.
    fn compact(&mut self) {
        let start = core::mem::take(&mut self.start);
        self.buf.drain(..start);
        self.replies_end = self.replies_end.saturating_sub(start);
        self.last = match self.last {
            Some(last) => last.at.checked_sub(start).map(|at| Last { at, ..last }),
            None => None,
        };
    }

    pub(crate) fn release(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }

    #[inline]
    pub(crate) fn is_choked(&self) -> bool {
        self.replies > REPLIES_MAX
    }

    /// Appends bytes of the caller's making.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.with(|out| out.extend_from_slice(bytes));
    }

    /// Lets `write` append whole frames.
    #[inline]
    pub(crate) fn with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.last = None;
        write(&mut self.buf);
    }

    /// Appends a frame.
    pub(crate) fn frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.with(|out| frame::write(out, kind, flags, stream, payload));
    }

    /// Appends a frame that answers one of the peer's.
    pub(crate) fn reply(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
        self.frame(kind, flags, stream, payload);
        self.replies += 1;
        self.replies_end = self.buf.len();
    }

    /// The last frame, where it is of this stream and none of it was sent.
    #[inline]
    fn last_of(&self, stream: u32) -> Option<Last> {
        self.last.filter(|last| last.stream == stream && last.at >= self.start)
    }

    /// Appends content of a stream as one DATA frame of at most `max` bytes, or to the last frame
    /// where that is this stream's and has room; gives the bytes that were taken.
    #[inline]
    pub(crate) fn data(&mut self, stream: u32, data: &[u8], max: usize) -> usize {
        if let Some(last) = self.last_of(stream).filter(|last| last.is_data) {
            let before = self.buf.len() - last.at - HEADER_BYTES;
            let room = max.saturating_sub(before).min(data.len());
            if room > 0 {
                self.buf.extend_from_slice(data.get(..room).unwrap_or_default());
                let [_, length @ ..] = ((before + room) as u32).to_be_bytes();
                if let Some(place) = self.buf.get_mut(last.at..last.at + 3) {
                    place.copy_from_slice(&length);
                }
                return room;
            }
        }
        let taken = data.len().min(max);
        let length = taken as u32;
        let header = Header { length, kind: Kind::Data, flags: 0, stream };
        self.last = Some(Last { stream, at: self.buf.len(), is_data: true });
        self.buf.reserve(HEADER_BYTES + taken);
        self.buf.extend_from_slice(&header.bytes());
        self.buf.extend_from_slice(data.get(..taken).unwrap_or_default());
        taken
    }

    /// Ends a stream by a flag on its last frame; false where that frame is not the last one or
    /// on its way already.
    #[inline]
    pub(crate) fn end(&mut self, stream: u32) -> bool {
        let Some(last) = self.last_of(stream) else { return false };
        let Some(flags) = self.buf.get_mut(last.at + 4) else { return false };
        *flags |= END_STREAM;
        self.last = None;
        true
    }

    /// Appends HEADERS, and CONTINUATION for what is longer than `max`, around the field block
    /// that `write` appends. Nothing is appended where `write` fails.
    #[inline]
    pub(crate) fn headers<E>(
        &mut self,
        stream: u32,
        ends: bool,
        max: usize,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = self.buf.len();
        self.buf.extend_from_slice(&[0; HEADER_BYTES]);
        if let Err(error) = write(&mut self.buf) {
            self.buf.truncate(at);
            return Err(error);
        }
        let block = self.buf.len() - at - HEADER_BYTES;
        let mut flags = if ends { END_STREAM } else { 0 };
        if block <= max {
            flags |= frame::END_HEADERS;
        } else {
            self.continued(at, block, max, stream);
        }
        let length = block.min(max) as u32;
        let header = Header { length, kind: Kind::Headers, flags, stream };
        if let Some(place) = self.buf.get_mut(at..at + HEADER_BYTES) {
            place.copy_from_slice(&header.bytes());
        }
        self.last = (!ends).then_some(Last { stream, at, is_data: false });
        Ok(())
    }

    /// Cuts the block behind the header at `at` into frames.
    #[cold]
    fn continued(&mut self, at: usize, block: usize, max: usize, stream: u32) {
        let max = max.max(1);
        let rest = self.buf.split_off(at + HEADER_BYTES + max.min(block));
        let count = rest.len().div_ceil(max);
        for (nth, piece) in rest.chunks(max).enumerate() {
            let flags = if nth + 1 == count { frame::END_HEADERS } else { 0 };
            frame::write(&mut self.buf, Kind::Continuation, flags, stream, piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_share_a_frame_until_it_is_on_its_way() {
        let mut out = Output::default();
        assert_eq!(out.data(1, b"ab", 5), 2);
        assert_eq!(out.data(1, b"cdef", 5), 3);
        assert_eq!(out.bytes(), b"\0\0\x05\0\0\0\0\0\x01abcde");
        assert_eq!(out.data(1, b"f", 5), 1);
        out.sent(15);
        assert_eq!(out.data(1, b"g", 5), 1, "a frame whose header is out does not grow");
        assert_eq!(out.bytes().len(), 9 + 10);
        assert!(out.end(1));
        assert!(!out.end(1), "a frame ends its stream once");
        assert_eq!(out.bytes()[9..], *b"\0\0\x01\0\x01\0\0\0\x01g");
    }

    #[test]
    fn a_frame_of_another_stream_comes_between() {
        let mut out = Output::default();
        out.data(1, b"a", 5);
        out.data(3, b"b", 5);
        assert!(!out.end(1));
        assert!(out.end(3));
    }

    #[test]
    fn long_blocks_are_continued() {
        let mut out = Output::default();
        let write = |buf: &mut Vec<u8>| -> Result<(), ()> {
            buf.extend_from_slice(b"abcdefgh");
            Ok(())
        };
        out.headers(1, true, 3, write).unwrap();
        let expect = b"\0\0\x03\x01\x01\0\0\0\x01abc\0\0\x03\x09\0\0\0\0\x01def\
            \0\0\x02\x09\x04\0\0\0\x01gh";
        assert_eq!(out.bytes(), expect);
    }

    #[test]
    fn replies_are_counted_until_they_are_sent() {
        let mut out = Output::default();
        for _ in 0..=REPLIES_MAX {
            assert!(!out.is_choked());
            out.reply(Kind::Ping, frame::ACK, 0, &[0; 8]);
        }
        assert!(out.is_choked());
        out.data(1, b"x", 9);
        out.sent(out.len() - 10);
        assert!(!out.is_choked());
    }
}
