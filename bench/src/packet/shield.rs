//! Rows of the shield: rules as an attack leaves them behind, and frames that meet none, the first
//! and the last of them.

use super::compare::{Hook, Measured, PORT, Plan, SOURCE, XDP_DROP, XDP_PASS};
use super::frames::{self, Kind};
use super::rows::figure;
use super::{Figure, Options};
use anyhow::{Context, Result};
use packet_loader::measure::Bench;
use packet_loader::shield::synthetic::{self, Meets};
use rustix::fd::AsFd;

/// Rules of a row.
const COUNTS: [usize; 4] = [10, 100, 1000, 10_000];

/// Measures the rows that are wanted.
pub(super) fn all(bench: &Bench, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    if options.wants("shield-0") {
        figures.push(none(bench, options)?);
    }
    for count in COUNTS {
        let cases = [
            ("miss", Meets::None, false),
            ("miss-v6", Meets::None, true),
            ("first", Meets::First, false),
            ("last", Meets::Last, false),
        ];
        let named = cases.map(|(name, meets, v6)| (format!("shield-{count}-{name}"), meets, v6));
        if !named.iter().any(|(name, ..)| options.wants(name)) {
            continue;
        }
        eprintln!("measuring shield-{count}");
        let rules = synthetic::rules(count);
        let shield = synthetic::load(&rules).context("a shield of a row")?;
        let program = shield.first().context("a shield without programs")?;
        for (name, meets, v6) in named.iter().filter(|(name, ..)| options.wants(name)) {
            let frame = synthetic::frame(&rules, *meets, *v6).context("a frame for a rule")?;
            // A stranger comes from anywhere, a rule wants its own source.
            let (draw, returned) = match meets {
                Meets::None => (PORT | SOURCE, XDP_PASS),
                Meets::First | Meets::Last => (0, XDP_DROP),
            };
            Plan { frame: &frame, headers: 0, draw, v6: *v6, destinations: &[] }.tell(bench)?;
            let measured =
                Measured { hook: Hook::Xdp, program, frame: &frame, returned, leaves: None };
            let goal = if count == 1000 && *meets == Meets::None { "<= 100" } else { "" };
            figures.push(figure(name, measured.over(bench, options)?, "ns", goal));
        }
    }
    Ok(figures)
}

/// Without rules the slot of the shield is empty, which costs the root two jumps to nowhere.
fn none(bench: &Bench, options: &Options) -> Result<Figure> {
    let frame = frames::frame(Kind::Tcp, false);
    let draw = PORT | SOURCE;
    Plan { frame: &frame, headers: 0, draw, v6: false, destinations: &[] }.tell(bench)?;
    let program = bench.programs.root.as_fd();
    let (hook, returned) = (Hook::Xdp, XDP_PASS);
    let measured = Measured { hook, program, frame: &frame, returned, leaves: None };
    Ok(figure("shield-0", measured.over(bench, options)?, "ns", "the root with empty slots"))
}
