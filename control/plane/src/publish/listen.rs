//! Connections of edges: accepted, TLS with certificates, HTTP/2 (or HTTP/1.1 for joining), and
//! their end: when the edge is revoked, when its certificate ends, when the process stops.

#[cfg(test)]
mod tests;

use super::ca::Authority;
use super::count::{EdgeMetrics, Gauges, Hit};
use super::gate;
use super::identity::{Claim, claim, ids, known};
use super::tls::{TlsError, seconds, server_config};
use super::{EdgesSettings, Streams};
use crate::rest::limit::{Denials, Windows};
use crate::rest::serve::{ServerError, bind};
use crate::store::Keeper;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use process_runtime::config_file::ControlLimits;
use process_runtime::operator_log;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Handshakes at once. A stranger can hold one as long as [`HANDSHAKE_TIMEOUT`]; so many make up a
/// thousand edges within a second.
const HANDSHAKES_MAX: usize = 512;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at once without a certificate: edges that join.
const STRANGERS_MAX: usize = 128;
/// How long such a connection may last: joining is one call.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections of one edge: its stream, the one before it that was not missed yet, a renewal, and
/// as many again.
const CONNECTIONS_PER_EDGE_MAX: usize = 6;
/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent edge is asked whether it is there, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How long streams may take to end after the order to.
const DRAIN: Duration = Duration::from_secs(5);
/// After a failed `accept` (no descriptors left) the next try comes this much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a head: edges send a few hundred.
const HEAD_BYTES_MAX: u32 = 8 * 1024;
/// Requests at once on one connection.
const REQUESTS_MAX: u32 = 8;
/// Octets that an edge may send ahead on one stream. Reports have a few kilobytes.
const WINDOW_BYTES: u32 = 64 * 1024;

/// What lets edges in, whatever the connection.
pub struct Gate {
    pub(super) keeper: Arc<Keeper>,
    pub(super) authority: Arc<Authority>,
    pub(super) life: Duration,
    pub(super) streams: Arc<dyn Streams>,
    pub(super) calls: Windows<IpAddr>,
    pub(super) denials: Denials<IpAddr>,
    pub(super) metrics: EdgeMetrics,
    names: Vec<String>,
    connections: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    held: Mutex<Held>,
}

/// Connections of edges.
#[derive(Debug, Default)]
struct Held {
    /// By the edge's id and a number of their own: what tells them that they are to end.
    edges: BTreeMap<String, BTreeMap<u64, watch::Sender<bool>>>,
    next: u64,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Gate {
    /// A gate to the edges of a store. `limits` bound calls and wrong tokens of one address.
    #[must_use]
    pub fn new(
        keeper: Arc<Keeper>,
        authority: Authority,
        settings: &EdgesSettings,
        limits: &ControlLimits,
        streams: Arc<dyn Streams>,
    ) -> Self {
        Self {
            keeper,
            authority: Arc::new(authority),
            life: settings.certificate_life,
            streams,
            calls: Windows::new(limits.window, limits.calls_per_address),
            denials: Denials::new(limits.window, limits.denials_per_address),
            metrics: EdgeMetrics::default(),
            names: settings.names.clone(),
            connections: Arc::new(Semaphore::new(settings.connections)),
            strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
            held: Mutex::default(),
        }
    }

    /// What it counts, in the form of Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        let all = ids(&self.keeper.state());
        self.metrics.encode(Gauges {
            edges: all.iter().filter(|(_, revoked)| revoked.is_none()).count(),
            connected: self.held().edges.len(),
            authority_ends: self.authority.ends(),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a connection of an edge; none where it has too many.
    fn hold(self: &Arc<Self>, edge: &str) -> Option<Place> {
        let mut held = self.held();
        held.next = held.next.wrapping_add(1);
        let number = held.next;
        let own = held.edges.entry(edge.to_owned()).or_default();
        if own.len() >= CONNECTIONS_PER_EDGE_MAX {
            return None;
        }
        let (ends, gone) = watch::channel(false);
        own.insert(number, ends);
        Some(Place { gate: self.clone(), edge: edge.to_owned(), number, gone })
    }

    /// Ends the connections of edges that may not come any longer; of all, where `all` is set.
    fn sweep(&self, all: bool) {
        let ids: Vec<String> = self.held().edges.keys().cloned().collect();
        let gone: Vec<String> = {
            let state = self.keeper.state();
            ids.into_iter().filter(|id| all || known(&state, id).is_err()).collect()
        };
        for id in gone {
            self.streams.detach(&id);
            let told = self
                .held()
                .edges
                .get(&id)
                .map_or(0, |own| own.values().filter(|ends| !ends.send_replace(true)).count());
            if told > 0 && !all {
                operator_log::info("edge_shut_out", "its connections end", &[("edge", &id)]);
            }
        }
    }
}

/// A connection that an edge holds, given back at its end.
struct Place {
    gate: Arc<Gate>,
    edge: String,
    number: u64,
    gone: watch::Receiver<bool>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.gate.held();
        if let Some(own) = held.edges.get_mut(&self.edge) {
            own.remove(&self.number);
            if own.is_empty() {
                held.edges.remove(&self.edge);
            }
        }
    }
}

/// A bound listener that does not serve yet.
pub struct EdgeServer {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl std::fmt::Debug for EdgeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeServer").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl EdgeServer {
    /// Binds. Needs a runtime.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn bind(address: SocketAddr, gate: &Gate) -> Result<Self, ServerError> {
        let config = server_config(&gate.authority, &gate.names, gate.life);
        let config = config.map_err(|error: TlsError| ServerError::Edges(error.to_string()))?;
        let listener = bind(address, "edges").await?;
        Ok(Self { listener, tls: TlsAcceptor::from(config) })
    }

    /// Where it listens; tells the port where 0 was asked for.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` ends; edges then look for another control plane.
    pub async fn serve(self, gate: Arc<Gate>, stop: impl Future<Output = ()>) {
        let (ending, ended) = watch::channel(false);
        let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        let mut revisions = gate.keeper.revisions();
        let (mut tasks, mut stop) = (JoinSet::new(), pin!(stop));
        loop {
            if gate.connections.available_permits() == 0 {
                gate.metrics.hit(Hit::Connections);
            }
            if handshakes.available_permits() == 0 {
                gate.metrics.hit(Hit::Handshakes);
            }
            let accept = async {
                let slot = gate.connections.clone().acquire_owned().await;
                let shaking = handshakes.clone().acquire_owned().await;
                (self.listener.accept().await, slot, shaking)
            };
            let (accepted, slot, shaking) = tokio::select! {
                () = &mut stop => break,
                Ok(()) = revisions.changed() => {
                    gate.sweep(false);
                    continue;
                }
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (gate, tls, ended) = (gate.clone(), self.tls.clone(), ended.clone());
                    tasks.spawn(async move {
                        let _slot = slot;
                        if let Some(stream) = shake(&gate, &tls, stream, peer).await {
                            drop(shaking);
                            admit(gate, stream, peer, ended).await;
                        }
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
            while tasks.try_join_next().is_some() {}
        }
        drop(self.listener);
        ending.send_replace(true);
        gate.sweep(true);
        let ends = async { while tasks.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN, ends).await;
    }
}

/// The handshake. Who shows a certificate of another authority, or one that has ended, is told by
/// TLS.
async fn shake(
    gate: &Gate,
    tls: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    let _ = stream.set_nodelay(true);
    let why = match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done within {} s", HANDSHAKE_TIMEOUT.as_secs()),
    };
    gate.metrics.handshakes_failed.fetch_add(1, Ordering::Relaxed);
    let fields: [(&'static str, &dyn std::fmt::Display); 2] = [("address", &peer), ("why", &why)];
    operator_log::warn("edge_handshake_failed", "no TLS with an edge", &fields);
    None
}

/// From TLS to HTTP: who it is, and whether there is room.
async fn admit(
    gate: Arc<Gate>,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    ended: watch::Receiver<bool>,
) {
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let Some(certificate) = shown else {
        let Ok(_place) = gate.strangers.clone().try_acquire_owned() else {
            gate.metrics.hit(Hit::Strangers);
            return;
        };
        let served = connection(gate.clone(), stream, peer, None, ended);
        let _ = tokio::time::timeout(STRANGER_TIMEOUT, served).await;
        return;
    };
    // The authority signs certificates of control planes, too; those are no clients.
    let Some(claim) = claim(certificate) else { return };
    let Some(place) = gate.hold(&claim.id) else {
        gate.metrics.hit(Hit::PerEdge);
        return;
    };
    connection(gate, stream, peer, Some((claim, place.gone.clone())), ended).await;
}

/// The HTTP of one connection.
async fn connection(
    gate: Arc<Gate>,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    edge: Option<(Claim, watch::Receiver<bool>)>,
    mut ended: watch::Receiver<bool>,
) {
    let (claim, mut gone) = edge.unzip();
    let ends = claim.as_ref().map_or(u64::MAX, |claim| claim.ends);
    let begun = Arc::new(AtomicBool::new(false));
    let first = begun.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (gate, claim) = (gate.clone(), claim.clone());
        first.store(true, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(gate::answer(&gate, peer, claim.as_ref(), request).await) }
    });
    let builder = builder();
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut opening = pin!(tokio::time::sleep(HEAD_TIMEOUT));
    let over = async {
        tokio::select! {
            () = told(&mut ended) => {}
            () = async {
                match &mut gone {
                    Some(gone) => told(gone).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    };
    let (mut over, mut aged) = (pin!(over), pin!(until(ends.saturating_add(1))));
    loop {
        tokio::select! {
            _ = &mut served => return,
            () = &mut opening, if !opening.is_elapsed() => {
                if !begun.load(Ordering::Relaxed) {
                    return;
                }
            }
            // The edge comes back at once with its renewed certificate; a farewell would have it
            // wait for the end of its stream.
            () = &mut aged => return,
            () = &mut over => break,
        }
    }
    served.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(DRAIN, served).await;
}

async fn told(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|told| *told).await.is_err() {
        std::future::pending().await
    }
}

/// Waits until a time in seconds since 1970, also where the clock is set meanwhile.
async fn until(ends: u64) {
    /// A clock that was set is noticed after so long.
    const LOOK: Duration = Duration::from_secs(60);
    loop {
        let left = Duration::from_secs(ends.saturating_sub(seconds()));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize * 2)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX)
        .max_concurrent_streams(REQUESTS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 2)
        .max_send_buf_size(WINDOW_BYTES as usize)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}
