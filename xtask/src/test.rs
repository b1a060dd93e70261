//! `cargo xtask test`: every group of tests and checks in order, each with its time and counts.
//!
//! A failing group does not stop later ones. The last line is `N passed, M failed`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::count::{self, Count};
use crate::run::{self, Show};
use crate::{check_docs, packages, soak, tidy};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run one group only, with the groups it needs
    #[arg(long, value_enum)]
    group: Option<Group>,
}

/// The groups, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Group {
    /// The format of the source
    Fmt,
    /// Clippy's lints as errors
    Clippy,
    /// The conventions of STYLE.md
    Tidy,
    /// Debian packages that tests use; installs what is missing
    Packages,
    /// Every target of the workspace, built once
    Build,
    /// Unit, property and integration tests
    Tests,
    /// Examples in the documentation of the source
    Doctests,
    /// Links, commands and configuration blocks of the documents
    Docs,
    /// Each file in examples/ as `weir check` sees it
    Examples,
    /// Licences, bans and advisories, where cargo-deny is installed
    Deny,
}

impl Group {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Groups without which this one says nothing.
    fn needs(self) -> &'static [Self] {
        match self {
            Self::Tests => &[Self::Packages, Self::Build],
            Self::Docs | Self::Examples => &[Self::Build],
            _ => &[],
        }
    }
}

struct Done {
    group: Group,
    count: Count,
    seconds: f64,
}

/// Runs the verb.
///
/// # Errors
/// None: what goes wrong in a group is a failure of that group.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let wanted = |group: &Group| {
        args.group.is_none_or(|only| only == *group || only.needs().contains(group))
    };
    let mut all: Vec<Done> = Vec::new();
    for group in Group::value_variants().iter().copied().filter(wanted) {
        println!("── {}", group.name());
        let start = Instant::now();
        let count = outcome(group, &all);
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", line(group, count, seconds));
        all.push(Done { group, count, seconds });
    }
    println!("── all groups");
    let mut sum = Count::default();
    for done in &all {
        println!("{}", line(done.group, done.count, done.seconds));
        sum += done.count;
    }
    println!("{:.0} s", all.iter().map(|done| done.seconds).sum::<f64>());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    Ok(sum.failed == 0)
}

fn line(group: Group, count: Count, seconds: f64) -> String {
    let Count { passed, failed } = count;
    format!("{:<9} {passed:>6} ok {failed:>4} not ok {seconds:>7.1} s", group.name())
}

fn outcome(group: Group, before: &[Done]) -> Count {
    let broken = |need: &&Group| before.iter().any(|b| b.group == **need && b.count.failed > 0);
    if let Some(need) = group.needs().iter().find(broken) {
        println!("not run: {} failed", need.name());
        return Count::one(false);
    }
    perform(group).unwrap_or_else(|error| {
        println!("error: {error:#}");
        Count::one(false)
    })
}

fn perform(group: Group) -> Result<Count> {
    match group {
        Group::Fmt => simple(&["fmt", "--all", "--check"]),
        Group::Clippy => {
            let lint = ["clippy", "--quiet", "--workspace", "--all-targets", "--locked"];
            simple(&[&lint[..], &["--", "-D", "warnings"]].concat())
        }
        Group::Tidy => tidy::check_all(),
        Group::Packages => packages::install().map(|()| Count::default()),
        Group::Build => run::build("--all-targets").map(|ok| Count::default().with_exit(ok)),
        Group::Tests => tests(),
        Group::Doctests => doctests(),
        Group::Docs => check_docs::check_all(),
        Group::Examples => examples(),
        Group::Deny => deny(),
    }
}

fn simple(args: &[&str]) -> Result<Count> {
    Ok(Count::one(run::finish(&mut run::cargo(args), Show::OnFailure)?.ok))
}

fn tests() -> Result<Count> {
    let mut command = soak::tests("default", "");
    let finished = run::finish(soak::seeded(&mut command, soak::SEED), Show::Live)?;
    let count = count::tests(&finished.text).with_exit(finished.ok);
    if count == Count::default() {
        bail!("no test ran");
    }
    Ok(count)
}

fn doctests() -> Result<Count> {
    let args = ["test", "--quiet", "--workspace", "--doc", "--locked", "--no-fail-fast"];
    let finished = run::finish(&mut run::cargo(&args), Show::OnFailure)?;
    Ok(count::tests(&finished.text).with_exit(finished.ok))
}

/// Copies the examples into `folder`, so that what they need can be made beside them.
fn copied_examples(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(run::root().join("examples"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let copy = folder.join(path.file_name().unwrap_or_default());
            std::fs::copy(&path, &copy)?;
            files.push(copy);
        }
    }
    files.sort();
    Ok(files)
}

fn examples() -> Result<Count> {
    let weir = run::weir()?;
    let folder = run::root().join("target/examples-tried");
    let files = copied_examples(&folder.join("examples"))?;
    let mut sum = Count::default();
    for file in files {
        // What a comment tells the reader to make first is made.
        for line in std::fs::read_to_string(&file)?.lines() {
            if let Some(arguments) = line.strip_prefix("#   openssl ") {
                let mut openssl = run::command("openssl");
                openssl.args(arguments.split_whitespace()).current_dir(&folder);
                run::finish(&mut openssl, Show::Never)?;
            }
        }
        let mut check = run::command(&weir.to_string_lossy());
        let ok = run::finish(check.arg("check").arg(&file), Show::OnFailure)?.ok;
        if !ok {
            println!("{}: weir check refuses it", file.display());
        }
        sum += Count::one(ok);
    }
    if sum == Count::default() {
        bail!("examples/ holds no configuration");
    }
    Ok(sum)
}

fn deny() -> Result<Count> {
    if !run::answers(&mut run::cargo(&["deny", "--version"])) {
        println!("skipped: cargo-deny is not installed (`cargo install cargo-deny --locked`)");
        return Ok(Count::default());
    }
    let mut count = simple(&["deny", "check", "bans", "licenses", "sources"])?;
    let advisories = run::finish(&mut run::cargo(&["deny", "check", "advisories"]), Show::Never)?;
    if !advisories.ok && advisories.text.contains("advisory database") {
        println!("advisories skipped: their database cannot be fetched from here");
    } else {
        print!("{}", if advisories.ok { "" } else { &advisories.text });
        count += Count::one(advisories.ok);
    }
    Ok(count)
}
