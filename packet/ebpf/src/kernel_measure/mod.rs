//! The programs: prologues, the floor, and the peer.

mod peer;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{__sk_buff, TC_ACT_OK, xdp_md};
use aya_ebpf::helpers::{bpf_skb_adjust_room, bpf_skb_store_bytes, bpf_xdp_adjust_head};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::{TcContext, XdpContext};
use packet_abi::maps::{CHAIN_LEN, TAP_TC_LEN};
use packet_ebpf::frame::hidden;

/// Octets of headers that a prologue at TC writes anew: Ethernet, IPv6, UDP, GUE, one hop.
const HEADERS: usize = 96;

/// How a frame is made anew.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Plan {
    /// Octets of the frame.
    octets: u32,
    /// Addresses in DESTINATIONS, less one: a power of two less one.
    mask: u32,
    /// Whether addresses are IPv6.
    v6: u32,
    /// Slot of the program that follows.
    slot: u32,
    /// Octets of `headers` in use, for TC.
    headers: u32,
    /// Zero.
    reserved: u32,
    /// The first octets of the frame.
    first: [u64; HEADERS / 8],
}

#[map]
static PLAN: Array<Plan> = Array::with_max_entries(1, 0);
#[map]
static DESTINATIONS: Array<[u64; 2]> = Array::with_max_entries(1 << 19, 0);
#[map]
static SEED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
#[map]
static CHAIN: ProgramArray = ProgramArray::with_max_entries(CHAIN_LEN, 0);
#[map]
static NEXT_TC: ProgramArray = ProgramArray::with_max_entries(TAP_TC_LEN, 0);

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The floor: a program that does nothing.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn empty_xdp(_context: *mut xdp_md) -> u32 {
    XDP_PASS
}

/// The floor at TC.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
fn empty_tc(_context: *mut __sk_buff) -> i32 {
    TC_ACT_OK
}

/// The end of live frames.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn sink(_context: *mut xdp_md) -> u32 {
    XDP_DROP
}

/// Takes off what the run before put on, gives the frame a flow by chance, and goes on to the
/// program in the plan's slot of CHAIN.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn prologue(context: *mut xdp_md) -> u32 {
    let Some(plan) = PLAN.get(0) else { return XDP_PASS };
    // SAFETY: the program's context and a helper on it.
    unsafe {
        let octets = (*context).data_end - (*context).data;
        if octets != plan.octets
            && bpf_xdp_adjust_head(context, octets as i32 - plan.octets as i32) != 0
        {
            return XDP_DROP;
        }
    }
    let Some(seed) = SEED.get_ptr_mut(0) else { return XDP_PASS };
    // SAFETY: this CPU's own.
    let random = unsafe {
        let mut word = *seed | 1;
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        *seed = word;
        word
    };
    let Some(address) = DESTINATIONS.get(random as u32 & plan.mask) else { return XDP_PASS };
    // SAFETY: within the packet, as compared below.
    unsafe {
        let data = hidden((*context).data as usize);
        let end = (*context).data_end as usize;
        let last = if plan.v6 != 0 { 58 } else { 38 };
        if hidden(data + last) > end {
            return XDP_DROP;
        }
        *(data as *mut u64) = plan.first[0];
        *((data + 8) as *mut u32) = plan.first[1] as u32;
        *((data + 12) as *mut u16) = (plan.first[1] >> 32) as u16;
        if plan.v6 != 0 {
            if hidden(data + 58) > end {
                return XDP_DROP;
            }
            *((data + 38) as *mut u64) = address[0];
            *((data + 46) as *mut u64) = address[1];
            *((data + 54) as *mut u16) = (random >> 32) as u16;
        } else {
            if hidden(data + 38) > end {
                return XDP_DROP;
            }
            *((data + 30) as *mut u32) = address[0] as u32;
            *((data + 34) as *mut u16) = (random >> 32) as u16;
        }
    }
    // SAFETY: CHAIN holds XDP programs only.
    let _ = unsafe { CHAIN.tail_call(&XdpContext::new(context), plan.slot) };
    XDP_PASS
}

/// Puts back what the run before took off, and goes on to the program in slot 0 of NEXT_TC.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
fn prologue_tc(context: *mut __sk_buff) -> i32 {
    let Some(plan) = PLAN.get(0) else { return TC_ACT_OK };
    let headers = hidden(plan.headers as usize);
    if headers == 0 || headers > HEADERS {
        return TC_ACT_OK;
    }
    // SAFETY: helpers on the program's context, with octets of the plan.
    unsafe {
        let missing = plan.octets as i32 - (*context).len as i32;
        if missing != 0 && bpf_skb_adjust_room(context, missing, 1, 0) != 0 {
            return TC_ACT_OK;
        }
        let first = plan.first.as_ptr().cast();
        bpf_skb_store_bytes(context.cast(), 0, first, headers as u32, 0);
        let _ = NEXT_TC.tail_call(&TcContext::new(context), 0);
    }
    TC_ACT_OK
}
