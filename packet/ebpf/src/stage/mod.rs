//! The stages of a packet's life, a file each.

pub mod decap;
pub mod encap;
pub mod flow;
pub mod forward;
pub mod icmp;
pub mod local;
pub mod parse;
pub mod service;
pub mod too_big;
