//! What becomes of a packet, decided over bytes and tables alone: the same stages run in the kernel
//! (`main.rs` makes programs of them) and over plain slices in tests and fuzzing.
//!
//! [`director::decide`] and [`redirector::decide`] name the stages. A stage that ends a packet's
//! way returns its [`packet_abi::Verdict`] as an error, so that `?` is the way out.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(not(target_arch = "bpf"))]
extern crate std;

pub mod cookie;
pub mod director;
#[expect(unsafe_code, reason = "says which types any octets are valid values of")]
pub mod frame;
#[cfg(not(target_arch = "bpf"))]
#[expect(unsafe_code, reason = "reads values from slices that are not aligned for them")]
pub mod host;
pub mod redirector;
pub mod stage;
pub mod world;
