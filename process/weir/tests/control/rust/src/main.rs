//! Every load-balancing, zone and account call of Cloudflare's client for Rust, unmodified.
//!
//! Run with CLOUDFLARE_BASE_URL, CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID; prints the number
//! of calls.

use cloudflare::endpoints::account::{ListAccounts, user::GetUserDetails, user::GetUserTokenStatus};
use cloudflare::endpoints::load_balancing::{
    Origin, SameSite, Secure, SessionAffinity, SessionAffinityAttributes, SteeringPolicy,
    create_lb, create_lb::CreateLoadBalancer, create_pool, create_pool::CreatePool,
    delete_lb::DeleteLoadBalancer, delete_pool::DeletePool, list_lb::ListLoadBalancers,
    pool_details::PoolDetails,
};
use cloudflare::endpoints::zones::zone::{
    CreateZone, CreateZoneParams, ListZones, ListZonesParams, ZoneDetails,
};
use cloudflare::framework::Environment;
use cloudflare::framework::auth::Credentials;
use cloudflare::framework::client::ClientConfig;
use cloudflare::framework::client::blocking_api::HttpApiClient;
use cloudflare::framework::response::ApiFailure;
use std::collections::HashMap;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn main() {
    let environment = Environment::Custom(format!("{}/", variable("CLOUDFLARE_BASE_URL")));
    let token = Credentials::UserAuthToken { token: variable("CLOUDFLARE_API_TOKEN") };
    let client = HttpApiClient::new(token, ClientConfig::default(), environment);
    let client = client.expect("a client");
    let account = variable("CLOUDFLARE_ACCOUNT_ID");

    let user = client.request(&GetUserDetails {}).expect("the user").result;
    assert!(!user.email.is_empty());
    let status = client.request(&GetUserTokenStatus {}).expect("the token").result;
    assert_eq!(status.status, "active");
    let accounts = client.request(&ListAccounts { params: None }).expect("accounts").result;
    assert!(accounts.iter().any(|one| one.id == account));

    let params = CreateZoneParams { name: "rust.example", account: &account, ..Default::default() };
    // The crate takes the answer for nothing at all, where Cloudflare answers with the zone.
    let _ = client.request(&CreateZone { params });
    let params = ListZonesParams { name: Some("rust.example".to_owned()), ..Default::default() };
    let zones = client.request(&ListZones { params }).expect("zones").result;
    let [zone] = zones.as_slice() else { panic!("{zones:?}") };
    let zone = client.request(&ZoneDetails { identifier: &zone.id }).expect("a zone").result;
    assert_eq!((zone.name.as_str(), zone.account.id.as_str()), ("rust.example", account.as_str()));

    let origin = Origin {
        name: "o".to_owned(),
        address: [192, 0, 2, 1].into(),
        enabled: true,
        weight: 0.5,
    };
    let optional = create_pool::OptionalParams {
        description: Some("d"),
        monitor: Some(""),
        notification_email: Some(""),
        ..Default::default()
    };
    let params = create_pool::Params {
        name: "rust",
        origins: std::slice::from_ref(&origin),
        optional_params: Some(optional),
    };
    let pool = CreatePool { account_identifier: &account, params };
    let pool = client.request(&pool).expect("a pool").result;
    let details = PoolDetails { account_identifier: &account, identifier: &pool.id };
    assert_eq!(client.request(&details).expect("the pool").result, pool);
    assert!(pool.origins.contains(&origin));

    let optional = create_lb::OptionalParams {
        description: Some("d"),
        ttl: Some(30),
        pop_pools: Some(HashMap::from([("LAX".to_owned(), vec![pool.id.clone()])])),
        region_pools: Some(HashMap::from([("WEU".to_owned(), vec![pool.id.clone()])])),
        proxied: Some(true),
        steering_policy: Some(SteeringPolicy::Random),
        session_affinity: Some(SessionAffinity::Cookie),
        session_affinity_attributes: Some(SessionAffinityAttributes {
            samesite: SameSite::Auto,
            secure: Secure::Auto,
            drain_duration: 100,
        }),
        session_affinity_ttl: Some(1_800),
    };
    let mut made = Vec::new();
    for (name, optional_params) in [("a.rust.example", Some(optional)), ("b.rust.example", None)] {
        let params = create_lb::Params {
            name,
            default_pools: std::slice::from_ref(&pool.id),
            fallback_pool: &pool.id,
            optional_params,
        };
        let balancer = CreateLoadBalancer { zone_identifier: &zone.id, params };
        made.push(client.request(&balancer).expect("a load balancer").result);
    }
    let list = ListLoadBalancers { zone_identifier: &zone.id };
    assert_eq!(client.request(&list).expect("load balancers").result, made);

    let delete = DeletePool { account_identifier: &account, identifier: &pool.id };
    match client.request(&delete) {
        Err(ApiFailure::Error(status, errors)) => {
            assert_eq!((status.as_u16(), errors.errors[0].code), (412, 1005));
        }
        other => panic!("a pool in use was removed: {:?}", other.map(|_| ())),
    }
    for balancer in &made {
        let delete = DeleteLoadBalancer { zone_identifier: &zone.id, identifier: &balancer.id };
        assert_eq!(client.request(&delete).expect("removed").result.id, balancer.id);
    }
    client.request(&delete).expect("removed");
    println!("14");
}
