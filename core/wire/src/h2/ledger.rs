//! The memory of one connection in bytes: decoded heads, received data, output and streams. What
//! is added here is taken off by whoever lets the memory go.

/// What a connection holds, and how much it may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledger {
    used: usize,
    base: usize,
    per_stream: usize,
    max: usize,
}

impl Ledger {
    pub(crate) fn new(base: usize, per_stream: usize, max: usize) -> Self {
        Self { used: 0, base, per_stream, max }
    }

    /// Bytes held.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    #[inline]
    pub(crate) fn add(&mut self, bytes: usize) {
        self.used += bytes;
    }

    #[inline]
    pub(crate) fn sub(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used, "no more is given back than was charged");
        self.used = self.used.saturating_sub(bytes);
    }

    /// Moves a charge from `before` to `after` bytes.
    #[inline]
    pub(crate) fn change(&mut self, before: usize, after: usize) {
        self.add(after);
        self.sub(before);
    }

    /// True where `extra` bytes, held elsewhere or about to be, fit beside `streams` streams.
    pub(crate) fn fits(&self, extra: usize, streams: usize) -> bool {
        let allowed = self.base.saturating_add(self.per_stream.saturating_mul(streams));
        self.used.saturating_add(extra) <= allowed.min(self.max)
    }

    /// True where even the hard bound is passed, `extra` bytes included.
    pub(crate) fn is_spent(&self, extra: usize) -> bool {
        self.used.saturating_add(extra) > self.max
    }
}
