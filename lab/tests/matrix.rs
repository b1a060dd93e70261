//! The fault matrix, a test for each row: no flow breaks whose server lives, and what must be
//! counted is.

use lab::scenario::{SCENARIOS, Scenario};
use lab::server::Programs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// One fleet at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn check(name: &str) {
    let scenario = Scenario::named(name).expect("a row of that name");
    if let Some(reason) = scenario.setup.missing() {
        eprintln!("skipped: lab {name}: {reason}");
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = Programs::beside(Path::new(env!("CARGO_BIN_EXE_lab"))).expect("weir");
    let outcome = scenario.run(&programs).expect("a run");
    eprintln!("{}\n{:?}", outcome.row(scenario), outcome.reasons);
    assert_eq!(scenario.faults(&outcome), Vec::<String>::new(), "{}", scenario.says);
}

/// A test for each row, and one that no row is without.
macro_rules! rows {
    ($($test:ident = $name:literal;)+) => {
        $(
            #[test]
            fn $test() {
                check($name);
            }
        )+

        #[test]
        fn every_row_has_its_test() {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            assert_eq!(names, [$($name),+]);
        }
    };
}

rows! {
    lost_packets_break_nothing = "loss";
    late_and_doubled_packets_break_nothing = "disorder";
    floods_beside_break_nothing = "flood";
    a_proxy_upgrade_breaks_nothing = "proxy-upgrade";
}
