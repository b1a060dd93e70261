//! The fault matrix: each row is what happens to the fleet while traffic runs, and what must hold.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::lab::{Lab, Setup, Step, Way};
use crate::ledger::{Ledger, Tally};
use crate::server::Programs;
use crate::traffic::{Load, Traffic};

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
    /// Whether datagrams may have to be sent again: something loses packets on purpose.
    pub loses: bool,
}

/// Flows of each family in a scenario.
const LOAD: Load = Load { streams: 8, arrivals: true, flows: 4, quic: 4, tls: 3, lifetime: None };
/// The same where nothing routes connection ids.
const PLAIN_LOAD: Load =
    Load { streams: 8, arrivals: true, flows: 4, quic: 2, tls: 3, lifetime: None };
/// Rounds of every flow before and after what happens.
const ROUNDS: u64 = 8;

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Sums over flows.
    pub tally: Tally,
    /// Broken flows, the first of them.
    pub broken: Vec<String>,
    /// Datagrams that were sent again.
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
        name: "loss",
        says: "one of fifty packets is lost on every link",
        setup: Setup::ROUTED,
        steps: &[Step::Lose(20), Step::Rounds(30), Step::Calm],
        moved: &[],
        loses: true,
    },
    Scenario {
        name: "disorder",
        says: "packets are held up, overtake each other and come twice",
        setup: Setup::ROUTED,
        steps: &[Step::Disturb, Step::Rounds(30), Step::Calm],
        moved: &[],
        loses: false,
    },
    Scenario {
        name: "flood",
        says: "spoofed and malformed packets come a hundred to one",
        setup: Setup::ROUTED,
        steps: &[Step::Flood, Step::Rounds(30), Step::Calm],
        moved: &[],
        loses: false,
    },
    Scenario {
        name: "proxy-upgrade",
        says: "each proxy hands over to a new process",
        setup: Setup::ROUTED,
        steps: &[Step::UpgradeProxies, Step::Rounds(8)],
        moved: &[],
        loses: false,
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
        let load = if self.setup.way == Way::Directed { LOAD } else { PLAIN_LOAD };
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
            faults.push(format!("{} datagrams had to be sent again", outcome.resent));
        }
        for word in self.moved {
            if outcome.reasons.get(*word).is_none_or(|packets| *packets == 0) {
                faults.push(format!("no packet was counted as {word}"));
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
        "scenario", "kept", "broken", "lost", "resent", "time"
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
        if !self.notes.is_empty() {
            let _ = write!(row, " ({})", self.notes.join("; "));
        }
        for fault in scenario.faults(self) {
            let _ = write!(row, "\n    {fault}");
        }
        row
    }
}
