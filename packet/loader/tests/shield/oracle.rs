//! Generated programs and the interpreter agree on random packets and rules: on the verdict, on
//! each rule that applied and what it did, and on what was counted.

use std::os::fd::AsFd;

use packet_loader::shield::RuleCounters;
use packet_loader::shield::bpf::{Map, Shared};
use packet_loader::shield::emit::{TRACE_EVENTS_MAX, TRACE_WORDS};
use packet_loader::shield::interpret::{Interpreter, Judgement, Outcome};
use packet_loader::shield::plan;
use packet_loader::shield::programs::Trial;
use packet_loader::shield::rule::{self, Rule};

use crate::harness::{self, Random};

/// Packets of the everyday run, over all sets of rules.
const PACKETS: usize = 1_100_000;
/// The same where the tests may take hours.
const PACKETS_SOAK: usize = 100_000_000;
/// Sets of rules, and packets for each of them.
const PACKETS_A_SET: usize = 10_000;

#[test]
fn programs_and_interpreter_agree_on_a_million_packets() {
    if !harness::allowed("programs_and_interpreter_agree_on_a_million_packets") {
        return;
    }
    let soak = std::env::var_os("WEIR_SOAK").is_some();
    let packets = if soak { PACKETS_SOAK } else { PACKETS };
    let (mut matched, mut dropped, mut largest) = (0_usize, 0_usize, 0_usize);
    for set in 0..packets / PACKETS_A_SET {
        let mut random = Random(harness::seed().wrapping_add(set as u64));
        let count = random.of(&[1, 2, 5, 20, 40, 60, 65, 100, 130, 200]);
        let rules = harness::rules(&mut random, count);
        let seen = agree(&rules, &mut random, PACKETS_A_SET, &|| {
            let seed = harness::seed().wrapping_add(set as u64);
            format!("WEIR_SEED={seed} cargo test -p packet-loader --test shield agree")
        });
        matched += seen.0;
        dropped += seen.1;
        largest = largest.max(seen.2);
    }
    println!("{packets} packets: {matched} matched a rule, {dropped} were dropped");
    println!("the largest set of programs has {largest} instructions");
    // Else the test compares nothing: most frames are made for a rule.
    assert!(matched > packets / 3 && dropped > packets / 10, "{matched} {dropped}");
}

/// Runs packets through both. Gives packets that matched and were dropped, and instructions.
fn agree(
    rules: &[Rule],
    random: &mut Random,
    packets: usize,
    repeat: &dyn Fn() -> String,
) -> (usize, usize, usize) {
    rule::check(rules).unwrap();
    let places = harness::places(rules);
    let trace = Map::shared("trace", (TRACE_WORDS * 8) as u32).unwrap();
    let shared = Shared::new(&trace).unwrap();
    let parts = plan::plan(rules, &places).unwrap();
    let trial = Trial::new(parts, &places, false, Some(trace.as_fd()));
    let trial = trial.unwrap_or_else(|error| panic!("{error}\nrepeat with {}", repeat()));
    trial.set_limits(true).unwrap();
    let mut interpreter = Interpreter::new(rules);
    let mut counters = vec![RuleCounters::default(); rules.len()];
    let (mut now, mut matched, mut dropped) = (1_000_000_000, 0, 0);
    for _ in 0..packets {
        let frame = harness::frame(random, rules);
        now += random.below(2_000_000);
        shared.set(0, now);
        shared.set(1, 0);
        let want = interpreter.judge(&frame, now);
        let action = trial.run(&frame, 1).unwrap().action;
        let got = traced(&shared, action);
        assert_eq!(got, want, "frame {frame:02x?}\nrepeat with {}", repeat());
        matched += usize::from(!want.applied.is_empty());
        dropped += usize::from(want.dropped);
        count(&mut counters, rules, &want, frame.len() as u64);
    }
    for ((place, want), rule) in places.iter().zip(counters).zip(rules) {
        let got = trial.counters(*place).unwrap();
        assert_eq!(got, want, "counters of {rule:?}\nrepeat with {}", repeat());
    }
    (matched, dropped, trial.instructions())
}

/// What the program wrote down.
fn traced(shared: &Shared, action: u32) -> Judgement {
    let events = (shared.get(1) as usize).min(TRACE_EVENTS_MAX);
    let outcomes = [
        Outcome::Counted,
        Outcome::WouldLimit,
        Outcome::Dropped,
        Outcome::Limited,
        Outcome::Passed,
    ];
    let event = |at| {
        let word = shared.get(2 + at);
        ((word >> 8) as usize, outcomes[(word & 0xff) as usize])
    };
    assert!(action == 1 || action == 2, "action {action}");
    Judgement { dropped: action == 1, applied: (0..events).map(event).collect() }
}

fn count(counters: &mut [RuleCounters], rules: &[Rule], judgement: &Judgement, octets: u64) {
    for (at, outcome) in &judgement.applied {
        let (counters, rule) = (&mut counters[*at], &rules[*at]);
        counters.matched_packets += 1;
        counters.matched_octets += octets;
        if matches!(outcome, Outcome::Limited | Outcome::WouldLimit) {
            counters.limited_packets += 1;
            counters.limited_octets += octets;
        }
        if matches!(outcome, Outcome::Limited | Outcome::Dropped) {
            assert!(!rule.dry_run);
            counters.dropped_packets += 1;
            counters.dropped_octets += octets;
        }
    }
}
