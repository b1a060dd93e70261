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
use packet_abi::{Address, Descriptor, HashKey, Server, Trafficset};
use packet_ebpf::world::{Constants, NOTES};

#[map]
pub(super) static ACTIVE: Array<u32> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub(super) static DESCRIPTORS: Array<Descriptor> = Array::with_max_entries(2, BPF_F_MMAPABLE);
#[map]
pub(super) static TRIE: Array<u64> = Array::with_max_entries(TRIE_LEN, BPF_F_MMAPABLE);
#[map]
pub(super) static ROWS: Array<u64> = Array::with_max_entries(ROWS_LEN, BPF_F_MMAPABLE);
#[map]
pub(super) static SETS: Array<Trafficset> = Array::with_max_entries(SETS_LEN, BPF_F_MMAPABLE);
#[map]
pub(super) static SERVERS: Array<Server> = Array::with_max_entries(SERVERS_LEN, BPF_F_MMAPABLE);
#[map]
pub(super) static BUCKETS: Array<u64> = Array::with_max_entries(BUCKETS_LEN, BPF_F_MMAPABLE);
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

#[unsafe(no_mangle)]
static HASH_KEY: [u64; 2] = [0; 2];
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
    let ([first, second], [high, low]) = (fixed!(HASH_KEY), fixed!(SELF_ADDRESS));
    Constants {
        key: HashKey { first, second },
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
