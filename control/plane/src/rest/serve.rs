//! Connections of the API: accepted, TLS where it is set, HTTP/1.1 or HTTP/2, and their end.

use super::metrics::Hit;
use super::{Site, lifecycle, tls};
use core_model::config::Certificate;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use process_runtime::port_holder;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a client may take to send the head of a call, and between two calls.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls may finish after the order to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// After a failed `accept` (no descriptors left) the next try comes this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a head: tokens and what SDKs say of themselves take less than two kilobytes.
const HEAD_BYTES_MAX: u32 = 16 * 1024;
/// Calls at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 100;

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is in use.
    #[error(
        "{address} is in use{}: stop that program or set another `address` in [{section}]",
        holder.as_ref().map_or_else(String::new, |name| format!(" by {name}"))
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// Where the control file asks for it.
        section: &'static str,
        /// The program that has it, where it can be told.
        holder: Option<String>,
    },
    /// The address cannot be had.
    #[error("{address}: {cause}; set `address` in [{section}] to one that this machine has")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Where the control file asks for it.
        section: &'static str,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The certificate cannot be used.
    #[error("[control.tls]: {0}")]
    Tls(#[from] rustls::Error),
    /// What edges are shown cannot be made.
    #[error("[edges]: {0}")]
    Edges(String),
}

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<Acceptor>,
}

#[derive(Clone)]
struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Server {
    /// Binds. Needs a runtime.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(address: SocketAddr, tls: Option<&Certificate>) -> Result<Self, ServerError> {
        let tls = tls.map(tls::server_config).transpose()?;
        let listener = bind(address, "control").await?;
        Ok(Self { listener, tls: tls.map(|config| Acceptor(TlsAcceptor::from(config))) })
    }

    /// Where it listens; tells the port where 0 was asked for.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The base URL for clients.
    #[must_use]
    pub fn base_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self.address().map_or_else(|_| String::new(), |address| address.to_string());
        format!("{scheme}://{address}/client/v4")
    }

    /// Serves until `stop` ends; calls that run then may finish.
    pub async fn serve(self, site: Arc<Site>, stop: impl Future<Output = ()>) {
        let (ending, ended) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(site.connections));
        let mut tasks = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            if slots.available_permits() == 0 {
                site.metrics.hit(Hit::Connections);
            }
            let accept = async {
                let slot = slots.clone().acquire_owned().await;
                (self.listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                () = &mut stop => break,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let (site, tls, ended) = (site.clone(), self.tls.clone(), ended.clone());
                    let source = peer.ip().to_canonical();
                    tasks.spawn(async move {
                        let _slot = slot;
                        match tls {
                            None => connection(stream, source, site, ended).await,
                            Some(Acceptor(tls)) => {
                                let shake = tls.accept(stream);
                                let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake).await;
                                if let Ok(Ok(stream)) = shaken {
                                    connection(stream, source, site, ended).await;
                                }
                            }
                        }
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
            while tasks.try_join_next().is_some() {}
        }
        drop(self.listener);
        ending.send_replace(true);
        let _ =
            tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
    }
}

/// Binds what `[section]` of the control file asks for.
pub(crate) async fn bind(
    address: SocketAddr,
    section: &'static str,
) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|cause| match cause.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = port_holder::find(address);
            let holder = holder.map(|h| format!("{} (process {})", h.name.escape_debug(), h.pid));
            ServerError::InUse { address, section, holder }
        }
        _ => ServerError::Bind { address, section, cause },
    })
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    source: IpAddr,
    site: Arc<Site>,
    mut ended: watch::Receiver<bool>,
) {
    let begun = Arc::new(AtomicBool::new(false));
    let first = begun.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let site = site.clone();
        first.store(true, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(lifecycle::serve(&site, source, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize * 2)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(HEAD_TIMEOUT);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Until the first call it is not even known which protocol the client speaks, and no timer of
    // either runs.
    let mut opening = pin!(tokio::time::sleep(HEAD_TIMEOUT));
    loop {
        tokio::select! {
            // What a client does wrong on the wire ends its connection and is nobody else's
            // business.
            _ = &mut served => return,
            () = &mut opening, if !opening.is_elapsed() => {
                if !begun.load(Ordering::Relaxed) {
                    return;
                }
            }
            () = async { drop(ended.wait_for(|ended| *ended).await) } => {
                served.as_mut().graceful_shutdown();
                let _ = served.await;
                return;
            }
        }
    }
}
