//! The planner of a fleet's forwarding table: the next table from policy, what was observed, and
//! the table before; with a report of what was done, what was not, and why.
//!
//! A round takes out who is gone, drains who leaves or is ill, and moves share from servers with
//! more load to servers with less. It is a function of its arguments: whoever has them makes the
//! same plan, so that a standby can go on where another stopped. `core/forwarding` changes the
//! buckets; `weir packet simulate` shows rounds in virtual time.

mod health;
mod lint;
mod load;
mod report;

use core_forwarding::fleet::SERVERS_MAX;
use core_forwarding::step::{Done, When, even_shares, shares};
use core_forwarding::{Buckets, Fleet, FleetError, Member, State, Table};

pub use lint::{Finding, lint};
pub use report::{Report, Why};

/// How the planner acts. Times are in the caller's unit, the same as that of `now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For how long a changed bucket is left as it is: the life of most connections.
    pub hold_down: u64,
    /// For how long a server must be unhealthy before it is drained.
    pub patience: u64,
    /// For how long after the start of a reporting agent what it says about health is disregarded.
    pub agent_grace: u64,
    /// Where more than this of the active servers are unhealthy at once, or all are, the fault is
    /// general and all stay in. Percent, 0 to 100.
    pub general_fault_percent: u32,
    /// How much of a server's deviation from the mean load one round corrects. Thousandths.
    pub gain: u32,
    /// Deviations up to this are left alone. Thousandths of the mean.
    pub tolerance: u32,
    /// Most that a server's share changes in a round because of load. Thousandths of it.
    pub share_change_max: u32,
    /// Most buckets that a round moves to balance. Those of servers that left are not counted.
    pub moves_max: u32,
}

impl Default for Policy {
    /// For rounds of a minute, in seconds.
    fn default() -> Self {
        Self {
            hold_down: 3_600,
            patience: 30,
            agent_grace: 120,
            general_fault_percent: 20,
            gain: 300,
            tolerance: 30,
            share_change_max: 100,
            moves_max: 1_024,
        }
    }
}

/// What is known of a server in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Its id, capacity, and the state that its operator gave it.
    pub member: Member,
    /// What its agent says about its service, if it says anything.
    pub health: Option<Health>,
    /// Its load, in any unit that all servers have in common, such as CPU time per capacity: what
    /// is to become equal. At most 2^40.
    pub load: Option<u64>,
}

/// What an agent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether the service is well.
    pub healthy: bool,
    /// Since when it says so.
    pub since: u64,
    /// When the agent started.
    pub agent_started: u64,
}

/// A table on its way through rounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The table.
    pub table: Table,
    /// Servers that have not had their first whole share since they came, by id.
    pub joining: Vec<u16>,
}

impl Plan {
    /// The plan that a fleet starts with: all healthy, shares by capacity.
    #[must_use]
    pub fn start(fleet: &Fleet, seed: u64, buckets: Buckets) -> Self {
        Self { table: Table::fresh(fleet, seed, buckets), joining: Vec::new() }
    }

    /// The next plan, and what was done for it.
    ///
    /// # Errors
    /// Where the observations are of no fleet: a server twice, an id or a capacity out of range.
    /// The plan stays as it is.
    pub fn next(
        &self,
        policy: &Policy,
        observations: &[Observation],
        now: u64,
    ) -> Result<(Self, Vec<Report>), FleetError> {
        Fleet::new(observations.iter().map(|seen| seen.member).collect())?;
        let mut reports = Vec::new();
        let members = health::judge(policy, observations, now, &mut reports);
        let fleet = Fleet::new(members)?;
        let when = When { now, hold_down: policy.hold_down };
        let mut round =
            Round { table: self.table.clone(), joining: self.joining.clone(), fleet, when };
        round.remove(&mut reports);
        round.drain(&mut reports);
        round.join(&mut reports);
        round.balance(policy, observations, &mut reports);
        Ok((Self { table: round.table, joining: round.joining }, reports))
    }
}

/// A round under way.
struct Round {
    table: Table,
    joining: Vec<u16>,
    /// The servers as the round takes them: who is ill is draining.
    fleet: Fleet,
    when: When,
}

impl Round {
    fn buckets(&self) -> u32 {
        self.table.buckets().len() as u32
    }

    fn is(&self, id: u16, state: State) -> bool {
        self.fleet.get(id).is_some_and(|member| member.state == state)
    }

    fn active(&self) -> impl Iterator<Item = &Member> + '_ {
        self.fleet.members().iter().filter(|member| member.state == State::Active)
    }

    /// What each server is to own when others leave: as much of the whole as it has of what active
    /// servers own, so that what was learned of their load is kept.
    fn wants(&self) -> Vec<u32> {
        let owned = self.table.owned();
        let own = |id: u16| owned.get(usize::from(id)).copied().map_or(0, u64::from);
        let weights: Vec<(u16, u64)> = self.active().map(|m| (m.id, own(m.id))).collect();
        if weights.iter().all(|(_, weight)| *weight == 0) {
            return even_shares(&self.fleet, self.buckets());
        }
        shares(&weights, self.buckets())
    }

    /// Takes out those who may get no packet.
    fn remove(&mut self, reports: &mut Vec<Report>) {
        let mut there = [false; SERVERS_MAX + 1];
        for bucket in self.table.buckets() {
            for id in [bucket.first(), bucket.second()] {
                there.iter_mut().skip(id as usize).take(1).for_each(|there| *there = true);
            }
        }
        let found = (0_u16..).zip(there).filter(|(id, there)| *there && *id != 0);
        for (id, _) in found {
            let why = match self.fleet.get(id).map(|member| member.state) {
                None => Why::Gone,
                Some(State::Dead) => Why::Dead,
                Some(_) => continue,
            };
            let done = self.table.remove(&self.fleet, id, &self.wants(), self.when);
            reports.push(Report::Removed { id, why, done });
        }
        let fleet = &self.fleet;
        let stays = |id: u16| fleet.get(id).is_some_and(|m| m.state == State::Active);
        self.joining.retain(|id| stays(*id));
    }

    /// Takes new connections from those who leave.
    fn drain(&mut self, reports: &mut Vec<Report>) {
        let owned = self.table.owned();
        for (id, _) in (0_u16..).zip(owned).filter(|(_, owned)| *owned > 0) {
            if self.is(id, State::Draining) {
                let done = self.table.drain(&self.fleet, id, &self.wants(), self.when);
                reports.push(Report::Drained { id, done });
            }
        }
    }

    /// Notes who has nothing yet.
    fn join(&mut self, reports: &mut Vec<Report>) {
        let owned = self.table.owned();
        let nothing = |id: u16| owned.get(usize::from(id)) == Some(&0);
        let new: Vec<u16> =
            self.active().map(|member| member.id).filter(|id| nothing(*id)).collect();
        for id in new {
            if !self.joining.contains(&id) {
                self.joining.push(id);
                reports.push(Report::Joined { id });
            }
        }
        self.joining.sort_unstable();
    }

    /// Moves share towards equal load, and towards those who join.
    fn balance(&mut self, policy: &Policy, seen: &[Observation], reports: &mut Vec<Report>) {
        let aim = load::aim(policy, &self.fleet, &self.table, &self.joining, seen);
        if let Some(deviation) = aim.deviation {
            reports.push(deviation);
        }
        let limit = policy.moves_max;
        let done = self.table.rebalance(&self.fleet, &aim.wants, limit, self.when);
        if done != Done::default() {
            reports.push(Report::Balanced { done, limit });
        }
        let owned = self.table.owned();
        let has = |list: &[u32], id: u16| list.get(usize::from(id)).copied().unwrap_or(0);
        self.joining.retain(|id| has(&owned, *id) < has(&aim.wants, *id));
    }
}
