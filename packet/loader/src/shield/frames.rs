//! Frames made to order: for self-tests, tests and measurements. Checksums are zero, as no rule
//! looks at them.

use std::net::IpAddr;

use super::interpret;
use super::packet;
use super::rule::{Match, Prefix, Rule};

/// Octets of a frame that a test run takes, less what it needs around it in a page.
pub const FRAME_MAX: usize = 3000;

/// A frame to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// VLAN tags.
    pub tags: usize,
    /// Family.
    pub v6: bool,
    /// As a number of 32 or 128 bits.
    pub source: u128,
    /// As a number of 32 or 128 bits.
    pub destination: u128,
    /// The last one, behind extensions.
    pub protocol: u8,
    /// Of TCP, UDP and SCTP.
    pub source_port: u16,
    /// Of TCP, UDP and SCTP.
    pub destination_port: u16,
    /// TCP flags.
    pub flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// One word of IPv4 options, or an IPv6 header of destination options.
    pub options: bool,
    /// Place of the fragment in units of eight octets, and whether more follow.
    pub fragment: Option<(u16, bool)>,
    /// Further IPv6 extension headers of eight octets, by number.
    pub extensions: Vec<u8>,
    /// Behind the transport header.
    pub payload: Vec<u8>,
    /// What the IP header says in place of the truth.
    pub length: Option<u32>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            tags: 0,
            v6: false,
            source: 0x0a00_0001,
            destination: 0xcb00_7101,
            protocol: 17,
            source_port: 40_000,
            destination_port: 443,
            flags: 0x10,
            ttl: 64,
            options: false,
            fragment: None,
            extensions: Vec::new(),
            payload: vec![0; 16],
            length: None,
        }
    }
}

impl Frame {
    /// Its octets.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for _ in 0..self.tags {
            octets.extend([0x81, 0, 0, 7]);
        }
        let transport = self.transport();
        if self.v6 {
            octets.extend([0x86, 0xdd]);
            octets.extend(self.v6_header());
        } else {
            octets.extend([0x08, 0]);
            octets.extend(self.v4_header());
        }
        octets.extend(transport);
        octets.truncate(FRAME_MAX);
        octets
    }

    /// Octets of the IP packet as its header says.
    #[must_use]
    pub fn ip_length(&self) -> u32 {
        let headers = match (self.v6, self.options, self.fragment) {
            (false, options, _) => 20 + usize::from(options) * 4,
            (true, options, fragment) => {
                let more = usize::from(options) + usize::from(fragment.is_some());
                40 + (more + self.extensions.len()) * 8
            }
        };
        self.length.unwrap_or((headers + self.transport().len()) as u32)
    }

    fn transport(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        if matches!(self.protocol, 6 | 17 | 132) {
            octets.extend(self.source_port.to_be_bytes());
            octets.extend(self.destination_port.to_be_bytes());
        }
        match self.protocol {
            6 => octets.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]),
            17 => octets.extend([0; 4]),
            132 => octets.extend([0; 8]),
            _ => {}
        }
        octets.extend(&self.payload);
        octets
    }

    fn v4_header(&self) -> Vec<u8> {
        let fragment = self.fragment.map_or(0, |(at, more)| at & 0x1fff | u16::from(more) << 13);
        let mut octets = vec![if self.options { 0x46 } else { 0x45 }, 0];
        octets.extend((self.ip_length() as u16).to_be_bytes());
        octets.extend([0, 0]);
        octets.extend(fragment.to_be_bytes());
        octets.extend([self.ttl, self.protocol, 0, 0]);
        octets.extend((self.source as u32).to_be_bytes());
        octets.extend((self.destination as u32).to_be_bytes());
        if self.options {
            octets.extend([1, 1, 1, 1]);
        }
        octets
    }

    fn v6_header(&self) -> Vec<u8> {
        let mut chain: Vec<u8> = Vec::new();
        chain.extend(self.options.then_some(60));
        chain.extend(&self.extensions);
        chain.extend(self.fragment.map(|_| 44));
        let mut octets = vec![0x60, 0, 0, 0];
        octets.extend((self.ip_length().saturating_sub(40) as u16).to_be_bytes());
        octets.extend([chain.first().copied().unwrap_or(self.protocol), self.ttl]);
        octets.extend(self.source.to_be_bytes());
        octets.extend(self.destination.to_be_bytes());
        for (at, header) in chain.iter().enumerate() {
            let next = chain.get(at + 1).copied().unwrap_or(self.protocol);
            let word = match (header, self.fragment) {
                (44, Some((at, more))) => (at << 3 | u16::from(more)).to_be_bytes(),
                _ => [1, 4],
            };
            octets.extend([next, 0, word[0], word[1], 0, 0, 0, 0]);
        }
        octets
    }

    /// A frame that a rule matches; `None` where none was found, as for a rule whose demands
    /// contradict each other.
    #[must_use]
    pub fn matching(rule: &Rule) -> Option<Self> {
        let m = &rule.matches;
        let v6 = family(m)?;
        let of = |prefixes: &[Prefix], other: u128| {
            let own = prefixes.iter().find(|prefix| prefix.address.is_ipv6() == v6);
            own.map_or(other, |prefix| prefix.bounds().0)
        };
        let net = if v6 { 0x2001_0db8_0000_0000_0000_0000_0000_0000 } else { 0x0a00_0000 };
        let other = if m.tcp_flags.is_some() { 6 } else { 17 };
        let mut frame = Self {
            v6,
            source: of(&m.source, net | 1),
            destination: of(&m.destination, net | 2),
            protocol: m.protocol.unwrap_or(other),
            source_port: m.source_ports.first().map_or(40_000, |range| range.first),
            destination_port: m.destination_ports.first().map_or(443, |range| range.first),
            flags: m.tcp_flags.map_or(0x10, |flags| flags.set),
            ttl: m.ttl.map_or(64, |range| range.first),
            options: m.ip_options.unwrap_or(false),
            fragment: m.fragment.filter(|wanted| *wanted).map(|_| (0, true)),
            payload: Vec::new(),
            ..Self::default()
        };
        if let Some(pattern) = &m.payload {
            frame.payload.resize(usize::from(pattern.offset), 0);
            let masked = pattern.octets.iter().zip(&pattern.mask).map(|(octet, mask)| octet & mask);
            frame.payload.extend(masked);
        }
        if let Some(range) = m.length {
            let short = range.first.saturating_sub(frame.ip_length()) as usize;
            frame.payload.resize(frame.payload.len() + short.min(1500), 0);
            frame.length = Some(frame.ip_length().max(range.first));
        }
        let octets = frame.octets();
        let packet = packet::read(&octets)?;
        interpret::matches(m, &packet).then_some(frame)
    }

    /// Frames that differ from this one by a little in one thing that a rule asks about.
    #[must_use]
    pub fn near_misses(&self, m: &Match) -> Vec<Self> {
        let mut misses = Vec::new();
        let mut miss = |change: &dyn Fn(&mut Self)| {
            let mut other = self.clone();
            change(&mut other);
            misses.push(other);
        };
        let width: u8 = if self.v6 { 128 } else { 32 };
        let last_bit = |prefixes: &[Prefix]| {
            let own = prefixes.iter().find(|p| p.address.is_ipv6() == self.v6 && p.bits > 0)?;
            Some(1_u128 << (width - own.bits.min(width)))
        };
        if let Some(bit) = last_bit(&m.source) {
            miss(&|frame| frame.source ^= bit);
        }
        if let Some(bit) = last_bit(&m.destination) {
            miss(&|frame| frame.destination ^= bit);
        }
        if let Some(protocol) = m.protocol {
            miss(&|frame| frame.protocol = protocol ^ 1);
        }
        if let Some(range) = m.source_ports.first() {
            miss(&|frame| frame.source_port = range.last.wrapping_add(1));
            miss(&|frame| frame.source_port = range.last);
        }
        if let Some(range) = m.destination_ports.first() {
            miss(&|frame| frame.destination_port = range.first.wrapping_sub(1));
            miss(&|frame| frame.destination_port = range.last);
        }
        if let Some(flags) = m.tcp_flags {
            miss(&|frame| frame.flags = flags.set | flags.clear);
            miss(&|frame| frame.flags = 0);
        }
        if let Some(range) = m.ttl {
            miss(&|frame| frame.ttl = range.last.wrapping_add(1));
            miss(&|frame| frame.ttl = range.last);
        }
        if let Some(range) = m.length {
            miss(&|frame| frame.length = Some(range.last));
            miss(&|frame| frame.length = Some(range.last.saturating_add(1).min(0xffff)));
        }
        if let Some(last) = self.payload.len().checked_sub(1).filter(|_| m.payload.is_some()) {
            miss(&|frame| frame.payload.truncate(last));
            miss(&|frame| frame.payload.iter_mut().skip(last).for_each(|octet| *octet ^= 1));
        }
        if m.ip_options.is_some() {
            miss(&|frame| frame.options = !frame.options);
        }
        if m.fragment.is_some() {
            miss(&|frame| frame.fragment = frame.fragment.is_none().then_some((3, false)));
        }
        misses
    }
}

/// A family that both lists of prefixes have: whether it is IPv6.
fn family(m: &Match) -> Option<bool> {
    let has = |prefixes: &[Prefix], v6: bool| {
        let of = |prefix: &Prefix| matches!(prefix.address, IpAddr::V6(_)) == v6;
        prefixes.is_empty() || prefixes.iter().any(of)
    };
    [false, true].into_iter().find(|v6| has(&m.source, *v6) && has(&m.destination, *v6))
}
