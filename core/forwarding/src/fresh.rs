//! The table of a fleet as a function of the list of servers and nothing else, for fleets that a
//! file configures: servers that read the same file write the same table without talking.
//!
//! Such a table cannot know what was there before it, so it takes the second hop from the fleets
//! that most likely were: with the servers that are draining, with those that died, without the one
//! that has the highest id. See `docs/algorithms/forwarding.md`.

use packet_abi::Bucket;

use crate::balance::owners;
use crate::fleet::{Fleet, Member, SERVERS_MAX, State};
use crate::race::{Race, before_and_after};
use crate::table::{Buckets, Table};

impl Table {
    /// The table of `fleet`, a function of the arguments alone.
    ///
    /// The first hop of each bucket is an active server (a draining one where none is active, none
    /// where all are dead), each in proportion to its capacity. The second hop is never dead.
    #[must_use]
    pub fn fresh(fleet: &Fleet, seed: u64, buckets: Buckets) -> Self {
        if fleet.members().iter().all(|member| member.state == State::Active) {
            return Self::all_serve(fleet, seed, buckets);
        }
        let worlds = Worlds::of(fleet, seed, buckets);
        let mut dead = [false; SERVERS_MAX + 1];
        for member in fleet.members().iter().filter(|member| member.state == State::Dead) {
            if let Some(dead) = dead.get_mut(usize::from(member.id)) {
                *dead = true;
            }
        }
        let owners = worlds.owners.iter().copied();
        let bucket = |(at, first)| Bucket::new(first, worlds.second(at, first, &dead));
        Self::of(owners.enumerate().map(bucket).collect())
    }

    /// The table of a fleet in which all serve, as nearly always: what [`Worlds`] would give,
    /// without asking who is dead.
    fn all_serve(fleet: &Fleet, seed: u64, buckets: Buckets) -> Self {
        let members = fleet.members();
        let (older, newest) = members.split_at(members.len().saturating_sub(1));
        let [before, wants] = before_and_after(older, newest, seed, buckets.bits());
        let settled = owners(&before, older);
        let firsts = owners(&wants, members);
        let all = firsts.iter().zip(&settled).zip(&wants);
        Self::of(all.map(|((first, before), wants)| usual(*first, *before, *wants)).collect())
    }
}

/// A bucket of a fleet in which all serve.
#[inline]
fn usual(first: u16, before: u16, [one, other]: [u16; 2]) -> Bucket {
    let candidate = if one == first { other } else { one };
    let second = if before == first || before == 0 { candidate } else { before };
    Bucket::new(first, second)
}

/// The fleet as it is, and as it may have been.
struct Worlds {
    /// Who owns each bucket.
    owners: Vec<u16>,
    /// Who owned it in the fleets before, the likeliest first.
    before: Vec<Vec<u16>>,
    /// Candidates among those that may own buckets.
    owning: Race,
    /// Candidates among those that may get packets, where these are more.
    alive: Option<Race>,
}

impl Worlds {
    fn of(fleet: &Fleet, seed: u64, buckets: Buckets) -> Self {
        let alive = fleet.those(|member| member.state != State::Dead);
        let active = fleet.those(|member| member.state == State::Active);
        let owning = if active.is_empty() { alive.clone() } else { active };
        let newest = owning.last().copied();
        let older = without(&owning, newest.as_slice());
        let leaving = without(&alive, &owning);

        let mut race = Race::run(&older, seed, buckets.bits());
        let settled = if leaving.is_empty() {
            owners(&race.ids(), &older)
        } else {
            let race = extended(&race, &older, &leaving, (seed, buckets));
            owners(&race.ids(), &without(&alive, newest.as_slice()))
        };
        race.join(newest.as_slice());
        let mut before = Vec::new();
        let alive_race = (!leaving.is_empty()).then(|| {
            let race = extended(&race, &owning, &leaving, (seed, buckets));
            before.push(owners(&race.ids(), &alive));
            race
        });
        if alive.len() < fleet.members().len() {
            let dead = without(fleet.members(), &alive);
            let base = alive_race.as_ref().unwrap_or(&race);
            let race = extended(base, &alive, &dead, (seed, buckets));
            before.push(owners(&race.ids(), fleet.members()));
        }
        before.push(settled);
        let owners = owners(&race.ids(), &owning);
        Self { owners, before, owning: race, alive: alive_race }
    }

    /// The second hop of a bucket: the first of those that may have owned it, or want it next, and
    /// may get packets.
    #[inline]
    fn second(&self, index: usize, first: u16, dead: &[bool; SERVERS_MAX + 1]) -> u16 {
        let usable = |id: u16| id != 0 && id != first && !dead[usize::from(id) & SERVERS_MAX];
        for owners in &self.before {
            let id = owners.get(index).copied().unwrap_or(0);
            if usable(id) {
                return id;
            }
        }
        for race in self.alive.iter().chain([&self.owning]) {
            for id in race.candidates(index) {
                if usable(id) {
                    return id;
                }
            }
        }
        0
    }
}

/// A race over `has`, which `race` is, and `more`.
fn extended(race: &Race, has: &[Member], more: &[Member], of: (u64, Buckets)) -> Race {
    // Either way gives the same. Those who join a small race walk far.
    if more.len() > has.len() / 4 {
        let members: Vec<Member> = has.iter().chain(more).copied().collect();
        return Race::run(&members, of.0, of.1.bits());
    }
    let mut race = race.clone();
    race.join(more);
    race
}

/// Those of `members` that are not among `others`; both in the order of ids.
fn without(members: &[Member], others: &[Member]) -> Vec<Member> {
    let other = |id: u16| others.binary_search_by_key(&id, |member| member.id).is_ok();
    members.iter().copied().filter(|member| !other(member.id)).collect()
}
