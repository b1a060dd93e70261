//! Control planes on ports of their own, and edges that say what they are told to.

use crate::publish::ca::Authority;
use crate::publish::join::Invitation;
use crate::publish::listen::{EdgeServer, Gate};
use crate::publish::operator::{EdgeAnswer, EdgeRequest, FleetError, answer};
use crate::publish::{EdgeStatus, EdgesSettings, Identity, StreamBody, Streams};
use crate::store::{Backend, Embedded, Keeper, Vault, Who};
use bytes::Bytes;
use control_api::publish::{
    Certified, Enrol, JOIN_PATH, JoinToken, RENEW_PATH, Refusal, Refused, Renew, Role, STREAM_PATH,
};
use hyper::body::{Body, Frame, Incoming};
use process_runtime::config_file::ControlLimits;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde::Serialize;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long anything may take, load included.
pub(super) const SOON: Duration = Duration::from_secs(30);
/// A life that no test outlasts.
pub(super) const LONG: Duration = Duration::from_secs(86_400);
/// Limits that no test meets by chance.
const AMPLE: ControlLimits = ControlLimits {
    window: Duration::from_secs(300),
    calls_per_token: u32::MAX,
    calls_per_address: u32::MAX,
    denials_per_address: 8,
    connections: 100,
};

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(SOON * 2, work).await.expect("in time") })
}

pub(super) fn who() -> Who {
    Who { actor: "cli:test".to_owned(), address: None }
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("this millennium")
}

/// A store with its keys, which ends with its owner.
pub(super) struct Store {
    pub(super) keeper: Arc<Keeper>,
    pub(super) vault: Vault,
    folder: PathBuf,
}

impl Store {
    pub(super) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-publish-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let store = Embedded::open(&folder.join("store")).await.expect("a store");
        let keeper = Keeper::open(Backend::Embedded(store), crate::rest::validate).await;
        let vault = Vault::open(&folder.join("keys")).expect("a vault");
        Self { keeper: Arc::new(keeper.expect("a keeper")), vault, folder }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Everything that lies on the disk, as text, but for the keys.
    pub(super) fn disk(&self) -> String {
        let octets = std::fs::read(self.folder.join("store")).expect("the store's file");
        String::from_utf8_lossy(&octets).into_owned()
    }

    pub(super) async fn authority(&self) -> Authority {
        let opened = Authority::open(&self.keeper, &self.vault, &who(), now_ms() / 1_000).await;
        opened.expect("an authority")
    }

    pub(super) async fn ask(&self, request: EdgeRequest) -> Result<EdgeAnswer, FleetError> {
        answer(&self.keeper, &self.vault, &[], &who(), request, now_ms()).await
    }

    /// Makes a join token.
    pub(super) async fn invite(&self, invitation: Invitation) -> JoinToken {
        let made = self.ask(EdgeRequest::CreateToken(invitation)).await.expect("a token");
        let EdgeAnswer::Created { text, .. } = made else { panic!("{made:?}") };
        text.parse().expect("a join token")
    }

    /// A control plane on this store.
    pub(super) async fn plane(&self, life: Duration) -> Plane {
        let settings = EdgesSettings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: vec!["127.0.0.1".to_owned()],
            certificate_life: life,
            connections: 100,
        };
        let (keeper, authority) = (self.keeper.clone(), self.authority().await);
        let certificate = authority.certificate().clone();
        let streams = Arc::new(Greeter::default());
        let gate = Gate::new(keeper, authority, &settings, &AMPLE, streams);
        let server = EdgeServer::bind(settings.address, &gate).await.expect("a listener");
        let address = server.address().expect("an address");
        let gate = Arc::new(gate);
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server.serve(gate.clone(), async move { drop(stopped.await) }));
        Plane { address, gate, certificate, stop: Some(stop) }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a usual token is.
pub(super) fn invitation() -> Invitation {
    let roles = vec![Role::Proxy];
    Invitation { name: "t".to_owned(), roles, lasts_ms: 3_600_000, uses: Some(1) }
}

/// A control plane that serves edges.
pub(super) struct Plane {
    pub(super) address: SocketAddr,
    pub(super) gate: Arc<Gate>,
    certificate: CertificateDer<'static>,
    pub(super) stop: Option<oneshot::Sender<()>>,
}

/// Streams that begin with the edge's name and roles.
#[derive(Default)]
struct Greeter {
    attached: Mutex<BTreeMap<String, mpsc::UnboundedSender<Bytes>>>,
}

struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|octets| octets.map(|octets| Ok(Frame::data(octets))))
    }
}

impl Streams for Greeter {
    fn attach(
        self: Arc<Self>,
        edge: Identity,
        _source: SocketAddr,
        _incoming: Incoming,
    ) -> StreamBody {
        let (send, receive) = mpsc::unbounded_channel();
        let greeting = format!("{} {:?}", edge.name, edge.roles);
        send.send(Bytes::from(greeting)).expect("there is room");
        self.attached.lock().expect("whole").insert(edge.id, send);
        StreamBody::new(Fed(receive))
    }

    fn detach(&self, edge: &str) {
        self.attached.lock().expect("whole").remove(edge);
    }

    fn edges(&self) -> Vec<EdgeStatus> {
        Vec::new()
    }
}

/// A key and the certificate that it has, if it has one.
pub(super) struct Edge {
    pub(super) key: KeyPair,
    pub(super) certified: Option<Certified>,
}

impl Edge {
    pub(super) fn new() -> Self {
        Self { key: KeyPair::generate().expect("a key"), certified: None }
    }

    /// A request for a certificate of the edge's key that asks for more than it will get.
    pub(super) fn request(&self) -> String {
        let params = CertificateParams::new(vec!["control.example".to_owned()]).expect("a name");
        let request = params.serialize_request(&self.key).expect("a request");
        request.pem().expect("a PEM")
    }

    pub(super) fn enrol(&self, token: &JoinToken) -> Enrol {
        let (token, name) = (token.to_string(), "edge-1".to_owned());
        Enrol { token, name, request: self.request() }
    }

    pub(super) async fn join(plane: &Plane, token: &JoinToken) -> Self {
        let mut edge = Self::new();
        let joined = plane.join(&edge.enrol(token)).await;
        edge.certified = Some(joined.expect("a certificate"));
        edge
    }

    pub(super) async fn renew(&mut self, plane: &Plane) -> Result<(), Answer> {
        let body = Renew { request: self.request() };
        let answer = plane.call(Some(self), RENEW_PATH, &body).await.expect("an answer");
        self.certified = Some(answer.certified()?);
        Ok(())
    }

    pub(super) fn id(&self) -> &str {
        &self.certified.as_ref().expect("certified").edge
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        let pem = &self.certified.as_ref().expect("certified").certificate;
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    }
}

/// What a control plane said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn refused(&self) -> (u16, Refusal, String) {
        let said = String::from_utf8_lossy(&self.body);
        let body: Refused = serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{said}"));
        (self.status, body.reason, body.message)
    }

    fn certified(self) -> Result<Certified, Self> {
        if self.status != 200 {
            return Err(self);
        }
        Ok(serde_json::from_slice(&self.body).expect("a certificate"))
    }
}

impl Plane {
    /// TLS as an edge speaks it.
    pub(super) async fn connect(
        &self,
        edge: Option<&Edge>,
        protocol: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let shown = edge.map(|edge| (vec![edge.certificate()], edge.key.serialize_der()));
        self.connect_as(shown, protocol).await
    }

    pub(super) async fn connect_as(
        &self,
        shown: Option<(Vec<CertificateDer<'static>>, Vec<u8>)>,
        protocol: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
                builder.with_client_auth_cert(chain, key).expect("a certificate")
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One `POST` over HTTP/1.1.
    pub(super) async fn call(
        &self,
        edge: Option<&Edge>,
        path: &str,
        body: &impl Serialize,
    ) -> io::Result<Answer> {
        let body = serde_json::to_string(body).expect("JSON");
        exchange(self.connect(edge, "http/1.1").await?, path, &body).await
    }

    pub(super) async fn join(&self, enrol: &Enrol) -> Result<Certified, Answer> {
        self.call(None, JOIN_PATH, enrol).await.expect("an answer").certified()
    }

    /// A stream of an edge, over HTTP/2.
    pub(super) async fn follow(&self, edge: &Edge) -> Result<Followed, Answer> {
        let stream = self.connect(Some(edge), "h2").await.expect("TLS");
        let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut client = client.ready().await.expect("HTTP/2");
        let uri = format!("https://127.0.0.1{STREAM_PATH}");
        let request = http::Request::post(uri).body(()).expect("a request");
        let (response, up) = client.send_request(request, false).expect("sent");
        let response = response.await.expect("an answer");
        let (status, mut down) = (response.status().as_u16(), response.into_body());
        if status != 200 {
            let mut body = Vec::new();
            while let Some(octets) = down.data().await {
                body.extend(octets.expect("octets"));
            }
            return Err(Answer { status, body });
        }
        Ok(Followed { down, connection, _held: (client, up) })
    }
}

/// One request over HTTP/1.1, on any connection.
pub(super) async fn exchange(
    mut stream: TlsStream<TcpStream>,
    path: &str,
    body: &str,
) -> io::Result<Answer> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: plane\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    // A body that is refused need not be read to its end.
    let _ = stream.write_all(body.as_bytes()).await;
    let mut octets = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut octets)).await;
    if let Err(error) = read.expect("an answer in time")
        && octets.is_empty()
    {
        return Err(error);
    }
    let text = String::from_utf8_lossy(&octets);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some((status, (_, body))) = status.zip(text.split_once("\r\n\r\n")) else {
        return Err(io::Error::other(format!("no answer: {text}")));
    };
    Ok(Answer { status, body: body.as_bytes().to_vec() })
}

/// A stream that an edge has.
#[derive(Debug)]
pub(super) struct Followed {
    down: h2::RecvStream,
    connection: tokio::task::JoinHandle<()>,
    /// A connection that nobody holds would be closed by the edge itself.
    _held: (h2::client::SendRequest<Bytes>, h2::SendStream<Bytes>),
}

impl Followed {
    /// What comes next; none at the end.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            let next = tokio::time::timeout(SOON, self.down.data()).await.expect("in time");
            let octets = next?.ok()?;
            if !octets.is_empty() {
                return Some(String::from_utf8_lossy(&octets).into_owned());
            }
        }
    }

    /// Waits until the control plane has closed the connection.
    pub(super) async fn closed(mut self) {
        let ended = tokio::time::timeout(SOON, &mut self.connection).await;
        ended.expect("in time").expect("no panic");
    }
}
