//! Objects of the packet path, which are the whole fleet's: whoever changes them reaches all.

use super::collection::{Object, edit, existing};
use crate::packet::{self, HASH_KEY, KINDS, PacketFault, PacketKind};
use crate::rest::lifecycle::Call;
use crate::rest::query::{Paging, page};
use crate::rest::reply::{Refusal, Reply};
use crate::store::{Key, State};
use control_api::{Message, Method, code};
use serde_json::{Value, json};

const PAGING: Paging = Paging { default: None, min: 1, max: 1_000 };

/// Does what a call asks of objects of the packet path.
pub(crate) async fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    if !call.caller()?.reaches_all() {
        return Err(Refusal::denied());
    }
    let kind = match call.route.param("kind") {
        None => None,
        Some(word) => Some(kind_of(word)?),
    };
    let key = match (kind, call.route.param("name")) {
        (None, _) => packet::settings_key(),
        (Some(kind), None) => return list(call, kind),
        (Some(kind), Some(name)) => kind.key(name),
    };
    let key = key.map_err(|_| {
        let what = "names are made of a-z, 0-9, `_` and `-` here: validation failed";
        Refusal::new(code::VALIDATION, what)
    })?;
    match call.route.operation.method {
        Method::Get => read(call, &key),
        Method::Put => replace(call, kind, &key).await,
        Method::Delete => delete(call, &key).await,
        _ => Err(Refusal::new(code::NO_METHOD, "Method not available for that URI")),
    }
}

fn kind_of(word: &str) -> Result<PacketKind, Refusal> {
    let found = KINDS.into_iter().find(|kind| kind.folder == word);
    found.ok_or_else(|| {
        let known = KINDS.map(|kind| kind.folder).join(", ");
        Refusal::new(code::NO_ROUTE, format!("No route for that URI; there are {known}"))
    })
}

/// The table as clients are shown it: without the key, of which is only told that it is there.
fn shown(key: &Key, value: &Value) -> Value {
    let mut table = value.as_object().cloned().unwrap_or_default();
    let sealed = table.remove(HASH_KEY).is_some();
    if packet::settings_key().is_ok_and(|settings| settings == *key) {
        table.insert("hash_key_is_set".to_owned(), json!(sealed));
    }
    Value::Object(table)
}

fn list(call: &Call<'_>, kind: PacketKind) -> Result<Reply, Refusal> {
    let folder = kind.folder_key().map_err(|_| Refusal::not_found())?;
    let state = call.site.keeper.state();
    let mut rows = state.children(&folder);
    rows.sort_by_key(|(key, _)| *key);
    let (rows, info) = page(rows, &call.query, PAGING)?;
    Ok(Reply::list(rows.into_iter().map(|(key, stored)| shown(key, &stored.value)).collect(), info))
}

fn read(call: &Call<'_>, key: &Key) -> Result<Reply, Refusal> {
    let state = call.site.keeper.state();
    let stored = state.get(key).ok_or_else(Refusal::not_found)?;
    Ok(Reply { revision: Some(stored.modified), ..Reply::of(shown(key, &stored.value)) })
}

async fn replace(call: &Call<'_>, kind: Option<PacketKind>, key: &Key) -> Result<Reply, Refusal> {
    let mut table = match &call.body {
        Value::Object(table) => table.clone(),
        _ => return Err(Refusal::invalid("the body must be a table of the file as JSON", None)),
    };
    match kind {
        None => own_keys(&mut table)?,
        Some(kind) => named(kind, key.id(), &mut table)?,
    }
    let (value, revision) = edit(call, |draft| {
        if draft.get(key).is_some() || call.if_match.is_some() {
            existing(call, draft, key)?;
        }
        // Looked at before the key is sealed, after which nobody sees it.
        let old = draft.get(key).map(|stored| stored.value.clone());
        draft.put(key.clone(), Value::Object(table.clone()));
        judge(draft, key, code::VALIDATION)?;
        let mut table = table.clone();
        if kind.is_none() {
            packet::seal(&call.site.vault, old.as_deref(), &mut table)?;
        }
        let table = Value::Object(table);
        draft.put(key.clone(), table.clone());
        Ok(table)
    })
    .await?;
    Ok(Reply { revision: Some(revision), ..Reply::of(shown(key, &value)) })
}

/// The fleet's part of `[packet]`, as it was sent or as it was read.
fn own_keys(table: &mut Object) -> Result<(), Refusal> {
    table.remove("hash_key_is_set");
    match packet::strangers(table) {
        none if none.is_empty() => Ok(()),
        faults => Err(Refusal::all(faults.iter().map(|f| message(f, code::VALIDATION)).collect())),
    }
}

/// A table says the name in its path, or none.
fn named(kind: PacketKind, name: &str, table: &mut Object) -> Result<(), Refusal> {
    table.entry(kind.name).or_insert_with(|| kind.name_value(name));
    if kind.name_of(table).as_deref() == Some(name) {
        return Ok(());
    }
    let what = format!("{} must be {name}, as in the path", kind.name);
    Err(Refusal::invalid(what, Some(&format!("/{}", kind.name))))
}

async fn delete(call: &Call<'_>, key: &Key) -> Result<Reply, Refusal> {
    edit(call, |draft| {
        existing(call, draft, key)?;
        draft.remove(key);
        judge(draft, key, code::REFERENCED)
    })
    .await?;
    Ok(Reply::of(json!({ "name": key.id() })))
}

/// Refuses what an edge would refuse.
fn judge(state: &State, own: &Key, code: u32) -> Result<(), Refusal> {
    let faults = packet::faults(state);
    if faults.is_empty() {
        return Ok(());
    }
    let tell = |fault: &PacketFault| match &fault.key {
        Some(key) if key != own => {
            let mut message = message(fault, code);
            message.pointer = None;
            message.message = format!("{key}: {}", message.message);
            message
        }
        _ => message(fault, code),
    };
    Err(Refusal::all(faults.iter().map(tell).collect()))
}

fn message(fault: &PacketFault, code: u32) -> Message {
    let name = fault.pointer.trim_start_matches('/').replace('/', ".");
    Message::new(code, format!("{name}: {}: validation failed", fault.what)).at(&fault.pointer)
}
