//! Stage 1: accepts connections and brings each to the point where requests can be read.

use crate::codec::client::Seat;
use crate::codec::h1::Connection;
use crate::codec::h2::Http2;
use crate::exchange::Peer;
use crate::knock;
use crate::link::H1Link;
use crate::sniff;
use crate::sources::{Full, Place};
use crate::stream::Stream;
use crate::tcp::Tcp;
use crate::timer::Timer;
use crate::tls::{
    self, HANDSHAKE_BYTES_MAX, HandshakeError, HandshakeLimits, TlsPolicy, TlsStream,
};
use crate::worker::{ACCEPT_PAUSE, Local, Worker};
use core_model::config::Protocol;
use process_runtime::metrics::Limit;
use process_runtime::{retire, sockets};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use tokio::io::Interest;
use tokio::sync::oneshot;

/// A listening socket.
///
/// tokio's own gives connections that have joined the reactor, which most of a single request need
/// not. Its streams take any call that may have to wait, hence one of them holds the socket.
///
/// Connections inherit the options of the socket that they came to, so that it is prepared in their
/// place and none of them costs a call. Those that came before are prepared one by one.
pub(crate) struct Queue {
    socket: tokio::net::TcpStream,
    /// Connections may be queued that came before the socket was prepared, as they do where the
    /// service manager opened it.
    unprepared: Cell<bool>,
}

impl Queue {
    /// Watches a socket, which must not block.
    ///
    /// # Errors
    /// The reactor cannot take one more (epoll_ctl(2)).
    pub(crate) fn watch(listener: TcpListener) -> io::Result<Self> {
        // One of a kind that has not all of the options is served without them.
        let _ = sockets::prepare(&listener);
        let socket = tokio::net::TcpStream::from_std(OwnedFd::from(listener).into())?;
        Ok(Self { socket, unprepared: Cell::new(true) })
    }

    /// Waits for a connection.
    async fn take(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accept = || {
            rustix::net::acceptfrom_with(&self.socket, flags).map_err(|error| {
                if error == Errno::AGAIN {
                    self.unprepared.set(false);
                }
                error.into()
            })
        };
        let (tcp, peer) = self.socket.async_io(Interest::READABLE, accept).await?;
        if self.unprepared.get() {
            // Refused where the client has left already, which reading will tell.
            let _ = sockets::prepare(&tcp);
        }
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok((tcp.into(), peer.ok_or(io::ErrorKind::ConnectionAborted)?))
    }

    /// The socket, which nobody watches any more.
    fn into_std(self) -> io::Result<TcpListener> {
        Ok(OwnedFd::from(self.socket.into_std()?).into())
    }
}

/// The word that another process goes on accepting from a socket.
#[derive(Debug)]
pub(crate) struct Left;

/// Accepts connections of one socket until `stop`. Its end without a word retires the socket: what
/// is queued is taken, and it is closed. A socket that is left to another process is let go as it
/// is, queue and all.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    mut local: Rc<Local>,
    queue: Queue,
    stop: oneshot::Receiver<Left>,
) {
    let mut stop = stop;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = queue.take() => accepted,
            stopped = &mut stop => match stopped {
                Ok(Left) => return,
                Err(_) => break,
            },
        };
        match accepted {
            Ok((tcp, peer)) => {
                local = worker.current(&local);
                arrive(&worker, &local, tcp, peer);
            }
            Err(error) if is_transient(&error) => {}
            Err(_) => {
                worker.shared.live.process.accept_failures.inc_shared();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let Ok(listener) = queue.into_std() else { return };
    retire::retire(listener, |tcp, peer| arrive(&worker, &local, tcp, peer)).await;
}

/// Whether an error of `accept` concerns one connection only (accept(2)).
fn is_transient(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::ConnectionAborted | Kind::ConnectionReset | Kind::Interrupted | Kind::WouldBlock
    )
}

/// Starts a task for a new connection, where the limits of its listener allow one.
fn arrive(worker: &Rc<Worker>, local: &Rc<Local>, tcp: TcpStream, socket: SocketAddr) {
    if worker.shared.knocks.is(socket) {
        if let Ok(tcp) = tokio::net::TcpStream::from_std(tcp) {
            tokio::task::spawn_local(knock::answer(tcp));
        }
        return;
    }
    let tcp = Tcp::from(tcp);
    let stats = local.plan.stats.shard(worker.index);
    stats.accepted.inc();
    let limits = &local.plan.config.limits;
    let entered =
        local.plan.sources.enter(socket.ip(), limits.connections, limits.connections_per_source);
    let place = match entered {
        Ok(place) => place,
        Err(full) => {
            stats.hit(match full {
                Full::Listener => Limit::Connections,
                Full::Source => Limit::ConnectionsPerSource,
            });
            stats.refused.inc();
            stats.closed.inc();
            return;
        }
    };
    worker.open.set(worker.open.get() + 1);
    let (worker, local) = (worker.clone(), local.clone());
    if local.plan.tls.is_none() && local.plan.config.proxy_protocol.is_none() {
        let peer = peer(&local, socket, None, own(&local, &tcp), None);
        let link = H1Link::new(Stream::Plain(tcp));
        start(Seat::new(worker, local, place), link, peer, Timer::new());
    } else {
        tokio::task::spawn_local(begin(worker, local, tcp, socket, place));
    }
}

/// The beginning of a connection with a PROXY header or TLS. What follows is a task of its own, so
/// that an idle connection does not carry what the beginning needed.
async fn begin(worker: Rc<Worker>, local: Rc<Local>, tcp: Tcp, socket: SocketAddr, place: Place) {
    match establish(&worker, &local, tcp, socket).await {
        Some((link, peer, timer)) => {
            start(Seat::new(worker, local, place), link, peer, timer);
        }
        None => {
            local.plan.stats.shard(worker.index).closed.inc();
            worker.open.set(worker.open.get().saturating_sub(1));
        }
    }
}

/// Starts the task of a connection whose first byte is the client's own. Without TLS the first
/// bytes tell which protocol it speaks.
fn start(seat: Seat, link: H1Link, peer: Peer, timer: Timer) {
    let only_http2 = !seat.local.plan.config.protocols.contains(&Protocol::Http1);
    if link.stream.negotiated_h2().unwrap_or(only_http2) {
        let buffered = (link.stream, link.receiver.buffer);
        tokio::task::spawn_local(Box::new(Http2::new(seat, buffered, peer, timer)).serve());
    } else {
        let connection = Connection::new(seat, link, peer, timer);
        tokio::task::spawn_local(Box::new(connection).serve());
    }
}

/// The address a client connected to, where somebody is to be told.
fn own(local: &Local, tcp: &Tcp) -> Option<SocketAddr> {
    if local.plan.tells_local { tcp.local_addr().ok() } else { None }
}

fn peer(
    local: &Local,
    socket: SocketAddr,
    told: Option<(SocketAddr, SocketAddr)>,
    own: Option<SocketAddr>,
    tls: Option<&(TlsStream, String)>,
) -> Peer {
    let (address, to) = told.unwrap_or((socket, own.unwrap_or(local.plan.config.address)));
    let to = local.plan.tells_local.then(|| Rc::new(to));
    let trusted = local.plan.config.trusted_proxies.iter().any(|n| n.contains(address.ip()));
    Peer {
        address,
        local: to,
        trusted,
        https: tls.is_some(),
        policy: tls.map_or(TlsPolicy::Any, |(_, name)| local.plan.hosts.policy(name)),
        certified: tls.is_some_and(|(stream, _)| stream.peer_certified()),
    }
}

/// PROXY header and TLS; `None` where the connection ends here.
async fn establish(
    worker: &Worker,
    local: &Local,
    mut tcp: Tcp,
    socket: SocketAddr,
) -> Option<(H1Link, Peer, Timer)> {
    let timer = Timer::new();
    let config = &local.plan.config;
    let stats = local.plan.stats.shard(worker.index);
    let own = own(local, &tcp);
    let mut told = None;
    let mut rest = None;
    if let Some(proxy) = &config.proxy_protocol {
        if !proxy.trusted.iter().any(|net| net.contains(socket.ip())) {
            stats.refused.inc();
            return None;
        }
        match sniff::proxy_header(&mut tcp, proxy.timeout, &timer).await {
            Ok(sniffed) => {
                told = sniffed.addresses;
                rest = Some(sniffed.rest).filter(|rest| !rest.is_empty());
            }
            Err(error) => {
                stats.refused.inc();
                if matches!(error, sniff::SniffError::Late | sniff::SniffError::Malformed(_)) {
                    stats.hit(Limit::ProxyProtocol);
                }
                return None;
            }
        }
    }
    let Some(tls) = &local.plan.tls else {
        let mut link = H1Link::new(Stream::Plain(tcp));
        link.receiver.buffer = rest;
        return Some((link, peer(local, socket, told, own, None), timer));
    };
    let first = rest.as_ref().map_or(&[][..], |rest| rest.filled());
    let limits = HandshakeLimits { bytes: HANDSHAKE_BYTES_MAX, time: config.timeouts.handshake };
    let named = local.plan.hosts.policies();
    match tls::accept(tcp, tls, first, named, limits, &timer).await {
        Ok(made) => {
            let peer = peer(local, socket, told, own, Some(&made));
            let (stream, _) = made;
            stats.handshakes.inc();
            if stream.is_resumed() {
                stats.resumed.inc();
            }
            let link = H1Link::new(Stream::Tls(Box::new(stream)));
            Some((link, peer, timer))
        }
        Err(error) => {
            stats.handshake_failures.inc();
            match error {
                HandshakeError::Timeout => stats.hit(Limit::Handshake),
                HandshakeError::TooLarge => stats.hit(Limit::HandshakeBytes),
                _ => {}
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
