//! `[packet]`, `[[server]]`, `[[trafficset]]` and `[[shield_rule]]`.

use super::{
    Default, FILE, KIB, Kind, NAME, NET_LIST, NETS, Section, Text, count, key, switch, table,
};
use core_model::config::packet::{PayloadMatch, ServerId, TcpFlags};
use core_model::defaults::{self, reasons};
use std::time::Duration;

static INTERFACES: Kind = Kind::Text(Text::Interface);
static PORT_RANGES: Kind = Kind::Text(Text::Ports);
static SERVER_IDS: Kind = count(1, ServerId::MAX as u64, "server id");
static PROTOCOLS: Kind = Kind::Choice { values: &["tcp", "udp"], later: &[] };
static FLAGS: Kind = Kind::Choice { values: &TcpFlags::NAMES, later: &[] };

/// A port that something listens on.
const LISTENING: Kind = count(1, 65_535, "port");
const PORT_LIST: Kind = Kind::List { of: &PORT_RANGES, min: 0 };
const FLAG_LIST: Kind = Kind::List { of: &FLAGS, min: 1 };

/// Fewest octets of the MTU between servers: what IPv6 needs (RFC 8200 §5).
const MTU_LEAST: u64 = 1_280;
/// Most octets of the MTU between servers: the largest frame that Ethernet is commonly given.
const MTU_MOST: u64 = 9_216;
/// Most entries of the trie of VIPs: 256 MiB of kernel memory for both generations.
const TRIE_ENTRIES_MOST: u64 = 1 << 24;
/// Most port rows: 64 MiB of kernel memory for both generations.
const PORT_ROWS_MOST: u64 = 1 << 22;
/// Most buckets: 256 MiB of kernel memory for both generations.
const BUCKETS_MOST: u64 = 1 << 24;
/// Largest capacity of a server: shares of 4,095 of them are computed exactly in 64 bits.
const CAPACITY_MOST: u64 = 65_535;
/// Most buckets of one table: 256 for each of 4,095 servers.
const TABLE_BUCKETS_MOST: u64 = 1 << 20;

/// `[packet]`.
pub(crate) static PACKET: Section = Section {
    doc: "The packet path of this server: every server of a fleet takes any packet for a VIP, and \
          sends it to the one that owns the flow. Needs root when it starts.",
    keys: &[
        key(
            "interfaces",
            Kind::List { of: &INTERFACES, min: 1 },
            "Interfaces at which packets for VIPs and from other servers come in.",
        )
        .example("[\"eth0\"]"),
        key(
            "address",
            Kind::Text(Text::Ip),
            "Where tunnel packets for this server go: the address of one [[server]], which is this \
             one. `${NAME}` lets all servers have the same file.",
        )
        .example("\"192.0.2.1\""),
        key(
            "hash_key_file",
            FILE,
            "File of 32 hexadecimal digits with which flows are hashed, the same on every server. \
             Who knows it can send all flows to one server.",
        )
        .needed("hash_key")
        .example("\"packet.key\""),
        key("hash_key", Kind::Text(Text::HashKey), "The 32 hexadecimal digits themselves.")
            .instead("hash_key_file")
            .example("\"${WEIR_HASH_KEY}\""),
        key(
            "name",
            Kind::Text(Text::PinFolder),
            "Folder below /sys/fs/bpf/weir in which programs and tables outlive this process.",
        )
        .default(Default::Text(defaults::PACKET_NAME), reasons::PACKET_NAME),
        key("port", LISTENING, "UDP port of GUE packets between servers.")
            .default(Default::Int(defaults::PACKET_GUE_PORT as u64), reasons::PACKET_GUE_PORT),
        key("fou_port", LISTENING, "UDP port of FOU packets between servers.")
            .default(Default::Int(defaults::PACKET_FOU_PORT as u64), reasons::PACKET_FOU_PORT),
        key(
            "mtu",
            count(MTU_LEAST, MTU_MOST, "bytes"),
            "Largest IP packet that the network between servers carries. What does not fit into it \
             with its tunnel header is answered with \"too big\".",
        )
        .default(Default::Int(defaults::PACKET_MTU as u64), reasons::PACKET_MTU),
        key(
            "mode",
            Kind::Choice { values: &["native", "generic-unsafe"], later: &[] },
            "How programs are attached. With generic-unsafe a decapsulated packet enters the \
             program again, and each packet is copied.",
        )
        .default(Default::Text("native"), "a driver without it is refused, and named"),
        key("netns", FILE, "Network namespace in which the sockets of VIPs are.")
            .absent("the namespace of the interfaces")
            .example("\"/run/netns/app\""),
        key(
            "reverse_path",
            Kind::Choice { values: &["off", "strict"], later: &[] },
            "With strict, a packet is dropped unless replies to its source leave by the interface \
             it came in at (RFC 3704).",
        )
        .default(Default::Text("off"), "honest packets come in by other ways than replies take"),
        key(
            "too_big_rate",
            count(1, 1_000_000, "replies/s and CPU"),
            "\"Too big\" replies to clients; what exceeds it is dropped and counted.",
        )
        .default(Default::Int(defaults::PACKET_TOO_BIG_RATE as u64), reasons::PACKET_TOO_BIG_RATE),
        key(
            "trie_entries_max",
            count(KIB, TRIE_ENTRIES_MOST, "entries"),
            "Entries of the trie of VIPs.",
        )
        .default(Default::Int(defaults::PACKET_TRIE_ENTRIES as u64), reasons::PACKET_TRIE_ENTRIES),
        key(
            "port_rows_max",
            count(KIB, PORT_ROWS_MOST, "rows"),
            "Rows of protocols and ports of all VIPs.",
        )
        .default(Default::Int(defaults::PACKET_PORT_ROWS as u64), reasons::PACKET_PORT_ROWS),
        key("buckets_max", count(KIB, BUCKETS_MOST, "buckets"), "Buckets of all trafficsets.")
            .default(Default::Int(defaults::PACKET_BUCKETS as u64), reasons::PACKET_BUCKETS),
    ],
    later: &[],
};

/// `[[server]]`.
pub(crate) static SERVER: Section = Section {
    doc: "A server of the fleet. The list is the same on every server.",
    keys: &[
        key("id", SERVER_IDS, "Unique number, by which packets name it.").example("1"),
        key(
            "address",
            Kind::Text(Text::Ip),
            "Where tunnel packets for it go; all servers have IPv4 addresses, or all IPv6 ones.",
        )
        .example("\"192.0.2.1\""),
        key("capacity", count(1, CAPACITY_MOST, "share"), "Its share of flows beside the others.")
            .default(Default::Int(defaults::SERVER_CAPACITY as u64), reasons::SERVER_CAPACITY),
        key(
            "state",
            Kind::Choice { values: &["active", "draining", "dead"], later: &[] },
            "Draining: established flows only. Dead: nothing.",
        )
        .default(Default::Text("active"), "a server that is listed is there to serve"),
        key(
            "link_address",
            Kind::Text(Text::LinkAddress),
            "Its Ethernet address, where it is on the same network as every other one.",
        )
        .absent("tunnel packets go back to where the packet came from, to be routed")
        .example("\"02:00:5e:10:00:01\""),
    ],
    later: &[],
};

/// `[[trafficset]]`.
pub(crate) static TRAFFICSET: Section = Section {
    doc: "Addresses and ports that the fleet serves (VIPs), with a forwarding table of their own. \
          The longest prefix that has the protocol and port counts.",
    keys: &[
        key("name", NAME, "Unique name.").example("\"web\""),
        key("prefixes", Kind::List { of: &NETS, min: 1 }, "Addresses.")
            .example("[\"203.0.113.0/24\", \"2001:db8:1::/48\"]"),
        key("protocols", Kind::List { of: &PROTOCOLS, min: 1 }, "Protocols.")
            .default(Default::Words(&["tcp", "udp"]), "HTTP comes by both"),
        key("ports", PORT_LIST, "Ports and ranges of ports; empty: every port.")
            .default(Default::Empty, "empty: an address belongs to one service, mostly")
            .example("[\"443\", \"8000-8999\"]"),
        key("servers", Kind::List { of: &SERVER_IDS, min: 0 }, "Ids of the servers that serve it.")
            .default(Default::Empty, "empty: all; every server of an edge does the same")
            .example("[1]"),
        key(
            "strategy",
            Kind::Choice { values: &["two-slot", "maglev"], later: &[] },
            "Two-slot keeps established connections where they are when servers come and go; \
             Maglev is for servers that keep no state.",
        )
        .default(Default::Text("two-slot"), "no connection breaks that need not"),
        key(
            "buckets",
            count(128, TABLE_BUCKETS_MOST, "buckets"),
            "Buckets of the table, at least 100 for each server: a power of two, or for Maglev a \
             prime from 65537 on. Another number breaks connections.",
        )
        .absent("65536, and 65537 for Maglev; it does not follow the number of servers")
        .example("65536"),
        key(
            "encapsulation",
            Kind::Choice { values: &["gue", "fou", "ipip"], later: &[] },
            "How packets travel between servers; fou and ipip have no room for a second hop.",
        )
        .default(Default::Text("gue"), "it carries the second hop"),
        key(
            "dissector",
            Kind::Choice { values: &["4-tuple", "quic", "session-id"], later: &[] },
            "What tells UDP flows apart: addresses and ports, a QUIC connection id that names its \
             server, or octets of the payload. TCP goes by addresses and ports.",
        )
        .default(Default::Text("4-tuple"), "it needs no help of the server"),
        key(
            "udp",
            Kind::Choice { values: &["flow", "datagram"], later: &[] },
            "Flow: servers have a connected socket for each flow. Datagram: each packet is for \
             itself, as in DNS.",
        )
        .default(Default::Text("flow"), "what needs no flow loses nothing by it"),
        key(
            "fragments",
            Kind::Choice { values: &["drop", "by-address"], later: &[] },
            "Only the first fragment of a packet has ports. By-address needs a trafficset for \
             every port.",
        )
        .default(Default::Text("drop"), "fragments are an attack more often than a client"),
        key(
            "syn_cookies",
            Kind::Choice { values: &["off", "on", "auto"], later: &[] },
            "Whether SYNs are answered with cookies in the driver: never, always, or while too \
             many come.",
        )
        .default(Default::Text("off"), "the kernel's own cookies answer moderate floods"),
        table("quic", &QUIC),
        table("session", &SESSION),
    ],
    later: &[],
};

static QUIC: Section = Section {
    doc: "For dissector = \"quic\": plaintext connection ids of QUIC-LB. The servers' QUIC must \
          make such ids.",
    keys: &[
        key("config_id", count(0, 6, "config id"), "Top three bits of an id's first octet.")
            .default(Default::Int(0), "the first one"),
        key("server_id_length", count(1, 8, "bytes"), "Octets of the server id.").default(
            Default::Int(defaults::QUIC_SERVER_ID_LENGTH as u64),
            reasons::QUIC_SERVER_ID_LENGTH,
        ),
        key("nonce_length", count(4, 18, "bytes"), "Octets behind it; 19 at most with it.")
            .default(Default::Int(defaults::QUIC_NONCE_LENGTH as u64), reasons::QUIC_NONCE_LENGTH),
    ],
    later: &[],
};

static SESSION: Section = Section {
    doc: "For dissector = \"session-id\": where the id stands in the UDP payload.",
    keys: &[
        key("offset", count(0, 127, "bytes"), "Its first octet.")
            .default(Default::Int(4), "where WireGuard has the receiver's index"),
        key("length", count(1, 15, "bytes"), "Its octets.")
            .default(Default::Int(4), "the length of WireGuard's index"),
    ],
    later: &[],
};

/// `[[shield_rule]]`.
pub(crate) static SHIELD_RULE: Section = Section {
    doc: "Packets that are dropped, limited or let through before anything else looks at them. \
          Rules are tried in order; all that is given in one must hold.",
    keys: &[
        key("name", NAME, "Unique name, under which it is counted.").example("\"flood\""),
        key("source", NET_LIST, "Source addresses.")
            .default(Default::Empty, "empty: any")
            .example("[\"198.51.100.0/24\"]"),
        key("destination", NET_LIST, "Destination addresses.")
            .default(Default::Empty, "empty: any")
            .example("[\"203.0.113.7\"]"),
        key("protocol", Kind::Text(Text::IpProtocol), "Protocol above IP.")
            .absent("any; TCP, UDP and SCTP where ports are given")
            .example("\"tcp\""),
        key("source_ports", PORT_LIST, "Source ports and ranges of ports.")
            .default(Default::Empty, "empty: any")
            .example("[\"53\", \"123\"]"),
        key("destination_ports", PORT_LIST, "Destination ports and ranges of ports.")
            .default(Default::Empty, "empty: any")
            .example("[\"443\"]"),
        key("length", Kind::Text(Text::Lengths), "Octets of the IP packet with its header.")
            .absent("any")
            .example("\"1200-1500\""),
        key("ttl", Kind::Text(Text::Ttls), "Time to live, or hop limit.")
            .absent("any")
            .example("\"1-16\""),
        key("ip_options", Kind::Bool, "Whether it has IPv4 options or IPv6 extension headers.")
            .absent("not looked at")
            .example("false"),
        key("fragment", Kind::Bool, "Whether it is a fragment, the first one included.")
            .absent("not looked at")
            .example("false"),
        key(
            "action",
            Kind::Choice { values: &["drop", "pass", "limit"], later: &[] },
            "Drop: it ends here. Pass: no later rule is asked. Limit: what exceeds the rate is \
             dropped.",
        )
        .example("\"limit\""),
        key(
            "packets_per_second",
            count(1, 100_000_000, "packets/s"),
            "Rate for action = \"limit\".",
        )
        .absent("packets are not limited")
        .example("1000"),
        key(
            "bytes_per_second",
            Kind::Size { min: 1_000, max: 1_000_000_000_000 },
            "Rate for action = \"limit\", in octets of IP packets.",
        )
        .absent("octets are not limited")
        .example("\"10MiB\""),
        key(
            "burst",
            Kind::Time { min: Duration::from_millis(1), max: Duration::from_secs(60) },
            "How much of a rate may be saved up: a packet of any size at least, and 4294967295 \
             packets or octets at most.",
        )
        .default(Default::Time(defaults::SHIELD_BURST), reasons::SHIELD_BURST),
        key(
            "per",
            Kind::Choice { values: &["rule", "source", "destination"], later: &[] },
            "What has a rate of its own; sources of IPv6 are taken together by /64.",
        )
        .default(Default::Text("rule"), "it needs no memory for each address"),
        key("dry_run", Kind::Bool, "Whether it counts, and does nothing.")
            .default(Default::Bool(false), "a rule is written to act"),
        key(
            "sample",
            count(1, u32::MAX as u64, "packets"),
            "One of so many matching packets is put into the ring of samples.",
        )
        .absent("none")
        .example("1000"),
        switch("tcp_flags", &TCP_FLAGS, "flags are not looked at"),
        switch("payload", &PAYLOAD, "payload is not looked at"),
    ],
    later: &[],
};

static TCP_FLAGS: Section = Section {
    doc: "Flags of TCP.",
    keys: &[
        key("set", FLAG_LIST, "Flags that must be set.")
            .absent("none need be")
            .example("[\"syn\"]"),
        key("clear", FLAG_LIST, "Flags that must not be set.")
            .absent("any may be")
            .example("[\"ack\"]"),
    ],
    later: &[],
};

static PAYLOAD: Section = Section {
    doc: "Octets behind the transport header.",
    keys: &[
        key("bytes", Kind::Text(Text::Hex), "What stands there; 16 octets at most.")
            .example("\"00ff\""),
        key("mask", Kind::Text(Text::Hex), "Bits that are compared; as long as `bytes`.")
            .absent("all")
            .example("\"00ff\""),
        key(
            "offset",
            count(0, PayloadMatch::OFFSET_MAX as u64, "bytes"),
            "Its first octet, from the end of the header.",
        )
        .default(Default::Int(0), "protocols begin with what tells them apart"),
    ],
    later: &[],
};
