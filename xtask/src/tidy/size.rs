//! Sizes: files, functions and lines, with a list of exemptions that may only shrink.

use crate::workspace::{Finding, Workspace};

/// A file longer than a few screens hides a second job. In lines without tests.
const FILE_MAX: usize = 600;
/// A function fits a screen. In lines from `fn` to the closing brace.
const FUNCTION_MAX: usize = 70;
/// Two files side by side fit a screen. In characters.
const LINE_MAX: usize = 100;
/// The exemptions.
const SIZES: &str = "xtask/sizes.txt";
/// A main wires and no more. In lines.
const MAINS: [(&str, usize); 2] = [("xtask/src/main.rs", 80), ("process/weir/src/main.rs", 150)];

/// What was measured: path, function or nothing, line, size, limit.
struct Measured<'a> {
    path: &'a str,
    function: String,
    line: usize,
    lines: usize,
    limit: usize,
}

/// Files and functions past their limit and past their allowance; allowances wider than needed.
pub(crate) fn ratchet(workspace: &Workspace) -> Vec<Finding> {
    let text = workspace.files.get(SIZES).map_or("", String::as_str);
    let measured = measure(workspace);
    let mut findings = Vec::new();
    let mut allowances = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match allowance(line) {
            Some((path, function, lines)) => allowances.push((index + 1, path, function, lines)),
            None => findings.push(Finding::new(SIZES, index + 1, "write `PATH [FUNCTION] LINES`")),
        }
    }
    for one in &measured {
        let allowed = allowances.iter().find(|(_, p, f, _)| (*p, *f) == (one.path, &one.function));
        let limit = allowed.map_or(one.limit, |(_, _, _, lines)| *lines);
        if one.lines > limit {
            findings.push(Finding::new(one.path, one.line, over(one, limit)));
        }
    }
    for (line, path, function, lines) in allowances {
        let same = |m: &&Measured<'_>| (m.path, m.function.as_str()) == (path, function);
        let most = measured.iter().filter(same).map(|m| m.lines).max().unwrap_or(0);
        if most < lines {
            let what = format!("allows {lines} lines where {most} are measured: lower it");
            findings.push(Finding::new(SIZES, line, what));
        }
    }
    findings
}

fn over(one: &Measured<'_>, limit: usize) -> String {
    let Measured { function, lines, .. } = one;
    if function.is_empty() {
        format!("{lines} lines without tests, over {limit}: split the file by job")
    } else {
        format!("`{function}` has {lines} lines, over {limit}: name its stages as functions")
    }
}

/// Only what exceeds its limit: an allowance for anything else is wider than measured.
fn measure(workspace: &Workspace) -> Vec<Measured<'_>> {
    let mut measured = Vec::new();
    for source in &workspace.sources {
        if source.is_test_file() {
            continue;
        }
        let path = source.path.as_str();
        let mut add = |function: String, line, lines, limit| {
            if lines > limit {
                measured.push(Measured { path, function, line, lines, limit });
            }
        };
        add(String::new(), 1, source.lines_without_tests(), FILE_MAX);
        for function in source.functions() {
            if !source.is_test(function.line) {
                add(function.name, function.line, function.lines, FUNCTION_MAX);
            }
        }
    }
    measured
}

fn allowance(line: &str) -> Option<(&str, &str, usize)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [path, lines] => Some((path, "", lines.parse().ok()?)),
        [path, function, lines] => Some((path, function, lines.parse().ok()?)),
        _ => None,
    }
}

/// Lines of Rust past the width; an address that cannot be broken is let be.
pub(crate) fn lines(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &workspace.sources {
        for (index, line) in source.text.lines().enumerate() {
            let width = line.chars().count();
            if width > LINE_MAX && !line.contains("://") {
                let what = format!("{width} columns, over {LINE_MAX}: break the line");
                findings.push(Finding::new(&source.path, index + 1, what));
            }
        }
    }
    findings
}

/// Mains past their budget.
pub(crate) fn mains(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, limit) in MAINS {
        let lines = workspace.files.get(path).map_or(0, |text| text.lines().count());
        if lines > limit {
            let what = format!("{lines} lines, over {limit}: a main wires, move the rest");
            findings.push(Finding::new(path, 1, what));
        }
    }
    findings
}
