//! Small values of the packet path that are right once they exist.

use std::fmt;
use std::str::FromStr;

/// Which server of a fleet: 1 to 4,095.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(u16);

impl ServerId {
    /// Highest id. The kernel's array of servers lies in the second-level cache; 0 is no server.
    pub const MAX: u16 = 4095;

    /// An id; `None` where it is 0 or above [`ServerId::MAX`].
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if id == 0 || id > Self::MAX { None } else { Some(Self(id)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerId({})", self.0)
    }
}

/// The key of the flow hash. Who knows it can choose flows that all meet on one server, so neither
/// `Debug` nor anything else shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// A key; `None` where all octets are the same, which is an example and no secret.
    #[must_use]
    pub fn new(octets: [u8; 16]) -> Option<Self> {
        let [first, rest @ ..] = octets;
        rest.iter().any(|octet| *octet != first).then_some(Self(octets))
    }

    /// The octets, for the program that hashes and for a fingerprint.
    #[must_use]
    pub const fn octets(&self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(hidden)")
    }
}

/// That a text is no key; it does not say what was found, since that may be most of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHashKey {
    /// Not 32 hexadecimal digits.
    #[error("it is not 32 hexadecimal digits")]
    Form,
    /// Every octet is the same.
    #[error("every octet of it is the same")]
    Same,
}

impl FromStr for HashKey {
    type Err = NoHashKey;

    fn from_str(text: &str) -> Result<Self, NoHashKey> {
        let octets = parse_hex(text).ok_or(NoHashKey::Form)?;
        let octets: [u8; 16] = octets.try_into().map_err(|_| NoHashKey::Form)?;
        Self::new(octets).ok_or(NoHashKey::Same)
    }
}

/// Octets from an even number of hexadecimal digits.
#[must_use]
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let octet = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(octet).collect() } else { None }
}

/// The name of a network interface: 1 to 15 visible characters without `/` and `:`, and neither
/// `.` nor `..` (the kernel's `dev_valid_name`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct InterfaceName(Box<str>);

impl InterfaceName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let proper = (1..=15).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"/:".contains(&b))
            && text != "."
            && text != "..";
        if proper { Ok(Self(text.into())) } else { Err(format!("`{text}` names no interface")) }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Ethernet address of one machine: neither a group address nor zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkAddress([u8; 6]);

impl LinkAddress {
    /// The octets, in the order of the wire.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for LinkAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not the Ethernet address of one machine");
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            *octet = parse_hex(part).and_then(|bytes| bytes.first().copied()).ok_or_else(wrong)?;
        }
        let [first, ..] = octets;
        let one_machine = first & 1 == 0 && octets != [0; 6];
        if parts.next().is_none() && one_machine { Ok(Self(octets)) } else { Err(wrong()) }
    }
}

impl fmt::Display for LinkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Numbers from the first to the last one, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Range<T> {
    first: T,
    last: T,
}

/// Ports from the first to the last one.
pub type PortRange = Range<u16>;

impl<T: Copy + Ord> Range<T> {
    /// A range; `None` where it ends before it begins.
    #[must_use]
    pub fn new(first: T, last: T) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// The lowest one.
    #[must_use]
    pub fn first(&self) -> T {
        self.first
    }

    /// The highest one.
    #[must_use]
    pub fn last(&self) -> T {
        self.last
    }

    /// Whether a number lies in it.
    #[must_use]
    pub fn contains(&self, number: T) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// Whether some number lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl<T: Copy + Ord + FromStr> FromStr for Range<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a number or a range such as 8000-8999");
        let number = |text: &str| {
            let plain = text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<T>().ok().filter(|_| plain).ok_or_else(wrong)
        };
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(text)?, number(text)?),
        };
        Self::new(first, last).ok_or_else(wrong)
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for Range<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_key_is_32_digits_and_is_never_shown() {
        let key: HashKey = "000102030405060708090A0b0c0d0e0f".parse().unwrap();
        assert_eq!(key.octets()[10], 10);
        assert_eq!(format!("{key:?}"), "HashKey(hidden)");
        for (text, expect) in [
            ("", NoHashKey::Form),
            ("000102030405060708090a0b0c0d0e0", NoHashKey::Form),
            ("000102030405060708090a0b0c0d0e0f0", NoHashKey::Form),
            ("000102030405060708090a0b0c0d0e0f00", NoHashKey::Form),
            ("+00102030405060708090a0b0c0d0e0f", NoHashKey::Form),
            ("é00102030405060708090a0b0c0d0e0", NoHashKey::Form),
            ("00000000000000000000000000000000", NoHashKey::Same),
            ("abababababababababababababababab", NoHashKey::Same),
        ] {
            assert_eq!(text.parse::<HashKey>(), Err(expect), "{text}");
        }
    }

    #[test]
    fn ranges_are_read_and_written() {
        for (text, expect) in [
            ("443", Some((443, 443))),
            ("8000-8999", Some((8000, 8999))),
            ("0-65535", Some((0, 65_535))),
            ("9-8", None),
            ("65536", None),
            ("+1", None),
            ("1-", None),
            ("-1", None),
            ("1-2-3", None),
            (" 1", None),
            ("", None),
        ] {
            let range = text.parse::<PortRange>().ok();
            assert_eq!(range.map(|range| (range.first(), range.last())), expect, "{text}");
            if let Some(range) = range {
                assert_eq!(range.to_string(), text);
            }
        }
        assert_eq!("7-7".parse::<Range<u8>>().unwrap().to_string(), "7");
    }

    #[test]
    fn ranges_overlap_where_they_share_a_number() {
        let range = |text: &str| text.parse::<PortRange>().unwrap();
        for (one, other, expect) in
            [("1-5", "5-9", true), ("1-5", "6-9", false), ("1-9", "3", true), ("3", "3", true)]
        {
            assert_eq!(range(one).overlaps(&range(other)), expect, "{one} {other}");
            assert_eq!(range(other).overlaps(&range(one)), expect, "{other} {one}");
        }
    }

    #[test]
    fn link_addresses_are_of_one_machine() {
        for (text, right) in [
            ("02:00:5e:10:00:ff", true),
            ("AA:bb:cc:dd:ee:0f", true),
            ("01:00:5e:10:00:ff", false),
            ("ff:ff:ff:ff:ff:ff", false),
            ("00:00:00:00:00:00", false),
            ("2:0:5e:10:0:ff", false),
            ("02:00:5e:10:00", false),
            ("02:00:5e:10:00:ff:00", false),
            ("02-00-5e-10-00-ff", false),
        ] {
            let parsed = text.parse::<LinkAddress>();
            assert_eq!(parsed.is_ok(), right, "{text}");
            if let Ok(address) = parsed {
                assert_eq!(address.to_string(), text.to_lowercase());
            }
        }
    }

    #[test]
    fn interface_names_are_the_kernels() {
        for (text, right) in [
            ("eth0", true),
            ("enp0s31f6.100", true),
            ("abcdefghijklmno", true),
            ("abcdefghijklmnop", false),
            ("", false),
            ("..", false),
            ("a/b", false),
            ("a b", false),
            ("a:1", false),
        ] {
            assert_eq!(text.parse::<InterfaceName>().is_ok(), right, "{text}");
        }
    }
}
