//! One loading after another, with no packet lost: which maps go on, and in which order programs
//! are replaced.
//!
//! 1. Maps of the same layout are taken over; the programs are loaded with them.
//! 2. New tables, if any, are filled before a packet can meet them.
//! 3. The redirector's links are updated first: what a new director sends, a redirector must take.
//! 4. The slots of the chain are stored, the director's last, the root's links are updated.
//! 5. `current` points to the new pins.
//!
//! A death between any two steps leaves programs that work, and pins that the next loading goes on
//! from.

use crate::attach::{self, AttachError, Attached, Mode};
use crate::layout::Layout;
use crate::load::Loaded;
use crate::sys::bpf::Shape;
use packet_abi::maps;
use std::collections::{BTreeMap, BTreeSet};

/// Maps that describe a generation together: one alone is worth nothing.
pub(crate) const TABLES: [&str; 7] = [
    maps::ACTIVE,
    maps::DESCRIPTORS,
    maps::TRIE,
    maps::ROWS,
    maps::SETS,
    maps::SERVERS,
    maps::BUCKETS,
];

/// Maps whose meaning depends on the table of reasons.
const BY_REASON: [&str; 1] = [maps::COUNTERS];

/// What is pinned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Its description; `None` where nothing is pinned, or by another kind of loader.
    pub(crate) layout: Option<Layout>,
    /// Shapes of the maps by name.
    pub(crate) shapes: BTreeMap<String, Shape>,
}

/// The maps that a new loading goes on with.
pub(crate) fn keep(
    found: &Found,
    wanted: &BTreeMap<String, Shape>,
    layout: &Layout,
) -> BTreeSet<String> {
    let Some(before) = &found.layout else { return BTreeSet::new() };
    let same = |name: &str| found.shapes.get(name) == wanted.get(name);
    let tables = before.tables == layout.tables && TABLES.iter().all(|name| same(name));
    let reasons = before.reasons == layout.reasons;
    wanted
        .keys()
        .filter(|name| {
            let name = name.as_str();
            if TABLES.contains(&name) {
                tables
            } else if BY_REASON.contains(&name) {
                reasons && same(name)
            } else {
                same(name)
            }
        })
        .cloned()
        .collect()
}

/// See [`Loaded::go_live`].
pub(crate) fn go_live(
    loaded: &mut Loaded,
    interfaces: &[&str],
    mode: Mode,
) -> Result<Vec<Attached>, AttachError> {
    if loaded.succeeds() && loaded.starts_empty() {
        let tables = loaded.tables()?;
        if tables.descriptor().generation == 0 {
            return Err(AttachError::Empty);
        }
    }
    let wanted = attach::examine(&loaded.home, interfaces, mode)?;
    loaded.set.use_it();
    for one in &wanted {
        attach::redirector(loaded, one)?;
    }
    loaded.store_chain()?;
    let mut attached = Vec::new();
    for one in &wanted {
        attached.push(attach::root(loaded, one, mode)?);
    }
    attach::drop_unlisted(&loaded.home, interfaces)?;
    loaded.set.make_current(&loaded.lock)?;
    Ok(attached)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use packet_abi::{Address, HashKey};

    fn layout() -> Layout {
        let key = HashKey { first: 1, second: 2 };
        Layout::of(b"object", &Settings::new(key, 1, Address::v4(1)))
    }

    fn shapes() -> BTreeMap<String, Shape> {
        let shape = Shape { kind: 2, key: 4, value: 8, entries: 16, flags: 0 };
        let others = [maps::COUNTERS, maps::CHAIN, maps::SEEN];
        TABLES.iter().chain(&others).map(|name| ((*name).to_owned(), shape)).collect()
    }

    /// Names kept, without those that all rows keep.
    fn check(change: impl FnOnce(&mut Found), expect: &[&str]) {
        let mut found = Found { layout: Some(layout()), shapes: shapes() };
        change(&mut found);
        let kept = keep(&found, &shapes(), &layout());
        let lost: Vec<String> = shapes().into_keys().filter(|name| !kept.contains(name)).collect();
        let mut expect: Vec<&str> = expect.to_vec();
        expect.sort_unstable();
        assert_eq!(lost, expect);
    }

    #[test]
    fn maps_go_on_where_their_meaning_does() {
        check(|_| {}, &[]);
        // One table of another size, and all tables are made anew.
        check(|found| found.shapes.get_mut(maps::TRIE).unwrap().entries = 8, &TABLES);
        check(|found| found.shapes.retain(|name, _| name != maps::BUCKETS), &TABLES);
        check(|found| found.layout.as_mut().unwrap().tables ^= 1, &TABLES);
        // Counters by other reasons count other things.
        check(|found| found.layout.as_mut().unwrap().reasons ^= 1, &[maps::COUNTERS]);
        check(|found| found.shapes.get_mut(maps::CHAIN).unwrap().entries = 8, &[maps::CHAIN]);
        // Another object or other constants are no reason to lose anything.
        check(|found| found.layout.as_mut().unwrap().object ^= 1, &[]);
        let all: Vec<String> = shapes().into_keys().collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        check(|found| found.layout = None, &all);
    }
}
