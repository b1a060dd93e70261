//! The same events under other ways of placing connections, none of which has a second hop: a
//! connection whose bucket moves breaks where its server lives.

use super::{Connections, Outcome};
use core_forwarding::mix::draw;
use core_forwarding::{Fleet, Member, State, maglev};

/// A way of placing connections.
pub(super) trait Placement {
    /// Its name in the result.
    fn name(&self) -> &'static str;
    /// The owner of every place among the active servers, which differ from those of the last
    /// call.
    fn owners(&mut self, active: &[Member]) -> anyhow::Result<Vec<u16>>;
}

/// All of them, and what became of connections.
pub(super) struct Others {
    active: Vec<Member>,
    all: Vec<(Box<dyn Placement>, Vec<u16>, Outcome)>,
}

impl Others {
    pub(super) fn new(placements: Vec<Box<dyn Placement>>) -> Self {
        let start = |placement: Box<dyn Placement>| {
            let outcome = Outcome { name: placement.name(), ..Outcome::default() };
            (placement, Vec::new(), outcome)
        };
        Self { active: Vec::new(), all: placements.into_iter().map(start).collect() }
    }

    /// Takes the fleet of a round.
    pub(super) fn advance(&mut self, fleet: &Fleet, now: &Connections) -> anyhow::Result<()> {
        let is_active = |member: &&Member| member.state == State::Active;
        let active: Vec<Member> = fleet.members().iter().filter(is_active).copied().collect();
        if active == self.active {
            return Ok(());
        }
        let lives = |id: u16| fleet.get(id).is_some_and(|member| member.state != State::Dead);
        for (placement, owners, outcome) in &mut self.all {
            let new = placement.owners(&active)?;
            let moved = owners.iter().zip(&new).filter(|(old, new)| old != new);
            outcome.moved += moved.clone().count() as u64;
            let broken = moved.filter(|(old, _)| lives(**old)).count();
            // A place stands for as many connections as the buckets do that it takes the part of.
            let each = now.open * now.former.len() as f64 / new.len().max(1) as f64;
            outcome.broken += broken as f64 * each;
            *owners = new;
        }
        self.active = active;
        Ok(())
    }

    pub(super) fn outcomes(self) -> impl Iterator<Item = Outcome> {
        self.all.into_iter().map(|(_, _, outcome)| outcome)
    }
}

/// Maglev with 65,537 entries.
pub(super) struct Maglev;

impl Placement for Maglev {
    fn name(&self) -> &'static str {
        "Maglev"
    }

    fn owners(&mut self, active: &[Member]) -> anyhow::Result<Vec<u16>> {
        let table = maglev::table(&Fleet::new(active.to_vec())?, 0, maglev::ENTRIES)?;
        Ok(table.iter().map(|entry| entry.first() as u16).collect())
    }
}

/// Rendezvous hashing of 65,536 places.
pub(super) struct Rendezvous {
    seed: u64,
    active: Vec<u16>,
    best: Vec<(u64, u16)>,
}

impl Rendezvous {
    const PLACES: usize = 65_536;

    pub(super) fn new(seed: u64) -> Self {
        Self { seed, active: Vec::new(), best: vec![(u64::MAX, 0); Self::PLACES] }
    }
}

impl Placement for Rendezvous {
    fn name(&self) -> &'static str {
        "rendezvous"
    }

    fn owners(&mut self, active: &[Member]) -> anyhow::Result<Vec<u16>> {
        let ids: Vec<u16> = active.iter().map(|member| member.id).collect();
        let score = |id: u16, place: u64| (draw(self.seed, u64::from(id), place), id);
        let has = |list: &[u16], id: u16| list.binary_search(&id).is_ok();
        let new: Vec<u16> = ids.iter().copied().filter(|id| !has(&self.active, *id)).collect();
        for (place, best) in (0_u64..).zip(&mut self.best) {
            // Where the owner left all are asked, else those who came.
            let asked = if has(&ids, best.1) { &new } else { &ids };
            let start = if has(&ids, best.1) { *best } else { (u64::MAX, 0) };
            *best = asked.iter().map(|id| score(*id, place)).fold(start, Ord::min);
        }
        self.active = ids;
        Ok(self.best.iter().map(|(_, id)| *id).collect())
    }
}

/// A router that takes the hash modulo the number of servers.
pub(super) struct Ecmp;

impl Placement for Ecmp {
    fn name(&self) -> &'static str {
        "plain ECMP"
    }

    fn owners(&mut self, active: &[Member]) -> anyhow::Result<Vec<u16>> {
        let owner = |place: u64| {
            let at = draw(0, 0, place) % active.len().max(1) as u64;
            active.get(at as usize).map_or(0, |member| member.id)
        };
        Ok((0..65_536).map(owner).collect())
    }
}
