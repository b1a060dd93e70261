//! Values in the maps: trie entries, port rows, trafficsets, servers, buckets, descriptors.

use crate::flow::Address;

/// Highest server id. The id is an index of an array that lies in the second-level cache.
pub const SERVER_ID_MAX: u16 = 4095;
/// Port rows of one leaf: more would need a deeper search than the program is given.
pub const PORT_ROWS_MAX: usize = 4096;
/// Steps of the search in port rows.
pub const PORT_ROW_STEPS: usize = PORT_ROWS_MAX.ilog2() as usize + 1;
/// Nodes on a way through the trie: 128 bits in strides of six bits at least, and two more.
pub const TRIE_DEPTH_MAX: usize = 24;
/// Widest node of the trie: 2^15 children.
pub const TRIE_STRIDE_MAX: u32 = 15;

/// An entry of the trie of VIPs.
///
/// Bits 63 and 62 are the kind. A leaf's low 16 bits are a trafficset, or its low 32 bits the first
/// port row and bits 32 to 47 their number. A node has its first child (or, with the skip bit, its
/// header of three entries) in the low 32 bits, the first bit it looks at in bits 32 to 39, their
/// number in bits 40 to 43.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Entry(pub u64);

impl Entry {
    /// No VIP.
    pub const NOTHING: Self = Self(0);
    const SET: u64 = 1 << 62;
    const ROWS: u64 = 2 << 62;
    const NODE: u64 = 3 << 62;
    const SKIP: u64 = 1 << 44;

    /// A leaf: one trafficset for all of TCP and UDP.
    #[must_use]
    pub const fn set(index: u16) -> Self {
        Self(Self::SET | index as u64)
    }

    /// A leaf with port rows.
    #[must_use]
    pub const fn rows(first: u32, count: u16) -> Self {
        Self(Self::ROWS | (count as u64) << 32 | first as u64)
    }

    /// A node that looks at `stride` bits (1 to 15) from bit `at` (0 to 127) on.
    #[must_use]
    pub const fn node(first: u32, at: u8, stride: u8, skip: bool) -> Self {
        let skip = if skip { Self::SKIP } else { 0 };
        Self(Self::NODE | skip | (stride as u64 & 15) << 40 | (at as u64) << 32 | first as u64)
    }

    /// Whether it is a node.
    #[must_use]
    #[inline(always)]
    pub const fn is_node(self) -> bool {
        self.0 >= Self::NODE
    }

    /// Whether it is nothing.
    #[must_use]
    #[inline(always)]
    pub const fn is_nothing(self) -> bool {
        self.0 >> 62 == 0
    }

    /// The trafficset of a leaf without rows.
    #[must_use]
    #[inline(always)]
    pub const fn as_set(self) -> Option<u32> {
        if self.0 >> 62 == 1 { Some(self.0 as u32 & 0xffff) } else { None }
    }

    /// First child, first row, or header.
    #[must_use]
    #[inline(always)]
    pub const fn first(self) -> u32 {
        self.0 as u32
    }

    /// Rows of a leaf.
    #[must_use]
    #[inline(always)]
    pub const fn row_count(self) -> u32 {
        (self.0 >> 32) as u32 & 0xffff
    }

    /// First bit a node looks at.
    #[must_use]
    #[inline(always)]
    pub const fn at(self) -> u32 {
        (self.0 >> 32) as u32 & 0x7f
    }

    /// Bits a node looks at.
    #[must_use]
    #[inline(always)]
    pub const fn stride(self) -> u32 {
        (self.0 >> 40) as u32 & 15
    }

    /// Whether a node has a header, since it skips bits.
    #[must_use]
    #[inline(always)]
    pub const fn skips(self) -> bool {
        self.0 & Self::SKIP != 0
    }
}

/// Entries of a skipping node's header: expected high and low word, the answer on a miss.
pub const HEADER_ENTRIES: u32 = 3;

/// A port row: from its key on, a trafficset or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Row(pub u64);

impl Row {
    /// A row that starts at a protocol and port. `set` is an index, or `None` for nothing.
    #[must_use]
    pub const fn new(udp: bool, port: u16, set: Option<u16>) -> Self {
        let set = match set {
            Some(index) => index as u64 + 1,
            None => 0,
        };
        Self((Self::key(udp, port) as u64) << 40 | set)
    }

    /// What rows are sorted by.
    #[must_use]
    #[inline(always)]
    pub const fn key(udp: bool, port: u16) -> u32 {
        (udp as u32) << 16 | port as u32
    }

    /// The key it starts at.
    #[must_use]
    #[inline(always)]
    pub const fn starts(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// Its trafficset.
    #[must_use]
    #[inline(always)]
    pub const fn as_set(self) -> Option<u32> {
        let set = self.0 as u32 & 0x1_ffff;
        if set == 0 { None } else { Some(set - 1) }
    }
}

/// What identifies a flow of a trafficset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dissector {
    /// Addresses and ports.
    FourTuple = 0,
    /// QUIC: a routable connection id, else addresses and ports.
    Quic = 1,
    /// A session id at a fixed offset of the UDP payload.
    SessionId = 2,
}

/// How packets travel between servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encapsulation {
    /// GUE with hops in its private data.
    Gue = 0,
    /// UDP with the packet right behind (foo over UDP), no hops.
    Fou = 1,
    /// IP in IP, no hops.
    IpIp = 2,
}

/// Settings of a trafficset, as the director reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C, align(8))]
pub struct Trafficset {
    /// First bucket of its table, from the descriptor's first one.
    pub table_base: u32,
    /// Buckets: a power of two, or with [`Trafficset::MAGLEV`] any number.
    pub table_len: u32,
    /// The bits below.
    pub flags: u32,
    /// A [`Dissector`] as its number.
    pub dissector: u8,
    /// An [`Encapsulation`] as its number.
    pub encapsulation: u8,
    /// QUIC: config id of routable connection ids, 0 to 6.
    pub quic_config: u8,
    /// QUIC: octets of the server id, 1 to 8.
    pub quic_server_len: u8,
    /// Session id: first octet in the UDP payload, 0 to 127.
    pub session_offset: u16,
    /// Session id: octets, 1 to 8.
    pub session_len: u16,
    /// QUIC: octets of the whole connection id.
    pub quic_id_len: u32,
    /// Zero.
    pub reserved: u32,
}

impl Trafficset {
    /// The table is a Maglev one: one server per entry, and never a second hop.
    pub const MAGLEV: u32 = 1;
    /// UDP packets belong to flows with connected sockets; else each is for itself.
    pub const UDP_FLOW: u32 = 2;
    /// Fragments go by their addresses; else they are dropped.
    pub const FRAGMENTS: u32 = 4;
    /// SYNs are answered with cookies always.
    pub const COOKIES: u32 = 8;
    /// SYNs are answered with cookies while too many come.
    pub const COOKIES_AUTO: u32 = 16;
}

const _: () = assert!(size_of::<Trafficset>() == 32);

/// A server of the fleet, by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Server {
    /// Where tunnel packets for it go; IPv4 as `::ffff:a.b.c.d`.
    pub address: Address,
    /// The bits below.
    pub flags: u16,
    /// Its Ethernet address, with [`Server::LINK`].
    pub link: [u8; 6],
}

impl Server {
    /// There is such a server.
    pub const PRESENT: u16 = 1;
    /// It takes no packets.
    pub const DEAD: u16 = 2;
    /// Its Ethernet address is known, so packets need not go by the router.
    pub const LINK: u16 = 4;
    /// A place without a server.
    pub const NONE: Self = Self { address: Address { high: 0, low: 0 }, flags: 0, link: [0; 6] };
}

const _: () = assert!(size_of::<Server>() == 24);

/// Two slots that change together: one aligned store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(transparent)]
pub struct Bucket(pub u64);

impl Bucket {
    /// From server ids; 0 is none.
    #[must_use]
    pub const fn new(first: u16, second: u16) -> Self {
        Self(first as u64 | (second as u64) << 32)
    }

    /// The current owner.
    #[must_use]
    #[inline(always)]
    pub const fn first(self) -> u32 {
        self.0 as u32
    }

    /// The owner before it, or 0.
    #[must_use]
    #[inline(always)]
    pub const fn second(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The slots in the other order: UDP flows start at the second hop, as they have no SYN.
    #[must_use]
    #[inline(always)]
    pub const fn swapped(self) -> Self {
        Self(self.0.rotate_left(32))
    }
}

/// Where a generation lies in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C, align(8))]
pub struct Descriptor {
    /// Its number; 0 is no generation.
    pub generation: u64,
    /// Checksum over everything it holds.
    pub checksum: u64,
    /// The trie's first [`Entry`].
    pub root: u64,
    /// First entry of the trie.
    pub trie_base: u32,
    /// Entries of the trie.
    pub trie_len: u32,
    /// First port row.
    pub rows_base: u32,
    /// Port rows.
    pub rows_len: u32,
    /// First trafficset.
    pub sets_base: u32,
    /// Trafficsets.
    pub sets_len: u32,
    /// Place of server 0.
    pub servers_base: u32,
    /// Places for servers.
    pub servers_len: u32,
    /// First bucket.
    pub buckets_base: u32,
    /// Buckets of all tables.
    pub buckets_len: u32,
}

const _: () = assert!(size_of::<Descriptor>() == 64);

/// Packets and octets of a reason on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Octets of their frames, as they came in.
    pub octets: u64,
}

/// What a tap reports beside the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Seen {
    /// A [`crate::Reason`] as its number.
    pub reason: u32,
    /// What the program returns.
    pub action: u32,
}

/// Replies that this CPU may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Allowance {
    /// Second of the monotonic clock that the count belongs to.
    pub second: u64,
    /// Replies sent in it.
    pub sent: u64,
}

/// A connection that an ACK with a SYN cookie began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Begun {
    /// What the ACK acknowledged, in wire order: segments behind it acknowledge the same.
    pub acknowledged: u32,
    /// When, on a clock of about milliseconds.
    pub tick: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_give_back_what_they_were_made_of() {
        let node = Entry::node(70_000, 96, 15, true);
        assert!(node.is_node() && node.skips());
        assert_eq!((node.first(), node.at(), node.stride()), (70_000, 96, 15));
        let rows = Entry::rows(90_000, 4096);
        assert!(!rows.is_node() && !rows.is_nothing());
        assert_eq!((rows.first(), rows.row_count(), rows.as_set()), (90_000, 4096, None));
        assert_eq!(Entry::set(1023).as_set(), Some(1023));
        assert!(Entry::NOTHING.is_nothing());
    }

    #[test]
    fn rows_give_back_what_they_were_made_of() {
        let row = Row::new(true, 443, Some(7));
        assert_eq!((row.starts(), row.as_set()), (0x1_01bb, Some(7)));
        assert_eq!(Row::new(false, 0, None).as_set(), None);
        assert_eq!(Row::new(true, 65_535, Some(u16::MAX)).as_set(), Some(65_535));
    }

    #[test]
    fn buckets_hold_two_servers() {
        let bucket = Bucket::new(3, 4095);
        assert_eq!((bucket.first(), bucket.second()), (3, 4095));
        assert_eq!(bucket.swapped(), Bucket::new(4095, 3));
    }
}
