//! What is decided about a change, row by row, and over many random fleets.

use super::*;

const HOLD: u64 = 30_000;

fn numbers(requests: u64, errors: u64, panics: u64) -> Numbers {
    Numbers { requests, errors, panics, active: 0 }
}

fn well(at_ms: u64) -> Canary {
    Canary {
        name: "a".into(),
        phase: Phase::Applied { at_ms },
        restarts: 0,
        told_ms: Some(at_ms + HOLD),
        before: numbers(10_000, 10, 0),
        since: numbers(1_000, 1, 0),
    }
}

#[test]
fn a_change_is_approved_or_halted_by_what_its_edges_tell() {
    let quiet = numbers(100_000, 100, 0);
    let check = |what: &str, now: u64, canaries: &[Canary], others: Numbers, expect: Verdict| {
        assert_eq!(judge(now, 0, HOLD, canaries, &others), expect, "{what}");
    };
    let with = |change: fn(&mut Canary)| {
        let mut canary = well(1_000);
        change(&mut canary);
        vec![canary]
    };
    let halt = |reason| Verdict::Halt(reason);
    let name = || "a".to_owned();
    check("nobody has it", 99_000, &[], quiet, Verdict::Wait);
    let moment = with(|c| c.told_ms = Some(2_000));
    check("it was held for a moment", 2_000, &moment, quiet, Verdict::Wait);
    check("nothing was told since", 31_000, &moment, quiet, Verdict::Wait);
    check("nothing is told", 121_000, &moment, quiet, halt(Reason::Lost(name())));
    let away = with(|c| c.told_ms = None);
    check("not attached", 31_000, &away, quiet, Verdict::Wait);
    check("gone", 121_000, &away, quiet, halt(Reason::Lost(name())));
    check("it was held", 31_000, &[well(1_000)], quiet, Verdict::Approve);
    let mut late = [well(1_000), well(9_000)];
    late[1].told_ms = Some(31_000);
    check("the last edge counts", 31_000, &late, quiet, Verdict::Wait);
    late[1].told_ms = Some(39_000);
    check("all held it", 39_000, &late, quiet, Verdict::Approve);
    let refused = with(|c| c.phase = Phase::Refused);
    check("refused", 2_000, &refused, quiet, halt(Reason::Refused(name())));
    let restarted = with(|c| c.restarts = 1);
    check("restarted", 2_000, &restarted, quiet, halt(Reason::Restarted(name())));
    let waiting = with(|c| c.phase = Phase::Waiting);
    check("not there yet", 31_000, &waiting, quiet, Verdict::Wait);
    check("never there", 90_000, &waiting, quiet, halt(Reason::Silent(name())));
    let panics = with(|c| c.since.panics = 2);
    check("panics", 2_000, &panics, quiet, halt(Reason::Panics(2)));
    let always = numbers(1_000, 0, 9);
    check("panics elsewhere, too", 31_000, &panics, always, Verdict::Approve);
    let errors = with(|c| c.since.errors = 300);
    let told = Reason::Errors { rate: 3_000, usual: 10 };
    check("errors", 2_000, &errors, quiet, halt(told));
    let failing = numbers(100_000, 20_000, 0);
    check("errors elsewhere, too", 31_000, &errors, failing, Verdict::Approve);
    let failed = with(|c| {
        c.since.errors = 300;
        c.before.errors = 2_000;
    });
    check("errors before, too", 31_000, &failed, quiet, Verdict::Approve);
    let few = with(|c| c.since = numbers(10, 9, 0));
    check("too few requests to tell", 31_000, &few, quiet, Verdict::Approve);
    let slight = with(|c| c.since.errors = 10);
    check("one in a hundred", 31_000, &slight, quiet, Verdict::Approve);
}

#[test]
fn a_share_of_the_edges_is_chosen_and_one_at_least() {
    let ids: Vec<String> = (0..200).map(|n| format!("{n:032x}")).collect();
    for (edges, percent, expect) in
        [(0, 10, 0), (1, 1, 1), (3, 50, 2), (200, 1, 2), (200, 10, 20), (200, 100, 200)]
    {
        let ids = ids.iter().take(edges).map(String::as_str);
        assert_eq!(choose(ids, percent).len(), expect, "{percent} % of {edges}");
    }
    let all = || ids.iter().map(String::as_str);
    let fewer = all().filter(|id| *id != choose(all(), 10)[0]);
    let same = choose(fewer, 10).iter().filter(|id| choose(all(), 10).contains(id)).count();
    assert_eq!(same, 19, "who else is there changes little");
}

/// A small generator, so that a seed gives the same fleet everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

/// Runs a fleet through a trial, second by second, until it is decided.
fn simulate(seed: u64, bad: bool) -> (Verdict, u64) {
    let mut random = Random(seed);
    let count = 1 + random.below(8) as usize;
    let load = 20 + random.below(200);
    // Errors in a thousand requests, everywhere and of the bad change.
    let usual = random.below(30);
    let worse = usual * 3 + 50 + random.below(300);
    let crash = random.below(3) == 0;
    let mut canaries: Vec<Canary> = (0..count)
        .map(|n| Canary {
            name: n.to_string(),
            phase: Phase::Waiting,
            restarts: 0,
            told_ms: None,
            before: numbers(100_000, 100 * usual, 0),
            since: numbers(0, 0, 0),
        })
        .collect();
    let mut others = numbers(0, 0, 0);
    for second in 0..200 {
        let now = second * 1_000;
        let mut serve = |of: &mut Numbers, rate: u64| {
            for _ in 0..load {
                of.requests += 1;
                of.errors += u64::from(random.below(1_000) < rate);
            }
        };
        serve(&mut others, usual);
        for (at, canary) in canaries.iter_mut().enumerate() {
            match canary.phase {
                Phase::Applied { .. } => {
                    serve(&mut canary.since, if bad { worse } else { usual });
                    canary.told_ms = Some(now);
                }
                _ if second > at as u64 % 5 => canary.phase = Phase::Applied { at_ms: now },
                _ => {}
            }
        }
        if bad && crash && second == 20 {
            canaries[0].restarts = 1;
        }
        match judge(now, 0, HOLD, &canaries, &others) {
            Verdict::Wait => {}
            verdict => return (verdict, now),
        }
    }
    (Verdict::Wait, 200_000)
}

#[test]
fn over_many_fleets_bad_changes_are_halted_and_good_ones_approved() {
    let first = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let repeat =
        |seed| format!("WEIR_SEED={seed} cargo test -p control-plane --lib over_many_fleets");
    let mut halted = 0;
    for seed in first..first + 200 {
        let (verdict, at) = simulate(seed, true);
        assert!(matches!(verdict, Verdict::Halt(_)), "{verdict:?} at {at}: {}", repeat(seed));
        assert!(at < HOLD + 5_000, "halted at {at} only: {}", repeat(seed));
        // Chance alone halts a good change rarely, and none waits for ever.
        let (verdict, at) = simulate(seed, false);
        assert_ne!(verdict, Verdict::Wait, "{}", repeat(seed));
        assert!(verdict != Verdict::Approve || at >= HOLD, "{at}: {}", repeat(seed));
        halted += u32::from(matches!(verdict, Verdict::Halt(_)));
    }
    assert!(halted <= 2, "{halted} of 200 good changes were halted: {}", repeat(first));
}
