//! One end of the socket pair: JSON messages, one per packet, some with descriptors.

use super::{Message, SOCKETS_PER_MESSAGE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes of one message: 250 sockets with names and addresses take a third of it, and a packet of
/// this size fits the kernel's default send buffer (net.core.wmem_default, 208 KiB).
const MESSAGE_BYTES_MAX: usize = 128 * 1024;

/// Room for the descriptors of one message.
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(SOCKETS_PER_MESSAGE));

/// Why a message was not sent or did not come.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other end is closed: its process has ended, most often.
    #[error("the other process closed the connection")]
    Closed,
    /// Nothing came in time.
    #[error("the other process said nothing in time")]
    Late,
    /// What came is no message.
    #[error("the other process sent what is no message: {0}")]
    Malformed(String),
    /// The kernel refused.
    #[error("the connection to the other process failed")]
    Io(#[from] io::Error),
}

impl From<Errno> for ChannelError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            other => Self::Io(other.into()),
        }
    }
}

/// An end that is waited on by blocking the thread.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Both ends; packets, so that a message is whole or not there.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self { socket: one }, Self { socket: other }))
    }

    /// The end at a descriptor, where that is a socket of the kind.
    pub(super) fn at(descriptor: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        use rustix::net::sockopt;
        let kind = sockopt::socket_type(descriptor);
        let domain = sockopt::socket_domain(descriptor);
        if kind != Ok(SocketType::SEQPACKET) || domain != Ok(AddressFamily::UNIX) {
            return Ok(None);
        }
        let socket = descriptor.try_clone_to_owned()?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Some(Self { socket }))
    }

    /// A second handle on the same end.
    pub(super) fn again(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()? })
    }

    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// For waiting in a runtime, which must be the current one.
    pub(super) fn into_async(self) -> io::Result<AsyncChannel> {
        let socket = std::os::unix::net::UnixStream::from(self.socket);
        Ok(AsyncChannel { socket: UnixStream::from_std(socket)? })
    }

    /// Sends, within the time.
    pub(super) fn send(&self, message: &Message, within: Duration) -> Result<(), ChannelError> {
        let end = Instant::now() + within;
        loop {
            match send(self.socket.as_fd(), message, &[]) {
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, end)?,
                outcome => return outcome.map_err(ChannelError::from),
            }
        }
    }

    /// The next message with its descriptors.
    pub(super) fn receive(
        &self,
        within: Duration,
    ) -> Result<(Message, Vec<OwnedFd>), ChannelError> {
        let end = Instant::now() + within;
        loop {
            match receive(self.socket.as_fd()) {
                Ok(None) => self.wait(PollFlags::IN, end)?,
                Ok(Some(received)) => return Ok(received),
                Err(error) => return Err(error),
            }
        }
    }

    fn wait(&self, flags: PollFlags, end: Instant) -> Result<(), ChannelError> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ChannelError::Late);
        }
        let left = Timespec::try_from(left).map_err(|_| ChannelError::Late)?;
        match poll(&mut [PollFd::new(&self.socket, flags)], Some(&left)) {
            Ok(0) => Err(ChannelError::Late),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// An end that is waited on in a runtime. Its futures may be dropped; nothing is lost by it.
#[derive(Debug)]
pub(super) struct AsyncChannel {
    /// Waited on as a stream and never read as one: tokio has no type for sockets of packets.
    socket: UnixStream,
}

impl AsyncChannel {
    pub(super) async fn send(
        &self,
        message: &Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), ChannelError> {
        let attempt = || match send(self.socket.as_fd(), message, descriptors) {
            Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            outcome => Ok(outcome),
        };
        let outcome = self.socket.async_io(Interest::WRITABLE, attempt).await?;
        outcome.map_err(ChannelError::from)
    }

    pub(super) async fn receive(&self) -> Result<Message, ChannelError> {
        let attempt = || match receive(self.socket.as_fd()).transpose() {
            None => Err(io::ErrorKind::WouldBlock.into()),
            Some(outcome) => Ok(outcome),
        };
        let (message, _) = self.socket.async_io(Interest::READABLE, attempt).await??;
        Ok(message)
    }
}

fn send(
    socket: BorrowedFd<'_>,
    message: &Message,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    // These types cannot fail to become JSON; a broken one would be refused by the other end.
    let text = serde_json::to_vec(message).unwrap_or_default();
    let mut room = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    loop {
        match sendmsg(socket, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            outcome => return outcome.map(|_| ()),
        }
    }
}

/// `None` where nothing is there yet.
fn receive(socket: BorrowedFd<'_>) -> Result<Option<(Message, Vec<OwnedFd>)>, ChannelError> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut room = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Ok(received) => break received,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Err(ChannelError::Closed);
    }
    let cut = received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC);
    let text = bytes.get(..received.bytes).filter(|_| !cut);
    let Some(text) = text else {
        return Err(ChannelError::Malformed("it was longer than a message can be".into()));
    };
    match serde_json::from_slice(text) {
        Ok(message) => Ok(Some((message, descriptors))),
        Err(error) => Err(ChannelError::Malformed(error.to_string())),
    }
}
