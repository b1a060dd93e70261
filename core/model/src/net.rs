//! Addresses as operators write them: prefixes and listen addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// An address prefix such as `10.0.0.0/8` or `::1`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub struct IpNet {
    base: IpAddr,
    bits: u8,
}

impl IpNet {
    /// A prefix of `bits` bits; host bits of `base` are cleared. `None` when `bits` is too large.
    #[must_use]
    pub fn new(base: IpAddr, bits: u8) -> Option<Self> {
        let width = if base.is_ipv4() { 32 } else { 128 };
        if bits > width {
            return None;
        }
        Some(Self { base: mask(base, bits), bits })
    }

    /// The network: the lowest address of the prefix.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.base
    }

    /// Bits that addresses of the prefix have in common: 0 to 32, or to 128 for IPv6.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether `address` lies in this prefix. IPv4-mapped IPv6 addresses count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && mask(address, self.bits) == self.base
    }
}

fn mask(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & keep).into())
        }
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & keep).into())
        }
    }
}

impl FromStr for IpNet {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address or prefix such as 10.0.0.0/8 or ::1");
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let bits = bits.unwrap_or(if base.is_ipv4() { 32 } else { 128 });
        Self::new(base, bits).ok_or_else(wrong)
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

/// Where something listens: an address with a port, or a Unix socket (`unix:/run/weir.sock`).
#[derive(Clone, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix stream socket at this path.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.starts_with('/') {
                return Ok(Self::Unix(path.into()));
            }
            return Err(format!("`{text}`: a Unix socket needs an absolute path"));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            format!(
                "`{text}` is not an address with a port such as 0.0.0.0:443, [::]:443 or \
                 unix:/run/weir/admin.sock"
            )
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_its_addresses_and_no_others() {
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe80::1"),
            ("::/0", "fe80::1", "1.2.3.4"),
            ("192.168.1.77/24", "::ffff:192.168.1.3", "192.168.2.1"),
        ] {
            let net: IpNet = net.parse().unwrap();
            assert!(net.contains(inside.parse().unwrap()), "{net} {inside}");
            assert!(!net.contains(outside.parse().unwrap()), "{net} {outside}");
        }
        let net: IpNet = "192.168.1.77/24".parse().unwrap();
        assert_eq!((net.address().to_string(), net.bits()), ("192.168.1.0".to_owned(), 24));
        assert!("10.0.0.0/33".parse::<IpNet>().is_err());
        assert!("x/3".parse::<IpNet>().is_err());
    }
}
