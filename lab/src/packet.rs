//! The packet path of one server: its daemon, its tables, its counters.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::server::Server;

/// What the daemon's process is called.
const PACKET: &str = "packet";
/// Its configuration, in the server's folder.
const FILE: &str = "packet.toml";

impl Server {
    /// Starts the daemon on a configuration and waits until its programs are attached.
    ///
    /// # Errors
    /// When it does not start, with what it said.
    pub fn start_packet(&mut self, text: &str) -> Result<()> {
        let file = self.write(FILE, text)?.to_string_lossy().into_owned();
        self.start(PACKET, &["packet", "run", &file])?;
        self.wait("the packet path", PACKET, |server| Ok(server.table().is_ok()))
    }

    /// Gives the daemon another configuration and waits until it is in force.
    ///
    /// # Errors
    /// When it is refused.
    pub fn reload_packet(&mut self, text: &str) -> Result<()> {
        self.write(FILE, text)?;
        self.weir(&["reload"]).map(drop)
    }

    /// Kills the daemon; its programs stay attached.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill_packet(&mut self) -> Result<()> {
        self.kill(PACKET)
    }

    /// Ends the daemon as an operator does before an upgrade; its programs stay attached.
    ///
    /// # Errors
    /// When it does not run.
    pub fn stop_packet(&mut self) -> Result<()> {
        self.kill(PACKET)
    }

    /// What identifies the tables in force: the same on all servers of a fleet.
    ///
    /// # Errors
    /// When nothing is loaded.
    pub fn table(&self) -> Result<String> {
        let status = self.packet_status()?;
        let table = status.get("tables").context("no tables in the status")?;
        Ok(table.to_string())
    }

    /// Packets by reason.
    ///
    /// # Errors
    /// When nothing is loaded.
    pub fn reasons(&self) -> Result<BTreeMap<String, u64>> {
        let status = self.packet_status()?;
        let counters = status.get("reasons").and_then(Value::as_object);
        let counters = counters.context("no reasons in the status")?;
        let packets = |value: &Value| value.as_u64().or_else(|| value.get("packets")?.as_u64());
        Ok(counters.iter().filter_map(|(word, v)| Some((word.clone(), packets(v)?))).collect())
    }

    fn packet_status(&self) -> Result<Value> {
        let text = self.weir(&["packet", "status", "--json"])?;
        serde_json::from_str(&text).context("the status of the packet path")
    }
}
