//! `weir packet capture`: packets with their verdicts, as pcapng.

use anyhow::{Context, bail};
use clap::Args;
use packet_abi::verdict::{Kind, Reason};
use packet_loader::Home;
use packet_loader::capture::{self, Options as What, SNAP_MAX};
use process_runtime::signals::Signals;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Every kind of verdict, for words of the command line.
const KINDS: [Kind; 5] = [Kind::Pass, Kind::Local, Kind::Send, Kind::Reply, Kind::Drop];

/// What is captured.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The pcapng file to write; - for standard output.
    file: PathBuf,
    /// `name` of the packet path's [packet].
    #[arg(long, default_value = core_model::defaults::PACKET_NAME)]
    name: String,
    /// Packets after which it ends; INT ends it as well.
    #[arg(long)]
    count: Option<u64>,
    /// Seconds after which it ends.
    #[arg(long)]
    seconds: Option<u64>,
    /// Only packets of this reason, such as not_vip; may be given several times.
    #[arg(long = "reason", value_parser = reason)]
    reasons: Vec<Reason>,
    /// Only packets with this verdict: pass, local, send, reply or drop; may be given several
    /// times.
    #[arg(long = "verdict", value_parser = kind)]
    kinds: Vec<Kind>,
    /// Octets of a frame that are kept.
    #[arg(long, default_value_t = SNAP_MAX)]
    snap: usize,
}

fn reason(word: &str) -> Result<Reason, String> {
    let known = Reason::ALL.iter().find(|reason| reason.word() == word).copied();
    known.ok_or_else(|| "not a reason; `weir packet status --all` lists them".to_owned())
}

fn kind(word: &str) -> Result<Kind, String> {
    let known = KINDS.into_iter().find(|kind| kind.word() == word);
    known.ok_or_else(|| "pass, local, send, reply or drop".to_owned())
}

/// `weir packet capture`.
///
/// # Errors
/// Nothing is loaded, another capture runs, or the file cannot be written.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.snap == 0 || options.snap > SNAP_MAX {
        bail!("--snap {}: give 1 to {SNAP_MAX} octets", options.snap);
    }
    let home = Home::at(Path::new(packet_loader::pins::ROOT), &options.name)?;
    let what = What {
        snap: options.snap,
        packets_max: options.count,
        time_max: options.seconds.map(Duration::from_secs),
        reasons: options.reasons.clone(),
        kinds: options.kinds.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(until_told(home, what, &options.file))?;
    eprintln!(
        "{} packets written, {} of other reasons, {} lost since they came too fast",
        summary.written, summary.passed_over, summary.lost
    );
    Ok(ExitCode::SUCCESS)
}

/// Captures in a thread of its own, until it ends or a signal ends it.
async fn until_told(home: Home, what: What, file: &Path) -> anyhow::Result<capture::Summary> {
    // Before the file is there: whoever sees it may send one.
    let mut signals = Signals::new().context("signals")?;
    let out: Box<dyn Write + Send> = match file.to_str() {
        Some("-") => Box::new(io::stdout()),
        _ => Box::new(File::create(file).with_context(|| file.display().to_string())?),
    };
    let mut out = BufWriter::new(out);
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let mut work =
        tokio::task::spawn_blocking(move || capture::capture(&home, &what, &mut out, &told));
    loop {
        tokio::select! {
            done = &mut work => return Ok(done??),
            order = signals.next() => if order.ends() {
                stop.store(true, Relaxed);
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_table_of_reasons() {
        for one in Reason::ALL {
            assert_eq!(reason(one.word()), Ok(*one));
            assert_eq!(kind(one.kind().word()), Ok(one.kind()));
        }
        assert!(reason("nonsense").is_err() && kind("nonsense").is_err());
    }
}
