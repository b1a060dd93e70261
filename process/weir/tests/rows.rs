//! Rows 70 to 91 of docs/security-rows.md: identity, routing, TLS, what stands in front of a
//! connection, and what is told of it. Each row sends its bytes through a running Weir.

mod aliases;
mod client_policy;
mod front;
mod hello;
mod matching;
mod origins;
mod paths;
mod revocation;
mod told;
