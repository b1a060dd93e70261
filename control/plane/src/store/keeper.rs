//! What everything else uses: the newest state in memory, and changes by compare-and-commit.
//!
//! One change is at work at a time in a process; others conflict only across processes, through
//! etcd. A commit and what follows from it run in a task of their own, so that a caller who goes
//! away leaves nothing half-done.

use super::backend::Backend;
use super::error::{ChangeError, Fault, StoreError};
use super::metrics::StoreMetrics;
use super::recent::{Recent, Since};
use super::record::{Commit, OBJECT_BYTES_MAX, Record, Revision, Who, Write};
use super::state::{Draft, State};
use std::ops::{Deref, RangeInclusive};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How often a change is made anew because others came first. Each time one of them got through. Of
/// two control planes that write without pause, the one that lost has to read before it tries
/// again, and loses more than half of its tries: eight ran out in practice.
pub const CHANGE_TRIES_MAX: u32 = 32;

/// How long the follower waits before it asks a store again that did not answer.
const FOLLOW_RETRY: Duration = Duration::from_millis(500);

/// How long a store is asked what became of a commit that it did not answer. It had all of its
/// patience for that already, and somebody waits; the next change finds out in any case.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// What says whether a state is valid as a whole.
pub type Validate = fn(&State) -> Vec<Fault>;

/// The newest state, and the way to change it.
#[derive(Debug)]
pub struct Keeper {
    inner: Arc<Inner>,
    follower: Option<JoinHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) backend: Backend,
    validate: Validate,
    /// What readers see: committed states only.
    state: RwLock<State>,
    /// What the last commits changed; written while `state` is, so that who reads both reads one
    /// moment.
    recent: RwLock<Recent>,
    work: Arc<Mutex<Work>>,
    revisions: watch::Sender<Revision>,
    metrics: StoreMetrics,
}

/// What changes are made on; between changes it equals what readers see.
#[derive(Debug)]
struct Work {
    state: State,
    /// The id of the commit that made the state, by which a store is noticed that was replaced.
    last: Option<u64>,
    /// Whether the store may be ahead.
    stale: bool,
}

/// The newest state, for reading. Changes wait for its end: it is not held for long.
#[derive(Debug)]
pub struct StateGuard<'a>(RwLockReadGuard<'a, State>);

impl Deref for StateGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl Keeper {
    /// Reads the whole store. `validate` judges every state before it is committed.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(backend: Backend, validate: Validate) -> Result<Self, StoreError> {
        let follows = backend.is_shared();
        let work = Work { state: State::default(), last: None, stale: true };
        let inner = Arc::new(Inner {
            backend,
            validate,
            state: RwLock::default(),
            recent: RwLock::default(),
            work: Arc::new(Mutex::new(work)),
            revisions: watch::Sender::new(0),
            metrics: StoreMetrics::default(),
        });
        inner.reload(&mut *inner.work.lock().await).await?;
        let follower = follows.then(|| tokio::spawn(follow(inner.clone())));
        Ok(Self { inner, follower })
    }

    /// The newest state.
    #[must_use]
    pub fn state(&self) -> StateGuard<'_> {
        self.inner.state()
    }

    /// The newest state with what was changed after `revision`; none where that is not known any
    /// longer, and everything may have changed.
    #[must_use]
    pub fn since(&self, revision: Revision) -> (StateGuard<'_>, Option<Since>) {
        let state = self.inner.state();
        let recent = self.inner.recent.read().unwrap_or_else(PoisonError::into_inner);
        let since = recent.since(revision, state.revision);
        (state, since)
    }

    /// Tells each new revision.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<Revision> {
        self.inner.revisions.subscribe()
    }

    /// What the store counts.
    #[must_use]
    pub fn metrics(&self) -> &StoreMetrics {
        &self.inner.metrics
    }

    /// Where the store is.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    /// Runs `edit` on the newest state, judges what it made of it, and commits: all of it or
    /// nothing. `edit` runs again where others committed first. One that changes nothing commits
    /// nothing. `at_ms` is the time in milliseconds since 1970.
    ///
    /// # Errors
    /// What `edit` says, the faults of the state that it made, and what the store says.
    pub async fn change<T, E>(
        &self,
        who: &Who,
        what: &str,
        at_ms: u64,
        mut edit: impl FnMut(&mut Draft<'_>) -> Result<T, E>,
    ) -> Result<(T, Revision), ChangeError<E>> {
        let inner = &self.inner;
        for _ in 0..CHANGE_TRIES_MAX {
            let mut work = inner.work.clone().lock_owned().await;
            if work.stale {
                inner.catch_up(&mut work).await?;
            }
            let mut draft = Draft::new(&mut work.state);
            let made = edit(&mut draft).map_err(ChangeError::Edit)?;
            let (base, writes) = (draft.revision, draft.writes());
            if writes.is_empty() {
                return Ok((made, base));
            }
            inner.check_sizes(&writes)?;
            let faults = (inner.validate)(&draft);
            drop(draft);
            if !faults.is_empty() {
                return Err(ChangeError::Invalid(faults));
            }
            let (who, what) = (who.clone(), what.to_owned());
            let commit = Commit { base, id: random(), who, what, at_ms, writes };
            match inner.clone().commit(work, commit).await {
                Ok(revision) => return Ok((made, revision)),
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeError::Contended { tries: CHANGE_TRIES_MAX })
    }

    /// The first records of a range of revisions, oldest first, up to
    /// [`HISTORY_PAGE_MAX`](super::HISTORY_PAGE_MAX) and
    /// [`HISTORY_BYTES_MAX`](super::HISTORY_BYTES_MAX): a reader goes on after the last one. Those
    /// that are compacted away are left out.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn history(
        &self,
        range: RangeInclusive<Revision>,
    ) -> Result<Vec<Record>, StoreError> {
        self.inner.backend.history(range).await
    }

    /// Reads the store anew, after it was filled.
    pub(super) async fn read_again(&self) -> Result<(), StoreError> {
        self.inner.reload(&mut *self.inner.work.lock().await).await
    }

    /// Forgets the records before `first`; the newest one stays in any case. What was forgotten
    /// cannot be rolled back to.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn compact(&self, first: Revision) -> Result<(), StoreError> {
        let head = self.state().revision;
        self.inner.backend.compact(first.min(head)).await
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

impl Inner {
    fn state(&self) -> StateGuard<'_> {
        StateGuard(self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn check_sizes(&self, writes: &[Write]) -> Result<(), StoreError> {
        for write in writes {
            let bytes = write.after.as_ref().map_or(0, |value| value.to_string().len());
            if bytes > OBJECT_BYTES_MAX {
                let why = format!("{}: {bytes} bytes of {OBJECT_BYTES_MAX}", write.key);
                return Err(StoreError::TooLarge { place: self.backend.place(), why });
            }
        }
        Ok(())
    }

    /// Commits in a task of its own, which ends whatever becomes of the caller.
    async fn commit(
        self: Arc<Self>,
        work: OwnedMutexGuard<Work>,
        commit: Commit,
    ) -> Result<Revision, StoreError> {
        let place = self.backend.place();
        let task = tokio::spawn(self.commit_whole(work, commit));
        task.await.unwrap_or_else(|error| {
            let why = error.to_string();
            Err(StoreError::Unavailable { place, attempt: "commit", why })
        })
    }

    async fn commit_whole(
        self: Arc<Self>,
        mut work: OwnedMutexGuard<Work>,
        commit: Commit,
    ) -> Result<Revision, StoreError> {
        let record = commit.record();
        // Until it is known what became of the commit, the store may be ahead.
        work.stale = true;
        let begun = Instant::now();
        if let Err(error) = self.backend.commit(commit).await {
            match error {
                StoreError::Conflict { .. } => self.metrics.conflicts.inc_shared(),
                _ => self.metrics.failures.inc_shared(),
            }
            // A commit without an answer, or sent twice, may be the one that is there.
            let there = self.backend.history(record.revision..=record.revision);
            let there = timeout(LOOK_MAX, there).await.ok().and_then(Result::ok);
            if there.and_then(|found| found.first().map(|r| r.id)) != Some(record.id) {
                return Err(error);
            }
        }
        self.metrics.commits.inc_shared();
        let us = begun.elapsed().as_micros();
        self.metrics.commit_us.record(u64::try_from(us).unwrap_or(u64::MAX));
        self.apply(&mut work, &[record]);
        work.stale = false;
        Ok(work.state.revision)
    }

    /// Puts records in force, here and for readers.
    fn apply(&self, work: &mut Work, records: &[Record]) {
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            for record in records {
                work.state.apply(record);
                state.apply(record);
                recent.add(record);
                work.last = Some(record.id);
            }
        }
        if !records.is_empty() {
            self.revisions.send_replace(work.state.revision);
        }
    }

    /// Reads everything.
    async fn reload(&self, work: &mut Work) -> Result<(), StoreError> {
        let state = self.backend.load().await?;
        let newest = self.backend.history(state.revision..=state.revision).await?;
        work.last = newest.first().map(|record| record.id);
        {
            let mut shown = self.state.write().unwrap_or_else(PoisonError::into_inner);
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            *shown = state.clone();
            recent.forget();
        }
        work.state = state;
        work.stale = false;
        self.revisions.send_replace(work.state.revision);
        Ok(())
    }

    /// Takes over what others committed.
    async fn catch_up(&self, work: &mut Work) -> Result<(), StoreError> {
        loop {
            // From the own one on: a store that was replaced or compacted does not have it.
            let own = work.state.revision;
            let records = self.backend.history(own..=Revision::MAX).await?;
            let (before, news): (&[Record], &[Record]) = match records.split_first() {
                Some((first, rest)) if first.revision == own => (std::slice::from_ref(first), rest),
                _ => (&[], &records),
            };
            let known = own == 0 || before.first().map(|record| record.id) == work.last;
            let gapless = news.first().is_none_or(|first| first.revision == own + 1);
            if !known || !gapless {
                return self.reload(work).await;
            }
            if news.is_empty() {
                work.stale = false;
                return Ok(());
            }
            self.apply(work, news);
        }
    }
}

/// Takes over what other processes commit, as soon as the store tells.
async fn follow(inner: Arc<Inner>) {
    loop {
        let after = inner.state().revision;
        let mut outcome = inner.backend.changed(after).await;
        if outcome.is_ok() {
            let mut work = inner.work.lock().await;
            outcome = inner.catch_up(&mut work).await;
        }
        if outcome.is_err() {
            tokio::time::sleep(FOLLOW_RETRY).await;
        }
    }
}

/// A number that no other commit has.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the number is 0, and an unanswered commit cannot be told from another's
    // of such a process; the comparison of revisions holds in any case.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
