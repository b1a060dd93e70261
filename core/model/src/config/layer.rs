//! `[account]` and `[[zone]]`: what hosts inherit.

use super::{Name, RouteRules};

/// `[account]`: what holds for every host.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Account {
    /// Redirects, HSTS and headers.
    pub rules: RouteRules,
}

/// One `[[zone]]`: what holds for a domain and every host below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    /// The domain, in lower case; unique.
    pub name: Name,
    /// Redirects, HSTS and headers.
    pub rules: RouteRules,
}
