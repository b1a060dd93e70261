//! The next table from the one before, in single steps: a server is added, drains, dies, is
//! removed, or gives some of its share to others.
//!
//! A bucket changes by the new owner taking the first slot and the old one the second, so that what
//! the old one has stays with it. Whoever was in the second slot before loses what it still has:
//! that is why the least recently changed bucket goes first, and none again within its hold-down
//! unless its owner is dead. An exchange of both slots breaks nothing and is free at any time.

use std::collections::BinaryHeap;

use packet_abi::Bucket;

use crate::balance::capacities;
pub use crate::balance::shares;
use crate::fleet::{Fleet, SERVERS_MAX, State};
use crate::table::Table;

/// When a step happens. Both on the planner's clock, in whatever unit it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// The time of the step; not before that of any earlier one.
    pub now: u64,
    /// For how long a changed bucket is left as it is.
    pub hold_down: u64,
}

/// What a step did, in buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Done {
    /// Got another owner, the old one in the second slot.
    pub moved: u32,
    /// Had their slots exchanged.
    pub exchanged: u32,
    /// Got another owner since theirs is gone.
    pub replaced: u32,
    /// Should have changed and did not: they are within their hold-down, or nobody can take them.
    pub held: u32,
}

impl Done {
    /// Buckets whose new connections go elsewhere.
    #[must_use]
    pub const fn changed(&self) -> u32 {
        self.moved + self.exchanged + self.replaced
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            moved: self.moved + other.moved,
            exchanged: self.exchanged + other.exchanged,
            replaced: self.replaced + other.replaced,
            held: self.held + other.held,
        }
    }
}

/// How many buckets each active server of `fleet` is to own, by id: in proportion to capacity.
#[must_use]
pub fn even_shares(fleet: &Fleet, buckets: u32) -> Vec<u32> {
    shares(&capacities(&fleet.those(|member| member.state == State::Active)), buckets)
}

impl Table {
    /// Gives `id`, which `fleet` has as active, its share of buckets; `wants` says how many each
    /// server is to own, by id, as [`even_shares`] does. Nobody gives more than it has over its
    /// own.
    pub fn add(&mut self, fleet: &Fleet, id: u16, wants: &[u32], when: When) -> Done {
        let mut step = Step::new(self, fleet, wants, when);
        let mut missing = step.lacks(id);
        let mut done = Done::default();
        // Buckets it owned before come back by exchange, whatever their hold-down.
        for exchange in [true, false] {
            for index in step.oldest(|step, bucket| {
                step.has_over(bucket.first) && exchange == (bucket.second == id)
            }) {
                let bucket = step.bucket(index);
                if missing == 0 {
                    break;
                }
                if !step.has_over(bucket.first) {
                    continue;
                }
                if exchange {
                    step.put(index, id, bucket.first);
                    done.exchanged += 1;
                } else if step.is_held(index, bucket.second) {
                    continue;
                } else {
                    step.put(index, id, bucket.first);
                    done.moved += 1;
                }
                missing -= 1;
            }
        }
        done.held = missing;
        done
    }

    /// Takes new connections away from `id`, which `fleet` has as draining; it keeps those it has.
    pub fn drain(&mut self, fleet: &Fleet, id: u16, wants: &[u32], when: When) -> Done {
        let mut step = Step::new(self, fleet, wants, when);
        let mut done = Done::default();
        for index in step.oldest(|_, bucket| bucket.first == id) {
            let bucket = step.bucket(index);
            let can_exchange = step.is(bucket.second, State::Active);
            let held = step.is_held(index, bucket.second);
            if can_exchange && (held || step.lacks(bucket.second) > 0) {
                step.put(index, bucket.second, id);
                done.exchanged += 1;
                continue;
            }
            match step.neediest() {
                Some(owner) if !held && step.owning == State::Active => {
                    step.put(index, owner, id);
                    done.moved += 1;
                }
                _ => done.held += 1,
            }
        }
        done
    }

    /// Takes `id` out of every slot, whatever their hold-down: it is dead, or gone for good.
    ///
    /// Where it owned a bucket the second hop becomes the owner, where that one is active; else a
    /// third server does.
    pub fn remove(&mut self, fleet: &Fleet, id: u16, wants: &[u32], when: When) -> Done {
        let mut step = Step::new(self, fleet, wants, when);
        step.states.iter_mut().skip(usize::from(id)).take(1).for_each(|state| *state = None);
        let mut done = Done::default();
        let indices = step.oldest(|_, bucket| bucket.first == id || bucket.second == id);
        // Those that have a second hop go first, so that thirds fill up what is left.
        for third in [false, true] {
            for index in indices.iter().copied() {
                let bucket = step.bucket(index);
                if bucket.first != id {
                    step.forget_second(index, id);
                } else if step.is(bucket.second, State::Active) {
                    step.put(index, bucket.second, 0);
                    done.replaced += 1;
                } else if third {
                    let keeps = step.is(bucket.second, State::Draining);
                    let second = if keeps { bucket.second } else { 0 };
                    match step.neediest() {
                        // Where all that live drain, who has connections goes on.
                        _ if keeps && step.owning == State::Draining => step.put(index, second, 0),
                        Some(owner) => step.put(index, owner, second),
                        None => step.put(index, 0, 0),
                    }
                    done.replaced += 1;
                }
            }
        }
        done
    }

    /// Moves at most `limit` buckets from servers that own more than `wants` says to those that
    /// own less: by exchange where that does it, and then by moves.
    pub fn rebalance(&mut self, fleet: &Fleet, wants: &[u32], limit: u32, when: When) -> Done {
        let mut step = Step::new(self, fleet, wants, when);
        let mut done = Done::default();
        for index in
            step.oldest(|step, bucket| step.has_over(bucket.first) && step.lacks(bucket.second) > 0)
        {
            let bucket = step.bucket(index);
            if done.changed() < limit
                && step.has_over(bucket.first)
                && step.lacks(bucket.second) > 0
            {
                step.put(index, bucket.second, bucket.first);
                done.exchanged += 1;
            }
        }
        for index in step.oldest(|step, bucket| step.has_over(bucket.first)) {
            let bucket = step.bucket(index);
            if done.changed() >= limit {
                break;
            }
            let needy = step.neediest().filter(|id| step.lacks(*id) > 0);
            let Some(owner) = needy else { break };
            if !step.has_over(bucket.first) {
                continue;
            }
            if step.is_held(index, bucket.second) {
                done.held += 1;
                continue;
            }
            step.put(index, owner, bucket.first);
            done.moved += 1;
        }
        done
    }
}

/// A bucket's slots as ids.
#[derive(Clone, Copy)]
struct Slots {
    first: u16,
    second: u16,
}

/// A table on its way to the next one.
struct Step<'a> {
    table: &'a mut Table,
    states: Vec<Option<State>>,
    wants: &'a [u32],
    owned: Vec<u32>,
    /// Who may be given buckets: active servers, or draining ones where none is active.
    owning: State,
    /// Those servers by what they lack; an entry is stale where the number has changed since.
    needy: BinaryHeap<(i64, std::cmp::Reverse<u16>)>,
    when: When,
}

impl<'a> Step<'a> {
    fn new(table: &'a mut Table, fleet: &Fleet, wants: &'a [u32], when: When) -> Self {
        let mut states = vec![None; SERVERS_MAX + 1];
        for member in fleet.members() {
            if let Some(state) = states.get_mut(usize::from(member.id)) {
                *state = Some(member.state);
            }
        }
        let owned = table.owned();
        let any_active = states.contains(&Some(State::Active));
        let owning = if any_active { State::Active } else { State::Draining };
        let needy = BinaryHeap::new();
        let mut step = Self { table, states, wants, owned, owning, needy, when };
        let owning = fleet.members().iter().filter(|member| member.state == owning);
        step.needy = owning.map(|m| (step.need(m.id), std::cmp::Reverse(m.id))).collect();
        step
    }

    fn is(&self, id: u16, state: State) -> bool {
        self.states.get(usize::from(id)).copied().flatten() == Some(state)
    }

    /// What a server lacks; negative where it has more.
    fn need(&self, id: u16) -> i64 {
        let at = |list: &[u32]| list.get(usize::from(id)).copied().map_or(0, i64::from);
        at(self.wants) - at(&self.owned)
    }

    /// What an active server lacks.
    fn lacks(&self, id: u16) -> u32 {
        let need = if self.is(id, State::Active) { self.need(id) } else { 0 };
        u32::try_from(need).unwrap_or(0)
    }

    fn has_over(&self, id: u16) -> bool {
        self.need(id) < 0
    }

    /// The server that lacks most.
    fn neediest(&mut self) -> Option<u16> {
        loop {
            let (need, std::cmp::Reverse(id)) = *self.needy.peek()?;
            if !self.is(id, self.owning) {
                self.needy.pop();
                continue;
            }
            let actual = self.need(id);
            if need == actual {
                return Some(id);
            }
            self.needy.pop();
            self.needy.push((actual, std::cmp::Reverse(id)));
        }
    }

    fn bucket(&self, index: usize) -> Slots {
        slots(self.table.bucket(index))
    }

    /// Whether what the second hop has is too young to be given up.
    fn is_held(&self, index: usize, second: u16) -> bool {
        let keeps = self.is(second, State::Active) || self.is(second, State::Draining);
        let until = self.table.changed(index).saturating_add(self.when.hold_down);
        keeps && self.table.changed(index) != 0 && self.when.now < until
    }

    fn put(&mut self, index: usize, first: u16, second: u16) {
        let old = usize::from(self.bucket(index).first);
        if let Some(owned) = self.owned.get_mut(old) {
            *owned = owned.saturating_sub(1);
        }
        if let Some(owned) = self.owned.get_mut(usize::from(first)) {
            *owned += 1;
        }
        self.table.set(index, Bucket::new(first, second), self.when.now);
        // Who lost the bucket lacks more than the heap says, and would not be found.
        if let Ok(id) = u16::try_from(old)
            && self.is(id, self.owning)
        {
            self.needy.push((self.need(id), std::cmp::Reverse(id)));
        }
    }

    fn forget_second(&mut self, index: usize, id: u16) {
        let bucket = self.bucket(index);
        if bucket.second == id {
            let changed = self.table.changed(index);
            self.table.set(index, Bucket::new(bucket.first, 0), changed);
        }
    }

    /// The buckets that `pick` wants, the least recently changed first.
    fn oldest(&self, pick: impl Fn(&Self, Slots) -> bool) -> Vec<usize> {
        let all = self.table.buckets().iter().enumerate();
        let picked = all.filter(|(_, bucket)| pick(self, slots(**bucket)));
        let mut order: Vec<usize> = picked.map(|(index, _)| index).collect();
        order.sort_by_key(|index| self.table.changed(*index));
        order
    }
}

fn slots(bucket: Bucket) -> Slots {
    Slots { first: bucket.first() as u16, second: bucket.second() as u16 }
}
