//! Stage 2: which trafficset serves an address, protocol and port. The trie gives the address its
//! leaf; a leaf has one trafficset, or rows of ports.

use crate::stage::flow::{Seen, Way};
use crate::world::World;
use packet_abi::net::PROTOCOL_UDP;
use packet_abi::tables::{HEADER_ENTRIES, PORT_ROW_STEPS, Row, TRIE_DEPTH_MAX};
use packet_abi::verdict::{Reason, Verdict};
use packet_abi::{Address, Entry, Trafficset};

/// The leaf of an address that is a VIP.
#[inline(always)]
pub fn vip<F, W: World<F>>(world: &W, address: Address) -> Result<Entry, Verdict> {
    let bad = Verdict::Drop(Reason::BadTable);
    let (high, low) = address.numbers();
    let mut entry = world.root().ok_or(Verdict::Pass(Reason::NoGeneration))?;
    for _ in 0..TRIE_DEPTH_MAX {
        if !entry.is_node() {
            break;
        }
        let mut children = entry.first();
        if entry.skips() {
            let expected_high = world.entry(children).ok_or(bad)?.0;
            let expected_low = world.entry(children + 1).ok_or(bad)?.0;
            if differs(high, low, expected_high, expected_low, entry.at()) {
                entry = world.entry(children + 2).ok_or(bad)?;
                continue;
            }
            children += HEADER_ENTRIES;
        }
        entry = world.entry(children + child(high, low, entry)).ok_or(bad)?;
    }
    if entry.is_nothing() {
        return Err(Verdict::Pass(Reason::NotVip));
    }
    if entry.is_node() { Err(bad) } else { Ok(entry) }
}

/// Whether the first `at` bits differ.
#[inline(always)]
const fn differs(high: u64, low: u64, expected_high: u64, expected_low: u64, at: u32) -> bool {
    if at <= 64 {
        // A shift by 64 is none to the machine, so that `at` = 0 is a case of its own.
        at != 0 && (high ^ expected_high) >> ((64 - at) & 63) != 0
    } else {
        high != expected_high || (low ^ expected_low) >> ((128 - at) & 63) != 0
    }
}

/// The child an address selects: `stride` bits from bit `at` on, which lie in one word.
#[inline(always)]
const fn child(high: u64, low: u64, entry: Entry) -> u32 {
    let at = entry.at();
    let word = if at < 64 { high } else { low };
    ((word << (at & 63)) >> ((64 - entry.stride()) & 63)) as u32
}

/// The trafficset of a leaf for the protocol and port of a flow.
#[inline(always)]
pub fn trafficset<F, W: World<F>>(
    world: &W,
    leaf: Entry,
    seen: &Seen,
) -> Result<Trafficset, Verdict> {
    let index = match leaf.as_set() {
        Some(index) => index,
        None => by_port(world, leaf, seen)?,
    };
    let set = world.trafficset(index).ok_or(Verdict::Drop(Reason::BadTable))?;
    if seen.way == Way::Fragment && set.flags & Trafficset::FRAGMENTS == 0 {
        return Err(Verdict::Drop(Reason::Fragment));
    }
    Ok(set)
}

/// Searches the rows of a leaf, which start at key 0, for the last one that starts at a key or
/// before.
///
/// Every step does the same whatever it finds: the verifier then follows one path, not one for each
/// answer. Only how many steps there are depends on the leaf.
#[inline(always)]
fn by_port<F, W: World<F>>(world: &W, leaf: Entry, seen: &Seen) -> Result<u32, Verdict> {
    let bad = Verdict::Drop(Reason::BadTable);
    let udp = seen.flow.protocol == PROTOCOL_UDP;
    let key = Row::key(udp, u16::from_be(seen.flow.destination_port));
    let (mut from, mut rows) = (leaf.first(), leaf.row_count());
    for _ in 0..PORT_ROW_STEPS {
        if rows <= 1 {
            break;
        }
        let half = rows >> 1;
        let row = world.row(from.wrapping_add(half)).ok_or(bad)?;
        // All ones where the row starts past the key.
        let past = ((i64::from(key) - i64::from(row.starts())) >> 63) as u32;
        from = from.wrapping_add(half & !past);
        rows = rows.wrapping_sub(half);
    }
    let found = world.row(from).ok_or(bad)?;
    match (found.as_set(), seen.way) {
        (Some(index), _) => Ok(index),
        (None, Way::Fragment) => Err(Verdict::Drop(Reason::Fragment)),
        (None, _) => Err(Verdict::Pass(Reason::NoService)),
    }
}
