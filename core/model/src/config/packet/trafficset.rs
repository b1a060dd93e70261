//! `[[trafficset]]`: addresses and ports, what tells flows apart there, and who serves them.

use super::{PortRange, ServerId};
use crate::config::Name;
use crate::net::IpNet;

/// One `[[trafficset]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trafficset {
    /// Unique name.
    pub name: Name,
    /// Addresses, as networks without host bits. Never empty, each once.
    pub prefixes: Vec<IpNet>,
    /// Protocols.
    pub protocols: Protocols,
    /// Ports, ascending and apart from each other; every port where empty.
    pub ports: Vec<PortRange>,
    /// What tells flows apart.
    pub dissector: Dissector,
    /// How flows are given to servers.
    pub strategy: Strategy,
    /// How UDP packets are taken.
    pub udp: UdpMode,
    /// What happens to fragments.
    pub fragments: Fragments,
    /// Who serves, by ascending id; never empty. Draining and dead ones are there too.
    pub servers: Vec<ServerId>,
    /// Whether SYNs are answered with cookies before the stack sees them.
    pub syn_cookies: SynCookies,
}

/// Protocols of a trafficset: one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Both.
    TcpAndUdp,
}

impl Protocols {
    /// Whether TCP is one of them.
    #[must_use]
    pub fn tcp(self) -> bool {
        self != Self::Udp
    }

    /// Whether UDP is one of them.
    #[must_use]
    pub fn udp(self) -> bool {
        self != Self::Tcp
    }
}

/// What tells flows apart. TCP always goes by addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dissector {
    /// Addresses and ports.
    FourTuple,
    /// QUIC: the server that a routable connection id names, else addresses and ports.
    Quic(QuicRouting),
    /// Octets of the UDP payload.
    SessionId(SessionId),
}

/// Plaintext connection ids of QUIC-LB (draft-ietf-quic-load-balancers): an octet whose top three
/// bits are the config id, the server id, the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuicRouting {
    /// Config id of connection ids that are looked at, 0 to 6; 7 says that an id names no server.
    pub config_id: u8,
    /// Octets of the server id, 1 to 8, in network order; the ids of all servers fit.
    pub server_id_length: u8,
    /// Octets of the nonce, 4 to 18; with the server id at most 19.
    pub nonce_length: u8,
}

impl QuicRouting {
    /// Octets of the whole connection id: 6 to 20.
    #[must_use]
    pub fn id_length(self) -> u8 {
        1 + self.server_id_length + self.nonce_length
    }
}

/// Where a session id stands in the UDP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId {
    /// First octet, 0 to 127.
    pub offset: u8,
    /// Octets, 1 to 15.
    pub length: u8,
}

/// How flows are given to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A table of two slots a bucket: established connections stay where they are. Goes by GUE.
    TwoSlot {
        /// Buckets: a power of two, and 100 for each server at least.
        buckets: u32,
    },
    /// A Maglev table, for servers that keep no state of a flow.
    Maglev {
        /// Entries: a prime of 65,537 or more, and 100 for each server at least.
        entries: u32,
        /// How packets travel.
        encapsulation: Encapsulation,
    },
}

impl Strategy {
    /// Buckets or entries of the table.
    #[must_use]
    pub fn length(self) -> u32 {
        match self {
            Self::TwoSlot { buckets } => buckets,
            Self::Maglev { entries, .. } => entries,
        }
    }

    /// How packets travel between servers.
    #[must_use]
    pub fn encapsulation(self) -> Encapsulation {
        match self {
            Self::TwoSlot { .. } => Encapsulation::Gue,
            Self::Maglev { encapsulation, .. } => encapsulation,
        }
    }
}

/// How packets travel between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// GUE with the hops in its private data.
    Gue,
    /// UDP with the packet right behind (foo over UDP).
    Fou,
    /// IP in IP (RFC 2003, RFC 2473).
    IpIp,
}

/// How UDP packets are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpMode {
    /// Each belongs to a flow, which a connected socket stands for.
    Flow,
    /// Each is for itself, as in DNS.
    Datagram,
}

/// What happens to fragments, of which only the first one has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragments {
    /// They are dropped and counted.
    Drop,
    /// They go by their addresses.
    ByAddress,
}

/// Whether SYNs are answered with cookies before the stack sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynCookies {
    /// Never.
    Off,
    /// Always.
    On,
    /// While too many come.
    Auto,
}
