//! Single steps from table to table: what each does to a bucket, and what holds after any of them.

use core_forwarding::step::{Done, When, even_shares};
use core_forwarding::{Buckets, Fleet, Member, State, Table};
use packet_abi::Bucket;
use proptest::prelude::*;

use State::{Active, Dead, Draining};

const HOLD_DOWN: u64 = 10;

fn fleet(states: &[State]) -> Fleet {
    let member = |(id, state): (u16, &State)| Member { id, capacity: 1, state: *state };
    Fleet::new((1..).zip(states).map(member).collect()).expect("a valid fleet")
}

fn table(buckets: &[(u16, u16)], changed: u64) -> Table {
    let slots = buckets.iter().map(|(first, second)| Bucket::new(*first, *second)).collect();
    Table::restore(slots, vec![changed; buckets.len()]).expect("a power of two")
}

fn slots(table: &Table) -> Vec<(u16, u16)> {
    let slots = |b: &Bucket| (b.first() as u16, b.second() as u16);
    table.buckets().iter().map(slots).collect()
}

fn at(now: u64) -> When {
    When { now, hold_down: HOLD_DOWN }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(u16),
    Drain(u16),
    Remove(u16),
    Rebalance(u32),
}

fn take(table: &mut Table, fleet: &Fleet, step: Step, when: When) -> Done {
    let wants = even_shares(fleet, table.buckets().len() as u32);
    match step {
        Step::Add(id) => table.add(fleet, id, &wants, when),
        Step::Drain(id) => table.drain(fleet, id, &wants, when),
        Step::Remove(id) => table.remove(fleet, id, &wants, when),
        Step::Rebalance(limit) => table.rebalance(fleet, &wants, limit, when),
    }
}

type Slots<'a> = &'a [(u16, u16)];

/// One step at 100 on a table that changed at 95, within the hold-down, or never.
#[track_caller]
fn check(
    says: &str,
    recent: bool,
    states: &[State],
    before: Slots<'_>,
    step: Step,
    after: Slots<'_>,
) {
    let mut table = table(before, if recent { 95 } else { 0 });
    take(&mut table, &fleet(states), step, at(100));
    assert_eq!(slots(&table), after, "{says}");
}

#[test]
fn a_step_changes_a_bucket_as_its_slots_allow() {
    let one = [(1, 2), (1, 2)];
    check(
        "a dead owner leaves its second",
        true,
        &[Dead, Active],
        &one,
        Step::Remove(1),
        &[(2, 0); 2],
    );
    check("a dead second is forgotten", true, &[Active, Dead], &one, Step::Remove(2), &[(1, 0); 2]);
    let both = [Dead, Dead, Active];
    check("both dead: a living third", true, &both, &one, Step::Remove(1), &[(3, 0); 2]);
    check("nobody lives", true, &[Dead, Dead], &one, Step::Remove(1), &[(0, 0); 2]);
    let none = [Dead, Dead, Draining];
    check(
        "a draining third where none is active",
        true,
        &none,
        &one,
        Step::Remove(1),
        &[(3, 0); 2],
    );
    let leaving = [Dead, Draining, Active];
    check("a draining second keeps its slot", true, &leaving, &one, Step::Remove(1), &[(3, 2); 2]);
    check(
        "only a draining one lives",
        true,
        &[Dead, Draining],
        &one,
        Step::Remove(1),
        &[(2, 0); 2],
    );

    let drains = [Draining, Active];
    check("a drained owner exchanges", true, &drains, &one, Step::Drain(1), &[(2, 1); 2]);
    check(
        "nobody can take a drained bucket",
        false,
        &[Draining],
        &[(1, 0)],
        Step::Drain(1),
        &[(1, 0)],
    );
    let third = [Draining, Draining, Active];
    check("it moves to a third", false, &third, &one, Step::Drain(1), &[(3, 1); 2]);
    check("not in its hold-down", true, &third, &one, Step::Drain(1), &one);

    let two = [Active, Active];
    let add = Step::Add(2);
    check("a new server takes half", false, &two, &[(1, 0); 2], add, &[(2, 1), (1, 0)]);
    check("one that returns exchanges", true, &two, &[(1, 0), (1, 2)], add, &[(1, 0), (2, 1)]);
    let three = [Active; 3];
    let four = [(1, 3), (1, 3), (1, 3), (3, 1)];
    check("held buckets stay", true, &three, &four, add, &four);

    let skewed = [(1, 2), (1, 0), (1, 0), (1, 0)];
    let even = Step::Rebalance(9);
    check("exchange goes first", false, &two, &skewed, even, &[(2, 1), (2, 1), (1, 0), (1, 0)]);
    check(
        "a limit is kept",
        false,
        &two,
        &skewed,
        Step::Rebalance(1),
        &[(2, 1), (1, 0), (1, 0), (1, 0)],
    );
    check("exchange is free in the hold-down", true, &two, &[(1, 2); 2], even, &[(2, 1), (1, 2)]);
}

#[test]
fn the_least_recently_changed_bucket_goes_first() {
    let slots = vec![Bucket::new(1, 0); 4];
    let mut table = Table::restore(slots, vec![7, 3, 9, 3]).expect("a power of two");
    take(&mut table, &fleet(&[Active; 2]), Step::Add(2), at(100));
    let owners: Vec<u32> = table.buckets().iter().map(|b| b.first()).collect();
    assert_eq!(owners, [1, 2, 1, 2]);
    assert_eq!(table.changed(1), 100);
}

#[test]
fn a_stored_table_fits_or_is_refused() {
    assert!(Table::restore(vec![Bucket::default(); 3], vec![0; 3]).is_none());
    assert!(Table::restore(vec![Bucket::default(); 4], vec![0; 3]).is_none());
    let stored = Table::restore(vec![Bucket::new(1, 2); 4], vec![5; 4]).expect("fits");
    assert_eq!((stored.bucket(3), stored.changed(3)), (Bucket::new(1, 2), 5));
    assert_eq!(stored.bucket(4), Bucket::default());
}

/// A change of the fleet, and what it asks of the table.
fn event() -> impl Strategy<Value = (u8, u16, u64)> {
    (0..4_u8, 1..=12_u16, 0..20_u64)
}

/// What a step to a bucket broke; `recent` says whether the bucket was in its hold-down.
fn broken_promise(
    states: &[State],
    old: Bucket,
    new: Bucket,
    recent: bool,
) -> Option<&'static str> {
    let is = |id: u32, state| states.get((id as usize).wrapping_sub(1)) == Some(&state);
    let kept = |id: u32| [new.first(), new.second()].contains(&id);
    let alive = |id: u32| is(id, Active) || is(id, Draining);
    if is(new.first(), Dead) || is(new.second(), Dead) {
        Some("the dead have no slot")
    } else if new.first() == 0 || new.first() == new.second() {
        Some("a bucket has an owner, and another server in its second slot")
    } else if alive(old.first()) && !kept(old.first()) {
        Some("an owner that lives keeps a slot")
    } else if alive(old.first()) && alive(old.second()) && recent && !kept(old.second()) {
        Some("a second hop that lives keeps its slot in the hold-down")
    } else {
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_steps_keep_the_promises(events in prop::collection::vec(event(), 1..40)) {
        let mut states = vec![Active; 12];
        let buckets = Buckets::new(1_024).expect("a power of two");
        let mut table = Table::fresh(&fleet(&states), 0, buckets);
        let mut now = 100;
        for (kind, id, later) in events {
            now += later;
            let index = usize::from(id) - 1;
            let living = states.iter().filter(|state| **state == Active).count();
            if kind < 2 && living < 3 {
                continue;
            }
            let step = match kind {
                0 => { states[index] = Draining; Step::Drain(id) }
                1 => { states[index] = Dead; Step::Remove(id) }
                2 => { states[index] = Active; Step::Add(id) }
                _ => Step::Rebalance(64),
            };
            let before = table.clone();
            let done = take(&mut table, &fleet(&states), step, at(now));
            for (index, (old, new)) in before.buckets().iter().zip(table.buckets()).enumerate() {
                let changed = before.changed(index);
                let recent = changed != 0 && now < changed + HOLD_DOWN;
                let broken = broken_promise(&states, *old, *new, recent);
                prop_assert!(broken.is_none(), "{broken:?}: {step:?} at {now}, {old:?} to {new:?}");
            }
            let diff = table.diff(&before);
            let old = |at: u32| before.bucket(at as usize).first();
            let changed = diff.iter().filter(|(at, bucket)| old(*at) != bucket.first()).count();
            prop_assert_eq!(changed as u32, done.changed(), "{:?}", step);
            let mut patched = before.buckets().to_vec();
            for (at, bucket) in diff {
                patched[at as usize] = bucket;
            }
            prop_assert_eq!(patched.as_slice(), table.buckets());
        }
    }

    #[test]
    fn quiet_steps_end_in_even_shares(sizes in prop::collection::vec(1..500_u32, 2..12)) {
        let member = |(id, size): (u16, &u32)| Member { id, capacity: *size, state: Active };
        let fleet = Fleet::new((1..).zip(&sizes).map(member).collect()).expect("a valid fleet");
        let buckets = Buckets::new(2_048).expect("a power of two");
        let mut table = Table::fresh(&fleet, 3, buckets);
        let wants = even_shares(&fleet, 2_048);
        prop_assert_eq!(wants.iter().sum::<u32>(), 2_048);
        table.rebalance(&fleet, &wants, u32::MAX, at(1));
        prop_assert_eq!(table.owned(), wants);
    }
}
