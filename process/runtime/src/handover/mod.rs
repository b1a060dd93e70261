//! Hand-over: a running process starts a new one from the program's file and gives it every
//! listening socket, so that an upgrade of the program loses no connection.
//!
//! The two talk over a socket pair that the new process finds as its standard input. Messages are
//! JSON, one per packet (`channel`). `give` is the side of the process that serves, `take` that of
//! the one it starts, `program` what is started. Neither accepts a connection or reads a
//! configuration; docs/operating/upgrade.md tells the order of the steps.

mod channel;
mod give;
mod program;
mod take;

pub use channel::ChannelError;
pub use give::{FromSuccessor, HandoverError, Offer, Successor, hand_over};
pub use program::Program;
pub use take::{Inherited, Predecessor, Refusal, TakeError, Takeover};

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The version of the messages that this program speaks.
pub const PROTOCOL: u32 = 1;

/// Descriptors in one message; the kernel allows 253 (SCM_MAX_FD).
pub const SOCKETS_PER_MESSAGE: usize = 250;

/// Listeners whose ticket keys go into one message: four keys each stay far below the size of one.
const TICKETS_PER_MESSAGE: usize = 50;

/// Listening sockets that are taken over at most: a thousand workers at sixty addresses.
pub const SOCKETS_MAX: usize = 65_536;

/// How long the new program may take to say its first word, on a machine that is busy.
pub const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// How long the whole of it may take until the new process is ready: reading the configuration,
/// first lookups and probes, and room for a busy machine. Shorter than what the admin server
/// waits, so that who asked hears the outcome.
pub const READY_WITHIN: Duration = Duration::from_secs(45);
const _: () = assert!(READY_WITHIN.as_secs() < crate::admin::RELOAD_TIMEOUT.as_secs());

/// How long the old process keeps its sockets and its processes waiting after the new one is
/// ready, even where no connection is left.
pub const HOLD_AT_LEAST: Duration = Duration::from_secs(1);

/// How long after it was ready the end of the new process makes the old one take the sockets back.
pub const TAKE_BACK_WITHIN: Duration = Duration::from_secs(60);

/// The variable that names the process which handed over; it tells a new process to look for the
/// socket pair. Its value counts only where it is the parent's id.
const FROM_VARIABLE: &str = "WEIR_UPGRADE_FROM";

/// What a listening socket is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketUse {
    /// Clients of a listener.
    Listener {
        /// Its name.
        name: String,
        /// Its address as the configuration has it, so port 0 stays 0.
        address: std::net::SocketAddr,
    },
    /// The admin server.
    Admin {
        /// Its address as the configuration has it.
        address: String,
    },
}

/// The ticket keys that a listener made for itself, newest first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKeys {
    /// The listener's name.
    pub listener: String,
    /// How long ago the newest was made.
    pub age_ms: u64,
    /// The secrets, in hexadecimal.
    pub secrets: Vec<String>,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TicketKeys({}: {} keys)", self.listener, self.secrets.len())
    }
}

/// Everything the two say. `Hello` and `Refused` keep their form in every version, so that two
/// programs that share no version can still tell each other so.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// New to old, the first word: the versions of these messages that it speaks.
    Hello { protocols: Vec<u32>, program: String },
    /// Old to new: the version that both use from here on.
    Welcome { protocol: u32 },
    /// Either way: it ends here, and why.
    Refused { why: Vec<String> },
    /// New to old: the configuration is valid, send the sockets.
    Give,
    /// Old to new, with as many descriptors; `left` sockets follow in further messages.
    Sockets { sockets: Vec<SocketUse>, left: usize },
    /// New to old: that many have come, send the next.
    Took { sockets: usize },
    /// Old to new, after the sockets; `left` further ones follow.
    Tickets { keys: Vec<TicketKeys>, left: usize },
    /// New to old: it accepts connections and its own has come through. The listeners, by the
    /// addresses of the old one, whose sockets it serves.
    Ready { listeners: Vec<SocketUse> },
    /// Old to new: it has stopped accepting, the service is the new one's.
    Yours,
    /// New to old: close your copies of the sockets and do not take them back.
    LetGo,
    /// Old to new: they are closed.
    Gone,
    /// New to old: the service ends; so should you, at once where `quick`.
    Ending { quick: bool },
}

#[cfg(test)]
mod tests;
