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
    the_lab_itself_breaks_nothing = "routed";
    flows_land_and_stay = "steady";
    a_server_that_comes_breaks_nothing = "added";
    a_server_that_drains_breaks_nothing = "drained";
    a_drained_server_that_goes_breaks_nothing = "removed";
    a_server_that_dies_takes_only_its_own = "crashed";
    a_router_that_hashes_anew_breaks_nothing = "rehashed";
    loaders_that_die_and_are_replaced_break_nothing = "loaders";
    tables_that_are_swapped_break_nothing = "swapped";
    proxies_that_hand_over_break_nothing = "proxies";
    lost_packets_break_nothing = "loss";
    late_and_doubled_packets_break_nothing = "disorder";
    floods_beside_break_nothing = "floods";
    cookies_of_the_programs_break_nothing = "cookies";
    links_without_room_break_nothing = "narrow";
    a_tunnel_over_ipv6_breaks_nothing = "outer-v6";
    cookies_that_a_reload_turns_on_break_nothing = "auto";
    spoofed_sources_are_dropped_and_good_ones_stay = "strict";
    sockets_in_another_namespace_are_found = "apart";
    loaders_with_maps_of_other_sizes_break_nothing = "resized";
    servers_without_state_get_questions_by_maglev = "maglev";
    packets_over_fou_land_and_stay = "fou";
    packets_over_ip_in_ipv4_land_and_stay = "ip-in-ip";
    packets_over_ip_in_ipv6_land_and_stay = "ip-in-ip6";
    all_of_it_at_once_breaks_nothing = "everything";
}
