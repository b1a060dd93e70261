//! Content that came, on its way from DATA frames to the owners of streams, and the credit that
//! goes back for it.

use super::closed::Past;
use super::streams::{Remote, Stream};
use super::{Connection, Event, Fault, Inbox, Role, StreamEnd, StreamKey};
use crate::h2::budget::TINY_BYTES;
use crate::h2::frame::{self, END_STREAM, ErrorCode, Header, Kind};

/// Room that the first content of a stream gets, in bytes.
const INBOX_MIN_BYTES: usize = 1024;

impl Connection {
    pub(crate) fn on_data(
        &mut self,
        header: Header,
        payload: &[u8],
    ) -> Result<Option<Event>, Fault> {
        let id = header.stream;
        if self.is_idle_stream(id) {
            return Err(if id == 0 { Fault::Stream } else { Fault::Idle });
        }
        if !self.recv.take(payload.len()) {
            return Err(Fault::Window);
        }
        let (content, padding) =
            frame::unpad(payload, header.has(frame::PADDED)).ok_or(Fault::Padding)?;
        let ends = header.has(END_STREAM);
        if content.is_empty() && !ends {
            self.charge_control()?;
        }
        let Some(key) = self.streams.find(id) else {
            self.credit(payload.len());
            return self.stray_data(id, payload.len());
        };
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        if !stream.is_alive() {
            let theirs = stream.remote.is_over();
            self.credit(payload.len());
            return if theirs { Err(Fault::Closed) } else { self.charge_stray(payload.len()) };
        }
        if stream.remote.is_over() {
            return Err(Fault::Closed);
        }
        if !stream.recv.take(payload.len()) {
            return Err(Fault::Window);
        }
        stream.received += content.len() as u64;
        let received = stream.received;
        let surplus = stream
            .expected
            .is_some_and(|expected| received > expected || (ends && received < expected));
        if surplus || stream.remote == Remote::Head {
            self.credit(payload.len());
            return self.stream_error(key, ErrorCode::PROTOCOL_ERROR);
        }
        self.store(key, content, padding, ends)
    }

    /// Puts content into the inbox of a stream that takes it.
    fn store(
        &mut self,
        key: StreamKey,
        content: &[u8],
        padding: usize,
        ends: bool,
    ) -> Result<Option<Event>, Fault> {
        let spare = self.streams.get(key).is_some_and(|stream| stream.inbox.capacity() == 0);
        let spare = (spare && !content.is_empty()).then(|| self.streams.spare());
        let Some(stream) = self.streams.get_mut(key) else { return Ok(None) };
        let before = stream.held();
        if let Some(spare) = spare {
            stream.inbox = spare;
        }
        let unread = !stream.inbox.is_empty();
        grow(&mut stream.inbox, content.len(), self.limits.stream_window as usize);
        stream.inbox.extend_from_slice(content);
        stream.unreleased += content.len();
        self.ledger.change(before, stream.held());
        if content.len() < TINY_BYTES && !content.is_empty() {
            // Origins stream what they like; what is not read is bounded by the windows.
            if self.role == Role::Server && !self.budgets.tiny(self.tick) {
                return Err(Fault::TinyFlood);
            }
        }
        if ends {
            stream.remote = Remote::Ended;
        }
        if self.ledger.is_spent(self.unowned()) {
            return Err(Fault::Memory);
        }
        if padding > 0 {
            self.credit(padding);
            self.credit_stream(key, padding);
        }
        if ends {
            self.settle(key);
        }
        // A reader that has not taken what came before knows already that it should look.
        let news = ends || (!unread && !content.is_empty());
        Ok(news.then_some(Event::Readable(key)))
    }

    /// DATA on a stream that is not in the table; its credit went back.
    fn stray_data(&mut self, id: u32, length: usize) -> Result<Option<Event>, Fault> {
        if self.ignores(id) {
            return self.charge_stray(length);
        }
        match self.closed.past(id) {
            Past::Cut => self.charge_stray(length),
            Past::Ended | Past::Unknown => Err(Fault::Closed),
        }
    }

    /// Charges DATA that nobody reads. What was under way when its stream was cut off comes in
    /// frames of some size, and paid for them with bytes.
    fn charge_stray(&mut self, length: usize) -> Result<Option<Event>, Fault> {
        if length < TINY_BYTES {
            self.charge_control()?;
        }
        Ok(None)
    }

    /// Swaps the received content out into `into`, which is cleared first.
    pub fn take(&mut self, s: StreamKey, into: &mut Vec<u8>) -> Inbox {
        into.clear();
        let lost = Inbox { ends: false, reset: Some(StreamEnd::Lost) };
        let Some(stream) = self.streams.get_mut(s) else { return lost };
        if !stream.inbox.is_empty() {
            let before = stream.held();
            core::mem::swap(&mut stream.inbox, into);
            self.ledger.change(before, stream.held());
        }
        Inbox { ends: stream.remote == Remote::Ended, reset: stream.end }
    }

    /// The trailers of the peer, as lines of fields; empty before its message ended, and where it
    /// has none.
    #[must_use]
    pub fn trailers(&self, s: StreamKey) -> &[u8] {
        let ended = |stream: &&Stream| stream.remote == Remote::Ended;
        self.streams.get(s).filter(ended).map_or(&[], |stream| stream.trailers.as_slice())
    }

    /// Says how much content the head of the peer's message announced: a message that has more,
    /// or ends before, is malformed and its stream is reset (RFC 9113 §8.1.1).
    pub fn expect(&mut self, s: StreamKey, bytes: u64) {
        if let Some(stream) = self.streams.get_mut(s) {
            stream.expected = Some(bytes);
        }
    }

    /// `n` bytes that were taken have been passed on: the peer may send as many more.
    pub fn release(&mut self, s: StreamKey, n: usize) {
        let Some(stream) = self.streams.get_mut(s) else { return };
        // What a stream that was cut off held has been credited already.
        let n = n.min(stream.unreleased);
        if n == 0 {
            return;
        }
        let before = stream.held();
        stream.unreleased -= n;
        self.ledger.change(before, stream.held());
        self.credit_stream(s, n);
        self.credit(n);
    }

    /// Gives credit for `n` bytes back to the connection.
    pub(crate) fn credit(&mut self, n: usize) {
        self.recv.earn(n);
        if self.dead.is_some() {
            return;
        }
        if let Some(by) = self.recv.announce() {
            self.out.frame(Kind::WindowUpdate, 0, 0, &by.to_be_bytes());
        }
    }

    fn credit_stream(&mut self, key: StreamKey, n: usize) {
        if self.dead.is_some() {
            return;
        }
        let Some(stream) = self.streams.get_mut(key) else { return };
        stream.recv.earn(n);
        if stream.remote.is_over() || !stream.is_alive() {
            return;
        }
        if let Some(by) = stream.recv.announce() {
            self.out.frame(Kind::WindowUpdate, 0, key.id, &by.to_be_bytes());
        }
    }
}

/// Makes room for `more` bytes by doubling, not past what the window lets come.
fn grow(inbox: &mut Vec<u8>, more: usize, window: usize) {
    let wanted = inbox.len() + more;
    if wanted > inbox.capacity() {
        let double = (inbox.capacity() * 2).max(INBOX_MIN_BYTES).min(window);
        inbox.reserve_exact(double.max(wanted) - inbox.len());
    }
}
