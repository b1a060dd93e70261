//! Relative links of a document: the file is there, and so is the heading.

use crate::markdown::Document;
use crate::workspace::{Finding, Workspace};

/// Links whose file or heading does not exist. Addresses of other sites are not tried.
pub(super) fn broken(workspace: &Workspace, path: &str, document: &Document) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in document.links() {
        if target.contains("://") || target.starts_with("mailto:") || target.starts_with("data:") {
            continue;
        }
        let (file, anchor) = match target.split_once('#') {
            Some((file, anchor)) => (file, Some(anchor)),
            None => (target.as_str(), None),
        };
        let file = if file.is_empty() { Some(path.to_owned()) } else { resolve(path, file) };
        let Some(file) = file.filter(|file| workspace.exists(file)) else {
            findings.push(Finding::new(path, line, format!("`{target}` leads nowhere")));
            continue;
        };
        if let Some(anchor) = anchor
            && !has_anchor(workspace, &file, anchor)
        {
            let what = format!("`{file}` has no heading for `#{anchor}`");
            findings.push(Finding::new(path, line, what));
        }
    }
    findings
}

fn has_anchor(workspace: &Workspace, file: &str, anchor: &str) -> bool {
    let text = workspace.files.get(file).map_or("", String::as_str);
    if file.ends_with(".md") {
        return Document::parse(text).anchors().iter().any(|known| known == anchor);
    }
    let line = anchor.trim_start_matches('L').split('-').next().unwrap_or_default();
    line.parse().is_ok_and(|line: usize| (1..=text.lines().count()).contains(&line))
}

/// A path relative to the document, or from the root where it starts with `/`, as a path from the
/// root; `None` where it leaves the checkout.
pub(super) fn resolve(document: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => document.split('/').collect(),
    };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::broken;
    use crate::markdown::Document;
    use crate::workspace::Workspace;

    fn check(text: &str, expect: &[&str]) {
        let files = [("docs/a.md", text), ("README.md", "# Weir\n## Try it\n"), ("x/b.rs", "1\n2")];
        let findings = broken(&Workspace::table(&files), "docs/a.md", &Document::parse(text));
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn links_lead_somewhere() {
        check("[a](../README.md#try-it) [b](a.md) [c](../x) [d](../x/b.rs#L2) [e](#t)\n# t", &[]);
        check("[out](https://example.com/x) `[not](a-link)`", &[]);
        check("[a](gone.md)", &["docs/a.md:1: `gone.md` leads nowhere"]);
        check("[a](../../x)", &["docs/a.md:1: `../../x` leads nowhere"]);
        check("\n[a](#gone)", &["docs/a.md:2: `docs/a.md` has no heading for `#gone`"]);
        check("[a](../x/b.rs#L3)", &["docs/a.md:1: `x/b.rs` has no heading for `#L3`"]);
    }
}
