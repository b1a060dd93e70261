//! TLS towards origins: what is offered, what is verified, and the handshake.

use super::io::HandshakeError;
use super::server::{TlsError, chain, private_key};
use super::{HandshakeLimits, Session, TlsStream};
use crate::timer::{self, Timer};
use core_model::config::UpstreamTls;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use tokio::net::TcpStream;

/// Sessions remembered per pool for resumption.
const SESSIONS_MAX: usize = 256;

/// The authorities of the system, read once.
fn system_authorities() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        })
        .clone()
}

/// The rustls configuration towards the origins of `pool`.
///
/// # Errors
/// When an authority or the client certificate cannot be used.
pub(crate) fn client_config(pool: &str, tls: &UpstreamTls) -> Result<Arc<ClientConfig>, TlsError> {
    let owner = || format!("pool {pool}");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Settings { owner: owner(), cause: error.to_string() })?;
    let builder = if tls.verify {
        let roots = if tls.authorities.is_empty() {
            system_authorities()
        } else {
            let mut roots = RootCertStore::empty();
            for der in &tls.authorities {
                roots.add(CertificateDer::from(der.0.to_vec())).map_err(|error| {
                    TlsError::Authorities { owner: owner(), cause: error.to_string() }
                })?;
            }
            Arc::new(roots)
        };
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    };
    let mut config = match &tls.client_certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => builder
            .with_client_auth_cert(chain(certificate), private_key(certificate))
            .map_err(|cause| TlsError::Certificate {
                certificate: certificate.certificate_file.display().to_string(),
                cause,
            })?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}

/// Runs a handshake with an origin.
///
/// # Errors
/// When the handshake fails or is too slow.
pub(crate) async fn connect(
    tcp: TcpStream,
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

/// Accepts any certificate (`verify = false`); signatures are still checked, so that the peer
/// holds the key of what it shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
