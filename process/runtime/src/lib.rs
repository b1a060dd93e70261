//! How the process runs: sockets, signals, the configuration file, live state, metrics and logs.
//!
//! Both planes stand on this package; it knows neither requests nor decisions.

pub mod live;
pub mod metrics;
