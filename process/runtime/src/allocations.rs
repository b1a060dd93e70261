//! How many blocks of memory a thread asks for: the work of the allocator, which is what a stranger
//! may try to cause, beside the memory that is held.
//!
//! [`Counting`] stands before the allocator of the program and adds to two numbers of the thread;
//! a worker's clock publishes its own. No other thread's numbers are touched, so that counting
//! needs neither a lock nor an atomic.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    // Neither is initialised at run time nor dropped, so that using one never allocates.
    static BLOCKS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// What a thread has asked its allocator for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// Blocks made or made larger or smaller.
    pub blocks: u64,
    /// Bytes of all these blocks, each with its new size.
    pub bytes: u64,
}

/// What this thread has asked for since it was last taken; zero where the program's allocator is
/// not a [`Counting`] one.
#[must_use]
pub fn take() -> Allocations {
    Allocations { blocks: BLOCKS.take(), bytes: BYTES.take() }
}

/// An allocator that counts what is asked of the one inside it.
#[derive(Debug)]
pub struct Counting<A>(A);

impl<A> Counting<A> {
    /// Counts what is asked of `inner`.
    pub const fn new(inner: A) -> Self {
        Self(inner)
    }
}

#[inline]
fn count(bytes: usize) {
    BLOCKS.set(BLOCKS.get().wrapping_add(1));
    BYTES.set(BYTES.get().wrapping_add(bytes as u64));
}

// SAFETY: every block comes from the inner allocator, is changed by it and goes back to it, with
// the layout that the caller gave; counting does not allocate and does not unwind.
#[expect(unsafe_code, reason = "a global allocator cannot be written without")]
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    // SAFETY: what the caller promises is what the inner allocator asks for.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    // SAFETY: as for `alloc`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    // SAFETY: as for `alloc`; the block came from the inner allocator.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline]
    // SAFETY: as for `dealloc`.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(block, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[global_allocator]
    static ALLOCATOR: Counting<System> = Counting::new(System);

    fn counted(work: impl FnOnce()) -> Allocations {
        let _before = take();
        work();
        take()
    }

    #[test]
    fn a_block_counts_when_it_is_made_and_when_its_size_changes() {
        let mut kept = Vec::new();
        let check = |found: Allocations, blocks, bytes| {
            assert_eq!(found, Allocations { blocks, bytes });
        };
        check(counted(|| kept = Vec::with_capacity(100)), 1, 100);
        check(counted(|| kept.resize(100, 7_u8)), 0, 0);
        check(counted(|| kept.reserve_exact(200)), 1, 300);
        check(counted(|| kept = Vec::new()), 0, 0);
        check(counted(|| kept = vec![0; 64]), 1, 64);
    }

    #[test]
    fn each_thread_counts_its_own() {
        let other = std::thread::spawn(|| counted(|| drop(Vec::<u8>::with_capacity(10))));
        let own = counted(|| drop(Vec::<u8>::with_capacity(20)));
        assert_eq!(own, Allocations { blocks: 1, bytes: 20 });
        assert_eq!(other.join().unwrap(), Allocations { blocks: 1, bytes: 10 });
    }
}
