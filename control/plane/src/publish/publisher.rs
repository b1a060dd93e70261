//! The publisher of one control plane: it follows the store, and has one task for each edge.

use super::book::{Book, Delivery, Target, Which};
use super::compile::{Changed, LeftOut};
use super::fleet::health::{Health, OriginHealth};
use super::fleet::{Fleet, Ticket};
use super::metrics::{Ended, Gauges, PublishMetrics};
use super::ring::Roles;
use super::stream::{self, Patience, Stream};
use super::{EdgeStatus, Identity, PublishSettings, StreamBody, Streams, lower};
use crate::store::{ChangeError, Keeper, Key, KeyError, StoreError, Vault, Who};
use bytes::Bytes;
use control_api::publish::{Hash, Item, ItemKey, ItemKind, Numbers, Outcome, Report, SnapshotId};
use hyper::body::{Body, Incoming};
use process_runtime::operator_log;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Where the store says which lineage its generations are of.
const LINEAGE: &str = "meta/lineage";
/// Objects whose leaving out is logged at once; of more, the number is.
const LEFT_OUT_LOGGED_MAX: usize = 10;

/// Why publishing cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store.
    #[error("publishing: {0}")]
    Store(#[from] StoreError),
    /// The store did not take the name of its generations.
    #[error("publishing: name the generations of the store: {0}")]
    Lineage(#[from] ChangeError<Infallible>),
    /// A name of this program is no key.
    #[error("publishing: {0}")]
    Key(#[from] KeyError),
    /// The system has no randomness.
    #[error("publishing: {0}")]
    Random(#[from] crate::rest::token::NoRandomness),
}

/// Publishes what the store has to the edges that are attached here.
pub struct Publisher {
    keeper: Arc<Keeper>,
    vault: Arc<Vault>,
    settings: PublishSettings,
    patience: Patience,
    book: Mutex<Book>,
    fleet: Mutex<Fleet>,
    health: Mutex<Health>,
    /// Tells streams that something else may be meant for their edges.
    news: watch::Sender<()>,
    pub(super) metrics: PublishMetrics,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Who history says it was.
pub(super) fn who() -> Who {
    Who { actor: "publisher".to_owned(), address: None }
}

impl Publisher {
    /// Begins to publish what a store has. It ends with its last owner.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn start(
        keeper: Arc<Keeper>,
        vault: Arc<Vault>,
        settings: &PublishSettings,
    ) -> Result<Arc<Self>, PublishError> {
        Self::start_with(keeper, vault, settings, Patience::USUAL).await
    }

    pub(super) async fn start_with(
        keeper: Arc<Keeper>,
        vault: Arc<Vault>,
        settings: &PublishSettings,
        patience: Patience,
    ) -> Result<Arc<Self>, PublishError> {
        let lineage = lineage(&keeper).await?;
        let tries = settings.canary_percent > 0;
        let mut revisions = keeper.revisions();
        revisions.mark_changed();
        let book = {
            let open = |key: &Key, value: &Value| vault.open_sealed(key, value).ok();
            Book::new(lineage, &keeper.state(), now_ms(), tries, &open)
        };
        let publisher = Arc::new(Self {
            keeper,
            vault,
            settings: *settings,
            patience,
            book: Mutex::new(book),
            fleet: Mutex::default(),
            health: Mutex::default(),
            news: watch::Sender::new(()),
            metrics: PublishMetrics::default(),
        });
        let left_out: Vec<_> =
            publisher.book().left_out().iter().map(|(k, why)| (k.clone(), why.clone())).collect();
        tell_left_out(&left_out);
        publisher.resume().await;
        tokio::spawn(follow(Arc::downgrade(&publisher), revisions));
        Ok(publisher)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(super) fn settings(&self) -> &PublishSettings {
        &self.settings
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Something else may be meant for edges.
    pub(super) fn tell(&self) {
        self.news.send_replace(());
    }

    pub(super) fn open(&self, key: &Key, value: &Value) -> Option<String> {
        self.vault.open_sealed(key, value).ok()
    }

    /// Takes up what was committed since the last time.
    fn advance(&self) {
        let open = |key: &Key, value: &Value| self.open(key, value);
        let mut book = self.book();
        let (state, since) = self.keeper.since(book.newest().generation);
        if state.revision == book.newest().generation && since.is_some() {
            return;
        }
        let before = book.trial();
        let changed = book.follow(&state, since.as_ref(), now_ms(), &open);
        drop(state);
        self.drop_origins(&book, &changed);
        drop(book);
        self.tried(before);
        tell_left_out(&changed.left_out);
        self.tell();
    }

    /// Begins or ends a trial, where `before` was tried until now.
    pub(super) fn tried(&self, before: Option<Target>) {
        let (now, halted) = {
            let book = self.book();
            (book.trial(), book.halted())
        };
        if now != before && before.is_some_and(|trial| halted == Some(trial.hashes.whole())) {
            self.fleet().halted();
        }
        match now {
            _ if now == before => {}
            Some(_) => self.begin_trial(),
            None => self.fleet().end(),
        }
    }

    /// Forgets the health of origins that pools do not have any longer.
    fn drop_origins(&self, book: &Book, changed: &Changed) {
        let pools: Vec<_> = changed.items.iter().filter(|key| key.kind == ItemKind::Pool).collect();
        if pools.is_empty() {
            return;
        }
        let mut health = self.health();
        for key in pools {
            let there = addresses(book.items().get(key).as_ref());
            health.forget_origins(&key.id, |address| there.iter().any(|own| own == address));
        }
    }

    /// The generation that is meant for an edge.
    pub(super) fn generation_for(&self, id: &str) -> u64 {
        let canary = self.fleet().is_canary(id);
        self.book().meant(canary).1.generation
    }

    /// What takes an edge to what is meant for it; none where it is there, or refused just that.
    pub(super) fn delivery(
        &self,
        (id, ticket): (&str, Ticket),
        roles: Roles,
        has: Option<&SnapshotId>,
        refused: Option<Hash>,
    ) -> Option<Arc<Delivery>> {
        let canary = self.fleet().is_canary(id);
        let (which, meant, delivery) = {
            let mut book = self.book();
            let (which, target) = book.meant(canary);
            let meant = book.name_of(&target, roles);
            let wanted = has != Some(&meant) && refused != Some(meant.hash);
            let delivery = wanted.then(|| book.delivery(canary, roles, has));
            (which, meant, delivery)
        };
        let now = now_ms();
        let mut fleet = self.fleet();
        fleet.meant(id, ticket, &meant, now);
        if has == Some(&meant) {
            // It may have got it from another control plane.
            fleet.applied(id, ticket, &meant, which == Which::Trial, now);
        }
        delivery
    }

    /// An edge said what became of a snapshot.
    pub(super) fn outcome(
        &self,
        edge: &Identity,
        ticket: Ticket,
        delivery: &Delivery,
        outcome: &Outcome,
    ) {
        let tried = {
            let trial = self.book().trial();
            trial.is_some_and(|trial| trial.generation == delivery.snapshot.generation)
        };
        let mut fleet = self.fleet();
        match outcome {
            Outcome::Applied { .. } => {
                let now = now_ms();
                fleet.applied(&edge.id, ticket, &delivery.snapshot, tried, now);
                self.metrics.applied.inc_shared();
                if delivery.base.is_some() {
                    let us = now.saturating_sub(delivery.committed_ms()).saturating_mul(1_000);
                    self.metrics.applied_us.record(us);
                }
            }
            Outcome::Refused { faults } => {
                fleet.refused(&edge.id, ticket, faults, tried);
                self.metrics.refused.inc_shared();
                let fields: [operator_log::Field<'_>; 3] = [
                    ("edge", &edge.name),
                    ("generation", &delivery.snapshot.generation),
                    ("why", &faults.first().map_or("", String::as_str)),
                ];
                let what = "the edge keeps what it had; mend the objects, or the edge's file";
                operator_log::warn("snapshot_refused", what, &fields);
            }
            Outcome::Resync => self.metrics.resyncs.inc_shared(),
        }
    }

    /// An edge told how it is doing.
    pub(super) fn reported(&self, id: &str, ticket: Ticket, report: &Report) {
        self.fleet().reported(id, ticket, report, now_ms());
        if report.origins.is_empty() {
            return;
        }
        let pools = self.pools_of(report);
        self.health().report(id, &report.origins, |pool, address| {
            pools.get(pool).is_some_and(|there| there.iter().any(|own| own == address))
        });
    }

    /// Addresses of the origins of pools that a report tells of for the first time.
    fn pools_of<'r>(&self, report: &'r Report) -> BTreeMap<&'r str, Vec<String>> {
        let mut pools = BTreeMap::new();
        for origin in &report.origins {
            let known = || self.health().of(&origin.pool, &origin.address).is_some();
            if pools.contains_key(origin.pool.as_str()) || known() {
                continue;
            }
            let key = ItemKey { kind: ItemKind::Pool, id: origin.pool.as_str().into() };
            let item = self.book().items().get(&key);
            pools.insert(origin.pool.as_str(), addresses(item.as_ref()));
        }
        pools
    }

    /// What the attached edges say of an origin of a pool.
    #[must_use]
    pub fn origin_health(&self, pool: &str, address: &str) -> Option<OriginHealth> {
        self.health().of(pool, address).cloned()
    }

    /// What the attached edges counted since their processes began.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        self.fleet().numbers()
    }

    /// Objects that are not published though they could be, and why.
    #[must_use]
    pub fn left_out(&self) -> BTreeMap<Key, LeftOut> {
        self.book().left_out().clone()
    }

    /// Metrics as text for `GET /metrics`.
    #[must_use]
    pub fn metrics(&self) -> String {
        let gauges = {
            let book = self.book();
            Gauges {
                generation: book.newest().generation,
                items: book.items().len(),
                left_out: book.left_out().len(),
                trial: book.trial().is_some(),
            }
        };
        self.metrics.encode(gauges, &self.edges())
    }

    /// The attached edges.
    #[must_use]
    pub fn edges(&self) -> Vec<EdgeStatus> {
        self.fleet().status(now_ms())
    }

    /// Ends the stream of an edge and forgets it.
    pub fn detach(&self, edge: &str) {
        self.fleet().detach(edge);
        self.health().forget_edge(edge);
    }

    /// A new stream of an edge, whatever it comes over. It ends the edge's older one, and itself
    /// when `incoming` ends.
    pub fn attach<B>(
        self: &Arc<Self>,
        edge: Identity,
        source: Option<SocketAddr>,
        incoming: B,
    ) -> StreamBody
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Send,
    {
        let (out, body) = stream::said();
        let Some((ticket, stop)) = self.fleet().attach(&edge, source, now_ms()) else {
            let what = "there are as many edges as there may be; revoke some";
            operator_log::warn("edge_turned_away", what, &[("edge", &edge.name)]);
            return body;
        };
        let publisher = self.clone();
        tokio::spawn(async move {
            let stream = Stream::new(publisher.clone(), edge.clone(), ticket);
            let ended = stream.run(incoming, out, stop).await;
            publisher.metrics.ended(ended);
            if publisher.fleet().ended(&edge.id, ticket) {
                publisher.health().forget_edge(&edge.id);
            }
            let fields: [operator_log::Field<'_>; 2] =
                [("edge", &edge.name), ("why", &ended.word())];
            match ended {
                Ended::Gone | Ended::Stopped => {
                    operator_log::info("edge_detached", "a stream of an edge ended", &fields);
                }
                Ended::Slow | Ended::Silent | Ended::Broken => {
                    operator_log::warn("edge_given_up", "a stream of an edge was ended", &fields);
                }
            }
        });
        body
    }
}

impl Streams for Publisher {
    fn attach(
        self: Arc<Self>,
        edge: Identity,
        source: SocketAddr,
        incoming: Incoming,
    ) -> StreamBody {
        Self::attach(&self, edge, Some(source), incoming)
    }

    fn detach(&self, edge: &str) {
        Self::detach(self, edge);
    }

    fn edges(&self) -> Vec<EdgeStatus> {
        Self::edges(self)
    }
}

/// How often a trial is judged.
const JUDGED_EVERY: Duration = Duration::from_millis(500);

/// Follows the store, and judges what is tried, until the publisher has no owner.
async fn follow(publisher: Weak<Publisher>, mut revisions: watch::Receiver<u64>) {
    loop {
        let changed = tokio::time::timeout(JUDGED_EVERY, revisions.changed()).await;
        let Some(publisher) = publisher.upgrade() else { return };
        match changed {
            Ok(Ok(())) => {
                publisher.advance();
                publisher.agree().await;
            }
            Ok(Err(_)) => return,
            Err(_) => {}
        }
        publisher.judge().await;
    }
}

/// The lineage of a store, made with it.
async fn lineage(keeper: &Keeper) -> Result<String, PublishError> {
    let key = Key::new(LINEAGE)?;
    let of = |state: &crate::store::State| {
        let stored = state.get(&key)?;
        stored.value.get("id").and_then(Value::as_str).map(str::to_owned)
    };
    if let Some(there) = of(&keeper.state()) {
        return Ok(there);
    }
    let fresh = crate::rest::token::hex(&crate::rest::token::random::<16>()?);
    let who = who();
    let change = keeper.change(&who, "begin to publish", now_ms(), |draft| {
        let there = of(draft);
        if there.is_none() {
            draft.put(key.clone(), json!({ "id": fresh }));
        }
        Ok(there.unwrap_or_else(|| fresh.clone()))
    });
    Ok(change.await?.0)
}

/// Addresses of the origins of a pool that is published.
fn addresses(pool: Option<&Item>) -> Vec<String> {
    let table = pool.and_then(|item| serde_json::from_str(item.body.get()).ok());
    let table: lower::Object = table.unwrap_or_default();
    lower::origin_addresses(&table).map(super::fleet::health::same).collect()
}

fn tell_left_out(left_out: &[(Key, LeftOut)]) {
    for (key, why) in left_out.iter().take(LEFT_OUT_LOGGED_MAX) {
        operator_log::warn("not_published", why.to_string(), &[("object", key)]);
    }
    if let Some(more) = left_out.len().checked_sub(LEFT_OUT_LOGGED_MAX + 1) {
        let what = "further objects are not published; see weir_publish_left_out";
        operator_log::warn("not_published", what, &[("objects", &(more + 1))]);
    }
}
