//! Replays the committed fuzzing corpus through the function that the fuzz target calls, and bent
//! inputs made of it.

use control_api::fuzzing::api_body;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::path::Path;
use std::sync::LazyLock;

/// Files that the corpus has at least: fewer mean that something was lost.
const FILES_MIN: usize = 40;

static CORPUS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/api_body");
    let entries = std::fs::read_dir(&folder).expect("the corpus is committed");
    let read = |path: std::path::PathBuf| {
        let input = std::fs::read(&path).expect("it can be read");
        (path.display().to_string(), input)
    };
    let mut inputs: Vec<_> =
        entries.map(|entry| read(entry.expect("it can be listed").path())).collect();
    inputs.sort();
    inputs
});

#[test]
fn api_bodies_corpus() {
    assert!(CORPUS.len() >= FILES_MIN, "{} files only", CORPUS.len());
    for (path, input) in CORPUS.iter() {
        let outcome = std::panic::catch_unwind(|| api_body(input));
        assert!(outcome.is_ok(), "{path} breaks an invariant");
    }
}

/// What is put into an input: pieces of JSON.
const PIECES: [&str; 12] =
    ["", "null", "[]", "{}", "0", "-1", "1e9", "\"\"", "\"a\"", ",", "}", "\"~/\""];

proptest! {
    #[test]
    fn bent_inputs_of_the_corpus_break_nothing(
        (_, input) in select(&CORPUS[..]),
        shape in any::<Option<u8>>(),
        at in any::<Index>(),
        cut in 0..8_usize,
        piece in select(&PIECES[..]),
    ) {
        prop_assume!(input.len() > 1);
        let mut bent = input.clone();
        bent[0] = shape.unwrap_or(bent[0]);
        let from = 1 + at.index(bent.len() - 1);
        let until = (from + cut).min(bent.len());
        bent.splice(from..until, piece.bytes());
        api_body(&bent);
    }

    #[test]
    fn noise_breaks_nothing(input in prop::collection::vec(any::<u8>(), 0..200)) {
        api_body(&input);
    }
}
