//! Which package may depend on which, and what `core/` may not know.

use toml::Table;

use super::source::find_word;
use crate::workspace::{Finding, Workspace};

/// Packages from the bottom up: one may depend on those of a lower number only, so that those of
/// the same number, the planes, never import each other. Tools stand above all.
const LEVELS: [(&str, u8); 19] = [
    ("packet/abi", 0),
    ("packet/ebpf", 1),
    ("core/model", 1),
    ("core/forwarding", 2),
    ("core/wire", 2),
    ("core/rules", 3),
    ("packet/fixtures", 3),
    ("core/balance", 3),
    ("control/api", 4),
    ("process/runtime", 5),
    ("packet/loader", 6),
    ("request/proxy", 6),
    ("request/keyless", 6),
    ("control/plane", 6),
    ("control/cli", 6),
    ("process/weir", 7),
    ("lab", 8),
    ("bench", 8),
    ("xtask", 9),
];

/// What brings a runtime, a clock, a socket or randomness.
const RUNTIMES: [&str; 14] = [
    "tokio",
    "mio",
    "socket2",
    "rand",
    "fastrand",
    "getrandom",
    "rustix",
    "libc",
    "async-std",
    "futures",
    "smol",
    "rustls",
    "arc-swap",
    "hickory-resolver",
];

/// Words of code that `core/` does without, and what it does instead.
const ABSENT: [(&str, &str); 13] = [
    ("Instant::now", "take the time as an argument"),
    ("SystemTime::now", "take the time as an argument"),
    ("std::thread", "return a decision, the caller runs it"),
    ("thread_local!", "keep the state in a value"),
    ("TcpStream", "take bytes, not sockets"),
    ("TcpListener", "take bytes, not sockets"),
    ("UdpSocket", "take bytes, not sockets"),
    ("std::fs", "take the text as an argument"),
    ("std::env", "take the value as an argument"),
    ("async fn", "be sans-IO: events in, decisions out"),
    ("HashMap", "use BTreeMap or a Vec: its order is the same in every run"),
    ("HashSet", "use BTreeSet or a Vec: its order is the same in every run"),
    ("RandomState", "take a seed as an argument"),
];

/// Dependencies that point up or sideways.
pub(crate) fn downwards(workspace: &Workspace) -> Vec<Finding> {
    let names = package_names(workspace);
    let mut findings = Vec::new();
    for (folder, manifest) in workspace.manifests() {
        let path = format!("{folder}/Cargo.toml");
        let Some(level) = level(folder) else {
            let what = "has no level: give it one in xtask/src/tidy/direction.rs";
            findings.push(Finding::new(&path, 1, what));
            continue;
        };
        for dependency in dependencies(&manifest) {
            let known = names.iter().find(|(name, _)| *name == dependency);
            let Some((_, other)) = known else { continue };
            if self::level(other).is_some_and(|below| below >= level) {
                let line = line_of(workspace, &path, &dependency);
                let what = format!("{folder} may not depend on {other}: dependencies point down");
                findings.push(Finding::new(&path, line, what));
            }
        }
    }
    findings
}

/// Dependencies of `core/` that bring a runtime.
pub(crate) fn core_packages(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (folder, manifest) in workspace.manifests().filter(|(f, _)| f.starts_with("core/")) {
        let path = format!("{folder}/Cargo.toml");
        for dependency in dependencies(&manifest) {
            if RUNTIMES.contains(&dependency.as_str()) {
                let line = line_of(workspace, &path, &dependency);
                let what = format!("core may not depend on {dependency}: move the code up");
                findings.push(Finding::new(&path, line, what));
            }
        }
    }
    findings
}

/// Words in the code of `core/` that read a clock, open a socket or depend on chance.
pub(crate) fn core_words(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in workspace.sources.iter().filter(|source| source.path.starts_with("core/")) {
        for (line, code) in source.code_lines().filter(|(line, _)| !source.is_test(*line)) {
            for (word, advice) in ABSENT {
                if find_word(code, word).is_some() {
                    let what = format!("core does without `{word}`: {advice}");
                    findings.push(Finding::new(&source.path, line, what));
                }
            }
        }
    }
    findings
}

fn level(folder: &str) -> Option<u8> {
    LEVELS.iter().find(|(known, _)| *known == folder).map(|(_, level)| *level)
}

fn package_names(workspace: &Workspace) -> Vec<(String, String)> {
    let name = |manifest: &Table| Some(manifest.get("package")?.get("name")?.as_str()?.to_owned());
    workspace.manifests().filter_map(|(f, table)| Some((name(&table)?, f.to_owned()))).collect()
}

/// The names in every dependency table, those of targets among them.
pub(super) fn dependencies(manifest: &Table) -> Vec<String> {
    const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(toml::Value::as_table);
    let mut names = Vec::new();
    for table in std::iter::once(manifest).chain(targets) {
        for kind in TABLES {
            let entries = table.get(kind).and_then(toml::Value::as_table);
            names.extend(entries.into_iter().flat_map(Table::keys).cloned());
        }
    }
    names
}

/// The line where a manifest names a dependency.
fn line_of(workspace: &Workspace, path: &str, name: &str) -> usize {
    let text = workspace.files.get(path).map_or("", String::as_str);
    let starts =
        |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']));
    text.lines().position(starts).map_or(1, |index| index + 1)
}
