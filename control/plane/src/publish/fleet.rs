//! The edges that are attached here, and how they do.
//!
//! All of it is what this control plane knows: edges of others are theirs.

pub(crate) mod health;

use super::rollout::{self, Canary, Phase};
use super::{EdgeState, EdgeStatus, Identity};
use control_api::publish::{Numbers, Report, SnapshotId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use tokio::sync::watch;

/// Edges that are remembered, attached or not: as many as may join.
const EDGES_MAX: usize = 10_000;
/// Lines of a refusal that are kept: as many as edges are asked for.
const FAULTS_MAX: usize = 10;
/// Bytes of such a line that are kept: a place, what is wrong there, and what would be right.
const FAULT_BYTES_MAX: usize = 500;
/// Bytes of a version that are kept.
const VERSION_BYTES_MAX: usize = 64;

/// An edge, from its first stream on.
#[derive(Debug)]
struct Edge {
    identity: Identity,
    /// Its stream, while it has one.
    stream: Option<Stream>,
    source: Option<SocketAddr>,
    since_ms: u64,
    version: String,
    starts: u64,
    has: Option<SnapshotId>,
    meant: Option<SnapshotId>,
    behind_ms: Option<u64>,
    faults: Vec<String>,
    numbers: Numbers,
    /// When its process told them, in milliseconds.
    told_ms: Option<u64>,
    /// What it counted while it had changes that were halted.
    failed: Numbers,
    /// What it had counted when it got such a change, until it has another one.
    failing: Option<Numbers>,
    trial: Option<Trial>,
}

#[derive(Debug)]
struct Stream {
    number: u64,
    /// Says that it must end.
    stop: watch::Sender<bool>,
}

/// What is remembered of an edge while a change is tried, on it or on others.
#[derive(Clone, Copy, Debug)]
struct Trial {
    canary: bool,
    phase: Phase,
    /// What it had counted when the trial began, or when it had the change in force.
    from: Numbers,
    starts: u64,
}

/// The edges by id.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    edges: BTreeMap<String, Edge>,
    streams: u64,
    /// When the trial began in which edges were chosen.
    begun_ms: Option<u64>,
}

/// What a stream is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Fleet {
    /// Takes up a new stream of an edge, which ends its older one. What says when it must end is
    /// returned; none where there are too many edges.
    pub(crate) fn attach(
        &mut self,
        identity: &Identity,
        source: Option<SocketAddr>,
        now_ms: u64,
    ) -> Option<(Ticket, watch::Receiver<bool>)> {
        if self.edges.len() >= EDGES_MAX && !self.edges.contains_key(&identity.id) {
            let away = self.edges.iter().find(|(_, e)| e.stream.is_none() && e.trial.is_none());
            let away = away.map(|(id, _)| id.clone())?;
            self.edges.remove(&away);
        }
        self.streams += 1;
        let ticket = Ticket(self.streams);
        let (stop, stopped) = watch::channel(false);
        let edge = self.edges.entry(identity.id.clone()).or_insert_with(|| Edge {
            identity: identity.clone(),
            stream: None,
            source,
            since_ms: now_ms,
            version: String::new(),
            starts: 0,
            has: None,
            meant: None,
            behind_ms: None,
            faults: Vec::new(),
            numbers: Numbers::default(),
            told_ms: None,
            failed: Numbers::default(),
            failing: None,
            trial: None,
        });
        edge.identity = identity.clone();
        (edge.source, edge.since_ms) = (source, now_ms);
        (edge.has, edge.meant, edge.behind_ms, edge.told_ms) = (None, None, None, None);
        edge.faults.clear();
        if let Some(old) = edge.stream.replace(Stream { number: ticket.0, stop }) {
            old.stop.send_replace(true);
        }
        Some((ticket, stopped))
    }

    /// A stream has ended. Whether it was the edge's newest one.
    pub(crate) fn ended(&mut self, id: &str, ticket: Ticket) -> bool {
        let Some(edge) = self.edges.get_mut(id) else { return false };
        let own = edge.stream.as_ref().is_some_and(|stream| stream.number == ticket.0);
        if own {
            edge.stream = None;
        }
        own
    }

    /// Ends the stream of an edge and forgets it.
    pub(crate) fn detach(&mut self, id: &str) {
        if let Some(stream) = self.edges.remove(id).and_then(|edge| edge.stream) {
            stream.stop.send_replace(true);
        }
    }

    fn of(&mut self, id: &str, ticket: Ticket) -> Option<&mut Edge> {
        let edge = self.edges.get_mut(id)?;
        let own = edge.stream.as_ref().is_some_and(|stream| stream.number == ticket.0);
        own.then_some(edge)
    }

    /// An edge said who it is.
    pub(crate) fn greeted(
        &mut self,
        id: &str,
        ticket: Ticket,
        version: &str,
        starts: u64,
        has: Option<SnapshotId>,
    ) {
        let Some(edge) = self.of(id, ticket) else { return };
        edge.version = cut(version, VERSION_BYTES_MAX);
        if edge.starts != starts {
            // Another process counts from nothing.
            edge.numbers = Numbers::default();
            edge.failed = Numbers::default();
            edge.failing = edge.failing.map(|_| Numbers::default());
        }
        edge.starts = starts;
        edge.has = has;
    }

    /// What is meant for an edge from now on.
    pub(crate) fn meant(&mut self, id: &str, ticket: Ticket, meant: &SnapshotId, now_ms: u64) {
        let Some(edge) = self.of(id, ticket) else { return };
        if edge.meant.as_ref() != Some(meant) {
            edge.meant = Some(meant.clone());
            edge.faults.clear();
        }
        match edge.has.as_ref() == Some(meant) {
            true => edge.behind_ms = None,
            false => drop(edge.behind_ms.get_or_insert(now_ms)),
        }
    }

    /// An edge has a snapshot in force; `tried` says that it is the one on trial.
    pub(crate) fn applied(
        &mut self,
        id: &str,
        ticket: Ticket,
        has: &SnapshotId,
        tried: bool,
        now_ms: u64,
    ) {
        let Some(edge) = self.of(id, ticket) else { return };
        edge.has = Some(has.clone());
        edge.faults.clear();
        if edge.meant.as_ref() == Some(has) {
            edge.behind_ms = None;
        }
        let numbers = edge.numbers;
        if let Some(from) = edge.failing.take() {
            let meanwhile = rollout::from_to(&from, &numbers);
            edge.failed = rollout::sum([edge.failed, meanwhile].iter());
        }
        if let Some(trial) = edge.trial.as_mut().filter(|trial| trial.canary && tried)
            && !matches!(trial.phase, Phase::Applied { .. })
        {
            trial.phase = Phase::Applied { at_ms: now_ms };
            trial.from = numbers;
        }
    }

    /// An edge cannot put a snapshot in force.
    pub(crate) fn refused(&mut self, id: &str, ticket: Ticket, faults: &[String], tried: bool) {
        let Some(edge) = self.of(id, ticket) else { return };
        edge.faults = faults.iter().take(FAULTS_MAX).map(|f| cut(f, FAULT_BYTES_MAX)).collect();
        if edge.faults.is_empty() {
            edge.faults.push("it did not say why".to_owned());
        }
        if let Some(trial) = edge.trial.as_mut().filter(|trial| trial.canary && tried) {
            trial.phase = Phase::Refused;
        }
    }

    /// An edge told how it is doing.
    pub(crate) fn reported(&mut self, id: &str, ticket: Ticket, report: &Report, now_ms: u64) {
        if let Some(edge) = self.of(id, ticket) {
            (edge.numbers, edge.told_ms) = (report.numbers, Some(now_ms));
        }
    }

    /// What was tried is halted: what its edges count until they have another snapshot is not what
    /// is usual for them.
    pub(crate) fn halted(&mut self) {
        for edge in self.edges.values_mut() {
            let had = edge.trial.filter(|trial| matches!(trial.phase, Phase::Applied { .. }));
            if let Some(trial) = had.filter(|trial| trial.canary) {
                edge.failing.get_or_insert(trial.from);
            }
        }
    }

    /// Begins a trial: a share of the attached edges is chosen. Without any, it has not begun.
    pub(crate) fn begin(&mut self, percent: u32, now_ms: u64) {
        let attached = self.edges.iter().filter(|(_, edge)| edge.stream.is_some());
        let chosen = rollout::choose(attached.map(|(id, _)| id.as_str()), percent);
        let chosen: BTreeSet<String> = chosen.into_iter().map(str::to_owned).collect();
        self.begun_ms = (!chosen.is_empty()).then_some(now_ms);
        for (id, edge) in &mut self.edges {
            let canary = chosen.contains(id);
            let (from, starts) = (edge.numbers, edge.starts);
            edge.trial = Some(Trial { canary, phase: Phase::Waiting, from, starts });
        }
    }

    /// Whether edges were chosen to try something.
    pub(crate) fn is_trying(&self) -> bool {
        self.begun_ms.is_some()
    }

    /// Ends a trial.
    pub(crate) fn end(&mut self) {
        self.begun_ms = None;
        self.edges.values_mut().for_each(|edge| edge.trial = None);
    }

    /// Whether an edge tries changes.
    pub(crate) fn is_canary(&self, id: &str) -> bool {
        self.edges.get(id).and_then(|edge| edge.trial).is_some_and(|trial| trial.canary)
    }

    /// How the trial goes: when it began, the edges that try, and what the others counted.
    pub(crate) fn trial(&self) -> (u64, Vec<Canary>, Numbers) {
        let tried = self.edges.values().filter_map(|edge| Some((edge, edge.trial?)));
        let (canaries, others): (Vec<_>, Vec<_>) = tried.partition(|(_, trial)| trial.canary);
        let canaries = canaries.into_iter().map(|(edge, trial)| {
            let applied = matches!(trial.phase, Phase::Applied { .. });
            let since = rollout::from_to(&trial.from, &edge.numbers);
            Canary {
                name: edge.identity.name.clone(),
                phase: trial.phase,
                restarts: edge.starts.saturating_sub(trial.starts),
                told_ms: edge.told_ms.filter(|_| edge.stream.is_some()),
                before: rollout::from_to(&edge.failed, &trial.from),
                since: if applied { since } else { Numbers::default() },
            }
        });
        let others = others.iter().filter(|(edge, trial)| edge.starts == trial.starts);
        let others: Vec<_> =
            others.map(|(edge, trial)| rollout::from_to(&trial.from, &edge.numbers)).collect();
        (self.begun_ms.unwrap_or(0), canaries.collect(), rollout::sum(others.iter()))
    }

    /// The attached edges.
    pub(crate) fn status(&self, now_ms: u64) -> Vec<EdgeStatus> {
        let attached = self.edges.values().filter(|edge| edge.stream.is_some());
        let one = |edge: &Edge| EdgeStatus {
            identity: edge.identity.clone(),
            version: edge.version.clone(),
            source: edge.source,
            since_ms: edge.since_ms,
            has: edge.has.clone(),
            meant: edge.meant.as_ref().map_or(0, |meant| meant.generation),
            lag_ms: edge.behind_ms.map_or(0, |since| now_ms.saturating_sub(since)),
            state: match (&edge.has, &edge.meant) {
                (Some(has), Some(meant)) if has == meant => EdgeState::Current,
                _ if !edge.faults.is_empty() => EdgeState::Refusing,
                _ => EdgeState::Behind,
            },
            canary: edge.trial.is_some_and(|trial| trial.canary),
            faults: edge.faults.clone(),
        };
        attached.map(one).collect()
    }

    /// What the attached edges counted.
    pub(crate) fn numbers(&self) -> Numbers {
        let attached = self.edges.values().filter(|edge| edge.stream.is_some());
        rollout::sum(attached.map(|edge| &edge.numbers))
    }
}

/// The first bytes of a text.
fn cut(text: &str, most: usize) -> String {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default().to_owned()
}
