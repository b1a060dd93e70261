//! `bench attack`: what good clients notice while others attack.
//!
//! Good clients ask at a modest rate whatever the replies do, over HTTP/1.1 and HTTP/2; first in
//! peace, then beside an attack. Told are their latencies and how many of their requests failed,
//! what the attack cost the proxy, and how much it grew. An attack goes from this process to a
//! proxy that this process has started, over loopback.

mod kind;
mod siege;

use std::collections::BTreeMap;
use std::fs;
use std::thread::{ScopedJoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

pub use kind::{ATTACKS, Attack, find};
pub use siege::{Siege, Spent};

use crate::load::{self, Edge, Outcome, Plan, Traffic};
use crate::machine::{self, Places};
use crate::measure::{self, Ground};
use crate::options::Options;
use crate::peer::{Peer, Running, Style};
use crate::row::{Client, Requests, Transport, Upstream};
use crate::table;

/// Requests per second of the good clients over each protocol.
pub const RATE: u32 = 1000;
/// The attack runs this long before good clients are measured beside it.
const HEAD_START: Duration = Duration::from_millis(500);
/// Between two looks at the proxy's memory.
const LOOK: Duration = Duration::from_millis(50);

const H1: Requests = Requests {
    path: "/1k",
    upload: 0,
    client: Client::H1,
    origin: Upstream::H1,
    connections: 16,
    traffic: Traffic::Rate(RATE),
    transport: Transport::Tls,
};
const H2: Requests = Requests { client: Client::H2(16), connections: 4, ..H1 };

/// The good clients' requests over one protocol, in peace or beside an attack.
#[derive(Clone, Copy, Debug)]
struct Served {
    completed: u64,
    failed: u64,
    /// Median, 99th percentile and the longest, µs.
    latency: [f64; 3],
}

/// A window: over HTTP/1.1 and over HTTP/2, the proxy's CPU as a share of one, and its memory.
#[derive(Debug)]
struct Window {
    served: [Served; 2],
    cpu: f64,
    peak_kib: u64,
    answered: u64,
    /// Blocks per second that the proxy asked its allocator for, where it tells that.
    blocks: Option<f64>,
    trouble: Vec<String>,
}

/// What one round of one attack on one peer showed.
#[derive(Debug)]
struct Round {
    calm: Window,
    storm: Window,
    before_kib: u64,
    /// The most bytes that one HTTP/2 connection of a client held, where the proxy tells that.
    ledger: Option<u64>,
    spent: Spent,
    seconds: f64,
}

/// What all of it showed.
#[derive(Debug, Default)]
struct Whole {
    rows: Vec<Vec<String>>,
    lines: Vec<Value>,
    notes: Vec<String>,
    /// Requests of good clients that Weir failed, and attacks it did not get through.
    let_down: u64,
}

/// Runs all attacks on all peers, prints the table and writes the JSON.
///
/// # Errors
/// When nothing can be measured, or Weir let a good client down.
pub fn all(options: &Options, places: &Places, peers: &[Box<dyn Peer>]) -> Result<()> {
    let ground = Ground::prepare(places)?;
    let mut whole = Whole::default();
    for attack in &options.attacks {
        eprintln!("bench: {}: {}", attack.name, attack.says);
        for peer in peers {
            let site = ground.site(peer.as_ref(), &H2)?;
            if let Some(why) = peer.unable(&site, Style::Usual)? {
                whole.note(attack, peer.name(), &format!("unable: {why}"));
                continue;
            }
            let rounds = rounds(options, &ground, peer.as_ref(), attack);
            whole.add(attack, peer.name(), rounds);
        }
    }
    whole.notes.dedup();
    println!("{}\n{}", ground.described, method(options));
    for peer in peers {
        println!("{}: {}", peer.name(), peer.version());
    }
    let heads = HEADS.map(str::to_owned).to_vec();
    let rows = [vec![heads], whole.rows].concat();
    println!("\n{}", table::aligned(&rows));
    whole.notes.iter().for_each(|note| println!("{note}"));
    let versions: BTreeMap<&str, &str> =
        peers.iter().map(|peer| (peer.name(), peer.version())).collect();
    let json = json!({
        "machine": ground.described,
        "method": method(options),
        "versions": versions,
        "lines": whole.lines,
        "notes": whole.notes,
    });
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&json)? + "\n";
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    match whole.let_down {
        0 => Ok(()),
        count => bail!("Weir let good clients down {count} times; the notes say how"),
    }
}

impl Whole {
    fn add(&mut self, attack: &Attack, peer: &str, rounds: Result<Vec<Round>>) {
        let own = u64::from(peer == table::WEIR);
        let rounds = match rounds {
            Ok(rounds) => rounds,
            // A peer that an attack ended, for one.
            Err(why) => {
                self.let_down += own;
                return self.note(attack, peer, &format!("{why:#}"));
            }
        };
        for round in &rounds {
            for why in &round.calm.trouble {
                self.note(attack, peer, &format!("without attack: {why}"));
            }
            round.storm.trouble.iter().for_each(|why| self.note(attack, peer, why));
            let failed: u64 = round.storm.served.iter().map(|served| served.failed).sum();
            self.let_down += own * failed;
        }
        self.rows.push(row(attack, peer, &rounds));
        self.lines.push(json!({
            "attack": attack.name,
            "says": attack.says,
            "peer": peer,
            "rounds": rounds.iter().map(told).collect::<Vec<_>>(),
        }));
    }

    fn note(&mut self, attack: &Attack, peer: &str, why: &str) {
        self.notes.push(format!("{}: {peer}: {why}", attack.name));
    }
}

const HEADS: [&str; 17] = [
    "attack",
    "peer",
    "h1 p50 µs",
    "×",
    "h1 p99 µs",
    "×",
    "h2 p50 µs",
    "×",
    "h2 p99 µs",
    "×",
    "completed",
    "failed",
    "CPU ms/s",
    "RSS +MiB",
    "blocks/s",
    "ledger KiB",
    "1000 frames/s, closed, to origin",
];

fn method(options: &Options) -> String {
    format!(
        "good clients: {RATE} requests/s each over HTTP/1.1 and HTTP/2 on TLS; latency and its \
         ratio to that without attack: minimum of {} rounds of {:?} each way; CPU and \
         blocks of memory asked for (allocations) above those without attack, minimum; growth of \
         memory and the fullest ledger of an HTTP/2 connection, maximum; the rest summed",
        options.rounds, options.window
    )
}

fn rounds(
    options: &Options,
    ground: &Ground,
    peer: &dyn Peer,
    attack: &'static Attack,
) -> Result<Vec<Round>> {
    (0..options.rounds)
        .map(|_| {
            let site = ground.site(peer, &H2)?;
            let target = Running::start(peer, site, Style::Usual, measure::PROXY_CPU)?;
            let calm = window(options, ground, peer, &target)?;
            let before_kib = machine::rss_kib(target.pid())?;
            let siege = Siege::begin(attack, target.site.plain)?;
            let begun = Instant::now();
            sleep(HEAD_START);
            let storm = window(options, ground, peer, &target).context("beside the attack")?;
            let seconds = begun.elapsed().as_secs_f64();
            let ledger = peer.told(&target.site)?.map(|told| told.ledger);
            Ok(Round { calm, storm, before_kib, ledger, spent: siege.end(), seconds })
        })
        .collect()
}

/// The good clients' work for one window.
fn window(options: &Options, ground: &Ground, peer: &dyn Peer, target: &Running) -> Result<Window> {
    let plans = [
        measure::plan(&H1, &target.site, options.window)?,
        measure::plan(&H2, &target.site, options.window)?,
    ];
    let answered = ground.origin.answered();
    let (before, begun) = (peer.told(&target.site)?, Instant::now());
    let mut cpu = [0; 2];
    let mut peak_kib = 0;
    let [h1, h2] = &plans;
    let outcomes = std::thread::scope(|scope| -> Result<_> {
        let over_h1 = scope.spawn(|| {
            load::run(h1, &mut |edge| {
                cpu[usize::from(edge == Edge::End)] = machine::cpu_nanos(target.pid())?;
                Ok(())
            })
        });
        let over_h2 = scope.spawn(|| load::run(h2, &mut |_| Ok(())));
        while !over_h1.is_finished() || !over_h2.is_finished() {
            peak_kib = machine::rss_kib(target.pid())?.max(peak_kib);
            sleep(LOOK);
        }
        Ok([joined(over_h1), joined(over_h2)])
    })?;
    let mut trouble = Vec::new();
    let mut served = [Served { completed: 0, failed: 1, latency: [0.0; 3] }; 2];
    for ((place, outcome), plan) in served.iter_mut().zip(outcomes).zip(&plans) {
        match outcome {
            Ok(outcome) => {
                trouble.extend(missing(plan, &outcome));
                *place = Served::of(&outcome);
            }
            Err(why) => trouble.push(format!("good clients gave up: {why:#}")),
        }
    }
    let cpu = cpu[1].saturating_sub(cpu[0]) as f64 / 1e9 / options.window.as_secs_f64();
    let answered = ground.origin.answered() - answered;
    let blocks = before.zip(peer.told(&target.site)?).map(|(before, after)| {
        after.blocks.saturating_sub(before.blocks) as f64 / begun.elapsed().as_secs_f64()
    });
    Ok(Window { served, cpu, peak_kib, answered, blocks, trouble })
}

fn joined(thread: ScopedJoinHandle<'_, Result<Outcome>>) -> Result<Outcome> {
    match thread.join() {
        Ok(outcome) => outcome,
        Err(_) => bail!("the load panicked"),
    }
}

/// Says so when good clients did not get all they asked for.
fn missing(plan: &Plan, outcome: &Outcome) -> Option<String> {
    if let Some(first) = &outcome.first_failure {
        return Some(format!("{} good requests failed, the first: {first}", outcome.failed));
    }
    let offered = f64::from(RATE) * plan.window.as_secs_f64();
    let short = (outcome.completed as f64) < 0.98 * offered;
    short.then(|| format!("answered {} of {offered:.0} good requests", outcome.completed))
}

impl Served {
    fn of(outcome: &Outcome) -> Self {
        let latency =
            [0.5, 0.99, 1.0].map(|share| outcome.latency.percentile(share).as_nanos() as f64 / 1e3);
        Self { completed: outcome.completed, failed: outcome.failed, latency }
    }
}

fn row(attack: &Attack, peer: &str, rounds: &[Round]) -> Vec<String> {
    let least = |of: &dyn Fn(&Round) -> f64| rounds.iter().map(of).fold(f64::INFINITY, f64::min);
    let most = |of: &dyn Fn(&Round) -> f64| rounds.iter().map(of).fold(0.0, f64::max);
    let sum = |of: &dyn Fn(&Round) -> u64| rounds.iter().map(of).sum::<u64>();
    let mut row = vec![attack.name.to_owned(), peer.to_owned()];
    for (protocol, share) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let calm = least(&|round| round.calm.served[protocol].latency[share]);
        let storm = least(&|round| round.storm.served[protocol].latency[share]);
        // Without an answer there is no latency.
        row.extend(match (storm > 0.0, calm > 0.0) {
            (true, true) => [format!("{storm:.0}"), format!("{:.2}", storm / calm)],
            (true, false) => [format!("{storm:.0}"), "-".to_owned()],
            _ => ["-", "-"].map(str::to_owned),
        });
    }
    let good = |round: &Round| round.storm.served.map(|served| served.completed).iter().sum();
    row.push(sum(&good).to_string());
    row.push(sum(&|round| round.storm.served.map(|s| s.failed).iter().sum()).to_string());
    row.push(format!("{:.0}", 1e3 * least(&|round| round.storm.cpu - round.calm.cpu)));
    row.push(format!("{:.1}", most(&|round| round.growth_kib() as f64 / 1024.0)));
    row.extend(memory(rounds));
    let frames = most(&|round| round.spent.frames as f64 / round.seconds / 1e3);
    let closed = sum(&|round| round.spent.closed);
    let origin = sum(&|round| round.storm.answered.saturating_sub(round.calm.answered));
    row.push(format!("{frames:.1}, {closed}, {origin}"));
    row
}

/// Blocks per second above those without attack, and the fullest ledger.
fn memory(rounds: &[Round]) -> [String; 2] {
    let blocks = rounds.iter().filter_map(Round::more_blocks).reduce(f64::min);
    let ledger = rounds.iter().filter_map(|round| round.ledger).max();
    [
        blocks.map_or("-".to_owned(), |blocks| format!("{blocks:.0}")),
        ledger.map_or("-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1024.0)),
    ]
}

impl Round {
    /// Blocks per second that the proxy asked for above those without attack.
    fn more_blocks(&self) -> Option<f64> {
        Some(self.storm.blocks? - self.calm.blocks?)
    }

    /// How much more memory the proxy had at the worst moment than before the attack.
    fn growth_kib(&self) -> u64 {
        self.storm.peak_kib.saturating_sub(self.before_kib)
    }
}

fn told(round: &Round) -> Value {
    let window = |window: &Window| {
        let [h1, h2] = window.served.map(|served| {
            json!({
                "completed": served.completed,
                "failed": served.failed,
                "p50_us": served.latency[0],
                "p99_us": served.latency[1],
                "longest_us": served.latency[2],
            })
        });
        json!({
            "h1": h1,
            "h2": h2,
            "cpu_busy": window.cpu,
            "rss_peak_kib": window.peak_kib,
            "allocations_per_second": window.blocks,
            "requests_at_origin": window.answered,
            "trouble": window.trouble,
        })
    };
    json!({
        "calm": window(&round.calm),
        "attacked": window(&round.storm),
        "rss_growth_kib": round.growth_kib(),
        "ledger_max_bytes": round.ledger,
        "attack_frames": round.spent.frames,
        "attack_bytes": round.spent.bytes,
        "attack_connections_closed": round.spent.closed,
        "attack_seconds": round.seconds,
    })
}
