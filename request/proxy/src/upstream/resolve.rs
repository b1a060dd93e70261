//! Looks DNS names of origins up again and again, off the request path.
//!
//! One task per name on the control thread. A failed lookup keeps the addresses of the last good
//! one; an answer replaces them as a whole.

use core_model::config::{Config, OriginAddress};
use core_model::net::IpNet;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use process_runtime::live::{LiveTable, OriginLive, origin_of};
use process_runtime::operator_log;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Addresses used of one answer; an answer with more is cut.
const ADDRESSES_MAX: usize = 64;
/// Wait after a failed lookup.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The resolver of the process.
pub struct Resolver {
    live: Arc<LiveTable>,
    tasks: HashMap<String, (Task, JoinHandle<()>)>,
}

#[derive(PartialEq, Clone)]
struct Task {
    name: String,
    port: u16,
    min: Duration,
    max: Duration,
    servers: Vec<SocketAddr>,
    deny: Vec<IpNet>,
}

impl Resolver {
    /// A resolver that writes into `live`.
    #[must_use]
    pub fn new(live: Arc<LiveTable>) -> Self {
        Self { live, tasks: HashMap::new() }
    }

    /// Starts, keeps and stops lookups so that they are those of `config`.
    pub fn apply(&mut self, config: &Config) {
        let mut wanted = HashMap::new();
        for pool in &config.pools {
            for origin in &pool.origins {
                if let OriginAddress::Dns(name) = &origin.address {
                    let task = Task {
                        name: name.clone(),
                        port: origin.port,
                        min: config.runtime.dns_min_ttl,
                        max: config.runtime.dns_max_ttl,
                        servers: config.runtime.dns_servers.clone(),
                        deny: pool.deny_addresses.clone(),
                    };
                    let id = format!("{}/{}/{name}:{}", pool.name, origin.name, origin.port);
                    wanted.insert(id, (task, origin_of(&self.live, pool, origin)));
                }
            }
        }
        self.tasks.retain(|id, (task, handle)| {
            let keep = wanted.get(id).is_some_and(|(new, _)| new == task);
            if !keep {
                handle.abort();
            }
            keep
        });
        for (id, (task, live)) in wanted {
            if !self.tasks.contains_key(&id) {
                let handle = tokio::spawn(follow(task.clone(), live, self.live.clone()));
                self.tasks.insert(id, (task, handle));
            }
        }
    }

    /// Waits until every name has an address, or `limit` is over; gives the names without one.
    pub async fn settled(&self, config: &Config, limit: Duration) -> Vec<String> {
        let end = Instant::now() + limit;
        loop {
            let mut missing = Vec::new();
            for pool in &config.pools {
                for origin in &pool.origins {
                    if let OriginAddress::Dns(name) = &origin.address
                        && origin_of(&self.live, pool, origin).addresses.load().is_empty()
                    {
                        missing.push(name.clone());
                    }
                }
            }
            if missing.is_empty() || Instant::now() >= end {
                return missing;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.tasks.values().for_each(|(_, handle)| handle.abort());
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, String> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| error.to_string())?
    } else {
        let servers = servers.iter().map(|address| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            server
        });
        let config = ResolverConfig::from_parts(None, vec![], servers.collect());
        TokioResolver::builder_with_config(config, provider)
    };
    let options = builder.options_mut();
    // The lookup task keeps the answer for as long as it holds.
    options.cache_size = 0;
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    builder.build().map_err(|error| error.to_string())
}

async fn follow(task: Task, live: Arc<OriginLive>, table: Arc<LiveTable>) {
    let resolver = match resolver(&task.servers) {
        Ok(resolver) => resolver,
        Err(error) => {
            operator_log::error(
                "dns_setup_failed",
                "no DNS server is known; name one in runtime.dns_servers",
                &[("name", &task.name), ("error", &error)],
            );
            return;
        }
    };
    loop {
        let wait = match resolver.lookup_ip(task.name.as_str()).await {
            Ok(answer) => {
                let ttl = answer.valid_until().saturating_duration_since(Instant::now());
                let allowed = |ip: &std::net::IpAddr| !task.deny.iter().any(|n| n.contains(*ip));
                let mut addresses: Vec<_> = answer
                    .iter()
                    .filter(allowed)
                    .take(ADDRESSES_MAX)
                    .map(|ip| SocketAddr::new(ip, task.port))
                    .collect();
                addresses.sort();
                note(&task, &live, addresses);
                ttl.clamp(task.min, task.max)
            }
            Err(error) => {
                table.process.dns_failures.inc_shared();
                operator_log::warn(
                    "dns_lookup_failed",
                    "the addresses of the last answer stay in use",
                    &[("name", &task.name), ("error", &error)],
                );
                RETRY_AFTER.max(task.min)
            }
        };
        tokio::time::sleep(wait).await;
    }
}

fn note(task: &Task, live: &OriginLive, addresses: Vec<SocketAddr>) {
    if addresses.is_empty() {
        operator_log::warn(
            "dns_answer_unusable",
            "the answer holds no address that deny_addresses permits",
            &[("name", &task.name)],
        );
    } else if **live.addresses.load() != addresses {
        let list = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        operator_log::info(
            "dns_changed",
            "origin has new addresses",
            &[("name", &task.name), ("addresses", &list)],
        );
        live.addresses.store(Arc::new(addresses));
    }
}
