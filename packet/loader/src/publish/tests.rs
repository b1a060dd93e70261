//! Tables in maps of the kernel that nobody pins.

use super::*;
use crate::sys::bpf::{self, MMAPABLE, Shape, kind};
use packet_abi::Address;
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;

/// Elements of both halves of each map.
const SIZES: [(&str, usize, u32); 7] = [
    (maps::ACTIVE, 4, 1),
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
        let shape =
            Shape { kind: kind::ARRAY, key: 4, value: value as u32, entries, flags: MMAPABLE };
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

/// Parts of a generation that tell by their values which one they are of.
struct Parts {
    words: Vec<u64>,
    sets: Vec<Trafficset>,
    servers: Vec<Server>,
}

impl Parts {
    fn new(generation: u64) -> Self {
        let address = Address { high: 0, low: generation };
        Self {
            words: (0..8).map(|at| generation << 32 | at).collect(),
            sets: vec![Trafficset { table_len: 8, quic_id_len: generation as u32, ..DEFAULT }; 2],
            servers: vec![Server { address, flags: Server::PRESENT, link: [9; 6] }; 16],
        }
    }

    fn contents(&self) -> Contents<'_> {
        Contents {
            root: Entry::set(3),
            trie: &self.words,
            rows: &self.words,
            sets: &self.sets,
            servers: &self.servers,
            buckets: &self.words,
        }
    }
}

const DEFAULT: Trafficset = Trafficset {
    table_base: 0,
    table_len: 0,
    flags: 0,
    dissector: 0,
    encapsulation: 0,
    quic_config: 0,
    quic_server_len: 0,
    session_offset: 0,
    session_len: 0,
    quic_id_len: 0,
    reserved: 0,
};

fn assert_holds(tables: &Tables, generation: u64) {
    let parts = Parts::new(generation);
    let at = tables.descriptor();
    assert_eq!((at.generation, at.root), (generation, Entry::set(3).0));
    assert_eq!(at.checksum, parts.contents().checksum());
    assert_eq!(tables.checksum(), at.checksum);
    for (index, word) in (0..).zip(&parts.words) {
        assert_eq!(tables.entry(&at, index), Some(Entry(*word)));
        assert_eq!(tables.row(&at, index), Some(Row(*word)));
        assert_eq!(tables.bucket(&at, index), Some(Bucket(*word)));
    }
    assert_eq!(tables.trafficset(&at, 1), Some(parts.sets[1]));
    assert_eq!(tables.server(&at, 15), Some(parts.servers[15]));
    let past = (tables.entry(&at, 8), tables.trafficset(&at, 2), tables.server(&at, 16));
    assert_eq!(past, (None, None, None));
}

#[test]
fn generations_take_turns_in_the_halves() {
    let Some((maps, mut tables)) = world("generations_take_turns_in_the_halves") else { return };
    assert_eq!(tables.descriptor(), Descriptor::default());
    for generation in 1..6 {
        let published = tables.publish(generation, &Parts::new(generation).contents()).unwrap();
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
    tables.publish(1, &Parts::new(1).contents()).unwrap();
    let (bases, _) = tables.place(2, tables.half() ^ 1, &Parts::new(2).contents()).unwrap();
    tables.write(&bases, &Parts::new(2).contents());
    drop(tables);
    let mut next = open(&maps);
    assert_holds(&next, 1);
    next.publish(2, &Parts::new(3).contents()).unwrap();
    assert_eq!(next.checksum(), Parts::new(3).contents().checksum());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let Some((_maps, mut tables)) = world("what_does_not_fit_is_refused_by_name") else { return };
    let mut check = |change: fn(&mut Contents<'_>), expect: &str| {
        let parts = Parts::new(1);
        let mut contents = parts.contents();
        change(&mut contents);
        let error = tables.publish(1, &contents).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{error}");
        assert_eq!(tables.descriptor().generation, 0);
    };
    check(
        |one| one.trie = &[7; 9],
        "generation 1 has 9 trie entries, and the maps have room for 8",
    );
    check(|one| one.rows = &[7; 9], "generation 1 has 9 port rows, and the maps have room for 8");
    check(|one| one.sets = &[DEFAULT; 3], "generation 1 has 3 trafficsets");
    check(|one| one.servers = &[Server::NONE; 17], "generation 1 has 17 servers");
    check(|one| one.buckets = &[7; 33], "generation 1 has 33 buckets");
    assert!(tables.publish(1, &Parts::new(1).contents()).is_ok());
}

#[test]
fn a_generation_must_be_newer() {
    let Some((_maps, mut tables)) = world("a_generation_must_be_newer") else { return };
    tables.publish(7, &Parts::new(7).contents()).unwrap();
    for old in [0, 6, 7] {
        let error = tables.publish(old, &Parts::new(old).contents()).unwrap_err();
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
        let mut parts = Parts::new(generation);
        parts.servers.truncate(if generation == 3 { 2 } else { 16 });
        tables.publish(generation, &parts.contents()).unwrap();
    }
    // What the programs see: they know no length, only the half's first element.
    let base = tables.descriptor().servers_base as usize;
    assert_eq!(tables.servers.element(base + 2).map(server_of), Some(Server::NONE));
    assert_ne!(tables.servers.element(base + 1).map(server_of), Some(Server::NONE));
}

#[test]
fn a_bucket_moves_alone() {
    let Some((_maps, mut tables)) = world("a_bucket_moves_alone") else { return };
    tables.publish(1, &Parts::new(1).contents()).unwrap();
    tables.move_bucket(5, Bucket::new(7, 9)).unwrap();
    let at = tables.descriptor();
    assert_eq!(tables.bucket(&at, 5), Some(Bucket::new(7, 9)));
    assert_eq!(tables.bucket(&at, 4), Some(Bucket(1 << 32 | 4)));
    assert_ne!(tables.checksum(), at.checksum);
    let error = tables.move_bucket(8, Bucket::new(1, 0)).unwrap_err().to_string();
    assert_eq!(error, "bucket 8 was to be moved, and the generation in force has 8");
}
