//! What the packet path tells of itself: plain numbers, for `/metrics`, `/status` and
//! `weir packet status`. They are read from the kernel by whoever holds the programs.

use serde::{Deserialize, Serialize};

/// Where the numbers come from.
pub trait PacketSource: Send + Sync + std::fmt::Debug {
    /// The numbers of this moment.
    ///
    /// # Errors
    /// What could not be read, for people.
    fn read(&self) -> Result<PacketStatus, String>;

    /// Packets by reason alone, in the order of the table of reasons: what rates are made of.
    ///
    /// # Errors
    /// What could not be read, for people.
    fn reasons(&self) -> Result<Vec<ReasonCount>, String>;

    /// What the shield in force is made of, for `weir explain`.
    ///
    /// # Errors
    /// Why it is not known, for people.
    fn shield(&self) -> Result<serde_json::Value, String>;
}

/// The packet path at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PacketStatus {
    /// Name of the folder of pins.
    pub name: String,
    /// Generation of the tables in force.
    pub generation: u64,
    /// Hash of the tables in force, 16 hexadecimal digits: equal where tables are equal.
    pub table_hash: String,
    /// Id of this server.
    pub server: u16,
    /// Servers that get new flows.
    pub servers_active: usize,
    /// Servers that keep established flows only.
    pub servers_draining: usize,
    /// Servers that get nothing.
    pub servers_dead: usize,
    /// Servers of the fleet in the order of the file.
    #[serde(default)]
    pub servers: Vec<PacketServer>,
    /// Interfaces with programs.
    pub interfaces: Vec<PacketInterface>,
    /// Trafficsets whose SYNs may be answered with cookies.
    #[serde(default)]
    pub syn_cookies: Vec<PacketCookies>,
    /// Packets per second, over the last seconds.
    #[serde(default)]
    pub packets_per_s: f64,
    /// Dropped packets per second of these.
    #[serde(default)]
    pub drops_per_s: f64,
    /// Packets by reason, in the order of the table of reasons.
    pub reasons: Vec<ReasonCount>,
    /// Rules of the shield, in the order in which they are tried.
    pub rules: Vec<RuleCount>,
    /// The last minute, oldest second first.
    #[serde(default)]
    pub history: Option<PacketSeries>,
}

/// A server of the fleet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PacketServer {
    /// Its id.
    pub id: u16,
    /// Its tunnel address.
    pub address: String,
    /// `active`, `draining` or `dead`.
    pub state: String,
}

/// A trafficset with SYN cookies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PacketCookies {
    /// Its name.
    pub trafficset: String,
    /// `on`, or `auto`: in a flood alone.
    pub mode: String,
}

/// A value per second, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PacketSeries {
    /// Packets of each second.
    pub packets: Vec<u32>,
    /// Dropped ones of them.
    pub drops: Vec<u32>,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PacketInterface {
    /// Its name.
    pub name: String,
    /// `native`, `generic`, or `none` where the programs are gone.
    pub mode: String,
}

/// Packets and octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// Packets.
    pub packets: u64,
    /// Octets of their frames.
    pub bytes: u64,
}

/// A reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// Its word.
    pub reason: String,
    /// What became of the packets: `pass`, `local`, `send`, `reply` or `drop`.
    pub verdict: String,
    /// How many.
    #[serde(flatten)]
    pub amount: Amount,
    /// Packets per second over the last seconds, where somebody looks each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets_per_s: Option<f64>,
}

impl ReasonCount {
    /// Whether these packets are gone.
    #[must_use]
    pub fn is_drop(&self) -> bool {
        self.verdict == "drop"
    }
}

/// A rule of the shield.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleCount {
    /// Its name.
    pub rule: String,
    /// What matched.
    pub matched: Amount,
    /// What it dropped; nothing in a dry run.
    pub dropped: Amount,
    /// What exceeded its rate, in a dry run too.
    pub limited: Amount,
}

impl RuleCount {
    /// Each number with its word.
    #[must_use]
    pub fn results(&self) -> [(&'static str, Amount); 3] {
        [("matched", self.matched), ("dropped", self.dropped), ("limited", self.limited)]
    }
}
