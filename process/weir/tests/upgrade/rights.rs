//! Upgrades after the drop of rights, and files that the service user cannot read.

use crate::support::client;
use crate::support::edge::Edge;
use crate::support::process::{Weir, alive, command};
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

fn allow(path: &std::path::Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("the file is ours");
}

/// A copy of the program beside the configuration, where every user can run it.
pub(crate) fn program(edge: &Edge) -> PathBuf {
    let path = edge.dir.path().join("weir");
    // What is in its place goes, be it a script.
    drop(std::fs::remove_file(&path));
    let original = PathBuf::from(command().get_program());
    // A further name for the file costs nothing where both lie in one file system.
    if std::fs::hard_link(&original, &path).is_err() {
        std::fs::copy(&original, &path).expect("the program can be copied");
    }
    allow(edge.dir.path(), 0o755);
    path
}

/// Puts a script in the place of that program.
pub(super) fn script(edge: &Edge, lines: &str) {
    let draft = edge.file("script", &format!("#!/bin/sh\n{lines}\n"));
    allow(&draft, 0o755);
    std::fs::rename(draft, edge.dir.path().join("weir")).expect("it can be renamed");
}

/// Ports below 1024 on which nothing listens.
fn low_ports() -> [SocketAddr; 2] {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = (600..900).rev().filter(free);
    [(); 2].map(|()| (Ipv4Addr::LOCALHOST, ports.next().expect("a free low port")).into())
}

fn uids(pid: u32) -> Vec<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|uid| uid.parse().ok()).collect()
}

#[test]
fn upgrades_after_the_drop_of_privileges() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).drain("5s");
    let served = |at| client::get(at, "/low").map(|r| r.text());
    if !rustix::process::geteuid().is_root() {
        // Without root there is no right to lose: the user stays, and so do the sockets.
        let mut weir = Weir::start(edge);
        let before = uids(weir.pid());
        let after = weir.upgrade().expect("it is taken over");
        assert_eq!(uids(after), before);
        assert_eq!(served(weir.web()), Ok("GET /low 0".into()));
        return;
    }
    let [low, other] = low_ports();
    let edge = edge.runtime("user = \"nobody\"").listener_at("low", low, "").workers(2);
    let program = program(&edge);
    let mut weir = Weir::start_by(edge.clone(), &mut Command::new(program));
    for workers in [3, 1] {
        edge.clone().workers(workers).write();
        let pid = weir.upgrade().expect("it is taken over");
        assert!(!uids(pid).contains(&0), "no root");
        for _ in 0..20 {
            assert_eq!(served(low), Ok("GET /low 0".into()), "a low port of {workers} workers");
        }
    }
    weir.reload(edge.clone().listener_at("other", other, ""));
    assert_eq!(served(other), Ok("GET /low 0".into()), "the right to bind is handed on");

    let certificate = edge.certificate("locked", &Authority::new().issue(&["a.test"], VALID));
    allow(&edge.dir.path().join("locked.key"), 0o600);
    let lines = format!("tls = {{ certificates = [{certificate}] }}");
    edge.clone().listener("secret", &lines).write();
    let before = weir.pid();
    let told = weir.upgrade().expect_err("a key that the service user cannot read");
    assert!(told.contains("locked.key") && told.contains("nobody"), "{told}");
    assert!(alive(before));
    assert_eq!(served(low), Ok("GET /low 0".into()), "the old process serves");
    wait::until("it is told", SOON, || weir.stderr().contains("upgrade_refused"));
}
