//! From the objects of the store to the items of a snapshot, by what was changed.
//!
//! An object becomes an item on its own (`lower`), but for three things: it may refer to others by
//! what they are called on an edge, of several objects that stand for one thing (two load balancers
//! of one host) the oldest enabled one counts, and of each kind there are at most as many as a
//! configuration has. All of it follows from the state alone, so that every control plane of a
//! store has the same items.

use super::lower::{self, Object};
use crate::store::{Key, Revision, State, Stored};
use control_api::publish::{ITEM_BYTES_MAX, Item, ItemKey, ItemKind, Items};
use process_runtime::config_file::{
    LOAD_BALANCERS_MAX, MONITORS_MAX, POOLS_MAX, SERVERS_MAX, SHIELD_RULES_MAX, TRAFFICSETS_MAX,
    ZONES_MAX,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Opens a sealed secret of an object.
pub(crate) type Open<'a> = &'a dyn Fn(&Key, &Value) -> Option<String>;

/// Why an object is not published though it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// Another object stands for the same: the same host, or the same id.
    Taken {
        /// The other one.
        by: Key,
    },
    /// There are as many of its kind as an edge takes.
    Many {
        /// How many that are.
        most: usize,
    },
    /// It is larger than an edge takes.
    Large {
        /// Its bytes.
        bytes: usize,
    },
    /// Its secret cannot be opened with the keys that are there.
    Sealed,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { by } => write!(f, "{by} is older and stands for the same: remove one"),
            Self::Many { most } => write!(f, "edges take {most} of its kind: remove some"),
            Self::Large { bytes } => {
                write!(f, "it has {bytes} bytes, edges take {ITEM_BYTES_MAX}: make it smaller")
            }
            Self::Sealed => f.write_str("its secret cannot be opened: see secrets.key_file"),
        }
    }
}

/// What an object stands for, and its place among those that stand for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// Those of one name exclude each other.
    name: Box<str>,
    /// Whether it does nothing: then any other comes first.
    idle: bool,
    created: Revision,
}

/// The place of an object among those that stand for the same: the first one counts.
type Place = (bool, Revision, Key);

/// An item, and what other objects call it on an edge.
type Lowered = Option<(Item, Option<Box<str>>)>;

/// What is published of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Published {
    item: ItemKey,
    /// What others call it on an edge.
    name: Option<Box<str>>,
}

/// The items of a state, and what is needed to follow the next one.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    items: Items,
    claims: BTreeMap<Key, Claim>,
    /// Who stands for a thing.
    claimants: BTreeMap<(ItemKind, Box<str>), BTreeSet<Place>>,
    /// Those that count, in the order in which they were made.
    ranks: BTreeMap<ItemKind, BTreeSet<(Revision, Key)>>,
    /// The last one that is published, where there are more than an edge takes.
    bounds: BTreeMap<ItemKind, (Revision, Key)>,
    published: BTreeMap<Key, Published>,
    left_out: BTreeMap<Key, LeftOut>,
    /// The objects that an object calls by name, and the other way round.
    uses: BTreeMap<Key, Vec<Key>>,
    users: BTreeMap<Key, BTreeSet<Key>>,
    /// The account of each zone.
    accounts: BTreeMap<Key, String>,
}

/// What a change of the state did to the items.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Items that are new, others, or gone.
    pub(crate) items: BTreeSet<ItemKey>,
    /// Objects that are left out since then.
    pub(crate) left_out: Vec<(Key, LeftOut)>,
}

impl Compiler {
    /// The items.
    pub(crate) fn items(&self) -> &Items {
        &self.items
    }

    /// Objects that are not published though they could be.
    pub(crate) fn left_out(&self) -> &BTreeMap<Key, LeftOut> {
        &self.left_out
    }

    /// The kind of item that an object becomes.
    pub(crate) fn kind_of(key: &Key) -> Option<ItemKind> {
        kind_of(key)
    }

    /// What is published of an object.
    pub(crate) fn item_of(&self, key: &Key) -> Option<Item> {
        self.items.get(&self.published.get(key)?.item)
    }

    /// Compiles all of a state.
    pub(crate) fn whole(state: &State, open: Open<'_>) -> Self {
        let mut compiler = Self::default();
        compiler.follow(state, state.objects.keys(), open);
        compiler
    }

    /// Takes up a state that differs from the last one in some objects.
    pub(crate) fn follow<'k>(
        &mut self,
        state: &State,
        keys: impl IntoIterator<Item = &'k Key>,
        open: Open<'_>,
    ) -> Changed {
        let mut dirty: BTreeMap<ItemKind, BTreeSet<Key>> = BTreeMap::new();
        for key in keys {
            let Some(kind) = kind_of(key) else { continue };
            if kind == ItemKind::Zone && self.moved(state, key) {
                let folder = Key::new(&format!("{key}/load_balancers"));
                let inside = folder.iter().flat_map(|folder| state.under(folder));
                let inside = inside.map(|(key, _)| key.clone());
                dirty.entry(ItemKind::LoadBalancer).or_default().extend(inside);
            }
            dirty.entry(kind).or_default().insert(key.clone());
        }
        let mut changed = Changed::default();
        // Monitors before pools, pools before load balancers: who is called before who calls.
        for kind in ItemKind::ALL {
            let Some(keys) = dirty.remove(&kind) else { continue };
            for user in self.pass(kind, keys, state, open, &mut changed) {
                if let Some(kind) = kind_of(&user) {
                    dirty.entry(kind).or_default().insert(user);
                }
            }
        }
        changed
    }

    /// Notes the account of a zone; whether it is another one than before.
    fn moved(&mut self, state: &State, zone: &Key) -> bool {
        let account = state.get(zone).and_then(|stored| stored.value.pointer("/account/id"));
        let account = account.and_then(Value::as_str).map(str::to_owned);
        let before = match account.clone() {
            Some(account) => self.accounts.insert(zone.clone(), account),
            None => self.accounts.remove(zone),
        };
        before != account
    }

    /// Compiles objects of one kind anew. Who calls them by a name that is another one is returned.
    fn pass(
        &mut self,
        kind: ItemKind,
        keys: BTreeSet<Key>,
        state: &State,
        open: Open<'_>,
        changed: &mut Changed,
    ) -> BTreeSet<Key> {
        let mut contested = BTreeSet::new();
        for key in &keys {
            self.claim(kind, key, state.get(key), &mut contested);
        }
        let mut again: BTreeSet<Key> = keys;
        for name in contested {
            self.contest(kind, name, &mut again);
        }
        self.bound(kind, &mut again);
        let mut users = BTreeSet::new();
        let mut made = Vec::new();
        for key in again {
            let lowered = self.lower(kind, &key, state, open);
            let lowered = match lowered {
                Ok(lowered) => lowered,
                Err(why) => {
                    if self.left_out.get(&key) != Some(&why) {
                        changed.left_out.push((key.clone(), why.clone()));
                    }
                    self.left_out.insert(key.clone(), why);
                    made.push((key, None));
                    continue;
                }
            };
            self.left_out.remove(&key);
            made.push((key, lowered));
        }
        // First what goes: the item of a host may pass from one object to another, as it is.
        made.sort_by_key(|(_, lowered)| lowered.is_some());
        let put = made.iter().filter_map(|(_, lowered)| lowered.as_ref());
        let put: BTreeSet<ItemKey> = put.map(|(item, _)| item.key.clone()).collect();
        for (key, lowered) in made {
            if self.publish(&key, lowered, &put, changed) {
                users.extend(self.users.get(&key).into_iter().flatten().cloned());
            }
        }
        users
    }

    /// Notes what an object stands for, and what it refers to.
    fn claim(
        &mut self,
        kind: ItemKind,
        key: &Key,
        stored: Option<&Stored>,
        contested: &mut BTreeSet<Box<str>>,
    ) {
        let claim = stored.and_then(|stored| claim_of(kind, key, stored));
        if let Some(old) = self.claims.remove(key) {
            let place = (kind, old.name.clone());
            if let Some(claimants) = self.claimants.get_mut(&place) {
                claimants.remove(&(old.idle, old.created, key.clone()));
                if claimants.is_empty() {
                    self.claimants.remove(&place);
                }
            }
            self.ranks.entry(kind).or_default().remove(&(old.created, key.clone()));
            contested.insert(old.name);
        }
        if let Some(new) = claim {
            let place = (kind, new.name.clone());
            let own = (new.idle, new.created, key.clone());
            self.claimants.entry(place).or_default().insert(own);
            contested.insert(new.name.clone());
            self.claims.insert(key.clone(), new);
        }
        let object = stored.and_then(|stored| stored.value.as_object());
        let uses = object.map(|object| self.uses_of(kind, key, object)).unwrap_or_default();
        for used in self.uses.remove(key).into_iter().flatten() {
            if let Some(users) = self.users.get_mut(&used) {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(&used);
                }
            }
        }
        if !uses.is_empty() {
            for used in &uses {
                self.users.entry(used.clone()).or_default().insert(key.clone());
            }
            self.uses.insert(key.clone(), uses);
        }
    }

    /// Finds out who stands for a thing; who has to be looked at again is added to `again`.
    fn contest(&mut self, kind: ItemKind, name: Box<str>, again: &mut BTreeSet<Key>) {
        let Some(claimants) = self.claimants.get(&(kind, name)) else { return };
        let ranks = self.ranks.entry(kind).or_default();
        for (at, (_, created, key)) in claimants.iter().enumerate() {
            let rank = (*created, key.clone());
            let differs = match at {
                0 => ranks.insert(rank),
                _ => ranks.remove(&rank),
            };
            // Losers are told of who came first, which may be another one than before.
            if differs || at > 0 {
                again.insert(key.clone());
            }
        }
    }

    /// Finds the last one of a kind that an edge takes.
    fn bound(&mut self, kind: ItemKind, again: &mut BTreeSet<Key>) {
        let Some(ranks) = self.ranks.get(&kind) else { return };
        let most = most_of(kind);
        let bound = match ranks.len() > most {
            true => ranks.iter().nth_back(ranks.len() - most).cloned(),
            false => None,
        };
        let before = match &bound {
            Some(bound) => self.bounds.insert(kind, bound.clone()),
            None => self.bounds.remove(&kind),
        };
        if before == bound {
            return;
        }
        // What lies behind the lower one of the two has to be looked at again.
        let first = [&before, &bound].into_iter().flatten().min();
        let behind = first.map(|first| ranks.range(first.clone()..)).into_iter().flatten();
        again.extend(behind.map(|(_, key)| key.clone()));
    }

    /// What an object is on an edge; none where it is nothing there.
    fn lower(
        &self,
        kind: ItemKind,
        key: &Key,
        state: &State,
        open: Open<'_>,
    ) -> Result<Lowered, LeftOut> {
        let (Some(stored), Some(claim)) = (state.get(key), self.claims.get(key)) else {
            return Ok(None);
        };
        let rank = (claim.created, key.clone());
        if !self.ranks.get(&kind).is_some_and(|ranks| ranks.contains(&rank)) {
            let first = self.claimants.get(&(kind, claim.name.clone()));
            let first = first.and_then(|first| first.first());
            return Err(LeftOut::Taken { by: first.map_or(key, |(.., key)| key).clone() });
        }
        if self.bounds.get(&kind).is_some_and(|bound| rank > *bound) {
            return Err(LeftOut::Many { most: most_of(kind) });
        }
        let Some(object) = stored.value.as_object() else { return Ok(None) };
        let called = |key: Option<Key>| self.published.get(&key?)?.name.as_deref();
        let (table, name) = match kind {
            ItemKind::Monitor => {
                (lower::monitor(key.id(), object), Some(lower::monitor_name(key.id())))
            }
            ItemKind::Pool => {
                let monitor = lower::text(object, "monitor").unwrap_or_default();
                let monitor = called(beside(key, "monitors", monitor));
                let table = lower::pool(key.id(), object, monitor);
                (table, Some(lower::pool_name(key.id(), object)))
            }
            ItemKind::Zone => (lower::zone(object), None),
            ItemKind::LoadBalancer => {
                let account = self.account_of(key).unwrap_or_default();
                let pool = |id: &str| {
                    let key = Key::of(&["accounts", &account, "pools", id]).ok();
                    called(key).map(str::to_owned)
                };
                (lower::load_balancer(object, pool), None)
            }
            ItemKind::Packet | ItemKind::Server | ItemKind::Trafficset | ItemKind::ShieldRule => {
                (Some(opened(key, object, open).ok_or(LeftOut::Sealed)?), None)
            }
        };
        let Some(table) = table else { return Ok(None) };
        let id = match kind {
            ItemKind::Zone | ItemKind::LoadBalancer => &claim.name,
            _ => key.id(),
        };
        let item = Item::new(ItemKey { kind, id: id.into() }, &table);
        // Keys of a value are texts, so that it can be written.
        let Ok(item) = item else { return Ok(None) };
        match item.body.get().len() {
            bytes if bytes > ITEM_BYTES_MAX => Err(LeftOut::Large { bytes }),
            _ => Ok(Some((item, name.map(String::into_boxed_str)))),
        }
    }

    /// Puts an item in the place of what was published of an object, where `put` is all that is put
    /// with it; whether others call it by another name since then.
    fn publish(
        &mut self,
        key: &Key,
        lowered: Lowered,
        put: &BTreeSet<ItemKey>,
        changed: &mut Changed,
    ) -> bool {
        use control_api::publish::Change;
        let before = self.published.remove(key);
        let name = before.as_ref().and_then(|before| before.name.clone());
        if let Some(before) = before.filter(|before| !put.contains(&before.item)) {
            changed.items.insert(before.item.clone());
            self.items.apply(Change::Remove(before.item));
        }
        let Some((item, own)) = lowered else { return name.is_some() };
        let same = self.items.get(&item.key).is_some_and(|old| old.body.get() == item.body.get());
        self.published.insert(key.clone(), Published { item: item.key.clone(), name: own.clone() });
        if !same {
            changed.items.insert(item.key.clone());
            self.items.apply(Change::Put(item));
        }
        name != own
    }

    /// The objects that an object of the API calls by name, each once.
    fn uses_of(&self, kind: ItemKind, key: &Key, object: &Object) -> Vec<Key> {
        let ids = |name: &str| {
            let list = object.get(name).and_then(Value::as_array).into_iter().flatten();
            list.chain(object.get(name)).filter_map(Value::as_str)
        };
        let keys: BTreeSet<Key> = match kind {
            ItemKind::Pool => ids("monitor").filter_map(|id| beside(key, "monitors", id)).collect(),
            ItemKind::LoadBalancer => {
                let account = self.account_of(key).unwrap_or_default();
                let pool = |id: &str| Key::of(&["accounts", &account, "pools", id]).ok();
                ids("default_pools").chain(ids("fallback_pool")).filter_map(pool).collect()
            }
            _ => BTreeSet::new(),
        };
        keys.into_iter().collect()
    }

    /// The account of a load balancer: its own, or that of its zone.
    fn account_of(&self, key: &Key) -> Option<String> {
        let mut segments = key.segments();
        match (segments.next()?, segments.next()?) {
            ("accounts", account) => Some(account.to_owned()),
            (base, zone) => self.accounts.get(&Key::of(&[base, zone]).ok()?).cloned(),
        }
    }
}

/// The kind of item that an object becomes.
fn kind_of(key: &Key) -> Option<ItemKind> {
    let mut segments = key.segments();
    let parts = [segments.next(), segments.next(), segments.next(), segments.next()];
    if segments.next().is_some() {
        return None;
    }
    match parts {
        [Some("accounts"), _, Some("monitors"), Some(_)] => Some(ItemKind::Monitor),
        [Some("accounts"), _, Some("pools"), Some(_)] => Some(ItemKind::Pool),
        [Some("zones"), Some(_), None, None] => Some(ItemKind::Zone),
        [Some("zones" | "accounts"), _, Some("load_balancers"), Some(_)] => {
            Some(ItemKind::LoadBalancer)
        }
        [Some("packet"), Some("settings"), None, None] => Some(ItemKind::Packet),
        [Some("packet"), Some("servers"), Some(_), None] => Some(ItemKind::Server),
        [Some("packet"), Some("trafficsets"), Some(_), None] => Some(ItemKind::Trafficset),
        [Some("packet"), Some("shield_rules"), Some(_), None] => Some(ItemKind::ShieldRule),
        _ => None,
    }
}

/// The most items of a kind: what a configuration takes.
fn most_of(kind: ItemKind) -> usize {
    match kind {
        ItemKind::Monitor => MONITORS_MAX,
        ItemKind::Pool => POOLS_MAX,
        ItemKind::Zone => ZONES_MAX,
        ItemKind::LoadBalancer => LOAD_BALANCERS_MAX,
        ItemKind::Packet => 1,
        ItemKind::Server => SERVERS_MAX,
        ItemKind::Trafficset => TRAFFICSETS_MAX,
        ItemKind::ShieldRule => SHIELD_RULES_MAX,
    }
}

/// What an object stands for; none where it is nothing on an edge, whatever else there is.
fn claim_of(kind: ItemKind, key: &Key, stored: &Stored) -> Option<Claim> {
    let object = stored.value.as_object()?;
    let named = || lower::text(object, "name").map(str::to_ascii_lowercase);
    let (name, idle) = match kind {
        ItemKind::Monitor => (lower::is_probed(object).then(|| key.id().to_owned())?, false),
        ItemKind::Pool => (lower::pool_number(key.id()).to_owned(), false),
        ItemKind::Zone => (named()?, false),
        ItemKind::LoadBalancer => (named()?, !lower::truth(object, "enabled", true)),
        _ => (key.id().to_owned(), false),
    };
    Some(Claim { name: name.into(), idle, created: stored.created })
}

/// An object of the same account.
fn beside(key: &Key, folder: &str, id: &str) -> Option<Key> {
    let account = key.segments().nth(1)?;
    Key::of(&["accounts", account, folder, id]).ok()
}

/// An object of the packet path, which is a table already, with its secrets opened.
fn opened(key: &Key, object: &Object, open: Open<'_>) -> Option<Value> {
    let mut table = object.clone();
    for value in table.values_mut() {
        if crate::store::is_sealed(value) {
            *value = Value::from(open(key, value)?);
        }
    }
    Some(Value::Object(table))
}
