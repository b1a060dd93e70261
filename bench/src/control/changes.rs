//! The row `changes`: from the call that changes a pool until every edge has acknowledged it.

use super::edges::Edges;
use super::plane::{Plane, change};
use super::{Options, figure, times};
use crate::histogram::Histogram;
use crate::machine::{self, Places};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::{Duration, Instant};

/// Pools, and hosts, of the store.
const OBJECTS: usize = 100;
/// Changes before those that count.
const WARM: usize = 10;
/// Between two changes: nothing of the one before is under way.
const PAUSE: Duration = Duration::from_millis(50);
/// From the last connection until memory is read: hellos and first reports are over.
const SETTLE: Duration = Duration::from_secs(5);
const ROW: &str = "changes";

/// Measures and prints.
///
/// # Errors
/// An edge or the plane fails.
pub(super) async fn measure(options: &Options, places: &Places, weir: &Path) -> Result<()> {
    let plane = Plane::start(places, weir, false).await?;
    let pools = plane.objects(OBJECTS).await?;
    let began = Instant::now();
    let mut edges = Edges::join(options.edges, &plane.join_token()?).await?;
    let joined = began.elapsed().as_secs_f64() / options.edges as f64;
    tokio::time::sleep(SETTLE).await;
    let before = machine::pss_kib(plane.pid())?;
    let began = Instant::now();
    edges.attach().await?;
    let attached = began.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let held = machine::pss_kib(plane.pid())?.saturating_sub(before);
    let (idle, began) = (machine::cpu_of_process(plane.pid())?, Instant::now());
    tokio::time::sleep(SETTLE * 2).await;
    let idle = (machine::cpu_of_process(plane.pid())? - idle).div_duration_f64(began.elapsed());
    let count = edges.count();
    figure(ROW, "join of an edge", joined * 1e3, "ms", "");
    figure(ROW, &format!("{count} edges attached after"), attached, "s", "");
    figure(ROW, "memory of the plane for an edge (Pss)", held as f64 / count as f64, "KiB", "");
    figure(ROW, "CPU of the plane while nothing changes", idle * 1e3, "ms/s", "");
    let mut caller = plane.caller().await?;
    let (mut all, mut last, mut calls) =
        (Histogram::default(), Histogram::default(), Histogram::default());
    let (mut cpu, mut since) = (Duration::ZERO, Instant::now());
    for number in 0..WARM + options.changes {
        tokio::time::sleep(PAUSE).await;
        // Each time around, a pool gets the next weight.
        let (at, weight) = (number % OBJECTS, number / OBJECTS + 1);
        let pool = pools.get(at).context("a pool")?;
        if number == WARM {
            (cpu, since) = (machine::cpu_of_process(plane.pid())?, Instant::now());
        }
        let began = Instant::now();
        let (path, body) = (plane.pool(pool), change(at, weight));
        let call = async {
            caller.call("PATCH", &path, Some(&body)).await?;
            anyhow::Ok(began.elapsed())
        };
        let (call, had) = tokio::join!(call, all_had(&mut edges));
        let (call, had) = (call?, had?);
        if number < WARM {
            continue;
        }
        calls.record(call);
        had.iter().for_each(|at| all.record(at.duration_since(began)));
        last.record(had.iter().max().map_or(Duration::ZERO, |at| at.duration_since(began)));
    }
    let cpu = (machine::cpu_of_process(plane.pid())? - cpu).as_secs_f64();
    // What it takes while nothing changes was taken in this time too.
    let cpu = cpu - idle * since.elapsed().as_secs_f64();
    let goal = "goal 200";
    times(ROW, "from the call until an edge has acknowledged", &all, goal);
    times(ROW, "from the call until the last edge has", &last, goal);
    times(ROW, "the call itself", &calls, "");
    let each = cpu * 1e3 / options.changes as f64;
    figure(ROW, &format!("CPU of the plane for a change to {count}"), each, "ms", "");
    Ok(())
}

/// When each edge had the next snapshot.
async fn all_had(edges: &mut Edges) -> Result<Vec<Instant>> {
    let mut had = Vec::with_capacity(edges.count());
    let mut generation = None;
    while had.len() < edges.count() {
        let one = edges.next().await?;
        anyhow::ensure!(*generation.get_or_insert(one.generation) == one.generation, "two changes");
        had.push(one.at);
    }
    Ok(had)
}
