//! What the eBPF programs and user space agree on, and nothing else: verdicts and their reasons,
//! the layout of maps, the flow hash, the tunnel header. No dependencies, no allocation.
#![no_std]

pub mod flow;
pub mod gue;
pub mod maps;
pub mod net;
pub mod tables;
pub mod verdict;

pub use flow::{Address, Family, Flow, HashKey, Start};
pub use tables::{Bucket, Descriptor, Dissector, Encapsulation, Entry, Server, Trafficset};
pub use verdict::{Kind, Reason, Verdict};
