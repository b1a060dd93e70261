//! Bytes to exchanges and back, without policy: one file per protocol.

pub(crate) mod h1;
pub(crate) mod h1_body;
