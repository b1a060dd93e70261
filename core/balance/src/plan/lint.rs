//! What must hold from one table to the next, whatever the planner did: looked at after each round
//! of a simulation and in tests, and by whoever is about to publish a plan.

use core_forwarding::fleet::SERVERS_MAX;
use core_forwarding::{Fleet, State, Table};
use packet_abi::Bucket;
use thiserror::Error;

/// What does not hold for a bucket. The planner is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("bucket {index} went from {old:?} to {new:?} at {now}: {what}")]
pub struct Finding {
    /// The bucket.
    pub index: usize,
    /// Before the round.
    pub old: Bucket,
    /// After it.
    pub new: Bucket,
    /// Time of the round.
    pub now: u64,
    /// The promise that was broken.
    pub what: &'static str,
}

/// Checks a round at `now`: `fleet` has the states that operators gave the servers.
///
/// # Errors
/// The first bucket for which a promise was broken.
pub fn lint(
    fleet: &Fleet,
    before: &Table,
    after: &Table,
    now: u64,
    hold_down: u64,
) -> Result<(), Finding> {
    let mut states = [None; SERVERS_MAX + 1];
    for member in fleet.members() {
        states.iter_mut().skip(usize::from(member.id)).take(1).for_each(|state| {
            *state = Some(member.state);
        });
    }
    let state = |id: u32| states.get(id as usize).copied().flatten();
    let any_active = states.contains(&Some(State::Active));
    let any_lives = any_active || states.contains(&Some(State::Draining));
    let lives = |id: u32| matches!(state(id), Some(State::Active | State::Draining));
    let pairs = before.buckets().iter().zip(after.buckets()).enumerate();
    for (index, (old, new)) in pairs {
        let kept = |id: u32| id == new.first() || id == new.second();
        let since = before.changed(index);
        let held = since != 0 && now < since.saturating_add(hold_down);
        let gives_to_draining =
            new.first() != old.first() && state(new.first()) == Some(State::Draining) && any_active;
        let what = if !lives(new.first()) && any_lives {
            "every bucket has an owner that lives"
        } else if new.second() != 0 && !lives(new.second()) {
            "no second hop is dead or gone"
        } else if new.first() == new.second() && new.first() != 0 {
            "the second hop is another server"
        } else if gives_to_draining {
            "nothing is given to a server that drains"
        } else if lives(old.first()) && !kept(old.first()) {
            "an owner that lives keeps a slot"
        } else if held && lives(old.first()) && lives(old.second()) && !kept(old.second()) {
            "a second hop that lives keeps its slot within the hold-down"
        } else {
            continue;
        };
        return Err(Finding { index, old: *old, new: *new, now, what });
    }
    Ok(())
}
