//! XDP: the root that starts the chain, and the director at its end.

use super::exit::out;
use super::maps::{CAPTURED, CHAIN, SEEN, TAP, constants};
use super::within;
use super::world::Kernel;
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_csum_diff, bpf_xdp_adjust_head, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use packet_abi::maps::{
    CHAIN_COOKIE, CHAIN_COOKIE_ANSWER, CHAIN_DIRECTOR, CHAIN_SHIELD, CHAIN_TOO_BIG,
};
use packet_abi::tables::Seen;
use packet_abi::verdict::{Reason, Verdict};
use packet_ebpf::frame::{Frame, Plain, hidden};
use packet_ebpf::stage::parse;
use packet_ebpf::{cookie, director};

/// What is attached: the shield if there is one, then the director, each by a slot that can be
/// replaced between two packets.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn root(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    // SAFETY: CHAIN holds XDP programs only. An empty slot falls through.
    let _ = unsafe { CHAIN.tail_call(&context, CHAIN_SHIELD) };
    // SAFETY: as above.
    let _ = unsafe { CHAIN.tail_call(&context, CHAIN_DIRECTOR) };
    XDP_PASS
}

/// The director.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn director(context: *mut xdp_md) -> u32 {
    let mut frame = XdpFrame::new(context);
    let octets = frame.octets() as u64;
    let verdict = director::decide(&mut frame, &Kernel::new(context.cast()));
    let context = XdpContext::new(context);
    if verdict.reason() == Reason::TooBigSent {
        // SAFETY: CHAIN holds XDP programs only. An empty slot falls through, to a drop below.
        let _ = unsafe { CHAIN.tail_call(&context, CHAIN_TOO_BIG) };
        return out(&context, (&TAP, XDP_DROP), Reason::TooBigLimited, octets, XDP_DROP);
    }
    let asks = verdict.reason() == Reason::CookieSent;
    if asks || verdict.reason() == Reason::NotVip && is_tunnel(&frame) {
        // SAFETY: as above. Without the program a SYN is the stack's, as any other.
        let _ = unsafe { CHAIN.tail_call(&context, CHAIN_COOKIE) };
        if asks {
            return out(&context, (&TAP, XDP_PASS), Reason::LocalSyn, octets, XDP_PASS);
        }
    }
    finish(&context, verdict, octets)
}

/// Whether a packet is for this server's tunnel. Only a SYN in it is of interest, and whoever finds
/// out is the program that answers it.
#[inline(always)]
fn is_tunnel(frame: &XdpFrame) -> bool {
    let fixed = constants();
    parse::link(frame).is_ok_and(|link| {
        parse::destination(frame, link).is_ok_and(|address| address == fixed.self_address)
    })
}

/// Answers a SYN by a cookie.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn cookie(context: *mut xdp_md) -> u32 {
    let mut frame = XdpFrame::new(context);
    let octets = frame.octets() as u64;
    let verdict = cookie::decide(&mut frame, &Kernel::new(context.cast()));
    let context = XdpContext::new(context);
    if verdict.reason() == Reason::CookieSent {
        // SAFETY: CHAIN holds XDP programs only. An empty slot leaves the SYN to the stack.
        let _ = unsafe { CHAIN.tail_call(&context, CHAIN_COOKIE_ANSWER) };
        return out(&context, (&TAP, XDP_PASS), Reason::LocalSyn, octets, XDP_PASS);
    }
    finish(&context, verdict, octets)
}

/// Writes the SYN-ACK of a cookie.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn cookie_answer(context: *mut xdp_md) -> u32 {
    let mut frame = XdpFrame::new(context);
    let octets = frame.octets() as u64;
    let verdict = cookie::answer(&mut frame, &Kernel::new(context.cast()));
    finish(&XdpContext::new(context), verdict, octets)
}

/// Answers a packet that does not fit.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn too_big(context: *mut xdp_md) -> u32 {
    let mut frame = XdpFrame::new(context);
    let octets = frame.octets() as u64;
    let verdict = director::too_big(&mut frame, &Kernel::new(context.cast()));
    finish(&XdpContext::new(context), verdict, octets)
}

/// The one match from verdict to action.
#[inline(always)]
fn finish(context: &XdpContext, verdict: Verdict, octets: u64) -> u32 {
    let action = match verdict {
        Verdict::Pass(_) | Verdict::Local(_) => XDP_PASS,
        Verdict::Send(_) | Verdict::Reply(_) => XDP_TX,
        Verdict::Drop(_) => XDP_DROP,
    };
    out(context, (&TAP, action), verdict.reason(), octets, action)
}

/// Captures a packet with its verdict; the loader puts it into the slots of TAP while somebody
/// looks.
#[unsafe(no_mangle)]
#[unsafe(link_section = "xdp")]
fn tap_xdp(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    let seen = SEEN.get(0).copied().unwrap_or(Seen { reason: 0, action: XDP_PASS });
    let frame = XdpFrame::new(context.as_ptr().cast());
    CAPTURED.output_at_index(
        &context,
        aya_ebpf::bindings::BPF_F_CURRENT_CPU as u32,
        &seen,
        frame.octets().min(SNAP_MAX) as u32,
    );
    seen.action
}

/// Octets of a packet that a capture keeps.
const SNAP_MAX: usize = 2048;

/// A frame in XDP.
struct XdpFrame {
    context: *mut xdp_md,
    /// Where it starts and ends: kept, as the compiler would read the context anew after every
    /// look-up in a map.
    data: usize,
    end: usize,
}

impl XdpFrame {
    #[inline(always)]
    fn new(context: *mut xdp_md) -> Self {
        let mut frame = Self { context, data: 0, end: 0 };
        frame.renew();
        frame
    }

    /// Reads the bounds, which a helper has moved.
    #[inline(always)]
    fn renew(&mut self) {
        // SAFETY: the program's context.
        unsafe {
            self.data = (*self.context).data as usize;
            self.end = (*self.context).data_end as usize;
        }
    }

    #[inline(always)]
    fn place<T>(&self, at: usize) -> Option<*mut T> {
        within(self.data + at, size_of::<T>(), self.end).map(|place| place as *mut T)
    }
}

impl Frame for XdpFrame {
    #[inline(always)]
    fn octets(&self) -> usize {
        // A length, before the compiler adds up bounds with something else, which verifiers refuse.
        hidden(self.end - self.data)
    }

    #[inline(always)]
    fn load<T: Plain>(&self, at: usize) -> Option<T> {
        // SAFETY: within the packet, as `place` has compared; the machine loads from any address,
        // and the verifier refuses the program on one that does not.
        self.place::<T>(at).map(|place| unsafe { *place })
    }

    #[inline(always)]
    fn store<T: Plain>(&mut self, at: usize, value: T) -> Option<()> {
        let place = self.place::<T>(at)?;
        // SAFETY: as for loads.
        unsafe { *place = value };
        Some(())
    }

    #[inline(always)]
    fn grow(&mut self, octets: usize) -> Option<()> {
        // SAFETY: a helper on the program's context; it refuses what is out of range.
        let answer = unsafe { bpf_xdp_adjust_head(self.context, -(octets as i32)) };
        self.renew();
        if answer == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn shrink(&mut self, octets: usize) -> Option<()> {
        // SAFETY: as above.
        let answer = unsafe { bpf_xdp_adjust_head(self.context, octets as i32) };
        self.renew();
        if answer == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn cut(&mut self, octets: usize) -> Option<()> {
        let change = octets as i32 - self.octets() as i32;
        // SAFETY: as above.
        let answer = unsafe { bpf_xdp_adjust_tail(self.context, change) };
        self.renew();
        if answer == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn reach(&mut self, _octets: usize) {}

    #[inline(always)]
    fn sum<const N: usize>(&self, at: usize, sum: u32) -> Option<u32> {
        let place = self.place::<[u8; N]>(at)?;
        // SAFETY: N octets of the packet, as `place` has compared.
        let sum = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, place.cast(), N as u32, sum) };
        if sum < 0 { None } else { Some(sum as u32) }
    }
}
