//! What can be done to a fleet and to the way, one step at a time, and the words for it.

use anyhow::{Result, bail};

/// One thing that is done to the fleet or to the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Every open flow makes as many more rounds.
    Rounds(u64),
    /// A server that was not there gets flows.
    Add(u16),
    /// A server keeps its flows and gets no new ones.
    Drain(u16),
    /// A draining server gets new flows again.
    Undrain(u16),
    /// Flows of a server end; others begin, elsewhere.
    Leave(u16),
    /// A server is taken out: of the router, of the tables, and its programs end.
    Remove(u16),
    /// Every process of a server is killed and its link goes down; the tables learn of it.
    Crash(u16),
    /// The router spreads by another order and other weights.
    Rehash,
    /// The daemons of the packet path are killed; what they attached stays.
    KillLoaders,
    /// They are started again and take over what is attached.
    StartLoaders,
    /// They are replaced, programs and all.
    UpgradeLoaders,
    /// They are replaced by some whose maps have other sizes, every other one without its end.
    ResizeMaps,
    /// Two tables replace each other as many times.
    SwapTables(u16),
    /// A share of all packets to servers and clients is lost. In thousandths.
    Lose(u16),
    /// Packets are held up, overtake each other, and some come twice.
    Disturb,
    /// Floods come beside the good traffic.
    Flood,
    /// SYNs of made-up sources come beside it, and nothing else.
    FloodSyns,
    /// The programs answer SYNs with cookies while too many come.
    Cookies,
    /// Every flow that lasts ends, and another begins in its place.
    Renew,
    /// Loss, disturbance and floods end.
    Calm,
    /// Each proxy hands over to a new process.
    UpgradeProxies,
}

/// Each step that can be typed, and what stands behind it.
pub const WORDS: &str = "add ID, drain ID, undrain ID, leave ID, remove ID, crash ID, rehash, \
     kill-loaders, start-loaders, upgrade-loaders, resize-maps, swap-tables TIMES, \
     lose THOUSANDTHS, disturb, flood, flood-syns, cookies, renew, calm, upgrade-proxies";

impl Step {
    /// The step of words such as `drain 2`.
    ///
    /// # Errors
    /// Names the words that there are.
    pub fn parse(words: &[&str]) -> Result<Self> {
        let (name, number) = match words {
            [name] => (*name, None),
            [name, number] => (*name, number.parse().ok()),
            _ => ("", None),
        };
        Ok(match (name, number) {
            ("add", Some(id)) => Self::Add(id),
            ("drain", Some(id)) => Self::Drain(id),
            ("undrain", Some(id)) => Self::Undrain(id),
            ("leave", Some(id)) => Self::Leave(id),
            ("remove", Some(id)) => Self::Remove(id),
            ("crash", Some(id)) => Self::Crash(id),
            ("rehash", None) => Self::Rehash,
            ("kill-loaders", None) => Self::KillLoaders,
            ("start-loaders", None) => Self::StartLoaders,
            ("upgrade-loaders", None) => Self::UpgradeLoaders,
            ("resize-maps", None) => Self::ResizeMaps,
            ("swap-tables", Some(times)) => Self::SwapTables(times),
            ("lose", Some(thousandths)) => Self::Lose(thousandths),
            ("disturb", None) => Self::Disturb,
            ("flood", None) => Self::Flood,
            ("flood-syns", None) => Self::FloodSyns,
            ("cookies", None) => Self::Cookies,
            ("renew", None) => Self::Renew,
            ("calm", None) => Self::Calm,
            ("upgrade-proxies", None) => Self::UpgradeProxies,
            _ => bail!("`{}` is no fault; there are: {WORDS}", words.join(" ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_that_is_told_is_a_step() {
        for usage in WORDS.split(", ") {
            let words: Vec<String> = usage.split(' ').map(str::to_lowercase).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let typed = match words.as_slice() {
                [name, _] => vec![*name, "2"],
                more => more.to_vec(),
            };
            assert!(Step::parse(&typed).is_ok(), "{usage}");
        }
        for wrong in [&["drain"][..], &["drain", "x"], &["rehash", "2"], &["help"], &[]] {
            assert!(Step::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
