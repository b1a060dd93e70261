//! Budgets against floods: what a peer may make us do for nothing, as buckets that refill with
//! time. A tick is 100 ms; a counter of ticks may wrap.

/// Ticks in a second.
const TICKS_PER_SECOND: u32 = 10;

/// A token bucket, counted in tenths so that one tick's refill is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    tenths: u32,
    burst: u32,
    /// Tokens per second, which are tenths per tick.
    refill: u32,
    last: u32,
}

impl Bucket {
    pub(crate) fn new(burst: u32, refill: u32, tick: u32) -> Self {
        let burst = burst.saturating_mul(TICKS_PER_SECOND);
        Self { tenths: burst, burst, refill, last: tick }
    }

    /// Takes one token; false where none is left.
    #[inline]
    #[must_use]
    pub(crate) fn take(&mut self, tick: u32) -> bool {
        let passed = tick.wrapping_sub(self.last);
        if passed != 0 {
            self.last = tick;
            let refill = passed.saturating_mul(self.refill);
            self.tenths = self.tenths.saturating_add(refill).min(self.burst);
        }
        match self.tenths.checked_sub(TICKS_PER_SECOND) {
            Some(left) => {
                self.tenths = left;
                true
            }
            None => false,
        }
    }
}

/// Control frames that honest traffic has earned and that may wait to be spent: enough for what
/// answers a full window of small frames, and a bound for what one long download hoards.
const EARNED_MAX: u32 = 4096;

/// A payload below this makes a DATA frame mostly overhead, in bytes.
pub(crate) const TINY_BYTES: usize = 64;

/// A frame from this size on is worth the control frames that answer it, in bytes.
pub(crate) const LARGE_BYTES: usize = 256;

/// Tiny DATA frames of a client at once: a window of 256 KiB in frames of 16 bytes.
const TINY_BURST: u32 = 16_384;

/// Tiny DATA frames of a client per second: twenty messages on each of a hundred streams. Reading
/// them does not pay for them, as an origin may take what costs a frame for each byte.
const TINY_REFILL: u32 = 2_000;

/// The budgets of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budgets {
    resets: Bucket,
    control: Bucket,
    earned: u32,
    tiny: Bucket,
}

impl Budgets {
    pub(crate) fn new(resets: Bucket, control: Bucket, tick: u32) -> Self {
        let tiny = Bucket::new(TINY_BURST, TINY_REFILL, tick);
        Self { resets, control, earned: 0, tiny }
    }

    /// Charges a reset: the peer's, or ours that the peer brought about.
    #[must_use]
    pub(crate) fn reset(&mut self, tick: u32) -> bool {
        self.resets.take(tick)
    }

    /// Charges a control frame; what honest traffic earned is spent first.
    #[inline]
    #[must_use]
    pub(crate) fn control(&mut self, tick: u32) -> bool {
        match self.earned.checked_sub(1) {
            Some(left) => {
                self.earned = left;
                true
            }
            None => self.control.take(tick),
        }
    }

    /// Earns `frames` control frames: each message and each sizeable frame of data may bring some
    /// WINDOW_UPDATE, PING or priority with it, at whatever rate the traffic goes.
    #[inline]
    pub(crate) fn earn(&mut self, frames: u32) {
        self.earned = (self.earned + frames).min(EARNED_MAX);
    }

    /// Charges a tiny DATA frame.
    #[inline]
    #[must_use]
    pub(crate) fn tiny(&mut self, tick: u32) -> bool {
        self.tiny.take(tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(3, 2, u32::MAX);
        assert_eq!((0..5).filter(|_| bucket.take(u32::MAX)).count(), 3);
        // The counter wraps: 5 ticks are half a second, which is one token.
        assert_eq!((0..5).filter(|_| bucket.take(4)).count(), 1);
        assert_eq!((0..5).filter(|_| bucket.take(1_000_000)).count(), 3);
    }

    #[test]
    fn earned_control_frames_come_before_the_bucket() {
        let bucket = Bucket::new(1, 0, 0);
        let mut budgets = Budgets::new(bucket, bucket, 0);
        budgets.earn(2);
        assert_eq!((0..9).filter(|_| budgets.control(0)).count(), 3);
    }
}
