//! What a prefix says of its protocols and ports, and how that lies over what is around it.

use packet_abi::tables::Row;

use super::{Network, TrieError, Vip};

/// One past the last key of a row: all ports of TCP, then those of UDP.
const KEYS: u32 = Row::key(true, u16::MAX) + 1;

/// From each key on, a trafficset or nothing; the first key is 0, neighbours differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Steps(Vec<(u32, Option<u16>)>);

impl Default for Steps {
    fn default() -> Self {
        Self(vec![(0, None)])
    }
}

impl Steps {
    /// What all of TCP and UDP has, where that is one.
    pub(super) fn only(&self) -> Option<Option<u16>> {
        if let [(_, set)] = self.0.as_slice() { Some(*set) } else { None }
    }

    /// As rows of the kernel's map.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.0.iter().map(|(key, set)| Row::new(*key > u32::from(u16::MAX), *key as u16, *set))
    }

    fn push(&mut self, key: u32, set: Option<u16>) {
        match self.0.last_mut() {
            Some((last, to)) if *last == key => *to = set,
            Some((_, to)) if *to == set => return,
            _ => self.0.push((key, set)),
        }
        // A step that was set anew may say what the one before it says.
        if let [.., (_, before), (_, last)] = self.0.as_slice()
            && before == last
        {
            self.0.pop();
        }
    }

    /// What is said at a key.
    fn at(&self, key: u32) -> Option<u16> {
        let after = self.0.partition_point(|(start, _)| *start <= key);
        self.0.get(after.wrapping_sub(1)).and_then(|(_, set)| *set)
    }
}

/// What the trafficsets say of one prefix: first key, last key, trafficset.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay(Vec<(u32, u32, u16)>);

impl Overlay {
    pub(super) fn add(&mut self, vip: &Vip) {
        let all = [(0, u16::MAX)];
        let ports = if vip.ports.is_empty() { all.as_slice() } else { &vip.ports };
        for (udp, served) in [(false, vip.tcp), (true, vip.udp)] {
            if served {
                let keys = ports.iter().map(|(a, b)| (Row::key(udp, *a), Row::key(udp, *b)));
                self.0.extend(keys.map(|(first, last)| (first, last, vip.set)));
            }
        }
    }

    /// This over `outer`: its ranges, and what `outer` has between them.
    pub(super) fn over(mut self, outer: &Steps, network: Network) -> Result<Steps, TrieError> {
        self.0.sort_unstable();
        for pair in self.0.windows(2) {
            if let [(_, last, one), (first, _, other)] = *pair
                && first <= last
                && one != other
            {
                return Err(TrieError::Overlap { network, port: first as u16, one, other });
            }
        }
        let mut steps = Steps(Vec::with_capacity(outer.0.len() + 2 * self.0.len()));
        let mut outside = outer.0.iter().peekable();
        let mut end = 0;
        for (first, last, set) in self.0 {
            // A range within one before it, of the same trafficset, says nothing new.
            let first = first.max(end);
            if first > last {
                continue;
            }
            if end < first || end == 0 {
                copy(outer, &mut outside, end..first, &mut steps);
            }
            steps.push(first, Some(set));
            end = last + 1;
        }
        if end < KEYS {
            copy(outer, &mut outside, end..KEYS, &mut steps);
        }
        Ok(steps)
    }
}

/// Copies what `outer` says of a range of keys; `rest` goes on from range to range.
fn copy<'a>(
    outer: &Steps,
    rest: &mut std::iter::Peekable<impl Iterator<Item = &'a (u32, Option<u16>)>>,
    keys: std::ops::Range<u32>,
    to: &mut Steps,
) {
    if keys.is_empty() {
        return;
    }
    to.push(keys.start, outer.at(keys.start));
    while let Some((key, set)) = rest.next_if(|(key, _)| *key < keys.end) {
        if *key > keys.start {
            to.push(*key, *set);
        }
    }
}
