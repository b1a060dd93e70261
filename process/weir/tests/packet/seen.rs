//! What people see of packets: explanations with the shield, the terminal, what captures leave.

use super::{CONFIG, draining, packets, refused, weir, within};
use crate::support::process::{Guard, command};
use crate::support::wait::{self, SOON};
use packet_abi::maps;
use packet_loader::Home;
use packet_loader::sys::bpf;
use rustix::fd::AsFd;
use rustix::process::Signal;
use serde_json::Value;

/// `weir explain ARGUMENTS --json`.
fn explained(arguments: &[&str]) -> Value {
    let out = weir(&[&["explain"], arguments, &["--json"]].concat());
    serde_json::from_str(&out).expect("JSON")
}

/// The flow that the rule of [`CONFIG`] is about, and one that it lets be.
const FLOOD: [&str; 3] = ["udp", "198.51.100.1:5353", "203.0.113.5:9"];
const OTHER: [&str; 3] = ["udp", "198.51.100.1:5354", "203.0.113.5:9"];

#[test]
fn an_explanation_begins_with_the_shield() {
    within("seen::an_explanation_begins_with_the_shield", |world| {
        let guard = world.start(&["packet", "run"], CONFIG);
        let told = explained(&FLOOD);
        let answer = &told["answers"][0];
        assert_eq!(told["shield"]["source"], "the weir at 127.0.0.1:9900", "{told}");
        assert_eq!(answer["shield"]["verdict"], "drop", "{told}");
        assert_eq!(answer["shield"]["reason"], "shield_rule", "{told}");
        assert_eq!(answer["shield"]["rules"][0]["rule"], "flood", "{told}");
        assert_eq!(answer["director"], Value::Null, "{told}");
        let told = explained(&OTHER);
        assert_eq!(told["answers"][0]["shield"]["verdict"], "pass", "{told}");
        assert!(told["answers"][0]["director"].is_object(), "{told}");
        let text = weir(&[&["explain"], &FLOOD[..]].concat());
        assert!(text.contains("rule     flood matches, and drops it"), "{text}");
        // Another file's rules, which are not in force.
        let dry = CONFIG.replace("action = \"drop\"", "action = \"drop\"\ndry_run = true");
        let file = world.dir.write("dry.toml", dry).display().to_string();
        let told = explained(&[&FLOOD[..], &["--file", &file]].concat());
        let answer = &told["answers"][0];
        assert_eq!(answer["shield"]["verdict"], "pass", "{told}");
        assert_eq!(answer["shield"]["rules"][0]["dry_run"], true, "{told}");
        assert!(answer["director"].is_object(), "{told}");
        // What was asked is counted nowhere.
        assert_eq!(packets("shield_rule"), 0);
        // The kernel has the programs of rules, and not what the rules were.
        drop(guard);
        let told = explained(&FLOOD);
        assert_eq!(told["shield"]["state"], "unknown", "{told}");
        assert_eq!(told["answers"][0]["shield"], Value::Null, "{told}");
        let none = CONFIG.split("[[shield_rule]]").next().expect("a part before it");
        let file = world.write(none).display().to_string();
        weir(&["packet", "attach", &file]);
        assert_eq!(explained(&FLOOD)["shield"]["state"], "absent");
        refused(&[&["explain"], &FLOOD[..], &["--file", "/none"]].concat(), "cannot be used");
    });
}

#[test]
fn the_terminal_shows_packets() {
    within("seen::the_terminal_shows_packets", |world| {
        let cookies = "prefixes = [\"203.0.113.0/24\"]\nsyn_cookies = \"auto\"";
        let text = draining().replace("prefixes = [\"203.0.113.0/24\"]", cookies);
        let _guard = world.start(&["packet", "run"], &text);
        let shown = || weir(&["top", "--once"]);
        // A rate is there once two seconds were looked at.
        wait::until("packets have a rate", SOON, || {
            world.send(5353);
            let text = shown();
            let mut lines = text.lines();
            let line = lines.find(|line| line.trim_start().starts_with("shield_rule "));
            line.is_some_and(|line| line.split_whitespace().nth(2) != Some("0"))
        });
        let text = shown();
        for part in [
            "edge0 native",
            "generation 1",
            "1 active, 1 draining, 0 dead; this one is 1",
            "draining   2 at 192.0.2.2",
            "SYN cookies  web auto",
            "  flood  ",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    });
}

/// Slots of taps that are filled.
fn taps() -> usize {
    let home = Home::at(packet_loader::pins::ROOT.as_ref(), packet_loader::pins::DEFAULT_NAME);
    let map = home.expect("a name").open(maps::TAP).expect("the taps");
    let filled = |slot: &u32| bpf::slot_id(map.as_fd(), *slot).expect("a slot").is_some();
    (0..maps::TAP_LEN).filter(filled).count()
}

#[test]
fn a_killed_capture_is_swept_up() {
    within("seen::a_killed_capture_is_swept_up", |world| {
        let killed = || {
            let file = world.dir.path().join("killed.pcapng");
            let mut capture = Guard::start(command().args(["packet", "capture"]).arg(&file));
            wait::until("the taps are filled", SOON, || taps() > 0);
            capture.signal(Signal::KILL);
            assert!(!capture.exit(SOON).success());
        };
        let guard = world.start(&["packet", "run"], CONFIG);
        killed();
        wait::until("the daemon has swept up", SOON, || taps() == 0);
        wait::until("it tells", SOON, || guard.stderr.text().contains("capture_swept"));
        drop(guard);
        // Nobody is there, and the next one begins with it.
        killed();
        assert!(taps() > 0);
        let _guard = world.start(&["packet", "run"], CONFIG);
        wait::until("the next has swept up", SOON, || taps() == 0);
    });
}
