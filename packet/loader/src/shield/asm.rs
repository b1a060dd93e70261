//! A small assembler of eBPF (RFC 9669): instructions, labels, maps by descriptor.
//!
//! It knows the encoding and the reach of jumps; what programs mean is up to `emit`.

use std::os::fd::RawFd;

/// Instructions of one program, as the kernel's verifier bounds them for privileged users.
pub const INSTRUCTIONS_MAX: usize = 1_000_000;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(u8);

/// Result of calls, and of the program.
pub const R0: Reg = Reg(0);
/// First argument.
pub const R1: Reg = Reg(1);
/// Second argument.
pub const R2: Reg = Reg(2);
/// Third argument.
pub const R3: Reg = Reg(3);
/// Fourth argument.
pub const R4: Reg = Reg(4);
/// Fifth argument.
pub const R5: Reg = Reg(5);
/// Kept across calls.
pub const R6: Reg = Reg(6);
/// Kept across calls.
pub const R7: Reg = Reg(7);
/// Kept across calls.
pub const R8: Reg = Reg(8);
/// Kept across calls.
pub const R9: Reg = Reg(9);
/// The frame pointer; the stack lies below it.
pub const FP: Reg = Reg(10);

/// A second operand: a register, or a number that is sign-extended to 64 bits.
#[derive(Clone, Copy, Debug)]
pub enum Operand {
    /// A register.
    R(Reg),
    /// A number.
    I(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::R(reg)
    }
}

impl From<i32> for Operand {
    fn from(number: i32) -> Self {
        Self::I(number)
    }
}

/// Arithmetic on 64 bits.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Op {
    /// Sum.
    Add = 0x00,
    /// Difference.
    Sub = 0x10,
    /// Product.
    Mul = 0x20,
    /// Bitwise or.
    Or = 0x40,
    /// Bitwise and.
    And = 0x50,
    /// Shift left.
    Lsh = 0x60,
    /// Logical shift right.
    Rsh = 0x70,
    /// Negation, of the first operand alone.
    Neg = 0x80,
    /// Bitwise exclusive or.
    Xor = 0xa0,
    /// Copy.
    Mov = 0xb0,
}

/// A condition of a jump.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum If {
    /// Equal.
    Eq = 0x10,
    /// Unsigned greater.
    Gt = 0x20,
    /// Unsigned greater or equal.
    Ge = 0x30,
    /// Any common bit.
    Set = 0x40,
    /// Not equal.
    Ne = 0x50,
    /// Unsigned less.
    Lt = 0xa0,
    /// Unsigned less or equal.
    Le = 0xb0,
}

/// Octets that a load or store moves.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Size {
    /// Four.
    W = 0x00,
    /// Two.
    H = 0x08,
    /// One.
    B = 0x10,
    /// Eight.
    D = 0x18,
}

/// A place in the program that jumps name before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// Why instructions are not a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsmError {
    /// A jump past the reach of 16 bits.
    #[error("a jump at instruction {at} reaches {distance} instructions, past 32,767")]
    JumpTooFar {
        /// Where.
        at: usize,
        /// How far.
        distance: i64,
    },
    /// A label that was never bound.
    #[error("a jump at instruction {at} has no target")]
    NoTarget {
        /// Where.
        at: usize,
    },
    /// Over [`INSTRUCTIONS_MAX`].
    #[error("{count} instructions are more than the {INSTRUCTIONS_MAX} that the kernel takes")]
    TooLong {
        /// How many.
        count: usize,
    },
}

/// A program as it grows.
#[derive(Debug, Default)]
pub struct Asm {
    code: Vec<u64>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

const LD_IMM64: u8 = 0x18;
const LDX: u8 = 0x61;
const STX: u8 = 0x63;
const ST: u8 = 0x62;
const ATOMIC_D: u8 = 0xdb;
const COMPARE_AND_EXCHANGE: i32 = 0xf1;
const ALU64: u8 = 0x07;
const JMP: u8 = 0x05;
const FROM_REG: u8 = 0x08;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// `BPF_ALU | BPF_END | BPF_TO_BE`.
const TO_BIG_ENDIAN: u8 = 0xdc;
const MAP_FD: u8 = 1;
const MAP_VALUE: u8 = 2;

impl Asm {
    /// An empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Instructions so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.code.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.code.is_empty()
    }

    fn push(&mut self, code: u8, dst: Reg, src: u8, off: i16, imm: i32) {
        let registers = u64::from(dst.0 & 15) | u64::from(src & 15) << 4;
        let off = u64::from(off.cast_unsigned());
        let imm = u64::from(imm.cast_unsigned());
        self.code.push(u64::from(code) | registers << 8 | off << 16 | imm << 32);
    }

    /// `dst = dst op operand`.
    pub fn alu(&mut self, op: Op, dst: Reg, operand: impl Into<Operand>) {
        match operand.into() {
            Operand::R(src) => self.push(ALU64 | op as u8 | FROM_REG, dst, src.0, 0, 0),
            Operand::I(number) => self.push(ALU64 | op as u8, dst, 0, 0, number),
        }
    }

    /// `dst = operand`.
    pub fn mov(&mut self, dst: Reg, operand: impl Into<Operand>) {
        self.alu(Op::Mov, dst, operand);
    }

    /// `dst = ~dst`.
    pub fn not(&mut self, dst: Reg) {
        self.alu(Op::Xor, dst, -1);
    }

    /// `dst = number`, all 64 bits.
    pub fn imm64(&mut self, dst: Reg, number: u64) {
        self.wide(dst, 0, number as u32, (number >> 32) as u32);
    }

    /// `dst` = the map behind a descriptor.
    pub fn map(&mut self, dst: Reg, fd: RawFd) {
        self.wide(dst, MAP_FD, fd.cast_unsigned(), 0);
    }

    /// `dst` = the address of octet `offset` in the one value of an array.
    pub fn map_value(&mut self, dst: Reg, fd: RawFd, offset: u32) {
        self.wide(dst, MAP_VALUE, fd.cast_unsigned(), offset);
    }

    fn wide(&mut self, dst: Reg, kind: u8, low: u32, high: u32) {
        self.push(LD_IMM64, dst, kind, 0, low.cast_signed());
        self.push(0, Reg(0), 0, 0, high.cast_signed());
    }

    /// `dst = *(size *)(src + offset)`.
    pub fn load(&mut self, size: Size, dst: Reg, src: Reg, offset: i16) {
        self.push(LDX | size as u8, dst, src.0, offset, 0);
    }

    /// `*(size *)(dst + offset) = operand`.
    pub fn store(&mut self, size: Size, dst: Reg, offset: i16, operand: impl Into<Operand>) {
        match operand.into() {
            Operand::R(src) => self.push(STX | size as u8, dst, src.0, offset, 0),
            Operand::I(number) => self.push(ST | size as u8, dst, 0, offset, number),
        }
    }

    /// `r0 = compare_and_exchange(dst + offset, expected r0, src)`, eight octets.
    pub fn compare_and_exchange(&mut self, dst: Reg, offset: i16, src: Reg) {
        self.push(ATOMIC_D, dst, src.0, offset, COMPARE_AND_EXCHANGE);
    }

    /// Turns the low `bits` of `dst` from wire order to a number, and clears the rest.
    pub fn big_endian(&mut self, dst: Reg, bits: i32) {
        self.push(TO_BIG_ENDIAN, dst, 0, 0, bits);
    }

    /// Calls a helper of the kernel.
    pub fn call(&mut self, helper: i32) {
        self.push(CALL, R0, 0, 0, helper);
    }

    /// Ends the program with `r0`.
    pub fn exit(&mut self) {
        self.push(EXIT, R0, 0, 0, 0);
    }

    /// A label to be bound.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        let here = self.code.len();
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(here);
        }
    }

    /// Jumps.
    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(JMP, R0, 0, 0, 0);
    }

    /// Jumps where the condition holds for `left` and `right`.
    pub fn jump_if(&mut self, when: If, left: Reg, right: impl Into<Operand>, to: Label) {
        self.jumps.push((self.code.len(), to));
        match right.into() {
            Operand::R(src) => self.push(JMP | when as u8 | FROM_REG, left, src.0, 0, 0),
            Operand::I(number) => self.push(JMP | when as u8, left, 0, 0, number),
        }
    }

    /// The program, every jump resolved.
    ///
    /// # Errors
    /// When it is too long, or a jump goes nowhere or too far.
    pub fn finish(mut self) -> Result<Vec<u64>, AsmError> {
        if self.code.len() > INSTRUCTIONS_MAX {
            return Err(AsmError::TooLong { count: self.code.len() });
        }
        for (at, label) in self.jumps {
            let target = self.labels.get(label.0).copied().flatten();
            let target = target.ok_or(AsmError::NoTarget { at })?;
            let distance = target as i64 - at as i64 - 1;
            let short = i16::try_from(distance);
            let short = short.map_err(|_| AsmError::JumpTooFar { at, distance })?;
            if let Some(code) = self.code.get_mut(at) {
                *code |= u64::from(short.cast_unsigned()) << 16;
            }
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        let mut asm = Asm::new();
        let end = asm.label();
        asm.mov(R0, 2);
        asm.alu(Op::Add, R1, R2);
        asm.load(Size::D, R3, FP, -8);
        asm.store(Size::H, R4, 6, R5);
        asm.jump_if(If::Ge, R1, R2, end);
        asm.map_value(R1, 7, 9);
        asm.compare_and_exchange(R7, 8, R2);
        asm.bind(end);
        asm.exit();
        let want = vec![
            0x0000_0002_0000_00b7,
            0x0000_0000_0000_210f,
            0x0000_0000_fff8_a379,
            0x0000_0000_0006_546b,
            0x0000_0000_0003_213d,
            0x0000_0007_0000_2118,
            0x0000_0009_0000_0000,
            0x0000_00f1_0008_27db,
            0x0000_0000_0000_0095,
        ];
        assert_eq!(asm.finish(), Ok(want));
    }

    #[test]
    fn jumps_have_targets_within_reach() {
        let mut asm = Asm::new();
        let nowhere = asm.label();
        asm.jump(nowhere);
        assert_eq!(asm.finish(), Err(AsmError::NoTarget { at: 0 }));
        let mut asm = Asm::new();
        let far = asm.label();
        asm.jump(far);
        for _ in 0..32_768 {
            asm.exit();
        }
        asm.bind(far);
        asm.exit();
        assert_eq!(asm.finish(), Err(AsmError::JumpTooFar { at: 0, distance: 32_768 }));
    }
}
