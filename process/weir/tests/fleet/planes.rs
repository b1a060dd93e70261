//! Two control planes of one etcd: either may be lost, and etcd as well, and edges serve on.

use super::rig::{Fleet, answers, control, get, origin, until};
use crate::support::files::TempDir;
use crate::support::load::Load;
use crate::support::process::{Guard, Weir};
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an edge may follow nobody once its control plane is gone (docs/operating/fleet.md).
const REATTACHED: Duration = Duration::from_secs(6);
/// Edges among which both control planes have one: each begins with either of them.
const EDGES_MAX: usize = 24;
/// Changes that were acknowledged before a control plane is killed amid the next one.
const WRITTEN: usize = 20;

/// Debian's etcd at an address of its own: the whole of 127.0.0.0/8 is this machine.
struct Etcd {
    guard: Guard,
    dir: Arc<TempDir>,
    address: String,
}

impl Etcd {
    fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(200);
        let (pid, last) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let address = format!("127.{}.{}.{last}", pid / 250 % 250 + 2, pid % 250 + 2);
        let dir = Arc::new(TempDir::new());
        let guard = Self::run(dir.path(), &address);
        Self { guard, dir, address }
    }

    fn run(dir: &Path, address: &str) -> Guard {
        let (client, peer) = (format!("http://{address}:2379"), format!("http://{address}:2380"));
        // It ends with this thread, even where that is killed.
        let guard = Guard::start(
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "etcd", "--data-dir"])
                .arg(dir.join("etcd"))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &format!("default={peer}"), "--logger", "zap"]),
        );
        wait::until("etcd serves", SOON, || std::net::TcpStream::connect((address, 2379)).is_ok());
        guard
    }

    /// The section of a control file.
    fn section(&self) -> String {
        format!("[store.etcd]\nendpoints = [\"http://{}:2379\"]\n", self.address)
    }

    fn fleet(&self) -> Fleet {
        Fleet::start_with(self.dir.clone(), &self.section())
    }
}

/// The URL of the control plane that an edge follows.
fn plane_of(edge: &Weir) -> String {
    let followed = until(edge, "it follows", |control| control["connected"] == true);
    followed["plane"].as_str().expect("a URL").to_owned()
}

/// Edges of both control planes, at least one with each.
fn edges(a: &Fleet, b: &Fleet) -> (Vec<Weir>, Vec<Weir>) {
    let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
    for number in 0..EDGES_MAX {
        let edge = Weir::start(a.edge_file_of(&format!("edge-{number}"), "", &[a, b]));
        match plane_of(&edge) == a.edges_url() {
            true => of_a.push(edge),
            false => of_b.push(edge),
        }
        if !of_a.is_empty() && !of_b.is_empty() {
            return (of_a, of_b);
        }
    }
    panic!("all of {EDGES_MAX} edges follow one control plane");
}

#[test]
fn a_killed_control_plane_loses_nothing_and_its_edges_follow_the_other_one() {
    let (one, two) = (origin("one"), origin("two"));
    let etcd = Etcd::start();
    let mut a = etcd.fleet();
    let b = a.beside();
    let pool = a.pool("shop", &one);
    a.host("a", &pool);
    let (of_a, of_b) = edges(&a, &b);
    let all = || of_a.iter().chain(&of_b);
    all().for_each(|edge| answers(edge, "a", "one"));
    // What one is told, edges of the other one do.
    a.turn(&pool, &two);
    all().for_each(|edge| answers(edge, "a", "two"));
    b.turn(&pool, &one);
    all().for_each(|edge| answers(edge, "a", "one"));
    // It is killed amid a change.
    let (load, acknowledged) = (Load::default(), Arc::new(Mutex::new(Vec::new())));
    let (mut write, written) = (a.writer("made"), acknowledged.clone());
    let writing = load.run(move |number| {
        let id = write(number).ok_or("it does not answer")?;
        written.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        Ok(())
    });
    let count = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
    wait::until("changes are acknowledged", SOON, || count() >= WRITTEN);
    a.plane.signal(Signal::KILL);
    let killed = Instant::now();
    for edge in &of_a {
        let left = REATTACHED.saturating_sub(killed.elapsed());
        wait::until("the other one is followed", left, || {
            let control = control(edge);
            control["connected"] == true && control["plane"] == b.edges_url()
        });
    }
    wait::until("the writer knows", SOON, || !load.failures().is_empty());
    load.stop.store(true, Ordering::Release);
    writing.join().expect("it ends");
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for id in &acknowledged {
        assert!(b.has_pool(id), "{id} was acknowledged and is lost");
    }
    // All of them go on, with the newest.
    b.turn(&pool, &two);
    for edge in all() {
        answers(edge, "a", "two");
        until(edge, "the newest is in force", |control| {
            control["generation"] == control["published"]
        });
    }
    a.plane.exit(SOON);
    a.start_again();
    a.turn(&pool, &one);
    all().for_each(|edge| answers(edge, "a", "one"));
}

#[test]
fn without_etcd_changes_are_refused_and_edges_serve_on() {
    let (one, two) = (origin("one"), origin("two"));
    let mut etcd = Etcd::start();
    let a = etcd.fleet();
    let b = a.beside();
    let pool = a.pool("shop", &one);
    a.host("a", &pool);
    let (of_a, of_b) = edges(&a, &b);
    let all = || of_a.iter().chain(&of_b);
    all().for_each(|edge| answers(edge, "a", "one"));
    for (killed, before, next) in [(false, &one, &two), (true, &two, &one)] {
        let now = get(&of_a[0], "a");
        let load = Load::default();
        let asking: Vec<_> = all()
            .map(|edge| {
                let (address, expect) = (edge.web(), now.clone());
                load.run(move |_| match super::rig::get_at(address, "a") {
                    right if right == expect => Ok(()),
                    wrong => Err(wrong),
                })
            })
            .collect();
        match killed {
            false => etcd.guard.signal(Signal::STOP),
            true => {
                etcd.guard.signal(Signal::KILL);
                etcd.guard.exit(SOON);
            }
        }
        for plane in [&a, &b] {
            // A process that was stopped may still make it once it goes on.
            let (status, head, body) = plane.try_turn(&pool, next).expect("an answer");
            assert_eq!((status, &body["errors"][0]["code"]), (503, &19003.into()), "{body}");
            assert!(head.contains("\r\nretry-after: "), "{head}");
            assert!(plane.reads(), "what is known can be read");
        }
        all().for_each(|edge| assert_eq!(control(edge)["connected"], true));
        load.stop.store(true, Ordering::Release);
        asking.into_iter().for_each(|asking| assert!(asking.join().expect("it ends") > 0));
        assert_eq!(load.failures(), Vec::<String>::new());
        match killed {
            false => etcd.guard.signal(Signal::CONT),
            true => etcd.guard = Etcd::run(etcd.dir.path(), &etcd.address),
        }
        wait::until("changes are taken again", SOON, || {
            a.try_turn(&pool, next).is_ok_and(|(status, ..)| status == 200)
        });
        let (old, new) = if killed { ("two", "one") } else { ("one", "two") };
        all().for_each(|edge| answers(edge, "a", new));
        // The other one takes changes, too, and the first one follows it.
        b.turn(&pool, before);
        all().for_each(|edge| answers(edge, "a", old));
        a.turn(&pool, next);
        all().for_each(|edge| answers(edge, "a", new));
    }
}
