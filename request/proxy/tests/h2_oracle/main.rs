//! Connections of HTTP/2 beside those of the `h2` crate.

mod oracle;

use std::path::Path;

use oracle::h2_connection;
use proptest::prelude::*;

/// Files that the corpus has at least: fewer mean that something was lost.
const FILES_MIN: usize = 30;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_script_agrees(how in 0u8..16, script in prop::collection::vec(any::<u8>(), 0..900)) {
        h2_connection(&[&[how][..], &script].concat());
    }
}

#[test]
fn h2_connection_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/h2_connection");
    let entries = std::fs::read_dir(folder).expect("the corpus is committed");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    assert!(paths.len() >= FILES_MIN, "{} files only", paths.len());
    for path in paths {
        let input = std::fs::read(&path).expect("it can be read");
        let outcome = std::panic::catch_unwind(|| h2_connection(&input));
        assert!(outcome.is_ok(), "{} breaks an invariant", path.display());
    }
}
