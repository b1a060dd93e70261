//! Rows of SYN cookies: a SYN to a listener of this network namespace, from the director to the
//! answer.

use super::compare::{DESTINATION, Hook, Measured, PORT, Plan, SOURCE, XDP_TX};
use super::frames::{self, Kind, SELF};
use super::rows::figure;
use super::{Figure, Options};
use anyhow::{Context, Result, bail};
use packet_abi::{HashKey, maps};
use packet_loader::measure::Bench;
use packet_loader::settings::NO_WINDOW_SCALE;
use packet_loader::{Capacities, Settings};
use rustix::fd::AsFd;
use std::fs;
use std::net::{Ipv6Addr, TcpListener};

/// Cookies for every SYN, also where no queue is full, so that the listener takes back what the
/// programs gave out.
const SYSCTL: &str = "/proc/sys/net/ipv4/tcp_syncookies";
/// Window scale of the row with options: that of Linux with its usual buffers.
const WINDOW_SCALE: u32 = 7;
/// Options of a SYN as Linux sends it: segment size, selective acknowledgements, timestamp, scale.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 1, 2, 3, 0, 0, 0, 0, 1, 3, 3, 7];
/// Of those, an answer without timestamps has the segment size alone.
const PLAIN_OPTIONS: usize = 4;

/// Measures the rows that are wanted.
pub(super) fn all(key: HashKey, options: &Options) -> Result<Vec<Figure>> {
    let rows = [
        ("cookie-v4", false, NO_WINDOW_SCALE, PLAIN_OPTIONS),
        ("cookie-v6", true, NO_WINDOW_SCALE, PLAIN_OPTIONS),
        ("cookie-v4-options", false, WINDOW_SCALE, OPTIONS.len()),
        ("cookie-v6-options", true, WINDOW_SCALE, OPTIONS.len()),
    ];
    if !rows.iter().any(|(name, ..)| options.wants(name)) {
        return Ok(Vec::new());
    }
    if !crate::namespace::inside() {
        bail!("the rows of cookies change {SYSCTL}, and there is no network namespace to do so in");
    }
    fs::write(SYSCTL, "2").context(SYSCTL)?;
    // Takes IPv4 too; port 443 is that of the rows' frames.
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 443)).context("a listener")?;
    let mut figures = Vec::new();
    for (name, v6, cookie_wscale, answered) in rows {
        if !options.wants(name) {
            continue;
        }
        eprintln!("measuring {name}");
        let settings = Settings { cookie_wscale, ..Settings::new(key, 1, SELF) };
        let mut bench = Bench::new(&settings, &Capacities::default())?;
        let row = frames::served(v6)?;
        bench.tables.publish(1, &row.image).context("publishing a row's tables")?;
        let cookies = bench.cookies.as_ref().context("SYN cookies (Linux 5.18 is needed)")?;
        bench.put(maps::CHAIN, maps::CHAIN_COOKIE, cookies.decide.as_fd())?;
        bench.put(maps::CHAIN, maps::CHAIN_COOKIE_ANSWER, cookies.answer.as_fd())?;
        let frame = syn(v6);
        let leaves = Some(frame.len() - OPTIONS.len() + answered);
        let (headers, draw) = (frame.len() as u32, DESTINATION | PORT | SOURCE);
        Plan { frame: &frame, headers, draw, v6, destinations: &row.destinations }.tell(&bench)?;
        let program = bench.programs.director.as_fd();
        let (hook, returned) = (Hook::Xdp, XDP_TX);
        let measured = Measured { hook, program, frame: &frame, returned, leaves };
        let goal = "per SYN answered, the director included";
        figures.push(figure(name, measured.over(&bench, options)?, "ns", goal));
    }
    drop(listener);
    Ok(figures)
}

/// A SYN as Linux sends it.
fn syn(v6: bool) -> Vec<u8> {
    let mut frame = frames::frame(Kind::Tcp, v6);
    let l4 = if v6 { 54 } else { 34 };
    frame.truncate(l4 + 20);
    // Ten words of header, SYN alone, acknowledging nothing.
    frame[l4 + 8..l4 + 14].copy_from_slice(&[0, 0, 0, 0, 0xa0, 2]);
    frame.extend(OPTIONS);
    let length = (20 + OPTIONS.len()) as u8;
    let (at, length) = if v6 { (19, length) } else { (17, 20 + length) };
    frame[at] = length;
    frame
}
