//! The fault matrix: each row is what happens to the fleet while traffic runs, and what must hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use packet_abi::Reason;
use packet_abi::verdict::Kind;

use crate::lab::Lab;
use crate::ledger::{Ledger, Tally};
use crate::server::Programs;
use crate::setup::{Setup, Way};
use crate::step::Step;
use crate::traffic::{IMPATIENT, Load, PATIENT, Traffic};

/// One row.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens, in a sentence.
    pub says: &'static str,
    /// What the run is made with.
    pub setup: Setup,
    /// What happens, in order; rounds of all flows come before and after it.
    pub steps: &'static [Step],
    /// Reasons whose counters must have moved.
    pub moved: &'static [&'static str],
    /// Reasons whose counters must not have.
    pub unmoved: &'static [&'static str],
    /// Whether anything may have to be tried again: something loses packets on purpose.
    pub loses: bool,
}

/// Flows of each family in a scenario.
const LOAD: Load = Load {
    streams: 8,
    arrivals: true,
    flows: 4,
    quic: 4,
    tls: 3,
    lifetime: None,
    patience: PATIENT,
};
/// Connection ids where nothing routes them.
const PLAIN_QUIC: usize = 2;
/// Rounds of every flow before and after what happens.
const ROUNDS: u64 = 8;

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Sums over flows.
    pub tally: Tally,
    /// Broken flows, the first of them.
    pub broken: Vec<String>,
    /// Datagrams and connections that were tried again.
    pub resent: u64,
    /// Packets by reason.
    pub reasons: BTreeMap<String, u64>,
    /// What steps told.
    pub notes: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// Every row, in the order of the table.
pub static SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "routed",
        says: "without the programs: packets are lost, late and come twice",
        setup: Setup::ROUTED,
        steps: &[Step::Lose(20), Step::Disturb, Step::Rounds(20), Step::Calm],
        moved: &[],
        unmoved: &[],
        loses: true,
    },
    Scenario {
        name: "steady",
        says: "nothing happens",
        setup: Setup::DIRECTED,
        steps: &[Step::Rounds(10)],
        moved: &["sent_first", "local_only_hop", "tunnel_socket", "tunnel_syn", "sent_id"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "added",
        says: "a server is added",
        setup: Setup::DIRECTED,
        steps: &[Step::Add(5), Step::Rounds(10)],
        moved: &["tunnel_forwarded"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "drained",
        says: "a server drains, and gets new flows again",
        setup: Setup::DIRECTED,
        steps: &[Step::Drain(2), Step::Rounds(10), Step::Undrain(2)],
        moved: &["tunnel_forwarded", "sent_second"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "removed",
        says: "a drained server is taken out",
        setup: Setup::DIRECTED,
        steps: &[Step::Drain(2), Step::Rounds(6), Step::Leave(2), Step::Remove(2)],
        moved: &["tunnel_forwarded"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "crashed",
        says: "a server is killed, and its link goes down",
        setup: Setup::DIRECTED,
        steps: &[Step::Crash(3), Step::Rounds(10)],
        moved: &["sent_first"],
        unmoved: &[],
        loses: true,
    },
    Scenario {
        name: "rehashed",
        says: "the router spreads packets anew, three times",
        setup: Setup::DIRECTED,
        steps: &[Step::Rehash, Step::Rounds(6), Step::Rehash, Step::Rounds(6), Step::Rehash],
        moved: &["sent_first"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "loaders",
        says: "daemons are killed, started again and replaced",
        setup: Setup::DIRECTED,
        steps: &[
            Step::KillLoaders,
            Step::Rounds(6),
            Step::StartLoaders,
            Step::Rounds(6),
            Step::UpgradeLoaders,
        ],
        moved: &["sent_first"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "swapped",
        says: "tables replace each other all the time",
        setup: Setup::DIRECTED,
        steps: &[Step::SwapTables(16)],
        moved: &["tunnel_forwarded"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "proxies",
        says: "each proxy hands over to a new process",
        setup: Setup::DIRECTED,
        steps: &[Step::UpgradeProxies, Step::Rounds(8)],
        moved: &["tunnel_socket"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "loss",
        says: "one of a hundred packets is lost on every link",
        setup: Setup::DIRECTED,
        steps: &[Step::Lose(10), Step::Rounds(20), Step::Calm],
        moved: &["sent_first"],
        unmoved: &[],
        loses: true,
    },
    Scenario {
        name: "disorder",
        says: "packets are late, overtake each other and come twice",
        setup: Setup::DIRECTED,
        steps: &[Step::Disturb, Step::Rounds(20), Step::Calm],
        moved: &["sent_first"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "floods",
        says: "spoofed and malformed packets come a hundred to one, and a server drains",
        setup: Setup::DIRECTED,
        steps: &[Step::Flood, Step::Rounds(10), Step::Drain(2), Step::Rounds(10), Step::Calm],
        moved: &[
            "unwanted_icmp",
            "bad_ipv4_header",
            "bad_ipv6_header",
            "short_tcp",
            "short_udp",
            "short_inner",
            "foreign_error",
            "fragment",
            "extension_chain",
            "gue_version",
            "gue_reserved",
        ],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "cookies",
        says: "the programs answer every SYN with a cookie, floods and a drain beside",
        setup: Setup::COOKIES,
        steps: &[Step::Flood, Step::Rounds(6), Step::Drain(2), Step::Rounds(6), Step::Calm],
        moved: &["cookie_sent", "local_cookie", "tunnel_cookie"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "narrow",
        says: "no link between servers carries more than 1500 octets",
        setup: Setup::NARROW,
        steps: &[Step::Rehash, Step::Rounds(10)],
        moved: &["too_big_sent"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "outer-v6",
        says: "servers send to each other over IPv6, and one drains",
        setup: Setup::OUTER_V6,
        steps: &[Step::Drain(2), Step::Rounds(10)],
        moved: &["tunnel_forwarded"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "auto",
        says: "a reload has the programs answer SYNs while too many come, and they do come",
        setup: Setup::COOKIES_LATER,
        steps: &[
            Step::UpgradeProxies,
            Step::Cookies,
            Step::FloodSyns,
            Step::Rounds(16),
            Step::Renew,
            Step::Rounds(10),
            Step::Calm,
        ],
        moved: &["cookie_sent", "local_cookie", "tunnel_cookie"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "strict",
        says: "sources must be reached by the way they came, and those of a flood are not",
        setup: Setup::STRICT,
        steps: &[Step::Flood, Step::Rounds(6), Step::Drain(2), Step::Rounds(6), Step::Calm],
        // What is no packet of either family has no source: the director drops it.
        moved: &["shield_spoofed", "bad_ipv4_header", "tunnel_forwarded"],
        // Nothing else of the flood gets further.
        unmoved: &["unwanted_icmp", "bad_ipv6_header", "short_tcp", "gue_version"],
        loses: false,
    },
    Scenario {
        name: "apart",
        says: "sockets are in a namespace behind the one of the interfaces, and a server drains",
        setup: Setup::APART,
        steps: &[Step::Drain(2), Step::Rounds(8), Step::UpgradeProxies],
        moved: &["tunnel_socket", "tunnel_forwarded", "local_socket"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "resized",
        says: "daemons are replaced by some whose maps have other sizes, and a server drains",
        setup: Setup::DIRECTED,
        steps: &[Step::Drain(2), Step::ResizeMaps, Step::Rounds(6), Step::Undrain(2)],
        moved: &["tunnel_forwarded", "sent_second"],
        unmoved: &[],
        loses: false,
    },
    Scenario {
        name: "maglev",
        says: "servers come and drain while questions go by Maglev and FOU",
        setup: Setup::MAGLEV,
        steps: &[Step::Add(5), Step::Rounds(6), Step::Drain(2), Step::Rounds(6)],
        moved: &["tunnel_plain", "wire_fou", "wire_gue", "tunnel_forwarded"],
        unmoved: &["wire_ipv4_in_ip", "wire_ipv6_in_ip"],
        loses: false,
    },
    Scenario {
        name: "fou",
        says: "everything goes by Maglev and FOU, and the router spreads packets anew",
        setup: Setup::FOU,
        steps: &[Step::Rehash, Step::Rounds(6)],
        moved: &["tunnel_plain", "wire_fou"],
        unmoved: &["wire_gue", "wire_ipv4_in_ip", "wire_ipv6_in_ip", "tunnel_forwarded"],
        loses: false,
    },
    Scenario {
        name: "ip-in-ip",
        says: "everything goes by Maglev and IP in IPv4, and the router spreads packets anew",
        setup: Setup::IP_IN_IP,
        steps: &[Step::Rehash, Step::Rounds(6)],
        moved: &["tunnel_plain", "wire_ipv4_in_ip", "wire_ipv6_in_ip"],
        unmoved: &["wire_gue", "wire_fou", "tunnel_forwarded"],
        loses: false,
    },
    Scenario {
        name: "ip-in-ip6",
        says: "everything goes by Maglev and IP in IPv6, and the router spreads packets anew",
        setup: Setup::IP_IN_IP6,
        steps: &[Step::Rehash, Step::Rounds(6)],
        moved: &["tunnel_plain", "wire_ipv4_in_ip", "wire_ipv6_in_ip"],
        unmoved: &["wire_gue", "wire_fou", "tunnel_forwarded"],
        loses: false,
    },
    Scenario {
        name: "everything",
        says: "loss and disorder while servers come, drain and die",
        setup: Setup::DIRECTED,
        steps: &[
            Step::Lose(5),
            Step::Disturb,
            Step::Rounds(6),
            Step::Add(5),
            Step::Rehash,
            Step::Drain(2),
            Step::Rounds(6),
            Step::Crash(3),
            Step::Rounds(6),
            Step::UpgradeLoaders,
            Step::Calm,
        ],
        moved: &["tunnel_forwarded"],
        unmoved: &[],
        loses: true,
    },
];

impl Scenario {
    /// The row of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Runs it from an empty machine to an empty machine.
    ///
    /// # Errors
    /// When the lab cannot be made or a step fails. Broken flows are no error: they are counted.
    pub fn run(&self, programs: &Programs) -> Result<Outcome> {
        let start = Instant::now();
        let mut lab = Lab::up(programs, self.setup)?;
        let mut load = LOAD;
        if self.setup.way == Way::Routed {
            load.quic = PLAIN_QUIC;
        }
        if self.loses {
            load.patience = IMPATIENT;
        }
        let traffic = Traffic::start(&lab.network, load, Some(lab.trust.clone()))?;
        let walked = self.walk(&mut lab, &traffic);
        let ledger = traffic.ledger.clone();
        walked.map_err(|error| error.context(told(&ledger)))?;
        traffic.finish()?;
        let reasons = match self.setup.way {
            Way::Directed => lab.reasons()?,
            Way::Routed => BTreeMap::new(),
        };
        Ok(Outcome {
            tally: ledger.tally(),
            broken: ledger.broken(),
            resent: ledger.resent(),
            reasons,
            notes: lab.notes.clone(),
            took: start.elapsed(),
        })
    }

    fn walk(&self, lab: &mut Lab, traffic: &Traffic) -> Result<()> {
        lab.apply(Step::Rounds(ROUNDS), traffic)?;
        for step in self.steps {
            lab.apply(*step, traffic)?;
        }
        lab.apply(Step::Rounds(ROUNDS), traffic)
    }

    /// What must hold and does not.
    #[must_use]
    pub fn faults(&self, outcome: &Outcome) -> Vec<String> {
        let mut faults = outcome.broken.clone();
        if outcome.tally.kept == 0 || outcome.tally.open != 0 {
            faults.push(format!("flows did not end: {:?}", outcome.tally));
        }
        if !self.loses && outcome.resent > 0 {
            faults
                .push(format!("{} datagrams or connections had to be tried again", outcome.resent));
        }
        let floods = self.steps.iter().any(|step| matches!(step, Step::Flood | Step::FloodSyns));
        for (word, packets) in &outcome.reasons {
            let drops = Reason::ALL.iter().any(|r| r.word() == word && r.kind() == Kind::Drop);
            if drops && !floods && *packets > 0 {
                faults.push(format!("{packets} good packets were dropped as {word}"));
            }
        }
        for word in self.moved {
            if outcome.reasons.get(*word).is_none_or(|packets| *packets == 0) {
                faults.push(format!("no packet was counted as {word}"));
            }
        }
        for word in self.unmoved {
            let packets = outcome.reasons.get(*word).copied().unwrap_or_default();
            if packets > 0 {
                faults.push(format!("{packets} packets were counted as {word}"));
            }
        }
        faults
    }
}

fn told(ledger: &Ledger) -> String {
    format!("{:?}\n{}", ledger.tally(), ledger.broken().join("\n"))
}

/// The head of the matrix.
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<16} {:>6} {:>6} {:>6} {:>7} {:>6}  what happened",
        "scenario", "kept", "broken", "lost", "again", "time"
    )
}

impl Outcome {
    /// Its row of the matrix, and below it what must hold and does not.
    #[must_use]
    pub fn row(&self, scenario: &Scenario) -> String {
        let Tally { kept, broken, lost, .. } = self.tally;
        let mut row = format!(
            "{:<16} {kept:>6} {broken:>6} {lost:>6} {:>7} {:>4.1} s  {}",
            scenario.name,
            self.resent,
            self.took.as_secs_f64(),
            scenario.says
        );
        let moved = scenario.moved.iter();
        let moved: Vec<String> = moved
            .map(|word| format!("{word} {}", self.reasons.get(*word).copied().unwrap_or_default()))
            .collect();
        if !moved.is_empty() {
            let _ = write!(row, "\n{:<17}{}", "", moved.join(", "));
        }
        if !self.notes.is_empty() {
            let _ = write!(row, "\n{:<17}{}", "", self.notes.join(", "));
        }
        for fault in scenario.faults(self) {
            let _ = write!(row, "\n    {fault}");
        }
        row
    }
}
