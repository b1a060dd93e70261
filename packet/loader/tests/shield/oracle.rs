//! Generated programs and the interpreter agree on random packets and rules: on the verdict, on
//! each rule that applied and what it did, and on what was counted.

use std::os::fd::AsFd;

use packet_loader::shield::bpf::{Map, Shared};
use packet_loader::shield::emit::{TRACE_EVENTS_MAX, TRACE_WORDS};
use packet_loader::shield::interpret::{APPLIED_MAX, Interpreter, Judgement, Outcome};
use packet_loader::shield::plan::{self, COUNTING_MAX};
use packet_loader::shield::programs::{Load, Trial};
use packet_loader::shield::{Action, Match, Range, Rule, RuleCounters, rule, synthetic};

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

#[test]
fn chained_programs_agree_too() {
    if !harness::allowed("chained_programs_agree_too") {
        return;
    }
    let mut random = Random(harness::seed());
    let mut rules = synthetic::rules(4_500);
    for (at, rule) in harness::rules(&mut random, 200).into_iter().enumerate() {
        rules.insert(at * 23, rule);
    }
    let repeat = || format!("WEIR_SEED={} cargo test -p packet-loader chained", harness::seed());
    let (matched, dropped, _) = agree(&rules, &mut random, 3_000, &repeat);
    assert!(matched > 1_000 && dropped > 500, "{matched} {dropped}");
}

#[test]
fn a_packet_meets_so_many_rules_that_only_count() {
    if !harness::allowed("a_packet_meets_so_many_rules_that_only_count") {
        return;
    }
    let dry = |name: usize, matches: Match| {
        let mut rule = Rule::new(&format!("dry-{name}"), matches, Action::Drop);
        rule.dry_run = true;
        rule
    };
    // Rules for nothing at all set the others apart, so that they stand in two programs.
    let nothing = Match { protocol: Some(255), ttl: Some(Range { first: 0, last: 0 }), ..any() };
    for (before, apart, after) in
        [(15, 0, 0), (16, 0, 0), (40, 0, 0), (10, COUNTING_MAX, 5), (10, COUNTING_MAX, 6)]
    {
        let mut rules: Vec<Rule> = (0..before).map(|name| dry(name, any())).collect();
        rules.extend((0..apart).map(|name| dry(1_000 + name, nothing.clone())));
        rules.extend((0..after).map(|name| dry(5_000 + name, any())));
        rules.push(Rule::new("end", any(), Action::Drop));
        let mut random = Random(harness::seed());
        let seen = agree(&rules, &mut random, 500, &|| "this test".to_owned());
        // The rule at the end is reached only where fewer than that have counted.
        assert_eq!(seen.1 > 0, before + after < APPLIED_MAX, "{before} {apart} {after}");
    }
}

fn any() -> Match {
    Match::default()
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
    let how = Load { trace: Some(trace.as_fd()), ..Load::default() };
    let trial = Trial::new(parts, &places, how);
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
    let event = |at| {
        let word = shared.get(2 + at);
        ((word >> 8) as usize, Outcome::of((word & 0xff) as u32).unwrap())
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
