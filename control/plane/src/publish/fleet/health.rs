//! What the monitors of the attached edges say of origins, taken together.
//!
//! An edge costs an octet for each origin, so that a thousand edges of fifty thousand origins take
//! fifty megabytes.

use control_api::publish::OriginReport;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Origins that are kept: more than edges take are no origins of theirs.
const ORIGINS_MAX: usize = 1_000_000;
/// Bytes of a reason that are kept.
const REASON_BYTES_MAX: usize = 200;

/// What an edge says of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Well,
    Ill,
}

/// What all edges say of an origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginHealth {
    /// Edges that find it well.
    pub well: u32,
    /// Edges that find it ill.
    pub ill: u32,
    /// Why it is ill, in the words of the edge that said so last.
    pub reason: String,
    /// What the last probe that told took, in microseconds.
    pub rtt_us: Option<u64>,
}

/// The origins of each pool by address, and what each edge said of them.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pools: BTreeMap<Arc<str>, BTreeMap<Box<str>, usize>>,
    rows: Vec<OriginHealth>,
    free: Vec<usize>,
    edges: BTreeMap<String, Vec<Told>>,
}

impl Health {
    /// Takes up what an edge says. `is_there` tells whether the pool has the origin.
    pub(crate) fn report(
        &mut self,
        edge: &str,
        origins: &[OriginReport],
        is_there: impl Fn(&str, &str) -> bool,
    ) {
        for origin in origins {
            let address = same(&origin.address);
            let known = self.pools.get(origin.pool.as_str());
            let row = known.and_then(|origins| origins.get(address.as_str())).copied();
            let row = match row {
                Some(row) => row,
                None if !is_there(&origin.pool, &address) => continue,
                None => match self.free.pop() {
                    Some(row) => self.keep(origin, &address, row),
                    None if self.rows.len() >= ORIGINS_MAX => continue,
                    None => {
                        self.rows.push(OriginHealth::default());
                        self.keep(origin, &address, self.rows.len() - 1)
                    }
                },
            };
            self.tell(edge, row, origin);
        }
    }

    fn keep(&mut self, origin: &OriginReport, address: &str, row: usize) -> usize {
        let pool = self.pools.entry(origin.pool.as_str().into()).or_default();
        pool.insert(address.into(), row);
        row
    }

    fn tell(&mut self, edge: &str, at: usize, origin: &OriginReport) {
        let new = match origin.healthy {
            None => Told::Nothing,
            Some(true) => Told::Well,
            Some(false) => Told::Ill,
        };
        if !self.edges.contains_key(edge) {
            self.edges.insert(edge.to_owned(), Vec::new());
        }
        let (Some(told), Some(row)) = (self.edges.get_mut(edge), self.rows.get_mut(at)) else {
            return;
        };
        if told.len() <= at {
            told.resize(at + 1, Told::Nothing);
        }
        let Some(told) = told.get_mut(at) else { return };
        row.take(std::mem::replace(told, new));
        row.give(new);
        if new == Told::Ill {
            let most = origin.reason.floor_char_boundary(REASON_BYTES_MAX);
            origin.reason.get(..most).unwrap_or_default().clone_into(&mut row.reason);
        }
        row.rtt_us = origin.rtt_us.or(row.rtt_us);
    }

    /// An edge has gone: what it said does not count.
    pub(crate) fn forget_edge(&mut self, edge: &str) {
        let told = self.edges.remove(edge).unwrap_or_default();
        self.rows.iter_mut().zip(told).for_each(|(row, told)| row.take(told));
    }

    /// A pool has other origins since then: `is_there` tells which.
    pub(crate) fn forget_origins(&mut self, pool: &str, is_there: impl Fn(&str) -> bool) {
        let Some(origins) = self.pools.get_mut(pool) else { return };
        let mut gone = Vec::new();
        origins.retain(|address, row| {
            let stays = is_there(address);
            if !stays {
                gone.push(*row);
            }
            stays
        });
        if origins.is_empty() {
            self.pools.remove(pool);
        }
        for at in gone {
            self.rows.get_mut(at).into_iter().for_each(|row| *row = OriginHealth::default());
            let told = self.edges.values_mut().filter_map(|told| told.get_mut(at));
            told.for_each(|told| *told = Told::Nothing);
            self.free.push(at);
        }
    }

    /// What is known of an origin.
    pub(crate) fn of(&self, pool: &str, address: &str) -> Option<&OriginHealth> {
        self.rows.get(*self.pools.get(pool)?.get(same(address).as_str())?)
    }
}

impl OriginHealth {
    fn take(&mut self, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Well => self.well = self.well.saturating_sub(1),
            Told::Ill => self.ill = self.ill.saturating_sub(1),
        }
    }

    fn give(&mut self, told: Told) {
        match told {
            Told::Nothing => {}
            Told::Well => self.well += 1,
            Told::Ill => self.ill += 1,
        }
    }

    /// Whether the greater part of the edges that know finds it well; none where none knows.
    #[must_use]
    pub fn healthy(&self) -> Option<bool> {
        (self.well + self.ill > 0).then_some(self.well > self.ill)
    }
}

/// An address in one spelling.
pub(crate) fn same(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(ip) => ip.to_string(),
        Err(_) => address.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(address: &str, healthy: Option<bool>, reason: &str) -> OriginReport {
        OriginReport {
            pool: "p".into(),
            origin: "o".into(),
            address: address.into(),
            healthy,
            reason: reason.into(),
            rtt_us: Some(900),
        }
    }

    #[test]
    fn an_origin_is_as_well_as_most_edges_find_it() {
        let mut health = Health::default();
        let there = |pool: &str, _: &str| pool == "p";
        let of = |health: &Health| health.of("p", "::1").and_then(OriginHealth::healthy);
        health.report("a", &[report("0:0:0:0:0:0:0:1", Some(true), "")], there);
        assert_eq!(of(&health), Some(true));
        health.report("b", &[report("::1", Some(false), "TCP Timeout")], there);
        health.report("c", &[report("::1", Some(false), "TCP Timeout")], there);
        assert_eq!(of(&health), Some(false));
        assert_eq!(health.of("p", "::1").map(|row| row.reason.as_str()), Some("TCP Timeout"));
        health.forget_edge("b");
        health.forget_edge("c");
        assert_eq!(of(&health), Some(true), "edges that went do not count");
        health.report("a", &[report("::1", None, "")], there);
        assert_eq!(of(&health), None, "nobody knows");
    }

    #[test]
    fn what_is_no_origin_is_not_kept_and_what_went_makes_room() {
        let mut health = Health::default();
        health.report("a", &[report("192.0.2.1", Some(true), "")], |_, _| false);
        assert_eq!((health.rows.len(), health.of("p", "192.0.2.1")), (0, None));
        for address in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            health.report("a", &[report(address, Some(false), "no")], |_, _| true);
            health.forget_origins("p", |_| false);
        }
        assert_eq!((health.rows.len(), health.pools.len()), (1, 0));
        health.report("b", &[report("192.0.2.4", Some(true), "")], |_, _| true);
        let row = health.of("p", "192.0.2.4").map(|row| (row.well, row.ill));
        assert_eq!(row, Some((1, 0)), "what was said of another one is forgotten");
    }
}
