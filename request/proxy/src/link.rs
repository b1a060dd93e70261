//! One message each way over a connection or a stream of one: what the stages and the pump see of
//! either side of the proxy, whatever its protocol.

use crate::buffers::Lent;
use crate::codec::h1_body::{BodyFault, Got, Receiver, SendFault, Sender};
use crate::codec::h2_stream::H2Link;
use crate::stream::Stream;
use core_wire::h1::body::BodyError;
use std::borrow::Cow;
use std::io;
use std::task::{Context, Poll};

/// A whole HTTP/1 connection.
pub(crate) struct H1Link {
    pub(crate) stream: Stream,
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
}

impl H1Link {
    /// A connection on which nothing has happened.
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, receiver: Receiver::new(), sender: Sender::new() }
    }

    /// Whether the connection has failed while nothing is to come on it. Bytes of a next request
    /// are kept; an end of the stream, which sets `ended`, is no failure, as the peer may still
    /// read.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, ended: &mut bool) -> bool {
        if !self.receiver.is_done() {
            return false;
        }
        loop {
            let Poll::Ready(ready) = self.stream.poll_readable(cx) else { return false };
            if ready.is_err() {
                return true;
            }
            let buffer = self.receiver.buffer.get_or_insert_with(Lent::take);
            if buffer.space().is_empty() {
                // The rest waits in the socket, as does the news of a failure.
                *ended = true;
                return false;
            }
            match self.stream.poll_read(cx, buffer) {
                Poll::Ready(Ok(0)) => *ended = true,
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(error)) => {
                    // TLS that ends without close_notify is an end like another here.
                    *ended = true;
                    return error.kind() != io::ErrorKind::UnexpectedEof;
                }
                Poll::Pending => {}
            }
            if self.receiver.buffer.as_ref().is_some_and(Lent::is_empty) {
                self.receiver.buffer = None;
            }
            return false;
        }
    }
}

/// The protocol of one side with what it keeps, lent for one exchange.
pub(crate) enum Link<'a> {
    H1(&'a mut H1Link),
    H2(&'a mut H2Link),
}

impl Link<'_> {
    /// Waits for body bytes or the end of what is received.
    #[inline]
    pub(crate) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Got, BodyFault>> {
        match self {
            Link::H1(h1) => h1.receiver.poll(&mut h1.stream, cx),
            Link::H2(h2) => h2.poll_body(cx),
        }
    }

    /// Received body bytes that wait to be taken.
    #[inline]
    pub(crate) fn data(&self) -> &[u8] {
        match self {
            Link::H1(h1) => h1.receiver.data(),
            Link::H2(h2) => h2.data(),
        }
    }

    /// Forgets the first `n` bytes of [`Self::data`].
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        match self {
            Link::H1(h1) => h1.receiver.consume(n),
            Link::H2(h2) => h2.consume(n),
        }
    }

    /// Trailer lines of what was received; empty before its end.
    pub(crate) fn trailers(&self) -> Cow<'_, [u8]> {
        match self {
            Link::H1(h1) => Cow::Borrowed(h1.receiver.trailers()),
            Link::H2(h2) => Cow::Owned(h2.trailers()),
        }
    }

    /// Bytes of the received body so far.
    pub(crate) fn seen(&self) -> u64 {
        match self {
            Link::H1(h1) => h1.receiver.seen(),
            Link::H2(h2) => h2.seen(),
        }
    }

    /// Whether the end of the received body was seen.
    pub(crate) fn is_received(&self) -> bool {
        match self {
            Link::H1(h1) => h1.receiver.is_done(),
            Link::H2(h2) => h2.is_received(),
        }
    }

    /// Ready where bytes may be sent without being held here for longer than a turn. A pump that
    /// has none waits for this before it reads any, so that a blocked peer costs no buffer.
    #[inline]
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendFault>> {
        match self {
            // The socket tells only by being written to.
            Link::H1(_) => Poll::Ready(Ok(())),
            Link::H2(h2) => h2.poll_room(cx),
        }
    }

    /// Lets others send who share the connection, while there is nothing to send here.
    #[inline]
    pub(crate) fn give_way(&mut self) {
        match self {
            Link::H1(_) => {}
            Link::H2(h2) => h2.give_way(),
        }
    }

    /// Whether a piece of `len` bytes may be copied behind what waits to be sent.
    #[inline]
    pub(crate) fn may_copy(&self, len: usize) -> bool {
        match self {
            Link::H1(h1) => h1.sender.may_copy(len),
            Link::H2(_) => false,
        }
    }

    /// Frames `data` and copies it behind what waits.
    #[inline]
    pub(crate) fn copy(&mut self, data: &[u8]) -> Result<(), BodyError> {
        match self {
            Link::H1(h1) => h1.sender.copy(data),
            Link::H2(h2) => h2.queue(data),
        }
    }

    /// Sends what waits and some of `data`; gives the number of bytes of `data` taken.
    #[inline]
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, SendFault>> {
        match self {
            Link::H1(h1) => h1.sender.poll_send(&mut h1.stream, cx, data),
            Link::H2(h2) => h2.poll_send(cx, data),
        }
    }

    /// Ends what is sent; `trailers` are whole lines.
    #[inline]
    pub(crate) fn finish(&mut self, trailers: &[u8]) -> Result<(), BodyError> {
        match self {
            Link::H1(h1) => h1.sender.finish(trailers),
            Link::H2(h2) => h2.finish(trailers),
        }
    }

    /// Sends everything that waits here. What a multiplexed connection has taken is its own
    /// business.
    #[inline]
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Link::H1(h1) => h1.sender.poll_flush(&mut h1.stream, cx),
            Link::H2(h2) => h2.poll_flush(cx),
        }
    }

    /// Whether what is sent was ended.
    #[inline]
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Link::H1(h1) => h1.sender.is_finished(),
            Link::H2(h2) => h2.is_finished(),
        }
    }

    /// Bytes that wait here to be sent.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Link::H1(h1) => h1.sender.waiting(),
            Link::H2(h2) => h2.waiting(),
        }
    }

    /// From here on bytes pass both ways unframed until each direction ends.
    pub(crate) fn tunnel(&mut self) {
        match self {
            Link::H1(h1) => {
                h1.receiver.begin(core_wire::h1::Framing::Eof, u64::MAX);
                h1.sender.tunnel();
            }
            Link::H2(h2) => h2.tunnel(),
        }
    }

    /// Ends the sent direction of a tunnel.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) {
        match self {
            // Whether the peer still hears it decides nothing.
            Link::H1(h1) => drop(h1.stream.poll_shutdown(cx)),
            Link::H2(h2) => drop(h2.finish(b"")),
        }
    }

    /// Makes the end of the connection or stream one that nobody takes for the end of a message.
    pub(crate) fn abort(&mut self) {
        match self {
            Link::H1(h1) => h1.stream.tcp_mut().reset_on_close(),
            Link::H2(h2) => h2.abort(),
        }
    }
}
