//! What people see of a run: the same facts as lines for the terminal and as JSON for the page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use crate::config::State;
use crate::ledger::{Kind, Ledger, Tally};
use crate::network::SERVERS;

/// Flows that a page shows one by one; more are only counted.
const SHOWN_MAX: usize = 400;
/// Columns of the terminal's bar, each of which stands for an open flow.
const BAR_MAX: usize = 48;

/// The board of a run, shared by whoever shows it.
#[derive(Clone, Debug)]
pub struct Board {
    ledger: Ledger,
    start: Instant,
    facts: Arc<Mutex<Facts>>,
}

#[derive(Clone, Debug, Default)]
struct Facts {
    members: BTreeMap<u16, State>,
    killed: Option<u16>,
    events: Vec<Event>,
    over: bool,
}

/// Something that was done.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// Seconds since the start.
    pub at: f64,
    /// What.
    pub what: String,
}

/// Everything at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Picture {
    /// Seconds since the start.
    pub at: f64,
    /// Whether the run has ended.
    pub over: bool,
    /// Sums over all flows.
    pub tally: Tally,
    /// Datagrams and connections that were tried again.
    pub resent: u64,
    /// Sums by kind.
    pub kinds: Vec<(Kind, Tally)>,
    /// Every server there is a link for.
    pub servers: Vec<Seen>,
    /// What was done so far.
    pub events: Vec<Event>,
    /// Why flows broke.
    pub broken: Vec<String>,
}

/// A server as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// Its id.
    pub id: u16,
    /// What it is at the moment.
    pub state: &'static str,
    /// Sums over the flows that it owns or owned.
    pub tally: Tally,
    /// Open flows: number and kind.
    pub flows: Vec<(usize, Kind)>,
}

impl Board {
    /// The board of a run that begins.
    #[must_use]
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger, start: Instant::now(), facts: Arc::default() }
    }

    /// Writes down what is done, and which servers there are.
    pub fn event(&self, what: &str, members: &BTreeMap<u16, State>) {
        let at = self.start.elapsed().as_secs_f64();
        let mut facts = self.facts();
        facts.members.clone_from(members);
        facts.events.push(Event { at, what: what.to_owned() });
    }

    /// Tells which servers there are.
    pub fn members(&self, members: &BTreeMap<u16, State>) {
        self.facts().members.clone_from(members);
    }

    /// Tells that a server was killed.
    pub fn killed(&self, server: u16) {
        self.facts().killed = Some(server);
    }

    /// Tells that the run has ended.
    pub fn end(&self) {
        self.facts().over = true;
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything at this moment.
    #[must_use]
    pub fn picture(&self) -> Picture {
        let facts = self.facts().clone();
        let sums = self.ledger.by_server();
        let mut open = self.ledger.open_flows(SHOWN_MAX);
        let server = |id| Seen {
            id,
            state: match facts.members.get(&id) {
                _ if facts.killed == Some(id) => "killed",
                Some(State::Active) => "active",
                Some(State::Draining) => "draining",
                Some(State::Dead) => "dead",
                None => "not in the fleet",
            },
            tally: sums.get(&id).copied().unwrap_or_default(),
            flows: open.remove(&id).unwrap_or_default(),
        };
        Picture {
            at: self.start.elapsed().as_secs_f64(),
            over: facts.over,
            tally: self.ledger.tally(),
            resent: self.ledger.resent(),
            kinds: self.ledger.by_kind().into_iter().collect(),
            servers: (1..=SERVERS).map(server).collect(),
            events: facts.events,
            broken: self.ledger.broken(),
        }
    }
}

impl Picture {
    /// As lines.
    #[must_use]
    pub fn lines(&self) -> String {
        let Tally { open, kept, broken, lost } = self.tally;
        let mut text = format!(
            "{:>5.1} s  {open} open  {kept} kept  {broken} broken  {lost} lost with their server\n",
            self.at
        );
        for Seen { id, state, tally, flows } in &self.servers {
            let bar: String = flows.iter().take(BAR_MAX).map(|(_, kind)| letter(*kind)).collect();
            let _ = writeln!(text, "  server {id} {state:<16} {:>4} open {bar}", tally.open);
        }
        let kinds: Vec<String> =
            Kind::ALL.iter().map(|kind| format!("{} {}", letter(*kind), kind.word())).collect();
        let _ = writeln!(text, "  {}", kinds.join(", "));
        text
    }

    /// The last line of a run.
    #[must_use]
    pub fn verdict(&self) -> String {
        format!("{} kept, {} broken", self.tally.kept, self.tally.broken)
    }
}

/// The letter of a kind in the terminal's bars.
const fn letter(kind: Kind) -> char {
    match kind {
        Kind::Stream => 'T',
        Kind::Short => 't',
        Kind::Flow => 'U',
        Kind::Question => 'd',
        Kind::Quic => 'Q',
        Kind::Tls => 'S',
    }
}
