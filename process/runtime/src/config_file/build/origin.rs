//! `[[monitor]]` and `[[pool]]`.

use super::super::table::{Item, Table, Value};
use super::super::text::{OWN_FIELDS, parse_codes, parse_ip, quote, show_time};
use super::{Builder, name_of, parsed};
use core_model::config::{
    Breakers, Keepalive, Monitor, MonitorKind, Origin, OriginAddress, OriginSteering,
    OutlierEjection, Pool, ProxyProtocolOut, Retries, UpstreamProtocols, UpstreamTimeouts,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Keys of a monitor that a bare connection has no use for.
const NOT_FOR_TCP: [&str; 6] =
    ["path", "header", "expected_codes", "expected_body", "follow_redirects", "allow_insecure"];

impl Builder<'_> {
    pub(crate) fn monitor(&mut self, table: &Table) -> Option<Monitor> {
        let kind = match table.text("type")? {
            "tcp" => MonitorKind::Tcp,
            "https" => MonitorKind::Https,
            _ => MonitorKind::Http,
        };
        if !table.refused("type") {
            self.check_monitor_keys(table, kind);
        }
        let usual = if kind == MonitorKind::Tcp { "connection_established" } else { "GET" };
        let monitor = Monitor {
            name: name_of(table)?,
            kind,
            method: table.text("method").unwrap_or(usual).to_owned(),
            path: table.text("path")?.to_owned(),
            port: u16::try_from(table.int("port")).ok().filter(|port| *port != 0),
            header: self.probe_header(table),
            interval: Duration::from_secs(table.int("interval")),
            timeout: Duration::from_secs(table.int("timeout")),
            retries: table.int32("retries"),
            consecutive_up: table.int32("consecutive_up"),
            consecutive_down: table.int32("consecutive_down"),
            expected_codes: parse_codes(table.text("expected_codes")?)?,
            expected_body: table.text("expected_body")?.to_owned(),
            follow_redirects: table.bool("follow_redirects"),
            allow_insecure: table.bool("allow_insecure"),
        };
        let longest = monitor.timeout * (monitor.retries + 1);
        let refused = ["interval", "timeout", "retries"].iter().any(|key| table.refused(key));
        if monitor.interval <= longest && !refused {
            let (found, least) = (monitor.interval.as_secs(), longest.as_secs());
            let what = format!("`{found}` is not above (retries + 1) × timeout = {least} s");
            let valid = format!("interval above {least}, or a shorter timeout, or fewer retries");
            self.fault(table, "interval", what, valid);
        }
        Some(monitor)
    }

    fn check_monitor_keys(&mut self, table: &Table, kind: MonitorKind) {
        let method = table.text("method");
        if kind != MonitorKind::Tcp {
            if method == Some("connection_established") {
                let what = "`connection_established` belongs to type = \"tcp\"";
                self.fault(table, "method", what, "\"GET\", \"HEAD\", \"OPTIONS\"");
            }
            if method == Some("HEAD") && table.text("expected_body").is_some_and(|b| !b.is_empty())
            {
                let what = "a reply to HEAD has no body that could hold this text";
                self.fault(table, "expected_body", what, "method = \"GET\"");
            }
            return;
        }
        for key in NOT_FOR_TCP.iter().filter(|key| table.given(key)) {
            let what = format!("`{key}` has no effect for type = \"tcp\"");
            self.fault(table, key, what, "remove it, or type = \"http\"");
        }
        if method.is_some_and(|method| method != "connection_established") {
            let what = "a tcp monitor sends no request";
            self.fault(table, "method", what, "\"connection_established\"");
        }
    }

    fn probe_header(&mut self, table: &Table) -> Vec<(String, Vec<String>)> {
        let mut header = Vec::new();
        for (name, item) in table.map("header") {
            let path = format!("{}.{name}", table.path_of("header"));
            let lower = name.to_ascii_lowercase();
            let own = OWN_FIELDS.contains(&lower.as_str()) && lower != "host";
            let values = texts(item);
            if lower == "user-agent" || own {
                let what = format!("{} cannot be set in a probe", quote(name));
                self.report.fault(item.at, &path, what, "another field");
            } else if lower == "host" && values.len() > 1 {
                let what = format!("found {} values", values.len());
                self.report.fault(item.at, &path, what, "one host");
            } else {
                header.push((name.clone(), values));
            }
        }
        header
    }

    pub(crate) fn pool(&mut self, table: &Table) -> Option<Pool> {
        let monitor = table.text("monitor").map(|name| {
            let (at, path) = (table.at_of("monitor"), table.path_of("monitor"));
            self.monitor_id(name, at, &path)
        });
        let tls = table.table("tls").map(|tls| self.upstream_tls(tls));
        let origins = self.origins(table);
        let outlier_ejection = self.outlier(table.table("outlier_ejection")?);
        let protocols = self.upstream_protocols(table, tls.is_some());
        Some(Pool {
            name: name_of(table)?,
            enabled: table.bool("enabled"),
            description: table.text("description")?.to_owned(),
            monitor: match monitor {
                Some(monitor) => Some(monitor?),
                None => None,
            },
            minimum_origins: table.int32("minimum_origins"),
            origin_steering: match table.table("origin_steering")?.text("policy") {
                Some("least_outstanding_requests") => OriginSteering::LeastOutstandingRequests,
                Some("least_connections") => OriginSteering::LeastConnections,
                Some("hash") => OriginSteering::Hash,
                _ => OriginSteering::Random,
            },
            origins: origins?,
            tls: match tls {
                Some(tls) => Some(Arc::new(tls?)),
                None => None,
            },
            protocols,
            proxy_protocol: match table.text("proxy_protocol") {
                Some("v1") => Some(ProxyProtocolOut::V1),
                Some("v2") => Some(ProxyProtocolOut::V2),
                _ => None,
            },
            source_address: table.text("source_address").and_then(|text| text.parse().ok()),
            keepalive: keepalive(table.table("keepalive")?),
            timeouts: timeouts(table.table("timeouts")?),
            retries: retries(table.table("retries")?),
            circuit_breakers: breakers(table.table("circuit_breakers")?),
            outlier_ejection,
            slow_start: table.time("slow_start"),
            deny_addresses: parsed(table.list("deny_addresses")),
        })
    }

    fn upstream_protocols(&mut self, table: &Table, tls: bool) -> UpstreamProtocols {
        let words = table.words("protocols");
        let has = |name| words.contains(&name);
        let protocols = UpstreamProtocols { http1: has("http/1.1"), http2: has("h2") };
        if protocols.http1 && protocols.http2 && !tls {
            let expected = "one of them, or [pool.tls], where the origin chooses by ALPN";
            self.fault(table, "protocols", "found two protocols without TLS".to_owned(), expected);
        }
        if protocols.http2 && table.text("proxy_protocol").is_some_and(|version| version != "off") {
            let what = "found h2, whose connections are shared by clients".to_owned();
            self.fault(table, "protocols", what, "[\"http/1.1\"] where proxy_protocol is on");
        }
        protocols
    }

    fn outlier(&mut self, table: &Table) -> OutlierEjection {
        let ejection = OutlierEjection {
            consecutive_failures: table.int32("consecutive_failures"),
            base_time: table.time("base_time"),
            max_time: table.time("max_time"),
            max_percent: table.int32("max_percent"),
        };
        if ejection.base_time > ejection.max_time {
            let max = show_time(ejection.max_time);
            let what = format!("`{}` exceeds max_time", show_time(ejection.base_time));
            self.fault(table, "base_time", what, format!("at most {max}"));
        }
        ejection
    }

    fn origins(&mut self, pool: &Table) -> Option<Vec<Origin>> {
        let tables = pool.tables("origins");
        let every = |tls: &Table| tls.list("ports").is_empty();
        let usual_port = if pool.table("tls").is_some_and(every) { 443 } else { 80 };
        let mut origins = Some(Vec::new());
        for table in tables {
            match (self.origin(table, usual_port), origins.as_mut()) {
                (Some(origin), Some(origins)) => origins.push(origin),
                _ => origins = None,
            }
        }
        self.compare_origins(tables, usual_port);
        let least = pool.size("minimum_origins");
        if least > tables.len() && !tables.is_empty() && !self.report.incomplete() {
            let what = format!("`{least}`: the pool has {} origins", tables.len());
            let valid = format!("1..={}", tables.len());
            self.fault(pool, "minimum_origins", what, valid);
        } else if pool.bool("enabled") && !tables.is_empty() {
            let enabled = tables.iter().filter(|table| table.bool("enabled")).count();
            if enabled == 0 {
                self.warn(pool, "origins", "no origin of this pool is enabled", "enable one");
            } else if enabled < least {
                let what = format!("`{least}`: only {enabled} origins are enabled");
                self.warn(pool, "minimum_origins", what, "the pool is never healthy");
            }
        }
        origins
    }

    fn origin(&mut self, table: &Table, usual_port: u16) -> Option<Origin> {
        let host_header = self.host_header(table);
        let port = u16::try_from(table.int("port")).ok()?;
        let address = table.text("address")?;
        Some(Origin {
            name: name_of(table)?,
            address: match parse_ip(address) {
                Some(ip) => OriginAddress::Ip(ip),
                None => OriginAddress::Dns(address.to_ascii_lowercase()),
            },
            port: if port == 0 { usual_port } else { port },
            weight: u8::try_from(table.int("weight")).ok()?,
            enabled: table.bool("enabled"),
            host_header,
        })
    }

    fn host_header(&mut self, table: &Table) -> Option<String> {
        let mut host = None;
        for (name, item) in table.map("header") {
            let path = format!("{}.{name}", table.path_of("header"));
            let values = texts(item);
            if !name.eq_ignore_ascii_case("host") {
                let what = format!("{} cannot be set for an origin", quote(name));
                let valid = "Host (as in Cloudflare); request_headers of a host or route";
                self.report.fault(item.at, &path, what, valid);
            } else if host.is_some() || values.len() > 1 {
                self.report.fault(item.at, &path, "more than one host", "one host");
            } else {
                host = values.into_iter().next();
                if host.as_ref().is_some_and(|host| !is_authority(host)) {
                    let what = "this is not a host".to_owned();
                    self.report.fault(item.at, &path, what, "a host, with a port if needed");
                }
            }
        }
        host
    }

    /// Names and addresses are unique within a pool.
    fn compare_origins(&mut self, tables: &[Table], usual_port: u16) {
        let mut names = BTreeSet::new();
        let mut addresses = BTreeMap::new();
        for table in tables {
            if let Some(name) = table.text("name").filter(|name| !names.insert(*name)) {
                let what = format!("another origin of the pool has the name {}", quote(name));
                self.fault(table, "name", what, "a name of its own");
            }
            let Some(address) = table.text("address") else { continue };
            let port = match table.int("port") {
                0 => u64::from(usual_port),
                port => port,
            };
            let name = table.text("name").unwrap_or("?");
            let same =
                parse_ip(address).map_or_else(|| address.to_ascii_lowercase(), |ip| ip.to_string());
            if let Some(other) = addresses.insert((same, port), name) {
                let what = format!("origin {} has the same address and port", quote(other));
                self.fault(table, "address", what, "each address once; `weight` for its share");
            }
        }
    }
}

/// Whether this can stand in a Host field.
fn is_authority(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
}

fn texts(item: &Item) -> Vec<String> {
    match &item.value {
        Value::List(items) => {
            items.iter().filter_map(|item| item.text().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

fn keepalive(table: &Table) -> Keepalive {
    Keepalive {
        connections: table.size("connections"),
        idle: table.time("idle"),
        requests: table.int("requests"),
    }
}

fn timeouts(table: &Table) -> UpstreamTimeouts {
    UpstreamTimeouts {
        connect: table.time("connect"),
        handshake: table.time("handshake"),
        reply: table.time("reply"),
        idle: table.time("idle"),
    }
}

fn retries(table: &Table) -> Retries {
    Retries {
        attempts: table.int32("attempts"),
        budget_percent: table.int32("budget_percent"),
        budget_min: table.int32("budget_min"),
    }
}

fn breakers(table: &Table) -> Breakers {
    Breakers {
        connections: table.int32("connections"),
        pending: table.int32("pending"),
        requests: table.int32("requests"),
    }
}
