//! A connection's bytes after any TLS: one concrete type for both sides of the proxy.

use crate::buffers::Lent;
use crate::tls::TlsStream;
use rustix::net::{RecvFlags, SendFlags};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

/// Plain TCP or TLS over it.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

impl Stream {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.tcp(),
        }
    }

    /// Whether ALPN chose HTTP/2; `None` where the connection has no TLS or nothing was chosen.
    pub(crate) fn negotiated_h2(&self) -> Option<bool> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(tls) => tls.alpn().map(|name| name == b"h2"),
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
            Stream::Plain(tcp) => poll_read_tcp(tcp, cx, into),
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
            Stream::Plain(tcp) => poll_write_tcp(tcp, cx, slices),
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
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}

/// Reads from a socket into the room of `into`.
///
/// The system call is made directly: in a process with threads that of libc is a cancellation
/// point, which costs more than the rest of it. What was read in part was all there is, and the
/// socket is not asked again before the reactor sees more.
#[inline]
pub(crate) fn poll_read_tcp(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    into: &mut Lent,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        let mut partial = None;
        let read = tcp.try_io(Interest::READABLE, || {
            let room = into.space();
            let n = rustix::net::recv(tcp, &mut *room, RecvFlags::empty())?.0;
            if n > 0 && n < room.len() {
                partial = Some(n);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(n)
        });
        match (read, partial) {
            (Ok(n), _) | (Err(_), Some(n)) => {
                into.fill(n);
                return Poll::Ready(Ok(n));
            }
            (Err(error), None) if is_passing(&error) => {}
            (Err(error), None) => return Poll::Ready(Err(error)),
        }
    }
}

/// Writes some of `slices` to a socket.
#[inline]
pub(crate) fn poll_write_tcp(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let whole: usize = slices.iter().map(|slice| slice.len()).sum();
    loop {
        ready!(tcp.poll_write_ready(cx))?;
        let mut partial = None;
        let written = tcp.try_io(Interest::WRITABLE, || {
            let n = match slices {
                [one] => rustix::net::send(tcp, one, SendFlags::NOSIGNAL)?,
                several => rustix::io::writev(tcp, several)?,
            };
            if n > 0 && n < whole {
                partial = Some(n);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(n)
        });
        match (written, partial) {
            (Ok(n), _) | (Err(_), Some(n)) => return Poll::Ready(Ok(n)),
            (Err(error), None) if is_passing(&error) => {}
            (Err(error), None) => return Poll::Ready(Err(error)),
        }
    }
}

/// Whether trying again is all there is to do.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
