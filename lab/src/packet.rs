//! The packet path of one server: its daemon, its tables, its counters.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;

use crate::config::{Fleet, PACKET_ADMIN};
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
        let text = fleet.packet(self.id, self.space.name());
        let file = self.write(FILE, &text)?.to_string_lossy().into_owned();
        self.start(PACKET, &["packet", "run", &file])
    }

    /// Waits until the daemon serves.
    ///
    /// # Errors
    /// When it does not in time, with what it said.
    pub fn wait_packet(&mut self) -> Result<()> {
        self.wait("the packet path", PACKET, |server| {
            let ready = server.ask(PACKET_ADMIN, "/ready");
            Ok(ready.is_ok_and(|reply| reply.starts_with("HTTP/1.1 200")))
        })
    }

    /// Gives the daemon the fleet as it is and waits until it is in force.
    ///
    /// # Errors
    /// When it is refused.
    pub fn reload_packet(&self, fleet: &Fleet) -> Result<()> {
        self.write(FILE, &fleet.packet(self.id, self.space.name()))?;
        self.weir(&["reload", "--admin", PACKET_ADMIN]).map(drop)
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

    /// What identifies the tables in force: the same on all servers of a fleet.
    ///
    /// # Errors
    /// When nothing is loaded.
    pub fn table(&self) -> Result<String> {
        let status = self.packet_status()?;
        let hash = status.get("table_hash").and_then(Value::as_str);
        Ok(hash.context("no table_hash in the status")?.to_owned())
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
        let text = self.weir(&["packet", "status", "--json", "--name", name])?;
        serde_json::from_str(&text).context("the status of the packet path")
    }
}
