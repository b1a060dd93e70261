//! Stage 3: TLS of both sides over rustls' unbuffered connections.
//!
//! The handshake rules are rustls'; which bytes are read and written when is decided here, so
//! that an idle connection holds no buffer and a flight is one write. Records of clients that
//! stay are sealed and opened here (`record.rs`).

pub(crate) mod client;
mod io;
mod record;
mod server;
#[cfg(test)]
mod testing;
mod tickets;
mod unbuffered;

pub(crate) use io::{HandshakeError, Session, TlsStream};
pub use server::TlsError;
pub(crate) use server::{ServerTls, accept, server_config};
pub(crate) use tickets::Tickets;

/// Bytes a peer may send for a handshake: the largest chains with client certificates are a
/// fifth of it.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// What a host asks of the client's end of a connection. A connection stands under the policy of
/// the host that its handshake named, and serves hosts of that policy only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsPolicy {
    /// Whatever the listener lets in.
    Any,
    /// A client certificate was shown.
    ClientCertificate,
}

/// What a handshake may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandshakeLimits {
    /// Bytes received.
    pub(crate) bytes: usize,
    /// Time from the first byte on.
    pub(crate) time: std::time::Duration,
}
