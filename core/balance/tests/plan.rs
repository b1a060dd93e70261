//! Rounds of the planner: what it does about each kind of event, and what holds whatever happens.

use core_balance::plan::{Health, Observation, Plan, Policy, Report, Why, lint};
use core_balance::rng::SplitMix64;
use core_forwarding::{Buckets, Fleet, Member, State};

use State::{Active, Dead, Draining};

const BUCKETS: u32 = 2_048;

fn policy() -> Policy {
    Policy { hold_down: 600, moves_max: 64, ..Policy::default() }
}

fn seen(id: u16) -> Observation {
    let member = Member { id, capacity: 100, state: Active };
    Observation { member, health: None, load: Some(1_000) }
}

fn fleet(observations: &[Observation]) -> Fleet {
    Fleet::new(observations.iter().map(|seen| seen.member).collect()).expect("a fleet")
}

fn start(servers: u16) -> (Vec<Observation>, Plan) {
    let all: Vec<Observation> = (1..=servers).map(seen).collect();
    let buckets = Buckets::new(BUCKETS).expect("a power of two");
    let plan = Plan::start(&fleet(&all), 1, buckets);
    (all, plan)
}

fn next(plan: &Plan, all: &[Observation], now: u64) -> (Plan, Vec<Report>) {
    next_by(&policy(), plan, all, now)
}

fn next_by(policy: &Policy, plan: &Plan, all: &[Observation], now: u64) -> (Plan, Vec<Report>) {
    let (next, reports) = plan.next(policy, all, now).expect("a fleet");
    lint(&fleet(all), &plan.table, &next.table, now, policy.hold_down).expect("promises hold");
    (next, reports)
}

fn owned(plan: &Plan, id: u16) -> u32 {
    plan.table.owned()[usize::from(id)]
}

fn ill(since: u64, agent_started: u64) -> Option<Health> {
    Some(Health { healthy: false, since, agent_started })
}

#[test]
fn a_dead_server_is_out_in_the_same_round() {
    let (mut all, plan) = start(4);
    all[1].member.state = Dead;
    let (plan, reports) = next(&plan, &all, 1_000);
    assert_eq!(owned(&plan, 2), 0);
    assert!(plan.table.buckets().iter().all(|b| b.first() != 2 && b.second() != 2));
    assert!(matches!(reports[0], Report::Removed { id: 2, why: Why::Dead, .. }), "{reports:?}");
    let (plan, reports) = next(&plan, &all[2..], 1_001);
    assert!(plan.table.buckets().iter().all(|b| b.first() > 2 && b.second() != 1));
    assert!(matches!(reports[0], Report::Removed { id: 1, why: Why::Gone, .. }), "{reports:?}");
}

#[test]
fn a_draining_server_keeps_its_connections_and_gets_no_new_ones() {
    let (mut all, plan) = start(4);
    let before = owned(&plan, 2);
    all[1].member.state = Draining;
    let (plan, _) = next(&plan, &all, 1_000);
    assert_eq!(owned(&plan, 2), 0);
    let seconds = plan.table.buckets().iter().filter(|b| b.second() == 2).count();
    assert!(seconds >= before as usize, "{seconds} of {before}");
}

/// One round in which some of 20 servers say they are ill; which of them own nothing after it.
#[track_caller]
fn check(says: &str, who: &[(u16, Option<Health>)], drained: &[u16], report: &str) {
    let (mut all, plan) = start(20);
    for (id, health) in who {
        all[usize::from(*id) - 1].health = *health;
    }
    let (plan, reports) = next(&plan, &all, 1_000);
    let out: Vec<u16> = (1..=20).filter(|id| owned(&plan, *id) == 0).collect();
    assert_eq!(out, drained, "{says}");
    let text: Vec<String> = reports.iter().map(ToString::to_string).collect();
    assert!(report.is_empty() || text.iter().any(|line| line.contains(report)), "{says}: {text:?}");
}

#[test]
fn an_ill_server_is_drained_unless_many_are_or_the_agent_restarted() {
    check("one, for a minute", &[(3, ill(940, 0))], &[3], "server 3 is unhealthy");
    check("one, for a moment", &[(3, ill(990, 0))], &[], "");
    check("a fresh agent", &[(3, ill(900, 900))], &[], "server 3 is said to be unhealthy");
    check("an old agent", &[(3, ill(900, 880))], &[3], "drains");
    let many: Vec<_> = (1..=4).map(|id| (id, ill(0, 0))).collect();
    check("a fifth of them", &many, &[1, 2, 3, 4], "server 4 is unhealthy");
    let many: Vec<_> = (1..=5).map(|id| (id, ill(0, 0))).collect();
    check("a quarter of them", &many, &[], "5 of 20 servers are unhealthy at once");
    let fresh: Vec<_> = (1..=9).map(|id| (id, ill(900, 900))).chain([(10, ill(0, 0))]).collect();
    check("one, while agents restart", &fresh, &[10], "server 10 is unhealthy");
}

#[test]
fn a_server_that_joins_gets_its_share_by_and_by() {
    let (mut all, mut plan) = start(4);
    all.push(seen(5));
    let mut rounds = 0;
    while owned(&plan, 5) < BUCKETS / 5 && rounds < 50 {
        let before = owned(&plan, 5);
        // It has no connections at first.
        all[4].load = Some(u64::from(before));
        (plan, _) = next(&plan, &all, 1_000 + rounds * 60);
        let gained = owned(&plan, 5) - before;
        assert!(gained <= policy().moves_max, "{gained}");
        rounds += 1;
    }
    assert!((6..=8).contains(&rounds), "{rounds} rounds");
    assert_eq!(plan.joining, []);
}

#[test]
fn unequal_servers_come_to_equal_load() {
    let (mut all, mut plan) = start(10);
    // What each can do, which nobody told the planner.
    let strength: Vec<u64> = (0..10).map(|id| 100 + 25 * (id % 5)).collect();
    let mut last_moved = 0;
    for round in 0..200 {
        for (seen, strength) in all.iter_mut().zip(&strength) {
            let work = u64::from(plan.table.owned()[usize::from(seen.member.id)]);
            seen.load = Some(work * 1_000_000 / strength);
        }
        let before = plan.table.clone();
        (plan, _) = next(&plan, &all, 1_000 + round * 60);
        if !plan.table.diff(&before).is_empty() {
            last_moved = round;
        }
    }
    let loads: Vec<u64> = all.iter().filter_map(|seen| seen.load).collect();
    let mean = loads.iter().sum::<u64>() / 10;
    for load in &loads {
        assert!(load.abs_diff(mean) * 100 <= mean * 4, "{loads:?}");
    }
    assert!(last_moved < 150, "it comes to rest: {last_moved}");
}

#[test]
fn a_list_that_is_no_fleet_is_refused() {
    let (mut all, plan) = start(3);
    all.push(seen(2));
    assert!(plan.next(&policy(), &all, 1_000).is_err());
}

#[test]
fn promises_hold_through_weeks_of_anything() {
    let seed = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("WEIR_SEED={seed} cargo test -p core-balance --test plan promises");
    let soak = std::env::var_os("WEIR_SOAK").is_some();
    let mut rng = SplitMix64::new(seed);
    for _ in 0..if soak { 200 } else { 2 } {
        let (all, mut plan) = start(12);
        let mut fleet = all.clone();
        let mut now = 1_000;
        // Where the threshold is off all may be ill at once.
        let policy = Policy { general_fault_percent: [20, 100][rng.below(2) as usize], ..policy() };
        for _ in 0..300 {
            now += rng.below(300);
            happen(&mut rng, &all, &mut fleet, now);
            let again = plan.next(&policy, &fleet, now);
            let (after, _) = next_by(&policy, &plan, &fleet, now);
            assert_eq!(again.map(|(plan, _)| plan).as_ref(), Ok(&after), "the same again");
            let moved = after.table.diff(&plan.table).len();
            assert!(moved <= BUCKETS as usize);
            plan = after;
        }
    }
}

/// Something happens to one server or another.
fn happen(rng: &mut SplitMix64, all: &[Observation], fleet: &mut Vec<Observation>, now: u64) {
    let pick = rng.below(fleet.len() as u64) as usize;
    match rng.below(8) {
        0 if fleet.len() > 4 => drop(fleet.remove(pick)),
        1 => fleet[pick].member.state = Draining,
        2 => fleet[pick].member.state = Dead,
        3 => fleet[pick].health = ill(now, rng.below(now)),
        4 => fleet[pick].load = Some(rng.below(3_000)),
        5 => fleet[pick].load = None,
        6 => fleet[pick].member.capacity = 1 + rng.below(500) as u32,
        _ => {
            let back = all[rng.below(all.len() as u64) as usize];
            fleet.retain(|seen| seen.member.id != back.member.id);
            fleet.push(back);
        }
    }
    let living = |seen: &Observation| seen.member.state == Active;
    if !fleet.iter().any(living) {
        fleet[0] = Observation { load: Some(5), ..fleet[0] };
        fleet[0].member.state = Active;
    }
}
