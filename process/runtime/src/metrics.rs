//! Counters that one worker writes without a lock and anyone reads: the numbers behind `/metrics`.
//!
//! Each worker has its own shard of every object's numbers; readers add the shards up. A counter
//! has one writer, so that counting is a plain load and store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows. One thread writes it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds one from any thread; for counters that several threads write.
    pub fn inc_shared(&self) {
        self.add_shared(1);
    }

    /// Adds `n` from any thread.
    pub fn add_shared(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of the latency buckets, in microseconds; the last bucket has no bound.
pub const LATENCY_BOUNDS_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// A latency histogram.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; LATENCY_BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Histogram {
    /// Records one duration in microseconds.
    #[inline]
    pub fn record(&self, us: u64) {
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(counter) = self.buckets.get(bucket) {
            counter.inc();
        }
        self.sum_us.add(us);
    }

    /// Count of each bucket (not cumulative), the unbounded one last.
    #[must_use]
    pub fn counts(&self) -> [u64; LATENCY_BOUNDS_US.len() + 1] {
        std::array::from_fn(|i| self.buckets.get(i).map_or(0, Counter::get))
    }

    /// Sum of all recorded microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us.get()
    }
}

macro_rules! limits {
    ($($variant:ident = $name:literal: $says:literal,)+) => {
        /// A named limit that was hit; see `weir_limit_hits_total`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Limit { $(#[doc = $says] $variant,)+ }

        impl Limit {
            /// Every limit, in the order of the counters.
            pub const ALL: &'static [Limit] = &[$(Limit::$variant,)+];

            /// The value of the label `limit`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Limit::$variant => $name,)+ }
            }

            /// What it bounds.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self { $(Limit::$variant => $says,)+ }
            }
        }
    };
}

limits! {
    HeaderBytes = "header_bytes": "bytes of a request head",
    HeaderCount = "header_count": "fields of a request head",
    UriBytes = "uri_bytes": "bytes of a request line",
    BodyBytes = "body_bytes": "bytes of a request body",
    RequestsPerConnection = "requests_per_connection": "requests on one connection",
    StreamsPerConnection = "streams_per_connection": "streams of one connection at once",
    Connections = "connections": "open connections of a listener",
    ConnectionsPerSource = "connections_per_source": "open connections of one source",
    BodyMinRate = "body_min_rate": "least bytes per second of a body",
    Handshake = "handshake": "duration of a TLS handshake",
    FirstByte = "first_byte": "time to the first byte of a head",
    Head = "head": "duration of a head",
    BodyIdle = "body_idle": "silence within a body or a reply that is not taken",
    Keepalive = "keepalive": "idle time between two requests",
    TunnelIdle = "tunnel_idle": "silence in a tunnel",
    ProxyProtocol = "proxy_protocol": "duration or size of a PROXY header",
    OriginConnections = "origin_connections": "open connections to one origin",
    OriginPending = "origin_pending": "connections being made to one origin",
    OriginRequests = "origin_requests": "requests in flight at one origin",
    RetryBudget = "retry_budget": "share of requests that are retries",
    InterimReplies = "interim_replies": "1xx replies before one final reply",
    ReplyHead = "reply_head": "bytes or fields of a reply head",
    HandshakeBytes = "handshake_bytes": "bytes of a TLS handshake",
    Http2Resets = "http2_resets": "streams of one connection that end by a reset",
    Http2Control = "http2_control": "frames of one connection that carry no request",
    Http2Memory = "http2_memory": "bytes that one HTTP/2 connection may hold",
    Http2Stall = "http2_stall": "time in which an HTTP/2 client takes nothing",
    TlsIdleRecords = "tls_idle_records": "TLS records in a row that bring no data",
}

/// Number of limits.
pub const LIMITS: usize = Limit::ALL.len();

/// Numbers of one listener, one shard per worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct ListenerStats {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections closed; the difference is open.
    pub closed: Counter,
    /// Connections refused by a limit or a PROXY protocol rule.
    pub refused: Counter,
    /// TLS handshakes completed, of which `resumed` by a ticket.
    pub handshakes: Counter,
    /// Resumed handshakes.
    pub resumed: Counter,
    /// TLS handshakes that failed.
    pub handshake_failures: Counter,
    /// Requests whose head was read.
    pub requests: Counter,
    /// Replies sent by class: index 0 is 1xx, 4 is 5xx.
    pub replies: [Counter; 5],
    /// Requests that ended before their reply was sent whole.
    pub aborted: Counter,
    /// Replies that Weir made itself because of a failure of an origin (502, 503, 504).
    pub origin_failures: Counter,
    /// Bytes read from clients, plain text.
    pub bytes_in: Counter,
    /// Bytes written to clients, plain text.
    pub bytes_out: Counter,
    /// Tunnels opened (101).
    pub tunnels: Counter,
    /// HTTP/2 connections.
    pub http2_connections: Counter,
    /// HTTP/2 connections that ended because the client broke the protocol or went over a limit.
    pub http2_faults: Counter,
    /// Frames that clients have sent, counted when their connection ends.
    pub http2_frames: Counter,
    /// Streams that clients have reset, counted when their connection ends.
    pub http2_resets_received: Counter,
    /// Streams that Weir has reset, counted when their connection ends.
    pub http2_resets_sent: Counter,
    /// From the first byte of a head to the end of its reply.
    pub latency: Histogram,
    /// Limits hit, in the order of [`Limit::ALL`].
    pub limits: [Counter; LIMITS],
    /// Requests refused for their form, whatever the rule (400, 405, 417, 501, 505).
    pub malformed: Counter,
}

impl Default for ListenerStats {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            closed: Counter::default(),
            refused: Counter::default(),
            handshakes: Counter::default(),
            resumed: Counter::default(),
            handshake_failures: Counter::default(),
            requests: Counter::default(),
            replies: Default::default(),
            aborted: Counter::default(),
            origin_failures: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            tunnels: Counter::default(),
            http2_connections: Counter::default(),
            http2_faults: Counter::default(),
            http2_frames: Counter::default(),
            http2_resets_received: Counter::default(),
            http2_resets_sent: Counter::default(),
            latency: Histogram::default(),
            limits: std::array::from_fn(|_| Counter::default()),
            malformed: Counter::default(),
        }
    }
}

impl ListenerStats {
    /// Counts a hit of `limit`.
    pub fn hit(&self, limit: Limit) {
        self.hits(limit, 1);
    }

    /// Counts `n` hits of `limit`.
    pub fn hits(&self, limit: Limit, n: u64) {
        if let Some(counter) = self.limits.get(limit as usize) {
            counter.add(n);
        }
    }
}

/// Numbers of one origin, one shard per worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct OriginStats {
    /// Requests sent, retries included.
    pub requests: Counter,
    /// Final replies by class: index 0 is 1xx, 4 is 5xx.
    pub replies: [Counter; 5],
    /// Connections made.
    pub connects: Counter,
    /// Connections that could not be made (TCP or TLS).
    pub connect_failures: Counter,
    /// Requests sent on a connection that had served one before.
    pub reused: Counter,
    /// Requests whose reply did not come or was cut.
    pub failures: Counter,
    /// Requests sent here after a failure elsewhere.
    pub retries: Counter,
    /// From the request's first byte sent to the reply's head.
    pub latency: Histogram,
    /// Breakers hit: connections, pending, requests.
    pub breaker_hits: [Counter; 3],
}

/// One shard per worker of an object's numbers.
#[derive(Debug)]
pub struct Sharded<T> {
    shards: Box<[T]>,
}

impl<T: Default> Sharded<T> {
    /// `workers` shards.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { shards: (0..workers.max(1)).map(|_| T::default()).collect() }
    }

    /// The shard that worker number `worker` writes.
    #[must_use]
    #[inline]
    pub fn shard(&self, worker: usize) -> &T {
        // A number that is no worker's counts with the first one; a division costs more than both.
        self.shards.get(worker).unwrap_or_else(|| &self.shards[0])
    }

    /// All shards.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter()
    }

    /// The sum of `value` over the shards.
    pub fn sum(&self, value: impl Fn(&T) -> u64) -> u64 {
        self.shards.iter().map(value).sum()
    }
}

/// Numbers of the process.
#[derive(Debug, Default)]
pub struct ProcessStats {
    /// Reloads applied.
    pub reloads_applied: Counter,
    /// Reloads refused.
    pub reloads_refused: Counter,
    /// Upgrades refused: there was no successor.
    pub upgrades_refused: Counter,
    /// Upgrades whose new process ended while this one could still take the sockets back.
    pub upgrades_taken_back: Counter,
    /// 1 where this process took over from another.
    pub upgrades_taken_over: Counter,
    /// Access log lines dropped because the writer was behind.
    pub access_log_dropped: Counter,
    /// DNS lookups that failed.
    pub dns_failures: Counter,
    /// `accept` calls that failed for want of descriptors or memory.
    pub accept_failures: Counter,
}

/// What the HTTP/2 connections of one worker to one side hold by their ledgers, in bytes; gauges
/// that the worker's clock writes.
#[derive(Debug, Default)]
pub struct Http2Ledgers {
    /// All connections together.
    pub held: AtomicU64,
    /// The most that one connection has held since the start.
    pub most: AtomicU64,
}

/// Numbers of one worker thread.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerStats {
    /// Idle origin connections taken from this worker's own pool.
    pub pool_local: Counter,
    /// Idle origin connections taken from the shared pool.
    pub pool_shared: Counter,
    /// Requests that needed a new origin connection.
    pub pool_miss: Counter,
    /// Buffers lent at this moment (a gauge, written by the worker's clock).
    pub buffers_lent: AtomicU64,
    /// Memory of clients' HTTP/2 connections.
    pub http2_clients: Http2Ledgers,
    /// Memory of HTTP/2 connections to origins.
    pub http2_origins: Http2Ledgers,
    /// Bytes of bodies moved by splice(2), counted with the worker's clock.
    pub spliced_bytes: Counter,
    /// Blocks that the worker has asked the allocator for, counted with its clock.
    pub allocations: Counter,
    /// Bytes of these blocks.
    pub allocated_bytes: Counter,
    /// Ticks of the worker's clock; one that stands still means a stuck worker.
    pub beats: Counter,
}

/// A shared handle on the shards of one listener.
pub type ListenerNumbers = Arc<Sharded<ListenerStats>>;
/// A shared handle on the shards of one origin.
pub type OriginNumbers = Arc<Sharded<OriginStats>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_puts_a_value_in_the_bucket_of_its_bound() {
        let histogram = Histogram::default();
        for us in [250, 251, 29_999_999, 30_000_001] {
            histogram.record(us);
        }
        let counts = histogram.counts();
        assert_eq!((counts[0], counts[1], counts[13], counts[14]), (1, 1, 1, 1));
        assert_eq!(histogram.sum_us(), 250 + 251 + 29_999_999 + 30_000_001);
    }

    #[test]
    fn shards_add_up() {
        let numbers = Sharded::<OriginStats>::new(3);
        numbers.shard(0).requests.add(2);
        numbers.shard(2).requests.inc();
        assert_eq!(numbers.sum(|s| s.requests.get()), 3);
    }
}
