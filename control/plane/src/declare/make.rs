//! Puts declared objects beside what is there.

use super::raise::{BALANCER_KEYS, Ids, MONITOR_KEYS, Object, POOL_KEYS, Raised, refer};
use super::text;
use super::{Action, Declaration, DeclareError, FieldChange, MARKS, Plan, Planned, Staying, hex};
use crate::packet;
use crate::rest::{Collection, LOAD_BALANCER, MONITOR, POOL, stamp};
use crate::store::{Draft, Key, KeyError, Vault, redacted};
use aws_lc_rs::digest::{SHA256, digest};
use control_api::account::ZONE;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Digits of an id.
const ID_DIGITS: usize = 32;
/// Properties that only the server sets, of which no plan tells.
const SERVERS: [&str; 4] = ["id", "created_on", "modified_on", "account"];

/// Makes the plan, and the draft what it says.
pub(super) fn make(
    draft: &mut Draft<'_>,
    vault: &Vault,
    now_us: u64,
    account: &str,
    declaration: &Declaration,
    raised: Raised,
) -> Result<Plan, DeclareError> {
    let mut maker = Maker::new(draft, vault, now_us, account)?;
    for stays in raised.staying {
        match stays.keys.is_empty() {
            true => maker.stays(&stays.kind, &stays.name, &stays.why)?,
            false => maker.staying.push(stays),
        }
    }
    let prune_packets = declaration.prune && raised.has_packets;
    let monitors = maker.monitors(raised.monitors)?;
    let pools = maker.pools(raised.pools, &monitors)?;
    maker.zones(&raised.zones)?;
    maker.balancers(raised.balancers, &pools)?;
    maker.packets(raised.packets)?;
    let old = maker.settings(raised.settings.as_ref())?;
    maker.remove(declaration.prune, prune_packets)?;
    maker.judge(raised.settings.is_some());
    maker.seal(raised.settings, old)?;
    let Maker { planned, staying, faults, .. } = maker;
    if !faults.is_empty() {
        return Err(DeclareError::Faults(faults));
    }
    Ok(Plan { revision: 0, fingerprint: String::new(), applied: false, changes: planned, staying })
}

/// An object that an earlier run declared.
struct Mark {
    key: Key,
    kind: String,
    name: String,
}

struct Maker<'a, 'd> {
    draft: &'a mut Draft<'d>,
    vault: &'a Vault,
    now_us: u64,
    account: &'a str,
    /// By the marks' own keys.
    marks: BTreeMap<Key, Mark>,
    /// Objects that are declared.
    kept: BTreeSet<Key>,
    /// Keys of the objects of a folder by their names in lower case.
    names: BTreeMap<Key, BTreeMap<String, Key>>,
    /// Zones of the account: names and ids.
    own_zones: Vec<(String, String)>,
    planned: Vec<Planned>,
    staying: Vec<Staying>,
    faults: Vec<String>,
}

/// An object that is to be put.
struct Wanted<'w> {
    of: &'static Collection,
    /// The table of the file.
    kind: &'w str,
    name: &'w str,
    folder: Key,
    /// What the file can say of it.
    words: &'w [&'w str],
    object: Object,
}

impl<'a, 'd> Maker<'a, 'd> {
    fn new(
        draft: &'a mut Draft<'d>,
        vault: &'a Vault,
        now_us: u64,
        account: &'a str,
    ) -> Result<Self, DeclareError> {
        let mut marks = BTreeMap::new();
        for (own, stored) in draft.children(&Key::new(MARKS)?) {
            let mark = &stored.value;
            if text(mark, "account") == account {
                let key = Key::new(text(mark, "key"))?;
                let (kind, name) = (text(mark, "kind").to_owned(), text(mark, "name").to_owned());
                marks.insert(own.clone(), Mark { key, kind, name });
            }
        }
        Ok(Self {
            draft,
            vault,
            now_us,
            account,
            marks,
            kept: BTreeSet::new(),
            names: BTreeMap::new(),
            own_zones: Vec::new(),
            planned: Vec::new(),
            staying: Vec::new(),
            faults: Vec::new(),
        })
    }

    /// The id that an object of this name gets: the same in each run.
    fn id(&self, kind: &str, name: &str) -> String {
        let parts = ["weir declared", self.account, kind, name].join("\0");
        let mut id = hex(digest(&SHA256, parts.as_bytes()).as_ref());
        id.truncate(ID_DIGITS);
        id
    }

    fn mark_key(&self, kind: &str, name: &str) -> Result<Key, KeyError> {
        Key::of(&[MARKS, &self.id(kind, name)])
    }

    fn mark(&mut self, kind: &str, name: &str, key: &Key) -> Result<(), KeyError> {
        let own = self.mark_key(kind, name)?;
        let mark = json!({ "account": self.account, "kind": kind, "name": name, "key": key });
        self.draft.put(own.clone(), mark);
        let mark = Mark { key: key.clone(), kind: kind.to_owned(), name: name.to_owned() };
        self.marks.insert(own, mark);
        self.kept.insert(key.clone());
        Ok(())
    }

    /// The object that an earlier run declared by this name, where it is still there.
    fn declared(&self, kind: &str, name: &str) -> Result<Option<Key>, KeyError> {
        let mark = self.marks.get(&self.mark_key(kind, name)?).map(|mark| mark.key.clone());
        Ok(mark.filter(|key| self.draft.get(key).is_some()))
    }

    fn monitors(&mut self, all: Vec<(String, Object)>) -> Result<Ids, DeclareError> {
        let mut ids = Ids::new();
        for (name, object) in all {
            let folder = Key::of(&["accounts", self.account, "monitors"])?;
            let wanted = Wanted {
                of: &MONITOR,
                kind: "monitor",
                name: &name,
                folder,
                words: &MONITOR_KEYS,
                object,
            };
            if let Some(key) = self.put(wanted)? {
                ids.insert(name, key.id().to_owned());
            }
        }
        Ok(ids)
    }

    fn pools(&mut self, all: Vec<(String, Object)>, monitors: &Ids) -> Result<Ids, DeclareError> {
        let mut ids = Ids::new();
        for (name, mut object) in all {
            let missing = refer(&mut object, monitors);
            if self.waits("pool", &name, "monitor", &missing)? {
                continue;
            }
            let folder = Key::of(&["accounts", self.account, "pools"])?;
            let wanted =
                Wanted { of: &POOL, kind: "pool", name: &name, folder, words: &POOL_KEYS, object };
            if let Some(key) = self.put(wanted)? {
                ids.insert(name, key.id().to_owned());
            }
        }
        Ok(ids)
    }

    fn balancers(&mut self, all: Vec<(String, Object)>, pools: &Ids) -> Result<(), DeclareError> {
        for (name, mut object) in all {
            let missing = refer(&mut object, pools);
            if self.waits("load_balancer", &name, "pool", &missing)? {
                continue;
            }
            let Some(zone) = self.zone_of(&name) else {
                self.stays(
                    "load_balancer",
                    &name,
                    "no zone of the account has it: add a [[zone]]",
                )?;
                continue;
            };
            let wanted = Wanted {
                of: &LOAD_BALANCER,
                kind: "load_balancer",
                name: &name,
                folder: Key::of(&["zones", &zone, "load_balancers"])?,
                words: &BALANCER_KEYS,
                object,
            };
            self.put(wanted)?;
        }
        Ok(())
    }

    /// Whether an object refers to one that stays on the edge, where it has to stay too.
    fn waits(
        &mut self,
        kind: &str,
        name: &str,
        other: &str,
        missing: &[String],
    ) -> Result<bool, DeclareError> {
        let stays = |missing: &String| {
            let stays = |s: &Staying| s.kind == other && s.name == *missing && s.keys.is_empty();
            self.staying.iter().any(stays)
        };
        let (held, unknown): (Vec<_>, Vec<_>) = missing.iter().partition(|name| stays(name));
        let fault = |missing| format!("{kind} {name}: there is no {other} {missing}");
        self.faults.extend(unknown.into_iter().map(fault));
        if let Some(held) = held.first() {
            self.stays(kind, name, &format!("its {other} {held} does"))?;
        }
        Ok(!missing.is_empty())
    }

    /// An object that the API cannot hold. One that it held before is not taken away by that.
    fn stays(&mut self, kind: &str, name: &str, why: &str) -> Result<(), DeclareError> {
        if self.declared(kind, name)?.is_some() {
            self.faults.push(format!("{kind} {name}: is in the API and cannot stay there: {why}"));
        }
        let (kind, name, why) = (kind.to_owned(), name.to_owned(), why.to_owned());
        self.staying.push(Staying { kind, name, keys: Vec::new(), why });
        Ok(())
    }

    /// The zone of the account with the longest name that a host is in.
    fn zone_of(&self, host: &str) -> Option<String> {
        let host = host.strip_prefix("*.").unwrap_or(host).to_ascii_lowercase();
        let within = self.own_zones.iter().filter(|(zone, _)| {
            host == *zone || host.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'))
        });
        within.max_by_key(|(zone, _)| zone.len()).map(|(_, id)| id.clone())
    }

    fn zones(&mut self, names: &[String]) -> Result<(), DeclareError> {
        for name in names {
            let zones = self.draft.children(&Key::new("zones")?);
            let there = zones.iter().find(|(_, stored)| text(&stored.value, "name") == name);
            if let Some((key, stored)) = there {
                let owner = stored.value.pointer("/account/id").and_then(Value::as_str);
                if owner != Some(self.account) {
                    self.faults.push(format!("zone {name}: it belongs to another account"));
                    continue;
                }
                let (key, before) = ((*key).clone(), stored.value.clone());
                if self.declared("zone", name)?.is_none() {
                    self.tell(Action::Adopt, "zone", name, &key, Some(&before), Some(&before));
                }
                self.mark("zone", name, &key)?;
                continue;
            }
            let id = self.id("zone", name);
            let key = Key::of(&["zones", &id])?;
            let body = json!({ "name": name, "account": { "id": self.account } });
            match ZONE.check(&body) {
                Err(faults) => self.refuse("zone", name, &faults),
                Ok(mut zone) => {
                    zone.insert("id".to_owned(), json!(id));
                    stamp(&mut zone, LOAD_BALANCER.times, self.now_us);
                    let zone = Value::Object(zone);
                    self.tell(Action::Create, "zone", name, &key, None, Some(&zone));
                    self.draft.put(key.clone(), zone);
                    self.mark("zone", name, &key)?;
                }
            }
        }
        let own = self.draft.children(&Key::new("zones")?).into_iter().filter(|(_, stored)| {
            stored.value.pointer("/account/id").and_then(Value::as_str) == Some(self.account)
        });
        let own = own.map(|(key, stored)| (text(&stored.value, "name"), key.id()));
        self.own_zones = own.map(|(name, id)| (name.to_owned(), id.to_owned())).collect();
        Ok(())
    }

    fn refuse(&mut self, kind: &str, name: &str, faults: &[control_api::Message]) {
        let told = faults.iter().map(|fault| {
            let pointer = fault.pointer.as_deref().unwrap_or_default();
            format!("{kind} {name}: {} {pointer}", fault.message)
        });
        self.faults.extend(told);
    }

    /// Puts an object of the API; none where the API cannot hold it.
    fn put(&mut self, wanted: Wanted<'_>) -> Result<Option<Key>, DeclareError> {
        let Wanted { of, kind, name, folder, words, object } = wanted;
        let declared = self.declared(kind, name)?;
        let within = |key: &Key| key.as_str().starts_with(&format!("{folder}/"));
        if let Some(key) = declared.as_ref().filter(|key| !within(key)) {
            let before = self.draft.get(key).map(|stored| stored.value.clone());
            self.tell(Action::Delete, kind, name, key, before.as_deref(), None);
            self.draft.remove(key);
        }
        let declared = declared.filter(within);
        let fresh = Key::new(&format!("{folder}/{}", self.id(kind, name)))?;
        let (lower, names) = (name.to_ascii_lowercase(), self.names(of, &folder));
        let namesake = names.get(&lower).filter(|_| of.unique).cloned();
        let key = declared.clone().or(namesake.clone()).unwrap_or(fresh);
        let taken = namesake.is_some_and(|other| other != key);
        let full = names.len() >= of.most && !names.values().any(|other| *other == key);
        names.insert(if of.unique { lower } else { key.to_string() }, key.clone());
        if taken {
            self.faults.push(format!("{kind} {name}: another object has this name"));
        }
        if full {
            self.faults.push(format!("{kind} {name}: there are {} already, the most", of.most));
        }
        let before = self.draft.get(&key).map(|stored| stored.value.clone());
        let old = before.as_deref().and_then(Value::as_object).cloned().unwrap_or_default();
        // What a file cannot say stays as somebody else said it.
        let mut body = old.clone();
        body.retain(|name, _| !words.contains(&name.as_str()));
        body.extend(object);
        let mut new = match of.shape.replace(&old, &Value::Object(body)) {
            Ok(new) => new,
            Err(faults) => {
                let why: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
                self.stays(kind, name, &format!("the API refuses it: {}", why.join("; ")))?;
                return Ok(None);
            }
        };
        if before.is_none() {
            new.insert("id".to_owned(), json!(key.id()));
        }
        if !self.kept.insert(key.clone()) {
            self.faults.push(format!("{kind} {name}: stands there twice"));
        }
        let action = match (&before, &declared) {
            (None, _) => Action::Create,
            (Some(_), None) => Action::Adopt,
            (Some(_), Some(_)) => Action::Update,
        };
        if new != old {
            stamp(&mut new, of.times, self.now_us);
        }
        if new != old || action == Action::Adopt {
            let new = Value::Object(new);
            self.tell(action, kind, name, &key, before.as_deref(), Some(&new));
            self.draft.put(key.clone(), new);
        }
        self.mark(kind, name, &key)?;
        Ok(Some(key))
    }

    /// The objects of a folder by name.
    fn names(&mut self, of: &Collection, folder: &Key) -> &mut BTreeMap<String, Key> {
        let draft = &self.draft;
        self.names.entry(folder.clone()).or_insert_with(|| {
            let all = draft.children(folder).into_iter();
            let name = |value: &Value| text(value, of.name).to_ascii_lowercase();
            all.map(|(key, stored)| (name(&stored.value), key.clone())).collect()
        })
    }

    /// Puts the fleet's part of `[packet]` with its key in the clear, to be looked at. What was
    /// there before.
    fn settings(&mut self, table: Option<&Object>) -> Result<Option<Arc<Value>>, DeclareError> {
        let Some(table) = table else { return Ok(None) };
        let faults = packet::strangers(table);
        self.faults.extend(faults.iter().map(|f| format!("packet{}: {}", f.pointer, f.what)));
        let key = packet::settings_key()?;
        let old = self.draft.get(&key).map(|stored| stored.value.clone());
        self.draft.put(key.clone(), Value::Object(table.clone()));
        self.kept.insert(key);
        Ok(old)
    }

    /// Seals the key, after which nobody sees it any more.
    fn seal(
        &mut self,
        settings: Option<Object>,
        old: Option<Arc<Value>>,
    ) -> Result<(), DeclareError> {
        let Some(mut table) = settings else { return Ok(()) };
        packet::seal(self.vault, old.as_deref(), &mut table)?;
        self.put_table("packet", "packet", &packet::settings_key()?, table, old)
    }

    fn packets(
        &mut self,
        all: Vec<(packet::PacketKind, String, Object)>,
    ) -> Result<(), DeclareError> {
        let mut last: Option<(packet::PacketKind, String)> = None;
        for (kind, name, table) in all {
            let Ok(key) = kind.key(&name) else {
                let what = "names are made of a-z, 0-9, `_` and `-` in the API";
                self.faults.push(format!("{} {name}: {what}", kind.table));
                continue;
            };
            // Rules are tried in order, and published in that of their names.
            let before = last.as_ref().filter(|(own, _)| *own == kind).map(|(_, name)| name);
            if kind.table == "shield_rule" && before.is_some_and(|before| *before > name) {
                let what = "rules are published in the order of their names: name them in theirs";
                self.faults.push(format!("shield_rule {name}: {what}"));
            }
            let old = self.draft.get(&key).map(|stored| stored.value.clone());
            self.put_table(kind.table, &name, &key, table, old)?;
            last = Some((kind, name));
        }
        Ok(())
    }

    fn put_table(
        &mut self,
        kind: &str,
        name: &str,
        key: &Key,
        table: Object,
        old: Option<Arc<Value>>,
    ) -> Result<(), DeclareError> {
        let new = Value::Object(table);
        let action = match (&old, self.marks.contains_key(&self.mark_key(kind, name)?)) {
            (None, _) => Action::Create,
            (Some(_), true) => Action::Update,
            (Some(_), false) => Action::Adopt,
        };
        if old.as_deref() != Some(&new) || action == Action::Adopt {
            self.tell(action, kind, name, key, old.as_deref(), Some(&new));
        }
        self.draft.put(key.clone(), new);
        Ok(self.mark(kind, name, key)?)
    }

    /// Removes what is declared no more, and with `prune` what never was.
    fn remove(&mut self, prune: bool, prune_packets: bool) -> Result<(), DeclareError> {
        let mut gone: Vec<(String, String, Key)> = Vec::new();
        let mut stale = Vec::new();
        for (own, mark) in &self.marks {
            if !self.kept.contains(&mark.key) {
                stale.push(own.clone());
                gone.push((mark.kind.clone(), mark.name.clone(), mark.key.clone()));
            }
        }
        for own in stale {
            self.draft.remove(&own);
        }
        if prune {
            self.strays(&mut gone)?;
        }
        if prune_packets {
            for kind in packet::KINDS {
                for (key, _) in self.draft.children(&kind.folder_key()?) {
                    gone.push((kind.table.to_owned(), key.id().to_owned(), key.clone()));
                }
            }
        }
        // Load balancers before pools, pools before monitors, zones once they are empty.
        let last = ["load_balancer", "pool", "monitor", "zone"];
        gone.sort_by_key(|(kind, ..)| last.iter().position(|last| last == kind));
        for (kind, name, key) in gone {
            if self.kept.contains(&key) {
                continue;
            }
            let Some(before) = self.draft.get(&key).map(|stored| stored.value.clone()) else {
                continue;
            };
            if kind == "zone" && !self.draft.under(&key).is_empty() {
                let why = "the zone holds other objects and is left alone";
                let (name, why) = (name.clone(), why.to_owned());
                self.staying.push(Staying { kind, name, keys: Vec::new(), why });
                continue;
            }
            self.tell(Action::Delete, &kind, &name, &key, Some(&before), None);
            self.draft.remove(&key);
        }
        Ok(())
    }

    /// Objects of the account that no file declared.
    fn strays(&self, gone: &mut Vec<(String, String, Key)>) -> Result<(), KeyError> {
        let marked: BTreeSet<&Key> = self.marks.values().map(|mark| &mark.key).collect();
        let mut add = |kind: &str, of: &str, folder: &Key| {
            for (key, stored) in self.draft.children(folder) {
                if !marked.contains(key) {
                    let name = match text(&stored.value, of) {
                        "" => key.id().to_owned(),
                        name => name.to_owned(),
                    };
                    gone.push((kind.to_owned(), name, key.clone()));
                }
            }
        };
        add("monitor", "description", &Key::of(&["accounts", self.account, "monitors"])?);
        add("pool", "name", &Key::of(&["accounts", self.account, "pools"])?);
        for (zone, stored) in self.draft.children(&Key::new("zones")?) {
            let owner = stored.value.pointer("/account/id").and_then(Value::as_str);
            if owner == Some(self.account) {
                let folder = Key::of(&["zones", zone.id(), "load_balancers"])?;
                add("load_balancer", "name", &folder);
            }
        }
        Ok(())
    }

    /// What an edge would refuse of the packet path.
    fn judge(&mut self, settings: bool) {
        if !settings && !self.packets_changed() {
            return;
        }
        for fault in packet::faults(self.draft) {
            let key = fault.key.map_or_else(String::new, |key| key.to_string());
            let told = format!("{key}{}: {}", fault.pointer, fault.what);
            if !self.faults.contains(&told) {
                self.faults.push(told);
            }
        }
    }

    fn packets_changed(&self) -> bool {
        let kinds = packet::KINDS.map(|kind| kind.table);
        self.planned.iter().any(|change| kinds.contains(&change.kind.as_str()))
    }

    fn tell(
        &mut self,
        action: Action,
        kind: &str,
        name: &str,
        key: &Key,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        let fields = fields(before, after);
        let (kind, name, id) = (kind.to_owned(), name.to_owned(), key.id().to_owned());
        self.planned.push(Planned { action, kind, name, id, fields });
    }
}

/// The properties in which two objects differ; none of one that goes.
fn fields(before: Option<&Value>, after: Option<&Value>) -> Vec<FieldChange> {
    let Some(after) = after.and_then(Value::as_object) else { return Vec::new() };
    let empty = Object::new();
    let before = before.and_then(Value::as_object).unwrap_or(&empty);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let told = names.into_iter().filter(|name| !SERVERS.contains(&name.as_str()));
    let differ = told.filter(|name| before.get(*name) != after.get(*name));
    let change = |name: &String| FieldChange {
        field: name.clone(),
        before: before.get(name).map(redacted),
        after: after.get(name).map(redacted),
    };
    differ.map(change).collect()
}
