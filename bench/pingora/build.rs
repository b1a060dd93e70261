//! Tells the program which Pingora and which TLS library it is made of.

use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").expect("the lock file");
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"pingora\"");
    let version = lines.nth(1).and_then(|line| line.split('"').nth(1)).expect("its version");
    let library = ["boringssl", "openssl", "rustls"]
        .into_iter()
        .find(|name| env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase())).is_some())
        .expect("a feature for TLS");
    println!("cargo::rustc-env=PEER_VERSION=pingora {version} ({library})");
}
