//! A network and process namespace for the run, so that it changes nothing outside and leaves
//! nothing behind, however it ends.
//!
//! The program starts itself again under unshare(1). Its own death kills unshare, that kills the
//! namespace's first process, and with it the kernel ends everything in there.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::machine::Places;

const MARK: &str = "WEIR_BENCH_INSIDE";
const UNSHARE: [&str; 6] = ["--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"];

/// What became of the attempt to measure in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reentered {
    /// The measurement ran inside; all is done.
    Measured,
    /// No namespace can be had; the caller measures where it is.
    Unavailable,
}

/// Whether this process is the one that measures.
#[must_use]
pub fn inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs this program again, with the same arguments, in a namespace of its own.
///
/// # Errors
/// When the run inside failed (it has told why).
pub fn reenter(places: &Places) -> Result<Reentered> {
    let possible = Command::new("unshare")
        .args(UNSHARE)
        .args(["ip", "link", "set", "lo", "up"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !possible {
        eprintln!(
            "bench: no network namespace (needs root, util-linux, iproute2): measuring in place, \
             with the machine's congestion control {}",
            congestion_control()
        );
        return Ok(Reentered::Unavailable);
    }
    // A copy, as a build may have replaced the file while Weir was being built.
    let own = places.peers.join("harness");
    let _ = fs::remove_file(&own);
    fs::copy("/proc/self/exe", &own).context("copying this program")?;
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(UNSHARE)
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(MARK, "1")
        .status()
        .context("setpriv (util-linux)")?;
    if !status.success() {
        bail!("the measurement ended with {status}");
    }
    Ok(Reentered::Measured)
}

/// Inside: brings loopback up with the settings every run has. In place: nothing.
pub fn settle() {
    if !inside() {
        return;
    }
    // New connections for every request need more ports than the default range.
    let _ = fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535");
    // The default congestion control of a namespace cannot be set to one the machine restricts; a
    // route's can, and both ends of every connection of the run take this route.
    let cubic = "route replace local 127.0.0.1 dev lo table local proto kernel scope host \
                 src 127.0.0.1 congctl cubic";
    for words in ["link set lo up", cubic] {
        let done = Command::new("ip").args(words.split_whitespace()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("bench: ip {words} failed: large bodies may differ from other machines'");
        }
    }
}

/// The congestion control that connections over loopback get, as an accepted one tells it.
#[must_use]
pub fn congestion_control() -> String {
    accepted().map_or_else(
        |_| "unknown".to_owned(),
        |socket| {
            rustix::net::sockopt::tcp_congestion(&socket).unwrap_or_else(|_| "unknown".to_owned())
        },
    )
}

fn accepted() -> std::io::Result<TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    Ok(listener.accept()?.0)
}
