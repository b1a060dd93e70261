//! `cargo xtask fuzz`: replays the committed corpora as tests, or fuzzes one target for a time.

use std::fs;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::count;
use crate::run::{self, Show};

/// What to fuzz.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Replay every committed corpus as tests, on the project's own toolchain
    Replay,
    /// Fuzz one target with new inputs; needs a nightly toolchain
    Run {
        /// A target of fuzz/Cargo.toml
        target: String,
        /// How long, in seconds
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// List the targets
    List,
}

/// Runs the verb.
///
/// # Errors
/// When a tool is missing and cannot be installed.
pub(crate) fn run(args: &Args) -> Result<bool> {
    match &args.what {
        What::Replay => replay(),
        What::Run { target, seconds } => fuzz(target, *seconds),
        What::List => {
            targets()?.iter().for_each(|target| println!("{target}"));
            Ok(true)
        }
    }
}

fn replay() -> Result<bool> {
    let packages =
        ["core-wire", "control-api", "process-runtime", "request-proxy", "packet-fixtures"]
            .map(|name| ["-p", name]);
    let packages = packages.concat();
    let args = [&["test", "--locked"][..], &packages, &["corpus"]].concat();
    let finished = run::finish(&mut run::cargo(&args), Show::Live)?;
    let mut count = count::tests(&finished.text).with_exit(finished.ok);
    if count.passed + count.failed == 0 {
        println!("no test replays a corpus: its name must contain `corpus`");
        count.failed = 1;
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(count.failed == 0)
}

fn fuzz(target: &str, seconds: u32) -> Result<bool> {
    let known = targets()?;
    if !known.iter().any(|name| name == target) {
        bail!("no target {target}; there are: {}", known.join(", "));
    }
    if !run::answers(run::command("rustup").args(["run", "nightly", "rustc", "--version"])) {
        bail!("fuzzing needs a nightly toolchain: run `rustup toolchain install nightly`");
    }
    if !run::answers(&mut run::cargo(&["fuzz", "--version"])) {
        println!("installing cargo-fuzz");
        let mut install = run::cargo(&["install", "cargo-fuzz", "--locked"]);
        if !run::finish(&mut install, Show::OnFailure)?.ok {
            bail!("cargo-fuzz cannot be installed");
        }
    }
    let mut command = run::command("rustup");
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").env_remove("LD_LIBRARY_PATH");
    // The first folder takes what is found; the committed corpus is read only.
    let found = run::root().join("fuzz/target/found").join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let corpus = run::root().join("fuzz/corpus").join(target);
    command.args(["run", "nightly", "cargo", "fuzz", "run", target]).arg(found).arg(corpus);
    command.arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    let ok = run::finish(&mut command, Show::Live)?.ok;
    println!("cargo xtask fuzz run {target} --seconds {seconds}: {}", verdict(ok));
    Ok(ok)
}

fn verdict(ok: bool) -> &'static str {
    if ok { "clean" } else { "a finding, see fuzz/artifacts" }
}

fn targets() -> Result<Vec<String>> {
    let path = run::root().join("fuzz/Cargo.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("{}: read", path.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let bins = manifest.get("bin").and_then(toml::Value::as_array);
    let name = |bin: &toml::Value| Some(bin.get("name")?.as_str()?.to_owned());
    Ok(bins.into_iter().flatten().filter_map(name).collect())
}
