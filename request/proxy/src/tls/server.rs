//! TLS towards clients: which certificate answers, who may connect, and the handshake.

use super::{HandshakeLimits, Session, Tickets, TlsStream, io::HandshakeError};
use crate::tcp::Tcp;
use crate::timer::{self, Timer};
use core_model::config::{Certificate, Listener, Tls, TlsVersion};
use hashbrown::HashMap;
use process_runtime::client_tls::{self, ClientTlsError};
use process_runtime::origin_tls;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection,
};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureAlgorithm};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// What is wrong with TLS material that was readable; the operator's fault.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key does not fit or is of a kind that rustls does not know.
    #[error("certificate {certificate}: {cause}")]
    Certificate {
        /// The file.
        certificate: String,
        /// What rustls says.
        #[source]
        cause: rustls::Error,
    },
    /// Client certificates cannot be verified.
    #[error("client certificates of {owner}: {cause}")]
    Clients {
        /// The listener.
        owner: String,
        /// Why.
        #[source]
        cause: ClientTlsError,
    },
    /// Anything else in a TLS configuration.
    #[error("TLS of {owner}: {cause}")]
    Settings {
        /// The listener or pool.
        owner: String,
        /// Why.
        cause: String,
    },
}

fn certified(certificate: &Certificate) -> Result<CertifiedKey, TlsError> {
    let fault = |cause| TlsError::Certificate {
        certificate: certificate.certificate_file.display().to_string(),
        cause,
    };
    let key =
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&origin_tls::private_key(certificate))
            .map_err(fault)?;
    let mut certified = CertifiedKey::new(origin_tls::chain(certificate), key);
    certified.keys_match().map_err(fault)?;
    certified.ocsp = certificate.ocsp.as_ref().map(|ocsp| ocsp.0.to_vec());
    Ok(certified)
}

/// Certificates of one name: ECDSA is preferred, RSA is for clients that know nothing else.
#[derive(Debug, Default, Clone)]
struct Candidates(Vec<Arc<CertifiedKey>>);

impl Candidates {
    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits =
            |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let ecdsa = |key: &&Arc<CertifiedKey>| key.key.algorithm() != SignatureAlgorithm::RSA;
        let mut usable = self.0.iter().filter(fits);
        let first = usable.next()?;
        if ecdsa(&first) {
            Some(first.clone())
        } else {
            usable.find(ecdsa).or(Some(first)).cloned()
        }
    }
}

/// Finds certificates by SNI: the exact name, then a wildcard for its parent, then the default.
#[derive(Debug)]
pub(crate) struct Resolver {
    exact: HashMap<String, Candidates, foldhash::fast::RandomState>,
    wildcard: HashMap<String, Candidates, foldhash::fast::RandomState>,
    default: Candidates,
    strict: bool,
}

impl Resolver {
    fn new(tls: &Tls) -> Result<Self, TlsError> {
        let mut resolver = Self {
            exact: HashMap::default(),
            wildcard: HashMap::default(),
            default: Candidates::default(),
            strict: tls.strict_sni,
        };
        let first_names = tls.certificates.first().map(|c| c.names.clone()).unwrap_or_default();
        for certificate in &tls.certificates {
            let key = Arc::new(certified(certificate)?);
            for name in &certificate.names {
                let name = name.to_ascii_lowercase();
                let place = match name.strip_prefix("*.") {
                    Some(parent) => resolver.wildcard.entry(parent.to_owned()),
                    None => resolver.exact.entry(name),
                };
                place.or_default().0.push(key.clone());
            }
            // The default may be a pair (ECDSA and RSA) for the same names.
            if resolver.default.0.is_empty() || certificate.names == first_names {
                resolver.default.0.push(key);
            }
        }
        Ok(resolver)
    }
}

impl Resolver {
    fn find(&self, name: &str) -> Option<&Candidates> {
        let lower = name.to_ascii_lowercase();
        self.exact.get(&lower).or_else(|| {
            let (_, parent) = lower.split_once('.')?;
            self.wildcard.get(parent)
        })
    }
}

/// What a listener needs for handshakes.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    config: Arc<ServerConfig>,
    names: Arc<Resolver>,
    tickets: Arc<Tickets>,
}

impl ServerTls {
    /// Whether both ask the same of client certificates.
    pub(crate) fn lets_in_the_same(&self, other: &Self) -> bool {
        self.tickets.lets_in_the_same(&other.tickets)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return self.default.choose(&hello) };
        match self.find(name) {
            Some(candidates) => candidates.choose(&hello),
            None if self.strict => None,
            None => self.default.choose(&hello),
        }
    }
}

/// The rustls configuration of a listener.
///
/// # Errors
/// When a certificate, key or authority cannot be used.
pub(crate) fn server_config(
    listener: &Listener,
    tls: &Tls,
    tickets: Arc<Tickets>,
) -> Result<ServerTls, TlsError> {
    let owner = || format!("listener {}", listener.name);
    let settings = |cause: &dyn std::fmt::Display| TlsError::Settings {
        owner: owner(),
        cause: cause.to_string(),
    };
    let versions: &[_] = match tls.min_version {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| settings(&error))?;
    let verifier = client_tls::client_verifier(&tls.client_auth, &tls.crls);
    let verifier = verifier.map_err(|cause| TlsError::Clients { owner: owner(), cause })?;
    let builder = match verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let names = Arc::new(Resolver::new(tls)?);
    let mut config = builder.with_cert_resolver(names.clone());
    config.alpn_protocols =
        listener.protocols.iter().map(|protocol| protocol.alpn().to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets.clone();
    // One ticket: every further one costs its sealing and nobody keeps it.
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    config.ignore_client_order = false;
    config.send_half_rtt_data = false;
    // `record.rs` takes the keys of a connection that stays.
    config.enable_secret_extraction = true;
    Ok(ServerTls { config: Arc::new(config), names, tickets })
}

/// Runs a handshake with a client. `first` are bytes already read from the socket; `named` says
/// whether the name that the client asks for is to be given back (it is empty otherwise).
///
/// # Errors
/// When the handshake fails, is too large or too slow.
pub(crate) async fn accept(
    tcp: Tcp,
    tls: &ServerTls,
    first: &[u8],
    named: bool,
    limits: HandshakeLimits,
    timer: &Timer,
) -> Result<(TlsStream, String), HandshakeError> {
    let session =
        UnbufferedServerConnection::new(tls.config.clone()).map_err(HandshakeError::Tls)?;
    let mut stream = TlsStream::new(tcp, Session::Server(session));
    stream.unread(first);
    let deadline = timer::tick_after(limits.time);
    let mut name = String::new();
    if tls.names.strict || named {
        // rustls answers an unknown name with another alert than RFC 6066 §3 asks for, and does not
        // tell the name of an unbuffered connection.
        let known = |name: &str| !tls.names.strict || tls.names.find(name).is_some();
        name = poll_fn(|cx| match stream.poll_name(cx, known) {
            Poll::Pending => timer.poll(cx, deadline).map(|()| Err(HandshakeError::Timeout)),
            ready => ready,
        })
        .await?;
    }
    poll_fn(|cx| match stream.poll_handshake(cx, limits.bytes) {
        Poll::Pending => timer.poll(cx, deadline).map(|()| Err(HandshakeError::Timeout)),
        ready => ready,
    })
    .await?;
    Ok((stream, name))
}
