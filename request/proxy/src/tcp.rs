//! A TCP socket that joins its worker's reactor when something has to be waited for.
//!
//! A request is often there when its connection is accepted, and the reply leaves at once: such a
//! connection ends without the reactor having heard of it. Everything that reads or writes tries
//! first and joins where the kernel says "not yet".
//!
//! System calls are made directly: in a process with threads those of libc are cancellation
//! points, which costs more than the rest of them.

use crate::buffers::Lent;
use process_runtime::sockets;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A connected socket, which does not block.
pub(crate) struct Tcp {
    socket: Socket,
    /// What is being written is the last before the end.
    last: bool,
}

enum Socket {
    /// Not waited for so far.
    Apart(std::net::TcpStream),
    /// Known to the reactor.
    Joined(TcpStream),
    /// Closed, since the reactor could not take it.
    Lost,
}

impl From<TcpStream> for Tcp {
    fn from(tcp: TcpStream) -> Self {
        Self { socket: Socket::Joined(tcp), last: false }
    }
}

impl From<std::net::TcpStream> for Tcp {
    /// `tcp` must not block.
    fn from(tcp: std::net::TcpStream) -> Self {
        Self { socket: Socket::Apart(tcp), last: false }
    }
}

impl Tcp {
    /// Whether nobody has waited for it.
    #[inline]
    pub(crate) fn is_apart(&self) -> bool {
        matches!(self.socket, Socket::Apart(_))
    }

    /// The socket as the reactor knows it.
    ///
    /// # Errors
    /// The reactor cannot take one more (epoll_ctl(2)); the socket is closed then.
    #[inline]
    pub(crate) fn joined(&mut self) -> io::Result<&TcpStream> {
        if self.is_apart() {
            self.join()?;
        }
        match &self.socket {
            Socket::Joined(tcp) => Ok(tcp),
            Socket::Apart(_) | Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn join(&mut self) -> io::Result<()> {
        if let Socket::Apart(tcp) = std::mem::replace(&mut self.socket, Socket::Lost) {
            self.socket = Socket::Joined(TcpStream::from_std(tcp)?);
        }
        Ok(())
    }

    /// The descriptor.
    ///
    /// # Errors
    /// There is none any more.
    fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        match &self.socket {
            Socket::Apart(tcp) => Ok(tcp.as_fd()),
            Socket::Joined(tcp) => Ok(tcp.as_fd()),
            Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The address at our end.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Socket::Apart(tcp) => tcp.local_addr(),
            Socket::Joined(tcp) => tcp.local_addr(),
            Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Takes it out of the reactor.
    pub(crate) fn into_std(self) -> io::Result<std::net::TcpStream> {
        match self.socket {
            Socket::Apart(tcp) => Ok(tcp),
            Socket::Joined(tcp) => tcp.into_std(),
            Socket::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Ready once reading may give something: bytes, an end or an error.
    #[inline]
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.joined()?.poll_read_ready(cx)
    }

    /// Reads into the room of `into`. What was read in part was all there is, and the socket is
    /// not asked again before the reactor sees more.
    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Lent,
    ) -> Poll<io::Result<usize>> {
        if let Socket::Apart(tcp) = &self.socket {
            match rustix::net::recv(tcp, into.space(), RecvFlags::empty()) {
                Ok((n, _)) => {
                    into.fill(n);
                    return Poll::Ready(Ok(n));
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let tcp = self.joined()?;
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

    /// From here on what is written may wait in the socket for the end, so that both leave in one
    /// segment. The caller sees to [`Self::end`] or [`Self::shutdown`] without waiting in between.
    #[inline]
    pub(crate) fn expect_end(&mut self) {
        self.last = true;
    }

    /// Sends what waits for the end. Closing alone would throw it away, were there unread bytes.
    pub(crate) fn end(&self) {
        if self.last {
            // Whether the peer still hears it decides nothing.
            let _ = self.shutdown();
        }
    }

    /// Makes the close of it a reset, which nobody takes for the end of a message.
    pub(crate) fn reset_on_close(&mut self) {
        self.last = false;
        // A socket that is closed already cannot be told.
        let _ = self.fd().and_then(|fd| sockets::reset_on_close(&fd));
    }

    /// Writes some of `slices`; gives the number of bytes taken.
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let last = self.last;
        if let Socket::Apart(tcp) = &self.socket {
            match send(tcp.as_fd(), slices, last) {
                Ok(n) => return Poll::Ready(Ok(n)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        let whole: usize = slices.iter().map(|slice| slice.len()).sum();
        let tcp = self.joined()?;
        loop {
            // Tried before it is waited for: a socket takes nearly everything at once, and asking
            // the reactor costs more than what it knows. Whoever writes much also reads, which
            // sees to it that others have their turn.
            let mut partial = None;
            let written = tcp.try_io(Interest::WRITABLE, || {
                let n = send(tcp.as_fd(), slices, last)?;
                if n > 0 && n < whole {
                    partial = Some(n);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(n)
            });
            match (written, partial) {
                (Ok(n), _) | (Err(_), Some(n)) => return Poll::Ready(Ok(n)),
                (Err(error), None) if is_passing(&error) => ready!(tcp.poll_write_ready(cx))?,
                (Err(error), None) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Ends our direction: everything written leaves, and a FIN behind it.
    ///
    /// # Errors
    /// The peer has reset the connection.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.fd()?, Shutdown::Write)?)
    }
}

#[inline]
fn send(tcp: BorrowedFd<'_>, slices: &[IoSlice<'_>], last: bool) -> Result<usize, Errno> {
    let more = if last { SendFlags::MORE } else { SendFlags::empty() };
    match slices {
        [one] => rustix::net::send(tcp, one, SendFlags::NOSIGNAL | more),
        several if last => {
            let mut nothing = SendAncillaryBuffer::default();
            rustix::net::sendmsg(tcp, several, &mut nothing, SendFlags::NOSIGNAL | more)
        }
        several => rustix::io::writev(tcp, several),
    }
}

/// Whether trying again is all there is to do.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::task::Waker;

    /// Both ends of a connection, ours first.
    fn pair() -> (Tcp, std::net::TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Tcp::from(ours), client)
    }

    fn write(tcp: &mut Tcp, bytes: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        let written = tcp.poll_write(&mut cx, &[IoSlice::new(bytes)]);
        assert!(matches!(written, Poll::Ready(Ok(n)) if n == bytes.len()), "{written:?}");
    }

    #[test]
    fn the_last_bytes_leave_though_others_were_never_read() {
        let (mut tcp, mut client) = pair();
        client.write_all(b"never read").unwrap();
        tcp.expect_end();
        write(&mut tcp, b"the last");
        tcp.end();
        drop(tcp);
        let mut got = [0; 8];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"the last");
    }

    #[test]
    fn a_reset_is_no_end() {
        let (mut tcp, mut client) = pair();
        tcp.expect_end();
        write(&mut tcp, b"half");
        tcp.reset_on_close();
        tcp.end();
        drop(tcp);
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn it_joins_the_reactor_to_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (mut tcp, mut client) = pair();
            let mut into = Lent::take();
            let mut waited = false;
            let n = std::future::poll_fn(|cx| {
                let read = tcp.poll_read(cx, &mut into);
                if read.is_pending() && !std::mem::replace(&mut waited, true) {
                    client.write_all(b"late").unwrap();
                }
                read
            });
            assert_eq!(n.await.unwrap(), 4);
            assert!(waited && !tcp.is_apart());
            assert_eq!(into.filled(), b"late");
        });
    }
}
