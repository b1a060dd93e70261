//! Tests of steering: shares, ties, weights of zero, movement of hashed clients.

use super::*;
use proptest::prelude::*;

const POLICIES: [OriginSteering; 4] = [
    OriginSteering::Random,
    OriginSteering::LeastOutstandingRequests,
    OriginSteering::LeastConnections,
    OriginSteering::Hash,
];

fn some(weight: u32) -> Option<Candidate> {
    Some(Candidate { weight, in_flight: 0, connections: 0, key: 0 })
}

fn loaded(weight: u32, in_flight: u32, connections: u32) -> Option<Candidate> {
    Some(Candidate { weight, in_flight, connections, key: 0 })
}

fn keyed(mut list: Vec<Option<Candidate>>) -> Vec<Option<Candidate>> {
    for (i, candidate) in list.iter_mut().enumerate() {
        if let Some(candidate) = candidate {
            candidate.key = key(&format!("192.0.2.{i}:80"));
        }
    }
    list
}

/// How often each candidate is chosen, in percent, over 20,000 draws.
fn shares(policy: OriginSteering, list: &[Option<Candidate>]) -> Vec<u64> {
    const DRAWS: u64 = 20_000;
    let mut rng = SplitMix64::new(42);
    let mut chosen = vec![0_u64; list.len()];
    for _ in 0..DRAWS {
        let (random, hash) = (rng.next(), rng.next());
        if let Some(i) = origin(policy, list.len(), |i| list[i], random, hash) {
            chosen[i] += 1;
        }
    }
    chosen.iter().map(|n| (n * 100 + DRAWS / 2) / DRAWS).collect()
}

#[track_caller]
fn check(policy: OriginSteering, list: Vec<Option<Candidate>>, expect: &[u64]) {
    let list = keyed(list);
    let got = shares(policy, &list);
    let near = got.iter().zip(expect).all(|(got, expect)| got.abs_diff(*expect) <= 1);
    assert!(near && got.len() == expect.len(), "{policy:?} {list:?}: {got:?}, not {expect:?}");
    for (got, expect) in got.iter().zip(expect) {
        assert_eq!(*got == 0, *expect == 0, "{policy:?} {list:?}: {got}, not {expect}");
    }
}

#[test]
fn random_and_hash_share_by_weight_over_the_usable() {
    for policy in [OriginSteering::Random, OriginSteering::Hash] {
        check(policy, vec![some(100), some(100)], &[50, 50]);
        check(policy, vec![some(100), some(50), some(50)], &[50, 25, 25]);
        check(policy, vec![some(90), None, some(10)], &[90, 0, 10]);
        check(policy, vec![some(6_553_600), some(655_360)], &[91, 9]);
    }
}

#[test]
fn a_weight_of_zero_gets_nothing_unless_all_have_it() {
    for policy in POLICIES {
        check(policy, vec![some(0), some(1), some(0)], &[0, 100, 0]);
        check(policy, vec![some(1), some(0)], &[100, 0]);
        check(policy, vec![some(0), None, some(0)], &[50, 0, 50]);
    }
}

#[test]
fn no_usable_origin_means_none() {
    for policy in POLICIES {
        assert_eq!(origin(policy, 3, |_| None, 1, 2), None);
        assert_eq!(origin(policy, 0, |_| some(1), 1, 2), None);
    }
}

#[test]
fn least_takes_the_smallest_load_by_weight_and_shares_ties() {
    let requests = OriginSteering::LeastOutstandingRequests;
    check(requests, vec![loaded(100, 3, 0), loaded(100, 2, 9)], &[0, 100]);
    check(requests, vec![loaded(100, 2, 0), loaded(100, 2, 9), loaded(100, 2, 1)], &[33, 33, 33]);
    // 4/100 is more than 1/50, 2/100 equals 1/50, 1/100 is less.
    check(requests, vec![loaded(100, 3, 0), loaded(50, 0, 0)], &[0, 100]);
    check(requests, vec![loaded(100, 1, 0), loaded(50, 0, 0)], &[50, 50]);
    check(requests, vec![loaded(100, 0, 0), loaded(50, 0, 0)], &[100, 0]);
    check(requests, vec![loaded(0, 0, 0), loaded(1, u32::MAX, 0)], &[0, 100]);
    check(requests, vec![loaded(0, 5, 0), loaded(0, 4, 0)], &[0, 100]);
    let connections = OriginSteering::LeastConnections;
    check(connections, vec![loaded(100, 3, 0), loaded(100, 2, 9)], &[100, 0]);
}

#[test]
fn the_same_client_keeps_its_origin() {
    let list = keyed(vec![some(10), some(20), some(30)]);
    for hash in 0..100 {
        let first = origin(OriginSteering::Hash, 3, |i| list[i], 1, hash);
        assert_eq!(origin(OriginSteering::Hash, 3, |i| list[i], 2, hash), first);
    }
}

#[test]
fn pools_are_chosen_in_order_or_by_weight() {
    let usable = |up: &'static [bool]| move |i: usize| up[i];
    assert_eq!(pools(&PoolSteering::Off, 3, usable(&[true, true, true]), 9), Some(0));
    assert_eq!(pools(&PoolSteering::Off, 3, usable(&[false, true, true]), 9), Some(1));
    assert_eq!(pools(&PoolSteering::Off, 3, usable(&[false, false, false]), 9), None);
    let share = |weights: &[u8], up: &'static [bool]| {
        let mut rng = SplitMix64::new(3);
        let mut chosen = vec![0_u64; up.len()];
        for _ in 0..10_000 {
            let steering = PoolSteering::Random(weights.to_vec());
            if let Some(i) = pools(&steering, up.len(), usable(up), rng.next()) {
                chosen[i] += 1;
            }
        }
        chosen.iter().map(|n| (n + 50) / 100).collect::<Vec<_>>()
    };
    let near = |got: Vec<u64>, expect: &[u64]| {
        assert!(got.iter().zip(expect).all(|(a, b)| a.abs_diff(*b) <= 1), "{got:?} {expect:?}");
    };
    near(share(&[10, 10], &[true, true]), &[50, 50]);
    near(share(&[10, 5, 5], &[true, false, true]), &[67, 0, 33]);
    near(share(&[0, 5], &[true, true]), &[0, 100]);
    near(share(&[0, 5], &[true, false]), &[100, 0]);
    near(share(&[10], &[true, true]), &[50, 50]);
    near(share(&[10, 10], &[false, false]), &[0, 0]);
}

#[test]
fn a_pool_needs_enough_healthy_origins() {
    for (healthy, minimum, enabled, expect) in [
        (1, 1, true, true),
        (0, 1, true, false),
        (1, 2, true, false),
        (2, 2, true, true),
        (0, 0, true, false),
        (1, 0, true, true),
        (5, 1, false, false),
    ] {
        let got = pool_usable(healthy, minimum, enabled);
        assert_eq!(got, expect, "{healthy} of {minimum}, enabled {enabled}");
    }
}

#[test]
fn unknown_is_down_only_where_it_is_monitored() {
    for (monitored, decided, expect) in [
        (true, None, false),
        (true, Some(false), false),
        (true, Some(true), true),
        (false, None, true),
        (false, Some(false), true),
    ] {
        assert_eq!(origin_healthy(monitored, decided), expect, "{monitored} {decided:?}");
    }
}

#[test]
fn pool_health_has_the_names_people_know() {
    let counts = |decided, healthy, minimum_origins| PoolCounts {
        monitored: true,
        origins: 3,
        decided,
        healthy,
        minimum_origins,
    };
    assert_eq!(pool_health(counts(0, 0, 1)), PoolHealth::Unknown);
    assert_eq!(pool_health(counts(3, 3, 1)), PoolHealth::Healthy);
    assert_eq!(pool_health(counts(3, 2, 1)), PoolHealth::Degraded);
    assert_eq!(pool_health(counts(2, 2, 1)), PoolHealth::Degraded);
    assert_eq!(pool_health(counts(3, 1, 2)), PoolHealth::Critical);
    assert_eq!(pool_health(counts(3, 0, 0)), PoolHealth::Critical);
    let off = PoolCounts { monitored: false, ..counts(3, 3, 1) };
    assert_eq!(pool_health(off), PoolHealth::NotMonitored);
}

fn any_candidates() -> impl Strategy<Value = Vec<Option<Candidate>>> {
    let one = (any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>());
    let candidate = one.prop_map(|(weight, in_flight, connections, key)| Candidate {
        weight,
        in_flight,
        connections,
        key,
    });
    proptest::collection::vec(proptest::option::of(candidate), 0..12)
}

proptest! {
    #[test]
    fn a_choice_is_usable_and_weightless_only_where_all_are(
        list in any_candidates(), random: u64, hash: u64, policy in 0..4_usize,
    ) {
        let chosen = origin(POLICIES[policy], list.len(), |i| list[i], random, hash);
        prop_assert_eq!(chosen.is_some(), list.iter().any(Option::is_some));
        if let Some(i) = chosen {
            let weightless = list.iter().flatten().all(|c| c.weight == 0);
            let weight = list[i].map(|c| c.weight);
            prop_assert!(weight.is_some());
            prop_assert!(weight != Some(0) || weightless);
        }
    }

    #[test]
    fn hash_moves_only_the_clients_of_the_one_that_left(
        list in any_candidates(), hash: u64, gone in 0..12_usize,
    ) {
        let before = origin(OriginSteering::Hash, list.len(), |i| list[i], 0, hash);
        let after = origin(
            OriginSteering::Hash, list.len(), |i| if i == gone { None } else { list[i] }, 0, hash,
        );
        let only_weight_left = list.iter().enumerate()
            .all(|(i, c)| i == gone || c.is_none_or(|c| c.weight == 0));
        if before != Some(gone) && !only_weight_left {
            prop_assert_eq!(before, after);
        }
    }
}
