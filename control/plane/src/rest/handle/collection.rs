//! What all objects have in common: listed, made, read, replaced, changed in part, removed.

use super::kinds::{self, Link, links_of};
use super::reference::referrers;
use crate::rest::lifecycle::Call;
use crate::rest::query::{Paging, Query, page};
use crate::rest::reply::{Refusal, Reply};
use crate::rest::token::random;
use crate::store::{Draft, Key, State, Stored};
use control_api::{Message, Method, Shape, code, id, time};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// An object of JSON.
pub(crate) type Object = Map<String, Value>;

/// Whose objects these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// An account's.
    Account,
    /// A zone's.
    Zone,
    /// Either's, by the path.
    AccountOrZone,
}

/// What a change is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// The object.
    Whole,
    /// Its id.
    Id,
    /// Its id, as 201.
    NewId,
    /// Null.
    Nothing,
}

/// The properties that tell when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// When it was made.
    pub(crate) created: &'static str,
    /// When it was changed last.
    pub(crate) modified: Option<&'static str>,
}

/// A kind of objects.
#[derive(Debug)]
pub(crate) struct Collection {
    /// What they may be.
    pub(crate) shape: &'static Shape,
    /// Where they are kept, below account or zone.
    pub(crate) folder: &'static str,
    /// What one is called.
    pub(crate) kind: &'static str,
    /// The property that people know one by.
    pub(crate) name: &'static str,
    /// Whether no two may have the same name.
    pub(crate) unique: bool,
    /// Whose they are.
    pub(crate) base: Base,
    /// The properties that tell when.
    pub(crate) times: Times,
    /// How they are listed.
    pub(crate) paging: Paging,
    /// Most objects of one account or zone, as those of the configuration file.
    pub(crate) most: usize,
    /// Whether a query asks for one.
    pub(crate) keeps: fn(&Object, &Query) -> bool,
    /// Adds what is known beside what was sent, and takes away what nobody is shown.
    pub(crate) show: fn(&State, &Key, &mut Object),
    /// What `POST` is answered with.
    pub(crate) created: After,
    /// What `PUT` and `PATCH` are answered with.
    pub(crate) replaced: After,
    /// What `DELETE` is answered with.
    pub(crate) deleted: After,
}

/// Does what a call asks of a collection.
pub(crate) async fn handle(call: &Call<'_>, of: &'static Collection) -> Result<Reply, Refusal> {
    let folder = of.folder_of(call)?;
    match (call.route.operation.method, call.route.item()) {
        (Method::Get, None) => list(call, of, &folder),
        (Method::Get, Some(item)) => read(call, of, &key_in(&folder, item)?),
        (Method::Post, None) => create(call, of, &folder).await,
        (Method::Put, Some(item)) => change(call, of, &key_in(&folder, item)?, Way::Replace).await,
        (Method::Patch, Some(item)) => change(call, of, &key_in(&folder, item)?, Way::Merge).await,
        (Method::Patch, None) => change_many(call, of, &folder).await,
        (Method::Delete, Some(item)) => delete(call, of, &key_in(&folder, item)?).await,
        _ => Err(Refusal::new(code::NO_METHOD, "Method not available for that URI")),
    }
}

impl Collection {
    /// The folder that a call is about.
    pub(crate) fn folder_of(&self, call: &Call<'_>) -> Result<Key, Refusal> {
        let place = &call.place;
        let (kind, id) = match (self.base, &place.zone, &place.account) {
            (Base::Zone | Base::AccountOrZone, Some(zone), _) => ("zones", zone),
            (Base::Account | Base::AccountOrZone, _, Some(account)) => ("accounts", account),
            _ => return Err(Refusal::not_found()),
        };
        Key::of(&[kind, id, self.folder]).map_err(|_| Refusal::not_found())
    }

    /// The name that people know an object by.
    pub(crate) fn name_of(&self, object: &Value) -> String {
        object.get(self.name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn shown(&self, state: &State, key: &Key, value: &Value) -> Value {
        let mut object = value.as_object().map(|o| self.shape.shown(o)).unwrap_or_default();
        (self.show)(state, key, &mut object);
        Value::Object(object)
    }

    fn answer(&self, after: After, shown: Value, key: &Key) -> Reply {
        let id = || json!({ "id": key.id() });
        match after {
            After::Whole => Reply::of(shown),
            After::Id => Reply::of(id()),
            After::NewId => Reply { status: StatusCode::CREATED, ..Reply::of(id()) },
            After::Nothing => Reply::of(Value::Null),
        }
    }
}

/// The key of an object; a text that cannot be part of one names nothing.
pub(crate) fn key_in(folder: &Key, item: &str) -> Result<Key, Refusal> {
    Key::new(&format!("{folder}/{item}")).map_err(|_| Refusal::not_found())
}

fn list(call: &Call<'_>, of: &Collection, folder: &Key) -> Result<Reply, Refusal> {
    let state = call.site.keeper.state();
    let asked = |stored: &Stored| {
        stored.value.as_object().is_some_and(|object| (of.keeps)(object, &call.query))
    };
    let rows = state.children(folder).into_iter().filter(|(_, stored)| asked(stored)).collect();
    let (rows, info) = page(rows, &call.query, of.paging)?;
    let rows = rows.into_iter().map(|(key, stored)| of.shown(&state, key, &stored.value));
    Ok(Reply::list(rows.collect(), info))
}

fn read(call: &Call<'_>, of: &Collection, key: &Key) -> Result<Reply, Refusal> {
    let state = call.site.keeper.state();
    let stored = state.get(key).ok_or_else(Refusal::not_found)?;
    let mut reply = Reply::of(of.shown(&state, key, &stored.value));
    reply.revision = Some(stored.modified);
    Ok(reply)
}

async fn create(call: &Call<'_>, of: &Collection, folder: &Key) -> Result<Reply, Refusal> {
    let sent = of.shape.check(&call.body).map_err(Refusal::all)?;
    let id = new_id()?;
    let key = key_in(folder, &id)?;
    let messages = of.shape.not_in_effect(&sent);
    let (shown, revision) = edit(call, |draft| {
        let there = draft.children(folder).len();
        if there >= of.most {
            let what = format!("there are {there} already, of at most {}", of.most);
            return Err(Refusal::invalid(what, None));
        }
        check_whole(draft, call, of, &key, &sent)?;
        let mut object = sent.clone();
        object.insert("id".to_owned(), json!(id));
        stamp(&mut object, of.times, call.now_us);
        seal(call, of, &key, &mut object)?;
        draft.put(key.clone(), Value::Object(object.clone()));
        Ok(of.shown(draft, &key, &Value::Object(object)))
    })
    .await?;
    let mut reply = of.answer(of.created, shown, &key);
    (reply.messages, reply.revision) = (messages, Some(revision));
    Ok(reply)
}

/// How a body changes an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// What is not given is reset.
    Replace,
    /// What is not given stays.
    Merge,
}

async fn change(call: &Call<'_>, of: &Collection, key: &Key, way: Way) -> Result<Reply, Refusal> {
    let ((shown, messages), revision) = edit(call, |draft| {
        let old = existing(call, draft, key)?;
        let new = match way {
            Way::Replace => of.shape.replace(&old, &call.body),
            Way::Merge => of.shape.merge(&old, &call.body),
        };
        let mut new = new.map_err(Refusal::all)?;
        check_whole(draft, call, of, key, &new)?;
        let messages = of.shape.not_in_effect(&new);
        // A change that changes nothing is none: the object keeps its time and its revision.
        if new != old {
            stamp(&mut new, of.times, call.now_us);
            seal(call, of, key, &mut new)?;
        }
        let new = Value::Object(new);
        draft.put(key.clone(), new.clone());
        Ok((of.shown(draft, key, &new), messages))
    })
    .await?;
    let mut reply = of.answer(of.replaced, shown, key);
    reply.messages = messages;
    let state = call.site.keeper.state();
    reply.revision = state.get(key).map(|stored| stored.modified).or(Some(revision));
    Ok(reply)
}

/// `PATCH` on all pools: the one thing it can do is to reset `notification_email`.
async fn change_many(
    call: &Call<'_>,
    of: &'static Collection,
    folder: &Key,
) -> Result<Reply, Refusal> {
    control_api::pool::POOLS.check(&call.body).map_err(Refusal::all)?;
    let ((rows, info), _) = edit(call, |draft| {
        let keys = draft.children(folder).into_iter().map(|(key, _)| key.clone()).collect();
        // Cloudflare takes the first page where none is asked for.
        let paging = Paging { default: Some(25), ..of.paging };
        let (keys, info) = page::<Key>(keys, &call.query, paging)?;
        let mut rows = Vec::new();
        for key in keys {
            let old = existing(call, draft, &key)?;
            let mut object = old;
            if object.get("notification_email").is_some_and(|email| email != "") {
                object.insert("notification_email".to_owned(), json!(""));
                stamp(&mut object, of.times, call.now_us);
            }
            draft.put(key.clone(), Value::Object(object.clone()));
            rows.push(of.shown(draft, &key, &Value::Object(object)));
        }
        Ok((rows, info))
    })
    .await?;
    Ok(Reply::list(rows, info))
}

async fn delete(call: &Call<'_>, of: &Collection, key: &Key) -> Result<Reply, Refusal> {
    let (shown, _) = edit(call, |draft| {
        let old = existing(call, draft, key)?;
        let account = call.place.account.as_deref().unwrap_or_default();
        refuse_referenced(draft, account, of.folder, key.id())?;
        let shown = of.shown(draft, key, &Value::Object(old));
        draft.remove(key);
        Ok(shown)
    })
    .await?;
    Ok(of.answer(of.deleted, shown, key))
}

fn refuse_referenced(state: &State, account: &str, folder: &str, id: &str) -> Result<(), Refusal> {
    let found = referrers(state, account, folder, id);
    let Some(first) = found.first() else { return Ok(()) };
    let more = match found.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "This object is referenced by other objects, delete them first: {} {}{more}.",
        first.kind, first.id
    );
    Err(Refusal::new(code::REFERENCED, message))
}

/// Commits what `edit` makes of the newest state, in the caller's name.
pub(crate) async fn edit<T>(
    call: &Call<'_>,
    edit: impl FnMut(&mut Draft<'_>) -> Result<T, Refusal>,
) -> Result<(T, u64), Refusal> {
    let at_ms = call.now_us / 1_000;
    Ok(call.site.keeper.change(&call.who(), &call.what, at_ms, edit).await?)
}

/// The object as it is, if the call may change it as it is.
pub(crate) fn existing(call: &Call<'_>, state: &State, key: &Key) -> Result<Object, Refusal> {
    let stored = state.get(key).ok_or_else(Refusal::not_found)?;
    if let Some(wanted) = &call.if_match {
        let own = format!("\"{}\"", stored.modified);
        let matches = wanted.split(',').map(str::trim).any(|tag| tag == "*" || tag == own);
        if !matches {
            let message = format!("The object is at revision {own}, not at {wanted}");
            return Err(Refusal::new(code::CHANGED, message));
        }
    }
    Ok(stored.value.as_object().cloned().unwrap_or_default())
}

/// Writes the times of a change; that of the making stays.
pub(crate) fn stamp(object: &mut Object, times: Times, now_us: u64) {
    let now = json!(time::timestamp(now_us));
    object.entry(times.created).or_insert_with(|| now.clone());
    if let Some(modified) = times.modified {
        object.insert(modified.to_owned(), now);
    }
}

/// Seals the secrets that came with a call; those that were there are sealed already.
fn seal(call: &Call<'_>, of: &Collection, key: &Key, object: &mut Object) -> Result<(), Refusal> {
    for field in of.shape.fields.iter().filter(|field| field.secret) {
        let sealed = match object.get(field.name).and_then(Value::as_str) {
            Some(secret) => call.site.vault.seal(key, secret)?,
            None => continue,
        };
        object.insert(field.name.to_owned(), sealed);
    }
    Ok(())
}

/// A fresh id.
pub(crate) fn new_id() -> Result<String, Refusal> {
    let octets = random::<16>();
    octets.map(id::id).map_err(|error| Refusal::new(code::INTERNAL, error.to_string()))
}

/// What an object must be beside the others.
fn check_whole(
    state: &State,
    call: &Call<'_>,
    of: &Collection,
    key: &Key,
    object: &Object,
) -> Result<(), Refusal> {
    let mut errors = Vec::new();
    let account = call.place.account.as_deref().unwrap_or_default();
    for link in links_of(of.folder, object) {
        errors.extend(missing(state, account, of, &link));
    }
    if of.unique {
        errors.extend(taken(state, of, key, object));
    }
    if of.folder == kinds::LOAD_BALANCER.folder {
        errors.extend(outside(state, call, object));
    }
    if errors.is_empty() { Ok(()) } else { Err(Refusal::all(errors)) }
}

/// What is said of a reference to nothing.
fn missing(state: &State, account: &str, of: &Collection, link: &Link) -> Option<Message> {
    let key = Key::of(&["accounts", account, link.folder, &link.id]).ok();
    if key.is_some_and(|key| state.get(&key).is_some()) {
        return None;
    }
    // Cloudflare answers a group of unknown monitors with 412.
    let of_group = of.folder == kinds::MONITOR_GROUP.folder;
    let code = if of_group { code::REFERENCED } else { code::VALIDATION };
    let what = link.folder.replace('_', " ");
    let message = format!("no such object in {what}: {}: validation failed", link.id);
    Some(Message::new(code, message).at(&link.pointer))
}

/// What is said of a name that another object has.
fn taken(state: &State, of: &Collection, key: &Key, object: &Object) -> Option<Message> {
    let name = object.get(of.name)?.as_str()?;
    let folder = key.as_str().rsplit_once('/')?.0;
    let folder = Key::new(folder).ok()?;
    let others = state.children(&folder);
    let other = others.iter().find(|(other, stored)| {
        *other != key && of.name_of(&stored.value).eq_ignore_ascii_case(name)
    })?;
    let message = format!("value not unique: {} {} has this name", of.kind, other.0.id());
    Some(Message::new(code::NOT_UNIQUE, message).at(format!("/{}", of.name)))
}

/// What is said of a load balancer that is not in its zone.
fn outside(state: &State, call: &Call<'_>, object: &Object) -> Option<Message> {
    let zone = Key::of(&["zones", call.place.zone.as_deref()?]).ok()?;
    let zone = state.get(&zone)?.value.get("name")?.as_str()?.to_ascii_lowercase();
    let name = object.get("name")?.as_str()?.to_ascii_lowercase();
    let within = name == zone || name.strip_suffix(&zone).is_some_and(|rest| rest.ends_with('.'));
    let what = format!("name must be {zone} or end in .{zone}: validation failed");
    (!within).then(|| Message::new(code::VALIDATION, what).at("/name"))
}
