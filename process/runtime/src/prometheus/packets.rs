//! The packet path. Where there is none, its families stand there without series.

use super::Encoder;
use crate::packets::{Amount, PacketStatus};

pub(super) fn encode(out: &mut Encoder, read: Option<Result<PacketStatus, String>>) {
    let up = match &read {
        None => None,
        Some(Ok(_)) => Some(1.0),
        Some(Err(_)) => Some(0.0),
    };
    out.family("weir_packet_up", "gauge", "1 while the packet path's numbers can be read.");
    if let Some(up) = up {
        out.sample("weir_packet_up", &[], up);
    }
    let status = read.and_then(Result::ok);
    tables(out, status.as_ref());
    let (name, bytes) = ("weir_packet_packets_total", "weir_packet_bytes_total");
    let reasons: Vec<_> = status.iter().flat_map(|status| &status.reasons).collect();
    out.family(name, "counter", "Packets by what became of them, and why.");
    for one in &reasons {
        let labels = [("reason", one.reason.as_str()), ("verdict", one.verdict.as_str())];
        out.sample(name, &labels, one.amount.packets as f64);
    }
    out.family(bytes, "counter", "Bytes of frames by what became of them, and why.");
    for one in &reasons {
        let labels = [("reason", one.reason.as_str()), ("verdict", one.verdict.as_str())];
        out.sample(bytes, &labels, one.amount.bytes as f64);
    }
    rules(out, status.as_ref());
}

fn tables(out: &mut Encoder, status: Option<&PacketStatus>) {
    let name = "weir_packet_generation";
    out.family(name, "gauge", "Generation of the forwarding tables in force.");
    if let Some(status) = status {
        out.sample(name, &[], status.generation as f64);
    }
    let name = "weir_packet_table_info";
    let help = "Hash of the forwarding tables in force, equal on servers with equal tables; the \
                value is 1.";
    out.family(name, "gauge", help);
    if let Some(status) = status {
        out.sample(name, &[("hash", &status.table_hash)], 1.0);
    }
    let name = "weir_packet_servers";
    out.family(name, "gauge", "Servers of the fleet by state.");
    if let Some(status) = status {
        for (state, count) in [
            ("active", status.servers_active),
            ("draining", status.servers_draining),
            ("dead", status.servers_dead),
        ] {
            out.sample(name, &[("state", state)], count as f64);
        }
    }
    let name = "weir_packet_server_state";
    out.family(name, "gauge", "The state of each server in the tables; the value is 1.");
    for one in status.iter().flat_map(|status| &status.servers) {
        out.sample(name, &[("server", &one.id.to_string()), ("state", &one.state)], 1.0);
    }
    let name = "weir_packet_interface_info";
    out.family(name, "gauge", "How programs are attached to an interface; the value is 1.");
    for one in status.iter().flat_map(|status| &status.interfaces) {
        out.sample(name, &[("interface", &one.name), ("mode", &one.mode)], 1.0);
    }
}

fn rules(out: &mut Encoder, status: Option<&PacketStatus>) {
    type Value = fn(Amount) -> u64;
    let families: [(&str, &str, Value); 2] = [
        (
            "weir_packet_rule_packets_total",
            "Packets that matched a rule of the shield, that it dropped, that exceeded its rate.",
            |amount| amount.packets,
        ),
        ("weir_packet_rule_bytes_total", "Bytes of frames of these.", |amount| amount.bytes),
    ];
    for (name, help, value) in families {
        out.family(name, "counter", help);
        for rule in status.iter().flat_map(|status| &status.rules) {
            for (result, amount) in rule.results() {
                let labels = [("rule", rule.rule.as_str()), ("result", result)];
                out.sample(name, &labels, value(amount) as f64);
            }
        }
    }
}
