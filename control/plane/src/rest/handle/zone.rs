//! Zones: the domains of an account.

use super::collection::{self, Times, existing, stamp};
use super::kinds::named;
use crate::rest::lifecycle::Call;
use crate::rest::query::{Paging, page};
use crate::rest::reply::{Refusal, Reply};
use crate::store::{Key, State, Stored};
use control_api::{Message, Method, account::ZONE, code};
use serde_json::{Value, json};

/// Zones of one store.
const ZONES_MAX: usize = 100_000;
const TIMES: Times = Times { created: "created_on", modified: Some("modified_on") };
const PAGING: Paging = Paging { default: Some(20), min: 5, max: 50 };

/// Does what a call asks of zones.
pub(crate) async fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    match (call.route.operation.method, &call.place.zone) {
        (Method::Get, None) => list(call),
        (Method::Get, Some(id)) => read(call, &key_of(id)?),
        (Method::Post, None) => create(call).await,
        (Method::Patch, Some(id)) => change(call, &key_of(id)?).await,
        (Method::Delete, Some(id)) => delete(call, &key_of(id)?).await,
        _ => Err(Refusal::new(code::NO_METHOD, "Method not available for that URI")),
    }
}

fn key_of(id: &str) -> Result<Key, Refusal> {
    Key::of(&["zones", id]).map_err(|_| Refusal::not_found())
}

fn all(state: &State) -> Vec<(&Key, &Stored)> {
    Key::new("zones").map(|folder| state.children(&folder)).unwrap_or_default()
}

/// What clients are shown: what is stored, with what Cloudflare always tells. Weir registers no
/// domains and serves no DNS, so that these properties are empty.
fn shown(state: &State, value: &Value) -> Value {
    let mut zone = value.as_object().map(|object| ZONE.shown(object)).unwrap_or_default();
    let account = zone.get("account").and_then(|a| a.get("id")).and_then(Value::as_str);
    let account = account.unwrap_or_default().to_owned();
    let stored = Key::of(&["accounts", &account]).ok().and_then(|key| state.get(&key));
    let name = stored.and_then(|stored| stored.value.get("name")).cloned();
    zone.insert("account".to_owned(), json!({ "id": account, "name": name.unwrap_or_default() }));
    let known = json!({
        "status": "active",
        "development_mode": 0,
        "meta": {
            "cdn_only": false, "custom_certificate_quota": 0, "dns_only": false,
            "foundation_dns": false, "page_rule_quota": 0, "phishing_detected": false, "step": 0,
        },
        "owner": { "id": account, "name": "", "type": "organization" },
        "name_servers": [],
        "original_dnshost": null,
        "original_name_servers": null,
        "original_registrar": null,
        "activated_on": zone.get("created_on"),
        "permissions": [],
        "plan": {
            "id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Weir", "price": 0,
            "currency": "USD", "frequency": "", "legacy_id": "free", "is_subscribed": false,
            "can_subscribe": false, "legacy_discount": false, "externally_managed": false,
        },
        "tenant": {},
        "tenant_unit": {},
    });
    for (name, value) in known.as_object().into_iter().flatten() {
        zone.entry(name).or_insert_with(|| value.clone());
    }
    Value::Object(zone)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list(call: &Call<'_>) -> Result<Reply, Refusal> {
    let caller = call.caller()?;
    let state = call.site.keeper.state();
    let query = &call.query;
    let reached = all(&state)
        .into_iter()
        .filter(|(key, stored)| caller.reaches_zone(text(&stored.value, "/account/id"), key.id()));
    let mut rows: Vec<Value> = reached.map(|(_, stored)| shown(&state, &stored.value)).collect();
    let types = query.all("type");
    let any = query.get("match") == Some("any");
    rows.retain(|zone| {
        let mut tests = Vec::new();
        let mut test = |given: bool, holds: bool| tests.extend(given.then_some(holds));
        test(query.get("name").is_some(), named(query, "name", text(zone, "/name")));
        test(
            query.get("account.name").is_some(),
            named(query, "account.name", text(zone, "/account/name")),
        );
        let equal =
            |name, pointer| query.get(name).is_none_or(|asked| asked == text(zone, pointer));
        test(query.get("account.id").is_some(), equal("account.id", "/account/id"));
        test(query.get("status").is_some(), equal("status", "/status"));
        test(!types.is_empty(), types.contains(&text(zone, "/type")));
        match any {
            true => tests.is_empty() || tests.contains(&true),
            false => !tests.contains(&false),
        }
    });
    if let Some(order) = query.get("order") {
        let pointer = format!("/{}", order.replace('.', "/"));
        rows.sort_by(|one, other| text(one, &pointer).cmp(text(other, &pointer)));
    }
    if query.get("direction") == Some("desc") {
        rows.reverse();
    }
    let (rows, info) = page(rows, query, PAGING)?;
    Ok(Reply::list(rows, info))
}

fn read(call: &Call<'_>, key: &Key) -> Result<Reply, Refusal> {
    let state = call.site.keeper.state();
    let stored = state.get(key).ok_or_else(Refusal::not_found)?;
    Ok(Reply { revision: Some(stored.modified), ..Reply::of(shown(&state, &stored.value)) })
}

async fn create(call: &Call<'_>) -> Result<Reply, Refusal> {
    let mut sent = ZONE.check(&call.body).map_err(Refusal::all)?;
    // Cloudflare's Rust client sends the id alone.
    let owner = sent.get("account").and_then(|owner| owner.get("id").unwrap_or(owner).as_str());
    let account = owner.unwrap_or_default().to_owned();
    if !call.caller()?.reaches_account(&account) {
        return Err(Refusal::denied());
    }
    let name = sent.get("name").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let id = collection::new_id()?;
    let key = key_of(&id)?;
    sent.insert("name".to_owned(), json!(name));
    sent.insert("account".to_owned(), json!({ "id": account }));
    sent.insert("id".to_owned(), json!(id));
    stamp(&mut sent, TIMES, call.now_us);
    let (zone, revision) = collection::edit(call, |draft| {
        let owner = super::account::key_of(&account)?;
        if draft.get(&owner).is_none() {
            return Err(Refusal::invalid("there is no such account", Some("/account/id")));
        }
        let zones = all(draft);
        if zones.len() >= ZONES_MAX {
            return Err(Refusal::invalid(format!("there are {ZONES_MAX} zones"), None));
        }
        if zones.iter().any(|(_, stored)| text(&stored.value, "/name") == name) {
            let message = format!("value not unique: there is a zone {name}");
            return Err(Refusal::all(vec![Message::new(code::NOT_UNIQUE, message).at("/name")]));
        }
        draft.put(key.clone(), Value::Object(sent.clone()));
        Ok(shown(draft, &Value::Object(sent.clone())))
    })
    .await?;
    Ok(Reply { revision: Some(revision), ..Reply::of(zone) })
}

async fn change(call: &Call<'_>, key: &Key) -> Result<Reply, Refusal> {
    let (zone, revision) = collection::edit(call, |draft| {
        let old = existing(call, draft, key)?;
        let mut new = ZONE.merge(&old, &call.body).map_err(Refusal::all)?;
        // Either way of naming the owner is stored as one.
        old.get("account").and_then(|owner| new.insert("account".to_owned(), owner.clone()));
        if new != old {
            stamp(&mut new, TIMES, call.now_us);
            draft.put(key.clone(), Value::Object(new));
        }
        let stored = draft.get(key).ok_or_else(Refusal::not_found)?;
        Ok(shown(draft, &stored.value))
    })
    .await?;
    Ok(Reply { revision: Some(revision), ..Reply::of(zone) })
}

/// Removes a zone with everything in it, as Cloudflare does.
async fn delete(call: &Call<'_>, key: &Key) -> Result<Reply, Refusal> {
    collection::edit(call, |draft| {
        existing(call, draft, key)?;
        let inside: Vec<Key> = draft.under(key).into_iter().map(|(key, _)| key.clone()).collect();
        for key in inside.iter().chain([key]) {
            draft.remove(key);
        }
        Ok(())
    })
    .await?;
    Ok(Reply::of(json!({ "id": key.id() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_is_shown_before_what_is_always_told() {
        let zone = json!({ "id": "z", "paused": true, "account": { "id": "a" } });
        let seen = shown(&State::default(), &zone);
        assert_eq!(seen.get("paused"), Some(&json!(true)));
        assert_eq!(seen.get("type"), Some(&json!("full")));
        assert_eq!(seen.pointer("/account/id"), Some(&json!("a")));
    }
}
