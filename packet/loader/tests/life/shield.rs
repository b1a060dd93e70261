//! The shield in the life of the packet programs: in force with them, and after a process that
//! died.

use packet_abi::verdict::Reason;
use packet_loader::Mode;
use packet_loader::shield::{
    Action, Limit, Match, Options, Per, Range, Rate, Rule, Shield, pinned,
};

use crate::flood::wait_until;
use crate::world::{VIP, image, tool, within};
use crate::{counted, start};

fn drop_port(name: &str, port: u16) -> Rule {
    let ports = vec![Range { first: port, last: port }];
    Rule::new(name, Match { destination_ports: ports, ..Match::default() }, Action::Drop)
}

#[test]
fn shield_rules_outlive_the_process() {
    within("shield_rules_outlive_the_process", |world| {
        let home = world.home();
        let mut loaded = start(&home);
        loaded.tables().unwrap().publish(1, &image(1)).unwrap();
        let mut shield = Shield::open(&loaded, Options::default()).unwrap();
        shield.install(&[drop_port("discard", 9), drop_port("echo", 7)]).unwrap();
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        let socket = world.router_socket("192.0.2.254:0");
        let send = |port: u16| socket.send_to(b"here", (VIP, port)).unwrap();
        send(9);
        wait_until("a drop", || counted(&home, Reason::ShieldRule) == 1);
        send(10);
        wait_until("a pass", || counted(&home, Reason::LocalOnlyHop) == 1);
        drop((shield, loaded));

        send(9);
        wait_until("a drop", || counted(&home, Reason::ShieldRule) == 2);
        let counts = pinned::counters(&home, &["discard", "other"]).unwrap();
        assert_eq!(counts[0].1.unwrap().dropped_packets, 2);
        assert_eq!(counts[1].1, None);

        let mut loaded = start(&home);
        let mut shield = Shield::open(&loaded, Options::default()).unwrap();
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        send(9);
        wait_until("a drop", || counted(&home, Reason::ShieldRule) == 3);
        shield.install(&[drop_port("discard", 9)]).unwrap();
        send(9);
        send(7);
        wait_until("a pass", || counted(&home, Reason::LocalOnlyHop) == 2);
        assert_eq!(shield.counters().unwrap()[0].1.dropped_packets, 4);
        let counts = pinned::counters(&home, &["discard", "echo"]).unwrap();
        assert_eq!((counts[0].1.unwrap().dropped_packets, counts[1].1), (4, None));
    });
}

/// Packets of a client in the test below: far more than its burst, in far less than a second.
const SENT: u64 = 100;

#[test]
fn what_a_rate_does_not_cover_is_counted_as_limited() {
    within("what_a_rate_does_not_cover_is_counted_as_limited", |world| {
        let home = world.home();
        let mut loaded = start(&home);
        loaded.tables().unwrap().publish(1, &image(1)).unwrap();
        let mut shield = Shield::open(&loaded, Options::default()).unwrap();
        let rate = Rate { per_second: 1, burst: 5 };
        let limit = Limit { packets: Some(rate), octets: None, per: Per::Source };
        shield.install(&[Rule::new("each", Match::default(), Action::Limit(limit))]).unwrap();
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        let started = std::time::Instant::now();
        let socket = world.router_socket("192.0.2.254:0");
        for _ in 0..SENT {
            socket.send_to(b"here", (VIP, 9)).unwrap();
        }
        let passed = || counted(&home, Reason::LocalOnlyHop);
        wait_until("all", || counted(&home, Reason::ShieldLimit) + passed() == SENT);
        let refilled = started.elapsed().as_secs() + 1;
        assert!((5..=5 + refilled).contains(&passed()), "{} in {refilled} s", passed());
        assert_eq!(counted(&home, Reason::ShieldRule), 0);
        let counts = shield.counters().unwrap()[0].1;
        assert_eq!(counts.limited_packets, counted(&home, Reason::ShieldLimit));
    });
}

#[test]
fn spoofed_sources_are_dropped_before_any_rule() {
    within("spoofed_sources_are_dropped_before_any_rule", |world| {
        let home = world.home();
        tool("sysctl -qw net.ipv4.conf.all.forwarding=1");
        let mut loaded = start(&home);
        loaded.tables().unwrap().publish(1, &image(1)).unwrap();
        let options = Options { reverse_path: true, ..Options::default() };
        let mut shield = Shield::open(&loaded, options).unwrap();
        let all = Rule::new("all", Match::default(), Action::Pass);
        shield.install(&[all]).unwrap();
        loaded.go_live(&["edge0"], Mode::Native).unwrap();
        // An address that the router has, and the edge no way to.
        world.router(|| tool("ip address add 198.51.100.9/32 dev wire0"));
        let spoofed = world.router_socket("198.51.100.9:0");
        let honest = world.router_socket("192.0.2.254:0");
        spoofed.send_to(b"here", (VIP, 9)).unwrap();
        honest.send_to(b"here", (VIP, 9)).unwrap();
        wait_until("a pass", || counted(&home, Reason::LocalOnlyHop) == 1);
        wait_until("a drop", || counted(&home, Reason::ShieldSpoofed) == 1);
        assert_eq!(shield.counters().unwrap()[0].1.matched_packets, 1);
    });
}
