//! How this edge is doing, for its control planes: counts, and what its monitors say of the origins
//! of published pools.

use crate::live::{Health, LiveTable, OriginLive};
use crate::panics;
use arc_swap::ArcSwap;
use control_api::publish::{Change, ItemKind, Items, Numbers, OriginReport, Report};
use core_model::Snapshot;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Origins in one report: some 300 KiB, far below the longest message.
pub(super) const REPORT_ORIGINS: usize = 2_000;

/// Pool, origin and address.
type Place = (String, String, String);

/// Makes reports. Clones are the same reporter.
#[derive(Clone, Debug)]
pub struct Reporter {
    live: Arc<LiveTable>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Names of published pools here, by the ids of their items.
    names: BTreeMap<Arc<str>, String>,
    /// What was told of each origin.
    told: BTreeMap<Place, (Health, String)>,
}

#[derive(serde::Deserialize)]
struct Named {
    name: String,
}

impl Reporter {
    /// A reporter of what is live and in force.
    #[must_use]
    pub fn new(live: Arc<LiveTable>, snapshot: Arc<ArcSwap<Snapshot>>, items: &Items) -> Self {
        let reporter = Self { live, snapshot, inner: Arc::default() };
        let all: Vec<_> = items.iter().map(Change::Put).collect();
        reporter.changed(&all);
        reporter
    }

    /// Takes up what was put in force.
    pub fn changed(&self, changes: &[Change]) {
        let mut inner = self.lock();
        for change in changes.iter().filter(|change| change.key().kind == ItemKind::Pool) {
            let id = change.key().id.clone();
            let named = match change {
                Change::Put(item) => serde_json::from_str::<Named>(item.body.get()).ok(),
                Change::Remove(_) => None,
            };
            match named {
                Some(named) => drop(inner.names.insert(id, named.name)),
                None => drop(inner.names.remove(&id)),
            }
        }
    }

    /// Tells all origins the next time: who listens is another one.
    pub(super) fn forget(&self) {
        self.lock().told.clear();
    }

    /// How this edge is doing, with the origins whose health is another than was told.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let snapshot = self.snapshot.load();
        let ids: BTreeMap<&str, &Arc<str>> =
            inner.names.iter().map(|(id, name)| (name.as_str(), id)).collect();
        let (mut told, mut origins) = (BTreeMap::new(), Vec::new());
        for pool in snapshot.config.pools.iter().filter(|pool| pool.monitor.is_some()) {
            let Some(id) = ids.get(&*pool.name) else { continue };
            let all = pool.origins.iter().zip(self.live.state_of(pool).origins);
            for (origin, live) in all.filter(|(origin, _)| origin.enabled) {
                let address = origin.address.to_string();
                let place = (id.to_string(), origin.name.to_string(), address);
                let said = (live.health(), reason(&live));
                if inner.told.get(&place) != Some(&said) {
                    origins.push(row(&place, &said, &live));
                }
                told.insert(place, said);
            }
        }
        inner.told = told;
        Report { numbers: self.numbers(), origins }
    }

    /// What this process counted since it began.
    pub(super) fn numbers(&self) -> Numbers {
        let mut numbers = Numbers { panics: panics::total(), ..Numbers::default() };
        for (_, listener) in self.live.listeners() {
            // The first class is what precedes an answer.
            let replies = |class: usize| {
                listener.sum(|s| s.replies.get(class).map_or(0, crate::metrics::Counter::get))
            };
            numbers.requests += (1..5).map(replies).sum::<u64>();
            numbers.errors += replies(4);
        }
        let pools = self.live.pools();
        numbers.active = pools.iter().map(|(_, p)| u64::from(p.active.load(Relaxed))).sum();
        numbers
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reason(live: &OriginLive) -> String {
    // Failed requests leave a reason, too, which says nothing against a probe that succeeded.
    if live.health() == Health::Unhealthy { live.reason() } else { String::new() }
}

fn row(place: &Place, (health, reason): &(Health, String), live: &OriginLive) -> OriginReport {
    let (pool, origin, address) = place.clone();
    let rtt_us = live.probe_rtt_us.load(Relaxed);
    OriginReport {
        pool,
        origin,
        address,
        healthy: match health {
            Health::Unknown => None,
            Health::Healthy => Some(true),
            Health::Unhealthy => Some(false),
        },
        reason: reason.clone(),
        rtt_us: (rtt_us != 0).then_some(rtt_us),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::fixture;
    use control_api::publish::{Item, ItemKey};
    use serde_json::json;

    /// Origins and their health in the next report.
    #[track_caller]
    fn check(reporter: &Reporter, what: &str, expect: &[(&str, Option<bool>, &str)]) {
        let report = reporter.report();
        let told: Vec<_> = report
            .origins
            .iter()
            .map(|row| {
                assert_eq!(row.pool, "id-of-shop");
                (row.origin.as_str(), row.healthy, row.reason.as_str())
            })
            .collect();
        assert_eq!(told, expect, "{what}");
    }

    #[test]
    fn a_report_tells_origins_of_published_pools_whose_health_is_another() {
        let config = fixture::config();
        let live = Arc::new(LiveTable::new(1));
        let current = Arc::new(ArcSwap::from_pointee(Snapshot::first(config.clone())));
        let reporter = Reporter::new(live.clone(), current, &Items::default());
        let pool = config.pools.first().unwrap();
        let [a, b] =
            [0, 1].map(|at| crate::live::origin_of(&live, pool, pool.origins.get(at).unwrap()));
        check(&reporter, "a pool of the file is nobody else's business", &[]);
        let key = ItemKey { kind: ItemKind::Pool, id: "id-of-shop".into() };
        let item = Item::new(key.clone(), &json!({ "name": "shop" })).unwrap();
        reporter.changed(&[Change::Put(item)]);
        a.set_health(Health::Healthy, "", 1, false);
        let all = [("a", Some(true), ""), ("b \"2\"", None, "")];
        check(&reporter, "all of them at first", &all);
        check(&reporter, "nothing is new", &[]);
        a.set_reason("a request failed");
        check(&reporter, "the reason of a request", &[]);
        b.set_health(Health::Unhealthy, "no answer", 2, false);
        check(&reporter, "one fell ill", &[("b \"2\"", Some(false), "no answer")]);
        reporter.forget();
        let all = [("a", Some(true), ""), ("b \"2\"", Some(false), "no answer")];
        check(&reporter, "all of them to another plane", &all);
        reporter.changed(&[Change::Remove(key)]);
        reporter.forget();
        check(&reporter, "it is published no more", &[]);
    }
}
