//! The contract of the control API (Cloudflare's v4), without implementation: operations, envelope,
//! codes, ids, timestamps, and the shapes of objects.
//!
//! Bodies come in as JSON values and go out as checked ones or as every fault at once. Nothing here
//! reads a clock, draws a random number, stores or serves: `control/plane` does.

pub mod account;
pub mod alerting;
pub mod envelope;
pub mod error;
pub mod fuzzing;
pub mod healthcheck;
pub mod id;
pub mod load_balancer;
pub mod monitor;
pub mod operations;
pub mod pool;
pub mod publish;
mod report;
pub mod shape;
pub mod time;

pub use envelope::{Envelope, Message, ResultInfo};
pub use error::code;
pub use operations::{Method, OPERATIONS, OWN_OPERATIONS, Operation, Resource};
pub use report::{not_in_effect_list, operations_list};
pub use shape::{Effect, Field, Kind, Shape};

/// Every shape of an object that a client creates or changes.
pub static SHAPES: &[&Shape] = &[
    &account::ACCOUNT,
    &account::ZONE,
    &account::USER,
    &monitor::MONITOR,
    &monitor::MONITOR_GROUP,
    &pool::POOL,
    &pool::POOLS,
    &load_balancer::LOAD_BALANCER,
    &healthcheck::HEALTHCHECK,
    &alerting::WEBHOOK,
    &alerting::POLICY,
];
