//! `[runtime]`, `[admin]`, `[logging]`, `[control]`: how the process runs and what is seen of it.

use crate::net::ListenAddress;
use std::path::PathBuf;
use std::time::Duration;

/// `[runtime]`: threads, user, DNS and the end of the process. `workers`, `user` and `group` are
/// changed by a restart only.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// Worker threads, 1..=256; one per usable core by default.
    pub workers: usize,
    /// User to become after the sockets are bound, when started as root.
    pub user: Option<String>,
    /// Group to become; the user's own group by default.
    pub group: Option<String>,
    /// How long connections may finish after TERM, or after their listener was removed.
    pub drain_timeout: Duration,
    /// How often DNS names of origins are resolved again when their TTL says nothing sensible:
    /// lower bound of the TTL used.
    pub dns_min_ttl: Duration,
    /// Upper bound of the TTL used.
    pub dns_max_ttl: Duration,
    /// DNS servers; the system's (`/etc/resolv.conf`) where empty.
    pub dns_servers: Vec<std::net::SocketAddr>,
}

/// `[admin]`: metrics, status page and `weir reload`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Where it listens; none disables it.
    pub address: Option<ListenAddress>,
}

/// `[control]`: the control planes that this edge follows. All of it is changed by a restart only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Where they listen for edges, `https://HOST:PORT` each; at least one.
    pub urls: Vec<String>,
    /// The file of the token that the first start joins with.
    pub join_token_file: Option<PathBuf>,
    /// Where identity and last snapshot are kept; the service manager's folder, or the usual one,
    /// where none is set.
    pub state: Option<PathBuf>,
    /// What this edge is called at the planes; the machine's name where none is set.
    pub name: Option<String>,
}

/// `[logging]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Logging {
    /// Least severe level that the operator log shows.
    pub level: LogLevel,
    /// Form of the operator log.
    pub format: LogFormat,
    /// Access logs; none by default.
    pub access: Option<AccessLog>,
}

/// Severity of an operator log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Weir cannot do its job.
    Error,
    /// Something an operator should look at.
    Warn,
    /// What happened in the life of the process.
    Info,
    /// What helps to find a fault.
    Debug,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Operator log: text for people. Access log: the combined format.
    Text,
}

/// Where access log lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    Stdout,
    /// A file, opened for appending and reopened on reload.
    File(PathBuf),
}

/// `[logging.access]`.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLog {
    /// Where lines go.
    pub target: LogTarget,
    /// JSON or combined.
    pub format: LogFormat,
    /// Lines that may wait for the writer, per worker; further ones are dropped and counted.
    pub buffer_lines: usize,
}
