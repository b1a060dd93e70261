//! Every default of the configuration with its reason; `weir print-defaults` shows them.

use std::time::Duration;

macro_rules! defaults {
    ($($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $value:expr;)+) => {
        $($(#[doc = $doc])+ pub const $name: $kind = $value;)+

        /// The reason of each default, under the name of the default.
        pub mod reasons {
            $(
                /// Why the default of this name is what it is.
                pub const $name: &str = concat!($($doc),+);
            )+
        }
    };
}

const KIB: usize = 1024;

defaults! {
    /// Enough for a page load to finish; what is open later is cut so that a stop ends.
    DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
    /// A TTL of 0 would ask the DNS server for every connection.
    DNS_MIN_TTL: Duration = Duration::from_secs(1);
    /// A move of an origin is seen within minutes even where its TTL says days.
    DNS_MAX_TTL: Duration = Duration::from_secs(300);
    /// Loopback, so that nobody else reads it.
    ADMIN_ADDRESS: &str = "127.0.0.1:9900";
    /// A worker at 50,000 requests/s fills this in a third of a second of a stalled disk.
    ACCESS_BUFFER_LINES: usize = 16_384;

    /// Cookies of large sites pass, an attack of megabytes does not.
    HEADER_BYTES: usize = 32 * KIB;
    /// Browsers send about 20; a hundred leaves room for tracing and vendor fields.
    HEADER_COUNT: usize = 100;
    /// What browsers and every common server accept.
    URI_BYTES: usize = 8 * KIB;
    /// Large uploads are a decision of the operator.
    BODY_BYTES: u64 = 100 * 1024 * 1024;
    /// Rebalances long-lived connections over workers now and then.
    REQUESTS_PER_CONNECTION: u64 = 100_000;
    /// Below the usual descriptor limit of a service (2 descriptors a request).
    LISTENER_CONNECTIONS: u64 = 200_000;
    /// A large office behind one address passes, one machine does not exhaust the listener.
    CONNECTIONS_PER_SOURCE: u64 = 20_000;
    /// What other servers offer and browsers are built for; each is work that is asked for at once.
    STREAMS_PER_CONNECTION: u32 = 100;
    /// Slower than any modem; a client below it holds a connection on purpose.
    BODY_MIN_RATE: u64 = 64;
    /// The kernel caps it at net.core.somaxconn.
    BACKLOG: u32 = 4096;

    /// Three round trips of the worst mobile network.
    HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// Clients that connect early (speculative connections of browsers) come within this.
    FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
    /// A head is one packet or a few; a slow one is slowloris.
    HEAD_TIMEOUT: Duration = Duration::from_secs(10);
    /// A stalled mobile network recovers within this.
    BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
    /// Longer than browsers keep a connection idle between page views.
    KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(75);
    /// WebSocket libraries ping every 20 to 60 s.
    TUNNEL_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
    /// The header comes in the first packet.
    PROXY_PROTOCOL_TIMEOUT: Duration = Duration::from_secs(5);
    /// Tickets live up to 12 h; a key signs for a third of it.
    TICKET_ROTATION: Duration = Duration::from_secs(4 * 3600);

    /// Cloudflare's default.
    MONITOR_INTERVAL: Duration = Duration::from_secs(60);
    /// Cloudflare's default.
    MONITOR_TIMEOUT: Duration = Duration::from_secs(5);
    /// Cloudflare's default.
    MONITOR_RETRIES: u32 = 2;

    /// A thousand requests/s at 100 ms each need 100; more are closed when the crowd is gone.
    KEEPALIVE_CONNECTIONS: usize = 256;
    /// Below the 60 s after which nginx, Go and most origins close.
    UPSTREAM_IDLE: Duration = Duration::from_secs(55);
    /// Long enough that connecting costs nothing, short enough to follow DNS changes.
    UPSTREAM_REQUESTS: u64 = 100_000;
    /// A second SYN is sent after 1 s and a third after 3 s; both may save the connection.
    CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
    /// Slow reports and exports are answered within a minute.
    REPLY_TIMEOUT: Duration = Duration::from_secs(60);
    /// As for clients.
    UPSTREAM_BODY_IDLE: Duration = Duration::from_secs(60);
    /// One other origin, and one more when that one is gone as well.
    RETRY_ATTEMPTS: u32 = 2;
    /// More would turn an outage into a storm.
    RETRY_BUDGET_PERCENT: u32 = 20;
    /// A quiet pool may still retry.
    RETRY_BUDGET_MIN: u32 = 3;
    /// Above what one origin process serves; keeps a stalled origin from taking every descriptor.
    BREAKER_CONNECTIONS: u32 = 10_000;
    /// Connections being made at once.
    BREAKER_PENDING: u32 = 1_024;
    /// In flight.
    BREAKER_REQUESTS: u32 = 10_000;
    /// A single failure is noise, five in a row are an origin in trouble.
    OUTLIER_CONSECUTIVE: u32 = 5;
    /// A restart takes about this long.
    OUTLIER_BASE: Duration = Duration::from_secs(10);
    /// An origin that recovered is found again within minutes.
    OUTLIER_MAX: Duration = Duration::from_secs(300);
    /// Half of a pool keeps serving whatever the failures look like.
    OUTLIER_MAX_PERCENT: u32 = 50;

    /// One packet path for a machine; several need names.
    PACKET_NAME: &str = "default";
    /// The one that GLB, the first public redirector of this kind, uses for GUE.
    PACKET_GUE_PORT: u16 = 19_523;
    /// The one behind that of GUE.
    PACKET_FOU_PORT: u16 = 19_524;
    /// What every network carries; raise it, so that full packets need not be cut.
    PACKET_MTU: u16 = 1_500;
    /// A black hole heals in milliseconds, and a flood of large packets is not answered in kind.
    PACKET_TOO_BIG_RATE: u32 = 1_000;
    /// 4 MiB of kernel memory for both generations: tens of thousands of prefixes.
    PACKET_TRIE_ENTRIES: u32 = 1 << 18;
    /// 1 MiB of kernel memory for both generations: ten thousand prefixes with some ports each.
    PACKET_PORT_ROWS: u32 = 1 << 16;
    /// 8 MiB of kernel memory for both generations: eight tables for 655 servers.
    PACKET_BUCKETS: u32 = 1 << 19;
    /// Servers are alike unless something else is said.
    SERVER_CAPACITY: u32 = 100;
    /// 100 buckets for each of 655 servers: shares differ by a hundredth.
    TWO_SLOT_BUCKETS: u32 = 1 << 16;
    /// The prime behind 65,536: 100 entries for each of 655 servers.
    MAGLEV_ENTRIES: u32 = 65_537;
    /// Two octets hold every server id.
    QUIC_SERVER_ID_LENGTH: u8 = 2;
    /// The draft's least is 4; 6 octets make two ids of one server alike once in 16 million.
    QUIC_NONCE_LENGTH: u8 = 6;
    /// The bursts of an honest sender end within a second.
    SHIELD_BURST: Duration = Duration::from_secs(1);
}
