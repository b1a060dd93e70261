//! Many rules: they load, are chained past one program's limit, and say what they cost.

use packet_loader::shield::synthetic::{self, Meets};

use crate::harness;

/// Runs of a measured frame.
const REPEAT: u32 = 1_000_000;

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
