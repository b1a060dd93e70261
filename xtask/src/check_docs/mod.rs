//! `cargo xtask check-docs`: tries every link, path, command and configuration of the documents.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::count::Count;
use crate::markdown::Document;
use crate::run::{self, Show};
use crate::workspace::{Finding, Workspace};

mod commands;
mod links;
mod paths;

/// The info string of a block that is a whole configuration.
const WHOLE: &str = "toml weir";

/// Runs the verb.
///
/// # Errors
/// When the checkout cannot be read or built.
pub(crate) fn run() -> Result<bool> {
    if !run::build("--bins")? {
        bail!("the workspace does not build, so its documents cannot be tried");
    }
    let count = check_all()?;
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(count.failed == 0)
}

/// Checks every document; each is one check. Needs the workspace built.
///
/// # Errors
/// When the checkout cannot be read.
pub(crate) fn check_all() -> Result<Count> {
    let workspace = Workspace::read(&run::root())?;
    let mut helps = commands::Helps::new(&weir_help);
    let mut count = Count::default();
    let (mut links, mut blocks) = (0, 0);
    for (path, text) in workspace.documents() {
        let document = Document::parse(text);
        let mut findings = links::broken(&workspace, path, &document);
        findings.extend(paths::missing(&workspace, path, &document));
        findings.extend(commands::refused(path, &document, &mut helps));
        findings.extend(configurations(path, &document)?);
        findings.iter().for_each(|finding| println!("  {finding}"));
        count += Count::one(findings.is_empty());
        links += document.links().len();
        blocks += document.blocks.len();
    }
    println!("{links} links and {blocks} blocks tried");
    Ok(count)
}

/// Blocks that claim to be whole configurations and that `weir check` refuses.
fn configurations(path: &str, document: &Document) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for block in document.blocks.iter().filter(|block| block.info == WHOLE) {
        let weir = run::weir()?;
        let folder = weir.with_file_name("xtask-docs");
        fs::create_dir_all(&folder).with_context(|| format!("{}: create", folder.display()))?;
        let file = folder.join(format!("{}-{}.toml", path.replace('/', "-"), block.line));
        let body = block.body.join("\n") + "\n";
        fs::write(&file, body).with_context(|| format!("{}: write", file.display()))?;
        let mut check = run::command(&weir.to_string_lossy());
        let finished = run::finish(check.arg("check").arg(&file), Show::OnFailure)?;
        if !finished.ok {
            findings.push(Finding::new(path, block.line, "`weir check` refuses this block"));
        }
    }
    Ok(findings)
}

fn weir_help(words: &[String]) -> Result<String> {
    let mut command = run::command(&run::weir()?.to_string_lossy());
    let finished = run::finish(command.args(words).arg("--help"), Show::Never)?;
    if !finished.ok {
        bail!("`weir {} --help` fails", words.join(" "));
    }
    Ok(finished.text)
}
