//! The programs: prologues, the floor, and the peer.

mod peer;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::{__sk_buff, TC_ACT_OK, TC_ACT_SHOT, xdp_md};
use aya_ebpf::helpers::{
    bpf_skb_adjust_room, bpf_skb_store_bytes, bpf_xdp_adjust_head, bpf_xdp_adjust_tail,
    bpf_xdp_store_bytes,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, ProgramArray};
use aya_ebpf::programs::{TcContext, XdpContext};
use packet_abi::maps::{CHAIN_LEN, TAP_TC_LEN};
use packet_ebpf::frame::hidden;

/// Octets of headers that a prologue writes anew: Ethernet, IPv6, UDP, GUE, one hop of IPv6; and a
/// whole SYN of IPv6 with its options.
const HEADERS: usize = 96;
/// Slot of CHAIN of the program that is measured.
const MEASURED: u32 = CHAIN_LEN - 1;
/// Part of `draw`: a destination of DESTINATIONS.
const DRAW_DESTINATION: u32 = 1;
/// Part of `draw`: the source port.
const DRAW_PORT: u32 = 2;
/// Part of `draw`: the low 16 bits of the source address.
const DRAW_SOURCE: u32 = 4;

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
    /// Zero.
    reserved: u32,
    /// Octets of `first` that are written anew; in XDP 0 stands for Ethernet's, and for a frame
    /// whose head was changed, not its tail.
    headers: u32,
    /// What is drawn by chance in XDP, as [`DRAW_DESTINATION`] and its neighbours say.
    draw: u32,
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

/// The floor of live frames: sends every one back as it came.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn bounce(_context: *mut xdp_md) -> u32 {
    XDP_TX
}

/// The end of live frames.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn sink(_context: *mut xdp_md) -> u32 {
    XDP_DROP
}

/// Takes off what the run before put on, gives the frame a flow by chance, and goes on to the
/// program in the last slot of CHAIN.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn prologue(context: *mut xdp_md) -> u32 {
    let Some(plan) = PLAN.get(0) else { return XDP_PASS };
    // SAFETY: the program's context.
    if unsafe { restore(context, plan) }.is_none() {
        return XDP_DROP;
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
    // SAFETY: the program's context.
    if unsafe { draw(context, plan, random) }.is_none() {
        return XDP_DROP;
    }
    // SAFETY: CHAIN holds XDP programs only. The slot is a constant, as in programs that ship: the
    // kernel makes a jump of it, where a number that it does not know costs some ten nanoseconds.
    let _ = unsafe { CHAIN.tail_call(&XdpContext::new(context), MEASURED) };
    XDP_PASS
}

/// Gives the frame its length and its first octets.
///
/// # Safety
/// The context must be the program's.
#[inline(always)]
unsafe fn restore(context: *mut xdp_md, plan: &Plan) -> Option<()> {
    // SAFETY: helpers on the program's context, with octets of the plan; stores lie within the
    // packet, as compared before them.
    unsafe {
        // A length, before the compiler adds the plan's to a pointer, which the verifier refuses.
        let octets = hidden(((*context).data_end - (*context).data) as usize);
        let change = octets as i32 - plan.octets as i32;
        let headers = hidden(plan.headers as usize);
        if headers == 0 {
            if change != 0 && bpf_xdp_adjust_head(context, change) != 0 {
                return None;
            }
            let data = hidden((*context).data as usize);
            if hidden(data + 14) > (*context).data_end as usize {
                return None;
            }
            *(data as *mut u64) = plan.first[0];
            *((data + 8) as *mut u32) = plan.first[1] as u32;
            *((data + 12) as *mut u16) = (plan.first[1] >> 32) as u16;
            return Some(());
        }
        if headers > HEADERS || change != 0 && bpf_xdp_adjust_tail(context, -change) != 0 {
            return None;
        }
        let first = plan.first.as_ptr().cast_mut().cast();
        let answer = bpf_xdp_store_bytes(context, 0, first, headers as u32);
        if answer == 0 { Some(()) } else { None }
    }
}

/// Gives the frame a flow by chance. Stores are as wide as the loads of programs: a load of more
/// than one store wrote waits until the store is in the cache, which packets of a network card are.
///
/// # Safety
/// The context must be the program's.
#[inline(always)]
unsafe fn draw(context: *mut xdp_md, plan: &Plan, random: u64) -> Option<()> {
    let address = DESTINATIONS.get(random as u32 & plan.mask)?;
    // SAFETY: stores lie within the packet, as compared before them.
    unsafe {
        let data = hidden((*context).data as usize);
        let end = (*context).data_end as usize;
        if plan.v6 != 0 {
            if hidden(data + 58) > end {
                return None;
            }
            if plan.draw & DRAW_DESTINATION != 0 {
                *((data + 38) as *mut u64) = address[0];
                *((data + 46) as *mut u64) = address[1];
            }
            if plan.draw & DRAW_PORT != 0 {
                let kept = (plan.first[7] as u32) << 16;
                *((data + 54) as *mut u32) = u32::from((random >> 32) as u16) | kept;
            }
            if plan.draw & DRAW_SOURCE != 0 {
                let kept = (plan.first[4] >> 16) as u32 & 0xffff;
                *((data + 34) as *mut u32) = kept | ((random >> 48) as u32) << 16;
            }
        } else {
            if hidden(data + 38) > end {
                return None;
            }
            if plan.draw & DRAW_DESTINATION != 0 {
                *((data + 30) as *mut u32) = address[0] as u32;
            }
            if plan.draw & DRAW_PORT != 0 {
                let kept = (plan.first[4] >> 16) as u32 & !0xffff;
                *((data + 34) as *mut u32) = u32::from((random >> 32) as u16) | kept;
            }
            if plan.draw & DRAW_SOURCE != 0 {
                let kept = (plan.first[3] >> 16) as u32 & 0xffff;
                *((data + 26) as *mut u32) = kept | ((random >> 48) as u32) << 16;
            }
        }
    }
    Some(())
}

/// Takes off at TC what the prologue puts back, and nothing else: what a prologue's own room costs.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
fn shrink_tc(context: *mut __sk_buff) -> i32 {
    let Some(plan) = PLAN.get(0) else { return TC_ACT_OK };
    let octets = hidden(plan.headers as usize);
    if octets <= 14 || octets > HEADERS {
        return TC_ACT_SHOT;
    }
    // SAFETY: a helper on the program's context, which refuses what is out of range.
    let answer = unsafe { bpf_skb_adjust_room(context, 14 - octets as i32, 1, 0) };
    if answer == 0 { TC_ACT_OK } else { TC_ACT_SHOT }
}

/// Puts back what the run before took off, and goes on to the program in slot 0 of NEXT_TC.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
fn prologue_tc(context: *mut __sk_buff) -> i32 {
    let Some(plan) = PLAN.get(0) else { return TC_ACT_OK };
    let headers = hidden(plan.headers as usize);
    if headers == 0 || headers > HEADERS {
        return TC_ACT_SHOT;
    }
    // SAFETY: helpers on the program's context, with octets of the plan.
    unsafe {
        let missing = plan.octets as i32 - (*context).len as i32;
        if missing != 0 && bpf_skb_adjust_room(context, missing, 1, 0) != 0 {
            return TC_ACT_SHOT;
        }
        let first = plan.first.as_ptr().cast();
        if bpf_skb_store_bytes(context.cast(), 0, first, headers as u32, 0) != 0 {
            return TC_ACT_SHOT;
        }
        let _ = NEXT_TC.tail_call(&TcContext::new(context), 0);
    }
    TC_ACT_OK
}
