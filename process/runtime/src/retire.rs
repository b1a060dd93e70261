//! Giving up a listener without resetting anybody.
//!
//! Closing a listening socket, or shutting it down, resets the connections that the kernel has
//! accepted for it and the handshakes that are on their way. So a listener is first made deaf to
//! new connections by a filter that drops bare SYNs; then what is half open is let finish, what is
//! queued is taken, and the socket is closed when both are empty. A client whose SYN was dropped
//! tries again after a second and is refused then, since [`HANDSHAKE_MAX`] is shorter.
//!
//! Every socket of the address must be retired, or the kernel goes on sending connections to the
//! others of its group; one that hears still serves. A socket that another process holds too (the
//! service manager's) is not closed by our closing it: its clients wait until it is opened again.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockFilter, SockRef};
use tokio::time::Instant;

use crate::half_open;

/// The time a handshake gets to finish: longer than the way around the earth and back, shorter
/// than the second after which a client repeats a SYN (RFC 6298 §2.1).
pub const HANDSHAKE_MAX: Duration = Duration::from_millis(900);

/// The time to wait for free descriptors when the process has none and clients are queued; past
/// it they are reset, since keeping a listener for ever is no reload.
pub const STARVED_MAX: Duration = Duration::from_secs(30);

/// The pause between two looks at what is half open.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What the retirement of one socket came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retired {
    /// Connections taken from the queue after new ones were shut out.
    pub taken: u64,
    /// Whether the time ran out with handshakes under way or clients queued: these were reset.
    pub left_some: bool,
}

/// Retires one socket: shuts out new connections, gives every queued one to `keep` (nonblocking),
/// and closes it. Takes a few milliseconds when no handshake is under way, at most
/// [`HANDSHAKE_MAX`] otherwise, and up to [`STARVED_MAX`] without free descriptors.
///
/// To be called in the worker that owns the socket, in place of its accept loop; the filter is in
/// force from the first poll on, so retire all sockets of an address at the same time.
pub async fn retire(listener: TcpListener, mut keep: impl FnMut(TcpStream, SocketAddr)) -> Retired {
    let mut retired = Retired::default();
    let deaf = refuse_new(&listener).is_ok();
    let start = Instant::now();
    let port = listener.local_addr().ok();
    loop {
        // Asked before the queue is emptied: what was half open by then is in the queue or gone.
        let under_way = deaf && !matches!(port.map(half_open::any), Some(Ok(false)));
        let starved = drain(&listener, &mut keep, &mut retired.taken).is_err();
        let waited = start.elapsed();
        if !under_way && !starved {
            return retired;
        }
        if waited >= STARVED_MAX || (waited >= HANDSHAKE_MAX && !starved) {
            retired.left_some = true;
            return retired;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes every queued connection.
///
/// # Errors
/// Descriptors or memory ran out: the queue is not empty, and may be tried again.
fn drain(
    listener: &TcpListener,
    keep: &mut impl FnMut(TcpStream, SocketAddr),
    taken: &mut u64,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((connection, peer)) => {
                *taken += 1;
                // A connection inherits the filter of its listener.
                let _ = admit_new(&connection);
                if connection.set_nonblocking(true).is_ok() {
                    keep(connection, peer);
                }
            }
            Err(e) => match Errno::from_io_error(&e) {
                Some(Errno::AGAIN) => return Ok(()),
                // Of the one connection that was up (accept(2)); the next may be well.
                Some(
                    Errno::CONNABORTED
                    | Errno::INTR
                    | Errno::PERM
                    | Errno::PROTO
                    | Errno::NETDOWN
                    | Errno::NETUNREACH
                    | Errno::HOSTDOWN
                    | Errno::HOSTUNREACH,
                ) => {}
                _ => return Err(e),
            },
        }
    }
}

/// Makes a listening socket drop every SYN that opens a connection, and nothing else: handshakes
/// under way finish, and the queue stays. All duplicates of the socket are affected.
///
/// # Errors
/// The kernel has no memory for the filter, or forbids filters.
pub fn refuse_new(listener: &impl AsFd) -> io::Result<()> {
    const LOAD_BYTE_ABSOLUTE: u16 = 0x30;
    const AND_CONSTANT: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN_CONSTANT: u16 = 0x06;
    /// The flags of the TCP header (RFC 9293 §3.1), where the filter's packet begins.
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_OR_ACK: u32 = 0x12;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(LOAD_BYTE_ABSOLUTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND_CONSTANT, 0, 0, SYN_OR_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN_CONSTANT, 0, 0, 0),
        SockFilter::new(RETURN_CONSTANT, 0, 0, u32::MAX),
    ])
}

/// Undoes [`refuse_new`]; a socket without a filter stays as it is.
///
/// # Errors
/// The filter is locked by whoever handed the socket in.
pub fn admit_new(socket: &impl AsFd) -> io::Result<()> {
    match SockRef::from(socket).detach_filter() {
        Err(e) if e.raw_os_error() != Some(Errno::NOENT.raw_os_error()) => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
