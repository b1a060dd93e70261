//! From a plan to instructions: read the packet, look its fields up, AND the vectors, apply the
//! rules that are left, first one first.
//!
//! Registers across the whole program: `r6` context, `r7` the record of the rule at hand, `r8` what
//! is left of a word of the vectors, `r9` of the summary. Everything else lives on the stack, in
//! slots of eight octets. Numbers that steer pointers go to the *upper half* of their slot: the
//! verifier does not follow those, so that it sees one state behind the parser, and not one for
//! each kind of packet.

mod apply;
mod limit;
mod parse;
mod reverse;
mod sample;
mod search;

pub use apply::{TRACE_EVENTS_MAX, TRACE_WORDS};
pub use sample::{HEADER, OCTETS_MAX};

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use packet_abi::Reason;
use packet_abi::maps::CHAIN_DIRECTOR;

use super::asm::{Asm, AsmError, FP, If, Label, Op, R0, R1, R2, R3, R6, Size};
use super::plan::Part;

/// Helpers of the kernel, by number.
mod helper {
    pub(super) const LOOK_UP: i32 = 1;
    pub(super) const UPDATE: i32 = 2;
    pub(super) const CLOCK: i32 = 5;
    pub(super) const RANDOM: i32 = 7;
    pub(super) const TAIL_CALL: i32 = 12;
    pub(super) const FIB: i32 = 69;
    pub(super) const RING_RESERVE: i32 = 131;
    pub(super) const RING_SUBMIT: i32 = 132;
    pub(super) const RING_DISCARD: i32 = 133;
    pub(super) const LOAD_OCTETS: i32 = 189;
}

/// Actions of XDP.
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;

/// Slots of the stack; the frame pointer less eight times one more is where each starts.
mod slot {
    pub(super) const HEAD: i16 = 0;
    pub(super) const END: i16 = 1;
    pub(super) const PROTOCOL: i16 = 2;
    pub(super) const BITS: i16 = 3;
    pub(super) const TTL: i16 = 4;
    pub(super) const FLAGS: i16 = 5;
    pub(super) const LENGTH: i16 = 6;
    pub(super) const SOURCE_PORT: i16 = 7;
    pub(super) const DESTINATION_PORT: i16 = 8;
    pub(super) const VERSION: i16 = 9;
    pub(super) const PAYLOAD: i16 = 10;
    pub(super) const OCTETS: i16 = 11;
    pub(super) const SOURCE_HIGH: i16 = 12;
    pub(super) const SOURCE_LOW: i16 = 13;
    pub(super) const DESTINATION_HIGH: i16 = 14;
    pub(super) const DESTINATION_LOW: i16 = 15;
    pub(super) const COUNTED: i16 = 16;
    /// How often the first rule left was looked for.
    pub(super) const PASS: i16 = 17;
    /// Words and rules looked at in this pass.
    pub(super) const TURN: i16 = 18;
    pub(super) const WORD: i16 = 19;
    pub(super) const SUMMARY: i16 = 20;
    /// Rules before this one were applied.
    pub(super) const FROM: i16 = 21;
    /// The first rule left, by index and by place of its record.
    pub(super) const BEST: i16 = 22;
    pub(super) const BEST_RECORD: i16 = 23;
    pub(super) const COUNTERS: i16 = 24;
    pub(super) const OUTCOME: i16 = 25;
    pub(super) const KEY: i16 = 26;
    pub(super) const CAPTURED: i16 = 27;
    /// Two slots, as one value; the higher number is the lower address.
    pub(super) const FRESH: i16 = 29;
    /// Three slots, as one key.
    pub(super) const SHARER: i16 = 32;
    pub(super) const STATE: i16 = 33;
    /// Where an IP header starts.
    pub(super) const NETWORK: i16 = 34;
    /// The first rule that ends the matter, as `BEST` and `BEST_RECORD`.
    pub(super) const FINAL: i16 = 35;
    pub(super) const FINAL_RECORD: i16 = 36;
    /// Vectors, one slot for each field that is looked up.
    pub(super) const VECTORS: i16 = 37;
    /// Eight slots for a question to the routing table, before vectors take them.
    pub(super) const FIB: i16 = 45;
}

/// Versions of IP as the program keeps them: not zero, which the verifier would follow.
const V6: i32 = 1;
const V4: i32 = 2;

/// Offset of a slot from the frame pointer.
const fn at(slot: i16) -> i16 {
    -8 * (slot + 1)
}

/// Its upper half.
const fn half(slot: i16) -> i16 {
    at(slot) + 4
}

// The vectors of every field and shape fit the 512 octets of a program's stack.
const _: () = assert!((slot::VECTORS as usize + 8 + super::plan::SHAPES_MAX) * 8 <= 512);

/// Maps that a program is tied to.
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// Tables of the part.
    pub data: BorrowedFd<'a>,
    /// Counters by rule.
    pub counters: BorrowedFd<'a>,
    /// Debts of limits by rule.
    pub debts: BorrowedFd<'a>,
    /// Debts by rule and source or destination.
    pub sharers: BorrowedFd<'a>,
    /// Rules counted so far, from one program to the next.
    pub counted: BorrowedFd<'a>,
    /// Samples.
    pub samples: BorrowedFd<'a>,
    /// The chain of programs.
    pub chain: BorrowedFd<'a>,
    /// Counters by [`Reason`].
    pub reasons: BorrowedFd<'a>,
    /// The verdict for taps.
    pub seen: BorrowedFd<'a>,
    /// Taps by action.
    pub taps: BorrowedFd<'a>,
    /// Where a test reads what happened and sets the clock.
    pub trace: Option<BorrowedFd<'a>>,
    /// Whether programs before this one judged the packet.
    pub follows: bool,
    /// Slot of the program after this one.
    pub next: Option<u32>,
    /// Whether sources must be reached by the way they came.
    pub reverse_path: bool,
}

/// Labels that every stage may leave by.
#[derive(Clone, Copy, Debug)]
struct Exits {
    /// Not judged here: to the next program of the shield.
    on: Label,
    /// The same, where the next program was told what is counted so far.
    told: Label,
    /// To the director.
    pass: Label,
    /// Dropped for the reason in the slot `KEY`.
    drop: Label,
}

struct Emitter<'a> {
    asm: Asm,
    part: &'a Part,
    wiring: Wiring<'a>,
    exits: Exits,
}

/// The program of a part.
///
/// # Errors
/// When a jump is out of reach, which the limits of parts exclude.
pub fn program(part: &Part, wiring: Wiring<'_>) -> Result<Vec<u64>, AsmError> {
    let mut asm = Asm::new();
    let exits = Exits { on: asm.label(), told: asm.label(), pass: asm.label(), drop: asm.label() };
    let mut emitter = Emitter { asm, part, wiring, exits };
    emitter.asm.mov(R6, R1);
    if !part.rules.is_empty() || wiring.reverse_path {
        emitter.parse();
    }
    if wiring.reverse_path {
        emitter.reverse_path();
    }
    if !part.rules.is_empty() {
        emitter.look_up_fields();
        emitter.apply_rules();
    }
    emitter.leave();
    emitter.asm.finish()
}

impl Emitter<'_> {
    fn fd(fd: impl AsFd) -> RawFd {
        fd.as_fd().as_raw_fd()
    }

    /// `dst` = the address of an octet of the part's memory.
    fn data(&mut self, dst: super::asm::Reg, offset: u32) {
        self.asm.map_value(dst, Self::fd(self.wiring.data), offset);
    }

    /// `r0` = the entry of a map whose key stands at `key`, or 0.
    fn look_up(&mut self, map: BorrowedFd<'_>, key: i16) {
        self.asm.map(R1, Self::fd(map));
        self.asm.mov(R2, FP);
        self.asm.alu(Op::Add, R2, i32::from(key));
        self.asm.call(helper::LOOK_UP);
    }

    fn tail_call(&mut self, map: BorrowedFd<'_>, slot: u32) {
        self.asm.mov(R1, R6);
        self.asm.map(R2, Self::fd(map));
        self.asm.mov(R3, slot.cast_signed());
        self.asm.call(helper::TAIL_CALL);
    }

    /// The ways out.
    fn leave(&mut self) {
        let Exits { on, told, pass, drop } = self.exits;
        self.asm.bind(on);
        if self.wiring.next.is_some() && !self.wiring.follows {
            self.asm.mov(R1, 0);
            self.asm.store(Size::W, FP, half(slot::COUNTED), R1);
            self.tell_counted();
        }
        self.asm.bind(told);
        if let Some(next) = self.wiring.next {
            // A slot that is empty falls through: packets then go on to the director.
            self.tail_call(self.wiring.chain, next);
        }
        self.asm.bind(pass);
        self.tail_call(self.wiring.chain, CHAIN_DIRECTOR);
        self.asm.mov(R0, XDP_PASS);
        self.asm.exit();
        self.asm.bind(drop);
        if self.part.rules.is_empty() && !self.wiring.reverse_path {
            // Nothing jumps here, and the verifier refuses what cannot be reached.
            return;
        }
        self.count_reason();
        self.tail_call(self.wiring.taps, XDP_DROP.cast_unsigned());
        self.asm.mov(R0, XDP_DROP);
        self.asm.exit();
    }

    /// Tells the next program how many rules counted this packet, from `COUNTED`.
    fn tell_counted(&mut self) {
        let lost = self.asm.label();
        self.asm.store(Size::W, FP, half(slot::KEY), 0);
        self.look_up(self.wiring.counted, half(slot::KEY));
        self.asm.jump_if(If::Eq, R0, 0, lost);
        self.asm.load(Size::W, R1, FP, half(slot::COUNTED));
        self.asm.store(Size::D, R0, 0, R1);
        self.asm.bind(lost);
    }

    /// Counts the reason in `KEY`, and tells taps.
    fn count_reason(&mut self) {
        let (uncounted, unseen) = (self.asm.label(), self.asm.label());
        self.look_up(self.wiring.reasons, half(slot::KEY));
        self.asm.jump_if(If::Eq, R0, 0, uncounted);
        self.add_packet(R0, 0);
        self.asm.bind(uncounted);
        self.asm.store(Size::W, FP, half(slot::TURN), 0);
        self.look_up(self.wiring.seen, half(slot::TURN));
        self.asm.jump_if(If::Eq, R0, 0, unseen);
        self.asm.load(Size::W, R1, FP, half(slot::KEY));
        self.asm.store(Size::W, R0, 0, R1);
        self.asm.store(Size::W, R0, 4, XDP_DROP);
        self.asm.bind(unseen);
    }

    /// Adds one packet and its octets to the pair of counters at `dst + offset`.
    fn add_packet(&mut self, dst: super::asm::Reg, offset: i16) {
        self.asm.load(Size::D, R1, dst, offset);
        self.asm.alu(Op::Add, R1, 1);
        self.asm.store(Size::D, dst, offset, R1);
        self.asm.load(Size::D, R1, dst, offset + 8);
        self.asm.load(Size::W, R2, FP, half(slot::OCTETS));
        self.asm.alu(Op::Add, R1, R2);
        self.asm.store(Size::D, dst, offset + 8, R1);
    }

    /// Leaves by the drop, for a reason.
    fn drop_for(&mut self, reason: Reason) {
        self.asm.store(Size::W, FP, half(slot::KEY), reason as i32);
        self.asm.jump(self.exits.drop);
    }
}
