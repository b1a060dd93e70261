//! TCP sockets: listening ones, one per worker and address, and the options of connections.
//!
//! Each worker accepts from a socket of its own (SO_REUSEPORT), so that no worker waits for
//! another. How a listener is given up without resetting anybody is in `retire`.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::port_holder::{self, Holder};
use crate::service::Activated;

/// Connections that may wait for a worker, per socket: what Linux allows unless told otherwise
/// (net.core.somaxconn); it cuts a larger number silently.
pub const BACKLOG_DEFAULT: u32 = 4096;

/// Listening sockets per address: one per worker, and no machine has more processors than this.
pub const WORKERS_MAX: usize = 1024;

/// Idle time before the first keep-alive probe: shorter than the five minutes after which common
/// address translators forget a connection.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(120);

/// Time between keep-alive probes.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// Probes without an answer before the connection is given up: three minutes of silence in all.
pub const KEEPALIVE_PROBES: u32 = 3;

/// Time within which a listener under retirement gives its address up, with room for the worker
/// that does it to come to its turn on a machine that has other work for its processors.
const RETIRED_WITHIN: Duration = Duration::from_secs(5);
const _: () = assert!(RETIRED_WITHIN.as_millis() > 2 * crate::retire::HANDSHAKE_MAX.as_millis());

/// The pause between two tries to bind an address under retirement.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Why an address cannot be listened on; each message names the address and what would help.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another socket has the port.
    #[error("{address}: the port is in use{}", held_by(holder.as_ref()))]
    InUse {
        /// The address asked for.
        address: SocketAddr,
        /// Who has it, where this process may see that.
        holder: Option<Holder>,
    },
    /// The port is below 1024 and the right is missing.
    #[error(
        "{address}: not permitted to listen on a port below 1024: start as root with a user to \
         drop to, or grant CAP_NET_BIND_SERVICE (AmbientCapabilities= in the unit)"
    )]
    NotPermitted {
        /// The address asked for.
        address: SocketAddr,
    },
    /// No interface has the address.
    #[error(
        "{address}: this machine does not have the address: add it to an interface (`ip address` \
         shows them), or allow foreign ones (net.ipv4.ip_nonlocal_bind, net.ipv6.ip_nonlocal_bind)"
    )]
    NotHere {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Anything else the kernel refused.
    #[error("{address}: {step} failed")]
    Refused {
        /// The address asked for.
        address: SocketAddr,
        /// What was tried.
        step: &'static str,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
}

fn held_by(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) if holder.pid == std::process::id() => {
            " by another listener of this configuration: remove one of the two, or give them \
             addresses that do not overlap"
                .to_owned()
        }
        Some(holder) => format!(
            " by {} (pid {}): stop it, or choose another port",
            holder.name.escape_debug(),
            holder.pid
        ),
        None => " by another process (`ss -ltnp` as root names it): stop it, or choose another \
                 port"
            .to_owned(),
    }
}

/// Listening sockets for one address, one per worker, nonblocking, closed on exec.
///
/// Port 0 takes a free one, the same for all. An address that any other socket listens on is
/// refused, even one with SO_REUSEPORT of the same user: two processes that share a port by
/// mistake are hard to find.
///
/// # Errors
/// The first refusal of the kernel; sockets made before it are closed.
pub fn bind(
    address: SocketAddr,
    workers: usize,
    backlog: u32,
) -> Result<Vec<TcpListener>, BindError> {
    try_bind(address, workers, backlog).map_err(explain)
}

/// What the kernel refused: the address, the step, and its reason.
type Refusal = (SocketAddr, &'static str, io::Error);

fn try_bind(
    address: SocketAddr,
    workers: usize,
    backlog: u32,
) -> Result<Vec<TcpListener>, Refusal> {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let mut sockets = Vec::new();
    let mut exact = address;
    for worker in 0..workers.clamp(1, WORKERS_MAX) {
        let socket = bound(exact, worker > 0).map_err(|(step, e)| (exact, step, e))?;
        let local = socket.local_addr().map(|local| local.as_socket());
        match local {
            Ok(Some(local)) => exact = local,
            Ok(None) => {}
            Err(e) => return Err((exact, "getsockname", e)),
        }
        sockets.push(socket);
    }
    // After all are bound, so that a refusal never resets a connection that one of them took.
    for socket in &sockets {
        socket.listen(backlog).map_err(|e| (exact, "listen", e))?;
    }
    Ok(sockets.into_iter().map(TcpListener::from).collect())
}

/// As [`bind`], but a socket that the service manager handed in for the address serves all
/// workers: each gets a duplicate, so they share its queue. Such a socket outlives this process,
/// and its backlog is the socket unit's.
///
/// # Errors
/// As [`bind`]; and when a duplicate cannot be made.
pub fn bind_or_take(
    address: SocketAddr,
    workers: usize,
    backlog: u32,
    activated: &mut Activated,
) -> Result<Vec<TcpListener>, BindError> {
    let Some(listener) = activated.take(address) else { return bind(address, workers, backlog) };
    let mut listeners = Vec::new();
    for _ in 1..workers.clamp(1, WORKERS_MAX) {
        let duplicate = listener.try_clone();
        listeners.push(duplicate.map_err(|e| explain((address, "duplicating its socket", e)))?);
    }
    listeners.push(listener);
    Ok(listeners)
}

/// A second descriptor of each socket: the same queue, and the socket lives until both are closed.
///
/// # Errors
/// No descriptors are left.
pub fn duplicates(
    address: SocketAddr,
    sockets: &[TcpListener],
) -> Result<Vec<TcpListener>, BindError> {
    let failed = |e| explain((address, "duplicating its socket", e));
    sockets.iter().map(|socket| socket.try_clone().map_err(failed)).collect()
}

/// One descriptor of each socket among `descriptors`, some of which may be of the same one.
///
/// # Errors
/// A descriptor is not open.
pub fn distinct(descriptors: &[TcpListener]) -> io::Result<Vec<&TcpListener>> {
    let mut seen = Vec::new();
    let mut distinct = Vec::new();
    for descriptor in descriptors {
        let number = rustix::fs::fstat(descriptor)?.st_ino;
        if !seen.contains(&number) {
            seen.push(number);
            distinct.push(descriptor);
        }
    }
    Ok(distinct)
}

/// Sockets for as many workers out of those that another process had, each with connections in its
/// queue: all of them, however few workers there are. Where there are more workers, further sockets
/// join the group; where the kernel allows that to another user only, or there is no group (a
/// socket of the service manager's), workers share queues.
///
/// # Errors
/// As [`bind`]; and when a duplicate cannot be made.
pub fn spread(
    address: SocketAddr,
    mut inherited: Vec<TcpListener>,
    workers: usize,
    backlog: u32,
) -> Result<Vec<TcpListener>, BindError> {
    let workers = workers.clamp(1, WORKERS_MAX);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    let exact = inherited.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(address);
    let grouped = |socket: &TcpListener| SockRef::from(socket).reuse_port().unwrap_or(false);
    let mut shared = 0;
    while inherited.len() < workers {
        let joined = inherited.first().is_some_and(grouped).then(|| {
            let socket = bound(exact, true).ok()?;
            socket.listen(backlog).ok()?;
            Some(TcpListener::from(socket))
        });
        let further = match (joined.flatten(), inherited.get(shared)) {
            (Some(socket), _) => socket,
            (None, Some(other)) => {
                let other = other.try_clone();
                other.map_err(|e| explain((address, "duplicating its socket", e)))?
            }
            (None, None) => return bind(address, workers, backlog.cast_unsigned()),
        };
        shared += 1;
        inherited.push(further);
    }
    Ok(inherited)
}

/// As [`bind`], for a listener that a reload adds: an address under retirement is waited for, until
/// `retire` must have given it up. Its holder is this process, or the one that this process took
/// over from, its parent; or nobody can be named, be it that the holder has just left, or that it
/// may not be looked into, as the parent may not after a drop of rights.
///
/// # Errors
/// As [`bind`].
pub async fn bind_when_retired(
    address: SocketAddr,
    workers: usize,
    backlog: u32,
) -> Result<Vec<TcpListener>, BindError> {
    let own = Some(std::process::id());
    let parent = rustix::process::getppid().and_then(|pid| pid.as_raw_pid().try_into().ok());
    let retiring = |error: &BindError| match error {
        BindError::InUse { holder, .. } => {
            holder.as_ref().is_none_or(|holder| [own, parent].contains(&Some(holder.pid)))
        }
        _ => false,
    };
    let attempt = || try_bind(address, workers, backlog);
    wait_for_retired(RETIRED_WITHIN, attempt, explain, retiring).await
}

/// Attempts until one is well, one that began after `within` fails, or the first is refused for
/// another reason than a retirement. The holder is looked for once at first and once at the end:
/// on a busy machine that alone may take as long as all the rest.
async fn wait_for_retired<T>(
    within: Duration,
    mut attempt: impl FnMut() -> Result<T, Refusal>,
    explain: impl Fn(Refusal) -> BindError,
    retiring: impl Fn(&BindError) -> bool,
) -> Result<T, BindError> {
    let start = tokio::time::Instant::now();
    let refusal = match attempt() {
        Ok(bound) => return Ok(bound),
        Err(refusal) => explain(refusal),
    };
    if !retiring(&refusal) {
        return Err(refusal);
    }
    loop {
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
        let last = start.elapsed() >= within;
        match attempt() {
            Err((_, _, cause)) if cause.kind() == io::ErrorKind::AddrInUse && !last => {}
            outcome => return outcome.map_err(explain),
        }
    }
}

/// A socket bound to the address. `shared` joins the group that an earlier one opened; the first
/// one binds alone, which the kernel refuses while anybody else listens, and opens the group then.
fn bound(address: SocketAddr, shared: bool) -> Result<Socket, (&'static str, io::Error)> {
    let step = |name: &'static str| move |e| (name, e);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP));
    let socket = socket.map_err(step("socket"))?;
    socket.set_nonblocking(true).map_err(step("O_NONBLOCK"))?;
    // Connections of an earlier life in TIME_WAIT must not keep the port.
    socket.set_reuse_address(true).map_err(step("SO_REUSEADDR"))?;
    if address.is_ipv6() {
        // 0.0.0.0 and [::] can then be two listeners, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(true).map_err(step("IPV6_V6ONLY"))?;
    }
    socket.set_reuse_port(shared).map_err(step("SO_REUSEPORT"))?;
    socket.bind(&SockAddr::from(address)).map_err(step("bind"))?;
    socket.set_reuse_port(true).map_err(step("SO_REUSEPORT"))?;
    Ok(socket)
}

fn explain((address, step, cause): Refusal) -> BindError {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            BindError::InUse { address, holder: port_holder::find(address) }
        }
        io::ErrorKind::PermissionDenied if step == "bind" => BindError::NotPermitted { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotHere { address },
        _ => BindError::Refused { address, step, cause },
    }
}

/// Prepares a connection: no delay for small writes (what is written is whole, and a second piece
/// must not wait until the peer acknowledges the first, which it may put off for 40 ms and more),
/// keep-alive probes so that a peer that vanished is noticed, and no lingering on close.
///
/// A listening socket hands all of that down to the connections that come to it from then on, and
/// not to those in its queue.
///
/// # Errors
/// The peer is gone already, most often.
pub fn prepare(connection: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(connection);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)
}

/// Makes the close of a connection a reset: what is unsent is thrown away and the port is free at
/// once. For connections whose peer misbehaved, and upstream ones in an unknown state.
///
/// # Errors
/// The socket is closed already.
pub fn reset_on_close(connection: &impl AsFd) -> io::Result<()> {
    SockRef::from(connection).set_linger(Some(Duration::ZERO))
}

/// Limits how long sent bytes may stay without acknowledgement before the connection fails
/// (RFC 5482 calls it the user timeout); `None` leaves it to the kernel, about 15 minutes.
///
/// # Errors
/// The socket is closed already.
pub fn unacknowledged_at_most(connection: &impl AsFd, time: Option<Duration>) -> io::Result<()> {
    SockRef::from(connection).set_tcp_user_timeout(time)
}

/// Connects to `peer`, from the address `source` where one is set, and [`prepare`]s the connection.
/// Without a deadline of its own: the caller sets one, and may drop the future.
///
/// # Errors
/// The kernel's or the peer's refusal; `AddrNotAvailable` when `source` is not of this machine or
/// has no free port left.
pub async fn connect(
    peer: SocketAddr,
    source: Option<IpAddr>,
) -> io::Result<tokio::net::TcpStream> {
    let socket = match peer {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    if let Some(source) = source {
        // Lets connections to different peers share a local port; a clash shows in connect.
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(source, 0))?;
    }
    prepare(&socket)?;
    socket.connect(peer).await
}

#[cfg(test)]
mod tests;
