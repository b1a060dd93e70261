//! Replays the committed fuzzing corpora through the functions that the fuzz targets call.

use core_wire::fuzzing;
use std::path::Path;

/// Files that each corpus has at least: fewer mean that something was lost.
const FILES_MIN: usize = 30;

#[track_caller]
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus is committed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(paths.len() >= FILES_MIN, "{target} has {} files only", paths.len());
    for path in paths {
        let input = std::fs::read(&path).expect("it can be read");
        let outcome = std::panic::catch_unwind(|| check(&input));
        assert!(outcome.is_ok(), "{} breaks an invariant of {target}", path.display());
    }
}

#[test]
fn h1_heads_corpus() {
    replay("h1_head", fuzzing::h1_head);
}

#[test]
fn h1_bodies_corpus() {
    replay("h1_body", fuzzing::h1_body);
}

#[test]
fn proxy_headers_corpus() {
    replay("proxy_header", fuzzing::proxy_header);
}

#[test]
fn client_hellos_corpus() {
    replay("client_hello", fuzzing::client_hello);
}

#[test]
fn hpack_blocks_corpus() {
    replay("hpack_decode", fuzzing::hpack_decode);
}

#[test]
fn hpack_round_trips_corpus() {
    replay("hpack_round_trip", fuzzing::hpack_round_trip);
}

#[test]
fn h2_downgrades_corpus() {
    replay("h2_downgrade", fuzzing::h2_downgrade);
}

#[test]
fn h2_frames_corpus() {
    replay("h2_frames", fuzzing::h2_frames);
}

#[test]
fn tls_records_corpus() {
    replay("tls_record", fuzzing::tls_records);
}
