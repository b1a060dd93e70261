//! The trie of VIPs against a plain search for the longest prefix that has the port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use core_forwarding::trie::{Network, Room, Trie, TrieError, Vip};
use proptest::prelude::*;

const ROOM: Room = Room { entries: 1 << 20, rows: 1 << 16 };

fn vip(text: &str, set: u16) -> Vip {
    let mut words = text.split_whitespace();
    let (address, bits) = words.next().and_then(|net| net.split_once('/')).expect("a prefix");
    let address = address.parse().expect("an address");
    let network = Network::new(address, bits.parse().expect("bits")).expect("a prefix");
    let protocols = words.next().unwrap_or("tcp,udp");
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        (first.parse().expect("a port"), last.parse().expect("a port"))
    };
    let ports = words.next().map_or(Vec::new(), |ports| ports.split(',').map(range).collect());
    let (tcp, udp) = (protocols.contains("tcp"), protocols.contains("udp"));
    Vip { network, tcp, udp, ports, set }
}

fn vips(texts: &[&str]) -> Vec<Vip> {
    (0..).zip(texts).map(|(set, text)| vip(text, set)).collect()
}

/// `expect` has, for each `address tcp|udp port`, the place of a VIP in the list.
#[track_caller]
fn check(says: &str, texts: &[&str], expect: &[(&str, Option<u16>)]) {
    let trie = Trie::build(&vips(texts), ROOM).expect("fits");
    for (question, answer) in expect {
        let words: Vec<&str> = question.split_whitespace().collect();
        let [address, protocol, port] = words[..] else { panic!("{question}") };
        let address = address.parse().expect("an address");
        let got = trie.look_up(address, protocol == "udp", port.parse().expect("a port"));
        assert_eq!(got, *answer, "{says}: {question}");
    }
}

#[test]
fn the_most_specific_prefix_that_has_the_port_wins() {
    check("no VIPs", &[], &[("192.0.2.1 tcp 80", None), (":: udp 1", None)]);
    check(
        "one address",
        &["192.0.2.1/32"],
        &[("192.0.2.1 tcp 80", Some(0)), ("192.0.2.0 tcp 80", None), ("192.0.2.2 tcp 80", None)],
    );
    check(
        "a port falls through to the shorter prefix",
        &["203.0.113.0/24", "203.0.113.7/32 tcp 443", "203.0.112.0/20 udp 53"],
        &[
            ("203.0.113.7 tcp 443", Some(1)),
            ("203.0.113.7 tcp 80", Some(0)),
            ("203.0.113.7 udp 443", Some(0)),
            ("203.0.113.8 tcp 443", Some(0)),
            ("203.0.112.7 udp 53", Some(2)),
            ("203.0.112.7 udp 54", None),
        ],
    );
    check(
        "ranges",
        &["10.0.0.0/8 tcp 443,8000-8999", "10.1.0.0/16 tcp 8500", "10.0.0.0/8 udp 0-65535"],
        &[
            ("10.0.0.1 tcp 7999", None),
            ("10.0.0.1 tcp 8000", Some(0)),
            ("10.0.0.1 tcp 8999", Some(0)),
            ("10.0.0.1 tcp 9000", None),
            ("10.0.0.1 tcp 65535", None),
            ("10.1.2.3 tcp 8499", Some(0)),
            ("10.1.2.3 tcp 8500", Some(1)),
            ("10.1.2.3 tcp 8501", Some(0)),
            ("10.1.2.3 udp 0", Some(2)),
            ("10.1.2.3 udp 65535", Some(2)),
        ],
    );
    check(
        "IPv6 does not reach into IPv4",
        &["::/0", "2001:db8::/32 udp", "2001:db8::1/128"],
        &[
            ("192.0.2.1 tcp 80", None),
            ("::1 tcp 80", Some(0)),
            ("ffff::1 tcp 80", Some(0)),
            ("2001:db8::2 udp 1", Some(1)),
            ("2001:db8::2 tcp 1", Some(0)),
            ("2001:db8::1 tcp 1", Some(2)),
        ],
    );
    check(
        "everything",
        &["0.0.0.0/0", "::/0"],
        &[
            ("0.0.0.0 tcp 0", Some(0)),
            ("255.255.255.255 udp 65535", Some(0)),
            (":: tcp 0", Some(1)),
        ],
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let fails = |texts: &[&str], room| Trie::build(&vips(texts), room).expect_err("no trie");
    let network = Network::new([10, 0, 0, 0].into(), 8).expect("a prefix");
    let both = fails(&["10.0.0.0/8 tcp 80-90", "10.0.0.0/8 tcp,udp 85"], ROOM);
    assert_eq!(both, TrieError::Overlap { network, port: 85, one: 0, other: 1 });
    assert!(both.to_string().contains("10.0.0.0/8"), "{both}");
    let few = Room { entries: 4, rows: 100 };
    assert_eq!(fails(&["10.0.0.0/8"], few), TrieError::Entries(4));
    let few = Room { entries: 100, rows: 2 };
    assert_eq!(fails(&["10.0.0.0/8 tcp 80"], few), TrieError::Rows(2));
    let ports: Vec<String> = (1..=4_000).map(|port| (port * 10).to_string()).collect();
    let many = format!("10.0.0.0/8 tcp {}", ports.join(","));
    assert_eq!(fails(&[&many], ROOM), TrieError::Leaf { network, rows: 8_001 });
    assert_eq!(Network::new([10, 0, 0, 0].into(), 33), None);
}

#[test]
fn prefixes_nested_bit_by_bit_are_found_in_time() {
    let v6: Ipv6Addr = "2001:db8:1234:5678:9abc:def0:1234:5678".parse().expect("an address");
    let nested = |bits| Vip {
        network: Network::new(v6.into(), bits).expect("a prefix"),
        tcp: true,
        udp: true,
        ports: Vec::new(),
        set: u16::from(bits),
    };
    let all: Vec<Vip> = (0..=128).map(nested).collect();
    let trie = Trie::build(&all, ROOM).expect("fits");
    for bits in 0..128_u32 {
        let other = Ipv6Addr::from(u128::from(v6) ^ (1 << (127 - bits)));
        assert_eq!(trie.look_up(other.into(), false, 1), Some(bits as u16), "{bits}");
    }
    assert_eq!(trie.look_up(v6.into(), false, 1), Some(128));
}

#[test]
fn thousands_of_prefixes_take_little_room() {
    let mut vips = Vec::new();
    let mut state = 1_u64;
    for set in 0..10_000_u16 {
        state = core_forwarding::mix::mix(state.wrapping_add(u64::from(set)));
        let v4 = Ipv4Addr::from(state as u32);
        let bits = 16 + (state >> 40) as u8 % 17;
        let network = Network::new(v4.into(), bits).expect("a prefix");
        vips.push(Vip {
            network,
            tcp: true,
            udp: set % 2 == 0,
            ports: vec![(443, 443)],
            set: set % 100,
        });
    }
    let trie = Trie::build(&vips, ROOM);
    // Two prefixes may be the same by chance, with other trafficsets.
    let trie = trie.or_else(|_| {
        vips.sort_by_key(|vip| vip.network);
        vips.dedup_by_key(|vip| vip.network);
        Trie::build(&vips, ROOM)
    });
    let trie = trie.expect("fits");
    println!("{} VIPs: {} entries, {} rows", vips.len(), trie.entries.len(), trie.rows.len());
    assert!(trie.entries.len() < 16 * vips.len(), "{}", trie.entries.len());
}

/// Addresses that share many bits, so that prefixes nest.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (any::<u32>(), prop::sample::select(vec![0_u32, 0xff, 0xffff_ffff]))
        .prop_map(|(random, keep)| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 | (random & keep))));
    let v6 = (any::<u128>(), prop::sample::select(vec![0, 0xff, u128::MAX >> 64, u128::MAX]))
        .prop_map(|(random, keep)| {
            let base = 0x2001_0db8_u128 << 96;
            IpAddr::V6(Ipv6Addr::from(base ^ (random & keep)))
        });
    prop_oneof![v4, v6]
}

fn random_vip() -> impl Strategy<Value = Vip> {
    let protocols = prop::sample::select(vec![(true, true), (true, false), (false, true)]);
    let range = (0..50_u16, 0..8_u16).prop_map(|(first, more)| (first, first + more));
    let ports = prop_oneof![Just(Vec::new()), prop::collection::vec(range, 1..4)];
    (address(), 0..=128_u8, protocols, ports).prop_map(|(address, bits, (tcp, udp), ports)| {
        let bits = if address.is_ipv4() { bits % 33 } else { bits };
        let network = Network::new(address, bits).expect("a prefix");
        Vip { network, tcp, udp, ports, set: 0 }
    })
}

/// The answer of whoever reads the list from its end: `vips` are sorted by length of prefix.
fn plain(vips: &[(u8, Vip)], address: IpAddr, udp: bool, port: u16) -> Option<u16> {
    let serves = |(bits, vip): &&(u8, Vip)| {
        let within = Network::new(address, *bits) == Some(vip.network);
        let protocol = if udp { vip.udp } else { vip.tcp };
        let has = |(first, last): &(u16, u16)| (*first..=*last).contains(&port);
        within && protocol && (vip.ports.is_empty() || vip.ports.iter().any(has))
    };
    vips.iter().rev().find(serves).map(|(_, vip)| vip.set)
}

fn length_of(vip: &Vip) -> (bool, u8) {
    let text = vip.network.to_string();
    let (address, bits) = text.split_once('/').expect("a prefix");
    (address.parse::<Ipv4Addr>().is_ok(), bits.parse().expect("bits"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_look_up_is_a_plain_search(
        mut random in prop::collection::vec(random_vip(), 0..40),
        asked in prop::collection::vec((address(), any::<bool>(), 0..60_u16), 50),
    ) {
        random.sort_by_key(|vip| vip.network);
        random.dedup_by_key(|vip| vip.network);
        (0..).zip(&mut random).for_each(|(set, vip)| vip.set = set);
        let trie = Trie::build(&random, ROOM).expect("fits");
        let mut plainly: Vec<(u8, Vip)> =
            random.iter().map(|vip| (length_of(vip).1, vip.clone())).collect();
        plainly.sort_by_key(|(bits, _)| *bits);
        for (address, udp, port) in asked {
            let expect = plain(&plainly, address, udp, port);
            let got = trie.look_up(address, udp, port);
            prop_assert_eq!(got, expect, "{} {} {}", address, udp, port);
        }
    }
}
