//! Tests of the status over a live table.

use super::fixture::config;
use super::*;
use core_model::Snapshot;

fn source() -> Arc<StatusSource> {
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::first(config())));
    StatusSource::new(Arc::new(LiveTable::new(2)), snapshot, "1.2.3")
}

fn origin(source: &StatusSource, index: usize) -> Arc<OriginLive> {
    let snapshot = source.snapshot();
    let pool = snapshot.config.pools.first().unwrap();
    crate::live::origin_of(source.live(), pool, pool.origins.get(index).unwrap())
}

#[test]
fn rates_shares_and_percentiles_follow_the_counters_of_all_workers() {
    let source = source();
    source.sample();
    for (index, worker, requests) in [(0, 0, 30), (0, 1, 30), (1, 1, 20)] {
        let live = origin(&source, index);
        for _ in 0..requests {
            live.stats.shard(worker).requests.inc();
            live.stats.shard(worker).latency.record(700);
        }
    }
    let web = source.live().listener(&"web".into());
    web.shard(0).requests.add(80);
    web.shard(1).accepted.add(5);
    web.shard(1).closed.add(2);
    web.shard(0).hit(crate::metrics::Limit::UriBytes);
    source.sample();

    let status = source.status();
    let listener = &status.listeners[0];
    assert_eq!((listener.requests_per_s, listener.open, listener.requests), (80.0, 3, 80));
    assert_eq!(listener.limit_hits.get("uri_bytes"), Some(&1));
    let origins = &status.pools[0].origins;
    assert_eq!((origins[0].requests, origins[0].share), (60, 0.75));
    assert_eq!((origins[1].requests_per_s, origins[1].share), (20.0, 0.25));
    assert!((0.5..1.0).contains(&origins[0].p50_ms.unwrap()));
    assert_eq!(origins[0].history.as_ref().unwrap().requests, [60]);
    let lb = &status.load_balancers[0];
    assert_eq!((lb.routes[0].path.as_str(), lb.default.as_str()), ("/api/*", "pool shop"));
}

#[test]
fn a_change_of_health_shows_in_state_pool_and_events() {
    let source = source();
    for index in [0, 1] {
        origin(&source, index).set_health(Health::Healthy, "", now_ms(), false);
    }
    source.sample();
    origin(&source, 0).set_health(Health::Unhealthy, "connection refused", now_ms(), true);
    let until = now_ms() + 60_000;
    origin(&source, 1).ejected_until_ms.store(until, Relaxed);
    source.sample();

    let status = source.status();
    let pool = &status.pools[0];
    assert_eq!((pool.healthy, pool.healthy_origins), (false, 0));
    assert_eq!(pool.origins[0].state, OriginState::Unhealthy);
    assert_eq!(pool.origins[0].reason, "connection refused");
    assert_eq!(pool.origins[1].state, OriginState::Ejected);
    assert!(pool.origins[1].ejected_for_s.is_some_and(|s| (50..=60).contains(&s)));
    let kinds: Vec<_> = status.events.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["ejected", "unhealthy"]);
    assert!(status.events[1].text.contains("shop/a is unhealthy: connection refused"));
}

#[test]
fn a_reload_is_an_event_and_a_removed_object_leaves() {
    let source = source();
    source.sample();
    let mut config = config();
    let pools = Arc::make_mut(&mut config.pools);
    Arc::make_mut(&mut pools[0]).origins.pop();
    let next = source.snapshot().successor(config);
    source.snapshot.store(Arc::new(next));
    source.live().process.reloads_refused.inc();
    source.sample();

    let status = source.status();
    assert_eq!((status.generation, status.parent), (2, 1));
    assert_eq!(status.pools[0].origins.len(), 1);
    let kinds: Vec<_> = status.events.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["refused", "reload"]);
}

#[test]
fn phases_are_told_once() {
    let source = source();
    assert_eq!(source.phase(), Phase::Starting);
    source.set_phase(Phase::Serving);
    source.set_phase(Phase::Serving);
    source.set_phase(Phase::Draining);
    assert_eq!(source.phase(), Phase::Draining);
    assert_eq!(source.status().events.len(), 2);
}
