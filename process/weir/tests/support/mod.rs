//! The harness: a guarded Weir process, raw-byte clients, recording origins and a strict reader
//! of their own. Nothing here uses Weir's parsers, so a fault of theirs cannot hide itself.

pub(crate) mod client;
pub(crate) mod dns;
pub(crate) mod edge;
pub(crate) mod files;
pub(crate) mod h2;
pub(crate) mod load;
pub(crate) mod meter;
pub(crate) mod process;
pub(crate) mod reader;
pub(crate) mod siege;
pub(crate) mod tls;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod ws;

mod tests;
