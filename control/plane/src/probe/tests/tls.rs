//! HTTPS probes: trust, names, client certificates, and the reason of each failure.

use super::support::*;
use core_model::config::*;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::Write;
use std::sync::{Arc, Mutex};

pub(super) type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(super) fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` with its key, until the end of `year`.
pub(super) fn leaf(issuer: &Issuer, name: &str, year: i32) -> (CertificateDer<'static>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 12, 31);
    (params.signed_by(&key, issuer).unwrap().der().clone(), key.serialize_der())
}

/// The TLS settings of an origin that offers nothing by ALPN.
pub(super) fn settings(
    (certificate, key): (CertificateDer<'static>, Vec<u8>),
    clients: Option<&Issuer>,
) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = RootCertStore::empty();
            roots.add(issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    builder.with_single_cert(vec![certificate], key).unwrap()
}

/// An https origin; it keeps the names that it was asked for.
fn https(
    certificate: (CertificateDer<'static>, Vec<u8>),
    clients: Option<&Issuer>,
) -> (FakeOrigin, Arc<Mutex<Vec<Option<String>>>>) {
    https_with(settings(certificate, clients))
}

/// As [`https`], with these settings. It speaks HTTP/1.1.
pub(super) fn https_with(config: ServerConfig) -> (FakeOrigin, Arc<Mutex<Vec<Option<String>>>>) {
    let config = Arc::new(config);
    let names = Arc::new(Mutex::new(Vec::new()));
    let kept = names.clone();
    let origin = FakeOrigin::new(move |stream, _| {
        let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        if read_head(&mut tls).is_empty() {
            return;
        }
        kept.lock().unwrap().push(tls.conn.server_name().map(str::to_owned));
        let _ = tls.write_all(OK);
        tls.conn.send_close_notify();
        let _ = tls.flush();
    });
    (origin, names)
}

fn der(bytes: &[u8]) -> PinnedBytes {
    PinnedBytes(bytes.into())
}

/// A pool of one origin whose Host is `host` and that trusts `issuer`.
pub(super) fn trusting(issuer: &Issuer, host: &str, port: u16) -> Pool {
    let mut pool = pool(vec![Origin {
        host_header: (!host.is_empty()).then(|| host.to_owned()),
        ..origin("o", port)
    }]);
    pool.tls = Some(std::sync::Arc::new(UpstreamTls {
        server_name: None,
        verify: true,
        authorities: vec![der(issuer.der())],
        ca_file: None,
        client_certificate: None,
        ports: Vec::new(),
    }));
    pool
}

pub(super) fn probe() -> Monitor {
    monitor(MonitorKind::Https)
}

#[test]
fn certificate_and_name_are_verified() {
    let ours = authority();
    let (good, names) = https(leaf(&ours, "shop.test", 2100), None);
    let at = |host: &str| trusting(&ours, host, good.port());
    check("trusted", probe(), at("shop.test"), "");
    assert_eq!(names.lock().unwrap().as_slice(), [Some("shop.test".to_owned())]);
    check("another name", probe(), at("other.test"), "TLS name mismatch");
    check("no name but the address", probe(), at(""), "TLS name mismatch");
    let mut named = at("other.test");
    std::sync::Arc::make_mut(named.tls.as_mut().unwrap()).server_name =
        Some("shop.test".to_owned());
    check("the pool's name", probe(), named, "");
    let stranger = trusting(&authority(), "shop.test", good.port());
    check("another authority", probe(), stranger.clone(), "TLS untrusted certificate");
    let mut system = stranger;
    system.tls = None;
    check("the system's authorities", probe(), system, "TLS untrusted certificate");

    let (expired, _) = https(leaf(&ours, "shop.test", 2001), None);
    let at_expired = trusting(&ours, "shop.test", expired.port());
    check("expired", probe(), at_expired.clone(), "TLS untrusted certificate");
    let insecure = Monitor { allow_insecure: true, ..probe() };
    check("not looked at by the monitor", insecure, at_expired.clone(), "");
    let mut unverified = at_expired;
    std::sync::Arc::make_mut(unverified.tls.as_mut().unwrap()).verify = false;
    check("not looked at by the pool", probe(), unverified, "");

    let (by_address, _) = https(leaf(&ours, "127.0.0.1", 2100), None);
    check("an address as the name", probe(), trusting(&ours, "", by_address.port()), "");
}

#[test]
fn a_client_certificate_is_shown_where_the_pool_has_one() {
    let ours = authority();
    let (origin, _) = https(leaf(&ours, "shop.test", 2100), Some(&ours));
    let without = trusting(&ours, "shop.test", origin.port());
    check("none", probe(), without.clone(), "TLS Handshake Failure");
    let (certificate, key) = leaf(&ours, "weir.test", 2100);
    let shown = Certificate {
        certificate_file: "c.pem".into(),
        key_file: "k.pem".into(),
        chain: vec![der(&certificate)],
        key: der(&key),
        key_kind: KeyKind::Pkcs8,
        ocsp: None,
        names: vec!["weir.test".to_owned()],
        not_after: 0,
    };
    let mut with = without;
    std::sync::Arc::make_mut(with.tls.as_mut().unwrap()).client_certificate = Some(shown.clone());
    check("shown", probe(), with.clone(), "");
    let broken = Certificate { key: der(b"no key"), ..shown };
    std::sync::Arc::make_mut(with.tls.as_mut().unwrap()).client_certificate = Some(broken);
    check("unusable", probe(), with, "Monitor Config Error");
}

#[test]
fn a_handshake_that_fails_has_its_reason() {
    let ours = authority();
    let at = |origin: &FakeOrigin| trusting(&ours, "shop.test", origin.port());
    let sends = |bytes: &'static [u8]| {
        FakeOrigin::new(move |mut stream, _| {
            // The whole ClientHello is read, or the close would be a reset.
            let mut header = [0; 5];
            std::io::Read::read_exact(&mut stream, &mut header).unwrap();
            let mut rest = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
            std::io::Read::read_exact(&mut stream, &mut rest).unwrap();
            let _ = stream.write_all(bytes);
        })
    };
    for (says, bytes, reason) in [
        ("closes", &b""[..], "TLS Handshake Failure"),
        ("unknown name", b"\x15\x03\x03\0\x02\x02\x70", "TLS unrecognized name"),
        ("handshake_failure", b"\x15\x03\x03\0\x02\x02\x28", "TLS Handshake Failure"),
        ("no version", b"\x15\x03\x03\0\x02\x02\x46", "TLS protocol error"),
        ("plain text", b"HTTP/1.1 400 Bad Request\r\n\r\n", "TLS protocol error"),
    ] {
        check(says, probe(), at(&sends(bytes)), reason);
    }
    let silent = FakeOrigin::new(|stream, _| hold(stream));
    let impatient = Monitor { timeout: SHORT, retries: 1, ..probe() };
    check("says nothing", impatient, at(&silent), "TLS Handshake Failure");
    assert_eq!(silent.connections(), 2);
}

#[test]
fn a_redirect_to_tls_at_the_origin_is_verified() {
    let ours = authority();
    let (secure, _) = https(leaf(&ours, "shop.test", 2100), None);
    let plain = FakeOrigin::replying(format!(
        "HTTP/1.1 308 P\r\nlocation: https://shop.test:{}/x\r\n\r\n",
        secure.port()
    ));
    let follows = Monitor { follow_redirects: true, ..monitor(MonitorKind::Http) };
    check("trusted", follows.clone(), trusting(&ours, "shop.test", plain.port()), "");
    let stranger = trusting(&authority(), "shop.test", plain.port());
    check("not trusted", follows, stranger, "TLS untrusted certificate");
}
