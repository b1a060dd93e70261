//! The form of documents: one title each; decisions short, with their three parts.

use crate::markdown::Document;
use crate::workspace::{Finding, Workspace};

/// A decision is read whole before it is doubted. In lines.
const DECISION_MAX: usize = 60;
/// The conventions are read in one sitting. In lines.
const STYLE_MAX: usize = 120;
/// The headings of a decision.
const PARTS: [&str; 3] = ["Question", "Choice", "What would reverse it"];

/// Documents without exactly one `# title`, on the first line.
pub(crate) fn titles(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in workspace.documents() {
        let document = Document::parse(text);
        let titles: Vec<usize> = document.headings().filter(|h| h.1 == 1).map(|h| h.0).collect();
        match titles.as_slice() {
            [1] => {}
            [] => findings.push(Finding::new(path, 1, "has no `# title`: open with one")),
            [line] => findings.push(Finding::new(path, *line, "the title belongs on line 1")),
            [_, rest @ ..] => findings.extend(
                rest.iter().map(|line| Finding::new(path, *line, "a second title: use `##`")),
            ),
        }
    }
    findings
}

/// Decisions that are too long, misnamed or incomplete; conventions that are too long.
pub(crate) fn decisions(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut numbers: Vec<&str> = Vec::new();
    for (path, text) in workspace.documents() {
        if path == "STYLE.md" && text.lines().count() > STYLE_MAX {
            findings.push(Finding::new(path, 1, format!("over {STYLE_MAX} lines: shorten it")));
        }
        let Some(name) = path.strip_prefix("docs/decisions/") else { continue };
        let number = name.split('-').next().unwrap_or_default();
        if number.len() != 4 || !number.chars().all(|c| c.is_ascii_digit()) {
            findings.push(Finding::new(path, 1, "name it NNNN-title.md"));
        }
        if numbers.contains(&number) {
            findings.push(Finding::new(path, 1, format!("{number} is taken: take the next")));
        }
        numbers.push(number);
        if text.lines().count() > DECISION_MAX {
            findings.push(Finding::new(path, 1, format!("over {DECISION_MAX} lines: shorten it")));
        }
        let document = Document::parse(text);
        for part in PARTS {
            if !document.headings().any(|(_, _, heading)| heading == part) {
                findings.push(Finding::new(path, 1, format!("has no `## {part}`: add it")));
            }
        }
    }
    findings
}
