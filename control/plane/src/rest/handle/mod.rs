//! What calls do, one file for each kind of resource.
//!
//! `collection` does what all objects have in common, `kinds` says how they differ, `reference`
//! tells who refers to whom.

mod account;
mod alerting;
mod apply;
mod collection;
mod kinds;
mod packet;
mod preview;
mod reference;
mod region;
mod user;
mod zone;

pub(crate) use account::{key_of as account_key, object_of as new_account};
pub(crate) use collection::{Collection, stamp};
pub(crate) use kinds::{HEALTHCHECK, LINKED, LOAD_BALANCER, Link, MONITOR, POOL, links_of};
pub(crate) use preview::Previews;

use super::lifecycle::Call;
use super::reply::{Refusal, Reply};
use control_api::{Resource, code};
use serde_json::json;

/// Does what a call asks for.
pub(crate) async fn handle(call: &Call<'_>) -> Result<Reply, Refusal> {
    let no_route = || Refusal::new(code::NO_ROUTE, "No route for that URI");
    match call.route.operation.resource.ok_or_else(no_route)? {
        Resource::Account => account::handle(call).await,
        Resource::Zone => zone::handle(call).await,
        Resource::User => user::handle(call).await,
        Resource::TokenVerify => user::verify(call),
        Resource::Monitor => collection::handle(call, &kinds::MONITOR).await,
        Resource::MonitorGroup => collection::handle(call, &kinds::MONITOR_GROUP).await,
        Resource::Pool => collection::handle(call, &kinds::POOL).await,
        Resource::LoadBalancer => collection::handle(call, &kinds::LOAD_BALANCER).await,
        Resource::Healthcheck => collection::handle(call, &kinds::HEALTHCHECK).await,
        Resource::Webhook => collection::handle(call, &kinds::WEBHOOK).await,
        Resource::Policy => collection::handle(call, &kinds::POLICY).await,
        Resource::PoolHealth => preview::pool_health(call),
        Resource::Preview => preview::handle(call),
        Resource::HealthcheckPreview => preview::healthcheck(call),
        Resource::References => reference::references(call),
        Resource::Search => reference::search(call),
        Resource::Usage => reference::usage(call),
        Resource::Region => region::handle(call),
        Resource::AvailableAlerts => Ok(alerting::available()),
        Resource::AlertHistory => alerting::history(call),
        Resource::Ips => Ok(ips(call)),
        Resource::Packet => packet::handle(call).await,
        Resource::Apply => apply::handle(call).await,
    }
}

/// `GET /ips`: the addresses of the edges, as the operator wrote them.
fn ips(call: &Call<'_>) -> Reply {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for net in &call.site.ips {
        if net.to_string().contains(':') { &mut v6 } else { &mut v4 }.push(net.to_string());
    }
    let all = format!("{v4:?}{v6:?}");
    let mut etag = super::token::hex(&super::token::sha256(&[all.as_bytes()]));
    etag.truncate(32);
    Reply::of(json!({ "ipv4_cidrs": v4, "ipv6_cidrs": v6, "etag": etag }))
}
