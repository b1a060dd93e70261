//! `[account]` and `[[zone]]`: what hosts inherit.

use super::listener::{HSTS, REDIRECT_HTTPS, REQUEST_HEADERS, RESPONSE_HEADERS};
use super::{Kind, Section, Text, key};

/// `[account]`.
pub(crate) static ACCOUNT: Section = Section {
    doc: "What every host inherits, unless its zone, the host or a route says otherwise.",
    keys: &[REDIRECT_HTTPS, HSTS, REQUEST_HEADERS, RESPONSE_HEADERS],
    later: &[],
};

/// `[[zone]]`.
pub(crate) static ZONE: Section = Section {
    doc: "What a domain and every host below it inherit; of several zones the longest name counts.",
    keys: &[
        key("name", Kind::Text(Text::Domain), "The domain: \"example.com\".")
            .example("\"example.com\""),
        REDIRECT_HTTPS,
        HSTS,
        REQUEST_HEADERS,
        RESPONSE_HEADERS,
    ],
    later: &[],
};
