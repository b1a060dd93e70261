//! Buffers lent for as long as bytes are in flight; an idle connection holds none.
//!
//! Every worker thread has its own free list, so lending takes no lock.

use std::cell::{Cell, RefCell};

/// Room for a whole TLS record (RFC 8446 §5.2: 2^14 + 256 bytes and a header of 5).
pub(crate) const BUFFER_BYTES: usize = 17 * 1024;
/// Free buffers kept per worker (about 8 MiB); a crowd's further ones go back to the allocator.
const FREE_MAX: usize = 512;

/// Size of the buffers for bodies that are known to be long: few system calls, still in the
/// second-level cache. Four sealed TLS records fit.
const LARGE_BYTES: usize = 65 * 1024;
/// Free large buffers kept per worker (4 MiB).
const LARGE_FREE_MAX: usize = 64;
/// First capacity of an output buffer: a head and a small body.
const OUT_BYTES: usize = 4 * 1024;
/// An output buffer that has grown past this goes back to the allocator.
const OUT_KEPT_BYTES: usize = 32 * 1024;
/// Free output buffers kept per worker (about 1 MiB).
const OUT_FREE_MAX: usize = 256;

thread_local! {
    static LARGE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static OUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static LENT: Cell<u64> = const { Cell::new(0) };
}

/// A buffer with filled bytes between `start` and `end`.
#[derive(Debug)]
pub(crate) struct Lent {
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Lent {
    /// Lends a buffer of [`BUFFER_BYTES`].
    pub(crate) fn take() -> Self {
        LENT.set(LENT.get() + 1);
        let data = FREE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| vec![0; BUFFER_BYTES].into_boxed_slice());
        Self { data, start: 0, end: 0 }
    }

    /// Lends a buffer of [`LARGE_BYTES`].
    pub(crate) fn take_large() -> Self {
        LENT.set(LENT.get() + 1);
        let data = LARGE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| vec![0; LARGE_BYTES].into_boxed_slice());
        Self { data, start: 0, end: 0 }
    }

    /// The filled bytes.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    /// The filled bytes, to be decrypted in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Free room behind the filled bytes; moves them to the front when the room is used up.
    #[inline]
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 && (self.start == self.end || self.end == self.data.len()) {
            self.compact();
        }
        self.data.get_mut(self.end..).unwrap_or_default()
    }

    /// Moves the filled bytes to the front.
    fn compact(&mut self) {
        self.data.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }

    /// Marks `n` bytes of the room as filled.
    #[inline]
    pub(crate) fn fill(&mut self, n: usize) {
        self.end = (self.end + n).min(self.data.len());
    }

    /// Forgets the first `n` filled bytes.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Keeps the first `n` filled bytes only.
    pub(crate) fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start + n);
    }

    /// Number of filled bytes.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is filled.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Grows a full buffer to hold at least `bytes`; it is not kept for others afterwards.
    pub(crate) fn grow(&mut self, bytes: usize) {
        if self.data.len() < bytes {
            let mut larger = vec![0; bytes].into_boxed_slice();
            let len = self.len();
            if let Some(front) = larger.get_mut(..len) {
                front.copy_from_slice(self.filled());
            }
            self.data = larger;
            self.start = 0;
            self.end = len;
        }
    }

    /// At least `bytes` of room, growing where there is less.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.space().len() < bytes {
            self.compact();
            self.grow(self.len() + bytes);
        }
        self.data.get_mut(self.end..).unwrap_or_default()
    }

    /// Appends `bytes`, growing where they do not fit.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if let Some(room) = self.room(bytes.len()).get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
        }
        self.fill(bytes.len());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A thread that ends has no free list left to give to.
        let _ = LENT.try_with(|lent| lent.set(lent.get().saturating_sub(1)));
        let (list, most) = match self.data.len() {
            BUFFER_BYTES => (&FREE, FREE_MAX),
            LARGE_BYTES => (&LARGE, LARGE_FREE_MAX),
            _ => return,
        };
        let data = std::mem::take(&mut self.data);
        let _ = list.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < most
            {
                free.push(data);
            }
        });
    }
}

/// An output buffer, lent while anything waits in it.
#[derive(Debug, Default)]
pub(crate) struct Out(Vec<u8>);

impl Out {
    /// The buffer, lent where there is none.
    #[inline]
    pub(crate) fn get(&mut self) -> &mut Vec<u8> {
        if self.0.capacity() == 0 {
            self.0 = Self::lend();
        }
        &mut self.0
    }

    /// An empty buffer, for a head that is decoded into it.
    pub(crate) fn lend() -> Vec<u8> {
        OUT.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(OUT_BYTES))
    }

    /// What is in it.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Empties it and gives it back.
    pub(crate) fn release(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() == 0 || buffer.capacity() > OUT_KEPT_BYTES {
            return;
        }
        buffer.clear();
        let _ = OUT.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < OUT_FREE_MAX
            {
                free.push(buffer);
            }
        });
    }
}

impl From<Vec<u8>> for Out {
    /// A buffer that goes to the free ones when it is not needed any more.
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.release();
    }
}

/// Buffers lent by this thread.
pub(crate) fn lent() -> u64 {
    LENT.get()
}

/// Gives half of the free buffers back to the allocator; called once a second, so that memory
/// follows the crowd down.
pub(crate) fn trim(keep: usize) {
    FREE.with_borrow_mut(|free| {
        if free.len() > keep {
            let half = keep.max(free.len() / 2);
            free.truncate(half);
        }
    });
    LARGE.with_borrow_mut(|free| free.truncate(free.len() / 2));
    OUT.with_borrow_mut(|free| free.truncate(keep.max(free.len() / 2)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_bytes_survive_moves_and_growth() {
        let mut buffer = Lent::take();
        buffer.extend(&[7; BUFFER_BYTES]);
        buffer.consume(BUFFER_BYTES - 3);
        assert_eq!(buffer.space().len(), BUFFER_BYTES - 3);
        buffer.extend(&[8; BUFFER_BYTES]);
        assert_eq!(buffer.len(), BUFFER_BYTES + 3);
        assert_eq!(buffer.filled().first(), Some(&7));
        assert_eq!(buffer.filled().last(), Some(&8));
    }

    #[test]
    fn room_is_made_of_what_was_consumed() {
        let mut buffer = Lent::take();
        buffer.extend(&[7; BUFFER_BYTES - 100]);
        buffer.consume(1000);
        // Neither at the end nor empty, and the room behind is too small.
        assert!(buffer.room(900).len() >= 900);
        buffer.extend(&[8; 900]);
        assert_eq!(buffer.len(), BUFFER_BYTES - 200);
        assert_eq!((buffer.filled().first(), buffer.filled().last()), (Some(&7), Some(&8)));
    }

    #[test]
    fn a_returned_buffer_is_lent_again() {
        let first = Lent::take();
        let address = first.data.as_ptr();
        drop(first);
        assert_eq!(Lent::take().data.as_ptr(), address);
    }
}
