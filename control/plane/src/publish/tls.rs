//! TLS towards edges: 1.3 alone, with certificates of the authority on both sides.

use super::ca::{Authority, RequestError, renewal};
use rustls::crypto::CryptoProvider;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why edges cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    /// The control plane's own certificate.
    #[error(transparent)]
    Certificate(#[from] RequestError),
    /// The authority's certificate, or the key.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    /// The authority's certificate trusts nobody.
    #[error("the authority cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The certificate that a control plane shows: renewed at two thirds of its life, by the handshake
/// that comes then.
struct Presented {
    authority: Arc<Authority>,
    names: Vec<String>,
    life: Duration,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    key: Arc<CertifiedKey>,
    /// Seconds since 1970.
    renew: u64,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Presented {
    fn make(&self, now: u64) -> Result<Current, TlsError> {
        make(&self.authority, &self.names, self.life, &self.provider, now)
    }
}

fn make(
    authority: &Authority,
    names: &[String],
    life: Duration,
    provider: &CryptoProvider,
    now: u64,
) -> Result<Current, TlsError> {
    let (certificate, key, ends) = authority.present(names, life, now)?;
    let key = provider.key_provider.load_private_key(key.into())?;
    // An edge that joins knows the authority by its hash alone, and so is shown it.
    let chain = vec![certificate, authority.certificate().clone()];
    let key = Arc::new(CertifiedKey::new(chain, key));
    Ok(Current { key, renew: renewal(now, ends) })
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = seconds();
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if now < current.renew {
            return Some(current.key);
        }
        // Where none can be made, edges may judge the old one.
        let Ok(next) = self.make(now) else { return Some(current.key) };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
        Some(next.key)
    }
}

/// What a listener for edges shows and asks for. An edge that joins has no certificate yet, so
/// that none is allowed here; whoever shows one must be of the authority.
///
/// # Errors
/// See [`TlsError`].
pub(super) fn server_config(
    authority: &Arc<Authority>,
    names: &[String],
    life: Duration,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let current = make(authority, names, life, &provider, seconds())?;
    let presented = Presented {
        authority: authority.clone(),
        names: names.to_vec(),
        life,
        provider: provider.clone(),
        current: RwLock::new(current),
    };
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
        .with_cert_resolver(Arc::new(presented));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would stand for a certificate that has ended meanwhile.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
