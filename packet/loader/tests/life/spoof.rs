//! A flood of SYNs that nobody stands behind: every one from another source, port and sequence
//! number, each with right checksums, sent by the kernel as live frames of a small XDP program.

use crate::world::{VIP, World, within};
use packet_loader::shield::asm::{Asm, If, Op, R0, R1, R2, R3, R6, R7, R8, Size};
use packet_loader::sys::bpf::{self, Code, place, program};
use packet_loader::sys::{netlink, test_run};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Frames of one call: so few that a flood ends soon after it is told to.
const CALL: u32 = 8192;
/// `bpf_get_prandom_u32`.
const RANDOM: i32 = 7;
/// Frames that go out by the interface they came from, and those that end here.
const XDP_TX: i32 = 3;
const XDP_DROP: i32 = 1;
/// To the edge, whose stack would take what the programs leave. The attacker's link address is
/// nobody's, so that the router's stack is not asked about answers.
const LINK: [u8; 14] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x66, 0, 0];
/// What a client offers: 1460 octets, SACK, a timestamp, a window scale of 7.
const OPTIONS: [u8; 20] = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7];

/// A flood that goes on until it is stopped.
pub(crate) struct Spoof {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Spoof {
    /// Floods a VIP from the router's end of the wire.
    pub(crate) fn start(world: &World, vip: IpAddr, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let frame = syn(vip, port);
        // A thread that the router's starts is in the router's namespace.
        let thread = world.router(move || {
            let sender = sender(&frame, vip.is_ipv6());
            let wire = netlink::interface("wire0").unwrap().index;
            thread::spawn(move || {
                let mut sent = 0;
                while !told.load(Ordering::Relaxed) {
                    test_run::run_live(sender.as_fd(), &frame, wire, CALL).unwrap();
                    sent += u64::from(CALL);
                }
                sent
            })
        });
        Self { stop, thread }
    }

    /// Stops it; gives the frames sent.
    pub(crate) fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// One's complement sum of 16-bit words.
fn sum(octets: &[u8]) -> u16 {
    let words = octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// A SYN from address 0, port 0, with sequence number 0: [`sender`] fills them in so that the
/// checksums, which are right without them, stay so.
fn syn(vip: IpAddr, port: u16) -> Vec<u8> {
    let mut tcp = vec![0; 20];
    tcp[2..4].copy_from_slice(&port.to_be_bytes());
    tcp[12..16].copy_from_slice(&[0xa0, 2, 0xfa, 0xf0]);
    tcp.extend(OPTIONS);
    let mut frame = LINK.to_vec();
    let mut pseudo = vec![0, 6, 0, tcp.len() as u8];
    match vip {
        IpAddr::V4(vip) => {
            frame[12..].copy_from_slice(&[8, 0]);
            let mut ip = [0; 20];
            ip[..10].copy_from_slice(&[0x45, 0, 0, 60, 0, 0, 0x40, 0, 64, 6]);
            ip[16..].copy_from_slice(&vip.octets());
            let checksum = !sum(&ip);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            frame.extend(ip);
            pseudo.extend(vip.octets());
        }
        IpAddr::V6(vip) => {
            frame[12..].copy_from_slice(&[0x86, 0xdd]);
            frame.extend([0x60, 0, 0, 0, 0, 40, 6, 64]);
            let network = Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 0).octets();
            frame.extend(network);
            frame.extend(vip.octets());
            pseudo.extend(network);
            pseudo.extend(vip.octets());
        }
    }
    pseudo.extend(&tcp);
    let checksum = !sum(&pseudo);
    tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(tcp);
    frame
}

/// Writes the whole frame, since what comes back is what the programs under test made of it. Each
/// random word stands beside its complement, which leaves the sum over both as it was.
fn sender(frame: &[u8], v6: bool) -> OwnedFd {
    let (source, tcp) = if v6 { (30, 54) } else { (26, 34) };
    let mut asm = Asm::new();
    let short = asm.label();
    asm.load(Size::W, R6, R1, 0);
    asm.load(Size::W, R7, R1, 4);
    asm.mov(R2, R6);
    asm.alu(Op::Add, R2, frame.len() as i32);
    asm.jump_if(If::Gt, R2, R7, short);
    for (at, pair) in frame.chunks(2).enumerate() {
        let word = i32::from(u16::from_ne_bytes([pair[0], pair[1]]));
        asm.store(Size::H, R6, at as i16 * 2, word);
    }
    // The source in 32 bits, against the sequence number.
    asm.call(RANDOM);
    asm.mov(R8, R0);
    asm.store(Size::W, R6, source, R8);
    asm.mov(R2, R8);
    asm.alu(Op::Xor, R2, -1);
    asm.store(Size::W, R6, tcp + 4, R2);
    if !v6 {
        // And against the id, for the header's own checksum.
        asm.mov(R2, R8);
        asm.alu(Op::And, R2, 0xffff);
        asm.mov(R3, R8);
        asm.alu(Op::Rsh, R3, 16);
        asm.alu(Op::And, R3, 0xffff);
        asm.alu(Op::Add, R2, R3);
        asm.mov(R3, R2);
        asm.alu(Op::Rsh, R3, 16);
        asm.alu(Op::Add, R2, R3);
        asm.alu(Op::Xor, R2, -1);
        asm.store(Size::H, R6, 18, R2);
    }
    // The port, against the urgent pointer.
    asm.call(RANDOM);
    asm.store(Size::H, R6, tcp, R0);
    asm.alu(Op::Xor, R0, -1);
    asm.store(Size::H, R6, tcp + 18, R0);
    asm.mov(R0, XDP_TX);
    asm.exit();
    asm.bind(short);
    asm.mov(R0, XDP_DROP);
    asm.exit();
    let words = asm.finish().unwrap();
    let instructions: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let code = Code {
        name: "test_spoof",
        kind: program::XDP,
        place: place::XDP,
        flags: 0,
        license: c"GPL",
        instructions: &instructions,
    };
    bpf::load(code).unwrap_or_else(|refusal| panic!("{}: {}", refusal.error, refusal.log))
}

#[test]
fn spoofed_syns_have_right_checksums() {
    within("spoofed_syns_have_right_checksums", |_world| {
        for vip in [IpAddr::V4(VIP), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let frame = syn(vip, 443);
            let program = sender(&frame, vip.is_ipv6());
            let sent = test_run::test_run(program.as_fd(), &frame, 1).unwrap().frame;
            assert_ne!(sent, frame);
            let (addresses, tcp) = if vip.is_ipv6() { (22..54, 54) } else { (26..34, 34) };
            let pseudo = [&[0, 6, 0, 40], &sent[addresses], &sent[tcp..]].concat();
            assert_eq!(sum(&pseudo), 0xffff, "{vip}");
            if vip.is_ipv4() {
                assert_eq!(sum(&sent[14..34]), 0xffff);
            }
        }
    });
}
