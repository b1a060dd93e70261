//! The one way out of a program: the counter of the reason, and a tap if somebody captures.

use super::maps::{COUNTERS, SEEN};
use aya_ebpf::EbpfContext;
use aya_ebpf::maps::ProgramArray;
use packet_abi::verdict::Reason;

/// Counts a packet, lets the tap in a slot see it, and gives back the action.
#[inline(always)]
pub(super) fn out<C: EbpfContext>(
    context: &C,
    (taps, slot): (&ProgramArray, u32),
    reason: Reason,
    octets: u64,
    action: u32,
) -> u32 {
    if let Some(count) = COUNTERS.get_ptr_mut(reason as u32) {
        // SAFETY: this CPU's own counter, and programs are not preempted by others on it.
        unsafe {
            (*count).packets += 1;
            (*count).octets += octets;
        }
    }
    if let Some(seen) = SEEN.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe {
            (*seen).reason = reason as u32;
            (*seen).action = action;
        }
    }
    // An empty slot falls through; a tap captures and returns the action it finds in SEEN.
    // SAFETY: each array holds programs of this context's type only.
    let _ = unsafe { taps.tail_call(context, slot) };
    action
}
