//! The certificate of the run and the TLS client of the load.
//!
//! One cipher suite and one group are offered: OpenSSL-based peers and rustls would otherwise
//! choose differently and do different work.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// The name in the certificate, the SNI and the Host of every request.
pub const HOST: &str = "bench.test";
/// What the client offers, for the table.
pub const OFFER: &str =
    "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519 (hybrid rows: X25519MLKEM768), ECDSA P-256";

/// Certificate and key files of a run.
#[derive(Clone, Debug)]
pub struct Identity {
    /// PEM certificate.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
    /// Both in one file, as HAProxy reads them.
    pub both: PathBuf,
}

impl Identity {
    /// Writes a fresh self-signed ECDSA P-256 certificate into a folder.
    ///
    /// # Errors
    /// When a key cannot be made or a file not written.
    pub fn make(folder: &Path) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()])
            .context("making the run's certificate")?;
        let identity = Self {
            certificate: folder.join("certificate.pem"),
            key: folder.join("key.pem"),
            both: folder.join("both.pem"),
        };
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(&identity.certificate, &certificate)?;
        fs::write(&identity.key, &key)?;
        fs::write(&identity.both, certificate + &key)?;
        Ok(identity)
    }
}

/// The name the client asks for.
///
/// # Errors
/// Never for the constant host.
pub fn server_name() -> Result<ServerName<'static>> {
    ServerName::try_from(HOST).context("the run's host name")
}

/// What a client of the load offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// X25519MLKEM768 in place of X25519.
    pub hybrid: bool,
    /// HTTP/2 in place of HTTP/1.1.
    pub h2: bool,
}

/// A client that makes a full handshake on every connection.
///
/// # Errors
/// When the provider does not know the offered suite.
pub fn full(offer: Offer) -> Result<Arc<ClientConfig>> {
    client(offer, Resumption::disabled())
}

/// Clients for `count` connections that resume, each with a ticket store of its own, so that one
/// connection's tickets are never taken by another.
///
/// # Errors
/// When the provider does not know the offered suite.
pub fn resuming(offer: Offer, count: usize) -> Result<Vec<Arc<ClientConfig>>> {
    (0..count)
        .map(|_| client(offer, Resumption::store(Arc::new(ClientSessionMemoryCache::new(2)))))
        .collect()
}

fn client(offer: Offer, resumption: Resumption) -> Result<Arc<ClientConfig>> {
    let group = if offer.hybrid {
        aws_lc_rs::kx_group::X25519MLKEM768
    } else {
        aws_lc_rs::kx_group::X25519
    };
    let provider = Arc::new(CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .context("the load's TLS client")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified))
        .with_no_client_auth();
    config.resumption = resumption;
    let protocol = if offer.h2 { "h2" } else { "http/1.1" };
    config.alpn_protocols = vec![protocol.into()];
    Ok(Arc::new(config))
}

/// Believes every certificate: the load measures servers of its own machine, and a cheap client
/// keeps the proxy, not the load, the slower side.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("the load offers TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
