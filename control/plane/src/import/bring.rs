//! Puts objects that were read elsewhere into the store, in one change.

use super::clean::clean;
use super::{Bringing, Brought, Gathered};
use crate::rest::{Collection, HEALTHCHECK, LINKED, links_of, new_account, stamp, validate};
use crate::store::{ChangeError, Changed, Draft, Keeper, Key, KeyError, Who, differences};
use aws_lc_rs::digest::{SHA256, digest};
use control_api::account::{ACCOUNT, ZONE};
use control_api::id::is_id;
use control_api::{Message, Shape};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An object of JSON.
type Object = Map<String, Value>;
/// Digits of an id.
const ID_DIGITS: usize = 32;
/// Folders in the order in which objects refer to each other.
const ORDER: [&str; 6] =
    ["monitors", "monitor_groups", "pools", "load_balancers", "webhooks", "policies"];

/// Why nothing was brought.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// What was read cannot be held here, or not beside what is here.
    #[error("{}", .0.join("\n"))]
    Faults(Vec<String>),
    /// The store.
    #[error("{0}")]
    Store(String),
}

/// Why the change ended without a commit.
enum Stop {
    Told(Brought),
    Faults(Vec<String>),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told(_) => f.write_str("nothing is changed"),
            Self::Faults(faults) => f.write_str(&faults.join("; ")),
        }
    }
}

impl From<KeyError> for Stop {
    fn from(error: KeyError) -> Self {
        Self::Faults(vec![error.to_string()])
    }
}

/// Brings what was gathered, in the name of `who`, at a time in microseconds since 1970.
///
/// # Errors
/// See [`BringError`].
pub async fn bring(
    keeper: &Keeper,
    who: &Who,
    now_us: u64,
    bringing: &Bringing,
) -> Result<Brought, BringError> {
    let done = keeper.change(who, "import cloudflare", now_us / 1_000, |draft| {
        let brought = bring_into(draft, now_us, bringing)?;
        if !bringing.dry_run {
            return Ok(brought);
        }
        let faults = validate(draft);
        match faults.is_empty() {
            true => Err(Stop::Told(brought)),
            false => Err(Stop::Faults(faults.iter().map(ToString::to_string).collect())),
        }
    });
    match done.await {
        Ok((brought, revision)) => Ok(Brought { revision, applied: true, ..brought }),
        Err(ChangeError::Edit(Stop::Told(brought))) => Ok(brought),
        Err(ChangeError::Edit(Stop::Faults(faults))) => Err(BringError::Faults(faults)),
        Err(ChangeError::Invalid(faults)) => {
            Err(BringError::Faults(faults.iter().map(ToString::to_string).collect()))
        }
        Err(other) => Err(BringError::Store(other.to_string())),
    }
}

fn bring_into(draft: &mut Draft<'_>, now_us: u64, bringing: &Bringing) -> Result<Brought, Stop> {
    let gathered = &bringing.gathered;
    let revision = draft.revision;
    let account = account(draft, now_us, gathered, bringing.into.as_deref())?;
    let mut porter = Porter::new(draft, now_us, account);
    porter.zones(gathered)?;
    for folder in ORDER {
        porter.choose(folder, "accounts", None, gathered.objects.get(folder))?;
    }
    for (place, rows) in &gathered.objects {
        if let Some((zone, folder)) = of_zone(place) {
            porter.choose(folder, "zones", Some(zone), Some(rows))?;
        }
    }
    porter.put_all()?;
    let Porter { read, left_out, renamed, faults, .. } = porter;
    if !faults.is_empty() {
        return Err(Stop::Faults(faults));
    }
    let changed = draft.writes().into_iter().map(|write| Changed {
        key: write.key,
        before: write.before.map(|stored| stored.value),
        after: write.after,
    });
    let changes = differences(&changed.collect::<Vec<_>>());
    Ok(Brought { revision, applied: false, read, changes, left_out, renamed })
}

/// The zone and the folder of `zones/ID/FOLDER`.
fn of_zone(place: &str) -> Option<(&str, &str)> {
    place.strip_prefix("zones/")?.split_once('/')
}

/// The account here that takes the objects; made where it is not there.
fn account(
    draft: &mut Draft<'_>,
    now_us: u64,
    gathered: &Gathered,
    into: Option<&str>,
) -> Result<String, Stop> {
    let accounts = draft.children(&Key::new("accounts")?);
    if let Some(into) = into {
        let named = |stored: &Value| text(stored, "name") == into;
        let found = accounts.iter().find(|(key, stored)| key.id() == into || named(&stored.value));
        let known: Vec<&str> =
            accounts.iter().take(10).map(|(_, stored)| text(&stored.value, "name")).collect();
        let none = || format!("there is no account {into} here; there are: {}", known.join(", "));
        return found.map(|(key, _)| key.id().to_owned()).ok_or_else(|| Stop::Faults(vec![none()]));
    }
    let id = text(&gathered.account, "id");
    if !is_id(id) {
        let what = "the account was not read: name one that is here by --into";
        return Err(Stop::Faults(vec![what.to_owned()]));
    }
    let key = Key::of(&["accounts", id])?;
    if draft.get(&key).is_none() {
        let mut sent = Object::new();
        let name = match text(&gathered.account, "name") {
            "" => id,
            name => name,
        };
        sent.insert("name".to_owned(), json!(name));
        let faults = |faults: Vec<Message>| Stop::Faults(told(&key, &faults));
        let sent = ACCOUNT.check(&Value::Object(sent)).map_err(faults)?;
        draft.put(key.clone(), Value::Object(new_account(id, sent, now_us)));
    }
    Ok(id.to_owned())
}

/// An object on its way.
struct Load<'g> {
    key: Key,
    shape: &'static Shape,
    of: Option<&'static Collection>,
    value: &'g Value,
}

struct Porter<'a, 'd, 'g> {
    draft: &'a mut Draft<'d>,
    now_us: u64,
    account: String,
    /// Every id of the store, with the one key that has it last.
    taken: BTreeMap<String, Key>,
    /// Ids here by folder and id there.
    ids: BTreeMap<(String, String), String>,
    loads: Vec<Load<'g>>,
    read: usize,
    left_out: Vec<String>,
    renamed: Vec<(String, String)>,
    faults: Vec<String>,
}

impl<'a, 'd, 'g> Porter<'a, 'd, 'g> {
    fn new(draft: &'a mut Draft<'d>, now_us: u64, account: String) -> Self {
        let taken = draft.objects.keys().map(|key| (key.id().to_owned(), key.clone())).collect();
        Self {
            draft,
            now_us,
            account,
            taken,
            ids: BTreeMap::new(),
            loads: Vec::new(),
            read: 0,
            left_out: Vec::new(),
            renamed: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// The id here: the one there where it is free or the same object's.
    fn id(&mut self, folder: &Key, id: &str) -> Result<String, KeyError> {
        let free = match self.taken.get(id) {
            None => is_id(id),
            // A zone's key does not say whose it is.
            Some(other) if folder.as_str() == "zones" => {
                let zone = self.draft.get(other).filter(|_| other.segments().count() == 2);
                let owner = zone.and_then(|zone| zone.value.pointer("/account/id")?.as_str());
                owner == Some(&self.account)
            }
            Some(other) => *other == Key::new(&format!("{folder}/{id}"))?,
        };
        if free {
            self.taken.insert(id.to_owned(), Key::new(&format!("{folder}/{id}"))?);
            return Ok(id.to_owned());
        }
        let parts = ["weir imported", &self.account, folder.as_str(), id].join("\0");
        let mut fresh = crate::rest::token::hex(digest(&SHA256, parts.as_bytes()).as_ref());
        fresh.truncate(ID_DIGITS);
        self.renamed.push((id.to_owned(), fresh.clone()));
        Ok(fresh)
    }

    fn zones(&mut self, gathered: &'g Gathered) -> Result<(), Stop> {
        let folder = Key::new("zones")?;
        let here = self.draft.children(&folder).into_iter().map(|(key, stored)| {
            let owner = stored.value.pointer("/account/id").and_then(Value::as_str);
            let own = owner == Some(&self.account);
            (text(&stored.value, "name").to_owned(), (key.id().to_owned(), own))
        });
        let here: BTreeMap<String, (String, bool)> = here.collect();
        for zone in gathered.objects.get("zones").into_iter().flatten() {
            self.read += 1;
            let (name, there) = (text(zone, "name").to_ascii_lowercase(), text(zone, "id"));
            let id = match here.get(&name) {
                Some((_, false)) => {
                    self.faults.push(format!("zone {name}: another account here has it"));
                    continue;
                }
                Some((id, true)) => id.clone(),
                None => self.id(&folder, there)?,
            };
            self.ids.insert(("zones".to_owned(), there.to_owned()), id.clone());
            let key = Key::of(&["zones", &id])?;
            self.loads.push(Load { key, shape: &ZONE, of: None, value: zone });
        }
        Ok(())
    }

    /// Chooses the ids of a folder's objects.
    fn choose(
        &mut self,
        folder: &str,
        base: &str,
        zone: Option<&str>,
        rows: Option<&'g Vec<Value>>,
    ) -> Result<(), Stop> {
        let Some(rows) = rows else { return Ok(()) };
        let owner = match zone {
            None => self.account.clone(),
            Some(zone) => match self.ids.get(&("zones".to_owned(), zone.to_owned())) {
                Some(id) => id.clone(),
                None => {
                    self.faults.push(format!("zones/{zone}/{folder}: the zone was not read"));
                    return Ok(());
                }
            },
        };
        let place = Key::of(&[base, &owner, folder])?;
        let of = LINKED.into_iter().chain([&HEALTHCHECK]).find(|of| of.folder == folder);
        let Some(of) = of else { return Ok(()) };
        for value in rows {
            self.read += 1;
            let there = text(value, "id");
            let id = self.id(&place, there)?;
            self.ids.insert((folder.to_owned(), there.to_owned()), id.clone());
            let key = Key::new(&format!("{place}/{id}"))?;
            self.loads.push(Load { key, shape: of.shape, of: Some(of), value });
        }
        Ok(())
    }

    fn put_all(&mut self) -> Result<(), Stop> {
        let loads = std::mem::take(&mut self.loads);
        let mut folders = BTreeSet::new();
        for load in loads {
            let cleaned = clean(load.shape, &load.key, load.value, &mut self.left_out);
            let mut object = match cleaned {
                Ok(object) => object,
                Err(faults) => {
                    self.faults.extend(told(&load.key, &faults));
                    continue;
                }
            };
            match load.of {
                None => {
                    object.insert("account".to_owned(), json!({ "id": self.account }));
                    let name = text(load.value, "name").to_ascii_lowercase();
                    object.insert("name".to_owned(), json!(name));
                }
                Some(of) => {
                    object = self.refer(of, &load.key, object);
                    let folder = load.key.as_str().rsplit_once('/').unwrap_or_default().0;
                    folders.extend(of.unique.then(|| (folder.to_owned(), of.name)));
                }
            }
            self.put(&load, object);
        }
        for (folder, name) in folders {
            self.unique(&Key::new(&folder)?, name);
        }
        Ok(())
    }

    /// Puts the ids here in the place of those there.
    fn refer(&mut self, of: &Collection, key: &Key, object: Object) -> Object {
        let mut links: Vec<(String, String)> = Vec::new();
        for link in links_of(of.folder, &object) {
            let known = self.ids.get(&(link.folder.to_owned(), link.id.clone()));
            let here = Key::of(&["accounts", &self.account, link.folder, &link.id]).ok();
            match known {
                Some(id) => links.push((link.pointer, id.clone())),
                None if here.is_some_and(|here| self.draft.get(&here).is_some()) => {}
                None => {
                    let what = format!("there is no {} in {}", link.id, link.folder);
                    self.faults.push(format!("{key}#{}: {what}", link.pointer));
                }
            }
        }
        let mut object = Value::Object(object);
        for (pointer, id) in links {
            if let Some(place) = object.pointer_mut(&pointer) {
                *place = json!(id);
            }
        }
        self.rename_weights(&mut object);
        match object {
            Value::Object(object) => object,
            _ => Object::new(),
        }
    }

    /// Weights of pools have the ids as names.
    fn rename_weights(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                if let Some(Value::Object(weights)) = members.get_mut("pool_weights") {
                    let renamed = std::mem::take(weights).into_iter().map(|(id, weight)| {
                        let here = self.ids.get(&("pools".to_owned(), id.clone())).cloned();
                        (here.unwrap_or(id), weight)
                    });
                    *weights = renamed.collect();
                }
                members.values_mut().for_each(|value| self.rename_weights(value));
            }
            Value::Array(entries) => entries.iter_mut().for_each(|v| self.rename_weights(v)),
            _ => {}
        }
    }

    /// Puts an object with the times that it had there.
    fn put(&mut self, load: &Load<'_>, mut object: Object) {
        object.insert("id".to_owned(), json!(load.key.id()));
        let times = load.of.map_or(crate::rest::LOAD_BALANCER.times, |of| of.times);
        let old = self.draft.get(&load.key).map(|stored| stored.value.clone());
        stamp(&mut object, times, self.now_us);
        for name in [Some(times.created), times.modified].into_iter().flatten() {
            let there = load.value.get(name).filter(|time| time.is_string());
            let here = old.as_deref().and_then(|old| old.get(name));
            if let Some(time) = there.or(here) {
                object.insert(name.to_owned(), time.clone());
            }
        }
        // What is never told, such as the secret of a webhook, stays as it is here; one that stands
        // in a file in the clear is not taken.
        for field in load.shape.fields.iter().filter(|field| field.secret) {
            if object.remove(field.name).is_some() {
                self.left_out.push(format!("{}#/{}", load.key, field.name));
            }
            if let Some(secret) = old.as_deref().and_then(|old| old.get(field.name)) {
                object.entry(field.name).or_insert_with(|| secret.clone());
            }
        }
        self.draft.put(load.key.clone(), Value::Object(object));
    }

    /// No two objects of a folder have the same name.
    fn unique(&mut self, folder: &Key, name: &str) {
        let mut seen: BTreeMap<String, &Key> = BTreeMap::new();
        for (key, stored) in self.draft.children(folder) {
            let own = text(&stored.value, name).to_ascii_lowercase();
            if let Some(other) = seen.insert(own.clone(), key) {
                let what = format!("`{own}` is the name of {other} too: rename one of them");
                self.faults.push(format!("{key}: {what}"));
            }
        }
    }
}

fn told(key: &Key, faults: &[Message]) -> Vec<String> {
    let one = |fault: &Message| {
        let pointer = fault.pointer.as_deref().unwrap_or_default();
        format!("{key}#{pointer}: {}", fault.message)
    };
    faults.iter().map(one).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
