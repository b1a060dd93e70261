//! What is asked of client certificates: the verifier that a listener uses, and that the
//! configuration is tried with before it is used.

use core_model::config::{ClientAuth, PinnedBytes, RevocationLists};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use std::sync::Arc;

/// Why client certificates cannot be verified: the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum ClientTlsError {
    /// An authority is no certificate that signs.
    #[error("an authority of client certificates cannot be used: {0}")]
    Authority(#[source] rustls::Error),
    /// A revocation list breaks RFC 5280 or uses what is not supported (deltas, indirect lists).
    #[error("a revocation list cannot be used: {0}")]
    Crl(#[source] VerifierBuilderError),
}

/// A verifier of client certificates, or none where they are not asked for.
///
/// With revocation lists every certificate of a chain below its authority must stand under a list
/// that is signed by its issuer, is not past its next update, and does not name it; a status that
/// is not known is refused like a revoked one.
///
/// # Errors
/// When an authority or a list cannot be used.
pub fn client_verifier(
    auth: &ClientAuth,
    crls: &[RevocationLists],
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ClientTlsError> {
    let (authorities, optional) = match auth {
        ClientAuth::None => return Ok(None),
        ClientAuth::Optional { authorities, .. } => (authorities, true),
        ClientAuth::Required { authorities, .. } => (authorities, false),
    };
    let mut roots = RootCertStore::empty();
    for der in authorities {
        roots.add(CertificateDer::from(der.0.to_vec())).map_err(ClientTlsError::Authority)?;
    }
    let owned = |der: &PinnedBytes| CertificateRevocationListDer::from(der.0.to_vec());
    let lists = crls.iter().flat_map(|file| &file.lists).map(owned);
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .with_crls(lists)
        .enforce_revocation_expiration();
    let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
    verifier.build().map(Some).map_err(ClientTlsError::Crl)
}
