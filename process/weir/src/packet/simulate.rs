//! `weir packet simulate`: days of a fleet in seconds, from a seed or from measured load.
//!
//! The planner is the real one, and its promises are checked after every round. Connections are not
//! simulated one by one: each bucket has as many as its traffic and their mean life say.

mod others;
mod print;
mod trace;
mod world;

use crate::cli::EXIT_REFUSED;
use anyhow::{Context, bail, ensure};
use core_balance::plan::{Plan, Policy, Report, lint};
use core_forwarding::step::Done;
use core_forwarding::{Buckets, Fleet};
use others::{Ecmp, Maglev, Others, Rendezvous};
use std::path::PathBuf;
use std::process::ExitCode;
use trace::Trace;
use world::World;

/// Most days: a simulation is for minutes of a person's time.
const DAYS_MAX: u32 = 365;
/// Most servers: as many as have ids.
const SERVERS_MAX: u16 = 4_000;
/// Points of the charts.
const POINTS: usize = 48;

/// What can be typed after `weir packet simulate`.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Servers of the fleet.
    #[arg(long, default_value_t = 1_000, value_parser = servers())]
    servers: u16,
    /// Days of virtual time.
    #[arg(long, default_value_t = 3, value_parser = days())]
    days: u32,
    /// What the events and the strength of the servers are drawn with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Minutes between two rounds of the planner.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=60))]
    round: u32,
    /// Mean life of a connection, minutes.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    life: u32,
    /// Measured load: lines of minute, server (1 to --servers) and load at an even share.
    #[arg(long, value_name = "FILE.csv")]
    load: Option<PathBuf>,
    /// The result as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// What the planner did, round by round.
    #[arg(long, conflicts_with = "json")]
    verbose: bool,
}

fn servers() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(2..=i64::from(SERVERS_MAX))
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(DAYS_MAX))
}

impl Options {
    /// The command that repeats this run.
    fn command(&self) -> String {
        let Self { servers, days, seed, round, life, .. } = self;
        let quoted = |path: &PathBuf| path.display().to_string().replace('\'', "'\\''");
        let load = self.load.as_ref().map(|path| format!(" --load '{}'", quoted(path)));
        format!(
            "weir packet simulate --servers {servers} --days {days} --seed {seed} --round {round} \
             --life {life}{}",
            load.unwrap_or_default()
        )
    }
}

/// What became of connections under one way of placing them.
#[derive(Clone, Debug, Default, serde::Serialize)]
struct Outcome {
    name: &'static str,
    /// Connections that broke although their server lives and serves.
    broken: f64,
    /// Buckets that were given to another server.
    moved: u64,
}

/// What came of a run.
#[derive(Debug, serde::Serialize)]
struct Summary {
    command: String,
    rounds: u32,
    buckets: u32,
    /// Connections that were opened.
    opened: f64,
    /// Connections that ended with their server.
    lost_with_servers: f64,
    crashes: u32,
    drains: u32,
    /// Rounds in which illness was not acted on since it was general, or said by fresh agents.
    disregarded: u32,
    moved: u64,
    exchanged: u64,
    replaced: u64,
    /// Most buckets that one round changed.
    round_max: u32,
    /// Highest load over the mean, by time.
    load_max: Vec<f64>,
    /// Lowest load over the mean, by time.
    load_min: Vec<f64>,
    /// Buckets changed, by time.
    churn: Vec<u32>,
    outcomes: Vec<Outcome>,
}

/// Runs the simulation to its end and prints what came of it.
///
/// # Errors
/// A file of load that cannot be read.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let trace = match &options.load {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("reading {}", path.display()))?;
            Some(Trace::parse(&text, options.servers).with_context(|| path.display().to_string())?)
        }
    };
    match Run::new(options, trace)?.finish() {
        Ok(summary) => {
            print::summary(&summary, options.json)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("{}", failed(options, &error));
            Ok(ExitCode::from(EXIT_REFUSED))
        }
    }
}

/// What is said where the planner broke a promise: what it was, and how to see it again.
fn failed(options: &Options, error: &anyhow::Error) -> String {
    format!("weir: {error:#}\nrepeat with: {}", options.command())
}

/// A run under way.
struct Run<'a> {
    options: &'a Options,
    policy: Policy,
    world: World,
    plan: Plan,
    connections: Connections,
    others: Others,
    summary: Summary,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options, trace: Option<Trace>) -> anyhow::Result<Self> {
        let buckets = Buckets::enough_for(usize::from(options.servers));
        let policy = Policy {
            patience: u64::from(options.round) * 60,
            moves_max: buckets.count() / 64,
            ..Policy::default()
        };
        let world = World::new(options.servers, options.seed, trace);
        let fleet = Fleet::new(world.members()).context("the fleet")?;
        let plan = Plan::start(&fleet, options.seed, buckets);
        let life = f64::from(options.life);
        let others = Others::new(vec![
            Box::new(Maglev),
            Box::new(Rendezvous::new(options.seed)),
            Box::new(Ecmp),
        ]);
        Ok(Self {
            options,
            policy,
            world,
            plan,
            connections: Connections::new(buckets.count(), life),
            others,
            summary: Summary::new(options, buckets.count()),
        })
    }

    fn finish(mut self) -> anyhow::Result<Summary> {
        for round in 0..self.summary.rounds {
            self.round(u64::from(round + 1) * u64::from(self.options.round))?;
        }
        let Self { connections, others, mut summary, .. } = self;
        let rounds = summary.rounds as usize;
        summary.opened = connections.opened;
        summary.lost_with_servers = connections.lost;
        summary.outcomes.push(Outcome {
            name: "two slots",
            broken: connections.broken,
            moved: summary.moved + summary.exchanged + summary.replaced,
        });
        summary.outcomes.extend(others.outcomes());
        summary.load_max = print::highest(&summary.load_max, rounds.min(POINTS));
        summary.load_min = print::lowest(&summary.load_min, rounds.min(POINTS));
        summary.churn = print::sums(&summary.churn, rounds.min(POINTS));
        if summary.outcomes.iter().any(|outcome| !outcome.broken.is_finite()) {
            bail!("the count of connections is not a number");
        }
        Ok(summary)
    }

    /// One round, at `minute`.
    fn round(&mut self, minute: u64) -> anyhow::Result<()> {
        let now = minute * 60;
        let minutes = f64::from(self.options.round);
        let traffic = self.world.advance(minute, &self.plan.table, self.options);
        let observations = self.world.observations(now);
        let (next, reports) = self.plan.next(&self.policy, &observations, now)?;
        let fleet = Fleet::new(observations.iter().map(|seen| seen.member).collect())?;
        lint(&fleet, &self.plan.table, &next.table, now, self.policy.hold_down)?;
        if self.options.verbose {
            for report in &reports {
                println!("{:>6} min  {report}", minute);
            }
        }
        self.summary.count(&reports);
        let diff = next.table.diff(&self.plan.table);
        let changed = diff
            .iter()
            .filter(|(at, new)| self.plan.table.bucket(*at as usize).first() != new.first());
        let changed = u32::try_from(changed.count())?;
        self.connections.advance(minutes, traffic);
        self.connections.change(&self.plan.table, &diff, &fleet, minute as f64);
        self.others.advance(&fleet, &self.connections)?;
        ensure!(changed <= self.summary.buckets, "a round changed {changed} buckets");
        self.summary.round_max = self.summary.round_max.max(changed);
        self.summary.churn.push(changed);
        let (low, high) = self.world.spread();
        self.summary.load_min.push(low);
        self.summary.load_max.push(high);
        (self.summary.crashes, self.summary.drains) = (self.world.crashes, self.world.drains);
        self.plan = next;
        Ok(())
    }
}

impl Summary {
    fn new(options: &Options, buckets: u32) -> Self {
        Self {
            command: options.command(),
            rounds: options.days * 24 * 60 / options.round,
            buckets,
            opened: 0.0,
            lost_with_servers: 0.0,
            crashes: 0,
            drains: 0,
            disregarded: 0,
            moved: 0,
            exchanged: 0,
            replaced: 0,
            round_max: 0,
            load_max: Vec::new(),
            load_min: Vec::new(),
            churn: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn count(&mut self, reports: &[Report]) {
        let mut disregarded = false;
        let mut all = Done::default();
        for report in reports {
            match report {
                Report::Removed { done, .. }
                | Report::Drained { done, .. }
                | Report::Balanced { done, .. } => all = all.and(*done),
                Report::KeptIn { .. } | Report::AgentDisregarded { .. } => disregarded = true,
                _ => {}
            }
        }
        self.moved += u64::from(all.moved);
        self.exchanged += u64::from(all.exchanged);
        self.replaced += u64::from(all.replaced);
        self.disregarded += u32::from(disregarded);
    }
}

/// The connections of all buckets: each bucket opens as many a minute, which live for a time that
/// is distributed exponentially.
struct Connections {
    life: f64,
    /// Connections of a bucket in its owner's hands, beside those that its second hop still has.
    open: f64,
    /// What a bucket's former owner had when it lost the bucket, and the minute of that.
    former: Vec<(f64, f64)>,
    opened: f64,
    lost: f64,
    broken: f64,
}

impl Connections {
    /// Connections that a bucket opens in a minute at full traffic.
    const RATE: f64 = 10.0;

    fn new(buckets: u32, life: f64) -> Self {
        Self {
            life,
            open: Self::RATE * life,
            former: vec![(0.0, 0.0); buckets as usize],
            opened: 0.0,
            lost: 0.0,
            broken: 0.0,
        }
    }

    /// Lets connections open and end for some minutes of `traffic`, a part of the full one.
    fn advance(&mut self, minutes: f64, traffic: f64) {
        let stays = (-minutes / self.life).exp();
        let rate = Self::RATE * traffic;
        self.open = self.open * stays + rate * self.life * (1.0 - stays);
        self.opened += rate * minutes * self.former.len() as f64;
    }

    /// Takes a change of the table, and counts what it ends.
    fn change(
        &mut self,
        table: &core_forwarding::Table,
        diff: &core_forwarding::TableDiff,
        fleet: &Fleet,
        minute: f64,
    ) {
        use core_forwarding::State;
        for (at, new) in diff {
            let old = table.bucket(*at as usize);
            let serves = |id: u32| {
                let member = u16::try_from(id).ok().and_then(|id| fleet.get(id));
                member.is_some_and(|member| member.state != State::Dead)
            };
            let kept = |id: u32| id == new.first() || id == new.second();
            let Some(former) = self.former.get_mut(*at as usize) else { continue };
            let left = former.0 * (-(minute - former.1) / self.life).exp();
            for (id, has) in [(old.first(), self.open), (old.second(), left)] {
                if id != 0 && !kept(id) {
                    if serves(id) {
                        self.broken += has;
                    } else {
                        self.lost += has;
                    }
                }
            }
            if new.second() != 0 && new.second() == old.first() {
                *former = (self.open, minute);
            } else if new.second() != old.second() {
                *former = (0.0, minute);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn typed(arguments: &[&str]) -> Options {
        Line::try_parse_from([&["simulate"], arguments].concat()).unwrap().options
    }

    #[test]
    fn what_fails_tells_the_command_that_repeats_it() {
        let seed = typed(&["--seed", "7", "--servers", "12", "--round", "3"]);
        let load = typed(&["--load", "a day's load.csv", "--life", "9"]);
        let broken = anyhow::anyhow!("bucket 5 has a dead owner").context("minute 15");
        for (options, says) in [
            (seed, "--servers 12 --days 3 --seed 7 --round 3 --life 10"),
            (
                load,
                "--servers 1000 --days 3 --seed 1 --round 5 --life 9 --load 'a day'\\''s load.csv'",
            ),
        ] {
            let expect = format!(
                "weir: minute 15: bucket 5 has a dead owner\n\
                 repeat with: weir packet simulate {says}"
            );
            assert_eq!(failed(&options, &broken), expect);
        }
    }
}
