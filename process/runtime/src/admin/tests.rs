//! Tests of the admin server over real sockets.

use super::*;
use crate::live::LiveTable;
use crate::status::{Phase, Status, fixture};
use arc_swap::ArcSwap;
use core_model::Snapshot;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

/// A serving admin; dropping it stops the server.
struct Serving {
    address: ListenAddress,
    source: Arc<StatusSource>,
    reloads: Arc<AtomicU32>,
    open: watch::Sender<bool>,
    _stop: oneshot::Sender<()>,
}

fn serve(address: &str) -> Serving {
    let admin = Admin::bind(&address.parse().unwrap()).unwrap();
    let address = admin.address().unwrap();
    serve_on(admin, address)
}

fn serve_on(admin: Admin, address: ListenAddress) -> Serving {
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::first(fixture::config())));
    let source = StatusSource::new(Arc::new(LiveTable::new(1)), snapshot, "1.2.3");
    let reloads = Arc::new(AtomicU32::new(0));
    let counted = reloads.clone();
    // Every second reload is refused.
    let reload: Reload = Arc::new(move |_| {
        let n = counted.fetch_add(1, Relaxed);
        let faults = if n == 0 { vec![] } else { vec!["weir.toml:1:1: wrong".to_owned()] };
        let applied = n == 0;
        Box::pin(async move { ReloadOutcome { applied, generation: 2, faults, notes: vec![] } })
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let (open, opened) = watch::channel(true);
    tokio::spawn(admin.serve(source.clone(), reload, opened, stopped));
    Serving { address, source, reloads, open, _stop: stop }
}

async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await.unwrap();
    String::from_utf8(reply).unwrap()
}

impl Serving {
    async fn raw(&self, request: &[u8]) -> String {
        match &self.address {
            ListenAddress::Tcp(address) => {
                talk(TcpStream::connect(address).await.unwrap(), request).await
            }
            ListenAddress::Unix(path) => {
                talk(UnixStream::connect(path).await.unwrap(), request).await
            }
        }
    }

    async fn ask(&self, first: &str, fields: &str) -> String {
        self.raw(format!("{first} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes()).await
    }
}

fn status_of(reply: &str) -> u16 {
    reply.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{reply}"))
}

fn body_of(reply: &str) -> &str {
    reply.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn every_page_is_served_and_says_how_long_it_is() {
    let serving = serve("127.0.0.1:0");
    serving.source.set_phase(Phase::Serving);
    for (path, kind, holds) in [
        ("/", "text/html", "<title>"),
        ("/status", "application/json", "\"generation\":1"),
        ("/metrics", "text/plain; version=0.0.4", "weir_build_info"),
        ("/ready", "text/plain", "serving"),
        ("/health", "text/plain", "ok"),
        ("/config/generation", "application/json", "{\"generation\":1,\"parent\":0}"),
    ] {
        let reply = serving.ask(&format!("GET {path}"), "").await;
        assert_eq!(status_of(&reply), 200, "{path}");
        assert!(reply.contains(&format!("Content-Type: {kind}")), "{reply}");
        assert!(reply.contains("Connection: close\r\n"));
        assert!(body_of(&reply).contains(holds), "{path}: {reply}");
        let length = format!("Content-Length: {}\r\n", body_of(&reply).len());
        assert!(reply.contains(&length), "{path}");
        let head = serving.ask(&format!("HEAD {path}?query"), "").await;
        assert_eq!((status_of(&head), body_of(&head)), (200, ""), "{path}");
    }
}

#[tokio::test]
async fn the_status_reads_back_as_its_type() {
    let reply = serve("127.0.0.1:0").ask("GET /status", "").await;
    let status: Status = serde_json::from_str(body_of(&reply)).unwrap();
    assert_eq!((status.version.as_str(), status.listeners[0].name.as_str()), ("1.2.3", "web"));
}

#[tokio::test]
async fn the_page_comes_with_a_policy_that_names_its_script() {
    let reply = serve("127.0.0.1:0").ask("GET /", "").await;
    let policy = reply.lines().find(|l| l.starts_with("Content-Security-Policy: ")).unwrap();
    assert!(policy.contains("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn readiness_follows_the_life_of_the_process() {
    let serving = serve("127.0.0.1:0");
    for (phase, code) in [(Phase::Starting, 503), (Phase::Serving, 200), (Phase::Draining, 503)] {
        serving.source.set_phase(phase);
        assert_eq!(status_of(&serving.ask("GET /ready", "").await), code, "{phase:?}");
        assert_eq!(status_of(&serving.ask("GET /health", "").await), 200, "{phase:?}");
    }
}

#[tokio::test]
async fn a_reload_needs_its_mark_and_tells_its_faults() {
    let serving = serve("127.0.0.1:0");
    assert_eq!(status_of(&serving.ask("POST /reload", "").await), 403);
    assert_eq!(status_of(&serving.ask("GET /reload", "X-Weir-Admin: 1\r\n").await), 405);
    assert_eq!(serving.reloads.load(Relaxed), 0);
    let mark = "X-Weir-Admin: 1\r\nContent-Length: 0\r\n";
    let applied = serving.ask("POST /reload", mark).await;
    assert_eq!(status_of(&applied), 200);
    assert!(body_of(&applied).contains("\"applied\":true"));
    let refused = serving.ask("POST /reload", mark).await;
    assert_eq!(status_of(&refused), 422);
    let outcome: ReloadOutcome = serde_json::from_str(body_of(&refused)).unwrap();
    assert_eq!(outcome.faults, ["weir.toml:1:1: wrong"]);
}

#[tokio::test]
async fn what_is_wrong_gets_its_answer() {
    let serving = serve("127.0.0.1:0");
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(9000));
    for (request, code) in [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("DELETE /status HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: attacker.example\r\n\r\n", 421),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        ("GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        ("GET /  HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n folded: 1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: a\nb\r\n\r\n", 400),
        ("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", 400),
        ("POST /reload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (long.as_str(), 431),
    ] {
        let reply = serving.raw(request.as_bytes()).await;
        assert_eq!(status_of(&reply), code, "{request}");
    }
    assert_eq!(serving.reloads.load(Relaxed), 0);
}

#[tokio::test]
async fn silent_connections_hold_their_slots_only_for_a_while() {
    let serving = serve("127.0.0.1:0");
    let ListenAddress::Tcp(address) = serving.address else { panic!() };
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // All slots are taken until the first silent one is given up.
    let reply = tokio::time::timeout(2 * REQUEST_TIMEOUT + REPLY_TIMEOUT, async {
        serving.ask("GET /health", "").await
    });
    assert_eq!(status_of(&reply.await.unwrap()), 200);
}

#[tokio::test]
async fn a_unix_socket_serves_its_owner_and_leaves_no_file() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("weir-admin-serve-{}", std::process::id()));
    let serving = serve(&format!("unix:{}", path.display()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let reply = serving.raw(b"GET /health HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    assert_eq!(status_of(&reply), 200);
    drop(serving);
    let gone = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Admin::bind(&ListenAddress::Tcp(address)).unwrap_err().to_string();
    assert!(error.contains(&format!("admin {address} is in use")), "{error}");
    assert!(error.contains("[admin]"), "{error}");
}

#[tokio::test]
async fn a_closed_door_leaves_connections_to_another_process() {
    let path = std::env::temp_dir().join(format!("weir-door-{}.sock", std::process::id()));
    for address in ["127.0.0.1:0".to_owned(), format!("unix:{}", path.display())] {
        let admin = Admin::bind(&address.parse().unwrap()).unwrap();
        let (again, address) = (admin.socket().unwrap(), admin.address().unwrap());
        let first = serve_on(admin, address.clone());
        first.source.set_phase(Phase::Serving);
        assert_eq!(status_of(&first.ask("GET /ready", "").await), 200);
        first.open.send_replace(false);
        let heir = serve_on(Admin::adopt(&address, again).unwrap(), address.clone());
        for _ in 0..10 {
            let reply = heir.ask("GET /ready", "").await;
            assert_eq!(body_of(&reply), "starting\n", "the first one answered");
        }
        heir.open.send_replace(false);
        first.open.send_replace(true);
        assert_eq!(status_of(&heir.ask("GET /ready", "").await), 200, "and back");
    }
    let file = std::fs::File::open("/dev/null").unwrap().into();
    assert!(Admin::adopt(&"127.0.0.1:1".parse().unwrap(), file).is_err(), "no socket");
}
