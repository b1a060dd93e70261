//! Certificates made for a test, and the two sides of TLS that use them.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A certificate chain and its key.
#[derive(Clone, Debug)]
pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
    serial: u64,
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
    /// Certificates between the root and what this authority issues, PEM.
    above: String,
    serial: u64,
}

static SERIAL: AtomicU64 = AtomicU64::new(1);

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    (params, KeyPair::generate().expect("a key can be made"))
}

impl Authority {
    pub(crate) fn new() -> Self {
        let (params, key) = authority("test authority");
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        let issuer = Issuer::new(params, key);
        Self { pem: certificate.pem(), issuer, above: String::new(), serial: 0 }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = authority(name);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let signed = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        let above = signed.pem() + &self.above;
        Self { pem: signed.pem(), issuer: Issuer::new(params, key), above, serial }
    }

    /// A certificate for these names or addresses.
    pub(crate) fn issue(&self, names: &[&str], years: Years) -> Pem {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        self.issue_of(CertificateParams::new(names).expect("names are valid"), years)
    }

    /// A certificate of these parameters.
    pub(crate) fn issue_of(&self, mut params: CertificateParams, years: Years) -> Pem {
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key can be made");
        let signed = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        Pem { certificate: signed.pem() + &self.above, key: key.serialize_pem(), serial }
    }

    /// A revocation list of this authority, in force in these years.
    pub(crate) fn crl(&self, revoked: &[&Pem], below: &[&Self], years: Years) -> String {
        let serials = revoked.iter().map(|pem| pem.serial).chain(below.iter().map(|a| a.serial));
        let entry = |serial: u64| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(years.0, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(years.0, 1, 1),
            next_update: date_time_ymd(years.1, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).expect("the authority can sign");
        signed.pem().expect("it can be encoded")
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(builder(&self.pem).with_no_client_auth())
    }

    /// A client that trusts this authority and offers these protocols (ALPN).
    pub(crate) fn client_alpn(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut config = builder(&self.pem).with_no_client_auth();
        config.alpn_protocols = alpn(protocols);
        Arc::new(config)
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

fn alpn(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// A TLS origin with this certificate that takes these protocols (ALPN).
pub(crate) fn server_alpn(pem: &Pem, protocols: &[&str]) -> Arc<ServerConfig> {
    let mut config = Arc::unwrap_or_clone(server(pem, None));
    config.alpn_protocols = alpn(protocols);
    Arc::new(config)
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
