//! What passes between a connection and its caller.

use crate::h1::write::WriteError;
use crate::h2::frame::ErrorCode;

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes requests.
    Server,
    /// Sends requests.
    Client,
}

/// A stream of one connection. A key whose stream was closed never names another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    /// The slot: small numbers, used again after a stream is closed.
    pub index: u32,
    /// The identifier on the wire.
    pub id: u32,
}

/// What became of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes that were dealt with; the caller keeps the others and offers them again.
    pub consumed: usize,
    /// What happened.
    pub event: Option<Event>,
}

/// What a frame of the peer brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A head is in the section that was passed in: a request on a server, an interim or the
    /// final reply on a client.
    Head {
        /// Its stream.
        stream: StreamKey,
        /// No content follows.
        ends: bool,
    },
    /// Content, its end or trailers came, or the peer wants no more of our message
    /// ([`SendError::Stopped`]).
    Readable(StreamKey),
    /// Both halves of the stream are over before their time; see [`super::Connection::status`].
    Reset(StreamKey),
    /// The peer's SETTINGS came, its first or others.
    Settings,
    /// The peer takes no stream above `last`.
    GoAway {
        /// The highest stream that the peer may have acted on.
        last: u32,
        /// Why it goes.
        code: ErrorCode,
    },
    /// The peer answered our PING.
    PingAck,
}

/// How a stream was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// RST_STREAM, the peer's or ours.
    Reset {
        /// The code it carried.
        code: ErrorCode,
    },
    /// RST_STREAM with REFUSED_STREAM: the peer has not acted on it (RFC 9113 §8.7).
    Refused,
    /// Not acted on by a peer that went away (RFC 9113 §6.8).
    Unprocessed,
    /// The connection is over.
    Lost,
}

/// What [`super::Connection::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbox {
    /// The peer's message ended; nothing comes behind what was taken.
    pub ends: bool,
    /// The stream was cut off.
    pub reset: Option<StreamEnd>,
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// As many streams as allowed are open.
    Full,
    /// One side said goodbye, or the connection is over.
    GoingAway,
    /// The connection had all the requests that it may have.
    Exhausted,
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "as many streams as allowed are open",
            Self::GoingAway => "the connection is going away",
            Self::Exhausted => "the connection had all the requests that it may have",
        })
    }
}

impl core::error::Error for OpenError {}

/// Why nothing can be sent on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The stream was cut off or closed; [`super::Connection::status`] says how.
    Closed,
    /// The peer has answered and wants no more (RFC 9113 §8.1); its answer can be read.
    Stopped,
    /// The call does not fit what was sent before: content before the head, or anything after
    /// the end.
    Order,
    /// The head has something that must not be in it; none of it was sent.
    Head(WriteError),
}

impl core::fmt::Display for SendError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Closed => f.write_str("the stream is over"),
            Self::Stopped => f.write_str("the peer wants no more of the message"),
            Self::Order => f.write_str("the part does not follow what was sent before"),
            Self::Head(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SendError {}

/// What was counted on one connection; for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames received, whatever they were.
    pub frames: u64,
    /// Control frames received: all but HEADERS, CONTINUATION and DATA with content.
    pub control: u64,
    /// RST_STREAM received.
    pub resets_peer: u64,
    /// RST_STREAM sent.
    pub resets_own: u64,
    /// Streams refused because as many as allowed were open.
    pub refused_full: u64,
    /// Streams refused because the ledger had no room for them.
    pub refused_memory: u64,
    /// The connection was ended because of a flood: 0 or 1.
    pub floods: u64,
}
