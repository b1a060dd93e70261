//! Where the table of an object is something else than the object says, in words for operators.

use super::{Object, entries, text, whole};
use control_api::publish::ItemKind;
use serde_json::Value;

/// Places of an object (RFC 6901) that are something else on edges, and what; `table` is what it
/// is there, none where it is nothing. Names are not among them: every object has another one.
pub(crate) fn changes(
    kind: ItemKind,
    object: &Object,
    table: Option<&Object>,
) -> Vec<(&'static str, String)> {
    match (kind, table) {
        (ItemKind::Monitor, Some(table)) => monitor(object, table),
        (ItemKind::Pool, Some(table)) => pool(object, table),
        (ItemKind::Pool, None) => one("/origins", "a pool without origins is not on edges"),
        (ItemKind::LoadBalancer, Some(table)) => load_balancer(object, table),
        (ItemKind::LoadBalancer, None) => {
            one("/default_pools", "none of its pools is on edges, and so it is not either")
        }
        _ => Vec::new(),
    }
}

fn one(place: &'static str, what: &str) -> Vec<(&'static str, String)> {
    vec![(place, what.to_owned())]
}

fn monitor(object: &Object, table: &Object) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (place, name) in
        [("/method", "method"), ("/path", "path"), ("/expected_body", "expected_body")]
    {
        let (given, asked) = (text(object, name), text(table, name));
        if let (Some(given), Some(asked)) = (given, asked)
            && given != asked
            && !given.is_empty()
        {
            found.push((place, format!("edges take {name} to be {asked:?}")));
        }
    }
    let given = object.get("interval").and_then(Value::as_u64);
    let interval = table.get("interval").and_then(Value::as_u64);
    if let (Some(given), Some(interval)) = (given, interval)
        && given != interval
    {
        found.push(("/interval", format!("edges probe every {interval} s")));
    }
    let fields = |of: &Object| -> Vec<String> {
        let fields = of.get("header").and_then(Value::as_object).into_iter().flatten();
        fields.map(|(name, _)| name.clone()).collect()
    };
    let sent = fields(table);
    let left = fields(object).into_iter().filter(|name| !sent.contains(name));
    let left: Vec<String> = left.collect();
    if text(table, "type") != Some("tcp") && !left.is_empty() {
        found.push(("/header", format!("edges do not send {}", left.join(", "))));
    }
    found
}

fn pool(object: &Object, table: &Object) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let (given, there) = (entries(object, "origins").count(), entries(table, "origins").count());
    if there < given {
        let what = format!("{there} of {given} are on edges: others have the same address");
        found.push(("/origins", what));
    }
    let least = whole(table, "minimum_origins", 1, 0..=u64::MAX);
    if whole(object, "minimum_origins", 1, 0..=u64::MAX) > least {
        found.push(("/minimum_origins", format!("{least} on edges: it has no more origins")));
    }
    found
}

fn load_balancer(object: &Object, table: &Object) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let given = entries(object, "default_pools").count();
    let there = entries(table, "default_pools").count();
    let random = |of: &Object| text(of, "steering_policy") == Some("random");
    if random(object) && !random(table) && given > 0 {
        let what = "all weights are 0: requests go to the fallback pool alone";
        found.push(("/random_steering", what.to_owned()));
    } else if there < given {
        let what = format!("{there} of {given} are on edges: others are repeated or not there");
        found.push(("/default_pools", what));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{load_balancer, monitor, pool};
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_something_else_on_edges_is_told_by_its_place() {
        use ItemKind::{LoadBalancer, Monitor, Pool};
        let (one, two) = (json!({"address": "::1"}), json!({"address": "0::1"}));
        for (kind, body, places) in [
            (Monitor, json!({"path": "/a", "expected_codes": "2xx"}), &[][..]),
            (Monitor, json!({"path": "/a#b"}), &["/path"]),
            (Monitor, json!({"method": "HEAD", "expected_body": "ok"}), &["/method"]),
            (Monitor, json!({"expected_body": "a\u{7}bc"}), &["/expected_body"]),
            (Monitor, json!({"interval": 5, "timeout": 5, "retries": 2}), &["/interval"]),
            (Monitor, json!({"header": {"Host": ["a"], "TE": ["x"]}}), &["/header"]),
            (Monitor, json!({"type": "tcp", "header": {"TE": ["x"]}}), &[]),
            (Monitor, json!({"type": "smtp", "path": "/a#b"}), &[]),
            (Pool, json!({"origins": [one]}), &[]),
            (Pool, json!({"origins": []}), &["/origins"]),
            (Pool, json!({"origins": [one, two]}), &["/origins"]),
            (Pool, json!({"origins": [one], "minimum_origins": 2}), &["/minimum_origins"]),
            (LoadBalancer, json!({"name": "a", "default_pools": ["p"]}), &[]),
            (LoadBalancer, json!({"name": "a", "default_pools": ["p", "p"]}), &["/default_pools"]),
            (LoadBalancer, json!({"name": "a", "default_pools": ["none"]}), &["/default_pools"]),
            (
                LoadBalancer,
                json!({"name": "a", "default_pools": ["p"], "fallback_pool": "p",
                       "steering_policy": "random", "random_steering": {"default_weight": 0}}),
                &["/random_steering"],
            ),
        ] {
            let object = body.as_object().unwrap();
            let table = match kind {
                Monitor => monitor("m", object),
                Pool => pool("p", object, None),
                _ => load_balancer(object, |id| (id == "p").then(|| id.to_owned())),
            };
            let told = changes(kind, object, table.as_ref().and_then(Value::as_object));
            let found: Vec<_> = told.iter().map(|(place, _)| *place).collect();
            assert_eq!(found, places, "{body}: {told:?}");
        }
    }
}
