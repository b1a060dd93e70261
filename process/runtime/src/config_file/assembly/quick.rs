//! The short way: what items changed, and nothing else, is made anew.
//!
//! References are positions, so that an object keeps its place for as long as it is there. New ones
//! come last, and the last one takes the place of one that goes. Whatever is not certainly right
//! (a fault, a name that goes from one object to another, one that others still refer to) is left
//! to the long way, which finds everything by its name.

use super::super::build::{Known, MOST, Names};
use super::super::report::At;
use super::super::table::Table;
use super::made::{self, Made};
use control_api::publish::{Change, Item, ItemKey, ItemKind, Items};
use core_model::Fault;
use core_model::config::packet::PacketConfig;
use core_model::config::{
    Action, ClientAuth, Config, HostPattern, List, Listener, LoadBalancer, MonitorId, Name, Pool,
    PoolId,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is in force, as far as changes need to know it. Clones share all of it.
#[derive(Clone, Debug)]
pub(super) struct Quick {
    pub(super) config: Config,
    known: Known,
    hosts: Arc<HashMap<HostPattern, usize>>,
    monitors: Places,
    pools: Places,
    balancers: Places,
    /// Names of published zones.
    zones: Arc<HashMap<Arc<str>, Name>>,
}

/// Where published objects of a kind are in the list of all.
#[derive(Clone, Debug, Default)]
struct Places {
    /// How many of the edge's own file stand before them.
    first: usize,
    ids: Arc<Vec<Arc<str>>>,
    at: Arc<HashMap<Arc<str>, usize>>,
}

impl Places {
    fn new(first: usize, items: &Items, kind: ItemKind) -> Self {
        let keys = items.iter().map(|item| item.key).filter(|key| key.kind == kind);
        let ids: Vec<Arc<str>> = keys.map(|key| key.id).collect();
        let at = ids.iter().enumerate().map(|(at, id)| (id.clone(), first + at)).collect();
        Self { first, ids: Arc::new(ids), at: Arc::new(at) }
    }

    /// Puts an object in its place; gives the place, and what was there.
    fn put<T>(
        &mut self,
        list: &mut Vec<Arc<T>>,
        id: &Arc<str>,
        object: T,
    ) -> (usize, Option<Arc<T>>) {
        let object = Arc::new(object);
        if let Some(at) = self.at.get(id).copied()
            && let Some(there) = list.get_mut(at)
        {
            return (at, Some(std::mem::replace(there, object)));
        }
        let at = list.len();
        list.push(object);
        Arc::make_mut(&mut self.ids).push(id.clone());
        Arc::make_mut(&mut self.at).insert(id.clone(), at);
        (at, None)
    }

    /// Takes an object away; gives the place that it had, and the one from which the last object
    /// came to it.
    fn remove<T>(&mut self, list: &mut Vec<Arc<T>>, id: &Arc<str>) -> Option<(usize, usize)> {
        let at = *self.at.get(id)?;
        let from = list.len().checked_sub(1)?;
        let (ids, places) = (Arc::make_mut(&mut self.ids), Arc::make_mut(&mut self.at));
        places.remove(id);
        list.swap_remove(at);
        ids.swap_remove(at.checked_sub(self.first)?);
        if let Some(moved) = ids.get(at - self.first) {
            places.insert(moved.clone(), at);
        }
        Some((at, from))
    }
}

/// The changes of one kind, the last of each item.
#[derive(Default)]
struct Wanted<'a> {
    put: Vec<&'a Item>,
    gone: Vec<&'a Arc<str>>,
}

/// Names of a list that objects have no more, those that they have instead, and where they stand.
struct Renamed<N> {
    lost: Vec<N>,
    found: Vec<(N, usize)>,
    /// Places whose objects are gone or called otherwise: nothing that stays may refer to them.
    places: HashSet<usize>,
    /// Places of objects that were made anew, and so have found theirs by name.
    put: HashSet<usize>,
    gone: HashSet<usize>,
}

impl<N: PartialEq> Renamed<N> {
    /// Whether the object at this place is the one that was there before.
    fn stays(&self, at: usize) -> bool {
        !self.put.contains(&at) && !self.gone.contains(&at)
    }

    fn note(&mut self, old: Option<N>, new: N, at: usize) {
        if old.as_ref() == Some(&new) {
            return;
        }
        if let Some(old) = old {
            self.lost.push(old);
            self.places.insert(at);
        }
        self.found.push((new, at));
    }
}

impl Quick {
    /// What the long way has made of `items`, with `local` monitors, pools and load balancers of
    /// the edge's file before them, and the names of published zones.
    pub(super) fn new(
        config: Config,
        items: &Items,
        local: [usize; 3],
        zones: HashMap<Arc<str>, Name>,
    ) -> Self {
        let names = |names: &mut dyn Iterator<Item = &Name>| -> Arc<Names> {
            Arc::new(
                names.enumerate().map(|(at, name)| (name.clone(), (at, At::default()))).collect(),
            )
        };
        let known = Known {
            listeners: names(&mut config.listeners.iter().map(|one| &one.name)),
            monitors: names(&mut config.monitors.iter().map(|one| &one.name)),
            pools: names(&mut config.pools.iter().map(|one| &one.name)),
        };
        let hosts = config.load_balancers.iter().enumerate();
        let hosts = hosts.map(|(at, balancer)| (balancer.host.clone(), at)).collect();
        let [monitors, pools, balancers] = local;
        Self {
            known,
            hosts: Arc::new(hosts),
            monitors: Places::new(monitors, items, ItemKind::Monitor),
            pools: Places::new(pools, items, ItemKind::Pool),
            balancers: Places::new(balancers, items, ItemKind::LoadBalancer),
            zones: Arc::new(zones),
            config,
        }
    }

    /// These objects after `changes` of `items`, and what is likely not meant in what is new; none
    /// where the long way is to be taken. `packet` makes the packet path, where that is changed.
    pub(super) fn change(
        &self,
        items: &Items,
        changes: &[Change],
        usual: Option<&Table>,
        packet: impl FnOnce() -> Option<Option<PacketConfig>>,
    ) -> Option<(Self, Vec<Fault>)> {
        let mut kinds = wanted(items, changes);
        let mut of = |kind| kinds.remove(&kind).unwrap_or_default();
        let mut next = self.clone();
        let mut warnings = Vec::new();
        let monitors = of(ItemKind::Monitor);
        let (monitors_lost, monitors_gone) = next.change_monitors(&monitors, &mut warnings)?;
        let pools = of(ItemKind::Pool);
        let pools_lost = next.change_pools(&pools, &monitors_lost, usual, &mut warnings)?;
        next.change_zones(&of(ItemKind::Zone), &mut warnings)?;
        let balancers = of(ItemKind::LoadBalancer);
        next.change_balancers(&balancers, &pools_lost, &mut warnings)?;
        next.remove(&monitors_gone, &pools.gone)?;
        if !kinds.is_empty() {
            next.config.packet = packet()?;
        }
        let config = &next.config;
        let counts = [
            config.monitors.len(),
            config.pools.len(),
            config.zones.len(),
            config.load_balancers.len(),
        ];
        let within = counts.iter().zip(MOST).all(|(count, (_, max))| *count <= max);
        within.then_some((next, warnings))
    }

    fn change_monitors<'a>(
        &mut self,
        wanted: &Wanted<'a>,
        warnings: &mut Vec<Fault>,
    ) -> Option<(HashSet<usize>, Vec<&'a Arc<str>>)> {
        let made = made::all(&wanted.put, &self.known, None, |b, table| b.monitor(table))?;
        let (list, places) = (&mut self.config.monitors, &mut self.monitors);
        let name = |one: &core_model::config::Monitor| one.name.clone();
        let renamed = seat(list, places, wanted, made, warnings, name);
        rename(&mut self.known.monitors, &renamed, |at| (at, At::default()))?;
        Some((renamed.places, wanted.gone.clone()))
    }

    fn change_pools(
        &mut self,
        wanted: &Wanted<'_>,
        monitors_lost: &HashSet<usize>,
        usual: Option<&Table>,
        warnings: &mut Vec<Fault>,
    ) -> Option<HashSet<usize>> {
        let made = made::all(&wanted.put, &self.known, usual, |b, table| b.pool(table))?;
        let (list, places) = (&mut self.config.pools, &mut self.pools);
        let renamed = seat(list, places, wanted, made, warnings, |pool: &Pool| pool.name.clone());
        rename(&mut self.known.pools, &renamed, |at| (at, At::default()))?;
        let lost = |pool: &Pool| pool.monitor.is_some_and(|id| monitors_lost.contains(&id.0));
        let dangles = |(at, pool): (usize, &Arc<Pool>)| renamed.stays(at) && lost(pool);
        if !monitors_lost.is_empty() && list.iter().enumerate().any(dangles) {
            return None;
        }
        Some(renamed.places)
    }

    fn change_balancers(
        &mut self,
        wanted: &Wanted<'_>,
        pools_lost: &HashSet<usize>,
        warnings: &mut Vec<Fault>,
    ) -> Option<()> {
        let made = made::all(&wanted.put, &self.known, None, |b, table| b.load_balancer(table))?;
        let listeners = &self.config.listeners;
        if !made.iter().all(|made| somebody_asks(&made.object, listeners)) {
            return None;
        }
        let (list, places) = (&mut self.config.load_balancers, &mut self.balancers);
        let host = |balancer: &LoadBalancer| balancer.host.clone();
        let renamed = seat(list, places, wanted, made, warnings, host);
        rename(&mut self.hosts, &renamed, |at| at)?;
        let lost = |id: &PoolId| pools_lost.contains(&id.0);
        let dangles = |(at, balancer): (usize, &Arc<LoadBalancer>)| {
            renamed.stays(at) && pools_of(balancer).any(lost)
        };
        if !pools_lost.is_empty() && list.iter().enumerate().any(dangles) {
            return None;
        }
        if wanted.gone.is_empty() {
            return Some(());
        }
        let (list, hosts) = (Arc::make_mut(list), Arc::make_mut(&mut self.hosts));
        for id in &wanted.gone {
            let (at, from) = places.remove(list, id)?;
            let moved = list.get(at).and_then(|moved| hosts.get_mut(&moved.host));
            moved.filter(|place| **place == from).into_iter().for_each(|place| *place = at);
        }
        Some(())
    }

    fn change_zones(&mut self, wanted: &Wanted<'_>, warnings: &mut Vec<Fault>) -> Option<()> {
        if wanted.put.is_empty() && wanted.gone.is_empty() {
            return Some(());
        }
        let made = made::all(&wanted.put, &self.known, None, |b, table| b.zone(table))?;
        let (list, zones) = (Arc::make_mut(&mut self.config.zones), Arc::make_mut(&mut self.zones));
        let put = wanted.put.iter().map(|item| &item.key.id);
        for id in wanted.gone.iter().copied().chain(put) {
            let Some(name) = zones.remove(id) else { continue };
            list.remove(list.binary_search_by(|zone| zone.name.cmp(&name)).ok()?);
        }
        for (item, made) in wanted.put.iter().zip(made) {
            let name = made.object.name.clone();
            let at = list.binary_search_by(|zone| zone.name.cmp(&name)).err()?;
            list.insert(at, Arc::new(made.object));
            zones.insert(item.key.id.clone(), name);
            warnings.extend(made.warnings);
        }
        Some(())
    }

    /// Takes monitors and pools away that nothing refers to, and lets what refers to those that
    /// take their places follow them.
    fn remove(&mut self, monitors: &[&Arc<str>], pools: &[&Arc<str>]) -> Option<()> {
        for id in monitors {
            let list = Arc::make_mut(&mut self.config.monitors);
            let (at, from) = self.monitors.remove(list, id)?;
            let Some(moved) = list.get(at) else { continue };
            follow(&mut self.known.monitors, &moved.name, from, at);
            for pool in Arc::make_mut(&mut self.config.pools) {
                if pool.monitor == Some(MonitorId(from)) {
                    Arc::make_mut(pool).monitor = Some(MonitorId(at));
                }
            }
        }
        for id in pools {
            let list = Arc::make_mut(&mut self.config.pools);
            let (at, from) = self.pools.remove(list, id)?;
            let Some(moved) = list.get(at) else { continue };
            follow(&mut self.known.pools, &moved.name, from, at);
            for balancer in Arc::make_mut(&mut self.config.load_balancers) {
                if pools_of(balancer).any(|id| id.0 == from) {
                    pools_mut(Arc::make_mut(balancer))
                        .filter(|id| id.0 == from)
                        .for_each(|id| *id = PoolId(at));
                }
            }
        }
        Some(())
    }
}

/// The changes by kind, without those that change nothing.
fn wanted<'a>(items: &Items, changes: &'a [Change]) -> HashMap<ItemKind, Wanted<'a>> {
    let mut last: HashMap<&ItemKey, usize> = HashMap::with_capacity(changes.len());
    for (at, change) in changes.iter().enumerate() {
        last.insert(change.key(), at);
    }
    let mut kinds: HashMap<ItemKind, Wanted<'a>> = HashMap::new();
    for (at, change) in changes.iter().enumerate() {
        if last.get(change.key()) != Some(&at) {
            continue;
        }
        let before = if items.is_empty() { None } else { items.get(change.key()) };
        let kind = change.key().kind;
        match (change, before) {
            (Change::Put(new), Some(old)) if old.body.get() == new.body.get() => {}
            (Change::Put(new), _) => kinds.entry(kind).or_default().put.push(new),
            (Change::Remove(key), Some(_)) => kinds.entry(kind).or_default().gone.push(&key.id),
            (Change::Remove(_), None) => {}
        }
    }
    kinds
}

/// Puts objects in their places; what goes keeps its place until nothing refers to it.
fn seat<T: Clone, N: PartialEq>(
    list: &mut List<T>,
    places: &mut Places,
    wanted: &Wanted<'_>,
    made: Vec<Made<T>>,
    warnings: &mut Vec<Fault>,
    name: impl Fn(&T) -> N,
) -> Renamed<N> {
    let (lost, found) = (Vec::new(), Vec::with_capacity(wanted.put.len()));
    let (places_lost, put, gone) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut renamed = Renamed { lost, found, places: places_lost, put, gone };
    if wanted.put.is_empty() && wanted.gone.is_empty() {
        return renamed;
    }
    for id in &wanted.gone {
        let at = places.at.get(*id).copied();
        if let Some((at, object)) = at.and_then(|at| Some((at, list.get(at)?))) {
            renamed.lost.push(name(object));
            renamed.places.insert(at);
            renamed.gone.insert(at);
        }
    }
    let list = Arc::make_mut(list);
    for (item, made) in wanted.put.iter().zip(made) {
        let new = name(&made.object);
        let (at, old) = places.put(list, &item.key.id, made.object);
        renamed.note(old.map(|old| name(&old)), new, at);
        renamed.put.insert(at);
        warnings.extend(made.warnings);
    }
    renamed
}

/// Notes names that are lost and found; none where one is taken.
fn rename<N: Clone + Eq + std::hash::Hash, P: Clone>(
    names: &mut Arc<HashMap<N, P>>,
    renamed: &Renamed<N>,
    place: impl Fn(usize) -> P,
) -> Option<()> {
    if renamed.lost.is_empty() && renamed.found.is_empty() {
        return Some(());
    }
    let names = Arc::make_mut(names);
    renamed.lost.iter().for_each(|name| drop(names.remove(name)));
    names.reserve(renamed.found.len());
    let free = |(name, at): &(N, usize)| names.insert(name.clone(), place(*at)).is_none();
    renamed.found.iter().all(free).then_some(())
}

/// The object of a name goes from one place to another. One that is about to go has no name.
fn follow(names: &mut Arc<Names>, name: &Name, from: usize, to: usize) {
    if let Some((place, _)) = Arc::make_mut(names).get_mut(name).filter(|(at, _)| *at == from) {
        *place = to;
    }
}

/// Whether client certificates are asked for, where the host needs them.
fn somebody_asks(balancer: &LoadBalancer, listeners: &[Listener]) -> bool {
    let asks = |(at, listener): (usize, &Listener)| {
        let here = balancer.listeners.is_empty() || balancer.listeners.iter().any(|id| id.0 == at);
        let auth = listener.tls.as_ref().map(|tls| &tls.client_auth);
        here && auth.is_some_and(|auth| !matches!(auth, ClientAuth::None))
    };
    !balancer.require_client_certificate || listeners.iter().enumerate().any(asks)
}

fn actions(balancer: &LoadBalancer) -> impl Iterator<Item = &Action> {
    std::iter::once(&balancer.default).chain(balancer.routes.iter().map(|route| &route.action))
}

fn pools_of(balancer: &LoadBalancer) -> impl Iterator<Item = &PoolId> {
    actions(balancer).flat_map(|action| match action {
        Action::Proxy { pools, fallback, .. } => pools.iter().chain(Some(fallback)),
        Action::Redirect(_) => [].iter().chain(None),
    })
}

fn pools_mut(balancer: &mut LoadBalancer) -> impl Iterator<Item = &mut PoolId> {
    let routes = balancer.routes.iter_mut().map(|route| &mut route.action);
    std::iter::once(&mut balancer.default).chain(routes).flat_map(|action| match action {
        Action::Proxy { pools, fallback, .. } => pools.iter_mut().chain(Some(fallback)),
        Action::Redirect(_) => [].iter_mut().chain(None),
    })
}
