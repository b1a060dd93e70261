//! Collects faults and warnings with their places; turns byte offsets into lines and columns.

use super::text;
use core_model::{Fault, Faults, Place};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Faults in one report: more than anybody reads, and a bound for a file that is not TOML at all.
pub const FAULTS_MAX: usize = 1_000;
/// Searches for a nearest name in one report; each looks at up to `CANDIDATES_MAX` names.
const SEARCHES_MAX: usize = 100;
/// Names compared in one search.
const CANDIDATES_MAX: usize = 10_000;

/// Where something stands: which file, and which byte of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) source: usize,
    pub(crate) offset: usize,
}

/// One file that was read, or one item.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    name: String,
    text: Arc<str>,
    lines: Vec<usize>,
    broken: BTreeSet<usize>,
}

impl Source {
    /// The line of an offset, from 1; 0 in an item, which has no lines.
    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }
}

/// What is known to be wrong so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    sources: Vec<Source>,
    faults: Faults,
    warnings: Faults,
    dropped: usize,
    searches: usize,
    incomplete: bool,
}

impl Report {
    /// Takes a file in.
    pub(crate) fn add_source(&mut self, name: &str, text: Arc<str>) -> usize {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(starts.map(|(at, _)| at + 1)).collect();
        self.sources.push(Source { name: name.to_owned(), text, lines, broken: BTreeSet::new() });
        self.sources.len() - 1
    }

    /// Takes an item in, whose faults are told by its name and their paths.
    pub(crate) fn add_item(&mut self, name: String) -> usize {
        let (text, lines, broken) = (Arc::from(""), Vec::new(), BTreeSet::new());
        self.sources.push(Source { name, text, lines, broken });
        self.sources.len() - 1
    }

    /// The texts of all files that were read.
    pub(crate) fn texts(&self) -> impl Iterator<Item = Arc<str>> {
        self.sources.iter().map(|source| source.text.clone())
    }

    /// Whether any file has syntax faults or is unread, so that a missing object may stand there.
    pub(crate) fn incomplete(&self) -> bool {
        self.incomplete
    }

    /// Whether this file has syntax faults, so that what is missing may only be unread.
    pub(crate) fn source_broken(&self, source: usize) -> bool {
        self.sources.get(source).is_some_and(|source| !source.broken.is_empty())
    }

    /// Whether anything is likely not meant.
    pub(crate) fn warns(&self) -> bool {
        !self.warnings.is_empty()
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Adds a syntax fault; what else is wrong in its line follows from it and is not told.
    pub(crate) fn syntax(&mut self, at: At, what: String, valid: String) {
        self.fault(at, "", what, valid);
        self.incomplete = true;
        if let Some(source) = self.sources.get_mut(at.source) {
            let line = source.line(at.offset);
            source.broken.insert(line);
        }
    }

    /// Adds a fault.
    pub(crate) fn fault(
        &mut self,
        at: At,
        path: &str,
        what: impl Into<String>,
        valid: impl Into<String>,
    ) {
        self.push(at, path, what.into(), valid.into(), None);
    }

    /// Adds a fault about a name that does not exist, with the nearest one that does.
    pub(crate) fn unknown<'n>(
        &mut self,
        at: At,
        path: &str,
        what: String,
        valid: String,
        found: &str,
        names: impl Iterator<Item = &'n str>,
    ) {
        let nearest = if self.searches < SEARCHES_MAX {
            self.searches += 1;
            text::nearest(found, names.take(CANDIDATES_MAX)).map(str::to_owned)
        } else {
            None
        };
        self.push(at, path, what, valid, nearest);
    }

    /// Adds something that works but is likely not meant.
    pub(crate) fn warn(
        &mut self,
        at: At,
        path: &str,
        what: impl Into<String>,
        valid: impl Into<String>,
    ) {
        if self.warnings.len() < FAULTS_MAX {
            let place = self.place(at, path);
            let (what, valid) = (what.into(), valid.into());
            self.warnings.push(Fault { place, what, valid, nearest: None });
        }
    }

    /// Adds a fault that belongs to a file as a whole.
    pub(crate) fn whole_file(&mut self, file: &str, what: String, valid: String) {
        let place = Place { file: file.to_owned(), ..Place::default() };
        self.faults.push(Fault { place, what, valid, nearest: None });
        self.incomplete = true;
    }

    /// Some objects could not be read.
    pub(crate) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    /// All faults and warnings in the order of their places.
    pub(crate) fn finish(mut self) -> (Vec<Fault>, Vec<Fault>) {
        if self.dropped > 0 {
            let place = Place { file: "(all files)".to_owned(), ..Place::default() };
            let what = format!("{} further faults are not shown", self.dropped);
            let valid = "mend these first".to_owned();
            self.faults.push(Fault { place, what, valid, nearest: None });
        }
        (self.faults.sorted(), self.warnings.sorted())
    }

    /// `file:line:column` of a place, for faults that name a second one.
    pub(crate) fn point(&self, at: At) -> String {
        self.place(at, "").to_string()
    }

    fn push(&mut self, at: At, path: &str, what: String, valid: String, nearest: Option<String>) {
        let source = self.sources.get(at.source);
        if source.is_some_and(|source| source.broken.contains(&source.line(at.offset))) {
            return;
        }
        if self.faults.len() >= FAULTS_MAX {
            self.dropped += 1;
            return;
        }
        let place = self.place(at, path);
        self.faults.push(Fault { place, what, valid, nearest });
    }

    fn place(&self, at: At, path: &str) -> Place {
        let mut place = Place { path: path.to_owned(), ..Place::default() };
        if let Some(source) = self.sources.get(at.source) {
            let line = source.line(at.offset);
            place.file.clone_from(&source.name);
            let Some(start) = line.checked_sub(1).and_then(|line| source.lines.get(line)) else {
                return place;
            };
            let before = source.text.get(*start..at.offset);
            let column = before.map_or(0, |before| before.chars().count()) + 1;
            place.line = u32::try_from(line).unwrap_or(u32::MAX);
            place.column = u32::try_from(column).unwrap_or(u32::MAX);
        }
        place
    }
}
