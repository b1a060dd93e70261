//! Paths in code spans: one that starts with a folder of the checkout must exist.

use super::links::resolve;
use crate::markdown::Document;
use crate::workspace::{Finding, Workspace};

/// Spans that look like paths of the checkout and name nothing in it.
pub(super) fn missing(workspace: &Workspace, path: &str, document: &Document) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, span) in document.spans() {
        let place = span.split(':').next().unwrap_or_default();
        let exists = |place: &str| workspace.exists(place);
        let near = |place: &str| resolve(path, place).is_some_and(|near| exists(&near));
        if looks_like_one(workspace, place) && !exists(place) && !near(place) {
            findings.push(Finding::new(path, line, format!("`{span}` names no file or folder")));
        }
    }
    findings
}

fn looks_like_one(workspace: &Workspace, span: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    let Some((first, rest)) = span.split_once('/') else {
        return span.ends_with(".md") && span.chars().all(plain);
    };
    !first.is_empty()
        && !rest.is_empty()
        && !rest.contains("NNNN")
        && !rest.contains("..")
        && first != "target"
        && span.chars().all(plain)
        && workspace.exists(first)
        && !workspace.files.contains_key(first)
}

#[cfg(test)]
mod tests {
    use super::missing;
    use crate::markdown::Document;
    use crate::workspace::Workspace;

    fn check(text: &str, expect: &[&str]) {
        let files = [("docs/a.md", text), ("core/wire/src/lib.rs", ""), ("x.md", "")];
        let findings = missing(&Workspace::table(&files), "docs/a.md", &Document::parse(text));
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(shown, expect, "{text}");
    }

    #[test]
    fn named_paths_exist() {
        check("`core/wire` `core/` `core/wire/src/lib.rs:12` `docs/a.md` `x.md` `a.md`", &[]);
        check("`text/html` `a/b` `core/*` `docs/NNNN-x.md` `GET /core/none`", &[]);
        check(
            "`core/wire/src/gone.rs`",
            &["docs/a.md:1: `core/wire/src/gone.rs` names no file or folder"],
        );
        check("\n`gone.md`", &["docs/a.md:2: `gone.md` names no file or folder"]);
    }
}
