//! Faults on the way: packets lost, held up, out of order, twice, malformed, spoofed.

pub mod flood;
pub mod loss;
mod raw;
pub mod relay;
