//! The objects of the packet path as fields. The hash key is shown as a fingerprint.

use super::super::text::show_time;
use super::{Described, Fields, digest};
use core_model::IpNet;
use core_model::config::packet::{
    Dissector, PacketConfig, PortRange, Server, ServerId, ShieldAction, ShieldRule, TcpFlags,
    Trafficset,
};

/// `[packet]`, then servers, trafficsets and rules.
pub(super) fn objects(packet: &PacketConfig) -> impl Iterator<Item = Described> {
    std::iter::once(self::packet(packet))
        .chain(packet.servers.iter().map(server))
        .chain(packet.trafficsets.iter().map(trafficset))
        .chain(packet.shield_rules.iter().enumerate().map(|(index, rule)| shield(index, rule)))
}

fn packet(packet: &PacketConfig) -> Described {
    let mut fields = Fields(Vec::new());
    let key = digest([packet.hash_key.octets().as_slice()].into_iter());
    fields
        .add("name", &packet.name)
        .all("interfaces", &packet.interfaces)
        .add("address", packet.address)
        .add("server", packet.self_id)
        .add("hash_key", format!("(hidden, {key})"))
        .add("port", packet.port)
        .add("fou_port", packet.fou_port)
        .add("mtu", packet.mtu)
        .word("mode", packet.mode)
        .maybe("netns", packet.netns.as_ref().map(|path| path.display()))
        .word("reverse_path", packet.reverse_path)
        .add("too_big_rate", packet.too_big_rate)
        .add("trie_entries_max", packet.capacities.trie_entries)
        .add("port_rows_max", packet.capacities.port_rows)
        .add("buckets_max", packet.capacities.buckets);
    fields.named("packet".to_owned())
}

fn server(server: &Server) -> Described {
    let mut fields = Fields(Vec::new());
    fields
        .add("address", server.address)
        .add("capacity", server.capacity)
        .word("state", server.state)
        .maybe("link_address", server.link_address);
    fields.named(format!("server {}", server.id))
}

fn trafficset(set: &Trafficset) -> Described {
    let mut fields = Fields(Vec::new());
    let session = match set.dissector {
        Dissector::FourTuple => "4-tuple".to_owned(),
        Dissector::Quic(quic) => format!(
            "quic, config id {}, server id {} octets, nonce {} octets",
            quic.config_id, quic.server_id_length, quic.nonce_length
        ),
        Dissector::SessionId(id) => format!("session id, {} octets from {}", id.length, id.offset),
    };
    fields
        .all::<IpNet>("prefixes", &set.prefixes)
        .word("protocols", set.protocols)
        .all::<PortRange>("ports", &set.ports)
        .all::<ServerId>("servers", &set.servers)
        .word("strategy", set.strategy)
        .add("dissector", session)
        .word("udp", set.udp)
        .word("fragments", set.fragments)
        .word("syn_cookies", set.syn_cookies);
    fields.named(format!("trafficset {}", set.name))
}

fn shield(index: usize, rule: &ShieldRule) -> Described {
    let mut fields = Fields(Vec::new());
    let matches = &rule.matches;
    let payload = matches.payload.as_ref().map(|payload| {
        let octets = payload.octets().iter().map(|(octet, mask)| format!("{octet:02x}/{mask:02x}"));
        format!("{} at {}", octets.collect::<Vec<_>>().join(" "), payload.offset())
    });
    fields
        .add("position", index + 1)
        .all::<IpNet>("source", &matches.source)
        .all::<IpNet>("destination", &matches.destination)
        .word("transport", &matches.transport)
        .maybe("length", matches.length)
        .maybe("ttl", matches.ttl)
        .maybe("tcp_flags", matches.transport.flags().map(flags))
        .maybe("payload", payload)
        .maybe("ip_options", matches.ip_options.map(|options| format!("{options:?}")))
        .maybe("fragment", matches.fragment);
    let action = match rule.action {
        ShieldAction::Drop => "drop".to_owned(),
        ShieldAction::Pass => "pass".to_owned(),
        ShieldAction::Limit(limit) => {
            let rate = |rate: Option<std::num::NonZeroU64>, unit| {
                rate.map_or_else(String::new, |rate| format!(" {rate} {unit}/s"))
            };
            format!(
                "limit{}{} burst {} per {:?}",
                rate(limit.packets_per_second, "packets"),
                rate(limit.bytes_per_second, "bytes"),
                show_time(limit.burst),
                limit.per
            )
        }
    };
    fields.add("action", action).add("dry_run", rule.dry_run).maybe("sample", rule.sample);
    fields.named(format!("shield_rule {}", rule.name))
}

fn flags(flags: TcpFlags) -> String {
    let signs = TcpFlags::NAMES.iter().enumerate().filter_map(|(bit, name)| {
        let bit = 1_u8 << bit;
        if flags.set() & bit != 0 {
            return Some(format!("+{name}"));
        }
        (flags.clear() & bit != 0).then(|| format!("-{name}"))
    });
    signs.collect::<Vec<_>>().join(" ")
}
