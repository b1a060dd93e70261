//! Many rules: they load, are chained past one program's limit, and say what they cost.

use packet_loader::shield::plan::{self, COUNTING_MAX, Field, SHAPES_MAX};
use packet_loader::shield::programs::{Load, Trial};
use packet_loader::shield::rule::PATTERN_MAX;
use packet_loader::shield::synthetic::{self, Meets};
use packet_loader::shield::vectors::PROGRAM_RULES_MAX;
use packet_loader::shield::{Action, Limit, Per, Range, Rate};

use crate::harness;

/// Runs of a measured frame.
const REPEAT: u32 = 200_000;

#[test]
fn ten_thousand_rules_load_and_drop_their_last() {
    if !harness::allowed("ten_thousand_rules_load_and_drop_their_last") {
        return;
    }
    for count in [0, 10, 100, 1_000, 4_096, 4_097, 10_000, 16_384] {
        let rules = synthetic::rules(count);
        let start = std::time::Instant::now();
        let trial = synthetic::load(&rules).unwrap();
        let took = start.elapsed().as_millis();
        let octets: usize = trial.parts().iter().map(|part| part.data.len()).sum();
        let (programs, instructions) = (trial.parts().len(), trial.instructions());
        print!("{count} rules: {programs} programs, {instructions} instructions, ");
        print!("{} KiB of tables, loaded in {took} ms; ns:", octets >> 10);
        assert_eq!(programs, count.div_ceil(4096).max(1));
        for (meets, v6) in
            [(Meets::None, false), (Meets::None, true), (Meets::First, false), (Meets::Last, false)]
        {
            let Some(frame) = synthetic::frame(&rules, meets, v6) else { continue };
            let ran = trial.run(&frame, REPEAT).unwrap();
            print!(" {meets:?}{} {}", if v6 { " v6" } else { "" }, ran.nanoseconds);
            assert_eq!(ran.action, if meets == Meets::None { 2 } else { 1 }, "{meets:?}");
        }
        println!();
    }
}

#[test]
fn a_program_that_is_full_of_everything_loads() {
    if !harness::allowed("a_program_that_is_full_of_everything_loads") {
        return;
    }
    let rate = Rate { per_second: 1_000_000, burst: 1_000_000 };
    let per = [Per::Rule, Per::Source, Per::Destination];
    let limit = |at: usize| Limit { packets: Some(rate), octets: Some(rate), per: per[at % 3] };
    let mut rules = synthetic::rules(PROGRAM_RULES_MAX);
    for (at, rule) in rules.iter_mut().enumerate() {
        let m = &mut rule.matches;
        if let Some(pattern) = &mut m.payload {
            pattern.offset = (at / 6 % SHAPES_MAX) as u16;
            pattern.octets.resize(PATTERN_MAX, at as u8);
            pattern.mask.resize(PATTERN_MAX, 0xff);
        }
        m.destination_ports = vec![Range { first: at as u16, last: at as u16 }];
        m.length = Some(Range { first: at as u32 % 100, last: 1000 + at as u32 });
        m.ttl = Some(Range { first: at as u8 / 2, last: 200 });
        rule.sample = 10;
        if at % 4 == 3 {
            rule.action = Action::Limit(limit(at));
        }
    }
    let places = harness::places(&rules);
    let parts = plan::plan(&rules, &places).unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!((parts[0].counting_words, parts[0].words), (COUNTING_MAX / 64, 64));
    let shapes = parts[0].fields.iter().filter(|field| matches!(field, Field::Payload(..)));
    assert_eq!(shapes.count(), SHAPES_MAX);
    let start = std::time::Instant::now();
    let trial = Trial::new(parts, &places, Load::default()).unwrap();
    println!("{} instructions in {:?}", trial.instructions(), start.elapsed());
}
