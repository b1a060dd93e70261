//! Whose turn it is to send: by urgency (RFC 9218 §10). Within one urgency the replies that are of
//! use only as a whole come first, one after the other in the order of their streams; those that
//! are of use in parts take turns. So do those of whose priority nothing was said: their client may
//! be a proxy with many users on one connection, none of whom should wait for the others.

use super::{Connection, StreamKey};
use crate::h2::priority::Priority;

/// What a stream may send in one turn while others wait, in bytes: a full frame.
pub(crate) const QUANTUM: usize = 16_384;

impl Connection {
    /// The stream whose turn to send has come: it was told less than it asked for by
    /// [`Connection::data`], or false by [`Connection::can_send`], and can go on. To be called
    /// after [`Connection::sent`] and after [`Connection::receive`] until it gives none; whoever
    /// comes out should send, finish or close, or give way by not minding.
    pub fn next_writable(&mut self) -> Option<StreamKey> {
        let room = self.limits.out_high_water.saturating_sub(self.out.len());
        if self.send.room() == 0 || self.granted >= room || self.dead.is_some() {
            return None;
        }
        let key = self.streams.next()?;
        if let Some(stream) = self.streams.get_mut(key) {
            stream.granted = if stream.in_order { room.max(QUANTUM) } else { QUANTUM };
            stream.waits = false;
            self.granted += stream.granted;
        }
        Some(key)
    }

    /// Gives up the turn of a stream that has nothing to send at the moment, so that others have
    /// theirs; true where it had one, after which [`Connection::next_writable`] is to be called.
    pub fn give_way(&mut self, s: StreamKey) -> bool {
        self.end_turn(s)
    }

    /// Sets how urgent the reply on a stream is, and whether parts of it are of use.
    pub fn set_priority(&mut self, s: StreamKey, priority: Priority) {
        self.streams.set_priority(s, priority);
    }

    /// Lines a stream up that waited for its window, where the window is open.
    pub(crate) fn wake(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.waits && stream.send.room() > 0 {
            self.streams.queue(key);
        }
    }

    /// Makes a stream wait: for its window, or in line for its turn.
    pub(crate) fn wait(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.waits = true;
        if stream.send.room() > 0 {
            self.streams.queue(key);
        }
    }

    /// Ends the turn of a stream; true where it had one.
    pub(crate) fn end_turn(&mut self, key: StreamKey) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        let had = core::mem::take(&mut stream.granted);
        self.granted = self.granted.saturating_sub(had);
        had > 0
    }
}
