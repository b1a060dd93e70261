//! What hosts inherit, and which layer gives a value.

use super::right;
use core_model::Config;
use core_model::config::HttpsRedirect;
use core_model::effective::{Layer, effective, host_rules};

const FILE: &str = r#"
    [[listener]]
    name = "plain"
    address = "127.0.0.1:0"
    redirect_https = true
    response_headers = { set = { X-Listener = "l", X-From = "listener" } }
    [[listener]]
    name = "other"
    address = "127.0.0.1:0"

    [account]
    hsts = { max_age = "1h" }
    response_headers = { set = { X-From = "account", X-Account = "a" }, remove = ["Server"] }
    request_headers = { set = { X-Team = "all" } }

    [[zone]]
    name = "example.com"
    redirect_https = 8443
    response_headers = { set = { x-from = "zone", Server = "z" }, remove = ["X-Account"] }
    [[zone]]
    name = "shop.example.com"
    hsts = { max_age = "2h" }
    [[zone]]
    name = "com"
    request_headers = { remove = ["X-Team"] }

    [[pool]]
    name = "web"
    origins = [{ name = "o", address = "127.0.0.1", port = 1 }]

    [[load_balancer]]
    name = "www.example.com"
    default_pools = ["web"]
    redirect_https = false
    [[load_balancer.routes]]
    path_prefix = "/v1"
    default_pools = ["web"]
    redirect_https = 9443
    response_headers = { set = { X-From = "route" } }
    [[load_balancer]]
    name = "*.shop.example.com"
    default_pools = ["web"]
    listeners = ["other"]
    [[load_balancer]]
    name = "example.com"
    default_pools = ["web"]
    [[load_balancer]]
    name = "notexample.com"
    default_pools = ["web"]
    [[load_balancer]]
    name = "*"
    default_pools = ["web"]
"#;

/// What holds in the end, as words.
fn told(config: &Config, listener: usize, host: &str, path: &str) -> Vec<String> {
    let listener = config.listeners.get(listener);
    let Some(found) = effective(config, listener, host, path) else { return Vec::new() };
    let zone = found.zone.map_or("none", |zone| &*zone.name);
    let mut words = vec![format!("host {} zone {zone}", found.host.name)];
    let redirect = match found.redirect_https.value {
        HttpsRedirect::Off => "off".to_owned(),
        HttpsRedirect::To(port) => port.to_string(),
    };
    words.push(format!("redirect {redirect} by {}", found.redirect_https.layer.word()));
    let age = found.hsts.value.map_or(0, |hsts| hsts.max_age.as_secs());
    words.push(format!("hsts {age} by {}", found.hsts.layer.word()));
    for (side, changes) in [("<", &found.request_headers), (">", &found.response_headers)] {
        for change in changes {
            let value = change.value.as_deref().unwrap_or("gone");
            words.push(format!("{side} {} {value} by {}", change.name, change.layer.word()));
        }
    }
    words
}

#[test]
fn the_nearest_layer_decides() {
    let config = right(FILE).config;
    let check = |listener: usize, host: &str, path: &str, expect: &[&str]| {
        assert_eq!(told(&config, listener, host, path), expect, "{listener} {host}{path}");
    };
    let zone = ["> Server z by zone", "> x-account gone by zone"];
    let common = ["> X-Listener l by listener"];
    let example = |head: [&'static str; 3], from: &'static str| {
        let rest = [zone[0], zone[1]].into_iter().chain([from]).chain(common);
        let headers = ["< X-Team all by account"].into_iter().chain(rest);
        head.into_iter().chain(headers).collect::<Vec<&str>>()
    };
    let head = ["host www.example.com zone example.com", "redirect off by host"];
    let hsts = "hsts 3600 by account";
    let mut expect = example([head[0], head[1], hsts], "> x-from zone by zone");
    expect.sort_by_key(|line| rank(line));
    check(0, "www.example.com", "/", &expect);
    let mut expect = example([head[0], "redirect 9443 by route", hsts], "> X-From route by route");
    expect.sort_by_key(|line| rank(line));
    check(0, "www.example.com", "/v1/x", &expect);
    // Only the zone with the longest name counts.
    check(
        1,
        "a.b.shop.example.com",
        "/",
        &[
            "host *.shop.example.com zone shop.example.com",
            "redirect off by default",
            "hsts 7200 by zone",
            "< X-Team all by account",
            "> server gone by account",
            "> X-Account a by account",
            "> X-From account by account",
        ],
    );
    check(
        1,
        "notexample.com",
        "/",
        &[
            "host notexample.com zone com",
            "redirect off by default",
            "hsts 3600 by account",
            "< x-team gone by zone",
            "> server gone by account",
            "> X-Account a by account",
            "> X-From account by account",
        ],
    );
    // Not served by the first listener, so that the one for all hosts answers, which is in no zone.
    let told = told(&config, 0, "a.shop.example.com", "/");
    assert_eq!(told[..2], ["host * zone none", "redirect 443 by listener"]);
}

/// Lines in the order of the answer: headers by name, whatever the case.
fn rank(line: &str) -> (usize, String) {
    let kind = ["host", "redirect", "hsts", "<", ">"];
    let at = kind.iter().position(|kind| line.starts_with(kind)).unwrap();
    (at, line.to_ascii_lowercase())
}

#[test]
fn planes_get_what_hosts_inherit() {
    let config = right(FILE).config;
    for balancer in config.load_balancers.iter() {
        let rules = host_rules(&config, balancer);
        let host = match &*balancer.name {
            "*" => "elsewhere.test",
            name => &name.replace('*', "a"),
        };
        let found = effective(&config, None, host, "/").unwrap();
        assert_eq!(found.host.name, balancer.name);
        assert_eq!(found.hsts.value, rules.hsts, "{host}");
        let redirect = rules.redirect_https.unwrap_or(HttpsRedirect::Off);
        assert_eq!(found.redirect_https.value, redirect, "{host}");
        for change in &found.response_headers {
            let set = rules.response_headers.set.iter().find(|(name, _)| *name == change.name);
            assert_eq!(set.map(|(_, value)| value), change.value.as_ref(), "{host} {change:?}");
            let lower = change.name.to_ascii_lowercase();
            let removed = rules.response_headers.remove.contains(&lower);
            assert_eq!(removed, change.value.is_none(), "{host} {change:?}");
            assert_ne!(change.layer, Layer::Listener);
        }
    }
}
