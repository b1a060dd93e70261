//! A thousand edges played by one process: joined, attached over TLS, and quick to acknowledge.

use super::plane::Plane;
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use control_api::publish::{
    Certified, Change, EdgeMessage, Enrol, Frames, Items, JOIN_PATH, Numbers, Outcome,
    PlaneMessage, Report, Role, STREAM_PATH, SnapshotId, frame,
};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// How long a connection or an answer may take while many come at once.
const WITHIN: Duration = Duration::from_secs(60);
/// Connections that are made at once.
const AT_ONCE: usize = 16;
/// Edges that join by one connection: the plane closes one without a certificate after 20 s.
const JOINS_OF_ONE: usize = 50;
/// Bytes of an answer to a request to join.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// An edge has a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Had {
    /// Its generation.
    pub(super) generation: u64,
    /// When its last octet was there and the acknowledgement given to the kernel.
    pub(super) at: Instant,
}

/// All edges, attached until this is dropped.
#[derive(Debug)]
pub(super) struct Edges {
    tasks: JoinSet<Result<()>>,
    had: mpsc::UnboundedReceiver<Had>,
    names: Vec<Certified>,
    key: String,
}

impl Edges {
    /// Joins so many edges.
    ///
    /// # Errors
    /// A request is refused.
    pub(super) async fn join(count: usize, token: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::new([])?.serialize_request(&key)?.pem()?;
        let mut names = Vec::new();
        let all: Vec<usize> = (0..count).collect();
        for group in all.chunks(JOINS_OF_ONE) {
            let (mut send, connection) = connect(trusting_all()?).await?;
            let moved = tokio::spawn(connection);
            for at in group {
                let (token, request) = (token.to_owned(), request.clone());
                let enrol = Enrol { token, name: format!("played-{at}"), request };
                let body = serde_json::to_vec(&enrol)?;
                names.push(asked(&mut send, body).await.context("joining")?);
            }
            moved.abort();
        }
        // Nobody says anything before the edges are attached.
        let had = mpsc::unbounded_channel().1;
        Ok(Self { tasks: JoinSet::new(), had, names, key: key.serialize_pem() })
    }

    /// Attaches them all, and waits until each has what is published.
    ///
    /// # Errors
    /// An edge is refused, or has no snapshot in time.
    pub(super) async fn attach(&mut self) -> Result<u64> {
        let (tell, had) = mpsc::unbounded_channel();
        self.had = had;
        let mut newest = 0;
        let mut waiting = 0;
        for (at, name) in self.names.iter().enumerate() {
            let (config, tell) = (as_edge(name, &self.key)?, tell.clone());
            // One of them looks at what it gets; the others are as quick as the process allows.
            self.tasks.spawn(async move { follow(config, tell, at == 0).await });
            waiting += 1;
            if waiting == AT_ONCE {
                newest = next(&mut self.had, &mut self.tasks).await?.generation.max(newest);
                waiting -= 1;
            }
        }
        for _ in 0..waiting {
            newest = self.next().await?.generation.max(newest);
        }
        Ok(newest)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// The next snapshot that an edge has.
    ///
    /// # Errors
    /// An edge failed, or none says anything.
    pub(super) async fn next(&mut self) -> Result<Had> {
        next(&mut self.had, &mut self.tasks).await
    }
}

async fn next(
    had: &mut mpsc::UnboundedReceiver<Had>,
    tasks: &mut JoinSet<Result<()>>,
) -> Result<Had> {
    tokio::select! {
        biased;
        had = had.recv() => had.context("no edge is attached"),
        Some(ended) = tasks.join_next() => match ended? {
            Ok(()) => bail!("the plane closed a stream"),
            Err(error) => Err(error.context("an edge")),
        },
        () = tokio::time::sleep(WITHIN) => {
            bail!("no edge says anything for {} s", WITHIN.as_secs())
        }
    }
}

type Moved = h2::client::Connection<tokio_rustls::client::TlsStream<TcpStream>, Bytes>;

async fn connect(config: ClientConfig) -> Result<(SendRequest<Bytes>, Moved)> {
    let connected = async {
        let stream = TcpStream::connect(Plane::edges()).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::IpAddress(Plane::edges().ip().into());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        anyhow::Ok(h2::client::handshake(stream).await?)
    };
    tokio::time::timeout(WITHIN, connected).await.context("a connection takes too long")?
}

fn request(path: &str) -> Result<Request<()>> {
    let uri = format!("https://{}{path}", Plane::edges());
    Ok(Request::builder().method("POST").uri(uri).body(())?)
}

async fn asked(send: &mut SendRequest<Bytes>, body: Vec<u8>) -> Result<Certified> {
    std::future::poll_fn(|context| send.poll_ready(context)).await?;
    let (reply, mut out) = send.send_request(request(JOIN_PATH)?, false)?;
    out.send_data(body.into(), true)?;
    let (head, mut body) = reply.await?.into_parts();
    let mut all = Vec::new();
    while let Some(octets) = body.data().await {
        let octets = octets?;
        body.flow_control().release_capacity(octets.len())?;
        all.extend_from_slice(&octets);
        ensure!(all.len() <= ANSWER_BYTES_MAX, "an answer without end");
    }
    ensure!(head.status == 200, "{}: {}", head.status, String::from_utf8_lossy(&all));
    Ok(serde_json::from_slice(&all)?)
}

/// The life of one edge.
async fn follow(
    config: ClientConfig,
    tell: mpsc::UnboundedSender<Had>,
    checks: bool,
) -> Result<()> {
    let (mut send, connection) = connect(config).await?;
    tokio::spawn(connection);
    std::future::poll_fn(|context| send.poll_ready(context)).await?;
    let (reply, mut out) = send.send_request(request(STREAM_PATH)?, false)?;
    let hello = EdgeMessage::Hello { version: "bench".to_owned(), has: None, starts: 1 };
    say(&mut out, &hello)?;
    let (head, body) = reply.await?.into_parts();
    ensure!(head.status == 200, "its stream is refused: {}", head.status);
    Stream { out, body, tell, items: checks.then(Items::default), taking: None }.live().await
}

fn say(out: &mut SendStream<Bytes>, message: &EdgeMessage) -> Result<()> {
    // A few hundred bytes each, which are taken at once.
    Ok(out.send_data(frame(message)?.into(), false)?)
}

struct Stream {
    out: SendStream<Bytes>,
    body: RecvStream,
    tell: mpsc::UnboundedSender<Had>,
    /// What it has, where it looks at what it gets.
    items: Option<Items>,
    taking: Option<SnapshotId>,
}

impl Stream {
    async fn live(mut self) -> Result<()> {
        let mut frames = Frames::<PlaneMessage>::default();
        let mut every = Duration::from_secs(2);
        let mut report = Instant::now() + every;
        loop {
            tokio::select! {
                octets = self.body.data() => {
                    let Some(octets) = octets else { return Ok(()) };
                    let octets = octets?;
                    self.body.flow_control().release_capacity(octets.len())?;
                    frames.push(&octets);
                    while let Some(message) = frames.take()? {
                        if let PlaneMessage::Welcome { report_ms, ref roles, .. } = message {
                            ensure!(roles == &[Role::Proxy], "roles {roles:?}");
                            every = Duration::from_millis(report_ms);
                        }
                        self.take(message)?;
                    }
                }
                () = tokio::time::sleep_until(report.into()) => {
                    report += every;
                    let numbers = Numbers { requests: 1, ..Numbers::default() };
                    let report = Report { numbers, origins: Vec::new() };
                    say(&mut self.out, &EdgeMessage::Report(report))?;
                }
            }
        }
    }

    fn take(&mut self, message: PlaneMessage) -> Result<()> {
        match message {
            PlaneMessage::Begin { snapshot, base, .. } => {
                if base.is_none()
                    && let Some(items) = &mut self.items
                {
                    *items = Items::default();
                }
                self.taking = Some(snapshot);
            }
            PlaneMessage::Items { put, remove } => {
                if let Some(items) = &mut self.items {
                    put.into_iter().for_each(|item| items.apply(Change::Put(item)));
                    remove.into_iter().for_each(|key| items.apply(Change::Remove(key)));
                }
            }
            PlaneMessage::End { snapshot } => {
                ensure!(self.taking.as_ref() == Some(&snapshot), "an end without its beginning");
                let right = self.items.as_ref().is_none_or(|items| items.hash() == snapshot.hash);
                ensure!(right, "what came does not have the hash of {}", snapshot.generation);
                let generation = snapshot.generation;
                let outcome = Outcome::Applied { took_us: 0 };
                say(&mut self.out, &EdgeMessage::Ack { snapshot, outcome })?;
                // Nobody listens any longer once all is measured.
                let _ = self.tell.send(Had { generation, at: Instant::now() });
            }
            PlaneMessage::Welcome { .. } | PlaneMessage::Beat { .. } => {}
        }
        Ok(())
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    Ok(builder.with_protocol_versions(&[&rustls::version::TLS13])?)
}

fn as_edge(name: &Certified, key: &str) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(name.authorities.as_bytes()) {
        roots.add(authority?)?;
    }
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(name.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let mut config = builder()?.with_root_certificates(roots).with_client_auth_cert(chain?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn trusting_all() -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = builder()?.dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(Blind(provider)));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Takes anybody for the plane: to join, at an address of this machine that the bench alone has.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
