//! Tables in maps of the kernel that nobody pins.

use super::*;
use crate::sys::bpf::{self, MMAPABLE, Shape, kind};
use packet_abi::Address;
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;

/// Elements of both halves of each map.
const SIZES: [(&str, usize, u32); 7] = [
    (maps::ACTIVE, 8, 1),
    (maps::DESCRIPTORS, 64, 2),
    (maps::TRIE, 8, 16),
    (maps::ROWS, 8, 16),
    (maps::SETS, 32, 4),
    (maps::SERVERS, 24, 32),
    (maps::BUCKETS, 8, 64),
];

/// Maps, and the tables in them; `None` where bpf(2) is not allowed, which is said.
fn world(test: &str) -> Option<(BTreeMap<&'static str, OwnedFd>, Tables)> {
    let mut maps = BTreeMap::new();
    for (name, value, entries) in SIZES {
        let value = value as u32 * entries;
        let shape = Shape { kind: kind::ARRAY, key: 4, value, entries: 1, flags: MMAPABLE };
        match bpf::create_map(name, shape, None) {
            Ok(map) => drop(maps.insert(name, map)),
            Err(error) => {
                println!("skipped {test}: bpf(2) is refused ({error}); run it as root");
                return None;
            }
        }
    }
    let tables = open(&maps);
    Some((maps, tables))
}

fn open(maps: &BTreeMap<&'static str, OwnedFd>) -> Tables {
    Tables::of(|name| Ok(maps[name].try_clone().unwrap())).unwrap()
}

/// A generation that tells by its values which one it is.
fn image(generation: u64) -> Image {
    let address = Address { high: 0, low: generation };
    let words: Vec<u64> = (0..8).map(|at| generation << 32 | at).collect();
    let set = Trafficset { table_len: 8, quic_id_len: generation as u32, ..Trafficset::default() };
    summed(Image {
        root: Entry::set(3).0,
        trie: words.clone(),
        rows: words.clone(),
        sets: vec![set; 2],
        servers: vec![Server { address, flags: Server::PRESENT, link: [9; 6] }; 16],
        buckets: words,
        checksum: 0,
    })
}

fn summed(mut image: Image) -> Image {
    image.checksum = image.parts().checksum();
    image
}

fn assert_holds(tables: &Tables, generation: u64) {
    let expect = image(generation);
    let at = tables.descriptor();
    assert_eq!((at.generation, at.checksum), (generation, expect.checksum));
    assert_eq!(tables.image(), expect);
    for (index, word) in (0..).zip(&expect.trie) {
        assert_eq!(tables.entry(&at, index), Some(Entry(*word)));
        assert_eq!(tables.row(&at, index), Some(Row(*word)));
        assert_eq!(tables.bucket(&at, index), Some(Bucket(*word)));
    }
    let past = (tables.entry(&at, 8), tables.trafficset(&at, 2), tables.server(&at, 16));
    assert_eq!(past, (None, None, None));
}

#[test]
fn generations_take_turns_in_the_halves() {
    let Some((maps, mut tables)) = world("generations_take_turns_in_the_halves") else { return };
    assert_eq!(tables.descriptor(), Descriptor::default());
    for generation in 1..6 {
        let published = tables.publish(generation, &image(generation)).unwrap();
        assert_eq!(published.generation, generation);
        assert_holds(&tables, generation);
        // Another process sees the same.
        assert_holds(&open(&maps), generation);
    }
}

#[test]
fn a_write_that_was_cut_off_changes_nothing() {
    let Some((maps, mut tables)) = world("a_write_that_was_cut_off_changes_nothing") else {
        return;
    };
    tables.publish(1, &image(1)).unwrap();
    let (bases, _) = tables.place(2, tables.half() ^ 1, &image(2)).unwrap();
    tables.write(&bases, &image(2));
    drop(tables);
    let mut next = open(&maps);
    assert_holds(&next, 1);
    next.publish(2, &image(3)).unwrap();
    assert_eq!(next.checksum(), image(3).checksum);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let Some((_maps, mut tables)) = world("what_does_not_fit_is_refused_by_name") else { return };
    let mut check = |change: fn(&mut Image), expect: &str| {
        let mut image = image(1);
        change(&mut image);
        let error = tables.publish(1, &summed(image)).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}");
        assert_eq!(tables.descriptor().generation, 0);
    };
    check(
        |one| one.trie = vec![7; 9],
        "generation 1 has 9 trie entries, and the maps have room for 8",
    );
    check(
        |one| one.rows = vec![7; 9],
        "generation 1 has 9 port rows, and the maps have room for 8",
    );
    check(|one| one.sets.push(one.sets[0]), "generation 1 has 3 trafficsets");
    check(|one| one.servers.push(Server::NONE), "generation 1 has 17 servers");
    check(|one| one.buckets = vec![7; 33], "generation 1 has 33 buckets");
    assert!(tables.publish(1, &image(1)).is_ok());
}

#[test]
fn a_generation_must_be_newer() {
    let Some((_maps, mut tables)) = world("a_generation_must_be_newer") else { return };
    tables.publish(7, &image(7)).unwrap();
    for old in [0, 6, 7] {
        let error = tables.publish(old, &image(old)).unwrap_err();
        assert!(matches!(error, PublishError::NotNewer { in_force: 7, .. }), "{error}");
    }
    assert_holds(&tables, 7);
}

#[test]
fn servers_of_an_older_generation_do_not_come_back() {
    let Some((_maps, mut tables)) = world("servers_of_an_older_generation_do_not_come_back") else {
        return;
    };
    for generation in 1..=3 {
        let mut image = image(generation);
        image.servers.truncate(if generation == 3 { 2 } else { 16 });
        tables.publish(generation, &summed(image)).unwrap();
    }
    // What the programs see: they know no length, only the half's first element.
    let base = tables.descriptor().servers_base as usize;
    assert_eq!(tables.servers.element(base + 2).map(server_of), Some(Server::NONE));
    assert_ne!(tables.servers.element(base + 1).map(server_of), Some(Server::NONE));
}

#[test]
fn what_reads_back_otherwise_is_not_put_in_force() {
    let test = "what_reads_back_otherwise_is_not_put_in_force";
    let Some((_maps, mut tables)) = world(test) else { return };
    tables.publish(1, &image(1)).unwrap();
    let mut broken = image(2);
    broken.buckets[3] ^= 1 << 40;
    let error = tables.publish(2, &broken).unwrap_err();
    assert!(matches!(error, PublishError::Differs { generation: 2, .. }), "{error}");
    assert_holds(&tables, 1);
}

#[test]
fn a_bucket_moves_alone() {
    let Some((_maps, mut tables)) = world("a_bucket_moves_alone") else { return };
    tables.publish(1, &image(1)).unwrap();
    tables.move_bucket(5, Bucket::new(7, 9)).unwrap();
    let at = tables.descriptor();
    assert_eq!(tables.bucket(&at, 5), Some(Bucket::new(7, 9)));
    assert_eq!(tables.bucket(&at, 4), Some(Bucket(1 << 32 | 4)));
    assert_ne!(tables.checksum(), at.checksum);
    let error = tables.move_bucket(8, Bucket::new(1, 0)).unwrap_err().to_string();
    assert_eq!(error, "bucket 8 was to be moved, and the generation in force has 8");
}
