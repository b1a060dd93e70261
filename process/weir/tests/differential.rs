//! Weir, the bytes it sends and the origin must see the same requests: a corpus of malformed and
//! ambiguous ones goes through Weir to nginx and HAProxy, and three views are laid side by side.
//! Weir's is its access log, the bytes are those that a recorder between the two kept, read by a
//! strict reader, and the origin's is the origin's own log.
//!
//! A difference names its case. `WEIR_CASE=part-of-a-name` runs those cases alone, and
//! `WEIR_WRITE=1` writes the corpus anew from its generator.

mod case;
mod compare;
mod generate;
mod origin;
mod recorder;
mod rig;

use case::Case;
use origin::Kind;
use std::path::PathBuf;

fn corpus_file() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/corpus/http1.tsv").into()
}

/// The committed corpus.
#[track_caller]
fn corpus() -> Vec<Case> {
    let text = std::fs::read_to_string(corpus_file()).expect("the corpus is committed");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| Case::parse(line).unwrap_or_else(|e| panic!("{e}"))).collect()
}

#[test]
fn the_corpus_is_what_its_generator_makes() {
    let made = generate::all();
    let mut text = String::from("# name\tidea\trequests that the origin gets\tbytes\n");
    for case in &made {
        text.push_str(&case.line());
        text.push('\n');
    }
    if std::env::var_os("WEIR_WRITE").is_some() {
        std::fs::write(corpus_file(), &text).expect("the corpus can be written");
    }
    assert!(made.len() >= 500, "{} cases", made.len());
    assert_eq!(corpus(), made, "WEIR_WRITE=1 writes the corpus anew");
}

#[test]
fn nginx_sees_what_weir_saw() {
    rig::run(Kind::Nginx, &corpus());
}

#[test]
fn haproxy_sees_what_weir_saw() {
    rig::run(Kind::Haproxy, &corpus());
}
