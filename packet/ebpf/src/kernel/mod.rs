//! The programs' entries, and the one `match` that turns a verdict into an action.

use packet_ebpf::frame::hidden;

mod exit;
mod maps;
mod tc;
mod world;
mod xdp;

/// Programs that use the helpers of the GPL say so; Weir's sources are under Apache-2.0 beside it.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No stage can panic; the compiler only has to be told of a place.
    loop {}
}

/// The address of `octets` from `from` on if they lie before `end`, in the one form that verifiers
/// understand: the same register is compared, some octets on, and used. The compiler would add up
/// in another order, and turn "one octet past" into "not less", of which verifiers learn nothing.
#[inline(always)]
fn within(from: usize, octets: usize, end: usize) -> Option<usize> {
    let from = hidden(from);
    if hidden(from + octets) <= end { Some(from) } else { None }
}
