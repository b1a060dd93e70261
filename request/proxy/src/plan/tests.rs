//! A plan that is made from the one before it is the plan that would be made from nothing.

use super::*;
use core_model::config::ProxyProtocolOut::V2;
use core_model::config::{Action, HeaderRules, HostPattern};
use process_runtime::config_file::load_text;

const CONFIG: &str = r#"
[[listener]]
name = "web"
address = "127.0.0.1:0"
[[listener]]
name = "other"
address = "127.0.0.1:0"
redirect_https = true
[[zone]]
name = "b.test"
response_headers = { set = { X-Zone = "b" } }
[[pool]]
name = "one"
origins = [{ name = "o", address = "127.0.0.1", port = 1 }]
[[pool]]
name = "two"
origins = [{ name = "o", address = "127.0.0.1", port = 2 }]
[[pool]]
name = "three"
origins = [{ name = "o", address = "127.0.0.1", port = 3 }]
[[load_balancer]]
name = "a.test"
default_pools = ["one"]
[[load_balancer]]
name = "b.test"
default_pools = ["two", "one"]
[[load_balancer]]
name = "*.b.test"
default_pools = ["two"]
listeners = ["web"]
[[load_balancer]]
name = "*"
default_pools = ["three"]
"#;

/// What is asked of a plan.
const HOSTS: [&str; 5] = ["a.test", "b.test", "x.b.test", "new.test", "elsewhere.test"];

fn config() -> Config {
    load_text("t.toml", CONFIG).unwrap_or_else(|faults| panic!("{faults:?}")).config
}

fn build(config: &Config, generation: u64, live: &LiveTable, before: Option<&Plan>) -> Plan {
    let mut snapshot = Snapshot::first(config.clone());
    snapshot.generation = Generation(generation);
    Plan::build(&snapshot, live, &Kept::default(), before).unwrap()
}

/// What a plan does with each host at each listener.
fn told(plan: &Plan) -> Vec<String> {
    let mut all = vec![format!("{}", plan.told)];
    for listener in &plan.listeners {
        for host in HOSTS {
            let Some(found) = listener.hosts.find(host.as_bytes()) else {
                all.push(format!("{host}: none"));
                continue;
            };
            let Action::Proxy { pools, .. } = &found.default.action else { panic!("{found:?}") };
            let pools = pools.iter().filter_map(|id| listener.pool(*id));
            let pools: Vec<_> = pools.map(|p| (&p.config.name, p.config.minimum_origins)).collect();
            let (rules, effect, policy) = (&found.rules, &found.default.effect, found.policy);
            all.push(format!("{host}: {pools:?} {rules:?} {effect:?} {policy:?}"));
        }
        all.push(format!("{} {}", listener.hosts.policies(), listener.tells_local));
    }
    all
}

fn at<T: Clone>(list: &mut List<T>, at: usize) -> &mut T {
    Arc::make_mut(Arc::make_mut(list).get_mut(at).expect("there is one"))
}

/// Changes the configuration; gives how many hosts (of the first listener) and pools stay the same
/// objects.
#[track_caller]
fn check(says: &str, change: impl FnOnce(&mut Config), expect: (usize, usize)) {
    let live = LiveTable::new(1);
    let mut config = config();
    let before = build(&config, 1, &live, None);
    change(&mut config);
    let after = build(&config, 2, &live, Some(&before));
    let fresh = build(&config, 2, &LiveTable::new(1), None);
    assert_eq!(told(&after), told(&fresh), "{says}");
    let hosts =
        |plan: &Plan, host: &str| plan.listeners[0].hosts.find(host.as_bytes()).map(Arc::as_ptr);
    let names = ["a.test", "b.test", "x.b.test", "elsewhere.test"];
    let kept =
        names.iter().filter(|h| hosts(&before, h).is_some_and(|p| hosts(&after, h) == Some(p)));
    let pools = after.pools.iter().filter(|p| before.pools.iter().any(|b| Arc::ptr_eq(b, p)));
    assert_eq!((kept.count(), pools.count()), expect, "{says}");
}

#[test]
fn what_did_not_change_is_the_same_object() {
    check("nothing", |_| {}, (4, 3));
    check("a pool", |c| at(&mut c.pools, 1).minimum_origins = 7, (4, 2));
    check("a pool that tells", |c| at(&mut c.pools, 1).proxy_protocol = Some(V2), (4, 2));
    check("a host", |c| at(&mut c.load_balancers, 0).rules.redirect_https = None, (3, 3));
    check("a host is switched off", |c| at(&mut c.load_balancers, 3).enabled = false, (3, 3));
    check("a policy", |c| at(&mut c.load_balancers, 0).require_client_certificate = true, (3, 3));
    check(
        "a zone",
        |c| at(&mut c.zones, 0).rules.response_headers = HeaderRules::default(),
        (2, 3),
    );
    check(
        "a zone comes",
        |c| {
            let mut zone = (*c.zones[0]).clone();
            zone.name = "a.test".into();
            Arc::make_mut(&mut c.zones).insert(0, Arc::new(zone));
        },
        (3, 3),
    );
    check("the account", |c| c.account.rules.response_headers.remove.push("x".into()), (0, 3));
    check("a listener", |c| c.listeners[1].rules.redirect_https = None, (4, 3));
    check("a listener goes", |c| drop(c.listeners.remove(0)), (0, 3));
    check(
        "a host comes",
        |c| {
            let mut host = (*c.load_balancers[0]).clone();
            host.host = HostPattern::Exact("new.test".into());
            Arc::make_mut(&mut c.load_balancers).push(Arc::new(host));
        },
        (4, 3),
    );
    check(
        "most hosts are others, and all are made",
        |c| {
            drop(Arc::make_mut(&mut c.load_balancers).swap_remove(0));
        },
        (0, 3),
    );
    check(
        "two hosts change their names",
        |c| {
            let (a, b) = (c.load_balancers[0].host.clone(), c.load_balancers[1].host.clone());
            at(&mut c.load_balancers, 0).host = b;
            at(&mut c.load_balancers, 1).host = a;
        },
        (2, 3),
    );
    check(
        "pools in another order",
        |c| {
            Arc::make_mut(&mut c.pools).reverse();
        },
        (4, 3),
    );
}

#[test]
fn pools_that_go_are_told() {
    let live = LiveTable::new(1);
    let mut config = config();
    let before = build(&config, 1, &live, None);
    let gone = |config: &Config| -> Vec<String> {
        let after = build(config, 2, &live, Some(&before));
        before.pools_gone(&after).map(ToString::to_string).collect()
    };
    assert!(gone(&config).is_empty());
    Arc::make_mut(&mut config.pools).swap(0, 2);
    assert!(gone(&config).is_empty());
    drop(Arc::make_mut(&mut config.pools).swap_remove(0));
    assert_eq!(gone(&config), ["three"]);
    config.pools = List::default();
    assert_eq!(gone(&config), ["one", "two", "three"]);
}
