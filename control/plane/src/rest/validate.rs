//! What a state as a whole must be: every reference names an object of the same account.
//!
//! Calls check the same and answer better; this holds rollbacks and imports to it too.

use super::auth::account_of_zone;
use super::handle::links_of;
use crate::store::{Fault, Key, State};

/// Every reference to nothing.
#[must_use]
pub fn validate(state: &State) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (key, stored) in &state.objects {
        let segments: Vec<&str> = key.segments().collect();
        let [base, id, folder, _] = segments.as_slice() else { continue };
        let owner = Key::of(&[base, id]).ok().filter(|owner| state.get(owner).is_some());
        if owner.is_none() {
            let what = format!("it belongs to {base}/{id}, which is not there");
            faults.push(Fault { key: key.clone(), pointer: None, what });
            continue;
        }
        let account = match *base {
            "zones" => account_of_zone(state, id),
            _ => Some((*id).to_owned()),
        };
        let (Some(account), Some(object)) = (account, stored.value.as_object()) else { continue };
        for link in links_of(folder, object) {
            let other = Key::of(&["accounts", &account, link.folder, &link.id]).ok();
            if other.is_none_or(|other| state.get(&other).is_none()) {
                let what = format!("there is no object {} in {}", link.id, link.folder);
                faults.push(Fault { key: key.clone(), pointer: Some(link.pointer), what });
            }
        }
    }
    faults
}
