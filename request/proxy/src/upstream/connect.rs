//! Makes a connection to an origin: address, TCP, PROXY header, TLS, each with its time limit.

use super::{Key, OpenGuard};
use crate::plan::{OriginPlan, PoolPlan};
use crate::reason::Reason;
use crate::stream::Stream;
use crate::tcp::Tcp;
use crate::timer::{self, Timer};
use crate::tls::{self, HANDSHAKE_BYTES_MAX, HandshakeError, HandshakeLimits};
use core_model::config::ProxyProtocolOut;
use core_wire::proxy_header;
use process_runtime::live::OriginLive;
use process_runtime::sockets;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

/// Why there is no connection; the origin's side, whatever the cause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connecting took longer than {0:?}")]
    Timeout(Duration),
    #[error("connecting failed: {0}")]
    Tcp(#[source] io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] HandshakeError),
}

impl ConnectError {
    /// The reason a client is given.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Timeout(_) => Reason::ConnectTimeout,
            Self::Tcp(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Reason::Refused,
                io::ErrorKind::TimedOut => Reason::ConnectTimeout,
                _ => Reason::ConnectFailed,
            },
            Self::Tls(HandshakeError::Timeout) => Reason::TlsTimeout,
            Self::Tls(HandshakeError::Tls(rustls::Error::InvalidCertificate(_))) => {
                Reason::TlsCertificate
            }
            Self::Tls(_) => Reason::TlsFailed,
        }
    }
}

/// Counts a connection as being made for as long as it lives.
struct Pending<'a>(&'a OriginLive);

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
    }
}

/// The addresses a PROXY header names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Endpoints {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// What is offered by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Every protocol of the pool.
    All,
    /// HTTP/1.1 only.
    Http1,
}

/// Connects to `key.address` for `pool`.
///
/// # Errors
/// When the origin does not accept, is too slow or fails the TLS handshake.
pub(crate) async fn connect(
    pool: &PoolPlan,
    origin: &OriginPlan,
    key: &Key,
    (endpoints, offer): (Endpoints, Offer),
    timer: &Timer,
) -> Result<(Stream, OpenGuard), ConnectError> {
    origin.live.pending.fetch_add(1, Relaxed);
    let _pending = Pending(&origin.live);
    let open = OpenGuard::new(&origin.live);
    let timeouts = &pool.config.timeouts;
    let tcp = dial(key.address, key.transport.source);
    let mut tcp = within(timeouts.connect, timer, tcp)
        .await
        .ok_or(ConnectError::Timeout(timeouts.connect))?
        .map_err(ConnectError::Tcp)?;
    sockets::prepare(&tcp).map_err(ConnectError::Tcp)?;
    if let Some(version) = key.transport.proxy {
        let mut header = Vec::with_capacity(128);
        match version {
            ProxyProtocolOut::V1 => {
                proxy_header::write_v1(endpoints.client, endpoints.local, &mut header);
            }
            ProxyProtocolOut::V2 => {
                proxy_header::write_v2(endpoints.client, endpoints.local, &mut header);
            }
        }
        within(timeouts.connect, timer, tcp.write_all(&header))
            .await
            .ok_or(ConnectError::Timeout(timeouts.connect))?
            .map_err(ConnectError::Tcp)?;
    }
    let tcp = Tcp::from(tcp);
    let config = match offer {
        Offer::All => &key.transport.client,
        Offer::Http1 => &key.transport.client_http1,
    };
    let (Some(config), Some(name)) = (config, &key.transport.server_name) else {
        return Ok((Stream::Plain(tcp), open));
    };
    let limits = HandshakeLimits { bytes: HANDSHAKE_BYTES_MAX, time: timeouts.handshake };
    let stream = tls::client::connect(tcp, config.clone(), name.clone(), limits, timer)
        .await
        .map_err(ConnectError::Tls)?;
    Ok((Stream::Tls(Box::new(stream)), open))
}

async fn dial(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source
        && source.is_ipv4() == address.is_ipv4()
    {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(address).await
}

/// Runs `work` for at most `time`; `None` when it took longer.
async fn within<F: Future>(time: Duration, timer: &Timer, work: F) -> Option<F::Output> {
    let deadline = timer::tick_after(time);
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => timer.poll(cx, deadline).map(|()| None),
    })
    .await
}
