//! `[packet]`, `[[server]]`, `[[trafficset]]`: the packet path of one server of a fleet. The rules
//! of its shield are in `shield`, the small types that cannot be wrong in `value`.

mod shield;
mod trafficset;
mod value;

pub use shield::{
    IpOptions, PayloadMatch, Per, Ports, RateLimit, ShieldAction, ShieldMatch, ShieldRule,
    TcpFlags, Transport,
};
pub use trafficset::{
    Dissector, Encapsulation, Fragments, Protocols, QuicRouting, SessionId, Strategy, SynCookies,
    Trafficset, UdpMode,
};
pub use value::{
    HashKey, InterfaceName, LinkAddress, NoHashKey, PortRange, Range, ServerId, parse_hex,
};

use super::Name;
use std::net::IpAddr;
use std::path::PathBuf;

/// Everything that the packet path of this server is told. What one file gives is the same on every
/// server of a fleet; `interfaces`, `address` and `self_id` are its own.
#[derive(Clone, Debug, PartialEq)]
pub struct PacketConfig {
    /// Name of the folder in which programs and maps are pinned: 1 to 64 letters, digits, `-`, `_`.
    pub name: Name,
    /// Interfaces that packets for VIPs and from other servers come in at. Never empty, each once.
    pub interfaces: Vec<InterfaceName>,
    /// Which of `servers` this one is: the one whose address is `address`.
    pub self_id: ServerId,
    /// Where tunnel packets for this server go. Its family is that of every server's address.
    pub address: IpAddr,
    /// UDP port of GUE packets; never 0.
    pub port: u16,
    /// UDP port of FOU packets; never 0 and never `port`.
    pub fou_port: u16,
    /// What flows are hashed with; the same in the whole fleet.
    pub hash_key: HashKey,
    /// Octets of the largest IP packet between servers, 1280 to 9216.
    pub mtu: u16,
    /// How the programs are attached.
    pub mode: AttachMode,
    /// Network namespace in which sockets are looked up; the interfaces' own where none is given.
    pub netns: Option<PathBuf>,
    /// What happens to packets whose source is not reached by the interface they came in at.
    pub reverse_path: ReversePath,
    /// "Too big" replies per second and CPU.
    pub too_big_rate: u32,
    /// Sizes of the kernel's maps.
    pub capacities: Capacities,
    /// The fleet, by ascending id. Ids and addresses are unique.
    pub servers: Vec<Server>,
    /// What is served at which addresses and ports, in the order of the file. Names are unique. No
    /// two have the same prefix, protocol and port.
    pub trafficsets: Vec<Trafficset>,
    /// Rules of the shield, in the order in which they are tried. Names are unique.
    pub shield_rules: Vec<ShieldRule>,
}

impl PacketConfig {
    /// The server of this id.
    #[must_use]
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        let at = self.servers.binary_search_by_key(&id, |server| server.id).ok()?;
        self.servers.get(at)
    }

    /// Octets that the outer headers of a GUE packet with one hop take from `mtu`: IP (20 or 40),
    /// UDP (8), GUE with its private data (8), the hop (4 or 16).
    #[must_use]
    pub fn overhead(&self) -> u16 {
        if self.address.is_ipv4() { 20 + 8 + 8 + 4 } else { 40 + 8 + 8 + 16 }
    }
}

/// How programs are attached to interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// Above the driver, for tests: a decapsulated packet enters the program again.
    GenericUnsafe,
}

/// The strict reverse-path check (RFC 3704 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReversePath {
    /// Sources are not looked at.
    Off,
    /// A packet is dropped unless replies to its source leave by the interface it came in at.
    Strict,
}

/// Most that one generation may hold: entries of kernel maps, which hold two generations each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// Entries of the trie of VIPs; 8 octets each.
    pub trie_entries: u32,
    /// Rows of protocols and ports; 8 octets each.
    pub port_rows: u32,
    /// Buckets of all tables together; 8 octets each.
    pub buckets: u32,
}

/// One `[[server]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its id, by which packets name it; unique.
    pub id: ServerId,
    /// Where tunnel packets for it go; unique, and of the family of [`PacketConfig::address`].
    pub address: IpAddr,
    /// Its share of flows, relative to other servers; never 0.
    pub capacity: u32,
    /// Whether it gets flows.
    pub state: ServerState,
    /// Its Ethernet address, where tunnel packets need not go by the router.
    pub link_address: Option<LinkAddress>,
}

/// Whether a server gets flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// New flows and established ones.
    Active,
    /// Established flows only.
    Draining,
    /// Nothing.
    Dead,
}
