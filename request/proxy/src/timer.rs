//! Coarse timers: one deadline per connection, checked ten times a second by its worker.
//!
//! Setting a deadline is one store, so that it can follow every byte. A worker's clock is a table
//! of ticks that one task scans; there is no tree to re-balance and no system call.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Length of a tick; deadlines are kept to within one.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// Ticks in a second.
const TICKS_PER_SECOND: u64 = 10;
const _: () = assert!(TICK.as_millis() as u64 * TICKS_PER_SECOND == 1000);
/// A deadline that is never reached.
pub(crate) const NEVER: u32 = u32::MAX;

#[derive(Default)]
struct Table {
    deadlines: Vec<u32>,
    wakers: Vec<Option<Waker>>,
    free: Vec<u32>,
}

thread_local! {
    static NOW: Cell<u32> = const { Cell::new(0) };
    static TABLE: RefCell<Table> = const {
        RefCell::new(Table { deadlines: Vec::new(), wakers: Vec::new(), free: Vec::new() })
    };
}

/// The tick that ends `after` from now, rounded up.
#[inline]
pub(crate) fn tick_after(after: Duration) -> u32 {
    // The present tick is already partly over, hence one more.
    NOW.get().saturating_add(ticks(after)).saturating_add(1).min(NEVER - 1)
}

/// The number of ticks in `time`, rounded up.
#[inline]
pub(crate) fn ticks(time: Duration) -> u32 {
    // Seconds and parts apart: the whole in milliseconds would be a division of 128 bits.
    let parts = time.subsec_nanos().div_ceil(TICK.subsec_nanos());
    let ticks = time.as_secs().saturating_mul(TICKS_PER_SECOND).saturating_add(parts.into());
    u32::try_from(ticks).unwrap_or(NEVER - 1)
}

/// Whether `deadline` has passed.
#[inline]
pub(crate) fn passed(deadline: u32) -> bool {
    deadline <= NOW.get()
}

/// The worker's present tick.
#[inline]
pub(crate) fn now() -> u32 {
    NOW.get()
}

/// Advances this thread's clock to `tick` and wakes every task whose deadline has passed.
pub(crate) fn advance(tick: u32) {
    NOW.set(tick);
    // Waking may run a task's destructor, which must find the table free.
    let mut due = Vec::new();
    TABLE.with_borrow_mut(|table| {
        for (deadline, waker) in table.deadlines.iter_mut().zip(&mut table.wakers) {
            if *deadline <= tick {
                *deadline = NEVER;
                due.extend(waker.take());
            }
        }
    });
    due.into_iter().for_each(Waker::wake);
}

/// Wakes every task that waits, so that it looks at what changed around it.
pub(crate) fn wake_all() {
    let mut waiting = Vec::new();
    TABLE.with_borrow_mut(|table| waiting.extend(table.wakers.iter_mut().filter_map(Option::take)));
    waiting.into_iter().for_each(Waker::wake);
}

/// A task's place in the table.
#[derive(Debug)]
pub(crate) struct Timer {
    slot: u32,
}

impl Timer {
    /// Takes a place without a deadline.
    pub(crate) fn new() -> Self {
        TABLE.with_borrow_mut(|table| {
            let slot = table.free.pop().unwrap_or_else(|| {
                table.deadlines.push(NEVER);
                table.wakers.push(None);
                u32::try_from(table.deadlines.len() - 1).unwrap_or(NEVER)
            });
            Self { slot }
        })
    }

    /// Ready once `deadline` has passed; wakes the task of `cx` then.
    #[inline]
    pub(crate) fn poll(&self, cx: &mut Context<'_>, deadline: u32) -> Poll<()> {
        if passed(deadline) {
            return Poll::Ready(());
        }
        TABLE.with_borrow_mut(|table| {
            let slot = self.slot as usize;
            if let Some(place) = table.deadlines.get_mut(slot) {
                *place = deadline;
            }
            if let Some(waker) = table.wakers.get_mut(slot)
                && !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
        });
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let _ = TABLE.try_with(|table| {
            if let Ok(mut table) = table.try_borrow_mut() {
                let slot = self.slot as usize;
                if let Some(place) = table.deadlines.get_mut(slot) {
                    *place = NEVER;
                }
                if let Some(waker) = table.wakers.get_mut(slot) {
                    *waker = None;
                }
                table.free.push(self.slot);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Count(AtomicUsize);
    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_deadline_wakes_its_task_once_and_not_early() {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let timer = Timer::new();
        let deadline = tick_after(Duration::from_millis(250));
        assert!(timer.poll(&mut cx, deadline).is_pending());
        advance(now() + 3);
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        advance(now() + 1);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(timer.poll(&mut cx, deadline).is_ready());
        advance(now() + 1);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_dropped_timer_leaves_its_place_to_the_next() {
        let slot = Timer::new().slot;
        assert_eq!(Timer::new().slot, slot);
    }
}
