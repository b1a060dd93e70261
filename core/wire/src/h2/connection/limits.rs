//! Limits of one connection, with their defaults and the reason of each.

use crate::h2::section::SectionLimits;
use crate::h2::settings::INITIAL_WINDOW;

/// What a connection allows its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams open at once (SETTINGS_MAX_CONCURRENT_STREAMS). Work that goes on behind streams
    /// that are over may add up to a quarter and three to it.
    pub max_concurrent_streams: u32,
    /// Bytes that a stream may send ahead of its reader.
    pub stream_window: u32,
    /// Bytes that all streams together may send ahead of their readers, at least 65,535.
    pub connection_window: u32,
    /// Limits of a decoded head, with 32 bytes for each field.
    pub section: SectionLimits,
    /// Limits of decoded trailers, with 32 bytes for each field.
    pub trailers: SectionLimits,
    /// Bytes of a compressed field block, over all its frames.
    pub header_block_bytes: usize,
    /// CONTINUATION frames behind one HEADERS frame.
    pub continuation_frames: u32,
    /// Bytes of the decoder's dynamic table (SETTINGS_HEADER_TABLE_SIZE).
    pub header_table: u32,
    /// The largest frame payload to send, in bytes; what the peer allows may be less.
    pub max_frame: u32,
    /// Bytes that a connection may hold without any stream.
    pub ledger_base: usize,
    /// Bytes that each stream adds to it.
    pub ledger_per_stream: usize,
    /// Bytes that a connection may hold whatever it does.
    pub ledger_max: usize,
    /// Resets at once: the peer's, and those that the peer brought about.
    pub reset_burst: u32,
    /// Resets per second.
    pub reset_refill: u32,
    /// Control frames at once that no traffic accounts for.
    pub control_burst: u32,
    /// Control frames per second that no traffic accounts for.
    pub control_refill: u32,
    /// Requests in the life of the connection.
    pub requests_max: u64,
    /// Extended CONNECT (RFC 8441) is offered to clients.
    pub enable_connect: bool,
    /// Bytes of output above which no more DATA is taken.
    pub out_high_water: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What most servers offer; browsers are built for it.
            max_concurrent_streams: 100,
            // The initial value: a client that sends before it has our SETTINGS is right with it.
            stream_window: INITIAL_WINDOW,
            // Four streams upload at full speed, and it is what an upload attack can claim.
            connection_window: 256 << 10,
            // The count is what bounds memory: an empty field costs a byte on the wire.
            section: SectionLimits { bytes: 64 << 10, fields: 200 },
            trailers: SectionLimits { bytes: 8 << 10, fields: 32 },
            // No block of an acceptable section is longer.
            header_block_bytes: 64 << 10,
            // Four full frames hold the block; honest senders do not cut smaller than that.
            continuation_frames: 8,
            header_table: 4096,
            max_frame: 16_384,
            // The connection window, and a head of full size for each stream.
            ledger_base: 256 << 10,
            ledger_per_stream: 64 << 10,
            ledger_max: 2 << 20,
            // A browser that leaves a page cancels all of its streams at once.
            reset_burst: 200,
            reset_refill: 20,
            // What clients send at their start, and keep-alive at any sane rate.
            control_burst: 100,
            control_refill: 10,
            // Connections end now and then, so that load spreads over what was added since.
            requests_max: 10_000,
            enable_connect: false,
            // Four turns of 16 KiB: a full write, and no more memory for a slow reader.
            out_high_water: 64 << 10,
        }
    }
}

impl Limits {
    /// Streams that may exist before their owners have closed them.
    pub(crate) fn running_max(&self) -> usize {
        let max = self.max_concurrent_streams as usize;
        max.saturating_add(max / 4).saturating_add(3)
    }
}
