//! The shield in the life of the packet programs: in force with them, and after a process that
//! died.

use packet_abi::verdict::Reason;
use packet_loader::Mode;
use packet_loader::shield::{Action, Match, Options, Range, Rule, Shield, pinned};

use crate::flood::wait_until;
use crate::world::{VIP, image, within};
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
