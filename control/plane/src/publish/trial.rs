//! A change that goes to some edges first: begun, judged, and what all control planes of a store
//! agree on.
//!
//! `publish/approved` of the store has the content that all edges may have, `publish/halted` the
//! one that they may not. What is judged by whom does not matter: the first verdict counts.

use super::publisher::{Publisher, now_ms, who};
use super::rollout::{self, Reason, Verdict};
use crate::store::{ChangeError, Keeper, Key, Revision, State, StoreError};
use control_api::publish::{Hash, Items};
use process_runtime::operator_log;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::convert::Infallible;

/// The content that all edges may have.
const APPROVED: &str = "publish/approved";
/// The content that edges may not have.
const HALTED: &str = "publish/halted";

/// A content of the store by its hash, and the generation that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    generation: Revision,
    hash: Hash,
}

/// A change that went to no further edge, and back on those that had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halted {
    /// The generation of the store that had it.
    pub generation: Revision,
    /// When that was decided, in milliseconds since 1970.
    pub at_ms: u64,
    /// What its edges did worse.
    pub why: String,
}

impl Halted {
    /// What a store says was halted, unless something else was approved since.
    pub(super) fn read(state: &State) -> Option<Self> {
        let stored = state.get(&Key::new(HALTED).ok()?)?;
        Self::deserialize(&*stored.value).ok()
    }
}

impl Content {
    fn read(state: &State, key: &str) -> Option<Self> {
        let stored = state.get(&Key::new(key).ok()?)?;
        let generation = stored.value.get("generation")?.as_u64()?;
        let hash = stored.value.get("hash")?.as_str()?;
        Some(Self { generation, hash: hash.to_owned().try_into().ok()? })
    }
}

impl Publisher {
    fn tries(&self) -> bool {
        self.settings().canary_percent > 0
    }

    /// Takes up at the start what was approved and halted before.
    pub(super) async fn resume(&self) {
        if !self.tries() {
            return;
        }
        if Content::read(&self.keeper().state(), APPROVED).is_none() {
            // The first content of a store has nothing to be compared with.
            self.write_approved().await;
        }
        self.agree().await;
    }

    /// Takes up what the store says was approved and halted.
    pub(super) async fn agree(&self) {
        if !self.tries() {
            return;
        }
        let (approved, halted) = {
            let state = self.keeper().state();
            (Content::read(&state, APPROVED), Content::read(&state, HALTED))
        };
        let trial = self.book().trial();
        self.book().halt(halted.map(|halted| halted.hash));
        if let Some(approved) = approved {
            let known = self.book().approve(approved.hash);
            if !known {
                self.find_approved(approved).await;
            }
        }
        let now = self.book().trial();
        if now != trial {
            self.tried(trial);
            self.tell();
        }
    }

    /// Makes the items of an approved content out of the history of the store.
    async fn find_approved(&self, approved: Content) {
        let found = items_at(self, approved.generation).await;
        let same = |items: &Items| items.hash() == approved.hash;
        let why = match found {
            Ok(items) if same(&items) => {
                self.book().approve_items(items, approved.generation, now_ms());
                return;
            }
            Ok(_) => "the objects of that generation make another content now".to_owned(),
            Err(error) => error.to_string(),
        };
        let what = "the approved content cannot be made again: the newest one is approved";
        operator_log::warn("approved_lost", what, &[("why", &why)]);
        self.write_approved().await;
    }

    /// Writes down that the newest content is approved.
    async fn write_approved(&self) {
        let newest = self.book().newest();
        let content = Content { generation: newest.generation, hash: newest.hashes.whole() };
        self.write(APPROVED, content, None).await;
    }

    /// A share of the attached edges is chosen to try a change.
    pub(super) fn begin_trial(&self) {
        let Some(trial) = self.book().trial() else { return };
        let mut fleet = self.fleet();
        fleet.begin(self.settings().canary_percent, now_ms());
        drop(fleet);
        let what = "some edges get the change first";
        operator_log::info("trial_begun", what, &[("generation", &trial.generation)]);
        self.tell();
    }

    /// Judges the change that is tried.
    pub(super) async fn judge(&self) {
        let Some(trial) = self.book().trial() else { return };
        let hold = u64::try_from(self.settings().canary_hold.as_millis()).unwrap_or(u64::MAX);
        let now = now_ms();
        let (begun, canaries, others) = {
            let mut fleet = self.fleet();
            if !fleet.is_trying() {
                // Nobody was attached when it began.
                fleet.begin(self.settings().canary_percent, now);
                drop(fleet);
                self.tell();
                return;
            }
            fleet.trial()
        };
        let content = Content { generation: trial.generation, hash: trial.hashes.whole() };
        match rollout::judge(now, begun, hold, &canaries, &others) {
            Verdict::Wait => {}
            Verdict::Approve => {
                if self.write(APPROVED, content, None).await {
                    let what = "the change goes to all edges";
                    operator_log::info(
                        "trial_approved",
                        what,
                        &[("generation", &trial.generation)],
                    );
                }
            }
            Verdict::Halt(reason) => {
                if self.write(HALTED, content, Some(&reason)).await {
                    self.metrics.halted.inc_shared();
                    let what = "the change goes to no further edge, and back on those that have it";
                    let fields: [operator_log::Field<'_>; 2] =
                        [("generation", &trial.generation), ("why", &reason)];
                    operator_log::error("trial_halted", what, &fields);
                }
            }
        }
    }

    /// Writes a verdict, unless there is one of another control plane. Whether it was written.
    async fn write(&self, key: &str, content: Content, why: Option<&Reason>) -> bool {
        let Ok(at) = Key::new(key) else { return false };
        let mut value = json!({
            "generation": content.generation,
            "hash": content.hash,
            "at_ms": now_ms(),
        });
        if let (Some(why), Some(members)) = (why, value.as_object_mut()) {
            members.insert("why".to_owned(), Value::from(why.to_string()));
        }
        let what = format!("{key} {}", content.generation);
        let who = who();
        let change = self.keeper().change(&who, &what, now_ms(), |draft| {
            let judged = [APPROVED, HALTED].into_iter().filter_map(|key| Content::read(draft, key));
            let mut judged = judged.filter(|one| one.hash == content.hash);
            let first = judged.next().is_none();
            if first {
                draft.put(at.clone(), value.clone());
                if key == APPROVED {
                    // What was halted before may be tried again after something else went well.
                    let _ = Key::new(HALTED).map(|key| draft.remove(&key));
                }
            }
            Ok::<_, Infallible>(first)
        });
        match change.await {
            Ok((first, _)) => first,
            Err(error) => {
                // It is judged again soon.
                let why = match &error {
                    ChangeError::Store(error) => error.to_string(),
                    other => other.to_string(),
                };
                operator_log::warn("trial_unwritten", "a verdict was not stored", &[("why", &why)]);
                false
            }
        }
    }
}

/// The items of an earlier generation.
async fn items_at(publisher: &Publisher, generation: Revision) -> Result<Items, StoreError> {
    let mut state = publisher.keeper().state().clone();
    state = before(publisher.keeper(), state, generation).await?;
    let open = |key: &Key, value: &Value| publisher.open(key, value);
    Ok(super::compile::Compiler::whole(&state, &open).items().clone())
}

/// What a state was at an earlier revision. When its objects were made is not told by history where
/// they were removed since; they count as the oldest then.
async fn before(keeper: &Keeper, state: State, to: Revision) -> Result<State, StoreError> {
    let head = state.revision;
    let values = keeper.values_at(to, head).await?;
    let mut state = state;
    for (key, value) in values {
        match value {
            Some(value) => {
                let created = state.get(&key).map_or(0, |stored| stored.created);
                let stored = crate::store::Stored { value, created, modified: to };
                state.objects.insert(key, stored);
            }
            None => drop(state.objects.remove(&key)),
        }
    }
    state.revision = to;
    Ok(state)
}
