//! New processes that fail at every step: until one is ready, the old one serves as if nothing had
//! been; after that it takes the service back. Most are scripts in the place of the program which
//! speak its messages; the socket is their standard input.

use super::rights::{program, script};
use crate::support::edge::Edge;
use crate::support::process::{Weir, alive, signal};
use crate::support::upstream::Upstream;
use crate::support::wait::{self, SOON};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

/// Says something to the old process.
fn say(message: &str) -> String {
    format!("printf '%s' '{message}' >&0\n")
}

/// Hears one message, which is left in the file `heard`.
const HEAR: &str = "dd bs=200000 count=1 of=\"${0%/*}/heard\" 2>/dev/null\n";

const HELLO: &str = r#"{"hello":{"protocols":[1],"program":"0.0.1"}}"#;
const GIVE: &str = r#""give""#;
/// One worker's socket and the admin's.
const TOOK: &str = r#"{"took":{"sockets":2}}"#;
const KILL: &str = "kill -9 $$\n";

/// A new process that takes as many sockets, serves the listener `web` there by its word, and is
/// killed when it has the service.
pub(super) fn ready_then_killed(sockets: usize, web: SocketAddr) -> String {
    let took = TOOK.replace('2', &sockets.to_string());
    let what = format!(r#"{{"listener":{{"name":"web","address":"{web}"}}}}"#);
    let ready = format!(r#"{{"ready":{{"listeners":[{what}]}}}}"#);
    let parts = [&say(HELLO), HEAR, &say(GIVE), HEAR, &say(&took), HEAR, &say(&ready), HEAR, KILL];
    parts.concat()
}

struct Step {
    what: &'static str,
    script: String,
    /// What `weir upgrade` tells.
    told: &'static str,
}

fn steps() -> Vec<Step> {
    let step = |what, parts: &[&str], told| Step { what, script: parts.concat(), told };
    let hello = say(HELLO) + HEAR;
    let give = hello.clone() + &say(GIVE) + HEAR;
    let took = give.clone() + &say(TOOK) + HEAR;
    let other = say(r#"{"hello":{"protocols":[8,9],"program":"9.0.0","more":true}}"#) + HEAR;
    vec![
        step("ends at once", &["exit 3"], "before it said a word (exit status: 3)"),
        step("is killed at once", &[KILL], "before it said a word (signal: 9"),
        step("talks nonsense", &[&say("nonsense"), HEAR], "no message"),
        step("speaks another version", &[&other], "versions [8, 9] of the upgrade protocol"),
        step("is killed after its hello", &[&hello, KILL], "while it read its configuration"),
        step("refuses", &[&hello, &say(r#"{"refused":{"why":["bad day"]}}"#), HEAR], "bad day"),
        step("is killed with sockets in its hands", &[&give, KILL], "while it took the sockets"),
        step("miscounts", &[&give, &say(r#"{"took":{"sockets":3}}"#), HEAR], "out of its turn"),
        step("is killed before it is ready", &[&took, KILL], "while it started to serve"),
    ]
}

#[test]
fn a_new_process_that_fails_before_it_is_ready_changes_nothing() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).drain("5s");
    let program = program(&edge);
    let mut weir = Weir::start_by(edge.clone(), &mut Command::new(program));
    let pid = weir.pid();
    let mut open = weir.client();
    let refused = |weir: &Weir| weir.metric("weir_upgrades_total", &[("result", "refused")]);
    let mut check = |weir: &mut Weir, what: &str, expect: &str| {
        let before = refused(weir);
        let told = weir.upgrade().expect_err(what);
        assert!(told.contains(expect), "{what}: {told}");
        assert_eq!(refused(weir), before + 1.0, "{what}");
        let reply = open.get("/open").unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(reply.field("connection"), None, "{what}: an open connection notices nothing");
        assert_eq!(weir.get("/new").map(|r| r.status), Ok(200), "{what}");
        assert!(alive(pid), "{what}");
        wait::until("the log tells it", SOON, || weir.stderr().contains(expect));
    };
    for step in steps() {
        script(&edge, &step.script);
        check(&mut weir, step.what, step.told);
        if step.what.contains("version") {
            let heard = std::fs::read_to_string(edge.dir.path().join("heard")).expect("a word");
            assert!(heard.starts_with("{\"refused\":"), "it is told politely: {heard}");
        }
    }
    std::fs::write(edge.dir.path().join("weir"), "no program").expect("it is ours");
    check(&mut weir, "is no program", "cannot be started");
    std::fs::remove_file(edge.dir.path().join("weir")).expect("it is there");
    check(&mut weir, "is not there", "cannot be started");
    super::rights::program(&edge);
    edge.file("weir.toml", &edge.text().replace("[\"p\"]", "[\"nowhere\"]"));
    check(&mut weir, "has a bad file", "nowhere");
    edge.write();
    assert_ne!(weir.upgrade().expect("all is well again"), pid);
}

#[test]
fn a_new_process_that_dies_after_it_was_ready_is_taken_back_from() {
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).drain("30s").listener("dropped", "");
    let program = program(&edge);
    let mut weir = Weir::start_by(edge.clone(), &mut Command::new(program));
    let pid = weir.pid();
    let (web, dropped) = (weir.web(), weir.address("dropped"));
    // It takes one listener of the two, so the other is given up meanwhile.
    script(&edge, &ready_then_killed(3, web));
    weir.guard.signal(Signal::USR2);
    // Whoever connects meanwhile waits in the queue of the socket, which nobody closes.
    let start = Instant::now();
    while weir.metric("weir_upgrades_total", &[("result", "taken_back")]) < 1.0 {
        assert_eq!(weir.get("/meanwhile").map(|r| r.text()), Ok("GET /meanwhile 0".into()));
        assert!(start.elapsed() < SOON, "it is not taken back");
    }
    assert!(weir.stderr().contains("upgrade_taken_back"));
    for address in [web, dropped] {
        wait::until("both listeners are served", SOON, || {
            crate::support::client::get(address, "/x")
                .is_ok_and(|r| r.field("connection").is_none())
        });
    }
    assert!(weir.admin("/ready").is_ok_and(|r| r.status == 200));
    weir.hup();
    super::rights::program(&edge);
    assert_ne!(weir.upgrade().expect("the next one is taken"), pid);
}

#[test]
fn whenever_the_new_process_is_killed_somebody_serves() {
    const PACE: Duration = Duration::from_millis(12);
    const KILLS: u32 = 14;
    let upstream = Upstream::tagged();
    let edge = Edge::simple(upstream.port()).drain("5s").workers(2);
    let program = program(&edge);
    let weir = Weir::start_by(edge.clone(), &mut Command::new(&program));
    let kept = edge.dir.path().join("kept");
    std::fs::rename(&program, &kept).expect("it can be renamed");
    let mark = edge.dir.path().join("mark");
    let results = |result| weir.metric("weir_upgrades_total", &[("result", result)]);
    script(
        &edge,
        &format!("echo $$ > {mark:?}.draft\nmv {mark:?}.draft {mark:?}\nexec {kept:?} \"$@\""),
    );
    for n in 0..KILLS {
        weir.guard.signal(Signal::USR2);
        let new = wait::value("the new process starts", SOON, || {
            std::fs::read_to_string(&mark).ok()?.trim().parse::<u32>().ok()
        });
        std::fs::remove_file(&mark).expect("it is there");
        // Not a wait for anything: the moment of the kill is what differs.
        std::thread::sleep(PACE * n);
        signal(new, Signal::KILL);
        wait::until("the old process notices", SOON, || {
            results("refused") + results("taken_back") >= f64::from(n + 1)
        });
        assert_eq!(weir.get("/after").map(|r| r.status), Ok(200), "killed after {:?}", PACE * n);
        assert!(alive(weir.guard.pid()));
    }
    println!(
        "upgrade: killed {KILLS} times, {} before it was ready, {} after",
        results("refused"),
        results("taken_back")
    );
}

#[test]
fn the_new_process_serves_on_when_the_old_one_is_killed() {
    let upstream = Upstream::tagged();
    let mut weir = Weir::start(Edge::simple(upstream.port()).drain("30s"));
    let first = weir.pid();
    let second = weir.upgrade().expect("it is taken over");
    signal(first, Signal::KILL);
    wait::until("it is gone", SOON, || weir.guard.ended().is_some());
    assert_eq!(weir.get("/a").map(|r| r.status), Ok(200));
    weir.hup();
    assert_ne!(weir.upgrade().expect("and hands over in its turn"), second);
    assert_eq!(weir.get("/b").map(|r| r.status), Ok(200));
}
