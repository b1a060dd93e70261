//! Shield rules as they are meant: what a packet must be, and what becomes of it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Rules of a shield: four programs' worth at least, however the rules are spread.
pub const RULES_MAX: usize = 16_384;
/// Prefixes of one rule, sources and destinations each, and ranges of ports.
pub const LIST_MAX: usize = 1024;
/// Octets of a payload pattern: two words of the machine.
pub const PATTERN_MAX: usize = 16;
/// Octets into the payload at which a pattern may start, so that it lies in the first page.
pub const PATTERN_OFFSET_MAX: u16 = 1024;
/// Packets per second that a limit may name: a packet's share of time is counted in sixteenths of
/// a nanosecond, and 160 of them are rounded by less than a hundredth.
pub const PACKET_RATE_MAX: u64 = 100_000_000;
/// Octets per second that a limit may name: 8 Tbit/s, more than any interface.
pub const OCTET_RATE_MAX: u64 = 1_000_000_000_000;
/// Octets per second that a limit names at least: below, a large packet's share has no word.
pub const OCTET_RATE_MIN: u64 = 1000;
/// Packets or octets that a limit lets through at once.
pub const BURST_MAX: u64 = 1 << 32;
/// Octets that a limit of octets lets through at once, at least: one packet of any size.
pub const BURST_OCTETS_MIN: u64 = 65_600;

/// An address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Any address of it.
    pub address: IpAddr,
    /// 0 to 32, or to 128.
    pub bits: u8,
}

impl Prefix {
    /// First and last address as numbers of 32 or 128 bits.
    #[must_use]
    pub fn bounds(&self) -> (u128, u128) {
        let (number, width) = match self.address {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32_u32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        let free = width.saturating_sub(u32::from(self.bits));
        let host = 1_u128.checked_shl(free).map_or(u128::MAX, |bit| bit - 1);
        (number & !host, number | host)
    }
}

/// Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range<T> {
    /// Lowest.
    pub first: T,
    /// Highest.
    pub last: T,
}

/// Octets of the payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Where it starts: octets behind the transport header (docs/algorithms/shield.md).
    pub offset: u16,
    /// What stands there, 1 to [`PATTERN_MAX`] octets.
    pub octets: Vec<u8>,
    /// Which bits count; as long as `octets`.
    pub mask: Vec<u8>,
}

/// TCP flags: the low eight bits of their field, from CWR down to FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flags {
    /// All of these are set.
    pub set: u8,
    /// All of these are clear.
    pub clear: u8,
}

/// What a packet must be. Everything stated must hold; an empty list states nothing.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Match {
    /// One of them holds the source.
    pub source: Vec<Prefix>,
    /// One of them holds the destination.
    pub destination: Vec<Prefix>,
    /// Protocol behind all IPv6 extension headers.
    pub protocol: Option<u8>,
    /// Source port, of TCP, UDP or SCTP.
    pub source_ports: Vec<Range<u16>>,
    /// Destination port.
    pub destination_ports: Vec<Range<u16>>,
    /// TCP flags.
    pub tcp_flags: Option<Flags>,
    /// Octets of the IP packet by its own header, IPv6's 40 included.
    pub length: Option<Range<u32>>,
    /// TTL or hop limit.
    pub ttl: Option<Range<u8>>,
    /// Octets of the payload.
    pub payload: Option<Pattern>,
    /// Whether there are IPv4 options or IPv6 extension headers other than for fragments.
    pub ip_options: Option<bool>,
    /// Whether it is a fragment, the first included.
    pub fragment: Option<bool>,
}

/// A rate and what may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Packets or octets a second, 1 to [`PACKET_RATE_MAX`], [`OCTET_RATE_MIN`] to
    /// [`OCTET_RATE_MAX`].
    pub per_second: u64,
    /// Packets or octets at once, 1 to [`BURST_MAX`]; octets from [`BURST_OCTETS_MIN`].
    pub burst: u64,
}

/// What shares one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Per {
    /// All packets that match.
    #[default]
    Rule,
    /// Those of one source: an IPv4 address, or an IPv6 network of 64 bits.
    Source,
    /// Those to one destination address.
    Destination,
}

/// A limit: packets past it are dropped, others go on to the next rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Of packets.
    pub packets: Option<Rate>,
    /// Of octets of frames.
    pub octets: Option<Rate>,
    /// What shares it.
    pub per: Per,
}

/// What becomes of a packet that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// It goes.
    Drop,
    /// It passes, whatever later rules say.
    Pass,
    /// It goes where the limit is used up; else later rules decide.
    Limit(Limit),
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name: counters and limits stay with it when the rules change.
    pub name: String,
    /// Which packets.
    pub matches: Match,
    /// What becomes of them.
    pub action: Action,
    /// Counted only: later rules decide.
    pub dry_run: bool,
    /// One in so many packets that match is sampled; 0 for none.
    pub sample: u32,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Too many.
    #[error("{count} shield rules are more than {RULES_MAX}: join some by lists of prefixes")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Two of one name.
    #[error("two shield rules are named `{name}`: give each its own, counters go by it")]
    Twice {
        /// The name.
        name: String,
    },
    /// A setting that cannot be.
    #[error("shield rule `{name}`: {what}")]
    Setting {
        /// The rule.
        name: String,
        /// What is wrong and what would be right.
        what: String,
    },
}

impl Rule {
    /// A rule that drops, for everything not said.
    #[must_use]
    pub fn new(name: &str, matches: Match, action: Action) -> Self {
        Self { name: name.to_owned(), matches, action, dry_run: false, sample: 0 }
    }

    /// Whether it ends the matter for each packet it matches.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.dry_run && !matches!(self.action, Action::Limit(_))
    }

    /// # Errors
    /// The first setting that cannot be.
    pub fn check(&self) -> Result<(), RuleError> {
        let wrong = |what: String| Err(RuleError::Setting { name: self.name.clone(), what });
        let m = &self.matches;
        let longest =
            [m.source.len(), m.destination.len(), m.source_ports.len(), m.destination_ports.len()];
        if longest.into_iter().any(|len| len > LIST_MAX) {
            return wrong(format!("a list has more than {LIST_MAX} entries: split the rule"));
        }
        let width = |prefix: &Prefix| if prefix.address.is_ipv4() { 32 } else { 128 };
        if m.source.iter().chain(&m.destination).any(|prefix| prefix.bits > width(prefix)) {
            return wrong("a prefix has more bits than its address".to_owned());
        }
        if m.source_ports.iter().chain(&m.destination_ports).any(|r| r.first > r.last) {
            return wrong("a range of ports ends before it starts".to_owned());
        }
        if m.length.is_some_and(|r| r.first > r.last) || m.ttl.is_some_and(|r| r.first > r.last) {
            return wrong("a range of length or ttl ends before it starts".to_owned());
        }
        if m.tcp_flags.is_some_and(|flags| flags.set & flags.clear != 0) {
            return wrong("a TCP flag cannot be both set and clear".to_owned());
        }
        if let Some(pattern) = &m.payload {
            let len = pattern.octets.len();
            if len == 0 || len > PATTERN_MAX || pattern.mask.len() != len {
                return wrong(format!(
                    "a payload pattern has 1 to {PATTERN_MAX} octets, and a mask of the same length"
                ));
            }
            if pattern.offset > PATTERN_OFFSET_MAX {
                return wrong(format!("a payload offset is at most {PATTERN_OFFSET_MAX}"));
            }
        }
        match self.action {
            Action::Limit(limit) => self.check_limit(&limit),
            Action::Drop | Action::Pass => Ok(()),
        }
    }

    fn check_limit(&self, limit: &Limit) -> Result<(), RuleError> {
        let wrong = |what: String| Err(RuleError::Setting { name: self.name.clone(), what });
        if limit.packets.is_none() && limit.octets.is_none() {
            return wrong("a limit needs packets_per_second, bytes_per_second or both".to_owned());
        }
        let bounds = [
            (limit.packets, "packets", 1, PACKET_RATE_MAX, 1),
            (limit.octets, "bytes", OCTET_RATE_MIN, OCTET_RATE_MAX, BURST_OCTETS_MIN),
        ];
        for (rate, unit, low, high, least) in bounds {
            let Some(rate) = rate else { continue };
            if !(low..=high).contains(&rate.per_second) {
                return wrong(format!("{unit} per second lie between {low} and {high}"));
            }
            if !(least..=BURST_MAX).contains(&rate.burst) {
                return wrong(format!("a burst of {unit} lies between {least} and {BURST_MAX}"));
            }
        }
        Ok(())
    }
}

/// Checks rules as a whole.
///
/// # Errors
/// The first fault.
pub fn check(rules: &[Rule]) -> Result<(), RuleError> {
    if rules.len() > RULES_MAX {
        return Err(RuleError::TooMany { count: rules.len() });
    }
    let mut names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        if let [one, other] = pair
            && one == other
        {
            return Err(RuleError::Twice { name: (*one).to_owned() });
        }
    }
    rules.iter().try_for_each(Rule::check)
}
