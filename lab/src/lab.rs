//! A run: the network, its servers and what runs on them; and what can be done to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::config::{self, Fleet, State};
use crate::fault::flood::{Flood, Kind};
use crate::fault::loss::Loss;
use crate::fault::relay::{Disturbance, Relay};
use crate::guard::Guard;
use crate::network::{Network, SERVERS_AT_FIRST, server_name};
use crate::origin;
use crate::server::{Programs, Server, Site};
use crate::setup::{Cookies, Setup, Tables, Way};
use crate::step::Step;
use crate::traffic::{Traffic, tls};
use crate::wire;

/// What `Disturb` does: within the bound after which datagrams are sent again, and enough that
/// segments of one round overtake each other.
const DISTURBANCE: Disturbance = Disturbance {
    delay: Duration::from_millis(2),
    jitter: Duration::from_millis(15),
    duplicate: 20,
};

/// A running lab.
#[derive(Debug)]
pub struct Lab {
    /// The namespaces.
    pub network: Network,
    /// The servers, the spare included; server 1 first.
    pub servers: Vec<Server>,
    /// What TLS clients believe.
    pub trust: Arc<rustls::ClientConfig>,
    /// What steps have told: packets dropped, sent, held.
    pub notes: Vec<String>,
    setup: Setup,
    fleet: Fleet,
    spread: Vec<(u16, u8)>,
    reasons: BTreeMap<String, u64>,
    loss: Option<Loss>,
    relay: Option<Relay>,
    flood: Option<Flood>,
    // Last, so that the guard cleans up after everything else is dropped.
    _guard: Guard,
}

impl Lab {
    /// Makes the network and starts everything on the first servers.
    ///
    /// # Errors
    /// When rights, tools or programs are missing.
    pub fn up(programs: &Programs, setup: Setup) -> Result<Self> {
        let guard = Guard::start(&programs.lab)?;
        let network = Network::make(guard.run(), &setup)?;
        origin::start(&network.origin)?;
        let identity = rcgen::generate_simple_self_signed([tls::HOST.to_owned()])
            .context("making the lab's certificate")?;
        let (certificate, key) = (guard.folder().join("lab.crt"), guard.folder().join("lab.key"));
        std::fs::write(&certificate, identity.cert.pem())?;
        std::fs::write(&key, identity.signing_key.serialize_pem())?;
        let trust = tls::trust(identity.cert.der().clone())?;
        if setup.tables != Tables::TwoSlot {
            wire::watch(&network.router, setup.outer_v6)?;
        }
        let mut servers = Vec::new();
        for (id, space) in (1..).zip(&network.servers) {
            if setup.cookies != Cookies::Off {
                // Cookies for every SYN, and timestamps in which they may carry options.
                space.set(&[("ipv4/tcp_syncookies", "2"), ("ipv4/tcp_timestamps", "2")])?;
            }
            let site = Site {
                sockets: network.sockets.get(servers.len()).cloned(),
                proxy: config::proxy(&certificate, &key),
                joined: setup.joined,
            };
            let folder = guard.folder();
            servers.push(Server::new(id, space.clone(), site, &folder, programs.clone())?);
        }
        let first = 1..=SERVERS_AT_FIRST;
        let fleet = Fleet {
            members: first.clone().map(|id| (id, State::Active)).collect(),
            setup,
            wary: false,
            resized: false,
        };
        let mut lab = Self {
            network,
            servers,
            trust,
            notes: Vec::new(),
            setup,
            fleet,
            spread: Vec::new(),
            reasons: BTreeMap::new(),
            loss: None,
            relay: None,
            flood: None,
            _guard: guard,
        };
        lab.start(&first.clone().collect::<Vec<_>>())?;
        lab.spread = match setup.way {
            Way::Routed => vec![(1, 1)],
            Way::Directed => first.map(|id| (id, 1)).collect(),
        };
        if setup.way == Way::Directed {
            lab.agree()?;
        }
        lab.network.spread(&lab.spread)?;
        Ok(lab)
    }

    /// Starts everything on servers, and waits until it serves.
    fn start(&mut self, ids: &[u16]) -> Result<()> {
        let fleet = (self.setup.way == Way::Directed).then(|| self.fleet.clone());
        if let Some(fleet) = &fleet {
            // What takes longest begins first.
            ids.iter().try_for_each(|id| self.server(*id)?.spawn_packet(fleet))?;
        }
        for id in ids {
            let server = self.server(*id)?;
            server.start_proxy()?;
            server.start_service()?;
        }
        if fleet.is_some() {
            ids.iter().try_for_each(|id| self.server(*id)?.wait_packet())?;
        }
        ids.iter().try_for_each(|id| self.server(*id)?.wait_proxy())
    }

    /// A server by its id.
    ///
    /// # Errors
    /// When there is none of that id.
    pub fn server(&mut self, id: u16) -> Result<&mut Server> {
        let at = usize::from(id).checked_sub(1).context("servers begin at 1")?;
        self.servers.get_mut(at).with_context(|| format!("no server {id}"))
    }

    /// The state of each server that the tables know.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<u16, State> {
        &self.fleet.members
    }

    /// Does one thing.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn apply(&mut self, step: Step, traffic: &Traffic) -> Result<()> {
        self.perform(step, traffic).with_context(|| format!("{step:?}"))
    }

    fn perform(&mut self, step: Step, traffic: &Traffic) -> Result<()> {
        match step {
            Step::Rounds(more) => traffic.rounds(more),
            Step::Leave(id) => traffic.leave(id),
            Step::Add(id) => self.add(id),
            Step::Drain(id) => self.change(id, State::Draining),
            Step::Undrain(id) => self.change(id, State::Active),
            Step::Remove(id) => self.remove(id),
            Step::Crash(id) => self.crash(id, traffic),
            Step::Rehash => self.rehash(),
            Step::KillLoaders => self.living(|server| server.kill_packet()),
            Step::StartLoaders => self.start_loaders(),
            Step::UpgradeLoaders => {
                self.living(|server| server.stop_packet())?;
                self.start_loaders()
            }
            Step::ResizeMaps => self.resize_maps(),
            Step::SwapTables(times) => self.swap_tables(times),
            Step::Lose(thousandths) => self.lose(thousandths),
            Step::Disturb => {
                self.relay = Some(Relay::start(&self.network.router, DISTURBANCE)?);
                Ok(())
            }
            Step::Flood => self.flood(Kind::Mixed),
            Step::FloodSyns => self.flood(Kind::Syns),
            Step::Cookies => {
                self.fleet.wary = true;
                self.publish()
            }
            Step::Renew => traffic.renew(),
            Step::Calm => self.calm(),
            Step::UpgradeProxies => self.at_once(Server::upgrade_proxy).map(drop),
        }
    }

    /// Does something on every server that lives and is in the tables.
    fn living(&mut self, mut work: impl FnMut(&mut Server) -> Result<()>) -> Result<()> {
        let ids: Vec<u16> = self.alive();
        ids.into_iter().try_for_each(|id| work(self.server(id)?))
    }

    fn alive(&self) -> Vec<u16> {
        let members = self.fleet.members.iter();
        members.filter(|(_, state)| **state != State::Dead).map(|(id, _)| *id).collect()
    }

    /// Gives every living server the tables of the fleet as it is, and waits until all have them.
    fn publish(&mut self) -> Result<()> {
        let fleet = self.fleet.clone();
        self.at_once(|server| server.reload_packet(&fleet))?;
        self.agree().map(drop)
    }

    /// Looks whether the tables of all living servers are the same; gives how often each has
    /// written tables.
    fn agree(&self) -> Result<Vec<u64>> {
        let tables = self.at_once(Server::table)?;
        match tables.split_first() {
            Some(((first, _), rest)) if rest.iter().any(|(table, _)| table != first) => {
                bail!("servers have different tables: {tables:?}")
            }
            _ => Ok(tables.into_iter().map(|(_, written)| written).collect()),
        }
    }

    fn add(&mut self, id: u16) -> Result<()> {
        self.fleet.members.insert(id, State::Active);
        // It serves before others send to it.
        self.start(&[id])?;
        self.publish()?;
        self.spread.push((id, 1));
        self.network.spread(&self.spread)
    }

    fn change(&mut self, id: u16, state: State) -> Result<()> {
        let member = self.fleet.members.get_mut(&id);
        *member.with_context(|| format!("server {id} is not in the tables"))? = state;
        self.publish()
    }

    fn remove(&mut self, id: u16) -> Result<()> {
        self.spread.retain(|(other, _)| *other != id);
        self.network.spread(&self.spread)?;
        self.count(id)?;
        self.fleet.members.remove(&id);
        self.publish()?;
        self.server(id)?.kill_all()
    }

    fn crash(&mut self, id: u16, traffic: &Traffic) -> Result<()> {
        self.count(id)?;
        // The link first, as in a power cut: a kernel that lives on would refuse new connections.
        self.network.link(id, false)?;
        traffic.ledger.kill(id);
        self.server(id)?.kill_all()?;
        self.spread.retain(|(other, _)| *other != id);
        self.change(id, State::Dead)?;
        self.network.spread(&self.spread)
    }

    fn rehash(&mut self) -> Result<()> {
        // Another server is first, and weights change: most flows enter by another server.
        self.spread.rotate_left(1);
        for (at, (_, weight)) in self.spread.iter_mut().enumerate() {
            *weight = 1 + (*weight + at as u8) % 3;
        }
        self.network.spread(&self.spread)
    }

    fn start_loaders(&mut self) -> Result<()> {
        let fleet = self.fleet.clone();
        self.living(|server| server.spawn_packet(&fleet))?;
        self.living(|server| server.wait_packet())?;
        self.agree().map(drop)
    }

    /// Gives each server maps of other sizes: every other one by a new process, the rest by a
    /// reload. Their tables must then have been written anew, and be the same.
    fn resize_maps(&mut self) -> Result<()> {
        let before = self.agree()?;
        self.fleet.resized = true;
        let fleet = self.fleet.clone();
        let (reloaded, replaced): (Vec<u16>, Vec<u16>) =
            self.alive().into_iter().partition(|id| id % 2 == 0);
        for id in &replaced {
            self.server(*id)?.stop_packet()?;
            self.server(*id)?.spawn_packet(&fleet)?;
        }
        reloaded.iter().try_for_each(|id| self.server(*id)?.reload_packet(&fleet))?;
        replaced.iter().try_for_each(|id| self.server(*id)?.wait_packet())?;
        let after = self.agree()?;
        match before.iter().zip(&after).all(|(before, after)| before < after) {
            true => Ok(()),
            false => bail!("tables were taken over into maps of other sizes: {before:?} {after:?}"),
        }
    }

    fn flood(&mut self, kind: Kind) -> Result<()> {
        self.flood = Some(Flood::start(&self.network.router, kind)?);
        Ok(())
    }

    /// Does something on every living server at once, where each would wait for its turn on the
    /// machine.
    fn at_once<T: Send>(&self, work: impl Fn(&Server) -> Result<T> + Sync) -> Result<Vec<T>> {
        let (living, work) = (self.alive(), &work);
        thread::scope(|scope| {
            let servers = self.servers.iter().filter(|server| living.contains(&server.id));
            let threads: Vec<_> = servers.map(|server| scope.spawn(move || work(server))).collect();
            let done = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("work on a server panicked"))?);
            done.collect()
        })
    }

    fn swap_tables(&mut self, times: u16) -> Result<()> {
        let Some(last) = self.alive().pop() else { return Ok(()) };
        for time in 0..times {
            let state = if time % 2 == 0 { State::Draining } else { State::Active };
            self.change(last, state)?;
        }
        Ok(())
    }

    fn lose(&mut self, thousandths: u16) -> Result<()> {
        let mut links = vec!["c1".to_owned(), "c2".to_owned()];
        links.extend(self.alive().into_iter().map(server_name));
        let percent = f64::from(thousandths) / 10.0;
        self.loss = Some(Loss::start(&self.network.router, &links, percent)?);
        Ok(())
    }

    fn calm(&mut self) -> Result<()> {
        if let Some(loss) = self.loss.take() {
            self.notes.push(format!("{} lost", loss.stop()?));
        }
        if let Some(relay) = self.relay.take() {
            let done = relay.stop()?;
            let (late, twice) = (done.overtook, done.duplicated);
            self.notes.push(format!("{} held, {late} overtook, {twice} twice", done.packets));
        }
        if let Some(flood) = self.flood.take() {
            self.notes.push(format!("{} of the flood", flood.stop()?));
        }
        Ok(())
    }

    /// Adds the counters of a server that goes away to the sums.
    fn count(&mut self, id: u16) -> Result<()> {
        if self.setup.way == Way::Directed {
            let counters = self.server(id)?.reasons()?;
            counters.into_iter().for_each(|(word, packets)| {
                *self.reasons.entry(word).or_default() += packets;
            });
        }
        Ok(())
    }

    /// Packets by reason, over all servers that were there, and on the wire between them where that
    /// is watched.
    ///
    /// # Errors
    /// When a server does not tell.
    pub fn reasons(&mut self) -> Result<BTreeMap<String, u64>> {
        let before = self.reasons.clone();
        for id in self.alive() {
            self.count(id)?;
        }
        if self.setup.tables != Tables::TwoSlot {
            self.reasons.extend(wire::counted(&self.network.router, self.setup.outer_v6)?);
        }
        Ok(std::mem::replace(&mut self.reasons, before))
    }
}
