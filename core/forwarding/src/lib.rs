//! Forwarding tables as pure data: which server owns a bucket and which one owned it before, which
//! trafficset an address and port belong to, and all of it as the arrays that the kernel reads.
//!
//! A table is a function of the fleet alone ([`Table::fresh`]), or follows from the table before it
//! by single steps ([`step`]); `core/balance` plans those. Nothing here knows a clock, a socket or
//! chance: the same input gives the same words on every machine. The algorithms, with pictures:
//! `docs/algorithms/forwarding.md`.

mod balance;
pub mod fleet;
mod fresh;
pub mod image;
pub mod maglev;
pub mod mix;
mod race;
pub mod step;
pub mod table;
pub mod trie;

pub use fleet::{Fleet, FleetError, Member, State};
pub use image::Image;
pub use table::{Buckets, Table, TableDiff};
