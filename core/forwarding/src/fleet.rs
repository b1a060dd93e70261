//! The servers of a fleet as tables see them: id, capacity, state.

use packet_abi::tables::SERVER_ID_MAX;
use thiserror::Error;

/// Largest capacity of a server, in the operator's unit: shares are computed in 64 bits, exactly.
pub const CAPACITY_MAX: u32 = 1_000_000;
/// Servers of a fleet: one for each id.
pub const SERVERS_MAX: usize = SERVER_ID_MAX as usize;

/// What a server may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// New connections and old ones.
    Active,
    /// The connections it has; new ones go elsewhere.
    Draining,
    /// No packet.
    Dead,
}

/// A server of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// 1 to [`SERVER_ID_MAX`].
    pub id: u16,
    /// Its share of new connections, in any unit that all servers have in common; 1 to
    /// [`CAPACITY_MAX`].
    pub capacity: u32,
    /// What it may get.
    pub state: State,
}

/// What is wrong with a list of servers. The operator's list is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FleetError {
    /// An id that no table can hold.
    #[error("server id {0} is not within 1..={SERVER_ID_MAX}: give it another")]
    Id(u16),
    /// Two servers would share their buckets.
    #[error("server id {0} is given twice: each server needs its own")]
    Twice(u16),
    /// A capacity that has no share.
    #[error("server {id} has capacity {capacity}, which is not within 1..={CAPACITY_MAX}")]
    Capacity {
        /// The server.
        id: u16,
        /// What was given.
        capacity: u32,
    },
}

/// Servers in the order of their ids, each id once. The order they were given in does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Fleet(Vec<Member>);

impl Fleet {
    /// Checks and orders `members`.
    ///
    /// # Errors
    /// The first fault, by id.
    pub fn new(mut members: Vec<Member>) -> Result<Self, FleetError> {
        members.sort_by_key(|member| member.id);
        for pair in members.windows(2) {
            if let [a, b] = pair
                && a.id == b.id
            {
                return Err(FleetError::Twice(a.id));
            }
        }
        for Member { id, capacity, .. } in members.iter().copied() {
            if id == 0 || id > SERVER_ID_MAX {
                return Err(FleetError::Id(id));
            }
            if capacity == 0 || capacity > CAPACITY_MAX {
                return Err(FleetError::Capacity { id, capacity });
            }
        }
        Ok(Self(members))
    }

    /// Active servers of capacity 1 with these ids.
    ///
    /// # Errors
    /// As [`Fleet::new`].
    pub fn of_ids(ids: impl IntoIterator<Item = u16>) -> Result<Self, FleetError> {
        let member = |id| Member { id, capacity: 1, state: State::Active };
        Self::new(ids.into_iter().map(member).collect())
    }

    /// The servers, by id.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.0
    }

    /// The server with this id.
    #[must_use]
    pub fn get(&self, id: u16) -> Option<&Member> {
        let at = self.0.binary_search_by_key(&id, |member| member.id).ok()?;
        self.0.get(at)
    }

    /// The servers that `keep` says yes to.
    pub(crate) fn those(&self, keep: impl Fn(&Member) -> bool) -> Vec<Member> {
        self.0.iter().copied().filter(keep).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u16, capacity: u32) -> Member {
        Member { id, capacity, state: State::Active }
    }

    #[track_caller]
    fn check(says: &str, members: &[Member], expect: Result<usize, FleetError>) {
        assert_eq!(Fleet::new(members.to_vec()).map(|fleet| fleet.0.len()), expect, "{says}");
    }

    #[test]
    fn a_fleet_has_each_server_once() {
        check("no servers", &[], Ok(0));
        check("the highest id", &[member(4095, 1)], Ok(1));
        check("no server 0", &[member(0, 1)], Err(FleetError::Id(0)));
        check("past the highest", &[member(4096, 1)], Err(FleetError::Id(4096)));
        check("twice", &[member(2, 1), member(1, 1), member(2, 9)], Err(FleetError::Twice(2)));
        let none = FleetError::Capacity { id: 1, capacity: 0 };
        check("no capacity", &[member(1, 0)], Err(none));
        let much = FleetError::Capacity { id: 1, capacity: 1_000_001 };
        check("too much capacity", &[member(1, 1_000_001)], Err(much));
    }

    #[test]
    fn the_order_given_does_not_matter() {
        let one = Fleet::new(vec![member(2, 5), member(1, 7)]);
        let other = Fleet::new(vec![member(1, 7), member(2, 5)]);
        assert_eq!(one, other);
        assert_eq!(one.unwrap().get(2).unwrap().capacity, 5);
    }
}
