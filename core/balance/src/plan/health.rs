//! Who of the active servers is taken as draining because its service is ill.

use core_forwarding::{Member, State};

use super::{Observation, Policy, Report};

/// The servers as a round takes them.
///
/// A server is ill once its agent has said so for long enough, and not because the agent has just
/// started. Where too many are ill at once, or all are, nobody is: then it is the site that is
/// overloaded, and what the ill ones give up would push over the rest.
pub(super) fn judge(
    policy: &Policy,
    observations: &[Observation],
    now: u64,
    reports: &mut Vec<Report>,
) -> Vec<Member> {
    let active = |seen: &&Observation| seen.member.state == State::Active;
    let mut ill = Vec::new();
    for seen in observations.iter().filter(active) {
        let Some(health) = seen.health.filter(|health| !health.healthy) else { continue };
        if now < health.agent_started.saturating_add(policy.agent_grace) {
            reports.push(Report::AgentDisregarded { id: seen.member.id });
        } else if now >= health.since.saturating_add(policy.patience) {
            ill.push(seen.member.id);
        }
    }
    let of = observations.iter().filter(active).count();
    let many = ill.len() * 100 > of * policy.general_fault_percent as usize;
    if many || (ill.len() == of && of > 0) {
        reports.push(Report::KeptIn { ill: ill.len(), of });
        ill.clear();
    }
    let judged = |seen: &Observation| {
        let is_ill = ill.contains(&seen.member.id);
        Member { state: if is_ill { State::Draining } else { seen.member.state }, ..seen.member }
    };
    for id in &ill {
        reports.push(Report::Ill { id: *id });
    }
    observations.iter().map(judged).collect()
}
