//! What tables cost: building, writing and checking a generation, the swap, a single bucket.

use super::frames::{self, Kind, Vips};
use super::rows::figure;
use super::{Figure, Options};
use anyhow::{Context, Result};
use packet_abi::Bucket;
use packet_loader::measure::Bench;
use packet_loader::{Capacities, Settings};
use std::time::{Duration, Instant};

/// Buckets that are moved one by one.
const MOVES: u32 = 100_000;

/// Measures the tables' rows, if one is wanted.
pub(super) fn all(settings: &Settings, options: &Options) -> Result<Vec<Figure>> {
    if !options.wants("table") {
        return Ok(Vec::new());
    }
    eprintln!("measuring tables");
    let mut bench = Bench::new(settings, &Capacities::default())?;
    // The least of each, and then the difference: that of one round may be less than nothing.
    let (mut whole, mut rest) = (Duration::MAX, Duration::MAX);
    let (mut write, mut settle) = (Duration::MAX, Duration::MAX);
    let mut longest = Duration::ZERO;
    for round in 1..=u64::from(options.rounds.max(3)) {
        let start = Instant::now();
        let row = frames::row(Vips::Mixed, false, Kind::Tcp, 1000, 131_072)?;
        whole = whole.min(start.elapsed());
        let start = Instant::now();
        drop(frames::row(Vips::Mixed, false, Kind::Tcp, 1, 128)?);
        // The prefixes and the destinations of both are the same; what is left is the table.
        rest = rest.min(start.elapsed());
        let published = bench.tables.publish(round, &row.image).context("publishing")?;
        write = write.min(published.write);
        settle = settle.min(published.settle);
        longest = longest.max(published.settle);
    }
    let build = whole.saturating_sub(rest);
    let start = Instant::now();
    for index in 0..MOVES {
        bench.tables.move_bucket(index, Bucket::new(2 + (index % 900) as u16, 2))?;
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / f64::from(MOVES);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(vec![
        figure("table-build-131072x1000", ms(build), "ms", "with the next row <= 5"),
        figure("table-write-and-checksum", ms(write), "ms", ""),
        figure("table-swap", ms(settle), "ms", "<= 40"),
        figure("table-swap-longest", ms(longest), "ms", "<= 40"),
        figure("table-move-a-bucket", each, "us", "<= 1"),
    ])
}
