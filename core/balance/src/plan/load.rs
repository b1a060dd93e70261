//! What each server is to own, from what it owns and how its load deviates from the mean.
//!
//! A proportional control: a server whose load is a tenth over the mean is to own `gain` of a tenth
//! less. It starts from what is owned, not from what was wanted, so that rounds whose moves were
//! cut short do not add up. What some give and what others take is brought to the same sum by all
//! that have a load, and whoever is within the tolerance keeps what it has otherwise.

use core_forwarding::step::even_shares;
use core_forwarding::{Fleet, State, Table};

use super::{Observation, Policy, Report};

/// What a round aims at.
pub(super) struct Aim {
    /// Buckets of each server, by id.
    pub(super) wants: Vec<u32>,
    /// The server furthest from the mean, if it is past the tolerance.
    pub(super) deviation: Option<Report>,
}

/// What a round aims at. Servers that join, and all where no load is known, are to have their share
/// by capacity.
pub(super) fn aim(
    policy: &Policy,
    fleet: &Fleet,
    table: &Table,
    joining: &[u16],
    seen: &[Observation],
) -> Aim {
    let even = even_shares(fleet, table.buckets().len() as u32);
    let is_active = |id: u16| fleet.get(id).is_some_and(|m| m.state == State::Active);
    let settled =
        |seen: &&Observation| is_active(seen.member.id) && !joining.contains(&seen.member.id);
    let loads: Vec<(u16, u64)> = seen
        .iter()
        .filter(settled)
        .filter_map(|seen| seen.load.map(|load| (seen.member.id, load)))
        .collect();
    let mean = loads.iter().map(|(_, load)| load).sum::<u64>() / (loads.len() as u64).max(1);
    if mean == 0 {
        return Aim { wants: even, deviation: None };
    }
    let mut wants = table.owned();
    for (id, want) in (0_u16..).zip(&mut wants) {
        if !is_active(id) {
            *want = 0;
        }
    }
    let mut gives: Vec<(u16, u64)> = Vec::new();
    let mut takes: Vec<(u16, u64)> = Vec::new();
    for (id, load) in &loads {
        let owned = wants.get(usize::from(*id)).copied().unwrap_or(0);
        let change = change(policy, owned, *load, mean);
        if change > 0 {
            if *load > mean { &mut gives } else { &mut takes }.push((*id, change));
        }
    }
    for id in joining {
        let at = |list: &[u32]| list.get(usize::from(*id)).copied().map_or(0, u64::from);
        takes.push((*id, at(&even).saturating_sub(at(&wants)) * WHOLE));
    }
    settle(&mut wants, &gives, &takes, &loads);
    let furthest = loads.iter().max_by_key(|(id, load)| (load.abs_diff(mean), *id));
    let thousandths = |load: u64| (load.abs_diff(mean) * 1000 / mean) as u32;
    let deviation = furthest
        .filter(|(_, load)| thousandths(*load) > policy.tolerance)
        .map(|(id, load)| (*id, thousandths(*load), *load > mean))
        .map(|(id, thousandths, above)| Report::Deviates { id, thousandths, above });
    Aim { wants, deviation }
}

/// Fixed point of changes: parts of a bucket.
const WHOLE: u64 = 1000;

/// By how much of a bucket, in thousandths, a share is to change.
fn change(policy: &Policy, owned: u32, load: u64, mean: u64) -> u64 {
    let deviation = u128::from(load.abs_diff(mean)) * 1000 / u128::from(mean);
    if deviation <= u128::from(policy.tolerance) {
        return 0;
    }
    let part = (deviation * u128::from(policy.gain) / 1000).min(policy.share_change_max.into());
    u64::try_from(u128::from(owned) * part * u128::from(WHOLE) / 1000).unwrap_or(u64::MAX)
}

/// Brings what is given and what is taken to the same number of buckets and applies it. Where more
/// is taken than given, as when a server joins, the rest comes from all in proportion to what they
/// own.
fn settle(wants: &mut [u32], gives: &[(u16, u64)], takes: &[(u16, u64)], all: &[(u16, u64)]) {
    let sum = |list: &[(u16, u64)]| list.iter().map(|(_, part)| part).sum::<u64>() / WHOLE;
    let (given, taken) = (sum(gives), sum(takes));
    if given < taken {
        let own = |id: u16| wants.get(usize::from(id)).copied().map_or(0, u64::from);
        let rest: Vec<(u16, u64)> = all.iter().map(|(id, _)| (*id, own(*id))).collect();
        apply(wants, &rest, taken - given, false);
    }
    if taken < given {
        let own = |id: u16| wants.get(usize::from(id)).copied().map_or(0, u64::from);
        let rest: Vec<(u16, u64)> = all.iter().map(|(id, _)| (*id, own(*id))).collect();
        apply(wants, &rest, given - taken, true);
    }
    apply(wants, gives, given, false);
    apply(wants, takes, taken, true);
}

/// Gives or takes `buckets` in proportion to the parts.
fn apply(wants: &mut [u32], parts: &[(u16, u64)], buckets: u64, add: bool) {
    let buckets = u32::try_from(buckets).unwrap_or(u32::MAX);
    for (want, part) in wants.iter_mut().zip(core_forwarding::step::shares(parts, buckets)) {
        *want = if add { want.saturating_add(part) } else { want.saturating_sub(part) };
    }
}
