//! Weir, the bytes it sends and the origin must see the same requests: a corpus of malformed and
//! ambiguous ones goes through Weir to nginx and HAProxy, and three views are laid side by side.
//! Weir's is its access log, the bytes are those that a recorder between the two kept, read by a
//! strict reader, and the origin's is the origin's own log.
//!
//! A difference names its case. `WEIR_CASE=part-of-a-name` runs those cases alone, and
//! `WEIR_WRITE=1` writes the corpus anew from its generator.

mod bytes;
mod case;
mod compare;
mod generate;
mod origin;
mod recorder;
mod rig;

use case::Case;
use origin::Kind;
use std::path::PathBuf;

/// One file of the corpus, and what makes it.
struct Corpus {
    file: &'static str,
    made: fn() -> Vec<Case>,
}

const HTTP1: Corpus = Corpus { file: "http1.tsv", made: generate::http1 };
const HTTP2: Corpus = Corpus { file: "http2.tsv", made: generate::http2 };

impl Corpus {
    fn path(&self) -> PathBuf {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/differential/corpus");
        PathBuf::from(folder).join(self.file)
    }

    /// The committed cases.
    #[track_caller]
    fn cases(&self) -> Vec<Case> {
        let text = std::fs::read_to_string(self.path()).expect("the corpus is committed");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| Case::parse(line).unwrap_or_else(|e| panic!("{e}"))).collect()
    }

    #[track_caller]
    fn check(&self, least: usize) {
        let made = (self.made)();
        let mut text = String::from("# name\tidea\trequests that the origin gets\tsent\n");
        for case in &made {
            text.push_str(&case.line());
            text.push('\n');
        }
        if std::env::var_os("WEIR_WRITE").is_some() {
            std::fs::write(self.path(), &text).expect("the corpus can be written");
        }
        assert!(made.len() >= least, "{} cases", made.len());
        let same = self.cases() == made;
        assert!(same, "{} is not what is made: WEIR_WRITE=1 writes it anew", self.file);
    }
}

#[test]
fn the_corpus_is_what_its_generator_makes() {
    HTTP1.check(500);
    HTTP2.check(300);
}

#[test]
fn nginx_sees_what_weir_saw() {
    rig::run(Kind::Nginx, false, &HTTP1.cases());
}

#[test]
fn haproxy_sees_what_weir_saw() {
    rig::run(Kind::Haproxy, false, &HTTP1.cases());
}

#[test]
fn nginx_sees_what_weir_saw_in_http2() {
    rig::run(Kind::Nginx, false, &HTTP2.cases());
}

#[test]
fn haproxy_sees_what_weir_saw_in_http2() {
    rig::run(Kind::Haproxy, false, &HTTP2.cases());
}

#[test]
fn nginx_sees_over_http2_what_weir_saw() {
    rig::run(Kind::Nginx, true, &HTTP1.cases());
    rig::run(Kind::Nginx, true, &HTTP2.cases());
}

#[test]
fn haproxy_sees_over_http2_what_weir_saw() {
    rig::run(Kind::Haproxy, true, &HTTP1.cases());
    rig::run(Kind::Haproxy, true, &HTTP2.cases());
}
