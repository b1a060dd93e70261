//! What servers send to each other, counted on the router by what is in the outer header.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use packet_abi::gue::PORT;

use crate::namespace::Namespace;

/// The UDP port of packets without hops, where a file names no other.
const FOU_PORT: u16 = 19_524;

/// What is counted: the name of the count, and what iptables looks for. 4 and 41 are IPv4 and IPv6
/// in IP (RFC 2003, RFC 2473, RFC 4213).
fn kinds() -> [(&'static str, String); 4] {
    [
        ("wire_gue", format!("-p udp --dport {PORT}")),
        ("wire_fou", format!("-p udp --dport {FOU_PORT}")),
        ("wire_ipv4_in_ip", "-p 4".to_owned()),
        ("wire_ipv6_in_ip", "-p 41".to_owned()),
    ]
}

/// The rules are of one family, that of the outer packets.
const fn tool(outer_v6: bool) -> &'static str {
    if outer_v6 { "ip6tables" } else { "iptables" }
}

/// Has the router count.
///
/// # Errors
/// When the kernel has no iptables.
pub fn watch(router: &Namespace, outer_v6: bool) -> Result<()> {
    for (_, packets) in kinds() {
        // A rule without a target counts, and lets the next one look too.
        router.tool(&format!("{} -A FORWARD {packets}", tool(outer_v6)))?;
    }
    Ok(())
}

/// Packets so far, by name.
///
/// # Errors
/// When iptables tells them in another way than it does.
pub fn counted(router: &Namespace, outer_v6: bool) -> Result<BTreeMap<String, u64>> {
    let told = router.tool(&format!("{} -vS FORWARD", tool(outer_v6)))?;
    let counts: Vec<u64> = told.lines().filter_map(packets).collect();
    let names = kinds().map(|(name, _)| name.to_owned());
    (counts.len() == names.len())
        .then(|| names.into_iter().zip(counts).collect())
        .with_context(|| format!("iptables shows other rules than there are: {told}"))
}

/// The packets of a rule as iptables lists it: `-A FORWARD -p ipencap -c 12 3400`.
fn packets(line: &str) -> Option<u64> {
    let mut words = line.strip_prefix("-A ")?.split(' ').skip_while(|word| *word != "-c");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_tells_its_packets() {
        for (line, expect) in [
            ("-A FORWARD -p udp -m udp --dport 19524 -c 7 900", Some(7)),
            ("-A FORWARD -p ipencap -c 0 0", Some(0)),
            ("-P FORWARD ACCEPT -c 5 6", None),
            ("-A FORWARD -p ipencap", None),
        ] {
            assert_eq!(packets(line), expect, "{line}");
        }
    }
}
