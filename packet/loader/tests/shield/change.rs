//! Changes of rules: what stays, what is refused, and that no packet slips through.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use packet_abi::maps::{CHAIN, CHAIN_DIRECTOR, CHAIN_LEN, CHAIN_SHIELD};
use packet_loader::shield::asm::{Asm, R0, R1, R2, R3, R6};
use packet_loader::shield::bpf::{self, Asks, Kind, Map};
use packet_loader::shield::frames::Frame;
use packet_loader::shield::interpret::Outcome;
use packet_loader::shield::plan;
use packet_loader::shield::programs::{Load, Trial};
use packet_loader::shield::samples::Samples;
use packet_loader::shield::{
    Action, Common, Limit, Match, Options, Own, Per, Prefix, Range, Rate, Rule, Shield,
};
use packet_loader::shield::{self_test, synthetic};

use crate::harness::{self, Random};

/// `bpf_tail_call`.
const TAIL_CALL: i32 = 12;
/// What a packet gets that reached the director of these tests: an action that nothing else gives.
const XDP_TX: u32 = 3;
pub(crate) const XDP_DROP: u32 = 1;

/// A chain with a director that answers [`XDP_TX`], and the program at its entry.
pub(crate) struct Chain {
    map: Map,
    entry: OwnedFd,
}

impl Chain {
    pub(crate) fn new(common: &Common) -> Self {
        let fd = common.chain.try_clone().unwrap();
        let map = Map::adopt(fd, CHAIN, Kind::Programs, 4);
        let mut asm = Asm::new();
        asm.mov(R0, XDP_TX as i32);
        asm.exit();
        let director = bpf::load("director", &asm.finish().unwrap(), Asks::default()).unwrap();
        map.put(CHAIN_DIRECTOR, director.as_fd()).unwrap();
        let mut asm = Asm::new();
        asm.mov(R6, R1);
        for slot in [CHAIN_SHIELD, CHAIN_DIRECTOR] {
            asm.mov(R1, R6);
            asm.map(R2, std::os::fd::AsRawFd::as_raw_fd(&map.as_fd()));
            asm.mov(R3, slot as i32);
            asm.call(TAIL_CALL);
        }
        asm.mov(R0, 0);
        asm.exit();
        let entry = bpf::load("entry", &asm.finish().unwrap(), Asks::default()).unwrap();
        Self { map, entry }
    }

    fn run(&self, frame: &Frame) -> u32 {
        self.run_from(frame, 0)
    }

    pub(crate) fn run_from(&self, frame: &Frame, interface: u32) -> u32 {
        bpf::run(self.entry.as_fd(), &frame.octets(), 1, interface).unwrap().action
    }
}

fn shield() -> (Shield, Chain) {
    let common = Common::alone().unwrap();
    let chain = Chain::new(&common);
    (Shield::new(common, Options::default()).unwrap(), chain)
}

fn drop_port(name: &str, port: u16) -> Rule {
    let ports = vec![Range { first: port, last: port }];
    Rule::new(name, Match { destination_ports: ports, ..Match::default() }, Action::Drop)
}

fn to_port(port: u16) -> Frame {
    Frame { destination_port: port, ..Frame::default() }
}

#[test]
fn counters_stay_with_the_name_of_a_rule() {
    if !harness::allowed("counters_stay_with_the_name_of_a_rule") {
        return;
    }
    let (mut shield, chain) = shield();
    assert_eq!(chain.run(&to_port(53)), XDP_TX);
    let installed = shield.install(&[drop_port("dns", 53), drop_port("ntp", 123)]).unwrap();
    assert!(installed.tested_frames > 5, "{installed:?}");
    for port in [53, 53, 123, 80] {
        assert_eq!(chain.run(&to_port(port)) == XDP_DROP, port != 80, "{port}");
    }
    let octets = to_port(53).octets().len() as u64;
    let counters = shield.counters().unwrap();
    assert_eq!(counters[0].0, "dns");
    assert_eq!((counters[0].1.dropped_packets, counters[0].1.dropped_octets), (2, 2 * octets));
    assert_eq!(counters[1].1.matched_packets, 1);

    shield.install(&[drop_port("http", 80), drop_port("dns", 53)]).unwrap();
    for (port, dropped) in [(53, true), (123, false), (80, true)] {
        assert_eq!(chain.run(&to_port(port)) == XDP_DROP, dropped, "{port}");
    }
    let counts: Vec<(&str, u64)> =
        shield.counters().unwrap().iter().map(|(name, c)| (*name, c.dropped_packets)).collect();
    assert_eq!(counts, [("http", 1), ("dns", 3)]);

    // A rule that comes back begins at nothing.
    shield.install(&[drop_port("ntp", 123)]).unwrap();
    assert_eq!(shield.counters().unwrap()[0].1.matched_packets, 0);
    shield.remove().unwrap();
    assert_eq!(chain.run(&to_port(123)), XDP_TX);
}

#[test]
fn a_process_after_this_one_goes_on_counting() {
    if !harness::allowed("a_process_after_this_one_goes_on_counting") {
        return;
    }
    let (mut shield, chain) = shield();
    shield.install(&[drop_port("dns", 53), drop_port("ntp", 123)]).unwrap();
    shield.install(&[drop_port("ntp", 123), drop_port("dns", 53)]).unwrap();
    assert_eq!(chain.run(&to_port(53)), XDP_DROP);
    let own = Own::adopt(shield.own().fds().map(|fd| fd.try_clone_to_owned().unwrap()));
    let common = Common::alone().unwrap();
    let common = Common { chain: chain.map.as_fd().try_clone_to_owned().unwrap(), ..common };
    drop(shield);
    assert_eq!(chain.run(&to_port(53)), XDP_DROP, "programs outlive the process");
    let mut shield = Shield::adopt(common, own, Options::default()).unwrap();
    shield.install(&[drop_port("dns", 53)]).unwrap();
    assert_eq!(chain.run(&to_port(53)), XDP_DROP);
    assert_eq!(shield.counters().unwrap()[0].1.dropped_packets, 3);
}

#[test]
fn bad_rules_change_nothing_and_say_why() {
    if !harness::allowed("bad_rules_change_nothing_and_say_why") {
        return;
    }
    let (mut shield, chain) = shield();
    shield.install(&[drop_port("dns", 53)]).unwrap();
    let mut backwards = drop_port("backwards", 2);
    backwards.matches.destination_ports[0].last = 1;
    let mut limit = drop_port("limit", 1);
    limit.action = Action::Limit(Limit { packets: None, octets: None, per: Per::Rule });
    let pattern = packet_loader::shield::Pattern { offset: 0, octets: vec![1], mask: vec![] };
    let mut payload = drop_port("payload", 1);
    payload.matches.payload = Some(pattern);
    let many = (0..16_385).map(|n| drop_port(&n.to_string(), 1)).collect();
    for (rules, says) in [
        (vec![drop_port("a", 1), drop_port("a", 2)], "two shield rules are named `a`"),
        (vec![backwards], "ends before it starts"),
        (vec![limit], "packets_per_second"),
        (vec![payload], "a mask of the same length"),
        (many, "16385 shield rules are more than 16384"),
    ] {
        let error = shield.install(&rules).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert_eq!(chain.run(&to_port(53)), XDP_DROP);
        assert_eq!(shield.counters().unwrap().len(), 1);
    }
}

#[test]
fn no_packet_slips_through_while_rules_change() {
    if !harness::allowed("no_packet_slips_through_while_rules_change") {
        return;
    }
    let (mut shield, chain) = shield();
    // More than one program each time, and what is dropped stands in the last one.
    let mut sets = [synthetic::rules(4100), synthetic::rules(4200)];
    for set in &mut sets {
        set.push(drop_port("dns", 53));
    }
    shield.install(&sets[0]).unwrap();
    let done = AtomicBool::new(false);
    let (runs, slipped) = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let (mut runs, mut slipped) = (0_u64, 0_u64);
            while !done.load(Ordering::Relaxed) {
                slipped += u64::from(chain.run(&to_port(53)) != XDP_DROP);
                runs += 1;
            }
            (runs, slipped)
        });
        for change in 1..5 {
            shield.install(&sets[change % 2]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        flood.join().unwrap()
    });
    assert!(runs > 1000, "{runs}");
    assert_eq!(slipped, 0, "of {runs}");
    let counters = shield.counters().unwrap();
    assert_eq!(counters.last().unwrap().1.dropped_packets, runs);
}

#[test]
fn limits_keep_their_rate_by_the_clock_of_the_kernel() {
    if !harness::allowed("limits_keep_their_rate_by_the_clock_of_the_kernel") {
        return;
    }
    let (mut shield, chain) = shield();
    let rate = Rate { per_second: 1, burst: 5 };
    let limit = Limit { packets: Some(rate), octets: None, per: Per::Source };
    shield.install(&[Rule::new("each", Match::default(), Action::Limit(limit))]).unwrap();
    let start = std::time::Instant::now();
    for source in [1, 2] {
        let frame = Frame { source, ..Frame::default() };
        let passed = (0..100).filter(|_| chain.run(&frame) == XDP_TX).count() as u64;
        let refilled = start.elapsed().as_secs() + 1;
        assert!((5..=5 + refilled).contains(&passed), "{passed} in {refilled} s");
    }
    let counters = shield.counters().unwrap()[0].1;
    assert_eq!(counters.matched_packets, 200);
    assert_eq!(counters.limited_packets, counters.dropped_packets);
}

#[test]
fn a_program_that_is_not_what_the_rules_say_is_refused() {
    if !harness::allowed("a_program_that_is_not_what_the_rules_say_is_refused") {
        return;
    }
    let rule = drop_port("dns", 53);
    let mut dry = rule.clone();
    dry.dry_run = true;
    let other = drop_port("dns", 54);
    let all = Rule::new("dns", Match::default(), Action::Drop);
    for (program, rules, says) in [
        (&rule, &rule, None),
        (&other, &rule, Some("pass the test frame for rule `dns`, which by the rules must drop")),
        (&dry, &rule, Some("which by the rules must drop")),
        (&rule, &dry, Some("which by the rules must pass")),
        (&all, &rule, Some("drop the test frame for an IPv6 neighbour solicitation")),
        (&dry, &other_dry(), Some("test frames for rule `dns`, which by the rules are")),
    ] {
        let (program, rules) = (std::slice::from_ref(program), std::slice::from_ref(rules));
        let places = harness::places(program);
        let parts = plan::plan(program, &places).unwrap();
        let trial = Trial::new(parts, &places, Load::default()).unwrap();
        let refused = self_test::run(&trial, rules, &places).err().map(|e| e.to_string());
        match says {
            None => assert_eq!(refused, None),
            Some(says) => {
                assert!(refused.as_ref().is_some_and(|e| e.contains(says)), "{refused:?}")
            }
        }
    }
}

fn other_dry() -> Rule {
    let mut rule = drop_port("dns", 54);
    rule.dry_run = true;
    rule
}

#[test]
fn samples_hold_the_head_of_packets_that_matched() {
    if !harness::allowed("samples_hold_the_head_of_packets_that_matched") {
        return;
    }
    let common = Common::alone().unwrap();
    let mut samples = Samples::new(common.samples.as_fd()).unwrap();
    let chain = Chain::new(&common);
    let mut shield = Shield::new(common, Options::default()).unwrap();
    let mut rules = [drop_port("all", 53), drop_port("some", 123), drop_port("none", 7)];
    (rules[0].sample, rules[1].sample) = (1, 4);
    rules[1].dry_run = true;
    shield.install(&rules).unwrap();
    let mut seen = Vec::new();
    samples.take(|sample| seen.push(sample));
    assert_eq!(seen, [], "the self-test leaves none");
    let long = Frame { payload: vec![7; 500], ..to_port(53) };
    for frame in [&to_port(53), &to_port(7), &to_port(80), &long] {
        chain.run(frame);
    }
    samples.take(|sample| seen.push(sample));
    let [short, cut] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(short.head, to_port(53).octets());
    assert_eq!((cut.octets as usize, &cut.head[..]), (542, &long.octets()[..128]));
    assert_eq!((short.slot, short.outcome, cut.outcome), (0, Outcome::Dropped, Outcome::Dropped));
    assert!(short.time > 0 && short.time <= cut.time);
    // More than the ring holds, in rounds: 4,000 packets, of which some 1,000 are sampled.
    let mut some = 0;
    for _ in 0..40 {
        (0..100).for_each(|_| assert_eq!(chain.run(&to_port(123)), XDP_TX));
        samples.take(|sample| some += usize::from(sample.outcome == Outcome::Counted));
    }
    assert!((800..1200).contains(&some), "{some}");
    // Without a reader the ring fills up, and packets go on.
    let before = shield.counters().unwrap()[0].1.dropped_packets;
    (0..7_000).for_each(|_| assert_eq!(chain.run(&to_port(53)), XDP_DROP));
    assert_eq!(shield.counters().unwrap()[0].1.dropped_packets, before + 7_000);
    let mut full = 0;
    samples.take(|_| full += 1);
    assert_eq!(full, (1 << 20) / 168, "records of 160 octets and their header");
}

#[test]
fn programs_fit_a_chain_of_the_length_that_the_kernel_allows() {
    let rules = synthetic::rules(16_384);
    let places = harness::places(&rules);
    let parts = packet_loader::shield::plan::plan(&rules, &places).unwrap();
    // The kernel allows 33 tail calls: the shield, its further programs, the director and a tap.
    assert!(parts.len() + 3 <= 33 && CHAIN_LEN <= 40, "{}", parts.len());
}

#[test]
fn random_prefixes_of_a_kind_are_one_program() {
    let mut random = Random(harness::seed());
    let rule = |n: u32| {
        let address = std::net::Ipv4Addr::from(random.next() as u32).into();
        let source = vec![Prefix { address, bits: 24 }];
        Rule::new(&n.to_string(), Match { source, ..Match::default() }, Action::Drop)
    };
    let rules: Vec<Rule> = (0..4096).map(rule).collect();
    let parts = packet_loader::shield::plan::plan(&rules, &harness::places(&rules)).unwrap();
    assert_eq!(parts.len(), 1);
    let octets: usize = parts.iter().map(|part| part.data.len()).sum();
    assert!(octets < 8 << 20, "{octets}");
}
