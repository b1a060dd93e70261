//! The strict reverse-path check: a packet whose source is not routed back out of the interface it
//! came in by is dropped.

use packet_abi::Reason;

use super::super::asm::{FP, If, Op, R0, R1, R2, R3, R4, R6, Size};
use super::{Emitter, V4, at, half, helper, slot};

/// Octets of `struct bpf_fib_lookup`.
const QUESTION: i32 = 64;
/// `BPF_FIB_LOOKUP_SKIP_NEIGH`: whether the neighbour is known does not matter.
const SKIP_NEIGHBOUR: i32 = 4;
/// `BPF_FIB_LKUP_RET_FWD_DISABLED`: the interface does not forward, so the kernel gives no answer.
const NOT_FORWARDING: i32 = 5;
/// What the kernel calls the families.
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

impl Emitter<'_> {
    pub(super) fn reverse_path(&mut self) {
        let (good, bad, v6, ask) =
            (self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label());
        let base = at(slot::FIB);
        // A tagged packet's route names the interface of its VLAN, which this one is not.
        self.asm.load(Size::W, R1, FP, half(slot::NETWORK));
        self.asm.jump_if(If::Ne, R1, 14, good);
        for word in 0..8 {
            self.asm.store(Size::D, FP, base + word * 8, 0);
        }
        self.asm.load(Size::W, R1, R6, 12);
        self.asm.store(Size::W, FP, base + 8, R1);
        self.asm.load(Size::D, R3, FP, at(slot::SOURCE_LOW));
        self.asm.load(Size::D, R4, FP, at(slot::DESTINATION_LOW));
        self.asm.load(Size::W, R1, FP, half(slot::VERSION));
        self.asm.jump_if(If::Ne, R1, V4, v6);
        self.asm.store(Size::B, FP, base, AF_INET);
        self.asm.big_endian(R3, 32);
        self.asm.big_endian(R4, 32);
        self.asm.store(Size::W, FP, base + 16, R4);
        self.asm.store(Size::W, FP, base + 32, R3);
        self.asm.jump(ask);
        self.asm.bind(v6);
        self.spare_neighbours(good);
        self.asm.store(Size::B, FP, base, AF_INET6);
        self.asm.load(Size::D, R1, FP, at(slot::SOURCE_HIGH));
        self.asm.load(Size::D, R2, FP, at(slot::DESTINATION_HIGH));
        self.forget_own_link();
        for (reg, offset) in [(R2, 16), (R4, 24), (R1, 32), (R3, 40)] {
            self.asm.big_endian(reg, 64);
            self.asm.store(Size::D, FP, base + offset, reg);
        }
        self.asm.bind(ask);
        self.asm.mov(R1, R6);
        self.asm.mov(R2, FP);
        self.asm.alu(Op::Add, R2, i32::from(base));
        self.asm.mov(R3, QUESTION);
        self.asm.mov(R4, SKIP_NEIGHBOUR);
        self.asm.call(helper::FIB);
        self.asm.jump_if(If::Eq, R0, NOT_FORWARDING, good);
        // Errors are negative: a question that the kernel does not take is no proof of a lie.
        self.asm.mov(R1, R0);
        self.asm.alu(Op::Rsh, R1, 63);
        self.asm.jump_if(If::Ne, R1, 0, good);
        self.asm.jump_if(If::Ne, R0, 0, bad);
        self.asm.load(Size::W, R1, R6, 12);
        self.asm.load(Size::W, R2, FP, base + 8);
        self.asm.jump_if(If::Eq, R1, R2, good);
        self.asm.bind(bad);
        self.drop_for(Reason::ShieldSpoofed);
        self.asm.bind(good);
    }

    /// From a link-local or multicast address the kernel finds no route to anywhere, which is no
    /// proof of a lie either: neighbours are answered at the one and asked at the other. The
    /// question then leaves open from where. `r2` and `r4` are the destination.
    fn forget_own_link(&mut self) {
        let (forget, keep) = (self.asm.label(), self.asm.label());
        for (shift, prefix) in [(54, 0xfe80 >> 6), (56, 0xff)] {
            self.asm.mov(R0, R2);
            self.asm.alu(Op::Rsh, R0, shift);
            self.asm.jump_if(If::Eq, R0, prefix, forget);
        }
        self.asm.jump(keep);
        self.asm.bind(forget);
        self.asm.mov(R2, 0);
        self.asm.mov(R4, 0);
        self.asm.bind(keep);
    }

    /// Neighbour discovery speaks from `fe80::/10` and `::`, which no route leads to. Keeps `r3`
    /// and `r4`.
    fn spare_neighbours(&mut self, good: super::Label) {
        let asked = self.asm.label();
        self.asm.load(Size::W, R1, FP, half(slot::PROTOCOL));
        self.asm.jump_if(If::Ne, R1, 58, asked);
        self.asm.load(Size::D, R1, FP, at(slot::SOURCE_HIGH));
        self.asm.mov(R2, R1);
        self.asm.alu(Op::Rsh, R2, 54);
        self.asm.jump_if(If::Eq, R2, 0xfe80 >> 6, good);
        self.asm.alu(Op::Or, R1, R3);
        self.asm.jump_if(If::Eq, R1, 0, good);
        self.asm.bind(asked);
    }
}
