//! Limits: each has two debts, of packets and of octets, as the time when they will have been paid
//! (the virtual scheduling form of GCRA, ITU-T I.371). A packet that would owe more than the store
//! holds is past the limit, and owes nothing.

use super::super::asm::{FP, If, Label, Op, R0, R1, R2, R3, R4, R5, R7, Size};
use super::super::interpret::TICKS;
use super::super::plan::{flag, record};
use super::{Emitter, V6, at, half, helper, slot};

/// Tries to write a debt that other processors write too. Past them a packet counts as limited:
/// losing so often means that the rule is under fire.
const TRIES_MAX: usize = 4;
/// `BPF_NOEXIST`.
const NEW_ONLY: i32 = 1;

impl Emitter<'_> {
    /// Goes to `decided` where the rule `r7` is no limit or has room; falls through past it.
    pub(super) fn limit(&mut self, decided: Label) {
        let (over, paid, octets_paid, free) =
            (self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R7, record::FLAGS);
        self.asm.alu(Op::And, R1, flag::LIMIT);
        self.asm.jump_if(If::Eq, R1, 0, decided);
        self.find_debts(decided);
        self.asm.store(Size::D, FP, at(slot::STATE), R0);
        self.clock();
        self.asm.mov(R4, R0);
        self.asm.alu(Op::Lsh, R4, TICKS.trailing_zeros().cast_signed());
        self.asm.load(Size::D, R1, FP, at(slot::STATE));
        self.asm.load(Size::D, R5, R7, record::OCTET);
        self.asm.jump_if(If::Eq, R5, 0, free);
        self.asm.load(Size::D, R2, R1, 8);
        self.owe_octets(over);
        self.asm.bind(free);
        for _ in 0..TRIES_MAX {
            self.asm.load(Size::D, R0, R1, 0);
            self.asm.mov(R2, R0);
            self.later_of_now();
            self.asm.load(Size::D, R3, R7, record::PACKET);
            self.asm.alu(Op::Add, R2, R3);
            self.within_store(record::PACKETS, over);
            self.asm.mov(R3, R0);
            self.asm.compare_and_exchange(R1, 0, R2);
            self.asm.jump_if(If::Eq, R0, R3, paid);
        }
        self.asm.jump(over);
        self.asm.bind(paid);
        self.asm.load(Size::D, R5, R7, record::OCTET);
        self.asm.jump_if(If::Eq, R5, 0, octets_paid);
        for _ in 0..TRIES_MAX {
            self.asm.load(Size::D, R0, R1, 8);
            self.asm.mov(R2, R0);
            self.asm.load(Size::D, R5, R7, record::OCTET);
            self.owe_octets(octets_paid);
            self.asm.mov(R3, R0);
            self.asm.compare_and_exchange(R1, 8, R2);
            self.asm.jump_if(If::Eq, R0, R3, octets_paid);
        }
        self.asm.bind(octets_paid);
        self.asm.jump(decided);
        self.asm.bind(over);
    }

    /// `r2` = the later of `r2` and now, `r4`.
    fn later_of_now(&mut self) {
        let later = self.asm.label();
        self.asm.jump_if(If::Ge, R2, R4, later);
        self.asm.mov(R2, R4);
        self.asm.bind(later);
    }

    /// Adds the ticks of this frame's octets, `r5` for 65,536, to the debt `r2`.
    fn owe_octets(&mut self, over: Label) {
        self.later_of_now();
        self.asm.load(Size::W, R3, FP, half(slot::OCTETS));
        self.asm.alu(Op::Mul, R3, R5);
        self.asm.alu(Op::Rsh, R3, 16);
        self.asm.alu(Op::Add, R2, R3);
        self.within_store(record::OCTETS, over);
    }

    /// Goes to `over` where the debt `r2` is more than the store. Uses `r3` and `r5`.
    fn within_store(&mut self, store: i16, over: Label) {
        self.asm.mov(R3, R2);
        self.asm.alu(Op::Sub, R3, R4);
        self.asm.load(Size::D, R5, R7, store);
        self.asm.jump_if(If::Gt, R3, R5, over);
    }

    /// `r0` = the debts that the packet shares. Where the kernel has no memory for them it goes to
    /// `decided`: a limit that cannot count does not drop.
    fn find_debts(&mut self, decided: Label) {
        let found = self.asm.label();
        if self.part.shared {
            let (own, source, named) = (self.asm.label(), self.asm.label(), self.asm.label());
            self.asm.load(Size::W, R1, R7, record::FLAGS);
            self.asm.mov(R2, R1);
            self.asm.alu(Op::And, R2, flag::SOURCE | flag::DESTINATION);
            self.asm.jump_if(If::Eq, R2, 0, own);
            self.asm.load(Size::W, R3, FP, half(slot::VERSION));
            self.asm.alu(Op::And, R1, flag::SOURCE);
            self.asm.jump_if(If::Ne, R1, 0, source);
            self.asm.load(Size::D, R1, FP, at(slot::DESTINATION_HIGH));
            self.asm.load(Size::D, R2, FP, at(slot::DESTINATION_LOW));
            self.asm.jump(named);
            self.asm.bind(source);
            self.asm.load(Size::D, R1, FP, at(slot::SOURCE_HIGH));
            self.asm.load(Size::D, R2, FP, at(slot::SOURCE_LOW));
            self.asm.jump_if(If::Ne, R3, V6, named);
            // A customer of an access network has 64 bits to choose from.
            self.asm.mov(R2, 0);
            self.asm.bind(named);
            let key = at(slot::SHARER);
            self.asm.store(Size::D, FP, key + 8, R1);
            self.asm.store(Size::D, FP, key + 16, R2);
            self.asm.load(Size::W, R1, R7, record::SLOT);
            self.asm.store(Size::W, FP, key, R1);
            self.asm.load(Size::W, R1, R7, record::EPOCH);
            self.asm.alu(Op::Or, R1, R3);
            self.asm.store(Size::W, FP, key + 4, R1);
            self.look_up(self.wiring.sharers, key);
            self.asm.jump_if(If::Ne, R0, 0, found);
            self.make_sharer(key);
            self.look_up(self.wiring.sharers, key);
            self.asm.jump_if(If::Eq, R0, 0, decided);
            self.asm.jump(found);
            self.asm.bind(own);
        }
        self.asm.load(Size::W, R1, R7, record::SLOT);
        self.asm.store(Size::W, FP, half(slot::KEY), R1);
        self.look_up(self.wiring.debts, half(slot::KEY));
        self.asm.jump_if(If::Eq, R0, 0, decided);
        self.asm.bind(found);
    }

    fn make_sharer(&mut self, key: i16) {
        let fresh = at(slot::FRESH);
        self.asm.store(Size::D, FP, fresh, 0);
        self.asm.store(Size::D, FP, fresh + 8, 0);
        self.asm.map(R1, Self::fd(self.wiring.sharers));
        for (reg, offset) in [(R2, key), (R3, fresh)] {
            self.asm.mov(reg, FP);
            self.asm.alu(Op::Add, reg, i32::from(offset));
        }
        self.asm.mov(R4, NEW_ONLY);
        self.asm.call(helper::UPDATE);
    }
}
