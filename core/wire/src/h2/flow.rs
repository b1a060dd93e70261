//! Flow-control windows (RFC 9113 §5.2, §6.9): one for what may be sent, one for what may come.

use super::frame::U31_MAX;

/// What the peer lets us send. Negative after the peer made its initial window smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SendWindow(i64);

impl SendWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self(i64::from(size))
    }

    /// Bytes that may be sent.
    #[inline]
    pub(crate) fn room(self) -> usize {
        self.0.max(0) as usize
    }

    /// Takes `bytes`, at most [`SendWindow::room`], out of the window.
    #[inline]
    pub(crate) fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.room(), "no more is sent than the window has");
        self.0 -= bytes as i64;
    }

    /// Opens the window by a WINDOW_UPDATE or a changed setting; false where it would grow past
    /// 2^31-1.
    #[must_use]
    pub(crate) fn grow(&mut self, by: i64) -> bool {
        let size = self.0 + by;
        let fits = size <= i64::from(U31_MAX);
        if fits {
            self.0 = size;
        }
        fits
    }

    #[cfg(test)]
    pub(crate) fn size(self) -> i64 {
        self.0
    }
}

/// What we let the peer send: the open window, and credit that was earned and not announced.
///
/// The sum of window, unannounced credit and bytes that the owner holds is constant: the size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecvWindow {
    open: i64,
    credit: i64,
    size: i64,
}

impl RecvWindow {
    pub(crate) fn new(size: u32) -> Self {
        Self { open: i64::from(size), credit: 0, size: i64::from(size) }
    }

    /// Takes received `bytes` out of the window; false where the peer sent more than it may.
    #[inline]
    #[must_use]
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let bytes = bytes as i64;
        // A window may be negative after a setting; what has no bytes fits all the same.
        let fits = bytes <= self.open.max(0);
        if fits {
            self.open -= bytes;
        }
        fits
    }

    /// Earns credit for `bytes` that were passed on or thrown away.
    #[inline]
    pub(crate) fn earn(&mut self, bytes: usize) {
        self.credit += bytes as i64;
    }

    /// The increment to announce, once half of the window waits to be announced.
    #[inline]
    pub(crate) fn announce(&mut self) -> Option<u32> {
        if self.credit == 0 || self.credit * 2 < self.size {
            return None;
        }
        let by = self.credit;
        self.open += by;
        self.credit = 0;
        Some(by as u32)
    }

    /// Changes the size, as an acknowledged setting does; the peer has moved its side already.
    pub(crate) fn resize(&mut self, size: u32) {
        self.open += i64::from(size) - self.size;
        self.size = i64::from(size);
    }

    /// Open window and unannounced credit: what the peer can send once all is announced.
    #[cfg(test)]
    pub(crate) fn promised(self) -> i64 {
        self.open + self.credit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_announced_at_half_a_window() {
        let mut window = RecvWindow::new(100);
        assert!(window.take(60));
        window.earn(49);
        assert_eq!(window.announce(), None);
        window.earn(1);
        assert_eq!(window.announce(), Some(50));
        assert_eq!(window.promised(), 90);
        assert!(!window.take(91));
        assert!(window.take(90));
    }

    #[test]
    fn a_window_of_nothing_announces_nothing() {
        let mut window = RecvWindow::new(0);
        assert_eq!(window.announce(), None);
    }

    #[test]
    fn a_send_window_may_be_negative_but_not_past_its_limit() {
        let mut window = SendWindow::new(10);
        assert!(window.grow(-30));
        assert_eq!((window.room(), window.size()), (0, -20));
        assert!(window.grow(i64::from(U31_MAX) + 20));
        assert!(!window.grow(1));
    }
}
