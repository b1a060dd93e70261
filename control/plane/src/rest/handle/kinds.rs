//! How the kinds of objects differ: where they are kept, what they refer to, what is told of them.

use super::collection::{After, Base, Collection, Times};
use crate::rest::query::{Paging, Query};
use crate::store::{Key, State};
use control_api::{alerting, healthcheck, load_balancer, monitor, pool};
use serde_json::{Map, Value, json};

/// Rows of a page of a list that is given whole unless a page is asked for.
const SINGLE: Paging = Paging { default: None, min: 1, max: 1_000 };

/// What an object refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// Where it says so (RFC 6901).
    pub(crate) pointer: String,
    /// The folder of the other object, in the same account.
    pub(crate) folder: &'static str,
    /// The other object's id.
    pub(crate) id: String,
}

pub(crate) static MONITOR: Collection = Collection {
    shape: &monitor::MONITOR,
    folder: "monitors",
    kind: "monitor",
    name: "description",
    unique: false,
    base: Base::Account,
    times: ON,
    paging: SINGLE,
    most: 15_000,
    keeps: |_, _| true,
    show: |_, _, _| {},
    created: After::Whole,
    replaced: After::Whole,
    deleted: After::Id,
};

pub(crate) static MONITOR_GROUP: Collection = Collection {
    shape: &monitor::MONITOR_GROUP,
    folder: "monitor_groups",
    kind: "monitor_group",
    name: "description",
    unique: false,
    base: Base::Account,
    times: ON,
    paging: SINGLE,
    most: 15_000,
    keeps: |_, _| true,
    show: |_, _, _| {},
    created: After::Whole,
    replaced: After::Whole,
    deleted: After::Whole,
};

pub(crate) static POOL: Collection = Collection {
    shape: &pool::POOL,
    folder: "pools",
    kind: "pool",
    name: "name",
    unique: true,
    base: Base::Account,
    times: ON,
    paging: SINGLE,
    most: 10_000,
    keeps: |pool, query| query.get("monitor").is_none_or(|id| text(pool, "monitor") == Some(id)),
    show: |_, _, _| {},
    created: After::Whole,
    replaced: After::Whole,
    deleted: After::Id,
};

pub(crate) static LOAD_BALANCER: Collection = Collection {
    shape: &load_balancer::LOAD_BALANCER,
    folder: "load_balancers",
    kind: "load_balancer",
    name: "name",
    unique: true,
    base: Base::AccountOrZone,
    times: ON,
    paging: SINGLE,
    most: 100_000,
    keeps: |_, _| true,
    show: zone_name,
    created: After::Whole,
    replaced: After::Whole,
    deleted: After::Id,
};

pub(crate) static HEALTHCHECK: Collection = Collection {
    shape: &healthcheck::HEALTHCHECK,
    folder: "healthchecks",
    kind: "healthcheck",
    name: "name",
    unique: true,
    base: Base::Zone,
    times: ON,
    paging: Paging { default: Some(25), min: 5, max: 1_000 },
    most: 10_000,
    keeps: |_, _| true,
    show: healthcheck_status,
    created: After::Whole,
    replaced: After::Whole,
    deleted: After::Id,
};

pub(crate) static WEBHOOK: Collection = Collection {
    shape: &alerting::WEBHOOK,
    folder: "webhooks",
    kind: "webhook",
    name: "name",
    unique: false,
    base: Base::Account,
    times: Times { created: "created_at", modified: None },
    paging: SINGLE,
    most: 1_000,
    keeps: |_, _| true,
    show: webhook_type,
    created: After::NewId,
    replaced: After::Id,
    deleted: After::Nothing,
};

pub(crate) static POLICY: Collection = Collection {
    shape: &alerting::POLICY,
    folder: "policies",
    kind: "policy",
    name: "name",
    unique: false,
    base: Base::Account,
    times: Times { created: "created", modified: Some("modified") },
    paging: SINGLE,
    most: 1_000,
    keeps: |_, _| true,
    show: |_, _, _| {},
    created: After::Id,
    replaced: After::Id,
    deleted: After::Nothing,
};

/// Every collection whose objects refer to others, or are referred to.
pub(crate) static LINKED: [&Collection; 6] =
    [&MONITOR, &MONITOR_GROUP, &POOL, &LOAD_BALANCER, &WEBHOOK, &POLICY];

const ON: Times = Times { created: "created_on", modified: Some("modified_on") };

/// What an object of a folder refers to.
pub(crate) fn links_of(folder: &str, object: &Map<String, Value>) -> Vec<Link> {
    let mut links = Links(Vec::new());
    match folder {
        "monitor_groups" => {
            for (index, member) in entries(object, "members") {
                let id = member.get("monitor_id");
                links.add(format!("/members/{index}/monitor_id"), "monitors", id);
            }
        }
        "pools" => {
            links.add("/monitor".to_owned(), "monitors", object.get("monitor"));
            links.add("/monitor_group".to_owned(), "monitor_groups", object.get("monitor_group"));
        }
        "load_balancers" => links.of_load_balancer(object),
        "policies" => {
            let hooks = object.get("mechanisms").and_then(|all| all.get("webhooks"));
            for (index, hook) in hooks.and_then(Value::as_array).into_iter().flatten().enumerate() {
                let pointer = format!("/mechanisms/webhooks/{index}/id");
                links.add(pointer, "webhooks", hook.get("id"));
            }
        }
        _ => {}
    }
    links.0
}

struct Links(Vec<Link>);

impl Links {
    /// A reference, unless it is null or empty.
    fn add(&mut self, pointer: String, folder: &'static str, id: Option<&Value>) {
        let id = id.and_then(Value::as_str).filter(|id| !id.is_empty());
        self.0.extend(id.map(|id| Link { pointer, folder, id: id.to_owned() }));
    }

    fn pools(&mut self, pointer: &str, list: Option<&Value>) {
        for (index, id) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
            self.add(format!("{pointer}/{index}"), "pools", Some(id));
        }
    }

    fn of_load_balancer(&mut self, object: &Map<String, Value>) {
        self.of_choices("", object);
        for (index, rule) in entries(object, "rules") {
            if let Some(overrides) = rule.get("overrides").and_then(Value::as_object) {
                self.of_choices(&format!("/rules/{index}/overrides"), overrides);
            }
        }
        for (index, set) in entries(object, "pool_sets") {
            if let Some(overrides) = set.get("overrides").and_then(Value::as_object) {
                self.of_choices(&format!("/pool_sets/{index}/overrides"), overrides);
            }
        }
    }

    /// The keys that a load balancer and its overrides have in common.
    fn of_choices(&mut self, at: &str, object: &Map<String, Value>) {
        self.pools(&format!("{at}/default_pools"), object.get("default_pools"));
        self.pools(&format!("{at}/pools"), object.get("pools"));
        self.add(format!("{at}/fallback_pool"), "pools", object.get("fallback_pool"));
        for map in ["region_pools", "country_pools", "pop_pools"] {
            for (place, list) in object.get(map).and_then(Value::as_object).into_iter().flatten() {
                self.pools(&format!("{at}/{map}/{}", escaped(place)), Some(list));
            }
        }
    }
}

/// A name as it stands in a pointer (RFC 6901 §3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn entries<'a>(
    object: &'a Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = (usize, &'a Value)> {
    object.get(name).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

/// Cloudflare tells the zone of a load balancer by name.
fn zone_name(state: &State, key: &Key, object: &mut Map<String, Value>) {
    let mut segments = key.segments();
    let (Some("zones"), Some(zone)) = (segments.next(), segments.next()) else { return };
    let stored = Key::of(&["zones", zone]).ok().and_then(|key| state.get(&key));
    if let Some(name) = stored.and_then(|zone| zone.value.get("name")) {
        object.insert("zone_name".to_owned(), name.clone());
    }
}

/// Health is not known before edges tell of it.
fn healthcheck_status(_: &State, _: &Key, object: &mut Map<String, Value>) {
    let suspended = object.get("suspended") == Some(&Value::Bool(true));
    let status = if suspended { "suspended" } else { "unknown" };
    object.insert("status".to_owned(), json!(status));
    object.insert("failure_reason".to_owned(), json!(""));
}

/// Hosts by which Cloudflare knows whose webhook it is.
const WEBHOOK_HOSTS: [(&str, &str); 7] = [
    ("hooks.slack.com", "slack"),
    ("discord.com", "discord"),
    ("chat.googleapis.com", "gchat"),
    ("open.feishu.cn", "feishu"),
    ("api.opsgenie.com", "opsgenie"),
    ("datadoghq.com", "datadog"),
    ("splunkcloud.com", "splunk"),
];

/// Tells what a webhook speaks.
fn webhook_type(_: &State, _: &Key, object: &mut Map<String, Value>) {
    let url = text(object, "url").unwrap_or_default();
    let host = url.split("://").nth(1).unwrap_or_default();
    let host = host.split(['/', ':', '?']).next().unwrap_or_default();
    let within = |known: &str| host == known || host.ends_with(&format!(".{known}"));
    let found = WEBHOOK_HOSTS.iter().find(|(known, _)| within(known));
    let kind = found.map_or("generic", |(_, kind)| kind);
    object.insert("type".to_owned(), json!(kind));
}

/// Whether a query asks for the objects of this name.
pub(crate) fn named(query: &Query, parameter: &str, name: &str) -> bool {
    let Some(asked) = query.get(parameter) else { return true };
    let (how, text) = asked.split_once(':').unwrap_or(("equal", asked));
    let (low, asked) = (name.to_lowercase(), text.to_lowercase());
    match how {
        "not_equal" => low != asked,
        "starts_with" => low.starts_with(&asked),
        "ends_with" => low.ends_with(&asked),
        "contains" => low.contains(&asked),
        "starts_with_case_sensitive" => name.starts_with(text),
        "ends_with_case_sensitive" => name.ends_with(text),
        "contains_case_sensitive" => name.contains(text),
        _ => low == asked,
    }
}
