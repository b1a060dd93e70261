//! Makes the model out of checked tables: names become positions, and objects are compared with
//! each other.

mod layer;
mod listener;
mod origin;
mod packet;
mod process;
mod route;
mod rules;

pub(super) use process::{format_of, level_of};

use super::report::{At, Report};
use super::schema::{LOAD_BALANCERS_MAX, MONITORS_MAX, POOLS_MAX, ZONES_MAX};
use super::table::{Item, Table};
use super::text::quote;
use super::{Root, World};
use crate::accounts::ServiceUser;
use core_model::Config;
use core_model::config::packet::PacketConfig;
use core_model::config::{List, ListenerId, MonitorId, Name, PoolId};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names of one kind of object: position and place of each.
pub(crate) type Names = HashMap<Name, (usize, At)>;

/// The names that references are looked up by.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) listeners: Arc<Names>,
    pub(crate) monitors: Arc<Names>,
    pub(crate) pools: Arc<Names>,
}

/// Makes the model; collects faults and files on the way.
pub(crate) struct Builder<'a> {
    pub(crate) world: &'a World<'a>,
    pub(crate) report: Report,
    /// Everything that was read.
    pub(crate) files: Vec<PathBuf>,
    /// The folder of each source.
    folders: BTreeMap<usize, PathBuf>,
    known: Known,
    /// Whether a control plane gives what may be missing.
    pub(crate) follows: bool,
    /// The user that Weir becomes, where it is another one.
    pub(crate) account: Option<ServiceUser>,
}

impl<'a> Builder<'a> {
    /// Takes up the names of all objects that others refer to.
    pub(crate) fn new(world: &'a World<'a>, report: Report, roots: &[Root]) -> Self {
        let mut builder = Self {
            world,
            report,
            files: roots.iter().map(|root| root.file.clone()).collect(),
            folders: BTreeMap::new(),
            known: Known::default(),
            follows: false,
            account: None,
        };
        for root in roots {
            builder.folders.insert(root.table.at.source, root.folder().to_owned());
        }
        builder.known = Known {
            listeners: Arc::new(builder.names(roots, "listener")),
            monitors: Arc::new(builder.names(roots, "monitor")),
            pools: Arc::new(builder.names(roots, "pool")),
        };
        builder
    }

    /// A builder of single objects that refer to others by `known` names.
    pub(crate) fn of_items(world: &'a World<'a>, known: Known) -> Self {
        Self { known, ..Self::new(world, Report::default(), &[]) }
    }

    /// What is left: the report, and all files that were read.
    pub(crate) fn finish(self) -> (Report, Vec<PathBuf>) {
        (self.report, self.files)
    }

    /// The whole configuration; `None` where something is wrong.
    pub(crate) fn config(&mut self, roots: &[Root]) -> Option<Config> {
        let first = roots.first()?;
        self.follows |= roots.iter().any(|root| root.table.given("control"));
        let runtime = self.runtime(self.single(roots, "runtime").unwrap_or(&first.table));
        let admin = self.single(roots, "admin").map(|table| self.admin(table));
        let logging = self.single(roots, "logging").map(|table| self.logging(table));
        let control = self.single(roots, "control").map(|table| self.control_planes(table));
        self.tell_doubles(roots);
        self.count(roots);
        let listeners = each(roots, "listener", |table| self.listener(table));
        let monitors = each(roots, "monitor", |table| self.monitor(table));
        let pools = each(roots, "pool", |table| self.pool(table));
        let load_balancers = each(roots, "load_balancer", |table| self.load_balancer(table));
        let account = self.single(roots, "account").map(|table| self.account(table));
        let zones = self.zones(roots);
        let packet = self.packet(roots);
        let packet_name = self.single(roots, "packet").and_then(|table| table.text("name"));
        self.compare_listeners(roots);
        self.compare_hosts(roots);
        self.compare_client_auth(roots);
        self.warn_of_nothing(roots);
        if !self.report.is_empty() {
            return None;
        }
        Some(Config {
            runtime,
            admin: admin?,
            logging: logging?,
            control,
            listeners: listeners?,
            monitors: shared(monitors?),
            pools: shared(pools?),
            account: account?,
            zones: shared(zones),
            load_balancers: shared(load_balancers?),
            packet: packet?,
            packet_name: packet_name.map(Into::into),
        })
    }

    /// The table of which there is one: from the file that has it.
    fn single<'r>(&self, roots: &'r [Root], key: &str) -> Option<&'r Table> {
        let root = roots.iter().find(|root| root.table.given(key)).or(roots.first())?;
        root.table.table(key)
    }

    fn tell_doubles(&mut self, roots: &[Root]) {
        for key in ["runtime", "admin", "logging", "control", "account", "published", "packet"] {
            let mut given = roots.iter().filter(|root| root.table.given(key));
            let Some(first) = given.next() else { continue };
            let first = self.report.point(first.table.at_of(key));
            for other in given {
                let what = format!("[{key}] stands at {first} already");
                self.report.fault(other.table.at_of(key), key, what, "one [table] in all files");
            }
        }
    }

    /// No more objects in all files together than one may have.
    fn count(&mut self, roots: &[Root]) {
        for (kind, max) in MOST {
            let mut over = roots.iter().flat_map(|root| root.table.tables(kind)).skip(max);
            if let Some(first) = over.next() {
                let what = format!("there are {} [[{kind}]]", max + 1 + over.count());
                self.report.fault(first.at, &first.path, what, format!("at most {max}"));
            }
        }
    }

    fn names(&mut self, roots: &[Root], kind: &str) -> Names {
        let mut names = Names::new();
        let tables = roots.iter().flat_map(|root| root.table.tables(kind));
        for (index, table) in tables.enumerate() {
            let Some(name) = table.text("name") else { continue };
            let at = table.at_of("name");
            if let Some((_, first)) = names.get(name) {
                let first = self.report.point(*first);
                let what = format!("the name {} stands at {first} already", quote(name));
                self.report.fault(at, &table.path_of("name"), what, "a name of its own");
                continue;
            }
            names.insert(name.into(), (index, at));
        }
        names
    }

    fn warn_of_nothing(&mut self, roots: &[Root]) {
        if self.follows {
            return;
        }
        let none = |key: &str| roots.iter().all(|root| root.table.tables(key).is_empty());
        let at = At::default();
        if none("listener") {
            if roots.iter().all(|root| !root.table.given("packet")) {
                let what = "there is no [[listener]] and no [packet]: nothing is served";
                self.report.warn(at, "", what, "add one");
            }
        } else if none("load_balancer") {
            let what = "there is no [[load_balancer]]: every request is answered with 404";
            self.report.warn(at, "", what, "add one");
        }
    }

    /// The position of a named object; a fault where there is none.
    fn find(&mut self, kind: &str, name: &str, at: At, path: &str) -> Option<usize> {
        let names = match kind {
            "listener" => &self.known.listeners,
            "monitor" => &self.known.monitors,
            _ => &self.known.pools,
        };
        if let Some((index, _)) = names.get(name) {
            return Some(*index);
        }
        if !self.report.incomplete() {
            let what = format!("there is no [[{kind}]] named {}", quote(name));
            let mut sorted: Vec<&str> = names.keys().map(|name| &**name).collect();
            sorted.sort_unstable();
            let all = sorted.get(..10).unwrap_or(&sorted);
            let more = if names.len() > all.len() { ", …" } else { "" };
            let valid = match all.is_empty() {
                true => format!("add a [[{kind}]]"),
                false => format!("{}{more}", all.join(", ")),
            };
            self.report.unknown(at, path, what, valid, name, sorted.iter().copied());
        }
        None
    }

    /// The packet path alone.
    pub(crate) fn packet_only(&mut self, roots: &[Root]) -> Option<Option<PacketConfig>> {
        let runtime = self.single(roots, "runtime")?;
        self.find_account(runtime);
        self.packet(roots)
    }

    fn monitor_id(&mut self, name: &str, at: At, path: &str) -> Option<MonitorId> {
        self.find("monitor", name, at, path).map(MonitorId)
    }

    fn pool_id(&mut self, name: &str, at: At, path: &str) -> Option<PoolId> {
        self.find("pool", name, at, path).map(PoolId)
    }

    fn listener_id(&mut self, name: &str, at: At, path: &str) -> Option<ListenerId> {
        self.find("listener", name, at, path).map(ListenerId)
    }

    /// A fault at a key of a table.
    pub(crate) fn fault(
        &mut self,
        table: &Table,
        key: &str,
        what: impl Into<String>,
        valid: impl Into<String>,
    ) {
        self.report.fault(table.at_of(key), &table.path_of(key), what, valid);
    }

    /// A warning at a key of a table.
    pub(crate) fn warn(
        &mut self,
        table: &Table,
        key: &str,
        what: impl Into<String>,
        valid: impl Into<String>,
    ) {
        self.report.warn(table.at_of(key), &table.path_of(key), what, valid);
    }

    /// A path of the file, relative to the one that names it.
    pub(crate) fn file_of(&self, at: At, path: &str) -> PathBuf {
        let folder = self.folders.get(&at.source).map_or(Path::new(""), PathBuf::as_path);
        folder.join(path)
    }
}

fn shared<T>(objects: Vec<T>) -> List<T> {
    Arc::new(objects.into_iter().map(Arc::new).collect())
}

/// Objects of a kind in all files, and in all that is published.
pub(crate) const MOST: [(&str, usize); 4] = [
    ("monitor", MONITORS_MAX),
    ("pool", POOLS_MAX),
    ("zone", ZONES_MAX),
    ("load_balancer", LOAD_BALANCERS_MAX),
];

/// The name of an object.
fn name_of(table: &Table) -> Option<Name> {
    table.text("name").map(Name::from)
}

/// Parses each entry of a list whose texts the schema has checked.
pub(super) fn parsed<T: std::str::FromStr>(items: &[Item]) -> Vec<T> {
    items.iter().filter_map(|item| item.text()?.parse().ok()).collect()
}

/// Builds each object of a kind; `None` where one could not be built.
fn each<T>(roots: &[Root], kind: &str, mut one: impl FnMut(&Table) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Some(Vec::new());
    for table in roots.iter().flat_map(|root| root.table.tables(kind)) {
        match (one(table), all.as_mut()) {
            (Some(object), Some(all)) => all.push(object),
            _ => all = None,
        }
    }
    all
}
