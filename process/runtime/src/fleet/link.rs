//! One connection to a control plane: TCP, TLS 1.3 with this edge's certificate, HTTP/2.

use super::{FleetError, Identity, PlaneUrl};
use bytes::Bytes;
use control_api::publish::{Hash, Refusal, Refused};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// How long a connection may take, name, TCP, TLS and HTTP/2 together.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer, or the head of one, may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long a plane may take nothing of what this edge says.
const TAKE_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of an answer that is no stream: a certificate and its authorities take some three
/// thousand.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a refusal.
const REFUSAL_BYTES_MAX: usize = 16 * 1024;
/// Characters of a refusal that are shown.
const REFUSAL_CHARS_MAX: usize = 500;
/// Bytes that a plane may send ahead: a snapshot of some megabytes comes without waiting for this
/// edge's word, and an edge that is slow holds no more than this.
const WINDOW_BYTES: u32 = 4 << 20;

/// Whose word is taken for a control plane's.
#[derive(Clone, Debug)]
pub(super) enum Trust {
    /// One whose authority has this hash; this edge shows nothing.
    Token(Hash),
    /// One that the authorities of this identity signed; this edge shows its certificate.
    Identity(Box<Identity>),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    url: String,
    send: SendRequest<Bytes>,
    /// Moves the connection's octets; ended with it.
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Connects.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub(super) async fn open(url: &PlaneUrl, trust: &Trust) -> Result<Self, FleetError> {
        let shown = url.to_string();
        let slow = |_| FleetError::Slow {
            url: url.to_string(),
            step: "connecting",
            within: CONNECT_WITHIN,
        };
        tokio::time::timeout(CONNECT_WITHIN, Self::connect(url, shown, trust))
            .await
            .map_err(slow)?
    }

    async fn connect(url: &PlaneUrl, shown: String, trust: &Trust) -> Result<Self, FleetError> {
        let name = url.server_name().map_err(|e| FleetError::Material(e.to_string()))?;
        let config = tls_config(trust)?;
        let unreached = |cause| FleetError::Connect { url: shown.clone(), cause };
        let stream = TcpStream::connect((url.host(), url.port())).await.map_err(unreached)?;
        stream.set_nodelay(true).map_err(unreached)?;
        let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = shaken.map_err(|cause| FleetError::Tls { url: shown.clone(), cause })?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        builder.enable_push(false);
        let (send, connection) =
            builder.handshake(stream).await.map_err(|cause| http(&shown, cause))?;
        // How it ends is told by the streams that it takes with it.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { url: shown, send, task })
    }

    /// The plane at the other end.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    async fn request(
        &self,
        path: &str,
        body: Bytes,
        whole: bool,
    ) -> Result<(SendStream<Bytes>, RecvStream), FleetError> {
        let failed = |cause| http(&self.url, cause);
        let target = format!("{}{path}", self.url);
        let request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header("content-type", "application/json")
            .header("user-agent", concat!("weir/", env!("CARGO_PKG_VERSION")))
            .body(())
            .map_err(|error| FleetError::Answer {
                url: self.url.clone(),
                what: error.to_string(),
            })?;
        let mut send = self.send.clone().ready().await.map_err(failed)?;
        let (reply, mut out) = send.send_request(request, false).map_err(failed)?;
        // Who refuses may not want to hear all of it first: the answer says more than that.
        let said = self.say(&mut out, body, whole).await;
        let reply = match reply.await {
            Ok(reply) => reply,
            Err(cause) => return Err(said.err().unwrap_or_else(|| failed(cause))),
        };
        let (head, body) = reply.into_parts();
        if head.status == StatusCode::OK {
            return Ok((out, body));
        }
        let text = self.collect(body, REFUSAL_BYTES_MAX).await.unwrap_or_default();
        let (url, status) = (self.url.clone(), head.status.as_u16());
        let (refusal, why) = reason(&text, head.status);
        Err(FleetError::Refused { url, status, refusal, why })
    }

    /// Asks once.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub(super) async fn ask(&self, path: &str, body: Vec<u8>) -> Result<Vec<u8>, FleetError> {
        let asked = async {
            let (_, answer) = self.request(path, body.into(), true).await?;
            self.collect(answer, ANSWER_BYTES_MAX).await
        };
        tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(|_| self.slow("asking"))?
    }

    /// Opens a stream that says `first`.
    ///
    /// # Errors
    /// See [`FleetError`].
    pub(super) async fn stream(
        &self,
        path: &str,
        first: Vec<u8>,
    ) -> Result<(SendStream<Bytes>, RecvStream), FleetError> {
        let asked = self.request(path, first.into(), false);
        tokio::time::timeout(ANSWER_WITHIN, asked)
            .await
            .map_err(|_| self.slow("opening the stream"))?
    }

    fn slow(&self, step: &'static str) -> FleetError {
        FleetError::Slow { url: self.url.clone(), step, within: ANSWER_WITHIN }
    }

    /// Sends octets as the plane takes them.
    pub(super) async fn say(
        &self,
        out: &mut SendStream<Bytes>,
        octets: Bytes,
        last: bool,
    ) -> Result<(), FleetError> {
        let mut left = octets;
        let said = async {
            while !left.is_empty() {
                out.reserve_capacity(left.len());
                let room = std::future::poll_fn(|context| out.poll_capacity(context)).await;
                let room = match room {
                    Some(Ok(room)) => room.min(left.len()),
                    Some(Err(cause)) => return Err(http(&self.url, cause)),
                    None => return Err(FleetError::Closed { url: self.url.clone() }),
                };
                let part = left.split_to(room);
                let last = last && left.is_empty();
                out.send_data(part, last).map_err(|cause| http(&self.url, cause))?;
            }
            Ok(())
        };
        let slow = FleetError::Slow {
            url: self.url.clone(),
            step: "telling it something",
            within: TAKE_WITHIN,
        };
        tokio::time::timeout(TAKE_WITHIN, said).await.map_err(|_| slow)?
    }

    /// The next octets of a stream.
    ///
    /// # Errors
    /// The stream is over, by whomever.
    pub(super) async fn hear(&self, body: &mut RecvStream) -> Result<Bytes, FleetError> {
        match body.data().await {
            None => Err(FleetError::Closed { url: self.url.clone() }),
            Some(Err(cause)) => Err(http(&self.url, cause)),
            Some(Ok(octets)) => {
                let freed = body.flow_control().release_capacity(octets.len());
                freed.map_err(|cause| http(&self.url, cause))?;
                Ok(octets)
            }
        }
    }

    async fn collect(&self, mut body: RecvStream, most: usize) -> Result<Vec<u8>, FleetError> {
        let mut all = Vec::new();
        while let Some(octets) = body.data().await {
            let octets = octets.map_err(|cause| http(&self.url, cause))?;
            if all.len() + octets.len() > most {
                let what = format!("more than {most} bytes");
                return Err(FleetError::Answer { url: self.url.clone(), what });
            }
            all.extend_from_slice(&octets);
            let _ = body.flow_control().release_capacity(octets.len());
        }
        Ok(all)
    }
}

fn http(url: &str, cause: h2::Error) -> FleetError {
    let url = url.to_owned();
    match cause.get_io().map(io::Error::kind) {
        // A plane that was killed says no goodbye.
        Some(io::ErrorKind::UnexpectedEof) => FleetError::Closed { url },
        _ => FleetError::Http { url, cause },
    }
}

/// Why a plane refuses: its reason for programs, and that for people.
fn reason(text: &[u8], status: StatusCode) -> (Refusal, String) {
    let (refusal, shown) = match serde_json::from_slice::<Refused>(text) {
        Ok(refused) => (refused.reason, refused.message),
        Err(_) => (Refusal::Other, String::from_utf8_lossy(text).into_owned()),
    };
    // It goes to a log, and is a stranger's word until a plane is known.
    let shown = shown.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = shown.take(REFUSAL_CHARS_MAX).collect();
    match shown.is_empty() {
        true => (refusal, status.canonical_reason().unwrap_or("no reason").to_owned()),
        false => (refusal, shown),
    }
}

fn tls_config(trust: &Trust) -> Result<ClientConfig, FleetError> {
    let material = |error: &dyn std::fmt::Display| FleetError::Material(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| material(&e))?;
    let mut config = match trust {
        Trust::Token(hash) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { hash: *hash, provider }))
            .with_no_client_auth(),
        Trust::Identity(identity) => {
            let mut roots = RootCertStore::empty();
            for authority in CertificateDer::pem_slice_iter(identity.authorities.as_bytes()) {
                let authority = authority.map_err(|e| material(&e))?;
                roots.add(authority).map_err(|e| material(&e))?;
            }
            let chain: Result<Vec<_>, _> =
                CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect();
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes());
            builder
                .with_root_certificates(roots)
                .with_client_auth_cert(
                    chain.map_err(|e| material(&e))?,
                    key.map_err(|e| material(&e))?,
                )
                .map_err(|e| material(&e))?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Believes whom an authority signed that is known by its hash alone, which the plane sends with
/// its certificate.
#[derive(Debug)]
struct Pinned {
    hash: Hash,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let known = intermediates.iter().find(|der| Hash::of(der.as_ref()) == self.hash);
        let mut roots = RootCertStore::empty();
        roots.add(known.ok_or(unknown)?.clone().into_owned())?;
        let provider = self.provider.clone();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
