//! `[[listener]]`.

use super::super::Root;
use super::super::table::Table;
use super::super::text::quote;
use super::{Builder, name_of, parsed};
use core_model::ListenAddress;
use core_model::config::{HeaderNamePolicy, Limits, Listener, Protocol, ProxyProtocolIn, Timeouts};
use std::collections::BTreeMap;
use std::net::SocketAddr;

impl Builder<'_> {
    pub(super) fn listener(&mut self, table: &Table) -> Option<Listener> {
        let tls = table.table("tls").map(|tls| self.tls(tls));
        let proxy_protocol = table.table("proxy_protocol").filter(|proxy| proxy.bool("accept"));
        let rules = self.rules(table);
        Some(Listener {
            name: name_of(table)?,
            address: table.text("address")?.parse().ok()?,
            protocols: self.protocols(table),
            tls: match tls {
                Some(tls) => Some(tls?),
                None => None,
            },
            proxy_protocol: proxy_protocol.map(|proxy| ProxyProtocolIn {
                trusted: parsed(proxy.list("trusted")),
                timeout: proxy.time("timeout"),
            }),
            trusted_proxies: parsed(table.list("trusted_proxies")),
            header_names: match table.text("header_names") {
                Some("reject") => HeaderNamePolicy::Reject,
                Some("keep") => HeaderNamePolicy::Keep,
                _ => HeaderNamePolicy::Drop,
            },
            limits: limits(table.table("limits")?),
            timeouts: timeouts(table.table("timeouts")?),
            rules,
            backlog: table.int32("backlog"),
        })
    }

    fn protocols(&mut self, table: &Table) -> Vec<Protocol> {
        let mut protocols = Vec::new();
        for word in table.words("protocols") {
            let protocol = if word == "h2" { Protocol::Http2 } else { Protocol::Http1 };
            if protocols.contains(&protocol) {
                let what = format!("{} is there twice", quote(word));
                self.fault(table, "protocols", what, "each protocol once");
            } else {
                protocols.push(protocol);
            }
        }
        protocols
    }

    /// No two listeners, nor the admin listener, share an address. Port 0 is a new one each time.
    pub(super) fn compare_listeners(&mut self, roots: &[Root]) {
        let mut seen: BTreeMap<SocketAddr, String> = BTreeMap::new();
        let admin = self.single(roots, "admin");
        let address = admin.and_then(|admin| admin.text("address")?.parse().ok());
        if let Some(ListenAddress::Tcp(address)) = address {
            seen.insert(address, "[admin]".to_owned());
        }
        for table in roots.iter().flat_map(|root| root.table.tables("listener")) {
            let address = table.text("address").and_then(|text| text.parse::<SocketAddr>().ok());
            let Some(address) = address.filter(|address| address.port() != 0) else { continue };
            let name = table.text("name").unwrap_or("?");
            if let Some(other) = seen.get(&address) {
                let what = format!("{} is the address of {other} too", quote(&address.to_string()));
                self.fault(table, "address", what, "an address of its own");
            } else {
                seen.insert(address, format!("listener {}", quote(name)));
            }
        }
    }
}

fn limits(table: &Table) -> Limits {
    Limits {
        header_bytes: table.size("header_bytes"),
        header_count: table.size("header_count"),
        uri_bytes: table.size("uri_bytes"),
        body_bytes: table.int("body_bytes"),
        requests_per_connection: table.int("requests_per_connection"),
        streams_per_connection: table.int32("streams_per_connection"),
        connections: table.int("connections"),
        connections_per_source: table.int("connections_per_source"),
        body_min_rate: table.int("body_min_rate"),
    }
}

fn timeouts(table: &Table) -> Timeouts {
    Timeouts {
        handshake: table.time("handshake"),
        first_byte: table.time("first_byte"),
        head: table.time("head"),
        body_idle: table.time("body_idle"),
        keepalive: table.time("keepalive"),
        tunnel_idle: table.time("tunnel_idle"),
    }
}
