//! What is sent on a stream: heads, content, trailers, straight into the output.

use super::streams::{Local, Stream};
use super::{Connection, Role, SendError, StreamEnd, StreamKey};
use crate::h1::write::WriteError;
use crate::h2::budget::LARGE_BYTES;
use crate::h2::frame::{END_STREAM, Kind};
use crate::h2::write::{self, HeadWriter};
use crate::write::WriteHead;

/// Control frames that a sizeable DATA frame accounts for: a window for the stream and one for
/// the connection, and a PING of those that measure with it.
const EARNED_BY_DATA: u32 = 3;

/// Bytes of DATA that account for one more: HAProxy gives the credit for a full frame back in
/// four frames.
const BYTES_EARN: usize = 4096;

/// The least room in the output that is worth a frame of its own, in bytes, unless less is left
/// to send.
const PIECE_MIN_BYTES: usize = 1024;

impl Connection {
    /// Sends a head that `write` writes: a request, an interim or the final reply. With `ends`
    /// there is no content.
    ///
    /// # Errors
    /// Where the stream is over or has ended, or where `write` fails: nothing is sent then, and
    /// another head can be.
    pub fn head(
        &mut self,
        s: StreamKey,
        ends: bool,
        write: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), WriteError>,
    ) -> Result<(), SendError> {
        let stream = self.sendable(s)?;
        if self.role == Role::Client && stream.local == Local::Idle && s.id < self.sent_id {
            // A later stream was sent first, which closed this one (RFC 9113 §5.1.1).
            self.cut(s, StreamEnd::Unprocessed);
            return Err(SendError::Closed);
        }
        let max = self.frame_max();
        let encoder = &mut self.encoder;
        let block = |out: &mut Vec<u8>| {
            // Dropped without its end, the writer brings the tables of both sides back in step.
            let mut writer = HeadWriter::new(encoder, out);
            write(&mut writer)?;
            writer.finish();
            Ok(())
        };
        self.out.headers(s.id, ends, max, block).map_err(SendError::Head)?;
        if self.role == Role::Client {
            self.sent_id = self.sent_id.max(s.id);
        }
        let local = if ends { Local::Ended } else { Local::Open };
        self.set_local(s, local);
        Ok(())
    }

    /// Sends content, as much as the windows, the turn of the stream and the output allow; gives
    /// how much. Where it is less than asked for, the stream comes out of
    /// [`Connection::next_writable`] when it can go on.
    ///
    /// # Errors
    /// Where the stream is over, has ended or has no head yet.
    #[inline]
    pub fn data(&mut self, s: StreamKey, data: &[u8]) -> Result<usize, SendError> {
        let room = self.room(s)?;
        let mut left = data.len().min(room);
        // Small pieces of a long content would each cost a frame.
        if room < PIECE_MIN_BYTES && room < data.len() && self.out.len() > 0 && !self.tight(s) {
            left = 0;
        }
        self.end_turn(s);
        let sent = left;
        let max = self.frame_max();
        let mut rest = data;
        while left > 0 {
            let piece = rest.get(..left).unwrap_or_default();
            let taken = self.out.data(s.id, piece, max).min(left);
            if taken == 0 {
                break;
            }
            if taken >= LARGE_BYTES {
                let by_size = u32::try_from(taken / BYTES_EARN).unwrap_or(0);
                self.budgets.earn(EARNED_BY_DATA + by_size);
            }
            rest = rest.get(taken..).unwrap_or_default();
            left -= taken;
        }
        self.send.take(sent);
        if let Some(stream) = self.streams.get_mut(s) {
            stream.send.take(sent);
        }
        if sent < data.len() {
            self.wait(s);
        } else if (1..LARGE_BYTES).contains(&sent) {
            // A whole small message accounts for what acknowledges it; one that the peer's window
            // made small does not.
            self.budgets.earn(EARNED_BY_DATA);
        }
        Ok(sent)
    }

    /// Whether [`Connection::data`] would take a byte; where not, the stream waits as if it had
    /// been told so.
    ///
    /// # Errors
    /// As [`Connection::data`].
    pub fn can_send(&mut self, s: StreamKey) -> Result<bool, SendError> {
        let can = self.room(s)? > 0;
        if !can {
            self.end_turn(s);
            self.wait(s);
        }
        Ok(can)
    }

    /// Ends our half of a stream, with `trailers` as lines of fields or none.
    ///
    /// # Errors
    /// Where the stream is over, has ended or has no head yet.
    pub fn finish(&mut self, s: StreamKey, trailers: &[u8]) -> Result<(), SendError> {
        if self.sendable(s)?.local == Local::Idle {
            return Err(SendError::Order);
        }
        if !trailers.is_empty() {
            let max = self.frame_max();
            let encoder = &mut self.encoder;
            let block = |out: &mut Vec<u8>| {
                write::trailers(encoder, trailers, out);
                Ok(())
            };
            self.out.headers(s.id, true, max, block).map_err(SendError::Head)?;
        } else if !self.out.end(s.id) {
            self.out.frame(Kind::Data, END_STREAM, s.id, &[]);
        }
        self.set_local(s, Local::Ended);
        Ok(())
    }

    fn set_local(&mut self, s: StreamKey, local: Local) {
        if let Some(stream) = self.streams.get_mut(s) {
            stream.local = local;
        }
        if local == Local::Ended {
            self.end_turn(s);
            self.streams.unqueue(s);
            self.settle(s);
        }
    }

    /// Bytes that a stream may send at once; 0 where others are before it.
    #[inline]
    fn room(&mut self, s: StreamKey) -> Result<usize, SendError> {
        let stream = self.sendable(s)?;
        if stream.local == Local::Idle {
            return Err(SendError::Order);
        }
        let (own, urgency, granted) = (stream.send.room(), stream.urgency, stream.granted);
        let others = self.streams.others_wait(urgency);
        if others && granted == 0 {
            return Ok(0);
        }
        let out = self.limits.out_high_water.saturating_sub(self.out.len());
        let room = own.min(self.send.room()).min(out);
        Ok(if others { room.min(granted) } else { room })
    }

    /// True where it is a window that leaves little room: waiting for the output gains nothing.
    fn tight(&self, s: StreamKey) -> bool {
        let own = self.streams.get(s).map_or(0, |stream| stream.send.room());
        own.min(self.send.room()) < PIECE_MIN_BYTES
    }

    #[inline]
    fn sendable(&self, s: StreamKey) -> Result<&Stream, SendError> {
        let stream = self.streams.get(s).ok_or(SendError::Closed)?;
        if stream.end.is_some() || self.dead.is_some() {
            return Err(SendError::Closed);
        }
        if stream.stopped {
            return Err(SendError::Stopped);
        }
        if stream.local == Local::Ended {
            return Err(SendError::Order);
        }
        Ok(stream)
    }

    #[inline]
    fn frame_max(&self) -> usize {
        self.peer.max_frame.min(self.limits.max_frame) as usize
    }
}
