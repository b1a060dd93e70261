//! `[[shield_rule]]`.

use super::super::super::table::Table;
use super::super::super::text::{parse_ip_protocol, quote, show_time};
use super::super::{Builder, name_of};
use core_model::config::packet::{
    IpOptions, PayloadMatch, Per, Ports, RateLimit, ShieldAction, ShieldMatch, ShieldRule,
    TcpFlags, Transport, parse_hex,
};
use std::num::{NonZeroU32, NonZeroU64};

/// Protocol numbers (IANA).
const TCP: u8 = 6;
/// As above.
const UDP: u8 = 17;
/// As above.
const SCTP: u8 = 132;
/// Networks or ranges in one list of a rule: what one program of the shield has room for.
const RULE_LIST_MAX: usize = 1_024;
/// Keys that only `action = "limit"` has.
const LIMIT_KEYS: [&str; 4] = ["packets_per_second", "bytes_per_second", "burst", "per"];

impl Builder<'_> {
    pub(super) fn shield_rule(&mut self, table: &Table) -> Option<ShieldRule> {
        let matches = self.shield_match(table);
        let action = self.shield_action(table);
        Some(ShieldRule {
            name: name_of(table)?,
            matches: matches?,
            action: action?,
            dry_run: table.bool("dry_run"),
            sample: NonZeroU32::new(if table.given("sample") { table.int32("sample") } else { 0 }),
        })
    }

    fn shield_match(&mut self, table: &Table) -> Option<ShieldMatch> {
        for key in ["source", "destination", "source_ports", "destination_ports"] {
            let count = table.list(key).len();
            if count > RULE_LIST_MAX {
                let what = format!("found {count} entries");
                let valid = format!("at most {RULE_LIST_MAX}, and further ones in another rule");
                self.fault(table, key, what, valid);
            }
        }
        let source = self.networks(table, "source");
        let destination = self.networks(table, "destination");
        let meets = source.iter().any(|from| {
            destination.iter().any(|to| from.address().is_ipv4() == to.address().is_ipv4())
        });
        if !source.is_empty() && !destination.is_empty() && !meets {
            let what = "no packet has these: sources and destinations are of different families";
            self.fault(table, "destination", what, "networks of one family on both sides");
        }
        let transport = self.transport(table);
        let payload = match table.table("payload") {
            Some(payload) => Some(self.payload(payload)?),
            None => None,
        };
        let word = |key| table.given(key).then(|| table.bool(key));
        Some(ShieldMatch {
            source,
            destination,
            transport: transport?,
            length: table.text("length").and_then(|text| text.parse().ok()),
            ttl: table.text("ttl").and_then(|text| text.parse().ok()),
            payload,
            ip_options: word("ip_options").map(|present| match present {
                true => IpOptions::Present,
                false => IpOptions::Absent,
            }),
            fragment: word("fragment"),
        })
    }

    fn transport(&mut self, table: &Table) -> Option<Transport> {
        let source = self.ports(table, "source_ports");
        let destination = self.ports(table, "destination_ports");
        let ports = Ports { source, destination };
        let flags = table.table("tcp_flags").map(|flags| self.tcp_flags(table, flags));
        let protocol = match table.given("protocol") {
            true => Some(parse_ip_protocol(table.text("protocol")?)?),
            false => None,
        };
        if protocol.is_some_and(|protocol| ![TCP, UDP, SCTP].contains(&protocol)) {
            let valid = "protocol = \"tcp\", \"udp\" or \"sctp\"";
            for key in ["source_ports", "destination_ports"] {
                self.without_effect(table, key, "with a protocol that has no ports", valid);
            }
        }
        if protocol != Some(TCP) {
            let why = "without protocol = \"tcp\"";
            self.without_effect(table, "tcp_flags", why, "protocol = \"tcp\"");
        }
        Some(match protocol {
            Some(TCP) => {
                let flags = match flags {
                    Some(flags) => Some(flags?),
                    None => None,
                };
                Transport::Tcp(ports, flags)
            }
            Some(UDP) => Transport::Udp(ports),
            Some(SCTP) => Transport::Sctp(ports),
            Some(other) => Transport::Portless(other),
            None if ports == Ports::default() => Transport::Any,
            None => Transport::Ported(ports),
        })
    }

    fn tcp_flags(&mut self, rule: &Table, table: &Table) -> Option<TcpFlags> {
        let bits = |key| {
            let words = table.words(key);
            let named = TcpFlags::NAMES.iter().enumerate();
            let set = named.filter(|(_, name)| words.contains(name)).map(|(bit, _)| 1_u8 << bit);
            set.fold(0, |all, bit| all | bit)
        };
        let flags = TcpFlags::new(bits("set"), bits("clear"));
        // A list that is given has words, unless they were refused.
        let refused = |key| table.given(key) && table.list(key).is_empty();
        if flags.is_none() && !refused("set") && !refused("clear") {
            let what = "it names no flag, or one both in `set` and in `clear`";
            self.fault(rule, "tcp_flags", what, "such as set = [\"syn\"]");
        }
        flags
    }

    fn payload(&mut self, table: &Table) -> Option<PayloadMatch> {
        let octets = parse_hex(table.text("bytes")?)?;
        let mask = match table.given("mask") {
            true => parse_hex(table.text("mask")?)?,
            false => vec![0xff; octets.len()],
        };
        let offset = u16::try_from(table.int("offset")).ok()?;
        let matched = PayloadMatch::new(offset, &octets, &mask);
        if matched.is_none() {
            let most = PayloadMatch::OCTETS_MAX;
            let (key, what, valid) = if octets.len() > most {
                let what = format!("{} octets", octets.len());
                ("bytes", what, format!("at most {most}"))
            } else if octets.len() != mask.len() {
                let what = format!("{} octets beside {} in `bytes`", mask.len(), octets.len());
                ("mask", what, "as many octets as `bytes`".to_owned())
            } else if mask.iter().all(|mask| *mask == 0) {
                ("mask", "it has no bit that is compared".to_owned(), "a bit at least".to_owned())
            } else {
                let what = "`bytes` has bits that `mask` has not".to_owned();
                ("bytes", what, "0 where the mask is 0".to_owned())
            };
            self.fault(table, key, what, valid);
        }
        matched
    }

    fn shield_action(&mut self, table: &Table) -> Option<ShieldAction> {
        let word = table.text("action")?;
        if word != "limit" {
            for key in LIMIT_KEYS {
                let why = format!("with action = {}", quote(word).replace('`', "\""));
                self.without_effect(table, key, &why, "action = \"limit\", or remove it");
            }
        }
        match word {
            "drop" => Some(ShieldAction::Drop),
            "pass" => Some(ShieldAction::Pass),
            _ => self.rate_limit(table).map(ShieldAction::Limit),
        }
    }

    fn rate_limit(&mut self, table: &Table) -> Option<RateLimit> {
        let rate = |key| NonZeroU64::new(if table.given(key) { table.int(key) } else { 0 });
        let limit = RateLimit {
            packets_per_second: rate("packets_per_second"),
            bytes_per_second: rate("bytes_per_second"),
            burst: table.time("burst"),
            per: match table.text("per")? {
                "source" => Per::Source,
                "destination" => Per::Destination,
                _ => Per::Rule,
            },
        };
        if !table.given("packets_per_second") && !table.given("bytes_per_second") {
            let what = "`limit` without a rate";
            let valid = "packets_per_second or bytes_per_second";
            self.fault(table, "action", what, valid);
            return None;
        }
        let saved = limit.saved_packets().max(limit.saved_octets()).unwrap_or(0);
        if saved > RateLimit::SAVED_MAX {
            let shown = show_time(limit.burst);
            let what = format!("`{shown}` of this rate is more than {}", RateLimit::SAVED_MAX);
            self.fault(table, "burst", what, "a shorter burst");
        }
        Some(limit)
    }
}
