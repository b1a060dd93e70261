//! What the tests share: whether the kernel lets them, seeds, random rules and frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet_loader::shield::bpf::{Kind, Map};
use packet_loader::shield::frames::Frame;
use packet_loader::shield::plan::Place;
use packet_loader::shield::{Action, Flags, Limit, Match, Pattern, Per, Prefix, Range, Rate, Rule};

/// Whether the kernel lets this process make maps; says so by name where it does not.
pub(crate) fn allowed(test: &str) -> bool {
    match Map::new("probe", Kind::PerCpuArray, 4, 8, 1) {
        Ok(_) => true,
        Err(error) => {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            println!("skipped {test}: {error}: {}; run it as root", why.unwrap_or_default());
            false
        }
    }
}

/// The seed of this run.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("WEIR_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or(0x5eed_5eed)
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn octet(&mut self) -> u8 {
        self.next() as u8
    }

    pub(crate) fn port(&mut self) -> u16 {
        match self.below(3) {
            0 => [0, 53, 80, 443, 65_535][self.below(5) as usize],
            _ => self.next() as u16,
        }
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Each rule at its own place.
pub(crate) fn places(rules: &[Rule]) -> Vec<Place> {
    (0..rules.len() as u32).map(|slot| Place { slot, epoch: slot }).collect()
}

fn prefix(random: &mut Random, v6: bool) -> Prefix {
    // Few bits differ, so that prefixes nest and touch.
    if v6 {
        let net = 0x2001_0db8_0000_0000_0000_0000_0000_0000_u128;
        let number = match random.below(4) {
            0 => u128::from(random.next()) << 64 | u128::from(random.next()),
            1 => u128::MAX,
            _ => net | u128::from(random.below(8)) << 64 | u128::from(random.below(64)),
        };
        let bits = random.of(&[0, 1, 16, 32, 48, 61, 63, 64, 65, 96, 120, 124, 126, 127, 128]);
        return Prefix { address: IpAddr::V6(Ipv6Addr::from(number)), bits };
    }
    let number = match random.below(4) {
        0 => random.next() as u32,
        1 => u32::MAX,
        _ => 0x0a00_0000 | ((random.below(4) as u32) << 16) | random.below(64) as u32,
    };
    let bits = random.of(&[0, 1, 8, 14, 15, 16, 24, 26, 28, 30, 31, 32]);
    Prefix { address: IpAddr::V4(Ipv4Addr::from(number)), bits }
}

fn prefixes(random: &mut Random) -> Vec<Prefix> {
    let (v6, both) = (random.one_in(2), random.one_in(5));
    let count = 1 + random.below(3);
    (0..count)
        .map(|_| {
            let v6 = v6 ^ (both && random.one_in(2));
            prefix(random, v6)
        })
        .collect()
}

fn ports(random: &mut Random) -> Vec<Range<u16>> {
    let count = 1 + random.below(3);
    let range = |_| {
        let first = random.port();
        let last = if random.one_in(2) { first } else { first.max(random.port()) };
        Range { first, last }
    };
    (0..count).map(range).collect()
}

fn pattern(random: &mut Random) -> Pattern {
    let len = random.of(&[1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16]);
    let ones = random.one_in(2);
    let mask: Vec<u8> = (0..len).map(|_| if ones { 0xff } else { random.octet() }).collect();
    let octets = (0..len).map(|_| random.octet() & 3).collect();
    Pattern { offset: random.of(&[0, 0, 1, 4, 9, 100]), octets, mask }
}

fn limit(random: &mut Random) -> Limit {
    let packets = Rate { per_second: 1 + random.below(1000), burst: 1 + random.below(8) };
    let octets = Rate { per_second: 1000 + random.below(1 << 20), burst: 65_600 };
    let per = random.of(&[Per::Rule, Per::Source, Per::Destination]);
    match random.below(3) {
        0 => Limit { packets: Some(packets), octets: Some(octets), per },
        1 => Limit { packets: None, octets: Some(octets), per },
        _ => Limit { packets: Some(packets), octets: None, per },
    }
}

/// A rule that asks for one to four things. `shapes` are payload patterns to choose places from.
pub(crate) fn rule(random: &mut Random, name: usize, shapes: &[Pattern]) -> Rule {
    let mut m = Match::default();
    for _ in 0..1 + random.below(3) {
        match random.below(12) {
            0..=1 => m.source = prefixes(random),
            2..=3 => m.destination = prefixes(random),
            4 => m.protocol = Some(random.of(&[6, 17, 17, 1, 58, 132, 47])),
            5 => m.source_ports = ports(random),
            6 => m.destination_ports = ports(random),
            7 => {
                let (set, clear) = (random.octet() & 0x1f, random.octet() & 0x1f);
                m.tcp_flags = Some(Flags { set: set & !clear, clear: clear & !set });
            }
            8 => {
                let first = random.of(&[0, 20, 28, 40, 60, 100, 1500, 65_535]);
                m.length = Some(Range { first, last: first + random.below(100) as u32 });
            }
            9 => {
                let first = random.octet();
                let last = first.max(random.octet());
                m.ttl = Some(Range { first, last });
            }
            10 if !shapes.is_empty() => {
                let mut pattern = shapes[random.below(shapes.len() as u64) as usize].clone();
                if random.one_in(2) {
                    pattern.octets.iter_mut().for_each(|octet| *octet = random.octet() & 3);
                }
                m.payload = Some(pattern);
            }
            11 if random.one_in(2) => m.ip_options = Some(random.one_in(2)),
            _ => m.fragment = Some(random.one_in(2)),
        }
    }
    let action = match random.below(10) {
        0..=4 => Action::Drop,
        5..=6 => Action::Pass,
        _ => Action::Limit(limit(random)),
    };
    let mut rule = Rule::new(&format!("r{name}"), m, action);
    rule.dry_run = random.one_in(8);
    rule.sample = if random.one_in(8) { 1 + random.below(3) as u32 } else { 0 };
    rule
}

/// A set of rules.
pub(crate) fn rules(random: &mut Random, count: usize) -> Vec<Rule> {
    let shapes: Vec<Pattern> = (0..random.below(6)).map(|_| pattern(random)).collect();
    (0..count).map(|name| rule(random, name, &shapes)).collect()
}

/// A frame: three in four are made for a rule and then changed a little or not at all.
pub(crate) fn frame(random: &mut Random, rules: &[Rule]) -> Vec<u8> {
    let aimed = if random.one_in(4) { None } else { aimed(random, rules) };
    let mut frame = aimed.unwrap_or_else(|| anything(random));
    if random.one_in(8) {
        frame.tags = random.below(4) as usize;
    }
    if frame.v6 && random.one_in(4) {
        let count = random.below(9);
        frame.extensions = (0..count).map(|_| random.of(&[0, 43, 60, 51, 44])).collect();
    }
    let mut octets = frame.octets();
    if random.one_in(8) {
        octets.truncate(14 + random.below(octets.len() as u64 - 13) as usize);
    }
    if random.one_in(8) {
        let at = 12 + random.below(octets.len().min(80) as u64 - 12) as usize;
        octets[at] = if random.one_in(2) { random.octet() } else { octets[at] ^ 1 };
    }
    if random.one_in(8) {
        octets.extend([0; 6]);
    }
    octets
}

fn aimed(random: &mut Random, rules: &[Rule]) -> Option<Frame> {
    let rule = rules.get(random.below(rules.len().max(1) as u64) as usize)?;
    let mut frame = Frame::matching(rule)?;
    let misses = frame.near_misses(&rule.matches);
    if !misses.is_empty() && random.one_in(3) {
        frame = misses[random.below(misses.len() as u64) as usize].clone();
    }
    if random.one_in(2) {
        let other = anything(random);
        match random.below(6) {
            0 => frame.source ^= 1 << random.below(if frame.v6 { 128 } else { 32 }),
            1 => frame.destination ^= 1 << random.below(if frame.v6 { 128 } else { 32 }),
            2 => frame.source_port = other.source_port,
            3 => frame.destination_port = other.destination_port,
            4 => frame.flags = other.flags,
            _ => frame.payload.extend(other.payload),
        }
    }
    Some(frame)
}

fn anything(random: &mut Random) -> Frame {
    let v6 = random.one_in(2);
    let address = |random: &mut Random| prefix(random, v6).bounds().0;
    Frame {
        tags: 0,
        v6,
        source: address(random),
        destination: address(random),
        protocol: random.of(&[6, 6, 17, 17, 1, 58, 132, 47]),
        source_port: random.port(),
        destination_port: random.port(),
        flags: random.octet(),
        ttl: random.octet(),
        options: random.one_in(8),
        fragment: random.one_in(8).then(|| (random.below(3) as u16, random.one_in(2))),
        extensions: Vec::new(),
        payload: (0..random.below(40)).map(|_| random.octet() & 3).collect(),
        length: random.one_in(16).then(|| random.below(100) as u32),
    }
}
