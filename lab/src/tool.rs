//! Runs the system's tools: ip, tc, ethtool, iptables. What they say goes into the error.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Tools that the lab needs, with the Debian packages that bring them.
pub const NEEDED: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ethtool", "ethtool"),
    ("iptables", "iptables"),
    ("ip6tables", "iptables"),
];

/// Where a tool lies; folders for administration count too.
#[must_use]
pub fn which(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(tool))
        .find(|file| file.is_file())
}

/// A tool with its arguments.
fn command(words: &[&str]) -> Result<Command> {
    let (tool, words) = words.split_first().context("an empty command")?;
    let Some(file) = which(tool) else {
        let package = NEEDED.iter().find(|(name, _)| name == tool).map_or(*tool, |(_, p)| *p);
        bail!("{tool} is not installed: install the package {package}");
    };
    let mut command = Command::new(file);
    command.args(words).stdin(Stdio::null());
    Ok(command)
}

/// Runs a tool, whose arguments are separated by spaces, and gives what it printed.
///
/// # Errors
/// When it is not installed or fails, with what it said.
pub fn run(line: &str) -> Result<String> {
    run_words(&line.split_whitespace().collect::<Vec<_>>())
}

/// Runs a tool whose arguments have spaces in them.
///
/// # Errors
/// As [`run`].
pub fn run_words(words: &[&str]) -> Result<String> {
    finish(command(words)?, &words.join(" "), None)
}

/// Runs a tool on lines of input.
///
/// # Errors
/// As [`run`].
pub fn feed(line: &str, input: &str) -> Result<String> {
    let mut command = command(&line.split_whitespace().collect::<Vec<_>>())?;
    command.stdin(Stdio::piped());
    finish(command, line, Some(input))
}

/// Runs any program to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started or fails, with what it said.
pub fn program(file: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(file);
    command.args(arguments).stdin(Stdio::null());
    finish(command, &format!("{} {}", file.display(), arguments.join(" ")), None)
}

fn finish(mut command: Command, line: &str, input: Option<&str>) -> Result<String> {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("starting `{line}`"))?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(input.as_bytes()).with_context(|| format!("writing to `{line}`"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let more = String::from_utf8_lossy(&output.stdout);
        bail!("`{line}` failed ({}): {said} {}", output.status, more.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
