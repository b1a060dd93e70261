//! Maglev tables: how even they are, and how much moves when a server leaves or comes.
//!
//! `cargo test -p core-forwarding --test maglev -- --nocapture` prints the table.

use core_forwarding::{Fleet, Member, State, maglev};
use packet_abi::Bucket;

const SEED: u64 = 5;

fn fleet(capacities: &[u32]) -> Vec<Member> {
    let member =
        |(id, capacity): (u16, &u32)| Member { id, capacity: *capacity, state: State::Active };
    (1..).zip(capacities).map(member).collect()
}

fn table(members: &[Member], entries: u32) -> Vec<Bucket> {
    maglev::table(&Fleet::new(members.to_vec()).expect("a valid fleet"), SEED, entries)
        .expect("a prime")
}

fn owned(table: &[Bucket]) -> Vec<u32> {
    let mut owned = vec![0; 4096];
    table.iter().for_each(|entry| owned[entry.first() as usize] += 1);
    owned
}

#[test]
fn a_server_that_leaves_moves_few_entries_of_others() {
    println!("entries servers  max/avg  others moved, %");
    for (servers, entries, most) in
        [(10, 65_537, 2.0), (100, 65_537, 1.0), (1_000, 65_537, 1.0), (100, 655_373, 0.3)]
    {
        let all = fleet(&vec![1; servers]);
        let before = table(&all, entries);
        let max = owned(&before).into_iter().max().unwrap();
        let even = f64::from(max) * servers as f64 / f64::from(entries);
        let gone = all[servers / 2].id;
        let rest: Vec<Member> = all.iter().copied().filter(|m| m.id != gone).collect();
        let after = table(&rest, entries);
        let pairs = before.iter().zip(&after);
        let others = |(a, b): &(&Bucket, &Bucket)| {
            a != b && a.first() != u32::from(gone) && b.first() != u32::from(gone)
        };
        let moved = pairs.clone().filter(others).count();
        let percent = moved as f64 * 100.0 / f64::from(entries);
        println!("{entries:>7} {servers:>7}  {even:>7.3}  {percent:>7.2}");
        assert!(even < 1.02, "{even}");
        assert!(percent < most, "{percent} %");
    }
}

#[test]
fn servers_get_entries_in_proportion_to_capacity() {
    let owned = owned(&table(&fleet(&[1, 2, 5, 8]), 65_537));
    for (id, share) in [(1, 1), (2, 2), (3, 5), (4, 8)] {
        assert!(owned[id].abs_diff(65_537 * share / 16) <= 8, "{id}: {}", owned[id]);
    }
}

#[test]
fn only_active_servers_are_in_a_table() {
    let mut members = fleet(&[1, 1, 1, 1]);
    members[0].state = State::Dead;
    members[2].state = State::Draining;
    let owned = owned(&table(&members, maglev::ENTRIES));
    assert_eq!((owned[1], owned[3]), (0, 0));
    assert!(owned[2] + owned[4] == maglev::ENTRIES);
}
