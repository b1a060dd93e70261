//! `[packet]` and `[[server]]`; what refers to them is in `trafficset` and `shield`.

mod shield;
mod trafficset;

use super::super::Root;
use super::super::report::At;
use super::super::table::{Item, Table};
use super::super::text::quote;
use super::{Builder, each, parsed};
use core_model::IpNet;
use core_model::config::packet::{
    AttachMode, Capacities, HashKey, InterfaceName, PacketConfig, PortRange, ReversePath, Server,
    ServerId, ServerState, Strategy, Trafficset,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

/// Servers that a fault names at most.
const NAMED_MAX: usize = 10;

/// Places of what must be unique among servers.
#[derive(Default)]
struct Seen {
    ids: BTreeMap<u64, At>,
    addresses: BTreeMap<IpAddr, At>,
}

impl Builder<'_> {
    /// The packet path: `Some(None)` where nothing is said of it, `None` where something is wrong.
    pub(super) fn packet(&mut self, roots: &[Root]) -> Option<Option<PacketConfig>> {
        let Some(table) = self.single(roots, "packet") else {
            self.tell_strays(roots);
            return Some(None);
        };
        if self.follows && self.waits_for_the_fleet(table, roots) {
            return Some(None);
        }
        let address = self.unicast(table, "address");
        let interfaces = self.interfaces(table);
        let hash_key = self.hash_key(table);
        let (port, fou_port) = (table.int("port"), table.int("fou_port"));
        if port == fou_port {
            let at = if table.given("fou_port") { "fou_port" } else { "port" };
            let what = format!("`{port}` is the port of GUE and of FOU");
            self.fault(table, at, what, "a port for each");
        }
        let netns = self.netns(table);
        let mut seen = Seen::default();
        let servers = each(roots, "server", |server| self.server(server, address, &mut seen));
        let servers = servers.map(|mut servers| {
            servers.sort_by_key(|server| server.id);
            servers
        });
        let own = address.map(|address| self.own(table, address, servers.as_deref()));
        self.names(roots, "trafficset");
        self.names(roots, "shield_rule");
        let known: Vec<ServerId> = seen.ids.keys().filter_map(|id| server_id(*id)).collect();
        let trafficsets = each(roots, "trafficset", |set| self.trafficset(set, &known));
        let shield_rules = each(roots, "shield_rule", |rule| self.shield_rule(rule));
        let ports = [port, fou_port].map(|port| u16::try_from(port).unwrap_or(0));
        self.compare_trafficsets(roots, table, servers.as_deref().unwrap_or(&[]), ports);
        self.warn_of_no_trafficset(table, roots);
        let config = PacketConfig {
            name: table.text("name")?.into(),
            interfaces: interfaces?,
            self_id: own??,
            address: address?,
            port: u16::try_from(port).ok()?,
            fou_port: u16::try_from(fou_port).ok()?,
            hash_key: hash_key?,
            mtu: u16::try_from(table.int("mtu")).ok()?,
            mode: match table.text("mode") {
                Some("generic-unsafe") => AttachMode::GenericUnsafe,
                _ => AttachMode::Native,
            },
            netns: netns?,
            reverse_path: match table.text("reverse_path") {
                Some("strict") => ReversePath::Strict,
                _ => ReversePath::Off,
            },
            too_big_rate: table.int32("too_big_rate"),
            capacities: Capacities {
                trie_entries: table.int32("trie_entries_max"),
                port_rows: table.int32("port_rows_max"),
                buckets: table.int32("buckets_max"),
            },
            servers: servers?,
            trafficsets: trafficsets?,
            shield_rules: shield_rules?,
        };
        self.compare_capacity(table, &config);
        Some(Some(config))
    }

    /// Whether the fleet's part of the packet path is not published yet.
    fn waits_for_the_fleet(&mut self, table: &Table, roots: &[Root]) -> bool {
        let keyed = table.given("hash_key") || table.given("hash_key_file");
        let listed = roots.iter().any(|root| !root.table.tables("server").is_empty());
        if !(keyed && listed) {
            let what = "the fleet's hash key and servers are not published yet: no packet path";
            self.report.warn(table.at, &table.path, what, "publish them, or write them here");
        }
        !(keyed && listed)
    }

    /// Objects of the packet path have no effect without `[packet]`.
    fn tell_strays(&mut self, roots: &[Root]) {
        if self.report.incomplete() || roots.iter().any(|root| root.table.given("packet")) {
            return;
        }
        for kind in ["server", "trafficset", "shield_rule"] {
            let first = roots.iter().find_map(|root| root.table.tables(kind).first());
            if let Some(first) = first {
                let what = format!("a [[{kind}]] has no effect without [packet]");
                self.report.fault(first.at, &first.path, what, "add [packet], or remove it");
            }
        }
    }

    fn warn_of_no_trafficset(&mut self, table: &Table, roots: &[Root]) {
        if roots.iter().all(|root| root.table.tables("trafficset").is_empty()) {
            let what = "there is no [[trafficset]]: no packet is sent to another server";
            self.report.warn(table.at, &table.path, what, "add one");
        }
    }

    fn interfaces(&mut self, table: &Table) -> Option<Vec<InterfaceName>> {
        let interfaces: Vec<InterfaceName> = parsed(table.list("interfaces"));
        for (index, interface) in interfaces.iter().enumerate() {
            if interfaces.iter().take(index).any(|other| other == interface) {
                let what = format!("{} is there twice", quote(interface.as_str()));
                self.fault(table, "interfaces", what, "each interface once");
                return None;
            }
        }
        (!interfaces.is_empty()).then_some(interfaces)
    }

    fn hash_key(&mut self, table: &Table) -> Option<HashKey> {
        match (table.given("hash_key"), table.given("hash_key_file")) {
            (true, true) => {
                let what = "`hash_key` and `hash_key_file` exclude each other";
                self.fault(table, "hash_key", what, "one of the two");
                None
            }
            (true, false) => table.text("hash_key")?.parse().ok(),
            (false, true) => {
                let (at, path) = (table.at_of("hash_key_file"), table.path_of("hash_key_file"));
                let (file, bytes) = self.read_file(at, &path, table.text("hash_key_file")?)?;
                let text = std::str::from_utf8(&bytes).map(str::trim_end).unwrap_or("");
                let key = text.parse();
                if let Err(error) = &key {
                    let what = format!("{} holds no key: {error}", file.display());
                    let valid = "32 hexadecimal digits: openssl rand -hex 16 > FILE";
                    self.report.fault(at, &path, what, valid);
                }
                key.ok()
            }
            (false, false) => {
                if !self.report.source_broken(table.at.source) {
                    let what = "it says nothing about the key of the flow hash";
                    let valid = "hash_key_file = \"packet.key\", made by openssl rand -hex 16";
                    self.report.fault(table.at, &table.path, what, valid);
                }
                None
            }
        }
    }

    /// The namespace, which may not exist yet.
    fn netns(&mut self, table: &Table) -> Option<Option<PathBuf>> {
        if !table.given("netns") {
            return Some(None);
        }
        let path = PathBuf::from(table.text("netns")?);
        if !path.is_absolute() {
            let what = format!("{} is not an absolute path", quote(&path.display().to_string()));
            self.fault(table, "netns", what, "a path such as /run/netns/app or /proc/1/ns/net");
            return None;
        }
        Some(Some(path))
    }

    /// An address that one machine may have, in its shortest family.
    fn unicast(&mut self, table: &Table, key: &str) -> Option<IpAddr> {
        let address: IpAddr = table.text(key)?.parse().ok()?;
        let mapped = address.to_canonical() != address;
        let wrong = match address {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
        };
        let (what, valid) = if mapped {
            ("is an IPv4 address in IPv6's clothes", format!("{}", address.to_canonical()))
        } else if wrong || address.is_unspecified() || address.is_loopback() {
            let valid = "an address that other servers reach, such as 192.0.2.1".to_owned();
            ("is not the address of one server", valid)
        } else {
            return Some(address);
        };
        self.fault(table, key, format!("{} {what}", quote(&address.to_string())), valid);
        None
    }

    fn server(&mut self, table: &Table, own: Option<IpAddr>, seen: &mut Seen) -> Option<Server> {
        let id = table.int("id");
        if table.given("id") && !table.refused("id") {
            let at = table.at_of("id");
            if let Some(first) = seen.ids.get(&id) {
                let first = self.report.point(*first);
                let what = format!("the id `{id}` stands at {first} already");
                self.fault(table, "id", what, "an id of its own");
            } else {
                seen.ids.insert(id, at);
            }
        }
        let address = self.unicast(table, "address");
        if let Some(address) = address {
            self.compare_server(table, address, own, seen);
        }
        Some(Server {
            id: server_id(id)?,
            address: address?,
            capacity: table.int32("capacity"),
            state: match table.text("state")? {
                "draining" => ServerState::Draining,
                "dead" => ServerState::Dead,
                _ => ServerState::Active,
            },
            link_address: table.text("link_address").and_then(|text| text.parse().ok()),
        })
    }

    fn compare_server(
        &mut self,
        table: &Table,
        address: IpAddr,
        own: Option<IpAddr>,
        seen: &mut Seen,
    ) {
        let shown = quote(&address.to_string());
        let at = table.at_of("address");
        if let Some(first) = seen.addresses.insert(address, at) {
            let first = self.report.point(first);
            let what = format!("the address {shown} stands at {first} already");
            self.fault(table, "address", what, "an address of its own");
        }
        if let Some(own) = own.filter(|own| own.is_ipv4() != address.is_ipv4()) {
            let family = if own.is_ipv4() { "IPv4" } else { "IPv6" };
            let what = format!("{shown} is of another family than packet.address");
            self.fault(table, "address", what, format!("an {family} address"));
        }
    }

    /// Which server this one is. `servers` is none where one of them could not be read.
    fn own(
        &mut self,
        table: &Table,
        address: IpAddr,
        servers: Option<&[Server]>,
    ) -> Option<ServerId> {
        let servers = servers?;
        let own = servers.iter().find(|server| server.address == address);
        if own.is_none() && !self.report.incomplete() {
            let what = format!("no [[server]] has the address {}", quote(&address.to_string()));
            let shown = servers.iter().take(NAMED_MAX).map(|server| server.address.to_string());
            let mut shown: Vec<String> = shown.collect();
            if servers.len() > NAMED_MAX {
                shown.push("…".to_owned());
            }
            let valid = match shown.is_empty() {
                true => "a [[server]] for each server of the fleet, this one included".to_owned(),
                false => shown.join(", "),
            };
            self.fault(table, "address", what, valid);
        }
        own.map(|server| server.id)
    }

    fn compare_capacity(&mut self, table: &Table, config: &PacketConfig) {
        // Trafficsets with the same servers and as many buckets share a table.
        let maglev = |strategy| matches!(strategy, Strategy::Maglev { .. });
        let of =
            |set: &Trafficset| (set.servers.clone(), maglev(set.strategy), set.strategy.length());
        let tables: BTreeSet<_> = config.trafficsets.iter().map(of).collect();
        let needed: u64 = tables.iter().map(|(.., length)| u64::from(*length)).sum();
        if needed > u64::from(config.capacities.buckets) {
            let what = format!(
                "`{}`: the tables of all trafficsets have {needed} buckets",
                config.capacities.buckets
            );
            let valid = format!("buckets_max = {}", needed.next_power_of_two());
            self.fault(table, "buckets_max", what, valid);
        }
    }

    /// The networks of a list: without host bits, none of them twice.
    fn networks(&mut self, table: &Table, key: &str) -> Vec<IpNet> {
        let mut networks = BTreeMap::new();
        for (index, item) in table.list(key).iter().enumerate() {
            let Some(text) = item.text() else { continue };
            let Ok(network) = text.parse::<IpNet>() else { continue };
            let path = format!("{}[{index}]", table.path_of(key));
            let written = text.split('/').next().and_then(|text| text.parse::<IpAddr>().ok());
            if let Some(v4) = as_v4(network) {
                let what = format!("{} is IPv4 in IPv6's clothes", quote(text));
                self.report.fault(item.at, &path, what, v4.to_string());
            } else if let Some(written) = written.filter(|w| *w != network.address()) {
                let what = format!("{} has bits behind its prefix", quote(text));
                let width = if written.is_ipv4() { 32 } else { 128 };
                let valid = format!("{network}, or {written}/{width}");
                self.report.fault(item.at, &path, what, valid);
            } else if let Some(first) = networks.insert(network, item.at) {
                let what = format!("{network} stands at {} already", self.report.point(first));
                self.report.fault(item.at, &path, what, "each network once");
            }
        }
        networks.into_keys().collect()
    }

    /// Ranges of ports, ascending and joined where they meet.
    fn ports(&mut self, table: &Table, key: &str) -> Vec<PortRange> {
        let items = table.list(key).iter().enumerate();
        let range = |(index, item): (usize, &Item)| {
            Some((item.text()?.parse::<PortRange>().ok()?, index, item.at))
        };
        let mut ranges: Vec<(PortRange, usize, At)> = items.filter_map(range).collect();
        ranges.sort_unstable_by_key(|(range, index, _)| (*range, *index));
        let mut joined: Vec<PortRange> = Vec::new();
        for (range, index, at) in ranges {
            let before = joined.last().copied();
            if let Some(before) = before.filter(|before| before.overlaps(&range)) {
                let what = format!("`{range}` and `{before}` have ports in common");
                let path = format!("{}[{index}]", table.path_of(key));
                self.report.fault(at, &path, what, "each port once");
            }
            let meets = before.filter(|b| u32::from(b.last()) + 1 >= u32::from(range.first()));
            let whole = meets.and_then(|b| PortRange::new(b.first(), b.last().max(range.last())));
            match (whole, joined.last_mut()) {
                (Some(whole), Some(last)) => *last = whole,
                _ => joined.push(range),
            }
        }
        joined
    }

    /// A key that is given although something makes it have no effect.
    fn without_effect(&mut self, table: &Table, key: &str, why: &str, valid: &str) {
        if table.given(key) {
            self.fault(table, key, format!("`{key}` has no effect {why}"), valid);
        }
    }
}

fn server_id(id: u64) -> Option<ServerId> {
    u16::try_from(id).ok().and_then(ServerId::new)
}

/// The IPv4 network that a network of IPv4-mapped addresses stands for.
fn as_v4(network: IpNet) -> Option<IpNet> {
    let v4 = network.address().to_canonical();
    let mapped = v4 != network.address();
    IpNet::new(v4, network.bits().checked_sub(96)?).filter(|_| mapped)
}
