//! Who refers to whom, search over it, and how many objects there are.

use super::collection::Collection;
use super::kinds::{LINKED, LOAD_BALANCER, MONITOR, MONITOR_GROUP, POOL, links_of};
use crate::rest::auth::account_of_zone;
use crate::rest::lifecycle::Call;
use crate::rest::query::{Paging, page};
use crate::rest::reply::{Refusal, Reply};
use crate::store::{Key, State, Stored};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An object that refers to another one, or is referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Referrer {
    /// What it is.
    pub(crate) kind: &'static str,
    /// Its id.
    pub(crate) id: String,
    /// What people know it by.
    pub(crate) name: String,
}

impl Referrer {
    fn of(of: &Collection, key: &Key, stored: &Stored) -> Self {
        Self { kind: of.kind, id: key.id().to_owned(), name: of.name_of(&stored.value) }
    }

    fn shown(&self, direction: &str) -> Value {
        json!({
            "reference_type": direction,
            "resource_id": self.id,
            "resource_name": self.name,
            "resource_type": self.kind,
        })
    }
}

/// Every object of a kind that belongs to an account, also to its zones.
fn objects<'a>(state: &'a State, account: &str, of: &Collection) -> Vec<(&'a Key, &'a Stored)> {
    let mut found = Vec::new();
    let folder = Key::of(&["accounts", account, of.folder]);
    found.extend(folder.iter().flat_map(|folder| state.children(folder)));
    if of.folder == LOAD_BALANCER.folder {
        for zone in zones_of(state, account) {
            let folder = Key::of(&["zones", &zone, of.folder]);
            found.extend(folder.iter().flat_map(|folder| state.children(folder)));
        }
    }
    found
}

/// Ids of the zones of an account.
pub(crate) fn zones_of(state: &State, account: &str) -> Vec<String> {
    let Ok(folder) = Key::new("zones") else { return Vec::new() };
    let ids = state.children(&folder).into_iter().map(|(key, _)| key.id().to_owned());
    ids.filter(|zone| account_of_zone(state, zone).as_deref() == Some(account)).collect()
}

/// Every object of an account that refers to the object `id` of `folder`.
pub(crate) fn referrers(state: &State, account: &str, folder: &str, id: &str) -> Vec<Referrer> {
    let mut found = Vec::new();
    for of in LINKED {
        for (key, stored) in objects(state, account, of) {
            let Some(object) = stored.value.as_object() else { continue };
            let refers = |link: &super::Link| link.folder == folder && link.id == id;
            if links_of(of.folder, object).iter().any(refers) {
                found.push(Referrer::of(of, key, stored));
            }
        }
    }
    found
}

/// Every object that this one refers to, each once.
fn referrals(state: &State, account: &str, of: &Collection, stored: &Stored) -> Vec<Referrer> {
    let Some(object) = stored.value.as_object() else { return Vec::new() };
    let mut found = BTreeMap::new();
    for link in links_of(of.folder, object) {
        let other = LINKED.into_iter().find(|other| other.folder == link.folder);
        let key = Key::of(&["accounts", account, link.folder, &link.id]).ok();
        let there = key.and_then(|key| Some((state.get(&key)?, key)));
        if let (Some(other), Some((stored, key))) = (other, there) {
            found.entry(key.clone()).or_insert_with(|| Referrer::of(other, &key, stored));
        }
    }
    found.into_values().collect()
}

/// `GET …/references` of a monitor, a monitor group or a pool.
pub(crate) fn references(call: &Call<'_>) -> Result<Reply, Refusal> {
    let parent = call.route.parent();
    let of = [&MONITOR, &MONITOR_GROUP, &POOL].into_iter().find(|of| of.folder == parent);
    let of = of.ok_or_else(Refusal::not_found)?;
    let (folder, id) = (of.folder_of(call)?, call.route.item().unwrap_or_default());
    let key = super::collection::key_in(&folder, id)?;
    let state = call.site.keeper.state();
    let stored = state.get(&key).ok_or_else(Refusal::not_found)?;
    let account = call.place.account.as_deref().unwrap_or_default();
    let to = referrers(&state, account, of.folder, id);
    let from = referrals(&state, account, of, stored);
    let to = to.iter().map(|referrer| referrer.shown("referrer"));
    let from = from.iter().map(|referral| referral.shown("referral"));
    Ok(Reply::of(to.chain(from).collect()))
}

/// `GET …/search`: load balancers, pools and monitors whose name holds what is asked for.
pub(crate) fn search(call: &Call<'_>) -> Result<Reply, Refusal> {
    let state = call.site.keeper.state();
    let account = call.place.account.as_deref().unwrap_or_default();
    let asked = call.query.get("query").unwrap_or_default().to_lowercase();
    let mut rows = Vec::new();
    for of in [&LOAD_BALANCER, &POOL, &MONITOR] {
        for (key, stored) in objects(&state, account, of) {
            let name = of.name_of(&stored.value);
            if name.to_lowercase().contains(&asked) || key.id() == asked {
                rows.push((of, key, stored));
            }
        }
    }
    let paging = Paging { default: Some(25), min: 1, max: 1_000 };
    let (rows, info) = page(rows, &call.query, paging)?;
    let direction = call.query.get("references").unwrap_or_default();
    let one = |(of, key, stored): (&Collection, &Key, &Stored)| {
        let row = Referrer::of(of, key, stored);
        let mut references = Vec::new();
        if matches!(direction, "*" | "referrer") {
            let all = referrers(&state, account, of.folder, key.id());
            references.extend(all.iter().map(|one| one.shown("referrer")));
        }
        if matches!(direction, "*" | "referral") {
            let all = referrals(&state, account, of, stored);
            references.extend(all.iter().map(|one| one.shown("referral")));
        }
        json!({
            "resource_id": row.id, "resource_name": row.name, "resource_type": row.kind,
            "references": references,
        })
    };
    let resources: Vec<Value> = rows.into_iter().map(one).collect();
    // The schema has `resources`; Cloudflare's SDKs walk over `items` until there are none.
    let items = match resources.is_empty() {
        true => json!([]),
        false => json!([{ "resources": resources }]),
    };
    let result = json!({ "resources": resources, "items": items });
    Ok(Reply { info: Some(info), ..Reply::of(result) })
}

/// Shortest interval of a monitor, in seconds: Cloudflare's for its largest plan.
const INTERVAL_MIN: u64 = 10;

/// `GET …/usage`: how many objects there are.
pub(crate) fn usage(call: &Call<'_>) -> Result<Reply, Refusal> {
    let state = call.site.keeper.state();
    let account = call.place.account.as_deref().unwrap_or_default();
    let pools = objects(&state, account, &POOL);
    let origins =
        |stored: &Stored| stored.value.get("origins").and_then(Value::as_array).map(Vec::len);
    let origins: usize = pools.iter().filter_map(|(_, stored)| origins(stored)).sum();
    Ok(Reply::of(json!({
        "load_balancers": objects(&state, account, &LOAD_BALANCER).len(),
        "monitors": objects(&state, account, &MONITOR).len(),
        "origins": origins,
        "pools": pools.len(),
        "max_origins_per_pool": process_runtime::config_file::ORIGINS_MAX,
        "minimum_monitor_interval": INTERVAL_MIN,
    })))
}
