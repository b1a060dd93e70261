//! An API on a port of its own over a store of its own, and a client that says what it is told to.

use crate::rest::operator::{self, Wish};
use crate::rest::token::Fresh;
use crate::rest::{Server, Site, validate};
use crate::store::{Backend, Embedded, Keeper, Vault, Who};
use process_runtime::config_file::ControlLimits;
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A served API, which ends with its owner.
pub(super) struct Api {
    address: SocketAddr,
    pub(super) keeper: Arc<Keeper>,
    folder: PathBuf,
    _stop: oneshot::Sender<()>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn code(&self) -> Option<u64> {
        self.body.pointer("/errors/0/code").and_then(Value::as_u64)
    }

    pub(super) fn result(&self) -> &Value {
        self.body.get("result").unwrap_or(&Value::Null)
    }

    #[track_caller]
    pub(super) fn id(&self) -> String {
        let id = self.result().get("id").and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no id: {}", self.body)).to_owned()
    }

    /// A field of the head.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub(super) const AMPLE: ControlLimits = ControlLimits {
    window: Duration::from_secs(300),
    calls_per_token: u32::MAX,
    calls_per_address: u32::MAX,
    denials_per_address: u32::MAX,
    connections: 100,
};

pub(super) fn who() -> Who {
    Who { actor: "cli:test".to_owned(), address: None }
}

pub(super) fn wish(accounts: &[&str]) -> Wish {
    Wish {
        name: "test".to_owned(),
        email: "who@weir.invalid".to_owned(),
        accounts: accounts.iter().map(|account| (*account).to_owned()).collect(),
        zones: Vec::new(),
        read_only: false,
        sources: Vec::new(),
        lasts: None,
    }
}

impl Api {
    pub(super) async fn start(limits: ControlLimits) -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-rest-{}-{n}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let store = Embedded::open(&folder.join("store")).await.expect("a store");
        let keeper = Keeper::open(Backend::Embedded(store), validate).await.expect("a keeper");
        operator::first_account(&keeper, &who()).await.expect("an account");
        let keeper = Arc::new(keeper);
        let vault = Vault::open(&folder.join("key")).expect("a vault");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, None).await.expect("a listener");
        let address = server.address().expect("an address");
        let ips = vec!["203.0.113.0/24".parse().expect("a net")];
        let site = Arc::new(Site::new(keeper.clone(), Arc::new(vault), &limits, ips));
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(server.serve(site, async move { drop(stopped.await) }));
        Self { address, keeper, folder, _stop: stop }
    }

    pub(super) async fn token(&self, wish: &Wish) -> Fresh {
        operator::create_token(&self.keeper, &who(), wish).await.expect("a token")
    }

    /// A client with a token for everything.
    pub(super) async fn admin(&self) -> Client<'_> {
        let fresh = self.token(&wish(&[])).await;
        self.client(&fresh.text)
    }

    pub(super) fn client(&self, token: &str) -> Client<'_> {
        Client { api: self, fields: vec![format!("Authorization: Bearer {token}")] }
    }

    /// A client that sends these fields.
    pub(super) fn with(&self, fields: &[&str]) -> Client<'_> {
        Client { api: self, fields: fields.iter().map(|field| (*field).to_owned()).collect() }
    }

    /// Everything that lies on the disk, as text.
    pub(super) fn disk(&self) -> String {
        let octets = std::fs::read(self.folder.join("store")).expect("the store's file");
        String::from_utf8_lossy(&octets).into_owned()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A client with its fields.
#[derive(Clone)]
pub(super) struct Client<'a> {
    api: &'a Api,
    fields: Vec<String>,
}

impl Client<'_> {
    /// The same client with one more field.
    pub(super) fn and(&self, field: &str) -> Self {
        let mut other = self.clone();
        other.fields.push(field.to_owned());
        other
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string()).await
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let base = if path.starts_with("/weir/") { "" } else { "/client/v4" };
        let path = format!("{base}{path}");
        let text = self.raw(method, &path, "api", body).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{method} {path}: no answer: {text}"));
        let body = serde_json::from_str(body).unwrap_or(Value::Null);
        Answer { status, head: head.to_owned(), body }
    }

    /// The whole answer to a request for any path of any host.
    pub(super) async fn raw(&self, method: &str, path: &str, host: &str, body: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for field in &self.fields {
            let _ = write!(head, "{field}\r\n");
        }
        let _ = write!(head, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let asked = format!("{method} {path}");
        let mut stream = TcpStream::connect(self.api.address).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.expect("a head is taken");
        // A body that is refused need not be read to its end.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut octets = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut octets));
        let _ = read.await.unwrap_or_else(|_| panic!("{asked}: no answer"));
        String::from_utf8(octets).unwrap_or_else(|_| panic!("{asked}: no text"))
    }
}
