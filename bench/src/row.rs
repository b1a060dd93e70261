//! The rows: what is asked of each proxy, how it is counted, and the goal.

use crate::load::Traffic;

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
    /// Connections at a time.
    pub connections: usize,
    /// When each is sent.
    pub traffic: Traffic,
    /// TCP, TLS, or TLS resumed.
    pub transport: Transport,
}

/// What lies between the client and HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Plain,
    /// TLS 1.3 with a full handshake per connection.
    Tls,
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
    connections: 64,
    traffic: Traffic::KeepAlive,
    transport: Transport::Plain,
};

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
    /// The bytes of each request.
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
}
