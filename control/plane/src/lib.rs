//! What happens to a decision: the store keeps it, the API and operators change it, edges are given
//! it, and the prober tells which origins are healthy.
//!
//! Nothing here is on the path of a request. The planes meet in the snapshot and in the live state
//! of origins (`process_runtime::live`), never in each other's code.

pub mod client;
pub mod declare;
pub mod import;
pub mod operate;
mod packet;
pub mod probe;
pub mod publish;
pub mod rest;
pub mod store;
