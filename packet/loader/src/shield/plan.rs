//! Rules made ready for generation: split into programs, their fields' values cut into classes,
//! and the tables that look the classes up laid out in one piece of memory for each program.

use std::net::IpAddr;
use std::ops::Range as Span;

use super::interpret::{Outcome, Ticks};
use super::rule::{Action, Match, Pattern, Per, Prefix, Rule};
use super::tables::{Data, Direct, Narrow, Wide};
use super::vectors::{Accepts, PROGRAM_RULES_MAX, Pool, Set, Vector, classes};

/// Programs of one shield: half of the slots that the chain of programs leaves to the shield, as
/// the one in force and the next stand side by side.
pub const PROGRAMS_MAX: usize = 16;
/// Different places and masks of payload patterns in one program: each costs every packet a
/// look-up, and the program stack.
pub const SHAPES_MAX: usize = 8;
/// Rules of one program that do not end the matter, limits and dry runs: the verifier goes through
/// their words once for each that a packet may meet.
pub const COUNTING_MAX: usize = 1024;
/// Ranges of one field in one program, so that its tables stay below some 40 MB.
pub const RANGES_MAX: usize = 16_384;

/// Bits of a rule's record that say how to apply it.
pub mod flag {
    /// A limit.
    pub const LIMIT: i32 = 1;
    /// Its limit is for each source.
    pub const SOURCE: i32 = 2;
    /// Its limit is for each destination.
    pub const DESTINATION: i32 = 4;
    /// It is sampled.
    pub const SAMPLE: i32 = 8;
}

/// Offsets within a rule's record, and its size.
pub mod record {
    /// u32: place of its counters.
    pub const SLOT: i16 = 0;
    /// u32: [`super::flag`]s.
    pub const FLAGS: i16 = 4;
    /// u32: a random number up to this takes a sample.
    pub const SAMPLE: i16 = 8;
    /// u32: tells rules apart that had one slot at different times, in steps of 4.
    pub const EPOCH: i16 = 12;
    /// u64: ticks of a packet.
    pub const PACKET: i16 = 16;
    /// u64: ticks in store for packets.
    pub const PACKETS: i16 = 24;
    /// u64: ticks of 65,536 octets.
    pub const OCTET: i16 = 32;
    /// u64: ticks in store for octets.
    pub const OCTETS: i16 = 40;
    /// u32: place among all rules.
    pub const INDEX: i16 = 48;
    /// u32: the outcome, where no limit is used up.
    pub const OUTCOME: i16 = 52;
    /// u32: the outcome where one is.
    pub const OVER: i16 = 56;
    /// As a shift: records are 64 octets.
    pub const SHIFT: i32 = 6;
}

/// Where a rule's counters and limits live, whatever its place among the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of its counters.
    pub slot: u32,
    /// Which of the rules that had the slot it is, below 2^30.
    pub epoch: u32,
}

/// What a payload pattern reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Octets into the payload.
    pub offset: u16,
    /// Which bits count.
    pub mask: Vec<u8>,
}

impl Shape {
    fn of(pattern: &Pattern) -> Self {
        Self { offset: pattern.offset, mask: pattern.mask.clone() }
    }
}

/// A field that tells rules apart, and the table of its classes.
#[derive(Clone, Debug)]
pub enum Field {
    /// Protocol, and whether it is a fragment and has options.
    Kind(Direct),
    /// TTL.
    Ttl(Direct),
    /// TCP flags, 256 where there are none.
    Flags(Direct),
    /// Length by the IP header.
    Length(Narrow),
    /// A port, 65,536 where there is none.
    SourcePort(Narrow),
    /// A port.
    DestinationPort(Narrow),
    /// An address, by family.
    Source(Narrow, Wide),
    /// An address, by family.
    Destination(Narrow, Wide),
    /// Payload of a shape: its classes, and where the vector of packets too short for it stands.
    Payload(Shape, Wide, u32),
}

/// One program's worth of rules.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which of the rules.
    pub rules: Span<usize>,
    /// Tables, vectors and records.
    pub data: Vec<u8>,
    /// The fields to look up, the cheap and telling first.
    pub fields: Vec<Field>,
    /// Words of rules in each vector.
    pub words: usize,
    /// How many of them, the first ones, hold the rules that do not end the matter.
    pub counting_words: usize,
    /// Places of rules, those that stay empty between the two kinds included.
    pub places: usize,
    /// Where the vectors start.
    pub vectors: u32,
    /// Offset of the last vector from there.
    pub last_vector: u32,
    /// Where the records start.
    pub records: u32,
    /// Where the table of lowest bits starts.
    pub digits: u32,
    /// Whether any rule is a limit.
    pub limits: bool,
    /// Whether any limit is for each source or destination.
    pub shared: bool,
    /// Whether any rule is sampled.
    pub samples: bool,
}

impl Part {
    /// Its memory with limits that are never used up: for self-tests, which know no time.
    #[must_use]
    pub fn without_limits(&self) -> Vec<u8> {
        let mut data = self.data.clone();
        let records = data.get_mut(self.records as usize..).unwrap_or_default();
        for record in records.chunks_exact_mut(1 << record::SHIFT) {
            for field in [record::PACKET, record::OCTET] {
                let at = field as usize;
                record.get_mut(at..at + 8).unwrap_or_default().fill(0);
            }
        }
        data
    }
}

/// A multiplier whose products with single bits differ in their top six bits.
pub const DE_BRUIJN: u64 = 0x03f7_9d71_b4cb_0a89;

/// What rules cannot be compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Over [`PROGRAMS_MAX`].
    #[error(
        "the shield rules need {needed} programs and {PROGRAMS_MAX} are chained at most: use fewer \
         rules, prefixes, or different offsets and masks of payload patterns"
    )]
    TooManyPrograms {
        /// At least.
        needed: usize,
    },
}

/// Plans rules. `places` are theirs, in the same order; without rules there is one program that
/// passes everything.
///
/// # Errors
/// When they need too many programs.
pub fn plan(rules: &[Rule], places: &[Place]) -> Result<Vec<Part>, PlanError> {
    let spans = split(rules);
    if spans.len() > PROGRAMS_MAX {
        return Err(PlanError::TooManyPrograms { needed: spans.len() });
    }
    let part = |span: Span<usize>| {
        let places = places.get(span.clone()).unwrap_or_default();
        part(rules.get(span.clone()).unwrap_or_default(), places, span)
    };
    Ok(spans.into_iter().map(part).collect())
}

/// Cuts rules where a program would outgrow a limit.
fn split(rules: &[Rule]) -> Vec<Span<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut ranges = [0_usize; 4];
    let mut have = [0_usize; 2];
    let mut shapes: Vec<Shape> = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let m = &rule.matches;
        let more = [&m.source, &m.destination].map(Vec::len);
        let ports = [&m.source_ports, &m.destination_ports].map(Vec::len);
        let more = [more[0], more[1], ports[0], ports[1]];
        let shape = m.payload.as_ref().map(Shape::of).filter(|shape| !shapes.contains(shape));
        let kind = usize::from(rule.is_final());
        let mut kinds = have;
        kinds[kind] += 1;
        let full = words_for(kinds) > PROGRAM_RULES_MAX / 64
            || kinds[0] > COUNTING_MAX
            || ranges.iter().zip(more).any(|(have, more)| have + more > RANGES_MAX)
            || shape.is_some() && shapes.len() >= SHAPES_MAX;
        if full {
            spans.push(start..at);
            (start, ranges, have) = (at, [0; 4], [0; 2]);
            shapes.clear();
        }
        have[kind] += 1;
        for (have, more) in ranges.iter_mut().zip(more) {
            *have += more;
        }
        let shape = m.payload.as_ref().map(Shape::of);
        shapes.extend(shape.filter(|shape| !shapes.contains(shape)));
    }
    spans.push(start..rules.len());
    spans
}

/// Words of both kinds of rules.
fn words_for(kinds: [usize; 2]) -> usize {
    kinds.into_iter().map(|rules| rules.div_ceil(64)).sum()
}

fn part(rules: &[Rule], places: &[Place], span: Span<usize>) -> Part {
    let (order, counting_words) = order(rules);
    let placed: Vec<Option<&Rule>> = order.iter().map(|at| rules.get((*at)?)).collect();
    let mut pool = Pool::new(placed.len());
    let mut data = Data::default();
    let fields = fields(&placed, &mut pool, &mut data);
    let mut digits = [0_u8; 64];
    for bit in 0..64_u8 {
        let at = DE_BRUIJN.wrapping_mul(1 << bit) >> 58;
        if let Some(digit) = digits.get_mut(at as usize) {
            *digit = bit;
        }
    }
    let digits = data.add(&digits);
    let vectors = data.add(pool.octets());
    let records: Vec<u8> = placed
        .iter()
        .zip(&order)
        .map(|(rule, at)| {
            let at = (*at)?;
            Some(record_of((*rule)?, *places.get(at)?, span.start + at))
        })
        .flat_map(|record| record.unwrap_or([0; 64]))
        .collect();
    let records = data.add(&records);
    let limit = |rule: &Rule| match rule.action {
        Action::Limit(limit) => Some(limit),
        Action::Drop | Action::Pass => None,
    };
    Part {
        fields,
        words: pool.words(),
        counting_words,
        places: placed.len(),
        vectors,
        last_vector: pool.last() as u32,
        records,
        digits,
        limits: rules.iter().any(|rule| limit(rule).is_some()),
        shared: rules.iter().filter_map(limit).any(|limit| limit.per != Per::Rule),
        samples: rules.iter().any(|rule| rule.sample > 0),
        rules: span,
        data: data.finish(),
    }
}

/// Which rule stands at which place of the vectors. Rules that ask for the same kinds of things
/// stand together, by what they ask for, so that most words are empty for a packet and the summary
/// says so. Within a word the earlier rule stands first. Rules that do not end the matter have
/// words of their own, so many, before the others.
fn order(rules: &[Rule]) -> (Vec<Option<usize>>, usize) {
    let first = |prefixes: &[Prefix]| {
        prefixes.first().map(|prefix| (prefix.address.is_ipv6(), prefix.bounds().0))
    };
    let port = |ranges: &[super::rule::Range<u16>]| ranges.first().map(|range| range.first);
    let key = |at: &usize| {
        let m = rules.get(*at).map(|rule| &rule.matches);
        m.map(|m| {
            let asks = [
                !m.source.is_empty(),
                m.payload.is_some(),
                !m.destination.is_empty(),
                !m.source_ports.is_empty(),
                !m.destination_ports.is_empty(),
                m.tcp_flags.is_some(),
                m.length.is_some(),
                m.ttl.is_some(),
            ];
            let payload = m.payload.as_ref().map(|p| (p.offset, p.mask.clone(), p.octets.clone()));
            let places = (first(&m.source), payload, first(&m.destination));
            let ports = (port(&m.destination_ports), port(&m.source_ports));
            (asks, m.protocol, m.fragment, m.ip_options, places, ports, *at)
        })
    };
    let is_final = |at: &usize| rules.get(*at).is_some_and(Rule::is_final);
    let (ending, counting): (Vec<usize>, Vec<usize>) = (0..rules.len()).partition(is_final);
    let words = counting.len().div_ceil(64);
    let mut order: Vec<Option<usize>> = Vec::with_capacity(rules.len() + 64);
    for mut some in [counting, ending] {
        order.resize(order.len().next_multiple_of(64), None);
        some.sort_by_cached_key(key);
        for word in some.chunks_mut(64) {
            word.sort_unstable();
        }
        order.extend(some.into_iter().map(Some));
    }
    (order, words)
}

fn record_of(rule: &Rule, place: Place, index: usize) -> [u8; 64] {
    let (mut flags, mut ticks) = (0, None);
    let mut outcome = Outcome::Counted;
    match rule.action {
        Action::Limit(limit) => {
            ticks = Some(Ticks::of(&limit));
            flags |= flag::LIMIT
                | match limit.per {
                    Per::Rule => 0,
                    Per::Source => flag::SOURCE,
                    Per::Destination => flag::DESTINATION,
                };
        }
        Action::Drop if !rule.dry_run => outcome = Outcome::Dropped,
        Action::Pass if !rule.dry_run => outcome = Outcome::Passed,
        Action::Drop | Action::Pass => {}
    }
    let over = if rule.dry_run { Outcome::WouldLimit } else { Outcome::Limited };
    let mut sample = 0;
    if let Some(one_in) = (1_u64 << 32).checked_div(u64::from(rule.sample)) {
        (flags, sample) = (flags | flag::SAMPLE, (one_in - 1) as u32);
    }
    let ticks = ticks.unwrap_or(Ticks { packet: 0, packets: 0, octet: 0, octets: 0 });
    let words = [
        u64::from(place.slot) | u64::from(flags.cast_unsigned()) << 32,
        u64::from(sample) | u64::from(place.epoch << 2) << 32,
        ticks.packet,
        ticks.packets,
        ticks.octet,
        ticks.octets,
        index as u64 | (outcome as u64) << 32,
        over as u64,
    ];
    let mut octets = [0; 64];
    for (to, word) in octets.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    octets
}

/// The fields that tell these rules apart.
fn fields(rules: &[Option<&Rule>], pool: &mut Pool, data: &mut Data) -> Vec<Field> {
    let any = |asked: fn(&Match) -> bool| rules.iter().flatten().any(|rule| asked(&rule.matches));
    let mut fields = vec![Field::Kind(kind(rules, pool, data))];
    if any(|m| m.ttl.is_some()) {
        let range = |m: &Match| Some(vec![m.ttl.map(|r| (r.first.into(), r.last.into()))?]);
        fields.push(Field::Ttl(Direct::of(&cut(rules, pool, range), 256, data)));
    }
    if any(|m| m.tcp_flags.is_some()) {
        fields.push(Field::Flags(Direct::of(&cut(rules, pool, flags), 257, data)));
    }
    if any(|m| m.length.is_some()) {
        let range = |m: &Match| Some(vec![m.length.map(|r| (r.first.into(), r.last.into()))?]);
        fields.push(Field::Length(Narrow::of(&cut(rules, pool, range), 17, data)));
    }
    if any(|m| !m.destination_ports.is_empty()) {
        let cut = cut(rules, pool, |m| ports(&m.destination_ports));
        fields.push(Field::DestinationPort(Narrow::of(&cut, 17, data)));
    }
    if any(|m| !m.source_ports.is_empty()) {
        let cut = cut(rules, pool, |m| ports(&m.source_ports));
        fields.push(Field::SourcePort(Narrow::of(&cut, 17, data)));
    }
    if any(|m| !m.destination.is_empty()) {
        let v4 = cut(rules, pool, |m| prefixes(&m.destination, false));
        let v6 = cut(rules, pool, |m| prefixes(&m.destination, true));
        fields.push(Field::Destination(Narrow::of(&v4, 32, data), Wide::of(&v6, data)));
    }
    if any(|m| !m.source.is_empty()) {
        let v4 = cut(rules, pool, |m| prefixes(&m.source, false));
        let v6 = cut(rules, pool, |m| prefixes(&m.source, true));
        fields.push(Field::Source(Narrow::of(&v4, 32, data), Wide::of(&v6, data)));
    }
    let mut shapes: Vec<Shape> = Vec::new();
    for pattern in rules.iter().flatten().filter_map(|rule| rule.matches.payload.as_ref()) {
        let shape = Shape::of(pattern);
        if !shapes.contains(&shape) {
            fields.push(payload(rules, &shape, pool, data));
            shapes.push(shape);
        }
    }
    fields
}

/// Classes of a field, by what each rule accepts of it.
fn cut(
    rules: &[Option<&Rule>],
    pool: &mut Pool,
    accepts: impl Fn(&Match) -> Accepts,
) -> Vec<super::vectors::Class> {
    let none = || Some(Vec::new());
    classes(rules.iter().map(|rule| rule.map_or_else(none, |rule| accepts(&rule.matches))), pool)
}

fn ports(ranges: &[super::rule::Range<u16>]) -> Accepts {
    let ranges = ranges.iter().map(|range| (range.first.into(), range.last.into()));
    Some(ranges.collect()).filter(|ranges: &Vec<_>| !ranges.is_empty())
}

fn flags(m: &Match) -> Accepts {
    let want = m.tcp_flags?;
    let fits = |flags: &u8| flags & want.set == want.set && flags & want.clear == 0;
    Some((0..=u8::MAX).filter(fits).map(|flags| (flags.into(), flags.into())).collect())
}

/// Of one family; a rule with prefixes of the other only accepts none of this.
fn prefixes(prefixes: &[Prefix], v6: bool) -> Accepts {
    if prefixes.is_empty() {
        return None;
    }
    let family = prefixes.iter().filter(|p| matches!(p.address, IpAddr::V6(_)) == v6);
    Some(family.map(Prefix::bounds).collect())
}

/// Protocol in bits 0 to 7, fragment in bit 8, options in bit 9.
fn kind(rules: &[Option<&Rule>], pool: &mut Pool, data: &mut Data) -> Direct {
    let words = pool.words();
    let set = |fits: &dyn Fn(&Match) -> bool| {
        let mut set = Set::empty(words);
        for (at, rule) in rules.iter().enumerate() {
            set.put(at, rule.is_some_and(|rule| fits(&rule.matches)));
        }
        set
    };
    let sides = [false, true];
    let fragment = sides.map(|side| set(&|m| m.fragment.is_none_or(|want| want == side)));
    let options = sides.map(|side| set(&|m| m.ip_options.is_none_or(|want| want == side)));
    let mut named: Vec<u8> =
        rules.iter().flatten().filter_map(|rule| rule.matches.protocol).collect();
    named.sort_unstable();
    named.dedup();
    let other = set(&|m| m.protocol.is_none());
    let mut protocols = vec![other; 256];
    for protocol in named {
        if let Some(place) = protocols.get_mut(usize::from(protocol)) {
            *place = set(&|m| m.protocol.is_none_or(|want| want == protocol));
        }
    }
    let mut vectors: Vec<Vector> = Vec::with_capacity(1024);
    for options in &options {
        for fragment in &fragment {
            let both = options.and(fragment);
            vectors.extend(protocols.iter().map(|protocol| pool.keep(&protocol.and(&both))));
        }
    }
    Direct::from(&vectors, data)
}

fn payload(rules: &[Option<&Rule>], shape: &Shape, pool: &mut Pool, data: &mut Data) -> Field {
    let of_shape = |m: &Match| m.payload.as_ref().is_some_and(|p| Shape::of(p) == *shape);
    let key = |m: &Match| {
        let pattern = m.payload.as_ref().filter(|_| of_shape(m))?;
        let key = key_of(&pattern.octets, &pattern.mask);
        // A pattern of one word leaves the second one free, and the search then looks at one.
        let free = if shape.mask.len() <= 8 { u128::from(u64::MAX) } else { 0 };
        Some(vec![(key, key | free)])
    };
    let classes = cut(rules, pool, key);
    let mut without = Set::empty(pool.words());
    for (at, rule) in rules.iter().enumerate() {
        without.put(at, rule.is_some_and(|rule| !of_shape(&rule.matches)));
    }
    let absent = data.add(&u64::from(pool.keep(&without)).to_le_bytes());
    Field::Payload(shape.clone(), Wide::of(&classes, data), absent)
}

/// Masked octets as the number that the program makes of them: two words of eight octets, each
/// with its first octet lowest.
fn key_of(octets: &[u8], mask: &[u8]) -> u128 {
    let mut words = [0_u64; 2];
    for (at, (octet, mask)) in octets.iter().zip(mask).enumerate() {
        if let Some(word) = words.get_mut(at / 8) {
            *word |= u64::from(octet & mask) << (at % 8 * 8);
        }
    }
    u128::from(words[0]) << 64 | u128::from(words[1])
}
