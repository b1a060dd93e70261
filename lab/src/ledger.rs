//! The ledger: every flow, the server that owns it, and what became of it.
//!
//! A flow is broken when it is reset, stalls past [`STALL_LIMIT`], gets wrong content or changes
//! its server, while the server that owns it lives. When that server was killed the flow is lost
//! with it, which no table can help.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::network::Family;

/// A flow without progress for as long is broken. Retransmission doubles its time from 200 ms on a
/// quiet machine, and from a second where round trips wait for processors: three losses of the same
/// segment in a row still fit.
pub const STALL_LIMIT: Duration = Duration::from_secs(15);
/// Flows of one run; short connections make the most of them. A scenario of a minute has thousands.
const FLOWS_MAX: usize = 200_000;
/// Broken flows that are told one by one; the rest is a number.
const TOLD_MAX: usize = 8;

/// What a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A long TCP connection.
    Stream,
    /// A TCP connection of a few rounds.
    Short,
    /// UDP to a service that connects its sockets.
    Flow,
    /// One UDP question.
    Question,
    /// Packets with connection ids, whose client changes its address.
    Quic,
    /// HTTP over TLS by Weir.
    Tls,
}

impl Kind {
    /// All, in the order of tables.
    pub const ALL: [Self; 6] =
        [Self::Stream, Self::Short, Self::Flow, Self::Question, Self::Quic, Self::Tls];

    /// For people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stream => "long TCP",
            Self::Short => "short TCP",
            Self::Flow => "UDP flow",
            Self::Question => "UDP question",
            Self::Quic => "QUIC",
            Self::Tls => "TLS",
        }
    }
}

/// What became of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It goes on.
    Open,
    /// It ended well.
    Kept,
    /// It did not, and why.
    Broken(String),
    /// Its server was killed.
    Lost,
}

/// One flow.
#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    /// What it is.
    pub kind: Kind,
    /// The server that owns it, once one has answered.
    pub server: Option<u16>,
    /// What became of it.
    pub state: State,
    /// Round trips so far.
    pub rounds: u64,
    #[serde(skip)]
    family: Family,
    /// Whether a server was killed before one had answered.
    #[serde(skip)]
    orphan: bool,
}

impl Flow {
    fn is_lost(&self, dead: &BTreeSet<u16>) -> bool {
        match self.server {
            Some(server) => dead.contains(&server),
            None => self.orphan,
        }
    }
}

/// Sums over flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Flows that go on.
    pub open: u64,
    /// Flows that ended well.
    pub kept: u64,
    /// Flows that broke while their server lived.
    pub broken: u64,
    /// Flows that went with their server.
    pub lost: u64,
}

impl Tally {
    fn add(&mut self, state: &State) {
        match state {
            State::Open => self.open += 1,
            State::Kept => self.kept += 1,
            State::Broken(_) => self.broken += 1,
            State::Lost => self.lost += 1,
        }
    }
}

#[derive(Debug, Default)]
struct Book {
    flows: Vec<Flow>,
    dead: BTreeSet<u16>,
    resent: u64,
}

/// The ledger, shared by all that make traffic.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

/// A flow's place in the ledger.
#[derive(Clone, Debug)]
pub struct Entry {
    ledger: Ledger,
    at: usize,
}

impl Ledger {
    /// Enters a flow.
    #[must_use]
    pub fn open(&self, kind: Kind, family: Family) -> Entry {
        let mut book = self.book();
        let at = book.flows.len();
        if at < FLOWS_MAX {
            book.flows.push(Flow {
                kind,
                server: None,
                state: State::Open,
                rounds: 0,
                family,
                orphan: false,
            });
        }
        Entry { ledger: self.clone(), at }
    }

    /// Flows there have been.
    #[must_use]
    pub fn len(&self) -> usize {
        self.book().flows.len()
    }

    /// Whether there has been no flow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A server is killed: its flows are lost from here on.
    pub fn kill(&self, server: u16) {
        let mut book = self.book();
        book.dead.insert(server);
        book.flows.iter_mut().for_each(|flow| flow.orphan |= flow.server.is_none());
    }

    /// Datagrams that had to be sent again, and connections that had to be begun again: none where
    /// nothing loses packets.
    #[must_use]
    pub fn resent(&self) -> u64 {
        self.book().resent
    }

    /// Sums over all flows.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.book().flows.iter().for_each(|flow| tally.add(&flow.state));
        tally
    }

    /// Sums by kind.
    #[must_use]
    pub fn by_kind(&self) -> BTreeMap<Kind, Tally> {
        let mut sums: BTreeMap<Kind, Tally> = BTreeMap::new();
        for flow in &self.book().flows {
            sums.entry(flow.kind).or_default().add(&flow.state);
        }
        sums
    }

    /// Sums by owner.
    #[must_use]
    pub fn by_server(&self) -> BTreeMap<u16, Tally> {
        let mut sums: BTreeMap<u16, Tally> = BTreeMap::new();
        for flow in &self.book().flows {
            if let Some(server) = flow.server {
                sums.entry(server).or_default().add(&flow.state);
            }
        }
        sums
    }

    /// Rounds of every open flow that lasts, by its place.
    #[must_use]
    pub fn progress(&self) -> Vec<(usize, u64)> {
        let lasts = |flow: &Flow| !matches!(flow.kind, Kind::Short | Kind::Question);
        let book = self.book();
        let flows = book.flows.iter().enumerate();
        flows
            .filter(|(_, flow)| flow.state == State::Open && lasts(flow))
            .filter(|(_, flow)| flow.server.is_none_or(|server| !book.dead.contains(&server)))
            .map(|(at, flow)| (at, flow.rounds))
            .collect()
    }

    /// Whether a flow has made as many rounds, or has ended.
    #[must_use]
    pub fn past(&self, at: usize, rounds: u64) -> bool {
        let book = self.book();
        book.flows.get(at).is_none_or(|flow| {
            flow.rounds >= rounds || flow.state != State::Open || flow.is_lost(&book.dead)
        })
    }

    /// Open flows by their server: number and kind, so many of all at most.
    #[must_use]
    pub fn open_flows(&self, most: usize) -> BTreeMap<u16, Vec<(usize, Kind)>> {
        let book = self.book();
        let open = book.flows.iter().enumerate().filter(|(_, flow)| flow.state == State::Open);
        let mut sorted: BTreeMap<u16, Vec<(usize, Kind)>> = BTreeMap::new();
        for (at, flow) in open.take(most) {
            if let Some(server) = flow.server {
                sorted.entry(server).or_default().push((at, flow.kind));
            }
        }
        sorted
    }

    /// Open flows that a server owns.
    #[must_use]
    pub fn open_on(&self, server: u16) -> usize {
        let flows = &self.book().flows;
        let owned = |flow: &&Flow| flow.state == State::Open && flow.server == Some(server);
        flows.iter().filter(owned).count()
    }

    /// The first broken flows, for people.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let book = self.book();
        let told = book.flows.iter().enumerate().filter_map(|(at, flow)| {
            let State::Broken(why) = &flow.state else { return None };
            let owner = flow.server.map_or("no server".to_owned(), |id| format!("server {id}"));
            let (kind, family) = (flow.kind.word(), flow.family.word());
            Some(format!("{kind} {at} ({family}, {owner}, after {} rounds): {why}", flow.rounds))
        });
        told.take(TOLD_MAX).collect()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn change(&self, work: impl FnOnce(&mut Flow, &BTreeSet<u16>)) {
        let mut book = self.ledger.book();
        let Book { flows, dead, .. } = &mut *book;
        if let Some(flow) = flows.get_mut(self.at) {
            work(flow, dead);
        }
    }

    /// The place in the ledger: seeds and ports are made from it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.at as u64
    }

    /// A server has answered. Another than before breaks the flow: `false`.
    #[must_use]
    pub fn answered(&self, server: u16) -> bool {
        let mut same = true;
        self.change(|flow, _| {
            same = *flow.server.get_or_insert(server) == server;
            flow.rounds += u64::from(same);
        });
        same
    }

    /// The server that owns it, once one has answered.
    #[must_use]
    pub fn owner(&self) -> Option<u16> {
        self.ledger.book().flows.get(self.at)?.server
    }

    /// A datagram had to be sent again, or a connection begun again.
    pub fn resent(&self) {
        self.ledger.book().resent += 1;
    }

    /// Whether the server that owns it was killed.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let mut lost = false;
        self.change(|flow, dead| lost = flow.server.is_some() && flow.is_lost(dead));
        lost
    }

    /// It ended, well or for a reason.
    pub fn end(&self, outcome: Result<(), String>) {
        self.change(|flow, dead| {
            flow.state = match outcome {
                Ok(()) => State::Kept,
                Err(_) if flow.is_lost(dead) => State::Lost,
                Err(why) => State::Broken(why),
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_broken_only_while_its_server_lives() {
        let ledger = Ledger::default();
        let [kept, broken, lost] = [1, 2, 3].map(|server| {
            let entry = ledger.open(Kind::Stream, Family::V4);
            assert!(entry.answered(server));
            entry
        });
        ledger.kill(3);
        kept.end(Ok(()));
        broken.end(Err("reset".to_owned()));
        lost.end(Err("reset".to_owned()));
        assert_eq!(ledger.tally(), Tally { open: 0, kept: 1, broken: 1, lost: 1 });
        assert_eq!(ledger.broken().len(), 1);
    }

    #[test]
    fn an_answer_of_another_server_is_noticed() {
        let entry = Ledger::default().open(Kind::Flow, Family::V6);
        assert!(entry.answered(2));
        assert!(entry.answered(2));
        assert!(!entry.answered(1));
    }
}
