//! Replays the committed fuzzing corpora through the functions that the fuzz targets call, and bent
//! inputs made of them.

use control_api::fuzzing::{api_body, publish_frames};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::path::Path;
use std::sync::LazyLock;

/// Files that a corpus has at least: fewer mean that something was lost.
const FILES_MIN: usize = 30;

type Corpus = LazyLock<Vec<(String, Vec<u8>)>>;

static BODIES: Corpus = LazyLock::new(|| corpus("api_body"));
static STREAMS: Corpus = LazyLock::new(|| corpus("publish_frames"));

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("the corpus is committed");
    let read = |path: std::path::PathBuf| {
        let input = std::fs::read(&path).expect("it can be read");
        (path.display().to_string(), input)
    };
    let mut inputs: Vec<_> =
        entries.map(|entry| read(entry.expect("it can be listed").path())).collect();
    inputs.sort();
    inputs
}

fn replay(corpus: &[(String, Vec<u8>)], target: fn(&[u8])) {
    assert!(corpus.len() >= FILES_MIN, "{} files only", corpus.len());
    for (path, input) in corpus {
        let outcome = std::panic::catch_unwind(|| target(input));
        assert!(outcome.is_ok(), "{path} breaks an invariant");
    }
}

#[test]
fn api_bodies_corpus() {
    replay(&BODIES, api_body);
}

#[test]
fn publish_frames_corpus() {
    replay(&STREAMS, publish_frames);
}

/// What is put into an input: pieces of JSON.
const PIECES: [&str; 12] =
    ["", "null", "[]", "{}", "0", "-1", "1e9", "\"\"", "\"a\"", ",", "}", "\"~/\""];

proptest! {
    #[test]
    fn bent_inputs_of_the_corpus_break_nothing(
        (_, input) in select(&BODIES[..]),
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
        publish_frames(&input);
    }

    #[test]
    fn bent_streams_of_the_corpus_break_nothing(
        (_, input) in select(&STREAMS[..]),
        pieces in any::<u8>(),
        at in any::<Index>(),
        octet in any::<u8>(),
        cut in 0..8_usize,
    ) {
        prop_assume!(input.len() > 1);
        let mut bent = input.clone();
        bent[0] = pieces;
        let from = 1 + at.index(bent.len() - 1);
        bent.drain(from..(from + cut).min(input.len()));
        if let Some(there) = bent.get_mut(from) {
            *there = octet;
        }
        publish_frames(&bent);
    }
}
