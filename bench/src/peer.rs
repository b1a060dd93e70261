//! The proxies that are measured. A peer is one file: how it is had, its version, its command line
//! and its configuration for equal work (see `Site`).

mod debian;
mod envoy;
mod haproxy;
mod nginx;
mod pingora;
mod running;
mod weir;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

pub use running::Running;

use crate::machine::Places;
use crate::namespace;
use crate::options::Options;
use crate::row::Upstream;
use crate::tls::Identity;

/// Open connections a proxy is configured for: the idle rows' and those to the origin, with room.
pub const CONNECTIONS: usize = 16_384;

/// Whether packages and crates can be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Before the namespace.
    Reachable,
    /// Inside it; what is missing stays missing.
    Out,
}

/// How a peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As in production, with one worker.
    Usual,
    /// In one process, under valgrind.
    Counted,
}

/// What every configuration has in common: the work is equal only if all say the same.
///
/// No access log; connections to the origin kept alive, as many as there are clients; no limit of
/// requests per connection on either side; `X-Forwarded-For` and `X-Forwarded-Proto` added; session
/// tickets on; the certificate is ECDSA P-256.
#[derive(Clone, Debug)]
pub struct Site {
    /// For the configuration and the log of one start.
    pub folder: PathBuf,
    /// Plain HTTP/1.1 listener.
    pub plain: SocketAddr,
    /// TLS listener.
    pub tls: SocketAddr,
    /// For proxies that want an administrative address.
    pub admin: SocketAddr,
    /// Where requests go.
    pub origin: SocketAddr,
    /// Certificate and key.
    pub identity: Identity,
    /// Whether clients may speak HTTP/2 too.
    pub h2: bool,
    /// What is spoken with the origin.
    pub upstream: Upstream,
}

/// A proxy to measure.
pub trait Peer {
    /// Its column in the table.
    fn name(&self) -> &'static str;

    /// Name and version as the program itself tells it.
    fn version(&self) -> &str;

    /// Why it cannot do what a site asks for, if it cannot.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn unable(&self, _site: &Site, _style: Style) -> Result<Option<String>> {
        Ok(None)
    }

    /// Writes the configuration into the site's folder and gives the command line.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn command(&self, site: &Site, style: Style) -> Result<Vec<OsString>>;

    /// What it tells about its memory while it runs; none where it does not count that.
    ///
    /// # Errors
    /// When it does not answer.
    fn told(&self, _site: &Site) -> Result<Option<Told>> {
        Ok(None)
    }
}

/// What a proxy tells about its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Blocks that its workers have asked the allocator for since its start.
    pub blocks: u64,
    /// The most bytes that one HTTP/2 connection of a client has held since its start.
    pub ledger: u64,
}

/// All wanted peers, Weir last.
///
/// # Errors
/// When Weir cannot be built or no peer at all is there.
pub fn prepare(options: &Options, places: &Places, network: Network) -> Result<Vec<Box<dyn Peer>>> {
    std::fs::create_dir_all(&places.peers)
        .with_context(|| format!("create {}", places.peers.display()))?;
    if network == Network::Reachable {
        tools(options)?;
    }
    let mut peers: Vec<Box<dyn Peer>> = Vec::new();
    if options.wants(nginx::NAME) || options.wants(haproxy::NAME) {
        let newest = debian::newest(places, network);
        if let Err(error) = &newest
            && !namespace::inside()
        {
            eprintln!("bench: Debian's newest peers cannot be had, using the system's: {error:#}");
        }
        let newest = newest.ok();
        if options.wants(nginx::NAME) {
            peers.push(Box::new(nginx::Nginx::find(newest.as_ref())?));
        }
        if options.wants(haproxy::NAME) {
            push(&mut peers, haproxy::NAME, haproxy::Haproxy::find(newest.as_ref()));
        }
    }
    if options.wants(envoy::NAME) {
        push(&mut peers, envoy::NAME, envoy::Envoy::find(places, network));
    }
    if options.wants(pingora::NAME) {
        push(&mut peers, pingora::NAME, pingora::Pingora::build(places, network));
    }
    if options.wants(weir::NAME) {
        peers.push(Box::new(weir::Weir::build(options, places, network)?));
    }
    if peers.is_empty() {
        bail!("--only names no proxy: nginx, haproxy, envoy, pingora and weir are known");
    }
    Ok(peers)
}

/// Adds a peer that the table can do without.
fn push<P: Peer + 'static>(peers: &mut Vec<Box<dyn Peer>>, name: &str, found: Result<P>) {
    match found {
        Ok(peer) => peers.push(Box::new(peer)),
        Err(error) => eprintln!("bench: no column of {name}: {error:#}"),
    }
}

/// Programs the harness calls, with the Debian packages they come in.
const TOOLS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("taskset", "util-linux"),
    ("ip", "iproute2"),
    ("valgrind", "valgrind"),
];

/// Installs what is missing, as far as this user may.
fn tools(options: &Options) -> Result<()> {
    let counted =
        options.rows.iter().any(|row| matches!(row.kind, crate::row::Kind::Instructions(_)));
    for (tool, package) in TOOLS {
        let runs = Command::new(tool).arg("-V").output().is_ok();
        if !runs && (tool != "valgrind" || counted) {
            install(tool, package)?;
        }
    }
    Ok(())
}

fn install(tool: &str, package: &str) -> Result<()> {
    eprintln!("bench: installing {package} for {tool}");
    let done = Command::new("apt-get")
        .args(["install", "-y", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .with_context(|| format!("{tool} is missing; its Debian package is {package}"))?;
    if !done.status.success() {
        let says = String::from_utf8_lossy(&done.stderr).into_owned();
        bail!("{tool} is missing and apt-get install {package} failed: {says}");
    }
    Ok(())
}

/// An address nobody listens on at this moment.
///
/// # Errors
/// When loopback has no free port.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    listener.local_addr().context("a free port")
}

/// What a program says about its version, on either output, first line, without
/// the words around it.
fn version(command: &[OsString], argument: &str) -> Result<String> {
    let (program, arguments) = command.split_first().context("an empty command")?;
    let output = Command::new(program)
        .args(arguments)
        .arg(argument)
        .output()
        .with_context(|| format!("{} {argument}", program.to_string_lossy()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("unknown version");
    let told = line.trim().trim_start_matches("nginx version: ");
    Ok(told.split(" - http").next().unwrap_or(told).to_owned())
}

/// The first version number in a line, as numbers.
fn number(version: &str) -> Vec<u32> {
    let start = version.find(|c: char| c.is_ascii_digit()).unwrap_or(version.len());
    let text = version.get(start..).unwrap_or_default();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let digits = text.get(..end).unwrap_or_default();
    digits.split('.').filter_map(|part| part.parse().ok()).collect()
}

/// Warns where a peer is older than the comparison promises.
fn at_least(name: &str, version: &str, least: &[u32]) {
    // Inside the namespace it has been said before.
    if number(version).as_slice() < least && !namespace::inside() {
        eprintln!("bench: {name}: {version} is older than {least:?}: the comparison is not valid");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(number("nginx version: nginx/1.30.6"), [1, 30, 6]);
        assert_eq!(number("HAProxy version 3.2.26-1 2026/10/01"), [3, 2, 26]);
        assert_eq!(number("none"), [0; 0]);
        assert!(number("nginx/1.9.1").as_slice() < [1, 30].as_slice());
    }
}
