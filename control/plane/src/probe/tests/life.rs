//! Health over time: results in a row, reload, names without addresses, hung origins.

use super::support::*;
use crate::probe::{PROBES_AT_ONCE, Reason};
use core_model::config::*;
use process_runtime::live::{self, Health};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

const OFTEN: Duration = Duration::from_millis(20);

fn often() -> Monitor {
    Monitor { interval: OFTEN, ..monitor(MonitorKind::Http) }
}

/// An origin that replies 200 while the switch is on and 500 while it is off.
fn switched() -> (FakeOrigin, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(true));
    let on = switch.clone();
    let origin = FakeOrigin::new(move |mut stream, _| {
        read_head(&mut stream);
        let bad = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(if on.load(SeqCst) { OK } else { bad });
    });
    (origin, switch)
}

#[tokio::test]
async fn an_origin_goes_down_and_comes_back_with_a_slow_start() {
    let (fake, switch) = switched();
    let (mut prober, table) = prober();
    let pool = pool(vec![origin("o", fake.port())]);
    prober.apply(&config(often(), vec![pool.clone()]));
    until(&prober, "healthy", |s| s[0].health == Health::Healthy).await;
    let live = live::origin_of(&table, &pool, &pool.origins[0]);
    assert_eq!(live.healthy_since_ms.load(SeqCst), 0, "the first decision needs no slow start");
    switch.store(false, SeqCst);
    let down = until(&prober, "unhealthy", |s| s[0].health == Health::Unhealthy).await;
    assert_eq!(down[0].reason, Some(Reason::ResponseCodeMismatch));
    assert_eq!(down[0].detail, "the reply was 500");
    assert_eq!(live.reason(), "Response code mismatch");
    switch.store(true, SeqCst);
    until(&prober, "healthy again", |s| s[0].health == Health::Healthy).await;
    assert!(live.healthy_since_ms.load(SeqCst) > 0);
    assert_eq!(live.reason(), "");
}

#[tokio::test]
async fn too_few_results_in_a_row_change_nothing() {
    let fake = FakeOrigin::new(|mut stream, number| {
        read_head(&mut stream);
        let bad = matches!(number, 2 | 3 | 5 | 6);
        let _ = stream.write_all(if bad { b"HTTP/1.1 500 No\r\n\r\n" } else { OK });
    });
    let (mut prober, _table) = prober();
    let three = Monitor { consecutive_down: 3, ..often() };
    prober.apply(&config(three, vec![pool(vec![origin("o", fake.port())])]));
    let first = until(&prober, "healthy", |s| s[0].health == Health::Healthy).await;
    let later = until(&prober, "ten probes", |s| s[0].probes >= 10).await;
    assert_eq!((later[0].failures, later[0].health), (4, Health::Healthy));
    assert_eq!(later[0].changed_ms, first[0].changed_ms);
}

#[tokio::test]
async fn a_reload_leaves_unchanged_targets_alone() {
    let (fake, _switch) = switched();
    let (mut prober, _table) = prober();
    let before = config(monitor(MonitorKind::Http), vec![pool(vec![origin("o", fake.port())])]);
    prober.apply(&before);
    assert!(prober.settled(BOUND).await);

    // What says nothing about probes changes, and a target joins.
    let (joins, _) = switched();
    let mut after = before.clone();
    first(&mut after).minimum_origins = 2;
    first(&mut after).origins[0].weight = 50;
    first(&mut after).origins.push(origin("q", joins.port()));
    prober.apply(&after);
    assert!(prober.settled(BOUND).await);
    let states = prober.snapshot();
    assert_eq!((states[0].probes, states[1].probes), (1, 1));
    assert_eq!((fake.connections(), joins.connections()), (1, 1));
}

#[tokio::test]
async fn a_changed_monitor_probes_at_once_and_keeps_health_until_results_change_it() {
    let fake = FakeOrigin::new(|mut stream, number| {
        if number > 0 {
            return hold(stream);
        }
        read_head(&mut stream);
        let _ = stream.write_all(OK);
    });
    let (mut prober, _table) = prober();
    let pools = vec![pool(vec![origin("o", fake.port())])];
    prober.apply(&config(monitor(MonitorKind::Http), pools.clone()));
    assert!(prober.settled(BOUND).await);
    let changed = Monitor { timeout: SHORT, ..often() };
    let twice = Monitor { consecutive_down: 2, ..changed };
    prober.apply(&config(twice, pools));
    assert_eq!(prober.snapshot()[0].health, Health::Healthy);
    assert!(prober.settled(BOUND).await);
    let states = prober.snapshot();
    assert_eq!((states[0].probes, states[0].health), (1, Health::Healthy));
    assert_eq!(states[0].reason, Some(Reason::HttpTimeout));
    until(&prober, "unhealthy", |s| s[0].health == Health::Unhealthy).await;
}

#[tokio::test]
async fn what_is_removed_or_disabled_is_probed_no_more() {
    let fakes = [switched().0, switched().0, switched().0];
    let (mut prober, _table) = prober();
    let origins = ["a", "b", "c"].iter().zip(&fakes).map(|(n, f)| origin(n, f.port())).collect();
    let mut config = config(often(), vec![pool(origins)]);
    prober.apply(&config);
    until(&prober, "probed", |s| s.iter().all(|s| s.probes > 2)).await;
    first(&mut config).origins[1].enabled = false;
    first(&mut config).origins.remove(0);
    prober.apply(&config);
    let states = prober.snapshot();
    assert_eq!(states.iter().map(|s| &*s.origin).collect::<Vec<_>>(), ["c"]);
    // One connection each may be on its way.
    let gone = [fakes[0].connections() + 1, fakes[1].connections() + 1];
    let now = states[0].probes;
    until(&prober, "the other goes on", move |s| s[0].probes > now + 10).await;
    assert!(fakes[0].connections() <= gone[0] && fakes[1].connections() <= gone[1]);

    // Enabled again, it is unknown until it is probed.
    first(&mut config).origins[0].enabled = true;
    prober.apply(&config);
    assert_eq!(prober.snapshot()[0].health, Health::Unknown);
    until(&prober, "back", |s| s[0].health == Health::Healthy).await;

    first(&mut config).enabled = false;
    prober.apply(&config);
    assert_eq!(prober.snapshot(), []);
}

#[tokio::test]
async fn an_origin_that_serves_unmonitored_serves_on_until_its_first_probe() {
    let silent = FakeOrigin::new(|stream, _| hold(stream));
    let (mut prober, table) = prober();
    let mut pool = pool(vec![origin("o", silent.port())]);
    let slow = Monitor { timeout: SHORT, ..monitor(MonitorKind::Http) };
    pool.monitor = None;
    prober.apply(&config(slow.clone(), vec![pool.clone()]));
    assert_eq!(prober.snapshot(), []);
    pool.monitor = Some(MonitorId(0));
    prober.apply(&config(slow, vec![pool.clone()]));
    let live = live::origin_of(&table, &pool, &pool.origins[0]);
    assert_eq!(live.health(), Health::Healthy);
    assert!(prober.settled(BOUND).await);
    assert_eq!(live.health(), Health::Unhealthy);
}

#[tokio::test]
async fn a_name_is_probed_as_soon_as_it_has_an_address() {
    let (fake, _switch) = switched();
    let (mut prober, table) = prober();
    let mut by_name = origin("o", 1);
    by_name.address = OriginAddress::Dns("origin.test".to_owned());
    let pool = pool(vec![by_name]);
    let monitor = Monitor {
        timeout: SHORT,
        retries: 2,
        port: Some(fake.port()),
        ..monitor(MonitorKind::Http)
    };
    prober.apply(&config(monitor, vec![pool.clone()]));
    let down = until(&prober, "unhealthy", |s| s[0].health == Health::Unhealthy).await;
    assert_eq!((down[0].reason, down[0].probes), (Some(Reason::DnsUnknownHost), 1));
    let live = live::origin_of(&table, &pool, &pool.origins[0]);
    let found: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
    live.addresses.store(Arc::new(vec![found]));
    until(&prober, "healthy", |s| s[0].health == Health::Healthy).await;
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn hung_origins_hold_up_nobody_else() {
    // Connections are made by the kernel and never answered.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let (fake, _switch) = switched();
    let hung = PROBES_AT_ONCE + 40;
    let mut origins: Vec<Origin> = (0..hung)
        .map(|i| Origin { name: format!("hung-{i}").into(), ..origin("", port) })
        .collect();
    origins.push(origin("well", fake.port()));
    let (mut prober, _table) = prober();
    prober.apply(&config(often(), vec![pool(origins)]));
    let well = move |s: &[crate::probe::ProbeState]| s[hung].probes >= 5;
    let states = until(&prober, "the one that is well is probed", well).await;
    assert_eq!((&*states[hung].origin, states[hung].health), ("well", Health::Healthy));
    assert_eq!(states.iter().filter(|s| s.probes == 0).count(), hung, "none of the hung has ended");
}

#[tokio::test]
async fn one_origin_in_two_pools_is_probed_for_each() {
    let (fake, _switch) = switched();
    let (mut prober, _table) = prober();
    let one = pool(vec![origin("o", fake.port())]);
    let two = Pool { name: "q".into(), ..one.clone() };
    prober.apply(&config(monitor(MonitorKind::Http), vec![one, two]));
    assert!(prober.settled(BOUND).await);
    let states = prober.snapshot();
    assert_eq!(states.iter().map(|s| &*s.pool).collect::<Vec<_>>(), ["p", "q"]);
    assert_eq!(fake.connections(), 2);
}
