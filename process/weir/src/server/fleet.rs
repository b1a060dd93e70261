//! This process as an edge of a fleet: how it starts with what is published, and how a published
//! snapshot is put in force. How it is had from a control plane is in `process_runtime::fleet`.

use super::change::Cause;
use super::packets::{self, Part};
use super::{Control, Origin};
use arc_swap::ArcSwap;
use control_api::publish::{Change, Items, Outcome, Role, SnapshotId};
use core_model::{Fault, Snapshot};
use process_runtime::accounts::ServiceUser;
use process_runtime::config_file::{Assembly, Loaded};
use process_runtime::fleet::{
    self, Fleet, FleetError, FleetState, Incoming, Kept, Member, PlaneUrl, Reporter, Settings,
    inverse, wanted,
};
use process_runtime::live::LiveTable;
use process_runtime::operator_log;
use process_runtime::status::StatusSource;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines of faults that a control plane is told.
const FAULTS_TOLD: usize = 10;

/// How this edge finds its control planes; the same may stand in `[control]` of the file.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct FleetOptions {
    /// Follow these control planes: https://HOST:PORT of `[edges]`, several with commas between.
    #[arg(long = "control", value_name = "URL", value_delimiter = ',')]
    control: Vec<PlaneUrl>,
    /// Join with this token, once; `weir edge token create` makes it.
    #[arg(long, value_name = "TOKEN")]
    join: Option<String>,
    /// Keep this edge's identity and the last snapshot here.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What this edge is called at the control planes.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// The file and what is published beside it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    assembly: Arc<Mutex<Assembly>>,
    file: PathBuf,
    part: Part,
}

impl Source {
    /// Does something with it. It takes a while where much is published.
    pub(super) fn on<T>(&self, work: impl FnOnce(&mut Assembly) -> T) -> T {
        work(&mut self.assembly.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What this process serves of a configuration.
    pub(super) fn part_of(&self, loaded: Loaded) -> Result<Loaded, Vec<Fault>> {
        packets::part_of(loaded, &self.file, self.part)
    }
}

/// What a process starts with.
pub(super) struct Start {
    pub(super) loaded: Loaded,
    pub(super) source: Source,
    pub(super) member: Option<Member>,
}

/// Reads the file, and what is published where it is an edge's.
///
/// # Errors
/// It is an edge's and cannot become one; within, the faults of file and items.
pub(super) fn load(
    file: &Path,
    part: Part,
    options: FleetOptions,
    takes_over: bool,
) -> Result<Result<Start, Vec<Fault>>, FleetError> {
    let options = fleet::Options {
        urls: options.control,
        token: options.join,
        state: options.state,
        name: options.name,
    };
    let read =
        if options.urls.is_empty() { Assembly::new(file) } else { Assembly::following(file) };
    let (assembly, loaded) = match read {
        Ok(read) => read,
        Err(faults) => return Ok(Err(faults)),
    };
    let logging = &loaded.config.logging;
    operator_log::configure(logging.level.into(), logging.format.into());
    let settings = Settings::of(&options, loaded.config.control.as_ref())?;
    let user = loaded.config.runtime.user.as_deref();
    let group = loaded.config.runtime.group.as_deref();
    // That there is no such account is told with the faults of the file.
    let owner = user.and_then(|user| ServiceUser::find(user, group).ok());
    let assembly = Arc::new(Mutex::new(assembly));
    let source = Source { assembly, file: file.to_owned(), part };
    let mut member = match settings {
        None => None,
        Some(settings) => Some(fleet::enter(settings, owner.as_ref(), takes_over)?),
    };
    let mut loaded = loaded;
    if let Some(member) = &mut member
        && let Some(found) = &member.found
    {
        let all = found.items.iter().map(Change::Put).collect();
        match source.on(|assembly| assembly.change(all)) {
            Ok(together) => loaded = together,
            // They went together before: the file is another one.
            Err(faults) if member.from_disk => return Ok(Err(faults)),
            Err(faults) => {
                let (count, first) = (faults.len(), faults.first().map(ToString::to_string));
                operator_log::error(
                    "published_refused",
                    "what is published does not go with this file, which is served alone",
                    &[("faults", &count), ("first", &first.unwrap_or_default())],
                );
                member.found = None;
            }
        }
    }
    Ok(source.part_of(loaded).map(|loaded| Start { loaded, source, member }))
}

/// An edge that serves.
pub(super) struct Following {
    pub(super) fleet: Fleet,
    /// The generation in force.
    has: Option<SnapshotId>,
    reporter: Reporter,
    kept: Arc<Mutex<Kept>>,
}

impl Following {
    /// Begins to follow.
    pub(super) async fn start(
        mut member: Member,
        source: &Source,
        live: Arc<LiveTable>,
        current: Arc<ArcSwap<Snapshot>>,
        status: &StatusSource,
    ) -> Self {
        let has = member.found.take().map(|found| found.snapshot);
        let items = source.on(|assembly| assembly.items().clone());
        let reporter = Reporter::new(live, current, &items);
        let identity = &member.identity;
        let state = Arc::new(FleetState::new(&identity.edge, identity.ends, has.as_ref()));
        status.set_fleet(state.clone());
        state.set_on_disk(member.from_disk);
        let kept = std::mem::replace(&mut member.kept, Kept::none(&member.folder));
        let kept = Arc::new(Mutex::new(kept));
        if let Some(has) = has.as_ref().filter(|_| !member.from_disk) {
            keep(&kept, &state, has.clone(), None, Vec::new(), items).await;
        }
        let fleet = Fleet::start(member, has.clone(), reporter.clone(), state);
        Self { fleet, has, reporter, kept }
    }
}

/// Tells what keeps the state folder from being this process's, or another one's.
fn tell(moved: Result<(), FleetError>) {
    if let Err(error) = moved {
        let what = "whose the state folder is does not hold: see that one process has it";
        operator_log::error("state_shared", what, &[("error", &error)]);
    }
}

/// The next snapshot of a control plane; never where none is followed.
pub(super) async fn next(following: &mut Option<Following>) -> Incoming {
    match following {
        Some(following) => following.fleet.next().await,
        None => std::future::pending().await,
    }
}

/// Notes that this process ends in order.
pub(super) fn ended(following: Option<&Following>) {
    if let Some(following) = following {
        following.fleet.ends();
    }
}

/// Writes what is in force to disk.
async fn keep(
    kept: &Arc<Mutex<Kept>>,
    state: &FleetState,
    snapshot: SnapshotId,
    base: Option<SnapshotId>,
    changes: Vec<Change>,
    items: Items,
) {
    let kept = kept.clone();
    let written = tokio::task::spawn_blocking(move || {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.keep(&snapshot, base.as_ref(), &changes, &items)
    });
    let error = match written.await {
        Ok(Ok(())) => return state.set_on_disk(true),
        Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
        Err(error) => error.to_string(),
    };
    state.set_on_disk(false);
    operator_log::error(
        "snapshot_unwritten",
        "what is published is in force and not on disk: a restart needs a control plane",
        &[("error", &error)],
    );
}

/// What a snapshot is to this edge.
enum Work {
    /// It does not follow what is here, or is not what was promised.
    Resync,
    /// Nothing of it is new.
    Same,
    /// It makes another configuration.
    New { loaded: Box<Loaded>, changes: Vec<Change>, back: Vec<Change> },
    /// It does not go with the file.
    Faulty(Vec<Fault>),
}

fn work(source: &Source, has: Option<&SnapshotId>, incoming: &Incoming) -> Work {
    source.on(|assembly| {
        let Some(changes) = wanted(assembly.items(), has, incoming) else { return Work::Resync };
        if changes.is_empty() {
            return Work::Same;
        }
        let back = inverse(assembly.items(), &changes);
        let loaded = match assembly.change(changes.clone()) {
            Ok(loaded) => loaded,
            Err(faults) => return Work::Faulty(faults),
        };
        match source.part_of(loaded) {
            Ok(loaded) => Work::New { loaded: Box::new(loaded), changes, back },
            Err(faults) => {
                // It went together before.
                drop(assembly.change(back));
                Work::Faulty(faults)
            }
        }
    })
}

impl Control {
    /// Puts a published snapshot in force as a whole, or not at all, and answers what became of it.
    /// By then it is on disk, so that no other process finds an older one there.
    pub(super) async fn publish(&mut self, incoming: Incoming) {
        let (Some(Origin { source, .. }), Some(following)) = (&self.origin, &self.following) else {
            return;
        };
        let (source, has) = (source.clone(), following.has.clone());
        let worked = tokio::task::spawn_blocking(move || {
            let work = work(&source, has.as_ref(), &incoming);
            (work, incoming)
        });
        // A panic is told by its hook; the client goes on when the answer is dropped.
        let Ok((work, incoming)) = worked.await else { return };
        let generation = incoming.snapshot.generation;
        let (changes, refusal) = match work {
            Work::Resync => {
                let what =
                    "what was published does not follow what is here: all of it is asked for";
                operator_log::info("resync", what, &[("published", &generation)]);
                drop(incoming.answer.send(Outcome::Resync));
                return;
            }
            Work::Same => (Vec::new(), None),
            Work::Faulty(faults) => {
                let faults = faults.iter().take(FAULTS_TOLD).map(ToString::to_string).collect();
                (Vec::new(), Some(faults))
            }
            Work::New { loaded, changes, back } => {
                let outcome = self.change(Cause::Published(generation), *loaded).await;
                if outcome.applied {
                    (changes, None)
                } else {
                    self.withdraw(back).await;
                    (Vec::new(), Some(outcome.faults))
                }
            }
        };
        match refusal {
            Some(mut faults) => {
                faults.truncate(FAULTS_TOLD);
                self.refused_published(generation, &faults);
                drop(incoming.answer.send(Outcome::Refused { faults }));
            }
            None => self.published(incoming, changes).await,
        }
    }

    /// Takes items back that were not put in force.
    async fn withdraw(&self, back: Vec<Change>) {
        let Some(origin) = &self.origin else { return };
        let source = origin.source.clone();
        let withdrawn =
            tokio::task::spawn_blocking(move || source.on(|assembly| assembly.change(back)));
        if let Ok(Err(faults)) = withdrawn.await {
            let first = faults.first().map(ToString::to_string).unwrap_or_default();
            let what = "what was published could not be taken back (a bug)";
            operator_log::error("published_left", what, &[("first", &first)]);
        }
    }

    fn refused_published(&self, generation: u64, faults: &[String]) {
        let first = faults.first().cloned().unwrap_or_default();
        operator_log::error(
            "published_refused",
            "what a control plane published is not used, what is in force goes on serving",
            &[("published", &generation), ("faults", &faults.len()), ("first", &first)],
        );
        self.status.note("published_refused", format!("generation {generation} refused: {first}"));
    }

    async fn published(&mut self, incoming: Incoming, changes: Vec<Change>) {
        let (Some(origin), Some(following)) = (&self.origin, &mut self.following) else { return };
        let took_us = incoming.arrived.elapsed().as_micros();
        let took_us = u64::try_from(took_us).unwrap_or(u64::MAX);
        let config = &self.current.load().config;
        let packets = changes.iter().any(|change| change.key().kind.role() == Role::Packet);
        if packets && config.packet.is_none() && config.packet_name.is_none() {
            let what = "objects of the packet path are published and have no effect here: add \
                        [packet] to the file and restart, or give this edge the role proxy";
            operator_log::warn(
                "packet_unused",
                what,
                &[("published", &incoming.snapshot.generation)],
            );
            self.status.note("packet_unused", what.to_owned());
        }
        following.reporter.changed(&changes);
        let base = following.has.replace(incoming.snapshot.clone());
        let items = origin.source.on(|assembly| assembly.items().clone());
        let state = following.fleet.state().clone();
        keep(&following.kept, &state, incoming.snapshot, base, changes, items).await;
        // The stream may be gone; the next one begins with what is in force.
        drop(incoming.answer.send(Outcome::Applied { took_us }));
    }

    /// Leaves the control planes to another process, or follows them again.
    pub(super) fn follow(&self, follow: bool) {
        let Some(following) = &self.following else { return };
        match follow {
            true => {
                // The other process may have kept a snapshot before it ended.
                following.kept.lock().unwrap_or_else(PoisonError::into_inner).forget();
                following.fleet.orders().resume();
                let lock = following.fleet.lock().clone();
                // It goes on without: an edge that serves is not ended for a folder.
                tokio::task::spawn_blocking(move || {
                    tell(lock.lock().unwrap_or_else(PoisonError::into_inner).retake());
                });
            }
            false => {
                following.fleet.orders().pause();
                let lock = following.fleet.lock().lock().unwrap_or_else(PoisonError::into_inner);
                tell(lock.release());
            }
        }
    }
}
