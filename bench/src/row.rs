//! The rows: what is asked of each proxy, how it is counted, and the goal.

use crate::h2::{Block, Field};
use crate::load::{Script, Talk, Traffic};
use crate::origin;

/// Requests per second of the low-rate row.
pub const LOW_RATE: u32 = 5000;
/// Connections held in the idle rows.
pub const IDLE_CONNECTIONS: usize = 10_000;

/// A line of the benchmark.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// The word that selects it.
    pub name: &'static str,
    /// What it does, for the JSON and the documentation.
    pub says: &'static str,
    /// How it is measured.
    pub kind: Kind,
    /// What Weir promises.
    pub goal: Goal,
}

/// How a row is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// CPU time of the process tree per completed request, µs.
    Cpu(Requests),
    /// CPU time of the process tree per gigabyte of bodies, ms.
    CpuPerByte(Requests),
    /// Latency from the time a request was due, µs: median and 99th percentile.
    Latency(Requests),
    /// Memory per idle connection, KiB.
    Idle(Requests),
    /// User-space instructions per request.
    Instructions(Requests),
}

/// The offered requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requests {
    /// Path of the origin.
    pub path: &'static str,
    /// Body bytes sent along: a POST; 0 is a GET.
    pub upload: usize,
    /// What the client speaks.
    pub client: Client,
    /// What the proxy speaks with the origin.
    pub origin: Upstream,
    /// Connections at a time.
    pub connections: usize,
    /// When each is sent.
    pub traffic: Traffic,
    /// TCP, or one of the kinds of TLS.
    pub transport: Transport,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// HTTP/1.1, one request at a time.
    H1,
    /// HTTP/2, this many requests at a time.
    H2(usize),
}

/// What a proxy speaks with the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 with prior knowledge; every reply is a gRPC message with trailers.
    H2,
}

/// What lies between the client and HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Plain,
    /// TLS 1.3 with a full handshake per connection.
    Tls,
    /// The same with the group X25519MLKEM768.
    TlsHybrid,
    /// TLS 1.3 with a ticket wherever there was a connection before.
    TlsResumed,
}

/// What a row shall reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this share of the best peer's figure.
    OfBest(f64),
    /// At most this share of nginx's figure.
    OfNginx(f64),
    /// At most this figure.
    AtMost(f64),
    /// Not above the best peer's, where 5 % count as equal.
    NotAbove,
}

const GET: Requests = Requests {
    path: "/1k",
    upload: 0,
    client: Client::H1,
    origin: Upstream::H1,
    connections: 64,
    traffic: Traffic::KeepAlive,
    transport: Transport::Plain,
};
const H2: Requests =
    Requests { client: Client::H2(16), connections: 8, transport: Transport::Tls, ..GET };

/// All rows, in the table's order.
pub const ROWS: &[Row] = &[
    Row {
        name: "h1-get",
        says: "HTTP/1.1 GET 1 kB, keep-alive, 64 connections",
        kind: Kind::Cpu(GET),
        goal: Goal::OfBest(0.75),
    },
    Row {
        name: "h1-post",
        says: "HTTP/1.1 POST 1 kB, reply 1 kB, 64 connections",
        kind: Kind::Cpu(Requests { upload: 1024, ..GET }),
        goal: Goal::OfBest(0.73),
    },
    Row {
        name: "h1-100k",
        says: "HTTP/1.1 GET 100 kB, 64 connections",
        kind: Kind::Cpu(Requests { path: "/100k", ..GET }),
        goal: Goal::OfBest(0.80),
    },
    Row {
        name: "h1-10m",
        says: "HTTP/1.1 GET 10 MB, 8 connections",
        kind: Kind::CpuPerByte(Requests { path: "/10m", connections: 8, ..GET }),
        goal: Goal::OfBest(0.95),
    },
    Row {
        name: "h1-close",
        says: "HTTP/1.1 GET 1 kB, a new connection each",
        kind: Kind::Cpu(Requests { traffic: Traffic::Close, ..GET }),
        goal: Goal::OfBest(0.90),
    },
    Row {
        name: "tls-h1",
        says: "TLS 1.3, HTTP/1.1 GET 1 kB, keep-alive, 64 connections",
        kind: Kind::Cpu(Requests { transport: Transport::Tls, ..GET }),
        goal: Goal::OfBest(0.75),
    },
    Row {
        name: "tls-h2",
        says: "TLS 1.3, HTTP/2 GET 1 kB, 8 connections of 16 streams",
        kind: Kind::Cpu(H2),
        goal: Goal::OfBest(0.50),
    },
    Row {
        name: "tls-h2-64",
        says: "TLS 1.3, HTTP/2 GET 1 kB, 64 connections of one stream",
        kind: Kind::Cpu(Requests { client: Client::H2(1), connections: 64, ..H2 }),
        goal: Goal::OfBest(0.70),
    },
    Row {
        name: "grpc",
        says: "TLS 1.3, HTTP/2 POST of a gRPC message, origin HTTP/2 plain, reply with trailers, \
               8 connections of 16 streams",
        kind: Kind::Cpu(Requests {
            path: "/bench.Bench/Call",
            upload: origin::MESSAGE,
            origin: Upstream::H2,
            ..H2
        }),
        goal: Goal::OfBest(0.55),
    },
    Row {
        name: "tls-10m",
        says: "TLS 1.3, HTTP/1.1 GET 10 MB, 8 connections",
        kind: Kind::CpuPerByte(Requests {
            path: "/10m",
            connections: 8,
            transport: Transport::Tls,
            ..GET
        }),
        goal: Goal::OfBest(0.95),
    },
    Row {
        name: "tls-handshake",
        says: "TLS 1.3 full handshake and one GET 1 kB per connection",
        kind: Kind::Cpu(Requests {
            traffic: Traffic::Close,
            transport: Transport::Tls,
            connections: 16,
            ..GET
        }),
        goal: Goal::OfBest(0.70),
    },
    Row {
        name: "tls-hybrid",
        says: "TLS 1.3 full handshake with X25519MLKEM768 and one GET 1 kB per connection",
        kind: Kind::Cpu(Requests {
            traffic: Traffic::Close,
            transport: Transport::TlsHybrid,
            connections: 16,
            ..GET
        }),
        goal: Goal::OfBest(0.65),
    },
    Row {
        name: "tls-resumed",
        says: "TLS 1.3 resumed handshake and one GET 1 kB per connection",
        kind: Kind::Cpu(Requests {
            traffic: Traffic::Close,
            transport: Transport::TlsResumed,
            connections: 16,
            ..GET
        }),
        goal: Goal::OfBest(0.72),
    },
    Row {
        name: "low-rate",
        says: "HTTP/1.1 GET 1 kB, 5,000 requests/s whatever the replies do",
        kind: Kind::Latency(Requests { traffic: Traffic::Rate(LOW_RATE), ..GET }),
        goal: Goal::NotAbove,
    },
    Row {
        name: "idle-plain",
        says: "10,000 connections idle after one request each",
        kind: Kind::Idle(Requests { traffic: Traffic::Hold(IDLE_CONNECTIONS), ..GET }),
        goal: Goal::AtMost(1.0),
    },
    Row {
        name: "idle-tls",
        says: "10,000 TLS 1.3 connections idle after one request each",
        kind: Kind::Idle(Requests {
            traffic: Traffic::Hold(IDLE_CONNECTIONS),
            transport: Transport::Tls,
            ..GET
        }),
        goal: Goal::AtMost(10.0),
    },
    Row {
        name: "instructions",
        says: "user-space instructions per HTTP/1.1 GET 1 kB, keep-alive, 64 connections",
        kind: Kind::Instructions(GET),
        goal: Goal::OfNginx(0.5),
    },
    Row {
        name: "instructions-h2",
        says: "user-space instructions per HTTP/2 GET 1 kB over TLS, 8 connections of 16 streams",
        kind: Kind::Instructions(H2),
        goal: Goal::OfNginx(0.4),
    },
];

/// The row of a name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

impl Kind {
    /// The requests of the row.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        match self {
            Self::Cpu(requests)
            | Self::CpuPerByte(requests)
            | Self::Latency(requests)
            | Self::Idle(requests)
            | Self::Instructions(requests) => requests,
        }
    }

    /// The figures of the row: suffix of the line's name, and unit.
    #[must_use]
    pub fn figures(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Cpu(_) => &[("", "µs CPU")],
            Self::CpuPerByte(_) => &[("", "ms CPU/GB")],
            Self::Latency(_) => &[(" p50", "µs"), (" p99", "µs")],
            Self::Idle(_) => &[("", "KiB")],
            Self::Instructions(_) => &[("", "count")],
        }
    }
}

impl Requests {
    /// What is said on the connections.
    #[must_use]
    pub fn talk(&self, host: &str) -> Talk {
        match self.client {
            Client::H1 => Talk::H1(self.bytes(host).into()),
            Client::H2(streams) => Talk::H2(self.script(host, streams).into()),
        }
    }

    /// The bytes of each request in HTTP/1.1.
    #[must_use]
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let method = if self.upload == 0 { "GET" } else { "POST" };
        let mut head = format!(
            "{method} {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n",
            self.path
        );
        if self.traffic == Traffic::Close {
            head.push_str("Connection: close\r\n");
        }
        if self.upload > 0 {
            head.push_str("Content-Type: application/octet-stream\r\n");
            head.push_str(&format!("Content-Length: {}\r\n", self.upload));
        }
        let mut bytes = (head + "\r\n").into_bytes();
        bytes.resize(bytes.len() + self.upload, b'y');
        bytes
    }

    /// The same request in HTTP/2; numbers are places in the static table (RFC 7541 appendix A).
    fn script(&self, host: &str, streams: usize) -> Script {
        let method = Field::Known(if self.upload == 0 { 2 } else { 3 });
        let scheme = Field::Known(if self.transport == Transport::Plain { 6 } else { 7 });
        let mut fields = vec![method, scheme, Field::Value(4, self.path), Field::Kept(1, host)];
        fields.extend([Field::Kept(58, "bench"), Field::Kept(19, "*/*")]);
        let trailers = self.origin == Upstream::H2;
        if trailers {
            fields.extend([Field::Kept(31, "application/grpc"), Field::KeptText("te", "trailers")]);
        }
        let size = origin::BODIES.iter().find(|(path, _)| *path == self.path);
        let body = if trailers { origin::MESSAGE } else { size.map_or(0, |(_, size)| *size) };
        let upload = if trailers { origin::message() } else { vec![b'y'; self.upload] };
        Script { streams, request: Block::of(&fields, 0), upload, body: body as u64, trailers }
    }
}
