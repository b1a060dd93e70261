//! `[[shield_rule]]`: which packets are dropped, limited or let through before anything else looks
//! at them.

use super::{PortRange, Range};
use crate::config::Name;
use crate::net::IpNet;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

/// One `[[shield_rule]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ShieldRule {
    /// Unique name, under which it is counted.
    pub name: Name,
    /// Packets it is for.
    pub matches: ShieldMatch,
    /// What happens to them.
    pub action: ShieldAction,
    /// Whether it counts only, as if it did not stand there otherwise.
    pub dry_run: bool,
    /// One of so many matching packets is sampled, if any.
    pub sample: Option<NonZeroU32>,
}

/// What a packet must be. Everything that is given must hold; nothing given matches every packet.
#[derive(Clone, Debug, PartialEq)]
pub struct ShieldMatch {
    /// Sources, as networks without host bits; any where empty.
    pub source: Vec<IpNet>,
    /// Destinations, as networks without host bits; any where empty. Where both are given, some
    /// source and some destination are of one family.
    pub destination: Vec<IpNet>,
    /// Protocol, and what only some protocols have.
    pub transport: Transport,
    /// Octets of the IP packet with its header: total length in IPv4, payload length + 40 in IPv6.
    pub length: Option<Range<u16>>,
    /// Time to live, or hop limit.
    pub ttl: Option<Range<u8>>,
    /// Octets behind the transport header.
    pub payload: Option<PayloadMatch>,
    /// IPv4 options or IPv6 extension headers.
    pub ip_options: Option<IpOptions>,
    /// Whether it is a fragment, the first one included.
    pub fragment: Option<bool>,
}

/// Protocol of a rule, with the matches that this protocol has.
#[derive(Clone, Debug, PartialEq)]
pub enum Transport {
    /// Any protocol.
    Any,
    /// A protocol without ports, by its number: none of TCP, UDP and SCTP.
    Portless(u8),
    /// TCP.
    Tcp(Ports, Option<TcpFlags>),
    /// UDP.
    Udp(Ports),
    /// SCTP.
    Sctp(Ports),
    /// TCP, UDP or SCTP, with one list of ports not empty.
    Ported(Ports),
}

/// Ports of a rule.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Ports {
    /// Source ports, ascending and apart from each other; any where empty.
    pub source: Vec<PortRange>,
    /// Destination ports, ascending and apart from each other; any where empty.
    pub destination: Vec<PortRange>,
}

impl Transport {
    /// The protocol's number; none where it is not one alone.
    #[must_use]
    pub fn protocol(&self) -> Option<u8> {
        match self {
            Self::Any | Self::Ported(_) => None,
            Self::Portless(number) => Some(*number),
            Self::Tcp(..) => Some(6),
            Self::Udp(_) => Some(17),
            Self::Sctp(_) => Some(132),
        }
    }

    /// Ports, if the protocol has any.
    #[must_use]
    pub fn ports(&self) -> Option<&Ports> {
        match self {
            Self::Any | Self::Portless(_) => None,
            Self::Tcp(ports, _) | Self::Udp(ports) | Self::Sctp(ports) | Self::Ported(ports) => {
                Some(ports)
            }
        }
    }

    /// TCP flags, if they matter.
    #[must_use]
    pub fn flags(&self) -> Option<TcpFlags> {
        if let Self::Tcp(_, flags) = self { *flags } else { None }
    }
}

/// Flags of a TCP header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags {
    set: u8,
    clear: u8,
}

impl TcpFlags {
    /// Names of the flags, by ascending bit.
    pub const NAMES: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

    /// Flags that must be set and flags that must not; `None` where one stands on both sides, or
    /// none on either.
    #[must_use]
    pub fn new(set: u8, clear: u8) -> Option<Self> {
        (set & clear == 0 && set | clear != 0).then_some(Self { set, clear })
    }

    /// Bits that must be set.
    #[must_use]
    pub fn set(self) -> u8 {
        self.set
    }

    /// Bits that must not be set.
    #[must_use]
    pub fn clear(self) -> u8 {
        self.clear
    }
}

/// Octets behind the transport header. A packet that ends before them does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadMatch {
    offset: u16,
    octets: Box<[(u8, u8)]>,
}

impl PayloadMatch {
    /// Highest offset: what lies further back is not in the first page of every driver's frame.
    pub const OFFSET_MAX: u16 = 1023;
    /// Most octets compared: two words of the machine.
    pub const OCTETS_MAX: usize = 16;

    /// A match of `octets` as far as `mask` has bits. `None` where nothing is compared, where the
    /// lengths differ, where a bit stands outside of the mask, or past the limits.
    #[must_use]
    pub fn new(offset: u16, octets: &[u8], mask: &[u8]) -> Option<Self> {
        let stray = octets.iter().zip(mask).any(|(octet, mask)| octet & !mask != 0);
        let fits = offset <= Self::OFFSET_MAX && octets.len() <= Self::OCTETS_MAX;
        let compares = mask.iter().any(|mask| *mask != 0);
        if !fits || !compares || stray || octets.len() != mask.len() {
            return None;
        }
        Some(Self { offset, octets: octets.iter().copied().zip(mask.iter().copied()).collect() })
    }

    /// First octet, from the end of the header.
    #[must_use]
    pub fn offset(&self) -> u16 {
        self.offset
    }

    /// Each octet with its mask; 1 to [`PayloadMatch::OCTETS_MAX`].
    #[must_use]
    pub fn octets(&self) -> &[(u8, u8)] {
        &self.octets
    }
}

/// Whether a packet has IPv4 options or IPv6 extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpOptions {
    /// It has.
    Present,
    /// It has none.
    Absent,
}

/// What happens to a packet that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShieldAction {
    /// It is dropped.
    Drop,
    /// It passes, whatever later rules say.
    Pass,
    /// What comes faster is dropped.
    Limit(RateLimit),
}

/// A token bucket, or one for each address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Packets per second, up to 100 million.
    pub packets_per_second: Option<NonZeroU64>,
    /// Octets of IP packets per second, 1,000 to 10^12; this or `packets_per_second` is given.
    pub bytes_per_second: Option<NonZeroU64>,
    /// How much of a rate may be saved up; of neither rate more than [`RateLimit::SAVED_MAX`].
    pub burst: Duration,
    /// What has a bucket of its own.
    pub per: Per,
}

impl RateLimit {
    /// Most packets or octets that a bucket holds: the kernel's side counts them in 32 bits.
    pub const SAVED_MAX: u64 = u32::MAX as u64;
    /// Octets that a bucket of octets holds at least: one packet of any size passes.
    pub const SAVED_OCTETS: u64 = 65_600;

    /// Packets that the full bucket holds, one at least.
    #[must_use]
    pub fn saved_packets(&self) -> Option<u64> {
        self.packets_per_second.map(|rate| self.saved(rate).max(1))
    }

    /// Octets that the full bucket holds, [`RateLimit::SAVED_OCTETS`] at least.
    #[must_use]
    pub fn saved_octets(&self) -> Option<u64> {
        self.bytes_per_second.map(|rate| self.saved(rate).max(Self::SAVED_OCTETS))
    }

    fn saved(&self, rate: NonZeroU64) -> u64 {
        let saved = u128::from(rate.get()).saturating_mul(self.burst.as_millis()) / 1_000;
        u64::try_from(saved).unwrap_or(u64::MAX)
    }
}

/// What has a token bucket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// The rule as a whole.
    Rule,
    /// Each source address; IPv6: each /64.
    Source,
    /// Each destination address.
    Destination,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_stand_on_one_side() {
        assert!(TcpFlags::new(2, 16).is_some());
        for (set, clear) in [(0, 0), (2, 2), (0xff, 1)] {
            assert_eq!(TcpFlags::new(set, clear), None, "{set} {clear}");
        }
    }

    #[test]
    fn a_bucket_holds_a_packet_at_least() {
        let limit = |rate, burst| RateLimit {
            packets_per_second: NonZeroU64::new(rate),
            bytes_per_second: NonZeroU64::new(rate),
            burst: Duration::from_millis(burst),
            per: Per::Rule,
        };
        for (rate, burst, packets, octets) in [
            (1, 1, 1, RateLimit::SAVED_OCTETS),
            (1_000, 2_500, 2_500, RateLimit::SAVED_OCTETS),
            (1_000_000, 1_000, 1_000_000, 1_000_000),
        ] {
            let limit = limit(rate, burst);
            assert_eq!(limit.saved_packets(), Some(packets), "{rate} {burst}");
            assert_eq!(limit.saved_octets(), Some(octets), "{rate} {burst}");
        }
        assert_eq!(limit(0, 1).saved_packets(), None);
    }

    #[test]
    fn a_payload_match_compares_something() {
        let one = PayloadMatch::new(4, &[1, 0], &[0xff, 0]).unwrap();
        assert_eq!((one.offset(), one.octets()), (4, [(1, 0xff), (0, 0)].as_slice()));
        for (offset, octets, mask) in [
            (0, [].as_slice(), [].as_slice()),
            (0, &[1], &[0xff, 0xff]),
            (0, &[0], &[0]),
            (0, &[3], &[1]),
            (1024, &[1], &[1]),
            (0, &[0; 17], &[1; 17]),
        ] {
            assert_eq!(PayloadMatch::new(offset, octets, mask), None, "{offset} {octets:?}");
        }
    }
}
