//! Accounts: what everything else belongs to.

use super::collection::{self, Object, Times, existing, stamp};
use super::reference::zones_of;
use crate::rest::lifecycle::Call;
use crate::rest::query::{Paging, page};
use crate::rest::reply::{Refusal, Reply};
use crate::store::{Key, State, Stored};
use control_api::{Method, account::ACCOUNT, code};
use serde_json::{Value, json};

/// Accounts of one store: tokens name them, and people choose among them.
const ACCOUNTS_MAX: usize = 10_000;
/// The properties that tell when.
const TIMES: Times = Times { created: "created_on", modified: None };
const PAGING: Paging = Paging { default: Some(20), min: 5, max: 50 };

/// Does what a call asks of accounts.
pub(crate) async fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    match (call.route.operation.method, &call.place.account) {
        (Method::Get, None) => list(call),
        (Method::Get, Some(id)) => read(call, &key_of(id)?),
        (Method::Post, None) => create(call).await,
        (Method::Put, Some(id)) => replace(call, &key_of(id)?).await,
        (Method::Delete, Some(id)) => delete(call, id).await,
        _ => Err(Refusal::new(code::NO_METHOD, "Method not available for that URI")),
    }
}

/// Where an account is kept.
pub(crate) fn key_of(id: &str) -> Result<Key, Refusal> {
    Key::of(&["accounts", id]).map_err(|_| Refusal::not_found())
}

/// A new account as the store has it.
#[must_use]
pub(crate) fn object_of(id: &str, mut sent: Object, now_us: u64) -> Object {
    sent.insert("id".to_owned(), json!(id));
    stamp(&mut sent, TIMES, now_us);
    sent
}

fn all(state: &State) -> Vec<(&Key, &Stored)> {
    Key::new("accounts").map(|folder| state.children(&folder)).unwrap_or_default()
}

fn shown(value: &Value) -> Value {
    Value::Object(value.as_object().map(|object| ACCOUNT.shown(object)).unwrap_or_default())
}

fn list(call: &Call<'_>) -> Result<Reply, Refusal> {
    let caller = call.caller()?;
    let state = call.site.keeper.state();
    let mut rows = all(&state);
    rows.retain(|(key, stored)| {
        let name = stored.value.get("name").and_then(Value::as_str).unwrap_or_default();
        caller.token.accounts.covers(key.id())
            && call.query.get("name").is_none_or(|asked| asked.eq_ignore_ascii_case(name))
    });
    if call.query.get("direction") == Some("desc") {
        rows.reverse();
    }
    let (rows, info) = page(rows, &call.query, PAGING)?;
    Ok(Reply::list(rows.into_iter().map(|(_, stored)| shown(&stored.value)).collect(), info))
}

fn read(call: &Call<'_>, key: &Key) -> Result<Reply, Refusal> {
    let state = call.site.keeper.state();
    let stored = state.get(key).ok_or_else(Refusal::not_found)?;
    Ok(Reply { revision: Some(stored.modified), ..Reply::of(shown(&stored.value)) })
}

async fn create(call: &Call<'_>) -> Result<Reply, Refusal> {
    // Whoever reaches some accounts only would not reach the new one.
    if !call.caller()?.reaches_all() {
        return Err(Refusal::denied());
    }
    let sent = ACCOUNT.check(&call.body).map_err(Refusal::all)?;
    let id = collection::new_id()?;
    let key = key_of(&id)?;
    let object = Value::Object(object_of(&id, sent, call.now_us));
    let (_, revision) = collection::edit(call, |draft| {
        if all(draft).len() >= ACCOUNTS_MAX {
            return Err(Refusal::invalid(format!("there are {ACCOUNTS_MAX} accounts"), None));
        }
        draft.put(key.clone(), object.clone());
        Ok(())
    })
    .await?;
    Ok(Reply { revision: Some(revision), ..Reply::of(shown(&object)) })
}

async fn replace(call: &Call<'_>, key: &Key) -> Result<Reply, Refusal> {
    let (object, revision) = collection::edit(call, |draft| {
        let old = existing(call, draft, key)?;
        let new = Value::Object(ACCOUNT.replace(&old, &call.body).map_err(Refusal::all)?);
        draft.put(key.clone(), new.clone());
        Ok(new)
    })
    .await?;
    Ok(Reply { revision: Some(revision), ..Reply::of(shown(&object)) })
}

async fn delete(call: &Call<'_>, id: &str) -> Result<Reply, Refusal> {
    let key = key_of(id)?;
    collection::edit(call, |draft| {
        existing(call, draft, &key)?;
        if !draft.under(&key).is_empty() || !zones_of(draft, id).is_empty() {
            let message = "This object is referenced by other objects, delete them first: \
                           the account is not empty.";
            return Err(Refusal::new(code::REFERENCED, message));
        }
        draft.remove(&key);
        Ok(())
    })
    .await?;
    Ok(Reply::of(json!({ "id": id })))
}
