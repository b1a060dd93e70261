//! `[account]` and `[[zone]]`.

use super::super::Root;
use super::super::table::Table;
use super::{Builder, Name, name_of};
use core_model::config::{Account, Zone};
use std::collections::BTreeMap;

impl Builder<'_> {
    pub(super) fn account(&mut self, table: &Table) -> Account {
        Account { rules: self.rules(table) }
    }

    pub(crate) fn zone(&mut self, table: &Table) -> Option<Zone> {
        let rules = self.rules(table);
        Some(Zone { name: name_of(table)?, rules })
    }

    /// All zones, in the order of their names.
    pub(super) fn zones(&mut self, roots: &[Root]) -> Vec<Zone> {
        self.names(roots, "zone");
        let mut zones: BTreeMap<Name, Zone> = BTreeMap::new();
        for table in roots.iter().flat_map(|root| root.table.tables("zone")) {
            if let Some(zone) = self.zone(table) {
                zones.insert(zone.name.clone(), zone);
            }
        }
        zones.into_values().collect()
    }
}
