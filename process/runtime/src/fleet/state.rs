//! What is known of the fleet at this moment: for metrics and the status.

use control_api::publish::{Outcome, Role, SnapshotId};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How this edge stands to its control planes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FleetStatus {
    /// This edge's id.
    pub edge: String,
    /// What it is called at the planes; empty before it was connected.
    pub name: String,
    /// Its roles there.
    pub roles: Vec<Role>,
    /// Whether a plane is followed at this moment.
    pub connected: bool,
    /// The plane that is followed, or was last.
    pub plane: String,
    /// The generation in force; 0 for none.
    pub generation: u64,
    /// The newest generation that is meant for this edge, as far as it knows.
    pub published: u64,
    /// Seconds since it last knew that it had the newest.
    pub stale_s: f64,
    /// Snapshots that were put in force since the start.
    pub applied: u64,
    /// Snapshots that were refused here since the start.
    pub refused: u64,
    /// Times that all of a snapshot had to be asked for since the start.
    pub resyncs: u64,
    /// Connections to planes that were lost since the start.
    pub losses: u64,
    /// Why the last snapshot was refused; empty once one is in force again.
    pub refusal: String,
    /// Why no plane is followed; empty while one is.
    pub trouble: String,
    /// When this edge's certificate ends, in seconds since 1970.
    pub certificate_ends: u64,
    /// Whether what is in force is on disk as well.
    pub on_disk: bool,
}

/// Shared by the client, the control loop and whoever reads.
#[derive(Debug)]
pub struct FleetState {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: FleetStatus,
    /// When it was last known that the newest is in force.
    fresh: Instant,
}

impl FleetState {
    /// The state of an edge that has `has` in force and follows nobody yet.
    #[must_use]
    pub fn new(edge: &str, certificate_ends: u64, has: Option<&SnapshotId>) -> Self {
        let generation = has.map_or(0, |has| has.generation);
        let status = FleetStatus {
            edge: edge.to_owned(),
            generation,
            published: generation,
            certificate_ends,
            ..FleetStatus::default()
        };
        Self { inner: Mutex::new(Inner { status, fresh: Instant::now() }) }
    }

    /// How things stand.
    #[must_use]
    pub fn status(&self) -> FleetStatus {
        let inner = self.lock();
        FleetStatus { stale_s: inner.fresh.elapsed().as_secs_f64(), ..inner.status.clone() }
    }

    /// Notes whether what is in force is on disk as well.
    pub fn set_on_disk(&self, on_disk: bool) {
        self.lock().status.on_disk = on_disk;
    }

    pub(super) fn set_certificate(&self, ends: u64) {
        self.lock().status.certificate_ends = ends;
    }

    pub(super) fn connected(&self, plane: &str, name: String, roles: Vec<Role>) {
        let mut inner = self.lock();
        let status = &mut inner.status;
        (status.connected, status.plane) = (true, plane.to_owned());
        (status.name, status.roles) = (name, roles);
        status.trouble.clear();
    }

    /// Notes that no plane is followed. Gives whether that is news: one was followed, or the reason
    /// is another one.
    pub(super) fn troubled(&self, why: String) -> bool {
        let mut inner = self.lock();
        let status = &mut inner.status;
        let news = status.connected || status.trouble != why;
        status.losses += u64::from(status.connected);
        (status.connected, status.trouble) = (false, why);
        news
    }

    /// Notes which generation is the newest for this edge.
    pub(super) fn told(&self, newest: u64) {
        let mut inner = self.lock();
        inner.status.published = newest;
        if inner.status.generation == newest {
            inner.fresh = Instant::now();
        }
    }

    /// Notes what became of a snapshot.
    pub(super) fn became(&self, snapshot: &SnapshotId, outcome: &Outcome) {
        let mut inner = self.lock();
        let status = &mut inner.status;
        match outcome {
            Outcome::Applied { .. } => {
                status.applied += 1;
                status.generation = snapshot.generation;
                status.refusal.clear();
                if status.published == snapshot.generation {
                    inner.fresh = Instant::now();
                }
            }
            Outcome::Refused { faults } => {
                status.refused += 1;
                let first = faults.first().map_or("", String::as_str);
                status.refusal = format!("generation {}: {first}", snapshot.generation);
            }
            Outcome::Resync => status.resyncs += 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
