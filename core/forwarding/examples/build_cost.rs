//! Builds the same table again and again, for whoever measures time or counts instructions:
//!
//! ```text
//! cargo build --release -p core-forwarding --example build_cost
//! time target/release/examples/build_cost
//! ```
//!
//! The time is that of [`ROUNDS`] tables of 131,072 buckets for 1,000 servers, checksums included.

use std::hint::black_box;

use core_forwarding::{Buckets, Fleet, Table};

const ROUNDS: usize = 200;

fn main() {
    let fleet = Fleet::of_ids(1..=1_000).expect("ids are within bounds");
    let buckets = Buckets::new(131_072).expect("a power of two");
    let mut sum = 0;
    for _ in 0..ROUNDS {
        sum = Table::fresh(black_box(&fleet), 1, buckets).checksum();
    }
    println!("{ROUNDS} tables of checksum {sum:016x}");
}
