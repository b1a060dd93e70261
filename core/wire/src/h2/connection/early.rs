//! Priorities that came before their requests (RFC 9218 §7.1): the last one of each stream waits
//! for the stream to open.

use crate::h2::priority::Priority;

/// Streams whose priority is kept before they open: one for each that a client may open at once by
/// default, and 8 bytes each. The oldest makes room for more.
const EARLY_MAX: usize = 100;

/// What waits for streams that are not open.
#[derive(Debug, Default)]
pub(crate) struct Early {
    list: Vec<(u32, Priority)>,
}

impl Early {
    /// Keeps the priority of a stream, in the place of what was said before.
    pub(crate) fn put(&mut self, id: u32, priority: Priority) {
        self.list.retain(|&(other, _)| other != id);
        if self.list.len() >= EARLY_MAX {
            self.list.remove(0);
        }
        self.list.push((id, priority));
    }

    /// Takes the priority of a stream that opens; those below it never will (RFC 9113 §5.1.1).
    #[inline]
    pub(crate) fn take(&mut self, id: u32) -> Option<Priority> {
        if self.list.is_empty() {
            return None;
        }
        let found = self.list.iter().find(|&&(other, _)| other == id).map(|&(_, said)| said);
        self.list.retain(|&(other, _)| other > id);
        found
    }

    /// Bytes of heap.
    pub(crate) fn memory(&self) -> usize {
        self.list.capacity() * size_of::<(u32, Priority)>()
    }

    /// Gives memory back that nothing needs.
    pub(crate) fn shrink(&mut self) {
        self.list.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_the_oldest_makes_room() {
        let urgency = |urgency| Priority { urgency, incremental: false };
        let mut early = Early::default();
        for id in (1..).step_by(2).take(EARLY_MAX) {
            early.put(id, urgency(1));
        }
        early.put(3, urgency(2));
        early.put(1_001, urgency(5));
        assert_eq!(early.take(1), None, "the oldest");
        assert_eq!(early.take(3), Some(urgency(2)), "the last word");
        assert_eq!(early.take(9), Some(urgency(1)));
        assert_eq!(early.take(5), None, "it is below one that has opened");
        assert_eq!(early.take(1_001), Some(urgency(5)));
        early.shrink();
        assert_eq!(early.memory(), 0);
    }
}
