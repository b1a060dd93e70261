//! The security rows: each has its tests, named by its number, or says what it waits for.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::markdown::{Document, spans};
use crate::workspace::{Finding, Workspace};

/// The list.
const LIST: &str = "docs/security-rows.md";
/// Where tests of rows are: those that send the bytes of a row to a running process.
const TESTS: &str = "process/weir/tests/";
/// The numbers that rows have; those between them were merged into others.
const ROWS: [RangeInclusive<u32>; 8] =
    [1..=12, 14..=23, 25..=29, 31..=33, 35..=35, 40..=45, 47..=60, 70..=91];
/// What a row may wait for.
const FEATURES: [&str; 7] =
    ["HTTP/2", "HTTP/3", "FastCGI", "caching", "decompression", "mirroring", "templates"];
/// What a row says that has no test yet.
const WAITS: &str = "waits for ";

/// A line of the list.
struct Row<'a> {
    line: usize,
    cell: &'a str,
}

/// Rows that are missing, tests that do not exist or are not named, rows that wait for nothing.
pub(crate) fn rows(workspace: &Workspace) -> Vec<Finding> {
    let Some(text) = workspace.files.get(LIST) else { return Vec::new() };
    let document = Document::parse(text);
    let mut findings = Vec::new();
    let mut listed: BTreeMap<u32, Row<'_>> = BTreeMap::new();
    for (line, text) in &document.prose {
        let mut cells = text.trim().trim_matches('|').split('|').map(str::trim);
        let Some(number) = cells.next().and_then(|cell| cell.parse().ok()) else { continue };
        let Some(cell) = cells.nth(1) else { continue };
        if !ROWS.iter().any(|range| range.contains(&number)) {
            findings.push(Finding::new(LIST, *line, format!("there is no row {number}")));
        } else if listed.insert(number, Row { line: *line, cell }).is_some() {
            findings.push(Finding::new(LIST, *line, format!("row {number} is here twice")));
        }
    }
    let tests = tests(workspace);
    for number in ROWS.into_iter().flatten() {
        match listed.get(&number) {
            None => findings.push(Finding::new(LIST, 1, format!("row {number} is missing"))),
            Some(row) => compare(number, row, &tests, &mut findings),
        }
    }
    findings
}

/// Number and name of every test of a row.
fn tests(workspace: &Workspace) -> Vec<(u32, String)> {
    let sources = workspace.sources.iter().filter(|source| source.path.starts_with(TESTS));
    let names = sources.flat_map(|source| source.functions()).map(|function| function.name);
    names.filter_map(|name| Some((number(&name)?, name))).collect()
}

/// The number of a test of a row: `row_07_…` is one of row 7.
fn number(name: &str) -> Option<u32> {
    let digits = name.strip_prefix("row_")?.split('_').next()?;
    digits.parse().ok()
}

fn compare(number: u32, row: &Row<'_>, tests: &[(u32, String)], to: &mut Vec<Finding>) {
    let mut tell = |what: String| to.push(Finding::new(LIST, row.line, what));
    let named: Vec<&str> = spans(row.cell).collect();
    let own = || tests.iter().filter(|(of, _)| *of == number).map(|(_, name)| name.as_str());
    for name in &named {
        if !own().any(|test| test == *name) {
            tell(format!("row {number} has no test `{name}` in {TESTS}"));
        }
    }
    let unnamed: Vec<String> =
        own().filter(|test| !named.contains(test)).map(|test| format!("`{test}`")).collect();
    if !unnamed.is_empty() {
        tell(format!("row {number} has tests that its line does not name: {}", unnamed.join(", ")));
    } else if named.is_empty()
        && !row.cell.strip_prefix(WAITS).is_some_and(|feature| FEATURES.contains(&feature))
    {
        let features = FEATURES.join(", ");
        tell(format!("name the tests of row {number}, or `{WAITS}` one of: {features}"));
    }
}
