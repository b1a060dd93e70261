//! `[[trafficset]]`, and what trafficsets must not have in common with each other and with servers.

use super::super::super::Root;
use super::super::super::report::At;
use super::super::super::table::Table;
use super::super::super::text::quote;
use super::super::{Builder, name_of};
use super::{NAMED_MAX, server_id};
use core_model::IpNet;
use core_model::config::packet::{
    Dissector, Encapsulation, Fragments, PortRange, Protocols, QuicRouting, Server, ServerId,
    SessionId, Strategy, SynCookies, Trafficset, UdpMode,
};
use core_model::defaults;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

/// Buckets that a table has for each server at least: shares then differ by a hundredth.
const BUCKETS_PER_SERVER: u32 = 100;
/// Server ids that one octet holds.
const ONE_OCTET_ID_MAX: u16 = 255;

/// Who has which ports of a network, by UDP or not: last port of a range, and the trafficset.
type Owners<'t> = BTreeMap<(IpNet, bool), BTreeMap<u16, (u16, &'t str, At)>>;

impl Builder<'_> {
    /// `known` are the ids of all servers, ascending.
    pub(super) fn trafficset(&mut self, table: &Table, known: &[ServerId]) -> Option<Trafficset> {
        let prefixes = self.networks(table, "prefixes");
        if let Some(all) = prefixes.iter().find(|net| holds_v4(net)) {
            let what = format!("{all} holds every IPv4 address too, as the kernel's tables see it");
            self.fault(table, "prefixes", what, "2000::/3, the global addresses, or a longer one");
        }
        let protocols = self.protocols_of(table);
        let ports = self.ports(table, "ports");
        let servers = self.servers_of(table, known);
        let strategy = self.strategy(table, servers.as_deref());
        let dissector = self.dissector(table, servers.as_deref());
        self.compare_keys(table, protocols);
        Some(Trafficset {
            name: name_of(table)?,
            prefixes,
            protocols,
            ports,
            dissector: dissector?,
            strategy: strategy?,
            udp: match table.text("udp")? {
                "datagram" => UdpMode::Datagram,
                _ => UdpMode::Flow,
            },
            fragments: match table.text("fragments")? {
                "by-address" => Fragments::ByAddress,
                _ => Fragments::Drop,
            },
            servers: servers?,
            syn_cookies: match table.text("syn_cookies")? {
                "on" => SynCookies::On,
                "auto" => SynCookies::Auto,
                _ => SynCookies::Off,
            },
        })
    }

    fn protocols_of(&mut self, table: &Table) -> Protocols {
        let words = table.words("protocols");
        if words.len() > 2 || (words.len() == 2 && words.first() == words.last()) {
            self.fault(table, "protocols", "a protocol is there twice", "each protocol once");
        }
        match (words.contains(&"tcp"), words.contains(&"udp")) {
            (true, false) => Protocols::Tcp,
            (false, true) => Protocols::Udp,
            _ => Protocols::TcpAndUdp,
        }
    }

    /// Keys that do not go with the protocols or ports.
    fn compare_keys(&mut self, table: &Table, protocols: Protocols) {
        if table.refused("protocols") {
            return;
        }
        if !protocols.udp() {
            let valid = "protocols with \"udp\"";
            self.without_effect(table, "udp", "without UDP", valid);
            self.without_effect(table, "dissector", "without UDP", valid);
        }
        if !protocols.tcp() {
            self.without_effect(table, "syn_cookies", "without TCP", "protocols with \"tcp\"");
        }
        if table.text("fragments") == Some("by-address") && !table.list("ports").is_empty() {
            let what = "fragments have no ports by which this trafficset could be found";
            self.fault(table, "fragments", what, "\"drop\", or no `ports`");
        }
    }

    fn servers_of(&mut self, table: &Table, known: &[ServerId]) -> Option<Vec<ServerId>> {
        if table.refused("servers") {
            return None;
        }
        let mut servers: BTreeMap<ServerId, At> = BTreeMap::new();
        let mut right = true;
        for (index, at, number) in table.numbers("servers") {
            let path = format!("{}[{index}]", table.path_of("servers"));
            let Some(id) = server_id(number) else { continue };
            if known.binary_search(&id).is_err() {
                right = false;
                if !self.report.incomplete() {
                    let what = format!("there is no [[server]] with the id `{id}`");
                    self.report.fault(at, &path, what, some_of(known));
                }
            } else if servers.insert(id, at).is_some() {
                let what = format!("the server `{id}` stands in the list twice");
                self.report.fault(at, &path, what, "each server once");
            }
        }
        let servers = match table.list("servers").is_empty() {
            true => known.to_vec(),
            false => servers.into_keys().collect(),
        };
        // Where there are no servers at all, that of packet.address is told.
        (right && !servers.is_empty()).then_some(servers)
    }

    fn strategy(&mut self, table: &Table, servers: Option<&[ServerId]>) -> Option<Strategy> {
        let maglev = table.text("strategy")? == "maglev";
        let encapsulation = match table.text("encapsulation")? {
            "fou" => Encapsulation::Fou,
            "ipip" => Encapsulation::IpIp,
            _ => Encapsulation::Gue,
        };
        if !maglev && encapsulation != Encapsulation::Gue {
            let word = quote(table.text("encapsulation").unwrap_or(""));
            let what = format!("{word} has no room for the second hop of strategy = \"two-slot\"");
            let valid = "\"gue\"; or strategy = \"maglev\", which has no second hop";
            self.fault(table, "encapsulation", what, valid);
        }
        if table.refused("buckets") {
            return None;
        }
        let usual = if maglev { defaults::MAGLEV_ENTRIES } else { defaults::TWO_SLOT_BUCKETS };
        let length = if table.given("buckets") { table.int32("buckets") } else { usual };
        let count = u32::try_from(servers.map_or(0, <[_]>::len)).unwrap_or(u32::MAX);
        let least = count.saturating_mul(BUCKETS_PER_SERVER);
        let (form, valid) = match maglev {
            true => (is_prime(length), next_prime(length.max(least).max(usual))),
            false => (length.is_power_of_two(), length.max(least).next_power_of_two()),
        };
        let valid = format!("buckets = {valid}");
        if !form {
            let what = match maglev {
                true => format!("`{length}` is no prime, as strategy = \"maglev\" needs"),
                false => format!("`{length}` is no power of two"),
            };
            self.fault(table, "buckets", what, valid);
        } else if maglev && length < usual {
            let what = format!("`{length}` is below {usual}, the least of strategy = \"maglev\"");
            self.fault(table, "buckets", what, valid);
        } else if length < least {
            let what = format!(
                "`{length}` buckets are too few for {count} servers: each needs \
                 {BUCKETS_PER_SERVER}"
            );
            self.fault(table, "buckets", what, valid);
        }
        Some(match maglev {
            true => Strategy::Maglev { entries: length, encapsulation },
            false => Strategy::TwoSlot { buckets: length },
        })
    }

    fn dissector(&mut self, table: &Table, servers: Option<&[ServerId]>) -> Option<Dissector> {
        let word = table.text("dissector")?;
        if word != "quic" {
            let why = format!("with dissector = \"{word}\"");
            self.without_effect(table, "quic", &why, "dissector = \"quic\", or remove it");
        }
        if word != "session-id" {
            let why = format!("with dissector = \"{word}\"");
            self.without_effect(table, "session", &why, "dissector = \"session-id\", or remove it");
        }
        let octet = |table: &Table, key| u8::try_from(table.int(key)).ok();
        match word {
            "quic" => {
                let quic = table.table("quic")?;
                let routing = QuicRouting {
                    config_id: octet(quic, "config_id")?,
                    server_id_length: octet(quic, "server_id_length")?,
                    nonce_length: octet(quic, "nonce_length")?,
                };
                self.quic_fits(quic, routing, servers?);
                Some(Dissector::Quic(routing))
            }
            "session-id" => {
                let session = table.table("session")?;
                let (offset, length) = (octet(session, "offset")?, octet(session, "length")?);
                Some(Dissector::SessionId(SessionId { offset, length }))
            }
            _ => Some(Dissector::FourTuple),
        }
    }

    fn quic_fits(&mut self, quic: &Table, routing: QuicRouting, servers: &[ServerId]) {
        if routing.id_length() > 20 {
            let what = format!("the connection id has {} octets", routing.id_length());
            let valid = format!("at most {}", 19 - routing.server_id_length);
            self.fault(quic, "nonce_length", what, valid);
        }
        let highest = servers.last().filter(|id| id.get() > ONE_OCTET_ID_MAX);
        if let Some(highest) = highest.filter(|_| routing.server_id_length == 1) {
            let what = format!("one octet does not hold the server id `{highest}`");
            self.fault(quic, "server_id_length", what, "2 or more");
        }
    }

    /// No port of a prefix is in two trafficsets, and no packet between servers is taken for one
    /// to a VIP. `ports` are those of GUE and FOU.
    pub(super) fn compare_trafficsets(
        &mut self,
        roots: &[Root],
        packet: &Table,
        servers: &[Server],
        ports: [u16; 2],
    ) {
        let mut owners = Owners::new();
        for table in roots.iter().flat_map(|root| root.table.tables("trafficset")) {
            self.claim(table, &mut owners);
            let states = |id: u64| servers.iter().find(|server| u64::from(server.id.get()) == id);
            let listed: Vec<&Server> = match table.list("servers").is_empty() {
                true => servers.iter().collect(),
                false => table.numbers("servers").filter_map(|(_, _, id)| states(id)).collect(),
            };
            let active = core_model::config::packet::ServerState::Active;
            if !listed.is_empty() && listed.iter().all(|server| server.state != active) {
                let what = "no server of it is active: new connections are given to nobody";
                self.warn(table, "servers", what, "an active server");
            }
        }
        for server in servers {
            let width = if server.address.is_ipv4() { 32 } else { 128 };
            let around = (0..=width).rev().filter_map(|bits| IpNet::new(server.address, bits));
            let owner = around.filter_map(|net| owners.get(&(net, true))).find_map(|ranges| {
                let owns = |port: &u16| {
                    ranges.range(..=*port).next_back().filter(|(_, (last, ..))| *last >= *port)
                };
                ports.iter().find_map(|port| Some((*port, owns(port)?.1)))
            });
            if let Some((port, (_, name, at))) = owner {
                let what = format!(
                    "UDP port {port} of server `{}` ({}) is a VIP of trafficset {} ({})",
                    server.id,
                    server.address,
                    quote(name),
                    self.report.point(*at)
                );
                let valid = "addresses of servers outside of all VIPs, or `ports` without this one";
                self.report.fault(packet.at, &packet.path, what, valid);
            }
        }
    }

    /// Takes the ports of a trafficset's prefixes; tells of one prefix the first port that another
    /// trafficset has.
    fn claim<'t>(&mut self, table: &'t Table, owners: &mut Owners<'t>) {
        let name = table.text("name").unwrap_or("?");
        let words = table.words("protocols");
        let all = PortRange::new(0, u16::MAX);
        let mut ports: Vec<PortRange> = super::parsed(table.list("ports"));
        if table.list("ports").is_empty() && !table.refused("ports") {
            ports.extend(all);
        }
        for (index, item) in table.list("prefixes").iter().enumerate() {
            let Some(net) = item.text().and_then(|text| text.parse::<IpNet>().ok()) else {
                continue;
            };
            let mut told = false;
            for udp in [false, true] {
                let word = if udp { "udp" } else { "tcp" };
                if !words.contains(&word) {
                    continue;
                }
                let taken = owners.entry((net, udp)).or_default();
                for range in &ports {
                    let before = taken.range(..=range.last()).next_back();
                    let other = before.filter(|(_, (last, ..))| *last >= range.first());
                    let Some((first, (last, other, at))) = other else {
                        taken.insert(range.first(), (range.last(), name, item.at));
                        continue;
                    };
                    // What stands twice in one trafficset is told there.
                    if told || *other == name {
                        continue;
                    }
                    told = true;
                    let both = PortRange::new(*first.max(&range.first()), *last.min(&range.last()));
                    let both = both.map_or_else(String::new, |both| both.to_string());
                    let both = if both == "0-65535" { "every port".to_owned() } else { both };
                    let what = format!(
                        "trafficset {} and trafficset {} ({}) both have {word} {both} of {net}",
                        quote(name),
                        quote(other),
                        self.report.point(*at)
                    );
                    let path = format!("{}[{index}]", table.path_of("prefixes"));
                    let valid = "each prefix, protocol and port in one trafficset";
                    self.report.fault(item.at, &path, what, valid);
                }
            }
        }
    }
}

/// Whether the IPv4-mapped addresses, ::ffff:0:0/96, lie in an IPv6 network that is not theirs.
fn holds_v4(net: &IpNet) -> bool {
    net.address() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && net.bits() <= 80
}

fn some_of(known: &[ServerId]) -> String {
    let shown: Vec<String> = known.iter().take(NAMED_MAX).map(ServerId::to_string).collect();
    let more = if known.len() > NAMED_MAX { ", …" } else { "" };
    match shown.is_empty() {
        true => "add a [[server]]".to_owned(),
        false => format!("{}{more}", shown.join(", ")),
    }
}

fn is_prime(number: u32) -> bool {
    number >= 2 && (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d))
}

fn next_prime(from: u32) -> u32 {
    (from..).find(|number| is_prime(*number)).unwrap_or(from)
}
