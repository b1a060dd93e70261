//! What is fixed before the programs are loaded: constants, and the sizes of maps.

use packet_abi::flow::hash_bytes;
use packet_abi::maps::{self, constants};
use packet_abi::tables::Row;
use packet_abi::{Address, Bucket, Entry, HashKey, Server, Start, Trafficset, gue};
use std::fmt;

/// UDP port of foo-over-UDP unless the configuration says another: the one above GUE's.
pub const FOU_PORT: u16 = gue::PORT + 1;
/// Octets of an outer packet unless the configuration says another: what every wire carries.
pub const MTU: u32 = 1500;
/// "Too big" replies that a CPU sends in a second unless the configuration says another: enough for
/// new flows of every client behind a short path, too few to be of use as a reflector.
pub const TOO_BIG_RATE: u32 = 1000;

/// SYNs in a second and on a CPU past which `syn_cookies = "auto"` answers by cookie, unless the
/// configuration says another number: a tenth of what fills the usual queue of a listener (4,096)
/// while a client's round trip of 100 ms passes, on one CPU of four.
pub const SYN_RATE: u32 = 1000;
/// Window scale that says that cookies carry no options.
pub const NO_WINDOW_SCALE: u32 = 255;

/// The constants of the programs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The fleet's key.
    pub key: HashKey,
    /// This server's id, 1 to [`packet_abi::tables::SERVER_ID_MAX`].
    pub self_id: u16,
    /// This server's tunnel address; IPv4 as `::ffff:a.b.c.d`. Its family is that of outer packets.
    pub address: Address,
    /// UDP port of GUE.
    pub gue_port: u16,
    /// UDP port of FOU.
    pub fou_port: u16,
    /// Octets an outer packet may have between servers.
    pub mtu: u32,
    /// Network namespace of the sockets as the kernel numbers it for this one, or -1 for the
    /// interface's own.
    pub netns: i32,
    /// "Too big" replies per second and CPU.
    pub too_big_rate: u32,
    /// SYNs per second and CPU past which `syn_cookies = "auto"` answers by cookie.
    pub syn_rate: u32,
    /// Window scale that this host's listeners choose, or [`NO_WINDOW_SCALE`]; see
    /// [`crate::cookies::window_scale`].
    pub cookie_wscale: u32,
}

impl Settings {
    /// Settings with the usual ports and sizes.
    #[must_use]
    pub const fn new(key: HashKey, self_id: u16, address: Address) -> Self {
        Self {
            key,
            self_id,
            address,
            gue_port: gue::PORT,
            fou_port: FOU_PORT,
            mtu: MTU,
            netns: -1,
            too_big_rate: TOO_BIG_RATE,
            syn_rate: SYN_RATE,
            cookie_wscale: NO_WINDOW_SCALE,
        }
    }

    /// Whether outer packets are IPv6.
    #[must_use]
    pub const fn outer_v6(&self) -> bool {
        !self.address.is_v4()
    }

    /// Constants by name, as the programs read them.
    pub(crate) fn constants(&self) -> Vec<(&'static str, Vec<u8>)> {
        let start = Start::of(&self.key).lanes.map(u64::to_ne_bytes).concat();
        vec![
            (constants::HASH_START, start),
            (constants::SELF_ID, u32::from(self.self_id).to_ne_bytes().to_vec()),
            (constants::SELF_ADDRESS, self.address.octets().to_vec()),
            (constants::OUTER_V6, u32::from(self.outer_v6()).to_ne_bytes().to_vec()),
            (constants::GUE_PORT, self.gue_port.to_be_bytes().to_vec()),
            (constants::FOU_PORT, self.fou_port.to_be_bytes().to_vec()),
            (constants::MTU, self.mtu.to_ne_bytes().to_vec()),
            (constants::NETNS, self.netns.to_ne_bytes().to_vec()),
            (constants::TOO_BIG_RATE, self.too_big_rate.to_ne_bytes().to_vec()),
            (constants::SYN_RATE, self.syn_rate.to_ne_bytes().to_vec()),
            (constants::COOKIE_WSCALE, self.cookie_wscale.to_ne_bytes().to_vec()),
        ]
    }

    /// As words, for the pins.
    pub(crate) fn words(&self) -> [u64; 8] {
        let ports = u64::from(self.self_id)
            | u64::from(self.gue_port) << 16
            | u64::from(self.fou_port) << 32;
        let sizes = u64::from(self.mtu) | u64::from(self.too_big_rate) << 32;
        let Address { high, low } = self.address;
        let netns = u64::from(self.netns as u32);
        let cookies = u64::from(self.syn_rate) | u64::from(self.cookie_wscale) << 32;
        [self.key.first, self.key.second, high, low, ports, sizes, netns, cookies]
    }

    /// From [`Self::words`].
    pub(crate) const fn of_words(words: [u64; 8]) -> Self {
        let [first, second, high, low, ports, sizes, netns, cookies] = words;
        Self {
            key: HashKey { first, second },
            self_id: ports as u16,
            address: Address { high, low },
            gue_port: (ports >> 16) as u16,
            fou_port: (ports >> 32) as u16,
            mtu: sizes as u32,
            netns: netns as u32 as i32,
            too_big_rate: (sizes >> 32) as u32,
            syn_rate: cookies as u32,
            cookie_wscale: (cookies >> 32) as u32,
        }
    }
}

/// The key is the fleet's secret: of it only a short hash is shown, to tell whether two are equal.
impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("key", &format_args!("…{:04x}", hash_bytes(&self.key, b"shown") as u16))
            .field("self_id", &self.self_id)
            .field("address", &self.address)
            .field("gue_port", &self.gue_port)
            .field("fou_port", &self.fou_port)
            .field("mtu", &self.mtu)
            .field("netns", &self.netns)
            .field("too_big_rate", &self.too_big_rate)
            .field("syn_rate", &self.syn_rate)
            .field("cookie_wscale", &self.cookie_wscale)
            .finish()
    }
}

/// Entries that one generation may have of each kind. The maps have room for two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Entries of the trie of VIPs.
    pub trie: u32,
    /// Port rows.
    pub rows: u32,
    /// Trafficsets.
    pub sets: u32,
    /// Places for servers: the highest id and one.
    pub servers: u32,
    /// Buckets of all tables.
    pub buckets: u32,
}

impl Default for Capacities {
    fn default() -> Self {
        Self {
            trie: maps::TRIE_LEN / 2,
            rows: maps::ROWS_LEN / 2,
            sets: maps::SETS_LEN / 2,
            servers: maps::SERVERS_LEN / 2,
            buckets: maps::BUCKETS_LEN / 2,
        }
    }
}

impl Capacities {
    /// Those of tables that are there, by the octets of their values.
    pub(crate) fn of(octets: impl Fn(&str) -> Option<u32>) -> Self {
        let default = Self::default();
        let half = |name: &str| {
            let (elements, each) = default.table(name).unwrap_or_default();
            octets(name).and_then(|all| all.checked_div(each)).unwrap_or(elements) / 2
        };
        Self {
            trie: half(maps::TRIE),
            rows: half(maps::ROWS),
            sets: half(maps::SETS),
            servers: half(maps::SERVERS),
            buckets: half(maps::BUCKETS),
        }
    }

    /// Elements of both halves of a table, and octets of each; `None` for other maps.
    pub(crate) fn table(&self, name: &str) -> Option<(u32, u32)> {
        let (half, octets) = match name {
            maps::TRIE => (self.trie, size_of::<Entry>()),
            maps::ROWS => (self.rows, size_of::<Row>()),
            maps::SETS => (self.sets, size_of::<Trafficset>()),
            maps::SERVERS => (self.servers, size_of::<Server>()),
            maps::BUCKETS => (self.buckets, size_of::<Bucket>()),
            _ => return None,
        };
        Some((half.max(1).saturating_mul(2), octets as u32))
    }

    /// Constants by name, as the programs read them: what the verifier holds indexes against.
    pub(crate) fn constants(&self) -> Vec<(&'static str, Vec<u8>)> {
        let tables = [
            (constants::TRIE_ROOM, maps::TRIE),
            (constants::ROWS_ROOM, maps::ROWS),
            (constants::SETS_ROOM, maps::SETS),
            (constants::SERVERS_ROOM, maps::SERVERS),
            (constants::BUCKETS_ROOM, maps::BUCKETS),
        ];
        let elements = |name| self.table(name).map_or(0, |(elements, _)| elements);
        let octets = |name| elements(name).to_ne_bytes().to_vec();
        tables.into_iter().map(|(constant, name)| (constant, octets(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_their_words_and_hide_the_key() {
        let address = Address::v4(u32::from_ne_bytes([192, 0, 2, 7]));
        let key = HashKey { first: 0x0123_4567_89ab_cdef, second: 0xfedc_ba98_7654_3210 };
        let mut settings = Settings::new(key, 4095, address);
        (settings.mtu, settings.netns, settings.too_big_rate) = (9000, -1, 17);
        (settings.syn_rate, settings.cookie_wscale) = (u32::MAX, 7);
        assert_eq!(Settings::of_words(settings.words()), settings);
        let shown = format!("{settings:?}");
        assert!(!shown.contains("123456789") && !shown.contains("81985529216486895"), "{shown}");
    }
}
