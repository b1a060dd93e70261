//! The eBPF programs: the stages of the library over packets of the kernel. `cargo xtask ebpf`
//! builds them; for other targets this is an empty program.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        reason = "packets and maps are memory of the kernel, checked by its verifier"
    )
)]

#[cfg(target_arch = "bpf")]
mod kernel;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
