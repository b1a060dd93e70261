//! What is remembered of streams that left the table: frames that were under way when we cut a
//! stream off are no fault of the peer, frames behind its own end are.

use std::collections::VecDeque;

/// Streams remembered of those that we cut off: what an honest peer can have under way before it
/// hears of it, at the resets that the budget allows.
const CUT_MAX: usize = 128;

/// Streams remembered of those that the peer ended; only the name of its fault depends on it.
const ENDED_MAX: usize = 32;

/// What is known of a closed stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// We cut it off while the peer was sending.
    Cut,
    /// The peer ended it, or cut it off.
    Ended,
    /// It was never opened, or that is too long ago.
    Unknown,
}

/// Streams that were closed last.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    cut: VecDeque<u32>,
    ended: VecDeque<u32>,
    /// Some stream that we cut off is forgotten.
    forgot: bool,
}

impl Closed {
    /// Remembers a stream that we cut off while the peer was sending.
    pub(crate) fn cut(&mut self, id: u32) {
        if self.cut.len() >= CUT_MAX {
            self.cut.pop_front();
            self.forgot = true;
        }
        self.cut.push_back(id);
    }

    /// Remembers a stream whose end the peer knows.
    pub(crate) fn ended(&mut self, id: u32) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(id);
    }

    /// What is known of a stream that is not in the table.
    pub(crate) fn past(&self, id: u32) -> Past {
        if self.cut.contains(&id) {
            Past::Cut
        } else if self.ended.contains(&id) {
            Past::Ended
        } else if self.forgot {
            // In doubt for the peer: the frame is ignored, and charged.
            Past::Cut
        } else {
            Past::Unknown
        }
    }

    /// Forgets all of it.
    pub(crate) fn forget(&mut self) {
        self.forgot |= !self.cut.is_empty();
        (self.cut, self.ended) = (VecDeque::new(), VecDeque::new());
    }
}
