//! The admin server: status page, `/status`, `/metrics`, readiness, reload and upgrade, over
//! HTTP/1.1 on a loopback address or a Unix socket.
//!
//! It serves few clients and each connection one request, so that there is nothing to keep alive
//! and little to bound. It runs beside the workers and never touches a request of theirs.

mod exchange;
mod page;
mod routes;

pub use routes::host_is_here;

use crate::port_holder;
use crate::status::StatusSource;
use crate::unix_socket;
use core_model::ListenAddress;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Connections served at once; further ones wait in the kernel. Pages, scrapers and one operator
/// need a handful.
pub const CONNECTIONS_MAX: usize = 64;

/// How long a client may take to send its request.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to read its reply.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may take to close after its reply.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a reload may take before the answer is 504; it goes on all the same.
pub const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// After a failed `accept` (no descriptors left) the next try comes this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A socket of the operator alone.
const SOCKET_MODE: u32 = 0o600;

/// What is asked for by a `POST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Read the configuration again (`/reload`).
    Reload,
    /// Tell what a reload would change (`/diff`).
    Differences,
    /// Hand over to a new process of the program's file (`/upgrade`).
    Upgrade,
}

/// What came of a wish; the JSON answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// Whether a new configuration serves, or another process.
    pub applied: bool,
    /// Generation in force afterwards.
    pub generation: u64,
    /// Why it was refused: every fault as `weir check` shows it.
    pub faults: Vec<String>,
    /// What changed, or what takes a restart; for people.
    pub notes: Vec<String>,
}

/// Carries a wish out; given by whoever owns the configuration.
pub type Reload =
    Arc<dyn Fn(Wish) -> Pin<Box<dyn Future<Output = ReloadOutcome> + Send>> + Send + Sync>;

/// Why the admin server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is in use.
    #[error(
        "admin {address} is in use{}: stop that program or set another `address` in [admin]",
        holder.as_ref().map_or_else(String::new, |name| format!(" by {name}"))
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// The program that has it, where it can be told.
        holder: Option<String>,
    },
    /// The address cannot be had.
    #[error("admin {address}: {cause}; set `address` in [admin] to one this machine has")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The socket path cannot be had.
    #[error("admin: {0}")]
    Path(#[from] unix_socket::BindPathError),
}

#[derive(Debug)]
enum Door {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

/// A bound admin server that does not serve yet.
#[derive(Debug)]
pub struct Admin {
    door: Door,
}

impl Admin {
    /// Binds; done before privileges are dropped.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub fn bind(address: &ListenAddress) -> Result<Self, AdminError> {
        let door = match address {
            ListenAddress::Tcp(address) => Door::Tcp(bind_tcp(*address)?),
            ListenAddress::Unix(path) => {
                Door::Unix(unix_socket::bind(path, SOCKET_MODE)?, path.clone())
            }
        };
        Ok(Self { door })
    }

    /// As [`bind`](Self::bind), with a socket that another process had bound there.
    ///
    /// # Errors
    /// It is no listening socket.
    pub fn adopt(address: &ListenAddress, socket: OwnedFd) -> io::Result<Self> {
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no listening socket"));
        }
        rustix::io::ioctl_fionbio(&socket, true)?;
        let door = match address {
            ListenAddress::Tcp(_) => Door::Tcp(socket.into()),
            ListenAddress::Unix(path) => Door::Unix(socket.into(), path.clone()),
        };
        Ok(Self { door })
    }

    /// A second descriptor of the socket, for the process that takes over.
    ///
    /// # Errors
    /// None is left.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        match &self.door {
            Door::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Door::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
        }
    }

    /// Where it listens; tells the port where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Option<ListenAddress> {
        match &self.door {
            Door::Tcp(listener) => listener.local_addr().ok().map(ListenAddress::Tcp),
            Door::Unix(_, path) => Some(ListenAddress::Unix(path.clone())),
        }
    }

    /// Serves until `stop` ends, and takes the samples of [`StatusSource::sample`]. Requests that
    /// are being answered then are cut. While `open` is false connections are left in the queue,
    /// for another process that has the socket.
    ///
    /// # Errors
    /// The runtime has no I/O driver.
    pub async fn serve(
        self,
        source: Arc<StatusSource>,
        reload: Reload,
        mut open: watch::Receiver<bool>,
        stop: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let site = Arc::new(routes::Site { source: source.clone(), reload });
        let mut stop = pin!(stop);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(sample(source));
        match self.door {
            Door::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    () = &mut stop => {}
                    () = accept_tcp(&listener, &site, &mut tasks, &mut open) => {}
                }
            }
            Door::Unix(listener, path) => {
                let listener = UnixListener::from_std(listener)?;
                tokio::select! {
                    () = &mut stop => {}
                    () = accept_unix(&listener, &site, &mut tasks, &mut open) => {}
                }
                // A service user may not be allowed to; the next start replaces it then.
                let _ = std::fs::remove_file(path);
            }
        }
        Ok(())
    }
}

fn bind_tcp(address: SocketAddr) -> Result<std::net::TcpListener, AdminError> {
    let listener = std::net::TcpListener::bind(address).map_err(|cause| {
        if cause.kind() == io::ErrorKind::AddrInUse {
            AdminError::InUse { address, holder: holder_of(address) }
        } else {
            AdminError::Bind { address, cause }
        }
    })?;
    listener.set_nonblocking(true).map_err(|cause| AdminError::Bind { address, cause })?;
    Ok(listener)
}

fn holder_of(address: SocketAddr) -> Option<String> {
    port_holder::find(address).map(|h| format!("{} (process {})", h.name.escape_debug(), h.pid))
}

async fn sample(source: Arc<StatusSource>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        second.tick().await;
        source.sample();
    }
}

type Tasks = tokio::task::JoinSet<()>;
type Open = watch::Receiver<bool>;

/// What `accept` gives, begun anew each time it is open again.
async fn while_open<T, F: Future<Output = T>>(open: &mut Open, accept: impl Fn() -> F) -> T {
    loop {
        // Whoever could close it is gone, and it stays as it is.
        if open.wait_for(|open| *open).await.is_err() && !*open.borrow() {
            std::future::pending::<()>().await;
        }
        let closed = async {
            if open.wait_for(|open| !open).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = closed => {}
            accepted = accept() => return accepted,
        }
    }
}

async fn accept_tcp(
    listener: &TcpListener,
    site: &Arc<routes::Site>,
    tasks: &mut Tasks,
    open: &mut Open,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match while_open(open, || listener.accept()).await {
            Ok((stream, _)) => {
                let door = stream.local_addr().ok().map(|a| a.ip());
                tasks.spawn(connection(stream, door, site.clone(), slot));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn accept_unix(
    listener: &UnixListener,
    site: &Arc<routes::Site>,
    tasks: &mut Tasks,
    open: &mut Open,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match while_open(open, || listener.accept()).await {
            Ok((stream, _)) => {
                tasks.spawn(connection(stream, None, site.clone(), slot));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// One connection, one request. `door` is the address the client reached; none for a Unix socket.
async fn connection(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    door: Option<IpAddr>,
    site: Arc<routes::Site>,
    _slot: OwnedSemaphorePermit,
) {
    let read = tokio::time::timeout(REQUEST_TIMEOUT, exchange::read(&mut stream)).await;
    let (reply, head_only) = match read {
        Err(_) => (exchange::Reply::text(408, "the request took too long\n"), false),
        Ok(Err(exchange::ReadError::Gone)) => return,
        Ok(Err(exchange::ReadError::Wrong(reply))) => (reply, false),
        Ok(Ok(request)) => {
            let head_only = request.method == "HEAD";
            (routes::answer(&site, &request, door).await, head_only)
        }
    };
    // A client that is gone or too slow gets no further care.
    let write = exchange::write(&mut stream, &reply, head_only);
    if let Ok(Ok(())) = tokio::time::timeout(REPLY_TIMEOUT, write).await {
        let _ = tokio::time::timeout(LINGER_TIMEOUT, exchange::linger(&mut stream)).await;
    }
}

#[cfg(test)]
mod tests;
