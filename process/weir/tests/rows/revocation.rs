//! Row 78: a revoked client certificate is refused after a reload, and certificate and OCSP
//! response are replaced together.

use crate::support::client::{Client, End};
use crate::support::edge::Edge;
use crate::support::process::Weir;
use crate::support::tls::{Authority, EXPIRED, Pem, VALID};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use crate::tls::only;
use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Weir that asks for certificates of `clients` below these lists.
struct Rig {
    weir: Weir,
    _upstream: Upstream,
    ca: Authority,
    clients: Authority,
    certificate: String,
}

impl Rig {
    fn new() -> Self {
        let (ca, clients) = (Authority::new(), Authority::new());
        let upstream = Upstream::tagged();
        let edge = Edge::simple(upstream.port());
        let certificate = edge.certificate("a", &ca.issue(&["a.test"], VALID));
        edge.file("clients.pem", &clients.pem);
        let edge = Self::with(edge, &certificate, &[&clients.crl(&[], &[], VALID)]);
        Self { weir: Weir::start(edge), _upstream: upstream, ca, clients, certificate }
    }

    /// With these lists in files of their own.
    fn with(edge: Edge, certificate: &str, lists: &[&str]) -> Edge {
        let file = |(n, list): (usize, &&str)| {
            format!("{:?}", edge.file(&format!("{n}.crl"), list).display().to_string())
        };
        let crls: Vec<String> = lists.iter().enumerate().map(file).collect();
        let lines = format!(
            "tls = {{ certificates = [{certificate}], client_auth = \"required\", \
             client_ca = \"clients.pem\", crls = [{}] }}",
            crls.join(", ")
        );
        edge.listener("web", &lines)
    }

    fn reload(&mut self, lists: &[&str]) {
        let edge = Self::with(self.weir.edge.clone(), &self.certificate, lists);
        self.weir.reload(edge);
    }

    /// Whether a client with this certificate is served, by each version of TLS.
    #[track_caller]
    fn serves(&self, pem: &Pem) -> bool {
        let by = |version| {
            let config = shown(&self.ca, pem, version);
            let client = Client::tls(self.weir.web(), "a.test", config);
            client.is_ok_and(|mut client| client.get("/a").is_ok_and(|r| r.status == 200))
        };
        let both = [by(&rustls::version::TLS13), by(&rustls::version::TLS12)];
        assert_eq!(both[0], both[1], "TLS 1.3 and 1.2 agree");
        both[0]
    }
}

/// A client of one version that shows a certificate.
fn shown(
    ca: &Authority,
    pem: &Pem,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut config = (*only(ca, &[version])).clone();
    config.client_auth_cert_resolver = ca.client_with(pem).client_auth_cert_resolver.clone();
    Arc::new(config)
}

#[test]
fn row_78_a_revoked_client_certificate_is_refused_after_a_reload() {
    let mut rig = Rig::new();
    let issue = |name| rig.clients.issue(&[name], VALID);
    let (good, bad) = (issue("good.test"), issue("bad.test"));
    assert!(rig.serves(&good) && rig.serves(&bad), "nobody is revoked");

    // A client with a session to resume, one that is busy and one that is idle.
    let resuming = shown(&rig.ca, &bad, &rustls::version::TLS13);
    let connect = || Client::tls(rig.weir.web(), "a.test", resuming.clone()).expect("TLS");
    let resumed = || rig.weir.metric("weir_tls_handshakes_total", &[("result", "resumed")]);
    let mut idle = connect();
    assert_eq!(idle.get("/a").map(|r| r.status), Ok(200));
    let before = resumed();
    let mut busy = connect();
    assert_eq!(busy.get("/a").map(|r| r.status), Ok(200));
    assert_eq!(resumed() - before, 1.0, "a session is resumed while nothing changes");

    let revoked = rig.clients.crl(&[&bad], &[], VALID);
    rig.reload(&[&revoked]);
    assert!(rig.serves(&good), "others are served");
    assert!(!rig.serves(&bad), "a full handshake");
    let again = Client::tls(rig.weir.web(), "a.test", resuming);
    assert!(again.is_err() || again.is_ok_and(|mut c| c.get("/a").is_err()), "a resumed session");
    // What was let in by the old list has its last call, like connections of a removed listener.
    if let Ok(last) = busy.get("/a") {
        assert_eq!(last.field("connection"), Some("close"), "{last:?}");
    }
    assert!(!matches!(busy.end(SOON), End::Open(_)), "the busy connection ends");
    assert!(!matches!(idle.end(SOON), End::Open(_)), "the idle connection ends");

    // The same again changes nothing for those who are let in.
    let mut open = Client::tls(rig.weir.web(), "a.test", rig.ca.client_with(&good)).expect("TLS");
    rig.reload(&[&revoked]);
    let reply = open.get("/a").expect("a reply");
    assert_eq!((reply.status, reply.field("connection")), (200, None), "the same list again");
}

#[test]
fn row_78_a_status_that_is_not_known_is_refused() {
    let mut rig = Rig::new();
    let below = rig.clients.below("test authority below", |_| ());
    let leaf = below.issue(&["leaf.test"], VALID);
    let direct = rig.clients.issue(&["direct.test"], VALID);
    let root = rig.clients.crl(&[], &[], VALID);
    let list = below.crl(&[], &[], VALID);
    let stranger = Authority::new().crl(&[], &[], VALID);
    let both_in_one = format!("{root}{list}");
    for (what, lists, serves) in [
        ("no list of the authority between", vec![root.as_str()], (false, true)),
        ("no list of the root", vec![&list], (false, false)),
        ("a list of each", vec![&root, &list], (true, true)),
        ("both in one file", vec![&both_in_one], (true, true)),
        (
            "the authority between is revoked",
            vec![&rig.clients.crl(&[], &[&below], VALID), &list],
            (false, true),
        ),
        ("the leaf is revoked", vec![&root, &below.crl(&[&leaf], &[], VALID)], (false, true)),
        (
            "a list past its next update",
            vec![&rig.clients.crl(&[], &[], EXPIRED), &list],
            (false, false),
        ),
        ("a list of the same name by another key", vec![&stranger, &list], (false, false)),
        ("no lists at all", vec![], (true, true)),
    ] {
        rig.reload(&lists);
        assert_eq!((rig.serves(&leaf), rig.serves(&direct)), serves, "{what}");
    }
    let told = rig.weir.stderr();
    assert!(told.contains("is past its next update"), "a warning at the reload: {told}");
}

#[test]
fn row_78_a_broken_list_changes_nothing() {
    let mut rig = Rig::new();
    let bad = rig.clients.issue(&["bad.test"], VALID);
    let good = rig.clients.issue(&["good.test"], VALID);
    rig.reload(&[&rig.clients.crl(&[&bad], &[], VALID)]);
    let running = rig.weir.edge.clone();
    for broken in ["", "junk", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"] {
        let refused = [("result", "refused")];
        let before = rig.weir.metric("weir_config_reloads_total", &refused);
        Rig::with(running.clone(), &rig.certificate, &[broken]).write();
        rig.weir.hup();
        let after = rig.weir.metric("weir_config_reloads_total", &refused);
        assert_eq!(after - before, 1.0, "{broken:?} is refused");
        wait::until("the log tells the place", SOON, || {
            rig.weir.stderr().contains("listener[0].tls.crls[0]")
        });
        assert!(rig.serves(&good), "{broken:?}: the clients of before are served");
        assert!(!rig.serves(&bad), "{broken:?}: the revoked one is not");
    }
    let soonest = rig.weir.metric("weir_crl_next_update_seconds", &[("listener", "web")]);
    assert!(soonest > 4.0e9, "the metric tells when the list expires: {soonest}");
}

/// Certificate and OCSP response of each handshake, as they came.
#[derive(Debug, Default)]
struct Seen(Mutex<Option<(Vec<u8>, Vec<u8>)>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().expect("no panic") = Some((leaf.to_vec(), ocsp.to_vec()));
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn row_78_certificate_and_ocsp_response_are_replaced_together() {
    const RELOADS: usize = 20;
    let ca = Authority::new();
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port());
    // Successful OCSP responses: ENUMERATED 0, and [0] with different content.
    let staples: [&[u8]; 2] =
        [&[0x30, 5, 0x0a, 1, 0, 0xa0, 0], &[0x30, 7, 0x0a, 1, 0, 0xa0, 2, 5, 0]];
    let pems: Vec<Pem> = (0..2).map(|_| ca.issue(&["a.test"], VALID)).collect();
    let edges: Vec<Edge> = (0..2)
        .map(|n| {
            let ocsp = edge.dir.write(&format!("{n}.ocsp"), staples[n]);
            let entry = edge.certificate(&format!("c{n}"), &pems[n]);
            let entry = entry.replace(" }", &format!(", ocsp = {ocsp:?} }}"));
            edge.clone().listener("web", &format!("tls = {{ certificates = [{entry}] }}"))
        })
        .collect();
    let mut weir = Weir::start(edges[0].clone());
    let pairs: Vec<_> = (0..2).map(|n| (pems[n].der(), staples[n].to_vec())).collect();
    let (web, stop) = (weir.web(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let watcher = std::thread::spawn(move || {
        let mut counts = [0, 0];
        while !stopped.load(Ordering::Acquire) {
            let seen = Arc::new(Seen::default());
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider has them")
                .dangerous()
                .with_custom_certificate_verifier(seen.clone())
                .with_no_client_auth();
            Client::tls(web, "a.test", Arc::new(config)).expect("a handshake during reloads");
            let pair = seen.0.lock().expect("no panic").take().expect("a certificate");
            let which = pairs.iter().position(|known| *known == pair);
            counts[which.expect("certificate and staple belong together")] += 1;
        }
        counts
    });
    for n in 1..=RELOADS {
        weir.reload(edges[n % 2].clone());
    }
    stop.store(true, Ordering::Release);
    let counts = watcher.join().expect("every handshake had a pair");
    assert!(counts[0] > 0 && counts[1] > 0, "both pairs were seen: {counts:?}");
}
