//! TC ingress: the redirector.

use super::exit::out;
use super::maps::{CAPTURED, SEEN, TAP_TC, constants};
use super::within;
use super::world::Kernel;
use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
    BPF_F_ADJ_ROOM_FIXED_GSO, BPF_F_ADJ_ROOM_NO_CSUM_RESET, BPF_F_INGRESS, TC_ACT_OK, TC_ACT_SHOT,
};
use aya_ebpf::helpers::{
    bpf_csum_level, bpf_redirect, bpf_skb_adjust_room, bpf_skb_pull_data, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use packet_abi::Family;
use packet_abi::net::{ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV6_LEN, UDP_LEN};
use packet_abi::tables::Seen;
use packet_abi::verdict::{Reason, Verdict};
use packet_ebpf::frame::{Frame, Plain};
use packet_ebpf::redirector;

/// Octets that tell a packet of the tunnel from all others.
const OUTER_REACH: usize = ETHERNET_LEN + IPV6_LEN + UDP_LEN;
/// Slot of TAP_TC for packets of the stack.
const TAP_LOCAL: u32 = 0;
/// Slot of TAP_TC for packets that are sent on.
const TAP_SENT: u32 = 1;
/// Slot of TAP_TC for packets that are dropped.
const TAP_DROPPED: u32 = 2;
/// `BPF_CSUM_LEVEL_DEC`: one checksum that a device verified has gone with the outer headers.
const CSUM_LEVEL_DEC: u64 = 2;
/// `BPF_ADJ_ROOM_MAC`: room is made or taken behind the Ethernet header.
const ROOM_MAC: u32 = 1;

/// The redirector.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
fn redirector(context: *mut __sk_buff) -> i32 {
    let context = TcContext::new(context);
    let mut frame = TcFrame { skb: context.as_ptr().cast() };
    let octets = frame.octets() as u64;
    frame.reach(OUTER_REACH);
    let decision = redirector::decide(&mut frame, &Kernel::new(context.as_ptr()));
    let (reason, action, tap) = match (decision.verdict, decision.take) {
        (Verdict::Local(reason), Some((octets, family))) => {
            match frame.unwrap(octets, family, constants().outer_v6) {
                Some(action) => (reason, action, TAP_LOCAL),
                None => (Reason::DecapsulationFailed, TC_ACT_SHOT, TAP_DROPPED),
            }
        }
        (Verdict::Send(reason) | Verdict::Reply(reason), _) => (reason, frame.back(), TAP_SENT),
        (Verdict::Drop(reason), _) => (reason, TC_ACT_SHOT, TAP_DROPPED),
        (Verdict::Pass(reason) | Verdict::Local(reason), _) => (reason, TC_ACT_OK, TAP_LOCAL),
    };
    out(&context, (&TAP_TC, tap), reason, octets, action as u32) as i32
}

/// Captures a packet with its verdict.
#[unsafe(no_mangle)]
#[unsafe(link_section = "classifier")]
fn tap_tc(context: *mut __sk_buff) -> i32 {
    let context = TcContext::new(context);
    let seen = SEEN.get(0).copied().unwrap_or(Seen { reason: 0, action: TC_ACT_OK as u32 });
    let frame = TcFrame { skb: context.as_ptr().cast() };
    CAPTURED.output_at_index(
        &context,
        aya_ebpf::bindings::BPF_F_CURRENT_CPU as u32,
        &seen,
        frame.octets().min(SNAP_MAX) as u32,
    );
    seen.action as i32
}

/// Octets of a packet that a capture keeps.
const SNAP_MAX: usize = 2048;

/// A packet at TC: its first octets can be loaded, any can be stored.
struct TcFrame {
    skb: *mut __sk_buff,
}

impl TcFrame {
    #[inline(always)]
    fn bounds(&self) -> (usize, usize) {
        // SAFETY: the program's context.
        unsafe { ((*self.skb).data as usize, (*self.skb).data_end as usize) }
    }

    /// Takes the outer headers off and lets the packet arrive once more, as what it was.
    #[inline(always)]
    fn unwrap(&mut self, octets: usize, inner: Family, outer_v6: bool) -> Option<i32> {
        let mut flags = (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) as u64;
        match (inner, outer_v6) {
            (Family::V4, true) => flags |= BPF_F_ADJ_ROOM_DECAP_L3_IPV4 as u64,
            (Family::V6, false) => flags |= BPF_F_ADJ_ROOM_DECAP_L3_IPV6 as u64,
            _ => {}
        }
        // SAFETY: helpers on the program's context, which refuse what is out of range.
        unsafe {
            if bpf_skb_adjust_room(self.skb, -(octets as i32), ROOM_MAC, flags) != 0 {
                return None;
            }
            // Fails where no device had verified anything, which is as good.
            let _ = bpf_csum_level(self.skb, CSUM_LEVEL_DEC);
        }
        let ethertype = match inner {
            Family::V4 => ETHERTYPE_IPV4,
            Family::V6 => ETHERTYPE_IPV6,
        };
        if (inner == Family::V6) != outer_v6 {
            self.store(ETHERNET_LEN - 2, ethertype.to_be())?;
        }
        // SAFETY: as above. Redirection reads the Ethernet header anew, as an arrival does.
        let action = unsafe { bpf_redirect((*self.skb).ifindex, BPF_F_INGRESS as u64) };
        Some(action as i32)
    }

    /// Out by the interface it came from.
    #[inline(always)]
    fn back(&self) -> i32 {
        // SAFETY: a helper on the program's context.
        unsafe { bpf_redirect((*self.skb).ifindex, 0) as i32 }
    }
}

impl Frame for TcFrame {
    #[inline(always)]
    fn octets(&self) -> usize {
        // SAFETY: the program's context.
        unsafe { (*self.skb).len as usize }
    }

    #[inline(always)]
    fn load<T: Plain>(&self, at: usize) -> Option<T> {
        let (data, end) = self.bounds();
        let place = within(data + at, size_of::<T>(), end)?;
        // SAFETY: within the packet, as compared; the machine loads from any address.
        Some(unsafe { *(place as *const T) })
    }

    #[inline(always)]
    fn store<T: Plain>(&mut self, at: usize, value: T) -> Option<()> {
        let value = &raw const value;
        // SAFETY: a helper on the program's context, which copies a T from the stack.
        let answer = unsafe {
            bpf_skb_store_bytes(self.skb.cast(), at as u32, value.cast(), size_of::<T>() as u32, 0)
        };
        if answer == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn grow(&mut self, _octets: usize) -> Option<()> {
        None
    }

    #[inline(always)]
    fn shrink(&mut self, _octets: usize) -> Option<()> {
        None
    }

    #[inline(always)]
    fn cut(&mut self, _octets: usize) -> Option<()> {
        None
    }

    #[inline(always)]
    fn reach(&mut self, octets: usize) {
        let (data, end) = self.bounds();
        let want = octets.min(self.octets());
        if data + want > end {
            // SAFETY: a helper on the program's context; where it fails, loads find nothing.
            let _ = unsafe { bpf_skb_pull_data(self.skb, want as u32) };
        }
    }

    #[inline(always)]
    fn sum<const N: usize>(&self, _at: usize, _sum: u32) -> Option<u32> {
        None
    }
}
