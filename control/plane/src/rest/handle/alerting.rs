//! Which alerts there are, and which were sent.

use crate::rest::lifecycle::Call;
use crate::rest::query::{Paging, page};
use crate::rest::reply::{Refusal, Reply};
use serde_json::{Value, json};

/// Kinds of alerts that policies may be about and that Weir has a cause for: product, type, name,
/// description, and the filters that narrow it.
const ALERTS: [(&str, &str, &str, &str, &[&str]); 3] = [
    (
        "Health Checks",
        "health_check_status_notification",
        "Health Checks status notification",
        "A standalone health check changes its status.",
        &["health_check_id", "status"],
    ),
    (
        "Load Balancing",
        "load_balancing_health_alert",
        "Load Balancing Health Alert",
        "A pool or an origin changes its health.",
        &["pool_id", "new_health", "event_source"],
    ),
    (
        "Load Balancing",
        "load_balancing_pool_enablement_alert",
        "Pool Enablement",
        "A pool is enabled or disabled.",
        &["pool_id", "enabled"],
    ),
];

/// `GET …/available_alerts`.
pub(crate) fn available() -> Reply {
    let mut products = serde_json::Map::new();
    for (product, kind, name, description, filters) in ALERTS {
        let filters = filters.iter().map(|key| {
            json!({
                "Key": key, "ComparisonOperator": "==", "Range": "0-n", "AvailableValues": null,
            })
        });
        let filters: Vec<Value> = filters.collect();
        let alert = json!({
            "type": kind, "display_name": name, "description": description,
            "filter_options": filters,
        });
        let list = products.entry(product).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(alert);
        }
    }
    Reply::of(Value::Object(products))
}

/// `GET …/history`: nothing is sent before notifications are delivered.
pub(crate) fn history(call: &Call<'_>) -> Result<Reply, Refusal> {
    let paging = Paging { default: Some(25), min: 5, max: 1_000 };
    let (rows, info) = page(Vec::new(), &call.query, paging)?;
    Ok(Reply::list(rows, info))
}
