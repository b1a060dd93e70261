//! Binary upgrades: under load nothing is lost, and whatever becomes of the new process, somebody
//! serves.

pub(crate) mod rights;
mod service;
mod steps;

use crate::support::client::{Client, End};
use crate::support::edge::{Edge, origin};
use crate::support::load::{Closing, Load, keep_alive, resumed, short, slow_upload, streams};
use crate::support::process::{Weir, alive, signal};
use crate::support::tls::{Authority, VALID};
use crate::support::upstream::{Conn, Upstream};
use crate::support::wait::{self, SOON};
use crate::support::ws::{self, WebSocket};
use rustix::process::Signal;
use std::sync::atomic::Ordering;

/// Workers of the processes of a run, one after the other: as many, fewer and more than before.
const WORKERS: [usize; 6] = [3, 2, 4, 3, 1, 3];

/// Reloads of each process.
const RELOADS: usize = 4;

/// How often all of it is done; `WEIR_SOAK=1` asks for a hundred upgrades.
fn repeats() -> usize {
    if std::env::var_os("WEIR_SOAK").is_some_and(|v| v == "1") { 20 } else { 1 }
}

/// Of the open sockets of a process, how many listen.
fn listening(pid: u32) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let inodes: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| columns.get(3) == Some(&"0A"))
        .filter_map(|columns| columns.get(9).copied())
        .collect();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let ours = links.filter(|to| {
        let to = to.to_string_lossy();
        let inode = to.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.is_some_and(|inode| inodes.contains(&inode))
    });
    ours.count()
}

#[test]
fn upgrades_and_reloads_under_load_lose_nothing() {
    let upstreams = [Upstream::start(ws::echo_or_tag), Upstream::start(ws::echo_or_tag)];
    let ca = Authority::new();
    let pem = ca.issue(&["a.test"], VALID);
    let endless = "limits = { requests_per_connection = 1000000000 }";
    let base = Edge::new().drain("120s").listener("web", endless).listener("secure", "");
    let base = base.listener("extra", "");
    let certificate = base.certificate("c", &pem);
    let secure = format!("{endless}\ntls = {{ certificates = [{certificate}] }}");
    let base = base.listener("secure", &secure).balance("*", "p", "");
    // What a reload changes; the workers change with the next process only.
    let round = |n: usize, workers: usize| {
        let [first, second] = [upstreams[0].port(), upstreams[1].port()];
        let pools = [
            vec![origin("o1", first)],
            vec![origin("o1", first), origin("o2", second)],
            vec![origin("o2", second)],
        ];
        let edge = base.clone().workers(workers).pool("p", "", &pools[n % pools.len()]);
        if n % 2 == 1 { edge } else { edge.without_listener("extra") }
    };
    let mut weir = Weir::start(round(0, WORKERS[0]));
    let (web, secure) = (weir.web(), weir.address("secure"));

    let load = Load::default();
    let threads = [
        keep_alive(&load, web, None, "plain", Closing::InOrder),
        keep_alive(&load, web, None, "other", Closing::InOrder),
        keep_alive(&load, secure, Some(ca.client()), "tls", Closing::InOrder),
        streams(&load, web, None, Closing::InOrder),
        streams(&load, secure, Some(ca.client_alpn(&["h2"])), Closing::InOrder),
        resumed(&load, secure, ca.client()),
        short(&load, web),
        slow_upload(&load, web),
        slow_upload(&load, web),
    ];
    let mut sockets = vec![WebSocket::open(web, "/ws0")];
    let mut processes = vec![weir.pid()];
    let (mut n, mut upgrades) = (0, 0);
    for repeat in 0..repeats() {
        for workers in WORKERS.into_iter().skip(1) {
            for _ in 0..RELOADS {
                n += 1;
                weir.reload(round(n, workers));
            }
            let before = weir.pid();
            let after = weir.upgrade().unwrap_or_else(|e| panic!("upgrade {upgrades}: {e}"));
            assert_ne!(before, after);
            upgrades += 1;
            processes.push(after);
            // One of those that outlive the process they began with, and one over TLS.
            sockets.push(WebSocket::open(web, "/ws"));
            let over_tls = Client::tls(secure, "a.test", ca.client()).expect("TLS goes on");
            sockets.push(WebSocket::over(over_tls, "/wss"));
            for (s, socket) in sockets.iter_mut().enumerate() {
                let text = format!("upgrade {upgrades} socket {s}");
                assert_eq!(socket.echo(&text), text, "of a process before this one");
            }
            assert_eq!(load.failures(), Vec::<String>::new(), "upgrade {upgrades}");
            assert_eq!(weir.metric("weir_upgrades_total", &[("result", "taken_over")]), 1.0);
        }
        assert!(repeat > 0 || alive(processes[0]), "a WebSocket holds the first process");
        // Those of the last round suffice: each holds the process it began with.
        sockets.drain(..sockets.len().saturating_sub(10));
    }
    load.stop.store(true, Ordering::Release);
    let turns: Vec<usize> = threads.into_iter().map(|t| t.join().expect("it ends")).collect();
    assert_eq!(load.failures(), Vec::<String>::new());
    assert!(turns.iter().all(|&n| n > 0), "every kind of traffic ran: {turns:?}");
    let last = processes.pop().expect("the one that serves");
    drop(sockets);
    wait::until("the processes before are gone", SOON, || !processes.iter().any(|&p| alive(p)));
    assert!(alive(last));
    let done = load.done.load(Ordering::Relaxed);
    println!(
        "upgrade: {upgrades} upgrades and {n} reloads, {done} requests, 0 failed, 0 reset; by \
         kind {turns:?}"
    );
}

#[test]
fn the_process_that_handed_over_keeps_no_socket_and_ends() {
    let upstream = Upstream::start(ws::echo_or_tag);
    let mut weir = Weir::start(Edge::simple(upstream.port()).workers(2).drain("60s"));
    let first = weir.pid();
    let mut socket = WebSocket::open(weir.web(), "/ws");
    let mut idle = weir.client();
    assert_eq!(idle.get("/a").map(|r| r.status), Ok(200));
    weir.upgrade().expect("it is taken over");
    assert_eq!(idle.end(SOON), End::Closed(Vec::new()), "an idle connection ends in order");
    assert_eq!(socket.echo("on"), "on", "a tunnel goes on");
    // A reload of the new process is the word that nothing will be taken back.
    weir.hup();
    if rustix::process::geteuid().is_root() {
        // Nobody else may look into a process that cannot be dumped.
        assert_eq!(listening(first), 0, "sockets are closed");
        assert!(listening(weir.pid()) >= 2);
    }
    assert!(alive(first), "it has a connection");
    drop(socket);
    assert_eq!(weir.guard.exit(SOON).code(), Some(0));
    assert_eq!(weir.get("/b").map(|r| r.text()), Ok("GET /b 0".into()));
}

#[test]
fn sigusr2_upgrades_too_and_a_replaced_file_is_taken() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).drain("5s");
    let program = rights::program(&edge);
    let mut weir = Weir::start_by(edge.clone(), &mut std::process::Command::new(&program));
    // The program of before is kept beside, so that what replaces it can be told from it.
    let kept = edge.dir.path().join("kept");
    std::fs::rename(&program, &kept).expect("it can be renamed");
    let mark = edge.dir.path().join("mark");
    rights::script(&edge, &format!("echo $$ > {mark:?}\nexec {kept:?} \"$@\""));
    weir.guard.signal(Signal::USR2);
    let pid = wait::value("the file in its place is started", SOON, || {
        std::fs::read_to_string(&mark).ok()?.trim().parse::<u32>().ok()
    });
    assert_eq!(weir.guard.exit(SOON).code(), Some(0), "the first process ends");
    assert_eq!(weir.get("/a").map(|r| r.text()), Ok("GET /a 0".into()));
    assert_ne!(pid, weir.guard.pid());
    signal(pid, Signal::TERM);
    wait::until("the new one ends by itself", SOON, || !alive(pid));
    assert!(Client::try_connect(weir.web()).is_err(), "nobody listens");
}

#[test]
fn listeners_that_the_new_configuration_drops_or_adds_are_retired_and_bound() {
    let upstream = Upstream::start(|conn: &mut Conn| {
        while let Some(request) = conn.request() {
            if request.target == "/later" {
                let _quiet = conn.quiet(std::time::Duration::from_millis(700));
            }
            conn.answer(&request);
        }
    });
    let edge = Edge::simple(upstream.port()).drain("10s").listener("old", "");
    let mut weir = Weir::start(edge.clone());
    let old = weir.address("old");
    let mut in_flight = Client::connect(old);
    in_flight.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n").expect("it is sent");
    wait::until("it is in flight", SOON, || upstream.count() > 0);
    let edge = edge.without_listener("old").listener("fresh", "");
    edge.write();
    weir.edge = edge;
    weir.upgrade().expect("it is taken over");
    let fresh = Client::connect(weir.address("fresh")).get("/fresh").map(|r| r.text());
    assert_eq!(fresh, Ok("GET /fresh 0".into()));
    let reply = in_flight.reply("GET");
    assert_eq!((reply.text(), reply.field("connection")), ("GET /later 0".into(), Some("close")));
    wait::until("new ones are refused", SOON, || Client::try_connect(old).is_err());
}

#[test]
fn the_end_of_the_service_ends_the_process_before_in_order() {
    for (order, cut) in [(Signal::TERM, false), (Signal::INT, true)] {
        let upstream = Upstream::start(ws::echo_or_tag);
        let mut weir = Weir::start(Edge::simple(upstream.port()).drain("20s"));
        let mut socket = WebSocket::open(weir.web(), "/ws");
        let after = weir.upgrade().expect("it is taken over");
        signal(after, order);
        if !cut {
            let web = weir.web();
            wait::until("nobody listens", SOON, || Client::try_connect(web).is_err());
            assert_eq!(socket.echo("on"), "on", "the one that drains waits for the one before");
            assert!(alive(after));
            drop(socket);
        }
        wait::until("both are gone", SOON, || !alive(after) && weir.guard.ended().is_some());
    }
}
