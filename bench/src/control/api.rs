//! The rows `api` and `api-etcd`: what changing a pool takes a client, and how many such calls the
//! plane answers.

use super::plane::{Plane, change};
use super::{figure, times};
use crate::histogram::Histogram;
use crate::machine::Places;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// Pools of the store, of which each connection changes its own.
const OBJECTS: usize = 100;
/// Calls one after the other.
const CALLS: usize = 300;
/// Connections that call at once.
const CONNECTIONS: usize = 8;
/// How long they do.
const WINDOW: Duration = Duration::from_secs(5);

/// Measures and prints.
///
/// # Errors
/// A call fails.
pub(super) async fn measure(places: &Places, weir: &Path, etcd: bool) -> Result<()> {
    let row = if etcd { "api-etcd" } else { "api" };
    let plane = Plane::start(places, weir, etcd).await?;
    let pools = plane.objects(OBJECTS).await?;
    let mut alone = Histogram::default();
    let mut caller = plane.caller().await?;
    for number in 0..CALLS {
        let path = plane.pool(pools.get(number % OBJECTS).context("a pool")?);
        let began = Instant::now();
        let body = change(number % OBJECTS, number / OBJECTS + 1);
        caller.call("PATCH", &path, Some(&body)).await?;
        alone.record(began.elapsed());
    }
    times(row, "PATCH of a pool, one after the other", &alone, "");
    let mut reads = Histogram::default();
    for number in 0..CALLS {
        let path = plane.pool(pools.get(number % OBJECTS).context("a pool")?);
        let began = Instant::now();
        caller.call("GET", &path, None).await?;
        reads.record(began.elapsed());
    }
    times(row, "GET of a pool", &reads, "");
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (at, pool) in pools.iter().enumerate().take(CONNECTIONS) {
        let (mut caller, path) = (plane.caller().await?, plane.pool(pool));
        tasks.spawn(async move {
            let mut times = Histogram::default();
            let mut calls = 0;
            while began.elapsed() < WINDOW {
                let one = Instant::now();
                caller.call("PATCH", &path, Some(&change(at, calls))).await?;
                times.record(one.elapsed());
                calls += 1;
            }
            anyhow::Ok(times)
        });
    }
    let (mut calls, mut slowest) = (0, Duration::ZERO);
    while let Some(done) = tasks.join_next().await {
        let done = done??;
        calls += done.total();
        slowest = slowest.max(done.percentile(0.99));
    }
    let rate = calls as f64 / began.elapsed().as_secs_f64();
    figure(row, &format!("PATCH by {CONNECTIONS} at once"), rate, "calls/s", "");
    figure(row, "p99 of the slowest of them", slowest.as_secs_f64() * 1e3, "ms", "");
    Ok(())
}
