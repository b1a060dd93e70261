//! `cargo xtask bench packet` from end to end: every row is measured, and each checks that its
//! program did what it is measured for. Figures of so few runs mean nothing and are not looked at.
//!
//! Needs root, bpf(2) and namespaces; says that it was skipped where the machine has none.

use std::process::{Command, Stdio};

/// One row of each kind, as the table prints them.
const ROWS: [&str; 14] = [
    "director-v4-tcp-1 ",
    "director-v6-tcp-10000-prefixes-ports",
    "peer-v4-tcp-1",
    "live-v4-tcp-1",
    "shield-0",
    "shield-1000-miss-v6",
    "shield-10000-last",
    "redirector-local-v4",
    "redirector-forward-v6",
    "cookie-v4 ",
    "cookie-v6-options",
    "table-build-131072x1000",
    "table-write-and-checksum",
    "table-move-a-bucket",
];

#[test]
fn every_row_of_the_packet_bench_is_measured() {
    let possible = Command::new("unshare")
        .args(["--net", "--pid", "--fork", "--mount-proc", "true"])
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("skipped the packet bench: no namespaces; run it as root");
        return;
    }
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "packet", "--rounds", "1", "--repeat", "1000"])
        .output()
        .unwrap();
    let (told, faults) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{faults}");
    for row in ROWS {
        assert!(told.lines().any(|line| line.starts_with(row)), "no row {row}:\n{told}");
    }
}
