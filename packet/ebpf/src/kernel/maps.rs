//! The maps, and the constants that the loader sets before it loads.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, bpf_sock_tuple};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap, PerCpuArray, PerfEventArray, ProgramArray, RingBuf};
use packet_abi::maps::{
    BEGUN_LEN, BUCKETS_LEN, CHAIN_LEN, ROWS_LEN, SAMPLES_LEN, SERVERS_LEN, SETS_LEN, TAP_LEN,
    TAP_TC_LEN, TRIE_LEN,
};
use packet_abi::tables::{Allowance, Begun, Count, Seen};
use packet_abi::verdict::REASONS;
use packet_abi::{Address, Descriptor, Server, Start, Trafficset};
use packet_ebpf::frame::hidden;
use packet_ebpf::world::{Constants, NOTES};

// A table is an array of one value, which holds all elements: see `Table`.
#[map]
pub(super) static ACTIVE: Table<u64, 1> = Table::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static DESCRIPTORS: Table<Descriptor, 2> = Table::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static TRIE: Table<u64, { TRIE_LEN as usize }> =
    Table::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static ROWS: Table<u64, { ROWS_LEN as usize }> =
    Table::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static SETS: Table<Trafficset, { SETS_LEN as usize }> =
    Table::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static SERVERS: Table<Server, { SERVERS_LEN as usize }> =
    Table::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static BUCKETS: Table<u64, { BUCKETS_LEN as usize }> =
    Table::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static COUNTERS: PerCpuArray<Count> = PerCpuArray::with_max_entries(REASONS, 0);
#[map]
pub(super) static CHAIN: ProgramArray = ProgramArray::with_max_entries(CHAIN_LEN, 0);
#[map]
pub(super) static TAP: ProgramArray = ProgramArray::with_max_entries(TAP_LEN, 0);
#[map]
pub(super) static TAP_TC: ProgramArray = ProgramArray::with_max_entries(TAP_TC_LEN, 0);
#[map]
pub(super) static SEEN: PerCpuArray<Seen> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(super) static SAMPLES: RingBuf = RingBuf::with_byte_size(SAMPLES_LEN, 0);
#[map]
pub(super) static CAPTURED: PerfEventArray<Seen> = PerfEventArray::new(0);
#[map]
pub(super) static ALLOWANCE: PerCpuArray<Allowance> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(super) static SCRATCH: PerCpuArray<[u32; NOTES]> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(super) static SYNS: PerCpuArray<Allowance> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(super) static BEGUN: LruHashMap<bpf_sock_tuple, Begun> =
    LruHashMap::with_max_entries(BEGUN_LEN, 0);

/// An array of one value with all elements of a table. The loader makes the value's address of what
/// instructions name it by, so that an element costs a comparison and a load: no call, which would
/// take five registers with it, and nothing that could be absent.
pub(super) type Table<T, const N: usize> = Array<[T; N]>;

/// The address of an element of a table that has `len` of them as the loader made it. `len` is a
/// constant to the verifier, which holds the comparison against the size of the value.
#[inline(always)]
pub(super) fn element<T, const N: usize>(
    table: &'static Table<T, N>,
    len: u32,
    index: u32,
) -> Option<*const T> {
    let index = hidden(index as usize);
    if index >= len as usize {
        return None;
    }
    let first = hidden(core::ptr::from_ref(table) as usize);
    Some((first + index * size_of::<T>()) as *const T)
}

/// The address of an element of a table of two to the power of something, none of which is past
/// its end.
#[inline(always)]
pub(super) fn one_of<T, const N: usize>(table: &'static Table<T, N>, index: u64) -> *const T {
    const { assert!(N.is_power_of_two()) };
    let first = hidden(core::ptr::from_ref(table) as usize);
    (first + hidden(index as usize & (N - 1)) * size_of::<T>()) as *const T
}

#[unsafe(no_mangle)]
static HASH_START: [u64; 4] = [0; 4];
#[unsafe(no_mangle)]
static SELF_ID: u32 = 0;
#[unsafe(no_mangle)]
static SELF_ADDRESS: [u64; 2] = [0; 2];
#[unsafe(no_mangle)]
static OUTER_V6: u32 = 0;
#[unsafe(no_mangle)]
static GUE_PORT: u16 = 0;
#[unsafe(no_mangle)]
static FOU_PORT: u16 = 0;
#[unsafe(no_mangle)]
static MTU: u32 = 0;
#[unsafe(no_mangle)]
static NETNS: i32 = -1;
#[unsafe(no_mangle)]
static SYN_RATE: u32 = 0;
#[unsafe(no_mangle)]
static COOKIE_WSCALE: u32 = 255;
#[unsafe(no_mangle)]
static TOO_BIG_RATE: u32 = 0;
#[unsafe(no_mangle)]
static TRIE_ROOM: u32 = 0;
#[unsafe(no_mangle)]
static ROWS_ROOM: u32 = 0;
#[unsafe(no_mangle)]
static SETS_ROOM: u32 = 0;
#[unsafe(no_mangle)]
static SERVERS_ROOM: u32 = 0;
#[unsafe(no_mangle)]
static BUCKETS_ROOM: u32 = 0;

/// Reads a constant as the loader set it. The compiler sees an address it knows nothing of, so that
/// it can neither take the value below for what will be, nor keep values that nobody asks for.
macro_rules! fixed {
    ($name:ident) => {{
        let mut place = &raw const $name;
        // SAFETY: no instruction; and then a read of a static of this program, which nobody writes.
        unsafe {
            core::arch::asm!("/* {0} */", inout(reg) place, options(pure, nomem, nostack));
            *place
        }
    }};
}

/// The constants of all stages.
#[inline(always)]
pub(super) fn constants() -> Constants {
    let [high, low] = fixed!(SELF_ADDRESS);
    Constants {
        start: Start { lanes: fixed!(HASH_START) },
        self_id: fixed!(SELF_ID),
        self_address: Address { high, low },
        outer_v6: fixed!(OUTER_V6) != 0,
        gue_port: fixed!(GUE_PORT),
        fou_port: fixed!(FOU_PORT),
        mtu: fixed!(MTU),
        cookie_wscale: fixed!(COOKIE_WSCALE),
    }
}

/// The network namespace of sockets, as helpers take it.
#[inline(always)]
pub(super) fn netns() -> u64 {
    fixed!(NETNS) as i64 as u64
}

/// "Too big" replies per second and CPU.
#[inline(always)]
pub(super) fn too_big_rate() -> u64 {
    u64::from(fixed!(TOO_BIG_RATE))
}

/// SYNs per second and CPU that are no attack.
#[inline(always)]
pub(super) fn syn_rate() -> u64 {
    u64::from(fixed!(SYN_RATE))
}

/// Elements of the tables, both halves together.
pub(super) mod room {
    use super::{BUCKETS_ROOM, ROWS_ROOM, SERVERS_ROOM, SETS_ROOM, TRIE_ROOM};

    /// Of [`super::TRIE`].
    #[inline(always)]
    pub(in super::super) fn trie() -> u32 {
        fixed!(TRIE_ROOM)
    }

    /// Of [`super::ROWS`].
    #[inline(always)]
    pub(in super::super) fn rows() -> u32 {
        fixed!(ROWS_ROOM)
    }

    /// Of [`super::SETS`].
    #[inline(always)]
    pub(in super::super) fn sets() -> u32 {
        fixed!(SETS_ROOM)
    }

    /// Of [`super::SERVERS`].
    #[inline(always)]
    pub(in super::super) fn servers() -> u32 {
        fixed!(SERVERS_ROOM)
    }

    /// Of [`super::BUCKETS`].
    #[inline(always)]
    pub(in super::super) fn buckets() -> u32 {
        fixed!(BUCKETS_ROOM)
    }
}
