//! Programs of `cargo xtask bench packet`, and of nothing that ships: what brings a frame back to
//! how it came between two runs, the floor, and a director of another kind to compare with.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unsafe_code,
        reason = "packets and maps are memory of the kernel, checked by its verifier"
    )
)]

#[cfg(target_arch = "bpf")]
mod kernel_measure;

#[cfg(not(target_arch = "bpf"))]
fn main() {}
