//! The reasons of the packet path: each has a fixture, a sentence and a counter.

use std::collections::BTreeSet;

use packet_abi::verdict::Reason;

use crate::workspace::{Finding, Workspace};

/// The folder of the fixtures.
const FOLDER: &str = "packet/loader/tests/fixtures/";
/// Reasons whose tests are no fixtures: `reason path` with the file that holds one, or `reason
/// waits for something`.
const ELSEWHERE: &str = "packet/loader/tests/fixtures/elsewhere.txt";
/// What a reason says that has no test yet.
const WAITS: &str = "waits for ";
/// Where reasons are.
const TABLE: &str = "packet/abi/src/verdict.rs";
/// Where the counters are.
const MAPS: &str = "packet/ebpf/src/kernel/maps.rs";
/// One counter for each reason.
const COUNTERS: &str = "COUNTERS: PerCpuArray<Count> = PerCpuArray::with_max_entries(REASONS";

/// Reasons without a fixture or a sentence, counters that are too few, and lines of the list that
/// name nothing.
pub(crate) fn reasons(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut held = held_by_fixtures(workspace);
    for (line, text) in (1..).zip(workspace.files.get(ELSEWHERE).map_or("", |t| t).lines()) {
        if text.starts_with('#') || text.trim().is_empty() {
            continue;
        }
        match elsewhere(workspace, text) {
            Ok(word) if held.insert(word.clone()) => {}
            Ok(word) => {
                let what = format!("`{word}` has a fixture, or stands here twice");
                findings.push(Finding::new(ELSEWHERE, line, what));
            }
            Err(what) => findings.push(Finding::new(ELSEWHERE, line, what)),
        }
    }
    for reason in Reason::ALL {
        if !held.contains(reason.word()) {
            let what = format!("`{}` has no fixture in {FOLDER}", reason.word());
            findings.push(Finding::new(TABLE, 1, what));
        }
        if reason.says().split_whitespace().count() < SENTENCE_LEAST || reason.says().ends_with('.')
        {
            let what = format!("`{}` says nothing, or ends in a full stop", reason.word());
            findings.push(Finding::new(TABLE, 1, what));
        }
    }
    if !workspace.files.get(MAPS).is_some_and(|text| text.contains(COUNTERS)) {
        let what = format!("reasons have one counter each: `{COUNTERS}`");
        findings.push(Finding::new(MAPS, 1, what));
    }
    findings
}

/// Words of a sentence at least.
const SENTENCE_LEAST: usize = 3;

/// Words of verdicts in fixtures: those that stand there, and those that a row fills in.
fn held_by_fixtures(workspace: &Workspace) -> BTreeSet<String> {
    let texts = workspace.files.iter().filter(|(path, _)| {
        path.starts_with(FOLDER) && path.ends_with(".txt") && *path != ELSEWHERE
    });
    let mut held = BTreeSet::new();
    for line in texts.flat_map(|(_, text)| text.lines()) {
        if let Some(verdict) = line.strip_prefix("is: ") {
            held.extend(verdict.split_whitespace().nth(1).map(str::to_owned));
        }
    }
    held
}

/// The word of a line of the list, if there is such a reason and the file names it.
fn elsewhere(workspace: &Workspace, line: &str) -> Result<String, String> {
    let (word, path) = line.split_once(' ').ok_or("a line is a reason and a file")?;
    let reason = Reason::ALL.iter().find(|reason| reason.word() == word);
    let reason = reason.ok_or_else(|| format!("there is no reason `{word}`"))?;
    if path.starts_with(WAITS) {
        return Ok(word.to_owned());
    }
    let text = workspace.files.get(path).ok_or_else(|| format!("there is no file `{path}`"))?;
    let named = text.contains(&format!("{reason:?}")) || text.contains(word);
    if named { Ok(word.to_owned()) } else { Err(format!("`{path}` does not name `{word}`")) }
}
