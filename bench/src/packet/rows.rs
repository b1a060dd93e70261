//! Rows of the director: nanoseconds over the floor, by test run, and frames forwarded per second.

use super::compare::{DESTINATION, Hook, Measured, PORT, Plan, XDP_TX};
use super::frames::{self, Kind, Row, Vips};
use super::{Figure, Options};
use anyhow::{Context, Result};
use packet_abi::maps;
use packet_loader::measure::{Bench, CHAIN_MEASURED};
use packet_loader::sys::netlink;
use rustix::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::time::Instant;

/// A row of the director.
struct Spec {
    name: &'static str,
    kind: Kind,
    v6: bool,
    vips: Vips,
    servers: u16,
    buckets: u32,
}

/// Live frames of one run for each repetition of the others: a second or so of frames where these
/// take a tenth.
const LIVE_FRAMES: u32 = 4;

/// The goal of each row of the director, in nanoseconds over the prologue.
const GOAL: &str = "<= 60";

const fn spec(name: &'static str, kind: Kind, v6: bool, vips: Vips) -> Spec {
    Spec { name, kind, v6, vips, servers: 650, buckets: 65_536 }
}

const SPECS: [Spec; 12] = [
    spec("director-v4-tcp-1", Kind::Tcp, false, Vips::One),
    spec("director-v4-udp-1", Kind::Udp, false, Vips::One),
    spec("director-v4-quic-1", Kind::Quic, false, Vips::One),
    spec("director-v6-tcp-1", Kind::Tcp, true, Vips::One),
    spec("director-v6-udp-1", Kind::Udp, true, Vips::One),
    spec("director-v6-quic-1", Kind::Quic, true, Vips::One),
    spec("director-v4-tcp-1000-prefixes", Kind::Tcp, false, Vips::Mixed),
    spec("director-v6-tcp-1000-prefixes", Kind::Tcp, true, Vips::Mixed),
    spec("director-v4-tcp-10000-prefixes-ports", Kind::Tcp, false, Vips::Ports),
    spec("director-v6-tcp-10000-prefixes-ports", Kind::Tcp, true, Vips::Ports),
    spec("director-v4-udp-10000-prefixes-ports", Kind::Udp, false, Vips::Ports),
    Spec {
        servers: 1000,
        buckets: 131_072,
        ..spec("director-v4-tcp-131072-buckets", Kind::Tcp, false, Vips::Mixed)
    },
];

/// Measures all rows that are wanted.
pub(super) fn all(bench: &mut Bench, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    figures.push(figure("floor-xdp", floor(bench, options)?, "ns", "the empty program"));
    let mut generation = 0;
    for spec in SPECS.iter().filter(|spec| options.wants(spec.name)) {
        eprintln!("measuring {}", spec.name);
        generation += 1;
        let row = frames::row(spec.vips, spec.v6, spec.kind, spec.servers, spec.buckets)?;
        bench.tables.publish(generation, &row.image).context("publishing a row's tables")?;
        let frame = frames::frame(spec.kind, spec.v6);
        plan(&frame, &row, spec.v6).tell(bench)?;
        let program = bench.programs.director.as_fd();
        let measured = behind_prologue(program, &frame);
        figures.push(figure(spec.name, measured.over(bench, options)?, "ns", GOAL));
    }
    if options.wants("peer") {
        figures.push(peer(bench, options)?);
    }
    if options.wants("live") {
        figures.extend(live(bench, generation + 1, options)?);
    }
    Ok(figures)
}

pub(super) fn figure(name: &str, value: f64, unit: &'static str, goal: &'static str) -> Figure {
    Figure { name: name.to_owned(), value, unit, goal }
}

fn floor(bench: &Bench, options: &Options) -> Result<f64> {
    let empty = bench.measuring("empty_xdp").context("the floor")?;
    let frame = frames::frame(Kind::Tcp, false);
    least(options.rounds, || Ok(bench.run(empty, &frame, options.repeat)?.nanoseconds))
}

/// The least of some rounds. Rounds of a second or less: other work on the machine only adds.
fn least(rounds: u32, mut round: impl FnMut() -> Result<u32>) -> Result<f64> {
    let mut least = u32::MAX;
    for _ in 0..rounds.max(1) {
        least = least.min(round()?);
    }
    Ok(f64::from(least))
}

/// A frame whose flow is drawn by chance.
fn plan<'a>(frame: &'a [u8], row: &'a Row, v6: bool) -> Plan<'a> {
    Plan { frame, headers: 0, draw: DESTINATION | PORT, v6, destinations: &row.destinations }
}

/// A program that sends every frame of a plan on.
fn behind_prologue<'a>(program: BorrowedFd<'a>, frame: &'a [u8]) -> Measured<'a> {
    Measured { hook: Hook::Xdp, program, frame, returned: XDP_TX, leaves: None }
}

/// The peer: the same destinations as the row of 1,000 prefixes, each a VIP of its own, as it has
/// no prefixes; every packet a new source port, which is a connection it may have seen.
fn peer(bench: &Bench, options: &Options) -> Result<Figure> {
    eprintln!("measuring the peer");
    let row = frames::row(Vips::One, false, Kind::Tcp, 650, 65_536)?;
    let frame = frames::frame(Kind::Tcp, false);
    plan(&frame, &row, false).tell(bench)?;
    for address in &row.destinations {
        let key = u64::from(address.as_v4()) | u64::from(443_u16.to_be()) << 32 | 6 << 48;
        bench.insert("PEER_VIPS", &key.to_ne_bytes(), &0_u32.to_ne_bytes())?;
    }
    for at in 0..65_537_u32 {
        bench.write("PEER_RING", at, &(at % 650).to_ne_bytes())?;
    }
    for at in 0..650_u32 {
        bench.write("PEER_SERVERS", at, &(0x0a00_0000 + at).to_be().to_ne_bytes())?;
    }
    let peer = bench.measuring("peer").context("the peer")?;
    let value = behind_prologue(peer, &frame).over(bench, options)?;
    Ok(figure("peer-v4-tcp-1", value, "ns", "LRU, ring, IP in IP: to compare with"))
}

/// Frames per second on one core, with real frames over a pair of virtual interfaces.
fn live(bench: &mut Bench, generation: u64, options: &Options) -> Result<Vec<Figure>> {
    eprintln!("measuring live frames");
    let pair = Pair::make()?;
    let sink = bench.measuring("sink").context("the sink")?;
    // What leaves one end by XDP_TX arrives at the other only where a program is attached.
    let sink = bench.attach(sink, pair.other).context("the sink's link")?;
    let root = bench.attach(bench.programs.root.as_fd(), pair.this).context("the root's link")?;
    let mut figures = Vec::new();
    let frames = options.repeat.saturating_mul(LIVE_FRAMES);
    let rows =
        [("live-v4-tcp-1", Vips::One, false), ("live-v6-tcp-1000-prefixes", Vips::Mixed, true)];
    for (at, (name, vips, v6)) in (0_u64..).zip(rows) {
        let row = frames::row(vips, v6, Kind::Tcp, 650, 65_536)?;
        bench.tables.publish(generation + at, &row.image)?;
        let frame = frames::frame(Kind::Tcp, v6);
        plan(&frame, &row, v6).tell(bench)?;
        bench.put(maps::CHAIN, CHAIN_MEASURED, bench.programs.director.as_fd())?;
        let most = most(bench, "prologue", &frame, (pair.this, frames))?;
        figures.push(figure(name, most, "Mpps", ">= 5, the prologue's work included"));
    }
    let frame = frames::frame(Kind::Tcp, false);
    let most = most(bench, "bounce", &frame, (pair.this, frames))?;
    figures.push(figure(
        "live-floor",
        most,
        "Mpps",
        "sent back as they came, without the director",
    ));
    drop((sink, root));
    Ok(figures)
}

/// Most millions of frames per second that a measuring program got through in some rounds, which
/// came by an interface.
fn most(bench: &Bench, name: &str, frame: &[u8], (by, frames): (u32, u32)) -> Result<f64> {
    let program = bench.measuring(name).with_context(|| name.to_owned())?;
    let mut most = 0.0_f64;
    for _ in 0..3 {
        let start = Instant::now();
        bench.live(program, frame, by, frames).context("live frames")?;
        most = most.max(f64::from(frames) / start.elapsed().as_secs_f64() / 1e6);
    }
    Ok(most)
}

/// Two virtual interfaces that are each other's peer; gone when dropped.
struct Pair {
    this: u32,
    other: u32,
}

const THIS: &str = "weirbench0";
const OTHER: &str = "weirbench1";

impl Pair {
    fn make() -> Result<Self> {
        ip(&["link", "add", THIS, "type", "veth", "peer", "name", OTHER])?;
        let made = Self {
            this: netlink::interface(THIS).context(THIS)?.index,
            other: netlink::interface(OTHER).context(OTHER)?.index,
        };
        ip(&["link", "set", THIS, "up"])?;
        ip(&["link", "set", OTHER, "up"])?;
        Ok(made)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // The namespace of the run goes as well, so that a failure leaves nothing.
        let _ = ip(&["link", "delete", THIS]);
    }
}

pub(super) fn ip(words: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(words).status().context("ip (iproute2)")?;
    anyhow::ensure!(status.success(), "ip {} failed", words.join(" "));
    Ok(())
}
