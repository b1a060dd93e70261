//! How probes speak TLS: what they trust and what they show.

use super::plan::Plan;
use core_model::config::{Certificate, KeyKind, MonitorKind, PinnedBytes};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
    ServerName, UnixTime,
};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Where systems keep the authorities they trust, in one PEM file.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities of the system, read at the first use.
#[derive(Default)]
pub(crate) struct SystemTrust(OnceLock<Arc<RootCertStore>>);

impl SystemTrust {
    /// The authorities in `SSL_CERT_FILE` or else in the first bundle of the system that there is.
    /// Certificates that cannot be used are left out; without any, no certificate is trusted.
    fn store(&self) -> Arc<RootCertStore> {
        let read = || {
            let asked = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            let mut files = asked.into_iter().chain(SYSTEM_BUNDLES.iter().map(PathBuf::from));
            let mut store = RootCertStore::empty();
            if let Some(found) = files.find_map(|file| CertificateDer::pem_file_iter(file).ok()) {
                store.add_parsable_certificates(found.flatten());
            }
            Arc::new(store)
        };
        self.0.get_or_init(read).clone()
    }
}

/// The TLS settings of one plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    /// Towards the origin: the pool's authorities and client certificate.
    pub(crate) own: Option<Arc<ClientConfig>>,
    /// Towards another host that a redirect names: the system's authorities, and nothing shown.
    pub(crate) other: Option<Arc<ClientConfig>>,
}

/// Makes the TLS settings that `plan` may need. The error says which part of the pool's TLS
/// settings cannot be used.
pub(crate) fn session(plan: &Plan, system: &SystemTrust) -> Result<Session, String> {
    let (kind, follows) = (plan.monitor.kind, plan.monitor.follow_redirects);
    if kind == MonitorKind::Tcp || (kind == MonitorKind::Http && !follows) {
        return Ok(Session::default());
    }
    let tls = plan.tls.as_ref();
    let verify = !plan.monitor.allow_insecure;
    let authorities = tls.map_or(&[][..], |tls| &tls.authorities);
    let own_trust = match (verify && tls.is_none_or(|tls| tls.verify), authorities) {
        (false, _) => None,
        (true, []) => Some(system.store()),
        (true, authorities) => Some(store_of(authorities)?),
    };
    let shown = tls.and_then(|tls| tls.client_certificate.as_ref());
    let other = match follows {
        true => Some(client(verify.then(|| system.store()), None)?),
        false => None,
    };
    Ok(Session { own: Some(client(own_trust, shown)?), other })
}

fn store_of(authorities: &[PinnedBytes]) -> Result<Arc<RootCertStore>, String> {
    let mut store = RootCertStore::empty();
    for der in authorities {
        let der = CertificateDer::from(der.0.to_vec());
        store.add(der).map_err(|e| format!("an authority cannot be used: {e}"))?;
    }
    Ok(Arc::new(store))
}

fn client(
    trust: Option<Arc<RootCertStore>>,
    shown: Option<&Certificate>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("no TLS version can be used: {e}"))?;
    let builder = match trust {
        Some(store) => builder.with_root_certificates(store),
        None => {
            let anything = Arc::new(AcceptAnything(provider));
            builder.dangerous().with_custom_certificate_verifier(anything)
        }
    };
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = certificate.chain.iter().map(|der| der.0.to_vec().into()).collect();
            builder
                .with_client_auth_cert(chain, private_key(certificate))
                .map_err(|e| format!("the client certificate cannot be used: {e}"))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A resumed session proves nothing about the certificate that the origin has at present.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

fn private_key(certificate: &Certificate) -> PrivateKeyDer<'static> {
    let der = certificate.key.0.to_vec();
    match certificate.key_kind {
        KeyKind::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
        KeyKind::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
        KeyKind::Sec1 => PrivateSec1KeyDer::from(der).into(),
    }
}

/// For `allow_insecure` and `verify = false`: any certificate will do. Signatures are still
/// checked, so that the peer holds the key of what it shows.
#[derive(Debug)]
struct AcceptAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
