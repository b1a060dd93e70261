//! A control plane over a store of its own, and edges that talk to it without any network.

use crate::publish::stream::{Patience, said};
use crate::publish::{Identity, PublishSettings, Publisher, StreamBody};
use crate::rest::validate;
use crate::store::{Backend, Draft, Embedded, Keeper, Key, Vault, Who};
use bytes::Bytes;
use control_api::publish::{
    Change, EdgeMessage, Frames, Items, Numbers, Outcome, PlaneMessage, Report, Role, SnapshotId,
    frame,
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long anything may take, load included.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// How often an edge tells how it does.
const TOLD_EVERY: Duration = Duration::from_millis(20);

/// A store with an account `a`.
pub(super) struct Store {
    pub(super) keeper: Arc<Keeper>,
    pub(super) vault: Arc<Vault>,
    folder: PathBuf,
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(super) const AT_ONCE: PublishSettings = PublishSettings {
    canary_percent: 0,
    canary_hold: Duration::from_secs(1),
    report: Duration::from_secs(2),
};

impl Store {
    pub(super) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-publish-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let backend = Backend::Embedded(Embedded::open(&folder.join("store")).await.unwrap());
        let keeper = Arc::new(Keeper::open(backend, validate).await.unwrap());
        let vault = Arc::new(Vault::open(&folder.join("key")).unwrap());
        let store = Self { keeper, vault, folder };
        store.put("accounts/a", json!({"id": "a", "name": "a"})).await;
        store
    }

    pub(super) async fn change(&self, edit: impl Fn(&mut Draft<'_>)) -> u64 {
        let who = Who { actor: "cli:test".into(), address: None };
        let now = crate::publish::publisher::now_ms();
        let change = self.keeper.change(&who, "test", now, |draft| {
            edit(draft);
            Ok::<(), Infallible>(())
        });
        change.await.unwrap().1
    }

    pub(super) async fn put(&self, key: &str, value: Value) -> u64 {
        let key = Key::new(key).unwrap();
        self.change(|draft| draft.put(key.clone(), value.clone())).await
    }

    /// Makes or changes a pool of one origin.
    pub(super) async fn pool(&self, name: &str, address: &str) -> u64 {
        let id = format!("{name:_<32}");
        let value = json!({"name": name, "origins": [{"address": address}]});
        self.put(&format!("accounts/a/pools/{id}"), value).await
    }

    pub(super) async fn publisher(&self, settings: &PublishSettings) -> Arc<Publisher> {
        self.patient(settings, Patience::USUAL).await
    }

    pub(super) async fn patient(
        &self,
        settings: &PublishSettings,
        patience: Patience,
    ) -> Arc<Publisher> {
        let (keeper, vault) = (self.keeper.clone(), self.vault.clone());
        Publisher::start_with(keeper, vault, settings, patience).await.unwrap()
    }
}

pub(super) fn identity(name: &str) -> Identity {
    Identity { id: format!("{name:_<32}"), name: name.into(), roles: vec![Role::Proxy] }
}

/// An edge, as far as a control plane can tell.
pub(super) struct Edge {
    pub(super) identity: Identity,
    pub(super) has: Option<SnapshotId>,
    pub(super) items: Items,
    pub(super) starts: u64,
    /// Snapshots that came, each with the number of its items.
    pub(super) came: Vec<usize>,
    /// The generation of the last beat.
    pub(super) beat: u64,
    out: Option<mpsc::Sender<Bytes>>,
    telling: JoinSet<()>,
    body: Option<StreamBody>,
    frames: Frames<PlaneMessage>,
    coming: Option<(SnapshotId, Option<SnapshotId>, Items)>,
}

/// What an edge does with a snapshot that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Apply,
    Refuse,
    Resync,
    Nothing,
}

impl Edge {
    pub(super) fn new(name: &str) -> Self {
        Self {
            identity: identity(name),
            has: None,
            items: Items::default(),
            starts: 1,
            came: Vec::new(),
            beat: 0,
            out: None,
            telling: JoinSet::new(),
            body: None,
            frames: Frames::default(),
            coming: None,
        }
    }

    /// Opens a stream.
    pub(super) async fn attach(&mut self, publisher: &Arc<Publisher>) {
        let (out, incoming) = said();
        self.body = Some(publisher.attach(self.identity.clone(), None, incoming));
        self.out = Some(out);
        self.telling = JoinSet::new();
        (self.frames, self.coming) = (Frames::default(), None);
        let (version, has, starts) = ("1.0".to_owned(), self.has.clone(), self.starts);
        self.say(&EdgeMessage::Hello { version, has, starts }).await;
    }

    pub(super) fn detach(&mut self) {
        (self.out, self.body) = (None, None);
        self.telling = JoinSet::new();
    }

    pub(super) async fn say(&mut self, message: &EdgeMessage) {
        let octets = frame(message).unwrap();
        if let Some(out) = &self.out {
            // A stream that was ended takes nothing.
            let _ = out.send(octets.into()).await;
        }
    }

    /// Tells these counts at once, and again and again for as long as its stream lasts.
    pub(super) async fn tells(&mut self, requests: u64, errors: u64) {
        self.telling = JoinSet::new();
        let numbers = Numbers { requests, errors, panics: 0, active: 0 };
        let report = EdgeMessage::Report(Report { numbers, origins: Vec::new() });
        self.say(&report).await;
        let Some(out) = self.out.clone() else { return };
        let octets = Bytes::from(frame(&report).unwrap());
        self.telling.spawn(async move {
            while out.send(octets.clone()).await.is_ok() {
                tokio::time::sleep(TOLD_EVERY).await;
            }
        });
    }

    /// The next message; none where the stream has ended.
    pub(super) async fn hear(&mut self) -> Option<PlaneMessage> {
        loop {
            if let Some(message) = self.frames.take().unwrap() {
                return Some(message);
            }
            let heard = timeout(LONG, self.body.as_mut()?.frame()).await.expect("a message");
            self.frames.push(&heard?.unwrap().into_data().unwrap_or_default());
        }
    }

    /// Hears until a snapshot is whole and does something with it; whether one was. A beat ends it
    /// too.
    pub(super) async fn next(&mut self, does: Does) -> Option<bool> {
        loop {
            match self.hear().await? {
                PlaneMessage::Welcome { name, .. } => assert_eq!(name, self.identity.name),
                PlaneMessage::Begin { snapshot, base, items, .. } => {
                    let from = match &base {
                        Some(_) => {
                            assert_eq!(base, self.has, "a delta starts from what is there");
                            self.items.clone()
                        }
                        None => Items::default(),
                    };
                    self.came.push(items);
                    self.coming = Some((snapshot, base, from));
                }
                PlaneMessage::Items { put, remove } => {
                    let (_, _, items) = self.coming.as_mut().expect("a snapshot has begun");
                    put.into_iter().for_each(|item| items.apply(Change::Put(item)));
                    remove.into_iter().for_each(|key| items.apply(Change::Remove(key)));
                }
                PlaneMessage::End { snapshot } => {
                    let (begun, _, items) = self.coming.take().expect("a snapshot has begun");
                    assert_eq!(begun, snapshot);
                    assert_eq!(items.hash(), snapshot.hash, "what came is what was promised");
                    self.answer(snapshot, items, does).await;
                    return Some(true);
                }
                PlaneMessage::Beat { generation } => {
                    self.beat = generation;
                    return Some(false);
                }
            }
        }
    }

    async fn answer(&mut self, snapshot: SnapshotId, items: Items, does: Does) {
        let outcome = match does {
            Does::Nothing => return,
            Does::Apply => {
                (self.items, self.has) = (items, Some(snapshot.clone()));
                Outcome::Applied { took_us: 5 }
            }
            Does::Refuse => Outcome::Refused { faults: vec!["no".into()] },
            Does::Resync => {
                (self.items, self.has) = (Items::default(), None);
                Outcome::Resync
            }
        };
        self.say(&EdgeMessage::Ack { snapshot, outcome }).await;
    }

    /// Takes what comes until it has a generation.
    pub(super) async fn reaches(&mut self, generation: u64) {
        while self.has.as_ref().is_none_or(|has| has.generation < generation) {
            self.next(Does::Apply).await.expect("the stream goes on");
        }
    }
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = timeout(LONG, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "never: {what}");
}
