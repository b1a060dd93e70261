//! TLS towards origins as requests and probes speak it: what is trusted, and what is shown.

use core_model::config::{Certificate, KeyKind, PinnedBytes};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName, UnixTime,
};
use std::sync::{Arc, OnceLock};

/// Whose certificates are believed.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The authorities of the system (`SSL_CERT_FILE`, else the usual bundles), read once.
    System,
    /// These authorities alone, DER.
    Authorities(&'a [PinnedBytes]),
    /// Any certificate; the peer must still hold its key.
    Anything,
}

/// Why TLS settings towards origins cannot be used: the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum OriginTlsError {
    /// An authority is no certificate that signs.
    #[error("an authority cannot be used: {0}")]
    Authority(#[source] rustls::Error),
    /// The certificate that is shown to origins does not fit its key, or is of an unknown kind.
    #[error("the client certificate cannot be used: {0}")]
    Shown(#[source] rustls::Error),
    /// No TLS version is left.
    #[error("no TLS version can be used: {0}")]
    Versions(#[source] rustls::Error),
}

/// The private key of `certificate` in rustls' terms.
#[must_use]
pub fn private_key(certificate: &Certificate) -> PrivateKeyDer<'static> {
    let der = certificate.key.0.to_vec();
    match certificate.key_kind {
        KeyKind::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
        KeyKind::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
        KeyKind::Sec1 => PrivateSec1KeyDer::from(der).into(),
    }
}

/// The chain of `certificate` in rustls' terms.
#[must_use]
pub fn chain(certificate: &Certificate) -> Vec<CertificateDer<'static>> {
    certificate.chain.iter().map(|der| CertificateDer::from(der.0.to_vec())).collect()
}

fn system() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    ROOTS
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(roots)
        })
        .clone()
}

/// A client configuration for HTTP/1.1 that believes `trust` and shows `shown`.
///
/// # Errors
/// When an authority or the certificate cannot be used.
pub fn client_config(
    trust: Trust<'_>,
    shown: Option<&Certificate>,
) -> Result<ClientConfig, OriginTlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(OriginTlsError::Versions)?;
    let builder = match trust {
        Trust::System => builder.with_root_certificates(system()),
        Trust::Authorities(authorities) => {
            let mut roots = RootCertStore::empty();
            for der in authorities {
                let der = CertificateDer::from(der.0.to_vec());
                roots.add(der).map_err(OriginTlsError::Authority)?;
            }
            builder.with_root_certificates(roots)
        }
        Trust::Anything => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        }
    };
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(certificate) => builder
            .with_client_auth_cert(chain(certificate), private_key(certificate))
            .map_err(OriginTlsError::Shown)?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts any certificate. Signatures are still checked, so that the peer holds the key of what
/// it shows.
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
