//! The table of a file, over changes of the file: whose connections break, how much moves, and how
//! even it is.

use core_forwarding::{Buckets, Fleet, Member, State, Table};

const SEED: u64 = 5;

fn active(ids: impl IntoIterator<Item = u16>) -> Vec<Member> {
    let member = |id| Member { id, capacity: 100, state: State::Active };
    ids.into_iter().map(member).collect()
}

/// `members` with the state of one of them changed.
fn with(members: &[Member], id: u16, state: State) -> Vec<Member> {
    let change = |m: &Member| if m.id == id { Member { state, ..*m } } else { *m };
    members.iter().map(change).collect()
}

fn without(members: &[Member], id: u16) -> Vec<Member> {
    members.iter().copied().filter(|member| member.id != id).collect()
}

fn table(members: &[Member], buckets: u32) -> Table {
    let fleet = Fleet::new(members.to_vec()).expect("a valid fleet");
    Table::fresh(&fleet, SEED, Buckets::new(buckets).expect("a power of two"))
}

/// What a change of the file does to connections.
#[derive(Debug, Default, PartialEq, Eq)]
struct Effect {
    /// Buckets whose new connections go to another server.
    moved: u32,
    /// Buckets whose owner lives and is in neither slot: its connections break.
    broken: u32,
    /// Buckets whose owner before the last change lives and lost its slot.
    lost: u32,
}

fn effect(old: &[Member], new: &[Member], buckets: u32) -> Effect {
    let (before, after) = (table(old, buckets), table(new, buckets));
    let lives = |id: u32| new.iter().any(|m| u32::from(m.id) == id && m.state != State::Dead);
    let mut effect = Effect::default();
    for (old, new) in before.buckets().iter().zip(after.buckets()) {
        let kept = |id: u32| id == new.first() || id == new.second();
        effect.moved += u32::from(old.first() != new.first());
        effect.broken += u32::from(lives(old.first()) && !kept(old.first()));
        effect.lost += u32::from(lives(old.second()) && !kept(old.second()));
    }
    effect
}

/// A change breaks nothing, and moves no more than `most` of 1,000 buckets of the table.
#[track_caller]
fn keeps(says: &str, old: &[Member], new: &[Member], buckets: u32, most: u32) {
    let effect = effect(old, new, buckets);
    println!("{says}: {effect:?} of {buckets}");
    assert_eq!(effect.broken, 0, "{says}: {effect:?}");
    assert!(
        u64::from(effect.moved) * 1000 <= u64::from(most) * u64::from(buckets),
        "{says}: {effect:?}"
    );
}

#[test]
fn a_change_of_the_file_breaks_no_connection_whose_server_lives() {
    for (servers, buckets) in [(4, 1_024), (5, 65_536), (100, 16_384), (1_000, 131_072)] {
        println!("{servers} servers");
        let share = 1_000 / u32::from(servers);
        // What must move, and a little for even shares.
        let most = share + share / 2 + 3;
        let all = active(1..=servers);
        let more = active(1..=servers + 1);
        let third = with(&all, 3, State::Draining);
        let dead = with(&all, 3, State::Dead);
        keeps("the newest is added", &all, &more, buckets, most);
        keeps("one drains", &all, &third, buckets, most);
        keeps("the drained one is removed", &third, &without(&all, 3), buckets, 0);
        keeps("one dies", &all, &dead, buckets, most);
        keeps("the dead one is removed", &dead, &without(&all, 3), buckets, 0);
        keeps("a drained one dies", &third, &dead, buckets, 0);
        println!("the newest is taken out undrained: {:?}", effect(&more, &all, buckets));
        let first = with(&third, 1, State::Dead);
        println!("one dies while one drains: {:?}", effect(&third, &first, buckets));
        println!("one returns: {:?}", effect(&third, &all, buckets));
        println!("one revives: {:?}", effect(&dead, &all, buckets));
        println!("an old id is added: {:?}", effect(&without(&all, 3), &all, buckets));
        let more = active(1..=servers + 2);
        println!("two are added at once: {:?}", effect(&all, &more, buckets));
        let mut strong = all.clone();
        strong[0].capacity = 200;
        println!("one gets twice the capacity: {:?}", effect(&all, &strong, buckets));
    }
}

/// The most and the least that an active server owns, for its share of all buckets.
fn spread(members: &[Member], buckets: u32) -> (f64, f64) {
    let owned = table(members, buckets).owned();
    let active: Vec<&Member> = members.iter().filter(|m| m.state == State::Active).collect();
    let total: u32 = active.iter().map(|m| m.capacity).sum();
    let part = |m: &&Member| {
        let share = f64::from(buckets) * f64::from(m.capacity) / f64::from(total);
        f64::from(owned[usize::from(m.id)]) / share
    };
    let parts = active.iter().map(part);
    (parts.clone().fold(0.0, f64::max), parts.fold(f64::MAX, f64::min))
}

#[test]
fn shares_are_even_whatever_the_fleet() {
    let mut drained = active(1..=1_000);
    drained.iter_mut().step_by(10).for_each(|m| m.state = State::Draining);
    let mut holed = active((1..=4_000).step_by(4));
    holed.iter_mut().step_by(7).for_each(|m| m.state = State::Dead);
    let mut mixed = active(1..=200);
    mixed.iter_mut().step_by(2).for_each(|m| m.capacity = 300);
    for (says, members, buckets, most) in [
        ("a thousand", &active(1..=1_000), 131_072, 1.02),
        ("a thousand, of which a hundred drain", &drained, 131_072, 1.025),
        ("a thousand with holes, of which 143 are dead", &holed, 131_072, 1.025),
        ("two hundred of two sizes", &mixed, 65_536, 1.02),
        ("four", &active(1..=4), 65_536, 1.02),
        ("four, few buckets", &active(1..=4), 512, 1.03),
        ("one", &active([9]), 128, 1.0),
    ] {
        let (max, min) = spread(members, buckets);
        println!("{says}: {min:.3} to {max:.3} of its share");
        assert!(max <= most, "{says}: {max}");
    }
}

#[test]
fn a_giant_gets_its_share_and_is_everybodys_second() {
    let mut members = active(1..=10);
    members[0].capacity = 9_100;
    let table = table(&members, 65_536);
    assert!(table.owned()[1].abs_diff(65_536 * 91 / 100) < 1_200, "{}", table.owned()[1]);
    let has = |bucket: &&packet_abi::Bucket| bucket.first() == 1 || bucket.second() == 1;
    assert!(table.buckets().iter().filter(has).count() > 64_000);
}

#[test]
fn slots_hold_whom_their_state_allows() {
    let mut members = active(1..=20);
    members[3].state = State::Draining;
    members[4].state = State::Draining;
    members[5].state = State::Dead;
    let table = table(&members, 4_096);
    let mut second_draining = 0;
    for bucket in table.buckets() {
        let (first, second) = (bucket.first(), bucket.second());
        assert!(![0, 4, 5, 6].contains(&first), "first {first}");
        assert!(second != first && ![0, 6].contains(&second), "second {second}");
        second_draining += u32::from([4, 5].contains(&second));
    }
    // What they owned, and what they came second for.
    assert!(second_draining > 400, "{second_draining}");
}

#[test]
fn a_fleet_that_is_leaving_is_still_served() {
    let drains = with(&with(&active(1..=2), 1, State::Draining), 2, State::Dead);
    assert!(table(&drains, 256).buckets().iter().all(|b| (b.first(), b.second()) == (1, 0)));
    let dead = with(&drains, 1, State::Dead);
    assert!(table(&dead, 256).buckets().iter().all(|b| b.0 == 0));
    assert!(table(&[], 256).buckets().iter().all(|b| b.0 == 0));
}
