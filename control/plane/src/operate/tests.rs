//! Requests over a real socket do what they do on the store itself.

use super::Remark;
use super::{Changed, Connection, Desk, Effects, Listener, OBJECTS_PAGE_BYTES, Objects, Operator};
use super::{Request, SocketError, Vaults};
use crate::publish::Attached;
use crate::store::{Backend, Embedded, Keeper, Key, Revision, Vault, Who};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-operate-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn keeper(folder: &Folder) -> Arc<Keeper> {
    let store = Embedded::open(&folder.file("store")).await.expect("the store");
    Arc::new(Keeper::open(Backend::Embedded(store), |_| Vec::new()).await.expect("the keeper"))
}

/// Runs `test` with a plane's socket in a folder.
fn served<F: Future>(test: impl FnOnce(Arc<Folder>, Arc<Keeper>) -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let folder = Arc::new(Folder::new());
        let keeper = keeper(&folder).await;
        let vault = Arc::new(Vault::open(&folder.file("keys")).expect("a vault"));
        let listener = Listener::bind(&folder.file("socket")).expect("a socket");
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = listener
            .serve(keeper.clone(), vault, Attached::default(), async { drop(stopped.await) });
        let served = tokio::spawn(serve);
        let answer = test(folder.clone(), keeper).await;
        let _ = stop.send(());
        served.await.expect("it ends");
        assert!(!folder.file("socket").exists(), "the socket stays behind");
        answer
    })
}

async fn connected(path: &Path) -> Operator {
    Operator::Running(Connection::open(path).await.expect("connected").expect("a plane"))
}

fn objects(count: usize, bytes: usize) -> BTreeMap<Key, Value> {
    let key = |n| Key::new(&format!("a/{n:03}")).expect("a key");
    (0..count).map(|n| (key(n), json!("x".repeat(bytes)))).collect()
}

#[test]
fn what_is_asked_over_the_socket_is_done_on_the_store() {
    served(|folder, keeper| async move {
        let mut plane = connected(&folder.file("socket")).await;
        let import = Request::Import { objects: objects(3, 10), prune: false };
        let done: Changed = plane.ask(&import).await.expect("imported");
        assert_eq!(done, Changed { objects: 3, revision: 1 });
        let records = plane.records(1, 9).await.expect("history");
        let own = format!("cli:{}", rustix::process::geteuid().as_raw());
        let own = if own == "cli:0" { "cli:root".to_owned() } else { own };
        assert_eq!(records.first().map(|record| record.who.actor.clone()), Some(own));
        let done: Changed = plane.ask(&Request::Rollback { to: 0 }).await.expect("rolled back");
        assert_eq!((done.revision, keeper.state().objects.len()), (2, 0));
        let ahead = plane.ask::<Changed>(&Request::Rollback { to: 7 }).await;
        let told = ahead.expect_err("ahead").to_string();
        assert!(told.contains("revision 7 does not exist: the store is at 2"), "{told}");
        let head: Revision = plane.ask(&Request::Head).await.expect("the connection goes on");
        assert_eq!(head, 2);
    });
}

#[test]
fn pages_are_of_one_revision_whatever_others_change_meanwhile() {
    served(|folder, keeper| async move {
        let all = objects(10, OBJECTS_PAGE_BYTES / 4);
        let who = Who::operator(0);
        keeper.import(&all, false, &who, 0).await.expect("imported");
        let mut plane = connected(&folder.file("socket")).await;
        let first: Objects = plane.ask(&Request::Objects { after: None }).await.expect("a page");
        assert!(first.more && first.objects.len() < 10, "{} on a page", first.objects.len());
        keeper.import(&BTreeMap::new(), true, &who, 0).await.expect("all removed");
        let after = first.objects.last().map(|(key, _)| key.clone());
        let next: Objects = plane.ask(&Request::Objects { after }).await.expect("a page");
        assert_eq!((next.revision, next.objects.is_empty()), (1, false));
        let mut seen = 0;
        let count = |_, _, _| {
            seen += 1;
            Ok::<_, super::OperateError>(())
        };
        assert_eq!(plane.objects(count).await.expect("a new snapshot"), 2);
        assert_eq!(seen, 0);
    });
}

#[test]
fn a_backup_over_the_socket_is_that_of_the_store() {
    served(|folder, keeper| async move {
        keeper.import(&objects(5, 9), false, &Who::operator(0), 0).await.expect("imported");
        let own = Desk::new(keeper, Vaults::File(folder.file("keys")));
        let mut own = Operator::Own(Box::new(own), Who::operator(0));
        let mut plane = connected(&folder.file("socket")).await;
        for (operator, name) in [(&mut own, "own"), (&mut plane, "plane")] {
            assert_eq!(operator.backup(&folder.file(name)).await.expect("written"), 1);
            assert_eq!(
                operator.export(&folder.file(&format!("{name}-out"))).await.expect("out"),
                5
            );
        }
        let read = |name: &str| std::fs::read(folder.file(name)).expect("a backup");
        assert_eq!(read("own"), read("plane"));
    });
}

#[test]
fn a_message_that_is_none_is_told_or_ends_the_connection() {
    served(|folder, _| async move {
        let socket = folder.file("socket");
        for (message, told) in [
            (&[0, 0, 0, 4, b'n', b'u', b'l', b'l'][..], "of another version"),
            (&[0xff; 4], ""),
            (&[0, 0, 1, 0, b'{'], ""),
        ] {
            let mut stream = UnixStream::connect(&socket).await.expect("connected");
            stream.write_all(message).await.expect("sent");
            stream.shutdown().await.expect("ended");
            let mut answer = Vec::new();
            let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(read.is_ok() && answer.contains(told), "{message:?}: {answer}");
            assert_eq!(answer.is_empty(), told.is_empty(), "{message:?}: {answer}");
        }
    });
}

#[test]
fn one_plane_has_the_socket_and_the_next_replaces_what_it_left() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let folder = Folder::new();
        let path = folder.file("socket");
        assert!(Connection::open(&path).await.expect("none is no error").is_none());
        // What a plane leaves that was killed: its socket, without anybody behind it.
        drop(UnixListener::bind(&path).expect("a socket"));
        assert!(path.exists());
        assert!(Connection::open(&path).await.expect("none is no error").is_none());
        let first = Listener::bind(&path).expect("replaced");
        let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Listener::bind(&path);
        assert!(matches!(second, Err(SocketError::Taken { .. })), "{second:?}");
        assert!(Connection::open(&path).await.expect("connected").is_some());
        drop(first);
        Listener::bind(&path).expect("free again");
        let told = Listener::bind(&folder.file("none/socket")).expect_err("no folder").to_string();
        assert!(told.contains("set `socket` in [control]"), "{told}");
    });
}

#[test]
fn what_objects_say_and_edges_do_not_do_is_told_of_each() {
    served(|folder, keeper| async move {
        let account = "a".repeat(32);
        let zone = "b".repeat(32);
        let host = |name: &str| json!({ "name": name, "default_pools": [], "fallback_pool": "p" });
        let objects = [
            (format!("accounts/{account}"), json!({ "name": "A" })),
            (
                format!("accounts/{account}/pools/p"),
                json!({ "name": "web", "longitude": 1, "origins": [{ "address": "192.0.2.1" }] }),
            ),
            (format!("accounts/{account}/webhooks/w"), json!({ "name": "hook", "url": "u" })),
            (
                format!("zones/{zone}"),
                json!({ "name": "z.example", "paused": true, "account": { "id": account } }),
            ),
            (format!("zones/{zone}/load_balancers/1"), host("h.example")),
            (format!("zones/{zone}/load_balancers/2"), host("h.example")),
            ("packet/settings".to_owned(), json!({ "hash_key": { "$secret": "AAAA" } })),
            ("tokens/t".to_owned(), json!({ "name": "not to be told" })),
        ];
        let objects: BTreeMap<Key, Value> = objects
            .into_iter()
            .map(|(key, value)| (Key::new(&key).expect("a key"), value))
            .collect();
        keeper.import(&objects, false, &Who::operator(0), 0).await.expect("imported");
        let own = Desk::new(keeper, Vaults::File(folder.file("no-keys")));
        let mut own = Operator::Own(Box::new(own), Who::operator(0));
        let mut plane = connected(&folder.file("socket")).await;
        let told: Effects = plane.ask(&Request::Effects).await.expect("told");
        let again: Effects = own.ask(&Request::Effects).await.expect("told without keys");
        assert_eq!(told, again);
        assert!(!folder.file("no-keys").exists(), "a look makes keys");
        let shown = |remark: &Remark| {
            let name = remark.name.clone().unwrap_or_default();
            format!("{} {name} {}: {}", remark.object.id(), remark.pointer, remark.effect)
        };
        let shown: Vec<_> = told.remarks.iter().map(shown).collect();
        let expect = [
            "p web /longitude: not in effect",
            "w hook : not in effect",
            "settings  : not published",
            &format!("{zone} z.example /paused: not in effect"),
            "2 h.example : not published",
        ];
        assert_eq!((shown, told.more, told.revision), (expect.map(str::to_owned).into(), 0, 1));
    });
}
