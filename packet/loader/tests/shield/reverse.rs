//! The strict reverse-path check, against real routes in a network namespace of its own.

use std::fs;
use std::process::Command;

use packet_loader::shield::frames::Frame;
use packet_loader::shield::synthetic;
use packet_loader::shield::{Common, Options, Shield};

use crate::change::{Chain, XDP_DROP};
use crate::harness;

/// Set in the copy of this process that runs in the namespace.
const INSIDE: &str = "WEIR_TEST_REVERSE_PATH";
const NAME: &str = "reverse::sources_must_be_reached_by_the_way_they_came";

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

#[test]
fn sources_must_be_reached_by_the_way_they_came() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    if !harness::allowed(NAME) {
        return;
    }
    let probe = ["-n", "ip", "link", "add", "probe0", "type", "veth"];
    let probe = Command::new("unshare").args(probe).output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        println!("skipped {NAME}: no network namespace with veth interfaces: {probe:?}");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let mut copy = Command::new("unshare");
    copy.arg("-n").arg(own).args(["--exact", NAME, "--nocapture"]).env(INSIDE, "1");
    let output = copy.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

/// A row: what comes in, by which interface, and whether it is dropped.
type Row = (&'static str, Frame, u32, bool);

fn inside() {
    for (name, v4, v6) in
        [("d1", "10.1.0.1/24", "2001:db8:1::1/64"), ("d2", "10.2.0.1/24", "2001:db8:2::1/64")]
    {
        ip(&format!("link add {name} type veth peer name {name}far"));
        ip(&format!("link set {name}far up"));
        ip(&format!("link set {name} up"));
        ip(&format!("addr add {v4} dev {name}"));
        ip(&format!("addr add {v6} dev {name} nodad"));
    }
    for route in ["10.8.0.0/16 via 10.1.0.9", "2001:db8:8::/48 via 2001:db8:1::9"] {
        ip(&format!("route add {route}"));
    }
    let index = |name: &str| -> u32 {
        fs::read_to_string(format!("/proc/net/dev_snmp6/{name}"))
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix("ifIndex")?.trim().parse().ok())
            .unwrap()
    };
    let (d1, d2) = (index("d1"), index("d2"));
    let common = Common::alone().unwrap();
    let chain = Chain::new(&common);
    let options = Options { reverse_path: true, ..Options::default() };
    let mut shield = Shield::new(common, options).unwrap();
    // With and without rules behind the check.
    for count in [0, 10] {
        shield.install(&synthetic::rules(count)).unwrap();
        forwarding(false);
        for (what, frame, interface, _) in rows(d1, d2) {
            assert!(chain.run_from(&frame, interface) != XDP_DROP, "unchecked: {what}");
        }
        forwarding(true);
        for (what, frame, interface, dropped) in rows(d1, d2) {
            assert_eq!(chain.run_from(&frame, interface) == XDP_DROP, dropped, "{what}");
        }
    }
}

fn forwarding(on: bool) {
    for family in ["ipv4", "ipv6"] {
        let path = format!("/proc/sys/net/{family}/conf/all/forwarding");
        fs::write(path, if on { "1" } else { "0" }).unwrap();
    }
}

fn rows(d1: u32, d2: u32) -> Vec<Row> {
    let v4 = |source| Frame { source, destination: 0x0a01_0001, ..Frame::default() };
    let net = 0x2001_0db8_0001_0000_0000_0000_0000_0000_u128;
    let v6 = |source| Frame { v6: true, source, destination: net | 1, ..Frame::default() };
    let far = 0x2001_0db8_0008_0000_0000_0000_0000_0000_u128;
    let link = (0xfe80_u128 << 112) | 9;
    let solicit = |source| Frame { protocol: 58, payload: vec![135, 0, 0, 0], ..v6(source) };
    let advert =
        Frame { protocol: 58, payload: vec![136, 0, 0, 0], destination: link, ..v6(net | 9) };
    let question = Frame { destination: (0xff02_u128 << 112) | 1, ..solicit(net | 9) };
    let tagged = Frame { tags: 1, ..v4(0x0a01_0009) };
    vec![
        ("a neighbour by its own interface", v4(0x0a01_0009), d1, false),
        ("a neighbour by another interface", v4(0x0a01_0009), d2, true),
        ("a source without a route", v4(0x0a09_0909), d1, true),
        ("a source behind a router", v4(0x0a08_0009), d1, false),
        ("a source behind a router by another interface", v4(0x0a08_0009), d2, true),
        ("an address of this host as the source", v4(0x0a01_0001), d1, true),
        ("a multicast source", v4(0xe000_0001), d1, true),
        ("a tagged packet, whose interface is another", tagged, d2, false),
        ("an IPv6 neighbour by its own interface", v6(net | 9), d1, false),
        ("an IPv6 neighbour by another interface", v6(net | 9), d2, true),
        ("an IPv6 source without a route", v6((0xfd00_u128 << 112) | 9), d1, true),
        ("an IPv6 source behind a router", v6(far | 9), d1, false),
        ("an IPv6 source behind a router by another interface", v6(far | 9), d2, true),
        ("an IPv6 neighbour's answer to a link-local address", advert.clone(), d1, false),
        ("the same by another interface", advert, d2, true),
        ("an IPv6 neighbour's question to everybody", question.clone(), d1, false),
        ("the same by another interface", question, d2, true),
        ("a neighbour solicitation of a link-local source", solicit(link), d2, false),
        ("a neighbour solicitation of the unspecified source", solicit(0), d2, false),
        ("UDP from the unspecified source", v6(0), d2, true),
    ]
}
