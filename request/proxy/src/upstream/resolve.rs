//! Looks DNS names of origins up again and again, off the request path.
//!
//! One task per name on the control thread. A failed lookup keeps the addresses of the last good
//! one; an answer replaces them as a whole.

use core_model::config::{Config, List, Name, OriginAddress, Pool};
use core_model::net::IpNet;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use process_runtime::live::{LiveTable, OriginLive, origin_of};
use process_runtime::operator_log;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;

/// Addresses used of one answer; an answer with more is cut.
const ADDRESSES_MAX: usize = 64;
/// Wait after a failed lookup.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The resolver of the process.
pub struct Resolver {
    live: Arc<LiveTable>,
    /// What `pools` was made of.
    applied: List<Pool>,
    settings: Settings,
    pools: HashMap<Name, Vec<Lookup>>,
    /// Names that were new, and may have no address yet.
    fresh: Mutex<Vec<Lookup>>,
}

/// What holds for every lookup.
#[derive(Clone, Debug, Default, PartialEq)]
struct Settings {
    min: Duration,
    max: Duration,
    servers: Vec<SocketAddr>,
}

#[derive(PartialEq, Clone)]
struct Task {
    name: String,
    port: u16,
    settings: Settings,
    deny: Vec<IpNet>,
}

/// A name that is looked up for an origin.
#[derive(Clone)]
struct Lookup {
    origin: Name,
    task: Arc<Task>,
    live: Arc<OriginLive>,
    handle: AbortHandle,
}

impl Resolver {
    /// A resolver that writes into `live`.
    #[must_use]
    pub fn new(live: Arc<LiveTable>) -> Self {
        Self {
            live,
            applied: List::default(),
            settings: Settings::default(),
            pools: HashMap::new(),
            fresh: Mutex::default(),
        }
    }

    /// Starts, keeps and stops lookups so that they are those of `config`. A pool that is the same
    /// object is not looked at.
    pub fn apply(&mut self, config: &Config) {
        let runtime = &config.runtime;
        let settings = Settings {
            min: runtime.dns_min_ttl,
            max: runtime.dns_max_ttl,
            servers: runtime.dns_servers.clone(),
        };
        let same_settings = settings == self.settings;
        if same_settings && Arc::ptr_eq(&self.applied, &config.pools) {
            return;
        }
        self.settings = settings;
        let before = std::mem::replace(&mut self.applied, config.pools.clone());
        let same = |at: usize| match (before.get(at), config.pools.get(at)) {
            (Some(old), Some(new)) => same_settings && Arc::ptr_eq(old, new),
            _ => false,
        };
        let most = before.len().max(config.pools.len());
        let others: Vec<usize> = (0..most).filter(|at| !same(*at)).collect();
        let changed: Vec<_> = others.iter().filter_map(|at| config.pools.get(*at)).collect();
        let names: HashSet<&Name> = changed.iter().map(|pool| &pool.name).collect();
        let gone = others.iter().filter_map(|at| before.get(*at));
        for gone in gone.filter(|pool| !names.contains(&pool.name)) {
            let lookups = self.pools.remove(&gone.name).unwrap_or_default();
            lookups.iter().for_each(|lookup| lookup.handle.abort());
        }
        for pool in changed {
            self.look_up(pool);
        }
    }

    /// Starts, keeps and stops the lookups of one pool.
    fn look_up(&mut self, pool: &Pool) {
        let mut before = self.pools.remove(&pool.name).unwrap_or_default();
        let mut lookups = Vec::new();
        for origin in &pool.origins {
            let OriginAddress::Dns(name) = &origin.address else { continue };
            let task = Task {
                name: name.clone(),
                port: origin.port,
                settings: self.settings.clone(),
                deny: pool.deny_addresses.clone(),
            };
            let same = |old: &Lookup| old.origin == origin.name && *old.task == task;
            if let Some(at) = before.iter().position(same) {
                lookups.push(before.swap_remove(at));
                continue;
            }
            let live = origin_of(&self.live, pool, origin);
            let task = Arc::new(task);
            let handle = tokio::spawn(follow(task.clone(), live.clone(), self.live.clone()));
            let handle = handle.abort_handle();
            let lookup = Lookup { origin: origin.name.clone(), task, live, handle };
            locked(&self.fresh).push(lookup.clone());
            lookups.push(lookup);
        }
        before.iter().for_each(|lookup| lookup.handle.abort());
        if !lookups.is_empty() {
            self.pools.insert(pool.name.clone(), lookups);
        }
    }

    /// Waits until every name that the last changes began with has an address, or `limit` is over;
    /// gives the names without one.
    pub async fn settled(&self, limit: Duration) -> Vec<String> {
        let end = Instant::now() + limit;
        while self.waits() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Who did not wait for them now will not do so later.
        locked(&self.fresh).drain(..).map(|lookup| lookup.task.name.clone()).collect()
    }

    /// Whether any new name has no address yet.
    fn waits(&self) -> bool {
        let mut fresh = locked(&self.fresh);
        let known = |lookup: &Lookup| !lookup.live.addresses.load().is_empty();
        // A lookup that has ended has told why.
        fresh.retain(|lookup| !known(lookup) && !lookup.handle.is_finished());
        !fresh.is_empty()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.pools.values().flatten().for_each(|lookup| lookup.handle.abort());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

async fn follow(task: Arc<Task>, live: Arc<OriginLive>, table: Arc<LiveTable>) {
    let resolver = match resolver(&task.settings.servers) {
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
                ttl.clamp(task.settings.min, task.settings.max)
            }
            Err(error) => {
                table.process.dns_failures.inc_shared();
                operator_log::warn(
                    "dns_lookup_failed",
                    "the addresses of the last answer stay in use",
                    &[("name", &task.name), ("error", &error)],
                );
                RETRY_AFTER.max(task.settings.min)
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
