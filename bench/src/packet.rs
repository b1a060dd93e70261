//! `cargo xtask bench packet`: what a packet costs in the kernel programs, by test run, beside the
//! empty program and a director of another kind: director, shield, redirector, answers to SYNs;
//! what tables cost; and frames forwarded per second.
//!
//! A test run feeds a program the frame as the run before left it, so a prologue takes off what
//! was put on or puts back what was taken off, draws a flow by chance, and goes on to the measured
//! program. Its own time is measured alone and taken off. Rounds are interleaved and the minimum
//! counts.

mod compare;
mod cookie;
mod frames;
mod published;
mod redirector;
mod rows;
mod shield;
mod tables;

use anyhow::{Context, Result, bail};
use packet_abi::HashKey;
use packet_loader::measure::Bench;
use packet_loader::{Capacities, Settings};
use serde_json::json;

use frames::SELF;

/// Runs of a program in one measurement.
const REPEAT: u32 = 1_000_000;

/// What to measure, and how often.
#[derive(Debug)]
pub struct Options {
    /// Rounds; of each row the least counts.
    pub rounds: u32,
    /// Runs in a round.
    pub repeat: u32,
    /// Where to write JSON.
    pub json: Option<String>,
    /// Rows whose names begin so; all where empty.
    pub rows: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { rounds: 5, repeat: REPEAT, json: None, rows: Vec::new() };
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match word.as_str() {
                "--rounds" => options.rounds = value()?.parse().context("--rounds: a number")?,
                "--repeat" => options.repeat = value()?.parse().context("--repeat: a number")?,
                "--json" => options.json = Some(value()?.clone()),
                word if word.starts_with('-') => {
                    bail!("bench packet [ROW…] [--rounds N] [--repeat N] [--json FILE]: {word}?")
                }
                row => options.rows.push(row.to_owned()),
            }
        }
        Ok(options)
    }

    fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|name| row.starts_with(name.as_str()))
    }
}

/// A measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The row.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be, for people.
    pub goal: &'static str,
}

/// Measures and prints.
///
/// # Errors
/// Where the kernel refuses the programs, or a row cannot be measured.
pub fn run(args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let key = HashKey::of(*b"a benchmark key!");
    let settings = Settings::new(key, 1, SELF);
    // Sockets that packets are looked up for are on loopback.
    rows::ip(&["link", "set", "lo", "up"])?;
    let mut bench = Bench::new(&settings, &Capacities::default())
        .context("the packet programs (root and Linux 6.6 are needed)")?;
    let mut figures = rows::all(&mut bench, &options)?;
    figures.extend(shield::all(&bench, &options)?);
    drop(bench);
    figures.extend(redirector::all(key, &options)?);
    figures.extend(cookie::all(key, &options)?);
    figures.extend(tables::all(&settings, &options)?);
    println!("{}", crate::machine::describe());
    for Figure { name, value, unit, goal } in &figures {
        println!("{name:<44} {value:>10.2} {unit:<8} {goal}");
    }
    published::print();
    if let Some(file) = &options.json {
        let rows: Vec<_> = figures
            .iter()
            .map(|figure| json!({"row": figure.name, "value": figure.value, "unit": figure.unit}))
            .collect();
        std::fs::write(file, serde_json::to_string_pretty(&rows)?).context(file.clone())?;
    }
    Ok(())
}
