//! This process as an edge of a fleet: it joins a control plane, follows what is published there,
//! keeps the last snapshot on disk, and tells how it is doing.
//!
//! `enter` is the start: identity and snapshot from the state folder, or from a plane. `client`
//! follows from then on, on the runtime of the control loop, which alone puts a snapshot in force
//! and writes it to disk. Nothing here is on the path of a request.

mod client;
mod enter;
mod error;
mod folder;
mod kept;
mod link;
mod lock;
mod parts;
mod report;
mod state;
#[cfg(test)]
mod tests;
mod url;

pub use client::{Fleet, Incoming, Orders};
pub use enter::{Member, Options, Settings, enter};
pub use error::FleetError;
pub use folder::{FOLDER_DEFAULT, Folder, Identity};
pub use kept::{Found, Kept};
pub use lock::Lock;
pub use parts::{SNAPSHOT_BYTES_MAX, inverse, wanted};
pub use report::Reporter;
pub use state::{FleetState, FleetStatus};
pub use url::{PlaneUrl, UrlError};

/// Control planes that an edge may know: those of one etcd.
pub const PLANES_MAX: usize = 32;

/// Seconds since 1970.
fn now_unix() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
