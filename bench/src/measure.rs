//! How each kind of row is measured: rounds of all peers interleaved, the minimum counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::load::{self, Edge, Outcome, Plan, Traffic};
use crate::machine::{self, Places};
use crate::options::Options;
use crate::origin::Origin;
use crate::peer::{self, Peer, Running, Site, Style};
use crate::row::{Client, IDLE_CONNECTIONS, Kind, LOW_RATE, Requests, Row, Transport};
use crate::table::{Line, Report};
use crate::{namespace, tls};

/// The proxy's CPU, and the load's and origin's.
pub(crate) const PROXY_CPU: usize = 0;
const LOAD_CPU: usize = 1;
/// Uncounted time at a round's start: connections open, caches fill.
const WARMUP: Duration = Duration::from_millis(300);
/// Memory and instructions are steady; more rounds would only take longer.
const STEADY_ROUNDS: usize = 2;
/// Requests that warm a proxy before its memory is read.
const IDLE_WARMUP: u64 = 2000;
/// A proxy gives idle buffers back within seconds or not at all.
const SETTLE: Duration = Duration::from_secs(20);
/// Memory counts as settled when it stood still this long.
const STILL: Duration = Duration::from_secs(3);
/// For a plan that ends after a number of replies.
const BOUND: Duration = Duration::from_secs(300);
/// Replies of the short and the long run whose difference is counted.
const COUNTED: [u64; 2] = [2000, 10_000];

/// Measures all rows, prints the table and writes the JSON.
///
/// # Errors
/// When a peer fails, or any request got no reply.
pub fn all(options: &Options, places: &Places, peers: &[Box<dyn Peer>]) -> Result<()> {
    let ground = Ground::prepare(places)?;
    let descriptors = ground.descriptors;
    let bench = Bench { options, ground, peers };
    let mut report = Report {
        machine: bench.ground.described.clone(),
        peers: peers.iter().map(|peer| (peer.name(), peer.version().to_owned())).collect(),
        method: format!(
            "minimum of {} interleaved rounds of {:?}, one worker pinned to a CPU, load and origin \
             on another, {descriptors} descriptors, {}, {}",
            options.rounds,
            options.window,
            namespace::congestion_control(),
            tls::OFFER,
        ),
        lines: Vec::new(),
    };
    for row in &options.rows {
        eprintln!("bench: {}: {}", row.name, row.says);
        let lines = bench.row(row).with_context(|| format!("row {}", row.name))?;
        report.lines.extend(lines);
    }
    println!("{}", report.table());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())? + "\n";
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    match report.lines.iter().map(|line| line.failed).sum::<u64>() {
        0 => Ok(()),
        failed => bail!("{failed} requests got no reply; the notes name the first of each row"),
    }
}

/// What every run stands on.
pub(crate) struct Ground {
    /// The machine in one line.
    pub(crate) described: String,
    /// Open files that a process may have.
    pub(crate) descriptors: u64,
    /// Where proxies send requests.
    pub(crate) origin: Origin,
    identity: tls::Identity,
    work: PathBuf,
}

impl Ground {
    /// Pins this process and starts the origin.
    ///
    /// # Errors
    /// When a folder, the CPU or the origin cannot be had.
    pub(crate) fn prepare(places: &Places) -> Result<Self> {
        if places.work.exists() {
            fs::remove_dir_all(&places.work)?;
        }
        fs::create_dir_all(&places.work)?;
        let descriptors = machine::raise_descriptors();
        // Told before pinning, which hides the other CPUs.
        let described = machine::describe();
        if std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
            eprintln!("bench: one CPU only: proxy and load share it, figures are not comparable");
        } else {
            machine::pin(LOAD_CPU)?;
        }
        let identity = tls::Identity::make(&places.work)?;
        let work = places.work.clone();
        Ok(Self { described, descriptors, origin: Origin::start()?, identity, work })
    }

    /// What a peer is configured for, with addresses of its own.
    ///
    /// # Errors
    /// When its folder or an address cannot be had.
    pub(crate) fn site(&self, peer: &dyn Peer, requests: &Requests) -> Result<Site> {
        let folder = self.work.join(peer.name());
        fs::create_dir_all(&folder)?;
        Ok(Site {
            folder,
            plain: peer::free_address()?,
            tls: peer::free_address()?,
            admin: peer::free_address()?,
            origin: self.origin.address,
            identity: self.identity.clone(),
            h2: requests.client != Client::H1,
            upstream: requests.origin,
        })
    }
}

/// The load of some requests on a site.
///
/// # Errors
/// When the TLS client cannot be made.
pub(crate) fn plan(requests: &Requests, site: &Site, window: Duration) -> Result<Plan> {
    let offer = tls::Offer {
        hybrid: requests.transport == Transport::TlsHybrid,
        h2: requests.client != Client::H1,
    };
    let tls = match requests.transport {
        Transport::Plain => Vec::new(),
        Transport::Tls | Transport::TlsHybrid => vec![tls::full(offer)?],
        Transport::TlsResumed => tls::resuming(offer, requests.connections)?,
    };
    Ok(Plan {
        target: if requests.transport == Transport::Plain { site.plain } else { site.tls },
        tls,
        talk: requests.talk(tls::HOST),
        connections: requests.connections,
        traffic: requests.traffic,
        warmup: WARMUP,
        window,
    })
}

struct Bench<'a> {
    options: &'a Options,
    ground: Ground,
    peers: &'a [Box<dyn Peer>],
}

/// What one round of one peer gave: the figures of the row, and all that goes into the JSON.
struct Round {
    figures: Vec<f64>,
    details: Value,
    failed: u64,
    note: Option<String>,
}

impl Round {
    /// A round that gave nothing but a reason.
    fn none(why: &str, failed: u64) -> Self {
        let details = json!({ "figures": [], "none": why });
        Self { figures: Vec::new(), details, failed, note: Some(why.to_owned()) }
    }
}

impl Bench<'_> {
    fn row(&self, row: &'static Row) -> Result<Vec<Line>> {
        let mut lines: Vec<Line> = row
            .kind
            .figures()
            .iter()
            .map(|(suffix, unit)| Line {
                name: format!("{}{suffix}", row.name),
                says: row.says,
                unit,
                goal: row.goal,
                figures: BTreeMap::new(),
                rounds: BTreeMap::new(),
                failed: 0,
                notes: Vec::new(),
            })
            .collect();
        let (rounds, fresh) = match row.kind {
            Kind::Idle(_) | Kind::Instructions(_) => (self.options.rounds.min(STEADY_ROUNDS), true),
            _ => (self.options.rounds, false),
        };
        let mut running: BTreeMap<&'static str, Running> = BTreeMap::new();
        let mut left: Vec<&dyn Peer> = Vec::new();
        for peer in self.peers {
            match self.unable(row, peer.as_ref())? {
                Some(why) => note(&mut lines, peer.name(), Round::none(&why, 0)),
                None => left.push(peer.as_ref()),
            }
        }
        for round in 0..rounds {
            left.retain(|peer| match self.round(row, *peer, fresh, &mut running) {
                Ok(done) => {
                    note(&mut lines, peer.name(), done);
                    true
                }
                // The others' figures stay worth having; the run ends as failed.
                Err(error) => {
                    let why = format!("round {round} failed: {error:#}");
                    note(&mut lines, peer.name(), Round::none(&why, 1));
                    running.remove(peer.name());
                    false
                }
            });
        }
        Ok(lines)
    }

    fn round(
        &self,
        row: &Row,
        peer: &dyn Peer,
        fresh: bool,
        running: &mut BTreeMap<&'static str, Running>,
    ) -> Result<Round> {
        if fresh {
            return self.fresh_round(row, peer);
        }
        if !running.contains_key(peer.name()) {
            let started = self.start(peer, row.kind.requests(), Style::Usual)?;
            running.insert(peer.name(), started);
        }
        let target = running.get(peer.name()).context("a peer just started")?;
        self.loaded_round(row, target)
    }

    /// Why a peer cannot do a row, if it cannot.
    fn unable(&self, row: &Row, peer: &dyn Peer) -> Result<Option<String>> {
        let counted = matches!(row.kind, Kind::Instructions(_));
        let style = if counted { Style::Counted } else { Style::Usual };
        let site = self.ground.site(peer, row.kind.requests())?;
        Ok(peer.unable(&site, style)?.map(|why| format!("unable: {why}")))
    }

    fn start(&self, peer: &dyn Peer, requests: &Requests, style: Style) -> Result<Running> {
        Running::start(peer, self.ground.site(peer, requests)?, style, PROXY_CPU)
    }

    /// A round against a peer that keeps running: CPU time and latency.
    fn loaded_round(&self, row: &Row, target: &Running) -> Result<Round> {
        let requests = row.kind.requests();
        let ask = plan(requests, &target.site, self.options.window)?;
        let mut cpu = [0; 2];
        let outcome = load::run(&ask, &mut |edge| {
            cpu[usize::from(edge == Edge::End)] = machine::cpu_nanos(target.pid())?;
            Ok(())
        })?;
        if outcome.completed == 0 {
            let why = outcome.first_failure.as_deref().unwrap_or("no reply came");
            bail!("no request completed: {why}");
        }
        let nanos = cpu[1].saturating_sub(cpu[0]) as f64;
        let per_request = nanos / 1e3 / outcome.completed as f64;
        let figures = match row.kind {
            Kind::CpuPerByte(_) => vec![nanos / 1e6 / (outcome.bytes as f64 / 1e9)],
            Kind::Latency(_) => [0.5, 0.99].map(|share| micros(&outcome, share)).to_vec(),
            _ => vec![per_request],
        };
        let details = json!({
            "figures": figures,
            "cpu_us_per_request": per_request,
            "cpu_busy": nanos / 1e9 / outcome.elapsed.as_secs_f64(),
            "completed": outcome.completed,
            "failed": outcome.failed,
            "resumed": outcome.resumed,
            "requests_per_second": outcome.completed as f64 / outcome.elapsed.as_secs_f64(),
            "p50_us": micros(&outcome, 0.5),
            "p99_us": micros(&outcome, 0.99),
        });
        Ok(Round { figures, details, failed: outcome.failed, note: remark(requests, &outcome) })
    }

    /// A round against a peer started for it: memory and instructions.
    fn fresh_round(&self, row: &Row, peer: &dyn Peer) -> Result<Round> {
        match row.kind {
            Kind::Instructions(requests) => self.instructions(&requests, peer),
            _ => self.idle(row.kind.requests(), peer),
        }
    }

    fn idle(&self, requests: &Requests, peer: &dyn Peer) -> Result<Round> {
        let target = self.start(peer, requests, Style::Usual)?;
        let hold = plan(requests, &target.site, self.options.window)?;
        let hold = Plan { warmup: Duration::ZERO, window: BOUND, ..hold };
        let warm = Plan { traffic: Traffic::Count(IDLE_WARMUP), ..hold.clone() };
        let warmed = load::run(&warm, &mut |_| Ok(()))?;
        let before = settled(&target)?;
        let outcome = load::run(&hold, &mut |_| Ok(()))?;
        let after = settled(&target)?;
        let open = outcome.held.iter().filter(|connection| connection.idle()).count();
        if open < IDLE_CONNECTIONS {
            bail!("only {open} of {IDLE_CONNECTIONS} connections were kept open");
        }
        let each = (after as f64 - before as f64) / IDLE_CONNECTIONS as f64;
        let details =
            json!({ "figures": [each], "pss_before_kib": before, "pss_after_kib": after });
        let failed = warmed.failed + outcome.failed;
        Ok(Round { figures: vec![each], details, failed, note: remark(requests, &outcome) })
    }

    fn instructions(&self, requests: &Requests, peer: &dyn Peer) -> Result<Round> {
        let mut counts = [0; 2];
        let mut failed = 0;
        for (count, replies) in counts.iter_mut().zip(COUNTED) {
            let target = self.start(peer, requests, Style::Counted)?;
            let ask = plan(requests, &target.site, self.options.window)?;
            let traffic = Traffic::Count(replies);
            let ask = Plan { traffic, warmup: Duration::ZERO, window: BOUND, ..ask };
            failed += load::run(&ask, &mut |_| Ok(()))?.failed;
            let said = target.stop()?;
            *count =
                collected(&said).with_context(|| format!("no count from valgrind:\n{said}"))?;
        }
        let requests = (COUNTED[1] - COUNTED[0]) as f64;
        let each = counts[1].saturating_sub(counts[0]) as f64 / requests;
        let details = json!({ "figures": [each], "instructions": counts, "requests": COUNTED });
        Ok(Round { figures: vec![each], details, failed, note: None })
    }
}

/// Puts a round into the lines: the minimum stays.
fn note(lines: &mut [Line], peer: &'static str, round: Round) {
    for (index, line) in lines.iter_mut().enumerate() {
        if let Some(figure) = round.figures.get(index) {
            let least = line.figures.entry(peer).or_insert(f64::INFINITY);
            *least = least.min(*figure);
        }
        line.rounds.entry(peer).or_default().push(round.details.clone());
    }
    if let Some(line) = lines.first_mut() {
        line.failed += round.failed;
        let note = round.note.map(|note| format!("{peer}: {note}"));
        line.notes.extend(note.filter(|note| !line.notes.contains(note)));
    }
}

fn micros(outcome: &Outcome, share: f64) -> f64 {
    outcome.latency.percentile(share).as_nanos() as f64 / 1e3
}

/// What makes a round less than it should be.
fn remark(requests: &Requests, outcome: &Outcome) -> Option<String> {
    if let Some(failure) = &outcome.first_failure {
        return Some(format!("{} requests failed, the first: {failure}", outcome.failed));
    }
    let share = outcome.resumed as f64 / outcome.completed.max(1) as f64;
    if requests.transport == Transport::TlsResumed && share < 0.99 {
        return Some(format!("only {:.0} % of the connections were resumed", share * 100.0));
    }
    let offered = f64::from(LOW_RATE) * outcome.elapsed.as_secs_f64();
    if matches!(requests.traffic, Traffic::Rate(_)) && (outcome.completed as f64) < 0.98 * offered {
        return Some(format!("answered {} of {offered:.0} requests offered", outcome.completed));
    }
    None
}

/// Waits until a peer's memory stands still, and tells it in KiB.
fn settled(target: &Running) -> Result<u64> {
    let begin = Instant::now();
    let mut last = machine::pss_kib(target.pid())?;
    let mut since = Instant::now();
    while since.elapsed() < STILL && begin.elapsed() < SETTLE {
        sleep(Duration::from_millis(200));
        let current = machine::pss_kib(target.pid())?;
        if current.abs_diff(last) > last / 500 {
            since = Instant::now();
        }
        last = current;
    }
    Ok(last)
}

/// The sum callgrind prints when its program ends.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().rev().find(|line| line.contains("Collected :"))?;
    line.rsplit_once(':')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row;

    #[test]
    fn the_minimum_of_the_rounds_stays() {
        let mut lines = vec![Line {
            name: "h1-get".to_owned(),
            says: "",
            unit: "µs CPU",
            goal: row::Goal::NotAbove,
            figures: BTreeMap::new(),
            rounds: BTreeMap::new(),
            failed: 0,
            notes: Vec::new(),
        }];
        for figure in [21.0, 19.5, 30.0] {
            let round = Round {
                figures: vec![figure],
                details: Value::Null,
                failed: 1,
                note: Some("a remark".to_owned()),
            };
            note(&mut lines, "nginx", round);
        }
        let line = &lines[0];
        assert_eq!(line.figures["nginx"], 19.5);
        assert_eq!((line.rounds["nginx"].len(), line.failed), (3, 3));
        assert_eq!(line.notes, ["nginx: a remark"]);
    }

    #[test]
    fn a_round_that_fell_short_is_remarked() {
        let get = row::find("low-rate").unwrap().kind.requests();
        let mut outcome =
            Outcome { completed: 10_000, elapsed: Duration::from_secs(2), ..Outcome::default() };
        assert_eq!(remark(get, &outcome), None);
        outcome.completed = 9_000;
        assert!(remark(get, &outcome).unwrap().contains("9000 of 10000"));
        outcome.first_failure = Some("closed".to_owned());
        assert!(remark(get, &outcome).unwrap().contains("closed"));
        let resumed = row::find("tls-resumed").unwrap().kind.requests();
        outcome = Outcome { completed: 100, resumed: 50, ..Outcome::default() };
        assert!(remark(resumed, &outcome).unwrap().contains("50 %"));
    }

    #[test]
    fn valgrinds_sum_is_read() {
        let said = "==12== Events    : Ir\n==12== Collected : 1234567\n==12==\n";
        assert_eq!(collected(said), Some(1_234_567));
        assert_eq!(collected("==12== nothing"), None);
    }
}
