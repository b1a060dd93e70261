//! An edge and planes over real sockets, TLS and HTTP/2, and the state folder.

mod disk;
mod plane;

use super::*;
use crate::live::LiveTable;
use crate::status::fixture;
use arc_swap::ArcSwap;
use control_api::publish::{EdgeMessage, Hash, Items, Outcome, PlaneMessage, SnapshotId};
use core_model::Snapshot;
use plane::{Authority, Manner, Plane, USUAL, begin, items, snapshot};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a state may take to come about on a busy machine.
const WITHIN: Duration = Duration::from_secs(20);

/// A folder that goes with the test.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-fleet-{}-{next}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn settings(planes: &[&Plane], authority: &Authority, token: char, folder: &Temp) -> Settings {
    Settings {
        urls: planes.iter().map(|plane| plane.url()).collect(),
        token: Some(authority.token(token)),
        state: folder.0.clone(),
        name: "edge-1".to_owned(),
    }
}

/// An edge as the control loop has it.
struct Edge {
    fleet: Fleet,
    kept: Kept,
    items: Items,
    has: Option<SnapshotId>,
}

impl Edge {
    /// Starts it with what it has. Needs a runtime.
    fn start(mut member: Member) -> Self {
        let found = member.found.take();
        let has = found.as_ref().map(|found| found.snapshot.clone());
        let items = found.map(|found| found.items).unwrap_or_default();
        let mut kept = std::mem::replace(&mut member.kept, Kept::none(&member.folder));
        if let Some(has) = has.as_ref().filter(|_| !member.from_disk) {
            kept.keep(has, None, &[], &items).unwrap();
        }
        let live = Arc::new(LiveTable::new(1));
        let current = Arc::new(ArcSwap::from_pointee(Snapshot::first(fixture::config())));
        let reporter = Reporter::new(live, current, &items);
        let identity = &member.identity;
        let state = FleetState::new(&identity.edge, identity.ends, has.as_ref());
        let fleet = Fleet::start(member, has.clone(), reporter, Arc::new(state));
        Self { fleet, kept, items, has }
    }

    /// Puts the next snapshot in force where it fits; gives which one it was.
    async fn take(&mut self) -> SnapshotId {
        let next = tokio::time::timeout(WITHIN, self.fleet.next());
        let incoming = next.await.expect("a snapshot in time");
        let snapshot = incoming.snapshot.clone();
        let Some(changes) = wanted(&self.items, self.has.as_ref(), &incoming) else {
            incoming.answer.send(Outcome::Resync).unwrap();
            return snapshot;
        };
        changes.iter().cloned().for_each(|change| self.items.apply(change));
        let base = self.has.replace(snapshot.clone());
        self.kept.keep(&snapshot, base.as_ref(), &changes, &self.items).unwrap();
        incoming.answer.send(Outcome::Applied { took_us: 1 }).unwrap();
        snapshot
    }

    async fn until(&self, what: &str, test: impl Fn(&FleetStatus) -> bool) -> FleetStatus {
        let begun = Instant::now();
        loop {
            let status = self.fleet.state().status();
            if test(&status) {
                return status;
            }
            assert!(begun.elapsed() < WITHIN, "{what}: {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn applied(message: &EdgeMessage, which: &SnapshotId) -> Option<()> {
    let EdgeMessage::Ack { snapshot, outcome: Outcome::Applied { .. } } = message else {
        return None;
    };
    (snapshot == which).then_some(())
}

#[test]
fn an_edge_joins_follows_and_starts_from_disk_with_every_plane_dead() {
    let (authority, folder) = (Arc::new(Authority::new()), Temp::new());
    let plane = Plane::start(&authority, USUAL, &[("a", 1), ("b", 1)]);
    let settings = settings(&[&plane], &authority, '1', &folder);
    let member = enter(settings.clone(), None, false).unwrap();
    assert_eq!((member.from_disk, member.starts), (false, 1));
    let first = snapshot(1, &items(&[("a", 1), ("b", 1)]));
    assert_eq!(member.found.as_ref().map(|found| found.snapshot.clone()), Some(first));
    let second = on_runtime(async {
        let mut edge = Edge::start(member);
        edge.until("it follows", |status| status.connected).await;
        let second = plane.publish(2, &[("a", 2), ("c", 1)]);
        assert_eq!(edge.take().await, second);
        assert_eq!(edge.items.hash(), second.hash);
        plane.hears(|message| applied(message, &second)).await;
        let newest = |s: &FleetStatus| s.generation == 2 && s.published == 2 && s.stale_s < 1.0;
        edge.until("it knows that it has the newest", newest).await;
        plane.hears(|message| matches!(message, EdgeMessage::Report(_)).then_some(())).await;
        drop(plane);
        let status = edge.until("it notes the loss", |status| !status.connected).await;
        assert_eq!(status.losses, 1);
        assert!(!status.trouble.is_empty());
        second
    });
    // Without an orderly end the next start counts, and needs neither plane nor token.
    let alone = Settings { token: None, ..settings };
    let member = enter(alone, None, false).unwrap();
    assert_eq!((member.from_disk, member.starts), (true, 2));
    let found = member.found.unwrap();
    assert_eq!((found.snapshot, found.items.len()), (second, 2));
}

#[test]
fn another_plane_is_followed_where_one_dies_or_falls_silent() {
    for silent in [false, true] {
        let (authority, folder) = (Arc::new(Authority::new()), Temp::new());
        let [one, other] = [(); 2].map(|()| Plane::start(&authority, USUAL, &[("a", 1)]));
        let settings = settings(&[&one, &other], &authority, '1', &folder);
        let member = enter(settings, None, false).unwrap();
        on_runtime(async {
            let edge = Edge::start(member);
            let followed = edge.until("it follows one", |status| status.connected).await;
            let (first, second) = match followed.plane == one.url().to_string() {
                true => (one, other),
                false => (other, one),
            };
            first.fall_silent();
            let mut first = Some(first);
            if !silent {
                drop(first.take());
            }
            let there = |s: &FleetStatus| s.connected && s.plane == second.url().to_string();
            edge.until("it follows the other", there).await;
            assert!(second.heard_hello_with(edge.has.as_ref()));
        });
    }
}

#[test]
fn what_is_not_what_was_promised_is_asked_for_as_a_whole() {
    let (authority, folder) = (Arc::new(Authority::new()), Temp::new());
    let plane = Plane::start(&authority, USUAL, &[("a", 1)]);
    let member = enter(settings(&[&plane], &authority, '1', &folder), None, false).unwrap();
    on_runtime(async {
        let mut edge = Edge::start(member);
        edge.until("it follows", |status| status.connected).await;
        let before = edge.items.hash();
        let wrong = SnapshotId { hash: Hash::of(b"other"), ..snapshot(2, &edge.items) };
        let unknown = snapshot(9, &edge.items);
        for (which, base) in [(&wrong, edge.has.clone()), (&wrong, Some(unknown)), (&wrong, None)] {
            plane.say(&begin(which, base, 1));
            let put = vec![plane::item("b", 1)];
            plane.say(&PlaneMessage::Items { put, remove: Vec::new() });
            plane.say(&PlaneMessage::End { snapshot: which.clone() });
            edge.take().await;
        }
        edge.until("all of them are counted", |status| status.resyncs == 3).await;
        assert_eq!((edge.items.hash(), edge.fleet.state().status().generation), (before, 1));
    });
}

#[test]
fn a_plane_out_of_order_is_left() {
    let generation = snapshot(2, &items(&[]));
    let end = PlaneMessage::End { snapshot: generation.clone() };
    let rows: [(&str, Vec<PlaneMessage>); 4] = [
        ("an end without a beginning", vec![end.clone()]),
        ("too few changes", vec![begin(&generation, None, 3), end.clone()]),
        ("two beginnings", vec![begin(&generation, None, 1), begin(&generation, None, 1)]),
        (
            "more than was announced",
            vec![
                begin(&generation, None, 0),
                PlaneMessage::Items { put: vec![plane::item("a", 1)], remove: Vec::new() },
            ],
        ),
    ];
    for (what, said) in rows {
        let mut parts = parts::Parts::default();
        let result: Result<Vec<_>, _> =
            said.into_iter().map(|message| parts.take(message)).collect();
        assert!(result.is_err(), "{what}");
    }
}

#[test]
fn a_certificate_is_renewed_in_time_for_a_new_key() {
    let (authority, folder) = (Arc::new(Authority::new()), Temp::new());
    let soon = Manner { renew_in: 0, ..USUAL };
    let plane = Plane::start(&authority, soon, &[("a", 1)]);
    let member = enter(settings(&[&plane], &authority, '1', &folder), None, false).unwrap();
    let (old, state) = (member.identity.clone(), member.folder.clone());
    on_runtime(async {
        let edge = Edge::start(member);
        edge.until("it follows", |status| status.connected).await;
        let begun = Instant::now();
        while state.identity().unwrap().unwrap().key == old.key {
            assert!(begun.elapsed() < WITHIN, "no new certificate");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let new = state.identity().unwrap().unwrap();
        assert_eq!((&new.edge, &new.token), (&old.edge, &old.token));
        assert_ne!(new.certificate, old.certificate);
        assert!(plane.asked().iter().any(|path| path == "/edge/v1/renew"));
        assert!(edge.fleet.state().status().connected);
    });
}

#[test]
fn who_is_refused_is_told_why_and_what_to_do() {
    let (authority, stranger) = (Arc::new(Authority::new()), Arc::new(Authority::new()));
    let plane = Plane::start(&authority, USUAL, &[("a", 1)]);
    let told = |token: Option<control_api::publish::JoinToken>| {
        let folder = Temp::new();
        let settings = Settings { token, ..settings(&[&plane], &authority, '1', &folder) };
        enter(settings, None, false).map(drop).unwrap_err().to_string()
    };
    for (token, expect) in [
        (None, "--join TOKEN"),
        (Some(authority.token('f')), "ask for a new one"),
        (Some(stranger.token('1')), "another authority than the one this edge trusts"),
    ] {
        let told = told(token);
        assert!(told.contains(expect), "{told}");
    }
}

#[test]
fn a_revoked_edge_and_one_whose_certificate_has_ended_serve_on_and_say_so() {
    for (manner, expect) in [
        (Manner { knows: false, ..USUAL }, "ask for a new one"),
        (Manner { lasts: 0, renew_in: 0, knows: false }, "its certificate has ended"),
    ] {
        let (authority, folder) = (Arc::new(Authority::new()), Temp::new());
        let plane = Plane::start(&authority, USUAL, &[("a", 1)]);
        let mut settings = settings(&[&plane], &authority, '1', &folder);
        drop(Edge::kept_once(enter(settings.clone(), None, false).unwrap()));
        // The same edge at a plane that thinks otherwise of it.
        let plane = Plane::start(&authority, manner, &[("a", 1)]);
        settings.urls = vec![plane.url()];
        settings.token = (manner.lasts == 0).then(|| authority.token('2'));
        let member = enter(settings, None, false).unwrap();
        assert!(member.found.is_some());
        on_runtime(async {
            let edge = Edge::start(member);
            let status = edge.until("it says so", |status| !status.trouble.is_empty()).await;
            assert!(status.trouble.contains(expect), "{}", status.trouble);
        });
    }
}

impl Edge {
    /// Keeps what an edge was given at its first start.
    fn kept_once(member: Member) -> Folder {
        let mut member = member;
        let found = member.found.take().unwrap();
        member.kept.keep(&found.snapshot, None, &[], &found.items).unwrap();
        member.folder
    }
}

#[test]
fn a_paused_edge_leaves_its_plane_to_another_process() {
    let (authority, folder) = (Arc::new(Authority::new()), Temp::new());
    let plane = Plane::start(&authority, USUAL, &[("a", 1)]);
    let member = enter(settings(&[&plane], &authority, '1', &folder), None, false).unwrap();
    on_runtime(async {
        let mut edge = Edge::start(member);
        edge.until("it follows", |status| status.connected).await;
        edge.fleet.orders().pause();
        edge.until("it has left", |status| !status.connected).await;
        let second = plane.publish(2, &[("b", 1)]);
        edge.fleet.orders().resume();
        assert_eq!(edge.take().await, second);
        edge.until("it follows again", |s| s.connected && s.generation == 2).await;
    });
}
