//! Calls of etcd's v3 API in its JSON form: the next endpoint where one does not answer, a new
//! token where the old one ended, and etcd's errors as those of the store.

use super::super::error::StoreError;
use super::EtcdOptions;
use crate::client::{Connection, Endpoint, Reply};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How long one endpoint may take to answer. etcd gives up on a request without a leader after 7 s;
/// another member may have one before.
const ANSWER_MAX: Duration = Duration::from_secs(3);

/// How long a call goes from endpoint to endpoint: longer than the election of a leader, which
/// takes one to two seconds.
const CALL_MAX: Duration = Duration::from_secs(8);

/// How long it waits when every endpoint was asked.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are kept for the next call.
const IDLE_MAX: usize = 4;

/// gRPC's numbers of errors, as etcd uses them.
mod code {
    pub(super) const INVALID_ARGUMENT: u64 = 3;
    pub(super) const PERMISSION_DENIED: u64 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u64 = 8;
    pub(super) const OUT_OF_RANGE: u64 = 11;
    pub(super) const UNAUTHENTICATED: u64 = 16;
}

/// A way to etcd.
#[derive(Debug)]
pub(super) struct Client {
    endpoints: Vec<Endpoint>,
    /// The endpoint that answered last.
    current: AtomicUsize,
    tls: Arc<ClientConfig>,
    login: Option<Value>,
    token: Mutex<Option<String>>,
    idle: Mutex<Vec<(usize, Connection)>>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

/// Why one endpoint's answer is not the end of a call.
enum Miss {
    /// Another endpoint, or the same one later, may answer.
    Elsewhere(String),
    /// A new token may help.
    Token(String),
    /// It is the answer.
    Final(StoreError),
}

impl Client {
    pub(super) fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let parse = |text: &String| {
            let what = "an endpoint is http://HOST:PORT or https://HOST:PORT".to_owned();
            Endpoint::parse(text).ok_or(StoreError::File { path: text.clone(), what })
        };
        let endpoints = options.endpoints.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if endpoints.is_empty() {
            let what = "name at least one endpoint".to_owned();
            return Err(StoreError::File { path: "etcd".to_owned(), what });
        }
        let login = match (&options.user, &options.password_file) {
            (None, _) => None,
            (Some(user), None) => Some(json!({"name": user, "password": ""})),
            (Some(user), Some(path)) => {
                let password = std::fs::read_to_string(path).map_err(|e| file_fault(path, &e))?;
                Some(json!({"name": user, "password": password.trim_end_matches(['\r', '\n'])}))
            }
        };
        Ok(Self {
            endpoints,
            current: AtomicUsize::new(0),
            tls: tls(options)?,
            login,
            token: Mutex::default(),
            idle: Mutex::default(),
        })
    }

    /// The endpoints, for people.
    pub(super) fn place(&self) -> String {
        let texts: Vec<_> = self.endpoints.iter().map(|to| to.text.as_str()).collect();
        format!("etcd at {}", texts.join(", "))
    }

    /// Asks until an endpoint answers. A call may be done more than once: each one is such that the
    /// second time changes nothing.
    pub(super) async fn call(
        &self,
        attempt: &'static str,
        path: &str,
        request: &Value,
    ) -> Result<Value, StoreError> {
        let body = request.to_string();
        let begun = Instant::now();
        let (mut why, mut logins) = (String::new(), 0);
        loop {
            for _ in 0..self.endpoints.len() {
                let at = self.current.load(Relaxed) % self.endpoints.len();
                match self.once(at, path, body.as_bytes()).await {
                    Ok(reply) => return Ok(reply),
                    Err(Miss::Final(error)) => return Err(error),
                    // A token ends after minutes; a second one at once does not help.
                    Err(Miss::Token(said)) if logins > 0 || self.login.is_none() => {
                        return Err(StoreError::Denied { place: self.place(), why: said });
                    }
                    Err(Miss::Token(_)) => {
                        logins += 1;
                        self.set_token(None);
                    }
                    Err(Miss::Elsewhere(said)) => {
                        let to = self.endpoints.get(at).map_or("", |to| to.text.as_str());
                        why = format!("{to}: {said}");
                        self.current.store(at + 1, Relaxed);
                    }
                }
                if begun.elapsed() > CALL_MAX {
                    return Err(StoreError::Unavailable { place: self.place(), attempt, why });
                }
            }
            sleep(ROUND_PAUSE).await;
        }
    }

    /// Opens a reply that has no end, at the endpoint that answered last.
    pub(super) async fn stream(&self, path: &str, request: &Value) -> Result<Reply, StoreError> {
        let place = || self.place();
        let failed =
            |why: String| StoreError::Unavailable { place: place(), attempt: "watch", why };
        let at = self.current.load(Relaxed) % self.endpoints.len();
        let opened = timeout(ANSWER_MAX, async {
            let token = self.token(at).await?;
            let connection = self.connect(at).await?;
            let body = request.to_string();
            let reply = connection.post(path, token.as_deref(), body.as_bytes()).await;
            reply.map_err(|error| Miss::Elsewhere(error.to_string()))
        });
        match opened.await {
            Ok(Ok(reply)) if reply.status == 200 => Ok(reply),
            Ok(Ok(reply)) => Err(failed(format!("status {}", reply.status))),
            Ok(Err(Miss::Final(error))) => Err(error),
            Ok(Err(Miss::Elsewhere(why) | Miss::Token(why))) => Err(failed(why)),
            Err(_) => Err(failed("no answer".to_owned())),
        }
    }

    async fn once(&self, at: usize, path: &str, body: &[u8]) -> Result<Value, Miss> {
        let asked = timeout(ANSWER_MAX, async {
            let token = self.token(at).await?;
            self.ask(at, path, token.as_deref(), body).await
        });
        asked.await.unwrap_or_else(|_| Err(Miss::Elsewhere("no answer in time".to_owned())))
    }

    /// One request on a connection that was kept, or on a new one where that has ended.
    async fn ask(
        &self,
        at: usize,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<Value, Miss> {
        let kept = self.take_idle(at);
        let mut reply = match kept {
            Some(connection) => connection.post(path, token, body).await.ok(),
            None => None,
        };
        if reply.is_none() {
            let posted = self.connect(at).await?.post(path, token, body).await;
            reply = Some(posted.map_err(|error| Miss::Elsewhere(error.to_string()))?);
        }
        let Some(reply) = reply else { return Err(Miss::Elsewhere(String::new())) };
        let status = reply.status;
        let whole = reply.whole().await;
        let (body, connection) = whole.map_err(|error| Miss::Elsewhere(error.to_string()))?;
        if let Some(connection) = connection {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_MAX {
                idle.push((at, connection));
            }
        }
        let value: Value = serde_json::from_slice(&body).map_err(|error| {
            Miss::Elsewhere(format!("status {status} without JSON ({error}): no etcd?"))
        })?;
        if status == 200 { Ok(value) } else { Err(self.miss(&value)) }
    }

    async fn connect(&self, at: usize) -> Result<Connection, Miss> {
        let missing = || Miss::Elsewhere("no such endpoint".to_owned());
        let to = self.endpoints.get(at).ok_or_else(missing)?;
        let opened = Connection::open(to, self.tls.clone()).await;
        opened.map_err(|error| Miss::Elsewhere(error.to_string()))
    }

    fn take_idle(&self, at: usize) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let found = idle.iter().rposition(|(of, _)| *of == at)?;
        Some(idle.remove(found).1)
    }

    /// The token in force, or a new one; none where there is no user.
    async fn token(&self, at: usize) -> Result<Option<String>, Miss> {
        let Some(login) = &self.login else { return Ok(None) };
        let known = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let body = login.to_string();
        let reply = self.ask(at, "/v3/auth/authenticate", None, body.as_bytes()).await;
        let reply = reply.map_err(|miss| match miss {
            // Without a token yet, etcd's word is about user and password.
            Miss::Token(why) => Miss::Final(StoreError::Denied { place: self.place(), why }),
            other => other,
        })?;
        let token = reply.get("token").and_then(Value::as_str).map(str::to_owned);
        self.set_token(token.clone());
        Ok(token)
    }

    fn set_token(&self, token: Option<String>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// What an error of etcd means here.
    fn miss(&self, reply: &Value) -> Miss {
        let text = |name: &str| reply.get(name).and_then(Value::as_str);
        let why = text("error").or(text("message")).unwrap_or("an error without words").to_owned();
        let place = self.place();
        let number = reply.get("code").and_then(Value::as_u64).unwrap_or_default();
        let has = |part: &str| why.contains(part);
        match number {
            code::RESOURCE_EXHAUSTED if has("database space exceeded") => {
                let why = format!(
                    "{why}; compact and defragment etcd, or raise its quota, and \
                                   disarm the alarm"
                );
                Miss::Final(StoreError::Full { place, why })
            }
            code::INVALID_ARGUMENT if has("too many operations") || has("too large") => {
                Miss::Final(StoreError::TooLarge { place, why })
            }
            code::RESOURCE_EXHAUSTED if has("larger than max") => {
                Miss::Final(StoreError::TooLarge { place, why })
            }
            code::UNAUTHENTICATED => Miss::Token(why),
            code::INVALID_ARGUMENT if has("authentication failed") || has("user name is empty") => {
                Miss::Final(StoreError::Denied { place, why })
            }
            code::PERMISSION_DENIED => Miss::Final(StoreError::Denied { place, why }),
            // A revision of etcd that was compacted while pages were read: the call begins anew.
            code::OUT_OF_RANGE | code::INVALID_ARGUMENT => {
                Miss::Final(StoreError::Unavailable { place, attempt: "ask", why })
            }
            _ => Miss::Elsewhere(why),
        }
    }
}

fn tls(options: &EtcdOptions) -> Result<Arc<ClientConfig>, StoreError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &options.ca {
        for der in certificates(path)? {
            roots.add(der).map_err(|error| file_fault(path, &error))?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let wrong = |what: String| StoreError::File { path: "etcd".to_owned(), what };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => {
            let der = PrivateKeyDer::from_pem_file(key).map_err(|e| file_fault(key, &e))?;
            let chain = certificates(cert)?;
            builder.with_client_auth_cert(chain, der).map_err(|e| file_fault(cert, &e))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(wrong("cert and key belong together".to_owned())),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let all: Vec<_> = read.map_err(|error| file_fault(path, &error))?;
    if all.is_empty() {
        return Err(file_fault(path, &io::Error::other("holds no certificate")));
    }
    Ok(all)
}

fn file_fault(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::File { path: path.display().to_string(), what: error.to_string() }
}

/// Octets as the JSON form has them.
pub(super) fn coded(octets: impl AsRef<[u8]>) -> Value {
    Value::from(STANDARD.encode(octets))
}

/// The octets of a member; absent ones are empty.
pub(super) fn octets(of: &Value, name: &str) -> Vec<u8> {
    let text = of.get(name).and_then(Value::as_str).unwrap_or_default();
    STANDARD.decode(text).unwrap_or_default()
}

/// A 64-bit number, which the JSON form has as text; absent ones are 0.
pub(super) fn number(of: &Value, name: &str) -> u64 {
    let value = of.get(name);
    let text = value.and_then(Value::as_str).and_then(|text| text.parse().ok());
    text.or(value.and_then(Value::as_u64)).unwrap_or_default()
}
