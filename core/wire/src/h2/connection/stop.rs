//! How streams and connections end: opening and closing of streams, resets, GOAWAY.

use super::streams::Local;
use super::{Connection, Event, Fault, OpenError, Role, StreamEnd, StreamKey};
use crate::h2::frame::{ErrorCode, Kind, U31_MAX};

/// The PING behind the first GOAWAY.
pub(crate) const GOODBYE_PING: [u8; 8] = *b"weir-bye";

/// The PING of [`Connection::ping`].
pub(crate) const PROBE_PING: [u8; 8] = *b"weirping";

/// How far our goodbye got (RFC 9113 §6.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// New streams are still taken; the peer's answer to the PING is awaited.
    Announced,
    /// New streams are ignored.
    Final,
}

/// Our goodbye, and the PING that is under way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Goodbye {
    stage: Stage,
    probing: bool,
}

impl Goodbye {
    pub(crate) fn awaits_ack(self) -> bool {
        self.stage == Stage::Announced
    }

    pub(crate) fn take_probe(&mut self) -> bool {
        core::mem::replace(&mut self.probing, false)
    }
}

impl Connection {
    /// Opens a stream for a request, whose head is to be sent before that of any later stream.
    ///
    /// # Errors
    /// Where the peer's limit or ours is reached, or the connection takes no more requests.
    pub fn open(&mut self) -> Result<StreamKey, OpenError> {
        let away = self.peer_goodbye.is_some() || self.goodbye.stage != Stage::Open;
        if away || self.dead.is_some() || self.lost || self.role == Role::Server {
            return Err(OpenError::GoingAway);
        }
        if self.next_id > U31_MAX || self.accepted >= self.limits.requests_max {
            return Err(OpenError::Exhausted);
        }
        let max = self.peer.max_streams.min(self.limits.max_concurrent_streams);
        if self.live >= max || self.streams.len() >= self.limits.running_max() {
            return Err(OpenError::Full);
        }
        let id = self.next_id;
        self.next_id += 2;
        Ok(self.admit(id))
    }

    /// How the stream was cut off; `None` while it was not. The key of a closed stream gives
    /// [`StreamEnd::Lost`].
    #[must_use]
    pub fn status(&self, s: StreamKey) -> Option<StreamEnd> {
        match self.streams.get(s) {
            Some(stream) => stream.end,
            None => Some(StreamEnd::Lost),
        }
    }

    /// Cuts a stream off by an RST_STREAM. With a code that accuses the peer it is charged to the
    /// budget of resets, which may end the connection.
    pub fn reset(&mut self, s: StreamKey, code: ErrorCode) {
        if self.reset_uncharged(s, code) && code.accuses() && !self.budgets.reset(self.tick) {
            self.die(Fault::ResetFlood);
        }
    }

    /// A stream error of the peer's making.
    pub(crate) fn stream_error(
        &mut self,
        key: StreamKey,
        code: ErrorCode,
    ) -> Result<Option<Event>, Fault> {
        if !self.reset_uncharged(key, code) {
            return Ok(None);
        }
        if self.budgets.reset(self.tick) {
            Ok(Some(Event::Reset(key)))
        } else {
            Err(Fault::ResetFlood)
        }
    }

    /// Cuts a stream off; true where it was not over already.
    fn reset_uncharged(&mut self, key: StreamKey, code: ErrorCode) -> bool {
        let Some(stream) = self.streams.get(key) else { return false };
        if stream.is_over() || self.dead.is_some() {
            return false;
        }
        // A stream whose head was never sent is unknown to the peer.
        if self.role == Role::Server || stream.local != Local::Idle {
            self.write_reset(key.id, code);
        }
        self.cut(key, StreamEnd::Reset { code })
    }

    /// The owner is done with a stream: it stopped working for it. Its slot is free, what it held
    /// is credited, and where a half is still open the peer is told.
    pub fn close(&mut self, s: StreamKey) {
        let Some(stream) = self.streams.get(s) else { return };
        let code = match self.role {
            Role::Server if stream.local == Local::Ended => ErrorCode::NO_ERROR,
            _ => ErrorCode::CANCEL,
        };
        self.reset_uncharged(s, code);
        self.discard(s);
        self.end_turn(s);
        let Some(stream) = self.streams.get(s) else { return };
        if stream.remote.is_over() {
            self.closed.ended(s.id);
        } else {
            self.closed.cut(s.id);
        }
        self.ledger.sub(stream.held());
        self.streams.remove(s);
    }

    /// Marks a stream as cut off, and gives its credit back; true where it was not over already.
    pub(crate) fn cut(&mut self, key: StreamKey, end: StreamEnd) -> bool {
        let Some(stream) = self.streams.get_mut(key) else { return false };
        if stream.is_over() {
            return false;
        }
        stream.end = Some(end);
        self.live -= 1;
        self.streams.unqueue(key);
        self.end_turn(key);
        self.discard(key);
        true
    }

    /// Drops what a stream holds of received content; the connection gets the credit at once.
    fn discard(&mut self, key: StreamKey) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        let before = stream.held();
        let unreleased = core::mem::take(&mut stream.unreleased);
        let inbox = core::mem::take(&mut stream.inbox);
        let after = stream.held();
        self.ledger.change(before, after);
        self.streams.keep(inbox);
        if unreleased > 0 {
            self.credit(unreleased);
        }
    }

    /// The peer has answered and wants no more; its answer stays to be read.
    pub(crate) fn stop(&mut self, key: StreamKey) {
        if let Some(stream) = self.streams.get_mut(key) {
            stream.stopped = true;
            stream.local = Local::Ended;
        }
        self.streams.unqueue(key);
        self.end_turn(key);
        self.settle(key);
    }

    /// Takes a stream whose halves have both ended from those that count against the limit.
    pub(crate) fn settle(&mut self, key: StreamKey) {
        if self.streams.get(key).is_some_and(|s| s.end.is_none() && s.is_over()) {
            self.live -= 1;
        }
    }

    /// Sends a PING; its answer gives [`Event::PingAck`]. One is under way at a time.
    pub fn ping(&mut self) {
        if self.dead.is_none() && !core::mem::replace(&mut self.goodbye.probing, true) {
            self.out.frame(Kind::Ping, 0, 0, &PROBE_PING);
        }
    }

    /// Says that the connection is about to end: GOAWAY without a last stream, and a PING. What the
    /// peer has under way is still taken; once it answers the PING, or the caller has waited for
    /// long enough and calls [`Connection::shut_down_now`], new streams are not.
    pub fn shut_down(&mut self) {
        if self.dead.is_some() || self.goodbye.stage != Stage::Open {
            return;
        }
        self.goodbye.stage = Stage::Announced;
        self.write_goaway(U31_MAX, ErrorCode::NO_ERROR);
        self.out.frame(Kind::Ping, 0, 0, &GOODBYE_PING);
    }

    /// Says which stream was the last that was taken; new ones are ignored.
    pub fn shut_down_now(&mut self) {
        if self.dead.is_some() || self.goodbye.stage == Stage::Final {
            return;
        }
        self.goodbye.stage = Stage::Final;
        self.write_goaway(self.last_accepted, ErrorCode::NO_ERROR);
    }

    /// True where one of the sides said goodbye: no request should be sent on this connection.
    #[must_use]
    pub fn is_going_away(&self) -> bool {
        self.goodbye.stage != Stage::Open || self.peer_goodbye.is_some() || self.dead.is_some()
    }

    /// Ends the connection: GOAWAY with this code, and every stream is lost.
    pub fn go_away(&mut self, code: ErrorCode) {
        if self.dead.is_none() {
            self.end_with(Fault::Ended, code);
        }
    }

    /// The transport is gone: every stream is lost, and nothing is written for any.
    pub fn disconnect(&mut self) {
        self.lost = true;
        self.dead.get_or_insert(Fault::Ended);
        self.lose_streams();
    }

    /// Ends the connection by a fault of the peer.
    #[cold]
    pub(crate) fn die(&mut self, fault: Fault) {
        if self.dead.is_some() {
            return;
        }
        self.counters.floods += u64::from(fault.is_flood());
        self.end_with(fault, fault.code());
    }

    fn end_with(&mut self, fault: Fault, code: ErrorCode) {
        self.write_goaway(self.last_accepted, code);
        self.dead = Some(fault);
        self.pending.clear();
        self.lose_streams();
    }

    fn lose_streams(&mut self) {
        for slot in 0..self.streams.slots() {
            if let Some(key) = self.streams.at(slot) {
                self.cut(key, StreamEnd::Lost);
            }
        }
    }

    fn write_goaway(&mut self, last: u32, code: ErrorCode) {
        let [a, b, c, d] = last.to_be_bytes();
        let [e, f, g, h] = code.0.to_be_bytes();
        self.out.frame(Kind::GoAway, 0, 0, &[a, b, c, d, e, f, g, h]);
    }

    /// True for a stream that came behind our goodbye.
    pub(crate) fn ignores(&self, id: u32) -> bool {
        let is_final = self.goodbye.stage == Stage::Final && self.role == Role::Server;
        is_final && id > self.last_accepted
    }
}
