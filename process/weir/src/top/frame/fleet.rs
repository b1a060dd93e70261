//! The control planes in a frame of `weir top`.

use super::{Look, clean, cut};
use process_runtime::fleet::FleetStatus;

/// Its lines.
pub(super) fn lines(fleet: &FleetStatus, look: &Look) -> Vec<String> {
    let (colour, word) = match (fleet.connected, fleet.generation == fleet.published) {
        (true, true) => ("32", "current"),
        (true, false) => ("33", "behind"),
        (false, _) => ("31", "apart"),
    };
    let rest = format!(
        "{}   published {}   in force {}   known {:.0} s ago",
        clean(&fleet.plane),
        fleet.published,
        fleet.generation,
        fleet.stale_s,
    );
    let name = cut(&format!("CONTROL {}", clean(&fleet.name)), look.columns.saturating_sub(12));
    let room = look.columns.saturating_sub(name.chars().count() + word.len() + 6);
    let mut out = vec![format!(
        "{}   {}   {}",
        look.strong(&name),
        look.paint(colour, word),
        cut(&rest, room)
    )];
    for (what, why) in [("refused", &fleet.refusal), ("apart", &fleet.trouble)] {
        if !why.is_empty() {
            out.push(look.alarm(&format!("  {what}: {why}")));
        }
    }
    out
}
