//! The local file and what a control plane publishes, put together: one schema, one set of faults,
//! one configuration.

use super::check::{Checker, Table};
use super::report::{At, Report};
use super::schema::{self, Kind, Section};
use super::{Loaded, Reader, Root, build, machine, raw};
use control_api::publish::{Change, Item, ItemKind, Items, Role};
use core_model::Fault;
use std::path::{Path, PathBuf};

/// The local file with published items.
#[derive(Debug)]
pub struct Assembly {
    file: PathBuf,
    follows: bool,
    local: Local,
    /// What the local file said before it was read anew last, until something else is done.
    before: Option<Local>,
    items: Items,
}

/// What was read of the local file.
#[derive(Debug)]
struct Local {
    roots: Vec<Root>,
    report: Report,
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
        let file = file.to_owned();
        let local = Local::read(&file)?;
        let items = Items::default();
        let mut assembly = Self { file, follows, local, before: None, items };
        let loaded = assembly.together(&Items::default())?;
        Ok((assembly, loaded))
    }

    /// Reads the local file anew and puts the same items to it. After an error all is as before.
    ///
    /// # Errors
    /// All faults, in the order of their places.
    pub fn reload(&mut self) -> Result<Loaded, Vec<Fault>> {
        let before = std::mem::replace(&mut self.local, Local::read(&self.file)?);
        let loaded = self.together(&self.items.clone());
        match loaded {
            Ok(_) => self.before = Some(before),
            Err(_) => self.local = before,
        }
        loaded
    }

    /// Takes the last [`Self::reload`] back, where what it gave was not put in force.
    pub fn take_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.local = before;
        }
    }

    /// Changes items, all of them or none. After an error all is as before.
    ///
    /// # Errors
    /// All faults; the place of one in an item is `published KIND/ID`.
    pub fn change(&mut self, changes: Vec<Change>) -> Result<Loaded, Vec<Fault>> {
        let mut items = self.items.clone();
        changes.into_iter().for_each(|change| items.apply(change));
        let loaded = self.together(&items)?;
        self.items = items;
        self.before = None;
        Ok(loaded)
    }

    /// What is published here.
    #[must_use]
    pub fn items(&self) -> &Items {
        &self.items
    }

    fn together(&mut self, items: &Items) -> Result<Loaded, Vec<Fault>> {
        let mut report = self.local.report.clone();
        let kept = self.local.roots.len();
        let place = self.local.roots.iter().position(|root| root.table.given("packet"));
        let local_packet = place.and_then(|at| self.local.roots.get(at)).map(|r| r.table.clone());
        let usual = self.local.roots.iter().find(|root| root.table.given("published"));
        let usual = usual.and_then(|root| root.table.table("published")?.table("pool"));
        let usual_pool = usual.cloned();
        let mut strays = 0;
        for item in items.iter() {
            if place.is_none() && item.key.kind.role() == Role::Packet {
                strays += 1;
                continue;
            }
            let name = format!("published {}", item.key);
            let Some(mut table) = check(&mut report, &item, name.clone()) else { continue };
            if item.key.kind == ItemKind::Pool
                && let Some(usual) = &usual_pool
            {
                table.fill(usual);
            }
            let kind = item.key.kind.table();
            if item.key.kind != ItemKind::Packet {
                let table = Table::around(&schema::ROOT, kind, vec![table]);
                self.local.roots.push(Root { file: PathBuf::from(name), table });
                continue;
            }
            let local = place.and_then(|at| self.local.roots.get_mut(at));
            let Some(packet) = local.and_then(|root| root.table.table_mut("packet")) else {
                continue;
            };
            let at = table.at;
            for key in packet.adopt(table) {
                let what = format!("`{key}` is published, and stands in the edge's file as well");
                report.fault(at, key, what, "one of the two");
            }
        }
        if strays > 0 {
            let what = "objects of the packet path are published and have no effect here";
            report.warn(At::default(), "", what, "add [packet] to this file");
        }
        let world = machine();
        let loaded = build(&world, report, &self.local.roots, self.follows);
        self.local.roots.truncate(kept);
        if let (Some(root), Some(table)) =
            (place.and_then(|at| self.local.roots.get_mut(at)), local_packet)
        {
            root.table = table;
        }
        loaded.map(|loaded| self.without_items(loaded))
    }

    fn without_items(&self, mut loaded: Loaded) -> Loaded {
        loaded.files.retain(|file| !file.to_string_lossy().starts_with("published "));
        loaded
    }
}

impl Local {
    fn read(file: &Path) -> Result<Self, Vec<Fault>> {
        let name = file.display().to_string();
        let bytes = super::main_file(file, &name)?;
        let world = machine();
        let mut reader = Reader::new(&world, &schema::ROOT);
        reader.read_all(&name, bytes);
        let Reader { report, roots, .. } = reader;
        if report.is_empty() {
            return Ok(Self { roots, report });
        }
        // Together with what building finds, so that one report has all faults.
        Err(build(&world, report, &roots, true).err().unwrap_or_default())
    }
}

fn check(report: &mut Report, item: &Item, name: String) -> Option<Table> {
    let section = section(item.key.kind)?;
    let source = report.add_item(name);
    let at = At { source, offset: 0 };
    match raw::of_json(item.body.get()) {
        Ok(table) => {
            let part = item.key.kind == ItemKind::Packet;
            let mut checker = Checker { report, source, env: None, part };
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
