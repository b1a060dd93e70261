//! Rules and frames for measurements: `cargo xtask bench packet` builds shields of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::frames::Frame;
use super::install::ShieldError;
use super::plan::{self, Place};
use super::programs::{Load, Trial};
use super::rule::{Action, Flags, Match, Pattern, Prefix, Range, Rule};

/// What a measured frame meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meets {
    /// No rule.
    None,
    /// The first rule.
    First,
    /// The last rule.
    Last,
}

/// Rules as an attack leaves them behind: sources, services with their ports, floods by flags,
/// length and TTL, and payloads. All of them drop.
#[must_use]
pub fn rules(count: usize) -> Vec<Rule> {
    (0..count).map(rule).collect()
}

fn rule(number: usize) -> Rule {
    // Numbers spread over the addresses by an odd multiplier, so that no two rules meet.
    let spread = (number as u32).wrapping_mul(0x9e37_79b1);
    let v4 = |address: u32, bits| Prefix { address: IpAddr::V4(Ipv4Addr::from(address)), bits };
    let net = 0x2001_0db8_0000_0000_0000_0000_0000_0000_u128;
    let v6 = net | u128::from(spread) << 64;
    let service = v4(0xcb00_7100 | (number as u32 / 6 % 256), 32);
    let port = |port: u16| vec![Range { first: port, last: port }];
    let mut m = Match::default();
    match number % 6 {
        0 => m.source = vec![v4(spread, 32)],
        1 => m.source = vec![v4(spread, 24)],
        2 => m.source = vec![Prefix { address: IpAddr::V6(Ipv6Addr::from(v6)), bits: 64 }],
        3 => {
            m.destination = vec![service];
            m.protocol = Some(17);
            m.source_ports = port((spread >> 16) as u16 | 1024);
        }
        4 => {
            m.destination = vec![service];
            m.tcp_flags = Some(Flags { set: 2, clear: 16 });
            m.ttl = Some(Range { first: 200 + (number % 50) as u8, last: 255 });
            m.length = Some(Range { first: 40 + number as u32 % 1000, last: 1100 });
        }
        _ => {
            let octets = spread.to_be_bytes().to_vec();
            m.payload = Some(Pattern { offset: 4, octets, mask: vec![0xff; 4] });
            m.protocol = Some(17);
        }
    }
    Rule::new(&format!("synthetic-{number}"), m, Action::Drop)
}

/// A frame that meets what is wanted of [`rules`]; without rules there is only [`Meets::None`].
#[must_use]
pub fn frame(rules: &[Rule], meets: Meets, v6: bool) -> Option<Vec<u8>> {
    let rule = match meets {
        Meets::None => return Some(stranger(v6)),
        Meets::First => rules.first(),
        Meets::Last => rules.last(),
    };
    Frame::matching(rule?).map(|frame| frame.octets())
}

/// An ordinary segment to a protected service, from a source that no rule names.
fn stranger(v6: bool) -> Vec<u8> {
    let net = 0x2001_0db8_0000_0000_0000_0000_0000_0000_u128;
    let (source, destination) =
        if v6 { (net | 0xffff << 64 | 9, net | 1) } else { (0xc000_0263, 0xcb00_7101) };
    let frame = Frame { v6, source, destination, protocol: 6, ..Frame::default() };
    frame.octets()
}

/// Programs of rules, with maps of their own, to be run on frames.
///
/// # Errors
/// When the kernel refuses.
pub fn load(rules: &[Rule]) -> Result<Trial, ShieldError> {
    let places: Vec<Place> = (0..rules.len() as u32).map(|slot| Place { slot, epoch: 1 }).collect();
    Trial::new(plan::plan(rules, &places)?, &places, Load::default())
}
