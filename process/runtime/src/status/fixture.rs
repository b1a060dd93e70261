//! A small configuration for tests: one listener, a pool of two origins, a load balancer.

use core_model::Config;
use core_model::config::*;
use core_model::defaults as d;
use std::time::Duration;

pub(crate) fn config() -> Config {
    Config {
        runtime: Runtime {
            workers: 2,
            user: None,
            group: None,
            drain_timeout: d::DRAIN_TIMEOUT,
            dns_min_ttl: d::DNS_MIN_TTL,
            dns_max_ttl: d::DNS_MAX_TTL,
            dns_servers: Vec::new(),
        },
        admin: Admin { address: None },
        logging: Logging { level: LogLevel::Info, format: LogFormat::Text, access: None },
        control: None,
        listeners: vec![listener("web", "127.0.0.1:8080")],
        monitors: list(vec![monitor()]),
        pools: list(vec![pool("shop", &[("a", 9001), ("b \"2\"", 9002)])]),
        account: Default::default(),
        zones: list(Vec::new()),
        load_balancers: list(vec![load_balancer()]),
        packet: None,
        packet_name: None,
    }
}

fn list<T>(objects: Vec<T>) -> List<T> {
    std::sync::Arc::new(objects.into_iter().map(Into::into).collect())
}

pub(crate) fn listener(name: &str, address: &str) -> Listener {
    Listener {
        name: name.into(),
        address: address.parse().unwrap(),
        protocols: vec![Protocol::Http1],
        tls: None,
        proxy_protocol: None,
        trusted_proxies: Vec::new(),
        header_names: HeaderNamePolicy::Drop,
        limits: Limits {
            header_bytes: d::HEADER_BYTES,
            header_count: d::HEADER_COUNT,
            uri_bytes: d::URI_BYTES,
            body_bytes: d::BODY_BYTES,
            requests_per_connection: d::REQUESTS_PER_CONNECTION,
            streams_per_connection: d::STREAMS_PER_CONNECTION,
            connections: d::LISTENER_CONNECTIONS,
            connections_per_source: d::CONNECTIONS_PER_SOURCE,
            body_min_rate: d::BODY_MIN_RATE,
        },
        timeouts: Timeouts {
            handshake: d::HANDSHAKE_TIMEOUT,
            first_byte: d::FIRST_BYTE_TIMEOUT,
            head: d::HEAD_TIMEOUT,
            body_idle: d::BODY_IDLE_TIMEOUT,
            keepalive: d::KEEPALIVE_TIMEOUT,
            tunnel_idle: d::TUNNEL_IDLE_TIMEOUT,
        },
        rules: RouteRules::default(),
        backlog: d::BACKLOG,
    }
}

fn monitor() -> Monitor {
    Monitor {
        name: "probe".into(),
        kind: MonitorKind::Http,
        method: "GET".into(),
        path: "/".into(),
        port: None,
        header: Vec::new(),
        interval: d::MONITOR_INTERVAL,
        timeout: d::MONITOR_TIMEOUT,
        retries: d::MONITOR_RETRIES,
        consecutive_up: 1,
        consecutive_down: 1,
        expected_codes: vec![CodeRange { first: 200, last: 299 }],
        expected_body: String::new(),
        follow_redirects: false,
        allow_insecure: false,
    }
}

pub(crate) fn pool(name: &str, origins: &[(&str, u16)]) -> Pool {
    let origin = |(name, port): &(&str, u16)| Origin {
        name: (*name).into(),
        address: OriginAddress::Ip([127, 0, 0, 1].into()),
        port: *port,
        weight: 100,
        enabled: true,
        host_header: None,
    };
    Pool {
        name: name.into(),
        enabled: true,
        description: String::new(),
        monitor: Some(MonitorId(0)),
        minimum_origins: 1,
        origin_steering: OriginSteering::Random,
        origins: origins.iter().map(origin).collect(),
        tls: None,
        protocols: UpstreamProtocols { http1: true, http2: false },
        proxy_protocol: None,
        source_address: None,
        keepalive: Keepalive {
            connections: d::KEEPALIVE_CONNECTIONS,
            idle: d::UPSTREAM_IDLE,
            requests: d::UPSTREAM_REQUESTS,
        },
        timeouts: UpstreamTimeouts {
            connect: d::CONNECT_TIMEOUT,
            handshake: d::HANDSHAKE_TIMEOUT,
            reply: d::REPLY_TIMEOUT,
            idle: d::UPSTREAM_BODY_IDLE,
        },
        retries: Retries {
            attempts: d::RETRY_ATTEMPTS,
            budget_percent: d::RETRY_BUDGET_PERCENT,
            budget_min: d::RETRY_BUDGET_MIN,
        },
        circuit_breakers: Breakers {
            connections: d::BREAKER_CONNECTIONS,
            pending: d::BREAKER_PENDING,
            requests: d::BREAKER_REQUESTS,
        },
        outlier_ejection: OutlierEjection {
            consecutive_failures: d::OUTLIER_CONSECUTIVE,
            base_time: d::OUTLIER_BASE,
            max_time: d::OUTLIER_MAX,
            max_percent: d::OUTLIER_MAX_PERCENT,
        },
        slow_start: Duration::ZERO,
        deny_addresses: Vec::new(),
    }
}

fn load_balancer() -> LoadBalancer {
    let action =
        Action::Proxy { pools: vec![PoolId(0)], fallback: PoolId(0), steering: PoolSteering::Off };
    LoadBalancer {
        name: "*.example.com".into(),
        host: HostPattern::Wildcard("example.com".into()),
        enabled: true,
        description: String::new(),
        listeners: Vec::new(),
        require_client_certificate: false,
        default: action.clone(),
        routes: vec![Route {
            name: "/api".into(),
            path: PathMatch::Prefix("/api".into()),
            action,
            rules: RouteRules::default(),
        }],
        rules: RouteRules::default(),
    }
}
