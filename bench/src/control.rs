//! `cargo xtask bench control`: what a change of the control plane takes until a thousand edges
//! have it, what their streams take, what a call of the API takes, and what an edge takes to put
//! ten thousand hosts in force.
//!
//! The plane is a process as users have it. One process plays all edges: each has a TLS connection
//! and a certificate of its own, which it got by joining, and says what an edge says; it does
//! not put anything in force, which the row `apply` measures on a real one.

mod api;
mod changes;
mod edges;
mod plane;

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

use crate::histogram::Histogram;
use crate::machine::{self, Places};

/// The rows.
const ROWS: [&str; 4] = ["changes", "api", "api-etcd", "apply"];
/// Edges, where no number is given.
const EDGES: usize = 1_000;
/// More would need more ports than loopback has for one address.
const EDGES_MAX: usize = 10_000;
/// Changes that are measured, where no number is given.
const CHANGES: usize = 200;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    rows: Vec<String>,
    edges: usize,
    changes: usize,
    weir: Option<PathBuf>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let (edges, changes) = (EDGES, CHANGES);
        let mut options = Self { rows: Vec::new(), edges, changes, weir: None };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--edges" => options.edges = value()?.parse().context("--edges: a number")?,
                "--changes" => options.changes = value()?.parse().context("--changes: a number")?,
                "--weir" => options.weir = Some(PathBuf::from(value()?)),
                row if ROWS.contains(&row) => options.rows.push(row.to_owned()),
                other => bail!(
                    "bench control [{}] [--edges N] [--changes N] [--weir BINARY]: {other}?",
                    ROWS.join("] [")
                ),
            }
        }
        if !(1..=EDGES_MAX).contains(&options.edges) || options.changes == 0 {
            bail!("--edges from 1 to {EDGES_MAX}, --changes from 1 on");
        }
        Ok(options)
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| name == row)
    }
}

/// Measures and prints.
///
/// # Errors
/// A program that cannot be built or started, or something that did not happen.
pub fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let places = Places::find();
    let descriptors = machine::raise_descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{}, {descriptors} descriptors, {}", machine::describe(), load());
    if ["changes", "api", "api-etcd"].iter().any(|row| options.wants(row)) {
        let weir = program(&options, &places)?;
        if options.wants("changes") {
            runtime.block_on(changes::measure(&options, &places, &weir)).context("changes")?;
        }
        for (row, etcd) in [("api", false), ("api-etcd", true)] {
            if options.wants(row) {
                runtime.block_on(api::measure(&places, &weir, etcd)).context(row)?;
            }
        }
    }
    if options.wants("apply") {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let words = ["run", "--quiet", "--release", "-p", "bench", "--example", "apply"];
        let status = Command::new(cargo).args(words).current_dir(&places.root).status();
        anyhow::ensure!(status.context("apply")?.success(), "the row apply failed");
    }
    println!("{}", load());
    Ok(())
}

/// What else the machine does.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load average {}", text.split(' ').next().unwrap_or("unknown"))
}

fn program(options: &Options, places: &Places) -> Result<PathBuf> {
    if let Some(program) = &options.weir {
        return std::path::absolute(program).context("--weir");
    }
    eprintln!("bench: cargo build --profile dist -p process-weir");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words = ["build", "--profile", "dist", "-p", "process-weir"];
    let status = Command::new(cargo).args(words).current_dir(&places.root).status();
    anyhow::ensure!(status.context("cargo build")?.success(), "weir could not be built");
    Ok(places.target.join("dist/weir"))
}

/// One figure.
fn figure(row: &str, name: &str, value: f64, unit: &str, goal: &str) {
    println!("{row:<10} {name:<50} {value:>10.2} {unit:<8} {goal}");
}

/// Median and 99th percentile of some times.
fn times(row: &str, name: &str, times: &Histogram, goal: &str) {
    let ms = |share: f64| times.percentile(share).as_secs_f64() * 1e3;
    figure(row, &format!("{name}, p50"), ms(0.5), "ms", "");
    figure(row, &format!("{name}, p99"), ms(0.99), "ms", goal);
    figure(row, &format!("{name}, max"), ms(1.0), "ms", "");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_options() {
        let parse = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Options::parse(&words)
        };
        let options = parse("changes --edges 7 --changes 3 --weir w").unwrap();
        assert_eq!((options.edges, options.changes), (7, 3));
        assert!(options.wants("changes") && !options.wants("api"));
        assert!(parse("").unwrap().wants("api-etcd"));
        for (line, told) in [
            ("--edges 0", "--edges from 1"),
            ("--edges 10001", "--edges from 1"),
            ("--edges", "--edges needs"),
            ("--changes x", "--changes: a number"),
            ("quick", "quick?"),
        ] {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
