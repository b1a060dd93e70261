//! Manifests: every member inherits the lints of the workspace, and the lock file is there.

use toml::Value;

use crate::workspace::{Finding, Workspace};

/// Manifests that do not inherit the lints.
pub(crate) fn lints(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (folder, manifest) in workspace.manifests() {
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        if inherits.and_then(Value::as_bool) != Some(true) {
            let path = format!("{folder}/Cargo.toml");
            findings.push(Finding::new(&path, 1, "add `[lints]` with `workspace = true`"));
        }
    }
    findings
}

/// A lock file that is missing, or ignored.
pub(crate) fn lock(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !workspace.files.contains_key("Cargo.lock") {
        findings.push(Finding::new("Cargo.lock", 1, "is missing: build once and commit it"));
    }
    let ignored = workspace.files.get(".gitignore").map_or("", String::as_str);
    for (index, line) in ignored.lines().enumerate() {
        if line.contains("Cargo.lock") {
            let what = "ignores the lock file: a build must be the same everywhere";
            findings.push(Finding::new(".gitignore", index + 1, what));
        }
    }
    findings
}
