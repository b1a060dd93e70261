//! Certificates made for a test, and the two sides of TLS that use them.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// A certificate chain and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Pem {
    /// The certificate as DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        let der = CertificateDer::from_pem_slice(self.certificate.as_bytes());
        der.expect("the certificate is PEM").to_vec()
    }
}

/// Years of validity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Years(pub(crate) i32, pub(crate) i32);

/// From before any run of a test until long after.
pub(crate) const VALID: Years = Years(2020, 2099);
/// Over before any run of a test.
pub(crate) const EXPIRED: Years = Years(2019, 2020);

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names or addresses.
    pub(crate) fn issue(&self, names: &[&str], years: Years) -> Pem {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names are valid");
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let signed = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Pem { certificate: signed.pem(), key: key.serialize_pem() }
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(builder(&self.pem).with_no_client_auth())
    }

    /// A client that trusts this authority and shows a certificate.
    pub(crate) fn client_with(&self, pem: &Pem) -> Arc<ClientConfig> {
        let (chain, key) = read(pem);
        let config = builder(&self.pem).with_client_auth_cert(chain, key);
        Arc::new(config.expect("certificate and key belong together"))
    }
}

fn builder(ca: &str) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).expect("the authority is PEM");
    roots.add(ca).expect("the authority is a certificate");
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has both versions")
        .with_root_certificates(roots)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn read(pem: &Pem) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .expect("the chain is PEM");
    let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).expect("the key is PEM");
    (chain, key)
}

/// A TLS origin with this certificate; with an authority it demands client certificates.
pub(crate) fn server(pem: &Pem, client_ca: Option<&Authority>) -> Arc<ServerConfig> {
    let (chain, key) = read(pem);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has both versions");
    let config = match client_ca {
        None => config.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let ca = CertificateDer::from_pem_slice(authority.pem.as_bytes());
            roots.add(ca.expect("the authority is PEM")).expect("it is a certificate");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider(),
            );
            config.with_client_cert_verifier(verifier.build().expect("roots are not empty"))
        }
    };
    Arc::new(config.with_single_cert(chain, key).expect("certificate and key belong together"))
}
