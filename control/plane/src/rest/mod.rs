//! The API: Cloudflare's `/client/v4` over the objects of the store.
//!
//! `serve` takes connections, `lifecycle` names the stages of a call, `handle` has one file for
//! each kind of resource. What objects may be is the business of `control-api`, what they were and
//! are that of the store.

mod auth;
mod handle;
mod lifecycle;
pub(crate) mod limit;
mod metrics;
pub mod operator;
mod query;
mod reply;
mod route;
pub(crate) mod serve;
#[cfg(test)]
mod tests;
mod tls;
pub mod token;
mod validate;

pub use lifecycle::{APPLY_BYTES_MAX, BODY_BYTES_MAX};
pub use serve::{Server, ServerError};
pub use validate::validate;

use crate::publish::Publisher;
use crate::store::{Keeper, Vault};
use core_model::IpNet;
pub(crate) use handle::{
    Collection, HEALTHCHECK, LINKED, LOAD_BALANCER, MONITOR, POOL, links_of, new_account, stamp,
};

use handle::Previews;
use limit::{Denials, Windows};
use metrics::ApiMetrics;
use process_runtime::config_file::ControlLimits;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What serves calls, whatever the connection.
#[derive(Debug)]
pub struct Site {
    keeper: Arc<Keeper>,
    vault: Arc<Vault>,
    by_token: Windows<String>,
    by_address: Windows<IpAddr>,
    denials: Denials<IpAddr>,
    previews: Previews,
    ips: Vec<IpNet>,
    connections: usize,
    metrics: ApiMetrics,
    exposed: Vec<Exposed>,
    publisher: Option<Arc<Publisher>>,
}

/// Metrics of another part, in the form of Prometheus.
struct Exposed(Box<dyn Fn() -> String + Send + Sync>);

impl fmt::Debug for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exposed")
    }
}

impl Site {
    /// A site over a store, whose secrets `vault` seals. `ips` is what `GET /ips` tells.
    #[must_use]
    pub fn new(
        keeper: Arc<Keeper>,
        vault: Arc<Vault>,
        limits: &ControlLimits,
        ips: Vec<IpNet>,
    ) -> Self {
        Self {
            keeper,
            vault,
            by_token: Windows::new(limits.window, limits.calls_per_token),
            by_address: Windows::new(limits.window, limits.calls_per_address),
            denials: Denials::new(limits.window, limits.denials_per_address),
            previews: Previews::default(),
            ips,
            connections: limits.connections,
            metrics: ApiMetrics::default(),
            exposed: Vec::new(),
            publisher: None,
        }
    }

    /// Tells what edges say: the health of pools.
    #[must_use]
    pub fn with_edges(mut self, publisher: Arc<Publisher>) -> Self {
        self.publisher = Some(publisher);
        self
    }

    /// Shows the metrics of another part of the control plane, too.
    #[must_use]
    pub fn expose(mut self, metrics: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.exposed.push(Exposed(Box::new(metrics)));
        self
    }
}
