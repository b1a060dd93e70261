//! Places for stores, and short ways to use one.

use crate::operate::{Desk, Operator, Vaults};
use crate::store::{Backend, ChangeError, Embedded, Etcd, EtcdOptions};
use crate::store::{Keeper, Key, Revision, State, Who};
use serde_json::Value;
use std::convert::Infallible;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// How long one test may take, load included.
const TEST_MAX: Duration = Duration::from_secs(60);

/// Where a store lies; what belongs to it ends with it.
pub(in crate::store) enum Place {
    File(Folder),
    Etcd(EtcdOptions),
}

impl Place {
    /// A handle of its own on the store, as another process would have.
    pub(in crate::store) async fn backend(&self) -> Backend {
        match self {
            Self::File(folder) => {
                let opened = Embedded::open(&folder.file("store")).await;
                Backend::Embedded(opened.expect("the store"))
            }
            Self::Etcd(options) => Backend::Etcd(Etcd::new(options).expect("the store")),
        }
    }

    pub(in crate::store) async fn keeper(&self) -> Keeper {
        Keeper::open(self.backend().await, |_| Vec::new()).await.expect("the keeper")
    }
}

/// A store in a file.
pub(in crate::store) fn embedded() -> Place {
    Place::File(Folder::new())
}

/// A folder of one test.
pub(in crate::store) struct Folder(PathBuf);

impl Folder {
    pub(in crate::store) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("weir-store-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    pub(in crate::store) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(in crate::store) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let result =
        runtime.block_on(async { tokio::time::timeout(TEST_MAX, work).await.expect("in time") });
    drop(runtime);
    result
}

pub(in crate::store) fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

pub(in crate::store) fn who() -> Who {
    Who { actor: "test".to_owned(), address: None }
}

/// Puts one object.
pub(in crate::store) async fn put(keeper: &Keeper, at: &str, value: Value) -> Revision {
    let made: Result<_, ChangeError<Infallible>> = keeper
        .change(&who(), &format!("PUT {at}"), 7, |draft| {
            draft.put(key(at), value.clone());
            Ok(())
        })
        .await;
    made.expect("a change").1
}

/// Removes one object.
pub(in crate::store) async fn remove(keeper: &Keeper, at: &str) -> Revision {
    let made: Result<_, ChangeError<Infallible>> =
        keeper.change(&who(), &format!("DELETE {at}"), 8, |draft| Ok(draft.remove(&key(at)))).await;
    made.expect("a change").1
}

/// The names and values of a state, one per line.
pub(in crate::store) fn text(state: &State) -> String {
    let line = |(key, stored): (&Key, &crate::store::Stored)| format!("{key}={}", stored.value);
    state.objects.iter().map(line).collect::<Vec<_>>().join(" ")
}

/// Who writes files of this store.
pub(in crate::store) fn operator(keeper: &Arc<Keeper>) -> Operator {
    let desk = Desk::new(keeper.clone(), Vaults::File(PathBuf::new()));
    Operator::Own(Box::new(desk), Who::operator(0))
}
