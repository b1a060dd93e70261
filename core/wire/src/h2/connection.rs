//! One HTTP/2 connection (RFC 9113), either role, without sockets, clocks and locks: bytes that
//! came go into [`Connection::receive`], events come out; what is to be sent stands in
//! [`Connection::output`]. Wakers, timers and bodies are the caller's.
//!
//! A stream is named by its [`StreamKey`] until its owner has stopped working for it and says so
//! with [`Connection::close`]; only then is its slot free, whatever the peer did to the stream.

mod closed;
mod control;
mod data;
mod early;
mod fault;
mod heads;
mod limits;
mod output;
mod receive;
mod schedule;
mod send;
mod stop;
mod streams;
mod types;

use std::collections::VecDeque;

use super::budget::{Bucket, Budgets};
use super::flow::{RecvWindow, SendWindow};
use super::frame::{self, ErrorCode, Kind};
use super::hpack::{Decoder, Encoder};
use super::ledger::Ledger;
use super::settings::{self, INITIAL_WINDOW, Settings};
use closed::Closed;
use early::Early;
use output::Output;
use receive::Block;
use stop::Goodbye;
use streams::Streams;

pub use fault::Fault;
pub use limits::Limits;
pub use types::{Counters, Event, Inbox, OpenError, Role, SendError, Step, StreamEnd, StreamKey};

/// One connection: its streams, windows, tables and output.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    limits: Limits,
    tick: u32,
    out: Output,
    streams: Streams,
    closed: Closed,
    /// Priorities of streams that are not open.
    early: Early,
    encoder: Encoder,
    decoder: Decoder,
    peer: Settings,
    /// What the connection may send and receive.
    send: SendWindow,
    recv: RecvWindow,
    /// The receive window of a stream as the peer knows it.
    stream_window: u32,
    settings_acked: bool,
    budgets: Budgets,
    ledger: Ledger,
    counters: Counters,
    /// A field block that has not ended.
    block: Block,
    /// Events of a frame that has more than one.
    pending: VecDeque<Event>,
    preface_seen: bool,
    settings_seen: bool,
    /// The highest stream that the peer opened, and the highest that was taken from it.
    highest: u32,
    last_accepted: u32,
    /// The next stream to open, and the highest whose head was sent.
    next_id: u32,
    sent_id: u32,
    /// Streams that count against the limit of the peer, and all that ever were.
    live: u32,
    accepted: u64,
    goodbye: Goodbye,
    peer_goodbye: Option<u32>,
    dead: Option<Fault>,
    lost: bool,
    /// Bytes of output that streams whose turn has come are expected to fill.
    granted: usize,
}

impl Connection {
    /// A connection whose output holds what has to be sent first. A `tick` is 100 ms; the counter
    /// may start anywhere and may wrap.
    #[must_use]
    pub fn new(role: Role, limits: &Limits, tick: u32) -> Self {
        let mut connection = Self {
            role,
            limits: *limits,
            tick,
            out: Output::default(),
            streams: Streams::new(),
            closed: Closed::default(),
            early: Early::default(),
            encoder: Encoder::new(),
            decoder: Decoder::new(limits.header_table),
            peer: Settings::default(),
            send: SendWindow::new(INITIAL_WINDOW),
            recv: RecvWindow::new(limits.connection_window.max(INITIAL_WINDOW)),
            stream_window: INITIAL_WINDOW,
            settings_acked: false,
            budgets: Budgets::new(
                Bucket::new(limits.reset_burst, limits.reset_refill, tick),
                Bucket::new(limits.control_burst, limits.control_refill, tick),
                tick,
            ),
            ledger: Ledger::new(limits.ledger_base, limits.ledger_per_stream, limits.ledger_max),
            counters: Counters::default(),
            block: Block::default(),
            pending: VecDeque::new(),
            preface_seen: role == Role::Client,
            settings_seen: false,
            highest: 0,
            last_accepted: 0,
            next_id: 1,
            sent_id: 0,
            live: 0,
            accepted: 0,
            goodbye: Goodbye::default(),
            peer_goodbye: None,
            dead: None,
            lost: false,
            granted: 0,
        };
        connection.greet();
        connection
    }

    /// The preface of a client, our SETTINGS, and the connection window where it is not 64 KiB.
    fn greet(&mut self) {
        let limits = self.limits;
        let mut parameters = Vec::with_capacity(8);
        if limits.header_table != Settings::default().header_table {
            parameters.push((settings::HEADER_TABLE_SIZE, limits.header_table));
        }
        if limits.stream_window != INITIAL_WINDOW {
            parameters.push((settings::INITIAL_WINDOW_SIZE, limits.stream_window));
        }
        let list = u32::try_from(limits.section.bytes).unwrap_or(u32::MAX);
        parameters.push((settings::MAX_HEADER_LIST_SIZE, list));
        match self.role {
            Role::Client => {
                self.out.push(frame::PREFACE);
                parameters.push((settings::ENABLE_PUSH, 0));
            }
            Role::Server => {
                let streams = limits.max_concurrent_streams;
                parameters.push((settings::MAX_CONCURRENT_STREAMS, streams));
                if limits.enable_connect {
                    parameters.push((settings::ENABLE_CONNECT_PROTOCOL, 1));
                }
                // The tree of priorities of RFC 7540 is not used.
                parameters.push((settings::NO_RFC7540_PRIORITIES, 1));
            }
        }
        self.out.with(|out| settings::write(out, &parameters));
        let more = limits.connection_window.saturating_sub(INITIAL_WINDOW);
        if more > 0 {
            self.out.frame(Kind::WindowUpdate, 0, 0, &more.to_be_bytes());
        }
    }

    /// The bytes to write; they stay until [`Connection::sent`] says that they were written.
    #[inline]
    #[must_use]
    pub fn output(&self) -> &[u8] {
        self.out.bytes()
    }

    /// The first `n` bytes of the output were written, or handed to what writes them.
    #[inline]
    pub fn sent(&mut self, n: usize) {
        self.out.sent(n);
        self.granted = 0;
    }

    /// True while so many replies to control frames wait in the output that no frame is handled
    /// before they are written.
    #[inline]
    #[must_use]
    pub fn is_choked(&self) -> bool {
        self.out.is_choked()
    }

    /// True in the middle of a field block: until it ends no other frame may come.
    #[must_use]
    pub fn is_mid_block(&self) -> bool {
        self.block.stream != 0
    }

    /// Streams that were not closed.
    #[must_use]
    pub fn active(&self) -> usize {
        self.streams.len()
    }

    /// True where there is no stream and nothing to write.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.streams.len() == 0 && self.out.bytes().is_empty()
    }

    /// True where the peer sent its SETTINGS: its limits are known.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.settings_seen
    }

    /// True where the peer takes extended CONNECT (RFC 8441 §3).
    #[must_use]
    pub fn peer_allows_connect(&self) -> bool {
        self.peer.connect
    }

    /// Which end of the connection this is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Bytes of memory that the peer makes this connection hold.
    #[must_use]
    pub fn ledger_bytes(&self) -> usize {
        self.ledger.used() + self.unowned()
    }

    /// The highest stream of the peer that was taken on.
    #[must_use]
    pub fn last_stream(&self) -> u32 {
        self.last_accepted
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Why the connection ended, where it did by the peer's fault.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        self.dead
    }

    /// Gives the memory of the output back, where nothing waits in it.
    pub fn release_idle(&mut self) {
        self.out.release();
    }

    /// Gives back all memory that an idle connection can do without.
    pub fn shrink(&mut self) {
        self.release_idle();
        self.streams.shrink();
        self.encoder.shrink();
        self.decoder.shrink();
        self.block.shrink();
        self.pending.shrink_to_fit();
        self.early.shrink();
        if self.streams.len() == 0 {
            self.closed.forget();
        }
    }

    /// Memory that belongs to no stream.
    fn unowned(&self) -> usize {
        let tables = self.encoder.memory() + self.decoder.memory();
        self.out.capacity() + self.block.capacity() + self.early.memory() + tables
    }

    /// Writes an RST_STREAM; the peer has not made us wait for it.
    fn write_reset(&mut self, id: u32, code: ErrorCode) {
        self.counters.resets_own += 1;
        self.out.reply(Kind::RstStream, 0, id, &code.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
