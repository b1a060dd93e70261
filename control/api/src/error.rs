//! Codes of errors and messages, each with the status that a reply with it has.
//!
//! Cloudflare's numbers where they are known; those of Weir's own are from 19000, where Cloudflare
//! has none that its SDKs know.

/// Codes of the envelope's `errors` and `messages`.
pub mod code {
    /// The object is not there, or is another account's.
    pub const NOT_FOUND: u32 = 1001;
    /// A property is not what its shape allows.
    pub const VALIDATION: u32 = 1002;
    /// Another object has this name.
    pub const NOT_UNIQUE: u32 = 1003;
    /// Other objects refer to this one, or it refers to one that is not there (monitor groups).
    pub const REFERENCED: u32 = 1005;
    /// The plan does not have this feature.
    pub const NOT_ENTITLED: u32 = 1034;
    /// Authentication headers are missing or have no form that could be right.
    pub const HEADERS: u32 = 6003;
    /// The body is no JSON.
    pub const MALFORMED: u32 = 6007;
    /// The path is no operation's.
    pub const NO_ROUTE: u32 = 7003;
    /// The path is an operation's, but not with this method.
    pub const NO_METHOD: u32 = 7001;
    /// The token is unknown, expired, or not allowed to do this.
    pub const AUTHENTICATION: u32 = 10000;
    /// Too many calls in a while.
    pub const RATE_LIMITED: u32 = 10429;
    /// Stored, but not in effect; only in `messages`.
    pub const NOT_IN_EFFECT: u32 = 19000;
    /// The object is at another revision than `If-Match` says.
    pub const CHANGED: u32 = 19001;
    /// The body is longer than the server takes.
    pub const TOO_LARGE: u32 = 19002;
    /// The store cannot be reached or takes no writes.
    pub const UNAVAILABLE: u32 = 19003;
    /// A defect of the server.
    pub const INTERNAL: u32 = 19004;
}

/// Every code with its status.
pub const STATUSES: &[(u32, u16)] = &[
    (code::NOT_FOUND, 404),
    (code::VALIDATION, 400),
    (code::NOT_UNIQUE, 400),
    (code::REFERENCED, 412),
    (code::NOT_ENTITLED, 403),
    (code::HEADERS, 400),
    (code::MALFORMED, 400),
    (code::NO_ROUTE, 404),
    (code::NO_METHOD, 405),
    (code::AUTHENTICATION, 403),
    (code::RATE_LIMITED, 429),
    (code::NOT_IN_EFFECT, 200),
    (code::CHANGED, 412),
    (code::TOO_LARGE, 413),
    (code::UNAVAILABLE, 503),
    (code::INTERNAL, 500),
];

/// The HTTP status of a reply whose first error has this code; 500 for a code that is none.
#[must_use]
pub fn status(code: u32) -> u16 {
    STATUSES.iter().find(|(known, _)| *known == code).map_or(500, |(_, status)| *status)
}

#[cfg(test)]
mod tests {
    use super::{STATUSES, code, status};

    #[test]
    fn clients_do_not_repeat_calls_that_fail_the_same_way_each_time() {
        // Cloudflare's SDKs repeat 408, 409, 429 and 500 and above.
        let passing = [code::RATE_LIMITED, code::UNAVAILABLE, code::INTERNAL];
        for (code, status) in STATUSES {
            let repeated = matches!(status, 408 | 409 | 429 | 500..);
            assert_eq!(repeated, passing.contains(code), "{code}");
        }
    }

    #[test]
    fn codes_are_distinct_and_of_four_digits_or_more() {
        let mut codes: Vec<u32> = STATUSES.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), STATUSES.len());
        assert!(codes.iter().all(|code| *code >= 1000));
        assert_eq!((status(code::REFERENCED), status(1)), (412, 500));
    }
}
