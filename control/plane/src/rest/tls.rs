//! TLS of the API's listener.

use core_model::config::{Certificate, KeyKind};
use process_runtime::origin_tls;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use std::sync::Arc;

/// What the listener shows: one certificate, TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
///
/// # Errors
/// The key and the chain cannot be used.
pub(crate) fn server_config(certificate: &Certificate) -> Result<Arc<ServerConfig>, rustls::Error> {
    let octets = certificate.key.0.to_vec();
    let key = match certificate.key_kind {
        KeyKind::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(octets)),
        KeyKind::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(octets)),
        KeyKind::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(octets)),
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(origin_tls::chain(certificate), key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
