//! Test runs: a program on a frame that no interface brought (`BPF_PROG_TEST_RUN`).

use super::bpf::{address, address_mut, call, raw};
use rustix::fd::BorrowedFd;
use std::io;

const PROG_TEST_RUN: u32 = 10;
/// Octets of headroom and tail that a test run wants beside the frame; the kernel uses a page.
const TEST_ROOM: usize = 512;

/// What came of a test run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the program returned.
    pub returned: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// Mean time of a run. In nanoseconds; means little below many repetitions.
    pub nanoseconds: u32,
}

/// `union bpf_attr` of a test run.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    returned: u32,
    len_in: u32,
    len_out: u32,
    frame_in: u64,
    frame_out: u64,
    repeat: u32,
    nanoseconds: u32,
    context: [u32; 2],
    contexts: [u64; 2],
    flags: u32,
    cpu: u32,
    batch: u32,
    pad: u32,
}

/// Runs a program on a frame, without sending anything (`BPF_PROG_TEST_RUN`). Runs of one call see
/// the frame as the run before left it.
///
/// # Errors
/// What the kernel said.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<Outcome> {
    run(program, frame, repeat, &[])
}

/// The same for an XDP program, with a frame that came in by an interface of this network
/// namespace.
///
/// # Errors
/// What the kernel said.
pub fn test_run_from(
    program: BorrowedFd<'_>,
    frame: &[u8],
    repeat: u32,
    interface: u32,
) -> io::Result<Outcome> {
    run(program, frame, repeat, &context(frame, interface))
}

/// `struct xdp_md`: data, its end, metadata, interface and queue of ingress, that of egress.
fn context(frame: &[u8], interface: u32) -> [u32; 6] {
    [0, frame.len() as u32, 0, interface, 0, 0]
}

fn run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32, context: &[u32]) -> io::Result<Outcome> {
    let mut out = vec![0; frame.len() + TEST_ROOM];
    let mut attributes = TestRun {
        program: raw(program),
        len_in: frame.len() as u32,
        len_out: out.len() as u32,
        frame_in: address(frame),
        frame_out: address_mut(&mut out),
        repeat,
        context: [size_of_val(context) as u32, 0],
        contexts: [if context.is_empty() { 0 } else { address(context) }, 0],
        ..TestRun::default()
    };
    call(PROG_TEST_RUN, &mut attributes)?;
    out.truncate(attributes.len_out as usize);
    let TestRun { returned, nanoseconds, .. } = attributes;
    Ok(Outcome { returned, frame: out, nanoseconds })
}

/// `BPF_F_TEST_XDP_LIVE_FRAMES`: frames go where the program sends them.
const LIVE_FRAMES: u32 = 1 << 1;
/// Frames that the kernel takes through a program at a time: as many as it can.
const LIVE_BATCH: u32 = 256;

/// Takes `frames` copies of a frame through an XDP program as if they had come by an interface,
/// and lets them go where it sends them (Linux 5.18). Frames are used again as the run before left
/// them.
///
/// # Errors
/// What the kernel said.
pub fn run_live(
    program: BorrowedFd<'_>,
    frame: &[u8],
    interface: u32,
    frames: u32,
) -> io::Result<()> {
    let context = context(frame, interface);
    let mut attributes = TestRun {
        program: raw(program),
        len_in: frame.len() as u32,
        frame_in: address(frame),
        repeat: frames,
        context: [size_of_val(&context) as u32, 0],
        contexts: [context.as_ptr() as u64, 0],
        flags: LIVE_FRAMES,
        batch: LIVE_BATCH,
        ..TestRun::default()
    };
    call(PROG_TEST_RUN, &mut attributes).map(|_| ())
}
