//! What a round did and did not do, as sentences.

use std::fmt;

use core_forwarding::step::Done;

/// Why a server was taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is dead.
    Dead,
    /// It is not in the fleet.
    Gone,
}

/// One thing of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A server was taken out of every slot.
    Removed {
        /// The server.
        id: u16,
        /// Why.
        why: Why,
        /// What became of its buckets.
        done: Done,
    },
    /// A server's buckets were given new owners.
    Drained {
        /// The server.
        id: u16,
        /// What became of its buckets.
        done: Done,
    },
    /// A server is drained since its service is ill.
    Ill {
        /// The server.
        id: u16,
    },
    /// What an agent says about its server is not believed: it has just started.
    AgentDisregarded {
        /// The server.
        id: u16,
    },
    /// Too many servers are ill at once: all stay in.
    KeptIn {
        /// Ill servers.
        ill: usize,
        /// Active servers.
        of: usize,
    },
    /// A server came, and is to get its share.
    Joined {
        /// The server.
        id: u16,
    },
    /// The server whose load is furthest from the mean.
    Deviates {
        /// The server.
        id: u16,
        /// By how much, in thousandths of the mean.
        thousandths: u32,
        /// Whether it has more load than the mean.
        above: bool,
    },
    /// Share was moved.
    Balanced {
        /// What became of buckets.
        done: Done,
        /// Most that the round was allowed.
        limit: u32,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Removed { id, why, done } => {
                let why = if why == Why::Dead { "is dead" } else { "is not in the fleet" };
                write!(f, "server {id} {why}: {} buckets have new owners", done.replaced)
            }
            Self::Drained { id, done } => {
                write!(f, "server {id} drains: ")?;
                changes(f, done)
            }
            Self::Ill { id } => write!(f, "server {id} is unhealthy: it is drained"),
            Self::AgentDisregarded { id } => {
                write!(f, "server {id} is said to be unhealthy by an agent that has just started")
            }
            Self::KeptIn { ill, of } => {
                write!(f, "{ill} of {of} servers are unhealthy at once: all stay in")
            }
            Self::Joined { id } => write!(f, "server {id} joins"),
            Self::Deviates { id, thousandths, above } => {
                let side = if above { "above" } else { "below" };
                let (percent, rest) = (thousandths / 10, thousandths % 10);
                write!(f, "server {id} has {percent}.{rest} % load {side} the mean")
            }
            Self::Balanced { done, limit } => {
                write!(f, "balance: ")?;
                changes(f, done)?;
                if done.changed() >= limit { write!(f, "; the limit of a round") } else { Ok(()) }
            }
        }
    }
}

fn changes(f: &mut fmt::Formatter<'_>, done: Done) -> fmt::Result {
    write!(f, "{} buckets exchanged, {} moved", done.exchanged, done.moved)?;
    if done.held > 0 { write!(f, ", {} held", done.held) } else { Ok(()) }
}
