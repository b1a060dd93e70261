//! Starts other programs from the root of the checkout, shows what they print and keeps a copy.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result, bail};

/// What a finished program left behind.
pub(crate) struct Finished {
    /// Whether it exited with 0.
    pub(crate) ok: bool,
    /// Standard output and standard error, line by line as they came.
    pub(crate) text: String,
}

/// Whether the output of a program is passed on while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// Every line as it comes.
    Live,
    /// Everything at the end, and only if the program failed.
    OnFailure,
    /// Nothing.
    Never,
}

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = env::var("CARGO_MANIFEST_DIR")
        .map_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or_else(|| here.clone(), Path::to_path_buf)
}

/// A command that runs at the root with no input, free of the variables that `cargo run` sets for
/// this package and of colour codes.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.env("CARGO_TERM_COLOR", "never").env("CARGO_TERM_PROGRESS_WHEN", "never");
    command
}

/// `cargo` with arguments.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut cargo = command("cargo");
    cargo.args(args);
    cargo
}

/// Runs a command to its end.
///
/// # Errors
/// When the program cannot be started.
pub(crate) fn finish(command: &mut Command, show: Show) -> Result<Finished> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
        bail!("{program} has no pipes")
    };
    let (sender, lines) = mpsc::channel();
    let mut text = String::new();
    thread::scope(|scope| {
        let other = sender.clone();
        scope.spawn(move || pass_on(out, &sender));
        scope.spawn(move || pass_on(err, &other));
        for line in lines {
            if show == Show::Live {
                println!("{line}");
            }
            text.push_str(&line);
            text.push('\n');
        }
    });
    let ok = child.wait().with_context(|| format!("{program} was lost"))?.success();
    if show == Show::OnFailure && !ok {
        print!("{text}");
    }
    Ok(Finished { ok, text })
}

fn pass_on(from: impl Read, to: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
        line.clear();
        if to.send(text).is_err() {
            return;
        }
    }
}

/// Whether a program answers to `--version`-like arguments.
pub(crate) fn answers(command: &mut Command) -> bool {
    finish(command, Show::Never).is_ok_and(|finished| finished.ok)
}

/// Where an executable lies; the folders for administration count too.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    uid.split_whitespace().nth(1) == Some("0")
}

/// Builds the whole workspace: `--all-targets`, once in the profile and with the features of the
/// tests, or `--bins`.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn build(targets: &str) -> Result<bool> {
    let mut build = cargo(&["build", "--quiet", "--workspace", targets, "--locked"]);
    Ok(finish(&mut build, Show::Live)?.ok)
}

/// The `weir` program that [`build`] leaves beside this one.
///
/// # Errors
/// When it is not there.
pub(crate) fn weir() -> Result<PathBuf> {
    let mine = env::current_exe().context("the path of this program is unknown")?;
    let weir = mine.with_file_name("weir");
    if !weir.is_file() {
        bail!("{} is not built: run `cargo build --workspace`", weir.display());
    }
    Ok(weir)
}
