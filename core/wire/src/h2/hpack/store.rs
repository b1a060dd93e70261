//! The bytes of a dynamic table, oldest first in one vector, so that each entry is one slice.

/// A queue of bytes whose places keep their meaning while older bytes go.
#[derive(Debug, Default)]
pub(super) struct Store {
    bytes: Vec<u8>,
    /// Bytes at the front that no entry owns any more.
    dead: usize,
    /// The place of the first byte of the vector. Places wrap around; those in use do not meet.
    base: u32,
}

impl Store {
    /// Appends `text` and gives its place. Memory is moved together where that frees at least
    /// half of it, so that a byte is moved less than once in the mean and the vector stays below
    /// four times the bytes in use.
    pub(super) fn push(&mut self, text: &[u8]) -> u32 {
        if self.bytes.len() + text.len() > self.bytes.capacity()
            && self.dead * 2 >= self.bytes.len()
        {
            self.compact();
        }
        let place = self.base.wrapping_add(self.bytes.len() as u32);
        self.bytes.extend_from_slice(text);
        place
    }

    /// Gives up everything in front of `place`.
    pub(super) fn release_before(&mut self, place: u32) {
        self.dead = (place.wrapping_sub(self.base) as usize).min(self.bytes.len());
    }

    /// Gives up everything.
    pub(super) fn clear(&mut self) {
        self.base = self.base.wrapping_add(self.bytes.len() as u32);
        self.bytes.clear();
        self.dead = 0;
    }

    /// The `len` bytes at `place`.
    #[inline]
    pub(super) fn get(&self, place: u32, len: usize) -> &[u8] {
        let at = place.wrapping_sub(self.base) as usize;
        self.bytes.get(at..at + len).unwrap_or_default()
    }

    /// Gives back the memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.compact();
        self.bytes.shrink_to_fit();
    }

    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.dead);
        self.base = self.base.wrapping_add(self.dead as u32);
        self.dead = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn entries_stay_readable_and_memory_bounded() {
        // A start near the end of the places shows that they wrap around.
        let mut store = Store { base: u32::MAX - 100, ..Store::default() };
        let mut live = VecDeque::new();
        for n in 0..5000usize {
            let text = vec![n as u8; n * 7 % 90];
            live.push_back((store.push(&text), text));
            if live.len() > 20 {
                live.pop_front();
                store.release_before(live[0].0);
            }
            for (place, text) in &live {
                assert_eq!(store.get(*place, text.len()), text);
            }
        }
        assert!(store.memory() < 20 * 90 * 4, "{}", store.memory());
        store.shrink();
        assert_eq!(store.memory(), live.iter().map(|(_, text)| text.len()).sum::<usize>());
    }
}
