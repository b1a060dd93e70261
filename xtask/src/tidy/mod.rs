//! `cargo xtask tidy`: the conventions of STYLE.md, each as a check over the files of the checkout.
//!
//! A check is a function from the workspace to findings; it reads no file itself, so that its test
//! is a table of files and findings.

use anyhow::Result;

use crate::count::Count;
use crate::run;
use crate::workspace::{Finding, Workspace};

mod direction;
mod documents;
mod manifest;
mod reasons;
mod rows;
mod size;
pub(crate) mod source;
mod stories;
#[cfg(test)]
mod tests;
mod words;

type Check = fn(&Workspace) -> Vec<Finding>;

const CHECKS: [(&str, Check); 22] = [
    ("packages depend downwards only", direction::downwards),
    ("core depends on no runtime", direction::core_packages),
    ("core names no clock, socket or thread", direction::core_words),
    ("members inherit lints", manifest::lints),
    ("the lock file is committed", manifest::lock),
    ("files open with their job", words::header),
    ("sizes stay within the ratchet", size::ratchet),
    ("lines fit", size::lines),
    ("mains are thin", size::mains),
    ("limits say why", words::limits),
    ("unsafe stays in its folders", words::unsafe_places),
    ("unsafe says why it is sound", words::unsafe_reasons),
    ("no test is ignored, nothing is left to do", words::leftovers),
    ("lints are expected, not allowed", words::allows),
    ("comments do not age", words::ageing),
    ("no path of one machine", words::machine_paths),
    ("documents have one title", documents::titles),
    ("decisions have their form", documents::decisions),
    ("lives and promises point at what exists", stories::lives_and_promises),
    ("the eBPF object is of its sources", crate::ebpf::fresh),
    ("security rows have their tests", rows::rows),
    ("reasons have a fixture, a sentence and a counter", reasons::reasons),
];

/// Runs the verb.
///
/// # Errors
/// When the checkout cannot be read.
pub(crate) fn run() -> Result<bool> {
    let count = check_all()?;
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(count.failed == 0)
}

/// Runs every check over the checkout and prints what they find.
///
/// # Errors
/// When the checkout cannot be read.
pub(crate) fn check_all() -> Result<Count> {
    let workspace = Workspace::read(&run::root())?;
    let mut count = Count::default();
    for (name, check) in CHECKS {
        let findings = check(&workspace);
        if !findings.is_empty() {
            println!("{name}: {} findings", findings.len());
            findings.iter().for_each(|finding| println!("  {finding}"));
        }
        count += Count::one(findings.is_empty());
    }
    Ok(count)
}
