//! Bytes to exchanges and back, without policy: one file per protocol.

pub(crate) mod client;
pub(crate) mod h1;
pub(crate) mod h1_body;
pub(crate) mod h2;
pub(crate) mod h2_desk;
pub(crate) mod h2_held;
pub(crate) mod h2_mux;
pub(crate) mod h2_stream;
pub(crate) mod linger;
