//! Validated configuration, snapshots and faults: the words every other package speaks.
//!
//! Everything here is plain data that cannot be wrong once built. Nothing here reads a file, a
//! clock or a socket; `process/runtime` turns the operator's file into these types.

pub mod config;
pub mod defaults;
pub mod effective;
pub mod fault;
pub mod net;
pub mod snapshot;

pub use config::Config;
pub use fault::{Fault, Faults, Place};
pub use net::{IpNet, ListenAddress};
pub use snapshot::{Generation, Snapshot};
