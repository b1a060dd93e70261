//! What the demo of a fleet shows by itself, once: a change by the API that moves traffic on all
//! edges, and a control plane that is killed and comes back.

use super::api::{Api, Objects, POOLS};
use super::place::EdgeAt;
use super::{Running, blocking};
use crate::demo::tally::say;
use anyhow::{Context, bail};
use serde_json::json;
use std::time::{Duration, Instant};

/// From one step to the next: some lines of progress.
const PAUSE: Duration = Duration::from_secs(3);
/// How long edges may take to follow a change, and to notice a plane that ended or came back:
/// many times what they take.
const SOON: Duration = Duration::from_secs(20);
/// How often an edge is asked. Short beside what is measured.
const STEP: Duration = Duration::from_millis(2);
/// Between two looks at what an edge tells of itself.
const LOOK: Duration = Duration::from_millis(50);

/// Shows all of it.
///
/// # Errors
/// What did not happen in time.
pub(super) async fn all(running: &Running<'_>) -> anyhow::Result<()> {
    tokio::time::sleep(PAUSE).await;
    switch(running, false).await?;
    tokio::time::sleep(PAUSE).await;
    switch(running, true).await?;
    tokio::time::sleep(PAUSE).await;
    outage(running).await?;
    say("That was all that the demo does by itself; the API is yours.");
    Ok(())
}

/// Switches the first pool on or off, and measures when the traffic of each edge has followed.
async fn switch(running: &Running<'_>, enabled: bool) -> anyhow::Result<()> {
    let [(blue, _), (green, _)] = POOLS;
    let to = if enabled { 0 } else { 1 };
    let (api, objects) = (running.api.clone(), running.objects.clone());
    let edges = running.place.edges.clone();
    let times = blocking(move || moved(&api, &objects, &edges, enabled, to)).await?;
    let word = if enabled { "on again" } else { "off" };
    let target = if enabled { blue } else { green };
    let times: Vec<_> = running
        .place
        .edges
        .iter()
        .zip(times)
        .map(|(edge, time)| format!("{} {} ms", edge.name, time.as_millis()))
        .collect();
    say(&format!(
        "show: PATCH {{\"enabled\":{enabled}}} switches pool {blue} {word}: from the call until \
         requests go to {target}, {}",
        times.join(", ")
    ));
    Ok(())
}

/// Makes the call; gives for each edge the time from then until requests go to another pool.
fn moved(
    api: &Api,
    objects: &Objects,
    edges: &[EdgeAt],
    enabled: bool,
    to: usize,
) -> anyhow::Result<Vec<Duration>> {
    let Objects { account, pools, .. } = objects;
    let pool = pools.first().context("a pool")?;
    let path = format!("/accounts/{account}/load_balancers/pools/{pool}");
    let began = Instant::now();
    std::thread::scope(|scope| {
        let waiting: Vec<_> =
            edges.iter().map(|edge| scope.spawn(move || follows(edge, began, to))).collect();
        api.call("PATCH", &path, Some(&json!({"enabled": enabled})))?;
        let ended = waiting.into_iter().map(|thread| match thread.join() {
            Ok(time) => time,
            Err(_) => bail!("a client of the demo panicked"),
        });
        ended.collect()
    })
}

/// Asks an edge until an origin of the pool answers; gives the time since `began`.
fn follows(edge: &EdgeAt, began: Instant, to: usize) -> anyhow::Result<Duration> {
    let (name, members) = POOLS.get(to).context("a pool")?;
    loop {
        match edge.asked() {
            Ok(origin) if members.contains(&origin) => return Ok(began.elapsed()),
            Ok(_) => {}
            Err(what) => bail!("{}: {what}", edge.name),
        }
        if began.elapsed() > SOON {
            bail!("{}: no request goes to {name} within {} s", edge.name, SOON.as_secs());
        }
        std::thread::sleep(STEP);
    }
}

/// Kills a control plane, and starts it again.
async fn outage(running: &Running<'_>) -> anyhow::Result<()> {
    let planes = &running.place.planes;
    let plane = planes.first().context("a control plane")?;
    let pid = running.children.pid(&plane.name).unwrap_or(0);
    let program = running.children.kill(&plane.name)?;
    let alone = planes.len() == 1;
    let began = Instant::now();
    let killed = format!("show: {} (pid {pid}) is killed", plane.name);
    if alone {
        attached(running, false).await?;
        say(&format!("{killed}: nobody can change anything, and the edges serve on"));
    } else {
        // The loss is noticed at once; what takes time is to attach to the other one.
        tokio::time::sleep(LOOK * 4).await;
        attached(running, true).await?;
        let ms = began.elapsed().as_millis();
        say(&format!("{killed}: all edges follow the other one after at most {ms} ms"));
    }
    tokio::time::sleep(PAUSE).await;
    let began = Instant::now();
    let pid = running.children.start(&program)?;
    running.ready(&plane.name, &running.of(plane)).await?;
    let ms = began.elapsed().as_millis();
    attached(running, true).await?;
    let all = began.elapsed().as_millis();
    say(&format!(
        "show: {} (pid {pid}) was started again: it serves after {ms} ms, and all edges follow a \
         control plane after {all} ms",
        plane.name
    ));
    Ok(())
}

/// Waits until every edge follows a plane, or until none does.
async fn attached(running: &Running<'_>, wanted: bool) -> anyhow::Result<()> {
    let until = Instant::now() + SOON;
    loop {
        let edges = running.place.edges.clone();
        let all = blocking(move || {
            let is = |edge: &EdgeAt| edge.told().is_some_and(|told| told.connected == wanted);
            edges.iter().all(is)
        });
        if all.await {
            return Ok(());
        }
        if Instant::now() > until {
            let what = if wanted { "follow" } else { "miss" };
            bail!("the edges do not all {what} a control plane within {} s", SOON.as_secs());
        }
        tokio::time::sleep(LOOK).await;
    }
}
