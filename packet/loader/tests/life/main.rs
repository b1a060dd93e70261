//! The life of the packet programs in a kernel: loaded, published, attached, replaced under load,
//! left behind by a process that was killed, detached.
//!
//! Needs root, bpf(2) and namespaces; each test says by name that it was skipped, and why, where
//! they are missing.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod capture;
mod cookies;
mod explain;
mod flood;
mod shield;
mod spoof;
mod world;

use flood::{Flood, wait_until};
use packet_abi::verdict::Reason;
use packet_abi::{Trafficset, maps};
use packet_loader::attach::AttachError;
use packet_loader::pins::PinError;
use packet_loader::sys::bpf;
use packet_loader::sys::netlink::{self, XdpMode};
use packet_loader::{
    Capacities, Counters, EMBEDDED, Home, Loaded, Mode, Tables, attached, detach, load,
};
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use world::{image, pass_at, settings, within};

fn start(home: &Home) -> Loaded {
    load(home, EMBEDDED, &settings(), &Capacities::default()).unwrap()
}

/// Loads, publishes a generation that sends to a server, and attaches.
fn live(home: &Home, to: u16) -> (Loaded, Tables) {
    let mut loaded = start(home);
    let mut tables = loaded.tables().unwrap();
    let generation = tables.descriptor().generation + 1;
    tables.publish(generation, &image(to)).unwrap();
    loaded.go_live(&["edge0"], Mode::Native).unwrap();
    (loaded, tables)
}

fn counted(home: &Home, reason: Reason) -> u64 {
    let counts = Counters::open(home).unwrap().read().unwrap();
    counts.iter().find(|(of, _)| *of == reason).unwrap().1.packets
}

#[test]
fn packets_go_where_the_tables_say() {
    within("packets_go_where_the_tables_say", |world| {
        let home = world.home();
        let (_loaded, mut tables) = live(&home, 2);
        let found = attached(&home).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].mode, found[0].classifier), (Some(XdpMode::Native), false));
        let flood = Flood::start(&world);
        wait_until("a count", || counted(&home, Reason::SentFirst) > 100);
        let outcome = flood.stop();
        assert_eq!(outcome.came, outcome.sent);
        assert_eq!(counted(&home, Reason::SentFirst), outcome.sent);
        let before = counted(&home, Reason::LocalOnlyHop);
        tables.publish(2, &image(1)).unwrap();
        let socket = world.router_socket("192.0.2.254:0");
        socket.send_to(b"here", (world::VIP, 9)).unwrap();
        wait_until("a count", || counted(&home, Reason::LocalOnlyHop) == before + 1);
    });
}

#[test]
fn publishing_under_load_loses_nothing() {
    within("publishing_under_load_loses_nothing", |world| {
        let home = world.home();
        let (_loaded, mut tables) = live(&home, 2);
        let flood = Flood::start(&world);
        let images = [image(3), image(2)];
        for generation in 2..40 {
            tables.publish(generation, &images[generation as usize % 2]).unwrap();
        }
        let outcome = flood.stop();
        assert_eq!(outcome.came, outcome.sent);
        // The flood went on all the time.
        assert!(outcome.sent > 1000, "{outcome:?}");
    });
}

#[test]
fn cookie_programs_are_loaded_for_a_trafficset_that_wants_them() {
    within("cookie_programs_are_loaded_for_a_trafficset_that_wants_them", |world| {
        let home = world.home();
        let (loaded, mut tables) = live(&home, 2);
        let chain = loaded.map(maps::CHAIN).unwrap();
        let slots = [maps::CHAIN_COOKIE, maps::CHAIN_COOKIE_ANSWER];
        let filled = || slots.map(|slot| bpf::slot_id(chain, slot).unwrap().is_some());
        let mut wanting = image(2);
        wanting.sets[0].flags |= Trafficset::COOKIES_AUTO;
        wanting.checksum = wanting.parts().checksum();
        let current = home.path().join("current");
        let pinned = || ["cookie", "cookie_answer"].map(|name| current.join(name).exists());
        assert_eq!((filled(), pinned()), ([false; 2], [false; 2]));
        let flood = Flood::start(&world);
        wait_until("a count", || counted(&home, Reason::SentFirst) > 100);
        loaded.publish(&mut tables, 2, &wanting).unwrap();
        assert_eq!((filled(), pinned()), ([true; 2], [true; 2]));
        let outcome = flood.stop();
        assert_eq!(outcome.came, outcome.sent);
        drop((loaded, tables));
        // A later loading goes on with what the tables in force want.
        let mut loaded = start(&home);
        let mut tables = loaded.tables().unwrap();
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        let chain = loaded.map(maps::CHAIN).unwrap();
        let filled = || slots.map(|slot| bpf::slot_id(chain, slot).unwrap().is_some());
        assert_eq!((filled(), pinned()), ([true; 2], [true; 2]));
        loaded.publish(&mut tables, 3, &image(2)).unwrap();
        assert_eq!(filled(), [false; 2]);
        drop((loaded, tables));
        let mut loaded = start(&home);
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        assert_eq!(pinned(), [false; 2]);
    });
}

#[test]
fn replacing_the_programs_under_load_loses_nothing() {
    within("replacing_the_programs_under_load_loses_nothing", |world| {
        let home = world.home();
        drop(live(&home, 2));
        let flood = Flood::start(&world);
        for round in 0..3 {
            let (id, before) = (program(), counted(&home, Reason::SentFirst));
            // Every other time the tables get another size, and start anew.
            let buckets = Capacities::default().buckets / (1 + round % 2);
            let capacities = Capacities { buckets, ..Capacities::default() };
            let mut loaded = load(&home, EMBEDDED, &settings(), &capacities).unwrap();
            assert_eq!(loaded.starts_empty(), round > 0);
            let mut tables = loaded.tables().unwrap();
            if loaded.starts_empty() {
                let error = loaded.go_live(&["edge0"], Mode::Native).unwrap_err();
                assert!(matches!(error, AttachError::Empty), "{error}");
                tables.publish(100, &image(3)).unwrap();
            }
            let live = loaded.go_live(&["edge0"], Mode::Native).unwrap();
            assert!(live[0].replaced);
            assert_ne!(program(), id);
            wait_until("a count", || counted(&home, Reason::SentFirst) > before + 100);
        }
        let outcome = flood.stop();
        assert_eq!(outcome.came, outcome.sent);
        // Counters went on through all of it.
        assert_eq!(counted(&home, Reason::SentFirst), outcome.sent);
    });
}

/// The id of the XDP program.
fn program() -> u32 {
    netlink::interface("edge0").unwrap().xdp.unwrap().1
}

#[test]
fn packets_go_on_after_the_loader_was_killed_while_it_published() {
    within("packets_go_on_after_the_loader_was_killed_while_it_published", |world| {
        let home = world.home();
        drop(live(&home, 2));
        let flood = Flood::start(&world);
        let mut last = 1;
        let images = [image(2), image(3)];
        for _ in 0..3 {
            let publisher = world::fork(|| {
                let loaded = start(&home);
                let mut tables = loaded.tables().unwrap();
                loop {
                    let generation = tables.descriptor().generation + 1;
                    tables.publish(generation, &images[generation as usize % 2]).unwrap();
                }
            });
            let tables = Tables::open(&home).unwrap();
            wait_until("a generation", || tables.descriptor().generation > last + 2);
            publisher.kill();
            last = tables.descriptor().generation;
            // Whatever the killed one left, what is in force is whole.
            assert_eq!(tables.image().checksum, tables.descriptor().checksum);
        }
        let outcome = flood.stop();
        assert_eq!(outcome.came, outcome.sent);
        let (_loaded, tables) = live(&home, 2);
        assert_eq!(tables.descriptor().generation, last + 1);
    });
}

#[test]
fn a_foreign_program_is_left_in_place() {
    within("a_foreign_program_is_left_in_place", |world| {
        let foreign = pass_at("edge0").unwrap();
        let before = program();
        let mut loaded = start(&world.home());
        loaded.tables().unwrap().publish(1, &image(2)).unwrap();
        let error = loaded.go_live(&["edge0"], Mode::Native).unwrap_err();
        assert!(error.to_string().contains(&format!("(test_pass, id {before})")), "{error}");
        assert_eq!(program(), before);
        assert_eq!(world.home().links().unwrap(), [""; 0]);
        drop(foreign);
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
    });
}

#[test]
fn what_was_attached_works_on_where_another_interface_refuses() {
    within("what_was_attached_works_on_where_another_interface_refuses", |world| {
        let home = world.home();
        let mut loaded = start(&home);
        loaded.tables().unwrap().publish(1, &image(2)).unwrap();
        let error = loaded.go_live(&["edge0", "lo"], Mode::Native).unwrap_err();
        assert!(matches!(error, AttachError::NoNative { .. }), "{error}");
        drop(loaded);
        let flood = Flood::start(&world);
        let (_loaded, _tables) = live(&home, 3);
        let outcome = flood.stop();
        assert!(outcome.sent > 0);
        assert_eq!(outcome.came, outcome.sent);
    });
}

#[test]
fn a_missing_bpf_file_system_is_mounted_over_an_empty_folder() {
    within("a_missing_bpf_file_system_is_mounted_over_an_empty_folder", |world| {
        let home = world.home();
        world::tool(&format!("umount {}", world.root.display()));
        let file = world.root.join("file");
        std::fs::write(&file, "").unwrap();
        let error = home.lock().unwrap_err().to_string();
        assert!(error.contains("mount it with `mount -t bpf bpf"), "{error}");
        std::fs::remove_file(file).unwrap();
        drop(live(&home, 2));
        assert_eq!(home.links().unwrap(), ["tcx-edge0", "xdp-edge0"]);
    });
}

#[test]
fn one_daemon_holds_a_name() {
    within("one_daemon_holds_a_name", |world| {
        let home = world.home();
        let (loaded, _) = live(&home, 2);
        let error = home.lock().unwrap_err();
        assert!(matches!(error, PinError::Locked { .. }), "{error}");
        assert!(detach(&home).is_err());
        drop(loaded);
        detach(&home).unwrap();
        assert_eq!(netlink::interface("edge0").unwrap().xdp, None);
        assert!(!home.path().exists());
        let error = Tables::open(&home).unwrap_err().to_string();
        assert!(error.contains("nothing is loaded under"), "{error}");
    });
}

#[test]
fn an_interface_that_is_not_listed_is_given_back() {
    within("an_interface_that_is_not_listed_is_given_back", |world| {
        world::tool("ip link add extra0 type veth peer name extra1");
        let home = world.home();
        let mut loaded = start(&home);
        loaded.tables().unwrap().publish(1, &image(2)).unwrap();
        loaded.go_live(&["edge0", "extra0"], Mode::Native).unwrap();
        let pins = ["tcx-edge0", "tcx-extra0", "xdp-edge0", "xdp-extra0"];
        assert_eq!(home.links().unwrap(), pins);
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        assert_eq!(home.links().unwrap(), ["tcx-edge0", "xdp-edge0"]);
        assert_eq!(netlink::interface("extra0").unwrap().xdp, None);
        // Gone and made anew, it is another interface.
        loaded.go_live(&["edge0", "extra0"], Mode::Native).unwrap();
        world::tool("ip link delete extra0");
        world::tool("ip link add extra0 type veth peer name extra1");
        let live = loaded.go_live(&["edge0", "extra0"], Mode::Native).unwrap();
        assert_eq!([live[0].replaced, live[1].replaced], [true, false]);
        let error = loaded.go_live(&["missing0"], Mode::Native).unwrap_err();
        assert!(error.to_string().starts_with("there is no interface `missing0`"), "{error}");
    });
}

#[test]
fn a_classifier_is_replaced_in_place_and_taken_away() {
    within("a_classifier_is_replaced_in_place_and_taken_away", |world| {
        let loaded = start(&world.home());
        let program = loaded.programs().redirector.as_fd();
        let index = netlink::interface("edge0").unwrap().index;
        let filters = || {
            let mut command = Command::new("tc");
            let output = command.args(["filter", "show", "dev", "edge0", "ingress"]).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        netlink::remove_ingress_classifier(index).unwrap();
        for _ in 0..2 {
            netlink::set_ingress_classifier(index, program, "weir_test").unwrap();
            let shown = filters();
            assert_eq!(shown.matches("weir_test direct-action").count(), 1, "{shown}");
        }
        netlink::remove_ingress_classifier(index).unwrap();
        assert_eq!(filters().trim(), "");
    });
}

#[test]
fn a_namespace_has_one_number_here() {
    within("a_namespace_has_one_number_here", |world| {
        let router = world.router(|| File::open("/proc/thread-self/ns/net").unwrap());
        let own = File::open("/proc/thread-self/ns/net").unwrap();
        let id = netlink::namespace_id(router.as_fd()).unwrap();
        assert!(id >= 0);
        assert_eq!(netlink::namespace_id(router.as_fd()).unwrap(), id);
        assert_ne!(netlink::namespace_id(own.as_fd()).unwrap(), id);
    });
}

#[test]
fn pins_are_roots_alone() {
    use std::os::unix::fs::PermissionsExt;
    within("pins_are_roots_alone", |world| {
        let home = world.home();
        drop(live(&home, 2));
        let mut seen = 0;
        for folder in ["current", "links"] {
            for entry in std::fs::read_dir(home.path().join(folder)).unwrap() {
                let mode = entry.unwrap().metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen} pins");
        let mode = std::fs::metadata(home.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    });
}
