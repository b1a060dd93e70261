//! Health as the edges see it, and probes on request.
//!
//! Edges tell what their monitors see, and are one region together, which is named `Weir`. Until
//! one is attached there is nothing to tell, and the answers have the form of Cloudflare's without
//! origins.

use super::collection::{Object, key_in, new_id};
use super::kinds::{HEALTHCHECK, MONITOR, POOL, links_of};
use crate::publish::OriginHealth;
use crate::rest::lifecycle::Call;
use crate::rest::reply::{Refusal, Reply};
use crate::store::{Key, State, Stored};
use control_api::{Method, code, monitor, time};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Previews that can be asked for; the oldest goes first. Clients ask within seconds.
const PREVIEWS_MAX: usize = 1_000;

/// Previews that were begun. They are no decisions, so that no store keeps them; another control
/// plane does not know them.
#[derive(Debug, Default)]
pub(crate) struct Previews(Mutex<VecDeque<Preview>>);

#[derive(Clone, Debug)]
struct Preview {
    id: String,
    /// The account or zone that asked.
    owner: String,
    result: Value,
}

impl Previews {
    fn add(&self, preview: Preview) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= PREVIEWS_MAX {
            all.pop_front();
        }
        all.push_back(preview);
    }

    fn find(&self, owner: &str, id: &str) -> Option<Value> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|preview| preview.id == id && preview.owner == owner);
        found.map(|preview| preview.result.clone())
    }

    fn remove(&self, owner: &str, id: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.retain(|preview| preview.id != id || preview.owner != owner);
        all.len() < before
    }
}

/// `GET …/pools/{id}/health`.
pub(crate) fn pool_health(call: &Call<'_>) -> Result<Reply, Refusal> {
    let key = key_in(&POOL.folder_of(call)?, call.route.item().unwrap_or_default())?;
    let stored = call.site.keeper.state().get(&key).cloned().ok_or_else(Refusal::not_found)?;
    let publisher = call.site.publisher.as_ref();
    let told = |address: &str| publisher?.origin_health(key.id(), address);
    let health = region_health(&stored.value, told);
    Ok(Reply::of(json!({ "pool_id": key.id(), "pop_health": health })))
}

/// The region of all edges.
const REGION: &str = "Weir";
/// What Cloudflare tells of an origin that is well.
const WELL: &str = "No failures";

/// A pool by region: none where no edge knows any of its origins.
fn region_health(pool: &Value, told: impl Fn(&str) -> Option<OriginHealth>) -> Value {
    let origins = pool.get("origins").and_then(Value::as_array).into_iter().flatten();
    let enabled = |origin: &&Value| origin.get("enabled") != Some(&Value::Bool(false));
    let (mut rows, mut well) = (Vec::new(), 0);
    for address in origins.filter(enabled).filter_map(|origin| origin.get("address")?.as_str()) {
        let Some(told) = told(address) else { continue };
        let Some(healthy) = told.healthy() else { continue };
        well += u64::from(healthy);
        let mut row = json!({
            "healthy": healthy,
            "failure_reason": if healthy { WELL } else { told.reason.as_str() },
        });
        if let (Some(us), Some(members)) = (told.rtt_us, row.as_object_mut()) {
            members.insert("rtt".to_owned(), json!(format!("{:.1}ms", us as f64 / 1e3)));
        }
        rows.push(Value::Object([(address.to_owned(), row)].into_iter().collect()));
    }
    if rows.is_empty() {
        return json!({});
    }
    let least = pool.get("minimum_origins").and_then(Value::as_u64).unwrap_or(1).max(1);
    json!({ REGION: { "healthy": well >= least, "origins": rows } })
}

/// `POST …/preview` of a monitor or a pool, and `GET …/preview/{id}`.
pub(crate) fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    let owner = call.place.account.clone().unwrap_or_default();
    let item = call.route.item().unwrap_or_default();
    if call.route.operation.method == Method::Get {
        let result = call.site.previews.find(&owner, item).ok_or_else(Refusal::not_found)?;
        return Ok(Reply::of(result));
    }
    let of = if call.route.parent() == POOL.folder { &POOL } else { &MONITOR };
    let key = key_in(&of.folder_of(call)?, item)?;
    monitor::MONITOR.check(&call.body).map_err(Refusal::all)?;
    let pools = {
        let state = call.site.keeper.state();
        let stored = state.get(&key).ok_or_else(Refusal::not_found)?;
        if of.folder == POOL.folder {
            vec![(key.id().to_owned(), POOL.name_of(&stored.value))]
        } else {
            pools_with(&state, call, key.id())?
        }
    };
    let id = new_id()?;
    let names: Object = pools.iter().map(|(id, name)| (id.clone(), json!(name))).collect();
    let result = pools.into_iter().map(|(id, _)| (id, json!({ "origins": [] })));
    let result = Value::Object(result.collect());
    call.site.previews.add(Preview { id: id.clone(), owner, result });
    Ok(Reply::of(json!({ "preview_id": id, "pools": names })))
}

/// Ids and names of the pools that a monitor watches.
fn pools_with(
    state: &State,
    call: &Call<'_>,
    monitor: &str,
) -> Result<Vec<(String, String)>, Refusal> {
    let watched = |stored: &Stored| {
        let links = stored.value.as_object().map(|object| links_of(POOL.folder, object));
        links.is_some_and(|links| links.iter().any(|l| l.folder == "monitors" && l.id == monitor))
    };
    let pools = state.children(&POOL.folder_of(call)?).into_iter();
    let pools = pools.filter(|(_, stored)| watched(stored));
    let named = |(key, stored): (&Key, &Stored)| (key.id().to_owned(), POOL.name_of(&stored.value));
    Ok(pools.map(named).collect())
}

/// Previews of health checks: made, looked at, removed.
pub(crate) fn healthcheck(call: &Call<'_>) -> Result<Reply, Refusal> {
    let owner = call.place.zone.clone().unwrap_or_default();
    let previews = &call.site.previews;
    match (call.route.operation.method, call.route.item()) {
        (Method::Post, None) => {
            let mut object = HEALTHCHECK.shape.check(&call.body).map_err(Refusal::all)?;
            let id = new_id()?;
            let now = json!(time::timestamp(call.now_us));
            object.insert("id".to_owned(), json!(id));
            object.insert("created_on".to_owned(), now.clone());
            object.insert("modified_on".to_owned(), now);
            let folder = HEALTHCHECK.folder_of(call)?;
            (HEALTHCHECK.show)(&call.site.keeper.state(), &folder, &mut object);
            let result = Value::Object(object);
            previews.add(Preview { id, owner, result: result.clone() });
            Ok(Reply::of(result))
        }
        (Method::Get, Some(id)) => {
            Ok(Reply::of(previews.find(&owner, id).ok_or_else(Refusal::not_found)?))
        }
        (Method::Delete, Some(id)) if previews.remove(&owner, id) => {
            Ok(Reply::of(json!({ "id": id })))
        }
        (Method::Delete, Some(_)) => Err(Refusal::not_found()),
        _ => Err(Refusal::new(code::NO_METHOD, "Method not available for that URI")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_as_well_as_the_edges_find_its_origins() {
        let told = |address: &str| match address {
            "::1" => Some(OriginHealth { well: 2, ill: 1, rtt_us: Some(12_140), ..none() }),
            "::2" => Some(OriginHealth { ill: 1, reason: "TCP Timeout".to_owned(), ..none() }),
            _ => None,
        };
        let one = json!({"::1": {"healthy": true, "failure_reason": WELL, "rtt": "12.1ms"}});
        let two = json!({"::2": {"healthy": false, "failure_reason": "TCP Timeout"}});
        let check = |what: &str, least: u64, addresses: &[&str], expect: Value| {
            let origin = |address: &&str| json!({"address": address});
            let origins: Vec<Value> = addresses.iter().map(origin).collect();
            let pool = json!({"minimum_origins": least, "origins": origins});
            assert_eq!(region_health(&pool, told), expect, "{what}");
        };
        let region = |healthy: bool, origins: &[&Value]| {
            let told = json!({"healthy": healthy, "origins": origins});
            json!({ REGION: told })
        };
        check("one of two is enough", 1, &["::1", "::2"], region(true, &[&one, &two]));
        check("one of two is not enough", 2, &["::1", "::2"], region(false, &[&one, &two]));
        check("nobody knows one of them", 1, &["::1", "::3"], region(true, &[&one]));
        check("nobody knows any", 1, &["::3"], json!({}));
    }

    fn none() -> OriginHealth {
        OriginHealth::default()
    }
}
