//! A control plane for tests, real from the socket up to its messages: it joins edges, renews
//! their certificates and says on streams what a test has it say.

use crate::fleet::{PlaneUrl, now_unix};
use bytes::Bytes;
use control_api::publish::{
    Certified, EdgeMessage, Enrol, Frames, Hash, ITEMS_MAX, Item, ItemKey, ItemKind, Items,
    JoinToken, PlaneMessage, Refusal, Refused, Renew, Role, SnapshotId, frame,
};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData, SignatureAlgorithm,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

/// An authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

/// The key of a request for a certificate.
struct Requested(Vec<u8>);

impl PublicKeyData for Requested {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), pem, der }
    }

    /// A token for edges of planes of this authority.
    pub(super) fn token(&self, id: char) -> JoinToken {
        let (id, secret) = (id.to_string().repeat(32), "5".repeat(64));
        JoinToken { id, secret, authority: Hash::of(self.der.as_ref()) }
    }

    fn certify(&self, request: &str) -> String {
        let der = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).unwrap();
        let (_, parsed) = X509CertificationRequest::from_der(der.as_ref()).unwrap();
        let key = &parsed.certification_request_info.subject_pki.subject_public_key.data;
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(&Requested(key.to_vec()), &self.issuer).unwrap().pem()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![leaf.der().clone(), self.der.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What a plane does with certificates and streams.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Seconds until a certificate is to be renewed.
    pub(super) renew_in: u64,
    /// Seconds that a certificate lasts.
    pub(super) lasts: u64,
    /// Whether it knows the edges that come.
    pub(super) knows: bool,
}

pub(super) const USUAL: Manner = Manner { renew_in: 3_600, lasts: 7_200, knows: true };

/// What all streams of a plane see.
struct Shared {
    authority: Arc<Authority>,
    manner: Manner,
    heard: Mutex<Vec<EdgeMessage>>,
    asked: Mutex<Vec<String>>,
    published: Mutex<(SnapshotId, Items)>,
    said: broadcast::Sender<Bytes>,
    beats: AtomicBool,
}

/// A plane on a thread of its own. Its drop kills it, connections and all.
pub(super) struct Plane {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

/// A pool as an item.
pub(super) fn item(id: &str, weight: u32) -> Item {
    let key = ItemKey { kind: ItemKind::Pool, id: id.into() };
    Item::new(key, &json!({ "name": id, "weight": weight })).unwrap()
}

pub(super) fn items(all: &[(&str, u32)]) -> Items {
    let mut items = Items::default();
    all.iter().for_each(|(id, weight)| {
        items.apply(control_api::publish::Change::Put(item(id, *weight)));
    });
    items
}

pub(super) fn snapshot(generation: u64, items: &Items) -> SnapshotId {
    SnapshotId { lineage: "line".into(), generation, hash: items.hash() }
}

impl Plane {
    pub(super) fn start(authority: &Arc<Authority>, manner: Manner, all: &[(&str, u32)]) -> Self {
        let items = items(all);
        let published = Mutex::new((snapshot(1, &items), items));
        let (said, _) = broadcast::channel(64);
        let shared = Arc::new(Shared {
            authority: authority.clone(),
            manner,
            heard: Mutex::default(),
            asked: Mutex::default(),
            published,
            said,
            beats: AtomicBool::new(true),
        });
        let (stop, stopped) = watch::channel(false);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let serving = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(serve(listener, serving, stopped));
        });
        Self { address, shared, stop, thread: Some(thread) }
    }

    pub(super) fn url(&self) -> PlaneUrl {
        format!("https://{}", self.address).parse().unwrap()
    }

    /// Says something on the streams that are open.
    pub(super) fn say(&self, message: &PlaneMessage) {
        let _ = self.shared.said.send(frame(message).unwrap().into());
    }

    /// Says nothing from here on unless a test has it say something.
    pub(super) fn fall_silent(&self) {
        self.shared.beats.store(false, Relaxed);
    }

    /// Publishes other items, as a delta.
    pub(super) fn publish(&self, generation: u64, all: &[(&str, u32)]) -> SnapshotId {
        let new = items(all);
        let snapshot = snapshot(generation, &new);
        let mut published = self.shared.published.lock().unwrap();
        let (base, old) = published.clone();
        let (mut put, mut remove) = (Vec::new(), Vec::new());
        for change in new.since(&old) {
            match change {
                control_api::publish::Change::Put(item) => put.push(item),
                control_api::publish::Change::Remove(key) => remove.push(key),
            }
        }
        *published = (snapshot.clone(), new);
        let count = put.len() + remove.len();
        self.say(&begin(&snapshot, Some(base), count));
        self.say(&PlaneMessage::Items { put, remove });
        self.say(&PlaneMessage::End { snapshot: snapshot.clone() });
        snapshot
    }

    /// Waits until an edge has said what `test` looks for.
    pub(super) async fn hears<T>(&self, test: impl Fn(&EdgeMessage) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = self.shared.heard.lock().unwrap().iter().find_map(&test) {
                return found;
            }
            let heard = format!("{:?}", self.shared.heard.lock().unwrap());
            assert!(begun.elapsed() < Duration::from_secs(20), "heard so far: {heard}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether an edge began with this.
    pub(super) fn heard_hello_with(&self, what: Option<&SnapshotId>) -> bool {
        let heard = self.shared.heard.lock().unwrap();
        heard.iter().any(|message| match message {
            EdgeMessage::Hello { has, .. } => has.as_ref() == what,
            _ => false,
        })
    }

    /// The paths that were asked for.
    pub(super) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }
}

pub(super) fn begin(snapshot: &SnapshotId, base: Option<SnapshotId>, items: usize) -> PlaneMessage {
    assert!(items <= ITEMS_MAX);
    PlaneMessage::Begin { snapshot: snapshot.clone(), base, items, committed_ms: 0 }
}

async fn serve(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let listener = TcpListener::from_std(listener).unwrap();
    let acceptor = shared.authority.acceptor();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                tokio::spawn(connection(stream, acceptor.clone(), shared.clone()));
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let shown = stream.get_ref().1.peer_certificates().is_some();
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, reply))) = connection.accept().await {
        tokio::spawn(answer(request, reply, shown, shared.clone()));
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut reply: SendResponse<Bytes>,
    shown: bool,
    shared: Arc<Shared>,
) {
    let path = request.uri().path().to_owned();
    shared.asked.lock().unwrap().push(path.clone());
    let mut body = request.into_body();
    if path.ends_with("/stream") && shown && shared.manner.knows {
        return stream(body, reply, shared).await;
    }
    let mut text = Vec::new();
    while !path.ends_with("/stream")
        && let Some(Ok(octets)) = body.data().await
    {
        text.extend_from_slice(&octets);
    }
    let now = now_unix();
    let certified = |request: &str| Certified {
        edge: "e".repeat(32),
        certificate: shared.authority.certify(request),
        authorities: shared.authority.pem.clone(),
        ends: now + shared.manner.lasts,
        renew: now + shared.manner.renew_in,
    };
    let answer = match serde_json::from_slice::<Enrol>(&text) {
        Ok(enrol) if enrol.token.starts_with("weir-join.f") => None,
        Ok(enrol) => Some(certified(&enrol.request)),
        Err(_) if !shown => None,
        Err(_) => serde_json::from_slice::<Renew>(&text).ok().map(|r| certified(&r.request)),
    };
    let (status, text) = match answer {
        Some(certified) => (200, serde_json::to_vec(&certified).unwrap()),
        None => {
            let message = "no such edge or token: ask for a new one".to_owned();
            (403, serde_json::to_vec(&Refused { reason: Refusal::Revoked, message }).unwrap())
        }
    };
    let head = Response::builder().status(status).body(()).unwrap();
    if let Ok(mut out) = reply.send_response(head, false) {
        let _ = out.send_data(text.into(), true);
    }
}

async fn stream(mut body: RecvStream, mut reply: SendResponse<Bytes>, shared: Arc<Shared>) {
    let mut said = shared.said.subscribe();
    let mut out = reply.send_response(Response::new(()), false).unwrap();
    let welcome = PlaneMessage::Welcome {
        name: "edge".into(),
        roles: vec![Role::Proxy],
        report_ms: 100,
        beat_ms: 100,
    };
    out.send_data(frame(&welcome).unwrap().into(), false).unwrap();
    let mut frames = Frames::<EdgeMessage>::default();
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    loop {
        let octets: Bytes = tokio::select! {
            octets = said.recv() => octets.unwrap(),
            octets = body.data() => {
                let Some(Ok(octets)) = octets else { return };
                let _ = body.flow_control().release_capacity(octets.len());
                frames.push(&octets);
                let mut answer = Vec::new();
                while let Some(message) = frames.take().unwrap() {
                    if let EdgeMessage::Hello { has, .. } = &message {
                        answer.extend(greeting(has.as_ref(), &shared));
                    }
                    shared.heard.lock().unwrap().push(message);
                }
                answer.into()
            }
            _ = beat.tick(), if shared.beats.load(Relaxed) => {
                let generation = shared.published.lock().unwrap().0.generation;
                frame(&PlaneMessage::Beat { generation }).unwrap().into()
            }
        };
        if out.send_data(octets, false).is_err() {
            return;
        }
    }
}

/// All that is published, for an edge that has something else.
fn greeting(has: Option<&SnapshotId>, shared: &Shared) -> Vec<u8> {
    let (snapshot, items) = shared.published.lock().unwrap().clone();
    if has == Some(&snapshot) || items.is_empty() {
        return Vec::new();
    }
    let put: Vec<_> = items.iter().collect();
    let messages = [
        begin(&snapshot, None, put.len()),
        PlaneMessage::Items { put, remove: Vec::new() },
        PlaneMessage::End { snapshot },
    ];
    messages.iter().flat_map(|message| frame(message).unwrap()).collect()
}
