//! A fleet on one machine: a router, servers and clients in network namespaces, real traffic,
//! faults, and a ledger of what became of every flow.
//!
//! ```text
//! scenario ──► lab ──► network, servers        (namespaces, links, routes; weir, services)
//!    │          └────► fault                    (loss, relay, floods)
//!    └───────► traffic ──► ledger               (clients; kept, broken, lost)
//! ```
//!
//! Nothing outlives a run: `guard`.

pub mod board;
pub mod config;
pub mod content;
pub mod control;
pub mod demo;
pub mod fault;
pub mod guard;
pub mod lab;
pub mod ledger;
pub mod namespace;
pub mod network;
pub mod origin;
pub mod packet;
pub mod page;
pub mod scenario;
pub mod server;
pub mod service;
pub mod setup;
pub mod step;
pub mod tool;
pub mod traffic;
pub mod wire;
