//! The lives and the promises: what they name exists, and a life is read within its budget.

use std::collections::BTreeSet;

use crate::markdown::{Document, spans};
use crate::workspace::{Finding, Workspace};

/// How many files a reader opens to follow a life from end to end.
const LIVES: [(&str, usize); 3] = [
    ("docs/life-of-a-packet.md", 8),
    ("docs/life-of-a-request.md", 12),
    ("docs/life-of-a-change.md", 8),
];
/// The claims, each with its command.
const PROMISES: &str = "docs/promises.md";
/// The header of the table column that holds commands.
const COLUMN: &str = "command";
/// Marks a claim without a command.
const UNPROVEN: &str = "unproven";

/// Lives over their budget or naming files that do not exist; promises without a command.
pub(crate) fn lives_and_promises(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, budget) in LIVES {
        if let Some(text) = workspace.files.get(path) {
            life(workspace, path, text, budget, &mut findings);
        }
    }
    if let Some(text) = workspace.files.get(PROMISES) {
        promises(text, &mut findings);
    }
    findings
}

fn life(workspace: &Workspace, path: &str, text: &str, budget: usize, to: &mut Vec<Finding>) {
    let document = Document::parse(text);
    let mut named = BTreeSet::new();
    for (line, span) in document.spans().filter(|(_, span)| span.ends_with(".rs")) {
        named.insert(span);
        if !workspace.files.contains_key(span) {
            let what = format!("`{span}` does not exist: write its path from the root");
            to.push(Finding::new(path, line, what));
        }
    }
    if named.is_empty() {
        to.push(Finding::new(path, 1, "names no file: give each stage its path in backticks"));
    }
    if named.len() > budget {
        let what = format!("names {} files, over {budget}: shorten the path", named.len());
        to.push(Finding::new(path, 1, what));
    }
}

fn promises(text: &str, to: &mut Vec<Finding>) {
    let document = Document::parse(text);
    let mut column: Option<usize> = None;
    for (line, row) in &document.prose {
        let cells: Vec<&str> = row.trim().trim_matches('|').split('|').map(str::trim).collect();
        if !row.trim_start().starts_with('|') {
            column = None;
        } else if let Some(at) = column {
            let cell: &str = cells.get(at).copied().unwrap_or("");
            let rule = cell.chars().all(|c| matches!(c, '-' | ':')) && !cell.is_empty();
            if !rule && !proven(cell) {
                let what = "give the command in backticks (cargo … or weir …), or say unproven";
                to.push(Finding::new(PROMISES, *line, what));
            }
        } else {
            column = cells.iter().position(|cell| cell.eq_ignore_ascii_case(COLUMN));
        }
    }
    for block in document.blocks.iter().filter(|block| block.info == "sh") {
        for (index, row) in block.body.iter().enumerate() {
            if !row.trim().is_empty() && !row.starts_with(' ') && !is_command(row) {
                let what = "a command here starts with cargo or weir";
                to.push(Finding::new(PROMISES, block.line + index + 1, what));
            }
        }
    }
}

fn proven(cell: &str) -> bool {
    let mut commands = spans(cell).peekable();
    let named = commands.peek().is_some();
    (named && commands.all(is_command)) || cell.to_lowercase().contains(UNPROVEN)
}

fn is_command(text: &str) -> bool {
    let text = text.trim_start_matches("$ ");
    let first = text.split_whitespace().find(|word| !word.contains('=')).unwrap_or_default();
    text.starts_with('#') || matches!(first, "cargo" | "weir")
}
