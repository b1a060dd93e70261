//! Tables that never change: what these inputs gave once, they give for ever, or two servers of
//! different versions would disagree about who owns a flow.

use core_forwarding::mix::Checksum;
use core_forwarding::{Buckets, Fleet, Member, State, Table, maglev};

/// A line each: strategy, seed, buckets, servers as `id:capacity:state`, checksum of the table.
const GOLDEN: &str = include_str!("../golden/tables.txt");

fn member(text: &str) -> Member {
    let parts: Vec<&str> = text.split(':').collect();
    let [id, capacity, state] = parts[..] else { panic!("{text}: id:capacity:state") };
    let state = match state {
        "active" => State::Active,
        "draining" => State::Draining,
        "dead" => State::Dead,
        other => panic!("{other}"),
    };
    Member {
        id: id.parse().expect("an id"),
        capacity: capacity.parse().expect("a capacity"),
        state,
    }
}

/// `1..4:100:active` stands for the servers 1 to 4.
fn members(text: &str) -> Vec<Member> {
    let one = |text: &str| match text.split_once("..") {
        None => vec![member(text)],
        Some((from, rest)) => {
            let (to, rest) = rest.split_once(':').expect("a colon");
            let ids = from.parse::<u16>().expect("an id")..=to.parse().expect("an id");
            ids.map(|id| member(&format!("{id}:{rest}"))).collect()
        }
    };
    text.split(',').flat_map(one).collect()
}

#[test]
fn golden_tables_never_change() {
    let mut seen = 0;
    let mut wrong = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [strategy, seed, buckets, servers, expect] = words[..] else { panic!("{line}") };
        let fleet = Fleet::new(members(servers)).unwrap();
        let (seed, count) = (seed.parse().unwrap(), buckets.parse().unwrap());
        let got = match strategy {
            "two-slot" => Table::fresh(&fleet, seed, Buckets::new(count).unwrap()).checksum(),
            "maglev" => {
                let mut sum = Checksum::default();
                sum.words(maglev::table(&fleet, seed, count).unwrap().iter().map(|b| b.0));
                sum.value()
            }
            other => panic!("{other}"),
        };
        seen += 1;
        if format!("{got:016x}") != expect {
            wrong.push(format!("{strategy} {seed} {buckets} {servers} {got:016x}"));
        }
    }
    assert!(wrong.is_empty(), "these differ:\n{}", wrong.join("\n"));
    assert!(seen >= 8, "{seen} tables only");
}
