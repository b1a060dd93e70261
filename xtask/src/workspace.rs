//! The files of the checkout as text, read once, and what the checks find wrong in them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::tidy::source::Source;

/// Folders that hold nothing of the project's own.
const SKIPPED: [&str; 6] = [".git", "target", "artifacts", "coverage", "node_modules", ".cache"];

/// Files past this are data, not text that a check reads. In bytes.
const TEXT_MAX: u64 = 2 << 20;

/// Something that a check does not accept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path from the root.
    pub(crate) path: String,
    /// Line from 1, or 0 for the file as a whole.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) what: String,
}

impl Finding {
    /// A finding in a line.
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line.max(1), self.what)
    }
}

/// Every file of the checkout.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// Path from the root, and text; empty for files that are not text.
    pub(crate) files: BTreeMap<String, String>,
    /// The Rust files among them, scanned.
    pub(crate) sources: Vec<Source>,
}

impl Workspace {
    /// Reads the checkout at `root`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        walk(root, "", &mut files)?;
        Ok(Self::of(files))
    }

    /// A workspace of the given files.
    pub(crate) fn of(files: BTreeMap<String, String>) -> Self {
        let rust = files.iter().filter(|(path, _)| path.ends_with(".rs"));
        let sources = rust.map(|(path, text)| Source::scan(path, text)).collect();
        Self { files, sources }
    }

    /// Whether a file or folder lies at `path`.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let folder = format!("{path}/");
        path.is_empty()
            || self.files.contains_key(path)
            || self
                .files
                .range(folder.clone()..)
                .next()
                .is_some_and(|(p, _)| p.starts_with(&folder))
    }

    /// The Markdown documents.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().filter(|(path, _)| path.ends_with(".md"));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// The manifests of members, parsed. One that does not parse is left to cargo; packages that
    /// are a workspace of their own (fuzz targets, peers) are none.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, toml::Table)> {
        self.files.iter().filter_map(|(path, text)| {
            let folder = path.strip_suffix("/Cargo.toml")?;
            let manifest: toml::Table = text.parse().ok()?;
            (!manifest.contains_key("workspace")).then_some((folder, manifest))
        })
    }
}

#[cfg(test)]
impl Workspace {
    /// A workspace of the files in a table.
    pub(crate) fn table(files: &[(&str, &str)]) -> Self {
        let own = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
        Self::of(files.iter().map(own).collect())
    }
}

fn walk(root: &Path, folder: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    let here = root.join(folder);
    let entries = fs::read_dir(&here).with_context(|| format!("{}: list", here.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("{}: list", here.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().with_context(|| format!("{path}: kind"))?;
        if kind.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                walk(root, &path, files)?;
            }
        } else if kind.is_file() {
            files.insert(path, text(&entry.path()));
        }
    }
    Ok(())
}

/// A file that vanishes while it is read belongs to a program that runs beside this one.
fn text(path: &Path) -> String {
    if fs::metadata(path).is_ok_and(|found| found.len() > TEXT_MAX) {
        return String::new();
    }
    fs::read(path).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
