//! Words: what a source file must say, and what it may not.

use super::source::{Source, find_word};
use crate::run;
use crate::workspace::{Finding, Workspace};

/// Folders whose job needs `unsafe`: the kernel's side of packets, sockets and the allocator.
const UNSAFE_FOLDERS: [&str; 4] =
    ["packet/abi/", "packet/ebpf/", "packet/loader/", "process/runtime/"];
/// How far above an `unsafe` its reason may begin. In lines.
const REASON_LINES_MAX: usize = 8;
/// How far above a constant its documentation may end: attributes stand between. In lines.
const ATTRIBUTE_LINES_MAX: usize = 3;

/// What is left over from work in progress, in code.
const UNFINISHED: [(&str, &str); 5] = [
    ("#[ignore", "run the test, or take it out"),
    ("dbg!", "log it, or take it out"),
    (concat!("to", "do!"), "write the code"),
    (concat!("unimpl", "emented!"), "write the code"),
    ("should_panic", "assert the error"),
];
/// The same in comments.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// What makes a comment true only on the day of the change; and what may follow it all the same.
const AGEING: [(&str, &str); 7] = [
    (concat!("no lon", "ger"), " than"),
    (concat!("now", " we"), "\0"),
    (concat!("we", " now"), "\0"),
    (concat!("instead of the", " old"), "est"),
    (concat!("instead of the", " previous"), "\0"),
    (concat!("used", " to be"), "\0"),
    (concat!("was changed", " to"), "\0"),
];
/// Folders of people's machines.
const HOMES: [&str; 3] = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// Files that do not open with `//!`.
pub(crate) fn header(workspace: &Workspace) -> Vec<Finding> {
    each(workspace, |source, add| {
        if !source.text.starts_with("//!") {
            add(1, "open with a `//!` line: job, neighbours, absence".to_owned());
        }
    })
}

/// Constants that set a limit and do not say why.
pub(crate) fn limits(workspace: &Workspace) -> Vec<Finding> {
    each(workspace, |source, add| {
        let in_limits = source.path.ends_with("/limits.rs");
        for (line, code) in source.code_lines().filter(|(line, _)| !source.is_test(*line)) {
            let Some(name) = constant(code) else { continue };
            let is_limit = name.ends_with("_MAX") || name.ends_with("_LIMIT") || in_limits;
            if is_limit && name != "_" && !documented(source, line) {
                add(line, format!("say above `{name}` its unit and why it has this value"));
            }
        }
    })
}

fn constant(code: &str) -> Option<&str> {
    let at = find_word(code, "const")?;
    let head = code.get(..at)?.trim();
    let rest = code.get(at + 5..)?.trim_start();
    let (name, _) = rest.split_once(':')?;
    let plain = head.is_empty() || head.starts_with("pub");
    (plain && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
}

fn documented(source: &Source, line: usize) -> bool {
    let first = line.saturating_sub(ATTRIBUTE_LINES_MAX + 1);
    let between = |at: usize| {
        (at + 1..line).all(|l| {
            let code = source.code.get(l - 1).map_or("", |code| code.trim());
            code.is_empty() || code.starts_with('#') || code.ends_with(")]")
        })
    };
    let near = |at: &usize| *at >= first && *at < line;
    source.comments.iter().any(|(at, text)| near(at) && text.starts_with("///") && between(*at))
}

/// `unsafe` outside the folders whose job needs it.
pub(crate) fn unsafe_places(workspace: &Workspace) -> Vec<Finding> {
    each(workspace, |source, add| {
        let allowed = UNSAFE_FOLDERS.iter().any(|folder| source.path.starts_with(folder));
        for (line, code) in source.code_lines() {
            if !allowed && find_word(code, "unsafe").is_some() {
                add(line, format!("`unsafe` belongs in {}", UNSAFE_FOLDERS.join(", ")));
            }
        }
    })
}

/// `unsafe` without a reason above it.
pub(crate) fn unsafe_reasons(workspace: &Workspace) -> Vec<Finding> {
    each(workspace, |source, add| {
        for (line, code) in source.code_lines() {
            // Attributes that could clash with others' symbols are `unsafe(…)`, and no code.
            if find_word(&code.replace("#[unsafe(", ""), "unsafe").is_none() {
                continue;
            }
            let near = line.saturating_sub(REASON_LINES_MAX)..=line;
            let gives = |text: &str| text.contains("SAFETY:") || text.contains("# Safety");
            if !source.comments.iter().any(|(at, text)| near.contains(at) && gives(text)) {
                add(line, "say why it is sound: `// SAFETY: …` above it".to_owned());
            }
        }
    })
}

/// Ignored tests, debug output and marks of unfinished work.
pub(crate) fn leftovers(workspace: &Workspace) -> Vec<Finding> {
    each(workspace, |source, add| {
        for (line, code) in source.code_lines() {
            for (word, advice) in UNFINISHED {
                if code.contains(word) && !(word == "dbg!" && find_word(code, "dbg").is_none()) {
                    add(line, format!("`{word}`: {advice}"));
                }
            }
        }
        for (line, comment) in &source.comments {
            for mark in MARKS {
                if find_word(comment, mark).is_some() {
                    add(*line, format!("`{mark}`: do it, or file it as an issue"));
                }
            }
        }
    })
}

/// Lints that are allowed, where an expectation would fall away by itself.
pub(crate) fn allows(workspace: &Workspace) -> Vec<Finding> {
    each(workspace, |source, add| {
        for (line, code) in source.code_lines() {
            if code.contains("#[allow") || code.contains("#![allow") {
                add(line, "write `#[expect(lint, reason = \"…\")]`".to_owned());
            }
        }
    })
}

/// Comments that speak of a change rather than of the code.
pub(crate) fn ageing(workspace: &Workspace) -> Vec<Finding> {
    each(workspace, |source, add| {
        for (line, comment) in &source.comments {
            let comment = comment.to_lowercase();
            for (words, but) in AGEING {
                let Some((_, rest)) = comment.split_once(words) else { continue };
                if !rest.starts_with(but) {
                    add(*line, format!("\"{words}\" ages: say what holds, not what changed"));
                }
            }
        }
    })
}

/// Paths that exist on one machine only.
pub(crate) fn machine_paths(workspace: &Workspace) -> Vec<Finding> {
    let root = run::root().to_string_lossy().into_owned();
    // A checkout directly below the root of the file system has a name that any text may hold.
    let own = (root.matches('/').count() > 1).then_some(root);
    let mut findings = Vec::new();
    for (path, text) in workspace.files.iter().filter(|(path, _)| *path != "Cargo.lock") {
        for (index, line) in text.lines().enumerate() {
            let homes = HOMES.iter().any(|home| has_path(line, home));
            if homes || own.as_ref().is_some_and(|own| line.contains(own.as_str())) {
                let what = "names a folder of one machine: write a path from the root";
                findings.push(Finding::new(path, index + 1, what));
            }
        }
    }
    findings
}

/// Whether an absolute path begins with `start`; within an address or a longer path it does not.
fn has_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '}'))
    })
}

/// Collects what `look` adds for each source.
fn each(
    workspace: &Workspace,
    look: impl Fn(&Source, &mut dyn FnMut(usize, String)),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &workspace.sources {
        look(source, &mut |line, what| findings.push(Finding::new(&source.path, line, what)));
    }
    findings
}
