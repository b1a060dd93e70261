//! `[account]` and `[[zone]]`.

use super::super::Root;
use super::super::check::Table;
use super::{Builder, Name, name_of};
use core_model::config::{Account, Zone};
use std::collections::BTreeMap;

impl Builder<'_> {
    pub(super) fn account(&mut self, table: &Table) -> Account {
        Account { rules: self.rules(table) }
    }

    /// All zones, in the order of their names.
    pub(super) fn zones(&mut self, roots: &[Root]) -> Vec<Zone> {
        self.names(roots, "zone");
        let mut zones: BTreeMap<Name, Zone> = BTreeMap::new();
        for table in roots.iter().flat_map(|root| root.table.tables("zone")) {
            let rules = self.rules(table);
            if let Some(name) = name_of(table) {
                zones.insert(name.clone(), Zone { name, rules });
            }
        }
        zones.into_values().collect()
    }
}
