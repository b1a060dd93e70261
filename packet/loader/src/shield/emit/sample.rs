//! Samples: a header and the first octets of a packet, into the ring that user space reads.

use super::super::asm::{FP, If, Op, R0, R1, R2, R3, R4, R6, R7, Size};
use super::super::plan::{flag, record};
use super::{Emitter, at, half, helper, slot};

/// Octets of a sample's header: u64 time in ns of the monotonic clock, then u32 each: place of the
/// rule's counters, octets of the frame, octets that follow, interface, outcome, 0.
pub const HEADER: usize = 32;
/// Octets of a frame that a sample holds at most: headers, and what names most floods.
pub const OCTETS_MAX: usize = 128;
/// Octets of a frame at least: the kernel runs no program on less.
const OCTETS_MIN: i32 = 14;

impl Emitter<'_> {
    /// Takes a sample of the packet where the rule `r7` wants one and chance agrees.
    pub(super) fn sample(&mut self) {
        let (no, whole, lost) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R7, record::FLAGS);
        self.asm.alu(Op::And, R1, flag::SAMPLE);
        self.asm.jump_if(If::Eq, R1, 0, no);
        self.asm.call(helper::RANDOM);
        self.asm.load(Size::W, R1, R7, record::SAMPLE);
        self.asm.alu(Op::Lsh, R0, 32);
        self.asm.alu(Op::Rsh, R0, 32);
        self.asm.jump_if(If::Gt, R0, R1, no);
        self.asm.load(Size::W, R1, FP, half(slot::OCTETS));
        self.asm.jump_if(If::Lt, R1, OCTETS_MIN, no);
        self.asm.jump_if(If::Le, R1, OCTETS_MAX as i32, whole);
        self.asm.mov(R1, OCTETS_MAX as i32);
        self.asm.bind(whole);
        self.asm.store(Size::D, FP, at(slot::CAPTURED), R1);
        self.asm.map(R1, Self::fd(self.wiring.samples));
        self.asm.mov(R2, (HEADER + OCTETS_MAX) as i32);
        self.asm.mov(R3, 0);
        self.asm.call(helper::RING_RESERVE);
        // A full ring loses samples, never packets.
        self.asm.jump_if(If::Eq, R0, 0, no);
        self.asm.store(Size::D, FP, at(slot::STATE), R0);
        self.clock();
        self.asm.load(Size::D, R3, FP, at(slot::STATE));
        self.asm.store(Size::D, R3, 0, R0);
        self.asm.load(Size::W, R1, R7, record::SLOT);
        self.asm.store(Size::W, R3, 8, R1);
        self.asm.load(Size::W, R1, FP, half(slot::OCTETS));
        self.asm.store(Size::W, R3, 12, R1);
        self.asm.load(Size::D, R4, FP, at(slot::CAPTURED));
        self.asm.store(Size::W, R3, 16, R4);
        self.asm.load(Size::W, R1, R6, 12);
        self.asm.store(Size::W, R3, 20, R1);
        self.asm.load(Size::W, R1, FP, half(slot::OUTCOME));
        self.asm.store(Size::W, R3, 24, R1);
        self.asm.store(Size::W, R3, 28, 0);
        self.asm.mov(R1, R6);
        self.asm.mov(R2, 0);
        self.asm.alu(Op::Add, R3, HEADER as i32);
        self.asm.call(helper::LOAD_OCTETS);
        self.asm.load(Size::D, R1, FP, at(slot::STATE));
        self.asm.mov(R2, 0);
        self.asm.jump_if(If::Ne, R0, 0, lost);
        self.asm.call(helper::RING_SUBMIT);
        self.asm.jump(no);
        self.asm.bind(lost);
        self.asm.call(helper::RING_DISCARD);
        self.asm.bind(no);
    }
}
