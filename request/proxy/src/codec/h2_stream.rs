//! One stream of an HTTP/2 connection as an exchange uses it: a head and a body each way.

use crate::codec::h1_body::{BodyFault, Got, SendFault};
use crate::codec::h2_mux::Mux;
use crate::stage::record::TlsFacts;
use core_wire::h1::Framing;
use core_wire::h1::body::{BodyDecoder, BodyEncoder, BodyError, BodyLimits};
use core_wire::h1::head::{Method, ResponseHead};
use core_wire::h1::response::ResponseMeaning;
use core_wire::h1::write::WriteError;
use core_wire::h2::connection::{StreamEnd, StreamKey};
use core_wire::h2::frame::ErrorCode;
use core_wire::h2::message;
use core_wire::h2::section::{Section, SectionFault};
use core_wire::h2::write::HeadWriter;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Why the head of a reply does not come on a stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeadLost {
    /// The origin has not looked at the request.
    #[error("the origin refused the stream before it looked at the request")]
    Refused,
    /// The stream or its connection ended.
    #[error("the stream ended before the head of a reply")]
    Ended,
    /// What came is no reply.
    #[error("{0}")]
    Malformed(SectionFault),
}

/// A stream with what is on its way.
pub(crate) struct H2Link {
    mux: Rc<Mux>,
    key: StreamKey,
    /// Received bytes and how many of them were taken.
    inbox: Vec<u8>,
    taken: usize,
    decoder: BodyDecoder,
    received: bool,
    encoder: BodyEncoder,
    finished: bool,
    /// Bytes of our own that wait for the peer's window.
    queued: Vec<u8>,
    /// The last look found no room to send.
    blocked: bool,
    /// The head of a reply, until it was dealt with.
    section: Option<Box<Section>>,
}

impl H2Link {
    /// The stream `key` of `mux`, which ends with this value.
    pub(crate) fn new(mux: Rc<Mux>, key: StreamKey) -> Self {
        mux.enter(key);
        Self {
            mux,
            key,
            inbox: Vec::new(),
            taken: 0,
            decoder: BodyDecoder::new(Framing::Eof, BodyLimits::default()),
            received: false,
            encoder: BodyEncoder::new(Framing::None),
            finished: false,
            queued: Vec::new(),
            blocked: false,
            section: None,
        }
    }

    pub(crate) fn tls(&self) -> TlsFacts {
        self.mux.tls
    }

    /// Starts to receive a body. Without a length it goes on until the stream ends.
    pub(crate) fn begin_receiving(&mut self, framing: Framing, body_bytes: u64) {
        let framing = if framing == Framing::Chunked { Framing::Eof } else { framing };
        let limits = BodyLimits { body_bytes, ..BodyLimits::default() };
        self.decoder = BodyDecoder::new(framing, limits);
        self.received = framing == Framing::None;
    }

    fn end(&self) -> Option<StreamEnd> {
        if self.mux.is_lost() {
            return Some(StreamEnd::Lost);
        }
        self.mux.conn.borrow().status(self.key)
    }

    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Got, BodyFault>> {
        if self.taken < self.inbox.len() {
            return Poll::Ready(Ok(Got::Data));
        }
        if self.received {
            return Poll::Ready(Ok(Got::End));
        }
        self.inbox.clear();
        self.taken = 0;
        let inbox = self.mux.conn.borrow_mut().take(self.key, &mut self.inbox);
        if !self.inbox.is_empty() {
            let counted = self.decoder.decode(&self.inbox);
            let whole = counted.map(|step| step.consumed == self.inbox.len());
            match whole {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(Err(self.broken(BodyError::Overrun))),
                Err(error) => return Poll::Ready(Err(self.broken(error))),
            }
        }
        if inbox.ends {
            // The one question asked at every end of a message.
            if let Err(error) = self.decoder.end() {
                return Poll::Ready(Err(self.broken(error)));
            }
            self.received = true;
        }
        if !self.inbox.is_empty() {
            return Poll::Ready(Ok(Got::Data));
        }
        if self.received {
            return Poll::Ready(Ok(Got::End));
        }
        if inbox.reset.is_some() || self.mux.is_lost() {
            let error = io::ErrorKind::ConnectionReset.into();
            return Poll::Ready(Err(BodyFault::Io(error)));
        }
        self.mux.wait(self.key, cx);
        Poll::Pending
    }

    /// The peer's message is malformed: RFC 9113 §8.1.1 makes that the end of the stream.
    fn broken(&mut self, error: BodyError) -> BodyFault {
        if error != BodyError::TooLarge {
            self.mux.conn.borrow_mut().reset(self.key, ErrorCode::PROTOCOL_ERROR);
            self.mux.touch();
        }
        BodyFault::Broken(error)
    }

    pub(crate) fn data(&self) -> &[u8] {
        self.inbox.get(self.taken..).unwrap_or_default()
    }

    /// Forgets bytes that went on to the other side, for which the peer may send others.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.inbox.len() - self.taken);
        self.taken += n;
        let mut conn = self.mux.conn.borrow_mut();
        conn.release(self.key, n);
        if !conn.output().is_empty() {
            drop(conn);
            self.mux.touch();
        }
    }

    pub(crate) fn trailers(&self) -> Vec<u8> {
        if !self.received {
            return Vec::new();
        }
        self.mux.conn.borrow().trailers(self.key).to_vec()
    }

    pub(crate) fn seen(&self) -> u64 {
        self.decoder.seen()
    }

    pub(crate) fn is_received(&self) -> bool {
        self.received && self.taken == self.inbox.len()
    }

    /// Writes a head that a body in `framing` follows, or a tunnel.
    pub(crate) fn head(
        &mut self,
        framing: Framing,
        tunnel: bool,
        write: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let ends = !tunnel && matches!(framing, Framing::None | Framing::Exact(0));
        self.encoder = BodyEncoder::new(framing);
        // What a tunnel carries starts only when both sides agreed to it.
        self.finished = ends || tunnel;
        self.write_head(ends, write)
    }

    /// Writes an interim head.
    pub(crate) fn interim(
        &mut self,
        write: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.write_head(false, write)
    }

    fn write_head(
        &mut self,
        ends: bool,
        write: impl FnOnce(&mut HeadWriter<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        let mut fault = None;
        // A stream that is over takes nothing, and whoever sends its body is told so.
        let _ = self.mux.conn.borrow_mut().head(self.key, ends, |out| {
            let written = write(out);
            fault = written.err();
            written
        });
        self.mux.touch();
        fault.map_or(Ok(()), Err)
    }

    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFault>> {
        if self.queued.is_empty() {
            match self.mux.conn.borrow_mut().can_send(self.key) {
                Ok(true) => {
                    self.blocked = false;
                    return Poll::Ready(Ok(()));
                }
                Ok(false) => {}
                Err(_) => return Poll::Ready(Err(SendFault::Io(gone()))),
            }
        }
        if self.mux.is_lost() {
            return Poll::Ready(Err(SendFault::Io(gone())));
        }
        self.blocked = true;
        self.mux.wait(self.key, cx);
        Poll::Pending
    }

    /// Lets other streams send while nothing is at hand for this one.
    pub(crate) fn give_way(&mut self) {
        if self.mux.conn.borrow_mut().give_way(self.key) {
            self.mux.touch();
        }
    }

    /// Keeps bytes of our own until the peer takes them.
    pub(crate) fn queue(&mut self, data: &[u8]) -> Result<(), BodyError> {
        self.encoder.account(data.len())?;
        let mut sent = 0;
        if self.queued.is_empty()
            && let Ok(n) = self.mux.conn.borrow_mut().data(self.key, data)
        {
            sent = n;
        }
        self.queued.extend_from_slice(data.get(sent..).unwrap_or_default());
        self.mux.touch();
        Ok(())
    }

    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, SendFault>> {
        if let Poll::Ready(Err(error)) = self.poll_queued(cx) {
            return Poll::Ready(Err(SendFault::Io(error)));
        }
        if self.mux.is_lost() {
            return Poll::Ready(Err(SendFault::Io(gone())));
        }
        if self.queued.is_empty() {
            let sent = self.mux.conn.borrow_mut().data(self.key, data);
            match sent {
                Ok(0) => {}
                Ok(n) => {
                    self.blocked = false;
                    self.mux.touch();
                    let counted = self.encoder.account(n).map_err(SendFault::Length);
                    return Poll::Ready(counted.map(|()| n));
                }
                Err(_) => return Poll::Ready(Err(SendFault::Io(gone()))),
            }
        }
        self.blocked = true;
        self.mux.wait(self.key, cx);
        Poll::Pending
    }

    /// Sends queued bytes as far as the peer takes them.
    fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queued.is_empty() {
            let sent = self.mux.conn.borrow_mut().data(self.key, &self.queued);
            match sent {
                Ok(0) => {
                    self.mux.wait(self.key, cx);
                    return Poll::Pending;
                }
                Ok(n) => {
                    self.queued.drain(..n);
                    self.mux.touch();
                    if self.queued.is_empty() && self.finished {
                        let _ = self.mux.conn.borrow_mut().finish(self.key, b"");
                    }
                }
                Err(_) => {
                    self.queued.clear();
                    return Poll::Ready(Err(gone()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the sent direction, behind what is queued.
    pub(crate) fn finish(&mut self, trailers: &[u8]) -> Result<(), BodyError> {
        if self.finished {
            return Ok(());
        }
        self.encoder.end()?;
        self.finished = true;
        if self.queued.is_empty() {
            // A stream that is over has ended, too.
            let _ = self.mux.conn.borrow_mut().finish(self.key, trailers);
            self.mux.touch();
        }
        Ok(())
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end().is_some() {
            return Poll::Ready(Err(gone()));
        }
        self.mux.wait(self.key, cx);
        self.poll_queued(cx)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn waiting(&self) -> usize {
        self.queued.len() + usize::from(self.blocked)
    }

    pub(crate) fn tunnel(&mut self) {
        self.begin_receiving(Framing::Eof, u64::MAX);
        self.encoder = BodyEncoder::new(Framing::Eof);
        self.finished = false;
    }

    /// Whether the stream has been cut off.
    pub(crate) fn is_over(&self) -> bool {
        self.end().is_some()
    }

    /// Whether the peer has given the stream up.
    pub(crate) fn is_gone(&self, cx: &Context<'_>) -> bool {
        self.mux.wait(self.key, cx);
        self.end().is_some()
    }

    /// Ends the stream so that the peer does not take what it has for the whole.
    pub(crate) fn abort(&mut self) {
        self.mux.conn.borrow_mut().reset(self.key, ErrorCode::INTERNAL_ERROR);
        self.mux.touch();
    }

    /// Waits for the head of a reply.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        head: &mut ResponseHead,
        method: Method,
    ) -> Poll<Result<ResponseMeaning, HeadLost>> {
        if let Some((section, ends)) = self.mux.take_head(self.key) {
            let section = self.section.insert(Box::new(section));
            let meaning = message::response(section, head, ends, method);
            return Poll::Ready(meaning.map_err(|fault| {
                self.mux.conn.borrow_mut().reset(self.key, ErrorCode::PROTOCOL_ERROR);
                self.mux.touch();
                HeadLost::Malformed(fault)
            }));
        }
        match self.end() {
            None => {
                self.mux.wait(self.key, cx);
                Poll::Pending
            }
            Some(StreamEnd::Refused | StreamEnd::Unprocessed) => {
                Poll::Ready(Err(HeadLost::Refused))
            }
            Some(_) => Poll::Ready(Err(HeadLost::Ended)),
        }
    }

    /// The bytes of the head that came last.
    pub(crate) fn head_bytes(&self) -> &[u8] {
        self.section.as_ref().map_or(&[], |section| &section.bytes)
    }

    /// Gives that head's memory back.
    pub(crate) fn consume_head(&mut self) {
        self.section = None;
    }
}

impl Drop for H2Link {
    fn drop(&mut self) {
        self.mux.leave(self.key);
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
