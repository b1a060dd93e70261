//! The programs' entries, and the one `match` that turns a verdict into an action.

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

/// Whether `octets` from `from` on lie before `end`, in the one form that verifiers understand: the
/// compiler would turn "one octet past" into "not less", of which they learn nothing.
#[inline(always)]
fn within(from: usize, octets: usize, end: usize) -> bool {
    let mut past = from + octets;
    // SAFETY: no instruction; it hides from the compiler what `past` is made of.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) past, options(pure, nomem, nostack)) };
    past <= end
}
