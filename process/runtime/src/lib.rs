//! How the process runs: sockets, signals, the configuration file, live state, metrics and logs.
//!
//! Both planes stand on this package; it knows neither requests nor decisions.

pub mod access_log;
pub mod accounts;
pub mod admin;
pub mod allocations;
pub mod client_tls;
pub mod config_file;
pub mod fleet;
mod half_open;
pub mod handover;
pub mod live;
pub mod metrics;
pub mod operator_log;
pub mod origin_tls;
pub mod packets;
pub mod panics;
pub mod port_holder;
pub mod privileges;
pub mod prometheus;
pub mod readable;
pub mod retire;
pub mod service;
pub mod signals;
pub mod sockets;
pub mod status;
pub mod unix_socket;
