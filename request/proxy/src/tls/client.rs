//! TLS towards origins: what is offered, what is verified, and the handshake.

use super::io::HandshakeError;
use super::server::TlsError;
use super::{HandshakeLimits, Session, TlsStream};
use crate::tcp::Tcp;
use crate::timer::{self, Timer};
use core_model::config::{Pool, UpstreamProtocols, UpstreamTls};
use process_runtime::origin_tls::{self, Trust};
use rustls::ClientConfig;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Sessions remembered for resumption, all of them of one name: as many tickets as rustls keeps of
/// one server.
const SESSIONS_MAX: usize = 8;

/// The rustls configuration towards the origins of `pool`.
///
/// # Errors
/// When an authority or the client certificate cannot be used.
pub(crate) fn client_config(pool: &Pool, tls: &UpstreamTls) -> Result<Arc<ClientConfig>, TlsError> {
    let trust = match tls {
        UpstreamTls { verify: false, .. } => Trust::Anything,
        UpstreamTls { authorities, .. } if authorities.is_empty() => Trust::System,
        UpstreamTls { authorities, .. } => Trust::Authorities(authorities),
    };
    let config = origin_tls::client_config(trust, tls.client_certificate.as_ref());
    let mut config = config.map_err(|error| TlsError::Settings {
        owner: format!("pool {}", pool.name),
        cause: error.to_string(),
    })?;
    config.alpn_protocols = pool.protocols.alpn();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// `config` without the sessions that it remembers.
pub(crate) fn with_own_sessions(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(config);
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Arc::new(config)
}

/// `config` with HTTP/1.1 as the only offer.
pub(crate) fn http1_only(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let only = UpstreamProtocols::HTTP1.alpn();
    if config.alpn_protocols == only {
        return config.clone();
    }
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = only;
    Arc::new(config)
}

/// Runs a handshake with an origin.
///
/// # Errors
/// When the handshake fails or is too slow.
pub(crate) async fn connect(
    tcp: Tcp,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    limits: HandshakeLimits,
    timer: &Timer,
) -> Result<TlsStream, HandshakeError> {
    let session = UnbufferedClientConnection::new(config, name).map_err(HandshakeError::Tls)?;
    let mut stream = TlsStream::new(tcp, Session::Client(session));
    let deadline = timer::tick_after(limits.time);
    poll_fn(|cx| match stream.poll_handshake(cx, limits.bytes) {
        Poll::Pending => timer.poll(cx, deadline).map(|()| Err(HandshakeError::Timeout)),
        ready => ready,
    })
    .await?;
    // The client's Finished leaves with the first request.
    Ok(stream)
}
