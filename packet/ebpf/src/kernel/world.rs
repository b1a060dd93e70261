//! Tables in maps and sockets of the kernel, as the stages ask for them.

use super::maps::{
    ACTIVE, ALLOWANCE, BEGUN, BUCKETS, DESCRIPTORS, ROWS, SCRATCH, SERVERS, SETS, SYNS, TRIE,
    constants, element, netns, one_of, room, syn_rate, too_big_rate,
};
use aya_ebpf::bindings::{bpf_sock, bpf_sock_tuple};
use aya_ebpf::helpers::{
    bpf_ktime_get_ns, bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp,
    bpf_tcp_check_syncookie, bpf_tcp_gen_syncookie, bpf_xdp_load_bytes,
};
use core::ffi::c_void;
use packet_abi::net::{IPV4_LEN, IPV6_LEN, PROTOCOL_TCP, TCP_LEN};
use packet_abi::tables::{Allowance, Begun, Row};
use packet_abi::{Bucket, Descriptor, Entry, Family, Flow, Server, Trafficset};
use packet_ebpf::frame::{Frame, Plain, hidden};
use packet_ebpf::world::{Constants, NOTES, Segment, Socket, World};

/// States of a TCP socket that the stages tell apart (include/net/tcp_states.h).
const TCP_ESTABLISHED: u32 = 1;
const TCP_TIME_WAIT: u32 = 6;
const TCP_LISTEN: u32 = 10;
/// Octets of the longest TCP header.
const TCP_HEADER_MAX: usize = 60;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a tick of [`Begun`], as a power of two: about a millisecond.
const BEGUN_TICK: u32 = 20;
/// Ticks, about a second, for which a connection may have begun and have no socket: a batch takes
/// microseconds, and an ACK that waits for its turn on a busy CPU some milliseconds.
const BEGUN_TICKS_MAX: u32 = 1000;

/// The world of one packet.
pub(super) struct Kernel {
    context: *mut c_void,
    generation: &'static Descriptor,
}

impl Kernel {
    /// The generation in force, seen once for all of a packet.
    #[inline(always)]
    pub(super) fn new(context: *mut c_void) -> Self {
        // SAFETY: the kernel's array; user space stores whole words, and the read is of one.
        let half = unsafe { one_of(&ACTIVE, 0).read_volatile() };
        // SAFETY: the kernel's array, which outlives every run of a program.
        Self { context, generation: unsafe { &*one_of(&DESCRIPTORS, half) } }
    }

    /// Has the kernel make a cookie, and remember that this listener gave some.
    #[inline(always)]
    fn issue(
        &self,
        frame: &impl Frame,
        flow: &Flow,
        segment: Segment,
        listener: *mut bpf_sock,
    ) -> Option<u32> {
        let offset: u8 = frame.load(segment.l4 + 12)?;
        // Compared as what is handed on, for the verifier.
        let len = hidden(usize::from(offset >> 4) * 4);
        if !(TCP_LEN..=TCP_HEADER_MAX).contains(&len) {
            return None;
        }
        let len = len as u32;
        let mut tcp = [0_u8; TCP_HEADER_MAX];
        let tcp = (&raw mut tcp).cast::<c_void>();
        // SAFETY: the helper copies at most 60 octets to the 60 on the stack; headers are copies,
        // of the lengths given; the listener is held.
        let answer = unsafe {
            if bpf_xdp_load_bytes(self.context.cast(), segment.l4 as u32, tcp, len) != 0 {
                return None;
            }
            match flow.family {
                Family::V4 => {
                    let mut ip = frame.load::<Octets<IPV4_LEN>>(segment.l3)?;
                    let ip = (&raw mut ip).cast::<c_void>();
                    bpf_tcp_gen_syncookie(listener.cast(), ip, IPV4_LEN as u32, tcp.cast(), len)
                }
                Family::V6 => {
                    let mut ip = frame.load::<Octets<IPV6_LEN>>(segment.l3)?;
                    let ip = (&raw mut ip).cast::<c_void>();
                    bpf_tcp_gen_syncookie(listener.cast(), ip, IPV6_LEN as u32, tcp.cast(), len)
                }
            }
        };
        // The segment size that the kernel has put into the cookie is in the high half.
        if answer <= 0 { None } else { Some(answer as u32) }
    }

    #[inline(always)]
    fn lookup(&self, frame: &impl Frame, flow: &Flow, ack: Option<Segment>) -> Socket {
        let mut tuple = tuple(flow);
        let size = match flow.family {
            Family::V4 => 12,
            Family::V6 => 36,
        };
        let place = &raw mut tuple;
        // SAFETY: the context is the program's, the tuple lives on the stack, the size is of its
        // family's half. What is found is released below, on every way.
        let socket = unsafe {
            if flow.protocol == PROTOCOL_TCP {
                bpf_skc_lookup_tcp(self.context, place, size, netns(), 0)
            } else {
                bpf_sk_lookup_udp(self.context, place, size, netns(), 0)
            }
        };
        if socket.is_null() {
            return Socket::None;
        }
        let answer = judge(frame, flow, ack, socket);
        // SAFETY: it was found above and is not used after.
        unsafe { bpf_sk_release(socket.cast()) };
        match (answer, ack) {
            (Judged::Final(socket), _) => socket,
            (Judged::Listener { cookie }, Some(segment))
                if begins(frame, &tuple, segment, cookie) =>
            {
                Socket::Cookie
            }
            (Judged::Listener { .. }, _) => Socket::None,
        }
    }
}

/// Counts one more in this second, and gives the count.
#[inline(always)]
fn in_second(count: *mut Allowance) -> u64 {
    // SAFETY: a helper without arguments. It costs 25 ns, on rare ways only.
    let second = unsafe { bpf_ktime_get_ns() } / SECOND;
    // SAFETY: this CPU's own value of a per-CPU map.
    unsafe {
        if (*count).second != second {
            (*count).second = second;
            (*count).sent = 0;
        }
        (*count).sent += 1;
        (*count).sent
    }
}

/// What a socket says of a segment.
enum Judged {
    /// All there is to say.
    Final(Socket),
    /// It is a listener, and the segment has a valid cookie or not.
    Listener { cookie: bool },
}

#[inline(always)]
fn judge(frame: &impl Frame, flow: &Flow, ack: Option<Segment>, socket: *mut bpf_sock) -> Judged {
    // SAFETY: the kernel gave the socket and it is held.
    let state = unsafe { (*socket).state };
    if flow.protocol != PROTOCOL_TCP {
        // Only a connected UDP socket is of one flow; it is in the state ESTABLISHED.
        let connected = state == TCP_ESTABLISHED;
        return Judged::Final(if connected { Socket::Found } else { Socket::None });
    }
    match (state, ack) {
        (TCP_TIME_WAIT, _) => Judged::Final(Socket::TimeWait),
        (TCP_LISTEN, None) => Judged::Final(Socket::None),
        (TCP_LISTEN, Some(segment)) => {
            Judged::Listener { cookie: carries_cookie(frame, flow, segment, socket) }
        }
        _ => Judged::Final(Socket::Found),
    }
}

/// Whether a segment to a listener begins a connection: by its cookie, or right behind one that
/// did. Packets come in batches, which pass the programs as a whole before the stack sees the first
/// of them: there is no socket yet when data that follows the ACK is judged. It acknowledges what
/// the ACK did, as nothing was sent to the client since.
#[inline(always)]
fn begins(frame: &impl Frame, tuple: &bpf_sock_tuple, segment: Segment, cookie: bool) -> bool {
    let Some(acknowledged) = frame.load::<u32>(segment.l4 + 8) else { return false };
    if cookie {
        // A full map forgets the oldest; one that is not noted is judged by its own segment alone.
        let _ = BEGUN.insert(tuple, Begun { acknowledged, tick: tick() }, 0);
        return true;
    }
    let Some(begun) = BEGUN.get_ptr(tuple) else { return false };
    // SAFETY: the kernel's value, of two words. One that another CPU is about to replace is of
    // another connection, whose words differ.
    let Begun { acknowledged: wanted, tick: since } = unsafe { begun.read_volatile() };
    wanted == acknowledged && tick().wrapping_sub(since) <= BEGUN_TICKS_MAX
}

/// The clock of [`Begun`]. Asked for where it is compared only: it costs 25 ns.
#[inline(always)]
fn tick() -> u32 {
    // SAFETY: a helper without arguments.
    (unsafe { bpf_ktime_get_ns() } >> BEGUN_TICK) as u32
}

/// Whether the segment is an ACK with a cookie that the listener issued.
#[inline(always)]
fn carries_cookie(
    frame: &impl Frame,
    flow: &Flow,
    segment: Segment,
    listener: *mut bpf_sock,
) -> bool {
    let Some(mut tcp) = frame.load::<Octets<TCP_LEN>>(segment.l4) else { return false };
    let tcp = (&raw mut tcp).cast::<c_void>();
    // SAFETY: headers are copies on the stack of the lengths given; the listener is held.
    let answer = unsafe {
        match flow.family {
            Family::V4 => {
                let Some(mut ip) = frame.load::<Octets<IPV4_LEN>>(segment.l3) else { return false };
                let ip = (&raw mut ip).cast::<c_void>();
                bpf_tcp_check_syncookie(
                    listener.cast(),
                    ip,
                    IPV4_LEN as u32,
                    tcp.cast(),
                    TCP_LEN as u32,
                )
            }
            Family::V6 => {
                let Some(mut ip) = frame.load::<Octets<IPV6_LEN>>(segment.l3) else { return false };
                let ip = (&raw mut ip).cast::<c_void>();
                bpf_tcp_check_syncookie(
                    listener.cast(),
                    ip,
                    IPV6_LEN as u32,
                    tcp.cast(),
                    TCP_LEN as u32,
                )
            }
        }
    };
    answer == 0
}

/// Octets as they are.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
struct Octets<const N: usize>([u8; N]);

// SAFETY: octets only; both lengths used are multiples of four, so that there is no padding.
unsafe impl<const N: usize> Plain for Octets<N> {}

#[inline(always)]
fn tuple(flow: &Flow) -> bpf_sock_tuple {
    // SAFETY: integers only; zero is a value of all of them.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let (sport, dport) = (flow.source_port, flow.destination_port);
    match flow.family {
        Family::V4 => {
            tuple.__bindgen_anon_1.ipv4.saddr = flow.source.as_v4();
            tuple.__bindgen_anon_1.ipv4.daddr = flow.destination.as_v4();
            tuple.__bindgen_anon_1.ipv4.sport = sport;
            tuple.__bindgen_anon_1.ipv4.dport = dport;
        }
        Family::V6 => {
            tuple.__bindgen_anon_1.ipv6.saddr = halves(flow.source.high, flow.source.low);
            tuple.__bindgen_anon_1.ipv6.daddr = halves(flow.destination.high, flow.destination.low);
            tuple.__bindgen_anon_1.ipv6.sport = sport;
            tuple.__bindgen_anon_1.ipv6.dport = dport;
        }
    }
    tuple
}

#[inline(always)]
const fn halves(high: u64, low: u64) -> [u32; 4] {
    [high as u32, (high >> 32) as u32, low as u32, (low >> 32) as u32]
}

impl<F: Frame> World<F> for Kernel {
    #[inline(always)]
    fn fixed(&self) -> Constants {
        constants()
    }

    #[inline(always)]
    fn root(&self) -> Option<Entry> {
        if self.generation.generation == 0 { None } else { Some(Entry(self.generation.root)) }
    }

    #[inline(always)]
    fn entry(&self, index: u32) -> Option<Entry> {
        let word = element(&TRIE, room::trie(), self.generation.trie_base.wrapping_add(index))?;
        // SAFETY: the kernel's array, at one of its elements.
        Some(Entry(unsafe { *word }))
    }

    #[inline(always)]
    fn row(&self, index: u32) -> Option<Row> {
        let word = element(&ROWS, room::rows(), self.generation.rows_base.wrapping_add(index))?;
        // SAFETY: as above.
        Some(Row(unsafe { *word }))
    }

    #[inline(always)]
    fn trafficset(&self, index: u32) -> Option<Trafficset> {
        let set = element(&SETS, room::sets(), self.generation.sets_base.wrapping_add(index))?;
        // SAFETY: as above.
        Some(unsafe { *set })
    }

    #[inline(always)]
    fn server(&self, index: u32) -> Option<&Server> {
        let base = self.generation.servers_base;
        let server = element(&SERVERS, room::servers(), base.wrapping_add(index))?;
        // SAFETY: as above; the kernel's array outlives every run of a program.
        Some(unsafe { &*server })
    }

    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<Bucket> {
        let base = self.generation.buckets_base;
        let word = element(&BUCKETS, room::buckets(), base.wrapping_add(index))?;
        // SAFETY: the kernel's array; user space stores whole words, and both slots are in one.
        Some(Bucket(unsafe { word.read_volatile() }))
    }

    #[inline(always)]
    fn socket(&self, frame: &F, flow: &Flow, ack: Option<Segment>) -> Socket {
        self.lookup(frame, flow, ack)
    }

    #[inline(always)]
    fn may_reply(&self) -> bool {
        ALLOWANCE.get_ptr_mut(0).is_some_and(|count| in_second(count) <= too_big_rate())
    }

    #[inline(always)]
    fn note(&self, slot: usize, value: u32) {
        if let Some(notes) = SCRATCH.get_ptr_mut(0) {
            // SAFETY: this CPU's own value of a per-CPU map, at one of its words.
            unsafe { notes.cast::<u32>().add(slot % NOTES).write_volatile(value) };
        }
    }

    #[inline(always)]
    fn noted(&self, slot: usize) -> u32 {
        // SAFETY: as above.
        SCRATCH
            .get_ptr(0)
            .map_or(0, |notes| unsafe { notes.cast::<u32>().add(slot % NOTES).read_volatile() })
    }

    #[inline(always)]
    fn flooded(&self) -> bool {
        SYNS.get_ptr_mut(0).is_some_and(|count| in_second(count) > syn_rate())
    }

    #[inline(always)]
    fn cookie(&self, frame: &F, flow: &Flow, segment: Segment) -> Option<u32> {
        let mut tuple = tuple(flow);
        let size = match flow.family {
            Family::V4 => 12,
            Family::V6 => 36,
        };
        // SAFETY: as in `lookup`.
        let socket = unsafe { bpf_skc_lookup_tcp(self.context, &raw mut tuple, size, netns(), 0) };
        if socket.is_null() {
            return None;
        }
        // SAFETY: the kernel gave the socket and it is held.
        let cookie = if unsafe { (*socket).state } == TCP_LISTEN {
            self.issue(frame, flow, segment, socket)
        } else {
            None
        };
        // SAFETY: it was found above and is not used after.
        unsafe { bpf_sk_release(socket.cast()) };
        cookie
    }

    #[inline(always)]
    fn milliseconds(&self) -> u32 {
        // SAFETY: a helper without arguments; the clock that TCP takes its timestamps from.
        (unsafe { bpf_ktime_get_ns() } / 1_000_000) as u32
    }
}
