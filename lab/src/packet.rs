//! The packet path of one server: its daemon, its tables, its counters.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;

use crate::config::{self, Fleet, PACKET_ADMIN};
use crate::namespace::Namespace;
use crate::server::Server;

/// What the daemon's process is called.
const PACKET: &str = "packet";
/// Its configuration, in the server's folder.
const FILE: &str = "packet.toml";

impl Server {
    /// Starts the daemon on the fleet as it is and waits until its programs are attached.
    ///
    /// # Errors
    /// When it does not start, with what it said.
    pub fn start_packet(&mut self, fleet: &Fleet) -> Result<()> {
        self.spawn_packet(fleet)?;
        self.wait_packet()
    }

    /// Starts the daemon; [`Server::wait_packet`] waits for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_packet(&mut self, fleet: &Fleet) -> Result<()> {
        let file = self.write(FILE, &self.text(fleet))?.to_string_lossy().into_owned();
        let space = self.space.clone();
        match self.site.joined {
            true => self.start(&space, PACKET, &["run", &file]),
            false => self.start(&space, PACKET, &["packet", "run", &file]),
        }
    }

    /// Waits until the daemon serves.
    ///
    /// # Errors
    /// When it does not in time, with what it said.
    pub fn wait_packet(&mut self) -> Result<()> {
        self.wait("the packet path", PACKET, |server| {
            let ready = server.ask(&server.space, PACKET_ADMIN, "/ready");
            Ok(ready.is_ok_and(|reply| reply.starts_with("HTTP/1.1 200")))
        })
    }

    /// Gives the daemon the fleet as it is and waits until it is in force.
    ///
    /// # Errors
    /// When it is refused.
    pub fn reload_packet(&self, fleet: &Fleet) -> Result<()> {
        self.write(FILE, &self.text(fleet))?;
        self.weir(&self.space, &["reload", "--admin", PACKET_ADMIN]).map(drop)
    }

    /// The file of the process that looks after packets.
    fn text(&self, fleet: &Fleet) -> String {
        let sockets = self.site.sockets.as_ref().map(Namespace::path);
        let packet = fleet.packet(self.id, self.space.name(), sockets.as_deref());
        let proxy = if self.site.joined { self.site.proxy.as_str() } else { "" };
        config::admin(PACKET_ADMIN) + &packet + proxy
    }

    /// Kills the daemon; its programs stay attached.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_packet(&mut self) -> Result<()> {
        self.kill(PACKET, Signal::KILL)
    }

    /// Ends the daemon as an operator does; its programs stay attached.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_packet(&mut self) -> Result<()> {
        self.kill(PACKET, Signal::TERM)
    }

    /// What identifies the tables in force, which is the same on all servers of a fleet, and how
    /// often this server has written tables.
    ///
    /// # Errors
    /// When nothing is loaded.
    pub fn table(&self) -> Result<(String, u64)> {
        let status = self.packet_status()?;
        let hash = status.get("table_hash").and_then(Value::as_str);
        let generation = status.get("generation").and_then(Value::as_u64);
        let hash = hash.context("no table_hash in the status")?.to_owned();
        Ok((hash, generation.context("no generation in the status")?))
    }

    /// Packets by reason.
    ///
    /// # Errors
    /// When nothing is loaded.
    pub fn reasons(&self) -> Result<BTreeMap<String, u64>> {
        let status = self.packet_status()?;
        let counters = status.get("reasons").and_then(Value::as_array);
        let count = |one: &Value| {
            let word = one.get("reason")?.as_str()?.to_owned();
            Some((word, one.get("packets")?.as_u64()?))
        };
        let counters = counters.context("no reasons in the status")?.iter();
        let counted: Option<_> = counters.map(count).collect();
        counted.context("a reason without a word or packets in the status")
    }

    fn packet_status(&self) -> Result<Value> {
        let name = self.space.name();
        let text = self.weir(&self.space, &["packet", "status", "--json", "--name", name])?;
        serde_json::from_str(&text).context("the status of the packet path")
    }
}
