//! Builds configuration files.

use super::files::{TempDir, free_port};
use super::tls::Pem;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Clone)]
struct Section {
    head: &'static str,
    name: String,
    lines: String,
}

/// A configuration in the making, with the folder its files lie in.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) admin: SocketAddr,
    workers: usize,
    drain: &'static str,
    runtime: String,
    listeners: Vec<(SocketAddr, Section)>,
    sections: Vec<Section>,
}

/// `[[pool.origins]]` on 127.0.0.1.
pub(crate) fn origin(name: &str, port: u16) -> String {
    origin_with(name, "127.0.0.1", port, "")
}

/// `[[pool.origins]]` with further lines.
pub(crate) fn origin_with(name: &str, address: &str, port: u16, lines: &str) -> String {
    format!(
        "[[pool.origins]]\nname = \"{name}\"\naddress = \"{address}\"\nport = {port}\n{lines}\n"
    )
}

impl Edge {
    pub(crate) fn new() -> Self {
        Self {
            dir: Arc::new(TempDir::new()),
            admin: (Ipv4Addr::LOCALHOST, free_port()).into(),
            workers: 1,
            drain: "5s",
            runtime: String::new(),
            listeners: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// One listener `web`, one pool `p` with the given origin, one load balancer for every host.
    /// Failures eject nothing: cases that make the origin fail must not touch those after them.
    pub(crate) fn simple(port: u16) -> Self {
        let pool = "outlier_ejection = { consecutive_failures = 0 }";
        let edge = Self::new().listener("web", "");
        edge.pool("p", pool, &[origin("o1", port)]).balance("*", "p", "")
    }

    pub(crate) fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    pub(crate) fn drain(mut self, timeout: &'static str) -> Self {
        self.drain = timeout;
        self
    }

    /// Further lines of `[runtime]`.
    pub(crate) fn runtime(mut self, lines: &str) -> Self {
        writeln!(self.runtime, "{lines}").expect("a string takes everything");
        self
    }

    /// Adds a listener on a free port, or replaces the lines of the one that has this name.
    pub(crate) fn listener(self, name: &str, lines: &str) -> Self {
        let address = self.address(name).unwrap_or((Ipv4Addr::LOCALHOST, free_port()).into());
        self.listener_at(name, address, lines)
    }

    pub(crate) fn listener_at(mut self, name: &str, address: SocketAddr, lines: &str) -> Self {
        let section = Section { head: "listener", name: name.to_owned(), lines: lines.to_owned() };
        match self.listeners.iter_mut().find(|(_, s)| s.name == name) {
            Some(found) => *found = (address, section),
            None => self.listeners.push((address, section)),
        }
        self
    }

    pub(crate) fn without_listener(mut self, name: &str) -> Self {
        self.listeners.retain(|(_, section)| section.name != name);
        self
    }

    fn section(mut self, head: &'static str, name: &str, lines: String) -> Self {
        let section = Section { head, name: name.to_owned(), lines };
        match self.sections.iter_mut().find(|s| s.head == head && s.name == name) {
            Some(found) => *found = section,
            None => self.sections.push(section),
        }
        self
    }

    /// Adds or replaces a pool.
    pub(crate) fn pool(self, name: &str, lines: &str, origins: &[String]) -> Self {
        self.section("pool", name, format!("{lines}\n{}", origins.concat()))
    }

    /// Adds or replaces a monitor.
    pub(crate) fn monitor(self, name: &str, lines: &str) -> Self {
        self.section("monitor", name, lines.to_owned())
    }

    /// Adds or replaces a load balancer; `pools` are separated by commas.
    pub(crate) fn balance(self, host: &str, pools: &str, lines: &str) -> Self {
        let pools: Vec<String> = pools.split(',').map(|p| format!("\"{p}\"")).collect();
        self.section(
            "load_balancer",
            host,
            format!("default_pools = [{}]\n{lines}", pools.join(", ")),
        )
    }

    /// Writes certificate and key, and gives the entry for `certificates`.
    pub(crate) fn certificate(&self, name: &str, pem: &Pem) -> String {
        let certificate = self.file(&format!("{name}.pem"), &pem.certificate);
        let key = self.file(&format!("{name}.key"), &pem.key);
        format!("{{ certificate = {certificate:?}, key = {key:?} }}")
    }

    /// Writes a file beside the configuration and gives its path.
    pub(crate) fn file(&self, name: &str, contents: &str) -> PathBuf {
        self.dir.write(name, contents)
    }

    /// Where a listener listens.
    pub(crate) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|(_, s)| s.name == name).map(|(address, _)| *address)
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|(address, _)| *address).collect()
    }

    /// The file.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "[runtime]\nworkers = {}\ndrain_timeout = \"{}\"\n{}\n[admin]\naddress = \"{}\"\n",
            self.workers, self.drain, self.runtime, self.admin
        );
        let mut put = |section: &Section, address: Option<&SocketAddr>| {
            let Section { head, name, lines } = section;
            writeln!(text, "\n[[{head}]]\nname = \"{name}\"").expect("a string takes everything");
            if let Some(address) = address {
                writeln!(text, "address = \"{address}\"").expect("a string takes everything");
            }
            writeln!(text, "{lines}").expect("a string takes everything");
        };
        for (address, section) in &self.listeners {
            put(section, Some(address));
        }
        for section in &self.sections {
            put(section, None);
        }
        text
    }

    /// Writes the file and gives its path.
    pub(crate) fn write(&self) -> PathBuf {
        self.file("weir.toml", &self.text())
    }
}
