//! Packet loss: a TC program on the router's links drops packets at random.
//!
//! The program is classic BPF that tc(8) takes as numbers: it compares a random word and matches,
//! and what matches is sent to a device that is down. So it needs no compiler and no other action
//! module.

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::tool;

/// The device that is down.
const SINK: &str = "sink";

/// Loss on links of the router; ends when told to, or with the run.
#[derive(Debug)]
pub struct Loss {
    router: Namespace,
    links: Vec<String>,
}

impl Loss {
    /// Drops a share of what the router sends over links.
    ///
    /// # Errors
    /// When the kernel has neither classic BPF in TC nor ifb.
    pub fn start(router: &Namespace, links: &[String], percent: f64) -> Result<Self> {
        router
            .ip(&format!("link add name {SINK} type ifb\n"))
            .context("a device for lost packets")?;
        let program = bytecode(percent);
        for link in links {
            router.tool(&format!("tc qdisc add dev {link} clsact"))?;
            let place = ["tc", "filter", "add", "dev", link, "egress", "bpf", "bytecode", &program];
            let action = ["action", "mirred", "egress", "redirect", "dev", SINK];
            let words = [&place[..], &action].concat();
            router.inside(|| tool::run_words(&words))?;
        }
        Ok(Self { router: router.clone(), links: links.to_vec() })
    }

    /// Ends it and tells how many packets were dropped.
    ///
    /// # Errors
    /// When tc refuses.
    pub fn stop(self) -> Result<u64> {
        let mut dropped = 0;
        for link in &self.links {
            let shown = self.router.tool(&format!("tc -s filter show dev {link} egress"))?;
            dropped += packets(&shown);
            self.router.tool(&format!("tc qdisc del dev {link} clsact"))?;
        }
        self.router.ip(&format!("link del dev {SINK}\n"))?;
        Ok(dropped)
    }
}

/// The program as one word: `length,code jt jf k,…`.
fn bytecode(percent: f64) -> String {
    // Matches where the random word is at or past the threshold.
    let keep = (1.0 - percent.clamp(0.0, 100.0) / 100.0) * f64::from(u32::MAX);
    // The offset of the ancillary word "random": -0x1000 + 56.
    format!("4,32 0 0 4294963256,53 0 1 {},6 0 0 4294967295,6 0 0 0", keep as u32)
}

/// Packets that the actions have had, in what tc prints: `Sent 2455 bytes 56 pkt (…`.
fn packets(shown: &str) -> u64 {
    let sent = shown.lines().filter_map(|line| line.trim().strip_prefix("Sent "));
    sent.filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_follows_the_share() {
        for (percent, expect) in [(0.0, "4294967295"), (50.0, "2147483647"), (100.0, "0")] {
            let program = bytecode(percent);
            assert!(program.contains(&format!("53 0 1 {expect},")), "{program}");
        }
        let shown = "action order 1: mirred\n\tSent 2455 bytes 56 pkt (dropped 0)\n";
        assert_eq!(packets(shown), 56);
    }
}
