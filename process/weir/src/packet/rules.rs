//! The shield of a packet path: rules of the configuration as its compiler takes them.

use core_model::IpNet;
use core_model::config::packet::{
    self as model, IpOptions, PacketConfig, PortRange, RateLimit, ReversePath, ShieldAction,
    ShieldMatch, ShieldRule,
};
use packet_loader::shield::{
    Action, Flags, Limit, Match, Options, Pattern, Per, Prefix, Range, Rate, Rule, Shield,
};
use process_runtime::operator_log;
use process_runtime::packets::{Amount, RuleCount};
use serde::{Deserialize, Serialize};

/// How the shield of a configuration is made.
pub(super) fn options(config: &PacketConfig) -> Options {
    Options { reverse_path: config.reverse_path == ReversePath::Strict, frags: false }
}

/// What a shield is made of, from the process that has it to `weir explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InForce {
    /// `name` of its [packet].
    pub(crate) name: String,
    /// Whether sources must be reached by the way they came.
    pub(crate) reverse_path: bool,
    /// Rules in the order in which they are tried.
    pub(crate) rules: Vec<Rule>,
}

/// What the shield of a configuration is made of.
pub(crate) fn in_force(config: &PacketConfig) -> InForce {
    InForce {
        name: config.name.to_string(),
        reverse_path: options(config).reverse_path,
        rules: config.shield_rules.iter().map(rule).collect(),
    }
}

/// Puts the rules of a configuration in force.
pub(super) fn install(shield: &mut Shield, config: &PacketConfig) -> anyhow::Result<()> {
    if config.shield_rules.is_empty() && config.reverse_path == ReversePath::Off {
        return Ok(shield.remove()?);
    }
    let rules = in_force(config).rules;
    let installed = shield.install(&rules)?;
    operator_log::info(
        "shield_rules",
        "rules of the shield are in force",
        &[
            ("rules", &rules.len()),
            ("programs", &installed.programs),
            ("instructions", &installed.instructions),
            ("tested_frames", &installed.tested_frames),
        ],
    );
    Ok(())
}

/// What the rules in force counted.
pub(super) fn counts(shield: &Shield) -> anyhow::Result<Vec<RuleCount>> {
    let amount = |packets, bytes| Amount { packets, bytes };
    let counts = shield.counters()?.into_iter().map(|(rule, count)| RuleCount {
        rule: rule.to_owned(),
        matched: amount(count.matched_packets, count.matched_octets),
        dropped: amount(count.dropped_packets, count.dropped_octets),
        limited: amount(count.limited_packets, count.limited_octets),
    });
    Ok(counts.collect())
}

fn rule(rule: &ShieldRule) -> Rule {
    Rule {
        name: rule.name.to_string(),
        matches: matches(&rule.matches),
        action: match rule.action {
            ShieldAction::Drop => Action::Drop,
            ShieldAction::Pass => Action::Pass,
            ShieldAction::Limit(limit) => Action::Limit(self::limit(&limit)),
        },
        dry_run: rule.dry_run,
        sample: rule.sample.map_or(0, std::num::NonZeroU32::get),
    }
}

fn matches(wanted: &ShieldMatch) -> Match {
    let prefixes = |nets: &[IpNet]| -> Vec<Prefix> {
        nets.iter().map(|net| Prefix { address: net.address(), bits: net.bits() }).collect()
    };
    let ports = |ranges: &[PortRange]| -> Vec<Range<u16>> {
        ranges.iter().map(|range| Range { first: range.first(), last: range.last() }).collect()
    };
    let transport = &wanted.transport;
    let (source_ports, destination_ports) = match transport.ports() {
        Some(of) => (ports(&of.source), ports(&of.destination)),
        None => (Vec::new(), Vec::new()),
    };
    Match {
        source: prefixes(&wanted.source),
        destination: prefixes(&wanted.destination),
        protocol: transport.protocol(),
        source_ports,
        destination_ports,
        tcp_flags: transport.flags().map(|flags| Flags { set: flags.set(), clear: flags.clear() }),
        length: wanted.length.map(|range| Range {
            first: u32::from(range.first()),
            // An IPv6 packet may be 40 octets longer than this field of the file can say.
            last: match range.last() {
                u16::MAX => u32::MAX,
                last => u32::from(last),
            },
        }),
        ttl: wanted.ttl.map(|range| Range { first: range.first(), last: range.last() }),
        payload: wanted.payload.as_ref().map(|payload| Pattern {
            offset: payload.offset(),
            octets: payload.octets().iter().map(|(octet, _)| *octet).collect(),
            mask: payload.octets().iter().map(|(_, mask)| *mask).collect(),
        }),
        ip_options: wanted.ip_options.map(|options| options == IpOptions::Present),
        fragment: wanted.fragment,
    }
}

fn limit(limit: &RateLimit) -> Limit {
    let rate = |rate: Option<std::num::NonZeroU64>, burst: Option<u64>| {
        rate.zip(burst).map(|(rate, burst)| Rate { per_second: rate.get(), burst })
    };
    Limit {
        packets: rate(limit.packets_per_second, limit.saved_packets()),
        octets: rate(limit.bytes_per_second, limit.saved_octets()),
        per: match limit.per {
            model::Per::Rule => Per::Rule,
            model::Per::Source => Per::Source,
            model::Per::Destination => Per::Destination,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet_loader::shield::rule::check as checked;
    use process_runtime::config_file::load_text;

    /// The rules of a file that is right otherwise.
    fn rules(text: &str) -> Vec<Rule> {
        let text = format!(
            "[packet]\ninterfaces = [\"eth0\"]\naddress = \"192.0.2.1\"\n\
             hash_key = \"000102030405060708090a0b0c0d0e0f\"\n\
             [[server]]\nid = 1\naddress = \"192.0.2.1\"\n{text}"
        );
        let loaded = load_text("t.toml", &text).unwrap_or_else(|faults| panic!("{faults:?}"));
        loaded.config.packet.unwrap().shield_rules.iter().map(rule).collect()
    }

    fn one(text: &str) -> Rule {
        let mut rules = rules(&format!("[[shield_rule]]\nname = \"x\"\n{text}"));
        assert_eq!(rules.len(), 1);
        rules.remove(0)
    }

    #[test]
    fn what_a_rule_says_arrives() {
        let net = |text: &str, bits| Prefix { address: text.parse().unwrap(), bits };
        let all = one("action = \"pass\"\nsource = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n\
                       destination = [\"203.0.113.7\"]\nprotocol = \"tcp\"\n\
                       source_ports = [\"53\", \"1-9\"]\ndestination_ports = [\"443\"]\n\
                       tcp_flags = { set = [\"syn\"], clear = [\"ack\"] }\nttl = \"1-9\"\n\
                       length = \"100\"\nip_options = false\nfragment = true\nsample = 7\n\
                       dry_run = true\npayload = { offset = 3, bytes = \"0a\", mask = \"0f\" }");
        let port = |first, last| Range { first, last };
        let expect = Match {
            source: vec![net("10.0.0.0", 8), net("2001:db8::", 32)],
            destination: vec![net("203.0.113.7", 32)],
            protocol: Some(6),
            source_ports: vec![port(1, 9), port(53, 53)],
            destination_ports: vec![port(443, 443)],
            tcp_flags: Some(Flags { set: 2, clear: 16 }),
            length: Some(Range { first: 100, last: 100 }),
            ttl: Some(Range { first: 1, last: 9 }),
            payload: Some(Pattern { offset: 3, octets: vec![10], mask: vec![15] }),
            ip_options: Some(false),
            fragment: Some(true),
        };
        assert_eq!(all.matches, expect);
        assert_eq!((all.action, all.dry_run, all.sample), (Action::Pass, true, 7));
    }

    #[test]
    fn what_a_rule_does_not_say_states_nothing() {
        let none = one("action = \"drop\"");
        assert_eq!((none.matches, none.action), (Match::default(), Action::Drop));
        assert_eq!(one("action = \"drop\"\nprotocol = \"gre\"").matches.protocol, Some(47));
        let any = one("action = \"drop\"\nsource_ports = [\"53\"]");
        assert_eq!(any.matches.protocol, None);
        let long = one("action = \"drop\"\nlength = \"1000-65535\"");
        assert_eq!(long.matches.length, Some(Range { first: 1_000, last: u32::MAX }));
    }

    #[test]
    fn limits_are_within_what_the_shield_takes() {
        for (text, packets, octets) in [
            ("packets_per_second = 1\nburst = \"1ms\"", Some((1, 1)), None),
            ("packets_per_second = 200", Some((200, 200)), None),
            (
                "packets_per_second = 100_000_000\nburst = \"40s\"",
                Some((100_000_000, 4_000_000_000)),
                None,
            ),
            ("bytes_per_second = 1_000", None, Some((1_000, 65_600))),
            ("bytes_per_second = \"1GiB\"", None, Some((1 << 30, 1 << 30))),
            (
                "bytes_per_second = 1_000_000_000_000\nburst = \"4ms\"",
                None,
                Some((1_000_000_000_000, 4_000_000_000)),
            ),
        ] {
            let rule = one(&format!("action = \"limit\"\nper = \"source\"\n{text}"));
            let rate = |rate: Option<(u64, u64)>| {
                rate.map(|(per_second, burst)| Rate { per_second, burst })
            };
            let expect = Limit { packets: rate(packets), octets: rate(octets), per: Per::Source };
            assert_eq!(rule.action, Action::Limit(expect), "{text}");
            assert_eq!(checked(&[rule]), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_the_configuration_allows_the_shield_takes() {
        let ports: Vec<String> = (0..1_024).map(|n| format!("\"{}\"", n * 2)).collect();
        let text = format!(
            "[[shield_rule]]\nname = \"ports\"\naction = \"drop\"\nsource_ports = [{}]\n\
             [[shield_rule]]\nname = \"payload\"\naction = \"drop\"\n\
             payload = {{ offset = 1023, bytes = \"{}\" }}\n",
            ports.join(","),
            "ab".repeat(16)
        );
        assert_eq!(checked(&rules(&text)), Ok(()));
    }
}
