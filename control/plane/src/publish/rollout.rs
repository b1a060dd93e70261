//! Whether a change that some edges got first goes to all of them, from what these edges tell.
//!
//! Pure: times come in as milliseconds. Who asks, and what is done about the answer, is the
//! publisher's.

use control_api::publish::{Hash, Numbers};
use std::fmt;

/// Requests below which a rate of errors says nothing: one in fifty is two percent.
pub(crate) const REQUESTS_MIN: u64 = 50;
/// How many times as many errors as usual are a rise.
const RISE_TIMES: u64 = 2;
/// Errors in ten thousand requests that are no rise whatever was before.
const ERRORS_NONE: u64 = 100;
/// How far chance alone takes a count from what was expected, in standard deviations of a Poisson
/// distribution and errors beyond: it is looked at a hundred times, and hardly ever wrongly.
const CHANCE_DEVIATIONS: u64 = 4;
const CHANCE_ERRORS: u64 = 5;
/// How long an edge may take beyond the hold until it has the change in force, in milliseconds: as
/// long as it is given to acknowledge it.
pub(crate) const SILENCE_MAX_MS: u64 = 60_000;

/// How long an edge that has the change may be unheard of beyond the hold, in milliseconds: it
/// tells how it does once a minute at least, and may be under way to another control plane.
pub(crate) const UNHEARD_MAX_MS: u64 = 90_000;

/// An edge that got the change first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Canary {
    /// What people know it by.
    pub(crate) name: String,
    /// How it stands.
    pub(crate) phase: Phase,
    /// How often its process was started since it was chosen.
    pub(crate) restarts: u64,
    /// When it last told how it does, in milliseconds; none while it is not attached.
    pub(crate) told_ms: Option<u64>,
    /// Counts from the start of its process until it had the change in force, without those while
    /// it had one that was halted.
    pub(crate) before: Numbers,
    /// Counts since then.
    pub(crate) since: Numbers,
}

/// How an edge stands with the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does not have it in force yet, or its stream is lost.
    Waiting,
    /// It has had it in force since then.
    Applied {
        /// In milliseconds.
        at_ms: u64,
    },
    /// It cannot put it in force.
    Refused,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Wait,
    /// It goes to all edges.
    Approve,
    /// It goes to no further edge, and back on those that have it.
    Halt(Reason),
}

/// Why a change goes to no further edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// An edge cannot put it in force.
    Refused(String),
    /// An edge's process was started again.
    Restarted(String),
    /// An edge did not put it in force in time.
    Silent(String),
    /// An edge that had it in force was not heard of again.
    Lost(String),
    /// Tasks panic.
    Panics(u64),
    /// More requests fail.
    Errors {
        /// Of the edges that have it, in ten thousand.
        rate: u64,
        /// The greater one of what these edges had before and what the others have.
        usual: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |rate: &u64| format!("{}.{:02} %", rate / 100, rate % 100);
        match self {
            Self::Refused(edge) => write!(f, "edge {edge} cannot put it in force"),
            Self::Restarted(edge) => write!(f, "edge {edge} was started again"),
            Self::Silent(edge) => write!(f, "edge {edge} did not put it in force in time"),
            Self::Lost(edge) => write!(f, "edge {edge} has it and is not heard of any longer"),
            Self::Panics(count) => write!(f, "{count} tasks panicked on edges that have it"),
            Self::Errors { rate, usual } => {
                let (rate, usual) = (percent(rate), percent(usual));
                write!(f, "{rate} of requests fail on edges that have it, {usual} elsewhere")
            }
        }
    }
}

/// Judges a change. `begun_ms` is when it was offered to the first edge, `hold_ms` how long edges
/// must do well with it, `others` what the other edges counted meanwhile. What an edge told before
/// it held the change that long says nothing of the rest, and one that fell silent says nothing.
pub(crate) fn judge(
    now_ms: u64,
    begun_ms: u64,
    hold_ms: u64,
    canaries: &[Canary],
    others: &Numbers,
) -> Verdict {
    let name = |canary: &Canary| canary.name.clone();
    if let Some(canary) = canaries.iter().find(|canary| canary.phase == Phase::Refused) {
        return Verdict::Halt(Reason::Refused(name(canary)));
    }
    if let Some(canary) = canaries.iter().find(|canary| canary.restarts > 0) {
        return Verdict::Halt(Reason::Restarted(name(canary)));
    }
    let since = sum(canaries.iter().map(|canary| &canary.since));
    let before = sum(canaries.iter().map(|canary| &canary.before));
    if let Some(reason) = rise(&since, &before, others) {
        return Verdict::Halt(reason);
    }
    let over = |from: u64, max: u64| now_ms >= from.saturating_add(hold_ms).saturating_add(max);
    let mut held = !canaries.is_empty();
    for canary in canaries {
        match canary.phase {
            Phase::Applied { at_ms } => {
                let told = canary.told_ms.is_some_and(|told| told >= at_ms.saturating_add(hold_ms));
                if !told && over(at_ms, UNHEARD_MAX_MS) {
                    return Verdict::Halt(Reason::Lost(name(canary)));
                }
                held &= told;
            }
            Phase::Waiting if over(begun_ms, SILENCE_MAX_MS) => {
                return Verdict::Halt(Reason::Silent(name(canary)));
            }
            Phase::Waiting | Phase::Refused => held = false,
        }
    }
    if held { Verdict::Approve } else { Verdict::Wait }
}

/// What of these numbers is worse than it was and than it is elsewhere.
fn rise(since: &Numbers, before: &Numbers, others: &Numbers) -> Option<Reason> {
    let panics = |of: &Numbers| per_ten_thousand(of.panics, of.requests.max(1));
    if since.panics > 0 && panics(since) > panics(before).max(panics(others)) {
        return Some(Reason::Panics(since.panics));
    }
    if since.requests < REQUESTS_MIN {
        return None;
    }
    let errors = |of: &Numbers| match of.requests {
        few if few < REQUESTS_MIN => 0,
        requests => per_ten_thousand(of.errors, requests),
    };
    let (rate, usual) = (errors(since), errors(before).max(errors(others)));
    let expected = since.requests.saturating_mul(usual.max(ERRORS_NONE)) / 10_000;
    let chance = expected + CHANCE_DEVIATIONS * expected.isqrt() + CHANCE_ERRORS;
    let risen = since.errors > chance.max(expected.saturating_mul(RISE_TIMES));
    risen.then_some(Reason::Errors { rate, usual })
}

fn per_ten_thousand(part: u64, whole: u64) -> u64 {
    part.saturating_mul(10_000).checked_div(whole).unwrap_or(0)
}

/// All of these counts together.
pub(crate) fn sum<'n>(all: impl Iterator<Item = &'n Numbers>) -> Numbers {
    all.fold(Numbers::default(), |sum, one| Numbers {
        requests: sum.requests.saturating_add(one.requests),
        errors: sum.errors.saturating_add(one.errors),
        panics: sum.panics.saturating_add(one.panics),
        active: sum.active.saturating_add(one.active),
    })
}

/// What was counted from one moment to a later one of the same process.
pub(crate) fn from_to(from: &Numbers, to: &Numbers) -> Numbers {
    Numbers {
        requests: to.requests.saturating_sub(from.requests),
        errors: to.errors.saturating_sub(from.errors),
        panics: to.panics.saturating_sub(from.panics),
        active: to.active,
    }
}

/// Which of the attached edges get a change first: a share of them, one at least, by the hash of
/// their ids, so that two control planes and two changes choose alike.
pub(crate) fn choose<'e>(edges: impl Iterator<Item = &'e str>, percent: u32) -> Vec<&'e str> {
    let mut edges: Vec<_> = edges.map(|id| (Hash::of(id.as_bytes()), id)).collect();
    edges.sort();
    let share = edges.len().saturating_mul(percent.min(100) as usize).div_ceil(100);
    edges.truncate(share);
    edges.into_iter().map(|(_, id)| id).collect()
}

#[cfg(test)]
#[path = "rollout/tests.rs"]
mod tests;
