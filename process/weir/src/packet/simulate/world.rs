//! What happens to the servers of a simulated fleet, and what their load is.
//!
//! Servers crash and return, are drained for maintenance, are taken out and come back, and differ
//! in strength, of which the planner is not told. Traffic has a daily wave. Agents restart and say
//! wrong things for a minute; sometimes a third of the fleet says it is ill, since all of it has
//! too much to do.

use super::Options;
use super::trace::Trace;
use core_balance::plan::{Health, Observation};
use core_balance::rng::SplitMix64;
use core_forwarding::{Member, State, Table};

const MINUTES_A_DAY: u64 = 1_440;
/// A server crashes once in so many days on average.
const CRASH_DAYS: u64 = 60;
/// A server is taken out for maintenance once in so many days.
const DRAIN_DAYS: u64 = 30;
/// An agent restarts once in so many days.
const AGENT_DAYS: u64 = 7;
/// All of the fleet is overloaded for an hour once in so many days.
const OVERLOAD_DAYS: u64 = 2;
/// How long a maintained server drains, minutes.
const DRAIN_MINUTES: u64 = 120;
/// Load is told to the planner in these parts of its unit.
const LOAD_PARTS: f64 = 1_000_000.0;

/// What a server is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serves,
    /// Until this minute.
    Dead(u64),
    /// Until this minute.
    Drains(u64),
    /// Until this minute.
    Out(u64),
}

#[derive(Clone, Debug)]
struct Server {
    id: u16,
    /// What it can do, beside a server of strength 1.
    strength: f64,
    life: Life,
    /// Connections it has, in those that a bucket has at full traffic.
    connections: f64,
    /// Its load as measured.
    load: f64,
    agent_started: u64,
    /// Until when its agent is wrong, minutes.
    wrong_until: u64,
    wrong_since: u64,
}

impl Server {
    /// As an operator has it in the fleet, if at all.
    fn member(&self) -> Option<Member> {
        let state = match self.life {
            Life::Serves => State::Active,
            Life::Dead(_) => State::Dead,
            Life::Drains(_) => State::Draining,
            Life::Out(_) => return None,
        };
        Some(Member { id: self.id, capacity: 100, state })
    }
}

/// The fleet.
pub(super) struct World {
    rng: SplitMix64,
    servers: Vec<Server>,
    trace: Option<Trace>,
    overload_until: u64,
    overload_since: u64,
    pub(super) crashes: u32,
    pub(super) drains: u32,
}

impl World {
    pub(super) fn new(servers: u16, seed: u64, trace: Option<Trace>) -> Self {
        let mut rng = SplitMix64::new(seed);
        let server = |id| Server {
            id,
            // Three generations of machines.
            strength: [1.0, 1.0, 1.5, 2.0][rng.below(4) as usize],
            life: Life::Serves,
            connections: 0.0,
            load: 0.0,
            agent_started: 0,
            wrong_until: 0,
            wrong_since: 0,
        };
        let servers = (1..=servers).map(server).collect();
        let (overload_until, overload_since) = (0, 0);
        Self { rng, servers, trace, overload_until, overload_since, crashes: 0, drains: 0 }
    }

    /// The servers that an operator has in the fleet.
    pub(super) fn members(&self) -> Vec<Member> {
        self.servers.iter().filter_map(Server::member).collect()
    }

    /// Lets time go on to `minute` under `table`, and says how much traffic there is beside the
    /// full one.
    pub(super) fn advance(&mut self, minute: u64, table: &Table, options: &Options) -> f64 {
        let step = u64::from(options.round);
        let servers = self.servers.len() as u64;
        if self.trace.is_none() && self.once_in(OVERLOAD_DAYS, step) && servers >= 10 {
            (self.overload_since, self.overload_until) = (minute, minute + 60);
        }
        let mut serving = self.servers.iter().filter(|s| s.life == Life::Serves).count();
        for index in 0..self.servers.len() {
            self.happen(index, minute, step, &mut serving);
        }
        let day = (minute % MINUTES_A_DAY) as f64 / MINUTES_A_DAY as f64;
        let traffic = match self.trace {
            Some(_) => 1.0,
            None => 0.7 - 0.3 * (day * std::f64::consts::TAU).cos(),
        };
        self.load(minute, traffic, table, options);
        traffic
    }

    /// Whether something that happens once in so many days happens within `minutes`.
    fn once_in(&mut self, days: u64, minutes: u64) -> bool {
        self.rng.below(days * MINUTES_A_DAY) < minutes
    }

    /// What happens to one server, of which so many serve.
    fn happen(&mut self, index: usize, minute: u64, step: u64, serving: &mut usize) {
        let crashes = self.once_in(CRASH_DAYS, step);
        let is_drained = self.once_in(DRAIN_DAYS, step);
        let agent_restarts = self.once_in(AGENT_DAYS, step);
        let long = 10 + self.rng.below(50);
        let few_left = *serving <= 2;
        let Some(server) = self.servers.get_mut(index) else { return };
        if agent_restarts {
            server.agent_started = minute * 60;
            (server.wrong_since, server.wrong_until) = (minute, minute + 2);
        }
        server.life = match server.life {
            Life::Serves if crashes && !few_left => {
                self.crashes += 1;
                *serving -= 1;
                server.connections = 0.0;
                Life::Dead(minute + long)
            }
            Life::Serves if is_drained && !few_left => {
                self.drains += 1;
                *serving -= 1;
                Life::Drains(minute + DRAIN_MINUTES)
            }
            Life::Drains(until) if minute >= until => {
                server.connections = 0.0;
                Life::Out(minute + long)
            }
            Life::Dead(until) | Life::Out(until) if minute >= until => Life::Serves,
            life => life,
        };
    }

    /// What each server has to do. Connections follow the table with the time they live.
    fn load(&mut self, minute: u64, traffic: f64, table: &Table, options: &Options) {
        let owned = table.owned();
        let stays = (-f64::from(options.round) / f64::from(options.life)).exp();
        let even = table.buckets().len() as f64 / self.servers.len() as f64;
        let measured = self.trace.as_mut().map(|trace| trace.at(minute).to_vec());
        for server in &mut self.servers {
            let owned = owned.get(usize::from(server.id)).copied().map_or(0.0, f64::from);
            server.connections = server.connections * stays + owned * traffic * (1.0 - stays);
            let noise = 0.99 + 0.02 * (self.rng.below(1_000) as f64 / 1_000.0);
            let strength = match &measured {
                Some(loads) => {
                    let load = loads.get(usize::from(server.id)).copied().unwrap_or(1.0);
                    1.0 / load.max(1e-6)
                }
                None => server.strength,
            };
            server.load = server.connections / even / strength * noise;
        }
    }

    /// What the planner gets to see at second `now`.
    pub(super) fn observations(&self, now: u64) -> Vec<Observation> {
        let minute = now / 60;
        let overloaded = minute < self.overload_until;
        let observe = |server: &Server| {
            let member = server.member()?;
            let wrong = minute < server.wrong_until;
            let ill = wrong || (overloaded && server.id.is_multiple_of(3));
            let since = if wrong { server.wrong_since } else { self.overload_since };
            let health =
                Health { healthy: !ill, since: since * 60, agent_started: server.agent_started };
            let load = (server.load * LOAD_PARTS) as u64;
            Some(Observation { member, health: Some(health), load: Some(load) })
        };
        self.servers.iter().filter_map(observe).collect()
    }

    /// The lowest and the highest load of servers that serve, beside the mean.
    pub(super) fn spread(&self) -> (f64, f64) {
        let serving = self.servers.iter().filter(|server| server.life == Life::Serves);
        let mut loads: Vec<f64> = serving.map(|server| server.load).collect();
        loads.sort_unstable_by(f64::total_cmp);
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        // Those that have just come or lost a neighbour would stand for all: one in a hundred is
        // left out at either end.
        let out = loads.len() / 100;
        let low = loads.get(out).copied().unwrap_or(mean);
        let high = loads.get(loads.len().saturating_sub(out + 1)).copied().unwrap_or(mean);
        (low / mean.max(1e-9), high / mean.max(1e-9))
    }
}
