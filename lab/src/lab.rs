//! A run: the network, its servers and what runs on them; and what can be done to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::config::{self, Fleet, State};
use crate::fault::flood::Flood;
use crate::fault::loss::Loss;
use crate::fault::relay::{Disturbance, Relay};
use crate::guard::Guard;
use crate::network::{CLIENT_MTU, FLEET_MTU, Network, SERVERS_AT_FIRST, server_name};
use crate::origin;
use crate::server::{Programs, Server};
use crate::tool;
use crate::traffic::{Traffic, tls};

/// How flows get to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The router sends every VIP to server 1; no program is involved.
    Routed,
    /// The router spreads VIPs over all servers, and their programs do the rest.
    Directed,
}

/// What a run is made with.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How flows get to servers.
    pub way: Way,
    /// MTU of the servers' links. Octets.
    pub mtu: u16,
    /// Whether servers send to each other over IPv6.
    pub outer_v6: bool,
    /// Whether SYNs are answered with cookies by the programs.
    pub cookies: bool,
}

/// Where a kernel with BPF has a place for its file system.
const BPF: &str = "/sys/fs/bpf";

impl Setup {
    /// Programs, and links with room for their headers.
    pub const DIRECTED: Self =
        Self { way: Way::Directed, mtu: FLEET_MTU, outer_v6: false, cookies: false };
    /// Programs, and links without that room.
    pub const NARROW: Self = Self { mtu: CLIENT_MTU, ..Self::DIRECTED };
    /// Programs that send to each other over IPv6.
    pub const OUTER_V6: Self = Self { outer_v6: true, ..Self::DIRECTED };
    /// Programs that answer SYNs with cookies.
    pub const COOKIES: Self = Self { cookies: true, ..Self::DIRECTED };
    /// No programs.
    pub const ROUTED: Self = Self { way: Way::Routed, ..Self::DIRECTED };
}

impl Setup {
    /// What this machine lacks for such a run, for people; `None` where nothing is missing.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces need root".to_owned());
        }
        let absent = tool::NEEDED.iter().find(|(name, _)| tool::which(name).is_none());
        if let Some((name, package)) = absent {
            return Some(format!("{name} is not installed (package {package})"));
        }
        if self.way == Way::Directed && !Path::new(BPF).is_dir() {
            return Some(format!("the kernel has no BPF ({BPF} is missing)"));
        }
        let probe = format!("weirlab-{}-probe", std::process::id());
        match tool::run(&format!("ip netns add {probe}")) {
            Ok(_) => tool::run(&format!("ip netns del {probe}")).err(),
            Err(error) => Some(error),
        }
        .map(|error| format!("no network namespace can be made: {error:#}"))
    }
}

/// One thing that is done to the fleet or to the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Every open flow makes as many more rounds.
    Rounds(u64),
    /// A server that was not there gets flows.
    Add(u16),
    /// A server keeps its flows and gets no new ones.
    Drain(u16),
    /// A draining server gets new flows again.
    Undrain(u16),
    /// Flows of a server end; others begin, elsewhere.
    Leave(u16),
    /// A server is taken out: of the router, of the tables, and its programs end.
    Remove(u16),
    /// Every process of a server is killed and its link goes down; the tables learn of it.
    Crash(u16),
    /// The router spreads by another order and other weights.
    Rehash,
    /// The daemons of the packet path are killed; what they attached stays.
    KillLoaders,
    /// They are started again and take over what is attached.
    StartLoaders,
    /// They are replaced, programs and all.
    UpgradeLoaders,
    /// Two tables replace each other as many times.
    SwapTables(u16),
    /// A share of all packets to servers and clients is lost. In thousandths.
    Lose(u16),
    /// Packets are held up, overtake each other, and some come twice.
    Disturb,
    /// Floods come beside the good traffic.
    Flood,
    /// Loss, disturbance and floods end.
    Calm,
    /// Each proxy hands over to a new process.
    UpgradeProxies,
}

/// Each step that can be typed, and what stands behind it.
pub const WORDS: &str = "add ID, drain ID, undrain ID, leave ID, remove ID, crash ID, rehash, \
     kill-loaders, start-loaders, upgrade-loaders, swap-tables TIMES, lose THOUSANDTHS, disturb, \
     flood, calm, upgrade-proxies";

impl Step {
    /// The step of words such as `drain 2`.
    ///
    /// # Errors
    /// Names the words that there are.
    pub fn parse(words: &[&str]) -> Result<Self> {
        let (name, number) = match words {
            [name] => (*name, None),
            [name, number] => (*name, number.parse().ok()),
            _ => ("", None),
        };
        Ok(match (name, number) {
            ("add", Some(id)) => Self::Add(id),
            ("drain", Some(id)) => Self::Drain(id),
            ("undrain", Some(id)) => Self::Undrain(id),
            ("leave", Some(id)) => Self::Leave(id),
            ("remove", Some(id)) => Self::Remove(id),
            ("crash", Some(id)) => Self::Crash(id),
            ("rehash", None) => Self::Rehash,
            ("kill-loaders", None) => Self::KillLoaders,
            ("start-loaders", None) => Self::StartLoaders,
            ("upgrade-loaders", None) => Self::UpgradeLoaders,
            ("swap-tables", Some(times)) => Self::SwapTables(times),
            ("lose", Some(thousandths)) => Self::Lose(thousandths),
            ("disturb", None) => Self::Disturb,
            ("flood", None) => Self::Flood,
            ("calm", None) => Self::Calm,
            ("upgrade-proxies", None) => Self::UpgradeProxies,
            _ => bail!("`{}` is no fault; there are: {WORDS}", words.join(" ")),
        })
    }
}

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
    proxy: Vec<PathBuf>,
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
        let network = Network::make(guard.run(), setup.mtu)?;
        origin::start(&network.origin)?;
        let identity = rcgen::generate_simple_self_signed([tls::HOST.to_owned()])
            .context("making the lab's certificate")?;
        let (certificate, key) = (guard.folder().join("lab.crt"), guard.folder().join("lab.key"));
        std::fs::write(&certificate, identity.cert.pem())?;
        std::fs::write(&key, identity.signing_key.serialize_pem())?;
        let trust = tls::trust(identity.cert.der().clone())?;
        let (mut servers, mut proxy) = (Vec::new(), Vec::new());
        for (id, space) in (1..).zip(&network.servers) {
            if setup.cookies {
                // Cookies for every SYN, and timestamps in which they may carry options.
                space.set(&[("ipv4/tcp_syncookies", "2"), ("ipv4/tcp_timestamps", "2")])?;
            }
            let server = Server::new(id, space.clone(), &guard.folder(), programs.clone())?;
            proxy.push(server.write("proxy.toml", &config::proxy(&certificate, &key))?);
            servers.push(server);
        }
        let first = 1..=SERVERS_AT_FIRST;
        let fleet = Fleet {
            members: first.clone().map(|id| (id, State::Active)).collect(),
            outer_v6: setup.outer_v6,
            mtu: setup.mtu,
            cookies: setup.cookies,
        };
        let mut lab = Self {
            network,
            servers,
            trust,
            notes: Vec::new(),
            setup,
            fleet,
            spread: Vec::new(),
            proxy,
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
        for id in ids {
            let file = self.proxy.get(usize::from(*id) - 1).cloned().unwrap_or_default();
            let server = self.server(*id)?;
            server.start_proxy(&file)?;
            server.start_service()?;
        }
        if self.setup.way == Way::Directed {
            let fleet = self.fleet.clone();
            for id in ids {
                self.server(*id)?.spawn_packet(&fleet)?;
            }
            for id in ids {
                self.server(*id)?.wait_packet()?;
            }
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
            Step::SwapTables(times) => self.swap_tables(times),
            Step::Lose(thousandths) => self.lose(thousandths),
            Step::Disturb => {
                self.relay = Some(Relay::start(&self.network.router, DISTURBANCE)?);
                Ok(())
            }
            Step::Flood => {
                self.flood = Some(Flood::start(&self.network.router)?);
                Ok(())
            }
            Step::Calm => self.calm(),
            Step::UpgradeProxies => self.at_once(|server| server.upgrade_proxy().map(drop)),
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
        self.agree()
    }

    /// Waits until the tables of all living servers are the same.
    fn agree(&mut self) -> Result<()> {
        let mut tables = Vec::new();
        self.living(|server| {
            tables.push(server.table()?);
            Ok(())
        })?;
        match tables.split_first() {
            Some((first, rest)) if rest.iter().any(|table| table != first) => {
                bail!("servers have different tables: {tables:?}")
            }
            _ => Ok(()),
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
        self.agree()
    }

    /// Does something on every living server at once, where each would wait for its turn on the
    /// machine.
    fn at_once(&self, work: impl Fn(&Server) -> Result<()> + Sync) -> Result<()> {
        let (living, work) = (self.alive(), &work);
        thread::scope(|scope| {
            let servers = self.servers.iter().filter(|server| living.contains(&server.id));
            let threads: Vec<_> = servers.map(|server| scope.spawn(move || work(server))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow!("work on a server panicked"))?
            })
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

    /// Packets by reason, over all servers that were there.
    ///
    /// # Errors
    /// When a server does not tell.
    pub fn reasons(&mut self) -> Result<BTreeMap<String, u64>> {
        let before = self.reasons.clone();
        for id in self.alive() {
            self.count(id)?;
        }
        Ok(std::mem::replace(&mut self.reasons, before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_is_told_is_a_step() {
        for usage in WORDS.split(", ") {
            let words: Vec<String> = usage.split(' ').map(str::to_lowercase).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let typed = match words.as_slice() {
                [name, _] => vec![*name, "2"],
                more => more.to_vec(),
            };
            assert!(Step::parse(&typed).is_ok(), "{usage}");
        }
        for wrong in [&["drain"][..], &["drain", "x"], &["rehash", "2"], &["help"], &[]] {
            assert!(Step::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
