//! Sets of rules as bit vectors, and how a field's values fall into classes that each have one.
//!
//! A vector is a summary word, whose bit *w* says that word *w* is not zero, and one bit for each
//! rule of the program, first rule first.

use std::collections::HashMap;

/// Rules of one program, so that the summary is one word.
pub const PROGRAM_RULES_MAX: usize = 64 * 64;

/// Distinct vectors of a program, each kept once.
#[derive(Debug)]
pub struct Pool {
    words: usize,
    known: HashMap<Vec<u64>, u32>,
    octets: Vec<u8>,
}

/// A vector by its offset in the pool, in words.
pub type Vector = u32;

impl Pool {
    /// For `rules` rules.
    #[must_use]
    pub fn new(rules: usize) -> Self {
        let words = rules.div_ceil(64).max(1);
        Self { words, known: HashMap::new(), octets: Vec::new() }
    }

    /// Words of rules in each vector.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words
    }

    /// The vector of a set.
    pub fn keep(&mut self, set: &Set) -> Vector {
        if let Some(known) = self.known.get(&set.0) {
            return *known;
        }
        let at = (self.octets.len() / 8) as Vector;
        let summary = set
            .0
            .iter()
            .enumerate()
            .fold(0_u64, |summary, (word, bits)| summary | u64::from(*bits != 0) << word);
        for word in std::iter::once(&summary).chain(&set.0) {
            self.octets.extend(word.to_ne_bytes());
        }
        self.known.insert(set.0.clone(), at);
        at
    }

    /// All vectors, one after the other.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Offset of the last vector, in octets.
    #[must_use]
    pub fn last(&self) -> usize {
        self.octets.len().saturating_sub((self.words + 1) * 8)
    }
}

/// A set of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set(Vec<u64>);

impl Set {
    /// Without rules, for vectors of `words` words.
    #[must_use]
    pub fn empty(words: usize) -> Self {
        Self(vec![0; words])
    }

    /// Puts a rule in, or takes it out.
    pub fn put(&mut self, rule: usize, member: bool) {
        if let Some(word) = self.0.get_mut(rule / 64) {
            let bit = 1_u64 << (rule % 64);
            *word = if member { *word | bit } else { *word & !bit };
        }
    }

    /// Rules of both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, two)| one & two).collect())
    }
}

/// Values of a field from `first` on share a vector, up to the next class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// First value.
    pub first: u128,
    /// Rules that accept them.
    pub vector: Vector,
}

/// What a rule accepts of a field: all of it, or these ranges, both ends included.
pub type Accepts = Option<Vec<(u128, u128)>>;

/// Cuts a field's values into classes. `rules` says what each accepts.
pub fn classes(rules: impl Iterator<Item = Accepts>, pool: &mut Pool) -> Vec<Class> {
    let mut set = Set::empty(pool.words());
    let mut changes: Vec<(u128, usize, bool)> = Vec::new();
    for (rule, accepts) in rules.enumerate() {
        let Some(ranges) = accepts else {
            set.put(rule, true);
            continue;
        };
        for (first, last) in joined(ranges) {
            changes.push((first, rule, true));
            if let Some(end) = last.checked_add(1) {
                changes.push((end, rule, false));
            }
        }
    }
    changes.sort_unstable();
    let mut classes: Vec<Class> = Vec::new();
    let mut changes = changes.into_iter().peekable();
    let mut first = 0;
    loop {
        while let Some((_, rule, member)) = changes.next_if(|(at, ..)| *at == first) {
            set.put(rule, member);
        }
        let vector = pool.keep(&set);
        if classes.last().is_none_or(|class| class.vector != vector) {
            classes.push(Class { first, vector });
        }
        match changes.peek() {
            Some((at, ..)) => first = *at,
            None => return classes,
        }
    }
}

/// Ranges in order, those that touch or overlap made one.
fn joined(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}
