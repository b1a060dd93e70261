//! A connection's bytes after any TLS: one concrete type for both sides of the proxy.

use crate::buffers::Lent;
use crate::tcp::Tcp;
use crate::tls::TlsStream;
use process_runtime::metrics::Limit;
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

/// Plain TCP or TLS over it.
pub(crate) enum Stream {
    Plain(Tcp),
    Tls(Box<TlsStream>),
}

impl Stream {
    pub(crate) fn tcp(&self) -> &Tcp {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.tcp(),
        }
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut Tcp {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.tcp_mut(),
        }
    }

    /// Whether ALPN chose HTTP/2; `None` where the connection has no TLS or nothing was chosen.
    pub(crate) fn negotiated_h2(&self) -> Option<bool> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.alpn().map(|name| name == b"h2"),
        }
    }

    /// The limit that the peer went over below HTTP, where it did.
    pub(crate) fn limit(&self) -> Option<Limit> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.limit(),
        }
    }

    /// Ready once reading may give something: bytes, an end or an error. Holds no buffer.
    #[inline]
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => tcp.poll_read_ready(cx),
            Stream::Tls(tls) => tls.poll_readable(cx),
        }
    }

    /// Reads into the room of `into`; 0 is the end of the stream. `into` must have room.
    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Lent,
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(tcp) => tcp.poll_read(cx, into),
            Stream::Tls(tls) => tls.poll_read(cx, into),
        }
    }

    /// Writes some of `slices`; gives the number of bytes taken.
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Stream::Plain(tcp) => tcp.poll_write(cx, slices),
            Stream::Tls(tls) => tls.poll_write(cx, slices),
        }
    }

    /// Sends what a TLS stream has sealed and not yet sent.
    #[inline]
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            Stream::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Ends our direction: close_notify where TLS, then FIN.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => Poll::Ready(tcp.shutdown()),
            Stream::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}
