//! What putting published items in force costs an edge, part by part: all of ten thousand hosts,
//! and the change of one pool among them. `cargo run --release -p bench --example apply`, with the
//! number of hosts behind it where it is another one.
//!
//! The parts are those of the edge's control loop, in its order. What is not in them is the wait
//! for first probes and look-ups of new origins, which is a second at most. Beside the time by the
//! clock stands that of the processor, all threads together, which a busy machine does not stretch.

use anyhow::{Context, Result, bail};
use control_api::publish::{Change, Item, ItemKey, ItemKind};
use control_plane::probe::Prober;
use core_model::{Fault, Snapshot};
use process_runtime::config_file::{Assembly, Loaded, diff};
use process_runtime::live::LiveTable;
use process_runtime::operator_log;
use request_proxy::{Edge, Legacy, Resolver};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Hosts, and as many pools.
const HOSTS: usize = 10_000;
/// Origins of a pool.
const ORIGINS: usize = 5;
/// Changes of one pool that are measured.
const CHANGES: usize = 200;
/// What is measured, and all of it together.
const PARTS: [&str; 7] = ["assembly", "names", "probes", "plan", "differences", "forget", "all"];

// As `weir` has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOCAL: &str = "[admin]\naddress = \"none\"\n[runtime]\nworkers = 1\n[[listener]]\nname = \
                     \"web\"\naddress = \"127.0.0.1:0\"\n";

fn main() -> Result<()> {
    let hosts = std::env::args().nth(1).map(|hosts| hosts.parse()).transpose()?.unwrap_or(HOSTS);
    let folder = std::env::temp_dir().join(format!("weir-apply-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure(&folder.join("weir.toml"), hosts);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(file: &std::path::Path, hosts: usize) -> Result<()> {
    // As in `weir`.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // Fifty thousand origins that refuse are no news.
    operator_log::configure(operator_log::Level::Error, operator_log::Format::Text);
    std::fs::write(file, LOCAL)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut applied = Applied::new(file)?;
        let items = items(hosts)?;
        let octets: usize = items.iter().map(|item| item.body.get().len()).sum();
        println!("{} items, {:.1} MiB of JSON", items.len(), octets as f64 / (1 << 20) as f64);
        let all = items.iter().cloned().map(Change::Put).collect();
        row("all of them", &[applied.change(all).await?]);
        settle(&applied).await;
        let again = items.iter().cloned().map(Change::Put).collect();
        row("all again, unchanged", &[applied.change(again).await?]);
        let few = CHANGES / 10;
        let one = |turn: usize| turn * 37 % hosts;
        let pools = (0..CHANGES).map(|turn| Ok(vec![put(pool(one(turn), 1 + turn % 99)?)]));
        applied.rows("one pool", pools).await?;
        let other = |turn: usize| (one(turn) + 1) % hosts;
        let balancers = (0..few).map(|turn| Ok(vec![put(balancer(one(turn), other(turn))?)]));
        applied.rows("one host", balancers).await?;
        let less = (0..few).map(|turn| {
            let (pool, balancer) = (pool(one(turn), 100)?, balancer(one(turn), 0)?);
            Ok(vec![Change::Remove(pool.key), Change::Remove(balancer.key)])
        });
        applied.rows("one less of each", less).await?;
        let more = (0..few).map(|turn| {
            let (pool, balancer) = (pool(one(turn), 100)?, balancer(one(turn), one(turn))?);
            Ok(vec![put(pool), put(balancer)])
        });
        applied.rows("one more of each", more).await?;
        applied.edge.stop();
        Ok(())
    })
}

fn put(item: Item) -> Change {
    Change::Put(item)
}

/// Until first probes have ended, which use the processor as well.
async fn settle(applied: &Applied) {
    applied.prober.settled(Duration::from_secs(60)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// An edge without a process around it.
struct Applied {
    assembly: Assembly,
    live: Arc<LiveTable>,
    resolver: Resolver,
    prober: Prober,
    edge: Edge,
    snapshot: Arc<Snapshot>,
}

impl Applied {
    fn new(file: &std::path::Path) -> Result<Self> {
        let (assembly, loaded) = right(Assembly::following(file))?;
        let live = Arc::new(LiveTable::new(1));
        let snapshot = Arc::new(Snapshot::first(loaded.config));
        let edge = Edge::start(&snapshot, live.clone(), Vec::new(), Legacy::default(), 1, || None)?;
        let (resolver, prober) = (Resolver::new(live.clone()), Prober::new(live.clone()));
        Ok(Self { assembly, live, resolver, prober, edge, snapshot })
    }

    /// Measures each of these changes.
    async fn rows(
        &mut self,
        what: &str,
        all: impl Iterator<Item = Result<Vec<Change>>>,
    ) -> Result<()> {
        let mut times = Vec::new();
        for changes in all {
            times.push(self.change(changes?).await?);
            // Workers and probes have their turn.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        row(what, &times);
        Ok(())
    }

    /// The parts of one change, in the order of [`PARTS`].
    async fn change(&mut self, changes: Vec<Change>) -> Result<Times> {
        let mut watch = Watch::default();
        let Loaded { config, .. } = right(self.assembly.change(changes))?;
        watch.part();
        let snapshot = self.snapshot.successor(config);
        self.resolver.apply(&snapshot.config);
        watch.part();
        self.prober.apply(&snapshot.config);
        watch.part();
        self.edge.apply(&snapshot).await?;
        watch.part();
        let _ = diff(&self.snapshot.config, &snapshot.config);
        watch.part();
        self.snapshot = Arc::new(snapshot);
        self.live.forget_unused();
        watch.part();
        Ok(watch.times())
    }
}

/// By the clock and by the processor, for each of [`PARTS`].
type Times = [[Duration; 2]; PARTS.len()];

fn now() -> [Duration; 2] {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let used = Duration::try_from(used).unwrap_or_default();
    [BEGUN.get_or_init(Instant::now).elapsed(), used]
}

/// Notes the ends of parts.
struct Watch(Vec<[Duration; 2]>);

impl Default for Watch {
    fn default() -> Self {
        Self(vec![now()])
    }
}

impl Watch {
    fn part(&mut self) {
        self.0.push(now());
    }

    fn times(&self) -> Times {
        let between = |from: Option<&[Duration; 2]>, to: Option<&[Duration; 2]>| {
            let (from, to) = (from.copied().unwrap_or_default(), to.copied().unwrap_or_default());
            [0, 1].map(|at| to[at].saturating_sub(from[at]))
        };
        std::array::from_fn(|at| match at + 1 == PARTS.len() {
            true => between(self.0.first(), self.0.last()),
            false => between(self.0.get(at), self.0.get(at + 1)),
        })
    }
}

fn right<T>(result: std::result::Result<T, Vec<Fault>>) -> Result<T> {
    let Err(faults) = &result else { return result.ok().context("there is one") };
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    bail!("{} faults: {first}", faults.len())
}

/// Medians and 99th percentiles of each part, in milliseconds.
fn row(what: &str, times: &[Times]) {
    println!("{what:24} by the clock: p50      p99   processor: p50      p99  (ms)");
    for (at, part) in PARTS.iter().enumerate() {
        let of = |clock: usize, share: usize| {
            let all = times.iter().filter_map(|t| t.get(at)?.get(clock));
            let mut all: Vec<f64> = all.map(|time| time.as_secs_f64() * 1e3).collect();
            all.sort_by(f64::total_cmp);
            all.get((all.len() - 1) * share / 100).copied().unwrap_or_default()
        };
        let [p50, p99, used50, used99] = [of(0, 50), of(0, 99), of(1, 50), of(1, 99)];
        println!("  {part:24} {p50:14.2} {p99:8.2} {used50:16.2} {used99:8.2}");
    }
}

fn items(hosts: usize) -> Result<Vec<Item>> {
    let key = ItemKey { kind: ItemKind::Monitor, id: id(0).into() };
    let monitor = json!({
        "name": monitor(), "type": "http", "method": "GET", "path": "/health",
        "interval": 60, "timeout": 5, "retries": 2, "expected_codes": "2xx",
        "header": { "Host": ["example.com"] },
    });
    let mut all = vec![Item::new(key, &monitor)?];
    for at in 0..hosts {
        all.push(pool(at, 100)?);
    }
    for at in 0..hosts {
        all.push(balancer(at, at)?);
    }
    Ok(all)
}

/// Ids are spread like those of the API.
fn id(at: usize) -> String {
    let spread = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{spread:016x}{:016x}", spread.rotate_left(21))
}

fn monitor() -> String {
    format!("monitor-{}", id(0))
}

fn name(at: usize) -> String {
    format!("pool-{at:06}.{:.12}", id(at))
}

fn pool(at: usize, percent: usize) -> Result<Item> {
    let origins: Vec<_> = (0..ORIGINS)
        .map(|origin| {
            let number = at * ORIGINS + origin;
            // Loopback refuses at once, and nothing leaves this machine.
            let address =
                format!("127.{}.{}.{}", 1 + number / 62_500, number / 250 % 250, number % 250 + 1);
            let weight = if origin == 0 { percent as f64 / 100.0 } else { 1.0 };
            json!({ "name": format!("origin-{origin}"), "address": address, "port": 1,
                    "enabled": true, "weight": weight })
        })
        .collect();
    let table = json!({
        "name": name(at), "description": "", "enabled": true, "minimum_origins": 1,
        "monitor": monitor(), "origin_steering": { "policy": "random" }, "origins": origins,
    });
    Ok(Item::new(ItemKey { kind: ItemKind::Pool, id: id(at).into() }, &table)?)
}

fn balancer(at: usize, pool: usize) -> Result<Item> {
    let table = json!({
        "name": format!("host-{at:06}.example.com"), "description": "", "enabled": true,
        "default_pools": [name(pool)], "fallback_pool": name(pool), "steering_policy": "off",
    });
    Ok(Item::new(ItemKey { kind: ItemKind::LoadBalancer, id: id(at).into() }, &table)?)
}
