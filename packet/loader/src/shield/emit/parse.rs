//! Reading the packet: from the frame to fields on the stack. What cannot be read leaves by the
//! exit, or leaves ports, flags and payload absent, as in `packet`.

use super::super::asm::{FP, If, Label, Op, R2, R3, R4, R5, R6, R7, R8, R9, Reg, Size};
use super::super::packet::{EXTENSIONS_MAX, TAGS_MAX};
use super::{Emitter, V4, V6, at, half, slot};

/// Offsets past any headers: 22 octets of link, 40 of IPv6, six extensions of 2,048.
const HEADERS_MAX: i32 = 0x3fff;
/// A payload offset that lies past any end.
const NO_PAYLOAD: i32 = 0x7fff_0000;
/// A bit of `BITS` that is always set, so that the slot is never zero.
const ALWAYS: i32 = 0x1_0000;
/// Bits of `BITS`: in place for the index of `Field::Kind`.
const FRAGMENT: i32 = 0x100;
const OPTIONS: i32 = 0x200;

impl Emitter<'_> {
    pub(super) fn parse(&mut self) {
        let (v4, network, transport, done) =
            (self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label());
        self.link(network);
        self.asm.bind(network);
        self.asm.load(Size::W, R9, FP, half(slot::NETWORK));
        self.asm.jump_if(If::Gt, R9, 64, self.exits.on);
        self.asm.mov(R5, R7);
        self.asm.alu(Op::Add, R5, R9);
        // Both in wire order, as a load of a little-endian machine gives them.
        self.asm.jump_if(If::Eq, R3, 0x0008, v4);
        self.asm.jump_if(If::Ne, R3, 0xdd86, self.exits.on);
        self.v6();
        self.extensions(transport, done);
        self.asm.bind(v4);
        self.v4(done);
        self.asm.bind(transport);
        self.transport(done);
        self.asm.bind(done);
    }

    /// Ethernet and VLAN tags: `r3` = the type of what follows at `NETWORK`.
    fn link(&mut self, network: Label) {
        let on = self.exits.on;
        self.asm.load(Size::W, R7, R6, 0);
        self.asm.load(Size::W, R8, R6, 4);
        self.asm.mov(R2, R8);
        self.asm.alu(Op::Sub, R2, R7);
        self.asm.store(Size::W, FP, half(slot::OCTETS), R2);
        self.asm.store(Size::W, FP, half(slot::FLAGS), 256);
        self.asm.store(Size::W, FP, half(slot::SOURCE_PORT), 65_536);
        self.asm.store(Size::W, FP, half(slot::DESTINATION_PORT), 65_536);
        self.asm.store(Size::W, FP, half(slot::PAYLOAD), NO_PAYLOAD);
        self.asm.store(Size::W, FP, half(slot::BITS), ALWAYS);
        self.asm.store(Size::W, FP, half(slot::NETWORK), 14);
        self.asm.mov(R2, R7);
        self.asm.alu(Op::Add, R2, 14);
        self.asm.jump_if(If::Gt, R2, R8, on);
        self.asm.load(Size::H, R3, R7, 12);
        for _ in 0..TAGS_MAX {
            let tag = self.asm.label();
            self.asm.jump_if(If::Eq, R3, 0x0081, tag);
            self.asm.jump_if(If::Ne, R3, 0xa888, network);
            self.asm.bind(tag);
            self.asm.load(Size::W, R9, FP, half(slot::NETWORK));
            self.asm.jump_if(If::Gt, R9, 64, on);
            self.asm.mov(R2, R7);
            self.asm.alu(Op::Add, R2, R9);
            self.within(R2, 4, on);
            self.asm.load(Size::H, R3, R2, 2);
            self.asm.alu(Op::Add, R9, 4);
            self.asm.store(Size::W, FP, half(slot::NETWORK), R9);
        }
    }

    /// Goes to `else_to` unless `octets` from `pointer` on lie in the frame. Uses `r4`.
    fn within(&mut self, pointer: Reg, octets: i32, else_to: Label) {
        self.asm.mov(R4, pointer);
        self.asm.alu(Op::Add, R4, octets);
        self.asm.jump_if(If::Gt, R4, R8, else_to);
    }

    /// `dst` = a number of `size` at `r5 + offset`, from wire order.
    fn field(&mut self, size: Size, dst: Reg, offset: i16) {
        self.asm.load(size, dst, R5, offset);
        match size {
            Size::B => {}
            Size::H => self.asm.big_endian(dst, 16),
            Size::W => self.asm.big_endian(dst, 32),
            Size::D => self.asm.big_endian(dst, 64),
        }
    }

    /// Where the packet ends in the frame, its length by the IP header in `r3`: `END`. Uses `r4`.
    fn end(&mut self) {
        let shorter = self.asm.label();
        self.asm.alu(Op::Add, R3, R9);
        self.asm.load(Size::W, R4, FP, half(slot::OCTETS));
        self.asm.jump_if(If::Le, R3, R4, shorter);
        self.asm.mov(R3, R4);
        self.asm.bind(shorter);
        self.asm.store(Size::W, FP, half(slot::END), R3);
    }

    /// Sets a bit of `BITS`. Uses `r4`.
    fn set_bit(&mut self, bit: i32) {
        self.asm.load(Size::W, R4, FP, half(slot::BITS));
        self.asm.alu(Op::Or, R4, bit);
        self.asm.store(Size::W, FP, half(slot::BITS), R4);
    }

    fn v4(&mut self, done: Label) {
        let (plain, whole) = (self.asm.label(), self.asm.label());
        let on = self.exits.on;
        self.within(R5, 20, on);
        self.field(Size::B, R2, 0);
        self.asm.mov(R3, R2);
        self.asm.alu(Op::Rsh, R3, 4);
        self.asm.jump_if(If::Ne, R3, 4, on);
        self.asm.alu(Op::And, R2, 15);
        self.asm.alu(Op::Lsh, R2, 2);
        self.asm.jump_if(If::Lt, R2, 20, on);
        self.field(Size::H, R3, 2);
        self.asm.jump_if(If::Lt, R3, R2, on);
        self.asm.store(Size::W, FP, half(slot::LENGTH), R3);
        self.end();
        self.asm.jump_if(If::Eq, R2, 20, plain);
        self.set_bit(OPTIONS);
        self.asm.bind(plain);
        self.asm.alu(Op::Add, R2, R9);
        self.asm.store(Size::W, FP, half(slot::HEAD), R2);
        self.field(Size::B, R2, 8);
        self.asm.store(Size::W, FP, half(slot::TTL), R2);
        self.field(Size::B, R2, 9);
        self.asm.store(Size::W, FP, half(slot::PROTOCOL), R2);
        for (offset, low, high) in [
            (12, slot::SOURCE_LOW, slot::SOURCE_HIGH),
            (16, slot::DESTINATION_LOW, slot::DESTINATION_HIGH),
        ] {
            self.field(Size::W, R2, offset);
            self.asm.store(Size::D, FP, at(low), R2);
            self.asm.store(Size::D, FP, at(high), 0);
        }
        self.asm.store(Size::W, FP, half(slot::VERSION), V4);
        self.field(Size::H, R3, 6);
        self.asm.mov(R2, R3);
        self.asm.alu(Op::And, R2, 0x3fff);
        self.asm.jump_if(If::Eq, R2, 0, whole);
        self.set_bit(FRAGMENT);
        self.asm.bind(whole);
        self.asm.alu(Op::And, R3, 0x1fff);
        self.asm.jump_if(If::Ne, R3, 0, done);
    }

    fn v6(&mut self) {
        let on = self.exits.on;
        self.within(R5, 40, on);
        self.field(Size::B, R2, 0);
        self.asm.alu(Op::Rsh, R2, 4);
        self.asm.jump_if(If::Ne, R2, 6, on);
        self.field(Size::H, R3, 4);
        self.asm.alu(Op::Add, R3, 40);
        self.asm.store(Size::W, FP, half(slot::LENGTH), R3);
        self.end();
        self.asm.mov(R2, R9);
        self.asm.alu(Op::Add, R2, 40);
        self.asm.store(Size::W, FP, half(slot::HEAD), R2);
        self.field(Size::B, R2, 7);
        self.asm.store(Size::W, FP, half(slot::TTL), R2);
        self.field(Size::B, R2, 6);
        self.asm.store(Size::W, FP, half(slot::PROTOCOL), R2);
        for (offset, slot) in [
            (8, slot::SOURCE_HIGH),
            (16, slot::SOURCE_LOW),
            (24, slot::DESTINATION_HIGH),
            (32, slot::DESTINATION_LOW),
        ] {
            self.field(Size::D, R2, offset);
            self.asm.store(Size::D, FP, at(slot), R2);
        }
        self.asm.store(Size::W, FP, half(slot::VERSION), V6);
    }

    /// IPv6 extension headers, then on to `transport`, or to `done` where none can be read.
    fn extensions(&mut self, transport: Label, done: Label) {
        for _ in 0..EXTENSIONS_MAX {
            self.extension(transport, done);
        }
        self.asm.load(Size::W, R2, FP, half(slot::PROTOCOL));
        for number in [0, 43, 44, 51, 60] {
            self.asm.jump_if(If::Eq, R2, number, done);
        }
        self.asm.jump(transport);
    }

    fn extension(&mut self, transport: Label, done: Label) {
        let (known, fragment, plain, sized, next) = (
            self.asm.label(),
            self.asm.label(),
            self.asm.label(),
            self.asm.label(),
            self.asm.label(),
        );
        self.asm.load(Size::W, R2, FP, half(slot::PROTOCOL));
        for number in [0, 43, 44, 51, 60] {
            self.asm.jump_if(If::Eq, R2, number, known);
        }
        self.asm.jump(transport);
        self.asm.bind(known);
        self.asm.load(Size::W, R9, FP, half(slot::HEAD));
        self.asm.load(Size::W, R3, FP, half(slot::END));
        self.asm.mov(R4, R9);
        self.asm.alu(Op::Add, R4, 8);
        self.asm.jump_if(If::Gt, R4, R3, done);
        self.asm.jump_if(If::Gt, R9, HEADERS_MAX, done);
        self.asm.mov(R5, R7);
        self.asm.alu(Op::Add, R5, R9);
        self.within(R5, 8, done);
        self.field(Size::B, R4, 0);
        self.asm.store(Size::W, FP, half(slot::PROTOCOL), R4);
        self.field(Size::B, R3, 1);
        self.asm.jump_if(If::Eq, R2, 44, fragment);
        self.asm.jump_if(If::Ne, R2, 51, plain);
        self.asm.alu(Op::Add, R3, 2);
        self.asm.alu(Op::Lsh, R3, 2);
        self.asm.jump(sized);
        self.asm.bind(plain);
        self.asm.alu(Op::Add, R3, 1);
        self.asm.alu(Op::Lsh, R3, 3);
        self.asm.bind(sized);
        self.asm.alu(Op::Add, R9, R3);
        self.asm.store(Size::W, FP, half(slot::HEAD), R9);
        self.set_bit(OPTIONS);
        self.asm.jump(next);
        self.asm.bind(fragment);
        self.asm.alu(Op::Add, R9, 8);
        self.asm.store(Size::W, FP, half(slot::HEAD), R9);
        self.field(Size::H, R3, 2);
        self.asm.mov(R4, R3);
        self.asm.alu(Op::And, R4, 0xfff9);
        self.asm.jump_if(If::Eq, R4, 0, next);
        self.set_bit(FRAGMENT);
        self.asm.alu(Op::And, R3, 0xfff8);
        self.asm.jump_if(If::Ne, R3, 0, done);
        self.asm.bind(next);
    }

    /// Ports, flags, and where the payload starts.
    fn transport(&mut self, done: Label) {
        let (tcp, udp, sctp) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R2, FP, half(slot::PROTOCOL));
        self.asm.load(Size::W, R9, FP, half(slot::HEAD));
        self.asm.load(Size::W, R3, FP, half(slot::END));
        self.asm.jump_if(If::Eq, R2, 6, tcp);
        self.asm.jump_if(If::Eq, R2, 17, udp);
        self.asm.jump_if(If::Eq, R2, 132, sctp);
        self.asm.store(Size::W, FP, half(slot::PAYLOAD), R9);
        self.asm.jump(done);
        for (label, octets) in [(udp, 8), (sctp, 12)] {
            self.asm.bind(label);
            self.ports(octets, done);
            self.asm.alu(Op::Add, R9, octets);
            self.asm.store(Size::W, FP, half(slot::PAYLOAD), R9);
            self.asm.jump(done);
        }
        self.asm.bind(tcp);
        self.ports(20, done);
        self.field(Size::B, R2, 13);
        self.asm.store(Size::W, FP, half(slot::FLAGS), R2);
        self.field(Size::B, R2, 12);
        self.asm.alu(Op::Rsh, R2, 4);
        self.asm.alu(Op::Lsh, R2, 2);
        self.asm.jump_if(If::Lt, R2, 20, done);
        self.asm.alu(Op::Add, R9, R2);
        self.asm.store(Size::W, FP, half(slot::PAYLOAD), R9);
    }

    /// The ports of a header of `octets` at `r9`, which `r5` then points to.
    fn ports(&mut self, octets: i32, done: Label) {
        self.asm.mov(R4, R9);
        self.asm.alu(Op::Add, R4, octets);
        self.asm.jump_if(If::Gt, R4, R3, done);
        self.asm.jump_if(If::Gt, R9, HEADERS_MAX, done);
        self.asm.mov(R5, R7);
        self.asm.alu(Op::Add, R5, R9);
        self.within(R5, octets, done);
        self.field(Size::H, R2, 0);
        self.asm.store(Size::W, FP, half(slot::SOURCE_PORT), R2);
        self.field(Size::H, R2, 2);
        self.asm.store(Size::W, FP, half(slot::DESTINATION_PORT), R2);
    }
}
