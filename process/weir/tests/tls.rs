//! TLS towards clients: which certificate answers, versions, client certificates, resumption.

use crate::support::client::{Client, End};
use crate::support::edge::Edge;
use crate::support::process::Weir;
use crate::support::tls::{Authority, Pem, VALID, Years};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use std::sync::Arc;

/// Weir with TLS on `web`: these certificates and further keys of the table.
fn secure(pems: &[&Pem], lines: &str) -> (Weir, Upstream) {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port());
    (Weir::start(listener(edge, pems, lines)), upstream)
}

fn listener(edge: Edge, pems: &[&Pem], lines: &str) -> Edge {
    let list: Vec<String> =
        pems.iter().enumerate().map(|(n, pem)| edge.certificate(&format!("c{n}"), pem)).collect();
    let tls = format!("tls = {{ certificates = [{}]{lines} }}", list.join(", "));
    edge.listener("web", &tls)
}

#[test]
fn the_end_of_certificates_is_a_metric() {
    const END_OF_2049: f64 = 2_524_608_000.0;
    const YEAR: f64 = 366.0 * 86_400.0;
    let ca = Authority::new();
    let long = ca.issue(&["a.test", "b.test"], VALID);
    let short = ca.issue(&["a.test"], Years(2020, 2050));
    let (weir, _upstream) = secure(&[&long, &short], "");
    let end = |labels: &[(&str, &str)]| weir.metric("weir_certificate_not_after_seconds", labels);
    let soonest = end(&[("listener", "web"), ("name", "a.test")]);
    assert!((soonest - END_OF_2049).abs() < YEAR, "{soonest}");
    assert!((end(&[]) - soonest).abs() < 1.0, "one series for one name");
}

#[test]
fn the_name_chooses_the_certificate() {
    let ca = Authority::new();
    let (a, wild) = (ca.issue(&["a.test"], VALID), ca.issue(&["*.b.test"], VALID));
    let (weir, _upstream) = secure(&[&a, &wild], "");
    for (name, pem) in [("a.test", &a), ("x.b.test", &wild)] {
        let mut client = Client::tls(weir.web(), name, ca.client()).expect("a handshake");
        assert_eq!(client.leaf(), pem.der(), "{name}");
        let head = format!("GET /a HTTP/1.1\r\nHost: {name}\r\n\r\n");
        client.send(head).expect("it is sent");
        assert_eq!(client.reply("GET").text(), "GET /a 0", "{name}");
    }
    for name in ["x.y.b.test", "b.test", "c.test"] {
        let refused = Client::tls(weir.web(), name, ca.client());
        assert!(refused.is_err(), "{name}: the first certificate does not cover it");
    }
    let (weir, _upstream) = secure(&[&a, &wild], ", strict_sni = true");
    let told = Client::tls(weir.web(), "c.test", ca.client()).err().map(|e| e.to_string());
    let told = told.unwrap_or_default().to_lowercase();
    assert!(told.contains("unrecogni"), "an alert says why: {told}");
}

/// A client that speaks only these versions.
pub(crate) fn only(
    ca: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    let der = CertificateDer::from_pem_slice(ca.pem.as_bytes()).expect("PEM");
    roots.add(der).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn versions() {
    let ca = Authority::new();
    let pem = ca.issue(&["a.test"], VALID);
    let old = only(&ca, &[&rustls::version::TLS12]);
    let (weir, _upstream) = secure(&[&pem], "");
    for config in [old.clone(), only(&ca, &[&rustls::version::TLS13])] {
        let mut client = Client::tls(weir.web(), "a.test", config).expect("a handshake");
        assert_eq!(client.get("/a").map(|r| r.status), Ok(200));
    }
    let (weir, _upstream) = secure(&[&pem], ", min_version = \"1.3\"");
    assert!(Client::tls(weir.web(), "a.test", old).is_err(), "1.2 is below the lowest version");
}

#[test]
fn client_certificates() {
    let (ca, clients, others) = (Authority::new(), Authority::new(), Authority::new());
    let pem = ca.issue(&["a.test"], VALID);
    let good = ca.client_with(&clients.issue(&["client.test"], VALID));
    let bad = ca.client_with(&others.issue(&["client.test"], VALID));
    let served = |weir: &Weir, config: &Arc<rustls::ClientConfig>| {
        let client = Client::tls(weir.web(), "a.test", config.clone());
        client.is_ok_and(|mut client| client.get("/a").is_ok_and(|reply| reply.status == 200))
    };
    for (mode, without) in [("required", false), ("optional", true)] {
        let upstream = Upstream::tagged();
        let edge = Edge::simple(upstream.port());
        let file = edge.file("clients.pem", &clients.pem);
        let lines = format!(", client_auth = \"{mode}\", client_ca = {file:?}");
        let weir = Weir::start(listener(edge, &[&pem], &lines));
        assert!(served(&weir, &good), "{mode}: a good certificate");
        assert!(!served(&weir, &bad), "{mode}: a certificate of others");
        assert_eq!(served(&weir, &ca.client()), without, "{mode}: none");
    }
}

#[test]
fn sessions_are_resumed_across_workers_and_reloads() {
    let ca = Authority::new();
    let pem = ca.issue(&["a.test"], VALID);
    let upstream = Upstream::tagged();
    let edge = listener(Edge::simple(upstream.port()).workers(2), &[&pem], "");
    let mut weir = Weir::start(edge.clone());
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        let config = only(&ca, versions);
        let resumed =
            |weir: &Weir| weir.metric("weir_tls_handshakes_total", &[("result", "resumed")]);
        let before = resumed(&weir);
        for n in 0..10 {
            // The reply comes after the tickets, so that the next connection has one.
            let mut client = Client::tls(weir.web(), "a.test", config.clone()).expect("TLS");
            assert_eq!(client.get("/a").map(|r| r.status), Ok(200), "connection {n}");
        }
        let after = resumed(&weir);
        assert!(after - before >= 9.0, "{} of 10 were resumed", after - before);
        weir.reload(edge.clone().pool(
            "p",
            "description = \"changed\"",
            &[crate::support::edge::origin("o1", upstream.port())],
        ));
        let mut client = Client::tls(weir.web(), "a.test", config).expect("TLS");
        assert_eq!(client.get("/a").map(|r| r.status), Ok(200));
        assert!(resumed(&weir) > after, "a ticket from before the reload is good after it");
    }
}

#[test]
fn plain_text_on_a_tls_port_and_the_reverse() {
    let ca = Authority::new();
    let (weir, upstream) = secure(&[&ca.issue(&["a.test"], VALID)], "");
    let mut client = weir.client();
    client.send("GET /a HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    assert!(!matches!(client.end(SOON), End::Open(_)), "closed, with an alert or a reply");
    let plain = Weir::start(Edge::simple(upstream.port()));
    let refused = Client::tls(plain.web(), "a.test", ca.client());
    assert!(refused.is_err());
    assert!(upstream.take().requests.is_empty());
    wait::until("both go on", SOON, || plain.get("/b").is_ok_and(|reply| reply.status == 200));
}

#[test]
fn hsts_and_scheme() {
    let ca = Authority::new();
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).balance("*", "p", "hsts = { max_age = \"1d\" }");
    let edge = listener(edge, &[&ca.issue(&["a.test"], VALID)], "").listener("plain", "");
    let weir = Weir::start(edge);
    let mut client = Client::tls(weir.web(), "a.test", ca.client()).expect("TLS");
    let reply = client.get("/a").expect("a reply");
    assert_eq!(reply.field("strict-transport-security"), Some("max-age=86400"));
    let mut client = Client::connect(weir.address("plain"));
    assert!(!client.get("/a").expect("a reply").has("strict-transport-security"));
    let requests = upstream.take().requests;
    let schemes: Vec<_> = requests.iter().map(|r| r.field("x-forwarded-proto")).collect();
    assert_eq!(schemes, [Some("https"), Some("http")]);
}
