//! A server and a client of rustls that trust each other, for tests.

use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite, version,
};
use std::sync::Arc;

/// The suites of TLS 1.3 that are on by default.
pub(super) const SUITES: [SupportedCipherSuite; 3] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// One of TLS 1.2.
pub(super) const OLD_SUITE: SupportedCipherSuite =
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

/// What a server takes, and a client that offers `suite` only.
pub(super) fn pair(suite: SupportedCipherSuite) -> (Arc<ServerConfig>, ClientConnection) {
    let made = rcgen::generate_simple_self_signed(["weir.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let chain = vec![made.cert.der().clone()];
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.clone(), key)
        .unwrap();
    server.enable_secret_extraction = true;
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut roots = RootCertStore::empty();
    roots.add(chain.into_iter().next().unwrap()).unwrap();
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![suite];
    let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[suite.version()])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("weir.test").unwrap();
    (Arc::new(server), ClientConnection::new(Arc::new(client), name).unwrap())
}
