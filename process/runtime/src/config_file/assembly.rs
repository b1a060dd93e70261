//! The local file and what a control plane publishes, put together: one schema, one set of faults,
//! one configuration.
//!
//! There are two ways to it. The short one (`quick`, `made`) makes what changed and nothing else,
//! and gives up where anything is wrong. The long one makes all of it, and is the only one that
//! tells faults; it begins with the edge's own file, which is checked and kept.

mod made;
mod quick;

use super::build::Builder;
use super::check::Checker;
use super::report::{At, Report};
use super::schema::{self, Kind, Section};
use super::table::Table;
use super::{Loaded, Reader, Root, World, build, machine, raw};
use control_api::publish::{Change, Item, ItemKey, ItemKind, Items, Role};
use core_model::Fault;
use core_model::config::Name;
use core_model::config::packet::PacketConfig;
use quick::Quick;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The local file with published items.
#[derive(Debug)]
pub struct Assembly {
    file: PathBuf,
    follows: bool,
    local: Local,
    items: Items,
    /// What came of the two.
    quick: Quick,
    /// Every file that was read, the main one first.
    files: Vec<PathBuf>,
    /// What was there before the local file was read anew last, until something else is done.
    before: Option<Box<(Local, Quick, Vec<PathBuf>)>>,
}

/// What was read of the local file.
#[derive(Debug)]
struct Local {
    roots: Vec<Root>,
    report: Report,
    /// What it may ask of the machine.
    world: fn() -> World<'static>,
}

/// The local file together with items, for as long as it takes to build something of them.
struct Together {
    roots: Vec<Root>,
    report: Report,
    zones: HashMap<Arc<str>, Name>,
}

impl Assembly {
    /// Reads the local file, and what it says by itself.
    ///
    /// # Errors
    /// All faults, in the order of their places.
    pub fn new(file: &Path) -> Result<(Self, Loaded), Vec<Fault>> {
        Self::read(file, false)
    }

    /// As [`Assembly::new`] for an edge that a control plane publishes to: what it will publish may
    /// be missing. A `[packet]` has no effect until there is a hash key and a server.
    ///
    /// # Errors
    /// All faults, in the order of their places.
    pub fn following(file: &Path) -> Result<(Self, Loaded), Vec<Fault>> {
        Self::read(file, true)
    }

    fn read(file: &Path, follows: bool) -> Result<(Self, Loaded), Vec<Fault>> {
        Self::of(file, Local::read(file)?, follows)
    }

    /// As [`Assembly::following`] for a file that is given as text, which cannot be read anew.
    pub(super) fn of_text(
        name: &str,
        text: &str,
        world: fn() -> World<'static>,
    ) -> Result<(Self, Loaded), Vec<Fault>> {
        Self::of(Path::new(name), Local::of(name, text.as_bytes().to_vec(), world)?, true)
    }

    fn of(file: &Path, local: Local, follows: bool) -> Result<(Self, Loaded), Vec<Fault>> {
        let (file, items) = (file.to_owned(), Items::default());
        let (quick, loaded) = local.with(&items, follows)?;
        let files = loaded.files.clone();
        Ok((Self { file, follows, local, items, quick, files, before: None }, loaded))
    }

    /// Reads the local file anew and puts the same items to it. After an error all is as before.
    ///
    /// # Errors
    /// All faults, in the order of their places.
    pub fn reload(&mut self) -> Result<Loaded, Vec<Fault>> {
        // The reload before this one is in force; only this one can be taken back.
        self.before = None;
        let local = Local::read(&self.file)?;
        let (quick, loaded) = local.with(&self.items, self.follows)?;
        let local = std::mem::replace(&mut self.local, local);
        let quick = std::mem::replace(&mut self.quick, quick);
        let files = std::mem::replace(&mut self.files, loaded.files.clone());
        self.before = Some(Box::new((local, quick, files)));
        Ok(loaded)
    }

    /// Takes the last [`Self::reload`] back, where what it gave was not put in force.
    pub fn take_back(&mut self) {
        if let Some(before) = self.before.take() {
            (self.local, self.quick, self.files) = *before;
        }
    }

    /// Changes items, all of them or none. After an error all is as before. What of the
    /// configuration no change is about stays the same object. Warnings are those of what is new.
    ///
    /// # Errors
    /// All faults; the place of one in an item is `published KIND/ID`.
    pub fn change(&mut self, changes: Vec<Change>) -> Result<Loaded, Vec<Fault>> {
        let usual = self.local.usual_pool();
        let packet = || self.local.packet(&self.items, &changes, self.follows);
        let (quick, loaded) = match self.quick.change(&self.items, &changes, usual, packet) {
            Some((quick, warnings)) => {
                let (config, files) = (quick.config.clone(), self.files.clone());
                (quick, Loaded { config, files, warnings })
            }
            None => {
                let mut items = self.items.clone();
                changes.iter().cloned().for_each(|change| items.apply(change));
                self.local.with(&items, self.follows)?
            }
        };
        changes.into_iter().for_each(|change| self.items.apply(change));
        self.files.clone_from(&loaded.files);
        self.quick = quick;
        self.before = None;
        Ok(loaded)
    }

    /// What the long way makes of the same file and items.
    #[cfg(test)]
    pub(crate) fn long_way(&self) -> Result<Loaded, Vec<Fault>> {
        Ok(self.local.with(&self.items, self.follows)?.1)
    }

    /// What is published here.
    #[must_use]
    pub fn items(&self) -> &Items {
        &self.items
    }
}

impl Local {
    fn read(file: &Path) -> Result<Self, Vec<Fault>> {
        let name = file.display().to_string();
        Self::of(&name, super::main_file(file, &name)?, machine)
    }

    fn of(name: &str, bytes: Vec<u8>, world: fn() -> World<'static>) -> Result<Self, Vec<Fault>> {
        let machine = world();
        let mut reader = Reader::new(&machine, &schema::ROOT);
        reader.read_all(name, bytes);
        let Reader { report, roots, .. } = reader;
        if report.is_empty() {
            return Ok(Self { roots, report, world });
        }
        // Together with what building finds, so that one report has all faults.
        Err(build(&machine, report, &roots, true).err().unwrap_or_default())
    }

    /// What holds for published pools where they say nothing.
    fn usual_pool(&self) -> Option<&Table> {
        let usual = self.roots.iter().find(|root| root.table.given("published"))?;
        usual.table.table("published")?.table("pool")
    }

    /// The whole configuration with these items: the long way.
    fn with(&self, items: &Items, follows: bool) -> Result<(Quick, Loaded), Vec<Fault>> {
        let together = self.together(items.iter());
        let Together { roots, report, zones } = together;
        let mut loaded = build(&(self.world)(), report, &roots, follows)?;
        let own = self.roots.len();
        let published = |file: &PathBuf| roots.iter().skip(own).any(|root| root.file == *file);
        loaded.files.retain(|file| !published(file));
        let count = |kind: &str| self.roots.iter().map(|root| root.table.tables(kind).len()).sum();
        let local = [count("monitor"), count("pool"), count("load_balancer")];
        Ok((Quick::new(loaded.config.clone(), items, local, zones), loaded))
    }

    /// The packet path after `changes`; none where something is wrong with it, or to be told.
    fn packet(
        &self,
        items: &Items,
        changes: &[Change],
        follows: bool,
    ) -> Option<Option<PacketConfig>> {
        let of_packets = |key: &ItemKey| key.kind.role() == Role::Packet;
        let mut these = Items::default();
        items.iter().filter(|item| of_packets(&item.key)).for_each(|item| {
            these.apply(Change::Put(item));
        });
        let changes = changes.iter().filter(|change| of_packets(change.key()));
        changes.for_each(|change| these.apply(change.clone()));
        let Together { roots, report, .. } = self.together(these.iter());
        let world = (self.world)();
        let mut builder = Builder::new(&world, report, &roots);
        builder.follows = follows;
        let packet = builder.packet_only(&roots);
        let (report, _) = builder.finish();
        let (faults, warnings) = report.finish();
        packet.filter(|_| faults.is_empty() && warnings.is_empty())
    }

    /// The checked tables of the local file and of items.
    fn together(&self, items: impl Iterator<Item = Item>) -> Together {
        let mut together = Together {
            roots: self.roots.clone(),
            report: self.report.clone(),
            zones: HashMap::new(),
        };
        let roots = &mut together.roots;
        let packet = roots.iter().position(|root| root.table.given("packet"));
        let mut strays = false;
        for item in items {
            if packet.is_none() && item.key.kind.role() == Role::Packet {
                strays = true;
                continue;
            }
            let report = &mut together.report;
            let Some(mut table) = check(report, &item) else { continue };
            match item.key.kind {
                ItemKind::Packet => {
                    let local = packet.and_then(|at| roots.get_mut(at));
                    let local = local.and_then(|root| root.table.table_mut("packet"));
                    let at = table.at;
                    for key in local.map(|local| local.adopt(table)).unwrap_or_default() {
                        let what =
                            format!("`{key}` is published, and stands in the edge's file as well");
                        report.fault(at, key, what, "one of the two");
                    }
                    continue;
                }
                ItemKind::Pool => {
                    self.usual_pool().into_iter().for_each(|usual| table.fill(usual));
                }
                ItemKind::Zone => {
                    let name = table.text("name").map(Name::from);
                    together.zones.extend(name.map(|name| (item.key.id.clone(), name)));
                }
                _ => {}
            }
            let table = Table::around(&schema::ROOT, item.key.kind.table(), vec![table]);
            roots.push(Root { file: PathBuf::from(place(&item.key)), table });
        }
        if strays {
            let what = "objects of the packet path are published and have no effect here";
            together.report.warn(At::default(), "", what, "add [packet] to this file");
        }
        together
    }
}

/// How faults name an item.
fn place(key: &ItemKey) -> String {
    format!("published {key}")
}

fn check(report: &mut Report, item: &Item) -> Option<Table> {
    let section = section(item.key.kind)?;
    let source = report.add_item(place(&item.key));
    let at = At { source, offset: 0 };
    match raw::of_json(item.body.get()) {
        Ok(table) => {
            let part = item.key.kind == ItemKind::Packet;
            let mut checker = Checker { report, source, env: None, part, told: true };
            Some(checker.table(section, &table, at, String::new()))
        }
        Err(what) => {
            report.fault(at, "", what, "the table as JSON, with the keys of the file");
            None
        }
    }
}

/// What the schema says of a kind of items.
fn section(kind: ItemKind) -> Option<&'static Section> {
    match schema::ROOT.key(kind.table())?.kind {
        Kind::Tables { of, .. } => Some(of),
        Kind::Switch(section) | Kind::Table(section) => Some(section),
        _ => None,
    }
}
