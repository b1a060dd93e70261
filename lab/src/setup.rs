//! What a run is made with, and what of it a machine lacks.

use std::path::Path;

use crate::network::{CLIENT_MTU, FLEET_MTU};
use crate::tool;

/// How flows get to servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The router sends every VIP to server 1; no program is involved.
    Routed,
    /// The router spreads VIPs over all servers, and their programs do the rest.
    Directed,
}

/// Whether SYNs are answered with cookies by the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookies {
    /// Never.
    Off,
    /// Always.
    On,
    /// Never, until a step has the programs answer so while too many come.
    Later,
}

/// By which tables flows find their servers, and what carries them there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Two slots for every bucket, and GUE.
    TwoSlot,
    /// The same, but for questions, whose servers keep no state: Maglev, and FOU.
    StatelessQuestions,
    /// Maglev for everything, and FOU.
    Fou,
    /// Maglev for everything, and IP in IP.
    IpInIp,
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
    /// SYN cookies of the programs.
    pub cookies: Cookies,
    /// Tables and tunnels.
    pub tables: Tables,
    /// Whether the servers' sockets are in another namespace than their interfaces.
    pub apart: bool,
    /// Whether one process of each server is its proxy and looks after its packets.
    pub joined: bool,
    /// Whether sources must be reached by the way they came.
    pub strict: bool,
}

/// Where a kernel with BPF has a place for its file system.
const BPF: &str = "/sys/fs/bpf";

impl Setup {
    /// Programs, and links with room for their headers.
    pub const DIRECTED: Self = Self {
        way: Way::Directed,
        mtu: FLEET_MTU,
        outer_v6: false,
        cookies: Cookies::Off,
        tables: Tables::TwoSlot,
        apart: false,
        joined: false,
        strict: false,
    };
    /// Programs, and links without that room.
    pub const NARROW: Self = Self { mtu: CLIENT_MTU, ..Self::DIRECTED };
    /// Programs that send to each other over IPv6.
    pub const OUTER_V6: Self = Self { outer_v6: true, ..Self::DIRECTED };
    /// Programs that answer SYNs with cookies.
    pub const COOKIES: Self = Self { cookies: Cookies::On, ..Self::DIRECTED };
    /// Programs that may be told to, of the process that has the listeners.
    pub const COOKIES_LATER: Self =
        Self { cookies: Cookies::Later, joined: true, ..Self::DIRECTED };
    /// Programs that send questions by Maglev and FOU.
    pub const MAGLEV: Self = Self { tables: Tables::StatelessQuestions, ..Self::DIRECTED };
    /// Programs that send everything by Maglev and FOU.
    pub const FOU: Self = Self { tables: Tables::Fou, ..Self::DIRECTED };
    /// Programs that send everything by Maglev and IP in IP.
    pub const IP_IN_IP: Self = Self { tables: Tables::IpInIp, ..Self::DIRECTED };
    /// The same over IPv6.
    pub const IP_IN_IP6: Self = Self { outer_v6: true, ..Self::IP_IN_IP };
    /// Programs that look for sockets in another namespace.
    pub const APART: Self = Self { apart: true, ..Self::DIRECTED };
    /// Programs that drop what could not be answered by the way it came.
    pub const STRICT: Self = Self { strict: true, ..Self::DIRECTED };
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
