//! The service manager's protocols: readiness and watchdog messages (sd_notify(3)) and sockets
//! handed in at start (sd_listen_fds(3)), without its library.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Sockets that a service manager may hand in; its own default limit of descriptors is 1024.
pub const ACTIVATED_MAX: u32 = 1024;

/// The first descriptor handed in (`SD_LISTEN_FDS_START`).
const FIRST_FD: u32 = 3;

/// Where the service manager wants to hear about this process; without one every message is
/// dropped.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(UnixDatagram, UnixAddr)>,
}

/// Why the service manager cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The address is neither a path nor an abstract name.
    #[error(
        "NOTIFY_SOCKET is {0:?}, which is neither an absolute path nor an abstract name (@name): \
         start weir from a unit with Type=notify, or unset the variable"
    )]
    Address(OsString),
    /// The socket cannot be made.
    #[error("no socket to the service manager (NOTIFY_SOCKET={address:?})")]
    Socket {
        /// The address as the environment has it.
        address: OsString,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
}

impl Notifier {
    /// The notifier of `NOTIFY_SOCKET`.
    ///
    /// # Errors
    /// The variable is set to what cannot be an address; serving need not stop for it.
    pub fn from_env() -> Result<Self, NotifyError> {
        Self::to(std::env::var_os("NOTIFY_SOCKET").as_deref())
    }

    /// The notifier of an address: a path, or `@name` for the abstract namespace.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn to(address: Option<&OsStr>) -> Result<Self, NotifyError> {
        let Some(address) = address.filter(|a| !a.is_empty()) else {
            return Ok(Self { to: None });
        };
        let peer = match address.as_bytes() {
            [b'@', name @ ..] => UnixAddr::from_abstract_name(name),
            [b'/', ..] => UnixAddr::from_pathname(address),
            _ => return Err(NotifyError::Address(address.to_owned())),
        };
        let made = peer.and_then(|peer| {
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read must not stop the process that tells it.
            socket.set_nonblocking(true)?;
            Ok((socket, peer))
        });
        match made {
            Ok(to) => Ok(Self { to: Some(to) }),
            Err(cause) => Err(NotifyError::Socket { address: address.to_owned(), cause }),
        }
    }

    /// Whether anybody listens.
    pub fn is_active(&self) -> bool {
        self.to.is_some()
    }

    /// Every listener is bound and serves; also ends a reload, whether it was taken or refused.
    ///
    /// # Errors
    /// The message could not be sent, here and below; serving need not stop for it.
    pub fn ready(&self, status: &str) -> io::Result<()> {
        self.send(&format!("READY=1\nSTATUS={}", one_line(status)))
    }

    /// A reload has begun. The time lets the manager match it to the signal it sent.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn reloading(&self) -> io::Result<()> {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"))
    }

    /// The drain has begun, and may take as long as `within` more.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn stopping(&self, within: Duration) -> io::Result<()> {
        self.send(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", within.as_micros()))
    }

    /// A line for `systemctl status`.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn status(&self, status: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}", one_line(status)))
    }

    /// The process is alive; due every [`watchdog_interval`]. Send it only while workers answer.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn watchdog(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    /// Another process is the service from here on (binary upgrade).
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    pub fn main_pid(&self, pid: u32) -> io::Result<()> {
        self.send(&format!("MAINPID={pid}"))
    }

    fn send(&self, message: &str) -> io::Result<()> {
        match &self.to {
            Some((socket, peer)) => socket.send_to_addr(message.as_bytes(), peer).map(|_| ()),
            None => Ok(()),
        }
    }
}

/// A line feed would start another assignment of the protocol.
fn one_line(status: &str) -> String {
    status.replace(|c: char| c.is_control(), " ")
}

/// How often [`Notifier::watchdog`] is due: half of what the unit's `WatchdogSec=` allows. `None`
/// where the manager does not watch this process.
pub fn watchdog_interval() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    let pid = variable("WATCHDOG_PID");
    watchdog_interval_of(variable("WATCHDOG_USEC").as_deref(), pid.as_deref(), std::process::id())
}

fn watchdog_interval_of(usec: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    (usec > 0).then(|| Duration::from_micros(usec / 2))
}

/// Listening sockets that the service manager opened and handed in.
#[derive(Debug, Default)]
pub struct Activated {
    sockets: VecDeque<(String, TcpListener)>,
}

/// What is wrong with the sockets handed in.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// The number is not one, or too large.
    #[error("LISTEN_FDS is {0:?}: a number up to {ACTIVATED_MAX} is expected")]
    Count(String),
    /// A descriptor is promised that is not open.
    #[error("socket {name:?} (descriptor {fd}) of the socket unit is not open")]
    Missing {
        /// Its `FileDescriptorName=`.
        name: String,
        /// Its number.
        fd: u32,
    },
    /// A descriptor is no listening TCP socket.
    #[error(
        "socket {name:?} of the socket unit is no listening TCP socket: \
         use ListenStream= with an address and port, and Accept=no"
    )]
    NotListening {
        /// Its `FileDescriptorName=`.
        name: String,
        /// What the kernel said, where it said something.
        #[source]
        cause: Option<io::Error>,
    },
}

impl Activated {
    /// Takes the sockets that `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES` announce. Must come
    /// before anything else opens a descriptor; the first call takes them, later ones find none.
    ///
    /// # Errors
    /// The announcement is broken: the unit files want mending before a start.
    pub fn from_env() -> Result<Self, ActivationError> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        let variable = |name| std::env::var(name).ok();
        let for_us = variable("LISTEN_PID").and_then(|pid| pid.parse().ok());
        let Some(count) = variable("LISTEN_FDS") else { return Ok(Self::default()) };
        if for_us != Some(std::process::id()) || TAKEN.swap(true, Ordering::SeqCst) {
            return Ok(Self::default());
        }
        let number = count.parse().ok().filter(|n: &u32| *n <= ACTIVATED_MAX);
        let Some(number) = number else { return Err(ActivationError::Count(count)) };
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut handed = Vec::new();
        for fd in FIRST_FD..FIRST_FD + number {
            let name = names.next().unwrap_or("unknown").to_owned();
            if std::fs::read_link(format!("/proc/self/fd/{fd}")).is_err() {
                return Err(ActivationError::Missing { name, fd });
            }
            handed.push((name, own(fd)));
        }
        Self::from_descriptors(handed)
    }

    /// The sockets among named descriptors, made ready for use by workers.
    ///
    /// # Errors
    /// One of them is no listening TCP socket.
    pub fn from_descriptors(
        handed: impl IntoIterator<Item = (String, OwnedFd)>,
    ) -> Result<Self, ActivationError> {
        let sockets = handed.into_iter().map(|(name, fd)| match adopt(fd) {
            Ok(Some(listener)) => Ok((name, listener)),
            Ok(None) => Err(ActivationError::NotListening { name, cause: None }),
            Err(cause) => Err(ActivationError::NotListening { name, cause: Some(cause) }),
        });
        Ok(Self { sockets: sockets.collect::<Result<_, _>>()? })
    }

    /// Takes the socket that listens on that address, if one was handed in.
    pub fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let listens = |socket: &(String, TcpListener)| {
            socket.1.local_addr().is_ok_and(|local| same_endpoint(local, address))
        };
        let at = self.sockets.iter().position(listens)?;
        self.sockets.remove(at).map(|(_, listener)| listener)
    }

    /// Name and address of the sockets that no listener took: connections to them would wait
    /// forever, so say so and drop them.
    pub fn left(&self) -> Vec<(String, SocketAddr)> {
        let local = |(name, listener): &(String, TcpListener)| {
            Some((name.clone(), listener.local_addr().ok()?))
        };
        self.sockets.iter().filter_map(local).collect()
    }
}

fn same_endpoint(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical() && a.port() == b.port()
}

#[expect(unsafe_code, reason = "a descriptor inherited by number has no safe owner to come from")]
fn own(fd: u32) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller found the descriptor open; it was inherited by this process, so nothing
    // in it owns the number yet, and `from_env` runs this once per process.
    unsafe { OwnedFd::from_raw_fd(fd.cast_signed()) }
}

/// `None` for what is no listening TCP socket.
pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Option<TcpListener>> {
    use rustix::net::sockopt;
    let kind = sockopt::socket_type(&fd)?;
    let domain = sockopt::socket_domain(&fd)?;
    let inet =
        matches!(domain, rustix::net::AddressFamily::INET | rustix::net::AddressFamily::INET6);
    if kind != rustix::net::SocketType::STREAM || !inet || !sockopt::socket_acceptconn(&fd)? {
        return Ok(None);
    }
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    let listener = TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    // The manager keeps the socket over our restarts, and with it a filter of a listener that was
    // retired before: a listener that starts must hear.
    crate::retire::admit_new(&listener)?;
    Ok(Some(listener))
}

#[cfg(test)]
mod tests;
