//! The two halves of an HTTP/1 connection, the same for both sides of the proxy: a receiver that
//! takes body bytes out of a stream by their framing, and a sender that frames and writes them.

use crate::buffers::{BUFFER_BYTES, Lent, Out};
use crate::splice::Pipe;
use crate::stream::Stream;
use core_wire::h1::Framing;
use core_wire::h1::body::{BodyDecoder, BodyEncoder, BodyError, BodyLimits};
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

/// Pieces up to this size are copied behind what waits to be written; copying costs less than a
/// further system call or a longer vector.
const COPY_MAX: usize = 4 * 1024;
/// Copied bytes that wait at most before they are written.
const WAITING_MAX: usize = 16 * 1024;

/// What is wrong with a body that is being received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    /// The connection failed.
    #[error("the connection failed in the middle of the body: {0}")]
    Io(#[source] io::Error),
    /// The bytes break the framing, or the end came where the framing allows none.
    #[error("{0}")]
    Broken(#[source] BodyError),
}

/// What a receiver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Body bytes: [`Receiver::data`].
    Data,
    /// The end of the body, as its framing has it.
    End,
}

/// Takes the body of one message out of a stream.
pub(crate) struct Receiver {
    /// Received bytes; none while nothing is received.
    pub(crate) buffer: Option<Lent>,
    decoder: BodyDecoder,
    data: usize,
    skip: usize,
}

impl Receiver {
    pub(crate) fn new() -> Self {
        Self {
            buffer: None,
            decoder: BodyDecoder::new(Framing::None, BodyLimits::default()),
            data: 0,
            skip: 0,
        }
    }

    /// Starts the body of a message; its first bytes may be in `buffer` already.
    pub(crate) fn begin(&mut self, framing: Framing, body_bytes: u64) {
        let limits = BodyLimits { body_bytes, ..BodyLimits::default() };
        self.decoder = BodyDecoder::new(framing, limits);
        self.data = 0;
        self.skip = 0;
    }

    /// Whether the end of the body was seen.
    pub(crate) fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// Bytes of the body so far.
    pub(crate) fn seen(&self) -> u64 {
        self.decoder.seen()
    }

    /// Bytes of the body that are still to come, those that wait included, where its framing
    /// tells.
    pub(crate) fn left(&self) -> Option<u64> {
        self.decoder.left()
    }

    /// Counts `n` bytes of the body that were taken from the stream elsewhere.
    pub(crate) fn pass(&mut self, n: usize) -> Result<(), BodyFault> {
        self.decoder.pass(n).map_err(BodyFault::Broken)
    }

    /// Notes the end of the stream.
    pub(crate) fn end(&mut self) -> Result<(), BodyFault> {
        self.decoder.end().map_err(BodyFault::Broken)
    }

    /// Whether bytes wait behind the message.
    pub(crate) fn has_surplus(&self) -> bool {
        self.buffer.as_ref().is_some_and(|buffer| !buffer.is_empty())
    }

    /// Trailer lines, ready to be forwarded; empty before the end.
    pub(crate) fn trailers(&self) -> &[u8] {
        self.decoder.trailers()
    }

    /// Body bytes that wait to be taken.
    pub(crate) fn data(&self) -> &[u8] {
        let filled = self.buffer.as_ref().map_or(&[][..], Lent::filled);
        filled.get(..self.data).unwrap_or_default()
    }

    /// Forgets the first `n` bytes of [`Self::data`].
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.data);
        self.data -= n;
        let skip = if self.data == 0 { std::mem::take(&mut self.skip) } else { 0 };
        if let Some(buffer) = &mut self.buffer {
            buffer.consume(n + skip);
        }
    }

    /// Body bytes or the end that are at hand without reading; `None` where reading is needed.
    fn decode(&mut self) -> Result<Option<Got>, BodyError> {
        loop {
            if self.data > 0 {
                return Ok(Some(Got::Data));
            }
            if self.decoder.is_done() {
                return Ok(Some(Got::End));
            }
            let Some(buffer) = self.buffer.as_mut().filter(|buffer| !buffer.is_empty()) else {
                return Ok(None);
            };
            let step = self.decoder.decode(buffer.filled())?;
            if step.data.is_empty() {
                buffer.consume(step.consumed);
                if step.consumed == 0 && !step.done {
                    return Ok(None);
                }
            } else {
                self.data = step.data.len();
                self.skip = step.consumed - step.data.end;
                buffer.consume(step.data.start);
            }
        }
    }

    /// Waits for body bytes or the end.
    pub(crate) fn poll(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Got, BodyFault>> {
        loop {
            if let Some(got) = self.decode().map_err(BodyFault::Broken)? {
                return Poll::Ready(Ok(got));
            }
            if self.buffer.as_ref().is_none_or(Lent::is_empty) {
                // Nothing is held while nothing comes.
                self.buffer = None;
                ready!(stream.poll_readable(cx)).map_err(BodyFault::Io)?;
            }
            let long = self.decoder.left().is_none_or(|left| left > BUFFER_BYTES as u64);
            let lend = if long && self.seen() > 0 { Lent::take_large } else { Lent::take };
            let buffer = self.buffer.get_or_insert_with(lend);
            match stream.poll_read(cx, buffer) {
                Poll::Pending => {
                    if buffer.is_empty() {
                        self.buffer = None;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => self.decoder.end().map_err(BodyFault::Broken)?,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(BodyFault::Io(error))),
            }
        }
    }
}

/// Frames and writes one message after the other.
pub(crate) struct Sender {
    out: Out,
    sent: usize,
    encoder: BodyEncoder,
    /// Bytes that the open chunk still wants.
    chunk_left: usize,
    /// The last chunk wants its CRLF.
    chunk_ends: bool,
    finished: bool,
    /// The connection ends with the message.
    last: bool,
    /// Bytes of the body that are on their way through the kernel.
    pub(crate) pipe: Option<Box<Pipe>>,
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self {
            out: Out::default(),
            sent: 0,
            encoder: BodyEncoder::new(Framing::None),
            chunk_left: 0,
            chunk_ends: false,
            finished: true,
            last: false,
            pipe: None,
        }
    }

    /// Starts a message: its head is to be written behind what is returned.
    pub(crate) fn begin(&mut self, framing: Framing) -> &mut Vec<u8> {
        self.encoder = BodyEncoder::new(framing);
        self.chunk_left = 0;
        self.chunk_ends = false;
        self.finished = false;
        self.last = false;
        self.pipe = None;
        self.out.get()
    }

    /// The connection ends with the message that was begun, as soon as it was written.
    pub(crate) fn end_connection(&mut self) {
        self.last = true;
    }

    /// From here on bytes pass unframed until the connection ends; what waits is sent first.
    pub(crate) fn tunnel(&mut self) {
        self.begin(Framing::Eof);
    }

    /// Room for an interim reply in front of the message.
    pub(crate) fn interim(&mut self) -> &mut Vec<u8> {
        self.out.get()
    }

    /// Whether the message was finished and every byte of it written.
    pub(crate) fn is_done(&self) -> bool {
        self.finished && self.out.bytes().is_empty()
    }

    /// Whether the message was finished.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        let piped = self.pipe.as_ref().map_or(0, |pipe| pipe.held());
        self.out.bytes().len() - self.sent + piped
    }

    /// Whether content is written as it is, without a frame, and none is half written.
    pub(crate) fn is_transparent(&self) -> bool {
        matches!(self.encoder.framing(), Framing::Exact(_) | Framing::Eof) && self.chunk_left == 0
    }

    /// Counts `n` bytes of content that are written elsewhere.
    pub(crate) fn pass(&mut self, n: usize) -> Result<(), BodyError> {
        self.encoder.account(n)
    }

    /// Whether a piece of `len` bytes may be copied behind what waits.
    pub(crate) fn may_copy(&self, len: usize) -> bool {
        len <= COPY_MAX && self.waiting() + len <= WAITING_MAX && self.chunk_left == 0
    }

    fn open_chunk(&mut self, len: usize) {
        if self.encoder.framing() == Framing::Chunked {
            if self.chunk_ends {
                self.out.get().extend_from_slice(b"\r\n");
            }
            self.out.get().extend_from_slice(BodyEncoder::frame(len).as_slice());
            self.chunk_ends = true;
        }
    }

    /// Frames `data` and copies it behind what waits.
    pub(crate) fn copy(&mut self, data: &[u8]) -> Result<(), BodyError> {
        self.encoder.account(data.len())?;
        self.open_chunk(data.len());
        self.out.get().extend_from_slice(data);
        Ok(())
    }

    /// Writes what waits and some of `data`; gives the number of bytes of `data` taken.
    pub(crate) fn poll_send(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, SendFault>> {
        if self.chunk_left == 0 {
            self.encoder.account(data.len()).map_err(SendFault::Length)?;
            self.open_chunk(data.len());
            self.chunk_left = data.len();
        }
        let data = data.get(..self.chunk_left.min(data.len())).unwrap_or_default();
        loop {
            let waiting = self.out.bytes().get(self.sent..).unwrap_or_default();
            let written = if waiting.is_empty() {
                stream.poll_write(cx, &[IoSlice::new(data)])
            } else {
                stream.poll_write(cx, &[IoSlice::new(waiting), IoSlice::new(data)])
            };
            let written = ready!(written).map_err(SendFault::Io)?;
            if written == 0 {
                return Poll::Ready(Err(SendFault::Io(io::ErrorKind::WriteZero.into())));
            }
            let head = written.min(self.out.bytes().len() - self.sent);
            self.advance(head);
            let taken = written - head;
            if taken > 0 {
                self.chunk_left -= taken;
                return Poll::Ready(Ok(taken));
            }
        }
    }

    fn advance(&mut self, n: usize) {
        self.sent += n;
        if self.sent == self.out.bytes().len() {
            self.sent = 0;
            self.out.get().clear();
        }
    }

    /// Ends the message; `trailers` are whole lines.
    pub(crate) fn finish(&mut self, trailers: &[u8]) -> Result<(), BodyError> {
        self.encoder.end()?;
        if self.encoder.framing() == Framing::Chunked && !self.finished {
            if self.chunk_ends {
                self.out.get().extend_from_slice(b"\r\n");
            }
            self.out.get().extend_from_slice(b"0\r\n");
            self.out.get().extend_from_slice(trailers);
            self.out.get().extend_from_slice(b"\r\n");
        }
        self.finished = true;
        Ok(())
    }

    /// Writes everything that waits.
    pub(crate) fn poll_flush(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.last && self.finished {
            stream.tcp_mut().expect_end();
        }
        while self.sent < self.out.bytes().len() {
            let waiting = self.out.bytes().get(self.sent..).unwrap_or_default();
            let n = ready!(stream.poll_write(cx, &[IoSlice::new(waiting)]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(n);
        }
        stream.poll_flush(cx)
    }

    /// Gives the output buffer back; for connections that go idle.
    pub(crate) fn release(&mut self) {
        if self.out.bytes().is_empty() {
            self.out.release();
        }
    }
}

/// What is wrong with a message that is being sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendFault {
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
    /// More bytes than its head declared.
    #[error("{0}")]
    Length(#[source] BodyError),
}
