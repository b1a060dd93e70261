//! The configuration file: from TOML to `core_model::Config`, with every fault in one report.
//!
//! `schema` says what keys there are, `check` compares a file with it, `build` makes the model
//! out of what is right, `tls` reads certificates. Nothing here binds, connects or starts.

mod assembly;
mod build;
mod check;
mod control;
mod crl;
mod declared;
mod describe;
mod diff;
mod files;
mod fleet;
mod fuzzing;
mod json_schema;
mod print;
mod raw;
mod report;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod tls;

pub use assembly::Assembly;
pub use control::{
    ControlFile, ControlLimits, EdgesSettings, EtcdPlace, PublishSettings, StorePlace, load_control,
};
pub use declared::{Declared, PACKET_FLEET_KEYS, declared};
pub use describe::is_secret;
pub use diff::{Change, ChangeKind, changes_json, diff};
pub use files::{FILE_BYTES_MAX, FILES_MAX, PEM_BYTES_MAX};
pub use fleet::{NO_HASH_KEY, packet_faults};
pub use fuzzing::fuzz_items;
pub use json_schema::json_schema;
pub use print::print_defaults;
pub use report::FAULTS_MAX;
pub use schema::{
    LIST_MAX, LISTENERS_MAX, LOAD_BALANCERS_MAX, MONITORS_MAX, ORIGINS_MAX, POOLS_MAX, ROUTES_MAX,
    SERVERS_MAX, SHIELD_RULES_MAX, TEXT_MAX, TRAFFICSETS_MAX, ZONES_MAX,
};

use check::Checker;
use core_model::{Config, Fault};
use report::{At, Report};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use table::Table;
use toml::de::DeTable;

/// A configuration that is right.
#[derive(Debug)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// Every file that was read, the main one first.
    pub files: Vec<PathBuf>,
    /// What works but is likely not meant, such as an expired certificate.
    pub warnings: Vec<Fault>,
}

/// What a configuration may ask of the machine.
pub(crate) struct World<'a> {
    /// Gives the value of an environment variable.
    pub(crate) env: &'a check::Env<'a>,
    /// Whether files may be read.
    pub(crate) files: bool,
    /// Seconds since 1970.
    pub(crate) now: i64,
    /// Whether the process runs as root, and so may become another user.
    pub(crate) root: bool,
}

/// Reads the configuration at `path` with everything it includes and refers to.
///
/// # Errors
/// All faults, in the order of their places.
pub fn load(path: &Path) -> Result<Loaded, Vec<Fault>> {
    let name = path.display().to_string();
    load_in(&name, main_file(path, &name)?, &machine())
}

fn main_file(path: &Path, name: &str) -> Result<Vec<u8>, Vec<Fault>> {
    files::read_main(path).map_err(|error| {
        let mut report = Report::default();
        let what = format!("cannot read the configuration: {}", files::reason(&error));
        report.whole_file(name, what, "a file that this user can read".to_owned());
        report.finish().0
    })
}

/// Reads a configuration given as text; `name` stands for the file in faults, and paths in the
/// text are relative to its folder.
///
/// # Errors
/// All faults, in the order of their places.
pub fn load_text(name: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
    load_in(name, text.as_bytes().to_vec(), &machine())
}

/// Tries arbitrary bytes as a configuration, without files and environment; must not panic.
pub fn fuzz_check(bytes: &[u8]) {
    let world = World { env: &|_| None, files: false, now: 0, root: false };
    if let Ok(loaded) = load_in("fuzz.toml", bytes.to_vec(), &world) {
        let changes = diff(&loaded.config, &loaded.config);
        assert!(changes.is_empty(), "a configuration differs from itself: {changes:?}");
    }
}

/// Faults as JSON for `weir check --json`.
#[must_use]
pub fn render_json(faults: &[Fault]) -> serde_json::Value {
    let one = |fault: &Fault| {
        serde_json::json!({
            "file": fault.place.file,
            "line": fault.place.line,
            "column": fault.place.column,
            "path": fault.place.path,
            "what": fault.what,
            "valid": fault.valid,
            "nearest": fault.nearest,
        })
    };
    serde_json::Value::Array(faults.iter().map(one).collect())
}

fn machine() -> World<'static> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    World {
        env: &|name| std::env::var(name).ok(),
        files: true,
        now: i64::try_from(now).unwrap_or(i64::MAX),
        root: rustix::process::geteuid().is_root(),
    }
}

pub(crate) fn load_in(name: &str, bytes: Vec<u8>, world: &World<'_>) -> Result<Loaded, Vec<Fault>> {
    let mut reader = Reader::new(world, &schema::ROOT);
    reader.read_all(name, bytes);
    let Reader { report, roots, .. } = reader;
    build(world, report, &roots, false)
}

/// Makes the model out of checked tables; `follows` where a control plane gives what may be
/// missing.
fn build(
    world: &World<'_>,
    report: Report,
    roots: &[Root],
    follows: bool,
) -> Result<Loaded, Vec<Fault>> {
    let mut builder = build::Builder::new(world, report, roots);
    builder.follows = follows;
    let config = builder.config(roots);
    let (report, mut files) = builder.finish();
    let (faults, warnings) = report.finish();
    match config {
        Some(config) if faults.is_empty() => {
            let mut seen = BTreeSet::new();
            files.retain(|file| seen.insert(file.clone()));
            Ok(Loaded { config, files, warnings })
        }
        _ => Err(faults),
    }
}

/// One file with its checked content.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    /// Path of the file.
    pub(crate) file: PathBuf,
    /// Its tables.
    pub(crate) table: Table,
}

impl Root {
    /// The folder that paths in this file are relative to.
    pub(crate) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

struct Reader<'a> {
    world: &'a World<'a>,
    schema: &'static schema::Section,
    report: Report,
    roots: Vec<Root>,
}

impl<'a> Reader<'a> {
    /// A reader of a file that `schema` describes.
    fn new(world: &'a World<'a>, schema: &'static schema::Section) -> Self {
        Self { world, schema, report: Report::default(), roots: Vec::new() }
    }

    fn read_all(&mut self, name: &str, bytes: Vec<u8>) {
        if bytes.len() > FILE_BYTES_MAX {
            let what = format!("found {} bytes", bytes.len());
            self.report.whole_file(name, what, format!("at most {FILE_BYTES_MAX} bytes"));
            return;
        }
        self.parse(name, bytes);
        for (file, at, path) in self.included(name) {
            if self.roots.len() >= FILES_MAX {
                let what = format!("more than {FILES_MAX} files are included");
                self.report.fault(at, &path, what, "fewer, larger files");
                return;
            }
            let shown = file.display().to_string();
            match files::read(&file, FILE_BYTES_MAX) {
                Ok(bytes) => self.parse(&shown, bytes),
                Err(error) => {
                    let what = format!("cannot read {shown}: {}", files::reason(&error));
                    self.report.fault(at, &path, what, "a file that this user can read");
                    self.report.set_incomplete();
                }
            }
        }
        for root in self.roots.iter().skip(1).filter(|root| root.table.given("include")) {
            let at = root.table.at_of("include");
            let what = "an included file cannot include others";
            self.report.fault(at, "include", what, "include all of them from the main file");
        }
    }

    /// Files that the main one includes, each once and without the main one itself.
    fn included(&mut self, main: &str) -> Vec<(PathBuf, At, String)> {
        let mut found = Vec::new();
        let Some(root) = self.roots.first() else { return found };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut seen = BTreeSet::from([real(Path::new(main))]);
        for (index, item) in root.table.list("include").iter().enumerate() {
            let path = format!("include[{index}]");
            let pattern = item.text().unwrap_or("");
            if !self.world.files {
                self.report.fault(item.at, &path, "files cannot be included here", "no include");
                continue;
            }
            match files::glob(root.folder(), pattern) {
                Ok(matching) if matching.is_empty() => {
                    let what = format!("{} matches no file", text::quote(pattern));
                    self.report.warn(item.at, &path, what, "a pattern such as conf.d/*.toml");
                }
                Ok(matching) => {
                    let fresh = matching.into_iter().filter(|file| seen.insert(real(file)));
                    found.extend(fresh.map(|file| (file, item.at, path.clone())));
                }
                Err(what) => self.report.fault(item.at, &path, what, "such as conf.d/*.toml"),
            }
        }
        found
    }

    fn parse(&mut self, name: &str, bytes: Vec<u8>) {
        let text: Arc<str> = match String::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let lossy: Arc<str> = String::from_utf8_lossy(error.as_bytes()).into();
                let source = self.report.add_source(name, lossy);
                let what = "bytes that are not UTF-8".to_owned();
                self.report.syntax(At { source, offset }, what, "text in UTF-8".to_owned());
                return;
            }
        };
        let source = self.report.add_source(name, text.clone());
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors.iter().take(FAULTS_MAX) {
            let offset = error.span().map_or(0, |span| span.start);
            let what = format!("not TOML: {}", error.message().replace('\n', "; "));
            self.report.syntax(At { source, offset }, what, String::new());
        }
        let raw = raw::of_toml(table.into_inner());
        let env = Some(self.world.env);
        let mut checker =
            Checker { report: &mut self.report, source, env, part: false, told: true };
        let table = checker.table(self.schema, &raw, At { source, offset: 0 }, String::new());
        self.roots.push(Root { file: PathBuf::from(name), table });
    }
}
