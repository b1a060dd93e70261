//! Looking the fields up: each leaves a pointer to its vector on the stack, and its summary in
//! `r9`.
//! Searches have no branches, so that neither the processor nor the verifier has to guess.

use super::super::asm::{FP, If, Op, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Size};
use super::super::plan::{Field, Shape};
use super::super::tables::{Direct, Narrow, VECTOR_BITS, Wide};
use super::{Emitter, V4, at, half, slot};

/// What a load's offset can reach.
const REACH: i32 = 32_767 - 8;

impl Emitter<'_> {
    pub(super) fn look_up_fields(&mut self) {
        let part = self.part;
        for (number, field) in part.fields.iter().enumerate() {
            match field {
                Field::Kind(table) => self.kind(*table),
                Field::Ttl(table) => self.direct(slot::TTL, *table),
                Field::Flags(table) => self.direct(slot::FLAGS, *table),
                Field::Length(table) => self.number(slot::LENGTH, *table),
                Field::SourcePort(table) => self.number(slot::SOURCE_PORT, *table),
                Field::DestinationPort(table) => self.number(slot::DESTINATION_PORT, *table),
                Field::Source(v4, v6) => {
                    self.address([slot::SOURCE_HIGH, slot::SOURCE_LOW], *v4, *v6);
                }
                Field::Destination(v4, v6) => {
                    self.address([slot::DESTINATION_HIGH, slot::DESTINATION_LOW], *v4, *v6);
                }
                Field::Payload(shape, table, absent) => self.payload(shape, *table, *absent),
            }
            self.keep_vector(number);
        }
    }

    /// Takes the vector at word `r1` in.
    fn keep_vector(&mut self, number: usize) {
        let part = self.part;
        self.asm.alu(Op::Lsh, R1, 3);
        self.asm.jump_if(If::Gt, R1, part.last_vector.cast_signed(), self.exits.on);
        self.data(R2, part.vectors);
        self.asm.alu(Op::Add, R2, R1);
        self.asm.store(Size::D, FP, at(slot::VECTORS + number as i16), R2);
        self.asm.load(Size::D, R2, R2, 0);
        if number == 0 {
            self.asm.mov(R9, R2);
        } else {
            self.asm.alu(Op::And, R9, R2);
        }
        self.asm.jump_if(If::Eq, R9, 0, self.exits.on);
    }

    fn kind(&mut self, table: Direct) {
        self.asm.load(Size::W, R1, FP, half(slot::BITS));
        self.asm.alu(Op::And, R1, 0x300);
        self.asm.load(Size::W, R2, FP, half(slot::PROTOCOL));
        self.asm.alu(Op::Or, R1, R2);
        self.direct_r1(table);
    }

    fn direct(&mut self, slot: i16, table: Direct) {
        self.asm.load(Size::W, R1, FP, half(slot));
        self.direct_r1(table);
    }

    fn direct_r1(&mut self, table: Direct) {
        self.asm.jump_if(If::Gt, R1, table.last.cast_signed(), self.exits.on);
        self.asm.alu(Op::Lsh, R1, 2);
        self.data(R2, table.at);
        self.asm.alu(Op::Add, R2, R1);
        self.asm.load(Size::W, R1, R2, 0);
    }

    fn number(&mut self, slot: i16, table: Narrow) {
        self.asm.load(Size::W, R1, FP, half(slot));
        self.narrow(table);
    }

    fn address(&mut self, [high, low]: [i16; 2], v4: Narrow, v6: Wide) {
        let (other, found) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R2, FP, half(slot::VERSION));
        self.asm.jump_if(If::Ne, R2, V4, other);
        self.asm.load(Size::W, R1, FP, at(low));
        self.narrow(v4);
        self.asm.jump(found);
        self.asm.bind(other);
        self.asm.load(Size::D, R1, FP, at(high));
        self.asm.load(Size::D, R5, FP, at(low));
        self.wide(v6);
        self.asm.bind(found);
    }

    /// `r1` = the vector of the number `r1`.
    fn narrow(&mut self, table: Narrow) {
        if let Some(index) = table.index {
            self.asm.mov(R2, R1);
            self.asm.alu(Op::Rsh, R2, index.shift.cast_signed());
            self.asm.jump_if(If::Gt, R2, index.last.cast_signed(), self.exits.on);
            self.asm.alu(Op::Lsh, R2, 2);
            self.data(R3, index.at);
            self.asm.alu(Op::Add, R3, R2);
            self.asm.load(Size::W, R3, R3, 0);
            self.asm.jump_if(If::Gt, R3, index.last_entry.cast_signed(), self.exits.on);
            self.data(R4, table.at);
            self.asm.alu(Op::Add, R4, R3);
        } else {
            self.data(R4, table.at);
        }
        let vector = (1 << VECTOR_BITS) - 1;
        if table.steps > 0 {
            self.asm.alu(Op::Lsh, R1, VECTOR_BITS.cast_signed());
            self.asm.alu(Op::Or, R1, vector);
        }
        for step in (0..table.steps.cast_signed()).rev() {
            let ahead = 8 << step;
            if ahead <= REACH {
                self.asm.load(Size::D, R2, R4, ahead as i16);
            } else {
                self.asm.mov(R3, R4);
                self.asm.alu(Op::Add, R3, ahead);
                self.asm.load(Size::D, R2, R3, 0);
            }
            // Neither has its top bit set, so that of their difference says which is larger.
            self.asm.mov(R3, R1);
            self.asm.alu(Op::Sub, R3, R2);
            self.asm.alu(Op::Rsh, R3, 63);
            self.asm.alu(Op::Xor, R3, 1);
            self.asm.alu(Op::Lsh, R3, step + 3);
            self.asm.alu(Op::Add, R4, R3);
        }
        self.asm.load(Size::D, R1, R4, 0);
        self.asm.alu(Op::And, R1, vector);
    }

    /// `r1` = the vector of the number whose words are `r1` and `r5`. Uses all but `r6` and `r9`.
    fn wide(&mut self, table: Wide) {
        self.data(R4, table.at);
        for step in (0..table.steps.cast_signed()).rev() {
            let ahead = 32 << step;
            self.asm.mov(R3, R4);
            self.asm.alu(Op::Add, R3, ahead);
            self.asm.load(Size::D, R2, R3, 0);
            if table.low {
                self.asm.load(Size::D, R3, R3, 8);
                self.borrow(R5, R3, false);
                self.asm.mov(R0, R7);
            }
            self.borrow(R1, R2, table.low);
            self.asm.alu(Op::Xor, R7, 1);
            self.asm.alu(Op::Lsh, R7, step + 5);
            self.asm.alu(Op::Add, R4, R7);
        }
        self.asm.load(Size::D, R1, R4, 16);
    }

    /// `r7` = 1 where `a - b - (r0 if carried)` needs to borrow, else 0. Uses `r8`.
    fn borrow(&mut self, a: super::super::asm::Reg, b: super::super::asm::Reg, carried: bool) {
        self.asm.mov(R7, a);
        self.asm.alu(Op::Sub, R7, b);
        if carried {
            self.asm.alu(Op::Sub, R7, R0);
        }
        self.asm.mov(R8, a);
        self.asm.alu(Op::Xor, R8, b);
        self.asm.not(R8);
        self.asm.alu(Op::And, R7, R8);
        self.asm.mov(R8, a);
        self.asm.not(R8);
        self.asm.alu(Op::And, R8, b);
        self.asm.alu(Op::Or, R7, R8);
        self.asm.alu(Op::Rsh, R7, 63);
    }

    fn payload(&mut self, shape: &Shape, table: Wide, absent: u32) {
        let (missing, found) = (self.asm.label(), self.asm.label());
        let end = i32::from(shape.offset) + shape.mask.len() as i32;
        self.asm.load(Size::W, R1, FP, half(slot::PAYLOAD));
        self.asm.load(Size::W, R3, FP, half(slot::END));
        self.asm.mov(R2, R1);
        self.asm.alu(Op::Add, R2, end);
        self.asm.jump_if(If::Gt, R2, R3, missing);
        self.asm.jump_if(If::Gt, R1, 0x3fff, missing);
        self.asm.load(Size::W, R7, R6, 0);
        self.asm.load(Size::W, R8, R6, 4);
        self.asm.alu(Op::Add, R7, R1);
        self.asm.mov(R2, R7);
        self.asm.alu(Op::Add, R2, end);
        self.asm.jump_if(If::Gt, R2, R8, missing);
        let (first, second) = shape.mask.split_at(shape.mask.len().min(8));
        let offset = shape.offset.cast_signed();
        self.masked(R1, offset, first);
        self.masked(R5, offset + 8, second);
        self.wide(table);
        self.asm.jump(found);
        self.asm.bind(missing);
        self.data(R2, absent);
        self.asm.load(Size::D, R1, R2, 0);
        self.asm.bind(found);
    }

    /// `dst` = up to eight octets at `r7 + offset` under a mask, the first one lowest.
    fn masked(&mut self, dst: super::super::asm::Reg, offset: i16, mask: &[u8]) {
        let mut done = 0;
        self.asm.mov(dst, 0);
        for (size, octets) in [(Size::D, 8), (Size::W, 4), (Size::H, 2), (Size::B, 1)] {
            if mask.len() - done < octets {
                continue;
            }
            self.asm.load(size, R2, R7, offset + done as i16);
            self.asm.alu(Op::Lsh, R2, done as i32 * 8);
            self.asm.alu(Op::Or, dst, R2);
            done += octets;
        }
        let word = mask.iter().rev().fold(0_u64, |word, octet| word << 8 | u64::from(*octet));
        self.asm.imm64(R2, word);
        self.asm.alu(Op::And, dst, R2);
    }
}
