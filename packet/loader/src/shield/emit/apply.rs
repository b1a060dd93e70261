//! Applying the rules whose bits are left, in order, until one ends the matter.

use packet_abi::Reason;

use super::super::asm::{FP, If, Label, Op, R0, R1, R2, R3, R4, R5, R7, R8, R9, Reg, Size};
use super::super::interpret::{APPLIED_MAX, Outcome};
use super::super::plan::{DE_BRUIJN, record};
use super::{Emitter, at, half, helper, slot};

/// Offsets of the pairs of counters (packets, octets) of a rule.
pub(super) const MATCHED: i16 = 0;
pub(super) const DROPPED: i16 = 16;
pub(super) const LIMITED: i16 = 32;

/// Above every index of a rule.
const NONE: i32 = i32::MAX;

/// Words of a trace: the clock in ns, how many events there were, and the last of them.
pub const TRACE_WORDS: usize = 2 + TRACE_EVENTS_MAX;
/// Events that a trace holds: a power of two above what one packet can cause.
pub const TRACE_EVENTS_MAX: usize = 64;
const _: () = assert!(APPLIED_MAX < TRACE_EVENTS_MAX);

impl Emitter<'_> {
    /// `r9` has the summary of what all fields agree on. The first rule that ends the matter is
    /// looked for once, then in each pass the first one before it that only counts and was not
    /// applied yet.
    pub(super) fn apply_rules(&mut self) {
        let (pass, miss) = (self.asm.label(), self.asm.label());
        let (bail, counting) = (self.exits.pass, self.part.counting_words);
        self.asm.store(Size::D, FP, at(slot::SUMMARY), R9);
        self.counted_so_far();
        self.asm.store(Size::W, FP, half(slot::FROM), 0);
        self.asm.store(Size::W, FP, half(slot::BEST), NONE);
        self.asm.store(Size::W, FP, half(slot::BEST_RECORD), NONE);
        let counting_mask = 1_u64.checked_shl(counting as u32).map_or(u64::MAX, |bit| bit - 1);
        self.first_rule(!counting_mask, (self.part.words - counting) * 2);
        if counting > 0 {
            for (from, to) in [(slot::BEST, slot::FINAL), (slot::BEST_RECORD, slot::FINAL_RECORD)] {
                self.copy(from, to);
            }
            self.unfollowed_zero();
            self.asm.store(Size::W, FP, half(slot::FROM), R1);
            self.asm.store(Size::D, FP, at(slot::PASS), 0);
            self.asm.bind(pass);
            self.bounded(slot::PASS, APPLIED_MAX as i32 + 1, bail);
            for (from, to) in [(slot::FINAL, slot::BEST), (slot::FINAL_RECORD, slot::BEST_RECORD)] {
                self.copy(from, to);
            }
            self.first_rule(counting_mask, counting * 2 + APPLIED_MAX);
        }
        self.asm.load(Size::W, R1, FP, half(slot::BEST));
        self.asm.jump_if(If::Eq, R1, NONE, miss);
        self.asm.alu(Op::Add, R1, 1);
        self.asm.store(Size::W, FP, half(slot::FROM), R1);
        self.asm.load(Size::W, R3, FP, half(slot::BEST_RECORD));
        self.asm.jump_if(If::Gt, R3, self.last_record(), bail);
        self.data(R7, self.part.records);
        self.asm.alu(Op::Add, R7, R3);
        self.apply_rule(pass, counting > 0);
        self.asm.bind(miss);
        if self.wiring.next.is_some() {
            self.tell_counted();
            self.asm.jump(self.exits.told);
        }
    }

    /// Offset of the last record.
    fn last_record(&self) -> i32 {
        (self.part.places as i32 - 1) << record::SHIFT
    }

    /// Copies one number to another, both in the upper halves of their slots.
    fn copy(&mut self, from: i16, to: i16) {
        self.asm.load(Size::W, R1, FP, half(from));
        self.asm.store(Size::W, FP, half(to), R1);
    }

    /// Makes the first rule at or past `FROM` of the words in `mask` the best one, where it is
    /// earlier than that. `turns` are words and rules to look at, at most.
    fn first_rule(&mut self, mask: u64, turns: usize) {
        let (turn, bit, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.load(Size::D, R9, FP, at(slot::SUMMARY));
        self.asm.imm64(R1, mask);
        self.asm.alu(Op::And, R9, R1);
        self.asm.mov(R8, 0);
        self.asm.store(Size::D, FP, at(slot::TURN), 0);
        self.asm.bind(turn);
        self.bounded(slot::TURN, turns as i32 + 1, self.exits.pass);
        self.asm.jump_if(If::Ne, R8, 0, bit);
        self.asm.jump_if(If::Eq, R9, 0, done);
        self.next_word(turn);
        self.asm.bind(bit);
        self.next_bit(turn);
        self.asm.bind(done);
    }

    /// Counts a loop's rounds in a slot, and leaves it past `most`.
    fn bounded(&mut self, slot: i16, most: i32, bail: Label) {
        self.asm.load(Size::D, R1, FP, at(slot));
        self.asm.alu(Op::Add, R1, 1);
        self.asm.store(Size::D, FP, at(slot), R1);
        self.asm.jump_if(If::Gt, R1, most, bail);
    }

    /// `r8` = the rules on which all fields agree in the first word of `r9`, which loses it.
    fn next_word(&mut self, turn: Label) {
        self.take_lowest(R9);
        self.asm.jump_if(If::Gt, R2, self.part.words as i32 - 1, self.exits.pass);
        self.asm.store(Size::W, FP, half(slot::WORD), R2);
        self.asm.alu(Op::Lsh, R2, 3);
        for number in 0..self.part.fields.len() {
            self.asm.load(Size::D, R3, FP, at(slot::VECTORS + number as i16));
            self.asm.alu(Op::Add, R3, R2);
            self.asm.load(Size::D, R3, R3, 8);
            if number == 0 {
                self.asm.mov(R8, R3);
            } else {
                self.asm.alu(Op::And, R8, R3);
            }
        }
        self.asm.jump(turn);
    }

    /// Makes the first rule of the word `r8` the best one, where it is earlier than that and not
    /// applied yet; then the word is done, as the rest of it is later.
    fn next_bit(&mut self, turn: Label) {
        self.take_lowest(R8);
        self.asm.load(Size::W, R3, FP, half(slot::WORD));
        self.asm.alu(Op::Lsh, R3, 6);
        self.asm.alu(Op::Add, R3, R2);
        self.asm.alu(Op::Lsh, R3, record::SHIFT);
        self.asm.jump_if(If::Gt, R3, self.last_record(), self.exits.pass);
        self.data(R4, self.part.records);
        self.asm.alu(Op::Add, R4, R3);
        self.asm.load(Size::W, R5, R4, record::INDEX);
        self.asm.load(Size::W, R1, FP, half(slot::FROM));
        self.asm.jump_if(If::Lt, R5, R1, turn);
        self.asm.mov(R8, 0);
        self.asm.load(Size::W, R1, FP, half(slot::BEST));
        self.asm.jump_if(If::Ge, R5, R1, turn);
        self.asm.store(Size::W, FP, half(slot::BEST), R5);
        self.asm.store(Size::W, FP, half(slot::BEST_RECORD), R3);
        self.asm.jump(turn);
    }

    /// `r1` = 0, from memory, so that the verifier does not follow it.
    fn unfollowed_zero(&mut self) {
        // The first octet of the table of lowest bits is 0: bit 0 has place 0.
        self.data(R1, self.part.digits);
        self.asm.load(Size::B, R1, R1, 0);
    }

    /// `COUNTED` = what the programs before counted, or 0 in a form that the verifier does not
    /// follow.
    fn counted_so_far(&mut self) {
        if self.wiring.follows {
            let lost = self.exits.pass;
            self.asm.store(Size::W, FP, half(slot::KEY), 0);
            self.look_up(self.wiring.counted, half(slot::KEY));
            self.asm.jump_if(If::Eq, R0, 0, lost);
            self.asm.load(Size::D, R1, R0, 0);
        } else {
            self.unfollowed_zero();
        }
        self.asm.store(Size::W, FP, half(slot::COUNTED), R1);
    }

    /// `r2` = the place of the lowest bit of `word`, which loses it. Uses `r1`.
    fn take_lowest(&mut self, word: Reg) {
        self.asm.mov(R1, word);
        self.asm.alu(Op::Neg, R1, 0);
        self.asm.alu(Op::And, R1, word);
        self.asm.alu(Op::Xor, word, R1);
        self.asm.imm64(R2, DE_BRUIJN);
        self.asm.alu(Op::Mul, R1, R2);
        self.asm.alu(Op::Rsh, R1, 58);
        self.data(R2, self.part.digits);
        self.asm.alu(Op::Add, R2, R1);
        self.asm.load(Size::B, R2, R2, 0);
    }

    /// The rule of the record `r7` matches.
    fn apply_rule(&mut self, pass: Label, counting: bool) {
        let (decided, counted, bail) = (self.asm.label(), self.asm.label(), self.exits.pass);
        self.asm.load(Size::W, R1, R7, record::SLOT);
        self.asm.store(Size::W, FP, half(slot::KEY), R1);
        self.look_up(self.wiring.counters, half(slot::KEY));
        self.asm.jump_if(If::Eq, R0, 0, bail);
        self.asm.store(Size::D, FP, at(slot::COUNTERS), R0);
        self.add_packet(R0, MATCHED);
        self.asm.load(Size::W, R1, R7, record::OUTCOME);
        self.asm.store(Size::W, FP, half(slot::OUTCOME), R1);
        if self.part.limits {
            self.limit(decided);
            self.asm.load(Size::W, R1, R7, record::OVER);
            self.asm.store(Size::W, FP, half(slot::OUTCOME), R1);
            self.asm.load(Size::D, R3, FP, at(slot::COUNTERS));
            self.add_packet(R3, LIMITED);
        }
        self.asm.bind(decided);
        self.trace();
        if self.part.samples {
            self.sample();
        }
        self.asm.load(Size::W, R4, FP, half(slot::OUTCOME));
        if counting {
            self.asm.jump_if(If::Lt, R4, Outcome::Dropped as i32, counted);
        }
        self.asm.jump_if(If::Eq, R4, Outcome::Passed as i32, self.exits.pass);
        self.asm.load(Size::D, R3, FP, at(slot::COUNTERS));
        self.add_packet(R3, DROPPED);
        let limited = self.asm.label();
        self.asm.jump_if(If::Eq, R4, Outcome::Limited as i32, limited);
        self.drop_for(Reason::ShieldRule);
        self.asm.bind(limited);
        self.drop_for(Reason::ShieldLimit);
        if !counting {
            return;
        }
        self.asm.bind(counted);
        self.asm.load(Size::W, R1, FP, half(slot::COUNTED));
        self.asm.alu(Op::Add, R1, 1);
        self.asm.store(Size::W, FP, half(slot::COUNTED), R1);
        self.asm.jump_if(If::Lt, R1, APPLIED_MAX as i32, pass);
        self.asm.jump(bail);
    }

    /// For tests: which rule had which outcome.
    fn trace(&mut self) {
        let Some(trace) = self.wiring.trace else { return };
        self.asm.map_value(R3, Self::fd(trace), 0);
        self.asm.load(Size::D, R1, R3, 8);
        self.asm.mov(R2, R1);
        self.asm.alu(Op::And, R2, TRACE_EVENTS_MAX as i32 - 1);
        self.asm.alu(Op::Lsh, R2, 3);
        self.asm.alu(Op::Add, R1, 1);
        self.asm.store(Size::D, R3, 8, R1);
        self.asm.alu(Op::Add, R3, R2);
        self.asm.load(Size::W, R4, R7, record::INDEX);
        self.asm.alu(Op::Lsh, R4, 8);
        self.asm.load(Size::W, R5, FP, half(slot::OUTCOME));
        self.asm.alu(Op::Or, R4, R5);
        self.asm.store(Size::D, R3, 16, R4);
    }

    /// `r0` = nanoseconds: the kernel's, or those that a test set.
    pub(super) fn clock(&mut self) {
        match self.wiring.trace {
            Some(trace) => {
                self.asm.map_value(R1, Self::fd(trace), 0);
                self.asm.load(Size::D, R0, R1, 0);
            }
            None => self.asm.call(helper::CLOCK),
        }
    }
}
