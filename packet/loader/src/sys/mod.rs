//! What the kernel is asked, each question in one place: bpf(2), shared memory of maps, routing
//! netlink, ethtool. The rest of the package is free of `unsafe`.

pub mod bpf;
pub mod ethtool;
pub mod mapped;
pub mod netlink;
pub mod perf;
pub mod ring;
pub mod test_run;
