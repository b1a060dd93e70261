//! HTTP/2 by hand: frames and field blocks as bytes, sound or broken, a client that counts what it
//! sees, an origin made with another implementation, and one that speaks in bytes.

pub(crate) mod client;
pub(crate) mod frame;
pub(crate) mod hpack;
pub(crate) mod origin;
pub(crate) mod wire;

mod tests;
