//! Names and capacities of the kernel maps.

/// Table of one u64: which half of the generation maps is in force.
///
/// A table is an array of one value, in which its elements lie one behind the other.
pub const ACTIVE: &str = "ACTIVE";
/// Table of two [`crate::Descriptor`]s, one for each half.
pub const DESCRIPTORS: &str = "DESCRIPTORS";
/// Table of u64: [`crate::Entry`]s of the trie of VIPs.
pub const TRIE: &str = "TRIE";
/// Table of u64: port rows.
pub const ROWS: &str = "ROWS";
/// Table of [`crate::Trafficset`].
pub const SETS: &str = "SETS";
/// Table of [`crate::Server`], by id.
pub const SERVERS: &str = "SERVERS";
/// Table of u64: [`crate::Bucket`]s of all tables.
pub const BUCKETS: &str = "BUCKETS";
/// Per-CPU array of [`crate::tables::Count`], by reason.
pub const COUNTERS: &str = "COUNTERS";
/// Program array: the programs a packet goes through.
pub const CHAIN: &str = "CHAIN";
/// Program array by XDP's action: where `weir packet capture` listens.
pub const TAP: &str = "TAP";
/// The same for the redirector, as a program array holds programs of one type only: slot 0 is what
/// went to the stack, 1 what was sent on, 2 what was dropped.
pub const TAP_TC: &str = "TAP_TC";
/// Perf event array: packets that a tap captured, each after its [`crate::tables::Seen`].
pub const CAPTURED: &str = "CAPTURED";
/// Per-CPU array of one [`crate::tables::Seen`]: the verdict that a tap is to report.
pub const SEEN: &str = "SEEN";
/// Ring buffer of sampled packets.
pub const SAMPLES: &str = "SAMPLES";
/// Per-CPU array of one [`crate::tables::Allowance`]: replies that may still be sent.
pub const ALLOWANCE: &str = "ALLOWANCE";

/// Per-CPU array of one [`crate::tables::Allowance`]: SYNs seen in a second.
pub const SYNS: &str = "SYNS";

/// LRU hash by 4-tuple of [`crate::tables::Begun`]: connections that an ACK with a SYN cookie began
/// a moment ago, which may have no socket yet.
pub const BEGUN: &str = "BEGUN";

/// Slot of the shield in [`CHAIN`].
pub const CHAIN_SHIELD: u32 = 0;
/// Slot of the director in [`CHAIN`].
pub const CHAIN_DIRECTOR: u32 = 1;
/// Slot of the director's answers to packets that are too big, in [`CHAIN`].
pub const CHAIN_TOO_BIG: u32 = 2;
/// Slot of the answers to SYNs by cookie, in [`CHAIN`]; empty where no trafficset wants them.
pub const CHAIN_COOKIE: u32 = 3;
/// Slot of the program that writes those answers, in [`CHAIN`].
pub const CHAIN_COOKIE_ANSWER: u32 = 4;
/// First slot of [`CHAIN`] that further programs of the shield may take.
pub const CHAIN_SHIELD_MORE: u32 = 8;
/// Slots of [`CHAIN`]. The kernel ends a chain after 33 tail calls.
pub const CHAIN_LEN: u32 = 40;
/// Slots of [`TAP`]: XDP has five actions.
pub const TAP_LEN: u32 = 5;
/// Slots of [`TAP_TC`].
pub const TAP_TC_LEN: u32 = 3;

/// Entries of both halves of [`TRIE`] unless the loader is told otherwise: 8 octets each, for
/// tens of thousands of prefixes.
pub const TRIE_LEN: u32 = 1 << 19;
/// Rows of both halves of [`ROWS`].
pub const ROWS_LEN: u32 = 1 << 17;
/// Trafficsets of both halves.
pub const SETS_LEN: u32 = 2 * 1024;
/// Servers of both halves: ids 0 to 4,095.
pub const SERVERS_LEN: u32 = 2 * 4096;
/// Buckets of both halves: two tables of 131,072 at least.
pub const BUCKETS_LEN: u32 = 1 << 20;
/// Connections in [`BEGUN`]: each is asked for within milliseconds, in which a host accepts some
/// thousands at most. One that is forgotten too early is judged by each segment alone.
pub const BEGUN_LEN: u32 = 8192;
/// Octets of the ring of samples.
pub const SAMPLES_LEN: u32 = 1 << 20;

/// Names of the globals that the loader sets before it loads the programs.
pub mod constants {
    /// [`crate::Start`]: what the fleet's key makes of the hash.
    pub const HASH_START: &str = "HASH_START";
    /// u32: this server's id.
    pub const SELF_ID: &str = "SELF_ID";
    /// [u8; 16]: this server's tunnel address, IPv4 as `::ffff:a.b.c.d`.
    pub const SELF_ADDRESS: &str = "SELF_ADDRESS";
    /// u32: 1 where the outer packets are IPv6.
    pub const OUTER_V6: &str = "OUTER_V6";
    /// u16 in wire order: the GUE port.
    pub const GUE_PORT: &str = "GUE_PORT";
    /// u16 in wire order: the FOU port.
    pub const FOU_PORT: &str = "FOU_PORT";
    /// u32: the MTU between servers, octets of the outer packet.
    pub const MTU: &str = "MTU";
    /// i32: network namespace of the sockets as the kernel numbers it, -1 for the interface's own.
    pub const NETNS: &str = "NETNS";
    /// u32: "too big" replies per second and CPU.
    pub const TOO_BIG_RATE: &str = "TOO_BIG_RATE";
    /// u32: elements of [`super::TRIE`], both halves together.
    pub const TRIE_ROOM: &str = "TRIE_ROOM";
    /// u32: elements of [`super::ROWS`].
    pub const ROWS_ROOM: &str = "ROWS_ROOM";
    /// u32: elements of [`super::SETS`].
    pub const SETS_ROOM: &str = "SETS_ROOM";
    /// u32: elements of [`super::SERVERS`].
    pub const SERVERS_ROOM: &str = "SERVERS_ROOM";
    /// u32: elements of [`super::BUCKETS`].
    pub const BUCKETS_ROOM: &str = "BUCKETS_ROOM";
    /// u32: SYNs per second and CPU past which `syn_cookies = "auto"` answers by cookie.
    pub const SYN_RATE: &str = "SYN_RATE";
    /// u32: window scale that this host's listeners choose, or 255 where cookies may not carry
    /// options (`net.ipv4.tcp_timestamps` is not 2, so that the kernel moves its timestamps by a
    /// secret).
    pub const COOKIE_WSCALE: &str = "COOKIE_WSCALE";
}
