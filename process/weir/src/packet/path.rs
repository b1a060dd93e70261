//! The packet path that this process looks after: started, changed, read. The programs are the
//! kernel's and go on without it.

use super::{inputs, rules};
use anyhow::Context;
use core_forwarding::Image;
use core_model::config::Name;
use core_model::config::packet::{
    AttachMode, PacketConfig, Server, ServerState, SynCookies, Trafficset,
};
use packet_abi::tables::Count;
use packet_abi::verdict::Reason;
use packet_loader::capture;
use packet_loader::shield::Shield;
use packet_loader::sys::netlink::{self, XdpMode};
use packet_loader::{Counters, EMBEDDED, Home, Loaded, Mode, Tables};
use process_runtime::operator_log;
use process_runtime::packets::{
    Amount, PacketCookies, PacketInterface, PacketServer, PacketSource, PacketStatus, ReasonCount,
};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What an error is about.
const PATH: &str = "the packet path";
/// As above.
const SHIELD: &str = "the shield";
/// As above.
const TABLES: &str = "the tables of the packet path";

/// Why there are no numbers.
const ELSEWHERE: &str = "another process looks after the packet path";

/// A packet path at work.
#[derive(Debug)]
pub(crate) struct PacketPath {
    /// None before it is published, while another process looks after it, and after a change that
    /// failed twice.
    held: Mutex<Option<Held>>,
}

/// What this process holds of it. Dropped, it leaves everything in the kernel as it is.
#[derive(Debug)]
struct Held {
    config: PacketConfig,
    /// Holds the lock of the pins.
    loaded: Loaded,
    tables: Tables,
    counters: Counters,
    shield: Shield,
}

impl PacketPath {
    /// Puts a configuration in force: programs, tables, interfaces. What another process left
    /// under the same name serves on until then, and is replaced between two packets.
    ///
    /// # Errors
    /// What kept it from that; what was in force still is.
    pub(crate) fn start(config: &PacketConfig) -> anyhow::Result<Self> {
        let image = inputs::image(config).context(TABLES)?;
        let held = Held::start(config, &image).context(PATH)?;
        Ok(Self { held: Mutex::new(Some(held)) })
    }

    /// A packet path that a control plane has not published yet: [`Self::apply`] starts it. The
    /// folder of its pins is made, as that may take root.
    pub(crate) fn awaited(name: &Name) -> Self {
        let made = Self::home(name).and_then(|home| home.lock().context("the folder of its pins"));
        if let Err(error) = made {
            operator_log::warn(
                "packet_unprepared",
                "the packet path cannot be started once it is published; then a restart as root \
                 is needed",
                &[("error", &format_args!("{error:#}"))],
            );
        }
        Self { held: Mutex::new(None) }
    }

    /// Where it is pinned.
    ///
    /// # Errors
    /// Never with a name that was checked.
    pub(crate) fn home(name: &Name) -> anyhow::Result<Home> {
        Ok(Home::at(Path::new(packet_loader::pins::ROOT), name)?)
    }

    /// Puts another configuration of the same name in force. Programs stay where only servers and
    /// VIPs differ.
    ///
    /// # Errors
    /// What kept it from that; the one before is in force.
    pub(crate) fn apply(&self, config: &PacketConfig) -> anyhow::Result<()> {
        let image = inputs::image(config).context(TABLES)?;
        let mut held = self.held();
        let Some(mut before) = held.take() else {
            *held = Some(Held::start(config, &image).context(PATH)?);
            return Ok(());
        };
        if before.config.needs_loading(config) {
            let old = before.config.clone();
            // One at a time holds the pins; the programs go on meanwhile.
            drop(before);
            match Held::start(config, &image) {
                Ok(after) => *held = Some(after),
                Err(error) => {
                    let back = inputs::image(&old).map_err(anyhow::Error::from);
                    let error = match back.and_then(|image| Held::start(&old, &image)) {
                        Ok(back) => {
                            *held = Some(back);
                            error
                        }
                        Err(second) => error.context(format!(
                            "nobody looks after what was in force before, which goes on \
                             ({second:#}), after this"
                        )),
                    };
                    return Err(error.context(PATH));
                }
            }
            return Ok(());
        }
        let changed = before.change(config, &image).context(PATH);
        *held = Some(before);
        changed
    }

    /// Empties what a capture that was killed left filled.
    ///
    /// # Errors
    /// What the kernel refused.
    pub(crate) fn sweep(&self) -> anyhow::Result<()> {
        let home = match self.held().as_ref() {
            Some(held) => Self::home(&held.config.name)?,
            None => return Ok(()),
        };
        if capture::sweep(&home)? {
            operator_log::info("capture_swept", "a capture was killed; its taps are empty", &[]);
        }
        Ok(())
    }

    /// Takes back what [`Self::apply`] started, where nothing of its name was in force before. What
    /// was goes on with the tables that it has.
    pub(crate) fn withdraw(&self) {
        let Some(held) = self.held().take() else { return };
        if held.loaded.succeeds() {
            return;
        }
        let home = held.loaded.home().clone();
        drop(held);
        if let Err(error) = packet_loader::detach(&home) {
            operator_log::warn(
                "packet_left",
                "a packet path that was not wanted after all is not gone as a whole",
                &[("error", &format_args!("{:#}", anyhow::Error::from(error)))],
            );
        }
    }

    /// Leaves the packet path to another process, which may take it up; it goes on in between.
    pub(crate) fn release(&self) {
        self.held().take();
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PacketSource for PacketPath {
    fn read(&self) -> Result<PacketStatus, String> {
        let held = self.held();
        let held = held.as_ref().ok_or(ELSEWHERE)?;
        held.read().map_err(|error| format!("{error:#}"))
    }

    fn reasons(&self) -> Result<Vec<ReasonCount>, String> {
        let held = self.held();
        let held = held.as_ref().ok_or(ELSEWHERE)?;
        Ok(reasons(held.counters.read().map_err(|error| error.to_string())?))
    }

    fn shield(&self) -> Result<serde_json::Value, String> {
        let held = self.held();
        let held = held.as_ref().ok_or(ELSEWHERE)?;
        let rules = rules::in_force(&held.config);
        serde_json::to_value(rules).map_err(|error| error.to_string())
    }
}

/// What differs between two configurations.
trait Differs {
    /// Whether programs are to be loaded anew, since a constant or a map of theirs differs.
    fn needs_loading(&self, new: &Self) -> bool;
}

impl Differs for PacketConfig {
    fn needs_loading(&self, new: &Self) -> bool {
        let without_tables = |config: &Self| Self {
            servers: Vec::new(),
            trafficsets: Vec::new(),
            shield_rules: Vec::new(),
            ..config.clone()
        };
        without_tables(self) != without_tables(new)
    }
}

impl Held {
    fn start(config: &PacketConfig, image: &Image) -> anyhow::Result<Self> {
        let settings = inputs::settings(config)?;
        let home = PacketPath::home(&config.name)?;
        let capacities = inputs::capacities(config);
        let number = Tables::open(&home).map_or(0, |tables| tables.descriptor().generation);
        let mut loaded = packet_loader::load(&home, EMBEDDED, &settings, &capacities)?;
        let mut tables = loaded.tables()?;
        let mut shield = Shield::open(&loaded, rules::options(config)).context(SHIELD)?;
        let mut fill = |loaded: &Loaded| {
            publish(loaded, &mut tables, image, number)?;
            rules::install(&mut shield, config).context(SHIELD)
        };
        // New tables are filled before a packet meets them; those that packets meet already change
        // once it is known that the programs can be where they are wanted.
        if loaded.starts_empty() {
            fill(&loaded)?;
            go_live(&mut loaded, config)?;
        } else {
            go_live(&mut loaded, config)?;
            fill(&loaded)?;
        }
        let counters = Counters::open(&home)?;
        Ok(Self { config: config.clone(), loaded, tables, counters, shield })
    }

    fn change(&mut self, config: &PacketConfig, image: &Image) -> anyhow::Result<()> {
        if config.shield_rules != self.config.shield_rules {
            rules::install(&mut self.shield, config).context(SHIELD)?;
        }
        if let Err(error) = publish(&self.loaded, &mut self.tables, image, 0) {
            // Rules and tables are in force together or not at all.
            rules::install(&mut self.shield, &self.config).context(SHIELD)?;
            return Err(error);
        }
        self.config = config.clone();
        Ok(())
    }

    fn read(&self) -> anyhow::Result<PacketStatus> {
        let descriptor = self.tables.descriptor();
        let reasons = reasons(self.counters.read()?);
        let of = |state| self.config.servers.iter().filter(|server| server.state == state).count();
        Ok(PacketStatus {
            name: self.config.name.to_string(),
            generation: descriptor.generation,
            table_hash: format!("{:016x}", descriptor.checksum),
            server: self.config.self_id.get(),
            servers_active: of(ServerState::Active),
            servers_draining: of(ServerState::Draining),
            servers_dead: of(ServerState::Dead),
            interfaces: self.config.interfaces.iter().map(|one| interface(one.as_str())).collect(),
            servers: self.config.servers.iter().map(server).collect(),
            syn_cookies: self.config.trafficsets.iter().filter_map(cookies).collect(),
            reasons,
            rules: rules::counts(&self.shield)?,
            ..PacketStatus::default()
        })
    }
}

/// What became of packets, in the order of the table of reasons.
pub(super) fn reasons(counts: Vec<(Reason, Count)>) -> Vec<ReasonCount> {
    let one = |(reason, count): (Reason, Count)| ReasonCount {
        reason: reason.word().to_owned(),
        verdict: reason.kind().word().to_owned(),
        amount: Amount { packets: count.packets, bytes: count.octets },
        packets_per_s: None,
    };
    counts.into_iter().map(one).collect()
}

fn server(server: &Server) -> PacketServer {
    let state = match server.state {
        ServerState::Active => "active",
        ServerState::Draining => "draining",
        ServerState::Dead => "dead",
    };
    let (id, address) = (server.id.get(), server.address.to_string());
    PacketServer { id, address, state: state.to_owned() }
}

/// A trafficset with SYN cookies; `None` for one without.
fn cookies(set: &Trafficset) -> Option<PacketCookies> {
    let mode = match set.syn_cookies {
        SynCookies::Off => return None,
        SynCookies::On => "on",
        SynCookies::Auto => "auto",
    };
    Some(PacketCookies { trafficset: set.name.to_string(), mode: mode.to_owned() })
}

/// Puts the programs in the way of packets.
fn go_live(loaded: &mut Loaded, config: &PacketConfig) -> anyhow::Result<()> {
    let interfaces: Vec<&str> = config.interfaces.iter().map(|one| one.as_str()).collect();
    let mode = match config.mode {
        AttachMode::Native => Mode::Native,
        AttachMode::GenericUnsafe => Mode::GenericUnsafe,
    };
    for attached in loaded.go_live(&interfaces, mode)? {
        let how = if attached.replaced { "replaced" } else { "attached" };
        operator_log::info(
            "packet_attached",
            "programs see the packets of an interface",
            &[("interface", &attached.interface.name), ("how", &how)],
        );
    }
    Ok(())
}

/// How packets of an interface meet the programs at this moment.
pub(super) fn interface(name: &str) -> PacketInterface {
    let found = netlink::interface(name).ok().and_then(|found| found.xdp);
    let mode = match found {
        Some((XdpMode::Native, _)) => "native",
        Some((XdpMode::Generic, _)) => "generic",
        Some((XdpMode::Offloaded, _)) => "offloaded",
        Some((XdpMode::Several, _)) => "several",
        None => "none",
    };
    PacketInterface { name: name.to_owned(), mode: mode.to_owned() }
}

/// Puts tables in force, unless they are, under a number that is above those before and `earlier`.
fn publish(
    loaded: &Loaded,
    tables: &mut Tables,
    image: &Image,
    earlier: u64,
) -> anyhow::Result<()> {
    let before = tables.descriptor();
    if before.generation != 0 && before.checksum == image.checksum {
        return Ok(());
    }
    let number = before.generation.max(earlier).saturating_add(1);
    let published = loaded.publish(tables, number, image)?;
    operator_log::info(
        "packet_tables",
        "forwarding tables are in force",
        &[
            ("generation", &published.generation),
            ("hash", &format_args!("{:016x}", published.checksum)),
            ("write_us", &published.write.as_micros()),
            ("settle_us", &published.settle.as_micros()),
        ],
    );
    Ok(())
}
