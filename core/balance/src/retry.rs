//! Whether a request may be sent again (RFC 9110 §9.2.2, RFC 9112 §9.3.1).

/// How far a try got before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No byte of the request was written: the connection or the TLS handshake failed, or a reused
    /// connection was seen at its end before the first byte.
    NothingWritten,
    /// At least one byte of the request was written and no byte of a reply came.
    NoReply,
    /// The origin says that it has not looked at the request (RFC 9113 §8.7): a refused stream, or
    /// one beyond the last of a GOAWAY.
    Unprocessed,
    /// At least one byte of a reply came.
    ReplyBegun,
}

/// A failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryCase {
    /// How far it got.
    pub progress: Progress,
    /// Whether the method is idempotent; see [`idempotent`].
    pub idempotent: bool,
    /// Whether the body can be sent again from its beginning; true where there is none.
    pub body_replayable: bool,
    /// Whether the request asks for a tunnel: `Upgrade` or `CONNECT`.
    pub tunnel: bool,
}

/// Whether the request may be sent again on another connection.
///
/// Where nothing was written any request may, and where the origin has not looked at it any whose
/// body can be sent from its beginning. Where the origin may have seen it, only an
/// idempotent one that is no tunnel and whose body can be sent from its beginning. Never once a
/// reply began. Number and budget of retries are the caller's ([`crate::budget`]).
#[must_use]
#[inline]
pub fn allowed(case: RetryCase) -> bool {
    match case.progress {
        Progress::NothingWritten => true,
        Progress::Unprocessed => case.body_replayable,
        Progress::NoReply => case.idempotent && case.body_replayable && !case.tunnel,
        Progress::ReplyBegun => false,
    }
}

/// Whether a method is idempotent by RFC 9110 §9.2.2. Methods are case-sensitive; unknown ones
/// are not.
#[must_use]
#[inline]
pub fn idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"PUT" | b"DELETE" | b"OPTIONS" | b"TRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(progress: Progress, method: &str, replayable: bool, tunnel: bool, expect: bool) {
        let case = RetryCase {
            progress,
            idempotent: idempotent(method.as_bytes()),
            body_replayable: replayable,
            tunnel,
        };
        assert_eq!(allowed(case), expect, "{method} {case:?}");
    }

    #[test]
    fn any_request_may_go_elsewhere_while_nothing_was_written() {
        check(Progress::NothingWritten, "GET", true, false, true);
        check(Progress::NothingWritten, "POST", true, false, true);
        check(Progress::NothingWritten, "POST", false, false, true);
        check(Progress::NothingWritten, "GET", true, true, true);
    }

    #[test]
    fn only_harmless_requests_are_sent_twice() {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            check(Progress::NoReply, method, true, false, true);
            check(Progress::NoReply, method, false, false, false);
        }
        for method in ["POST", "PATCH", "CONNECT", "get", "LOCK", ""] {
            check(Progress::NoReply, method, true, false, false);
        }
        check(Progress::NoReply, "GET", true, true, false);
    }

    #[test]
    fn nothing_is_sent_again_once_a_reply_began() {
        check(Progress::ReplyBegun, "GET", true, false, false);
        check(Progress::ReplyBegun, "POST", true, false, false);
    }
}
