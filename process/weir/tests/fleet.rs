//! Edges of a control plane: what its API is told moves their traffic, and whatever becomes of it,
//! they serve on.

mod planes;
pub(crate) mod rig;
mod trial;

use crate::control::rig::serve;
use crate::support::edge::origin as local_origin;
use crate::support::files::{TempDir, free_port};
use crate::support::process::{Guard, Weir, command, run, signal, workspace};
use crate::support::wait::{self, SOON};
use crate::upgrade::rights;
use rig::{Fleet, answers, control, get, origin, until};
use rustix::process::Signal;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn what_the_api_is_told_moves_traffic_and_a_dead_control_plane_does_not() {
    let (one, two) = (origin("one"), origin("two"));
    let mut fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    let file = fleet.edge_file("edge-1");
    let edge = Weir::start(file.clone());
    answers(&edge, "a", "one");
    fleet.turn(&pool, &two);
    answers(&edge, "a", "two");
    let host = fleet.host("b", &pool);
    answers(&edge, "b", "two");
    fleet.without_host(&host);
    answers(&edge, "b", "404");
    let followed = until(&edge, "the newest is known", |control| {
        control["connected"] == true && control["generation"] == control["published"]
    });
    assert_eq!(followed["name"], "edge-1");
    assert_eq!(edge.metric("weir_control_connected", &[]), 1.0);
    // The control plane is killed: the edge serves on, and starts from its disk.
    fleet.kill();
    until(&edge, "the loss is known", |control| control["connected"] == false);
    assert_eq!(get(&edge, "a"), "two");
    drop(edge);
    let edge = Weir::start(file);
    assert_eq!(get(&edge, "a"), "two");
    fleet.start_again();
    until(&edge, "it follows again", |control| control["connected"] == true);
    fleet.turn(&pool, &one);
    answers(&edge, "a", "one");
    assert!(fleet.edge(&["list"]).contains("edge-1"));
}

#[test]
fn what_does_not_go_with_the_file_is_refused_and_told() {
    let (one, two) = (origin("one"), origin("two"));
    let fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    let file = fleet.edge_file("edge-1");
    let file = file.pool("local", "", &[local_origin("o", two.port())]);
    let file = file.balance("b.fleet.test", "local", "");
    let edge = Weir::start(file);
    answers(&edge, "a", "one");
    let generation = control(&edge)["generation"].clone();
    let clash = fleet.host("b", &pool);
    let refused = until(&edge, "it is refused", |control| control["refused"] != 0);
    assert!(refused["refusal"].as_str().is_some_and(|why| why.contains("b.fleet.test")));
    assert_eq!(refused["generation"], generation);
    assert_eq!((get(&edge, "a"), get(&edge, "b")), ("one".to_owned(), "two".to_owned()));
    wait::until("the control plane knows", SOON, || fleet.edge(&["list"]).contains("refus"));
    // What follows without it is put in force.
    fleet.without_host(&clash);
    fleet.turn(&pool, &two);
    answers(&edge, "a", "two");
    assert_eq!(control(&edge)["refusal"], "");
}

#[test]
fn a_damaged_snapshot_is_asked_for_anew() {
    let one = origin("one");
    let fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    let file = fleet.edge_file("edge-1");
    let edge = Weir::start(file.clone());
    answers(&edge, "a", "one");
    until(&edge, "it is on disk", |control| control["on_disk"] == true);
    drop(edge);
    let snapshot = fleet.state("edge-1").join("snapshot");
    let mut octets = fs::read(&snapshot).expect("it is there");
    octets[20] ^= 1;
    fs::write(&snapshot, octets).expect("writable");
    let edge = Weir::start(file);
    answers(&edge, "a", "one");
    assert!(edge.stderr().contains("snapshot_damaged"), "{}", edge.stderr());
    assert!(fleet.state("edge-1").join("snapshot.damaged").exists());
}

#[test]
fn a_reload_of_the_file_keeps_what_is_published() {
    let (one, two) = (origin("one"), origin("two"));
    let fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    let file = fleet.edge_file("edge-1");
    let mut edge = Weir::start(file.clone());
    answers(&edge, "a", "one");
    let local = file.clone().pool("local", "", &[local_origin("o", two.port())]);
    let local = local.balance("local.fleet.test", "local", "");
    edge.reload(local.clone());
    assert_eq!((get(&edge, "a"), get(&edge, "local")), ("one".to_owned(), "two".to_owned()));
    // A file that clashes with what is published is refused, and publishing goes on.
    local.clone().balance("a.fleet.test", "local", "").write();
    edge.hup();
    assert_eq!(get(&edge, "a"), "one");
    fleet.turn(&pool, &two);
    answers(&edge, "a", "two");
    // So is one that needs an address which another program has.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound");
    local.clone().listener_at("taken", address, "").write();
    edge.hup();
    assert_eq!(edge.metric("weir_config_reloads_total", &[("result", "refused")]), 2.0);
    fleet.turn(&pool, &one);
    answers(&edge, "a", "one");
    assert_eq!(control(&edge)["refused"], 0);
}

#[test]
fn an_upgrade_goes_on_at_the_same_generation() {
    let (one, two) = (origin("one"), origin("two"));
    let fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    let mut edge = Weir::start(fleet.edge_file("edge-1"));
    answers(&edge, "a", "one");
    let before = until(&edge, "it follows", |control| control["connected"] == true);
    let old = edge.pid();
    let new = edge.upgrade().expect("it hands over");
    assert_ne!(old, new);
    let after = until(&edge, "the new one follows", |control| control["connected"] == true);
    assert_eq!((&after["edge"], &after["generation"]), (&before["edge"], &before["generation"]));
    assert_eq!(get(&edge, "a"), "one");
    fleet.turn(&pool, &two);
    answers(&edge, "a", "two");
    signal(edge.pid(), Signal::TERM);
}

#[test]
fn two_processes_are_not_one_edge() {
    let one = origin("one");
    let fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    let mut edge = Weir::start(fleet.edge_file("edge-1"));
    answers(&edge, "a", "one");
    let state = fleet.state("edge-1").display().to_string();
    let other = fleet.edge_file("other");
    let refused = |process: u32| {
        let other = other.write().display().to_string();
        let mut second = Guard::start(command().args(["run", &other, "--state", &state]));
        assert_eq!(second.exit(SOON).code(), Some(3));
        wait::until("it is told", SOON, || second.stderr.ended());
        let told = second.stderr.text();
        assert!(told.contains(&format!("{state}: process {process} has this")), "{told}");
    };
    refused(edge.pid());
    // The new process of an upgrade has the folder from then on.
    let old = edge.pid();
    edge.upgrade().expect("it hands over");
    assert_ne!(old, edge.pid());
    refused(edge.pid());
    answers(&edge, "a", "one");
    assert!(!edge.stderr().contains("state_shared"), "{}", edge.stderr());
    signal(edge.pid(), Signal::TERM);
}

#[test]
fn a_revoked_edge_serves_on_and_comes_back_with_a_new_token() {
    let (one, two) = (origin("one"), origin("two"));
    let fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    let file = fleet.edge_file("edge-1");
    let edge = Weir::start(file);
    answers(&edge, "a", "one");
    let first = until(&edge, "it follows", |control| control["connected"] == true);
    fleet.edge(&["revoke", "edge-1"]);
    let told = until(&edge, "it is told", |control| {
        control["trouble"].as_str().is_some_and(|why| why.contains("revoked"))
    });
    assert_eq!(told["connected"], false);
    fleet.turn(&pool, &two);
    assert_eq!(get(&edge, "a"), "one");
    drop(edge);
    // Another token is an order to join anew, in the same folder.
    let edge = Weir::start(fleet.edge_file("edge-1"));
    answers(&edge, "a", "two");
    let second = until(&edge, "it follows", |control| control["connected"] == true);
    assert_ne!(first["edge"], second["edge"]);
}

#[test]
fn an_edge_that_starts_as_root_keeps_its_state_as_the_service_user() {
    let root = rustix::process::geteuid().is_root();
    let (one, two) = (origin("one"), origin("two"));
    let fleet = Fleet::start();
    let pool = fleet.pool("shop", &one);
    fleet.host("a", &pool);
    fleet.open_folder();
    // Without root there is no right to lose, and the user stays.
    let file = fleet.edge_file_with("edge-1", if root { "user = \"nobody\"" } else { "" });
    let mut command = match root {
        true => std::process::Command::new(rights::program(&file)),
        false => command(),
    };
    let mut edge = Weir::start_by(file, &mut command);
    answers(&edge, "a", "one");
    let state = fleet.state("edge-1");
    let owner = |path: &std::path::Path| fs::metadata(path).expect("it is there").uid();
    let user = owner(&state);
    assert_eq!(root, user != rustix::process::geteuid().as_raw());
    for name in ["", "identity.json", "starts.json", "snapshot", "lock"] {
        let path = state.join(name);
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!((owner(&path), mode & 0o077), (user, 0), "{}", path.display());
    }
    // After the drop the next snapshot is kept, and another process takes over from it.
    fleet.turn(&pool, &two);
    answers(&edge, "a", "two");
    until(&edge, "it is on disk", |control| control["on_disk"] == true);
    edge.upgrade().expect("it hands over");
    assert_eq!(get(&edge, "a"), "two");
    until(&edge, "the new one follows", |control| control["connected"] == true);
    signal(edge.pid(), Signal::TERM);
}

#[test]
fn the_examples_are_a_fleet() {
    let dir = TempDir::new();
    let ports = [(); 4].map(|()| free_port().to_string());
    let [api, edges, web, admin] = &ports;
    let write = |name: &str, more: &str| {
        let file = workspace().join("examples/fleet").join(name);
        let text = fs::read_to_string(file).expect("readable");
        let text = text.replace("8780", api).replace("8781", edges).replace("8080", web);
        dir.write(name, format!("{text}{more}")).display().to_string()
    };
    let (control, edge) = (
        write("control.toml", ""),
        write("edge.toml", &format!("\n[admin]\naddress = \"127.0.0.1:{admin}\"\n")),
    );
    let (good, _, err) = run(command().args(["check", &edge]));
    assert!(good, "{err}");
    let _plane = serve(std::path::Path::new(&control));
    let (good, out, err) = run(command().args(["edge", "token", "create", "--control", &control]));
    assert!(good, "{err}");
    let token = out.split_whitespace().find(|word| word.starts_with("weir-join."));
    let edge = Guard::start(command().args(["run", &edge, "--join", token.expect("a token")]));
    wait::until("the edge follows", SOON, || edge.stderr.text().contains("control_followed"));
    assert!(dir.path().join("weir-edge/identity.json").exists());
}
