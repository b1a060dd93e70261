//! What right values become, and the small parsers below them.

use super::super::text::{nearest, parse_codes, parse_host, parse_size, parse_time};
use super::super::text::{show_size, show_time};
use super::{BASE, load_in, right, world};
use core_model::config::{
    Action, CodeRange, HostPattern, HttpsRedirect, OriginAddress, PathMatch, PoolId, PoolSteering,
    UpstreamProtocols,
};
use core_model::{ListenAddress, defaults};
use std::time::Duration;

#[test]
fn an_empty_file_has_the_defaults() {
    let loaded = right("");
    let config = loaded.config;
    assert_eq!(config.admin.address.unwrap().to_string(), defaults::ADMIN_ADDRESS);
    assert_eq!(config.runtime.drain_timeout, defaults::DRAIN_TIMEOUT);
    assert!(config.runtime.workers >= 1);
    assert_eq!(config.logging.access, None);
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings[0].what.contains("no [[listener]]"));
}

#[test]
fn defaults_come_from_the_model() {
    let config = right(BASE).config;
    let (listener, pool) = (&config.listeners[0], &config.pools[0]);
    assert_eq!(listener.limits.header_bytes, defaults::HEADER_BYTES);
    assert_eq!(listener.limits.body_bytes, defaults::BODY_BYTES);
    assert_eq!(listener.timeouts.keepalive, defaults::KEEPALIVE_TIMEOUT);
    assert_eq!(listener.backlog, defaults::BACKLOG);
    assert_eq!(pool.timeouts.connect, defaults::CONNECT_TIMEOUT);
    assert_eq!(pool.circuit_breakers.requests, defaults::BREAKER_REQUESTS);
    assert_eq!(pool.outlier_ejection.base_time, defaults::OUTLIER_BASE);
    assert_eq!(pool.minimum_origins, 1);
    assert_eq!(pool.origins[0].weight, 100);
    assert_eq!(config.monitors[0].interval, defaults::MONITOR_INTERVAL);
}

#[test]
fn values_arrive() {
    let config = right(
        r#"
        [admin]
        address = "unix:/run/weir.sock"
        [[listener]]
        name = "a"
        address = "[::1]:8080"
        redirect_https = true
        [[listener]]
        name = "b"
        address = "127.0.0.1:0"
        redirect_https = 8443
        [[listener]]
        name = "c"
        address = "127.0.0.1:0"
        proxy_protocol = { accept = false, trusted = ["::/0"] }
        [[pool]]
        name = "one"
        tls = { server_name = "Example.COM" }
        origins = [
            { name = "x", address = "API.example.com", weight = 0.29 },
            { name = "y", address = "[::1]", port = 9001, weight = 1, header = { Host = ["h:1"] } },
        ]
        [[pool]]
        name = "two"
        origins = [{ name = "x", address = "10.0.0.1" }]
        [[load_balancer]]
        name = "*.Example.com"
        listeners = ["b"]
        default_pools = ["two", "one"]
        steering_policy = "random"
        random_steering = { default_weight = 0.3, pool_weights = { one = 0.7 } }
        [[load_balancer.routes]]
        path_prefix = "/a/"
        default_pools = ["one"]
        strip_prefix = "/a"
        [[load_balancer.routes]]
        path_prefix = "/a/long"
        redirect = { location = "https://x.test*", status = 307 }
        [[load_balancer.routes]]
        path = "/z"
        default_pools = ["one"]
        add_prefix = "/y/"
        "#,
    )
    .config;
    assert_eq!(config.admin.address, Some(ListenAddress::Unix("/run/weir.sock".into())));
    let redirects: Vec<_> = config.listeners.iter().map(|l| l.rules.redirect_https).collect();
    let to = |port| Some(HttpsRedirect::To(port));
    assert_eq!(redirects, [to(443), to(8443), None]);
    assert_eq!(config.listeners[2].proxy_protocol, None);
    let origins = &config.pools[0].origins;
    assert_eq!(origins[0].address, OriginAddress::Dns("api.example.com".into()));
    assert_eq!((origins[0].port, origins[0].weight), (443, 29));
    assert_eq!(origins[1].address, OriginAddress::Ip("::1".parse().unwrap()));
    assert_eq!((origins[1].port, origins[1].host_header.as_deref()), (9001, Some("h:1")));
    assert_eq!(config.pools[1].origins[0].port, 80);
    let host = &config.load_balancers[0];
    assert_eq!(host.host, HostPattern::Wildcard("example.com".into()));
    assert_eq!(host.listeners.len(), 1);
    let steering = PoolSteering::Random(vec![3, 7]);
    let pools = vec![PoolId(1), PoolId(0)];
    assert_eq!(host.default, Action::Proxy { pools, fallback: PoolId(0), steering });
    let paths: Vec<_> = host.routes.iter().map(|route| route.path.clone()).collect();
    let prefix = |path: &str| PathMatch::Prefix(path.into());
    assert_eq!(paths, [PathMatch::Exact("/z".into()), prefix("/a/long"), prefix("/a")]);
    assert_eq!(host.routes[0].rules.add_prefix.as_deref(), Some("/y"));
    assert_eq!(host.routes[2].rules.strip_prefix.as_deref(), Some("/a"));
    let Action::Redirect(redirect) = &host.routes[1].action else { panic!("{:?}", host.routes) };
    assert_eq!((redirect.status, redirect.location.as_str()), (307, "https://x.test"));
    assert!(redirect.append_path);
}

#[test]
fn variables_are_replaced() {
    let env = |name: &str| match name {
        "PORT" => Some("81".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let text = r#"
        [[listener]]
        name = "a${EMPTY:-b}c"
        address = "127.0.0.1:${PORT}"
        [[monitor]]
        name = "m"
        expected_body = "$${x} $ {y} ${NONE:-a$b}"
    "#;
    let config = load_in("t.toml", text.as_bytes().to_vec(), &world(&env)).unwrap().config;
    assert_eq!(config.listeners[0].name.as_ref(), "abc");
    assert_eq!(config.listeners[0].address.port(), 81);
    assert_eq!(config.monitors[0].expected_body, "${x} $ {y} a$b");
}

#[test]
fn what_is_likely_not_meant_is_a_warning() {
    let check = |text: &str, says: &str| {
        let warnings = right(&format!("{text}\n{BASE}")).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].to_string().contains(says), "{}", warnings[0]);
    };
    let pool = "[[pool]]\nname = \"p\"\n";
    let off = "origins = [{ name = \"x\", address = \"::1\", enabled = false }]";
    check(&format!("{pool}{off}"), "no origin of this pool is enabled");
    let some = "minimum_origins = 2\norigins = [{ name = \"x\", address = \"::1\" }, \
                { name = \"y\", address = \"::2\", enabled = false }]";
    check(&format!("{pool}{some}"), "only 1 origins are enabled");
    let host = "[[load_balancer]]\nname = \"h\"\ndefault_pools = [\"base\"]\n";
    check(&format!("{host}random_steering = {{}}"), "no effect without");
    check(&format!("{host}hsts = {{ preload = true }}"), "preload lists refuse");
    check("include = [\"nothing-here-*.toml\"]", "matches no file");
}

#[test]
fn times_and_sizes() {
    for (text, millis) in [
        ("500ms", Some(500)),
        ("0s", Some(0)),
        ("90s", Some(90_000)),
        ("2m", Some(120_000)),
        ("1h", Some(3_600_000)),
        ("30d", Some(2_592_000_000)),
        ("", None),
        ("s", None),
        ("1", None),
        ("-1s", None),
        ("1.5s", None),
        ("1 s", None),
        ("1S", None),
        ("18446744073709551615h", None),
    ] {
        let time = millis.map(Duration::from_millis);
        assert_eq!(parse_time(text), time, "{text}");
        if let Some(time) = time {
            assert_eq!(parse_time(&show_time(time)), Some(time), "{text}");
        }
    }
    for (text, bytes) in [
        ("32KiB", Some(32_768)),
        ("1GiB", Some(1 << 30)),
        ("17", Some(17)),
        ("17B", Some(17)),
        ("32kb", None),
        ("32KB", None),
        ("KiB", None),
        ("18446744073709551615KiB", None),
    ] {
        assert_eq!(parse_size(text), bytes, "{text}");
        if let Some(bytes) = bytes {
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes), "{text}");
        }
    }
}

#[test]
fn codes_and_hosts() {
    let range = |first, last| CodeRange { first, last };
    for (text, expect) in [
        ("", Some(vec![])),
        ("200", Some(vec![range(200, 200)])),
        ("2xx, 304", Some(vec![range(200, 299), range(304, 304)])),
        ("5XX", Some(vec![range(500, 599)])),
        ("2x", None),
        ("600", None),
        ("200,", None),
        ("20a", None),
        ("ü00", None),
        ("2+1", None),
    ] {
        assert_eq!(parse_codes(text), expect, "{text}");
    }
    for (text, expect) in [
        ("*", Some(HostPattern::Any)),
        ("*.A.b", Some(HostPattern::Wildcard("a.b".into()))),
        ("A_b.c", Some(HostPattern::Exact("a_b.c".into()))),
        ("127.0.0.1", Some(HostPattern::Exact("127.0.0.1".into()))),
        ("[0:0::1]", Some(HostPattern::Exact("[::1]".into()))),
        ("*.*.b", None),
        ("a*.b", None),
        ("a.b.", None),
        ("", None),
    ] {
        assert_eq!(parse_host(text), expect, "{text}");
    }
}

#[test]
fn the_nearest_name() {
    let names = ["header_bytes", "header_count", "name", "tls"];
    for (found, expect) in [
        ("header_byte", Some("header_bytes")),
        ("haeder_bytes", Some("header_bytes")),
        ("Name", Some("name")),
        ("tsl", Some("tls")),
        ("zzz", None),
        ("", None),
    ] {
        assert_eq!(nearest(found, names.into_iter()), expect, "{found}");
    }
}

#[test]
fn tls_at_some_ports_leaves_the_others_plain() {
    let text = |tls: &str, port: u16| {
        format!(
            "[[pool]]\nname = \"p\"\n{tls}\n\
             origins = [{{ name = \"o\", address = \"10.0.0.1\", port = {port} }}]"
        )
    };
    for (tls, port, at, secured) in [
        ("", 443, 443, false),
        ("tls = {}", 0, 443, true),
        ("tls = {}", 80, 80, true),
        ("tls = { ports = [443] }", 0, 80, false),
        ("tls = { ports = [443, 8443] }", 8443, 8443, true),
        ("tls = { ports = [443] }", 8443, 8443, false),
    ] {
        let pool = right(&text(tls, port)).config.pools[0].clone();
        let found = pool.origins[0].port;
        assert_eq!((found, pool.tls_at(found).is_some()), (at, secured), "{tls} {port}");
    }
    let both = "tls = { ports = [443] }\nprotocols = [\"h2\", \"http/1.1\"]";
    let pool = right(&text(both, 80)).config.pools[0].clone();
    assert_eq!(pool.protocols_at(80), UpstreamProtocols::HTTP1);
    assert_eq!(pool.protocols_at(443), pool.protocols);
}
